"""What the estimator's parameters make: the front end, the untrained network, and the plan of training.

Each function reads parameters and learned attributes of the estimator, and sets none.
"""

from __future__ import annotations

from dataclasses import fields
from functools import partial
from numbers import Real
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ._budget import choose_batch_size, choose_epochs
from ._frontend import Channels, FrontEnd
from .nn import CLASSIFIERS, OBJECTIVES, SEGMENTERS, Augmentation, BeatSegmenter, JointNetwork
from .training import Plan, Samples, choose_device, choose_precision

BEAT_BEFORE, BEAT_AFTER = 0.3, 0.45
"""Seconds around the R peak that the "beat" segmenter reads."""

BEAT_EDGE = 0.015
"""Seconds at either end of an ECG in which the "beat" segmenter judges no R peak."""


def make_front_end(estimator: Any) -> FrontEnd:
    """Return what makes the channels that the networks read.

    Raises
    ------
    ValueError
        If `band` is no pair of frequencies, or there are wave channels that nothing reads.
    """
    band = estimator.band
    if band is not None and (len(band) != 2 or not all(f is None or _is_positive(f) for f in band)):
        raise ValueError(
            f"band must be None or two frequencies (low, high), each above 0 Hz or None, got {band!r}."
        )
    if estimator.waves != "auto" and estimator.waves:
        for name in ("segmenter", "sampling_rate"):
            if getattr(estimator, name) is None:
                raise ValueError(f"waves=True needs a segmenter and a sampling rate, got {name}=None.")
    reads_beats = _reads_beats(estimator.segmenter)
    return FrontEnd(
        estimator.sampling_rate,
        estimator.resample_to,
        None if band is None else (band[0], band[1]),
        estimator.scale,
        (reads_beats or estimator.segmenter is None) if estimator.rhythm == "auto" else estimator.rhythm,
        estimator.contrast,
        reads_beats if estimator.waves == "auto" else estimator.waves,
    )


def _is_positive(frequency: Any) -> bool:
    return isinstance(frequency, Real) and not isinstance(frequency, bool) and float(frequency) > 0


def _reads_beats(segmenter: Any) -> bool:
    """Tell whether the rhythm and the waves help: not where every sample is judged.

    The pause after a premature beat tells as much as the early beat itself, and marking it is enough.
    """
    made = _inside(segmenter)
    return made in ("auto", "beat") or getattr(made, "reads_beats", False)


def _inside(network: Any) -> Any:
    """Return what a partial calls; anything else as it is."""
    return network.func if isinstance(network, partial) else network


def _is_beat_segmenter(segmenter: Any) -> bool:
    """Tell whether it is the "beat" segmenter's class, one derived from it, or a partial of either."""
    made = _inside(segmenter)
    return isinstance(made, type) and issubclass(made, BeatSegmenter)


def check_same_front_end(front_end: FrontEnd, trained: FrontEnd, *, other_rate: bool) -> None:
    """Refuse to go on with networks that would read other channels than they were trained with.

    With `other_rate` ECGs may have another sampling rate, if they are resampled to the same one.

    Raises
    ------
    ValueError
        If a parameter was set; the message names it.
    """
    names = [field.name for field in fields(FrontEnd)]
    if other_rate and front_end.rate == trained.rate:
        names = [name for name in names if name not in ("sampling_rate", "resample_to")]
    changed = [name for name in names if getattr(front_end, name) != getattr(trained, name)]
    if changed:
        values = "; ".join(
            f"{name} was {getattr(trained, name)!r} in the last fit, got {getattr(front_end, name)!r}"
            for name in changed
        )
        raise ValueError(f"training cannot go on: {values}, which needs a fit with warm_start=False.")


def minimum_length(estimator: Any, front_end: FrontEnd) -> int:
    """Return the shortest ECG in samples that the networks can use."""
    parts = [SEGMENTERS.get(estimator.segmenter), CLASSIFIERS.get(estimator.classifier)]
    steps = max(getattr(part, "minimum_length", 1) for part in parts)
    rate = front_end.rate
    if rate is None or front_end.sampling_rate is None:
        return int(steps)
    # a heartbeat cannot be told from another in less than a second
    return int(np.ceil(max(steps / rate, 1.0) * front_end.sampling_rate))


def build_network(estimator: Any) -> JointNetwork:
    """Return an untrained network for the leads, channels and labels that the estimator has learned of.

    Raises
    ------
    TypeError
        If a callable returns no module.
    ValueError
        If the segmenter needs heartbeats, and there are none.
    """
    front_end, labels, n_channels = estimator._front_end, estimator._labels, estimator._n_channels
    classifier, n_read = estimator.classifier, n_channels - front_end.n_waves
    if isinstance(classifier, str):
        options: dict[str, Any] = {
            "convolutional": {"width": estimator.width, "dropout": estimator.dropout},
            "hu2021": {"rectify": not labels.multilabel},
        }[classifier]
        classifier = CLASSIFIERS[classifier](n_channels=n_read, n_outputs=labels.n_outputs, **options)
    else:
        classifier = classifier(n_channels=n_read, n_outputs=labels.n_outputs)
    _check_module("classifier", classifier)
    segmenter, n_maps = estimator.segmenter, len(labels.marked)
    if segmenter is None:
        return JointNetwork(None, classifier, n_read=n_read)
    if segmenter == "hu2021":
        segmenter = SEGMENTERS[segmenter](n_channels=n_channels, n_maps=1)
    elif segmenter == "unet" or (segmenter == "auto" and front_end.rate is None):
        segmenter = SEGMENTERS["unet"](n_channels=n_channels, n_maps=n_maps, width=estimator.width)
    elif isinstance(segmenter, str) or _is_beat_segmenter(segmenter):
        if front_end.rate is None:
            raise ValueError("segmenter='beat' needs sampling_rate to find heartbeats, got None.")
        settings = {
            "first_channel": estimator.n_leads_in_ if front_end.contrast else 0,
            "n_per_beat": front_end.n_per_beat,
            "odds": front_end.odds,
            "before": round(BEAT_BEFORE * front_end.rate),
            "after": round(BEAT_AFTER * front_end.rate),
            "edge": round(BEAT_EDGE * front_end.rate),
            "width": 3 * estimator.width // 2,
            **getattr(segmenter, "keywords", {}),  # of a partial
        }
        make = SEGMENTERS["beat"] if isinstance(segmenter, str) else segmenter
        segmenter = make(n_channels=n_channels, n_maps=n_maps, **settings)
    else:
        segmenter = segmenter(n_channels=n_channels, n_maps=n_maps)
    _check_module("segmenter", segmenter)
    return JointNetwork(
        segmenter,
        classifier,
        read_whole=estimator.read_whole,
        read_beats=labels.marked if estimator.read_beats else (),
        n_read=n_read,
    )


