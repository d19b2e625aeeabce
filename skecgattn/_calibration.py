"""What is learned after the network: the intercept of its logits, and the thresholds of beats."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from ._reading import Reader
from ._thresholds import LOWEST, learn_threshold, usual_highest
from .nn import Objective, Task
from .training import Samples

RIDGE = 1e-4
"""Weight of the square of the intercept, whose mean a softmax leaves open."""


Levels = tuple[NDArray[np.float64], NDArray[np.float64], list[int]]
"""Intercept (n_outputs,), thresholds (n_maps,) of the beats' scores, and the maps with next to no score for
any beat, even in ECGs with the label."""


def learn_levels(
    reader: Reader,
    training: Samples,
    objective: Objective,
    task: Task,
    thresholds: NDArray[np.float64],
    *,
    held_out: Samples | None = None,
) -> Levels:
    """Learn intercept and thresholds from labels of whole ECGs.

    Where there are held-out ECGs, those are learned from, but for a label that none of them has, or all have.
    Where an ECG has one of several classes, all is learned from those trained on then.

    Parameters
    ----------
    reader : Reader
        With the intercept until now.
    training : Samples
        ECGs trained on.
    objective : Objective
        The intercept is learned where it also shows the classifier parts of ECGs.
    task : Task
    thresholds : ndarray of shape (n_maps,)
        What is kept where ECGs with a label, beats without it or all heartbeats are missing.
    held_out : Samples, optional

    Returns
    -------
    levels : Levels
    """
    if held_out is None:
        return _levels(reader, training, objective, task, thresholds)
    missing = _shows(training) & ~_shows(held_out)
    if not missing.any():
        return _levels(reader, held_out, objective, task, thresholds)
    others = _levels(reader, training, objective, task, thresholds)
    if not task.multilabel:
        return others
    intercept, learned, unmarked = _levels(reader, held_out, objective, task, thresholds)
    of_others = missing[list(task.marked)]
    flat = [k for k in range(len(learned)) if k in (others[2] if of_others[k] else unmarked)]
    return np.where(missing, others[0], intercept), np.where(of_others, others[1], learned), flat


def _shows(samples: Samples) -> NDArray[np.bool_]:
    """Tell of which outputs (n_outputs,) there are ECGs with the label, and others."""
    target = samples.target[samples.weight > 0]
    both: NDArray[np.bool_] = (target.max(axis=0, initial=0) > 0.5) & (target.min(axis=0, initial=1) < 0.5)
    return both


def _levels(
    reader: Reader, samples: Samples, objective: Objective, task: Task, thresholds: NDArray[np.float64]
) -> Levels:
    """Return the levels that ECGs teach, in one pass."""
    logits, maps = reader.compute(samples.channels)
    intercept = reader.intercept
    if objective.cuts:
        intercept = learn_intercept(
            logits - reader.intercept, samples.target, samples.weight, task, reader.intercept
        )
        logits = logits + (intercept - reader.intercept).astype(logits.dtype)
    if samples.channels.heartbeats is None:
        return intercept, thresholds, []
    scores = reader.read_channels(samples.channels, (logits, maps)).scores
    counted = np.flatnonzero(samples.weight > 0)
    present, weight = samples.target[counted][:, list(task.marked)] >= 0.5, samples.weight[counted]
    learned, unmarked = thresholds.copy(), []
    for k, threshold in enumerate(thresholds):
        of_map = [scores[row][:, k] for row in counted]
        learned[k] = learn_threshold(of_map, present[:, k], float(threshold), weight=weight)
        if usual_highest(of_map, present[:, k], weight=weight) < LOWEST:
            unmarked.append(k)
    return intercept, learned, unmarked


def learn_intercept(
    logits: NDArray, target: NDArray, weight: NDArray, task: Task, intercept: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Learn what is added to logits, by the loss of the task on whole ECGs.

    An objective that also shows the classifier ECGs of which the abnormality is cut away teaches it that a
    label is rarer than it is, the more so the rarer it is.

    Parameters
    ----------
    logits : ndarray of shape (n_samples, n_outputs)
        As the network makes them.
    target : ndarray of shape (n_samples, n_outputs)
        Target distributions, or indicators.
    weight : ndarray of shape (n_samples,)
        Weights of the ECGs.
    task : Task
        Knows the weights of the classes.
    intercept : ndarray of shape (n_outputs,)
        What is kept where ECGs with a label, or without it, are missing.

    Returns
    -------
    intercept : ndarray of shape (n_outputs,)
    """
    there = target[weight > 0]
    open_ = (there.max(axis=0) > 0.5) & (there.min(axis=0) < 0.5)
    if not (open_.any() if task.multilabel else open_.all()):
        return intercept
    fixed = torch.from_numpy(np.where(open_, 0.0, intercept))
    free = torch.from_numpy(open_.astype(np.float64))
    z, y, w = (torch.from_numpy(np.asarray(values, dtype=np.float64)) for values in (logits, target, weight))
    shift = torch.zeros(z.shape[1], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [shift], max_iter=200, tolerance_grad=1e-10, tolerance_change=1e-14, line_search_fn="strong_wolfe"
    )

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = (task.loss(z + fixed + free * shift, y) * w).sum() / w.sum() + RIDGE * shift.square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    return (fixed + free * shift.detach()).numpy()
