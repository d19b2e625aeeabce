"""Transformers for ECG arrays of two and three dimensions, and the functions behind them.

The functions work along the last axis, one lead at a time, so that the result for an ECG does not depend on
the batch it is in, and in blocks, so that they need little memory beside their output.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from fractions import Fraction
from numbers import Integral, Real
from typing import Any, Literal, Self

import numpy as np
from scipy.signal import butter, resample_poly, sosfiltfilt
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin, _fit_context
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions, validate_params
from sklearn.utils._set_output import _get_output_config
from sklearn.utils.validation import check_array, check_is_fitted

from skecgattn._validation import FLAT_RANGE, check_ecg

__all__ = [
    "BandPassFilter",
    "Resampler",
    "RobustLeadScaler",
    "bandpass",
    "make_ecg_pipeline",
    "resample",
    "robust_scale",
]

BLOCK_SAMPLES = 2**18  # 2 MiB of float64 at a time
POSITIVE = Interval(Real, 0, None, closed="neither")


@validate_params(
    {
        "X": ["array-like"],
        "sampling_rate": [POSITIVE],
        "low": [POSITIVE, None],
        "high": [POSITIVE, None],
        "order": [Interval(Integral, 1, None, closed="left")],
    },
    prefer_skip_nested_validation=True,
)
def bandpass(
    X: Any, sampling_rate: float, *, low: float | None = 0.5, high: float | None = 40.0, order: int = 3
) -> np.ndarray:
    """Filter ECG with a Butterworth band-pass, forwards and backwards, so that no wave is shifted.

    Parameters
    ----------
    X : array-like of shape (..., n_timesteps)
        ECG; every row along the last axis is filtered on its own.

    sampling_rate : float
        Samples a second (Hz).

    low : float or None, default=0.5
        Lower cut-off in Hz, where the amplitude is halved; removes baseline wander. None keeps everything
        down to the mean.

    high : float or None, default=40.0
        Upper cut-off in Hz, where the amplitude is halved; removes muscle and mains noise. None keeps
        everything up to half the sampling rate.

    order : int, default=3
        Order of the filter at either cut-off; running it twice doubles it.

    Returns
    -------
    X_filtered : ndarray of shape (..., n_timesteps)
        The filtered ECG, float32 where `X` is, else float64.

    Raises
    ------
    ValueError
        If `low` is not below `high`, `high` is not below half the sampling rate, or both are None.

    See Also
    --------
    BandPassFilter : The same as a transformer.

    Examples
    --------
    >>> import numpy as np
    >>> from skecgattn.preprocessing import bandpass
    >>> t = np.arange(3600) / 360
    >>> heart, mains = np.sin(2 * np.pi * 10 * t), np.sin(2 * np.pi * 60 * t)
    >>> bool(np.abs(bandpass(2.0 + heart + mains, 360) - heart)[360:-360].max() < 0.1)
    True
    """
    sos, padding = _design(sampling_rate, low, high, order)
    # even, not odd: a window that starts on a QRS complex is not continued on another baseline. On MIT-BIH
    # windows this leaves a third of the error at the ends, against filtering the whole record.

    def function(rows: np.ndarray) -> np.ndarray:
        return sosfiltfilt(sos, rows, axis=-1, padtype="even", padlen=min(padding, rows.shape[-1] - 1))

    return _by_blocks(function, X)


def _design(
    sampling_rate: float, low: float | None, high: float | None, order: int
) -> tuple[np.ndarray, int]:
    """Return the second-order sections of the filter, and how many samples it takes to settle."""
    if low is None and high is None:
        raise ValueError(
            "low and high are both None, expected a cut-off frequency in Hz for at least one of them."
        )
    if low is not None and high is not None and low >= high:
        raise ValueError(f"low must be below high, got low={low} Hz and high={high} Hz.")
    for name, frequency in (("low", low), ("high", high)):
        if frequency is not None and frequency >= sampling_rate / 2:
            raise ValueError(
                f"{name} must be below half the sampling rate, got {name}={frequency} Hz at "
                f"sampling_rate={sampling_rate} Hz."
            )
    cutoffs = [frequency for frequency in (low, high) if frequency is not None]
    kind: Any = "bandpass" if len(cutoffs) == 2 else "highpass" if high is None else "lowpass"
    sos = butter(
        order, cutoffs if len(cutoffs) == 2 else cutoffs[0], btype=kind, fs=sampling_rate, output="sos"
    )
    return sos, int(sampling_rate / min(cutoffs))  # a period of the lower cut-off


@validate_params(
    {"X": ["array-like"], "sampling_rate": [POSITIVE], "new_rate": [POSITIVE]},
    prefer_skip_nested_validation=True,
)
def resample(X: Any, sampling_rate: float, new_rate: float) -> np.ndarray:
    """Bring ECG to another sampling rate with a polyphase anti-aliasing filter.

    Parameters
    ----------
    X : array-like of shape (..., n_timesteps)
        ECG; every row along the last axis is resampled on its own. Beyond its ends it is taken to go on
        point-reflected, so that the ends do not ring.

    sampling_rate : float
        Samples a second (Hz) of `X`.

    new_rate : float
        Samples a second (Hz) of the result.

    Returns
    -------
    X_resampled : ndarray of shape (..., n_timesteps_out)
        The resampled ECG, float32 where `X` is, else float64, of
        ``round(n_timesteps * new_rate / sampling_rate)`` timesteps, at least one.

    See Also
    --------
    Resampler : The same as a transformer.

    Examples
    --------
    >>> import numpy as np
    >>> from skecgattn.preprocessing import resample
    >>> resample(np.zeros((4, 2, 3600), dtype=np.float32), 360, 180).shape
    (4, 2, 1800)
    """
    ratio = _ratio(sampling_rate, new_rate)
    padtype: Any = "antireflect"  # of all extensions the one with the smallest error at the ends of a sine

    def function(rows: np.ndarray) -> np.ndarray:
        if rows.shape[-1] == 1:  # no room for a reflection
            return np.repeat(rows, _resampled_length(1, ratio), axis=-1)
        # the mean goes round the filter: its phases pass a constant only to about 0.1%
        mean = rows.mean(axis=-1, keepdims=True)
        new = resample_poly(rows - mean, ratio.numerator, ratio.denominator, axis=-1, padtype=padtype)
        return (new + mean)[..., : _resampled_length(rows.shape[-1], ratio)]

    return _by_blocks(function, X, lambda n_timesteps: _resampled_length(n_timesteps, ratio))


def _ratio(sampling_rate: float, new_rate: float) -> Fraction:
    """Return new_rate / sampling_rate, exact for all usual rates."""
    rates = (Fraction(float(rate)).limit_denominator(1000) for rate in (new_rate, sampling_rate))
    new, old = (rate or Fraction(1, 1000) for rate in rates)
    return (new / old).limit_denominator(10_000) or Fraction(1, 10_000)


def _resampled_length(n_timesteps: int, ratio: Fraction) -> int:
    return max(1, round(n_timesteps * ratio))


@validate_params(
    {"X": ["array-like"], "quantile_range": [tuple]},
    prefer_skip_nested_validation=True,
)
def robust_scale(X: Any, *, quantile_range: tuple[float, float] = (5.0, 95.0)) -> np.ndarray:
    """Take each lead's median off and divide by the range between two of its quantiles.

    Parameters
    ----------
    X : array-like of shape (..., n_timesteps)
        ECG; every row along the last axis is scaled on its own.

    quantile_range : tuple of two floats, default=(5.0, 95.0)
        The quantiles in percent whose distance becomes 1.

    Returns
    -------
    X_scaled : ndarray of shape (..., n_timesteps)
        The scaled ECG without a unit, float32 where `X` is, else float64. A flat lead becomes 0; one that
        is flat but for its outermost values keeps its scale.

    See Also
    --------
    RobustLeadScaler : The same as a transformer.

    Examples
    --------
    >>> import numpy as np
    >>> from skecgattn.preprocessing import robust_scale
    >>> robust_scale([[1.0, 2.0, 3.0], [7.0, 7.0, 7.0]], quantile_range=(0, 100))
    array([[-0.5,  0. ,  0.5],
           [ 0. ,  0. ,  0. ]])
    """
    quantiles = _quantiles(quantile_range)

    def function(rows: np.ndarray) -> np.ndarray:
        low, center, high = np.quantile(rows, quantiles, axis=-1, keepdims=True)
        flat = np.ptp(rows, axis=-1, keepdims=True) <= FLAT_RANGE
        return (rows - center) * np.where(flat, 0.0, 1 / _usable(high - low))

    return _by_blocks(function, X)


def _quantiles(quantile_range: tuple[float, float]) -> tuple[float, float, float]:
    """Return the lower quantile, the median and the upper quantile as fractions."""
    if len(quantile_range) != 2 or not 0 <= quantile_range[0] < quantile_range[1] <= 100:
        raise ValueError(
            f"Invalid quantile_range: {quantile_range!r}, expected two percentages 0 <= low < high <= 100."
        )
    return quantile_range[0] / 100, 0.5, quantile_range[1] / 100


def _usable(scale: np.ndarray) -> np.ndarray:
    """Replace scales that are no more than rounding errors by 1."""
    return np.where(scale <= FLAT_RANGE, 1.0, scale)


def _by_blocks(
    function: Callable[[np.ndarray], np.ndarray],
    X: Any,
    length: Callable[[int], int] = lambda n_timesteps: n_timesteps,
) -> np.ndarray:
    """Apply a function of float64 rows to the last axis, a block at a time."""
    X = check_array(X, dtype=(np.float64, np.float32), ensure_2d=False, allow_nd=True, input_name="X")
    rows = X[None] if X.ndim == 1 else X
    out = np.empty((*rows.shape[:-1], length(X.shape[-1])), dtype=X.dtype)
    step = max(1, BLOCK_SAMPLES * len(rows) // max(1, rows.size))
    for start in range(0, len(rows), step):
        block = slice(start, start + step)
        out[block] = function(np.ascontiguousarray(rows[block], dtype=np.float64))
    return out.reshape(*X.shape[:-1], -1)


class _ECGTransformer(OneToOneFeatureMixin, TransformerMixin, BaseEstimator, ABC):
    """What the transformers share: the way in and out for ECG arrays of two and three dimensions."""

    n_leads_in_: int
    input_ndim_: int

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None) -> Self:
        """Check the parameters and learn from `X`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_leads, n_timesteps) or (n_samples, n_timesteps)
            ECGs.

        y : None
            Ignored, for scikit-learn's API.

        Returns
        -------
        self : object
            The fitted transformer.

        Raises
        ------
        ValueError
            If a parameter or `X` is invalid.
        """
        # flat leads and odd units are left to the classifier to warn about: they do not matter here
        self._fit(check_ecg(self, X, reset=True, warn=False))
        return self

    def transform(self, X: Any) -> Any:
        """Transform ECGs.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_leads, n_timesteps) or (n_samples, n_timesteps)
            ECGs. The number of leads must be that of `fit` (3-D) or the number of timesteps (2-D).

        Returns
        -------
        X_new : ndarray of shape (n_samples, n_leads, n_timesteps_out) or (n_samples, n_timesteps_out)
            Transformed ECGs, float32 where `X` is, else float64. For 2-D input a DataFrame, where
            `set_output` asks for it.

        Raises
        ------
        ValueError
            If `X` does not fit the `X` of `fit`, or is 3-D while `set_output` asks for a DataFrame.
        """
        check_is_fitted(self)
        X = check_ecg(self, X, reset=False, warn=False)
        container = _get_output_config("transform", self)["dense"]
        if self.input_ndim_ == 3 and container != "default":
            raise ValueError(
                f"{type(self).__name__} outputs a 3-D array, which a {container} DataFrame cannot hold. "
                "Set the transformer output to an array with set_output(transform='default')."
            )
        X = self._transform(X)
        return X if self.input_ndim_ == 3 else X[:, 0, :]

    @abstractmethod
    def _fit(self, X: np.ndarray) -> None:
        """Check the parameters and learn from ECGs (n_samples, n_leads, n_timesteps)."""

    @abstractmethod
    def _transform(self, X: np.ndarray) -> np.ndarray:
        """Return transformed ECGs (n_samples, n_leads, n_timesteps_out)."""

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


class BandPassFilter(_ECGTransformer):
    """Band-pass filter that shifts no wave: a Butterworth filter run forwards and backwards.

    Parameters
    ----------
    sampling_rate : float
        Samples a second (Hz) of the ECGs. Must be given.

    low : float or None, default=0.5
        Lower cut-off in Hz, where the amplitude is halved; removes baseline wander. None keeps everything
        down to the mean.

    high : float or None, default=40.0
        Upper cut-off in Hz, where the amplitude is halved; removes muscle and mains noise. None keeps
        everything up to half the sampling rate.

    order : int, default=3
        Order of the filter at either cut-off; running it twice doubles it.

    Attributes
    ----------
    n_features_in_ : int
        Number of leads (3-D input) or of timesteps (2-D input) seen in `fit`.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns, where `fit` saw a DataFrame.

    n_leads_in_ : int
        Number of leads seen in `fit`; 1 for 2-D input.

    input_ndim_ : int
        Number of dimensions of the `X` of `fit`, 2 or 3.

    See Also
    --------
    bandpass : The function behind it.

    Notes
    -----
    For 3-D input `get_feature_names_out` gives one name a lead.

    Examples
    --------
    >>> import numpy as np
    >>> from skecgattn.preprocessing import BandPassFilter
    >>> X = np.random.default_rng(0).normal(size=(3, 2, 1000))
    >>> BandPassFilter(sampling_rate=250).fit_transform(X).shape
    (3, 2, 1000)
    """

    _parameter_constraints: dict = {  # noqa: RUF012
        "sampling_rate": [POSITIVE],
        "low": [POSITIVE, None],
        "high": [POSITIVE, None],
        "order": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        sampling_rate: float | None = None,
        *,
        low: float | None = 0.5,
        high: float | None = 40.0,
        order: int = 3,
    ) -> None:
        self.sampling_rate = sampling_rate
        self.low = low
        self.high = high
        self.order = order

    def _fit(self, X: np.ndarray) -> None:
        _design(self.sampling_rate, self.low, self.high, self.order)  # type: ignore[arg-type]

    def _transform(self, X: np.ndarray) -> np.ndarray:
        return bandpass(X, self.sampling_rate, low=self.low, high=self.high, order=self.order)


class Resampler(_ECGTransformer):
    """Bring ECGs to another sampling rate.

    Parameters
    ----------
    sampling_rate : float
        Samples a second (Hz) of the ECGs. Must be given.

    new_rate : float, default=180.0
        Samples a second (Hz) of the result.

    Attributes
    ----------
    n_features_in_ : int
        Number of leads (3-D input) or of timesteps (2-D input) seen in `fit`.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns, where `fit` saw a DataFrame.

    n_leads_in_ : int
        Number of leads seen in `fit`; 1 for 2-D input.

    input_ndim_ : int
        Number of dimensions of the `X` of `fit`, 2 or 3.

    See Also
    --------
    resample : The function behind it.

    Examples
    --------
    >>> import numpy as np
    >>> from skecgattn.preprocessing import Resampler
    >>> Resampler(sampling_rate=500, new_rate=180).fit_transform(np.zeros((3, 12, 5000))).shape
    (3, 12, 1800)
    """

    _parameter_constraints: dict = {"sampling_rate": [POSITIVE], "new_rate": [POSITIVE]}  # noqa: RUF012

    def __init__(self, sampling_rate: float | None = None, *, new_rate: float = 180.0) -> None:
        self.sampling_rate = sampling_rate
        self.new_rate = new_rate

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the names of the output: t0, t1, ... for 2-D input, one name a lead for 3-D input.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Names of the input, which must match `feature_names_in_` where that is known; for 3-D input the
            names of the leads.

        Returns
        -------
        feature_names_out : ndarray of str objects
            Names of the output.
        """
        names = super().get_feature_names_out(input_features)
        if self.input_ndim_ == 3:
            return names
        n_timesteps = _resampled_length(len(names), _ratio(self.sampling_rate, self.new_rate))  # type: ignore[arg-type]
        return np.array([f"t{i}" for i in range(n_timesteps)], dtype=object)

    def _fit(self, X: np.ndarray) -> None:
        pass

    def _transform(self, X: np.ndarray) -> np.ndarray:
        return resample(X, self.sampling_rate, self.new_rate)


