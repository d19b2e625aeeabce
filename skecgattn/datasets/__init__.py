"""Real ECG (downloaded, verified, cached), synthetic ECG with its truth, and windows cut from either."""

from __future__ import annotations

from skecgattn.datasets._base import DataNotFoundError, clear_data_home, get_data_home
from skecgattn.datasets._mitbih import fetch_mitbih
from skecgattn.datasets._pac_pvc import fetch_pac_pvc
from skecgattn.datasets._synthetic import make_ecg
from skecgattn.datasets._windows import make_windows

__all__ = [
    "DataNotFoundError",
    "clear_data_home",
    "fetch_mitbih",
    "fetch_pac_pvc",
    "get_data_home",
    "make_ecg",
    "make_windows",
]
