"""Heartbeats by a vote of sleepecg's detector among the leads."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import sleepecg
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d
from scipy.signal import butter, sosfiltfilt

from skecgattn.preprocessing import resample

from ._quantile import quantile

try:  # what sleepecg.detect_heartbeats does after its filter, which has no public name
    from sleepecg._heartbeat_detection import _squared_moving_integration, _thresholding
except ImportError:
    _squared_moving_integration = _thresholding = None  # type: ignore[assignment]

VOTE_WINDOW = 0.15
"""Seconds within which detections on different signals are one heartbeat (the tolerance of EC57)."""

SAFE_LENGTH = 8.0
"""Seconds to which shorter signals are extended for the detector."""

PASS_BAND = (5.0, 30.0)
"""Hz that the detector's filter passes."""

HEIGHT_BAND = (5.0, 20.0)
"""Hz in which QRS complexes stand out, and the height of a detection is measured."""

HEIGHT_WIDTH = 0.1
"""Seconds over which it is measured."""

SMALLEST = 0.3
"""Share of the height of QRS complexes below which a detection is none."""

SMALL = 0.8
"""Share of the height of QRS complexes up to which a detection may be noise."""

TALL = 0.6
"""Share of the height of QRS complexes from which detections tell the RR interval."""

NOISE_FLOOR = 2.0
"""Height, over the median of the whole ECG, up to which a detection may be noise."""

LONGEST_GAP = 1.25
"""RR intervals that dropping noise may leave between its neighbours."""

SLOPE = np.array([-1, -2, 0, 2, 1])
"""Filter that gives the slope, of Pan and Tompkins (1985)."""


