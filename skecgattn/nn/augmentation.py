"""Augmentation: what may happen to an ECG without changing its label."""

from __future__ import annotations

from numbers import Real

import torch
from torch import Tensor

from ._parameters import Parameterised


class Augmentation(Parameterised):
    """Random gain, noise, lead dropout and artefacts, drawn for every ECG, and shift, drawn for every batch.

    Parameters
    ----------
    gain : float, default=0.3
        Standard deviation of the logarithm of each lead's gain.
    shift : float, default=0.05
        Largest shift in time, as a share of the length. What leaves at one end enters at the other.
    noise : float, default=0.15
        Largest standard deviation of white noise, as a share of the lead's scale.
    lead_dropout : float, default=0.2
        Probability that a lead is silenced. One lead always stays.
    artefacts : float, default=0.5
        Probability that a batch has the noisy copy of an ECG: made once a `fit`, with what moving electrodes
        and tense muscles add, at signal-to-noise ratios from 0 to 24 dB, before heartbeats are detected. So
        the networks meet what a detector takes for heartbeats in noise. There are copies where the sampling
        rate is known; they double the memory that the ECGs take, and 0 does without.

    Examples
    --------
    >>> from skecgattn.nn import Augmentation
    >>> Augmentation(noise=0)
    Augmentation(gain=0.3, shift=0.05, noise=0, lead_dropout=0.2, artefacts=0.5)
    """

    def __init__(
        self,
        gain: float = 0.3,
        shift: float = 0.05,
        noise: float = 0.15,
        lead_dropout: float = 0.2,
        artefacts: float = 0.5,
    ) -> None:
        self.gain = gain
        self.shift = shift
        self.noise = noise
        self.lead_dropout = lead_dropout
        self.artefacts = artefacts

    def _check(self) -> None:
        """Refuse values that mean nothing.

        Raises
        ------
        ValueError
            If a parameter is negative, or a probability or share is larger than 1.
        """
        for name, value in self.get_params().items():
            largest = 1 if name in ("shift", "lead_dropout", "artefacts") else float("inf")
            if not isinstance(value, Real) or not 0 <= float(value) <= largest:
                expected = "in [0, 1]" if largest == 1 else "0 or more"
                raise ValueError(f"{name} of Augmentation must be {expected}, got {value!r}.")

    def __call__(
        self, x: Tensor, heartbeats: Tensor | None, n_leads: int, *, per_lead: int = 1
    ) -> tuple[Tensor, Tensor | None]:
        """Return augmented channels, and the heartbeats shifted with them.

        Parameters
        ----------
        x : Tensor of shape (B, C, T)
            The first ``n_leads * per_lead`` channels are of the leads, in `per_lead` rounds; further ones
            (the rhythm, the waves) are only shifted.
        heartbeats : Tensor of shape (B, n) or None
            R peaks of each ECG, ascending, then -1.
        n_leads : int
            Leads of the ECG.
        per_lead : int, default=1
            Channels that describe each lead.
        """
        n_batch, _, length = x.shape
        n_signal = n_leads * per_lead
        gain = torch.exp(self.gain * torch.randn(n_batch, n_leads, 1, device=x.device, dtype=x.dtype))
        if self.lead_dropout > 0 and n_leads > 1:
            dropped = torch.rand(n_batch, n_leads, 1, device=x.device) < self.lead_dropout
            gain = gain * ~(dropped & ~dropped.all(dim=1, keepdim=True))
        signal = x[:, :n_signal] * gain.repeat(1, per_lead, 1)
        if self.noise > 0:
            level = self.noise * torch.rand(n_batch, 1, 1, device=x.device, dtype=x.dtype)
            signal = signal + level * torch.randn_like(signal)
        x = torch.cat([signal, x[:, n_signal:]], dim=1)
        reach = int(self.shift * length)
        if reach > 0:
            shift = int(torch.randint(-reach, reach + 1, ()))
            x = torch.roll(x, shift, dims=2)
            if heartbeats is not None:
                shifted = (
                    torch.where(heartbeats < 0, 2 * length, (heartbeats + shift) % length).sort(dim=1).values
                )
                heartbeats = torch.where(shifted == 2 * length, -1, shifted)
        return x, heartbeats