class RobustLeadScaler(_ECGTransformer):
    """Take each lead's median off and divide by the range between two of its quantiles.

    Parameters
    ----------
    per : {"ecg", "fit"}, default="ecg"
        Where median and range are taken: over each lead of each ECG, or once a lead over all ECGs in `fit`,
        which keeps differences in amplitude between ECGs.

    quantile_range : tuple of two floats, default=(5.0, 95.0)
        The quantiles in percent whose distance becomes 1.

    Attributes
    ----------
    center_ : ndarray of shape (n_leads,)
        Median of each lead, in the unit of `X`. Only with ``per="fit"``.

    scale_ : ndarray of shape (n_leads,)
        Range of each lead between the quantiles, in the unit of `X`; 1 where it is 0. Only with
        ``per="fit"``.

    n_features_in_ : int
        Number of leads (3-D input) or of timesteps (2-D input) seen in `fit`.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns, where `fit` saw a DataFrame.

    n_leads_in_ : int
        Number of leads seen in `fit`; 1 for 2-D input.

    input_ndim_ : int
        Number of dimensions of the `X` of `fit`, 2 or 3.

    See Also
    --------
    robust_scale : The function behind it.

    Notes
    -----
    A flat lead becomes 0. For 3-D input `get_feature_names_out` gives one name a lead.

    Examples
    --------
    >>> import numpy as np
    >>> from skecgattn.preprocessing import RobustLeadScaler
    >>> X = np.random.default_rng(0).normal(loc=5.0, size=(3, 2, 1000))
    >>> bool(np.abs(np.median(RobustLeadScaler().fit_transform(X), axis=2)).max() < 1e-12)
    True
    """

    _parameter_constraints: dict = {  # noqa: RUF012
        "per": [StrOptions({"ecg", "fit"})],
        "quantile_range": [tuple],
    }

    def __init__(
        self, *, per: Literal["ecg", "fit"] = "ecg", quantile_range: tuple[float, float] = (5.0, 95.0)
    ) -> None:
        self.per = per
        self.quantile_range = quantile_range

    def _fit(self, X: np.ndarray) -> None:
        quantiles = _quantiles(self.quantile_range)
        if self.per == "ecg":
            return
        leads = (np.quantile(lead, quantiles).astype(np.float64) for lead in X.swapaxes(0, 1))
        low, self.center_, high = np.transpose(list(leads))
        self.scale_ = _usable(high - low)

    def _transform(self, X: np.ndarray) -> np.ndarray:
        if self.per == "ecg":
            return robust_scale(X, quantile_range=self.quantile_range)
        center, scale = self.center_[:, None], self.scale_[:, None]
        return _by_blocks(lambda rows: (rows - center) / scale, X)


