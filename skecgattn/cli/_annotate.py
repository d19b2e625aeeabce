"""``skecgattn annotate``: from recordings and a model to annotation files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from .._words import clock, counted
from ._console import FAILED, bars, make_table, plain_messages, print_json, print_table, say
from ._inputs import by_label, list_records, open_record, pairs, split, thresholds
from ._options import MODEL, Jobs, Json, Quiet, SamplingRate, Threshold

EPILOG = """**Examples**

`skecgattn annotate holter/*.hea --model model.skecg --output found --n-jobs 2` : writes for each
record `found/NAME.skg`, which WFDB's tools open. A second run skips what is done.

`skecgattn annotate archive --model model.skecg --output found --threshold V=0.6,S=0.5 --csv` : all WFDB
and EDF records of a folder, with thresholds of one's own, and a table of heartbeats for each.

`skecgattn annotate ecg.npy --sampling-rate 250 --leads MLII,V1 --model model.skecg --output found`

Exit code 1: some records could not be annotated; the table and a line each say which, and why.
"""

BARE = (".csv", ".npy")


def annotate(
    records: Annotated[
        list[Path],
        typer.Argument(help="WFDB records, .edf, .csv or .npy files, or folders.", show_default=False),
    ],
    model: Annotated[Path, MODEL],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for the annotation files.", show_default=False)
    ],
    annotator: Annotated[str, typer.Option(help="Extension of the annotation files: letters.")] = "skg",
    threshold: Threshold = "",
    leads: Annotated[
        str,
        typer.Option(
            help="Names of the records' leads in the model's order; else matched by name.", show_default=False
        ),
    ] = "",
    symbols: Annotated[
        str,
        typer.Option(help="WFDB symbols of the model's classes, such as RVOT=V.", show_default=False),
    ] = "",
    sampling_rate: SamplingRate = None,
    csv: Annotated[bool, typer.Option("--csv", help="Also write NAME.csv, one row a heartbeat.")] = False,
    maps: Annotated[
        bool,
        typer.Option("--map", help="Also write NAME.map.npy (classes, samples), in a second pass."),
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Annotate all again, and replace files of others.")
    ] = False,
    n_jobs: Jobs = 1,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Find the heartbeats of recordings of any length, and which of them are abnormal.

    Files appear when they are complete; a run that was interrupted goes on where it stopped.
    """
    with plain_messages():
        from .._model_file import info
        from ..records import annotate_many

        facts = info(model)
        labels, normal = facts["map_labels"], facts["normal_class"]
        names = split(leads)
        paths = list_records(records)
        sources: list[Any] = [
            open_record(path, sampling_rate, names) if path.suffix.lower() in BARE else path for path in paths
        ]
        options: dict[str, Any] = {"threshold": thresholds(threshold, labels), "leads": names or None}
        given = by_label(
            pairs(symbols, "--symbols"), [*labels, "N" if normal is None else normal], "--symbols"
        )
        table = annotate_many(
            model,
            sources,
            output,
            symbols=given or None,
            extension=annotator,
            overwrite=overwrite,
            n_jobs=n_jobs,
            verbose=int(not quiet and sys.stderr.isatty()),
            **options,
        )
        rows = table.to_dict("records")
        made = {row["record"]: source for row, source in zip(rows, sources) if row["status"] != "failed"}
        if csv or maps:
            _write_more(made, model, output, annotator, csv, maps, options, quiet)
    if as_json:
        print_json(rows)
    else:
        _show(rows, [str(label) for label in labels])
    for row in rows:
        if row["status"] == "failed":
            say(f"failed: {row['record']}: {row['error']}", fg="red")
    if any(row["status"] == "failed" for row in rows):
        raise typer.Exit(FAILED)


def _write_more(
    made: dict[str, Any],
    model: Path,
    output: Path,
    annotator: str,
    csv: bool,
    maps: bool,
    options: dict[str, Any],
    quiet: bool,
) -> None:
    """Write the tables and the maps of the records that were annotated."""
    from .. import load
    from ..records import Record, RecordAnnotations, read_record
    from ..records import annotate as annotate_one

    with bars(quiet, "records") as shown:
        for name, source in shown.track(made.items(), description="tables and maps"):
            record = source if isinstance(source, Record) else read_record(source)
            if csv:
                found = RecordAnnotations.from_wfdb(
                    output / name,
                    annotator,
                    n_timesteps=record.n_timesteps,
                    sampling_rate=record.sampling_rate,
                )
                found.to_csv(output / f"{name}.csv")
            if maps:
                annotate_one(load(model), record, maps=output / f"{name}.map.npy", **options)


def _show(rows: list[dict[str, Any]], labels: list[str]) -> None:
    table = make_table(
        f"{sum(row['status'] != 'failed' for row in rows)} of {counted(len(rows), 'record')} annotated",
        ["record", "", "duration", "heartbeats", *labels, "burden", "unreadable"],
    )
    for row in rows:
        if row["status"] == "failed":
            table.add_row(row["record"], "failed")
            continue
        burden = row["abnormal"] / row["beats"] if row["beats"] else 0.0
        table.add_row(
            row["record"],
            row["status"],
            clock(row["duration"]),
            f"{row['beats']:,.0f}",
            *(f"{row[label]:,.0f}" for label in labels),
            f"{burden:.2%}",
            f"{row['unreadable']:.1%}",
        )
    print_table(table)
