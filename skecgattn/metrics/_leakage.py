"""Mask leakage: what the map alone gives away about the class."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold, check_cv
from sklearn.utils import Bunch, check_array, check_consistent_length
from sklearn.utils._param_validation import HasMethods, Interval, validate_params
from sklearn.utils.multiclass import type_of_target

from ._annotations import beat_spans, flatten

_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def _runs(marked: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """Return window, start and stop of the stretches of marked samples."""
    edges = np.diff(marked.astype(np.int8), axis=1, prepend=0, append=0)
    window, start = np.nonzero(edges == 1)
    return window, start, np.nonzero(edges == -1)[1]


def _moments(window: NDArray, values: NDArray, n_samples: int) -> list[NDArray]:
    """Return mean, standard deviation and maximum of the values of each window; 0 where it has none."""
    count = np.maximum(np.bincount(window, minlength=n_samples), 1)
    mean = np.bincount(window, weights=values, minlength=n_samples) / count
    square = np.bincount(window, weights=(values - mean[window]) ** 2, minlength=n_samples) / count
    largest = np.zeros(n_samples)
    np.maximum.at(largest, window, values)
    return [mean, np.sqrt(square), largest]


def _map_features(maps: NDArray, threshold: float) -> NDArray:
    """Describe each map by its values, its roughness, and its marked stretches."""
    n_samples = len(maps)
    window, start, stop = _runs(maps >= threshold)
    centre = (start + stop) / 2
    same = np.flatnonzero(window[1:] == window[:-1])
    features = [
        maps.mean(axis=1),
        maps.std(axis=1),
        maps.min(axis=1),
        maps.max(axis=1),
        *np.quantile(maps, _QUANTILES, axis=1),
        np.abs(np.diff(maps, axis=1)).mean(axis=1),
        np.abs(np.diff(maps, n=2, axis=1)).mean(axis=1),
        np.bincount(window, minlength=n_samples),
        *_moments(window, (stop - start).astype(float), n_samples),
        *_moments(window[same], centre[same + 1] - centre[same], n_samples),
    ]
    return np.stack(features, axis=1)


def _count_features(maps: NDArray, beats: Sequence[NDArray] | None, threshold: float) -> NDArray:
    """Count the marked beats and all beats of each window; the marked stretches where beats are not given."""
    n_samples, n_timesteps = maps.shape
    marked = maps >= threshold
    if beats is None:
        return np.bincount(_runs(marked)[0], minlength=n_samples)[:, None]
    flatten(beats, "sample", "beats")
    counts = np.zeros((n_samples, 2))
    for index, window in enumerate(beats):
        spans = beat_spans(np.sort(window, order="sample"), n_timesteps)
        total = np.append(0, np.cumsum(marked[index]))
        counts[index] = (total[spans[:, 1]] > total[spans[:, 0]]).sum(), len(spans)
    return counts


def _cross_validated_auc(
    features: NDArray, target: NDArray, folds: list[tuple[NDArray, NDArray]], classifier: BaseEstimator
) -> float:
    """Return the AUC of out-of-fold probabilities, pooled over the folds."""
    score = np.full(len(target), np.nan)
    for train, test in folds:
        if len(np.unique(target[train])) < 2:
            raise ValueError(
                "cv leaves a training fold without both classes; use fewer folds or more groups."
            )
        score[test] = (
            clone(classifier).fit(features[train], target[train]).predict_proba(features[test])[:, 1]
        )
    tested = ~np.isnan(score)
    return float(roc_auc_score(target[tested], score[tested]))


@validate_params(
    {
        "maps": ["array-like"],
        "y": ["array-like"],
        "groups": ["array-like", None],
        "beats": ["array-like", None],
        "threshold": [Interval(Real, None, None, closed="neither")],
        "cv": ["cv_object"],
        "classifier": [HasMethods(["fit", "predict_proba"]), None],
        "random_state": [Interval(Integral, 0, None, closed="left"), None],
    },
    prefer_skip_nested_validation=True,
)
def mask_leakage(
    maps: ArrayLike,
    y: ArrayLike,
    groups: ArrayLike | None,
    *,
    beats: Sequence[NDArray] | None = None,
    threshold: float = 0.5,
    cv: Any = 5,
    classifier: BaseEstimator | None = None,
    random_state: int | None = 0,
) -> Bunch:
    """Tell the class from the map alone, and compare with what the number of marked beats tells.

    A map that marks every abnormal beat gives the class away by how many it marks, and should. What its shape
    gives away beyond that was smuggled in. Two classifiers of the same kind are therefore cross-validated:
    one on features of the map (mean, standard deviation, minimum, maximum, quantiles at 5, 25, 50, 75 and
    95%; mean absolute first and second difference; number of stretches at or above `threshold`; mean,
    standard deviation and maximum of their widths and of the distances between them), one on counts (beats
    whose span reaches `threshold` and all beats, or the stretches alone without `beats`). Each is measured by
    the area under the ROC curve of its out-of-fold probabilities, pooled over the folds; one class against
    the rest, averaged over the classes.

    Parameters
    ----------
    maps : array-like of shape (n_samples, n_timesteps)
        One map a window.
    y : array-like of shape (n_samples,) or (n_samples, n_classes)
        Class of each window, or an indicator matrix.
    groups : array-like of shape (n_samples,) or None
        Patient of each window; no patient is in training and test fold at once. None if every window is one.
    beats : sequence of n_samples structured arrays, default=None
        All annotated beats of each window, with the field ``sample``.
    threshold : float, default=0.5
        Lowest value of a marked sample.
    cv : int, cross-validation splitter or iterable, default=5
        Number of folds of a shuffled :class:`~sklearn.model_selection.StratifiedGroupKFold`, or another
        splitter.
    classifier : classifier with ``predict_proba``, default=None
        None means a random forest of 200 trees with at least 5 windows a leaf and classes balanced by
        weights.
    random_state : int or None, default=0
        Seeds folds and forest.

    Returns
    -------
    leakage : :class:`~sklearn.utils.Bunch`
        ``auc`` from the map, ``auc_counts`` from the counts, ``excess`` their difference (at most .05 for an
        honest map), and ``auc_per_class`` and ``auc_counts_per_class``, both (n_classes,) or (1,) for two
        classes. The chance level of both areas is 0.5 where all patients have the class equally often.
        Otherwise folds have different shares of it, and areas pooled over them may differ from 0.5 either way
        where the map tells nothing: what counts is `excess`.

    Raises
    ------
    ValueError
        If lengths differ, `y` has one class only, there are fewer patients than folds, or a training fold
        lacks a class.

    References
    ----------
    .. [1] Jethani, N., Sudarshan, M., Aphinyanaphongs, Y., Ranganath, R. "Have we learned to explain?: How
       interpretability methods can learn to encode predictions in their interpretations." AISTATS 2021.

    Examples
    --------
    >>> import numpy as np
    >>> from skecgattn.metrics import mask_leakage
    >>> rng = np.random.default_rng(0)
    >>> y = np.arange(80) % 2
    >>> maps = rng.uniform(0, 0.2, size=(80, 100)) + 0.2 * y[:, None]
    >>> leakage = mask_leakage(maps, y, groups=np.arange(80) // 4)
    >>> leakage.auc, leakage.auc_counts
    (1.0, 0.5)
    """
    checked: NDArray = check_array(maps, dtype=[np.float64, np.float32], input_name="maps")
    labels = np.asarray(y)
    check_consistent_length(checked, labels, groups, beats)
    kind = type_of_target(labels, input_name="y")
    if kind == "multilabel-indicator":
        targets = list(labels.T)
    elif kind in ("binary", "multiclass"):
        classes = np.unique(labels)
        targets = [(labels == one).astype(int) for one in (classes[1:] if len(classes) == 2 else classes)]
    else:
        raise ValueError(f"y must hold classes or be an indicator matrix; got a target of type {kind!r}.")
    if any(len(np.unique(target)) < 2 for target in targets):
        raise ValueError(
            "y must hold at least two classes, and every column of an indicator matrix both values."
        )
    group = np.arange(len(checked)) if groups is None else np.asarray(groups)
    if isinstance(cv, Integral):
        if len(np.unique(group)) < int(cv):
            raise ValueError(
                f"cv must be at most the number of patients in groups, {len(np.unique(group))}; got {cv}."
            )
        cv = StratifiedGroupKFold(int(cv), shuffle=True, random_state=random_state)
    splitter = check_cv(cv)
    if classifier is None:
        classifier = RandomForestClassifier(
            200, min_samples_leaf=5, class_weight="balanced", random_state=random_state
        )
    features, counts = _map_features(checked, threshold), _count_features(checked, beats, threshold)
    aucs, aucs_counts = [], []
    for target in targets:
        folds = list(splitter.split(features, target, group))
        aucs.append(_cross_validated_auc(features, target, folds, classifier))
        aucs_counts.append(_cross_validated_auc(counts, target, folds, classifier))
    auc, auc_counts = float(np.mean(aucs)), float(np.mean(aucs_counts))
    return Bunch(
        auc=auc,
        auc_counts=auc_counts,
        excess=auc - auc_counts,
        auc_per_class=np.array(aucs),
        auc_counts_per_class=np.array(aucs_counts),
    )