@validate_params(
    {
        "sampling_rate": [POSITIVE],
        "new_rate": [POSITIVE],
        "low": [POSITIVE, None],
        "high": [POSITIVE, None],
        "estimator": [HasMethods("fit"), None],
    },
    prefer_skip_nested_validation=True,
)
def make_ecg_pipeline(
    sampling_rate: float,
    *,
    new_rate: float = 180.0,
    low: float | None = 0.5,
    high: float | None = 40.0,
    estimator: Any = None,
) -> Pipeline:
    """Make the usual preprocessing of ECG: resample, band-pass, scale each lead.

    Parameters
    ----------
    sampling_rate : float
        Samples a second (Hz) of the ECGs.

    new_rate : float, default=180.0
        Samples a second (Hz) after resampling.

    low : float or None, default=0.5
        Lower cut-off of the band-pass in Hz.

    high : float or None, default=40.0
        Upper cut-off of the band-pass in Hz, below half of `new_rate`.

    estimator : estimator instance, default=None
        Last step, for instance an :class:`~skecgattn.AttentionECGClassifier`. It sees ECGs of `new_rate`.

    Returns
    -------
    pipeline : Pipeline
        Steps "resampler", "bandpassfilter", "robustleadscaler", and the estimator under its class name in
        lower case.

    Raises
    ------
    ValueError
        If the estimator's own `sampling_rate` is another than `new_rate`.

    Examples
    --------
    >>> import numpy as np
    >>> from skecgattn.preprocessing import make_ecg_pipeline
    >>> X = np.random.default_rng(0).normal(size=(4, 2, 3600))
    >>> make_ecg_pipeline(360).fit_transform(X).shape
    (4, 2, 1800)
    """
    own_rate = getattr(estimator, "sampling_rate", None)
    if own_rate is not None and own_rate != new_rate:
        raise ValueError(
            f"The estimator has sampling_rate={own_rate}, but sees ECGs of new_rate={new_rate} Hz: "
            "give both the same rate."
        )
    # resampled first: the filter then works on fewer samples
    steps = [Resampler(sampling_rate, new_rate=new_rate), BandPassFilter(new_rate, low=low, high=high)]
    return make_pipeline(*steps, RobustLeadScaler(), *([] if estimator is None else [estimator]))
