"""Fitted models on disk, in one file that cannot run code when it is loaded."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
import os
import platform
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import sklearn
import torch
from safetensors import SafetensorError
from safetensors import torch as safetensors
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from ._build import build_network, check_same_network, make_front_end
from ._files import write_bytes
from ._labels import Labels
from ._plain_data import Decoder, Encoder, Route
from .classifier import AttentionECGClassifier
from .exceptions import ModelFileError
from .nn import JointNetwork

FORMAT_VERSION = 1
KEY = "skecgattn"
"""Name of the description among the metadata of the safetensors file."""

WEIGHTS = "network."
"""What the names of the network's tensors begin with."""

Model: TypeAlias = AttentionECGClassifier | Pipeline


def save(model: Model, path: str | os.PathLike[str]) -> None:
    """Save a fitted model in one file that cannot run code when it is loaded.

    The file is in the safetensors format [1]_: weights as tensors, all else (parameters, classes, thresholds,
    history, the other steps of a pipeline, versions) as JSON in its header, with a checksum. It is written
    beside `path` and then moved there, so that a failure leaves an earlier file as it was.

    Parameters
    ----------
    model : AttentionECGClassifier or Pipeline
        Fitted. The other steps of a pipeline may be any estimators of scikit-learn or this library that hold
        plain data and arrays.
    path : str or path-like
        Where to; ``".skecg"`` is the usual suffix.

    Raises
    ------
    TypeError
        If `model` is neither an `AttentionECGClassifier` nor a pipeline that ends in one.
    NotFittedError
        If `model` is not fitted.
    ModelFileError
        If a parameter holds code (a callable segmenter, a callback, a class of one's own): the message
        names it. Pickle and joblib save such models. Also if a parameter of the network was set after `fit`.
    OSError
        If the file cannot be written.

    See Also
    --------
    load : Load the model.

    References
    ----------
    .. [1] https://huggingface.co/docs/safetensors

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import skecgattn
    >>> from skecgattn.datasets import make_ecg
    >>> X, y, groups, beats = make_ecg(40, sampling_rate=180, random_state=0)
    >>> clf = skecgattn.AttentionECGClassifier(sampling_rate=180, max_epochs=1, random_state=0).fit(X, y)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     skecgattn.save(clf, Path(folder) / "model.skecg")
    ...     loaded = skecgattn.load(Path(folder) / "model.skecg")
    >>> bool((loaded.predict_proba(X) == clf.predict_proba(X)).all())
    True
    """
    write_bytes(Path(path), pack(model)[0])


def load(path: str | os.PathLike[str]) -> Model:
    """Load a model that :func:`save` has saved.

    Nothing in the file is run: the model is made anew by this library from the parameters in the file, and
    its weights are copied. The network is on the CPU until `predict_proba` and the like move it to `device`.

    Parameters
    ----------
    path : str or path-like
        The file.

    Returns
    -------
    model : AttentionECGClassifier or Pipeline
        Fitted; it predicts what the saved one did.

    Raises
    ------
    ModelFileError
        If the file is damaged, truncated, no model file, or of a newer format.
    OSError
        If the file cannot be read.

    Warns
    -----
    InconsistentVersionWarning
        If a step of scikit-learn's was fitted with another version of it.

    See Also
    --------
    save : Save a model.

    Examples
    --------
    >>> import skecgattn
    >>> clf = skecgattn.load("model.skecg")  # doctest: +SKIP
    """
    return unpack(Path(path).read_bytes(), repr(os.fspath(path)))


