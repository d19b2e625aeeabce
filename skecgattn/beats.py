"""Heartbeats: finding them, describing them, and telling from a map which are abnormal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import sleepecg
from numpy.typing import ArrayLike, NDArray
from scipy.cluster.hierarchy import fcluster, linkage

__all__ = [
    "contrast_channels",
    "detect_heartbeats",
    "reference_beats",
    "rhythm_channels",
    "score_beats",
    "select_beats",
    "spans",
    "stack_heartbeats",
]

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

QRS_BEFORE, QRS_AFTER = 0.12, 0.16
"""Seconds around the R peak in which the shapes of beats are told apart."""

MAX_DISTANCE = 0.3
"""One minus the correlation up to which groups of QRS complexes are one."""

MIN_SHARE = 0.1
"""Smallest share of the beats that may be the reference."""

TYPICAL_WIDTH = 0.028
"""Seconds of spread of a QRS complex's slope that weigh as much as an RR interval's shrinking to 1/e."""

N_RHYTHM = 7
"""Number of rhythm channels."""


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
    middles = (heartbeats[1:] + heartbeats[:-1] + 1) // 2
    edges = np.concatenate([[0], middles, [n_timesteps]]).astype(np.int64)
    return np.stack([edges[:-1], edges[1:]], axis=1)[: len(heartbeats)]


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


def reference_beats(
    X: NDArray, heartbeats: Sequence[NDArray[np.int64]], sampling_rate: float
) -> list[NDArray[np.int64]]:
    """Choose the beats of every ECG that show what is normal for the patient.

    Beats are grouped by the shape of their QRS complexes (average linkage of one minus the correlation). Of
    the groups that are not small, the reference is the one that comes least early (the logarithm of the RR
    interval after over the one before), has the narrowest QRS complexes, and is largest: the median of all
    beats would be half a premature one in bigeminy. Where no group is large enough, every beat is.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_leads, n_timesteps)
        ECGs.

    heartbeats : sequence of ndarray of int
        R peaks of each ECG, ascending.

    sampling_rate : float
        In Hz.

    Returns
    -------
    references : list of ndarray of int
        Indices into the heartbeats of each ECG, ascending.

    Examples
    --------
    >>> import numpy as np
    >>> from skecgattn.beats import reference_beats
    >>> narrow, wide = np.hanning(10), np.hanning(40)
    >>> ecg, beats = np.zeros((1, 1, 1000)), np.array([100, 160, 300, 360, 500, 560, 700, 760, 900])
    >>> for k, beat in enumerate(beats):
    ...     shape = wide if k % 2 else narrow
    ...     ecg[0, 0, beat - len(shape) // 2 : beat + len(shape) // 2] = shape
    >>> reference_beats(ecg, [beats], 100)
    [array([0, 2, 4, 6, 8])]
    """
    before, after = round(QRS_BEFORE * sampling_rate), round(QRS_AFTER * sampling_rate)
    references = []
    for ecg, beats in zip(X, heartbeats):
        complexes = _cut(ecg, beats, before, after)
        group = _group_by_shape(complexes)
        members = [np.flatnonzero(group == k) for k in np.unique(group)]
        members = [beat for beat in members if len(beat) >= max(2, MIN_SHARE * len(beats))]
        if not members:
            references.append(np.arange(len(beats)))
            continue
        intervals = np.diff(beats)
        earliness = np.full(len(beats), np.nan)
        earliness[1:-1] = np.log(intervals[1:] / intervals[:-1])
        power = (np.diff(complexes, axis=2) ** 2).sum(axis=1)
        power /= power.sum(axis=1, keepdims=True) + 1e-12
        time = np.arange(power.shape[1]) / sampling_rate
        width = np.sqrt(np.maximum(power @ time**2 - (power @ time) ** 2, 0))
        abnormality = []
        for beat in members:
            known = earliness[beat][~np.isnan(earliness[beat])]
            early = known.mean() if len(known) else 0.0
            abnormality.append(early + np.median(width[beat]) / TYPICAL_WIDTH - len(beat) / len(beats) / 2)
        references.append(members[int(np.argmin(abnormality))])
    return references


def _cut(ecg: NDArray, beats: NDArray[np.int64], before: int, after: int) -> NDArray:
    """Return pieces (n_beats, n_leads, before + after) of an ECG around R peaks."""
    padded = np.pad(ecg, ((0, 0), (before, after)), mode="edge")
    return padded[:, beats[:, None] + np.arange(before + after)].transpose(1, 0, 2)


def _group_by_shape(complexes: NDArray) -> NDArray[np.int64]:
    """Return the number of each complex's group, for complexes (n_beats, n_leads, n)."""
    n_beats = len(complexes)
    if n_beats < 2:
        return np.zeros(n_beats, dtype=np.int64)
    shapes = (complexes - complexes.mean(axis=2, keepdims=True)).reshape(n_beats, -1).astype(np.float64)
    shapes /= np.sqrt((shapes**2).sum(axis=1, keepdims=True)) + 1e-12
    distance = 1 - (shapes @ shapes.T)[np.triu_indices(n_beats, 1)]
    tree = linkage(np.maximum(distance, 0), "average")
    return fcluster(tree, MAX_DISTANCE, "distance").astype(np.int64)


def rhythm_channels(
    heartbeats: Sequence[NDArray[np.int64]],
    n_timesteps: int,
    *,
    references: Sequence[NDArray[np.int64]] | None = None,
    limit: float = 1.5,
) -> NDArray[np.float32]:
    """Return how early or late every beat comes, as channels that are constant over each beat's span.

    Natural logarithms of ratios of RR intervals, clipped to plus or minus `limit`, 0 where one is unknown:

    0. the interval before the beat over the ECG's median interval,
    1. the interval after it over the median,
    2. the interval before over the one before that,
    3. the interval after over the interval before,
    4. the interval before over the ECG's 80% quantile, which frequent early beats do not move,
    5. the interval before over the median of the two intervals on both sides of it,
    6. the interval before over the median interval before the reference beats.

    All of them tell one beat from another: what is the same for all beats of an ECG, such as how irregular
    it is, would let the ECG's label leak into beats that have no part in it.

    Parameters
    ----------
    heartbeats : sequence of ndarray of int
        R peaks of each ECG, ascending.

    n_timesteps : int
        Length of the ECGs in samples.

    references : sequence of ndarray of int, default=None
        Indices of the beats that are normal for the patient, see :func:`reference_beats`. None takes all.

    limit : float, default=1.5
        Largest absolute value.

    Returns
    -------
    channels : ndarray of shape (n_samples, 7, n_timesteps), float32
        All 0 where an ECG has fewer than three heartbeats.

    Examples
    --------
    >>> import numpy as np
    >>> from skecgattn.beats import rhythm_channels
    >>> rhythm_channels([np.array([10, 20, 25, 40])], 50)[0, 0, [0, 20, 24, 40]].round(2)
    array([ 0.  ,  0.  , -0.69,  0.41], dtype=float32)
    """
    channels = np.zeros((len(heartbeats), N_RHYTHM, n_timesteps), dtype=np.float32)
    for row, (channel, beats) in enumerate(zip(channels, heartbeats)):
        if len(beats) >= 3:
            normal = np.arange(len(beats)) if references is None else references[row]
            values = np.clip(_describe_rhythm(np.diff(beats).astype(float), normal), -limit, limit)
            lengths = np.diff(spans(beats, n_timesteps), axis=1)[:, 0]
            channel[:] = np.repeat(values, lengths, axis=1)
    return channels


def _describe_rhythm(intervals: NDArray[np.float64], normal: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the values (7, n_beats) of :func:`rhythm_channels` from RR intervals (n_beats - 1,)."""
    n_beats = len(intervals) + 1
    logs = np.full(n_beats + 5, np.nan)  # 3 + k: the interval after beat k
    logs[3 : 2 + n_beats] = np.log(intervals)
    before, after = logs[2 : 2 + n_beats], logs[3 : 3 + n_beats]
    median = np.log(np.median(intervals))
    around = np.stack([logs[shift : shift + n_beats] for shift in (0, 1, 4, 5)])
    around = np.median(np.where(np.isnan(around), median, around), axis=0)
    known = before[normal][~np.isnan(before[normal])]
    values = [
        before - median,
        after - median,
        before - logs[1 : 1 + n_beats],
        after - before,
        before - np.log(np.quantile(intervals, 0.8)),
        before - around,
        before - (np.median(known) if len(known) else median),
    ]
    return np.nan_to_num(np.stack(values))


def contrast_channels(
    X: NDArray,
    heartbeats: Sequence[NDArray[np.int64]],
    sampling_rate: float,
    *,
    references: Sequence[NDArray[np.int64]] | None = None,
) -> NDArray[np.float32]:
    """Return what distinguishes every beat from the patient's own normal beat.

    The median of the reference beats, aligned on the R peak, is subtracted at every beat, and the difference
    is divided by the median beat's range; outside of the beats the channels are 0. A beat that looks like
    the reference nearly vanishes, whoever the patient is.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_leads, n_timesteps)
        ECGs.

    heartbeats : sequence of ndarray of int
        R peaks of each ECG.

    sampling_rate : float
        In Hz.

    references : sequence of ndarray of int, default=None
        Indices of the beats that are normal for the patient, see :func:`reference_beats`. None takes all.

    Returns
    -------
    channels : ndarray of shape (n_samples, n_leads, n_timesteps), float32
        All 0 where an ECG has fewer than three heartbeats.

    Examples
    --------
    >>> import numpy as np
    >>> from skecgattn.beats import contrast_channels
    >>> ecg, beats = np.zeros((1, 1, 400)), np.array([50, 150, 250, 350])
    >>> ecg[0, 0, beats] = 1, 1, 3, 1
    >>> contrast_channels(ecg, [beats], 100)[0, 0, beats]
    array([0., 0., 2., 0.], dtype=float32)
    """
    n_timesteps = X.shape[2]
    before, after = round(TEMPLATE_BEFORE * sampling_rate), round(TEMPLATE_AFTER * sampling_rate)
    channels = np.zeros(X.shape, dtype=np.float32)
    time = np.arange(n_timesteps)
    for row, (ecg, channel, beats) in enumerate(zip(X, channels, heartbeats)):
        if len(beats) < 3:
            continue
        normal = beats if references is None else beats[references[row]]
        template = np.median(_cut(ecg, normal, before, after), axis=0)
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

    Examples
    --------
    >>> import numpy as np
    >>> from skecgattn.beats import score_beats
    >>> maps = np.zeros((1, 1, 300))
    >>> maps[0, 0, 105] = 0.9
    >>> score_beats(maps, [np.array([100, 200])], 100)
    [array([[0.9],
           [0. ]])]
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

    Examples
    --------
    >>> import numpy as np
    >>> from skecgattn.beats import select_beats
    >>> scores, beats = np.array([[0.1], [0.9]]), np.array([100, 200])
    >>> select_beats(scores, beats, 300, ["V"], np.array([0.5]))["sample"]
    array([200])
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
