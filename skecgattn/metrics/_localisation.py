"""Where a map points, against the spans of the annotated beats."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.utils import check_array
from sklearn.utils._param_validation import Interval, validate_params

from .._warn import warn_user
from ._annotations import IGNORED, POSITIVE, MapTruth, map_truth

CONSTRAINTS: dict[str, list[Any]] = {
    "maps": ["array-like"],
    "beats": ["array-like"],
    "label": [str, tuple, list],
    "ignore": [tuple, list, None],
    "mask": ["array-like", None],
    "return_chance": ["boolean"],
}
Score = float | tuple[float, float]


def checked_truth(
    maps: ArrayLike,
    beats: Sequence[NDArray],
    label: str | Sequence[str],
    ignore: Sequence[str] | None,
    mask: ArrayLike | None,
) -> tuple[NDArray, MapTruth]:
    """Return the maps as an array, and the beats behind them laid out."""
    checked: NDArray = check_array(maps, dtype=[np.float64, np.float32], input_name="maps")
    return checked, map_truth(checked, beats, label, ignore, mask)


def mean_score(name: str, values: NDArray, chance: NDArray, return_chance: bool) -> Score:
    """Return the mean over windows, with chance where wanted; nan, with a warning, of none."""
    if not len(values):
        warn_user(f"{name} is undefined: no window scored holds what it needs.", UndefinedMetricWarning)
        return (float("nan"), float("nan")) if return_chance else float("nan")
    score = float(np.mean(values, dtype=float))
    return (score, float(np.mean(chance, dtype=float))) if return_chance else score


def _rows(maps: NDArray, truth: MapTruth) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """Return map, class samples, cared-for samples and covered share of the windows with the class."""
    rows = truth.with_class
    role = truth.role_map[rows]
    positive, valid = role == POSITIVE, role != IGNORED
    return maps[rows], positive, valid, positive.sum(axis=1) / valid.sum(axis=1)


@validate_params(CONSTRAINTS, prefer_skip_nested_validation=True)
def pointing_game(
    maps: ArrayLike,
    beats: Sequence[NDArray],
    *,
    label: str | Sequence[str],
    ignore: Sequence[str] | None = None,
    mask: ArrayLike | None = None,
    return_chance: bool = False,
) -> Score:
    """Share of windows whose map peaks inside the span of a beat of the class.

    Counted over the windows that hold a beat of the class. Spans are those of :func:`beat_spans` over *all*
    annotated beats; spans of don't-care beats are cut out before the maximum is taken. Where several samples
    share the maximum, the window counts as the share of them that lies in a span of the class: what one drawn
    at random would score.

    Parameters
    ----------
    maps : array-like of shape (n_samples, n_timesteps)
        One map a window.
    beats : sequence of n_samples structured arrays
        All annotated beats of each window, with the fields ``sample`` and ``symbol``.
    label : str or tuple of str
        The class scored: an AAMI class ("N", "S", "V", "F" or "Q") or a tuple of WFDB beat symbols.
    ignore : tuple of str, default=None
        WFDB symbols of the don't-care beats, neither hits nor errors. None means those of ANSI/AAMI EC57 for
        an AAMI class (V: F and Q beats; S: Q beats; else none), and none for a tuple of symbols. With ``()``
        every beat outside the class is an error.
    mask : array-like of bool of shape (n_samples,), default=None
        The windows to count, such as those classified correctly. None means all.
    return_chance : bool, default=False
        Whether to return the chance level as well: the mean share of the window that spans of the class
        cover.

    Returns
    -------
    score : float
        From 0 to 1; nan, with a warning, where no window counted holds a beat of the class.
    chance : float
        Only if `return_chance` is True.

    Raises
    ------
    ValueError
        If a shape does not fit, a field is missing, or a beat lies outside its window.

    References
    ----------
    .. [1] Zhang, J., Bargal, S. A., Lin, Z. et al. "Top-down neural attention by excitation backprop."
       International Journal of Computer Vision 126, 2018.
    .. [2] Suh, J., Kim, J., Kwon, S. et al. "Visual interpretation of deep learning model in ECG
       classification: A comprehensive evaluation of feature attribution methods." Computers in Biology and
       Medicine 182, 2024.

    Examples
    --------
    >>> import numpy as np
    >>> from skecgattn.metrics import pointing_game
    >>> beats = [np.array([(1, "N"), (5, "V")], dtype=[("sample", "i8"), ("symbol", "U4")])] * 2
    >>> maps = [[0, 0, 0, 0, 0, 1, 0, 0], [1, 0, 0, 0, 0, 0, 0, 0]]
    >>> pointing_game(maps, beats, label="V", return_chance=True)
    (0.5, 0.625)
    """
    values, positive, valid, share = _rows(*checked_truth(maps, beats, label, ignore, mask))
    values = np.where(valid, values, -np.inf)
    peak = values == values.max(axis=1, keepdims=True)
    return mean_score("pointing_game", (peak & positive).sum(axis=1) / peak.sum(axis=1), share, return_chance)


@validate_params(CONSTRAINTS, prefer_skip_nested_validation=True)
def attention_mass(
    maps: ArrayLike,
    beats: Sequence[NDArray],
    *,
    label: str | Sequence[str],
    ignore: Sequence[str] | None = None,
    mask: ArrayLike | None = None,
    return_chance: bool = False,
) -> Score:
    """Share of the map's mass that lies in the spans of the class (relevance mass accuracy).

    For each window that holds a beat of the class: the sum of the map over the spans of the class, over its
    sum over the window, both without the spans of don't-care beats; then the mean over windows. A map that is
    zero throughout counts as an even one.

    Parameters
    ----------
    maps : array-like of shape (n_samples, n_timesteps)
        One map a window, non-negative.
    beats : sequence of n_samples structured arrays
        All annotated beats of each window, with the fields ``sample`` and ``symbol``.
    label : str or tuple of str
        The class scored: an AAMI class or a tuple of WFDB beat symbols.
    ignore : tuple of str, default=None
        WFDB symbols of the don't-care beats; None means those of EC57, as in :func:`pointing_game`.
    mask : array-like of bool of shape (n_samples,), default=None
        The windows to count; None means all.
    return_chance : bool, default=False
        Whether to return the chance level as well: the mean share of the window that spans of the class
        cover, which an even map scores.

    Returns
    -------
    score : float
        From 0 to 1; nan, with a warning, where no window counted holds a beat of the class.
    chance : float
        Only if `return_chance` is True.

    Raises
    ------
    ValueError
        If a map is negative somewhere, a shape does not fit, a field is missing, or a beat lies outside its
        window.

    References
    ----------
    .. [1] Arras, L., Osman, A., Samek, W. "CLEVR-XAI: A benchmark dataset for the ground truth evaluation of
       neural network explanations." Information Fusion 81, 2022.

    Examples
    --------
    >>> import numpy as np
    >>> from skecgattn.metrics import attention_mass
    >>> beats = [np.array([(1, "N"), (5, "V")], dtype=[("sample", "i8"), ("symbol", "U4")])]
    >>> attention_mass([[0, 1, 0, 0, 0, 3, 0, 0]], beats, label="V", return_chance=True)
    (0.75, 0.625)
    """
    checked, truth = checked_truth(maps, beats, label, ignore, mask)
    if checked.min() < 0:
        raise ValueError(f"maps must be non-negative; got a minimum of {checked.min():g}.")
    values, positive, valid, share = _rows(checked, truth)
    inside = np.sum(values, axis=1, where=positive, dtype=float)
    total = np.sum(values, axis=1, where=valid, dtype=float)
    return mean_score(
        "attention_mass", np.divide(inside, total, out=share.copy(), where=total > 0), share, return_chance
    )


@validate_params(CONSTRAINTS, prefer_skip_nested_validation=True)
def rank_accuracy(
    maps: ArrayLike,
    beats: Sequence[NDArray],
    *,
    label: str | Sequence[str],
    ignore: Sequence[str] | None = None,
    mask: ArrayLike | None = None,
    return_chance: bool = False,
) -> Score:
    """Share of the highest samples that lies in the spans of the class (relevance rank accuracy).

    For each window that holds a beat of the class, with K the number of samples in spans of the class: the
    share of the K highest samples, outside the spans of don't-care beats, that lies in spans of the class;
    then the mean over windows. Samples that tie for the last places count as if drawn at random.

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
        The windows to count; None means all.
    return_chance : bool, default=False
        Whether to return the chance level as well: the mean share of the window that spans of the class
        cover.

    Returns
    -------
    score : float
        From 0 to 1; nan, with a warning, where no window counted holds a beat of the class.
    chance : float
        Only if `return_chance` is True.

    Raises
    ------
    ValueError
        If a shape does not fit, a field is missing, or a beat lies outside its window.

    References
    ----------
    .. [1] Arras, L., Osman, A., Samek, W. "CLEVR-XAI: A benchmark dataset for the ground truth evaluation of
       neural network explanations." Information Fusion 81, 2022.

    Examples
    --------
    >>> import numpy as np
    >>> from skecgattn.metrics import rank_accuracy
    >>> beats = [np.array([(1, "N"), (5, "V")], dtype=[("sample", "i8"), ("symbol", "U4")])]
    >>> rank_accuracy([[9, 8, 0, 5, 6, 7, 0, 0]], beats, label="V")
    0.6...
    """
    values, positive, valid, share = _rows(*checked_truth(maps, beats, label, ignore, mask))
    values = np.where(valid, values, -np.inf)
    n_class = positive.sum(axis=1)
    rank = (values.shape[1] - n_class)[:, None]
    last = np.take_along_axis(np.sort(values, axis=1), rank, axis=1)
    above, tied = values > last, values == last
    places = (n_class - above.sum(axis=1)) / tied.sum(axis=1)
    hits = (above & positive).sum(axis=1) + places * (tied & positive).sum(axis=1)
    return mean_score("rank_accuracy", hits / n_class, share, return_chance)


@validate_params(
    {**CONSTRAINTS, "threshold": [Interval(Real, None, None, closed="neither")]},
    prefer_skip_nested_validation=True,
)
def map_iou(
    maps: ArrayLike,
    beats: Sequence[NDArray],
    *,
    label: str | Sequence[str],
    threshold: float = 0.5,
    ignore: Sequence[str] | None = None,
    mask: ArrayLike | None = None,
    return_chance: bool = False,
) -> Score:
    """Intersection over union of the marked samples and the spans of beats of the class.

    A sample is marked where the map is at least `threshold`. For each window that holds a beat of the class,
    samples both marked and in a span of the class over samples that are either, without the spans of
    don't-care beats; then the mean over windows.

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
        The windows to count; None means all.
    threshold : float, default=0.5
        Lowest value of a marked sample.
    return_chance : bool, default=False
        Whether to return the chance level as well: for marks of the same size set at random, the expected
        intersection over the union that goes with it, averaged over windows.

    Returns
    -------
    score : float
        From 0 to 1; nan, with a warning, where no window counted holds a beat of the class.
    chance : float
        Only if `return_chance` is True.

    Raises
    ------
    ValueError
        If a shape does not fit, a field is missing, or a beat lies outside its window.

    References
    ----------
    .. [1] Jaccard, P. "The distribution of the flora in the alpine zone." New Phytologist 11(2), 1912.

    Examples
    --------
    >>> import numpy as np
    >>> from skecgattn.metrics import map_iou
    >>> beats = [np.array([(1, "N"), (5, "V")], dtype=[("sample", "i8"), ("symbol", "U4")])]
    >>> map_iou([[0, 0, 1, 1, 1, 1, 0, 0]], beats, label="V")
    0.5
    """
    values, positive, valid, share = _rows(*checked_truth(maps, beats, label, ignore, mask))
    marked = (values >= threshold) & valid
    n_marked, n_class = marked.sum(axis=1), positive.sum(axis=1)
    both, expected = (marked & positive).sum(axis=1), share * n_marked
    return mean_score(
        "map_iou",
        both / (n_marked + n_class - both),
        expected / (n_marked + n_class - expected),
        return_chance,
    )
