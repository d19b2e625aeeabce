"""Recordings in WFDB format."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skecgattn.datasets._wfdb import quiet_wfdb
from skecgattn.records._source import (
    Source,
    UnreadableRecordError,
    find_patient,
    is_called_ecg,
    to_millivolts,
)

# Bytes a sample of the formats of fixed size. The others are compressed: only reading tells their size.
_BYTES = {
    "8": 1,
    "16": 2,
    "24": 3,
    "32": 4,
    "61": 2,
    "80": 1,
    "160": 2,
    "212": 1.5,
    "310": 4 / 3,
    "311": 4 / 3,
}
_NO_FILE = "~"

OTHER_FILES = ("hea", "dat", "mat", "edf", "csv", "npy", "json", "html", "skecg")
"""Suffixes that no annotation file has."""


@dataclass(frozen=True)
class _Signal:
    """One signal of one segment."""

    index: int  # place among the segment's signals
    file: str
    fmt: str
    byte_offset: int
    first_column: int  # where its samples start within a frame of its file
    frame_width: int  # samples of all signals in a frame of its file
    samples_per_frame: int
    gain: float
    baseline: int
    unit: str
    scale: float  # mV in a unit; NaN if it is no voltage
    plain: bool  # not skewed, in a format that is decoded here


@dataclass(frozen=True)
class _Segment:
    """A stretch of the recording with its own header; `signals` is empty in a gap."""

    header: str  # path without suffix
    start: int  # in frames
    stop: int
    signals: dict[int, _Signal]  # by channel of the recording


@dataclass(frozen=True)
class WFDBReader:
    """Samples of single- and multi-segment records; NaN in gaps and where a segment lacks a signal.

    Formats 16 and 212, which hold most of PhysioNet, are decoded here, several times faster than by wfdb,
    which reads all others.
    """

    segments: tuple[_Segment, ...]
    samples_per_frame: tuple[int, ...]

    def read(self, channels: Sequence[int], start: int, stop: int) -> NDArray[np.float32]:
        rate = self.samples_per_frame[channels[0]]
        X = np.full((len(channels), stop - start), np.nan, dtype=np.float32)
        first = bisect_right(self.segments, start, key=lambda segment: segment.stop * rate)
        for segment in self.segments[first:]:
            a, b = max(start, segment.start * rate), min(stop, segment.stop * rate)
            if a >= b:
                break
            shift = segment.start * rate
            for rows, signals in _by_file(segment, channels):
                block = _read_signals(segment, signals, a - shift, b - shift)
                for row, signal, values in zip(rows, signals, block):
                    np.multiply(values, np.float32(signal.scale), out=X[row, a - start : b - start])
        return X


def open_wfdb(stem: Path, units: str | None) -> Source:
    """Open the record whose header is ``<stem>.hea``."""
    header = _read_header(stem)
    if hasattr(header, "seg_name"):
        segments, layout = _open_segments(stem, header, units)
    else:
        layout = header
        n_frames = header.sig_len or _infer_length(stem, header)
        channels = {i: i for i in range(header.n_sig)}
        segments = [_open_segment(stem, header, units, channels, 0, n_frames)]
    n_channels = layout.n_sig
    if not n_channels or not layout.sig_name:
        raise UnreadableRecordError(f"Record {stem.name} has no signals: its header describes none.")
    if not segments or not segments[-1].stop:
        raise UnreadableRecordError(f"Record {stem.name} is empty: its header gives a length of 0 samples.")
    found = [[s.signals[i] for s in segments if i in s.signals] for i in range(n_channels)]
    for i, signals in enumerate(found):
        if len({signal.samples_per_frame for signal in signals}) > 1:
            raise UnreadableRecordError(
                f"Record {stem.name}: the sampling rate of signal {layout.sig_name[i]!r} changes between "
                "segments."
            )
    per_frame = tuple(s[0].samples_per_frame if s else layout.samps_per_frame[i] for i, s in enumerate(found))
    lead_names = tuple(name or f"lead{i + 1}" for i, name in enumerate(layout.sig_name))
    comments = tuple(header.comments)
    return Source(
        name=stem.name,
        reader=WFDBReader(tuple(segments), per_frame),
        lead_names=lead_names,
        called_ecg=tuple(map(is_called_ecg, lead_names)),
        units=tuple(_unit(signals, layout.units[i]) for i, signals in enumerate(found)),
        sampling_rates=tuple(float(header.fs) * rate for rate in per_frame),
        n_timesteps=tuple(segments[-1].stop * rate for rate in per_frame),
        comments=comments,
        patient=find_patient(comments),
        start_time=header.base_datetime or header.base_time,
    )


def read_annotations(stem: Path, extension: str) -> tuple[Any, float | None]:
    """Read an annotation file, and the rate that its samples count in, if it is known.

    Raises
    ------
    ValueError
        If the extension is that of another kind of file, which wfdb would take for annotations.
    """
    if extension.casefold() in OTHER_FILES:
        raise ValueError(f"{stem}.{extension} is no annotation file: .{extension} is another kind of file.")
    with quiet_wfdb() as wfdb:
        annotations = wfdb.rdann(str(stem), extension)
    return annotations, annotations.fs


def names_in_header(header: Path) -> tuple[list[str], bool]:
    """Return the names of files or of segments in a header, and whether they are segments."""
    text = header.read_text(encoding="utf-8", errors="replace")
    rows = [line.split() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    names = dict.fromkeys(row[0] for row in rows[1:] if row[0] != _NO_FILE)
    return list(names), bool(rows) and "/" in rows[0][0]


def files_of_header(header: Path) -> list[Path]:
    """List the files that a header, if there is one, names: of signals, or of segments and their signals."""
    if not header.is_file():
        return []
    names, are_segments = names_in_header(header)
    if not are_segments:
        return [header.parent / name for name in names]
    found = []
    for segment in (header.parent / f"{name}.hea" for name in names):
        found.append(segment)
        if segment.is_file():
            found += [segment.parent / name for name in names_in_header(segment)[0]]
    return found


def _read_header(stem: Path) -> Any:
    path = stem.with_name(stem.name + ".hea")
    if not path.is_file():
        raise FileNotFoundError(f"Record {stem.name} has no header: {path} does not exist.")
    try:
        with quiet_wfdb() as wfdb:
            return wfdb.rdheader(str(stem))
    except Exception as error:
        raise UnreadableRecordError(f"The header {path} is damaged or not of WFDB: {error}") from error


def _open_segments(stem: Path, header: Any, units: str | None) -> tuple[list[_Segment], Any]:
    """Segments of a multi-segment record, and the header that describes the signals of all of them."""
    layout, segments, start = None, [], 0
    for name, length in zip(header.seg_name, header.seg_len):
        if name == _NO_FILE:
            segments.append(_Segment(_NO_FILE, start, start + length, {}))
            start += length
            continue
        segment_stem = stem.parent / name
        segment = _read_header(segment_stem)
        if layout is None:
            layout = segment
        if not length:  # the layout of a variable record
            continue
        if segment.fs != header.fs:
            raise UnreadableRecordError(
                f"Record {stem.name}: segment {name} has {segment.fs:g} Hz, the record {header.fs:g} Hz."
            )
        channels = _match_channels(header.layout, layout, segment)
        segments.append(_open_segment(segment_stem, segment, units, channels, start, start + length))
        start += length
    if layout is None:
        raise UnreadableRecordError(f"Record {stem.name} has no signals: all its segments are gaps.")
    return segments, layout


def _match_channels(kind: str, layout: Any, segment: Any) -> dict[int, int]:
    """Find the record's channels in a segment: by order in a fixed, by name in a variable record."""
    if kind == "fixed":
        return {i: i for i in range(min(layout.n_sig, segment.n_sig))}
    places: dict[str, list[int]] = {}
    for i, name in enumerate(segment.sig_name or ()):
        places.setdefault(name, []).append(i)
    return {i: places[name].pop(0) for i, name in enumerate(layout.sig_name) if places.get(name)}


