"""What every file format tells a record about itself, and how its samples are asked for."""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

# One of these units, in mV. Case is ignored, and both signs for micro are known.
_MILLIVOLTS = {"v": 1e3, "mv": 1.0, "uv": 1e-3, "\u00b5v": 1e-3, "\u03bcv": 1e-3, "nv": 1e-6}
_NAME_AND_UNIT = re.compile(r"(?P<lead>.*\S)\s*[(\[]\s*(?P<unit>\w+)\s*[)\]]")
_PATIENT = re.compile(r"^\s*(?:patient|subject)(?:[ _-]?id)?\s*[:=]\s*(\S.*?)\s*$", re.IGNORECASE)


class UnreadableRecordError(OSError):
    """A recording is damaged, truncated, or of a kind that is not read.

    Examples
    --------
    >>> from skecgattn.records import UnreadableRecordError
    >>> issubclass(UnreadableRecordError, OSError)
    True
    """


class Reader(Protocol):
    """Reads samples of a file; holds paths, not open files, so that it can be pickled and shared."""

    def read(self, channels: Sequence[int], start: int, stop: int) -> NDArray[np.float32]:
        """Read samples [start, stop) in mV, float32 of shape (n_channels, stop - start)."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """Everything in a file, channel by channel."""

    name: str
    reader: Reader
    lead_names: tuple[str, ...]
    called_ecg: tuple[bool, ...]
    units: tuple[str, ...]
    sampling_rates: tuple[float, ...]
    n_timesteps: tuple[int, ...]
    comments: tuple[str, ...] = ()
    patient: str | None = None
    start_time: datetime.datetime | datetime.time | None = None


def uniform_source(
    path: Path,
    reader: Any,
    names: tuple[str, ...],
    n_timesteps: int,
    sampling_rate: float,
    units: Sequence[str],
) -> Source:
    """Describe a file whose leads all have one rate and one length."""
    n = len(names)
    return Source(
        name=path.stem,
        reader=reader,
        lead_names=names,
        called_ecg=(False,) * n,
        units=tuple(units),
        sampling_rates=(sampling_rate,) * n,
        n_timesteps=(n_timesteps,) * n,
    )


def is_called_ecg(label: str) -> bool:
    """Tell whether a label says that the signal is an ECG, as in polysomnograms."""
    return label.strip().casefold().startswith(("ecg", "ekg"))


def to_millivolts(unit: str) -> float | None:
    """Give the size of a unit in mV; None if it is not a unit of voltage."""
    return _MILLIVOLTS.get(unit.strip().casefold())


def lead_and_unit(name: str) -> tuple[str, str | None]:
    """Split the name of a column such as "II (uV)", where it ends in a unit of voltage."""
    found = _NAME_AND_UNIT.fullmatch(name)
    if found is None or to_millivolts(found["unit"]) is None:
        return name, None
    return found["lead"], found["unit"]


def find_patient(comments: Sequence[str]) -> str | None:
    """Find the patient in comments such as "patient: 12" or "subject_id = a7"."""
    found: list[Any] = [match for comment in comments if (match := _PATIENT.match(comment))]
    return str(found[0].group(1)) if found else None
