"""Transformers for ECG arrays of two and three dimensions, and the functions behind them.

The functions work along the last axis, one lead at a time, so that the result for an ECG does not depend on
the batch it is in, and in blocks, so that they need little memory beside their output.
"""

from __future__ import annotations

from ._functions import bandpass, resample, robust_scale
from ._pipeline import make_ecg_pipeline
from ._transformers import BandPassFilter, Resampler, RobustLeadScaler

__all__ = [
    "BandPassFilter",
    "Resampler",
    "RobustLeadScaler",
    "bandpass",
    "make_ecg_pipeline",
    "resample",
    "robust_scale",
]
