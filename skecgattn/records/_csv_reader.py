"""Recordings in .csv files: one column a lead, and what a column of times tells of the sampling rate."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skecgattn.records._source import Source, UnreadableRecordError, to_millivolts, uniform_source

_COUNT_COLUMNS = {"sample", "sample #", "index", ""}  # "sample #" is PhysioNet's, as is "elapsed time"
_TIME_COLUMNS = {
    **dict.fromkeys(["time", "t", "timestamp", "elapsed time"]),
    **dict.fromkeys(["seconds", "s", "time (s)", "time_s", "time [s]"], 1.0),
    **dict.fromkeys(["ms", "time (ms)", "time_ms", "time [ms]"], 1e-3),
}
"""How many seconds the unit of such a column is, where its name tells."""

_UNITS_OF_TIME = {"s": 1.0, "sec": 1.0, "seconds": 1.0, "ms": 1e-3, "milliseconds": 1e-3}
_RATES = 20.0, 20_000.0
"""Sampling rates of ECGs in Hz: which unit times are in, where nothing tells, shows in which gives one."""

SLACK, ROUNDED = 0.01, 3.0
"""Share, and number, of samples by which times and a sampling rate may differ: times are rounded."""

_ROWS_PER_MARK = 4096
_DECIMAL_COMMA = re.compile(r"\s*[-+]?\d+,\d+(e[-+]?\d+)?\s*", re.IGNORECASE)


@dataclass(frozen=True)
class CSVReader:
    """Samples of a .csv file; `marks` are the byte offsets of every so many rows."""

    path: Path
    columns: tuple[int, ...]
    separator: str
    decimal: str
    marks: NDArray[np.int64]
    scales: tuple[float, ...]

    def read(self, channels: Sequence[int], start: int, stop: int) -> NDArray[np.float32]:
        first, last = start // _ROWS_PER_MARK, -(-stop // _ROWS_PER_MARK)
        wanted = [self.columns[i] for i in channels]
        table = pd.read_csv(
            io.BytesIO(_text(self.path, self.marks, first, last)),
            sep=self.separator,
            decimal=self.decimal,
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


def open_csv(path: Path, sampling_rate: float | None, units: str | None) -> Source:
    """Open a .csv file and mark where its rows are; `units` go before those that the file gives.

    Raises
    ------
    UnreadableRecordError
        If the file is no table of leads, or times are missing from it.
    ValueError
        If the sampling rate is neither given nor told by a column of times, or the two differ.
    """
    with path.open("rb") as file:
        header, second, third = file.readline(), file.readline(), file.readline()
    text = header.decode("utf-8-sig", errors="replace")
    separator = max(",;\t", key=text.count)
    try:
        names, below = (
            [_unquoted(cell.strip()) for cell in next(csv.reader([line], delimiter=separator), [])]
            for line in (text, second.decode(errors="replace"))
        )
    except csv.Error as error:
        raise UnreadableRecordError(f"The file {path} must be a table of text, {error}.") from error
    times = {i: name for i, name in enumerate(names) if name.casefold() in _TIME_COLUMNS}
    others = {i for i, name in enumerate(names) if name.casefold() in _COUNT_COLUMNS} | times.keys()
    columns = [i for i in range(len(names)) if i not in others]
    if not columns or any(_is_number(names[i]) for i in columns):
        raise UnreadableRecordError(
            f"The file {path} must begin with a line of lead names, got {text.strip()[:60]!r}."
        )
    given = _units([below[i] for i in columns if i < len(below)], len(columns))
    marks, n_rows = _mark_rows(path, len(header) + (len(second) if given else 0))
    if not n_rows:
        raise UnreadableRecordError(f"The file {path} holds no samples.")
    row = (third if given else second).decode(errors="replace").split(separator)
    decimal = "," if separator != "," and any(map(_DECIMAL_COMMA.fullmatch, row)) else "."
    told = None
    for i, name in times.items():
        unit = _TIME_COLUMNS[name.casefold()]
        if given and unit is None and i < len(below):
            unit = _UNITS_OF_TIME.get(below[i].strip("()[] ").casefold())
        seconds = _seconds(_ends(path, marks), i, separator, decimal, unit)
        if seconds is not None and (told := _rate(path, name, seconds, n_rows, sampling_rate)) is not None:
            break
    rate = told if sampling_rate is None else sampling_rate
    if rate is None:
        raise ValueError(
            f"sampling_rate must be given for {path.name}: it has no column of times that tells it."
        )
    unit_of_leads = [units] * len(columns) if units else given or ["mV"] * len(columns)
    # a lead in another unit is refused where leads are chosen
    scales = tuple(to_millivolts(unit) or 1.0 for unit in unit_of_leads)
    reader = CSVReader(path, tuple(columns), separator, decimal, marks, scales)
    return uniform_source(path, reader, tuple(names[i] for i in columns), n_rows, rate, unit_of_leads)


def _text(path: Path, marks: NDArray[np.int64], first: int, last: int) -> bytes:
    """Read the rows between two marks."""
    with path.open("rb") as file:
        file.seek(marks[first])
        return file.read(int(marks[min(last, len(marks) - 1)] - marks[first]))


def _ends(path: Path, marks: NDArray[np.int64]) -> bytes:
    """Read the first rows up to a mark, and the last ones from a mark on where those are others."""
    first = _text(path, marks, 0, 1)
    return first if len(marks) < 3 else first + _text(path, marks, len(marks) - 2, len(marks) - 1)


def _seconds(
    text: bytes, column: int, separator: str, decimal: str, unit: float | None
) -> NDArray[np.float64] | None:
    """Return a column of rows in seconds; None where it does not hold times.

    Numbers are times `unit` seconds long; where it is None, seconds or a thousandth, a millionth or a
    billionth of one, whichever makes the rate that of an ECG.
    """
    try:
        table = pd.read_csv(io.BytesIO(text), sep=separator, header=None, usecols=[column], dtype=str)
    except ValueError:
        return None
    cells = table[column].fillna("").str.strip(" '[]")
    numbers = pd.to_numeric(cells.str.replace(decimal, "."), errors="coerce")
    if numbers.notna().all():
        times = numbers.to_numpy(dtype=np.float64)
        steps = np.diff(times[:_ROWS_PER_MARK])
        if unit is not None or not len(steps):
            return times * (unit or 1.0)
        if (steps == 1).all():
            return None  # it counts the samples
        mean = max(float(steps.mean()), 1e-12)
        units = [size for size in (1.0, 1e-3, 1e-6, 1e-9) if _RATES[0] <= 1 / (mean * size) < _RATES[1]]
        return times * units[0] if units else None
    clock = pd.to_timedelta(cells.where(cells.str.count(":") != 1, "0:" + cells), errors="coerce")
    if clock.isna().any():
        dates = pd.to_datetime(cells, errors="coerce", format="ISO8601", utc=True)
        clock = dates - dates.iloc[0]
    if clock.isna().any():
        return None
    seconds: NDArray[np.float64] = clock.dt.total_seconds().to_numpy(dtype=np.float64)
    return seconds


def _rate(
    path: Path, name: str, seconds: NDArray[np.float64], n_rows: int, sampling_rate: float | None
) -> float | None:
    """Return the rate of `n_rows` samples, whose first and last times are known; None where they do not rise.

    A rate within a sample, or a thousandth, of a whole number of Hz is that number: times are rounded.
    """
    head = seconds[: min(n_rows, _ROWS_PER_MARK)]
    spans = [float(part[-1] - part[0]) for part in (seconds, head)]
    if not min(spans) > 0:
        return None
    n_steps, n_first = n_rows - 1, len(head) - 1
    rate = n_steps / spans[0]
    whole = float(max(round(rate), 1))
    if abs(spans[0] * whole - n_steps) <= max(1.0, 1e-3 * n_steps):
        rate = whole
    if abs(spans[0] * (n_first / spans[1]) - n_steps) > max(ROUNDED, SLACK * n_steps):
        raise UnreadableRecordError(
            f"The file {path} lacks samples: by its column {name!r} the first {n_first + 1} come at "
            f"{n_first / spans[1]:.6g} Hz, all {n_rows} at {rate:.6g} Hz. Put empty rows in their places."
        )
    if sampling_rate is not None and abs(spans[0] * sampling_rate - n_steps) > max(ROUNDED, SLACK * n_steps):
        raise ValueError(
            f"Record {path.stem} has a sampling_rate of {rate:.6g} Hz by its column {name!r}, "
            f"got {sampling_rate:g}."
        )
    return rate


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
