"""``skecgattn evaluate``: annotation files against a reference annotator, beat by beat."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .._words import counted, few
from ._console import FAILED, make_table, note, number, plain_messages, print_json, print_table
from ._inputs import list_records, split
from ._options import Json

EPILOG = """**Examples**

`skecgattn evaluate mitdb --test-folder found` : `found/NAME.skg` against `mitdb/NAME.atr`, for all records
that have both.

`skecgattn evaluate mitdb/208 --reference atr --test qrs --classes V` : two annotators side by side.

QRS counts beats of any class. *gross* adds the counts of all records, *average* is the mean of the records.
Exit code 1: a reference has no annotations to compare.
"""


def evaluate(
    records: Annotated[
        list[Path], typer.Argument(help="WFDB records, or folders of them.", show_default=False)
    ],
    reference: Annotated[str, typer.Option("--reference", "-r", help="Extension of the reference.")] = "atr",
    test: Annotated[str, typer.Option("--test", "-t", help="Extension of what is scored.")] = "skg",
    test_folder: Annotated[
        Path | None,
        typer.Option(help="Folder of what is scored; else beside the reference.", show_default=False),
    ] = None,
    classes: Annotated[str, typer.Option(help="AAMI classes to score, of N, S, V, F, Q.")] = "V,S",
    tolerance: Annotated[float, typer.Option(min=0, help="Seconds that a pair is apart at most.")] = 0.15,
    start: Annotated[float, typer.Option(min=0, help="Seconds at the start not scored; 300 in EC57.")] = 0.0,
    skip_unreadable: Annotated[
        bool, typer.Option("--skip-unreadable", help="Do not score what is marked as unreadable.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Score annotations against a reference, as ANSI/AAMI EC57 does."""
    with plain_messages():
        from ..records import evaluate_annotations, read_record

        references, tests, missing = [], [], []
        for path in list_records(records):
            stem = (
                path.with_suffix("") if path.suffix in (".hea", ".dat", f".{reference}", f".{test}") else path
            )
            truth = stem.with_name(f"{stem.name}.{reference}")
            found = (test_folder or stem.parent) / f"{stem.name}.{test}"
            if not (truth.is_file() and found.is_file()):
                missing.append(str(found if truth.is_file() else truth))
                continue
            header = stem.with_name(f"{stem.name}.hea").is_file()
            references.append(read_record(stem) if header else truth)
            tests.append(found)
        if not tests:
            raise FileNotFoundError(
                f"no record has annotations .{reference} and .{test}; missing: {few(missing)}"
            )
        result = evaluate_annotations(
            references,
            tests,
            classes=split(classes),
            tolerance=tolerance,
            start=start,
            skip_unreadable=skip_unreadable,
            reference_extension=reference,
            test_extension=test,
        ).to_dict()
        if missing:
            of = counted(len(missing) + len(tests), "record")
            note(f"{len(missing)} of {of} left out: no {few(missing)}")
    if as_json:
        print_json(result)
    else:
        _show(result, f"{test} against {reference}, beats within {1000 * tolerance:g} ms")
    if missing:
        raise typer.Exit(FAILED)


def _show(result: dict[str, Any], title: str) -> None:
    columns = ["record", "class", "TP", "FP", "FN", "sensitivity", "positive predictivity", "F1"]
    table = make_table(title, columns)
    rows = {**result["records"]}
    if len(rows) > 1:
        rows |= {"gross": result["gross"], "average": result["average"]}
    for name, kinds in rows.items():
        if name == "gross":
            table.add_section()
        for kind, row in kinds.items():
            counts = [f"{row[key]:.0f}" for key in ("tp", "fp", "fn")]
            scores = [number(row[key], 4) for key in ("sensitivity", "positive_predictivity", "f1")]
            table.add_row(name, kind, *counts, *scores)
    print_table(table)