def build_for(estimator: Any, channels: Channels) -> JointNetwork:
    """Return an untrained network for such channels; what a callable has made is tried out first.

    Raises
    ------
    TypeError
        If a callable returns no module.
    ValueError
        If the outputs of a module have the wrong shape, or it needs heartbeats, and there are none.
    """
    network = build_network(estimator)
    if not (callable(estimator.segmenter) or callable(estimator.classifier)):
        return network
    labels = estimator._labels
    few = torch.from_numpy(channels.values[:2]).to(torch.float32)
    network.eval()
    with torch.no_grad():
        if network.segmenter is not None:
            inputs, length = [few], few.shape[2]
            if getattr(network.segmenter, "reads_beats", False):
                if channels.heartbeats is None:
                    raise ValueError("this segmenter needs sampling_rate to find heartbeats, got None.")
                inputs.append(torch.from_numpy(channels.heartbeats[:2]))
                length = channels.heartbeats.shape[1]
            allowed: set[tuple[int, ...]] = {(len(few), n_maps, length) for n_maps in (1, len(labels.marked))}
            _check_output("segmenter", network.segmenter(*inputs), allowed)
        _check_output("classifier", network.classifier(network.readable(few)), {(len(few), labels.n_outputs)})
    return network


def check_same_network(estimator: Any, network: JointNetwork) -> None:
    """Refuse to go on with, or to save, a network that the estimator's parameters do not make any more.

    Raises
    ------
    ValueError
        If layers, or what the classifier reads, are others.
    """
    if callable(estimator.segmenter) or callable(estimator.classifier):
        return  # what another call would make may differ by itself
    wanted = build_network(estimator)
    if any(_layout(one) != _layout(two) for one, two in zip(_parts(wanted), _parts(network), strict=True)):
        raise ValueError(
            "segmenter, classifier, width, dropout, read_whole, read_beats or another parameter of the "
            "network was set after fit: training cannot go on, nor the model be saved; it needs a fit with "
            "warm_start=False."
        )


def _parts(network: JointNetwork) -> tuple[Any, ...]:
    return network.segmenter, network.classifier, network.read_whole, network.read_beats


def _layout(part: Any) -> tuple[str, list[tuple[str, torch.Size]]]:
    """Return what tells one untrained part of a network from another."""
    shapes = part.state_dict() if isinstance(part, torch.nn.Module) else {}
    return repr(part), [(name, value.shape) for name, value in shapes.items()]


def make_plan(estimator: Any, samples: Samples, training: NDArray[np.intp], seed: int) -> Plan:
    """Return how to train on these of the samples.

    Raises
    ------
    ValueError
        If `device` is not available, or `class_weight` does not go with the labels.
    """
    device = choose_device(estimator.device)
    dtype, bfloat16 = choose_precision(estimator.precision, device)
    objective, augmentation = estimator.objective, estimator.augmentation
    if not isinstance(augmentation, Augmentation):
        augmentation = Augmentation() if augmentation else None
    if augmentation is not None:
        augmentation._check()
    objective = OBJECTIVES[objective]() if isinstance(objective, str) else objective
    objective._check()
    task = estimator._labels.task(samples.target[training], samples.weight[training], estimator.class_weight)
    n_timesteps = samples.channels.values.shape[2]
    return Plan(
        objective=objective,
        task=task,
        n_leads=estimator.n_leads_in_,
        channels_per_lead=estimator._front_end.channels_per_lead,
        max_epochs=choose_epochs(
            estimator.max_epochs, len(training), n_timesteps, has_nothing=task.has_nothing
        ),
        batch_size=choose_batch_size(estimator.batch_size, len(training)),
        lr=estimator.lr,
        weight_decay=estimator.weight_decay,
        schedule=estimator.lr_schedule,
        augmentation=augmentation,
        patience=estimator.patience,
        device=device,
        dtype=dtype,
        bfloat16=bfloat16,
        seed=seed,
        verbose=int(estimator.verbose),
        callbacks=tuple(estimator.callbacks or ()),
    )


def _check_module(name: str, module: Any) -> None:
    if not isinstance(module, torch.nn.Module):
        raise TypeError(f"{name} must return a torch.nn.Module when called, got {type(module).__name__}.")


def _check_output(name: str, output: Any, allowed: set[tuple[int, ...]]) -> None:
    got = f"shape {tuple(output.shape)}" if isinstance(output, torch.Tensor) else type(output).__name__
    if got not in {f"shape {shape}" for shape in allowed}:
        expected = " or ".join(map(str, sorted(allowed)))
        raise ValueError(f"the module of {name} must return a tensor of shape {expected}, got {got}.")
