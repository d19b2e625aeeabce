"""What of an ECG was not recorded: padding at its ends, and gaps in between."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SHORTEST_PADDING = 0.02
"""Seconds for which all leads must stand still at an end of an ECG to be taken for padding."""

SHORTEST_GAP = 0.25
"""Seconds for which all leads must stand still within an ECG to be taken for a gap."""


def hold_padding(X: NDArray, shortest: int) -> tuple[NDArray, NDArray[np.int64]]:
    """Replace constant ends of ECGs by their first and last recorded samples.

    Padding with zeros ends in a step, which a filter smears into the ECG and a detector takes for a
    heartbeat.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_leads, n_timesteps)
    shortest : int
        Samples for which all leads must be constant.

    Returns
    -------
    X : ndarray of shape (n_samples, n_leads, n_timesteps)
        The ECGs themselves where none is padded, else a copy.
    recorded : ndarray of shape (n_samples, 2), int
        Start and stop of what is no padding; all of an ECG that is constant throughout.
    """
    n_samples, _, n_timesteps = X.shape
    shortest = max(1, shortest)  # a single sample always stands still
    recorded = np.tile(np.array([0, n_timesteps]), (n_samples, 1))
    ends = [X[..., : shortest + 1], X[..., -shortest - 1 :]]
    still = [(end == end[..., :1]).all(axis=(1, 2)) for end in ends]
    rows = np.flatnonzero(still[0] | still[1])
    if n_timesteps <= shortest or not len(rows):
        return X, recorded
    X = X.copy()
    for row in rows:
        steps = np.flatnonzero((np.diff(X[row], axis=1) != 0).any(axis=0))
        if not len(steps):
            continue
        if still[0][row]:
            start = recorded[row, 0] = steps[0] + 1
            X[row, :, :start] = X[row, :, start : start + 1]
        if still[1][row]:
            stop = recorded[row, 1] = steps[-1] + 1
            X[row, :, stop:] = X[row, :, stop - 1 : stop]
    return X, recorded


def find_gaps(X: NDArray, shortest: int) -> list[NDArray[np.int64]]:
    """Find where all leads of ECGs stand still: nothing was recorded there, and a heartbeat may be missing.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_leads, n_timesteps)
        ECGs as they were recorded: a filter hides what stood still.
    shortest : int
        Samples for which all leads must be constant.

    Returns
    -------
    gaps : list of ndarray of shape (n_gaps, 2), int
        Start and stop of the gaps of each ECG, padding among them.
    """
    shortest = max(2, shortest)  # a single sample always stands still
    still = (X[..., 1:] == X[..., :-1]).all(axis=1)
    gaps = [np.empty((0, 2), dtype=np.int64)] * len(X)
    # so many steps on end cannot all lie between those looked at here
    for row in np.flatnonzero(still[:, :: shortest - 1].any(axis=1)):
        changes = np.diff(still[row].astype(np.int8), prepend=0, append=0)
        stretches = np.flatnonzero(changes).reshape(-1, 2) + np.array([0, 1])
        gaps[row] = stretches[stretches[:, 1] - stretches[:, 0] >= shortest]
    return gaps


def bridge_gaps(X: NDArray, gaps: list[NDArray[np.int64]]) -> NDArray:
    """Replace gaps by straight lines between the samples beside them; those at an end stay as they are.

    An amplifier at its limit, or zeros, begin and end in a step, which a filter turns into a wide heartbeat.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_leads, n_timesteps), floating
    gaps : list of ndarray of shape (n_gaps, 2), int
        Of each ECG, see :func:`find_gaps`.

    Returns
    -------
    X : ndarray of shape (n_samples, n_leads, n_timesteps)
        The ECGs themselves where none has a gap, else a copy.
    """
    n_timesteps = X.shape[2]
    within = [
        (row, start, stop)
        for row, stretches in enumerate(gaps)
        for start, stop in stretches.tolist()
        if start > 0 and stop < n_timesteps
    ]
    if within:
        X = X.copy()
    for row, start, stop in within:
        share = np.arange(1, stop - start + 1) / (stop - start + 1)
        before, after = X[row, :, start - 1 : start], X[row, :, stop : stop + 1]
        X[row, :, start:stop] = before + share * (after - before)
    return X
