"""How a map ranks samples or annotated beats: areas under curves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import digamma
from sklearn.utils._param_validation import StrOptions, validate_params

from ._annotations import IGNORED, POSITIVE, MapTruth
from ._localisation import CONSTRAINTS, Score, checked_truth, mean_score

_CONSTRAINTS: dict[str, list[Any]] = {
    **CONSTRAINTS,
    "level": [StrOptions({"sample", "beat"})],
    "reduce": [StrOptions({"max", "mean"})],
    "average": [StrOptions({"pooled", "window"})],
}


def _beat_scores(maps: NDArray, truth: MapTruth, reduce: str) -> NDArray:
    """Return the maximum or mean of the map over each beat's span."""
    if not len(truth.window):
        return np.empty(0)
    flat, width = maps[np.unique(truth.window)].ravel(), truth.stop - truth.start
    # The spans tile the windows that have beats, and so their concatenation without gaps.
    edges = np.cumsum(width) - width
    scores = np.empty(len(width))
    filled = width > 0
    if reduce == "max":
        scores[filled] = np.maximum.reduceat(flat, edges[filled])
    else:
        # of the differences to the first sample, so that maps constant over spans tie as they should
        first, spans = flat[edges[filled]].astype(float), width[filled]
        scores[filled] = first + np.add.reduceat(flat - np.repeat(first, spans), edges[filled]) / spans
    scores[~filled] = flat[np.minimum(edges[~filled], len(flat) - 1)]
    return scores


def _ranking(score: NDArray, positive: NDArray) -> tuple[NDArray, NDArray]:
    """Return true and false positives at each distinct score, from the highest down."""
    order = np.argsort(score)[::-1]
    ranked = score[order]
    ends = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), len(ranked) - 1)
    tp = np.cumsum(positive[order])[ends]
    return tp, ends + 1 - tp


def _auroc(score: NDArray, positive: NDArray) -> float:
    tp, fp = _ranking(score, positive)
    return float(np.trapezoid(np.append(0, tp), np.append(0, fp)) / (float(tp[-1]) * float(fp[-1])))


def _average_precision(score: NDArray, positive: NDArray) -> float:
    tp, fp = _ranking(score, positive)
    return float(np.sum(np.diff(tp, prepend=0) / tp[-1] * tp / (tp + fp)))


def _expected_average_precision(positive: NDArray) -> float:
    """Return the mean average precision over all orders; for few items above the prevalence."""
    n, k = len(positive), int(positive.sum())
    harmonic = digamma(n + 1) + np.euler_gamma
    return float((k - 1) / (n - 1) + harmonic / n * (n - k) / (n - 1))


def _ranked(
    name: str,
    curve: Callable[[NDArray, NDArray], float],
    chance: Callable[[NDArray], float],
    maps: NDArray,
    truth: MapTruth,
    level: str,
    reduce: str,
    average: str,
    return_chance: bool,
) -> Score:
    """Score how a map ranks samples or beats, over all windows together or a window at a time."""
    parts: list[tuple[NDArray, NDArray]] = []
    if level == "sample":
        rows = np.flatnonzero(truth.used)
        if average == "pooled":
            role = truth.role_map[rows]
            parts.append((maps[rows][role != IGNORED], role[role != IGNORED] == POSITIVE))
        else:
            for row in rows:
                role = truth.role_map[row]
                parts.append((maps[row][role != IGNORED], role[role != IGNORED] == POSITIVE))
    else:
        kept = truth.used[truth.window] & (truth.role != IGNORED)
        score, positive = _beat_scores(maps, truth, reduce)[kept], truth.role[kept] == POSITIVE
        if average == "pooled":
            parts.append((score, positive))
        else:
            cuts = np.flatnonzero(np.diff(truth.window[kept])) + 1
            parts.extend(zip(np.split(score, cuts), np.split(positive, cuts)))
    parts = [part for part in parts if part[1].any() and not part[1].all()]
    values = np.array([curve(*part) for part in parts])
    return mean_score(name, values, np.array([chance(part[1]) for part in parts]), return_chance)


