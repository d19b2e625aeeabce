"""Where windows lie over a recording that is read piece by piece."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter1d

ANCHOR_REACH = 4.0
"""Seconds on either side within which nothing is as steep as an anchor."""

LONGEST_WAIT = 60.0
"""Seconds without an anchor after which windows are placed without knowing the next one."""

SHORTEST_MOVE = 1.0
"""Seconds from a window at either end of the recording within which there is no other."""


class WindowPlanner:
    """Place overlapping windows by what the ECG looks like, not by where the recording begins.

    An *anchor* is a sample whose slope, summed over the leads, is the largest within `ANCHOR_REACH`. One that
    is less steep than its neighbours is dropped where fewer windows do without it. A window is centred on
    every anchor, and the room between two anchors is filled with evenly spaced windows. So whether there is
    a window somewhere depends on the samples nearby alone: however the recording is cut into pieces, and
    wherever it begins, the same beats are seen in the same windows, but for the first and the last seconds.

    Parameters
    ----------
    n_timesteps : int
        Length of the recording in samples.

    sampling_rate : float
        In Hz.

    length : int
        Length of a window in samples, at most `n_timesteps`.

    step : int
        Largest distance between the starts of neighbouring windows in samples.

    Examples
    --------
    >>> import numpy as np
    >>> from skecgattn.records._windows import WindowPlanner
    >>> signal = np.zeros((1, 30))
    >>> signal[0, 14:] = 1  # one steep sample
    >>> WindowPlanner(30, 1.0, 10, 8).feed(signal)
    [0, 4, 9, 14, 20]
    """

    def __init__(self, n_timesteps: int, sampling_rate: float, length: int, step: int) -> None:
        self.half = length // 2
        self.last_start = n_timesteps - length
        self.step = step
        self.reach = max(1, round(ANCHOR_REACH * sampling_rate))
        self.wait = max(step, round(LONGEST_WAIT * sampling_rate))
        self.shortest = round(SHORTEST_MOVE * sampling_rate)
        self._n_timesteps = n_timesteps
        self._fed = 0
        self._slope = np.empty(0, dtype=np.float32)
        self._previous: NDArray | None = None
        self._anchors: list[tuple[int, float]] = []  # the last two found; the last one is not placed yet
        self.latest = 0
        """Start of the latest window placed; the next one starts later."""

    def feed(self, signal: NDArray) -> list[int]:
        """Take the next samples (n_leads, n) and return the starts of the windows that they settle."""
        starts = [] if self._fed else [0]
        self._extend(signal)
        for anchor in self._find():
            starts += self._next(anchor)
        settled = self._fed - self.reach  # there is no other anchor before
        if self._anchors and (self._fed == self._n_timesteps or settled - self._anchors[-1][0] > self.wait):
            starts += self._place(self._anchors[-1][0])
            self._anchors = []
        if self._fed == self._n_timesteps:
            return starts + self._move(self.last_start)
        nearest = min((self._anchors[-1][0] if self._anchors else settled) - self.half, self.last_start)
        while nearest - self.latest > self.wait:
            starts.append(self._advance(self.step))
        return starts

    def _next(self, anchor: tuple[int, float]) -> list[int]:
        """Place the anchor before this one, unless it is to be dropped."""
        before, self._anchors = self._anchors, [*self._anchors[-1:], anchor]
        if not before:
            return []
        if anchor[0] - before[-1][0] > self.wait:
            self._anchors = [anchor]
        elif len(before) == 2:
            (first, first_slope), (middle, slope), (last, last_slope) = (*before, anchor)
            with_it = -(-(middle - first) // self.step) - (middle - last) // self.step
            if first_slope > slope <= last_slope and -(-(last - first) // self.step) < with_it:
                return []
        return self._place(before[-1][0])

    def _place(self, anchor: int) -> list[int]:
        """Centre a window on an anchor."""
        start = anchor - self.half
        if start < self.shortest:
            return []
        return self._move(self.last_start if start > self.last_start - self.shortest else start)

    def _extend(self, signal: NDArray) -> None:
        """Append the slopes of more samples: absolute differences to the sample before, summed over leads."""
        before = signal[:, :1] if self._previous is None else self._previous
        slope = np.zeros(signal.shape[1], dtype=np.float32)
        for lead, first in zip(signal, before):
            difference = np.abs(np.diff(lead, prepend=first))
            # where a sample is missing there is no slope
            slope += np.nan_to_num(difference, copy=False, nan=0.0, posinf=0.0)
        self._slope = np.concatenate([self._slope, slope])
        self._previous = signal[:, -1:]
        self._fed += signal.shape[1]

    def _find(self) -> list[tuple[int, float]]:
        """Return the anchors that are known by now and were not before, and their slopes."""
        reach, slope = self.reach, self._slope
        offset = self._fed - len(slope) + reach
        if len(slope) <= 2 * reach:
            return []
        largest = maximum_filter1d(slope, 2 * reach + 1)[reach:-reach]
        inner = slope[reach:-reach]
        found = np.flatnonzero((inner == largest) & (inner > 0))
        # of equals within reach the first is the anchor
        found = found[np.diff(found, prepend=-reach - 1) > reach]
        first = [k for k in found.tolist() if slope[k : k + reach].max() < inner[k]]
        anchors = [(offset + k, float(inner[k])) for k in first]
        self._slope = slope[-2 * reach :]
        return anchors

    def _move(self, start: int) -> list[int]:
        """Place a window at `start`, and as many as needed before it."""
        starts = []
        while start - self.latest > self.wait:
            starts.append(self._advance(self.step))
        gap = start - self.latest
        origin, n_windows = self.latest, -(-gap // self.step)
        return starts + [
            self._advance(origin + gap * k // n_windows - self.latest) for k in range(1, n_windows + 1)
        ]

    def _advance(self, by: int) -> int:
        self.latest += by
        return self.latest
