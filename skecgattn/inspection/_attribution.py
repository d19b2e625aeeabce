"""Rivals of the attention map: attributions of the class logit."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from numbers import Integral
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils._param_validation import Interval, StrOptions, validate_params
from torch import Tensor, nn

from .._reading import chunks
from ..classifier import AttentionECGClassifier
from ..nn import ConvolutionalClassifier, HuClassifier, JointNetwork
from ..training import threads
from ._input import classifier_in

BATCH = 32
"""ECGs attributed at a time."""

PATH_BATCH = 256
"""Points of integration paths computed at a time."""

Attribute = Callable[[Tensor, Tensor | None, Tensor], NDArray]
"""From channels (batch, n_channels, n_steps), R peaks and targets (batch,) to maps (batch, n_steps)."""

_COMMON: dict[str, Any] = {
    "estimator": "no_validation",
    "X": "no_validation",
    "target": "no_validation",
}


@validate_params({**_COMMON, "layer": [str, None]}, prefer_skip_nested_validation=True)
def grad_cam(estimator: Any, X: ArrayLike, target: Any = None, *, layer: str | None = None) -> NDArray:
    """Grad-CAM: where the classifier's last features speak for a class.

    The features of a layer of the classifier, each weighted by the mean gradient of the class's logit over
    time, summed, and cut off below zero [1]_. Where there is a segmenter, the classifier reads the modulated
    ECG; where it reads the whole ECG, too (`read_whole`), the map is the sum of both, each cut off by itself.
    Needs captum: ``pip install "skecgattn[inspection]"``.

    Parameters
    ----------
    estimator : AttentionECGClassifier, Pipeline or search
        Fitted, with or without segmenter. Of a pipeline the last step is explained, of a search the best
        estimator.

    X : array-like of shape (n_samples, n_leads, n_timesteps) or (n_samples, n_timesteps)
        ECGs in millivolts.

    target : label, default=None
        One of `classes_`. None is the predicted class of each ECG; for multilabel tasks its most probable
        label.

    layer : str, default=None
        Name of a layer as ``estimator.network_.classifier.named_modules()`` lists it, with features over
        time. None is the output of the last convolution, after its normalisation and ReLU: the submodule
        ``features`` where the classifier has one, otherwise its last convolution.

    Returns
    -------
    maps : ndarray of shape (n_samples, n_timesteps)
        In [0, 1], one value a sample of the ECG, as the last step of a pipeline gets it, scaled to a maximum
        of 1 an ECG; zero where nothing speaks for the class. Features lie at the centre of their
        receptive field, with linear interpolation between; those of a user's classifier are spread evenly
        over the ECG.

    Raises
    ------
    ImportError
        If captum is missing.
    TypeError
        If `estimator` neither is an `AttentionECGClassifier` nor ends in one.
    ValueError
        If there is no such class, or no such layer, or it has no features over time.

    References
    ----------
    .. [1] Selvaraju, Cogswell, Das, Vedantam, Parikh, Batra, "Grad-CAM: visual explanations from deep
       networks via gradient-based localization", ICCV 2017.

    Examples
    --------
    >>> from skecgattn import AttentionECGClassifier
    >>> from skecgattn.datasets import make_ecg
    >>> from skecgattn.inspection import grad_cam
    >>> X, y, groups, beats = make_ecg(40, sampling_rate=180, random_state=0)
    >>> clf = AttentionECGClassifier(180, segmenter=None, width=4, max_epochs=1, random_state=0).fit(X, y)
    >>> grad_cam(clf, X[:3]).shape
    (3, 1800)
    """
    return _attribute(estimator, X, target, lambda network: _grad_cam(network, layer), BATCH)


@validate_params({**_COMMON, "layer": [str, None]}, prefer_skip_nested_validation=True)
def guided_grad_cam(estimator: Any, X: ArrayLike, target: Any = None, *, layer: str | None = None) -> NDArray:
    """Guided Grad-CAM: Grad-CAM times guided backpropagation to the ECG.

    Guided backpropagation [2]_ passes only positive gradients through every ReLU, of the segmenter as well.
    Its absolute value, summed over channels, is multiplied by Grad-CAM [1]_.
    Needs captum: ``pip install "skecgattn[inspection]"``.

    Parameters
    ----------
    estimator : AttentionECGClassifier, Pipeline or search
        Fitted, with or without segmenter. Of a pipeline the last step is explained, of a search the best
        estimator.

    X : array-like of shape (n_samples, n_leads, n_timesteps) or (n_samples, n_timesteps)
        ECGs in millivolts.

    target : label, default=None
        One of `classes_`. None is the predicted class of each ECG; for multilabel tasks its most probable
        label.

    layer : str, default=None
        Layer of Grad-CAM, see :func:`grad_cam`.

    Returns
    -------
    maps : ndarray of shape (n_samples, n_timesteps)
        In [0, 1], one value a sample of the ECG, as the last step of a pipeline gets it, scaled to a maximum
        of 1 an ECG.

    Raises
    ------
    ImportError
        If captum is missing.
    TypeError
        If `estimator` neither is an `AttentionECGClassifier` nor ends in one.
    ValueError
        If there is no such class, or no such layer, or it has no features over time.

    Notes
    -----
    Only :class:`torch.nn.ReLU` modules are guided: in a user's network ``torch.relu`` is not, and leaky ReLU
    ("hu2021" segmenter) never is.

    References
    ----------
    .. [1] Selvaraju, Cogswell, Das, Vedantam, Parikh, Batra, "Grad-CAM: visual explanations from deep
       networks via gradient-based localization", ICCV 2017.
    .. [2] Springenberg, Dosovitskiy, Brox, Riedmiller, "Striving for simplicity: the all convolutional net",
       ICLR 2015 workshop.

    Examples
    --------
    >>> from skecgattn import AttentionECGClassifier
    >>> from skecgattn.datasets import make_ecg
    >>> from skecgattn.inspection import guided_grad_cam
    >>> X, y, groups, beats = make_ecg(40, sampling_rate=180, random_state=0)
    >>> clf = AttentionECGClassifier(180, segmenter=None, width=4, max_epochs=1, random_state=0).fit(X, y)
    >>> guided_grad_cam(clf, X[:3]).shape
    (3, 1800)
    """
    return _attribute(estimator, X, target, lambda network: _guided_grad_cam(network, layer), BATCH)


@validate_params(
    {
        **_COMMON,
        "n_steps": [Interval(Integral, 1, None, closed="left")],
        "baseline": [StrOptions({"zero", "mean"})],
    },
    prefer_skip_nested_validation=True,
)
def integrated_gradients(
    estimator: Any,
    X: ArrayLike,
    target: Any = None,
    *,
    n_steps: int = 32,
    baseline: str = "zero",
) -> NDArray:
    """Integrated gradients: what each sample adds to the class's logit on the way from a baseline.

    The gradient of the class's logit of the whole network with respect to the channels it reads, integrated
    along the straight line from the baseline (Gauss-Legendre), times the difference to the baseline [1]_.
    The map is the sum over channels of what is positive: evidence for the class.
    Needs captum: ``pip install "skecgattn[inspection]"``.

    Parameters
    ----------
    estimator : AttentionECGClassifier, Pipeline or search
        Fitted, with or without segmenter. Of a pipeline the last step is explained, of a search the best
        estimator.

    X : array-like of shape (n_samples, n_leads, n_timesteps) or (n_samples, n_timesteps)
        ECGs in millivolts.

    target : label, default=None
        One of `classes_`. None is the predicted class of each ECG; for multilabel tasks its most probable
        label.

    n_steps : int, default=32
        Points of the line.

    baseline : {"zero", "mean"}, default="zero"
        Where the line begins: all channels zero (with ``scale=True`` the level in the middle of each lead),
        or each channel at its mean over the ECG. The heartbeats stay as they were detected.

    Returns
    -------
    maps : ndarray of shape (n_samples, n_timesteps)
        In [0, 1], one value a sample of the ECG, as the last step of a pipeline gets it, scaled to a maximum
        of 1 an ECG.

    Raises
    ------
    ImportError
        If captum is missing.
    TypeError
        If `estimator` neither is an `AttentionECGClassifier` nor ends in one.
    ValueError
        If there is no such class.

    Notes
    -----
    Attributions, of both signs, add up to the difference of the logits as `n_steps` grows. Slowly with zero
    as the baseline: normalisation layers make a network read a faint ECG like a strong one, so that most
    changes close to zero.

    References
    ----------
    .. [1] Sundararajan, Taly, Yan, "Axiomatic attribution for deep networks", ICML 2017.

    Examples
    --------
    >>> from skecgattn import AttentionECGClassifier
    >>> from skecgattn.datasets import make_ecg
    >>> from skecgattn.inspection import integrated_gradients
    >>> X, y, groups, beats = make_ecg(40, sampling_rate=180, random_state=0)
    >>> clf = AttentionECGClassifier(180, segmenter=None, width=4, max_epochs=1, random_state=0).fit(X, y)
    >>> integrated_gradients(clf, X[:3], n_steps=8).shape
    (3, 1800)
    """
    return _attribute(
        estimator,
        X,
        target,
        lambda network: _integrated_gradients(network, n_steps, baseline),
        max(1, PATH_BATCH // n_steps),
    )


class _Logits(nn.Module):
    """The joint network as captum calls it."""

    def __init__(self, network: JointNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, heartbeats: Tensor | None = None) -> Tensor:
        return self.network(x, heartbeats).logits


def _captum() -> Any:
    try:
        return importlib.import_module("captum.attr")
    except ImportError as error:
        raise ImportError(
            'attributions need captum, which is not installed: pip install "skecgattn[inspection]"'
        ) from error


def _attribute(
    estimator: Any,
    X: ArrayLike,
    target: Any,
    prepare: Callable[[JointNetwork], Attribute],
    batch: int,
) -> NDArray:
    """Return the maps (n_samples, n_timesteps) that a method makes, in the ECG's time."""
    estimator, seen = classifier_in(estimator, X)
    ecgs = estimator._check_fitted_input(seen)
    index = None if target is None else _class_index(estimator, target)
    reader, network = estimator._reader(), estimator.network_
    attribute = prepare(network)
    parts = []
    for chunk in chunks(ecgs):
        channels = reader.channels(chunk)
        # brings the network to its device, in evaluation mode
        classes = reader.compute(channels)[0].argmax(axis=1)
        if index is not None:
            classes[:] = index
        like = next(network.parameters())
        for start in range(0, len(chunk), batch):
            rows = slice(start, start + batch)
            some = channels.rows(rows)
            x = torch.from_numpy(np.ascontiguousarray(some.values)).to(like).requires_grad_()
            beats = None if some.heartbeats is None else torch.from_numpy(some.heartbeats).to(like.device)
            goal = torch.from_numpy(classes[rows]).to(like.device)
            with threads(estimator.n_threads), torch.enable_grad():
                maps = attribute(x, beats, goal)
            parts.append(reader.front_end.to_ecg_length(maps[:, None], ecgs.shape[2])[:, 0])
    maps = np.concatenate(parts)
    top = maps.max(axis=1, keepdims=True)
    return maps / np.where(top > 0, top, 1)


