"""The one gate for ECG input: every estimator's ``X`` comes through :func:`check_ecg`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn import get_config
from sklearn.base import OneToOneFeatureMixin
from sklearn.exceptions import DataConversionWarning
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import column_or_1d, validate_data

from skecgattn._warn import warn_user
from skecgattn.exceptions import ECGWarning

MIN_JUDGED_TIMESTEPS = 100  # a shorter 2-D row may be any table, so its scale and flatness are not judged
FLAT_RANGE = 1e-6  # peak to peak, in mV: far below any ADC, above the rounding errors of filters
PLAUSIBLE_RANGE = (0.02, 50.0)  # peak to peak of a typical lead, in mV: volts lie below, ADC units above
EXPECTED_SPAN = "ECG in millivolts is expected, where a lead spans {:g} to {:g}".format(*PLAUSIBLE_RANGE)
TRANSPOSED_MIN_LEADS = 65
TRANSPOSED_MAX_TIMESTEPS = 16


def check_ecg(
    estimator: Any,
    X: Any,
    *,
    reset: bool,
    y: Any = "no_validation",
    min_timesteps: int = 1,
    dtype: Any = (np.float64, np.float32),
    warn: bool = True,
) -> Any:
    """Validate ECGs as scikit-learn validates ``X``, in two dimensions or three.

    Sets (``reset=True``) or checks (``reset=False``) the estimator's ``n_features_in_``,
    ``feature_names_in_``, ``n_leads_in_`` and ``input_ndim_``. 2-D input follows scikit-learn's rule: the
    number of features (timesteps) must match. For 3-D input ``n_features_in_`` is the number of leads, which
    must match, while any length is allowed.

    Parameters
    ----------
    estimator : estimator instance
        The estimator `X` is meant for.

    X : array-like of shape (n_samples, n_timesteps) or (n_samples, n_leads, n_timesteps)
        ECGs in millivolts.

    reset : bool
        Whether to learn the layout of `X` (in `fit`) or to compare with the one learned.

    y : array-like of shape (n_samples,) or (n_samples, n_outputs), optional
        Targets to validate along with `X`. ``None`` is an error where the estimator requires `y`.

    min_timesteps : int, default=1
        Shortest length that the estimator can use.

    dtype : dtype or tuple of dtypes, default=(float64, float32)
        Allowed types; other input is converted to the first.

    warn : bool, default=True
        Whether to warn about flat leads and implausible units. Switch it off where an outer call has
        warned already.

    Returns
    -------
    X : ndarray of shape (n_samples, n_leads, n_timesteps)
        The ECGs, not copied where they are an array of an allowed type already.

    y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        The targets; returned only where `y` was given and is not None.

    Raises
    ------
    ValueError
        If `X` is not 2-D or 3-D, holds NaN or infinity, has unequal lengths, looks transposed, is shorter
        than `min_timesteps` or does not match what the estimator was fitted on.

    TypeError
        If `X` is sparse.

    Warns
    -----
    ECGWarning
        If a lead is flat, or if values are integers or in a range that millivolts do not have. 2-D input of
        fewer than 100 timesteps is not judged.

    DataConversionWarning
        If `y` has one column.
    """
    name = type(estimator).__name__
    X = _stack(X)
    _check_layout(estimator, X, reset=reset)
    source_dtype = getattr(X, "dtype", None)
    options = {"allow_nd": True, "ensure_all_finite": False, "dtype": dtype}
    # 0 and 1 of one column are class labels, as scikit-learn reads them, which lose the name of the column
    unnamed = isinstance(y, pd.DataFrame) and y.shape[1] == 1 and y.iloc[:, 0].isin([0, 1]).all()
    column = y.columns[0] if unnamed else None
    with_y = not (y is None or (isinstance(y, str) and y == "no_validation"))
    if with_y:
        _check_labelled(y)
        X, y = validate_data(estimator, X, y, reset=reset, multi_output=True, **options)
        if y.ndim == 2 and y.shape[1] == 1:
            if unnamed:
                warn_user(
                    f"y is a DataFrame of one column, {column!r}, which is read as class labels 0 and 1, not "
                    f"by its name. Give names, as in numpy.where(y[{column!r}] > 0, {column!r}, 'N'), or "
                    f"y[{column!r}] if 0 and 1 are meant.",
                    DataConversionWarning,
                )
            y = column_or_1d(y, warn=not unnamed)
        _check_dtype(y)
    else:
        X = validate_data(estimator, X, y, reset=reset, **options)

    ndim, shape = X.ndim, X.shape
    if ndim == 2:
        X = X[:, None, :]
    elif X.shape[1] == 0:
        raise ValueError(
            f"Found array with 0 lead(s) (shape={shape}) while a minimum of 1 is required by {name}."
        )
    if X.shape[2] < (minimum := max(1, min_timesteps)):
        unit = "feature(s)" if ndim == 2 else "timestep(s)"
        raise ValueError(
            f"Found array with {X.shape[2]} {unit} (shape={shape}) while a minimum of {minimum} timesteps is "
            f"required by {name}."
        )
    _check_finite(X, name)
    if warn and (ndim == 3 or X.shape[2] >= MIN_JUDGED_TIMESTEPS):
        _warn_of_quality(X, source_dtype)
    if reset:
        estimator.n_leads_in_ = X.shape[1]
        estimator.input_ndim_ = ndim
    return (X, y) if with_y else X


def _check_labelled(y: Any) -> None:
    """Refuse missing labels, before scikit-learn words it without saying where."""
    missing = np.asarray(pd.isna(y if hasattr(y, "shape") else np.asarray(y, dtype=object)))
    if missing.ndim and missing.any():
        rows = np.flatnonzero(missing.reshape(len(missing), -1).any(axis=1))
        raise ValueError(
            f"Input y contains NaN: {len(rows)} of {len(missing)} ECG(s) have no label, the first is ECG "
            f"{rows[0]}. Leave them out: what is not known is not normal."
        )


def _check_dtype(y: NDArray) -> None:
    """Refuse numbers in an array of objects, which scikit-learn takes for no labels, in words that help."""
    if y.dtype.kind == "O" and (strange := [value for value in y.flat if not isinstance(value, str)]):
        raise ValueError(
            f"Unknown label type: y is an array of objects such as {strange[0]!r}. Convert it, as in "
            "y.astype(int), or y.astype(str) for names."
        )


def check_lead_names(names: Iterable[str] | None, n_leads: int) -> None:
    """Refuse names of leads that are not one different string each."""
    if names is None:
        return
    names = list(names)
    if not all(isinstance(name, str) for name in names) or len({*names}) != len(names):
        raise ValueError(f"lead_names must be different strings, got {names!r}.")
    if len(names) != n_leads:
        raise ValueError(f"lead_names must name the {n_leads} lead(s) of X, got {len(names)}: {names!r}.")


def keeps_leads(model: Any) -> bool:
    """Tell whether the last step of a pipeline is known to get the leads that the pipeline gets."""
    steps = [step for _, step in model.steps[:-1]] if isinstance(model, Pipeline) else []
    return all(step in (None, "passthrough") or isinstance(step, OneToOneFeatureMixin) for step in steps)


def lead_names_of(model: Any) -> list[str] | None:
    """Return the names of the leads that a model gets, None where they are unknown.

    Those of a pipeline's last step are the names of what the steps before it make; a search has its best
    estimator's.
    """
    model = getattr(model, "best_estimator_", model)
    if not keeps_leads(model):
        return None
    names = getattr(model[-1] if isinstance(model, Pipeline) else model, "lead_names", None)
    return None if names is None else list(names)


def _stack(X: Any) -> Any:
    """Make one array of a list of ECGs, or of an object array that holds ECGs."""
    if getattr(getattr(X, "dtype", None), "kind", "") == "O":
        cells = np.asarray(X)
        if not (cells.size and isinstance(cells.flat[0], np.ndarray | list | tuple)):
            return X
        X = cells.tolist()
    if not isinstance(X, list | tuple):
        return X
    try:
        return np.asarray(X)
    except ValueError as error:
        if "inhomogeneous" not in str(error):
            raise
        shapes = sorted({_shape(ecg) for ecg in X}, key=lambda shape: [str(n).zfill(12) for n in shape])
        found = ", ".join(map(str, shapes[:5])) + (", ..." if len(shapes) > 5 else "")
        raise ValueError(
            "All ECGs in X must have the same number of leads and of timesteps, got unequal lengths: shapes "
            f"{found}. Pad or crop them to one length, or cut them into windows of one length with "
            "skecgattn.datasets.make_windows."
        ) from error


def _shape(ecg: Any) -> tuple[int | str, ...]:
    """Return the shape of one ECG; where its leads differ in length, the lengths beside each other."""
    try:
        return tuple(np.shape(ecg))
    except ValueError:
        return (len(ecg), "/".join(str(np.size(lead)) for lead in ecg))


def _check_layout(estimator: Any, X: Any, *, reset: bool) -> None:
    """Refuse an ECG array whose dimensions cannot be right, before scikit-learn words it for tables."""
    name = type(estimator).__name__
    shape = tuple(getattr(X, "shape", ()))
    if len(shape) > 3:
        raise ValueError(f"Found array with dim {len(shape)}, while dim <= 3 is required by {name}.")
    hint = (
        f" X has shape {shape}; if that is (n_samples, n_timesteps, n_leads), use X.transpose(0, 2, 1)"
        " to get (n_samples, n_leads, n_timesteps)."
    )
    if not reset and len(shape) in (2, 3) and hasattr(estimator, "input_ndim_"):
        if len(shape) != estimator.input_ndim_:
            layouts = {2: "(n_samples, n_timesteps)", 3: "(n_samples, n_leads, n_timesteps)"}
            raise ValueError(
                f"X has {len(shape)} dimensions, but {name} is expecting {estimator.input_ndim_} dimensions "
                f"as input: it was fitted on X of shape {layouts[estimator.input_ndim_]}, got shape {shape}."
            )
        if len(shape) == 3 and shape[1] != estimator.n_leads_in_:
            raise ValueError(
                f"X has {shape[1]} leads, but {name} is expecting {estimator.n_leads_in_} leads as input."
                + (hint if shape[2] == estimator.n_leads_in_ else "")
            )
    elif len(shape) == 3 and shape[1] >= TRANSPOSED_MIN_LEADS and shape[2] <= TRANSPOSED_MAX_TIMESTEPS:
        raise ValueError(f"X has {shape[1]} leads of {shape[2]} timesteps: it looks transposed.{hint}")


def _check_finite(X: np.ndarray, name: str) -> None:
    """Raise scikit-learn's error for NaN or infinity, with the place of the first one."""
    if get_config()["assume_finite"]:
        return
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(X.sum()):
            return
    bad = np.isnan(X)
    if (has_nan := bool(bad.any())) is False:
        bad = np.isinf(X)
        if not bad.any():  # finite values whose sum overflows
            return
    ecg, lead, sample = np.unravel_index(int(bad.argmax()), X.shape)
    n_bad = bad.any(axis=(1, 2)).sum()
    place = f"the first in ECG {ecg}, lead {lead}, at sample {sample}; {n_bad} of {len(X)} ECG(s) in all"
    if has_nan:
        raise ValueError(
            f"Input X contains NaN: {place}.\n{name} does not accept missing values encoded as NaN natively: "
            "interpolate them, or drop these ECGs."
        )
    raise ValueError(f"Input X contains infinity or a value too large for {X.dtype!r}: {place}.")


