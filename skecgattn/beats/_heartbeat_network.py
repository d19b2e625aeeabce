"""A small network that tells heartbeats from noise, and its weights."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from importlib.resources import files
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load
from scipy.signal import find_peaks
from torch import Tensor, nn

from skecgattn.preprocessing import bandpass, resample

from ._quantile import quantile

RATE = 90.0
"""Hz that the network works at."""

BAND = (0.5, 40.0)
"""Hz that it sees."""

WIDTH = 24
"""Channels."""

LEAD_DILATIONS = (1, 2, 4)
"""Of the convolutions on each lead."""

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

SILENT = 1e-3
"""Share of a lead's largest range a second up to which nothing was recorded in a second."""

FLAT = 1e-5
"""Largest range, over the largest value, of a lead that is constant."""

AT_ONCE = 8
"""ECGs that are read at a time; always as many, as convolutions of other sizes round differently."""

LONG = 60.0
"""Seconds from which one ECG is read at a time."""

WEIGHTS = "heartbeats.safetensors"
"""Name of the file beside this one, written by ``benchmarks/heartbeats.py --train``."""


class _Block(nn.Sequential):
    """Convolution along time, batch normalisation in training, ReLU."""

    def __init__(
        self, n_in: int, n_out: int, size: int, *, stride: int = 1, dilation: int = 1, normalise: bool
    ) -> None:
        super().__init__(
            nn.Conv2d(
                n_in,
                n_out,
                (1, size),
                stride=(1, stride),
                padding=(0, dilation * (size // 2)),
                dilation=(1, dilation),
            ),
            nn.BatchNorm2d(n_out) if normalise else nn.Identity(),
        )

    def forward(self, x: Tensor) -> Tensor:
        h: Tensor = super().forward(x)  # type: ignore[no-untyped-call]
        # a fresh tensor costs more than the arithmetic; gradients need one
        return torch.relu(h) if torch.is_grad_enabled() else torch.relu_(h)


def _add(new: Tensor, old: Tensor) -> Tensor:
    return new + old if torch.is_grad_enabled() else new.add_(old)


class HeartbeatNetwork(nn.Module):
    """Tells at each moment whether a heartbeat is there, from any number of leads.

    ::

        each lead (B * L, 1, T) -> 12 -> 24 channels, halved -> 3 residual convolutions
          -> mean and maximum over the leads -> 24 channels -> 5 residual convolutions
          -> two logits a step, one for each of its samples (B, T)

    Parameters
    ----------
    normalise : bool, default=False
        Whether there is batch normalisation: in training, after which :meth:`fold` takes it into the
        convolutions.
    """

    def __init__(self, *, normalise: bool = False) -> None:
        super().__init__()
        block = functools.partial(_Block, normalise=normalise)
        self.stem = nn.Sequential(block(1, WIDTH // 2, 9), block(WIDTH // 2, WIDTH, 5, stride=2))
        self.lead = nn.ModuleList(block(WIDTH, WIDTH, 5, dilation=step) for step in LEAD_DILATIONS)
        self.mix = block(2 * WIDTH, WIDTH, 1)
        self.common = nn.ModuleList(block(WIDTH, WIDTH, 5, dilation=step) for step in DILATIONS)
        self.head = nn.Conv2d(WIDTH, 2, 1)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, T) of leads (B, L, T)."""
        n_batch, n_leads, length = x.shape
        plane = x.reshape(n_batch * n_leads, 1, 1, length).contiguous(memory_format=torch.channels_last)
        h = self.stem(plane)
        for block in self.lead:
            h = _add(block(h), h)
        leads = h.unflatten(0, (n_batch, n_leads))
        h = self.mix(torch.cat([leads.mean(dim=1), leads.amax(dim=1)], dim=1))
        for block in self.common:
            h = _add(block(h), h)
        phases = self.head(h).squeeze(2)
        return phases.transpose(1, 2).reshape(n_batch, -1)[:, :length]

    def fold(self) -> HeartbeatNetwork:
        """Return the same network without batch normalisation."""
        folded = HeartbeatNetwork()
        for ours, theirs in zip(self.modules(), folded.modules()):
            if isinstance(ours, _Block):
                convolution, norm = cast(nn.Conv2d, ours[0]), cast(nn.BatchNorm2d, ours[1])
                fused = torch.nn.utils.fusion.fuse_conv_bn_eval(convolution, norm)
                theirs[0].load_state_dict(fused.state_dict())  # type: ignore[index]
        folded.head.load_state_dict(self.head.state_dict())
        return folded.eval()


@functools.cache
def trained_network() -> HeartbeatNetwork:
    """Return the network with the weights that come with the package."""
    with torch.random.fork_rng(devices=[]):  # its first weights are drawn at random
        network = HeartbeatNetwork()
    network.load_state_dict(load(files(__package__).joinpath(WEIGHTS).read_bytes()))
    return network.eval().requires_grad_(False)


def prepare_leads(X: NDArray, sampling_rate: float) -> NDArray[np.float32]:
    """Return leads as the network reads them: at its rate, in its band, scaled by their QRS complexes.

    That is by the median range of a second, of the seconds in which anything was recorded. Flat leads are 0.
    """
    leads = X.astype(np.float32)
    if sampling_rate != RATE:
        leads = resample(leads, sampling_rate, RATE)
    if leads.shape[2] > 1:
        leads = bandpass(leads, RATE, low=BAND[0], high=BAND[1])
    second = min(round(RATE), leads.shape[2])
    n_seconds = leads.shape[2] // second
    seconds = leads[:, :, : n_seconds * second].reshape(*leads.shape[:2], n_seconds, second)
    ranges = np.ptp(seconds, axis=3)
    largest = ranges.max(axis=2, keepdims=True)
    ranges = np.where(ranges > SILENT * largest, ranges, np.nan)
    scale = np.full((*leads.shape[:2], 1), np.inf, dtype=np.float32)
    # the filter leaves rounding errors of a constant
    shown = largest[:, :, 0] > FLAT * np.maximum(X.max(axis=2), -X.min(axis=2).astype(np.float64))
    scale[shown, 0] = np.nanmedian(ranges[shown], axis=1)
    return (leads / scale).astype(np.float32, copy=False)


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Run a block in one of torch's threads: so little work is not worth waking others, who may be busy."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def find_heartbeats(X: NDArray, sampling_rate: float) -> list[NDArray[np.int64]]:
    """Return the R peaks of ECGs (n_samples, n_leads, n_timesteps), ascending."""
    leads = prepare_leads(X, sampling_rate)
    network, n_timesteps = trained_network(), X.shape[2]
    at_once = AT_ONCE if leads.shape[2] < LONG * RATE else 1
    beats = []
    for start in range(0, len(leads), at_once):
        block = leads[start : start + at_once]
        filled = np.zeros((at_once, *leads.shape[1:]), dtype=np.float32)
        filled[: len(block)] = block
        with _one_thread(), torch.inference_mode():
            probability = torch.sigmoid(network(torch.from_numpy(filled))).numpy()
        for row in probability[: len(block)].astype(np.float64):
            places = peaks(row) * (sampling_rate / RATE)
            samples = np.clip(np.rint(places), 0, n_timesteps - 1).astype(np.int64)
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