def _class_index(estimator: AttentionECGClassifier, target: Any) -> int:
    labels = estimator.classes_.tolist()
    found = [k for k, label in enumerate(labels) if label == target]
    if not found:
        raise ValueError(f"target must be one of {labels} or None, got {target!r}.")
    return found[0]


def _grad_cam(network: JointNetwork, name: str | None) -> Attribute:
    layer = _find_layer(network.classifier, name)
    explainer = _captum().LayerGradCam(_Logits(network), layer)

    def attribute(x: Tensor, heartbeats: Tensor | None, target: Tensor) -> NDArray:
        cam = explainer.attribute(
            x, target=target, additional_forward_args=heartbeats, relu_attributions=True
        )
        if isinstance(cam, Tensor) and network.reads_twice and len(cam) == 2 * len(x):
            cam = cam.reshape(2, len(x), *cam.shape[1:]).sum(dim=0)  # of the modulated and of the whole ECG
        if not isinstance(cam, Tensor) or cam.ndim < 3 or cam.numel() != len(x) * cam.shape[-1]:
            raise ValueError(f"layer={name!r} must have features of shape (batch, features, time).")
        values = cam.detach().flatten(1).cpu().numpy()
        centres = _centres(network.classifier, layer, values.shape[1], x.shape[2])
        time = np.arange(x.shape[2])
        return np.stack([np.interp(time, centres, row) for row in values]).astype(values.dtype)

    return attribute