def unpack(data: bytes, name: str) -> Model:
    """Return the model in the content of a model file, called `name` in messages."""
    description, tensors, _ = _read(data, name)
    try:
        decoder = Decoder(tensors, description["versions"]["scikit-learn"])
        model = decoder.decode(description["model"])
        classifier = classifier_of(model)
        classifier._validate_params()
        classifier._labels = Labels(classifier.classes_, **description["labels"])
        # as they were in fit; older files go by the present ones, and know no waves
        fitted = decoder.decode(description.get("front_end", {}))
        if "waves" not in fitted:
            classifier.set_params(waves=False)
        trained = copy.copy(classifier).set_params(**fitted)
        trained._validate_params()
        classifier._front_end = make_front_end(trained)
        weights = {k.removeprefix(WEIGHTS): t for k, t in tensors.items() if k.startswith(WEIGHTS)}
        classifier.network_ = _network(classifier, weights)
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise ModelFileError(f"{name} cannot be loaded: {_one_line(error)}.") from error
    return model


def info(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Describe a model file without making the model.

    Parameters
    ----------
    path : str or path-like
        A file that :func:`save` has saved.

    Returns
    -------
    description : dict
        Plain data that JSON can hold: ``kind``, ``steps`` (class names), ``sampling_rate`` (Hz),
        ``lead_names``, ``n_leads``, ``classes``, ``normal_class``, ``map_labels``, ``thresholds``,
        ``n_weights``, ``n_epochs``, ``best_epoch``, ``history``, ``parameters``, ``versions``,
        ``format_version``, ``fingerprint`` (SHA-256 of what the file says) and ``n_bytes``.

    Raises
    ------
    ModelFileError
        If the file is damaged, truncated, no model file, or of a newer format.
    OSError
        If the file cannot be read.

    Examples
    --------
    >>> from skecgattn._model_file import info
    >>> info("model.skecg")["sampling_rate"]  # doctest: +SKIP
    360.0
    """
    data = Path(path).read_bytes()
    description, _, digest = _read(data, repr(os.fspath(path)))
    kept = {key: description[key] for key in ("versions", "format_version")}
    return {**description["summary"], **kept, "fingerprint": digest, "n_bytes": len(data)}


def pack(model: Model) -> tuple[bytes, str]:
    """Return the content of a model file and its fingerprint, the SHA-256 sum of what it says."""
    classifier = classifier_of(model)
    check_is_fitted(classifier, "network_")
    labels = classifier._labels
    encoder = Encoder(
        left_out={(id(classifier), "network_"), (id(classifier), "_labels"), (id(classifier), "_front_end")}
    )
    description = {
        "format_version": FORMAT_VERSION,
        "versions": _versions(),
        "summary": _summary(model, classifier),
        "model": encoder.encode(model, Route("model")),
        "labels": {"multilabel": labels.multilabel, "normal": labels.normal},
        "front_end": encoder.encode(dataclasses.asdict(classifier._front_end), Route("model")),
    }
    try:
        with torch.device("meta"):
            check_same_network(classifier, classifier.network_)
    except ValueError as error:
        raise ModelFileError(str(error)) from error
    weights = classifier.network_.state_dict()
    tensors = encoder.tensors | {f"{WEIGHTS}{k}": t.detach().cpu().contiguous() for k, t in weights.items()}
    digest = _digest(description, tensors)
    text = json.dumps({"sha256": digest, **description}, allow_nan=False)
    return safetensors.save(tensors, {KEY: text}), digest


def classifier_of(model: Any) -> AttentionECGClassifier:
    last = model.steps[-1][1] if isinstance(model, Pipeline) else model
    if isinstance(last, AttentionECGClassifier):
        return last
    best = " Give its best_estimator_." if hasattr(model, "best_estimator_") else ""
    raise TypeError(
        "model must be an AttentionECGClassifier or a Pipeline that ends in one, got "
        f"{type(model).__name__}{f' that ends in {type(last).__name__}' if last is not model else ''}.{best}"
    )


def _versions() -> dict[str, str]:
    from . import __version__

    return {
        "skecgattn": __version__,
        "torch": str(torch.__version__),
        "scikit-learn": sklearn.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


def _summary(model: Model, classifier: AttentionECGClassifier) -> dict[str, Any]:
    """Return what a reader wants to know of a model, as plain data."""
    steps = [step for _, step in model.steps] if isinstance(model, Pipeline) else [model]
    # that of the classifier as it was trained, whatever was set since
    rates = [getattr(getattr(step, "_front_end", step), "sampling_rate", None) for step in steps]
    classes = classifier.classes_.tolist()
    normal = classifier._labels.normal
    params = classifier.get_params(deep=False)
    summary = {
        "kind": type(model).__name__,
        "steps": [type(step).__name__ for step in steps],
        "sampling_rate": next((rate for rate in rates if rate is not None), None),
        "lead_names": None if classifier.lead_names is None else list(classifier.lead_names),
        "n_leads": classifier.n_leads_in_,
        "classes": classes,
        "normal_class": None if normal is None else classes[normal],
        "map_labels": classifier.map_labels_,
        "thresholds": np.asarray(classifier.thresholds_).tolist(),
        "n_weights": sum(weight.numel() for weight in classifier.network_.parameters()),
        "n_epochs": classifier.n_iter_,
        "best_epoch": classifier.best_epoch_,
        "history": classifier.history_,
        "parameters": {k: _readable(value) for k, value in params.items()},
    }
    plain: dict[str, Any] = json.loads(json.dumps(summary, default=_readable))
    return _without_nan(plain)


def _readable(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return value.item() if isinstance(value, np.generic) else repr(value)


def _without_nan(value: Any) -> Any:
    """Return nested plain data with None for what JSON has no number for."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _digest(description: dict[str, Any], tensors: dict[str, torch.Tensor]) -> str:
    digest = hashlib.sha256(json.dumps(description, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        if tensor.numel():
            digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _read(data: bytes, name: str) -> tuple[dict[str, Any], dict[str, torch.Tensor], str]:
    """Return the description in a model file, its tensors and its fingerprint, checked."""
    foreign = ModelFileError(f"{name} is no model file of skecgattn, or its beginning is damaged.")
    try:
        length = int.from_bytes(data[:8], "little")
        metadata = json.loads(data[8 : 8 + length])["__metadata__"]
        description = json.loads(metadata[KEY])
        version = int(description["format_version"])
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise foreign from error
    if version > FORMAT_VERSION:
        saved_by = description.get("versions", {}).get("skecgattn", "?")
        raise ModelFileError(
            f"{name} is in format {version}, saved by skecgattn {saved_by}; this version reads "
            f"formats up to {FORMAT_VERSION}. Update skecgattn."
        )
    try:
        tensors = safetensors.load(data)
        given = description.pop("sha256")
        intact = _digest(description, tensors) == given
    except (SafetensorError, ValueError, LookupError, TypeError, RuntimeError, RecursionError) as error:
        raise ModelFileError(f"{name} is damaged or truncated: {_one_line(error)}.") from error
    if not intact:
        raise ModelFileError(f"{name} is damaged: its content does not match its checksum.")
    return description, tensors, given


def _network(classifier: AttentionECGClassifier, weights: dict[str, torch.Tensor]) -> JointNetwork:
    """Return the network of a classifier with given weights."""
    with torch.device("meta"):  # shapes alone: a wrong width must not take all memory
        expected = build_network(classifier).state_dict()
    shapes = {name: tuple(tensor.shape) for name, tensor in expected.items()}
    got = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    if wrong := sorted(name for name in {*shapes, *got} if shapes.get(name) != got.get(name)):
        name = wrong[0]
        raise ModelFileError(
            f"the weights do not fit the network, at {len(wrong)} of {len(shapes)} places: {name!r} has "
            f"shape {got.get(name)}, expected {shapes.get(name)}"
        )
    with torch.random.fork_rng(devices=[]):
        network = build_network(classifier)
    network.load_state_dict(weights, assign=True)
    return network.eval()


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()).rstrip(".")