def vote_heartbeats(X: NDArray, sampling_rate: float) -> list[NDArray[np.int64]]:
    """Return the R peaks of ECGs (n_samples, n_leads, n_timesteps), ascending.

    Every lead, and the length of the vector of all leads' slopes, goes through the detector of
    :func:`sleepecg.detect_heartbeats`; a heartbeat is where at least half of these signals, and at
    least two, have a detection within 150 ms. A single lead takes the detections on the lead, and those on
    its slope that are far from them. The vote finds wide beats that are flat in one lead.

    Noise is dropped: detections that are much lower than the QRS complexes, and low ones that hardly rise
    above what lies between the heartbeats and come between two heartbeats of the usual distance.
    """
    if sampling_rate <= 2 * PASS_BAND[1]:
        # for the filter, whose band must lie well below half the rate
        factor = int(3 * PASS_BAND[1] / sampling_rate) + 1
        fast = vote_heartbeats(resample(X, sampling_rate, factor * sampling_rate), factor * sampling_rate)
        return [np.minimum((beats + factor // 2) // factor, X.shape[2] - 1) for beats in fast]
    reach = round(VOTE_WINDOW * sampling_rate)
    spread = np.ptp(X, axis=2, keepdims=True)
    leads = (X / np.where(spread > 0, spread, 1)).astype(np.float64)
    slopes = leads[:, :1]
    if leads.shape[2] > 1:
        slopes = np.sqrt((np.gradient(leads, axis=2) ** 2).sum(axis=1, keepdims=True))
    signals = np.concatenate([leads, slopes], axis=1)
    detections = iter(_detect(signals.reshape(-1, signals.shape[2]), sampling_rate))
    heartbeats = []
    for _ in range(len(X)):
        found = [next(detections) for _ in range(signals.shape[1])]
        if len(found) == 2:
            on_lead, on_slope = found
            far = [beat for beat in on_slope if not np.any(np.abs(on_lead - beat) <= 2 * reach)]
            heartbeats.append(np.sort(np.concatenate([on_lead, np.array(far, dtype=np.int64)])))
        else:
            heartbeats.append(_vote(found, max(2, (len(found) + 1) // 2), reach))
    return _drop_noise(X, heartbeats, sampling_rate)


def _detect(signals: NDArray[np.float64], sampling_rate: float) -> list[NDArray[np.int64]]:
    """Return the detections on signals (n, n_timesteps) of a second and more; none on a flat one."""
    n_timesteps = signals.shape[1]
    # the detector counts beats in a buffer that a short signal can overflow: a flat end makes room
    missing = int(SAFE_LENGTH * sampling_rate) - n_timesteps
    padded = np.pad(signals, ((0, 0), (0, missing)), mode="edge") if missing > 0 else signals
    found = [np.empty(0, dtype=np.int64)] * len(signals)
    # a signal that begins with a flat stretch is filtered from where it ends
    steep = (signals[:, 0] != signals[:, 1]) & (_thresholding is not None)
    for row, beats in zip(np.flatnonzero(steep), _detect_at_once(padded[steep], sampling_rate)):
        found[row] = beats[beats < n_timesteps]
    for row in np.flatnonzero(~steep & (np.ptp(signals, axis=1) > 0)):
        beats = np.asarray(sleepecg.detect_heartbeats(padded[row], sampling_rate), dtype=np.int64)
        found[row] = beats[beats < n_timesteps]
    return found


def _detect_at_once(signals: NDArray[np.float64], sampling_rate: float) -> list[NDArray[np.int64]]:
    """Return what `sleepecg.detect_heartbeats` does on every signal, at a third of the time.

    Most of it goes into calling the filter, which takes all signals in one call.
    """
    if len(signals) == 0:
        return []
    sos = _sections(PASS_BAND, sampling_rate)
    width = int(0.15 * sampling_rate)
    found = []
    for signal in np.ascontiguousarray(sosfiltfilt(sos, signals)):
        energy = _squared_moving_integration(np.correlate(signal, SLOPE, mode="same"), width)
        found.append(np.flatnonzero(_thresholding(signal, energy, sampling_rate)))
    return found


@functools.lru_cache(maxsize=32)
def _sections(band: tuple[float, float], sampling_rate: float) -> NDArray[np.float64]:
    """Return the second-order sections of a band-pass."""
    return butter(2, band, btype="bandpass", output="sos", fs=sampling_rate)


def _drop_noise(
    X: NDArray, heartbeats: list[NDArray[np.int64]], sampling_rate: float
) -> list[NDArray[np.int64]]:
    """Return the detections without those that are noise."""
    if not any(len(beats) >= 3 for beats in heartbeats):
        return heartbeats
    sos = _sections(HEIGHT_BAND, sampling_rate)
    energy = (sosfiltfilt(sos, X) ** 2).sum(axis=1)
    width = max(1, round(HEIGHT_WIDTH * sampling_rate))
    height = np.sqrt(np.maximum(uniform_filter1d(energy, width, axis=1), 0))
    floor = NOISE_FLOOR * np.median(height, axis=1)
    padded = np.pad(height, ((0, 0), (width // 2, width // 2)), mode="edge")
    around = np.arange(width // 2 * 2 + 1)
    return [
        _keep_beats(beats, row[beats[:, None] + around].max(axis=1), low)
        for beats, row, low in zip(heartbeats, padded, floor)
    ]


def _keep_beats(beats: NDArray[np.int64], height: NDArray[np.float64], floor: float) -> NDArray[np.int64]:
    """Return the detections of one ECG that are no noise, from their heights and those of noise."""
    if len(beats) < 3:
        return beats
    typical = quantile(np.sort(height), 0.8)
    high = height >= SMALLEST * typical
    beats, height = beats[high], height[high]
    tall = beats[height >= TALL * typical]
    low = np.flatnonzero(height < min(SMALL * typical, floor))
    if len(tall) < 3 or not len(low):
        return beats
    longest = LONGEST_GAP * quantile(np.sort(np.diff(tall)), 0.5)
    kept = list(range(len(beats)))
    for beat in low[np.argsort(height[low], kind="stable")].tolist():
        place = kept.index(beat)
        if 0 < place < len(kept) - 1 and beats[kept[place + 1]] - beats[kept[place - 1]] <= longest:
            del kept[place]
    return beats[kept]


def _vote(found: Sequence[NDArray[np.int64]], n_votes: int, reach: int) -> NDArray[np.int64]:
    """Return the medians of groups of detections from at least `n_votes` signals within `reach` samples."""
    samples = np.concatenate(found)
    sources = np.repeat(np.arange(len(found)), [len(f) for f in found])
    order = np.argsort(samples, kind="stable")
    samples, sources = samples[order], sources[order]
    stops = np.searchsorted(samples, samples + reach, side="right").tolist()
    ordered, voters = samples.tolist(), sources.tolist()
    beats, start = [], 0
    while start < len(ordered):
        stop = stops[start]
        if len(set(voters[start:stop])) >= n_votes:
            # the median
            beats.append((ordered[(start + stop - 1) // 2] + ordered[(start + stop) // 2]) // 2)
            start = stop
        else:
            start += 1
    return np.array(beats, dtype=np.int64)
