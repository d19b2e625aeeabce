"""From ECGs in millivolts to the channels that the networks read, and back from their time to the ECG's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._gaps import SHORTEST_PADDING, bridge_lead_off, find_gaps, hold_padding
from .beats import (
    BAND,
    N_RHYTHM,
    N_WAVES,
    PREMATURE,
    contrast_channels,
    detect_heartbeats,
    reference_beats,
    rhythm_channels,
    stack_heartbeats,
    wave_channels,
)
from .nn import Odds
from .preprocessing import bandpass, resample, robust_scale

BLOCK = 256
"""ECGs that are transformed at a time."""


class Channels(NamedTuple):
    """What the networks read of ECGs."""

    values: NDArray
    """Channels (n_samples, n_channels, n_steps)."""
    heartbeats: NDArray[np.int64] | None
    """R peaks (n_samples, n) in the channels' time, then -1; None where the sampling rate is unknown."""

    def rows(self, index: NDArray | slice) -> Channels:
        """Return the channels of some ECGs."""
        return Channels(self.values[index], None if self.heartbeats is None else self.heartbeats[index])


@dataclass(frozen=True)
class FrontEnd:
    """Resampling, band-pass, scaling, and channels that describe the heartbeats.

    Parameters
    ----------
    sampling_rate : float or None
        In Hz. None leaves the ECG's time as it is: no resampling, no filter, no heartbeats.
    resample_to : float or None
        Rate that the networks work at, in Hz.
    band : tuple of float or None
        Pass band in Hz.
    scale : bool
        Whether every lead of every ECG is scaled to its own range.
    rhythm : bool
        Whether channels tell how early each beat comes.
    contrast : bool
        Whether channels tell how each beat differs from the patient's normal beat.
    waves : bool
        Whether channels tell of each beat's P wave, and whether the beat looks premature.
    """

    sampling_rate: float | None
    resample_to: float | None
    band: tuple[float | None, float | None] | None
    scale: bool
    rhythm: bool
    contrast: bool
    waves: bool

    @property
    def rate(self) -> float | None:
        """Rate of the channels in Hz."""
        return self.sampling_rate if self.resample_to is None else self.sampling_rate and self.resample_to

    @property
    def channels_per_lead(self) -> int:
        """Channels that describe each lead; those of each beat are further ones."""
        return 1 if self.rate is None else 1 + self.contrast

    @property
    def n_per_beat(self) -> int:
        """Number of channels that hold one value a beat, the last ones."""
        return self.n_waves + (N_RHYTHM if self.rhythm and self.rate is not None else 0)

    @property
    def n_waves(self) -> int:
        """Number of wave channels, the last of those."""
        return N_WAVES if self.waves and self.rate is not None else 0

    @property
    def odds(self) -> tuple[Odds, ...]:
        """Which of each beat's values tell odds of known kinds of abnormal beats, and how."""
        first = self.n_per_beat - self.n_waves
        return tuple(
            kind._replace(
                value=first + kind.value, needs=tuple((first + index, factor) for index, factor in kind.needs)
            )
            for kind in PREMATURE
            if self.n_waves
        )

    @property
    def _shows_waves(self) -> bool:
        low, high = (None, None) if self.band is None else self.band
        return self.band is not None and (low or 0.0) <= BAND[0] and (high or np.inf) >= BAND[1]

    def transform(self, X: NDArray, dtype: type = np.float32) -> Channels:
        """Return the channels of ECGs (n_samples, n_leads, n_timesteps)."""
        # some at a time: filters work in float64, and the whole of X may be most of the memory
        values, heartbeats = self._transform_block(X[:BLOCK], dtype)
        if len(X) > BLOCK:
            first = values
            values = np.empty((len(X), *first.shape[1:]), dtype=dtype)
            values[:BLOCK] = first
        for start in range(BLOCK, len(X), BLOCK):
            values[start : start + BLOCK], beats = self._transform_block(X[start : start + BLOCK], dtype)
            heartbeats += beats
        return Channels(values, None if self.rate is None else stack_heartbeats(heartbeats))

    def _transform_block(self, X: NDArray, dtype: type) -> tuple[NDArray, list[NDArray[np.int64]]]:
        rate = self.rate
        if self.sampling_rate is not None and rate is not None:
            gaps = [found * (rate / self.sampling_rate) for found in find_gaps(X, self.sampling_rate)]
            held, recorded = hold_padding(X, round(SHORTEST_PADDING * self.sampling_rate))
            mended = resample(bridge_lead_off(held, self.sampling_rate), self.sampling_rate, rate)
            # without a filter the networks get the ECG as it is, but steps still look like heartbeats
            X = resample(X, self.sampling_rate, rate) if self.band is None else mended
            if self.band is not None:
                low, high = self.band
                high = None if high is None or high >= rate / 2 else high
                if low is not None or high is not None:
                    X = bandpass(X, rate, low=low, high=high)
        if self.scale:
            X = robust_scale(X)
        if rate is None or self.sampling_rate is None:
            return X.astype(dtype), []  # a copy: X may be the user's
        X = X.astype(dtype, copy=False)
        limits = recorded * (rate / self.sampling_rate)
        heartbeats = [
            beats[(beats >= start) & (beats < stop) & ~_within(beats, stretches)]
            for beats, (start, stop), stretches in zip(
                detect_heartbeats(mended if self.band is None else X, rate), limits, gaps
            )
        ]
        channels = [X]
        if self.contrast or self.rhythm or self.waves:
            references = reference_beats(X, heartbeats, rate, gaps=gaps)
        if self.contrast:
            contrast = contrast_channels(X, heartbeats, rate, references=references)
            channels.append(contrast.astype(dtype, copy=False))
        if self.rhythm:
            rhythm = rhythm_channels(heartbeats, X.shape[2], references=references, gaps=gaps)
            channels.append(rhythm.astype(dtype, copy=False))
        if self.waves:
            # what a narrow band takes away is seen
            waves = wave_channels(
                X if self._shows_waves else mended,
                heartbeats,
                rate,
                references=references,
                gaps=gaps,
                starts=limits[:, 0],
            )
            channels.append(waves.astype(dtype, copy=False))
        return np.concatenate(channels, axis=1), heartbeats

    def to_ecg_time(self, beats: NDArray[np.int64], n_timesteps: int) -> NDArray[np.int64]:
        """Return sample indices of the channels as sample indices of the ECG."""
        if self.sampling_rate is None or self.rate is None:
            return beats
        scaled = np.rint(beats * (self.sampling_rate / self.rate)).astype(np.int64)
        return np.minimum(scaled, n_timesteps - 1)

    def to_ecg_length(self, maps: NDArray, n_timesteps: int) -> NDArray:
        """Interpolate maps (n_samples, n_maps, n_steps) linearly to the ECG's time."""
        if maps.shape[2] == n_timesteps or self.sampling_rate is None or self.rate is None:
            return maps
        position = np.arange(n_timesteps) * (self.rate / self.sampling_rate)
        left = np.minimum(position.astype(np.int64), maps.shape[2] - 1)
        right = np.minimum(left + 1, maps.shape[2] - 1)
        share = (position - left).astype(maps.dtype).clip(0, 1)
        return maps[..., left] * (1 - share) + maps[..., right] * share


def _within(beats: NDArray[np.int64], gaps: NDArray) -> NDArray[np.bool_]:
    """Tell which of the heartbeats lie in one of the gaps (n_gaps, 2)."""
    inside: NDArray[np.bool_] = (beats[:, None] >= gaps[:, 0]) & (beats[:, None] < gaps[:, 1])
    return np.any(inside, axis=1)
