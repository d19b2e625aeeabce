"""Deletion and insertion curves: what the marked samples are worth to the score of a model."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import Bunch, check_array
from sklearn.utils._param_validation import Interval, StrOptions, validate_params

_CONSTRAINTS = {
    "score_function": [callable],
    "X": ["array-like"],
    "maps": ["array-like"],
    "n_steps": [Interval(Integral, 1, None, closed="left")],
    "fill": [StrOptions({"linear", "mean", "zero"})],
}


def _linear(X: NDArray, removed: NDArray, fallback: NDArray) -> NDArray:
    """Fill removed samples on straight lines between the nearest kept ones; `fallback` where none is kept."""
    n_timesteps = X.shape[-1]
    time = np.arange(n_timesteps)
    before = np.maximum.accumulate(np.where(removed, -1, time), axis=1)
    after = np.minimum.accumulate(np.where(removed, n_timesteps, time)[:, ::-1], axis=1)[:, ::-1]
    left = np.where(before < 0, after, before)
    right = np.where(after == n_timesteps, before, after)
    lost = removed.all(axis=1)
    left, right = np.clip(left, 0, n_timesteps - 1), np.clip(right, 0, n_timesteps - 1)
    weight = ((time - left) / np.maximum(right - left, 1))[:, None]
    start, end = (np.take_along_axis(X, index[:, None], axis=2) for index in (left, right))
    filled = start + weight * (end - start)
    filled[lost] = fallback[lost]
    return np.where(removed[:, None], filled, X)


def _curve(
    score_function: Callable[[NDArray], ArrayLike],
    X: ArrayLike,
    maps: ArrayLike,
    n_steps: int,
    fill: str,
    insertion: bool,
) -> Bunch:
    ecgs: NDArray = check_array(X, dtype=[np.float64, np.float32], allow_nd=True, input_name="X")
    attention: NDArray = check_array(maps, dtype=[np.float64, np.float32], input_name="maps")
    if ecgs.ndim not in (2, 3):
        raise ValueError(f"X must have 2 or 3 dimensions; got shape {ecgs.shape}.")
    if attention.shape != (ecgs.shape[0], ecgs.shape[-1]):
        raise ValueError(
            f"maps must have shape {(ecgs.shape[0], ecgs.shape[-1])}, one map an ECG; got {attention.shape}."
        )
    n_samples, n_timesteps = attention.shape
    leads = ecgs.reshape(n_samples, -1, n_timesteps)
    order = np.argsort(-attention, axis=1, kind="stable")
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.arange(n_timesteps)[None], axis=1)
    base = np.zeros_like(leads)
    if fill != "zero":
        base += leads.mean(axis=2, keepdims=True)

    fractions = np.linspace(0, 1, n_steps + 1)
    scores = np.empty((n_samples, n_steps + 1))
    for step, fraction in enumerate(fractions):
        removed = (rank < round(fraction * n_timesteps)) ^ insertion
        if fill == "linear":
            changed = _linear(leads, removed, base)
        else:
            changed = np.where(removed[:, None], base, leads)
        score = np.asarray(
            score_function(changed.astype(ecgs.dtype, copy=False).reshape(ecgs.shape)), dtype=float
        )
        if score.shape != (n_samples,):
            raise ValueError(
                f"score_function must return an array of shape ({n_samples},); got {score.shape}."
            )
        scores[:, step] = score
    auc = np.trapezoid(scores, fractions, axis=1)
    return Bunch(
        fractions=fractions,
        scores=scores.mean(axis=0),
        auc=float(auc.mean()),
        scores_per_ecg=scores,
        auc_per_ecg=auc,
    )


@validate_params(_CONSTRAINTS, prefer_skip_nested_validation=True)
def deletion_curve(
    score_function: Callable[[NDArray], ArrayLike],
    X: ArrayLike,
    maps: ArrayLike,
    *,
    n_steps: int = 20,
    fill: str = "mean",
) -> Bunch:
    """Score of a model as the samples of an ECG are taken away, the highest of its map first.

    At each fraction f, the round(f * n_timesteps) samples where the map is highest are replaced in all leads
    and the ECG is scored again. Equal values of the map are taken in order of time. The faster the score
    falls, the smaller the area under the curve, the more the model needs what the map marks.

    Parameters
    ----------
    score_function : callable
        Takes an array like `X` and returns one score an ECG, shape (n_samples,), such as the probability of
        the class: ``lambda X: clf.predict_proba(X)[:, 1]``.
    X : array-like of shape (n_samples, n_leads, n_timesteps) or (n_samples, n_timesteps)
        The ECGs.
    maps : array-like of shape (n_samples, n_timesteps)
        One map an ECG, shared by its leads.
    n_steps : int, default=20
        Number of steps from the whole ECG to none.
    fill : {"mean", "zero", "linear"}, default="mean"
        What replaces a sample: the mean of the lead, zero, or the straight line between the nearest samples
        kept (the mean of the lead where none is).

    Returns
    -------
    curve : :class:`~sklearn.utils.Bunch`
        ``fractions`` (n_steps + 1,) and mean ``scores`` (n_steps + 1,); ``auc``, the mean area by the
        trapezoidal rule over fractions 0 to 1; ``scores_per_ecg`` (n_samples, n_steps + 1) and
        ``auc_per_ecg`` (n_samples,).

    Raises
    ------
    ValueError
        If shapes do not fit, or `score_function` returns another number of scores.

    See Also
    --------
    insertion_curve : The same from nothing to the whole ECG.

    Notes
    -----
    For a chance level, hand in the maps of other ECGs: ``maps[rng.permutation(len(maps))]``.

    References
    ----------
    .. [1] Petsiuk, V., Das, A., Saenko, K. "RISE: Randomized input sampling for explanation of black-box
       models." BMVC 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from skecgattn.metrics import deletion_curve
    >>> X = np.array([[0.0, 0.0, 4.0, 0.0]])
    >>> deletion_curve(lambda X: X.max(axis=1), X, X, n_steps=4, fill="zero").scores
    array([4., 0., 0., 0., 0.])
    """
    return _curve(score_function, X, maps, n_steps, fill, insertion=False)


@validate_params(_CONSTRAINTS, prefer_skip_nested_validation=True)
def insertion_curve(
    score_function: Callable[[NDArray], ArrayLike],
    X: ArrayLike,
    maps: ArrayLike,
    *,
    n_steps: int = 20,
    fill: str = "mean",
) -> Bunch:
    """Score of a model as the samples of an ECG are put in, the highest of its map first.

    At each fraction f, only the round(f * n_timesteps) samples where the map is highest are kept, in all
    leads; the others are replaced. The larger the area under the curve, the more of what the model needs the
    map marks.

    Parameters
    ----------
    score_function : callable
        Takes an array like `X` and returns one score an ECG, shape (n_samples,).
    X : array-like of shape (n_samples, n_leads, n_timesteps) or (n_samples, n_timesteps)
        The ECGs.
    maps : array-like of shape (n_samples, n_timesteps)
        One map an ECG, shared by its leads.
    n_steps : int, default=20
        Number of steps from nothing to the whole ECG.
    fill : {"mean", "zero", "linear"}, default="mean"
        What stands in for a missing sample, as in :func:`deletion_curve`.

    Returns
    -------
    curve : :class:`~sklearn.utils.Bunch`
        As from :func:`deletion_curve`, with the fraction of samples put in.

    Raises
    ------
    ValueError
        If shapes do not fit, or `score_function` returns another number of scores.

    See Also
    --------
    deletion_curve : The same from the whole ECG to nothing.

    References
    ----------
    .. [1] Petsiuk, V., Das, A., Saenko, K. "RISE: Randomized input sampling for explanation of black-box
       models." BMVC 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from skecgattn.metrics import insertion_curve
    >>> X = np.array([[0.0, 0.0, 4.0, 0.0]])
    >>> insertion_curve(lambda X: X.max(axis=1), X, X, n_steps=4, fill="zero").scores
    array([0., 4., 4., 4., 4.])
    """
    return _curve(score_function, X, maps, n_steps, fill, insertion=True)
