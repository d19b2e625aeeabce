"""Training of the joint network by skorch: batches, loss, schedule, early stopping, devices and precision."""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from skorch import NeuralNet
from skorch.callbacks import Callback, EarlyStopping, GradientNormClipping, LRScheduler
from skorch.helper import predefined_split
from torch import Tensor
from torch.optim.lr_scheduler import OneCycleLR
from torch.utils.data import Dataset
from tqdm.auto import tqdm

from .exceptions import TrainingDivergedError
from .nn import Augmentation, JointNetwork, Objective, Task

PRECISIONS = ("auto", "float32", "bfloat16", "float64")
PREDICTION_BATCH = 128
SCHEDULES = ("one_cycle", "constant")


def choose_device(device: str | torch.device) -> torch.device:
    """Return the device meant: "auto" is CUDA where there is one, else the CPU.

    Raises
    ------
    ValueError
        If the device is unknown to torch or not there.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"device must be 'auto' or a device that torch knows, got {device!r}.") from error
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device={str(device)!r} is not available: torch finds no CUDA device here.")
    return chosen


def choose_precision(precision: str, device: torch.device) -> tuple[torch.dtype, bool]:
    """Return the type of weights and data, and whether products are computed in bfloat16."""
    if precision == "float64":
        return torch.float64, False
    if precision == "auto":
        return torch.float32, device.type == "cuda" and torch.cuda.is_bf16_supported()
    return torch.float32, precision == "bfloat16"


@contextlib.contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Run a block with torch seeded, deterministic, and its global state left as it was found."""
    used = []
    if device.type == "cuda":
        used.append(torch.cuda.current_device() if device.index is None else device.index)
    with (
        torch.random.fork_rng(devices=used),
        torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=True),
    ):
        torch.manual_seed(seed)
        yield


@dataclass(frozen=True)
class Samples:
    """ECG channels with their targets and weights.

    Parameters
    ----------
    channels : ndarray of shape (n_samples, n_channels, n_steps)
    target : ndarray of shape (n_samples, n_outputs)
        Target distributions, or indicators.
    weight : ndarray of shape (n_samples,)
    """

    channels: NDArray
    target: NDArray
    weight: NDArray

    def __getitem__(self, rows: NDArray) -> Samples:
        return Samples(self.channels[rows], self.target[rows], self.weight[rows])


@dataclass(frozen=True)
class Plan:
    """How to train: everything that is not the network or the data."""

    objective: Objective
    task: Task
    n_leads: int
    channels_per_lead: int
    max_epochs: int
    batch_size: int | None
    lr: float
    weight_decay: float
    schedule: str
    augmentation: Augmentation | None
    patience: int
    device: torch.device
    dtype: torch.dtype
    bfloat16: bool
    seed: int
    verbose: int
    callbacks: Sequence[Any] = field(default_factory=tuple)


