"""What a network that knows P waves and premature beats says of every heartbeat."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from ..nn import Odds
from ._quantile import median
from ._spans import span_edges
from ._wave_network import LONGEST_PR, REACH, Waves, see_waves

N_WAVES = 8
"""Number of wave channels."""

LONGEST_SHIFT = 0.1
"""Seconds by which a PR interval differs from the usual one at most."""

SIZE = 0.25
"""What the values are multiplied by: the shape of beats is to be learned beside them."""

UNLIKELY, SURE = -5.0, 3.0
"""Logarithms of the odds that a beat is premature between which they are told."""

PREMATURE = (
    Odds(5, -(SURE - UNLIKELY) / SIZE, UNLIKELY, needs=((0, 1 / SIZE), (1, -1 / SIZE)), suffices=True),
    Odds(7, -(SURE - UNLIKELY) / SIZE, UNLIKELY),
)
"""How the channels tell the odds of premature beats from the atria and from the ventricles.

Those from the atria need a P wave, of the beat or, if that is more probable, of the reference beats: where no
beat has one, as in fibrillation, an early one is no news. They suffice: of an ECG as a whole it is hard to
tell whether it has beats from the atria, but not whether it has some from the ventricles."""


def wave_channels(
    X: NDArray,
    heartbeats: Sequence[NDArray[np.int64]],
    sampling_rate: float,
    *,
    references: Sequence[NDArray[np.int64]] | None = None,
    gaps: Sequence[NDArray] | None = None,
    starts: NDArray | None = None,
) -> NDArray[np.float32]:
    """Return what is seen of every beat's P wave, and how premature it looks.

    A small convolutional network that comes with the package reads all leads. It learned waves from the
    boundaries of P waves, QRS complexes and T waves of LUDB [1]_, and what premature beats look like from
    ECGs that were laid out of LUDB's waves: sinus rhythm, premature beats from the atria and from the
    ventricles, alone and in runs, atrial fibrillation, pauses, under made-up noise. No annotated kind of a
    beat took part, nor any ECG of another database. The channels are constant over each beat's span and lie
    within -.25 and 0; what speaks for an abnormal beat is below 0:

    0. the probability of a P wave before the beat, minus 1,
    1. that probability minus the median one of the reference beats, 0 where it is higher,
    2. minus the difference between the PR interval and the median one of the reference beats, 1 from 0.1 s
       on, times the probabilities of the P waves,
    3. the second times the median probability of the reference beats: that a P wave is missing says little
       where no beat has one,
    4. minus the probability that the beat is premature and from the atria,
    5. minus the logarithm of its odds, from -5 to 3 laid on 0 to 1,
    6. minus the probability that the beat is premature and from the ventricles,
    7. minus the logarithm of its odds, from -5 to 3 laid on 0 to 1,

    each of them over four.

    The first and the last four tell one beat from another, but also one ECG from another: in atrial
    fibrillation no beat has a P wave.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_leads, n_timesteps)
        ECGs in any unit.

    heartbeats : sequence of ndarray of int
        R peaks of each ECG, ascending.

    sampling_rate : float
        In Hz.

    references : sequence of ndarray of int, default=None
        Indices of the beats that are normal for the patient, see :func:`reference_beats`. None takes all.

    gaps : sequence of ndarray of shape (n_gaps, 2), default=None
        Start and stop, in samples, of the stretches of each ECG in which nothing was recorded. The first four
        channels are 0 at a beat with one just before it. The next two are 0 at all beats within 6.5 s: who
        does not see a beat takes the gap for a pause, and what comes before a pause for a run. None where
        there are none.

    starts : ndarray of shape (n_samples,), default=None
        First recorded sample of each ECG, where padding is before it. The first four channels are 0 at a beat
        whose P wave would be before. None: 0.

    Returns
    -------
    channels : ndarray of shape (n_samples, 8, n_timesteps), float32
        All 0 where an ECG has fewer than three heartbeats.

    Raises
    ------
    ValueError
        If `X` has other than three dimensions, `sampling_rate` is not positive, or the number of lists of
        heartbeats is not that of the ECGs.

    References
    ----------
    .. [1] Kalyakulina et al., "LUDB: a new open-access validation tool for electrocardiogram delineation
       algorithms", IEEE Access 8, 2020.

    Examples
    --------
    >>> from skecgattn.beats import wave_channels
    >>> from skecgattn.datasets import make_ecg
    >>> X, y, _, beats = make_ecg(1, sampling_rate=250, random_state=0)
    >>> wave_channels(X, [beats[0]["sample"]], 250).shape
    (1, 8, 2500)
    """
    if X.ndim != 3:
        raise ValueError(f"X must be of shape (n_samples, n_leads, n_timesteps), got {X.shape}.")
    if not sampling_rate > 0:
        raise ValueError(f"sampling_rate must be positive, got {sampling_rate!r}.")
    if len(heartbeats) != len(X):
        raise ValueError(f"heartbeats must have one entry for each of {len(X)} ECGs, got {len(heartbeats)}.")
    X = X if X.dtype in (np.float32, np.float64) else X.astype(np.float64)
    channels = np.zeros((len(X), N_WAVES, X.shape[2]), dtype=np.float32)
    for row, (beats, seen) in enumerate(zip(heartbeats, see_waves(X, heartbeats, sampling_rate))):
        if len(beats) < 3:
            continue
        p_begins = beats - LONGEST_PR * sampling_rate
        normal = np.arange(len(beats)) if references is None else references[row]
        values = _describe_waves(seen, normal)
        values[:4, p_begins < (0 if starts is None else starts[row])] = 0
        for start, stop in () if gaps is None else gaps[row]:
            values[:4, (beats > start) & (p_begins < stop)] = 0
            values[4:6, (beats > start - REACH * sampling_rate) & (beats < stop + REACH * sampling_rate)] = 0
        channels[row] = np.repeat(values, np.diff(span_edges(beats, X.shape[2])), axis=1)
    return channels


def _describe_waves(seen: Waves, normal: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the values (8, n_beats) of :func:`wave_channels`."""
    usual, usual_pr = median(seen.p_wave[normal]), median(seen.pr[normal])
    missing = np.minimum(seen.p_wave - usual, 0)
    shifted = np.minimum(np.abs(seen.pr - usual_pr) / LONGEST_SHIFT, 1)
    values = np.empty((N_WAVES, len(seen.p_wave)))
    values[0] = seen.p_wave - 1
    values[1] = missing
    values[2] = -shifted * seen.p_wave * usual
    values[3] = missing * usual
    for row, odds in ((4, seen.supraventricular), (6, seen.ventricular)):
        values[row] = -expit(odds)
        values[row + 1] = -np.clip((odds - UNLIKELY) / (SURE - UNLIKELY), 0, 1)
    return SIZE * values
