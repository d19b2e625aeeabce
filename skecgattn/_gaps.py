"""What of an ECG was not recorded: padding at its ends, and gaps in between."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SHORTEST_PADDING = 0.02
"""Seconds for which all leads must stand still at an end of an ECG to be taken for padding."""

SHORTEST_GAP = 0.25
"""Seconds for which leads must stand still within an ECG to be taken for a gap."""

SMALLEST_STEP = 0.3
"""Millivolts from one sample to the next that a filter may turn into a heartbeat."""


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
    return _still_stretches((X[..., 1:] == X[..., :-1]).all(axis=1), shortest)


def bridge_gaps(X: NDArray, shortest: int) -> NDArray:
    """Replace what stands still in a lead, and begins or ends in a step, by a straight line.

    An amplifier at its limit, or zeros, with an electrode off: a filter turns the step into a wide heartbeat.
    At the ends of an ECG there is no line to draw.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_leads, n_timesteps), floating
        ECGs in millivolts.
    shortest : int
        Samples for which a lead must be constant.

    Returns
    -------
    X : ndarray of shape (n_samples, n_leads, n_timesteps)
        The ECGs themselves where none has such a stretch, else a copy.
    """
    n_samples, n_leads, n_timesteps = X.shape
    leads = X.reshape(n_samples * n_leads, n_timesteps)
    bridges = []
    for row, gaps in enumerate(_still_stretches(leads[:, 1:] == leads[:, :-1], shortest)):
        for start, stop in gaps.tolist():
            if start == 0 or stop == n_timesteps:
                continue
            before, after = leads[row, start - 1], leads[row, stop]
            if _is_step(leads[row, : start + 1][::-1]) or _is_step(leads[row, stop - 1 :]):
                share = np.arange(1, stop - start + 1) / (stop - start + 1)
                bridges.append((row, slice(start, stop), before + share * (after - before)))
    if bridges:
        leads = leads.copy()
    for row, gap, line in bridges:
        leads[row, gap] = line
    return leads.reshape(X.shape)


def _is_step(lead: NDArray) -> bool:
    """Tell whether a lead jumps away from its first sample; one that was clipped on its way does not."""
    changes = np.abs(np.diff(lead[:3]))
    return bool(changes[0] > max(SMALLEST_STEP, 2 * changes[1:].max(initial=0)))


def _still_stretches(still: NDArray[np.bool_], shortest: int) -> list[NDArray[np.int64]]:
    """Return start and stop (n, 2) of the stretches of `shortest` and more samples in every row.

    `still` (n_rows, n_timesteps - 1) tells whether a sample is the same as the one before.
    """
    shortest = max(2, shortest)  # a single sample always stands still
    stretches = [np.empty((0, 2), dtype=np.int64)] * len(still)
    # so many steps on end cannot all lie between those looked at here
    for row in np.flatnonzero(still[:, :: shortest - 1].any(axis=1)):
        changes = np.diff(still[row].astype(np.int8), prepend=0, append=0)
        found = np.flatnonzero(changes).reshape(-1, 2) + np.array([0, 1])
        stretches[row] = found[found[:, 1] - found[:, 0] >= shortest]
    return stretches