class _Batches(Dataset):
    """Samples that are fetched a whole batch at a time."""

    def __init__(self, samples: Samples, dtype: torch.dtype) -> None:
        self.channels = torch.from_numpy(np.ascontiguousarray(samples.channels)).to(dtype)
        self.target = torch.from_numpy(samples.target).to(dtype)
        self.weight = torch.from_numpy(samples.weight).to(dtype)

    def __len__(self) -> int:
        return len(self.channels)

    def __getitems__(self, rows: list[int]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        index = torch.tensor(rows)
        return self.channels[index], (self.target[index], self.weight[index])


def _as_is(batch: Any) -> Any:
    return batch


class _WeightedLoss(torch.nn.Module):
    """Mean of the objective's losses by sample weight: skorch's criterion."""

    def forward(self, losses: Tensor, weight: Tensor) -> Tensor:
        return (losses * weight).sum() / weight.sum()


class _JointNet(NeuralNet):
    """skorch's training loop around an objective that reads the network, not just its output."""

    def __init__(self, *args: Any, plan: Plan, **kwargs: Any) -> None:
        self.plan = plan
        super().__init__(*args, **kwargs)

    def _loss(self, batch: Any, *, training: bool) -> Tensor:
        plan = self.plan
        x, (target, weight) = batch
        x, target, weight = (t.to(plan.device) for t in (x, target, weight))
        if training and plan.augmentation is not None:
            x = plan.augmentation(x, plan.n_leads, per_lead=plan.channels_per_lead)
        with torch.autocast(plan.device.type, torch.bfloat16, enabled=plan.bfloat16):
            losses = plan.objective(self.module_, x, target, plan.task)
        return self.criterion_(losses, weight)

    def train_step_single(self, batch: Any, **fit_params: Any) -> dict[str, Any]:
        """Compute the loss of a batch and its gradients."""
        self._set_training(True)
        loss = self._loss(batch, training=True)
        loss.backward()  # type: ignore[no-untyped-call]
        return {"loss": loss, "y_pred": None}

    def validation_step(self, batch: Any, **fit_params: Any) -> dict[str, Any]:
        """Compute the loss of a validation batch, with the same random draws in every epoch."""
        self._set_training(False)
        with torch.no_grad(), seeded(self.plan.seed, self.plan.device):
            loss = self._loss(batch, training=False)
        return {"loss": loss, "y_pred": None}


class _ProgressBar(Callback):
    """One bar over all batches, with the losses of the last epoch beside it."""

    def __init__(self, n_batches: int) -> None:
        self.n_batches = n_batches

    def on_train_begin(self, net: NeuralNet, **kwargs: Any) -> None:
        self.bar_ = tqdm(total=self.n_batches, desc="training", unit="batch", dynamic_ncols=True)

    def on_batch_end(self, net: NeuralNet, training: bool = False, **kwargs: Any) -> None:
        if training:
            self.bar_.update()

    def on_epoch_end(self, net: NeuralNet, **kwargs: Any) -> None:
        row = net.history[-1]
        shown = {name: f"{row[name]:.3g}" for name in ("train_loss", "valid_loss") if name in row}
        self.bar_.set_postfix({"epoch": row["epoch"], **shown})

    def on_train_end(self, net: NeuralNet, **kwargs: Any) -> None:
        self.bar_.close()


class _RestoreOnDivergence(Callback):
    """Stop where the loss is not finite any more, with the weights of the last good epoch."""

    def on_train_begin(self, net: NeuralNet, **kwargs: Any) -> None:
        self.weights_ = copy.deepcopy(net.module_.state_dict())

    def on_batch_end(self, net: NeuralNet, training: bool = False, **kwargs: Any) -> None:
        loss = net.history[-1, "batches", -1, "train_loss" if training else "valid_loss"]
        if math.isfinite(loss):
            return
        net.module_.load_state_dict(self.weights_)
        raise TrainingDivergedError(
            f"The loss became {loss} in epoch {net.history[-1]['epoch']}. The estimator has the weights "
            f"of the epoch before; try a lower lr than {net.plan.lr}, and look for extreme values in X."
        )

    def on_epoch_end(self, net: NeuralNet, **kwargs: Any) -> None:
        self.weights_ = copy.deepcopy(net.module_.state_dict())


@dataclass(frozen=True)
class Outcome:
    """What training leaves besides the weights.

    Parameters
    ----------
    history : list of dict
        One row an epoch: epoch, train_loss, valid_loss, duration in seconds.
    best_epoch : int
        Number, from 1, of the epoch whose weights the network has.
    optimizer_state : dict
        To continue from.
    interrupted : bool
        Whether the user stopped it.
    """

    history: list[dict[str, float]]
    best_epoch: int
    optimizer_state: dict[str, Any]
    interrupted: bool


def train(
    network: JointNetwork,
    plan: Plan,
    training: Samples,
    validation: Samples | None = None,
    *,
    optimizer_state: dict[str, Any] | None = None,
) -> Outcome:
    """Train a network in place.

    Parameters
    ----------
    network : JointNetwork
        Left in evaluation mode on the plan's device, with the weights of the best epoch where there is
        a validation set, else of the last.
    plan : Plan
    training, validation : Samples
    optimizer_state : dict, optional
        Continue with this state of the optimiser.

    Returns
    -------
    outcome : Outcome

    Raises
    ------
    TrainingDivergedError
        If the loss became NaN or infinite; the network has the last good weights.
    """
    n_samples = len(training.channels)
    batch_size = n_samples if plan.batch_size is None else min(plan.batch_size, n_samples)
    n_batches = math.ceil(n_samples / batch_size) * plan.max_epochs
    callbacks: list[tuple[str, Callback]] = [
        ("clipping", GradientNormClipping(5.0)),
        ("divergence", _RestoreOnDivergence()),
    ]
    stopping = EarlyStopping(patience=plan.patience, load_best=True, threshold=0, sink=_silent)
    if validation is not None:
        callbacks.append(("early_stopping", stopping))
    if plan.schedule == "one_cycle" and n_batches > 1:
        cycle = LRScheduler(
            OneCycleLR,
            step_every="batch",
            event_name=None,
            max_lr=plan.lr,
            total_steps=n_batches,
            pct_start=0.2,
        )
        callbacks.append(("schedule", cycle))
    if plan.verbose:
        callbacks.append(("progress_bar", _ProgressBar(n_batches)))
    network.to(device=plan.device, dtype=plan.dtype)
    net = _JointNet(
        network,
        criterion=_WeightedLoss,
        optimizer=torch.optim.AdamW,
        optimizer__weight_decay=plan.weight_decay,
        lr=plan.lr,
        max_epochs=plan.max_epochs,
        batch_size=batch_size,
        iterator_train__shuffle=True,
        iterator_train__collate_fn=_as_is,
        iterator_valid__collate_fn=_as_is,
        iterator_valid__batch_size=PREDICTION_BATCH,
        train_split=None if validation is None else predefined_split(_Batches(validation, plan.dtype)),
        callbacks=[*callbacks, *plan.callbacks],
        callbacks__print_log=None,
        verbose=0,
        device=plan.device,
        plan=plan,
    )
    try:
        with seeded(plan.seed, plan.device):
            net.initialize()
            if optimizer_state is not None:
                net.optimizer_.load_state_dict(optimizer_state)
            net.partial_fit(_Batches(training, plan.dtype))
    finally:
        network.eval()
    history = [_summary(row) for row in net.history if "train_loss" in row]
    epochs = len(history)
    stopped_early = validation is not None and stopping.misses_ == plan.patience
    best = int(np.argmin([row["valid_loss"] for row in history])) + 1 if validation and epochs else epochs
    return Outcome(history, best, net.optimizer_.state_dict(), epochs < plan.max_epochs and not stopped_early)


def _summary(row: dict[str, Any]) -> dict[str, float]:
    """Return the numbers of an epoch of skorch's history that stand for the whole epoch."""
    names = {"epoch": "epoch", "train_loss": "train_loss", "valid_loss": "valid_loss", "dur": "duration"}
    return {new: row[old] for old, new in names.items() if old in row}


def _silent(text: str) -> None:
    """Take what skorch would print."""


@torch.no_grad()
def compute(
    network: JointNetwork, channels: NDArray, *, device: torch.device, dtype: torch.dtype, bfloat16: bool
) -> tuple[NDArray, NDArray | None]:
    """Return logits (n_samples, n_outputs) and maps (n_samples, n_maps, n_steps) of ECG channels."""
    logits, maps = [], []
    network.eval()
    for start in range(0, len(channels), PREDICTION_BATCH):
        x = torch.from_numpy(np.ascontiguousarray(channels[start : start + PREDICTION_BATCH]))
        with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
            output = network(x.to(device=device, dtype=dtype))
        kept = torch.float64 if dtype == torch.float64 else torch.float32
        logits.append(output.logits.to("cpu", kept).numpy())
        if output.maps is not None:
            maps.append(output.maps.to("cpu", kept).numpy())
    return np.concatenate(logits), np.concatenate(maps) if maps else None
