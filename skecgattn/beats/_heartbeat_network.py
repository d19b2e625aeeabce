"""A small network that tells heartbeats from noise."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray
from scipy.signal import find_peaks
from scipy.special import expit

from ._lead_network import RATE, LeadNetwork, load_network, prepare_leads, read_leads
from ._quantile import quantile

DILATIONS = (1, 2, 4, 8, 16)
"""Of the convolutions on what the leads have in common: three seconds are seen."""

THRESHOLD = 0.65
"""Probability from which a peak is a heartbeat, as a share of what it usually is in this ECG."""

USUAL = 0.8
"""Quantile of the probabilities of an ECG's peaks that is usual."""

LOWEST, HIGHEST = 0.35, 0.6
"""Bounds of the threshold. Wide beats in a fast row are never quite certain."""

REFRACTORY = 0.2
"""Seconds in which there is one heartbeat at most."""

WEIGHTS = "heartbeats.safetensors"
"""Name of the file beside this one, written by ``benchmarks/heartbeats.py --train``."""


@functools.cache
def trained_network() -> LeadNetwork:
    """Return the network with the weights that come with the package."""
    return load_network(WEIGHTS, 1, DILATIONS)


def find_heartbeats(X: NDArray, sampling_rate: float) -> list[NDArray[np.int64]]:
    """Return the R peaks of ECGs (n_samples, n_leads, n_timesteps), ascending."""
    beats = []
    for logits in read_leads(trained_network(), prepare_leads(X, sampling_rate)):
        places = peaks(expit(logits[0].astype(np.float64))) * (sampling_rate / RATE)
        samples = np.clip(np.rint(places), 0, X.shape[2] - 1).astype(np.int64)
        beats.append(np.unique(samples))
    return beats


def peaks(probability: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return where the probability of a heartbeat peaks, between the samples, by a parabola through three."""
    padded = np.pad(probability, 1)
    top, _ = find_peaks(padded, height=LOWEST, distance=max(1, round(REFRACTORY * RATE)))
    if len(top):
        usual = quantile(np.sort(padded[top]), USUAL)
        top = top[padded[top] >= min(THRESHOLD * usual, HIGHEST)]
    before, here, after = padded[top - 1], padded[top], padded[top + 1]
    return top - 1 + 0.5 * (before - after) / np.minimum(before - 2 * here + after, -1e-12)
