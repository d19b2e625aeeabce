"""Classifiers: networks that turn a (modulated) ECG into class logits."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ._layers import Convolution, ConvolutionBlock, to_plane


class ConvolutionalClassifier(nn.Module):
    """Strided convolutions, then average and maximum over time, then one linear layer.

    ::

        (B, C, T) -> stride 4, convolution -> [halve, convolution] x (n_levels - 1)
                  -> mean and max over time -> dropout -> (B, n_outputs)

    The maximum lets one abnormal beat among many normal ones be seen, the mean carries what
    holds for the whole ECG.

    Parameters
    ----------
    n_channels : int
        Channels of the input.
    n_outputs : int
        Logits to compute.
    width : int, default=16
        Channels of the first level; each level adds half of `width`, up to four times `width`.
    n_levels : int, default=5
        Number of levels.
    kernel_size : int, default=5
        Odd kernel size of all convolutions but the first, which is 8 samples wider.
    dropout : float, default=0.2
        Dropout before the linear layer.

    Examples
    --------
    >>> import torch
    >>> from skecgattn.nn import ConvolutionalClassifier
    >>> ConvolutionalClassifier(2, 3)(torch.zeros(4, 2, 900)).shape
    torch.Size([4, 3])
    """

    minimum_length = 2

    def __init__(
        self,
        n_channels: int,
        n_outputs: int,
        *,
        width: int = 16,
        n_levels: int = 5,
        kernel_size: int = 5,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        widths = [min(width + width * level // 2, 4 * width) for level in range(n_levels)]
        self.stride = 2 ** (n_levels + 1)
        blocks: list[nn.Module] = []
        for level, (n_in, n_out) in enumerate(zip((n_channels, *widths[:-1]), widths)):
            size, stride = (kernel_size, 2) if level else (kernel_size + 8, 4)
            blocks.append(ConvolutionBlock(n_in, n_out, size, stride=stride))
            blocks.append(ConvolutionBlock(n_out, n_out, kernel_size))
        self.features = nn.Sequential(*blocks)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(2 * widths[-1], n_outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (batch, n_outputs) of an ECG (batch, n_channels, time)."""
        h = self.features(to_plane(x, self.stride)).squeeze(2)
        return self.head(self.dropout(torch.cat([h.mean(dim=-1), h.amax(dim=-1)], dim=1)))


class HuClassifier(nn.Module):
    """Classifier as published by Hu et al. (2021).

    ::

        (B, C, T) -> 9 unpadded convolutions of kernel 5, batch norm, ReLU:
                     32, 32, 32, 64 (stride 2), 64, 64, 64, 128 (stride 2), 128
                  -> average over time -> dense 128, ReLU, dropout 0.6 -> dense, ReLU -> (B, n_outputs)

    Parameters
    ----------
    n_channels : int
        Leads.
    n_outputs : int
        Logits to compute.
    dropout : float, default=0.6
        Dropout before the last layer.
    rectify : bool, default=True
        Whether a ReLU makes the logits non-negative, as published. Where each has a sigmoid of its own, none
        could tell that a label is missing then.

    References
    ----------
    Hu et al., ICLR 2021 submission, OpenReview HK_B2K0026.

    Examples
    --------
    >>> import torch
    >>> from skecgattn.nn import HuClassifier
    >>> HuClassifier(2, 2)(torch.zeros(4, 2, 900)).shape
    torch.Size([4, 2])
    """

    minimum_length = 65

    def __init__(
        self, n_channels: int, n_outputs: int, *, dropout: float = 0.6, rectify: bool = True
    ) -> None:
        super().__init__()
        widths = (32, 32, 32, 64, 64, 64, 64, 128, 128)
        blocks: list[nn.Module] = []
        for n_in, n_out in zip((n_channels, *widths[:-1]), widths):
            stride = 2 if n_out > n_in and n_in >= 32 else 1
            blocks.append(Convolution(n_in, n_out, 5, stride=stride, padding=0))
            blocks += [nn.BatchNorm2d(n_out), nn.ReLU()]
        self.features = nn.Sequential(*blocks)
        self.hidden = nn.Linear(widths[-1], 128)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(128, n_outputs)
        # modules, as guided backpropagation needs them
        self.hidden_activation, self.head_activation = nn.ReLU(), nn.ReLU() if rectify else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (batch, n_outputs) of an ECG (batch, n_channels, time)."""
        h = self.features(to_plane(x)).mean(dim=(2, 3))
        h = self.dropout(self.hidden_activation(self.hidden(h)))
        return self.head_activation(self.head(h))


CLASSIFIERS: dict[str, type[nn.Module]] = {
    "convolutional": ConvolutionalClassifier,
    "hu2021": HuClassifier,
}
"""Classifiers by the name that ``AttentionECGClassifier(classifier=...)`` takes."""
