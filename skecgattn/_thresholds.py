"""From which score on a beat is abnormal: learned from labels of whole ECGs, or given."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

FALSE_ALARMS = 0.003
"""Share of beats in ECGs without the label that may be located: about one beat in four minutes."""

THRESHOLD_RANGE = (0.1, 1.0)
"""Bounds of the learned threshold, as shares of the highest score that ECGs with the label typically have."""

LOWEST = 1e-6
"""Smallest threshold that is learned: lower scores are of networks that mark nothing."""

NOTHING_LEARNED = 0.5
"""Threshold before ECGs with the label, and beats without it, were seen."""


def learn_threshold(
    scores: list[NDArray[np.float64]],
    present: NDArray[np.bool_],
    before: float = NOTHING_LEARNED,
    *,
    weight: NDArray[np.float64] | None = None,
) -> float:
    """Learn the threshold of one class from labels alone.

    All beats of an ECG without the label are normal: all but a share of `FALSE_ALARMS` stay below the
    threshold. Some beat of an ECG with the label is abnormal: its score, which is low where a class is rare
    and hard to tell, says in what range thresholds make sense. The bounds are shares of its median; but where
    that is next to nothing, the map shows nothing, and the threshold is `LOWEST` or more.

    Parameters
    ----------
    scores : list of ndarray of shape (n_beats,)
        Scores of each ECG's beats for the class.
    present : ndarray of shape (n_samples,), bool
        Whether each ECG has the label.
    before : float, default=0.5
        What is kept where ECGs with the label, or beats without it, are missing.
    weight : ndarray of shape (n_samples,), optional
        Weights of the ECGs, above 0, of which each of their beats has as much. None: all alike.

    Returns
    -------
    threshold : float
    """
    normal = np.concatenate([np.empty(0), *(beats for beats, label in zip(scores, present) if not label)])
    highest = usual_highest(scores, present, weight=weight)
    if np.isnan(highest) or not len(normal):
        return before
    lengths = [0 if label else len(beats) for beats, label in zip(scores, present)]
    quiet = _quantile(normal, 1 - FALSE_ALARMS, np.empty(0) if weight is None else np.repeat(weight, lengths))
    if highest < LOWEST:
        return max(LOWEST, quiet)
    low, high = highest * np.array(THRESHOLD_RANGE)
    return max(LOWEST, float(np.clip(quiet, low, high)))


def usual_highest(
    scores: list[NDArray[np.float64]],
    present: NDArray[np.bool_],
    *,
    weight: NDArray[np.float64] | None = None,
) -> float:
    """Return the median of the highest scores of ECGs with the label, NaN where there are none."""
    rows = [row for row, beats in enumerate(scores) if present[row] and len(beats)]
    if not rows:
        return float("nan")
    highest = np.array([scores[row].max() for row in rows])
    return _quantile(highest, 0.5, np.empty(0) if weight is None else weight[rows])


def _quantile(values: NDArray[np.float64], share: float, weight: NDArray[np.float64]) -> float:
    """Return a quantile of values; where weights differ, the first value that reaches the share."""
    if len(weight) == 0 or (weight == weight[0]).all():
        return float(np.quantile(values, share))
    return float(np.quantile(values, share, weights=weight, method="inverted_cdf"))


def check_thresholds(
    threshold: float | dict | None, labels: list[Any], learned: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the threshold of each map: the one given for all or for its label, else the learned one.

    Parameters
    ----------
    threshold : float, dict or None
        As `locate` takes it.
    labels : list of length n_maps
        Class label of each map.
    learned : ndarray of shape (n_maps,)

    Returns
    -------
    thresholds : ndarray of shape (n_maps,)

    Raises
    ------
    ValueError
        If a label has no map, or a threshold is not in [0, 1].
    """
    if threshold is None:
        return learned
    given = threshold if isinstance(threshold, dict) else dict.fromkeys(labels, threshold)
    if unknown := [label for label in given if label not in labels]:
        raise ValueError(f"threshold has labels without a map: {unknown}; those with one: {labels}.")
    values = [given.get(label, learned[k]) for k, label in enumerate(labels)]
    if not all(_is_share(value) for value in values):
        raise ValueError(f"threshold must be in [0, 1], got {threshold!r}.")
    return np.array(values, dtype=np.float64)


def _is_share(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and 0 <= float(value) <= 1
