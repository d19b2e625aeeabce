"""Which arrhythmia, and where: ECG classification and abnormal beat localisation from labels alone."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._model_file import load, save
    from .classifier import AttentionECGClassifier

__version__ = "0.1.0"

__all__ = ["AttentionECGClassifier", "__version__", "load", "save"]

# torch takes seconds to load: `skecgattn --help` and the datasets do without
_LAZY = {"AttentionECGClassifier": "classifier", "load": "_model_file", "save": "_model_file"}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f".{_LAZY[name]}", __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
