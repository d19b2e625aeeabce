"""One list of heartbeats, and one map, from overlapping windows."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from skecgattn.beats import VOTE_WINDOW


class Windows(NamedTuple):
    """What was read in windows of one length, in samples of the recording."""

    starts: NDArray[np.int64]
    """First sample of each window."""
    heartbeats: list[NDArray[np.int64]]
    """R peaks that each window shows."""
    scores: list[NDArray[np.float64]]
    """Scores (n_beats, n_maps) of the heartbeats."""
    maps: NDArray | None
    """Maps (n_windows, n_maps, length); None where they are not wanted."""


class Stitched(NamedTuple):
    """A finished stretch of the recording."""

    start: int
    stop: int
    heartbeats: NDArray[np.int64]
    """R peaks in the stretch, ascending."""
    scores: NDArray[np.float64]
    """Scores (n_beats, n_maps) of the heartbeats."""
    map: NDArray | None
    """Map (n_maps, stop - start)."""


class Stitcher:
    """Join what overlapping windows tell.

    A heartbeat belongs to the window whose centre is nearest. One that both windows saw across the border
    between them, but not on the same side, is kept once. Its score is the mean over the windows next to each
    other that saw it, weighted by the distance to the window's edge. The map fades from one window to the
    next.

    Parameters
    ----------
    n_timesteps : int
        Length of the recording in samples.

    sampling_rate : float
        In Hz.

    length : int
        Length of a window in samples.

    n_maps : int
        Number of maps.

    with_maps : bool
        Whether to stitch the maps too.
    """

    def __init__(
        self, n_timesteps: int, sampling_rate: float, length: int, n_maps: int, *, with_maps: bool
    ) -> None:
        self.n_timesteps, self.length, self.n_maps = n_timesteps, length, n_maps
        self.tolerance = round(VOTE_WINDOW * sampling_rate)
        self._stop = 0  # everything before is finished
        self._held: Windows | None = None
        # map from _stop to the centre of the last window
        self._faded = self._blank(0, 0) if with_maps else None

    def push(self, windows: Windows) -> Stitched | None:
        """Take further windows, and return the stretch that they finish."""
        if len(windows.starts) == 0:
            return None
        known = windows if self._held is None else _join(self._held, windows)
        if self._faded is not None and known.maps is not None:
            self._fade(known.starts, known.maps, len(known.starts) - len(windows.starts))
        self._held = known._replace(
            starts=known.starts[-2:],
            heartbeats=known.heartbeats[-2:],
            scores=known.scores[-2:],
            maps=None if known.maps is None else known.maps[-2:],
        )
        if len(known.starts) < 2:
            return None
        return self._finish(known, int(self._borders(known.starts)[-1]))

    def flush(self) -> Stitched:
        """Return the rest of the recording."""
        known, half = self._held, self.length // 2
        if known is None:
            none = np.empty(0, dtype=np.int64)
            blank = None if self._faded is None else self._blank(0, self.n_timesteps)
            return Stitched(0, self.n_timesteps, none, np.empty((0, self.n_maps)), blank)
        if self._faded is not None and known.maps is not None:
            rest = self._blank(int(known.starts[-1]) + half, self.n_timesteps)
            rest[:, : self.length - half] = known.maps[-1][:, half:]
            self._faded = np.concatenate([self._faded, rest], axis=1)
        return self._finish(known, self.n_timesteps)

    def _borders(self, starts: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the samples halfway between the centres of neighbouring windows."""
        return (starts[:-1] + starts[1:]) // 2 + self.length // 2

    def _finish(self, windows: Windows, stop: int) -> Stitched:
        """Return the stretch up to `stop`, which no further window can change."""
        start, self._stop = self._stop, stop
        samples, scores = self._heartbeats(windows)
        inside = (samples >= start) & (samples < stop)
        stitched = None
        if self._faded is not None:
            stitched, self._faded = self._faded[:, : stop - start], self._faded[:, stop - start :]
        return Stitched(start, stop, samples[inside], scores[inside], stitched)

    def _heartbeats(self, windows: Windows) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return every heartbeat once, ascending, with its score."""
        borders, tolerance = self._borders(windows.starts), self.tolerance
        samples = np.concatenate([np.empty(0, dtype=np.int64), *windows.heartbeats])
        scores = np.concatenate([np.empty((0, self.n_maps)), *windows.scores])
        window = np.repeat(np.arange(len(windows.starts)), [len(beats) for beats in windows.heartbeats])
        owner = np.searchsorted(borders, samples, side="right")
        kept = np.flatnonzero(owner == window)
        # seen by both on their own sides of the border: the earlier one stays
        twice = (np.diff(samples[kept], prepend=-tolerance - 1) <= tolerance) & (
            np.diff(window[kept], prepend=-1) > 0
        )
        kept = kept[~twice]
        # seen by both on the other's side: the later one, of the earlier window, stays
        over = np.flatnonzero(owner == window + 1)
        under = np.flatnonzero(owner == window - 1)
        over = over[~_near(samples[over], samples[kept], tolerance)]
        over = over[_near(samples[over], samples[under], tolerance)]
        kept = np.concatenate([kept, over])
        kept = kept[np.argsort(samples[kept], kind="stable")]
        return samples[kept], self._vote(windows.starts, window, samples, scores, kept)

    def _vote(
        self, starts: NDArray, window: NDArray, samples: NDArray, scores: NDArray, kept: NDArray
    ) -> NDArray[np.float64]:
        """Return the mean scores of heartbeats over their window and its two neighbours."""
        # ascending, with room between windows, so that one search finds a heartbeat in a given window
        room = self.n_timesteps + 3 * self.tolerance
        keys = window * room + samples

        def weight(beats: NDArray) -> NDArray[np.float64]:
            offset = samples[beats] - starts[window[beats]]
            return np.minimum(offset, self.length - offset).clip(min=1).astype(np.float64)

        total = weight(kept)
        summed = scores[kept] * total[:, None]
        for neighbour in (-1, 1):
            key = keys[kept] + neighbour * room
            found = np.searchsorted(keys, key - self.tolerance).clip(max=max(0, len(keys) - 1))
            agree = np.abs(keys[found] - key) <= self.tolerance
            extra = weight(found) * agree
            summed += scores[found] * extra[:, None]
            total += extra
        return summed / total[:, None]

    def _blank(self, start: int, stop: int) -> NDArray:
        return np.full((self.n_maps, max(0, stop - start)), np.nan, dtype=np.float32)

    def _fade(self, starts: NDArray[np.int64], maps: NDArray, n_held: int) -> None:
        """Append the map from the centre of the last window held to that of the last new one."""
        half = self.length // 2
        parts = [] if self._faded is None else [self._faded]
        if n_held == 0:
            lead_in = self._blank(0, int(starts[0]) + half)
            lead_in[:, int(starts[0]) :] = maps[0][:, :half]
            parts.append(lead_in)
        for left in range(max(0, n_held - 1), len(starts) - 1):
            one, two = int(starts[left]), int(starts[left + 1])
            part = self._blank(one + half, two + half)
            seen = maps[left][:, half : half + part.shape[1]]
            part[:, : seen.shape[1]] = seen
            begin, stop = max(two, one + half), min(one + self.length, two + half)
            later = maps[left + 1][:, begin - two : half]
            share = np.linspace(0, 1, max(0, stop - begin) + 2, dtype=np.float32)[1:-1]
            overlap = part[:, begin - one - half :][:, : len(share)]
            overlap += (later[:, : len(share)] - overlap) * share
            part[:, begin - one - half + len(share) :] = later[:, len(share) :]
            parts.append(part)
        self._faded = np.concatenate(parts, axis=1)


def _join(one: Windows, two: Windows) -> Windows:
    maps = None if one.maps is None or two.maps is None else np.concatenate([one.maps, two.maps])
    starts = np.concatenate([one.starts, two.starts])
    return Windows(starts, [*one.heartbeats, *two.heartbeats], [*one.scores, *two.scores], maps)


def _near(samples: NDArray, others: NDArray, tolerance: int) -> NDArray[np.bool_]:
    """Return which samples have one of the others within a tolerance."""
    ordered = np.sort(others)
    first = np.searchsorted(ordered, samples - tolerance)
    return first < np.searchsorted(ordered, samples + tolerance, side="right")
