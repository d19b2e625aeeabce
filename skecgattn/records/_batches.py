"""The windows of a recording, some at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from skecgattn.records._readability import context_length, needed_until
from skecgattn.records._record import Record
from skecgattn.records._windows import WindowPlanner

BATCH = 64
"""Windows that the networks read at a time."""


class Batch(NamedTuple):
    """Windows that are read together."""

    starts: NDArray[np.int64]
    """First sample of each window."""
    edges: NDArray[np.int64]
    """Samples (n_windows + 1,) between which each window is the nearest."""
    signal: NDArray[np.float32]
    """The recording around all of them."""
    first: int
    """First sample of `signal`."""


def batches(record: Record, length: int, overlap: float, chunk: float | None) -> Iterator[Batch]:
    """Read a recording, `chunk` seconds at a time, and yield its windows, `BATCH` at a time.

    Parameters
    ----------
    record : Record
    length : int
        Of a window, in samples.
    overlap : float
        Seconds that neighbouring windows share, at least.
    chunk : float or None
        None reads all at once.

    Yields
    ------
    batch : Batch
    """
    rate = record.sampling_rate
    n_timesteps = record.n_timesteps
    context = context_length(rate)
    planner = WindowPlanner(n_timesteps, rate, length, max(1, length - round(overlap * rate)))
    signal = np.empty((record.n_leads, 0), dtype=np.float32)
    first = edge = 0
    waiting: list[int] = []
    n_read = n_timesteps if chunk is None else max(1, round(chunk * rate))
    for start in range(0, n_timesteps, n_read):
        piece = record.read(start, min(start + n_read, n_timesteps))
        signal = np.concatenate([signal, piece], axis=1) if signal.size else piece
        waiting += planner.feed(piece)
        known = first + signal.shape[1]
        at_end = known == n_timesteps
        while len(waiting) > BATCH or (at_end and waiting):
            starts = np.array(waiting[: BATCH + 1])
            borders = (starts[1:] + starts[:-1]) // 2 + length // 2
            edges = np.concatenate([[edge], borders, [n_timesteps]])[: BATCH + 1]
            starts = starts[:BATCH]
            stop = max(int(starts[-1]) + length, needed_until(edges, rate))
            if stop > known and not at_end:
                break
            begin = max(first, min(int(starts[0]), edge - context))
            yield Batch(starts, edges, signal[:, begin - first : stop - first], begin)
            edge, waiting = int(edges[-1]), waiting[BATCH:]
        keep = max(first, min([edge - context, *waiting[:1]]))
        # a copy, so that the rest is freed
        signal, first = signal[:, keep - first :].copy(), keep