def _open_segment(
    stem: Path, header: Any, units: str | None, channels: dict[int, int], start: int, stop: int
) -> _Segment:
    """Describe one segment, whose `channels` are places in its header by channel of the recording."""
    places = {place: channel for channel, place in channels.items()}
    signals = {}
    for file, members in _files(header).items():
        path, fmt = stem.parent / file, header.fmt[members[0]]
        byte_offset = header.byte_offset[members[0]] or 0
        frame_width = sum(header.samps_per_frame[i] for i in members)
        _check_size(stem.name, path, fmt, byte_offset, (stop - start) * frame_width)
        first_column = 0
        for i in members:
            if i in places:
                unit = units or header.units[i] or "mV"
                signals[places[i]] = _Signal(
                    index=i,
                    file=str(path),
                    fmt=fmt,
                    byte_offset=byte_offset,
                    first_column=first_column,
                    frame_width=frame_width,
                    samples_per_frame=header.samps_per_frame[i],
                    gain=header.adc_gain[i] or 200.0,
                    baseline=header.baseline[i] or 0,
                    unit=unit,
                    scale=to_millivolts(unit) or math.nan,
                    plain=fmt in ("16", "212") and not any(header.skew[j] for j in members),
                )
            first_column += header.samps_per_frame[i]
    return _Segment(str(stem), start, stop, signals)


