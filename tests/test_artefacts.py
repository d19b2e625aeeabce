from __future__ import annotations

import numpy as np
import pytest

from skecgattn import AttentionECGClassifier
from skecgattn._artefacts import RATIO, add_artefacts
from skecgattn.datasets import make_ecg
from skecgattn.nn import Augmentation

RATE = 180


@pytest.fixture(scope="module")
def ecgs():
    return make_ecg(60, sampling_rate=RATE, random_state=0)


def test_strength_is_that_of_the_stress_test(ecgs):
    X = ecgs[0].astype(np.float32)
    noise = add_artefacts(X, RATE, np.random.RandomState(0)) - X
    seconds = X[:, :, : 10 * RATE].reshape(*X.shape[:2], 10, RATE)
    power = np.median(np.ptp(seconds, axis=3), axis=2) ** 2 / 8
    ratio = 10 * np.log10(power / noise.var(axis=2))
    assert ratio.min() > RATIO[0] - 0.1
    assert ratio.max() < RATIO[1] + 0.1
    assert np.ptp(ratio, axis=0).min() > 15  # every ECG has its own
    np.testing.assert_allclose(ratio[:, 0], ratio[:, 1], atol=1e-3)  # the same for all its leads


def test_every_ecg_has_noise_of_its_own_colour(ecgs):
    X = ecgs[0].astype(np.float32)
    noise = add_artefacts(X, RATE, np.random.RandomState(0)) - X
    power = np.abs(np.fft.rfft(noise[:, 0])) ** 2
    frequency = np.fft.rfftfreq(X.shape[2], 1 / RATE)
    middle = (power * frequency).sum(axis=1) / power.sum(axis=1)
    assert np.quantile(middle, 0.1) < 4  # electrodes
    assert np.quantile(middle, 0.9) > 15  # muscles


def test_what_was_not_recorded_stays(ecgs):
    X = ecgs[0][:4].astype(np.float32)
    X[:, :, :300] = 0
    X[:, :, 1700:] = 0
    X[2, 1] = 0.5
    noisy = add_artefacts(X, RATE, np.random.RandomState(0))
    np.testing.assert_array_equal(noisy[:, :, :300], X[:, :, :300])
    np.testing.assert_array_equal(noisy[:, :, 1700:], X[:, :, 1700:])
    np.testing.assert_array_equal(noisy[2, 1], X[2, 1])
    assert (noisy[2, 0, 300:1700] != X[2, 0, 300:1700]).all()


def test_padding_does_not_weaken_the_noise(ecgs):
    X = ecgs[0].astype(np.float32)
    padded = np.pad(X, ((0, 0), (0, 0), (4 * X.shape[2], 60)))
    noise = add_artefacts(padded, RATE, np.random.RandomState(0)) - padded
    ranges = np.ptp(X.reshape(*X.shape[:2], 10, RATE), axis=3)
    power = np.median(ranges, axis=2) ** 2 / 8
    ratio = 10 * np.log10(power / noise[:, :, 4 * X.shape[2] : -60].var(axis=2))
    assert RATIO[0] - 6 < ratio.min()
    assert ratio.max() < RATIO[1] + 6
    # hardly anything recorded: the last part of a second
    X[:, :, :-60] = 0
    assert np.isfinite(add_artefacts(X[:, :, 90:], RATE, np.random.RandomState(0))).all()


def test_every_sample_of_a_slow_ecg_is_recorded(ecgs):
    X = ecgs[0][:, :, ::9]  # 20 Hz: the shortest padding is less than a sample
    noisy = add_artefacts(X, 20, np.random.RandomState(0))
    assert (noisy[:, :, [0, -1]] != X[:, :, [0, -1]].astype(np.float32)).any(axis=1).all()


def test_networks_learn_from_noisy_copies(ecgs):
    X, y, *_ = ecgs

    def probability(artefacts, **params):
        augmentation = Augmentation(artefacts=artefacts)
        clf = AttentionECGClassifier(
            **{"sampling_rate": RATE, **params}, augmentation=augmentation, max_epochs=1, random_state=0
        )
        return clf.fit(X, y).predict_proba(X)

    with_copies = probability(0.5)
    assert np.abs(with_copies - probability(0.0)).max() > 1e-3
    np.testing.assert_array_equal(with_copies, probability(0.5))
    # without a rate there is no telling how fast electrodes move
    np.testing.assert_array_equal(
        probability(0.5, sampling_rate=None, segmenter="unet"),
        probability(0.0, sampling_rate=None, segmenter="unet"),
    )


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"artefacts": 7}, r"artefacts of Augmentation must be in \[0, 1\], got 7"),
        ({"lead_dropout": -0.1}, r"lead_dropout of Augmentation must be in \[0, 1\], got -0.1"),
        ({"noise": -1}, "noise of Augmentation must be 0 or more, got -1"),
        ({"gain": "much"}, "gain of Augmentation must be 0 or more, got 'much'"),
    ],
)
def test_values_that_mean_nothing(ecgs, params, message):
    X, y, *_ = ecgs
    with pytest.raises(ValueError, match=message):
        AttentionECGClassifier(RATE, augmentation=Augmentation(**params), max_epochs=1).fit(X[:8], y[:8])
