"""Heartbeats: finding them, describing them, and telling from a map which are abnormal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import sleepecg
from numpy.typing import ArrayLike, NDArray

BEAT_DTYPE = np.dtype(
    [("sample", np.int64), ("start", np.int64), ("stop", np.int64), ("label", object), ("score", np.float64)]
)
"""Fields of a located beat: R peak, span [start, stop), class label, score."""

VOTE_WINDOW = 0.15
"""Seconds within which detections on different signals are one heartbeat (the tolerance of EC57)."""

SAFE_LENGTH = 8.0
"""Seconds to which shorter signals are extended for the detector."""

SEARCH_WINDOW = 0.1
"""Seconds around an R peak in which the map's maximum is the beat's score."""

TEMPLATE_BEFORE, TEMPLATE_AFTER = 0.3, 0.5
"""Seconds around the R peak that the median beat spans."""

MIN_TEMPLATE = 0.3
"""Smallest range of the median beat to divide by, in units of the scaled ECG."""


def detect_heartbeats(X: ArrayLike, sampling_rate: float) -> list[NDArray[np.int64]]:
    """Detect the heartbeats of ECGs by a vote among their leads.

    Every lead, and the length of the vector of all leads' slopes, goes through the detector of
    :func:`sleepecg.detect_heartbeats`; a heartbeat is where at least half of these signals, and at
    least two, have a detection within 150 ms. A single lead takes the detections on the lead, and those on
    its slope that are far from them. The vote finds wide beats that are flat in one lead.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_leads, n_timesteps)
        ECGs, band-passed or raw.

    sampling_rate : float
        In Hz.

    Returns
    -------
    heartbeats : list of ndarray of int
        Sample indices of the R peaks of each ECG, ascending.

    References
    ----------
    Brunner, Hofer, "SleepECG: a Python package for sleep staging based on heart rate",
    Journal of Open Source Software 8(86), 2023.

    Examples
    --------
    >>> from skecgattn.beats import detect_heartbeats
    >>> from skecgattn.datasets import make_ecg
    >>> X, *_ = make_ecg(2, duration=10, sampling_rate=250, random_state=0)
    >>> [int(abs(len(r) - 12) < 6) for r in detect_heartbeats(X, 250)]
    [1, 1]
    """
    reach = round(VOTE_WINDOW * sampling_rate)
    heartbeats = []
    for ecg in np.asarray(X):
        spread = np.ptp(ecg, axis=1, keepdims=True)
        leads = (ecg / np.where(spread > 0, spread, 1)).astype(np.float64)
        slope = np.sqrt((np.gradient(leads, axis=1) ** 2).sum(axis=0)) if leads.shape[1] > 1 else leads[0]
        found = [_detect(signal, sampling_rate) for signal in (*leads, slope)]
        if len(leads) == 1:
            on_lead, on_slope = found
            far = [beat for beat in on_slope if not np.any(np.abs(on_lead - beat) <= 2 * reach)]
            heartbeats.append(np.sort(np.concatenate([on_lead, np.array(far, dtype=np.int64)])))
        else:
            heartbeats.append(_vote(found, max(2, (len(found) + 1) // 2), reach))
    return heartbeats


def _detect(signal: NDArray[np.float64], sampling_rate: float) -> NDArray[np.int64]:
    """Return the detections on one signal; none where it is flat or shorter than a second."""
    if len(signal) < sampling_rate or np.ptp(signal) == 0:
        return np.empty(0, dtype=np.int64)
    # the detector counts beats in a buffer that a short signal can overflow: a flat end makes room
    missing = int(SAFE_LENGTH * sampling_rate) - len(signal)
    padded = np.pad(signal, (0, missing), mode="edge") if missing > 0 else signal
    beats = np.asarray(sleepecg.detect_heartbeats(padded, sampling_rate), dtype=np.int64)
    return beats[beats < len(signal)]


def _vote(found: Sequence[NDArray[np.int64]], n_votes: int, reach: int) -> NDArray[np.int64]:
    """Return the medians of groups of detections from at least `n_votes` signals within `reach` samples."""
    samples = np.concatenate(found)
    sources = np.repeat(np.arange(len(found)), [len(f) for f in found])
    order = np.argsort(samples, kind="stable")
    samples, sources = samples[order], sources[order]
    stops = np.searchsorted(samples, samples + reach, side="right")
    beats, start = [], 0
    while start < len(samples):
        stop = stops[start]
        if len(set(sources[start:stop].tolist())) >= n_votes:
            beats.append(int(np.median(samples[start:stop])))
            start = stop
        else:
            start += 1
    return np.array(beats, dtype=np.int64)


def spans(heartbeats: NDArray[np.int64], n_timesteps: int) -> NDArray[np.int64]:
    """Return the spans (n_beats, 2) of heartbeats, from midpoint to midpoint between neighbours."""
    middles = (heartbeats[1:] + heartbeats[:-1] + 1) // 2
    edges = np.concatenate([[0], middles, [n_timesteps]]).astype(np.int64)
    return np.stack([edges[:-1], edges[1:]], axis=1)[: len(heartbeats)]


def stack_heartbeats(heartbeats: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Return R peaks as one array (n_samples, n), filled up with -1; n is at least 1."""
    stacked = np.full((len(heartbeats), max([1, *map(len, heartbeats)])), -1, dtype=np.int64)
    for row, beats in zip(stacked, heartbeats):
        row[: len(beats)] = beats
    return stacked


