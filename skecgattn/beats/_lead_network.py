"""Small networks that read any number of leads, and what they read."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Sequence
from importlib.resources import files
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load
from torch import Tensor, nn

from skecgattn.preprocessing import bandpass, resample

RATE = 90.0
"""Hz that the networks work at."""

BAND = (0.5, 40.0)
"""Hz that they see."""

WIDTH = 24
"""Channels."""

LEAD_DILATIONS = (1, 2, 4)
"""Of the convolutions on each lead."""

SILENT = 1e-3
"""Share of a lead's largest range a second up to which nothing was recorded in a second."""

FLAT = 1e-5
"""Largest range, over the largest value, of a lead that is constant."""

AT_ONCE = 8
"""ECGs that are read at a time; always as many, as convolutions of other sizes round differently."""

LONG = 60.0
"""Seconds from which one ECG is read at a time."""


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


class LeadNetwork(nn.Module):
    """Tells something of each moment of an ECG, from any number of leads.

    ::

        each lead (B * L, 1, T) -> 12 -> 24 channels, halved -> 3 residual convolutions
          -> mean and maximum over the leads -> 24 channels -> residual convolutions
          -> two logits a step for each output, one for each of its samples (B, K, T)

    Parameters
    ----------
    n_outputs : int
        Logits a sample, K.
    dilations : sequence of int
        Of the convolutions on what the leads have in common.
    normalise : bool, default=False
        Whether there is batch normalisation: in training, after which :meth:`fold` takes it into the
        convolutions.
    """

    def __init__(self, n_outputs: int, dilations: Sequence[int], *, normalise: bool = False) -> None:
        super().__init__()
        self.n_outputs, self.dilations = n_outputs, tuple(dilations)
        block = functools.partial(_Block, normalise=normalise)
        self.stem = nn.Sequential(block(1, WIDTH // 2, 9), block(WIDTH // 2, WIDTH, 5, stride=2))
        self.lead = nn.ModuleList(block(WIDTH, WIDTH, 5, dilation=step) for step in LEAD_DILATIONS)
        self.mix = block(2 * WIDTH, WIDTH, 1)
        self.common = nn.ModuleList(block(WIDTH, WIDTH, 5, dilation=step) for step in dilations)
        self.head = nn.Conv2d(WIDTH, 2 * n_outputs, 1)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, n_outputs, T) of leads (B, L, T)."""
        n_batch, n_leads, length = x.shape
        plane = x.reshape(n_batch * n_leads, 1, 1, length).contiguous(memory_format=torch.channels_last)
        h = self.stem(plane)
        for block in self.lead:
            h = _add(block(h), h)
        leads = h.unflatten(0, (n_batch, n_leads))
        h = self.mix(torch.cat([leads.mean(dim=1), leads.amax(dim=1)], dim=1))
        for block in self.common:
            h = _add(block(h), h)
        phases = self.head(h).squeeze(2).unflatten(1, (self.n_outputs, 2))
        return phases.transpose(2, 3).flatten(2)[..., :length]

    def fold(self) -> LeadNetwork:
        """Return the same network without batch normalisation."""
        folded = LeadNetwork(self.n_outputs, self.dilations)
        for ours, theirs in zip(self.modules(), folded.modules()):
            if isinstance(ours, _Block):
                convolution, norm = cast(nn.Conv2d, ours[0]), cast(nn.BatchNorm2d, ours[1])
                fused = torch.nn.utils.fusion.fuse_conv_bn_eval(convolution, norm)
                theirs[0].load_state_dict(fused.state_dict())  # type: ignore[index]
        folded.head.load_state_dict(self.head.state_dict())
        return folded.eval()


def load_network(weights: str, n_outputs: int, dilations: Sequence[int]) -> LeadNetwork:
    """Return a network with the weights in a file beside this one."""
    with torch.random.fork_rng(devices=[]):  # its first weights are drawn at random
        network = LeadNetwork(n_outputs, dilations)
    network.load_state_dict(load(files(__package__).joinpath(weights).read_bytes()))
    return network.eval().requires_grad_(False)


def prepare_leads(X: NDArray, sampling_rate: float) -> NDArray[np.float32]:
    """Return leads as the networks read them: at their rate, in their band, scaled by their QRS complexes.

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


def read_leads(network: LeadNetwork, leads: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    """Yield the logits (n_outputs, n_timesteps) of each ECG's leads, which :func:`prepare_leads` made."""
    at_once = AT_ONCE if leads.shape[2] < LONG * RATE else 1
    for start in range(0, len(leads), at_once):
        block = leads[start : start + at_once]
        filled = np.zeros((at_once, *leads.shape[1:]), dtype=np.float32)
        filled[: len(block)] = block
        with _one_thread(), torch.inference_mode():
            logits = network(torch.from_numpy(filled)).numpy()
        yield from logits[: len(block)]
