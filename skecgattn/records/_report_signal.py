"""A whole recording inside a page: at a reduced rate, in pieces that the browser unpacks one by one."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Collection, Iterator
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.signal import resample_poly
from tqdm.auto import tqdm

from skecgattn.records._record import Record

VIEW_RATE = 125.0
"""Hz, about: the recording's own rate divided by a whole number."""

STEP = 0.005
"""Millivolts of the smallest difference, a twentieth of a millimetre on paper."""

PIECE = 60.0
"""Seconds of a packed piece."""

BLOCK = 10
"""Pieces that are read at a time."""

MISSING = np.iinfo(np.int16).min
LARGEST = np.iinfo(np.int16).max
RANGE = (0.5, 2.5)
"""Smallest and largest millivolts that the page gives a lead on either side of its baseline."""


class Packed(NamedTuple):
    """What the page has to know of the packed recording."""

    rate: float
    n: int
    chunk: int
    step: float
    range: list[tuple[float, float]]

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return self._asdict()


def write_pieces(
    file: IO[bytes], record: Record, *, wanted: Collection[int] | None = None, verbose: int = 0
) -> Packed:
    """Write the recording as script elements ``c0``, ``c1``, ..., one a minute.

    Parameters
    ----------
    file : binary file
        Written to as it goes: memory does not grow with the recording.

    record : Record
        All of its leads are written.

    wanted : collection of int, default=None
        Minutes to write; None writes all.

    verbose : int, default=0
        1 shows a progress bar.

    Returns
    -------
    packed : Packed
        Rate, length and the range of each lead.
    """
    factor = max(1, round(record.sampling_rate / VIEW_RATE))
    rate = record.sampling_rate / factor
    n, length = -(-record.n_timesteps // factor), max(1, round(PIECE * rate))
    extremes = []
    n_pieces = -(-n // length)
    with tqdm(total=n_pieces, desc="packing", unit="min", disable=not verbose, dynamic_ncols=True) as bar:
        for first in range(0, n_pieces, BLOCK):
            last = min(first + BLOCK, n_pieces)
            numbers = [k for k in range(first, last) if wanted is None or k in wanted]
            if numbers:
                start, stop = numbers[0] * length, min((numbers[-1] + 1) * length, n)
                signal = reduced(record, start, stop, factor)
                for number in numbers:
                    piece = signal[:, number * length - start : (number + 1) * length - start]
                    extremes.append(_extremes(piece))
                    file.write(f'<script type="text/plain" id="c{number}">'.encode())
                    file.write(base64.b64encode(_pack(piece)))
                    file.write(b"</script>\n")
            bar.update(last - first)
    return Packed(rate, n, length, STEP, _ranges(extremes, record.n_leads))


def reduced(record: Record, start: int, stop: int, factor: int) -> NDArray[np.float32]:
    """Read samples [start, stop) of the recording at its rate divided by a factor, NaN where missing."""
    margin = 10 * factor  # what the filter of resample_poly reaches
    begin, end = max(0, start * factor - margin), min(record.n_timesteps, stop * factor + margin)
    signal = record.read(begin, end)
    if factor == 1:
        return signal[:, start - begin : stop - begin]
    # begin is a multiple of the factor, or 0
    offset = start - begin // factor
    missing = np.isnan(signal)
    if missing.any():
        signal = np.where(missing, 0, signal)
    low = resample_poly(signal, 1, factor, axis=1, padtype="line")
    low[missing[:, ::factor]] = np.nan
    return low[:, offset : offset + stop - start]


def _pack(piece: NDArray[np.float32]) -> bytes:
    """Compress differences of neighbours: low bytes and high bytes apart, small ones of either sign alike."""
    scaled = np.rint(piece / STEP)
    values = np.clip(np.nan_to_num(scaled, nan=MISSING), -LARGEST, LARGEST).astype(np.int16)
    values[np.isnan(piece)] = MISSING
    change = np.diff(values, axis=1, prepend=np.int16(0))  # wraps around, and back again when summed
    zigzag = ((change << 1) ^ (change >> 15)).view(np.uint16).ravel()
    planes = np.concatenate([zigzag & 0xFF, zigzag >> 8]).astype(np.uint8).tobytes()
    packer = zlib.compressobj(6, strategy=zlib.Z_FILTERED)  # differences: smaller than the default strategy
    return packer.compress(planes) + packer.flush()


def _extremes(piece: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return how far each lead reaches below and above its median, (n_leads, 2); NaN where it is missing."""
    found = np.full((len(piece), 2), np.nan)
    for k, lead in enumerate(piece):
        if len(known := lead[~np.isnan(lead)]):
            low, middle, high = np.quantile(known, [0.002, 0.5, 0.998])
            found[k] = low - middle, high - middle
    return found


def _ranges(extremes: list[NDArray[np.float64]], n_leads: int) -> list[tuple[float, float]]:
    """Return millivolts below and above the baseline that nearly all pieces stay within."""
    ranges = []
    for k in range(n_leads):
        known = np.array([one[k] for one in extremes if not np.isnan(one[k, 0])]).reshape(-1, 2)
        low, high = (
            (np.quantile(known[:, 0], 0.1), np.quantile(known[:, 1], 0.9)) if len(known) else (-0.5, 1.0)
        )
        ranges.append((-float(np.clip(-low, *RANGE)), float(np.clip(high, *RANGE))))
    return ranges


def pack_beats(
    time: NDArray, before: NDArray, after: NDArray, kind: NDArray, score: NDArray
) -> Iterator[bytes]:
    """Yield the beats as base64: time (s) and span to either side (s), class, score in [0, 1]."""
    columns = [
        np.rint(time * 1000).astype("<u4"),
        np.rint(before * 1000).clip(0, 65535).astype("<u2"),
        np.rint(after * 1000).clip(0, 65535).astype("<u2"),
        kind.astype(np.uint8),
        np.rint(np.nan_to_num(score).clip(0, 1) * 255).astype(np.uint8),
    ]
    yield base64.b64encode(zlib.compress(b"".join(column.tobytes() for column in columns), 6))