def rhythm_channels(
    heartbeats: Sequence[NDArray[np.int64]], n_timesteps: int, *, limit: float = 1.5
) -> NDArray[np.float32]:
    """Return how early or late every beat and its successor come, as two channels.

    The logarithms of the RR interval before and after each beat over the median RR interval of
    the ECG, held over the beat's span and clipped to plus or minus `limit`; 0 where the interval is unknown.

    Parameters
    ----------
    heartbeats : sequence of ndarray of int
        R peaks of each ECG.

    n_timesteps : int
        Length of the ECGs in samples.

    limit : float, default=1.5
        Largest absolute value.

    Returns
    -------
    channels : ndarray of shape (n_samples, 2, n_timesteps), float32

    Examples
    --------
    >>> import numpy as np
    >>> from skecgattn.beats import rhythm_channels
    >>> rhythm_channels([np.array([10, 20, 25, 40])], 50)[0, 0, [0, 20, 24, 40]].round(2)
    array([ 0.  ,  0.  , -0.69,  0.41], dtype=float32)
    """
    channels = np.zeros((len(heartbeats), 2, n_timesteps), dtype=np.float32)
    for channel, beats in zip(channels, heartbeats):
        if len(beats) < 2:
            continue
        intervals = np.diff(beats)
        relative = np.clip(np.log(intervals / np.median(intervals)), -limit, limit)
        lengths = np.diff(spans(beats, n_timesteps), axis=1)[:, 0]
        channel[0] = np.repeat(np.concatenate([[0.0], relative]), lengths)
        channel[1] = np.repeat(np.concatenate([relative, [0.0]]), lengths)
    return channels


def contrast_channels(
    X: NDArray, heartbeats: Sequence[NDArray[np.int64]], sampling_rate: float
) -> NDArray[np.float32]:
    """Return what distinguishes every beat from the ECG's own median beat.

    The median of all beats, aligned on the R peak, is subtracted at every beat, and the difference is
    divided by the median beat's range; outside of the beats the channels are 0. A beat that looks like
    most others nearly vanishes, whoever the patient is.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_leads, n_timesteps)
        ECGs.

    heartbeats : sequence of ndarray of int
        R peaks of each ECG.

    sampling_rate : float
        In Hz.

    Returns
    -------
    channels : ndarray of shape (n_samples, n_leads, n_timesteps), float32
        All 0 where an ECG has fewer than three heartbeats.
    """
    n_timesteps = X.shape[2]
    before, after = round(TEMPLATE_BEFORE * sampling_rate), round(TEMPLATE_AFTER * sampling_rate)
    channels = np.zeros(X.shape, dtype=np.float32)
    time = np.arange(n_timesteps)
    for ecg, channel, beats in zip(X, channels, heartbeats):
        if len(beats) < 3:
            continue
        padded = np.pad(ecg, ((0, 0), (before, after)), mode="edge")
        windows = padded[:, beats[:, None] + np.arange(before + after)]
        template = np.median(windows, axis=1)
        lengths = np.diff(spans(beats, n_timesteps), axis=1)[:, 0]
        offset = time - np.repeat(beats, lengths) + before
        inside = (offset >= 0) & (offset < before + after)
        size = np.maximum(np.ptp(template, axis=1, keepdims=True), MIN_TEMPLATE)
        channel[:, inside] = (ecg[:, inside] - template[:, offset[inside]]) / size
    return channels


def score_beats(
    maps: NDArray, heartbeats: Sequence[NDArray[np.int64]], sampling_rate: float
) -> list[NDArray[np.float64]]:
    """Return the map's maximum within 100 ms of every R peak.

    Parameters
    ----------
    maps : ndarray of shape (n_samples, n_maps, n_timesteps)

    heartbeats : sequence of ndarray of int
        R peaks of each ECG.

    sampling_rate : float
        In Hz.

    Returns
    -------
    scores : list of ndarray of shape (n_beats, n_maps)
    """
    reach = max(1, round(SEARCH_WINDOW * sampling_rate))
    offsets = np.arange(-reach, reach + 1)
    scores = []
    for ecg_maps, beats in zip(maps, heartbeats):
        index = np.clip(beats[:, None] + offsets, 0, ecg_maps.shape[1] - 1)
        scores.append(ecg_maps[:, index].max(axis=2).T.astype(np.float64))
    return scores


def select_beats(
    scores: NDArray[np.float64],
    heartbeats: NDArray[np.int64],
    n_timesteps: int,
    labels: Sequence,
    thresholds: NDArray[np.float64],
) -> NDArray:
    """Return the abnormal beats of one ECG: those with a class whose score reaches its threshold.

    Parameters
    ----------
    scores : ndarray of shape (n_beats, n_maps)

    heartbeats : ndarray of shape (n_beats,)

    n_timesteps : int
        Length of the ECG in samples.

    labels : sequence of length n_maps
        Class label of each map.

    thresholds : ndarray of shape (n_maps,)

    Returns
    -------
    located : structured ndarray
        Fields `sample`, `start`, `stop`, `label` and `score`; a beat above several thresholds has
        the label that exceeds its threshold by the largest factor.
    """
    located = np.empty(0, dtype=BEAT_DTYPE)
    if len(heartbeats) == 0:
        return located
    margin = scores / np.maximum(thresholds, 1e-12)
    best = margin.argmax(axis=1)
    rows = np.flatnonzero(margin.max(axis=1) >= 1)
    located = np.empty(len(rows), dtype=BEAT_DTYPE)
    located["sample"] = heartbeats[rows]
    located["start"], located["stop"] = spans(heartbeats, n_timesteps)[rows].T
    located["label"] = [labels[k] for k in best[rows]]
    located["score"] = scores[rows, best[rows]]
    return located