def _guided_grad_cam(network: JointNetwork, name: str | None) -> Attribute:
    cam = _grad_cam(network, name)
    explainer = _captum().GuidedBackprop(_Logits(network))

    def attribute(x: Tensor, heartbeats: Tensor | None, target: Tensor) -> NDArray:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Setting backward hooks on ReLU")
            guided = explainer.attribute(x, target=target, additional_forward_args=heartbeats)
        return cam(x, heartbeats, target) * guided.detach().abs().sum(dim=1).cpu().numpy()

    return attribute


def _integrated_gradients(network: JointNetwork, n_steps: int, baseline: str) -> Attribute:
    explainer = _captum().IntegratedGradients(_Logits(network))

    def attribute(x: Tensor, heartbeats: Tensor | None, target: Tensor) -> NDArray:
        origin = torch.zeros_like(x) if baseline == "zero" else x.mean(dim=2, keepdim=True).expand_as(x)
        attribution = explainer.attribute(
            x, origin.detach(), target=target, additional_forward_args=heartbeats, n_steps=n_steps
        )
        return attribution.detach().clamp(min=0).sum(dim=1).cpu().numpy()

    return attribute


def _find_layer(classifier: nn.Module, name: str | None) -> nn.Module:
    if name is not None:
        layers = dict(classifier.named_modules())
        if not name or name not in layers:
            known = ", ".join(filter(None, layers))
            raise ValueError(f"layer must be the name of a layer of the classifier ({known}), got {name!r}.")
        return layers[name]
    features = getattr(classifier, "features", None)
    if isinstance(features, nn.Module):
        return features
    convolutions = [m for m in classifier.modules() if isinstance(m, nn.Conv1d | nn.Conv2d)]
    if not convolutions:
        raise ValueError("the classifier has no convolution: name a layer with features over time.")
    return convolutions[-1]


def _centres(classifier: nn.Module, layer: nn.Module, n_features: int, n_steps: int) -> NDArray:
    """Return where in the channels' time the features of a layer have the centre of their receptive field."""
    if not isinstance(classifier, ConvolutionalClassifier | HuClassifier):
        return (np.arange(n_features) + 0.5) * (n_steps / n_features) - 0.5
    first, step = 0.0, 1
    last = list(layer.modules())[-1]
    for module in classifier.modules():
        if isinstance(module, nn.Conv2d):
            first += step * ((module.kernel_size[1] - 1) / 2 - int(module.padding[1]))
            step *= module.stride[1]
        if module is last:
            break
    return first + step * np.arange(n_features)
