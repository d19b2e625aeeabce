"""The usual preprocessing as a pipeline."""

from __future__ import annotations

from typing import Any

from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.utils._param_validation import HasMethods, validate_params

from skecgattn.preprocessing._functions import POSITIVE
from skecgattn.preprocessing._transformers import BandPassFilter, Resampler, RobustLeadScaler


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
