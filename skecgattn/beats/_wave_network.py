"""A small network that sees waves, and whether a beat looks premature."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._lead_network import RATE, LeadNetwork, load_network, prepare_leads, read_leads
from ._spans import stack_heartbeats

DILATIONS = (1, 2, 4, 8, 16, 32, 64, 16, 4)
"""Of the convolutions on what the leads have in common: thirteen seconds are seen."""

OUTPUTS = ("P wave", "QRS complex", "T wave", "supraventricular", "ventricular")
"""What the logits say: three waves at each sample, two kinds of premature beats at each R peak."""

LONGEST_PR, SHORTEST_PR = 0.32, 0.045
"""Seconds before the R peak between which the P wave is looked for."""

AFTER_BEAT = 0.09
"""Seconds after the R peak before in which there is no P wave."""

WEIGHTS = "waves.safetensors"
"""Name of the file beside this one, written by ``benchmarks/waves.py --train``."""


class Waves(NamedTuple):
    """What the network sees of each heartbeat; arrays (n_samples, n), 0 where there is none."""

    p_wave: NDArray[np.float64]
    """Highest probability of a P wave before the R peak."""
    pr: NDArray[np.float64]
    """Seconds from there to the R peak."""
    supraventricular: NDArray[np.float64]
    """Logit of a premature beat from the atria."""
    ventricular: NDArray[np.float64]
    """Logit of a premature beat from the ventricles."""
    known: NDArray[np.bool_]
    """Whether the ECG shows all of the time before the R peak in which a P wave may be."""

    def of(self, row: int, n_beats: int) -> Waves:
        """Return what is seen of the beats of one ECG."""
        return Waves(
            self.p_wave[row, :n_beats],
            self.pr[row, :n_beats],
            self.supraventricular[row, :n_beats],
            self.ventricular[row, :n_beats],
            self.known[row, :n_beats],
        )


@functools.cache
def trained_network() -> LeadNetwork:
    """Return the network with the weights that come with the package."""
    return load_network(WEIGHTS, len(OUTPUTS), DILATIONS)


def see_waves(X: NDArray, heartbeats: list[NDArray[np.int64]], sampling_rate: float) -> Waves:
    """Return what the network sees of the heartbeats of ECGs (n_samples, n_leads, n_timesteps)."""
    beats = stack_heartbeats(heartbeats)
    places = np.rint(beats * (RATE / sampling_rate)).astype(np.int64)
    p_wave, pr, supraventricular, ventricular = np.zeros((4, *beats.shape))
    before = np.arange(-round(LONGEST_PR * RATE), -round(SHORTEST_PR * RATE))
    known = places + before[0] >= 0
    for row, logits in enumerate(read_leads(trained_network(), prepare_leads(X, sampling_rate))):
        here = places[row, : len(heartbeats[row])]
        if not len(here):
            continue
        last = logits.shape[1] - 1
        reach = here[:, None] + before
        earliest = np.concatenate([[0], here[:-1] + round(AFTER_BEAT * RATE)])
        seen = np.where(reach < earliest[:, None], -np.inf, logits[0, np.clip(reach, 0, last)])
        highest = seen.argmax(axis=1)
        p_wave[row, : len(here)] = _probability(seen[np.arange(len(here)), highest])
        pr[row, : len(here)] = -before[highest] / RATE
        around = np.clip(here[:, None] + np.arange(-1, 2), 0, last)
        supraventricular[row, : len(here)], ventricular[row, : len(here)] = logits[3:, around].mean(axis=2)
    return Waves(p_wave, pr, supraventricular, ventricular, known & (beats >= 0))


def _probability(logits: NDArray) -> NDArray[np.float64]:
    return 1 / (1 + np.exp(-np.clip(logits.astype(np.float64), -50, 50)))
