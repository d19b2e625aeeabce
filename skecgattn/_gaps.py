"""What of an ECG was not recorded: padding at its ends, and gaps in between."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SHORTEST_PADDING = 0.02
"""Seconds for which all leads must stand still at an end of an ECG to be taken for padding."""

SHORTEST_GAP = 0.25
"""Seconds for which leads must stand still within an ECG to be taken for a gap, or follow straight lines."""

ROUNDING = 4 * float(np.finfo(np.float32).eps)
"""Share of a lead's largest value by which a straight line may bend: interpolated samples are rounded."""

LARGEST_VALUE = 100.0
"""Millivolts above which a largest value is a spike, and says nothing of how samples were rounded."""

SMALLEST_KINK = 10
"""Multiple of that by which the ECG must bend where the line ends: a smooth wave turns into one slowly."""

SMALLEST_JUMP = 0.3
"""Millivolts from one sample to the next that a filter may turn into a heartbeat."""

LONGEST_JUMP = 0.0125
"""Seconds that a lead may take to where it stands still, in a recording that was filtered."""


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


def find_gaps(X: NDArray, sampling_rate: float) -> list[NDArray[np.int64]]:
    """Find where all leads of ECGs stand still or follow straight lines: nothing was recorded there.

    A heartbeat may be missing in such a gap. Lines are what is left where missing samples were interpolated.
    Coarsely digitised ECGs stand still between two heartbeats, too: where all leads stand still, a gap begins
    and ends in more than the smallest change that there is in a lead.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_leads, n_timesteps)
        ECGs as they were recorded: a filter hides what stood still.
    sampling_rate : float
        In Hz.

    Returns
    -------
    gaps : list of ndarray of shape (n_gaps, 2), int
        Start and stop of the gaps of each ECG, padding among them; they may overlap.
    """
    found = _long_runs((X[..., 1:] == X[..., :-1]).all(axis=1), 1, sampling_rate)
    for row in np.flatnonzero([len(stretches) for stretches in found]):
        changes = np.abs(np.diff(X[row], axis=1))
        smallest = np.where(changes > 0, changes, np.inf).min(axis=1, keepdims=True)
        far = np.pad((changes > 1.5 * smallest).any(axis=0), 1, constant_values=True)
        found[row] = found[row][far[found[row]].all(axis=1)]
    return [np.concatenate(pair) for pair in zip(found, _find_lines(X, sampling_rate))]


def _find_lines(X: NDArray, sampling_rate: float) -> list[NDArray[np.int64]]:
    """Find where all leads follow straight lines, and at least one slopes: start and stop (n, 2)."""
    bend = np.abs(np.diff(X, n=2, axis=2))
    rounding = ROUNDING * np.abs(X).max(axis=2, initial=0.0, keepdims=True).clip(max=LARGEST_VALUE)
    found = _long_runs((bend <= rounding).all(axis=1), 2, sampling_rate)
    for row in np.flatnonzero([len(stretches) for stretches in found]):
        kinks = np.any(bend[row] > SMALLEST_KINK * rounding[row], axis=0)
        kinks = np.concatenate([[True], kinks, [True]])  # at the ends of the ECG
        start, last = found[row][:, 0], found[row][:, 1] - 1
        sloping = np.any(X[row][:, start] != X[row][:, last], axis=0)
        lines = found[row][sloping & kinks[start] & kinks[last]]
        # the samples that a line leads from and to were recorded
        found[row] = lines + np.array([1, -1]) * ((lines > 0) & (lines < X.shape[2]))
    return found


