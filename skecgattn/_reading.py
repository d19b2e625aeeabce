"""What a trained network tells of ECGs: class probabilities, maps, and the scores of heartbeats."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ._frontend import Channels, FrontEnd
from ._labels import Labels
from ._trust import known
from .beats import score_beats
from .nn import JointNetwork
from .training import choose_device, choose_precision, compute, numpy_dtype, threads

CHUNK = 512
"""ECGs that prediction holds in memory at a time."""


class Reading(NamedTuple):
    """Everything that one pass over ECGs tells."""

    heartbeats: list[NDArray[np.int64]]
    """R peaks of each ECG, in its samples."""
    scores: list[NDArray[np.float64]]
    """Scores (n_beats, n_maps) of each ECG's heartbeats: map times `present`."""
    maps: NDArray
    """Maps (n_samples, n_maps, n_timesteps); of shape (n_samples, n_maps, 0) where they were not wanted."""
    present: NDArray[np.float64]
    """Probability (n_samples, n_maps) of each map's label, by the classifier or by known kinds of beats."""


def chunks(X: NDArray) -> Iterator[NDArray]:
    """Yield some ECGs at a time."""
    for start in range(0, len(X), CHUNK):
        yield X[start : start + CHUNK]


@dataclass(frozen=True, eq=False)
class Reader:
    """A trained network with all that is needed to read ECGs.

    Parameters
    ----------
    network : JointNetwork
        It is moved to the device, in evaluation mode, when it computes.
    front_end : FrontEnd
    labels : Labels
        What the outputs of the network stand for.
    intercept : ndarray of shape (n_outputs,)
        Is added to the network's logits.
    device, precision, n_threads
        As the estimator takes them.
    """

    network: JointNetwork
    front_end: FrontEnd
    labels: Labels
    intercept: NDArray[np.float64]
    device: str | torch.device
    precision: str
    n_threads: int | None

    def channels(self, X: NDArray) -> Channels:
        """Return the channels of ECGs (n_samples, n_leads, n_timesteps)."""
        return self.front_end.transform(X, numpy_dtype(self.precision))

    def compute(self, channels: Channels) -> tuple[NDArray, NDArray | None]:
        """Return logits (n_samples, n_outputs) and maps (n_samples, n_maps, n_steps) where there are any."""
        device = choose_device(self.device, fall_back=True)
        dtype, bfloat16 = choose_precision(self.precision, device)
        self.network.to(device=device, dtype=dtype)
        with threads(self.n_threads):
            logits, maps = compute(self.network, channels, device=device, dtype=dtype, bfloat16=bfloat16)
        return logits + self.intercept.astype(logits.dtype), maps

    def logits(self, X: NDArray) -> NDArray:
        """Return the logits (n_samples, n_outputs) of ECGs (n_samples, n_leads, n_timesteps)."""
        return np.concatenate([self.compute(self.channels(chunk))[0] for chunk in chunks(X)])

    def probability(self, logits: NDArray) -> NDArray:
        """Return the probabilities (n_samples, n_outputs) that logits stand for."""
        if self.labels.multilabel:
            return 1 / (1 + np.exp(-np.clip(logits, -80, 80)))
        exponential = np.exp(logits - logits.max(axis=1, keepdims=True))
        return exponential / exponential.sum(axis=1, keepdims=True)

    def outputs(
        self, channels: Channels, computed: tuple[NDArray, NDArray | None] | None = None
    ) -> tuple[NDArray, NDArray]:
        """Return probabilities (n_samples, n_outputs) and maps in [0, 1] (n_samples, n_maps, n_steps).

        `computed` is what `compute` has returned, where it is known.
        """
        logits, maps = self.compute(channels) if computed is None else computed
        probability = self.probability(logits)
        if maps is None:
            n_samples, _, n_steps = channels.values.shape
            maps = np.empty((n_samples, 0, n_steps), dtype=logits.dtype)
        elif getattr(self.network.segmenter, "is_map", False):
            top = maps.max(axis=2, keepdims=True)
            maps = maps / np.where(top > 0, top, 1)
        return probability, maps

    def read_channels(
        self, channels: Channels, computed: tuple[NDArray, NDArray | None] | None = None
    ) -> Reading:
        """Return what one pass over channels tells, in the channels' time; `computed` as for `outputs`."""
        rate = self.front_end.rate
        if rate is None or channels.heartbeats is None:
            raise ValueError("beats cannot be scored without heartbeats, got sampling_rate=None.")
        marked = list(self.labels.marked)
        probability, maps = self.outputs(channels, computed)
        if maps.shape[1] < len(marked):
            maps = np.repeat(maps, len(marked), axis=1)
        heartbeats = [beats[beats >= 0] for beats in channels.heartbeats]
        found = score_beats(maps, heartbeats, rate)
        present = probability[:, marked].astype(np.float64)
        present += (1 - present) * known(self.network, channels)
        scores = [beats * p for beats, p in zip(found, present)]
        return Reading(heartbeats, scores, maps, present)

    def read(self, X: NDArray, *, maps: bool = True) -> Reading:
        """Return what one pass over ECGs (n_samples, n_leads, n_timesteps) tells, in their time."""
        return in_ecg_time(self.read_channels(self.channels(X)), self.front_end, X.shape[2], maps=maps)


def in_ecg_time(reading: Reading, front_end: FrontEnd, n_timesteps: int, *, maps: bool) -> Reading:
    """Return a reading in the channels' time in that of the ECGs of `n_timesteps`."""
    return reading._replace(
        heartbeats=[front_end.to_ecg_time(beats, n_timesteps) for beats in reading.heartbeats],
        maps=front_end.to_ecg_length(reading.maps, n_timesteps) if maps else reading.maps[..., :0],
    )
