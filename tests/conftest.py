from __future__ import annotations

import os
from pathlib import Path

import pytest

from skecgattn.datasets import fetch_mitbih, make_windows

from ._browser import browser, playwright  # noqa: F401 (one browser for the tests of all pages)

DATA = os.environ.get("SKECGATTN_DATA")
HAS_DATA = bool(DATA) and (Path(DATA) / "mitdb" / "100.dat").is_file()
SMALL_SUBSET = ["106", "119", "208", "209", "223"]  # DS1: two with many S beats, four with many V beats


def pytest_configure(config):
    config.addinivalue_line("markers", "requires_data: needs real ECG, see SKECGATTN_DATA")


def pytest_collection_modifyitems(items):
    if HAS_DATA:
        return
    skip = pytest.mark.skip(
        reason="no real ECG: download https://physionet.org/content/mitdb/ into a folder 'mitdb' and set "
        "SKECGATTN_DATA to the folder that holds it"
    )
    for item in items:
        if "requires_data" in item.keywords or {"mitbih_records", "mitbih_windows"} & set(item.fixturenames):
            item.add_marker(skip)


@pytest.fixture(scope="session")
def mitbih_records():
    """Five records of DS1."""
    return fetch_mitbih(SMALL_SUBSET, download_if_missing=False).records


@pytest.fixture(scope="session")
def mitbih_windows(mitbih_records):
    """Windows of 10 s from five records of DS1, [S, V] multilabel: (X, y, groups, beats), 90 windows each."""
    return make_windows(mitbih_records, window=10.0, step=20.0)
