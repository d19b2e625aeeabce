"""Warnings and errors of skecgattn."""

from __future__ import annotations

__all__ = ["ECGWarning", "ModelFileError", "TrainingDivergedError"]


class ECGWarning(UserWarning):
    """ECG that can be used, but is probably not what was meant: a flat lead, or another unit than millivolts.

    Examples
    --------
    Make it an error in a block of code:

    >>> import warnings
    >>> from skecgattn.exceptions import ECGWarning
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("error", category=ECGWarning)
    """


class TrainingDivergedError(ArithmeticError):
    """Raised where the loss or what is predicted becomes NaN or infinite in training.

    The weights of the best epoch before are kept; where there is none, the estimator is as it was before.
    """


class ModelFileError(ValueError):
    """Raised where a model file is damaged or foreign, or where a model cannot be saved as one."""
