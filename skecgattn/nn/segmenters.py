"""Segmenters: networks that turn an ECG into the logits of attention maps."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from ._layers import Convolution, ConvolutionBlock, to_plane


class UNetSegmenter(nn.Module):
    """U-Net along time with one output channel a map.

    ::

        ECG (B, C, T) -> stem, stride 2 -> [halve, 2 convolutions] x n_levels
                                            |  skip connections  |
        logits (B, K, T) <- upsample x2 <- [double, 1 convolution] x n_levels

    The first halving happens in the stem: beats are tens of samples wide, so the maps are computed
    at half the rate, at a third of the cost, and interpolated.

    Parameters
    ----------
    n_channels : int
        Channels of the input: leads, and those that describe the heartbeats where there are any.
    n_maps : int
        Maps to compute, K.
    width : int, default=16
        Channels after the stem. Each level adds half of `width`, up to four times `width`.
    n_levels : int, default=4
        Number of halvings below the stem.
    kernel_size : int, default=5
        Odd kernel size of all convolutions but the first, which is 4 samples wider.

    Notes
    -----
    Any input length is accepted: the ECG is padded to a multiple of ``2 ** (n_levels + 1)`` by its
    last sample, and the logits are cropped.

    References
    ----------
    Ronneberger, Fischer, Brox, "U-Net: convolutional networks for biomedical image segmentation",
    MICCAI 2015.

    Examples
    --------
    >>> import torch
    >>> from skecgattn.nn import UNetSegmenter
    >>> UNetSegmenter(2, 1)(torch.zeros(3, 2, 1001)).shape
    torch.Size([3, 1, 1001])
    """

    minimum_length = 2

    def __init__(
        self, n_channels: int, n_maps: int, *, width: int = 16, n_levels: int = 4, kernel_size: int = 5
    ) -> None:
        super().__init__()
        widths = [min(width + width * level // 2, 4 * width) for level in range(n_levels + 1)]
        self.stride = 2 ** (n_levels + 1)
        self.stem = nn.Sequential(
            ConvolutionBlock(n_channels, widths[0], kernel_size + 4, stride=2),
            ConvolutionBlock(widths[0], widths[0], kernel_size),
        )
        self.down = nn.ModuleList(
            nn.Sequential(
                ConvolutionBlock(n_in, n_out, kernel_size, stride=2),
                ConvolutionBlock(n_out, n_out, kernel_size),
            )
            for n_in, n_out in itertools.pairwise(widths)
        )
        self.up = nn.ModuleList(
            ConvolutionBlock(n_deep + n_skip, n_skip, kernel_size)
            for n_deep, n_skip in zip(widths[:0:-1], widths[-2::-1])
        )
        self.head = Convolution(widths[0], n_maps, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (batch, n_maps, time) of an ECG (batch, n_channels, time)."""
        length = x.shape[-1]
        h = self.stem(to_plane(x, self.stride))
        skips = [h]
        for block in self.down:
            h = block(h)
            skips.append(h)
        skips.pop()
        for block in self.up:
            h = block(torch.cat([functional.interpolate(h, scale_factor=(1, 2)), skips.pop()], dim=1))
        logits = self.head(h).squeeze(2)
        logits = functional.interpolate(logits, scale_factor=2, mode="linear", align_corners=False)
        return logits[..., :length]


