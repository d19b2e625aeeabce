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


def learn_levels(
    reader: Reader, samples: Samples, objective: Objective, task: Task, thresholds: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], list[int]]:
    """Learn intercept and thresholds from labels of whole ECGs, in one pass.

    Parameters
    ----------
    reader : Reader
        With the intercept until now.
    samples : Samples
        To learn from.
    objective : Objective
        The intercept is learned where it also shows the classifier parts of ECGs.
    task : Task
    thresholds : ndarray of shape (n_maps,)
        What is kept where ECGs with a label, beats without it or all heartbeats are missing.

    Returns
    -------
    intercept : ndarray of shape (n_outputs,)
    thresholds : ndarray of shape (n_maps,)
        Of the beats' scores.
    unmarked : list of int
        Maps with next to no score for any beat, even in ECGs with the label.
    """
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


def teaches(held_out: Samples, training: Samples) -> bool:
    """Tell whether held-out ECGs show all labels, there and not there, that the ECGs trained on show so."""

    def shown(samples: Samples) -> NDArray[np.bool_]:
        target = samples.target[samples.weight > 0]
        both: NDArray[np.bool_] = (target.max(axis=0, initial=0) > 0.5) & (
            target.min(axis=0, initial=1) < 0.5
        )
        return both

    return bool(shown(held_out)[shown(training)].all())


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