def _warn_of_quality(X: np.ndarray, source_dtype: Any) -> None:
    """Warn of flat leads and of values that are hardly millivolts."""
    spread = np.subtract(X.max(axis=2), X.min(axis=2), dtype=np.float64)
    flat = spread <= FLAT_RANGE
    if flat.any():
        ecgs = np.flatnonzero(flat.any(axis=1))
        leads = ", ".join(f"lead {lead} in {count}" for lead, count in enumerate(flat.sum(axis=0)) if count)
        warn_user(
            f"X has a flat lead in {len(ecgs)} of {len(X)} ECG(s): {leads}; the first is ECG {ecgs[0]}. "
            "A flat lead tells nothing: was an electrode off?",
            ECGWarning,
        )
    found = implausible_span(spread)
    if getattr(source_dtype, "kind", "") in ("i", "u"):
        found = f"integers ({source_dtype}), probably raw ADC units"
    if found is None:
        return
    warn_user(
        f"X has {found}. {EXPECTED_SPAN}: convert the scale to mV with (X - baseline) / gain, both given in "
        "the record's header.",
        ECGWarning,
    )


def implausible_span(spread: np.ndarray) -> str | None:
    """Return how far leads span, in words, where that is hardly millivolts; flat leads do not count."""
    shown = spread[spread > FLAT_RANGE]
    typical = float(np.median(shown)) if len(shown) else PLAUSIBLE_RANGE[0]
    if PLAUSIBLE_RANGE[0] <= typical <= PLAUSIBLE_RANGE[1]:
        return None
    return f"leads that span {typical:.3g} (median, peak to peak)"