def find_lead_off(X: NDArray, sampling_rate: float) -> list[tuple[int, int, int, int]]:
    """Find where single leads jump away from the ECG, stand still, and jump back: an electrode is off.

    Where a large wave is clipped on its way there is no jump, and nothing to find.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_leads, n_timesteps)
        ECGs in millivolts, as they were recorded.
    sampling_rate : float
        In Hz.

    Returns
    -------
    stretches : list of tuple (sample, lead, start, stop)
        With the samples of the jumps.
    """
    n_samples, n_leads, n_timesteps = X.shape
    leads = X.reshape(n_samples * n_leads, n_timesteps)
    reach = max(1, round(LONGEST_JUMP * sampling_rate))
    found = []
    for row, stretches in enumerate(_long_runs(leads[:, 1:] == leads[:, :-1], 1, sampling_rate)):
        if not len(stretches):
            continue
        lead, moving = leads[row], np.ones(n_timesteps, dtype=bool)
        for start, stop in stretches:
            moving[start:stop] = False
        level = np.median(lead[moving]) if moving.any() else lead[0]
        # one held value may follow another
        apart = np.flatnonzero(stretches[1:, 0] - stretches[:-1, 1] > reach)
        for start, stop in zip(stretches[np.append(0, apart + 1), 0], stretches[np.append(apart, -1), 1]):
            if np.abs(lead[start:stop] - level).max() > SMALLEST_JUMP:
                into = _jumps(lead[: start + 1][::-1], reach)
                out = _jumps(lead[stop - 1 :], reach)
                if into or out:
                    begin, end = start - reach * into, stop + reach * out
                    found.append((*divmod(row, n_leads), max(0, int(begin)), min(n_timesteps, int(end))))
    return found


def bridge_lead_off(X: NDArray, sampling_rate: float) -> NDArray:
    """Replace what a lead shows while its electrode is off by a straight line.

    A filter turns the steps around it into wide heartbeats. At an end of the ECG the sample beside is held.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_leads, n_timesteps), floating
        ECGs in millivolts.
    sampling_rate : float
        In Hz.

    Returns
    -------
    X : ndarray of shape (n_samples, n_leads, n_timesteps)
        The ECGs themselves where no lead is off, else a copy.
    """
    n_timesteps = X.shape[2]
    if stretches := find_lead_off(X, sampling_rate):
        X = X.copy()
    for sample, lead, start, stop in stretches:
        beside = [X[sample, lead, at] for at in (start - 1, stop) if 0 <= at < n_timesteps]
        if beside:
            share = np.arange(1, stop - start + 1) / (stop - start + 1)
            X[sample, lead, start:stop] = beside[0] + share * (beside[-1] - beside[0])
    return X


def _jumps(lead: NDArray, reach: int) -> bool:
    """Tell whether a lead jumps within `reach` samples from its first one, and hardly changes in the next."""
    changes = np.abs(np.diff(lead[: 2 * reach + 1]))
    return bool(changes[:reach].max(initial=0) > max(SMALLEST_JUMP, 2 * changes[reach:].max(initial=0)))


def _long_runs(holds: NDArray[np.bool_], order: int, sampling_rate: float) -> list[NDArray[np.int64]]:
    """Return start and stop (n, 2) of the stretches of every row that are long enough for a gap.

    `holds` (n_rows, n_timesteps - order) tells whether something holds for a sample and `order` more.
    """
    shortest = max(order + 1, round(SHORTEST_GAP * sampling_rate))  # it holds for fewer samples always
    stretches = [np.empty((0, 2), dtype=np.int64)] * len(holds)
    # a stretch that is long enough holds a whole one of these blocks, which hardly anything else does
    block = max(1, (shortest - order + 1) // 2)
    n_blocks = holds.shape[1] // block
    blocks = holds[:, : n_blocks * block].reshape(len(holds), n_blocks, block)
    for row in np.flatnonzero(np.any(np.all(blocks, axis=2), axis=1)):
        found = runs(holds[row]) + np.array([0, order])
        stretches[row] = found[found[:, 1] - found[:, 0] >= shortest]
    return stretches


def runs(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the first index of each run of True and the one after its last, of shape (n_runs, 2)."""
    padded = np.concatenate([[False], mask, [False]])
    return np.flatnonzero(padded[1:] != padded[:-1]).reshape(-1, 2).astype(np.int64)
