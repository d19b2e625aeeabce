"""A small network that sees waves, and whether a beat looks premature."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from ._lead_network import RATE, LeadNetwork, load_network, prepare_leads, read_leads

DILATIONS = (1, 2, 4, 8, 16, 32, 64, 16, 4)
"""Of the convolutions on what the leads have in common: thirteen seconds are seen."""

OUTPUTS = ("P wave", "QRS complex", "T wave", "supraventricular", "ventricular")
"""What the logits say: of each sample whether it is of each wave; of each R peak whether its beat is
premature and from the atria, or from the ventricles, or neither: one of the three."""

LONGEST_PR, SHORTEST_PR = 0.32, 0.045
"""Seconds before the R peak between which the P wave is looked for."""

REACH = 6.5
"""Seconds to either side that a logit depends on."""

AFTER_BEAT = 0.09
"""Seconds after the R peak before in which there is no P wave."""

WEIGHTS = "waves.safetensors"
"""Name of the file beside this one, written by ``benchmarks/waves.py --train``."""


class Waves(NamedTuple):
    """What the network sees of the heartbeats of an ECG; arrays (n_beats,)."""

    p_wave: NDArray[np.float64]
    """Highest probability of a P wave before the R peak."""
    pr: NDArray[np.float64]
    """Seconds from there to the R peak."""
    supraventricular: NDArray[np.float64]
    """Logarithm of the odds that the beat is premature and from the atria."""
    ventricular: NDArray[np.float64]
    """Logarithm of the odds that it is premature and from the ventricles."""


@functools.cache
def trained_network() -> LeadNetwork:
    """Return the network with the weights that come with the package."""
    return load_network(WEIGHTS, len(OUTPUTS), DILATIONS)


def see_waves(X: NDArray, heartbeats: Sequence[NDArray[np.int64]], sampling_rate: float) -> Iterator[Waves]:
    """Yield what the network sees of the heartbeats of each ECG (n_samples, n_leads, n_timesteps)."""
    before = np.arange(-round(LONGEST_PR * RATE), -round(SHORTEST_PR * RATE))
    for beats, logits in zip(heartbeats, read_leads(trained_network(), prepare_leads(X, sampling_rate))):
        here = np.rint(beats * (RATE / sampling_rate)).astype(np.int64)
        last = logits.shape[1] - 1
        reach = here[:, None] + before
        earliest = np.concatenate([[0], here[:-1] + round(AFTER_BEAT * RATE)])[: len(here)]
        seen = np.where(reach < earliest[:, None], -np.inf, logits[0, np.clip(reach, 0, last)])
        highest = seen.argmax(axis=1)
        around = np.clip(here[:, None] + np.arange(-1, 2), 0, last)
        atria, ventricles = logits[3:, around].astype(np.float64).mean(axis=2)
        yield Waves(
            expit(seen.max(axis=1).astype(np.float64)),
            -before[highest] / RATE,
            atria - np.logaddexp(0, ventricles),
            ventricles - np.logaddexp(0, atria),
        )
