from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import sklearn
from sklearn.base import BaseEstimator

from skecgattn._validation import check_ecg
from skecgattn.exceptions import ECGWarning


class Probe(BaseEstimator):
    pass


def ecgs(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def fitted(*shape):
    probe = Probe()
    check_ecg(probe, ecgs(*shape), reset=True)
    return probe


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_3d_passes_uncopied_and_is_remembered(dtype):
    probe, X = Probe(), ecgs(4, 3, 200).astype(dtype)
    assert np.shares_memory(check_ecg(probe, X, reset=True), X)
    assert (probe.n_features_in_, probe.n_leads_in_, probe.input_ndim_) == (3, 3, 3)
    assert check_ecg(probe, X[:, :, :57], reset=False).shape == (4, 3, 57)


def test_2d_becomes_one_lead():
    probe, X = Probe(), ecgs(4, 200)
    out = check_ecg(probe, X.tolist(), reset=True)
    np.testing.assert_array_equal(out, X[:, None, :])
    assert (probe.n_features_in_, probe.n_leads_in_, probe.input_ndim_) == (200, 1, 2)
    with pytest.raises(ValueError, match="X has 199 features, but Probe is expecting 200 features as input"):
        check_ecg(probe, X[:, 1:], reset=False)


def test_feature_names_are_checked():
    probe, X = Probe(), pd.DataFrame(ecgs(4, 3), columns=list("abc"))
    check_ecg(probe, X, reset=True)
    assert list(probe.feature_names_in_) == ["a", "b", "c"]
    with pytest.raises(ValueError, match="feature names should match"):
        check_ecg(probe, X[list("cba")], reset=False)


@pytest.mark.parametrize(
    "stacked", [list, lambda X: pd.Series(list(X)), lambda X: pd.Series(list(X)).to_numpy()], ids=range(3)
)
def test_list_of_equal_ecgs_is_stacked(stacked):
    X = ecgs(4, 2, 200)
    np.testing.assert_array_equal(check_ecg(Probe(), stacked(X), reset=True), X)


def test_target_is_validated_along():
    X = ecgs(4, 2, 200)
    _, y = check_ecg(Probe(), X, y=["N", "V", "N", "S"], reset=True)
    assert y.tolist() == ["N", "V", "N", "S"]
    assert check_ecg(Probe(), X, y=np.eye(4, 2), reset=True)[1].shape == (4, 2)
    with pytest.warns(sklearn.exceptions.DataConversionWarning):
        assert check_ecg(Probe(), X, y=np.ones((4, 1)), reset=True)[1].shape == (4,)
    one = pd.DataFrame({"V": [0, 1, 1, 0]})
    with pytest.warns(
        sklearn.exceptions.DataConversionWarning, match=r"one column, 'V'.* numpy.where"
    ) as caught:
        assert check_ecg(Probe(), X, y=one, reset=True)[1].tolist() == [0, 1, 1, 0]
    assert len(caught) == 1
    with pytest.warns(sklearn.exceptions.DataConversionWarning, match="A column-vector"):
        check_ecg(Probe(), X, y=one.replace({0: "N", 1: "V"}), reset=True)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        check_ecg(Probe(), X, y=[0, 1], reset=True)


@pytest.mark.parametrize(
    ("fit_shape", "shape", "message"),
    [
        ((4, 3, 200), (4, 2, 200), "X has 2 leads, but Probe is expecting 3 leads as input"),
        ((4, 3, 200), (4, 200), "X has 2 dimensions, but Probe is expecting 3 dimensions as input"),
        ((4, 200), (4, 1, 200), "X has 3 dimensions, but Probe is expecting 2 dimensions as input"),
        ((4, 3, 50), (4, 50, 3), r"expecting 3 leads as input.*use X.transpose\(0, 2, 1\)"),
    ],
)
def test_layout_must_match_fit(fit_shape, shape, message):
    with pytest.raises(ValueError, match=message):
        check_ecg(fitted(*fit_shape), ecgs(*shape), reset=False)


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        (ecgs(2, 3600, 12), ValueError, r"looks transposed.*use X.transpose\(0, 2, 1\)"),
        (ecgs(200), ValueError, "Reshape your data"),
        (ecgs(1, 2, 3, 4), ValueError, "Found array with dim 4, while dim <= 3 is required by Probe"),
        (ecgs(0, 2, 200), ValueError, r"0 sample\(s\)"),
        (ecgs(2, 0, 200), ValueError, r"0 lead\(s\)"),
        (ecgs(2, 2, 0), ValueError, r"0 timestep\(s\)"),
        (ecgs(2, 0), ValueError, r"0 feature\(s\)"),
        (ecgs(2, 2, 20) * 1j, ValueError, "Complex data not supported"),
        (scipy.sparse.csr_array(np.eye(5)), TypeError, "Sparse data was passed"),
        (
            [ecgs(2, 200), ecgs(2, 300)],
            ValueError,
            r"unequal lengths: shapes \(2, 200\), \(2, 300\).*Pad or crop",
        ),
        ([[[0.0, 1.0], [0.0]], [[0.0, 1.0], [1.0]]], ValueError, r"unequal lengths: shapes \(2, '2/1'\)"),
        ([[[0.0, 1.0], [0.0]], [[0.0, 1.0], [1.0, 0.0]]], ValueError, r"shapes .*\(2, 2\).*Pad or crop"),
        (np.array([ecgs(200), ecgs(300)], dtype=object), ValueError, "make_windows"),
        ([["a", "b"], ["c", "d"]], ValueError, "could not convert string to float"),
    ],
)
def test_bad_input_is_refused(X, error, message):
    with pytest.raises(error, match=message):
        check_ecg(Probe(), X, reset=True)


