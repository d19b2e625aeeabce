"""Which arrhythmia, and where: ECG classification and abnormal beat localisation from labels alone."""

from .classifier import AttentionECGClassifier

__version__ = "0.1.0"

__all__ = ["AttentionECGClassifier", "__version__"]
