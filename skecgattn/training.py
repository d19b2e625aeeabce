"""Training of the joint network by skorch: batches, loss, schedule, early stopping, devices and precision."""

from __future__ import annotations

import contextlib
import copy
import math
import threading
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
from torch.nn import functional
from torch.optim.lr_scheduler import OneCycleLR
from torch.utils.data import Dataset
from tqdm.auto import tqdm

from ._frontend import Channels
from ._warn import warn_user
from .nn import Augmentation, JointNetwork, Objective, Task

PRECISIONS = ("auto", "float32", "bfloat16", "float64")
PREDICTION_BATCH = 128
PROBED = 16  # ECGs that tell after every epoch whether the network still predicts numbers
MIN_CYCLE = 4  # batches; fewer cannot rise and fall
SCHEDULES = ("one_cycle", "constant")


def choose_device(device: str | torch.device, *, fall_back: bool = False) -> torch.device:
    """Return the device meant: "auto" is CUDA where there is one, else the CPU.

    With `fall_back`, a device that is not there is replaced by the CPU, with a warning.

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
    try:
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError) as error:  # torch raises both
        if fall_back:
            warn_user(
                f"device={str(device)!r} is not available here: the CPU predicts instead. set_params("
                "device='auto') takes what there is, without this warning.",
            )
            return torch.device("cpu")
        raise ValueError(
            f"device={str(device)!r} is not available: torch cannot use it here. 'auto' takes what there is."
        ) from error
    return chosen


def choose_precision(precision: str, device: torch.device) -> tuple[torch.dtype, bool]:
    """Return the type of weights and data, and whether products are computed in bfloat16."""
    if precision == "float64":
        return torch.float64, False
    if precision == "auto":
        return torch.float32, device.type == "cuda" and torch.cuda.is_bf16_supported()
    return torch.float32, precision == "bfloat16"


def numpy_dtype(precision: str) -> type:
    """Return the type of the channels that networks of this precision read."""
    return np.float64 if precision == "float64" else np.float32


def on_cpu(value: Any) -> Any:
    """Return a copy of a module, or of a nest of tensors, on the CPU; the value itself where it is there."""
    if isinstance(value, torch.nn.Module):
        there = all(p.device.type == "cpu" for p in value.parameters())
        return value if there else copy.deepcopy(value).cpu()
    if isinstance(value, torch.Tensor):
        return value.cpu()
    if isinstance(value, dict):
        return {key: on_cpu(item) for key, item in value.items()}
    return value


_torch_state = threading.RLock()
"""Held by who has seeded torch, whose generator is one for all threads."""


@contextlib.contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Run a block with torch seeded, deterministic, and its global state left as it was found.

    Threads take turns: otherwise they would draw from each other's random numbers.
    """
    used = []
    if device.type == "cuda":
        used.append(torch.cuda.current_device() if device.index is None else device.index)
    with (
        _torch_state,
        torch.random.fork_rng(devices=used),
        torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=True),
    ):
        torch.manual_seed(seed)
        yield


@contextlib.contextmanager
def threads(n_threads: int | None) -> Iterator[None]:
    """Run a block with a number of torch's CPU threads, None for those set already."""
    before = torch.get_num_threads()
    if n_threads is not None:
        torch.set_num_threads(n_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True)
class Samples:
    """ECG channels with their targets and weights.

    Parameters
    ----------
    channels : Channels
    target : ndarray of shape (n_samples, n_outputs)
        Target distributions, or indicators.
    weight : ndarray of shape (n_samples,)
    noisy : Channels, optional
        Of the same ECGs with artefacts.
    """

    channels: Channels
    target: NDArray
    weight: NDArray
    noisy: Channels | None = None

    def __getitem__(self, rows: NDArray) -> Samples:
        noisy = None if self.noisy is None else self.noisy.rows(rows)
        return Samples(self.channels.rows(rows), self.target[rows], self.weight[rows], noisy)


@dataclass(frozen=True)
class Plan:
    """How to train: everything that is not the network or the data."""

    objective: Objective
    task: Task
    n_leads: int
    channels_per_lead: int
    max_epochs: int
    batch_size: int
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

    @property
    def artefacts(self) -> float:
        """Share of ECGs that are read with artefacts."""
        return 0.0 if self.augmentation is None else self.augmentation.artefacts


