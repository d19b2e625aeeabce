"""How long and in which batches to train, where the user leaves it open."""

from __future__ import annotations

import numpy as np
import pytest

from skecgattn import AttentionECGClassifier
from skecgattn._budget import choose_batch_size, choose_epochs
from skecgattn.datasets import make_ecg


@pytest.mark.parametrize(
    ("given", "n_samples", "expected"),
    [
        ("auto", 3960, 64),
        ("auto", 1500, 48),
        ("auto", 80, 16),
        ("auto", 10, 10),
        (None, 500, 500),
        (32, 20, 20),
    ],
)
def test_batch_size(given, n_samples, expected):
    assert choose_batch_size(given, n_samples) == expected


@pytest.mark.parametrize(
    ("given", "n_samples", "n_timesteps", "expected"),
    [
        ("auto", 3960, 1800, 12),  # DS1 of MIT-BIH, windows of 10 s
        ("auto", 50_000, 1800, 12),
        ("auto", 2400, 1000, 36),
        ("auto", 80, 1800, 48),
        (7, 80, 1800, 7),
    ],
)
def test_epochs(given, n_samples, n_timesteps, expected):
    assert choose_epochs(given, n_samples, n_timesteps) == expected


def test_epochs_are_twice_as_many_where_half_is_read():
    assert choose_epochs("auto", 3960, 1800, has_nothing=False) == 24
    assert choose_epochs("auto", 3000, 1000, has_nothing=False) == 58
    assert choose_epochs("auto", 80, 1800, has_nothing=False) == 72  # and no more
    assert choose_epochs("auto", 50_000, 1800, has_nothing=False) == 12
    assert choose_epochs(7, 80, 1800, has_nothing=False) == 7


@pytest.mark.parametrize(("names", "n_epochs"), [(("N", "V"), 15), (("AN", "NV"), 30)])
def test_epochs_of_tasks_with_and_without_a_normal_class(names, n_epochs, monkeypatch):
    X, y, _, _ = make_ecg(20, sampling_rate=60, n_leads=1, duration=6, classes=("V",), random_state=0)
    monkeypatch.setattr("skecgattn._budget.BUDGET", 20 * 360 * 15)
    clf = AttentionECGClassifier(60, resample_to=None, band=None, width=2, random_state=0)
    assert clf.fit(X, np.array(names)[y[:, 0]]).n_iter_ == n_epochs


def test_few_ecgs_are_learned_from_with_the_defaults():
    X, y, _, _ = make_ecg(60, sampling_rate=60, n_leads=1, duration=6, classes=("V",), random_state=0)
    clf = AttentionECGClassifier(60, resample_to=None, band=None, width=4, random_state=0).fit(X, y[:, 0])
    assert clf.n_iter_ == 48
    # with 12 epochs, or one batch an epoch, all are told the larger class
    assert (clf.predict(X) == y[:, 0]).mean() > 0.9


def test_epochs_are_those_of_the_ecgs_that_count(monkeypatch):
    X, y, _, _ = make_ecg(40, sampling_rate=60, n_leads=1, duration=6, classes=("V",), random_state=0)
    monkeypatch.setattr("skecgattn._budget.BUDGET", 20 * 360 * 15)
    clf = AttentionECGClassifier(60, resample_to=None, band=None, width=2, random_state=0)
    assert clf.fit(X, y[:, 0], sample_weight=np.r_[np.ones(20), np.zeros(20)]).n_iter_ == 15
    assert clf.fit(X, y[:, 0]).n_iter_ == 12
