"""Which parts of a batch of windows are unreadable."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from skecgattn._gaps import runs
from skecgattn.records._quality import (
    _STEP_SECONDS,
    _STEPS,
    _SUB_BLOCKS,
    CONTEXT_SECONDS,
    unreadable_stretches,
)


def context_length(sampling_rate: float) -> int:
    """Return how many samples before a part decide whether it is readable: a multiple of a block."""
    block = _block(sampling_rate)
    return -(-int(np.ceil(CONTEXT_SECONDS * sampling_rate)) // block) * block


def needed_until(edges: NDArray[np.int64], sampling_rate: float) -> int:
    """Return up to which sample the recording decides whether the parts between edges are readable."""
    lengths = _whole_blocks(np.diff(edges), sampling_rate)
    return int((edges[:-1] + lengths).max()) + context_length(sampling_rate)


def judge(
    signal: NDArray[np.float32], first: int, edges: NDArray[np.int64], sampling_rate: float
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Judge the parts of a recording between edges, each in blocks that begin at its own first edge.

    So the verdict depends on the samples nearby, like the edges, and not on where the recording begins.

    Parameters
    ----------
    signal : ndarray of shape (n_leads, n_timesteps)
        The recording from `context_length` before the first edge to `needed_until`. What the recording
        lacks of that is taken for a mirror image.

    first : int
        Sample of the recording at which `signal` begins.

    edges : ndarray of shape (n_parts + 1,)
        Samples of the recording, ascending.

    sampling_rate : float
        In Hz.

    Returns
    -------
    stretches : ndarray of shape (n_stretches, 2)
        Unreadable stretches between the first edge and the last, as [start, stop).

    hidden : ndarray of shape (n_parts,), bool
        Whether nothing of a part is readable.
    """
    context, lengths = context_length(sampling_rate), np.diff(edges)
    padded_lengths = _whole_blocks(lengths, sampling_rate)
    before = max(0, first - (int(edges[0]) - context))
    after = max(0, needed_until(edges, sampling_rate) - (first + signal.shape[1]))
    padded = np.pad(signal, ((0, 0), (before, after)), mode="symmetric")
    begins = edges[:-1] - context - (first - before)
    # in one call: the parts do not reach each other beyond their contexts
    parts = [padded[:, b : b + n + 2 * context] for b, n in zip(begins.tolist(), padded_lengths.tolist())]
    found = unreadable_stretches(np.concatenate(parts, axis=1), sampling_rate)
    if len(found) == 0:
        return found, np.zeros(len(lengths), dtype=bool)
    unreadable = np.zeros(int((padded_lengths + 2 * context).sum()), dtype=bool)
    for one, two in found.tolist():
        unreadable[one:two] = True
    inner = np.cumsum(padded_lengths + 2 * context) - padded_lengths - context
    masks = [unreadable[k : k + n] for k, n in zip(inner.tolist(), lengths.tolist())]
    stretches = runs(np.concatenate(masks)) + edges[0]
    return stretches, np.array([mask.all() for mask in masks])


def join_stretches(stretches: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return stretches (n, 2) in order, those that touch as one."""
    if len(stretches) < 2:
        return stretches
    apart = np.flatnonzero(stretches[1:, 0] > stretches[:-1, 1])
    return np.stack(
        [stretches[np.r_[0, apart + 1], 0], stretches[np.r_[apart, len(stretches) - 1], 1]], axis=1
    )


def _block(sampling_rate: float) -> int:
    """Return the samples that are judged as one."""
    return max(1, round(_STEP_SECONDS * sampling_rate)) * _STEPS * _SUB_BLOCKS


def _whole_blocks(lengths: NDArray[np.int64], sampling_rate: float) -> NDArray[np.int64]:
    """Return lengths rounded up to whole blocks."""
    block = _block(sampling_rate)
    return -(-lengths // block) * block
