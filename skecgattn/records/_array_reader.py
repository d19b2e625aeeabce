"""Recordings in plain arrays: in memory, .npy and .csv."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skecgattn.records._source import Source, UnreadableRecordError, to_millivolts

_TIME_COLUMNS = {
    *("time", "time (s)", "time_s", "t", "seconds", "s", "ms", "timestamp", "sample", "index", ""),
    *("sample #", "elapsed time"),  # PhysioNet's
}
_ROWS_PER_MARK = 4096


@dataclass(frozen=True)
class ArrayReader:
    """Samples of an array of shape (n_leads, n_timesteps) in mV."""

    signal: NDArray[Any]

    def read(self, channels: Sequence[int], start: int, stop: int) -> NDArray[np.float32]:
        return self.signal[list(channels), start:stop].astype(np.float32)


@dataclass(frozen=True)
class NpyReader:
    """Samples of a .npy file, mapped anew at each reading so that no memory stays in use."""

    path: Path
    lead_axis: int
    scale: float

    def read(self, channels: Sequence[int], start: int, stop: int) -> NDArray[np.float32]:
        signal = np.load(self.path, mmap_mode="r", allow_pickle=False)
        signal = np.moveaxis(np.atleast_2d(signal), self.lead_axis, 0)
        X = np.array(signal[:, start:stop][list(channels)], dtype=np.float32)
        return X if self.scale == 1 else X * np.float32(self.scale)


@dataclass(frozen=True)
class CSVReader:
    """Samples of a .csv file; `marks` are the byte offsets of every so many rows."""

    path: Path
    columns: tuple[int, ...]
    separator: str
    marks: NDArray[np.int64]
    scales: tuple[float, ...]

    def read(self, channels: Sequence[int], start: int, stop: int) -> NDArray[np.float32]:
        first, last = start // _ROWS_PER_MARK, -(-stop // _ROWS_PER_MARK)
        with self.path.open("rb") as file:
            file.seek(self.marks[first])
            text = file.read(int(self.marks[min(last, len(self.marks) - 1)] - self.marks[first]))
        wanted = [self.columns[i] for i in channels]
        table = pd.read_csv(
            io.BytesIO(text),
            sep=self.separator,
            header=None,
            usecols=wanted,
            dtype=np.float32,
            na_values=["-"],  # PhysioNet's
            skip_blank_lines=False,
        )
        shift = first * _ROWS_PER_MARK
        X = table[wanted].to_numpy(dtype=np.float32)[start - shift : stop - shift].T
        scales = np.array([self.scales[i] for i in channels], dtype=np.float32)
        return np.multiply(X, scales[:, np.newaxis], order="C")


def open_npy(path: Path, sampling_rate: float, units: str, leads: Sequence[str] | None) -> Source:
    """Open a .npy file; `leads` names its leads."""
    try:
        signal = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise UnreadableRecordError(
            f"The file {path} is damaged or not a .npy file of numbers: {error}"
        ) from error
    if signal.ndim not in (1, 2) or signal.size == 0 or signal.dtype.kind not in "fiu":
        raise UnreadableRecordError(
            f"The file {path} must hold numbers of shape (n_leads, n_timesteps), (n_timesteps, n_leads) or "
            f"(n_timesteps,), got {signal.dtype} of shape {signal.shape}."
        )
    shape = (1, *signal.shape) if signal.ndim == 1 else signal.shape
    axis = int(shape[1] < shape[0])
    if leads is not None and len(leads) != shape[axis]:
        axis = 1 - axis
        if len(leads) != shape[axis]:
            raise ValueError(
                f"leads must name all leads of {path.name}, of shape {signal.shape}, got {list(leads)}."
            )
    names = tuple(map(str, leads)) if leads is not None else tuple(f"lead{i + 1}" for i in range(shape[axis]))
    return _uniform_source(
        path,
        NpyReader(path, axis, _scale(units)),
        names,
        shape[1 - axis],
        sampling_rate,
        [units] * len(names),
    )


def open_csv(path: Path, sampling_rate: float, units: str | None) -> Source:
    """Open a .csv file and mark where its rows are; `units` go before those that the file gives."""
    with path.open("rb") as file:
        header, second = file.readline(), file.readline()
    text = header.decode("utf-8-sig", errors="replace")
    separator = max(",;\t", key=text.count)
    try:
        names, below = (
            [_unquoted(cell.strip()) for cell in next(csv.reader([line], delimiter=separator), [])]
            for line in (text, second.decode(errors="replace"))
        )
    except csv.Error as error:
        raise UnreadableRecordError(f"The file {path} must be a table of text, {error}.") from error
    columns = [i for i, name in enumerate(names) if name.casefold() not in _TIME_COLUMNS]
    if not columns or any(_is_number(names[i]) for i in columns):
        raise UnreadableRecordError(
            f"The file {path} must begin with a line of lead names, got {text.strip()[:60]!r}."
        )
    given = _units([below[i] for i in columns if i < len(below)], len(columns))
    marks, n_rows = _mark_rows(path, len(header) + (len(second) if given else 0))
    if not n_rows:
        raise UnreadableRecordError(f"The file {path} holds no samples.")
    unit_of_leads = [units] * len(columns) if units else given or ["mV"] * len(columns)
    # a lead in another unit is refused where leads are chosen
    scales = tuple(to_millivolts(unit) or 1.0 for unit in unit_of_leads)
    reader = CSVReader(path, tuple(columns), separator, marks, scales)
    return _uniform_source(
        path, reader, tuple(names[i] for i in columns), n_rows, sampling_rate, unit_of_leads
    )


def _units(cells: list[str], n_leads: int) -> list[str]:
    """Return the units of the leads, where these are what the cells below their names hold; else nothing."""
    units = [cell.strip("()[] ") for cell in cells]
    if len(units) == n_leads and not any(map(_is_number, units)) and any(map(to_millivolts, units)):
        return units
    return []


def _mark_rows(path: Path, offset: int) -> tuple[NDArray[np.int64], int]:
    """Find the byte offset of every `_ROWS_PER_MARK`-th row and of the end, and count the rows."""
    marks, n_rows, last = [offset], 0, b"\n"
    with path.open("rb") as file:
        file.seek(offset)
        while block := file.read(1 << 22):
            ends = np.flatnonzero(np.frombuffer(block, dtype=np.uint8) == ord("\n"))
            nth = np.arange(n_rows + 1, n_rows + 1 + len(ends))
            marks.extend((ends[nth % _ROWS_PER_MARK == 0] + 1 + offset).tolist())
            n_rows += len(ends)
            offset += len(block)
            last = block[-1:]
    n_rows += last != b"\n"  # a last row without an end
    if marks[-1] != offset:
        marks.append(offset)
    return np.array(marks, dtype=np.int64), n_rows


def _unquoted(name: str) -> str:
    """Return a name without the single quotes that PhysioNet puts around it."""
    return name[1:-1].strip() if len(name) > 1 and name[0] == name[-1] == "'" else name


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _scale(units: str) -> float:
    scale = to_millivolts(units)
    if scale is None:
        raise ValueError(f"units must be a unit of voltage, got {units!r}.")
    return scale


def _uniform_source(
    path: Path,
    reader: Any,
    names: tuple[str, ...],
    n_timesteps: int,
    sampling_rate: float,
    units: Sequence[str],
) -> Source:
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