@validate_params(_CONSTRAINTS, prefer_skip_nested_validation=True)
def map_auroc(
    maps: ArrayLike,
    beats: Sequence[NDArray],
    *,
    label: str | Sequence[str],
    level: str = "sample",
    reduce: str = "max",
    average: str = "pooled",
    ignore: Sequence[str] | None = None,
    mask: ArrayLike | None = None,
    return_chance: bool = False,
) -> Score:
    """Area under the ROC curve of the map as a score for samples or beats of the class.

    The probability that a sample (or beat) of the class has a higher score than one of another class; ties
    count half. Samples in spans of don't-care beats, and these beats, are left out.

    Parameters
    ----------
    maps : array-like of shape (n_samples, n_timesteps)
        One map a window.
    beats : sequence of n_samples structured arrays
        All annotated beats of each window, with the fields ``sample`` and ``symbol``.
    label : str or tuple of str
        The class scored: an AAMI class or a tuple of WFDB beat symbols.
    ignore : tuple of str, default=None
        WFDB symbols of the don't-care beats; None means those of EC57, as in :func:`pointing_game`.
    mask : array-like of bool of shape (n_samples,), default=None
        The windows to count; None means all. Pooled, windows without a beat of the class count too.
    level : {"sample", "beat"}, default="sample"
        What is ranked: samples by the map, positive in the spans of the class, or annotated beats by the map
        over their span.
    reduce : {"max", "mean"}, default="max"
        How the map over a beat's span becomes the beat's score. Unused at the level of samples.
    average : {"pooled", "window"}, default="pooled"
        "pooled" ranks all windows together, and so asks whether maps compare between windows. "window" ranks
        within each window that has both kinds, and averages.
    return_chance : bool, default=False
        Whether to return the chance level as well, 0.5.

    Returns
    -------
    score : float
        From 0 to 1; nan, with a warning, where not both kinds are present.
    chance : float
        Only if `return_chance` is True.

    Raises
    ------
    ValueError
        If a shape does not fit, a field is missing, or a beat lies outside its window.

    References
    ----------
    .. [1] Hanley, J. A., McNeil, B. J. "The meaning and use of the area under a receiver operating
       characteristic (ROC) curve." Radiology 143(1), 1982.

    Examples
    --------
    >>> import numpy as np
    >>> from skecgattn.metrics import map_auroc
    >>> beats = [np.array([(1, "N"), (5, "V")], dtype=[("sample", "i8"), ("symbol", "U4")])]
    >>> maps = [[0, 0.5, 0, 0, 0, 0.9, 0, 0]]
    >>> map_auroc(maps, beats, label="V")
    0.4666...
    >>> map_auroc(maps, beats, label="V", level="beat")
    1.0
    """
    checked, truth = checked_truth(maps, beats, label, ignore, mask)
    return _ranked("map_auroc", _auroc, lambda _: 0.5, checked, truth, level, reduce, average, return_chance)


@validate_params(_CONSTRAINTS, prefer_skip_nested_validation=True)
def map_average_precision(
    maps: ArrayLike,
    beats: Sequence[NDArray],
    *,
    label: str | Sequence[str],
    level: str = "sample",
    reduce: str = "max",
    average: str = "pooled",
    ignore: Sequence[str] | None = None,
    mask: ArrayLike | None = None,
    return_chance: bool = False,
) -> Score:
    """Average precision of the map as a score for samples or beats of the class.

    The sum over the distinct scores, from the highest down, of the gain in recall times the precision.
    Samples in spans of don't-care beats, and these beats, are left out.

    Parameters
    ----------
    maps : array-like of shape (n_samples, n_timesteps)
        One map a window.
    beats : sequence of n_samples structured arrays
        All annotated beats of each window, with the fields ``sample`` and ``symbol``.
    label : str or tuple of str
        The class scored: an AAMI class or a tuple of WFDB beat symbols.
    ignore : tuple of str, default=None
        WFDB symbols of the don't-care beats; None means those of EC57, as in :func:`pointing_game`.
    mask : array-like of bool of shape (n_samples,), default=None
        The windows to count; None means all. Pooled, windows without a beat of the class count too.
    level : {"sample", "beat"}, default="sample"
        What is ranked, as in :func:`map_auroc`.
    reduce : {"max", "mean"}, default="max"
        How the map over a beat's span becomes the beat's score. Unused at the level of samples.
    average : {"pooled", "window"}, default="pooled"
        Whether all windows are ranked together or each by itself, as in :func:`map_auroc`.
    return_chance : bool, default=False
        Whether to return the chance level as well: the expected average precision of a random order, for
        ``average="window"`` the mean over windows. For k of n items in the class it is (k - 1) / (n - 1) +
        H(n) / n * (n - k) / (n - 1), with H(n) the harmonic number [2]_: the share of the class for many
        items, more for few.

    Returns
    -------
    score : float
        From 0 to 1; nan, with a warning, where not both kinds are present.
    chance : float
        Only if `return_chance` is True.

    Raises
    ------
    ValueError
        If a shape does not fit, a field is missing, or a beat lies outside its window.

    References
    ----------
    .. [1] Davis, J., Goadrich, M. "The relationship between precision-recall and ROC curves." ICML 2006.
    .. [2] Bestgen, Y. "Exact expected average precision of the random baseline for system evaluation." The
       Prague Bulletin of Mathematical Linguistics 103, 2015.

    Examples
    --------
    >>> import numpy as np
    >>> from skecgattn.metrics import map_average_precision
    >>> dtype = [("sample", "i8"), ("symbol", "U4")]
    >>> beats = [np.array([(1, "N"), (3, "V"), (5, "N"), (7, "V")], dtype=dtype)]
    >>> maps = [[0, 0.5, 0, 0.9, 0, 0.1, 0, 0.2]]
    >>> map_average_precision(maps, beats, label="V", level="beat", return_chance=True)
    (0.8333..., 0.680...)
    """
    checked, truth = checked_truth(maps, beats, label, ignore, mask)
    return _ranked(
        "map_average_precision",
        _average_precision,
        _expected_average_precision,
        checked,
        truth,
        level,
        reduce,
        average,
        return_chance,
    )
