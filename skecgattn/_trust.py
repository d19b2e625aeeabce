"""Which odds of known kinds of beats tell a label, learned from labels of whole ECGs, and what they tell."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import entr

from ._frontend import Channels
from .nn import BeatSegmenter, JointNetwork, Task
from .nn.segmenters import NOT_TRUSTED
from .training import Samples

TRUST = (-12.0, 4.0)
"""Bounds of what is added to the logarithms of odds in search for what tells a label best."""

MOST_TRUST = -4.0
"""What is added at most: odds of 55 to one count as one to one beside what was learned."""

LEAST_GAIN = 1.0
"""Logarithm of how much likelier odds must make the labels than their frequency, or other odds, does."""


def learn_trust(network: JointNetwork, samples: Samples, task: Task) -> None:
    """Learn, in place, which odds each map of a network trusts, and how much.

    By the odds of a kind of beats an ECG has a label with the probability that any of its beats is of that
    kind (noisy-or), after a summand for all beats, that of the greatest likelihood. The kind that makes the
    labels likeliest is trusted, if they are likelier than by their frequency, and further kinds if they add
    to it.

    Parameters
    ----------
    network : JointNetwork
        Nothing is learned where its segmenter knows no odds.
    samples : Samples
        ECGs without both those with a label and those without it leave what its map trusts as it is. Those of
        no weight do not count.
    task : Task
    """
    segmenter, told = network.segmenter, tell_odds(network, samples.channels)
    if told is None or not isinstance(segmenter, BeatSegmenter) or segmenter.n_maps != len(task.marked):
        return
    odds, ecg = told
    weight = samples.weight.astype(np.float64)
    for k, output in enumerate(task.marked):
        label = samples.target[:, output].astype(np.float64)
        counted = label[weight > 0]
        if counted.max(initial=0) > 0.5 and counted.min(initial=1) < 0.5:
            trust = trust_for(label, weight, odds, ecg)
            segmenter.trust[k] = torch.from_numpy(np.where(np.isnan(trust), NOT_TRUSTED, trust))


def tell_odds(
    network: JointNetwork, channels: Channels
) -> tuple[NDArray[np.float64], NDArray[np.intp]] | None:
    """Return the logarithms of the odds of each kind and the row of the ECG, of all beats that are judged.

    Returns
    -------
    odds : ndarray of shape (n_beats, n_kinds)
    ecg : ndarray of shape (n_beats,)
        None instead of both where the segmenter knows no odds.
    """
    segmenter, heartbeats = network.segmenter, channels.heartbeats
    if not isinstance(segmenter, BeatSegmenter) or not segmenter.odds or heartbeats is None:
        return None
    judged = (heartbeats >= 0) & segmenter.judged(heartbeats, channels.values.shape[2])
    ecg, beat = np.nonzero(judged)
    values = channels.values[:, segmenter.per_beat][ecg, :, heartbeats[ecg, beat]]
    return segmenter.tell_odds(torch.from_numpy(values)).numpy().astype(np.float64), ecg


def known(network: JointNetwork, channels: Channels) -> NDArray[np.float64] | float:
    """Return the probability that any beat of an ECG is of a kind that suffices for a map's label (noisy-or).

    Parameters
    ----------
    network : JointNetwork
        With what its segmenter trusts.
    channels : Channels

    Returns
    -------
    known : ndarray of shape (n_samples, n_maps)
        Or 0 where the segmenter knows no odds.
    """
    segmenter, told = network.segmenter, tell_odds(network, channels)
    if told is None or not isinstance(segmenter, BeatSegmenter):
        return 0.0
    odds, ecg = told
    trust = segmenter.trust.cpu().numpy().astype(np.float64)
    none = np.zeros((len(channels.values), segmenter.n_maps))
    for kind, spec in enumerate(segmenter.odds):
        if spec.suffices:
            np.subtract.at(none, ecg, np.logaddexp(0, odds[:, kind, None] + trust[:, kind]))
    return -np.expm1(none)


def trust_for(label: NDArray, weight: NDArray, odds: NDArray, ecg: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return what to add to the logarithms of odds of each kind, NaN for kinds that say nothing of a label.

    Parameters
    ----------
    label : ndarray of shape (n_samples,)
        Whether each ECG has it, or with what probability.
    weight : ndarray of shape (n_samples,)
        Of the ECGs.
    odds : ndarray of shape (n_beats, n_kinds)
        Logarithms.
    ecg : ndarray of shape (n_beats,)
        Row of the ECG of each beat.

    Returns
    -------
    trust : ndarray of shape (n_kinds,)
    """

    def none_of(kind: int, trust: float) -> NDArray[np.float64]:
        """Return the logarithm of the probability that no beat of each ECG is of a kind."""
        any_of = np.logaddexp(0, odds[:, kind] + trust)
        none: NDArray[np.float64] = -np.bincount(ecg, any_of, minlength=len(label)).astype(np.float64)
        return none

    def surprise(none: NDArray[np.float64]) -> float:
        """Return minus the log-likelihood of the labels."""
        none = np.minimum(none, -1e-9)
        return float(-weight @ (label * np.log(-np.expm1(none)) + (1 - label) * none))

    def add(kind: int, none: NDArray[np.float64]) -> tuple[float, int, float]:
        """Return the least surprise with one kind more, which one, and what to add to its odds."""
        best = minimize_scalar(lambda t: surprise(none + none_of(kind, t)), bounds=TRUST, method="bounded")
        return float(best.fun), kind, float(best.x)

    share = np.average(label, weights=weight)
    weight = weight / weight.mean()
    least = float(len(label) * (entr(share) + entr(1 - share)))
    trust, none = np.full(odds.shape[1], np.nan), np.zeros(len(label))
    left = list(range(odds.shape[1]))
    while left:
        lowest, kind, chosen = min(add(kind, none) for kind in left)
        if lowest > least - LEAST_GAIN:
            break
        left.remove(kind)
        least, trust[kind], none = lowest, chosen, none + none_of(kind, chosen)
    return np.minimum(trust, MOST_TRUST)
