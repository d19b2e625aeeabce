from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.utils.estimator_checks import parametrize_with_checks

from skecgattn.preprocessing import (
    BandPassFilter,
    Resampler,
    RobustLeadScaler,
    bandpass,
    make_ecg_pipeline,
    resample,
    robust_scale,
)

TRANSFORMERS = [
    BandPassFilter(sampling_rate=360),
    BandPassFilter(sampling_rate=360, low=None),
    Resampler(sampling_rate=360, new_rate=180),
    Resampler(sampling_rate=128, new_rate=180),
    RobustLeadScaler(),
    RobustLeadScaler(per="fit"),
]
RATE = 360


def sine(frequency, rate=RATE, phase=0.3):
    return np.sin(2 * np.pi * frequency * np.arange(10 * rate) / rate + phase)


def ecgs(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


@parametrize_with_checks(TRANSFORMERS)
def test_sklearn_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize(
    ("options", "frequency", "gain"),
    [
        ({}, 10, 1.0),
        ({}, 1, 1.0),
        ({}, 0.5, 0.5),
        ({}, 40, 0.5),
        ({}, 0.05, 0.0),
        ({}, 60, 0.06),
        ({}, 0, 0.0),
        ({"low": None}, 0, 1.0),
        ({"low": None}, 0.05, 1.0),
        ({"high": None}, 60, 1.0),
        ({"high": None}, 0.05, 0.0),
        ({"order": 6}, 60, 0.01),
    ],
)
def test_filter_response_without_shift(options, frequency, gain):
    y = bandpass(sine(frequency), RATE, **options)
    inner = slice(2 * RATE, -2 * RATE)
    np.testing.assert_allclose(y[inner], gain * sine(frequency)[inner], atol=0.03)


def test_filter_removes_a_large_offset_at_the_ends_too():
    assert np.abs(bandpass(np.full(3600, 300.0), RATE)).max() < 1e-9


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"sampling_rate": None}, "'sampling_rate' parameter of BandPassFilter"),
        ({"high": 180}, "high must be below half the sampling rate, got high=180 Hz at sampling_rate=360 Hz"),
        ({"low": 40, "high": 30}, "low must be below high, got low=40 Hz and high=30 Hz"),
        ({"low": None, "high": None}, "low and high are both None"),
    ],
)
def test_impossible_filters(params, message):
    with pytest.raises(ValueError, match=message):
        BandPassFilter(RATE).set_params(**params).fit(ecgs(3, 2, 100))


@pytest.mark.parametrize("new_rate", [100, 180, 250, 500, 128.5])
def test_resampled_sine_is_the_sine(new_rate):
    n_timesteps = round(3600 * new_rate / RATE)
    y = resample(300 + sine(10), RATE, new_rate)
    expected = 300 + np.sin(2 * np.pi * 10 * np.arange(n_timesteps) / new_rate + 0.3)
    assert y.shape == (n_timesteps,)
    np.testing.assert_allclose(y[20:-20], expected[20:-20], atol=0.005)
    np.testing.assert_allclose(y, expected, atol=0.05)  # no ringing at the ends


def test_resampling_removes_what_would_alias():
    assert np.abs(resample(sine(120), RATE, 180)[50:-50]).max() < 0.01


@pytest.mark.parametrize("n_timesteps", [1, 2, 3, 7])
@pytest.mark.parametrize("new_rate", [1e-3, 100, 360, 1000])
def test_short_ecg(n_timesteps, new_rate):
    X = np.full((2, n_timesteps), 3.0)
    y = resample(X, RATE, new_rate)
    assert y.shape == (2, max(1, round(n_timesteps * new_rate / RATE)))
    np.testing.assert_allclose(y, 3.0)
    np.testing.assert_allclose(bandpass(X, RATE, low=None), X)


def test_scaling_an_ecg():
    X = 300 + ecgs(5, 2, 1000) * np.array([0.1, 8.0])[:, None]
    X[3, 1] = 7.0
    y = RobustLeadScaler().fit_transform(X)
    low, center, high = np.percentile(y, [5, 50, 95], axis=2)
    np.testing.assert_allclose(center, 0, atol=1e-9)
    np.testing.assert_allclose((high - low).ravel(), [1] * 7 + [0] + [1] * 2)
    assert not y[3, 1].any()