class HuSegmenter(nn.Module):
    """Segmenter as published by Hu et al. (2021): a U-Net, then L2 pooling over 151 samples.

    ::

        ECG (B, C, T) -> 32 -> 64 -> 128 -> 256 channels, halved by max pooling between
                         (2 x [convolution 5, instance norm, leaky ReLU] a level)
        map (B, 1, T) <- L2 pooling 151 <- 1x1 convolution <- 32 <- 64 <- 128
                         (transposed convolution 2, stride 2, up; 2 x [convolution 5, leaky ReLU])

    The output is not a logit but the map itself: non-negative, smooth, unbounded, one for all leads.

    Parameters
    ----------
    n_channels : int
        Leads.
    n_maps : int
        Must be 1: the published segmenter has one map.
    widths : tuple of int, default=(32, 64, 128, 256)
        Channels a level.
    pool_size : int, default=151
        Odd number of samples of the L2 pooling.

    References
    ----------
    Hu, Wen, Wang, Liang, Zhuang, Shi, "Attention based joint learning for supervised
    electrocardiogram arrhythmia differentiation with unsupervised abnormal beat segmentation",
    ICLR 2021 submission, OpenReview HK_B2K0026.

    Examples
    --------
    >>> import torch
    >>> from skecgattn.nn import HuSegmenter
    >>> HuSegmenter(2, 1)(torch.zeros(1, 2, 500)).shape
    torch.Size([1, 1, 500])
    """

    minimum_length = 9
    is_map = True

    def __init__(
        self,
        n_channels: int,
        n_maps: int = 1,
        *,
        widths: tuple[int, ...] = (32, 64, 128, 256),
        pool_size: int = 151,
    ) -> None:
        super().__init__()
        if n_maps != 1:
            raise ValueError(f"the published segmenter has one map, got n_maps={n_maps}")
        self.stride = 2 ** (len(widths) - 1)
        self.pool_size = pool_size
        self.down = nn.ModuleList(
            nn.Sequential(*self._normed(n_in, n_out), *self._normed(n_out, n_out))
            for n_in, n_out in zip((n_channels, *widths[:-1]), widths)
        )
        self.rise = nn.ModuleList(
            nn.ConvTranspose2d(n_deep, n_skip, (1, 2), stride=(1, 2))
            for n_deep, n_skip in zip(widths[:0:-1], widths[-2::-1])
        )
        self.up = nn.ModuleList(
            nn.Sequential(
                Convolution(2 * n, n, 5), nn.LeakyReLU(0.01), Convolution(n, n, 5), nn.LeakyReLU(0.01)
            )
            for n in widths[-2::-1]
        )
        self.head = Convolution(widths[0], 1, 1)

    @staticmethod
    def _normed(n_in: int, n_out: int) -> list[nn.Module]:
        return [Convolution(n_in, n_out, 5), nn.GroupNorm(n_out, n_out, affine=False), nn.LeakyReLU(0.01)]

    def forward(self, x: Tensor) -> Tensor:
        """Return the map (batch, 1, time) of an ECG (batch, n_channels, time)."""
        length = x.shape[-1]
        h = to_plane(x, self.stride)
        skips = []
        for level, block in enumerate(self.down):
            if level:
                skips.append(h)
                h = functional.max_pool2d(h, (1, 2))
            h = block(h)
        for rise, block in zip(self.rise, self.up):
            h = block(torch.cat([skips.pop(), rise(h)], dim=1))
        squares = self.head(h).squeeze(2)[..., :length].square()
        sums = functional.avg_pool1d(squares, self.pool_size, 1, self.pool_size // 2) * self.pool_size
        # the gradient of a square root is infinite at zero
        return torch.sqrt(sums + torch.finfo(sums.dtype).tiny)


EARLY = 12.0
"""What the values of each beat are multiplied by to be as large as the other features."""

ROUND = 64
"""Beats are encoded in multiples of this number."""

DOUBT = 3.0
"""Logit, either way, below which a beat is looked at again without some of its leads."""

UNJUDGED = -20.0
"""Logit of a beat that is not judged: as good as none."""

NOT_TRUSTED = -1e4
"""Is added to odds that a map makes nothing of."""

NEEDED, LEAST_NEEDED = 2.0, 0.02
"""Power, among odds, of the probability of what a kind of beats needs, and the smallest that counts."""

MOST_VIEWS = 4
"""How often it is looked at again at most, each time without one lead, or that share of many leads."""


class Odds(NamedTuple):
    """How the values of a heartbeat tell the odds that it is of a known kind of abnormal beats.

    Their natural logarithm is ``factor * values[value] + summand``. Where a kind needs something, the odds
    are multiplied by the square of the probability that it is there: 1 plus, for each pair of `needs`, the
    value at its index times its factor, and .02 at least.

    Examples
    --------
    The first value is the logarithm, the second the probability of a P wave, minus 1.

    >>> import torch
    >>> from skecgattn.nn import BeatSegmenter, Odds
    >>> segmenter = BeatSegmenter(4, 1, n_per_beat=2, odds=[Odds(0, needs=((1, 1.0),))])
    >>> segmenter.tell_odds(torch.tensor([[-2.0, 0.0], [-2.0, -0.5]]))
    tensor([[-2.0000],
            [-3.3863]])
    """

    value: int
    """Index of the one that tells the odds, among the values of a beat."""
    factor: float = 1.0
    summand: float = 0.0
    needs: tuple[tuple[int, float], ...] = ()
    """Pairs of an index and a factor, of values that tell how probable it is that what such beats are known
    by is there."""
    suffices: bool = False
    """Whether such beats count for their ECG to have the label, as far as they are trusted, whatever else is
    read of the ECG."""


class BeatSegmenter(nn.Module):
    """Judges every heartbeat by its own channels, cut out around the R peak.

    ::

        channels (B, C, T), R peaks (B, n)
          -> cut out 0.75 s around every R peak (N, C, W)
          -> [halve, convolution] x 3 -> linear -> features, with the values of the beat
          -> hidden layer -> logits (B, K, n)

    A beat's logit depends on nothing but its own samples and what the channels at the end tell of it, so that
    the label of an ECG hardly leaks into beats that have no part in it.

    Outside of training a beat in doubt is looked at again, each time without some of the leads: its logit is
    the mean of all of them, as what one lead alone shows is often noise.

    Some of a beat's values may tell the odds of a kind of abnormal beat that is known without any training
    here. Where a map trusts them, a beat is abnormal if it is so by the logit or by these odds: what is
    learned of a few patients and what was known before are wrong about different beats. In training a beat is
    judged as if nothing were known, since what is known already would not be learned again.

    Parameters
    ----------
    n_channels : int
        Channels of the input.
    n_maps : int
        Logits a beat, K.
    first_channel : int, default=0
        Channels before this one are not read: the leads themselves, where contrast channels follow
        that do not depend on what this patient's ECG looks like.
    n_per_beat : int, default=0
        Number of channels at the end that hold one value a beat: the rhythm, the waves. What is above 0 is
        not read: it tells that a beat is late, as the one after a premature beat is.
    odds : sequence of Odds, default=()
        Known kinds of abnormal beats.
    before, after : int, default=54, 81
        Samples that are cut out before and after the R peak.
    edge : int, default=3
        A beat whose R peak is one of so many samples at either end of the ECG is not judged: what is there
        is one slope of a wave, or where a filter ends.
    width : int, default=24
        Channels of the first level; the next levels have a third and a half again.
    n_features : int, default=48
        Features of a beat.
    dropout : float, default=0.3
        Dropout before the last layer.

    Attributes
    ----------
    trust : Tensor of shape (n_maps, n_odds)
        Is added to the logarithms of the odds; at first so low that they have no part. No parameter that
        training changes: `AttentionECGClassifier` learns it afterwards.

    Raises
    ------
    ValueError
        If an index in `odds` is none of a beat's values.
    TypeError
        If `odds` holds something else than `Odds`.

    References
    ----------
    That one of several things suffices, each with a probability of its own (noisy-or), is how Maron and
    Lozano-Pérez, "A framework for multiple-instance learning", NIPS 1997, join the instances of a bag.

    Examples
    --------
    >>> import torch
    >>> from skecgattn.nn import BeatSegmenter
    >>> BeatSegmenter(2, 1)(torch.zeros(1, 2, 900), torch.tensor([[100, 300, 500, -1]])).shape
    torch.Size([1, 1, 4])
    """

    minimum_length = 2
    reads_beats = True
    lr_factor = 5 / 3
    """Multiple of the learning rate: that any of many beats is abnormal says little about each."""

    def __init__(
        self,
        n_channels: int,
        n_maps: int,
        *,
        first_channel: int = 0,
        n_per_beat: int = 0,
        odds: Sequence[Odds] = (),
        before: int = 54,
        after: int = 81,
        edge: int = 3,
        width: int = 24,
        n_features: int = 48,
        dropout: float = 0.3,
    ) -> None:
        super().__init__()
        self.channels = slice(first_channel, n_channels - n_per_beat)
        self.per_beat = slice(n_channels - n_per_beat, n_channels)
        self.before, self.after, self.edge = before, after, edge
        widths = (n_channels - n_per_beat - first_channel, width, 4 * width // 3, 2 * width)
        self.encoder = nn.Sequential(
            *(
                block
                for level, (n_in, n_out) in enumerate(itertools.pairwise(widths))
                for block in (
                    ConvolutionBlock(n_in, n_out, 9 if level == 0 else 5, stride=2),
                    ConvolutionBlock(n_out, n_out, 5),
                )
            ),
            nn.Flatten(),
            nn.Linear(widths[-1] * -(-(before + after) // 8), n_features),
        )
        last = nn.Linear(n_features, n_maps)
        nn.init.constant_(last.bias, -2.0)  # most beats are normal
        self.head = nn.Sequential(
            nn.Linear(n_features + n_per_beat, n_features), nn.ReLU(), nn.Dropout(dropout), last
        )
        self.n_maps = n_maps
        self.odds = tuple(odds)
        if other := [kind for kind in self.odds if not isinstance(kind, Odds)]:
            raise TypeError(f"odds must be a sequence of Odds, got {other[0]!r} in it.")
        read = [index for kind in self.odds for index in (kind.value, *(index for index, _ in kind.needs))]
        if wrong := [index for index in read if not 0 <= index < n_per_beat]:
            raise ValueError(
                f"odds must have indices from 0 to n_per_beat - 1 = {n_per_beat - 1}, got {wrong}."
            )
        self.trust: Tensor
        nothing = torch.full((n_maps, len(self.odds)), NOT_TRUSTED)
        # model files without odds are read as they always were
        self.register_buffer("trust", nothing, persistent=bool(self.odds))

    def tell_odds(self, values: Tensor) -> Tensor:
        """Return the natural logarithms of odds that the values of beats tell.

        Parameters
        ----------
        values : Tensor of shape (N, n_per_beat)

        Returns
        -------
        odds : Tensor of shape (N, n_odds)
        """
        told = []
        for kind in self.odds:
            odds = kind.factor * values[:, kind.value] + kind.summand
            if kind.needs:
                there = torch.ones_like(odds)
                for index, factor in kind.needs:
                    there = there + factor * values[:, index]
                odds = odds + NEEDED * torch.log(there.clamp(LEAST_NEEDED, 1))
            told.append(odds)
        return torch.stack(told, dim=1) if told else values[:, :0]

    def judged(self, peaks: Any, n_timesteps: int) -> Any:
        """Tell which heartbeats are judged: those not at the ends of their ECG.

        Parameters
        ----------
        peaks : Tensor or ndarray of shape (N,)
            R peaks.
        n_timesteps : int
            Length of the ECG.

        Returns
        -------
        judged : Tensor or ndarray of shape (N,), bool
        """
        return (peaks >= self.edge) & (peaks < n_timesteps - self.edge)

    def _encode(self, cut: Tensor) -> Tensor:
        """Return the features of beats; they are filled up to a round number.

        oneDNN keeps what it has compiled for every size of a batch: with sizes at random memory grows.
        """
        filled = functional.pad(cut, (0, 0, 0, 0, 0, -len(cut) % ROUND))
        return self.encoder(to_plane(filled))[: len(cut)]

    def forward(self, x: Tensor, heartbeats: Tensor) -> Tensor:
        """Return logits (B, n_maps, n) of the heartbeats (B, n) of ECGs (B, n_channels, T)."""
        ecg, beat = torch.nonzero(heartbeats >= 0, as_tuple=True)
        peaks = heartbeats[ecg, beat]
        padded = functional.pad(x[:, self.channels], (self.before, self.after))
        samples = peaks[:, None] + torch.arange(self.before + self.after, device=x.device)
        cut = padded[ecg[:, None], :, samples].transpose(1, 2)
        values = x[ecg, self.per_beat, peaks]
        logits = self._judge(cut, values)
        if not self.training:
            again = torch.nonzero(logits.amax(dim=1).abs() < DOUBT)[:, 0]
            logits = logits.index_copy(0, again, self._look_again(cut[again], values[again], logits[again]))
            for odds, trust in zip(self.tell_odds(values).unbind(dim=1), self.trust.unbind(dim=1)):
                logits = either(logits, odds[:, None] + trust)
        logits = logits.masked_fill(~self.judged(peaks, x.shape[2])[:, None], UNJUDGED)
        laid = logits.new_zeros(*heartbeats.shape, self.n_maps)
        return laid.index_put((ecg, beat), logits).transpose(1, 2)

    def _judge(self, cut: Tensor, values: Tensor) -> Tensor:
        """Return logits (N, n_maps) of beats, cut out (N, C, W) and with their values (N, n_per_beat)."""
        return self.head(torch.cat([self._encode(cut), EARLY * values.clamp(max=0)], dim=1))

    def _look_again(self, cut: Tensor, values: Tensor, logits: Tensor) -> Tensor:
        """Return the mean of the beats' logits, and of those without some of the leads each time."""
        n_leads = cut.shape[1]
        n_views = min(n_leads, MOST_VIEWS)
        if n_leads == 1 or not len(cut):
            return logits
        lead, view = torch.arange(n_leads, device=cut.device), torch.arange(n_views, device=cut.device)
        shown = (lead % n_views != view[:, None]).to(cut)
        parts = cut * shown[:, None, :, None]  # (n_views, N, C, W)
        seen = self._judge(parts.flatten(0, 1), values.repeat(n_views, 1))
        return torch.cat([logits, seen]).reshape(1 + n_views, *logits.shape).mean(dim=0)


def either(one: Tensor, other: Tensor) -> Tensor:
    """Return the logit that one of two things is so, or both, by their logits (noisy-or)."""
    return torch.logaddexp(torch.logaddexp(one, other), one + other)


SEGMENTERS: dict[str, type[nn.Module]] = {"beat": BeatSegmenter, "unet": UNetSegmenter, "hu2021": HuSegmenter}
"""Segmenters by the name that ``AttentionECGClassifier(segmenter=...)`` takes."""
