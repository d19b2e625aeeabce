"""Scores of patients left out of training."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold

SCORES = ("auc", "balanced_accuracy", "recall")


def cross_validate(
    model: Any,
    X: NDArray,
    y: NDArray | pd.DataFrame,
    groups: NDArray,
    n_folds: int,
    seed: int,
    n_jobs: int,
    advance: Callable[[int], None],
) -> dict[str, Any]:
    """Score each class by itself, one against the rest, over folds of patients.

    Returns
    -------
    scores : dict
        `n_folds`; `classes`: for each `n_ecgs`, `n_patients` and, of ``auc``, ``balanced_accuracy`` and
        ``recall``, the `folds`' values, their `mean` and `sd`, and the value of all left-out ECGs together
        (`out_of_fold`); `all`: the same, averaged over classes.
    """
    target = np.asarray(y)
    classes = list(y.columns) if isinstance(y, pd.DataFrame) else np.unique(target).tolist()
    truth = target > 0 if target.ndim == 2 else target[:, np.newaxis] == np.array(classes)
    splits = _splits(truth, groups, n_folds, seed)
    trained = [np.setdiff1d(np.arange(len(X)), held_out) for held_out in splits]
    for number, rows in enumerate(trained, start=1):
        lacking = [name for name, column in zip(classes, truth[rows].T) if not column.any()]
        if lacking and target.ndim == 1:
            raise ValueError(
                f"without the patients of fold {number} no ECG is left with the label(s) "
                f"{', '.join(lacking)}; take fewer --folds, or more patients"
            )
    if n_jobs == 1:  # every epoch can be told
        outputs = [_fit_predict(model, X, y, groups, *pair, advance) for pair in zip(trained, splits)]
    else:
        outputs = []
        jobs = (delayed(_fit_predict)(model, X, y, groups, *pair, None) for pair in zip(trained, splits))
        for output in Parallel(n_jobs=n_jobs, return_as="generator")(jobs):
            outputs.append(output)
            advance(model.max_epochs)
    probability = np.empty(truth.shape)
    predicted = np.empty(truth.shape, dtype=bool)
    for held_out, output in zip(splits, outputs):
        probability[held_out] = output
        # the most probable class, or in multilabel tasks each label by itself
        most = output > 0.5 if target.ndim == 2 else output == output.max(axis=1, keepdims=True)
        predicted[held_out] = most
    table = np.array([_scores(truth[rows], probability[rows], predicted[rows]) for rows in splits])
    pooled = _scores(truth, probability, predicted)
    return {
        "n_folds": len(splits),
        "classes": {
            name: {
                "n_ecgs": int(truth[:, k].sum()),
                "n_patients": len(set(groups[truth[:, k]].tolist())),
                **{score: _spread(table[:, s, k], pooled[s, k]) for s, score in enumerate(SCORES)},
            }
            for k, name in enumerate(classes)
        },
        "all": {
            "n_ecgs": len(X),
            "n_patients": len(set(groups.tolist())),
            **{
                score: _spread(_mean(table[:, s], axis=1), _mean(pooled[s], axis=0))
                for s, score in enumerate(SCORES)
            },
        },
    }


def fit(model: Any, X: Any, y: Any, groups: Any, advance: Callable[[int], None]) -> None:
    """Fit, telling of every epoch; the callback that does so is not kept."""
    from skorch.callbacks import Callback

    class Tell(Callback):
        def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
            advance(1)

    try:
        model.set_params(callbacks=[Tell()]).fit(X, y, groups=groups)
    finally:
        model.set_params(callbacks=None)
    if model.n_iter_ < model.max_epochs:  # the estimator itself only warns
        raise KeyboardInterrupt


def _splits(truth: NDArray[np.bool_], groups: NDArray, n_folds: int, seed: int) -> list[NDArray]:
    """Return the rows of each fold; sets of labels that are too rare to stratify by count as one."""
    kinds = ["".join(map(str, row)) for row in truth.astype(int).tolist()]
    counts = Counter(kinds)
    kinds = [kind if counts[kind] >= n_folds else "rare" for kind in kinds]
    folds = StratifiedGroupKFold(n_folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class")
        return [held_out for _, held_out in folds.split(np.zeros(len(kinds)), kinds, groups)]


def _fit_predict(
    model: Any,
    X: NDArray,
    y: Any,
    groups: NDArray,
    training: NDArray,
    held_out: NDArray,
    advance: Callable[[int], None] | None,
) -> NDArray:
    model = clone(model)
    rows = y.iloc[training] if isinstance(y, pd.DataFrame) else y[training]
    fit(model, X[training], rows, groups[training], advance or (lambda n: None))
    return model.predict_proba(X[held_out])


def _scores(truth: NDArray[np.bool_], probability: NDArray, predicted: NDArray[np.bool_]) -> NDArray:
    """Return AUC, balanced accuracy and recall (3, n_classes) of each class against the rest."""
    table = np.full((3, truth.shape[1]), np.nan)
    for k in range(truth.shape[1]):
        yes, said = truth[:, k], predicted[:, k]
        recall = said[yes].mean() if yes.any() else np.nan
        specificity = (~said[~yes]).mean() if not yes.all() else np.nan
        auc = roc_auc_score(yes, probability[:, k]) if 0 < yes.sum() < len(yes) else np.nan
        table[:, k] = auc, (recall + specificity) / 2, recall
    return table


def _mean(values: NDArray, axis: int) -> Any:
    known = ~np.isnan(values)
    count = known.sum(axis=axis)
    return np.where(count > 0, np.where(known, values, 0).sum(axis=axis) / np.maximum(count, 1), np.nan)


def _spread(folds: NDArray, pooled: float) -> dict[str, Any]:
    known = folds[~np.isnan(folds)]
    return {
        "mean": known.mean() if len(known) else np.nan,
        "sd": known.std(ddof=1) if len(known) > 1 else np.nan,
        "out_of_fold": float(pooled),
        "folds": folds.tolist(),
    }
