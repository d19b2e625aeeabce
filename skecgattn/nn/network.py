"""The joint network: segmenter, modulation, classifier."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn


class JointOutput(NamedTuple):
    """What the joint network computes from one batch."""

    logits: Tensor
    """Class logits (batch, n_outputs)."""
    maps: Tensor | None
    """Attention maps (batch, n_maps, time), one a class where the task has several; None without segmenter."""


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
        has a true attribute ``is_map``. None leaves the ECG as it is: the classifier alone.
    classifier : Module
        From (B, C, T) to logits (B, n_outputs).

    References
    ----------
    Hu et al., ICLR 2021 submission, OpenReview HK_B2K0026.
    """

    def __init__(self, segmenter: nn.Module | None, classifier: nn.Module) -> None:
        super().__init__()
        self.segmenter = segmenter
        self.classifier = classifier

    def maps(self, x: Tensor) -> Tensor | None:
        """Return the maps (B, K, T) of a batch of ECGs (B, C, T)."""
        if self.segmenter is None:
            return None
        output = self.segmenter(x)
        return output if getattr(self.segmenter, "is_map", False) else torch.sigmoid(output)

    def forward(self, x: Tensor) -> JointOutput:
        """Return logits and maps of a batch of ECGs (B, C, T)."""
        maps = self.maps(x)
        return JointOutput(self.classifier(x if maps is None else x * union(maps)), maps)


def union(maps: Tensor) -> Tensor:
    """Return the union (B, 1, T) of maps (B, K, T) in [0, 1]; a single map is its own union."""
    if maps.shape[1] == 1:
        return maps
    return 1 - (1 - maps).prod(dim=1, keepdim=True)
