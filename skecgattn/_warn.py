"""Warnings that name the line of the user's code that led to them, however many calls lie between."""

from __future__ import annotations

import sys
import warnings

INSIDE = ("skecgattn", "sklearn", "joblib")
"""Packages whose lines tell a user nothing."""


def warn_user(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the innermost line outside of this package, scikit-learn and joblib."""
    frame, level = sys._getframe(), 1
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).partition(".")[0] in INSIDE:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)
