"""Transformers of ECG arrays of two and three dimensions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from numbers import Integral
from typing import Any, Literal, Self

import numpy as np
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin, _fit_context
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils._set_output import _get_output_config
from sklearn.utils.validation import check_is_fitted

from skecgattn._validation import check_ecg
from skecgattn.preprocessing._functions import (
    POSITIVE,
    bandpass,
    by_blocks,
    design,
    quantiles_of,
    ratio_of,
    resample,
    resampled_length,
    robust_scale,
    usable,
)


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
        design(self.sampling_rate, self.low, self.high, self.order)  # type: ignore[arg-type]

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
        n_timesteps = resampled_length(len(names), ratio_of(self.sampling_rate, self.new_rate))  # type: ignore[arg-type]
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
        quantiles = quantiles_of(self.quantile_range)
        if self.per == "ecg":
            return
        leads = (np.quantile(lead, quantiles).astype(np.float64) for lead in X.swapaxes(0, 1))
        low, self.center_, high = np.transpose(list(leads))
        self.scale_ = usable(high - low)

    def _transform(self, X: np.ndarray) -> np.ndarray:
        if self.per == "ecg":
            return robust_scale(X, quantile_range=self.quantile_range)
        center, scale = self.center_[:, None], self.scale_[:, None]
        return by_blocks(lambda rows: (rows - center) / scale, X)
