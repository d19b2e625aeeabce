"""Published classifiers of time series, written anew from their descriptions.

No kept package has them that installs beside this library's other requirements. The networks are
trained by ``AttentionECGClassifier(segmenter=None, classifier=...)``, so that data, resampling, filter,
augmentation, optimiser and budget are the default estimator's own.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from skecgattn.preprocessing import make_ecg_pipeline


def _convolution(n_in: int, n_out: int, size: int, stride: int = 1) -> nn.Conv2d:
    """Return a convolution along time without bias, of height 1: fast in channels-last memory."""
    return nn.Conv2d(n_in, n_out, (1, size), stride=(1, stride), padding=(0, size // 2), bias=False)


def _plane(x: Tensor) -> Tensor:
    return x.unsqueeze(2).contiguous(memory_format=torch.channels_last)


class _Inception(nn.Module):
    """Bottleneck, three parallel convolutions, and max pooling beside them; then batch norm and ReLU."""

    def __init__(self, n_in: int, n_filters: int, sizes: tuple[int, ...]) -> None:
        super().__init__()
        self.bottleneck = _convolution(n_in, n_filters, 1) if n_in > 1 else nn.Identity()
        n_narrow = n_filters if n_in > 1 else 1
        self.convolutions = nn.ModuleList(_convolution(n_narrow, n_filters, size) for size in sizes)
        self.pool = nn.MaxPool2d((1, 3), stride=1, padding=(0, 1))
        self.pooled = _convolution(n_in, n_filters, 1)
        self.norm = nn.BatchNorm2d((len(sizes) + 1) * n_filters)
        self.activation = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        narrow = self.bottleneck(x)
        parts = [convolution(narrow) for convolution in self.convolutions] + [self.pooled(self.pool(x))]
        return self.activation(self.norm(torch.cat(parts, dim=1)))


class InceptionTime(nn.Module):
    """One of the networks of InceptionTime, which is an ensemble of five.

    ::

        (B, C, T) -> 6 inception modules of 4 x 32 channels, kernels 39, 19 and 9, a residual
                  connection over every three -> mean over time -> (B, n_outputs)

    The published kernels are longer by one sample, which leaves them without a centre.

    References
    ----------
    Ismail Fawaz, Lucas, Forestier, Pelletier, Schmidt, Weber, Webb, Idoumghar, Muller, Petitjean,
    "InceptionTime: finding AlexNet for time series classification", Data Mining and Knowledge Discovery 34,
    2020.
    """

    def __init__(
        self,
        n_channels: int,
        n_outputs: int,
        *,
        depth: int = 6,
        n_filters: int = 32,
        sizes: tuple[int, ...] = (39, 19, 9),
    ) -> None:
        super().__init__()
        n_features = (len(sizes) + 1) * n_filters
        self.blocks, self.shortcuts = nn.ModuleList(), nn.ModuleList()
        for first in range(0, depth, 3):
            n_in = n_features if first else n_channels
            n_modules = min(3, depth - first)
            self.blocks.append(
                nn.Sequential(
                    *(_Inception(n_features if k else n_in, n_filters, sizes) for k in range(n_modules))
                )
            )
            self.shortcuts.append(
                nn.Sequential(_convolution(n_in, n_features, 1), nn.BatchNorm2d(n_features))
            )
        self.activation = nn.ReLU()
        self.head = nn.Linear(n_features, n_outputs)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.xavier_uniform_(module.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (batch, n_outputs) of an ECG (batch, n_channels, time)."""
        h = _plane(x)
        for block, shortcut in zip(self.blocks, self.shortcuts):
            h = self.activation(block(h) + shortcut(h))
        return self.head(h.mean(dim=(2, 3)))


def _step(n_in: int, n_out: int, size: int, stride: int = 1, *, active: bool = True) -> nn.Sequential:
    layers: list[nn.Module] = [_convolution(n_in, n_out, size, stride), nn.BatchNorm2d(n_out)]
    return nn.Sequential(*layers, nn.ReLU()) if active else nn.Sequential(*layers)


class _Bottleneck(nn.Module):
    """Residual bottleneck of xresnet: the identity is averaged, not skipped over, where time is halved."""

    def __init__(self, n_in: int, width: int, size: int, stride: int) -> None:
        super().__init__()
        n_out = 4 * width
        last = _step(width, n_out, 1, active=False)
        nn.init.zeros_(last[1].weight)  # each block begins as the identity
        self.path = nn.Sequential(_step(n_in, width, 1), _step(width, width, size, stride), last)
        identity: list[nn.Module] = []
        if stride > 1:
            identity.append(nn.AvgPool2d((1, 2), ceil_mode=True))
        if n_in != n_out:
            identity.append(_step(n_in, n_out, 1, active=False))
        self.identity = nn.Sequential(*identity)
        self.activation = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.path(x) + self.identity(x))


