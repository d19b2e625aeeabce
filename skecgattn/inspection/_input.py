"""Checks of what the displays draw: ECGs, maps and beats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_array

from .._unpack import unpack
from ..classifier import AttentionECGClassifier


def check_ecgs(X: Any) -> NDArray:
    """Return `X` as (n_samples, n_leads, n_timesteps)."""
    checked: NDArray = check_array(X, allow_nd=True, dtype=[np.float64, np.float32], input_name="X")
    if checked.ndim == 2:
        return checked[:, None, :]
    if checked.ndim != 3:
        raise ValueError(
            "X must have shape (n_samples, n_timesteps) or (n_samples, n_leads, n_timesteps), got shape "
            f"{checked.shape}."
        )
    return checked


def check_sample(sample: int, n_samples: int) -> int:
    """Return the index counted from the front."""
    if not -n_samples <= sample < n_samples:
        raise ValueError(f"sample={sample} is out of range: X holds {n_samples} ECG(s).")
    return int(sample) % n_samples


def check_map(value: Any, sample: int, n_samples: int, n_timesteps: int, name: str) -> NDArray:
    """Return the map of one ECG, given alone or among those of all ECGs."""
    values: NDArray = check_array(value, ensure_2d=False, dtype=np.float64, input_name=name)
    if values.shape not in ((n_timesteps,), (n_samples, n_timesteps)):
        raise ValueError(
            f"{name} must have shape {(n_samples, n_timesteps)} like X, or {(n_timesteps,)} for the ECG "
            f"drawn, got {values.shape}."
        )
    values = values if values.ndim == 1 else values[sample]
    if values.min() < -1e-6 or values.max() > 1 + 1e-6:
        raise ValueError(
            f"{name} must lie in [0, 1], got values from {values.min():.3g} to {values.max():.3g}: "
            "rescale it."
        )
    return np.clip(values, 0, 1)


def check_beats(
    value: Any, sample: int, n_samples: int, n_timesteps: int, name: str, fields: Sequence[str]
) -> NDArray | None:
    """Return the beats of one ECG, given alone or among those of all ECGs."""
    if value is None:
        return None
    if getattr(getattr(value, "dtype", None), "names", None) is None:
        if isinstance(value, str | Mapping) or not hasattr(value, "__len__") or len(value) != n_samples:
            raise ValueError(
                f"{name} must be a structured array, or one for each of the {n_samples} ECG(s) of X, "
                f"got {type(value).__name__}"
                + (f" of length {len(value)}." if hasattr(value, "__len__") else ".")
            )
        value = value[sample]
    beats = np.asarray(value)
    if missing := [field for field in fields if field not in (beats.dtype.names or ())]:
        raise ValueError(f"{name} must have the fields {list(fields)}, {missing} missing from {beats.dtype}.")
    where = beats["sample"]
    if len(where) and not (where.min() >= 0 and where.max() < n_timesteps):
        raise ValueError(
            f"{name} must lie in the ECG's {n_timesteps} samples, got samples from {where.min()} to "
            f"{where.max()}."
        )
    return beats


def classifier_in(estimator: Any, X: Any) -> tuple[AttentionECGClassifier, Any]:
    """Return the classifier that a pipeline or a search ends in, or that is given, and `X` as it gets it."""
    classifier, seen = unpack(estimator, X)
    if not isinstance(classifier, AttentionECGClassifier):
        raise TypeError(
            "estimator must be an AttentionECGClassifier, or a fitted pipeline or search that ends in one, "
            f"got {type(estimator).__name__}."
        )
    return classifier, seen


def rescale_beats(located: NDArray, ratio: float, n_timesteps: int) -> NDArray:
    """Return located beats at another sampling rate."""
    if ratio == 1:
        return located
    scaled = located.copy()
    for field, last in (("sample", n_timesteps - 1), ("start", n_timesteps), ("stop", n_timesteps)):
        scaled[field] = np.minimum(np.rint(located[field] * ratio), last)
    return scaled