def _check_size(record: str, path: Path, fmt: str, byte_offset: int, n_samples: int) -> None:
    if not path.is_file():
        raise FileNotFoundError(f"Record {record}: its signal file {path} does not exist.")
    if fmt in _BYTES:
        expected = byte_offset + math.ceil(round(n_samples * _BYTES[fmt], 6))
        if (size := path.stat().st_size) < expected:
            raise UnreadableRecordError(
                f"Record {record}: its signal file {path} is truncated: "
                f"expected {expected} bytes, got {size}."
            )


def _files(header: Any) -> dict[str, list[int]]:
    """Signals in each file of a segment."""
    files: dict[str, list[int]] = {}
    for i, file in enumerate(header.file_name or ()):
        if file != _NO_FILE:
            files.setdefault(file, []).append(i)
    return files


def _infer_length(stem: Path, header: Any) -> int:
    """Frames in the files of a header that does not say."""
    lengths = []
    for file, members in _files(header).items():
        path, fmt = stem.parent / file, header.fmt[members[0]]
        if fmt not in _BYTES:
            raise UnreadableRecordError(f"Record {stem.name}: its header does not give its length.")
        if path.is_file():
            n_bytes = path.stat().st_size - (header.byte_offset[members[0]] or 0)
            width = sum(header.samps_per_frame[i] for i in members)
            lengths.append(int(n_bytes / _BYTES[fmt] / width + 1e-9))
    return min(lengths, default=0)


def _unit(signals: list[_Signal], default: str | None) -> str:
    """Give the unit of a signal; of several segments, one that is no voltage if there is one."""
    units = [signal.unit for signal in signals] or [default or "mV"]
    return next((unit for unit in units if to_millivolts(unit) is None), units[0])


def _by_file(segment: _Segment, channels: Sequence[int]) -> list[tuple[list[int], list[_Signal]]]:
    """Rows of the result and their signals, of one file of the segment after the other."""
    groups: dict[str, tuple[list[int], list[_Signal]]] = {}
    for row, channel in enumerate(channels):
        if signal := segment.signals.get(channel):
            rows, signals = groups.setdefault(signal.file, ([], []))
            rows.append(row)
            signals.append(signal)
    return list(groups.values())


def _read_signals(
    segment: _Segment, signals: list[_Signal], start: int, stop: int
) -> list[NDArray[np.float32]]:
    """Read samples [start, stop) of signals of one file and one rate, in their own units."""
    rate = signals[0].samples_per_frame
    first, last = start // rate, -(-stop // rate)
    trim = slice(start - first * rate, stop - first * rate)
    if not signals[0].plain:
        with quiet_wfdb() as wfdb:
            record = wfdb.rdrecord(
                segment.header,
                sampfrom=first,
                sampto=last,
                channels=[signal.index for signal in signals],
                smooth_frames=False,
            )
        return [values[trim].astype(np.float32) for values in record.e_p_signal]
    frames = _read_frames(signals[0], first, last)
    missing = -(2**15) if signals[0].fmt == "16" else -(2**11)
    block = []
    for signal in signals:
        digital = frames[:, signal.first_column : signal.first_column + rate].reshape(-1)[trim]
        values = digital.astype(np.float32)
        values -= signal.baseline
        values /= np.float32(signal.gain)
        values[digital == missing] = np.nan
        block.append(values)
    return block


def _read_frames(signal: _Signal, first: int, last: int) -> NDArray[np.int16]:
    """Frames [first, last) of a file in format 16 or 212, of shape (last - first, frame_width)."""
    width = signal.frame_width
    n_samples = (last - first) * width
    if signal.fmt == "16":
        offset = signal.byte_offset + first * width * 2
        return np.fromfile(signal.file, dtype="<i2", count=n_samples, offset=offset).reshape(-1, width)
    # Two samples of 12 bits in three bytes: the low byte of each, and their high halves in the byte between.
    odd = first * width % 2
    offset = signal.byte_offset + (first * width - odd) // 2 * 3
    n_pairs = -(-(n_samples + odd) // 2)
    packed = np.fromfile(signal.file, dtype=np.uint8, count=3 * n_pairs, offset=offset)
    packed = np.pad(packed, (0, 3 * n_pairs - len(packed))).reshape(-1, 3)  # a last sample without its pair
    high = packed[:, 1].astype(np.int16)
    samples = np.empty((n_pairs, 2), dtype=np.int16)
    # Shifting up and down again carries the sign of 12 bits into the 16.
    samples[:, 0] = ((high << 12) | (packed[:, 0].astype(np.int16) << 4)) >> 4
    samples[:, 1] = (((high & 0xF0) << 8) | (packed[:, 2].astype(np.int16) << 4)) >> 4
    return samples.reshape(-1)[odd : odd + n_samples].reshape(-1, width)