class XResNet1d(nn.Module):
    """xresnet1d50 as Strodthoff et al. use it; ``stages=(3, 4, 23, 3)`` is their xresnet1d101.

    ::

        (B, C, T) -> 3 convolutions, 32 (stride 2), 32, 64 -> max pooling (3, stride 2)
                  -> 3 + 4 + 6 + 3 bottlenecks of 64 to 256 channels, kernel 5, three halvings
                  -> mean and maximum over time -> batch norm, dense 128, batch norm -> (B, n_outputs)

    References
    ----------
    Strodthoff, Wagner, Schaeffter, Samek, "Deep learning for ECG analysis: benchmarks and insights from
    PTB-XL", IEEE Journal of Biomedical and Health Informatics 25(5), 2021; the network family is that of
    He, Zhang, Zhang, Zhang, Xie, Li, "Bag of tricks for image classification with convolutional neural
    networks", CVPR 2019.
    """

    def __init__(
        self,
        n_channels: int,
        n_outputs: int,
        *,
        stages: tuple[int, ...] = (3, 4, 6, 3),
        width: int = 64,
        size: int = 5,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [
            _step(n_channels, 32, size, 2),
            _step(32, 32, size),
            _step(32, width, size),
            nn.MaxPool2d((1, 3), stride=(1, 2), padding=(0, 1)),
        ]
        n_in = width
        for stage, n_blocks in enumerate(stages):
            for block in range(n_blocks):
                layers.append(_Bottleneck(n_in, width, size, 2 if stage and not block else 1))
                n_in = 4 * width
        self.features = nn.Sequential(*layers)
        self.head = nn.Sequential(
            nn.BatchNorm1d(2 * n_in),
            nn.Dropout(0.25),
            nn.Linear(2 * n_in, 128),
            nn.ReLU(),
            nn.BatchNorm1d(128),
            nn.Dropout(0.5),
            nn.Linear(128, n_outputs),
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (batch, n_outputs) of an ECG (batch, n_channels, time)."""
        h = self.features(_plane(x)).squeeze(2)
        return self.head(torch.cat([h.mean(dim=-1), h.amax(dim=-1)], dim=1))


def xresnet1d101(n_channels: int, n_outputs: int) -> XResNet1d:
    """Return Strodthoff et al.'s deeper network."""
    return XResNet1d(n_channels, n_outputs, stages=(3, 4, 23, 3))


KERNELS = tuple(combinations(range(9), 3))
"""Places of the three weights of 2 among the nine of each of MiniRocket's 84 kernels; the others are -1."""

BLOCK = 16
"""ECGs that MiniRocket transforms at a time: their convolutions stay in the processor's cache."""


class _Kernel(NamedTuple):
    dilation: int
    places: tuple[int, ...]
    channels: tuple[int, ...]
    padded: bool
    features: slice


class MiniRocketRidge(BaseEstimator):
    """MiniRocket's features of the leads, and ridge regression on them for each label.

    84 kernels of length 9 with three weights of 2 and six of -1, at up to 32 dilations, each over a random
    set of leads; the features are the shares of time in which a convolution exceeds quantiles of itself,
    taken from one random ECG of the training set. Reads the ECG resampled, filtered and scaled like
    the default estimator's.

    References
    ----------
    Dempster, Schmidt, Webb, "MiniRocket: a very fast (almost) deterministic transform for time series
    classification", KDD 2021; several leads as in the authors' multivariate version.
    """

    def __init__(
        self,
        sampling_rate: float,
        *,
        n_features: int = 10_000,
        max_dilations: int = 32,
        random_state: int | None = None,
    ) -> None:
        self.sampling_rate = sampling_rate
        self.n_features = n_features
        self.max_dilations = max_dilations
        self.random_state = random_state

    def fit(self, X: np.ndarray, y: np.ndarray, groups: Any = None) -> Self:
        """Fit on ECGs (n_samples, n_leads, n_timesteps) and an indicator matrix (n_samples, n_labels)."""
        leads = self._leads(X)
        self._draw(leads)
        ridge = RidgeCV(alphas=np.logspace(-3, 3, 10), alpha_per_target=True)
        self.ridge_ = make_pipeline(StandardScaler(with_mean=False), ridge)
        self.ridge_.fit(self._transform(leads), 2.0 * y - 1)
        return self

    def decision_function(self, X: np.ndarray) -> np.ndarray:
        """Return a score (n_samples, n_labels), positive where the label is more likely than not."""
        return self.ridge_.predict(self._transform(self._leads(X)))

    def _leads(self, X: np.ndarray) -> np.ndarray:
        return make_ecg_pipeline(self.sampling_rate).fit_transform(X).astype(np.float32)

    def _draw(self, leads: np.ndarray) -> None:
        """Choose dilations, leads and biases."""
        rng = np.random.default_rng(self.random_state)
        n_leads, length = leads.shape[1:]
        per_kernel = self.n_features // len(KERNELS)
        n_dilations = min(per_kernel, self.max_dilations)
        largest = np.log2((length - 1) / 8)
        dilations, counts = np.unique(
            np.logspace(0, largest, n_dilations, base=2).astype(int), return_counts=True
        )
        counts = counts * per_kernel // n_dilations
        counts[: per_kernel - counts.sum()] += 1
        self.kernels_: list[_Kernel] = []
        stop = 0
        for step, (dilation, count) in enumerate(zip(dilations.tolist(), counts.tolist())):
            for index, places in enumerate(KERNELS):
                n_chosen = int(2 ** rng.uniform(0, np.log2(min(n_leads, 9) + 1)))
                chosen = tuple(sorted(rng.choice(n_leads, n_chosen, replace=False).tolist()))
                start, stop = stop, stop + count
                padded = (step + index) % 2 == 0
                self.kernels_.append(_Kernel(dilation, places, chosen, padded, slice(start, stop)))
        golden = (np.sqrt(5) + 1) / 2
        quantiles = np.arange(1, stop + 1) * golden % 1
        self.biases_ = np.empty(stop, dtype=np.float32)
        # one ECG a kernel, drawn anew; convolved a dilation at a time
        for kernel, row in zip(self.kernels_, rng.integers(len(leads), size=len(self.kernels_))):
            signal = leads[row : row + 1, list(kernel.channels)].sum(axis=1)
            convolved = _convolve(*_shifted(signal, kernel.dilation), kernel.places)
            self.biases_[kernel.features] = np.quantile(convolved, quantiles[kernel.features])

    def _transform(self, leads: np.ndarray) -> np.ndarray:
        """Return the features (n_samples, n_features)."""
        length = leads.shape[2]
        features = np.empty((len(leads), len(self.biases_)), dtype=np.float32)
        for start in range(0, len(leads), BLOCK):
            block = leads[start : start + BLOCK]
            out = features[start : start + BLOCK]
            shifted: dict[tuple[int, ...], tuple[np.ndarray, np.ndarray]] = {}
            dilation = 0
            above = np.zeros((len(block), -(-length // 8) * 8), dtype=bool)
            for kernel in self.kernels_:
                if kernel.dilation != dilation:
                    dilation, shifted = kernel.dilation, {}
                if kernel.channels not in shifted:
                    signal = block[:, list(kernel.channels)].sum(axis=1)
                    shifted[kernel.channels] = _shifted(signal, dilation)
                convolved = _convolve(*shifted[kernel.channels], kernel.places)
                edge = 0 if kernel.padded else 4 * dilation
                if edge:
                    convolved[:, :edge] = convolved[:, -edge:] = -np.inf
                for feature in range(kernel.features.start, kernel.features.stop):
                    np.greater(convolved, self.biases_[feature], out=above[:, :length])
                    # eight samples at a time
                    exceeding = np.bitwise_count(above.view(np.uint64)).sum(axis=1, dtype=np.int64)
                    out[:, feature] = exceeding / (length - 2 * edge)
        return features


def _shifted(signal: np.ndarray, dilation: int) -> tuple[np.ndarray, np.ndarray]:
    """Return three times the signals (n, length) at the kernel's nine places, and minus their plain sum."""
    n, length = signal.shape
    wide = np.zeros((n, length + 8 * dilation), dtype=np.float32)
    wide[:, 4 * dilation : 4 * dilation + length] = signal
    places = np.stack([wide[:, k * dilation : k * dilation + length] for k in range(9)])
    return 3 * places, -places.sum(axis=0)


def _convolve(tripled: np.ndarray, minus_sum: np.ndarray, places: tuple[int, ...]) -> np.ndarray:
    first, second, third = places
    convolved = minus_sum + tripled[first]
    convolved += tripled[second]
    convolved += tripled[third]
    return convolved
