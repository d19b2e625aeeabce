"""What users give: records, folders of them, lists and ``name=value`` pairs."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..records import Record


def split(text: str) -> list[str]:
    """Read names separated by commas."""
    return [name.strip() for name in text.split(",") if name.strip()]


def pairs(text: str, option: str) -> dict[str, str]:
    """Read ``name=value`` pairs separated by commas."""
    found = {}
    for part in split(text):
        name, equals, value = (one.strip() for one in part.partition("="))
        if not (name and equals and value):
            raise ValueError(f"{option} must be like NAME=VALUE,NAME=VALUE, got {part!r}")
        found[name] = value
    return found


def thresholds(text: str, labels: Sequence[Hashable]) -> float | dict[Hashable, float] | None:
    """Read one threshold for all classes, or ``V=0.6,S=0.5``."""
    if not text:
        return None
    try:
        if "=" in text:
            given: Any = {name: float(value) for name, value in pairs(text, "--threshold").items()}
        else:
            given = float(text)
    except ValueError as error:
        raise ValueError(f"--threshold must be like 0.5 or V=0.6,S=0.5, got {text!r}") from error
    if not all(0 <= value <= 1 for value in (given.values() if isinstance(given, dict) else [given])):
        raise ValueError(f"--threshold must lie from 0 to 1, got {text!r}")
    return by_label(given, labels, "--threshold") if isinstance(given, dict) else given


def by_label(given: dict[str, Any], labels: Sequence[Hashable], option: str) -> dict[Hashable, Any]:
    """Name a model's labels, which need not be strings, by what is written of them."""
    known = {str(label): label for label in labels}
    if unknown := [name for name in given if name not in known]:
        raise ValueError(f"{option} has no label(s) of the model: {unknown}; its labels: {list(known)}")
    return {known[name]: value for name, value in given.items()}


def find_records(folder: Path) -> list[Path]:
    """List the WFDB records below a folder, without the segments that longer records are made of."""
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}")
    from ..records._wfdb_reader import names_in_header

    headers = sorted(folder.rglob("*.hea"))
    segments: set[Path] = set()
    for header in headers:
        names, are_segments = names_in_header(header)
        if are_segments:
            segments |= {header.parent / f"{name}.hea" for name in names}
    found = [header.with_suffix("") for header in headers if header not in segments]
    if not found:
        raise FileNotFoundError(f"no WFDB record (.hea) in {folder}")
    return found


def list_records(paths: Sequence[Path]) -> list[Path]:
    """List the records, and those in the folders; of folders WFDB and EDF."""
    found: list[Path] = []
    for path in paths:
        if not path.is_dir():
            found.append(path)
            continue
        european = sorted(file for file in path.rglob("*") if file.suffix.lower() == ".edf")
        found += european if european and not any(path.rglob("*.hea")) else [*find_records(path), *european]
    return found


def open_record(path: Path, sampling_rate: float | None, units: str | None, leads: Sequence[str]) -> Record:
    """Open a record; the sampling rate, units and names are for files that do not tell them."""
    from ..records import read_record

    bare = path.suffix.lower() in (".csv", ".npy")
    named = leads if leads and path.suffix.lower() == ".npy" else None
    if not bare:
        return read_record(path)
    return read_record(path, sampling_rate=sampling_rate, units=units, leads=named)
