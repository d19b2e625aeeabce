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
    segmenter = knowing(network)
    if segmenter is None or segmenter.n_maps != len(task.marked):
        return
    odds, ecg = tell_odds(segmenter, samples.channels)
    weight = samples.weight.astype(np.float64)
    for k, output in enumerate(task.marked):
        label = samples.target[:, output].astype(np.float64)
        counted = label[weight > 0]
        if counted.max(initial=0) > 0.5 and counted.min(initial=1) < 0.5:
            trust = trust_for(label, weight, odds, ecg)
            segmenter.trust[k] = torch.from_numpy(np.where(np.isnan(trust), NOT_TRUSTED, trust))


def knowing(network: JointNetwork) -> BeatSegmenter | None:
    """Return the segmenter of a network, where it knows odds."""
    segmenter = network.segmenter
    return segmenter if isinstance(segmenter, BeatSegmenter) and segmenter.odds else None


def tell_odds(segmenter: BeatSegmenter, channels: Channels) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Return the logarithms of the odds of each kind and the row of the ECG, of all beats that are judged.

    Parameters
    ----------
    segmenter : BeatSegmenter
    channels : Channels
        With heartbeats.

    Returns
    -------
    odds : ndarray of shape (n_beats, n_kinds)
    ecg : ndarray of shape (n_beats,)
    """
    heartbeats = np.asarray(channels.heartbeats)
    judged = (heartbeats >= 0) & segmenter.judged(heartbeats, channels.values.shape[2])
    ecg, beat = np.nonzero(judged)
    values = channels.values[:, segmenter.per_beat][ecg, :, heartbeats[ecg, beat]]
    return segmenter.tell_odds(torch.from_numpy(values)).numpy().astype(np.float64), ecg


def log_none(
    odds: NDArray[np.float64], trust: float, ecg: NDArray[np.intp], n_samples: int
) -> NDArray[np.float64]:
    """Return the logarithm (n_samples,) of the probability that no beat (n_beats,) of an ECG is of a kind."""
    any_of = np.logaddexp(0, odds + trust)
    none: NDArray[np.float64] = -np.bincount(ecg, any_of, minlength=n_samples).astype(np.float64)
    return none


def known(network: JointNetwork, channels: Channels) -> NDArray[np.float64]:
    """Return the probability that any beat of an ECG is of a kind that suffices for a map's label (noisy-or).

    Parameters
    ----------
    network : JointNetwork
        With what its segmenter trusts.
    channels : Channels
        With heartbeats.

    Returns
    -------
    known : ndarray of shape (n_samples, n_maps)
        Of shape (n_samples, 1), and 0, where the segmenter knows no odds.
    """
    segmenter, n_samples = knowing(network), len(channels.values)
    if segmenter is None:
        return np.zeros((n_samples, 1))
    odds, ecg = tell_odds(segmenter, channels)
    none = np.zeros((n_samples, segmenter.n_maps))
    for k, trusts in enumerate(segmenter.trust.tolist()):
        for kind, trust in enumerate(trusts):
            if segmenter.odds[kind].suffices:
                none[:, k] += log_none(odds[:, kind], trust, ecg, n_samples)
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
        return log_none(odds[:, kind], trust, ecg, len(label))

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
