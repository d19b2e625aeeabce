"""Recordings in European Data Format (EDF and EDF+)."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skecgattn.records._source import Source, UnreadableRecordError, is_called_ecg, to_millivolts

_PREFIX = re.compile(r"^(?:ecg|ekg)[ _-]+(?=\S)", re.IGNORECASE)


@dataclass(frozen=True)
class EDFReader:
    """Samples of an EDF file."""

    path: Path
    scales: tuple[float, ...]

    def read(self, channels: Sequence[int], start: int, stop: int) -> NDArray[np.float32]:
        with _open(self.path) as edf:
            X = np.empty((len(channels), stop - start), dtype=np.float32)
            for row, i in zip(X, channels):
                rate = edf.signals[i].sampling_frequency
                np.multiply(edf.signals[i].get_data_slice(start / rate, stop / rate), self.scales[i], out=row)
        return X


def open_edf(path: Path, units: str | None) -> Source:
    """Open an EDF file."""
    with _open(path) as edf:
        signals = edf.signals
        if not signals:
            raise UnreadableRecordError(f"The file {path} has no signals.")
        if edf.reserved.startswith("EDF+D") and not edf.is_continuous:
            raise UnreadableRecordError(
                f"The file {path} has gaps (EDF+D); convert it to EDF+C or WFDB to read it."
            )
        given = [units or signal.physical_dimension for signal in signals]
        return Source(
            name=path.stem,
            reader=EDFReader(path, tuple(to_millivolts(unit) or np.nan for unit in given)),
            called_ecg=tuple(is_called_ecg(signal.label) for signal in signals),
            lead_names=tuple(_PREFIX.sub("", signal.label) for signal in signals),
            units=tuple(given),
            sampling_rates=tuple(float(signal.sampling_frequency) for signal in signals),
            n_timesteps=tuple(edf.num_data_records * signal.samples_per_data_record for signal in signals),
            comments=tuple(filter(None, [edf.local_recording_identification.strip()])),
            patient=_patient(edf.local_patient_identification),
            start_time=_start_time(edf),
        )


@contextmanager
def _open(path: Path) -> Iterator[Any]:
    try:
        import edfio
    except ImportError as error:
        raise ImportError(
            f'Reading {path.name} needs edfio: install it with pip install "skecgattn[edf]".'
        ) from error
    try:
        with warnings.catch_warnings():
            # edfio only warns where a file is shorter than its header says.
            warnings.simplefilter("error")
            edf = edfio.read_edf(path, header_encoding="latin-1")
    except Exception as error:
        raise UnreadableRecordError(f"The file {path} is damaged or not EDF: {error}") from error
    yield edf


def _patient(identification: str) -> str | None:
    """Give the patient's code, the first of the four fields of EDF+; a plain EDF file may have any text."""
    fields = identification.split()
    if len(fields) >= 4 and fields[1] in ("F", "M", "X"):
        return None if fields[0] == "X" else fields[0]
    return " ".join(fields) or None


def _start_time(edf: Any) -> Any:
    try:
        return edf.startdatetime
    except ValueError:  # an anonymised date
        return edf.starttime