def test_scaling_by_fit_keeps_amplitudes_apart():
    X = ecgs(6, 2, 1000) * np.array([1.0, 5.0])[:, None]
    X[:, 1] += 2
    scaler = RobustLeadScaler(per="fit").fit(X)
    np.testing.assert_allclose(scaler.center_, [0, 2], atol=0.3)
    np.testing.assert_allclose(scaler.scale_, [3.29, 16.45], rtol=0.05)
    expected = (3 * X - scaler.center_[:, None]) / scaler.scale_[:, None]
    np.testing.assert_allclose(scaler.transform(3 * X), expected)


def test_rounding_errors_of_a_flat_lead_are_not_blown_up():
    X = np.full((2, 2, 1000), 0.7)
    assert not make_ecg_pipeline(360).fit_transform(X).any()
    assert not RobustLeadScaler(per="fit").fit_transform(X).any()


def test_quantile_range_is_checked():
    with pytest.raises(ValueError, match=r"Invalid quantile_range: \(95, 5\)"):
        RobustLeadScaler(quantile_range=(95, 5)).fit(ecgs(2, 2, 100))


@pytest.mark.parametrize("transformer", TRANSFORMERS, ids=repr)
class TestOn3D:
    def test_leads_are_treated_alike_in_2d_and_3d(self, transformer):
        X = ecgs(4, 3, 720)
        y = clone(transformer).fit_transform(X)
        for lead in range(3):
            np.testing.assert_array_equal(y[:, lead], clone(transformer).fit_transform(X[:, lead]))

    def test_result_is_independent_of_the_batch(self, transformer):
        X = ecgs(50, 2, 7200).astype(np.float32)  # several blocks
        fitted = clone(transformer).fit(X)
        y = fitted.transform(X)
        assert y.dtype == np.float32
        np.testing.assert_array_equal(fitted.transform(X[37:38]), y[37:38])
        np.testing.assert_array_equal(fitted.transform(np.asfortranarray(X[::-1])), y[::-1])

    def test_input_is_left_alone(self, transformer):
        X = ecgs(4, 2, 300)
        X.flags.writeable = False
        assert not np.shares_memory(clone(transformer).fit_transform(X), X)

    def test_any_length_but_the_leads_of_fit(self, transformer):
        fitted = clone(transformer).fit(ecgs(4, 2, 300))
        assert fitted.transform(ecgs(4, 2, 720)).shape[:2] == (4, 2)
        with pytest.raises(ValueError, match=r"X has 3 leads, but .* is expecting 2 leads as input"):
            fitted.transform(ecgs(4, 3, 300))

    def test_names_and_dataframes(self, transformer):
        fitted = clone(transformer).set_output(transform="pandas")
        with pytest.raises(ValueError, match=r"3-D array, which a pandas DataFrame cannot hold.*set_output"):
            fitted.fit_transform(ecgs(4, 2, 300))
        assert list(fitted.get_feature_names_out(["MLII", "V1"])) == ["MLII", "V1"]
        frame = fitted.fit_transform(pd.DataFrame(ecgs(4, 30), index=list("abcd")).add_prefix("sample"))
        assert list(frame.index) == list("abcd")
        assert frame.columns[0] == ("t0" if isinstance(transformer, Resampler) else "sample0")


def test_pipeline_is_its_parts_and_survives_clone_and_pickle():
    X = ecgs(6, 2, 3600)
    y = [0, 1] * 3
    pipeline = make_ecg_pipeline(360, new_rate=120, low=1, high=30, estimator=DummyClassifier())
    copy = pickle.loads(pickle.dumps(clone(pipeline).fit(X, y)))
    expected = robust_scale(bandpass(resample(X, 360, 120), 120, low=1, high=30))
    np.testing.assert_array_equal(copy[:-1].transform(X), expected)
    assert copy.predict(X).shape == (6,)
    assert list(copy.named_steps) == ["resampler", "bandpassfilter", "robustleadscaler", "dummyclassifier"]


def test_pipeline_classifies_2d_ecg():
    X = np.stack([sine(f, phase=p) for f in (5, 15) for p in range(4)])
    y = np.repeat(["slow", "fast"], 4)
    pipeline = make_ecg_pipeline(RATE, estimator=LogisticRegression(C=100))
    assert pipeline.fit(X, y).score(X, y) == 1


def test_pipeline_refuses_an_estimator_of_another_rate():
    class Rated(DummyClassifier):
        def __init__(self, sampling_rate=360):
            self.sampling_rate = sampling_rate

    with pytest.raises(ValueError, match="sampling_rate=360, but sees ECGs of new_rate=180"):
        make_ecg_pipeline(360, estimator=Rated())
    make_ecg_pipeline(360, new_rate=360, estimator=Rated())
