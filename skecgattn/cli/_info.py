"""``skecgattn info``: what is inside a model file or a recording."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from .._words import clock, counted
from ._console import plain_messages, print_json
from ._inputs import open_record
from ._options import Json, SamplingRate, Units

if TYPE_CHECKING:
    from ..records import Record

EPILOG = """**Examples**

`skecgattn info model.skecg` : classes, sampling rate, leads, thresholds, training.

`skecgattn info mitdb/208` : duration, leads, comments, annotation files beside it.
"""

RECORDS = (".hea", ".dat", ".mat", ".edf", ".csv", ".npy")


def info(
    file: Annotated[Path, typer.Argument(help="Model file or recording.", show_default=False)],
    sampling_rate: SamplingRate = None,
    units: Units = None,
    as_json: Json = False,
) -> None:
    """Tell what is inside a model file or a recording."""
    with plain_messages():
        is_record = file.suffix.lower() in RECORDS or file.with_name(f"{file.name}.hea").is_file()
        if not is_record and not file.is_file():
            raise FileNotFoundError(f"there is no model file and no record {file}")
        if is_record:
            facts = _of_record(open_record(file, sampling_rate, units, []))
        else:
            from .._model_file import info as describe

            facts = describe(file)
    if as_json:
        print_json(facts)
        return
    shown = _record_lines(facts) if is_record else _model_lines(facts)
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in shown.items():
        table.add_row(name, value)
    Console(highlight=False, markup=False).print(table)


def _of_record(record: Record) -> dict[str, Any]:
    beside = [] if record.path is None else sorted(record.path.parent.glob(f"{record.path.name}.*"))
    extensions = [
        path.suffix[1:] for path in beside if path.suffix.lower() not in (*RECORDS, ".html", ".json")
    ]
    return {
        "name": record.name,
        "sampling_rate": record.sampling_rate,
        "lead_names": record.lead_names,
        "n_timesteps": record.n_timesteps,
        "duration": record.duration,
        "start_time": None if record.start_time is None else record.start_time.isoformat(),
        "patient": record.patient,
        "comments": record.comments,
        "annotations": extensions,
    }


def _record_lines(facts: dict[str, Any]) -> dict[str, str]:
    return {
        "record": facts["name"],
        "duration": f"{clock(facts['duration'])} ({facts['n_timesteps']} samples)",
        "leads": ", ".join(facts["lead_names"]),
        "sampling rate": f"{facts['sampling_rate']:g} Hz",
        "began": facts["start_time"] or "unknown",
        "patient": facts["patient"] or "not named",
        "beside it": ", ".join(facts["annotations"]) or "nothing",
        "comments": "\n".join(facts["comments"]) or "none",
    }


def _model_lines(facts: dict[str, Any]) -> dict[str, str]:
    thresholds = zip(facts["map_labels"], facts["thresholds"])
    leads = facts["lead_names"]
    last = facts["history"][-1] if facts["history"] else {}
    losses = ", ".join(f"{key.replace('_', ' ')} {last[key]:.3f}" for key in last if key.endswith("loss"))
    return {
        "model": " > ".join(facts["steps"]),
        "classes": ", ".join(map(str, facts["classes"])),
        "normal class": str(facts["normal_class"]),
        "thresholds": ", ".join(f"{label} {value:.3f}" for label, value in thresholds) or "no maps",
        "sampling rate": "unknown" if facts["sampling_rate"] is None else f"{facts['sampling_rate']:g} Hz",
        "leads": f"{facts['n_leads']}, not named" if leads is None else ", ".join(leads),
        "training": f"{counted(facts['n_epochs'], 'epoch')}; {losses or 'no history'}",
        "weights": f"{facts['n_weights']:,}",
        "versions": ", ".join(f"{name} {version}" for name, version in facts["versions"].items()),
        "fingerprint": facts["fingerprint"],
        "size": f"{facts['n_bytes'] / 1e6:.2f} MB",
    }
