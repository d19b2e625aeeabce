"""What every heartbeat looks like beside the patient's normal ones, and how early it comes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import linkage
from scipy.spatial.distance import squareform

from ._quantile import median, quantile
from ._spans import span_edges

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

N_RHYTHM = 10
"""Number of rhythm channels."""

REGULAR = 0.03
"""Spread of the logarithms of RR intervals that are all the same."""

MOST_SPREADS = 6.0
"""Spreads to which a deviation is clipped."""


def reference_beats(
    X: NDArray,
    heartbeats: Sequence[NDArray[np.int64]],
    sampling_rate: float,
    *,
    gaps: Sequence[NDArray] | None = None,
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

    gaps : sequence of ndarray of shape (n_gaps, 2), default=None
        Start and stop, in samples, of the stretches of each ECG in which nothing was recorded: an RR
        interval across one is unknown. None where there are none.

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
    X = _as_floating(X)
    before, after = round(QRS_BEFORE * sampling_rate), round(QRS_AFTER * sampling_rate)
    padded = np.pad(X, ((0, 0), (0, 0), (before, after)), mode="edge")
    # all beats of all ECGs at once: most of the time would go into calls for a few beats each
    owner = np.repeat(np.arange(len(X)), [len(beats) for beats in heartbeats])
    samples = np.concatenate([np.empty(0, dtype=np.int64), *heartbeats])[:, None] + np.arange(before + after)
    complexes = padded[owner[:, None], :, samples].transpose(0, 2, 1)
    shapes = (complexes - complexes.mean(axis=2, keepdims=True)).astype(np.float64)
    shapes = shapes.reshape(len(shapes), X.shape[1] * (before + after))
    shapes /= np.sqrt((shapes**2).sum(axis=1, keepdims=True)) + 1e-12
    widths = _widths(complexes, sampling_rate)
    references, stop = [], 0
    for beats, intervals in zip(heartbeats, _all_intervals(heartbeats, gaps)):
        start, stop = stop, stop + len(beats)
        groups = _group_by_shape(shapes[start:stop])
        groups = [group for group in groups if len(group) >= max(2, MIN_SHARE * len(beats))]
        if not groups:
            references.append(np.arange(len(beats)))
        elif len(groups) == 1:
            references.append(groups[0])
        else:
            abnormality = _abnormality(widths[start:stop], intervals, groups)
            references.append(groups[int(np.argmin(abnormality))])
    return references


def _widths(complexes: NDArray, sampling_rate: float) -> NDArray:
    """Return the spread in seconds of the slope of QRS complexes (n_beats, n_leads, n)."""
    power = (np.diff(complexes, axis=2) ** 2).sum(axis=1)
    power /= power.sum(axis=1, keepdims=True) + 1e-12
    time = np.arange(power.shape[1]) / sampling_rate
    # no matrix product, which rounds one beat otherwise among others
    mean, square = ((power * weight).sum(axis=1) for weight in (time, time**2))
    return np.sqrt(np.maximum(square - mean**2, 0))


def _abnormality(
    widths: NDArray, intervals: NDArray[np.float64], groups: Sequence[NDArray[np.int64]]
) -> list[float]:
    """Return how early, wide and rare the beats of each group are."""
    logs = np.log(intervals)
    earliness = np.full(len(widths), np.nan)
    earliness[1:-1] = logs[1:] - logs[:-1]
    abnormality = []
    for group in groups:
        known = earliness[group]
        known = known[~np.isnan(known)]
        early = float(known.mean()) if len(known) else 0.0
        width = float(median(widths[group]))
        abnormality.append(early + width / TYPICAL_WIDTH - len(group) / len(widths) / 2)
    return abnormality


def _group_by_shape(shapes: NDArray[np.float64]) -> list[NDArray[np.int64]]:
    """Return the groups, as indices, of complexes (n_beats, n) of mean 0 and size 1."""
    n_beats = len(shapes)
    distance = np.maximum(1 - shapes @ shapes.T, 0)
    if n_beats < 2 or distance.max() <= MAX_DISTANCE:  # no mean of distances is larger
        return [np.arange(n_beats)]
    tree = linkage(squareform(distance, checks=False), "average")
    # what fcluster would do, which spends most of its time on checking the tree
    groups = {beat: [beat] for beat in range(n_beats)}
    for step, (one, two) in enumerate(tree[tree[:, 2] <= MAX_DISTANCE, :2].astype(int).tolist()):
        groups[n_beats + step] = groups.pop(one) + groups.pop(two)
    return [np.sort(group) for group in groups.values()]


def _all_intervals(
    heartbeats: Sequence[NDArray[np.int64]], gaps: Sequence[NDArray] | None
) -> Iterator[NDArray[np.float64]]:
    """Yield the RR intervals (n_beats - 1,) of each ECG, NaN across a gap."""
    for row, beats in enumerate(heartbeats):
        intervals = np.diff(beats).astype(float)
        for start, stop in () if gaps is None else gaps[row]:
            intervals[(beats[:-1] < stop) & (beats[1:] > start)] = np.nan
        yield intervals


def rhythm_channels(
    heartbeats: Sequence[NDArray[np.int64]],
    n_timesteps: int,
    *,
    references: Sequence[NDArray[np.int64]] | None = None,
    gaps: Sequence[NDArray] | None = None,
    limit: float = 1.5,
) -> NDArray[np.float32]:
    """Return how early or late every beat comes, as channels that are constant over each beat's span.

    What speaks for a premature beat is below 0, and :class:`~skecgattn.nn.BeatSegmenter` reads nothing else:
    wherever a beat is premature, the one after the pause is late. Natural logarithms of ratios of RR
    intervals, 0 where one is unknown, clipped to plus or minus `limit`:

    0. the interval before the beat over the ECG's median interval,
    1. the interval before over the ECG's 80% quantile, which frequent early beats do not move,
    2. the interval before over the median interval before the reference beats.

    The others tell whether that is unusual for this ECG: a beat that is early in a regular rhythm is
    premature, in atrial fibrillation it is one among many. They are in units of the ECG's spread, which is
    .03 plus the width of the shortest range that holds half of the logarithms of its intervals [1]_ (narrow
    in bigeminy too, where a standard deviation is not), clipped to plus or minus six spreads and divided by
    twelve:

    3. the interval before the beat over the ECG's median interval,
    4. minus the interval after it over the median, 0 where it is shorter,
    5. the interval before over the one before that,
    6. minus the interval after over the interval before, 0 where it is shorter,
    7. the interval before over the ECG's 80% quantile,
    8. the interval before over the median of four near it: the two before it, and two after the next one,
    9. the interval before over the median interval before the reference beats.

    A pause after a beat is part of what makes it premature; that the next beat comes early is not told, as it
    would mark the beat before a premature one as well as the premature one itself.

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

    gaps : sequence of ndarray of shape (n_gaps, 2), default=None
        Start and stop, in samples, of the stretches of each ECG in which nothing was recorded: an RR
        interval across one is unknown. None where there are none.

    limit : float, default=1.5
        Largest absolute value of the first three channels.

    Returns
    -------
    channels : ndarray of shape (n_samples, 10, n_timesteps), float32
        All 0 where an ECG has fewer than two known RR intervals.

    References
    ----------
    .. [1] Rousseeuw, P. J., Leroy, A. M. "A robust scale estimator based on the shortest half." Statistica
       Neerlandica 42(2), 1988.

    Examples
    --------
    >>> import numpy as np
    >>> from skecgattn.beats import rhythm_channels
    >>> rhythm_channels([np.array([10, 20, 30, 35, 50, 60, 70])], 80)[0, ::3, [30, 35, 50]].round(2)
    array([[ 0.  ,  0.  ,  0.  ,  0.  ],
           [-0.69, -0.5 , -0.5 , -0.5 ],
           [ 0.41,  0.5 ,  0.  ,  0.5 ]], dtype=float32)
    """
    channels = np.zeros((len(heartbeats), N_RHYTHM, n_timesteps), dtype=np.float32)
    for row, (beats, intervals) in enumerate(zip(heartbeats, _all_intervals(heartbeats, gaps))):
        if np.count_nonzero(~np.isnan(intervals)) >= 2:
            normal = np.arange(len(beats)) if references is None else references[row]
            values = _describe_rhythm(intervals, normal, limit).astype(np.float32)
            channels[row] = np.repeat(values, np.diff(span_edges(beats, n_timesteps)), axis=1)
    return channels


def _describe_rhythm(
    intervals: NDArray[np.float64], normal: NDArray[np.int64], limit: float
) -> NDArray[np.float64]:
    """Return the values (10, n_beats) of :func:`rhythm_channels` from RR intervals (n_beats - 1,) or NaN."""
    n_beats = len(intervals) + 1
    ordered = np.sort(intervals[~np.isnan(intervals)])
    logs = np.full(n_beats + 5, np.nan)  # 3 + k: the interval after beat k
    logs[3 : 2 + n_beats] = np.log(intervals)
    before, after = logs[2 : 2 + n_beats], logs[3 : 3 + n_beats]
    typical = np.log(quantile(ordered, 0.5))
    around = np.empty((4, n_beats))
    for row, shift in zip(around, (0, 1, 4, 5)):
        row[:] = logs[shift : shift + n_beats]
    around[np.isnan(around)] = typical
    around.sort(axis=0)
    known = before[normal]
    known = np.sort(known[~np.isnan(known)])
    values = np.empty((N_RHYTHM, n_beats))
    values[3] = before - typical
    values[4] = np.minimum(typical - after, 0)
    values[5] = before - logs[1 : 1 + n_beats]
    values[6] = np.minimum(before - after, 0)
    values[7] = before - np.log(quantile(ordered, 0.8))
    values[8] = before - (around[1] + around[2]) / 2
    values[9] = before - (quantile(known, 0.5) if len(known) else typical)
    values[:3] = np.clip(values[[3, 7, 9]], -limit, limit)
    spread = REGULAR + _shortest_half(np.log(ordered))
    values[3:] = np.clip(values[3:] / spread, -MOST_SPREADS, MOST_SPREADS) / (2 * MOST_SPREADS)
    values[np.isnan(values)] = 0
    return values


def _shortest_half(ordered: NDArray[np.float64]) -> float:
    """Return the width of the shortest range that holds half of two and more ascending values."""
    held = max(2, -(-len(ordered) // 2))
    return float((ordered[held - 1 :] - ordered[: len(ordered) - held + 1]).min())


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
    X = _as_floating(X)
    n_timesteps = X.shape[2]
    before, after = round(TEMPLATE_BEFORE * sampling_rate), round(TEMPLATE_AFTER * sampling_rate)
    channels = np.zeros(X.shape, dtype=np.float32)
    padded = np.pad(X, ((0, 0), (0, 0), (before, after)), mode="edge")
    around = np.arange(before + after)[:, None]
    time = np.arange(before, before + n_timesteps)
    for row, (ecg, channel, beats) in enumerate(zip(X, channels, heartbeats)):
        if len(beats) < 3:
            continue
        normal = beats if references is None else beats[references[row]]
        template = median(padded[row].take(normal + around, axis=1))
        size = np.maximum(np.ptp(template, axis=1, keepdims=True), MIN_TEMPLATE)
        offset = time - np.repeat(beats, np.diff(span_edges(beats, n_timesteps)))
        difference = ecg - template.take(offset, axis=1, mode="clip")
        difference /= size
        channel[:] = difference
        channel[:, (offset < 0) | (offset >= before + after)] = 0
    return channels


def _as_floating(X: NDArray) -> NDArray:
    """Return ECGs as float64 where they are integers, or less precise than float32."""
    return X if X.dtype in (np.float32, np.float64) else X.astype(np.float64)