class _Batches(Dataset):
    """Samples that are fetched a whole batch at a time, in training a share of them with artefacts."""

    def __init__(self, samples: Samples, dtype: torch.dtype, artefacts: float = 0.0) -> None:
        self.channels, self.heartbeats = _tensors(samples.channels, dtype)
        self.target = torch.from_numpy(samples.target).to(dtype)
        self.weight = torch.from_numpy(samples.weight).to(dtype)
        self.noisy = None if samples.noisy is None or not artefacts else _tensors(samples.noisy, dtype)
        self.artefacts = artefacts

    def __len__(self) -> int:
        return len(self.channels)

    def __getitems__(self, rows: list[int]) -> tuple[Tensor, tuple[Tensor | None, Tensor, Tensor]]:
        index = torch.tensor(rows)
        x = self.channels[index]
        beats = None if self.heartbeats is None else self.heartbeats[index]
        if self.noisy is not None:
            drawn = torch.rand(len(index)) < self.artefacts
            x[drawn] = self.noisy[0][index[drawn]]
            if beats is not None and self.noisy[1] is not None:
                beats, others = _as_wide(beats, self.noisy[1][index])
                beats[drawn] = others[drawn]
        return x, (beats, self.target[index], self.weight[index])


def _tensors(channels: Channels, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
    """Return the values and the heartbeats of channels as tensors."""
    beats = None if channels.heartbeats is None else torch.from_numpy(channels.heartbeats)
    return torch.from_numpy(np.ascontiguousarray(channels.values)).to(dtype), beats


def _as_wide(*heartbeats: Tensor) -> list[Tensor]:
    """Return heartbeats (n_samples, n) of different n with the largest, filled up with -1."""
    width = max(beats.shape[1] for beats in heartbeats)
    return [functional.pad(beats, (0, width - beats.shape[1]), value=-1) for beats in heartbeats]


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
        x, (beats, target, weight) = batch
        x, target, weight = (t.to(plan.device) for t in (x, target, weight))
        beats = None if beats is None else beats.to(plan.device)
        if training and plan.augmentation is not None:
            x, beats = plan.augmentation(x, beats, plan.n_leads, per_lead=plan.channels_per_lead)
        with torch.autocast(plan.device.type, torch.bfloat16, enabled=plan.bfloat16):
            losses = plan.objective(self.module_, x, beats, target, plan.task)
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
    """Stop where loss, weights or outputs are not finite any more, with the last good epoch's weights."""

    def __init__(self, plan: Plan, probe: Channels) -> None:
        self.plan = plan
        self.probe = probe

    def on_train_begin(self, net: NeuralNet, **kwargs: Any) -> None:
        self.weights_ = copy.deepcopy(net.module_.state_dict())
        self.epoch_: int | None = None

    def on_batch_end(self, net: NeuralNet, training: bool = False, **kwargs: Any) -> None:
        loss = net.history[-1, "batches", -1, "train_loss" if training else "valid_loss"]
        if not math.isfinite(loss):
            self._stop(net, f"loss became {loss}")

    def on_epoch_end(self, net: NeuralNet, **kwargs: Any) -> None:
        # the last batch's step is not followed by a loss that would show it
        if not all(bool(weight.isfinite().all()) for weight in net.module_.parameters()):
            self._stop(net, "weights became NaN or infinite")
        # nor do weights that are finite, but too large to compute with
        of_plan = {name: getattr(self.plan, name) for name in ("device", "dtype", "bfloat16")}
        if not np.isfinite(compute(net.module_, self.probe, **of_plan)[0]).all():
            self._stop(net, "outputs of the network became NaN or infinite")
        self.weights_ = copy.deepcopy(net.module_.state_dict())

    def _stop(self, net: NeuralNet, what: str) -> None:
        self.epoch_, self.what_ = net.history[-1]["epoch"], what
        net.module_.load_state_dict(self.weights_)
        raise KeyboardInterrupt  # how skorch is told to stop in an orderly manner


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
    diverged : str or None
        What became NaN or infinite, and in which epoch.
    """

    history: list[dict[str, float]]
    best_epoch: int
    optimizer_state: dict[str, Any]
    interrupted: bool
    diverged: str | None


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
    """
    n_samples = len(training.weight)
    n_batches = math.ceil(n_samples / plan.batch_size) * plan.max_epochs
    callbacks: list[Any] = [
        ("clipping", GradientNormClipping(5.0)),
        ("divergence", divergence := _RestoreOnDivergence(plan, training.channels.rows(slice(PROBED)))),
    ]
    stopping = EarlyStopping(patience=plan.patience, load_best=True, threshold=0, sink=_silent)
    # a segmenter may learn faster than the classifier
    factor = getattr(network.segmenter, "lr_factor", 1.0)
    groups = [] if factor == 1 else [("segmenter.*", {"lr": factor * plan.lr})]
    if plan.schedule == "one_cycle" and n_batches >= MIN_CYCLE:
        cycle = LRScheduler(
            OneCycleLR,
            step_every="batch",
            event_name=None,
            max_lr=[*(group["lr"] for _, group in groups), plan.lr],
            total_steps=n_batches,
            pct_start=max(0.2, 2 / n_batches),  # the rise takes two steps at least
        )
        callbacks.append(("schedule", cycle))
    if plan.verbose:
        callbacks.append(("progress_bar", _ProgressBar(n_batches)))
    callbacks += plan.callbacks
    if validation is not None:
        # last, so that the others see the last epoch
        callbacks.append(("early_stopping", stopping))
    network.to(device=plan.device, dtype=plan.dtype)
    net = _JointNet(
        network,
        criterion=_WeightedLoss,
        optimizer=torch.optim.AdamW,
        optimizer__weight_decay=plan.weight_decay,
        optimizer__param_groups=groups,
        lr=plan.lr,
        max_epochs=plan.max_epochs,
        batch_size=plan.batch_size,
        iterator_train__shuffle=True,
        iterator_train__collate_fn=_as_is,
        iterator_valid__collate_fn=_as_is,
        iterator_valid__batch_size=PREDICTION_BATCH,
        train_split=None if validation is None else predefined_split(_Batches(validation, plan.dtype)),
        callbacks=callbacks,
        callbacks__print_log=None,
        verbose=0,
        device=plan.device,
        plan=plan,
    )
    try:
        with seeded(plan.seed, plan.device):
            net.initialize()
            if optimizer_state is not None:
                # the moments only: the learning rate may be the end of a cycle
                settings = net.optimizer_.state_dict()["param_groups"]
                net.optimizer_.load_state_dict({**optimizer_state, "param_groups": settings})
            net.partial_fit(_Batches(training, plan.dtype, plan.artefacts))
    finally:
        network.eval()
    # the epoch that was broken off does not count
    last = "train_loss" if validation is None else "valid_loss"
    history = [_summary(row) for row in net.history if last in row and row["epoch"] != divergence.epoch_]
    epochs = len(history)
    stopped_early = validation is not None and stopping.misses_ == plan.patience
    # a callback may have stopped the first epoch at its end, before early stopping saw it
    best = epochs if validation is None else stopping.best_epoch_ or epochs
    diverged = None if divergence.epoch_ is None else f"{divergence.what_} in epoch {divergence.epoch_}"
    return Outcome(
        history, best, net.optimizer_.state_dict(), epochs < plan.max_epochs and not stopped_early, diverged
    )


def _summary(row: dict[str, Any]) -> dict[str, float]:
    """Return the numbers of an epoch of skorch's history that stand for the whole epoch."""
    names = {"epoch": "epoch", "train_loss": "train_loss", "valid_loss": "valid_loss", "dur": "duration"}
    return {new: row[old] for old, new in names.items() if old in row}


def _silent(text: str) -> None:
    """Take what skorch would print."""


@torch.no_grad()
def compute(
    network: JointNetwork, channels: Channels, *, device: torch.device, dtype: torch.dtype, bfloat16: bool
) -> tuple[NDArray, NDArray | None]:
    """Return logits (n_samples, n_outputs) and maps (n_samples, n_maps, n_steps) of ECG channels."""
    logits, maps = [], []
    network.eval()
    for start in range(0, len(channels.values), PREDICTION_BATCH):
        part = channels.rows(slice(start, start + PREDICTION_BATCH))
        x = torch.from_numpy(np.ascontiguousarray(part.values)).to(device=device, dtype=dtype)
        beats = None if part.heartbeats is None else torch.from_numpy(part.heartbeats).to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
            output = network(x, beats)
        kept = torch.float64 if dtype == torch.float64 else torch.float32
        logits.append(output.logits.to("cpu", kept).numpy())
        if output.maps is not None:
            maps.append(output.maps.to("cpu", kept).numpy())
    return np.concatenate(logits), np.concatenate(maps) if maps else None