@pytest.mark.parametrize(("shape", "unit"), [((4, 2, 20), "timestep"), ((4, 20), "feature")])
def test_too_short(shape, unit):
    with pytest.raises(
        ValueError, match=rf"Found array with 20 {unit}\(s\) .* minimum of 32 timesteps .* Probe"
    ):
        check_ecg(Probe(), ecgs(*shape), reset=True, min_timesteps=32)
    check_ecg(Probe(), ecgs(*shape), reset=True, min_timesteps=20)


@pytest.mark.parametrize(
    ("value", "message"),
    [(np.nan, "Input X contains NaN"), (-np.inf, "Input X contains infinity or a value too")],
)
def test_not_finite_is_located(value, message):
    X = ecgs(4, 2, 200)
    X[2, 1, 17:20] = X[3, 0, 0] = value
    with pytest.raises(ValueError, match=f"{message}.*ECG 2, lead 1, at sample 17; 2 of 4 ECG"):
        check_ecg(Probe(), X, reset=True)
    with sklearn.config_context(assume_finite=True):
        check_ecg(Probe(), X, reset=True, warn=False)


def test_huge_finite_values_are_no_infinity():
    X = np.full((1, 1, 3), np.finfo(np.float64).max)
    check_ecg(Probe(), X, reset=True, warn=False)


def caught(X, **options):
    with warnings.catch_warnings(record=True) as record:
        warnings.simplefilter("always")
        check_ecg(Probe(), X, reset=True, **options)
    assert all(w.category is ECGWarning and w.filename == __file__ for w in record)
    return [str(w.message) for w in record]


def test_flat_lead_warns_once():
    X = ecgs(5, 3, 200)
    X[1, 2] = X[3] = 0.25
    (message,) = caught(X)
    assert "flat lead in 2 of 5 ECG(s): lead 0 in 1, lead 1 in 1, lead 2 in 2; the first is ECG 1" in message
    assert caught(X[:, 2])  # 2-D
    assert not caught(X[:, 2, :99])  # may be any table
    assert not caught(X, warn=False)


@pytest.mark.parametrize("shape", [(5, 2, 300), (5, 300)])
@pytest.mark.parametrize(
    ("scale", "dtype", "message"),
    [
        (200, np.int16, "integers (int16), probably raw ADC units"),
        (200, np.float32, "median, peak to peak"),
        (1e-3, np.float64, "median, peak to peak"),
    ],
)
def test_other_units_than_millivolts_warn_once(shape, scale, dtype, message):
    X = (scale * ecgs(*shape)).astype(dtype)
    (found,) = caught(X)
    assert message in found
    assert "mV" in found
    assert caught(X[:, :60]) == [] if X.ndim == 2 else True


@pytest.mark.parametrize("y", [[[0, 1], [1, 0], [1, 1]], [0, 1, 1], ["a", "b", 1]])
def test_target_of_objects_is_refused_with_the_way_out(y):
    y = np.array(y, dtype=object)
    with pytest.raises(ValueError, match=r"Unknown label type: y is an array of objects .* y.astype\(int\)"):
        check_ecg(Probe(), ecgs(3, 2, 300), y=y, reset=True)
    check_ecg(Probe(), ecgs(3, 2, 300), y=np.array(["N", "V", "N"], dtype=object), reset=True)


def test_offset_is_no_other_unit():
    assert not caught(ecgs(5, 2, 300) + 300.0)
