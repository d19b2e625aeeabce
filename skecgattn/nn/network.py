"""The joint network: segmenter, modulation, classifier."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

SLOPE = 2.0
"""How fast the map of a beat falls beside its R peak: to half within half the length of the ECG."""

PLATEAU = 0.8
"""Share of the way from an R peak to the midpoint between beats, after which a lower neighbour counts."""

BEATS_WEIGHT = 0.5
"""Weight of what the beats tell of the ECG, beside 1 for each reading of the classifier."""

MOST_LIKELY = 8.0
"""Largest logit, either way, of what the beats tell: that of many alike would outweigh everything."""


class JointOutput(NamedTuple):
    """What the joint network computes from one batch.

    Examples
    --------
    >>> import torch
    >>> from skecgattn.nn import ConvolutionalClassifier, JointNetwork, UNetSegmenter
    >>> network = JointNetwork(UNetSegmenter(2, 1), ConvolutionalClassifier(2, 3))
    >>> output = network(torch.zeros(4, 2, 900))
    >>> output.logits.shape, output.maps.shape
    (torch.Size([4, 3]), torch.Size([4, 1, 900]))
    """

    logits: Tensor
    """Class logits (batch, n_outputs)."""
    maps: Tensor | None
    """Attention maps (batch, n_maps, time), one a class; None without segmenter."""


class Maps(NamedTuple):
    """Attention maps and, where they are made of beats, the beats' logits.

    Examples
    --------
    >>> import torch
    >>> from skecgattn.nn import BeatSegmenter, ConvolutionalClassifier, JointNetwork
    >>> network = JointNetwork(BeatSegmenter(2, 1), ConvolutionalClassifier(2, 2))
    >>> maps = network.maps(torch.zeros(1, 2, 900), torch.tensor([[100, 300, 500]]))
    >>> maps.values.shape, maps.beats[0].shape
    (torch.Size([1, 1, 900]), torch.Size([1, 1, 3]))
    """

    values: Tensor
    """Maps (batch, n_maps, time)."""
    beats: tuple[Tensor, Tensor] | None
    """Logits (batch, n_maps, n) of the beats, and whether (batch, 1, n) there is such a beat."""

    @property
    def log_none(self) -> Tensor | None:
        """Logarithm (batch, n_maps) of the probability that no beat is abnormal; None without beats."""
        if self.beats is None:
            return None
        logits, present = self.beats
        return -(functional.softplus(logits) * present).sum(dim=2).clamp(min=1e-6)


class JointNetwork(nn.Module):
    """A segmenter's map multiplies the ECG; a classifier reads the product.

    ::

        ECG (B, C, T) ---------------------------- x --> classifier --> logits (B, n_outputs)
              |                                    |
              +--> segmenter --> maps (B, K, T) --> union (B, 1, T)

    Where there are several maps, the ECG is multiplied by their union ``1 - prod(1 - map)``.

    Parameters
    ----------
    segmenter : Module or None
        From (B, C, T) to (B, K, T): logits, turned into maps by a sigmoid, or maps where the module
        has a true attribute ``is_map``; or from (B, C, T) and R peaks (B, n) to logits (B, K, n) of
        the beats where it has a true attribute ``reads_beats``. With an attribute ``lr_factor`` it is
        trained at that multiple of the learning rate. None leaves the ECG as it is: the classifier alone.
    classifier : Module
        From (B, C, T), or the first `n_read` channels, to logits (B, n_outputs).
    read_whole : bool, default=False
        Whether the classifier also reads the ECG as it is; the logits are the mean of all readings.
    read_beats : sequence of int, default=()
        The output that each map belongs to, where the logits that any beat is abnormal are to join the
        classifier's, at half the weight of a reading. The segmenter must judge beats.
    n_read : int or None, default=None
        Channels that the classifier reads, the first ones; the segmenter reads all. None: all.

    References
    ----------
    Hu et al., ICLR 2021 submission, OpenReview HK_B2K0026.

    Examples
    --------
    >>> import torch
    >>> from skecgattn.nn import ConvolutionalClassifier, JointNetwork, UNetSegmenter
    >>> network = JointNetwork(UNetSegmenter(2, 1), ConvolutionalClassifier(2, 3), read_whole=True)
    >>> network(torch.zeros(4, 2, 900)).logits.shape
    torch.Size([4, 3])
    """

    def __init__(
        self,
        segmenter: nn.Module | None,
        classifier: nn.Module,
        *,
        read_whole: bool = False,
        read_beats: Sequence[int] = (),
        n_read: int | None = None,
    ) -> None:
        super().__init__()
        self.segmenter = segmenter
        self.classifier = classifier
        self.read_whole = read_whole
        self.read_beats = list(read_beats)
        self.n_read = n_read

    def readable(self, x: Tensor) -> Tensor:
        """Return the channels that the classifier reads.

        Parameters
        ----------
        x : Tensor of shape (B, C, T)

        Returns
        -------
        readable : Tensor of shape (B, n_read, T)
            All channels where `n_read` is None.
        """
        return x[:, : self.n_read]

    @property
    def reads_twice(self) -> bool:
        """Whether the classifier gets a batch of twice the ECGs: the modulated ones, then the whole ones."""
        return self.read_whole and self.segmenter is not None

    def maps(self, x: Tensor, heartbeats: Tensor | None = None) -> Maps | None:
        """Return the maps of a batch of ECGs.

        Parameters
        ----------
        x : Tensor of shape (B, C, T)
        heartbeats : Tensor of shape (B, n), integer, optional
            R peaks of each ECG, ascending, then -1. A segmenter with a true attribute ``reads_beats``
            needs them and returns a logit (B, K, n) for each; the map has one value a beat then, slightly
            highest at its R peak, and falls to a lower neighbour's before the midpoint between them.

        Returns
        -------
        maps : Maps or None
            None where there is no segmenter.

        Raises
        ------
        ValueError
            If the segmenter reads heartbeats, and there are none.
        """
        if self.segmenter is None:
            return None
        if getattr(self.segmenter, "reads_beats", False):
            if heartbeats is None:
                raise ValueError("this segmenter reads heartbeats, got heartbeats=None")
            logits = self.segmenter(x, heartbeats)
            present = (heartbeats >= 0).unsqueeze(1)
            return Maps(
                lay_on_beats(torch.sigmoid(logits) * present, heartbeats, x.shape[2]), (logits, present)
            )
        output = self.segmenter(x)
        return Maps(output if getattr(self.segmenter, "is_map", False) else torch.sigmoid(output), None)

    def forward(self, x: Tensor, heartbeats: Tensor | None = None) -> JointOutput:
        """Return logits and maps of a batch of ECGs (B, C, T) with R peaks (B, n)."""
        maps = self.maps(x, heartbeats)
        x = self.readable(x)
        if maps is None:
            return JointOutput(self.classifier(x), None)
        views = [x * union(maps.values)] + [x] * self.read_whole
        logits = self.classifier(torch.cat(views)).reshape(len(views), len(x), -1)
        none = maps.log_none
        if none is None or none.shape[1] != len(self.read_beats):
            return JointOutput(logits.mean(dim=0), maps.values)
        any_beat = (torch.log(-torch.expm1(none)) - none).clamp(-MOST_LIKELY, MOST_LIKELY)
        told = torch.zeros_like(logits[0])
        told[:, self.read_beats] = any_beat.to(told)
        total = logits.sum(dim=0) + BEATS_WEIGHT * told
        return JointOutput(total / (len(views) + BEATS_WEIGHT), maps.values)


def lay_on_beats(values: Tensor, heartbeats: Tensor, length: int) -> Tensor:
    """Lay a value of every beat over its span, from midpoint to midpoint between neighbours.

    It is slightly highest at the R peak. Towards a neighbour with a lower value it falls to that, along a
    cosine in the last fifth of the way to the midpoint. Were it as high up to there, it would lend the beat's
    value to the neighbour, as nobody knows to a sample where one beat ends.

    Parameters
    ----------
    values : Tensor of shape (B, K, n)
    heartbeats : Tensor of shape (B, n), integer
        R peaks, ascending, then -1.
    length : int
        Length of the maps.

    Returns
    -------
    maps : Tensor of shape (B, K, length)
    """
    far = torch.where(heartbeats < 0, 3 * length, heartbeats)
    middles = (far[:, 1:] + far[:, :-1] + 1) // 2
    time = torch.arange(length, device=values.device).expand(len(values), length).contiguous()
    beat = torch.searchsorted(middles.contiguous(), time, right=True)
    distance = time - far.gather(1, beat)
    # of the RR intervals before every beat and after the last one: length, and the lower value beside it;
    # those before the first beat and after the last are so long that nothing falls within the ECG
    interval = functional.pad(far.diff(dim=1), (1, 1), value=3 * length).clamp(min=1)
    lower = functional.pad(torch.minimum(values[..., 1:], values[..., :-1]), (1, 1))
    side = beat + (distance > 0)
    distance = distance.abs().clamp(max=length).to(values)
    way = 2 * distance / interval.gather(1, side)  # 0 at the R peak, 1 at the midpoint
    side = side.unsqueeze(1).expand(-1, values.shape[1], -1)
    fallen = ((way - PLATEAU) / (1 - PLATEAU)).clamp(0, 1)
    own = torch.cos(fallen * (math.pi / 2)).square().unsqueeze(1)
    height = own * values.gather(2, beat.unsqueeze(1).expand_as(side)) + (1 - own) * lower.gather(2, side)
    return height / (1 + distance * (SLOPE / length)).unsqueeze(1)


def union(maps: Tensor) -> Tensor:
    """Unite maps: ``1 - prod(1 - map)``; a single map is its own union.

    Parameters
    ----------
    maps : Tensor of shape (B, K, T)
        In [0, 1], K maps an ECG.

    Returns
    -------
    union : Tensor of shape (B, 1, T)

    Examples
    --------
    >>> import torch
    >>> from skecgattn.nn import union
    >>> union(torch.tensor([[[0.5, 0.0], [0.5, 1.0]]]))
    tensor([[[0.7500, 1.0000]]])
    """
    if maps.shape[1] == 1:
        return maps
    return 1 - (1 - maps).prod(dim=1, keepdim=True)
