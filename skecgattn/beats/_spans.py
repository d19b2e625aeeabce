"""The stretch of ECG that belongs to each heartbeat."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def spans(heartbeats: NDArray[np.int64], n_timesteps: int) -> NDArray[np.int64]:
    """Return the spans of heartbeats, from midpoint to midpoint between neighbours.

    Parameters
    ----------
    heartbeats : ndarray of shape (n_beats,), int
        R peaks in samples, ascending.

    n_timesteps : int
        Length of the ECG in samples.

    Returns
    -------
    spans : ndarray of shape (n_beats, 2), int
        First sample of each span, and the first one after it.

    Examples
    --------
    >>> import numpy as np
    >>> from skecgattn.beats import spans
    >>> spans(np.array([10, 20, 40]), 50)
    array([[ 0, 15],
           [15, 30],
           [30, 50]])
    """
    edges = span_edges(heartbeats, n_timesteps)
    return np.stack([edges[:-1], edges[1:]], axis=1)[: len(heartbeats)]


def span_edges(heartbeats: NDArray[np.int64], n_timesteps: int) -> NDArray[np.int64]:
    """Return the samples (n_beats + 1,) between which the spans lie; two where there is no heartbeat."""
    edges = np.empty(max(2, len(heartbeats) + 1), dtype=np.int64)
    edges[0], edges[-1] = 0, n_timesteps
    edges[1:-1] = (heartbeats[1:] + heartbeats[:-1] + 1) // 2
    return edges


def stack_heartbeats(heartbeats: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Return the R peaks of several ECGs as one array.

    Parameters
    ----------
    heartbeats : sequence of ndarray of int
        R peaks of each ECG, in samples.

    Returns
    -------
    stacked : ndarray of shape (n_samples, n), int
        Filled up with -1; n is at least 1.

    Examples
    --------
    >>> import numpy as np
    >>> from skecgattn.beats import stack_heartbeats
    >>> stack_heartbeats([np.array([10, 90]), np.array([50])])
    array([[10, 90],
           [50, -1]])
    """
    stacked = np.full((len(heartbeats), max([1, *map(len, heartbeats)])), -1, dtype=np.int64)
    for row, beats in zip(stacked, heartbeats):
        row[: len(beats)] = beats
    return stacked
