"""``skecgattn report``: one recording as a page."""

from __future__ import annotations

import dataclasses
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from ._console import is_page, plain_messages, print_json, writable_file
from ._inputs import open_record, split, thresholds
from ._options import MODEL, Jobs, Json, Quiet, SamplingRate, Threshold, Units

EPILOG = """**Examples**

`skecgattn report mitdb/208 --model model.skecg --output 208.html` : annotates it, writes the page.

`skecgattn report mitdb/208 --annotations found/208.skg --model model.skecg` : shows annotations that are
there; the model only draws its map.

`skecgattn report mitdb/208 --annotations atr` : a reference annotator's beats, without a model.

`skecgattn report holter --model model.skecg --disclosure abnormal` : of the recording only the minutes
with abnormal beats, for a smaller file. 24 hours with two leads are about 25 MB in full.
"""


class Disclosure(StrEnum):
    """What of the recording is in the file."""

    all = "all"
    abnormal = "abnormal"
    none = "none"


def report(
    record: Annotated[Path, typer.Argument(help="WFDB record, .edf, .csv or .npy file.", show_default=False)],
    model: Annotated[Path | None, MODEL] = None,
    annotations: Annotated[
        str,
        typer.Option(
            "--annotations",
            "-a",
            help="Annotation file, or the extension of the one beside it.",
            show_default=False,
        ),
    ] = "",
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="File to write; else RECORD.html here.", show_default=False),
    ] = None,
    threshold: Threshold = "",
    leads: Annotated[
        str,
        typer.Option(
            help="Leads to show, else the model's or the first three; where a record has none of the model's "
            "names, those to read in the model's order.",
            show_default=False,
        ),
    ] = "",
    sampling_rate: SamplingRate = None,
    units: Units = None,
    strips: Annotated[int, typer.Option(min=1, help="Strips of each kind.")] = 4,
    disclosure: Annotated[
        Disclosure, typer.Option(help="What of the recording to scroll through.")
    ] = Disclosure.all,
    n_jobs: Jobs = 1,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a recording with its annotations as one HTML file that opens offline."""
    with plain_messages():
        if model is None and not annotations:
            raise ValueError("give --model to annotate the recording, --annotations that are there, or both")
        if threshold and annotations:
            raise ValueError(
                "--threshold is for annotating with a model; --annotations have been made already"
            )
        opened = open_record(record, sampling_rate, units, split(leads))
        target = writable_file(Path(f"{opened.name}.html") if output is None else output, "report", is_page)
        from .._model_file import classifier_of, load
        from ..records import annotate, write_report

        fitted: Any = None if model is None else load(model)
        shown = split(leads) or None
        if fitted is not None and shown:
            opened, shown = _named_for_model(opened, shown, classifier_of(fitted))
        verbose = int(not quiet and sys.stderr.isatty())
        if annotations:
            found = _read(annotations, opened)
        else:
            limits = thresholds(threshold, classifier_of(fitted).map_labels_)
            found = annotate(fitted, opened, threshold=limits, n_jobs=n_jobs, verbose=verbose)
        target.parent.mkdir(parents=True, exist_ok=True)
        write_report(
            target,
            opened,
            found,
            model=fitted,
            model_name=None if model is None else model.name,
            leads=shown,
            strips=strips,
            disclosure=disclosure.value,
            verbose=verbose,
        )
    if as_json:
        print_json({"report": target, "bytes": target.stat().st_size, **found.to_dict()})
    else:
        typer.echo(f"Report: {target} ({target.stat().st_size / 1e6:.1f} MB)")


def _named_for_model(record: Any, names: list[str], classifier: Any) -> tuple[Any, list[str] | None]:
    """Return the record and the leads to show: where its leads go by other names, those of the model."""
    wanted = () if classifier.lead_names is None else tuple(classifier.lead_names)
    known = {name.strip().casefold() for name in record.lead_names}
    if len(names) != classifier.n_leads_in_ or known & {name.strip().casefold() for name in wanted}:
        return record, names
    chosen = record.select_leads(names)
    return (dataclasses.replace(chosen, lead_names=wanted), None) if wanted else (chosen, names)


def _read(annotations: str, record: Any) -> Any:
    from ..records import RecordAnnotations

    path = Path(annotations)
    if path.is_file():
        stem, extension = path.with_suffix(""), path.suffix[1:]
    elif record.path is not None:
        stem, extension = record.path, annotations.lstrip(".")
        path = stem.with_name(f"{stem.name}.{extension}")
    if not path.is_file():
        raise FileNotFoundError(f"there is no annotation file {path}")
    return RecordAnnotations.from_wfdb(
        stem, extension, n_timesteps=record.n_timesteps, sampling_rate=record.sampling_rate
    )
