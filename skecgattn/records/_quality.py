"""Stretches of a recording in which there is no ECG to be read."""

from __future__ import annotations

import math
from numbers import Integral, Real

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils._param_validation import Interval, validate_params

from skecgattn._gaps import runs

# Whether a sample is readable depends on the samples this far before and after it, in seconds, and no others.
CONTEXT_SECONDS = 5.0

_STEP_SECONDS = 0.02  # lag of the second difference: it passes 10 to 40 Hz best and stops 50 Hz
_STEPS = 5  # in a sub-block of a tenth of a second
_SUB_BLOCKS = 5  # in a block of half a second, which is judged as a whole
_SPAN = 4  # blocks that are flat or at the rails together
_REACH = 4  # blocks before and after one that tell whether it is noise
_GAP = 2  # readable blocks between unreadable ones that are too few to be of use
_MISSING_SHARE = 0.1  # of a block
_FLAT_RANGE = 0.01  # mV; two steps of the common 5 µV converters
_RAIL_DISTANCE = 1.0  # mV from the mean
_RAIL_SHARE = 0.1  # of the samples; clean QRS complexes spend less than 2% at their very peak
_RAIL_WIDTH = 1e-3  # of the range
_NOISE_LEVEL = 0.2  # mV
_NOISE_RATIO = 0.3
_REPEATS = 0.7  # correlation; fast ventricular tachycardia reaches 0.9, noise stays below 0.6
_CYCLES = range(10, 61)  # steps: 0.2 to 1.2 s
_PIECE_BLOCKS = 1024  # bounds the memory of intermediate results


@validate_params(
    {
        "signal": ["array-like"],
        "sampling_rate": [Interval(Real, 0, None, closed="neither")],
        "readable_leads": [Interval(Real, 0, 1, closed="right")],
        "first_sample": [Interval(Integral, 0, None, closed="left")],
    },
    prefer_skip_nested_validation=True,
)
def unreadable_stretches(
    signal: ArrayLike,
    sampling_rate: float,
    *,
    readable_leads: float = 0.5,
    first_sample: int = 0,
) -> NDArray[np.int64]:
    """Find the stretches in which no ECG can be read.

    Half a second after the other is judged, lead by lead. In a lead it is unreadable if it

    - is missing: more than a tenth of its samples are NaN or infinite;
    - is flat, as with a lead that is off: part of 2 s that stay within 0.01 mV;
    - is saturated: at the highest or lowest value of 2 s in which a tenth of the samples are stuck there,
      1 mV or more from the mean;
    - is noise: in the 4.5 s around it the activity between the heartbeats is like that in them. Activity is
      the mean size of the second difference at a lag of 20 ms (10 to 40 Hz), over 0.1 s. It is noise if the
      median of these is more than 0.2 mV, and more than 0.3 of their 90th percentile, which is
      that of the QRS complexes; unless the signal repeats itself every 0.2 to 1.2 s (correlation of
      its changes above 0.7), as fast ventricular tachycardia does, which has no quiet between the beats. Slow
      waves of any size, such as a wandering baseline or flutter, have little activity of this kind.

    The ECG is unreadable where any lead is missing, since a model reads all leads together, and where fewer
    leads than `readable_leads` demands can be read. A second or less between unreadable stretches is
    unreadable too.

    The signal must be as it was recorded: a filter hides flat lines and rails.

    Parameters
    ----------
    signal : array-like of shape (n_leads, n_timesteps) or (n_timesteps,)
        The ECG in mV; NaN where it is missing.

    sampling_rate : float
        Samples a second (Hz).

    readable_leads : float, default=0.5
        Share of the leads that must be readable, in (0, 1], and never less than one lead. By default the
        ECG is readable if one of two leads, or six of twelve, can be read; 1 demands all.

    first_sample : int, default=0
        Number of the first sample of `signal` within a longer recording. With it, pieces of a recording give
        the stretches that the whole gives, from ``CONTEXT_SECONDS`` after the beginning of a piece to
        ``CONTEXT_SECONDS`` before its end.

    Returns
    -------
    stretches : ndarray of shape (n_stretches, 2), int64
        First sample of each stretch and the one after its last, as indices in `signal`, in order.

    Raises
    ------
    ValueError
        If the signal has another shape.

    Notes
    -----
    The thresholds were chosen on the MIT-BIH Arrhythmia Database, of which they mark 0.07%, nearly all of it
    in records 104 and 203, where both leads are noisy, and on record 118e_6 of its Noise Stress Test [1]_,
    electrode motion noise at -6 dB, of which they mark 92% of the noisy minutes and 0.7% of the others. Of
    300 twelve-lead ECGs of LUDB and of the PhysioNet Challenge 2021 they mark nothing
    (``benchmarks/readability.py``).

    References
    ----------
    .. [1] G. B. Moody, W. K. Muldrow and R. G. Mark, "A noise stress test for arrhythmia detectors",
       Computers in Cardiology 11, 1984.

    Examples
    --------
    >>> import numpy as np
    >>> from skecgattn.records import unreadable_stretches
    >>> rng = np.random.default_rng(0)
    >>> signal = 0.05 * rng.standard_normal((2, 250 * 60))
    >>> signal[:, 2500:5000] = 0.7
    >>> unreadable_stretches(signal, 250)
    array([[2500, 5000]])
    """
    X = np.atleast_2d(np.asarray(signal))
    if X.ndim != 2 or X.dtype.kind not in "fiu":
        raise ValueError(
            "signal must hold numbers and have shape (n_leads, n_timesteps) or (n_timesteps,), "
            f"got {X.dtype} of shape {X.shape}."
        )
    n_leads, n_timesteps = X.shape
    if X.size == 0:
        return np.empty((0, 2), dtype=np.int64)
    step = max(1, round(_STEP_SECONDS * sampling_rate))
    block = step * _STEPS * _SUB_BLOCKS
    before = first_sample % block
    missing, unusable = zip(*(_judge_lead(x, step, before) for x in X))
    demanded = max(1, math.ceil(readable_leads * n_leads - 1e-9))
    unreadable = np.any(missing, axis=0) | (n_leads - np.sum(unusable, axis=0) < demanded)
    edges = runs(unreadable)
    far = np.flatnonzero(edges[1:, 0] - edges[:-1, 1] > _GAP)
    edges = np.column_stack([edges[np.r_[0, far + 1], 0], edges[np.r_[far, -1], 1]]) if len(edges) else edges
    return np.clip(edges * block - before, 0, n_timesteps)


