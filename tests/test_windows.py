from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.utils import Bunch

from skecgattn._aami import AAMI_CLASSES
from skecgattn.datasets import make_windows

RATE = 100.0


def record(annotations, *, name="a", seconds=10, rate=RATE, n_leads=2):
    """Return a record whose signal counts the samples in lead 0."""
    n = int(seconds * rate)
    return Bunch(
        name=name,
        patient=f"patient {name}",
        signal=np.arange(n * n_leads, dtype=np.float32).reshape(n_leads, n),
        sampling_rate=rate,
        annotations=np.array(annotations, dtype=[("sample", np.int64), ("symbol", "U4")]),
    )


BEATS = [
    (0, "+"),
    (10, "N"),
    (199, "V"),
    (200, "A"),
    (250, "~"),
    (399, "a"),
    (450, "E"),
    (600, "/"),
    (610, "F"),
]


def test_positions_and_half_open_windows():
    X, y, groups, beats = make_windows([record(BEATS), record([], name="b", seconds=3.9)], window=2)
    assert X.shape == (6, 2, 200)
    assert X.dtype == np.float32
    np.testing.assert_array_equal(X[:5, 0].ravel(), np.arange(1000))
    assert groups.tolist() == ["patient a"] * 5 + ["patient b"]
    assert [b["sample"].tolist() for b in beats] == [[10, 199], [0, 199], [50], [0, 10], [], []]
    assert [b["symbol"].tolist() for b in beats] == [["N", "V"], ["A", "a"], ["E"], ["/", "F"], [], []]
    assert y.tolist() == [[0, 1], [1, 0], [0, 1], [0, 0], [0, 0], [0, 0]]


@pytest.mark.parametrize(
    ("patient", "group"),
    [
        (None, "a"),
        (float("nan"), "a"),
        (pd.NA, "a"),
        (1.0, "1"),
        (1, "1"),
        ("1", "1"),
        (np.float64(2.5), "2.5"),
    ],
)
def test_patients_that_are_missing_or_numbers(patient, group):
    known = record([])
    known.patient = patient
    assert make_windows(known, window=5)[2].tolist() == [group] * 2


def test_overlap_and_fractional_step():
    X, *_ = make_windows([record([])], window=2, step=0.5)
    assert X[:, 0, 0].tolist() == list(range(0, 801, 50))
    X, *_ = make_windows([record([], rate=360.0)], window=1, step=1 / 3.1)
    assert X[:, 0, 0].tolist() == [round(k * 360 / 3.1) for k in range(len(X))]
    assert X[-1, 0, -1] <= 3599


def test_labels():
    data = [
        record([(10, "A"), (20, "V"), (210, "V"), (220, "V"), (230, "a"), (410, "N"), (610, "F")], seconds=8)
    ]
    assert make_windows(data, window=2, label="frequent")[1].tolist() == ["S", "V", "N", "N"]
    swapped = make_windows(data, window=2, label="frequent", classes=("V", "S", "F"))[1]
    assert swapped.tolist() == ["V", "V", "N", "F"]
    y = make_windows(data, window=2, classes=("N", "F"))[1]
    assert y.tolist() == [[0, 0], [0, 0], [1, 0], [0, 1]]

    def two_or_more(beats):
        return "many" if len(beats) > 1 else None

    X, y, groups, beats = make_windows(data, window=2, label=two_or_more)
    assert y.tolist() == ["many", "many"]
    assert X[:, 0, 0].tolist() == [0, 200]
    assert len(groups) == len(beats) == 2
    with pytest.raises(ValueError, match="No window is left"):
        make_windows(data, window=2, label=lambda beats: None)


@pytest.mark.parametrize(
    ("records", "options", "message"),
    [
        ([], {}, "records is empty"),
        (
            [record([], rate=100.0), record([], rate=360.0, name="b")],
            {},
            r"same sampling rate, got 100 \(record a",
        ),
        ([record([]), record([], n_leads=3, name="b")], {}, "same number of leads"),
        ([record([])], {"window": 11}, "longer than all records; the longest has 10 s"),
        ([record([])], {"window": 0.001}, "at least one sample"),
        ([record([])], {"classes": ["PVC"]}, r"classes must be different ones of .*got \['PVC'\]"),
        ([record([])], {"classes": ["N"], "label": "frequent"}, "classes must be"),
        ([Bunch(name="a")], {}, "lacks"),
        ([record([])], {"window": -1}, "'window' parameter"),
        ([record([])], {"label": "majority"}, "'label' parameter"),
    ],
)
def test_errors(records, options, message):
    with pytest.raises(ValueError, match=message):
        make_windows(records, **options)


def test_real_windows_keep_every_beat(mitbih_records, mitbih_windows):
    X, y, groups, beats = mitbih_windows
    assert X.shape == (450, 2, 3600)
    assert sorted(set(groups)) == ["106", "119", "208", "209", "223"]
    for k, name in enumerate(AAMI_CLASSES):
        if name in "SV":
            truth = [np.isin(b["symbol"], AAMI_CLASSES[name]).any() for b in beats]
            np.testing.assert_array_equal(y[:, k - 1], truth)
    X, y, groups, beats = make_windows(Bunch(records=mitbih_records[:1]))
    annotations = mitbih_records[0].annotations
    symbols = np.concatenate([b["symbol"] for b in beats])
    samples = np.concatenate([b["sample"] + 3600 * i for i, b in enumerate(beats)])
    known = np.isin(annotations["symbol"], sum(AAMI_CLASSES.values(), ())) & (
        annotations["sample"] < 3600 * len(X)
    )
    np.testing.assert_array_equal(samples, annotations["sample"][known])
    np.testing.assert_array_equal(symbols, annotations["symbol"][known])
