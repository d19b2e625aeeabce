"""Recordings in .csv files: one column a lead, and perhaps one of times."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skecgattn._words import few
from skecgattn.records._source import (
    Source,
    UnreadableRecordError,
    lead_and_unit,
    to_millivolts,
    uniform_source,
)
from skecgattn.records._times import SLACK, TOLD, Clock, read_clock, unit_in, unit_of

_COUNT_COLUMNS = {"sample", "samples", "sample #", "index", ""}  # "sample #" is PhysioNet's
_ROWS_PER_MARK = 4096
_COMMA = re.compile(r"[-+]?\d*,\d+(e[-+]?\d+)?", re.IGNORECASE)
_POINT = re.compile(r"[-+]?\d*\.\d+(e[-+]?\d+)?", re.IGNORECASE)
_MISSING = {"", "-", "na", "n/a", "nan", "null", "none"}


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
        header, second = file.readline(), file.readline()
    try:
        text = header.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = header.decode("cp1252", errors="replace")
    separator = max(",;\t", key=text.count)
    try:
        names, below = (
            [_unquoted(cell.strip()) for cell in next(csv.reader([line], delimiter=separator), [])]
            for line in (text, second.decode(errors="replace"))
        )
    except csv.Error as error:
        raise UnreadableRecordError(f"The file {path} must be a table of text, {error}.") from error
    times = {i: unit for i, name in enumerate(names) if (unit := unit_in(name)) is not None}
    columns = [i for i, name in enumerate(names) if i not in times and name.casefold() not in _COUNT_COLUMNS]
    if not columns or any(_is_number(names[i]) for i in columns):
        raise UnreadableRecordError(
            f"The file {path} must begin with a line of lead names, got {text.strip()[:60]!r}."
        )
    given = _units([below[i] for i in columns if i < len(below)], len(columns))
    marks, n_rows = _mark_rows(path, len(header) + (len(second) if given else 0))
    if not n_rows:
        raise UnreadableRecordError(f"The file {path} holds no samples.")
    ends = _Ends.of(path, marks, n_rows)
    comma = separator != ","
    decimal = "," if comma and ends.have_decimal_commas(columns, separator) else "."
    kept = [k for k, i in enumerate(columns) if not ends.is_text(i, separator, decimal)]
    if not kept:
        raise UnreadableRecordError(
            f"The file {path} must have a column of numbers, got text in {few([names[i] for i in columns])}."
        )
    columns, given = [columns[k] for k in kept], [given[k] for k in kept if given]
    clocks: list[tuple[Clock, str]] = []
    for i, unit in times.items():
        below_it = unit_of(below[i]) if given and i < len(below) else 0.0
        if below_it is None:
            continue
        cells = ends.column(i, separator)
        if cells is not None and (
            clock := read_clock(cells, ends.rows, ends.n_first, below_it or unit, "," if comma else ".")
        ):
            clocks.append((clock, names[i]))
    rate = _choose_rate(path, clocks, sampling_rate)
    leads, named_units = zip(*(lead_and_unit(names[i]) for i in columns))
    unit_of_leads = [units] * len(columns) if units else given or [unit or "mV" for unit in named_units]
    # a lead in another unit is refused where leads are chosen
    scales = tuple(to_millivolts(unit) or 1.0 for unit in unit_of_leads)
    reader = CSVReader(path, tuple(columns), separator, decimal, marks, scales)
    return uniform_source(path, reader, leads, n_rows, rate, unit_of_leads)


def _text(path: Path, marks: NDArray[np.int64], first: int, last: int) -> bytes:
    """Read the rows between two marks."""
    with path.open("rb") as file:
        file.seek(marks[first])
        return file.read(int(marks[min(last, len(marks) - 1)] - marks[first]))


@dataclass(frozen=True)
class _Ends:
    """The first rows of a file up to a mark, and the last ones from a mark on where those are others."""

    text: bytes
    rows: NDArray[np.int64]
    n_first: int

    @classmethod
    def of(cls, path: Path, marks: NDArray[np.int64], n_rows: int) -> Self:
        text, n_first = _text(path, marks, 0, 1), min(n_rows, _ROWS_PER_MARK)
        last = (len(marks) - 2) * _ROWS_PER_MARK
        if last <= 0:
            return cls(text, np.arange(n_first), n_first)
        text += _text(path, marks, len(marks) - 2, len(marks) - 1)
        return cls(text, np.r_[:n_first, last:n_rows], n_first)

    def column(self, column: int, separator: str) -> list[str] | None:
        """Return the cells of a column, None where these rows have none."""
        options = {"sep": separator, "header": None, "usecols": [column], "dtype": str}
        try:
            table = pd.read_csv(
                io.BytesIO(self.text),
                **options,
                skip_blank_lines=False,
                keep_default_na=False,
                na_values=[""],
            )
        except ValueError:
            return None
        cells: list[str] = table[column].fillna("").tolist()
        return cells if len(cells) == len(self.rows) else None

    def is_text(self, column: int, separator: str, decimal: str) -> bool:
        """Tell whether a column has something in it, and nothing of that is a number: it is no lead."""
        cells = (cell.strip(" '").replace(decimal, ".") for cell in self.column(column, separator) or [])
        known = [cell for cell in cells if cell.casefold() not in _MISSING]
        return bool(known) and not any(map(_is_number, known))

    def have_decimal_commas(self, columns: Sequence[int], separator: str) -> bool:
        """Tell whether more numbers in columns have a decimal comma than a decimal point."""
        cells = [cell.strip(" '") for i in columns for cell in self.column(i, separator) or []]
        return sum(map(bool, map(_COMMA.fullmatch, cells))) > sum(map(bool, map(_POINT.fullmatch, cells)))


def _contradicts(sampling_rate: float, clock: Clock) -> bool:
    """Tell whether a rate is not that of a clock, in whichever unit where that is a guess."""
    ratio = sampling_rate / clock.rate
    if clock.guessed:
        ratio /= 10.0 ** round(np.log10(ratio))
    return abs(ratio - 1) > max(SLACK, clock.uncertainty)


def _choose_rate(path: Path, clocks: Sequence[tuple[Clock, str]], sampling_rate: float | None) -> float:
    """Return the rate that is given, or else that of the finest clock; refuse what contradicts it."""
    if clocks:
        clock, name = min(clocks, key=lambda one: one[0].uncertainty)
        if sampling_rate is not None and _contradicts(sampling_rate, clock):
            raise ValueError(
                f"Record {path.stem} has a sampling_rate of {clock.rate:.6g} Hz by its column {name!r}, "
                f"got {sampling_rate:g}. If the column is wrong, delete it, or give it a name of no time."
            )
        if not clock.even:
            raise UnreadableRecordError(
                f"The file {path} lacks samples, or repeats some: by its column {name!r} they come at "
                f"{clock.rate:.6g} Hz, but {clock.overall:.6g} a second from the first to the last. Put "
                "empty rows where samples are missing, or delete the column if it is wrong."
            )
        if sampling_rate is None and clock.uncertainty <= TOLD:
            return clock.rate
    if sampling_rate is None:
        raise ValueError(
            f"sampling_rate must be given for {path.name}: it has no column of times, or of too coarse ones."
        )
    return sampling_rate


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