@np.errstate(invalid="ignore", over="ignore")  # infinite samples are missing samples
def _judge_lead(x: NDArray, step: int, before: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Tell for each block of a lead whether it is missing, and whether it is unusable for any reason."""
    block = step * _STEPS * _SUB_BLOCKS
    n_blocks = -(-(before + len(x)) // block)
    parts = []
    for first in range(0, n_blocks, _PIECE_BLOCKS):
        start, stop = first * block - before, min(first + _PIECE_BLOCKS, n_blocks) * block - before
        a, b = max(0, start - step), min(len(x), stop + step)
        # A mirror image fills the first and the last block, and what the differences need beyond them.
        piece = np.pad(
            x[a:b].astype(np.float32, copy=False), (a - start + step, stop + step - b), "symmetric"
        )
        parts.append(_measure(piece, step))
    missing, low, high, mean, at_low, at_high, activity, steps = (
        np.concatenate(part) for part in zip(*parts)
    )
    flat, saturated = _judge_range(low, high, mean, at_low, at_high, block)
    missing = missing > _MISSING_SHARE * block
    return missing, missing | flat | saturated | _judge_noise(activity, steps)


def _measure(piece: NDArray[np.float32], step: int) -> tuple[NDArray, ...]:
    """Measures of the blocks of a piece that has a step more at either end."""
    second = piece[step:-step] * np.float32(2)
    second -= piece[: -2 * step]
    second -= piece[2 * step :]
    activity = np.abs(second, out=second).reshape(-1, _SUB_BLOCKS, step * _STEPS)
    activity = activity @ np.full(step * _STEPS, 1 / (step * _STEPS), np.float32)
    blocks = piece[step:-step].reshape(-1, step * _STEPS * _SUB_BLOCKS)
    # a product: numpy is slow at means of a few values each
    steps = blocks.reshape(len(blocks), _STEPS * _SUB_BLOCKS, step) @ np.full(step, 1 / step, np.float32)
    unknown = ~np.isfinite(blocks)
    missing = np.count_nonzero(unknown, axis=1)
    if missing.any():
        # Neither an extreme nor a change of the mean.
        known = np.where(unknown, np.float32(0), blocks)
        mean = known.sum(axis=1) / np.maximum(blocks.shape[1] - missing, 1)
        blocks = np.where(unknown, mean[:, np.newaxis], blocks)
    else:
        mean = blocks.mean(axis=1)
    low, high = blocks.min(axis=1), blocks.max(axis=1)
    edge = _RAIL_WIDTH * (high - low)
    at_low = np.count_nonzero(blocks <= (low + edge)[:, np.newaxis], axis=1)
    at_high = np.count_nonzero(blocks >= (high - edge)[:, np.newaxis], axis=1)
    return missing, low, high, mean, at_low, at_high, activity, steps


def _judge_range(
    low: NDArray, high: NDArray, mean: NDArray, at_low: NDArray, at_high: NDArray, block: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Blocks that are part of a span which is flat, and of one which is at the rails."""
    span = min(_SPAN, len(low))

    def windows(values: NDArray) -> NDArray:
        return np.lib.stride_tricks.sliding_window_view(values, span)

    bottom, top, middle = windows(low).min(axis=1), windows(high).max(axis=1), windows(mean).mean(axis=1)
    flat = (top - bottom < _FLAT_RANGE)[:, np.newaxis]
    edge = _RAIL_WIDTH * (top - bottom)
    saturated = np.zeros((len(top), span), dtype=bool)
    for rail, touching, stuck in (
        (bottom, windows(low) <= (bottom + edge)[:, np.newaxis], windows(at_low)),
        (top, windows(high) >= (top - edge)[:, np.newaxis], windows(at_high)),
    ):
        enough = (stuck * touching).sum(axis=1) >= _RAIL_SHARE * span * block
        saturated |= touching & (enough & (np.abs(rail - middle) >= _RAIL_DISTANCE))[:, np.newaxis]
    return _spread(np.repeat(flat, span, axis=1)), _spread(saturated)


def _judge_noise(activity: NDArray[np.float32], steps: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Blocks in whose surroundings activity is that of noise; both arrays have a row a block."""
    n_blocks = len(activity)
    span = min(2 * _REACH + 1, n_blocks)
    noise = np.empty(n_blocks, dtype=bool)
    for first in range(0, n_blocks, _PIECE_BLOCKS):
        # The surroundings of the first and the last blocks are those of their neighbours.
        rows = np.arange(first, min(first + _PIECE_BLOCKS, n_blocks))[:, np.newaxis] - _REACH
        rows = np.clip(rows, 0, n_blocks - span) + np.arange(span)
        ordered = np.sort(activity[rows].reshape(len(rows), -1), axis=1)  # what is missing comes last
        last = np.count_nonzero(np.isfinite(ordered), axis=1) - 1
        median, high = (
            ordered[np.arange(len(rows)), np.maximum(last * tenths // 10, 0)] for tenths in (5, 9)
        )
        suspect = (median > _NOISE_LEVEL) & (median > _NOISE_RATIO * high)
        suspect[suspect] = ~_repeats(steps[rows[suspect]].reshape(-1, span * steps.shape[1]))
        noise[first : first + _PIECE_BLOCKS] = suspect
    return noise


def _repeats(X: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Rows whose changes correlate with themselves, one cycle later."""
    changes = np.diff(X, axis=1)
    changes -= changes.mean(axis=1, keepdims=True)
    energy = np.cumsum(changes**2, axis=1)
    highest = np.zeros(len(X), dtype=np.float32)
    for lag in _CYCLES:
        early, late = changes[:, :-lag], changes[:, lag:]
        if early.shape[1] < lag:  # less than two cycles
            break
        size = np.sqrt(energy[:, -lag - 1] * (energy[:, -1] - energy[:, lag - 1]))
        np.maximum(highest, np.einsum("ij,ij->i", early, late) / (size + 1e-9), out=highest)
    return highest > _REPEATS


def _spread(windows: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Tell which blocks are marked in any of the windows of blocks."""
    n_windows, span = windows.shape
    blocks = np.zeros(n_windows + span - 1, dtype=bool)
    for shift in range(span):
        blocks[shift : shift + n_windows] |= windows[:, shift]
    return blocks
