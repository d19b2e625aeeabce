"""Every metric against hand-computed cases, its chance level, and what it must not depend on."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.model_selection import GridSearchCV, KFold, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from skecgattn import metrics

MAP_METRICS = [
    metrics.pointing_game,
    metrics.attention_mass,
    metrics.rank_accuracy,
    metrics.map_auroc,
    metrics.map_average_precision,
    metrics.map_iou,
]
RANKINGS = [(metrics.map_auroc, roc_auc_score), (metrics.map_average_precision, average_precision_score)]


SIMPLE = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))


def true_beats(*beats):
    return np.array(list(beats), dtype=[("sample", "i8"), ("symbol", "U4")])


def located(*beats):
    return np.array(list(beats), dtype=[("sample", "i8"), ("label", "U4")])


def as_object(windows):
    out = np.empty(len(windows), dtype=object)
    out[:] = windows
    return out


def detect(true, pred, label="V", **kwargs):
    """Score one window at 100 Hz, where the tolerance of 150 ms is 15 samples."""
    return metrics.beat_detection(
        [true_beats(*true)], [located(*pred)], label=label, sampling_rate=100, **kwargs
    )


def counts(scores):
    return scores.tp, scores.fp, scores.fn, scores.ignored


def random_windows(n_samples=60, n_timesteps=400, seed=0, symbols="NNNVAFQ"):
    rng = np.random.default_rng(seed)
    beats = []
    for _ in range(n_samples):
        sample = np.cumsum(rng.integers(30, 60, size=n_timesteps // 60))
        beats.append(true_beats(*[(one, str(rng.choice(list(symbols)))) for one in sample]))
    return as_object(beats)


def span_maps(beats, n_timesteps, symbols):
    """Return maps that are 1 in the spans of beats with these symbols and 0 elsewhere."""
    maps = np.zeros((len(beats), n_timesteps))
    for row, window in zip(maps, beats):
        for (start, stop), symbol in zip(metrics.beat_spans(window, n_timesteps), window["symbol"]):
            row[start:stop] = symbol in symbols
    return maps


# ---------------------------------------------------------------- beat detection


@pytest.mark.parametrize(
    ("true", "pred", "expected"),
    [
        ([(100, "V")], [(115, "V")], (1, 0, 0, 0)),
        ([(100, "V")], [(116, "V")], (0, 1, 1, 0)),
        ([(100, "V")], [(95, "V"), (105, "V")], (1, 1, 0, 0)),
        ([(100, "V"), (120, "V")], [(90, "V"), (110, "V")], (2, 0, 0, 0)),
        ([(100, "V"), (112, "E")], [(114, "V"), (126, "V")], (2, 0, 0, 0)),
        ([(100, "V")], [(100, "S")], (0, 0, 1, 0)),
        ([(100, "N")], [(100, "V")], (0, 1, 0, 0)),
        ([], [(100, "V")], (0, 1, 0, 0)),
        ([(100, "V")], [], (0, 0, 1, 0)),
    ],
)
def test_detection_pairs_one_to_one_within_the_tolerance(true, pred, expected):
    assert counts(detect(true, pred)) == expected


@pytest.mark.parametrize(
    ("label", "symbol", "ignored"),
    [
        ("V", "F", True),
        ("V", "Q", True),
        ("V", "/", True),
        ("V", "f", True),
        ("V", "A", False),
        ("S", "Q", True),
        ("S", "F", False),
        ("S", "V", False),
        ("F", "Q", False),
    ],
)
def test_detection_dont_care_beats_are_neither_hits_nor_errors(label, symbol, ignored):
    assert counts(detect([(100, symbol)], [(105, label)], label)) == (
        (0, 0, 0, 1) if ignored else (0, 1, 0, 0)
    )
    assert counts(detect([(100, symbol)], [], label)) == (0, 0, 0, 0)


def test_detection_forgives_only_what_falls_on_a_dont_care_beat():
    assert counts(detect([(100, "F")], [(116, "V")])) == (0, 1, 0, 0)
    assert counts(detect([(100, "F")], [(98, "V"), (101, "V")])) == (0, 1, 0, 1)
    # 14 samples from the F beat, but nearer to the normal one.
    assert counts(detect([(100, "F"), (120, "N")], [(114, "V")])) == (0, 1, 0, 0)
    # A beat of the class comes first.
    assert counts(detect([(100, "V"), (112, "F")], [(108, "V")])) == (1, 0, 0, 0)
    assert counts(detect([(100, "F")], [(100, "V")], ignore=())) == (0, 1, 0, 0)


def test_detection_scores_and_symbols_as_label():
    scores = detect([(100, "V"), (300, "V"), (500, "V"), (700, "N")], [(100, "V"), (700, "V")])
    assert scores.sensitivity == pytest.approx(1 / 3)
    assert scores.positive_predictivity == pytest.approx(1 / 2)
    assert scores.f1 == pytest.approx(2 / 5)
    by_symbol = detect([(100, "A"), (300, "J")], [(100, "x"), (300, "y")], label=("A",), ignore=("J",))
    assert counts(by_symbol) == (1, 0, 0, 1)
    assert counts(detect([(100, "V")], [(100, "PVC"), (100, "V")], predicted_label="PVC")) == (1, 0, 0, 0)


def test_detection_refuses_labels_that_cannot_be_the_class():
    numbered = [np.array([(100, 1)], dtype=[("sample", "i8"), ("label", "i8")])]
    true = [true_beats((100, "V"))]
    with pytest.raises(
        ValueError, match=r"predicted_label must be given .* such as 1; got None, with label='V'"
    ):
        metrics.beat_detection(true, numbered, label="V", sampling_rate=100)
    assert metrics.beat_detection(true, numbered, label="V", sampling_rate=100, predicted_label=1).f1 == 1
    assert metrics.beat_detection(true, numbered, label=("V",), sampling_rate=100).f1 == 1
    named = [located((100, "PVC"))]
    with pytest.raises(ValueError, match="such as 'PVC'"):
        metrics.beat_detection(true, named, label="V", sampling_rate=100)
    assert metrics.beat_detection(true, named, label="V", sampling_rate=100, predicted_label="PVC").f1 == 1
    # another class alone is no mistake
    assert metrics.beat_detection(true, [located((100, "S"))], label="V", sampling_rate=100).fn == 1
    with pytest.raises(ValueError, match=r"ignore must hold WFDB beat symbols as strings; got \('F', 2\)"):
        detect([(100, "V")], [], ignore=("F", 2))


def test_detection_averages_over_groups_and_handles_empty_denominators():
    true = [true_beats((50, "V")), true_beats((50, "V")), true_beats((50, "N"))]
    pred = [located((50, "V")), located(), located()]
    kwargs = {"label": "V", "sampling_rate": 100}
    scores = metrics.beat_detection(true, pred, average="group", groups=["a", "b", "c"], **kwargs)
    assert (scores.sensitivity, scores.positive_predictivity, scores.f1) == (0.5, 1.0, 0.5)
    assert metrics.beat_detection(true, pred, **kwargs).f1 == pytest.approx(2 / 3)
    nothing = metrics.beat_detection(true[2:], pred[2:], **kwargs)
    assert np.isnan([nothing.sensitivity, nothing.positive_predictivity, nothing.f1]).all()
    assert metrics.beat_detection(true[2:], pred[2:], zero_division=0.0, **kwargs).f1 == 0.0
    with pytest.raises(ValueError, match="groups must be given"):
        metrics.beat_detection(true, pred, average="group", **kwargs)


def test_detection_chance_is_what_random_beats_score():
    beats = random_windows(200)
    rng = np.random.default_rng(1)
    drawn = []
    for window in beats:
        chosen = rng.permutation(len(window))[: rng.integers(0, 4)]
        drawn.append(located(*[(one, "V") for one in window["sample"][chosen]]))
    scores, chance = metrics.beat_detection(beats, drawn, label="V", sampling_rate=100, return_chance=True)
    assert scores.tp + scores.fp + scores.ignored == pytest.approx(chance.tp + chance.fp + chance.ignored)
    assert scores.tp + scores.fn == pytest.approx(chance.tp + chance.fn)
    for name in ("sensitivity", "positive_predictivity", "f1"):
        assert scores[name] == pytest.approx(chance[name], abs=0.05)
    _, crowded = detect([(100, "V")], [(100, "V"), (200, "V")], return_chance=True)
    assert counts(crowded) == (1, 1, 0, 0)


def test_detection_does_not_depend_on_order_or_neighbouring_windows():
    beats = random_windows(30)
    pred = [located(*[(one + 3, "V") for one in window["sample"][::2]]) for window in beats]
    whole = metrics.beat_detection(beats, pred, label="V", sampling_rate=100)
    apart = [
        metrics.beat_detection([window], [one], label="V", sampling_rate=100)
        for window, one in zip(beats, pred)
    ]
    np.testing.assert_array_equal(counts(whole), np.sum([counts(one) for one in apart], axis=0))
    shuffled = [window[::-1] for window in pred]
    assert metrics.beat_detection(beats, shuffled, label="V", sampling_rate=100) == whole


# ---------------------------------------------------------------- maps


def test_spans_tile_the_window():
    np.testing.assert_array_equal(
        metrics.beat_spans(true_beats((10, "N"), (21, "V"), (30, "N")), 50), [[0, 16], [16, 26], [26, 50]]
    )
    assert metrics.beat_spans(true_beats(), 50).shape == (0, 2)
    for bad in (true_beats((30, "N"), (10, "N")), true_beats((50, "N"))):
        with pytest.raises(ValueError, match="beats must"):
            metrics.beat_spans(bad, 50)


def test_map_metrics_by_hand():
    # Spans: N 0-3, V 3-7, N 7-10.
    beats = [true_beats((1, "N"), (5, "V"), (9, "N"))]
    maps = [[0.0, 0.4, 0.0, 0.1, 0.6, 0.9, 0.0, 0.5, 0.0, 0.0]]
    assert metrics.pointing_game(maps, beats, label="V", return_chance=True) == (1.0, 0.4)
    assert metrics.attention_mass(maps, beats, label="V") == pytest.approx(1.6 / 2.5)
    # The four highest: .9 and .6 inside, .5 and .4 outside.
    assert metrics.rank_accuracy(maps, beats, label="V", return_chance=True) == (0.5, 0.4)
    # Marked at .5: 4, 5 and 7; at chance 1.2 of 3 fall into the 4 samples.
    score, chance = metrics.map_iou(maps, beats, label="V", return_chance=True)
    assert (score, chance) == (pytest.approx(2 / 5), pytest.approx(1.2 / 5.8))
    assert metrics.map_iou(maps, beats, label="V", threshold=0.1) == pytest.approx(3 / 6)
    # Against 0 0 0 0 .4 .5: .9 and .6 beat six, .1 beats four, 0 ties with four.
    assert metrics.map_auroc(maps, beats, label="V") == pytest.approx((6 + 6 + 4 + 2) / 24)
    # Ranked .9 .6 .5 .4 .1 and five at 0: precision 1, 1, 3/5 and, with the last, 4/10.
    score = metrics.map_average_precision(maps, beats, label="V")
    assert score == pytest.approx((1 + 1 + 3 / 5 + 4 / 10) / 4)
    score, chance = metrics.map_average_precision(maps, beats, label="V", level="beat", return_chance=True)
    # One of three at random: first, second or third, with precision 1, 1/2 or 1/3.
    assert (score, chance) == (1.0, pytest.approx((1 + 1 / 2 + 1 / 3) / 3))


def test_ties_count_as_drawn_at_random():
    beats = [true_beats((1, "N"), (5, "V"), (9, "N"))]
    flat = np.zeros((1, 10))
    for metric in (metrics.pointing_game, metrics.attention_mass, metrics.rank_accuracy):
        assert metric(flat, beats, label="V") == pytest.approx(0.4)
    assert metrics.map_auroc(flat, beats, label="V") == 0.5
    assert metrics.map_average_precision(flat, beats, label="V") == pytest.approx(0.4)
    two = np.zeros((1, 10))
    two[0, [1, 5]] = 1
    assert metrics.pointing_game(two, beats, label="V") == 0.5


@pytest.mark.parametrize("metric", MAP_METRICS, ids=lambda metric: metric.__name__)
@pytest.mark.parametrize("label", ["V", "S", ("V", "A")])
def test_a_perfect_map_scores_one_and_a_random_map_chance(metric, label):
    beats = random_windows(400)
    symbols = {"V": "V", "S": "A"}.get(label, label) if isinstance(label, str) else label
    assert metric(span_maps(beats, 400, symbols), beats, label=label) == pytest.approx(1.0)
    noise = np.random.default_rng(3).uniform(size=(400, 400))
    score, chance = metric(noise, beats, label=label, return_chance=True)
    assert 0 < chance < 0.6
    assert score == pytest.approx(chance, abs=0.07)


@pytest.mark.parametrize("level", ["sample", "beat"])
@pytest.mark.parametrize("average", ["pooled", "window"])
def test_average_precision_of_a_random_map_is_its_chance(level, average):
    beats = random_windows(3000)
    noise = np.random.default_rng(4).uniform(size=(3000, 400))
    score, chance = metrics.map_average_precision(
        noise, beats, label="V", level=level, reduce="mean", average=average, return_chance=True
    )
    assert score == pytest.approx(chance, abs=0.02)


@pytest.mark.parametrize("metric", MAP_METRICS, ids=lambda metric: metric.__name__)
def test_dont_care_spans_are_cut_out_and_windows_can_be_masked(metric):
    beats = random_windows(40)
    maps = span_maps(beats, 400, "VFQ")
    assert metric(maps, beats, label="V") == pytest.approx(1.0)
    assert metric(maps, beats, label="V", ignore=()) < 0.95
    mixed = np.concatenate([maps[:20], 1 - maps[20:]])
    assert metric(mixed, beats, label="V", mask=np.arange(40) < 20) == pytest.approx(1.0)


@pytest.mark.parametrize(("metric", "reference"), RANKINGS)
@pytest.mark.parametrize("average", ["pooled", "window"])
def test_rankings_agree_with_scikit_learn(metric, reference, average):
    beats = random_windows(30, symbols="NNV")
    beats[4] = true_beats()
    maps = np.random.default_rng(5).integers(0, 20, size=(30, 400)) / 20
    positive = span_maps(beats, 400, "V").astype(bool)
    spans = [metrics.beat_spans(window, 400) for window in beats]
    for reduce, function in (("max", np.max), ("mean", np.mean)):
        score = [[function(row[a:b]) for a, b in spans[i]] for i, row in enumerate(maps)]
        target = [window["symbol"] == "V" for window in beats]
        for level, truth, values in (("sample", positive, maps), ("beat", target, score)):
            if average == "pooled":
                expected = reference(np.concatenate(truth), np.concatenate(values))
            else:
                pairs = [(t, v) for t, v in zip(truth, values) if 0 < np.sum(t) < len(t)]
                expected = np.mean([reference(*pair) for pair in pairs])
            result = metric(maps, beats, label="V", level=level, reduce=reduce, average=average)
            assert result == pytest.approx(expected)


def test_beats_on_one_sample_and_no_beats_at_all():
    beats = [true_beats((5, "N"), (5, "V"), (5, "N")), true_beats(), true_beats((0, "V"), (0, "N"))]
    maps = np.random.default_rng(0).uniform(size=(3, 10))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UndefinedMetricWarning)
        for metric in MAP_METRICS:
            metric(maps, beats, label="V")
        assert np.isfinite(metrics.map_auroc(maps, beats, label="V", level="beat"))
    with pytest.warns(UndefinedMetricWarning, match="pointing_game"):
        assert np.isnan(metrics.pointing_game(maps, beats, label="S"))


@pytest.mark.parametrize("metric", MAP_METRICS, ids=lambda metric: metric.__name__)
def test_bad_input_is_named(metric):
    beats, maps = random_windows(3), np.zeros((3, 400))
    with pytest.raises(ValueError, match="label must be an AAMI class"):
        metric(maps, beats, label="PVC")
    with pytest.raises(ValueError, match="beats must have one entry a map, 3; got 2"):
        metric(maps, beats[:2], label="V")
    with pytest.raises(ValueError, match="beats must lie inside their window, at samples 0 to 99"):
        metric(maps[:, :100], beats, label="V")
    with pytest.raises(ValueError, match="fields 'sample' and 'symbol'"):
        metric(maps, [np.array([1, 2])] * 3, label="V")
    with pytest.raises(ValueError, match="mask must be boolean"):
        metric(maps, beats, label="V", mask=[0, 1, 1])
    with pytest.raises(ValueError, match="ignore must not hold"):
        metric(maps, beats, label="V", ignore=("V",))
    with pytest.raises(ValueError, match="maps contains NaN"):
        metric(np.full((3, 400), np.nan), beats, label="V")


def test_more_bad_input():
    with pytest.raises(ValueError, match="non-negative"):
        metrics.attention_mass(np.full((1, 400), -1.0), random_windows(1), label="V")
    with pytest.raises(ValueError, match="one entry a window"):
        metrics.beat_detection([true_beats()], [], label="V", sampling_rate=360)
    with pytest.raises(ValueError, match=r"beats_pred .* fields 'sample' and 'label'"):
        metrics.beat_detection([true_beats()], [true_beats()], label="V", sampling_rate=360)
    with pytest.raises(ValueError, match="sampling_rate"):
        metrics.beat_detection([true_beats()], [located()], label="V", sampling_rate=0)


# ---------------------------------------------------------------- perturbation


def test_curves_by_hand():
    X = np.array([[1.0, 2.0, 3.0, 6.0]])
    maps = np.array([[0.1, 0.2, 0.3, 0.9]])
    deletion = metrics.deletion_curve(lambda X: X.sum(axis=1), X, maps, n_steps=4, fill="zero")
    np.testing.assert_allclose(deletion.scores, [12, 6, 3, 1, 0])
    assert deletion.auc == pytest.approx((12 / 2 + 6 + 3 + 1) / 4)
    insertion = metrics.insertion_curve(lambda X: X.sum(axis=1), X, maps, n_steps=4, fill="mean")
    np.testing.assert_allclose(insertion.scores, [12, 15, 15, 14, 12])
    straight = metrics.deletion_curve(lambda X: X[:, 1], X, [[0, 1, 0.5, 0]], n_steps=4, fill="linear")
    np.testing.assert_allclose(straight.scores, [2, 2, 1 + 5 / 3, 6, 3])


def test_the_better_order_deletes_faster_and_inserts_faster():
    rng = np.random.default_rng(0)
    X = rng.normal(0, 0.1, size=(8, 2, 200))
    maps = np.zeros((8, 200))
    for ecg, row, place in zip(X, maps, rng.integers(20, 180, size=8)):
        ecg[:, place - 5 : place + 5] += 2
        row[place - 8 : place + 8] = 1

    def score(X):
        return np.abs(X).max(axis=(1, 2))

    for fill in ("zero", "mean", "linear"):
        others = maps[rng.permutation(8)]
        assert metrics.deletion_curve(score, X, maps, fill=fill).auc < 0.3 * 2
        assert metrics.insertion_curve(score, X, maps, fill=fill).auc > 0.9 * 2
        good, bad = (metrics.deletion_curve(score, X, order, fill=fill) for order in (maps, others))
        assert good.auc < bad.auc
        assert good.scores_per_ecg.shape == (8, 21)
        np.testing.assert_allclose(good.scores_per_ecg[:, 0], score(X))


def test_curves_refuse_what_does_not_fit():
    X = np.zeros((2, 1, 10))
    with pytest.raises(ValueError, match=r"maps must have shape \(2, 10\)"):
        metrics.deletion_curve(lambda X: X[:, 0, 0], X, np.zeros((2, 9)))
    with pytest.raises(ValueError, match="score_function must return"):
        metrics.insertion_curve(lambda X: X[:, 0], X, np.zeros((2, 10)))


# ---------------------------------------------------------------- honesty


def test_leakage_tells_smuggled_shape_from_honest_counts():
    rng = np.random.default_rng(0)
    beats = random_windows(200, symbols="NNNV")
    groups = np.arange(200) // 10
    y = np.array(["V" if "V" in window["symbol"] else "N" for window in beats])
    honest = span_maps(beats, 400, "V") * 0.9
    kwargs = {"beats": beats, "classifier": SIMPLE}
    fair = metrics.mask_leakage(honest, y, groups, **kwargs)
    assert fair.auc_counts > 0.99
    assert fair.excess < 0.01
    coin = rng.integers(0, 2, size=200)
    smuggled = np.clip(honest + 0.1 * coin[:, None], 0, 1)
    leak = metrics.mask_leakage(smuggled, coin, groups, **kwargs)
    assert leak.auc > 0.95
    assert leak.excess > 0.3
    assert abs(metrics.mask_leakage(honest, coin, groups, **kwargs).auc - 0.5) < 0.15


def test_leakage_takes_multiclass_and_indicator_targets():
    rng = np.random.default_rng(0)
    y = np.arange(90) % 3
    maps = rng.uniform(0, 0.1, size=(90, 50)) + 0.3 * y[:, None]
    groups = np.arange(90) // 3
    kwargs = {"classifier": SIMPLE, "cv": 3}
    multiclass = metrics.mask_leakage(maps, y, groups, **kwargs)
    assert multiclass.auc_per_class.shape == (3,)
    indicator = metrics.mask_leakage(maps, np.stack([y == 0, y == 2], axis=1).astype(int), groups, **kwargs)
    np.testing.assert_allclose(indicator.auc_per_class, multiclass.auc_per_class[[0, 2]], atol=0.02)
    with pytest.raises(ValueError, match="at least two classes"):
        metrics.mask_leakage(maps, np.zeros(90, dtype=int), groups)
    with pytest.raises(ValueError, match="without both classes"):
        metrics.mask_leakage(maps, np.arange(90) < 30, groups, cv=[(np.arange(30, 90), np.arange(30))])


def test_leakage_needs_as_many_patients_as_folds():
    y = np.arange(40) % 2
    with pytest.raises(ValueError, match="cv must be at most the number of patients in groups, 4; got 5"):
        metrics.mask_leakage(np.zeros((40, 20)), y, np.arange(40) // 10)


def test_beats_of_a_constant_map_tie_however_long_they_are():
    beats = [true_beats((8, "N"), (20, "V"), (41, "N"))] * 3
    for value in (0.1, 1 / 3, 0.7):
        for reduce in ("max", "mean"):
            maps = np.full((3, 60), value)
            assert metrics.map_auroc(maps, beats, label="V", level="beat", reduce=reduce) == 0.5


def test_seed_agreement_draws_ties_for_every_ecg():
    agreement = metrics.seed_agreement(np.zeros((2, 400, 100)))
    assert agreement.iou == pytest.approx(agreement.iou_chance, abs=0.01)
    assert len(np.unique(agreement.iou_per_ecg)) > 1


def test_seed_agreement():
    rng = np.random.default_rng(0)
    maps = rng.uniform(size=(20, 500))
    same = metrics.seed_agreement([maps, maps**3, 2 * maps])
    assert (same.spearman, same.iou) == (pytest.approx(1.0), 1.0)
    assert metrics.seed_agreement([maps, -maps]).spearman == pytest.approx(-1.0)
    for unrelated in (rng.uniform(size=(20, 500)), np.ones((20, 500))):
        agreement = metrics.seed_agreement([maps, unrelated])
        assert agreement.spearman == pytest.approx(0, abs=0.05)
        assert agreement.iou == pytest.approx(agreement.iou_chance, abs=0.02)
    # By hand: ranks 1 2 3 4 against 1 2 4 3 (d² sums to 2); highest halves equal.
    tiny = metrics.seed_agreement([[[0, 1, 2, 3.0]], [[0, 1, 3, 2.0]]], area=0.5)
    assert (tiny.spearman, tiny.iou) == (pytest.approx(0.8), 1.0)
    with pytest.raises(ValueError, match="at least 2 seeds"):
        metrics.seed_agreement(maps[None])


# ---------------------------------------------------------------- scorers


class Threshold(ClassifierMixin, BaseEstimator):
    """Marks and locates what exceeds `level` in X."""

    def __init__(self, level=0.5):
        self.level = level

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        return self.classes_[(X.max(axis=1) > self.level).astype(int)]

    def segment(self, X, target=None):
        return np.clip(X, 0, 1) if target in (None, "V") else 1 - np.clip(X, 0, 1)

    def locate(self, X):
        return [located(*[(one, "V") for one in np.flatnonzero(ecg > self.level)]) for ecg in X]


@pytest.fixture
def ecgs():
    """Six windows with a V beat of height 0.9 and, in every second, an N beat of height 0.6."""
    X, beats = np.zeros((12, 100)), []
    for i, ecg in enumerate(X):
        ecg[20 + i], ecg[70] = (0.9 if i % 2 else 0.0), 0.6
        beats.append(true_beats((20 + i, "V" if i % 2 else "N"), (70, "N")))
    y = np.where(np.arange(12) % 2, "V", "N")
    with sklearn.config_context(enable_metadata_routing=True):
        yield X, y, as_object(beats)


def test_scorers_in_cross_validate(ecgs):
    X, y, beats = ecgs
    scoring = {
        "f1": metrics.make_beat_scorer("f1", label="V", sampling_rate=100),
        "mass": metrics.make_map_scorer("attention_mass", label="V"),
        "other": metrics.make_map_scorer("pointing_game", label="V", target="N"),
        "accuracy": "accuracy",
    }
    result = cross_validate(
        Threshold(), X, y, scoring=scoring, params={"beats": beats}, cv=KFold(3), error_score="raise"
    )
    # Two V beats found and four N beats marked as well in each fold of four windows.
    np.testing.assert_allclose(result["test_f1"], 2 * 2 / (2 * 2 + 4))
    np.testing.assert_allclose(result["test_mass"], 0.9 / 1.5)
    # The complement peaks anywhere but on the two beats: about half of the time in the V beat's span.
    assert (abs(result["test_other"] - 0.5) < 0.05).all()
    both = metrics.make_beat_scorer(("sensitivity", "positive_predictivity"), label="V", sampling_rate=100)
    result = cross_validate(Threshold(0.7), X, y, scoring=both, params={"beats": beats}, cv=3)
    np.testing.assert_allclose([result["test_sensitivity"], result["test_positive_predictivity"]], 1.0)


def test_scorers_choose_in_a_grid_search_and_read_its_best_estimator(ecgs):
    X, y, beats = ecgs
    scorer = metrics.make_beat_scorer(label="V", sampling_rate=100)
    search = GridSearchCV(Threshold(), {"level": [0.5, 0.7, 0.95]}, scoring=scorer, cv=3, error_score="raise")
    search.fit(X, y, beats=beats)
    assert search.best_params_ == {"level": 0.7}
    np.testing.assert_allclose(search.cv_results_["mean_test_score"], [0.5, 1.0, 0.0])
    assert search.score(X, y, beats=beats) == 1.0
    assert scorer(search, X, y, beats=beats) == 1.0
    mixed = {"f1": scorer, "accuracy": "accuracy"}
    search = GridSearchCV(Threshold(), {"level": [0.5, 0.7]}, scoring=mixed, refit="f1", cv=3)
    assert search.fit(X, y, beats=beats).best_params_ == {"level": 0.7}


def test_scorers_reach_the_last_step_of_a_pipeline(ecgs):
    X, y, beats = ecgs
    pipeline = make_pipeline(
        FunctionTransformer(np.negative), FunctionTransformer(np.negative), Threshold(0.7)
    )
    for scorer in (
        metrics.make_beat_scorer(label="V", sampling_rate=100),
        metrics.make_map_scorer("pointing_game", label="V"),
    ):
        result = cross_validate(
            pipeline, X, y, scoring=scorer, params={"beats": beats}, cv=3, error_score="raise", n_jobs=1
        )
        np.testing.assert_allclose(result["test_score"], 1.0)
        assert scorer(make_pipeline(Threshold(0.7)).fit(X, y), X, y, beats=beats) == 1.0


def test_scorers_request_beats_by_any_name_and_survive_pickling(ecgs):
    X, y, beats = ecgs
    scorer = metrics.make_map_scorer("map_average_precision", label="V", level="beat")
    scorer = pickle.loads(pickle.dumps(scorer.set_score_request(beats="annotations")))
    result = cross_validate(Threshold(), X, y, scoring=scorer, params={"annotations": beats}, cv=3)
    np.testing.assert_allclose(result["test_score"], 1.0)


def test_beat_scorer_refuses_another_sampling_rate(ecgs):
    X, y, beats = ecgs
    model = make_pipeline(Threshold(0.7)).fit(X, y)
    model[-1].sampling_rate = 50
    scorer = metrics.make_beat_scorer(label="V", sampling_rate=100)
    with pytest.raises(ValueError, match=r"sampling_rate of the scorer is 100, but Threshold .* of 50 Hz"):
        scorer(model, X, y, beats=beats)
    model[-1].sampling_rate = 100.0
    assert scorer(model, X, y, beats=beats) == 1.0


def test_beat_scorer_refuses_labels_that_are_never_located(ecgs):
    X, y, beats = ecgs
    model = Threshold(0.7).fit(X, y)
    model.map_labels_ = [0, 1]
    scorer = metrics.make_beat_scorer(label="V", sampling_rate=100)
    with pytest.raises(
        ValueError, match=r"predicted_label must be one of \[0, 1\], .*got None with label='V'"
    ):
        scorer(model, X, y, beats=beats)
    model.map_labels_ = ["V"]
    assert scorer(model, X, y, beats=beats) == 1
    of_symbols = metrics.make_beat_scorer(label=("V",), sampling_rate=100)
    assert of_symbols(model, X, y, beats=beats) == 1


def test_symbols_may_be_bytes():
    true = [np.array([(50, b"V"), (150, b"N")], dtype=[("sample", "i8"), ("symbol", "S1")])]
    found = [np.array([(50, "V")], dtype=[("sample", "i8"), ("label", "U1")])]
    assert metrics.beat_detection(true, found, label="V", sampling_rate=100).f1 == 1
    assert metrics.pointing_game(np.eye(1, 200, 50), true, label="V") == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ignore": "F"}, "The 'ignore' parameter of .* Got 'F'"),
        ({"ignore": 5}, "The 'ignore' parameter of .* Got 5"),
        ({"ignore": ("V", "F")}, "ignore must not hold symbols of the class scored"),
    ],
    ids=str,
)
def test_scorers_check_their_options_when_they_are_made(options, message):
    with pytest.raises(ValueError, match=message):
        metrics.make_beat_scorer(label="V", sampling_rate=100, **options)
    with pytest.raises(ValueError, match=message):
        metrics.make_map_scorer(("pointing_game", "map_auroc"), label="V", **options)


def test_beat_scorer_checks_its_tolerance_when_it_is_made():
    with pytest.raises(ValueError, match="The 'tolerance' parameter of beat_detection"):
        metrics.make_beat_scorer(label="V", sampling_rate=100, tolerance=-0.1)


def test_scorers_say_what_is_missing(ecgs):
    X, y, beats = ecgs
    scorer = metrics.make_beat_scorer(label="V", sampling_rate=100)
    with pytest.raises(ValueError, match="enable_metadata_routing"):
        cross_validate(Threshold(), X, y, scoring=scorer, cv=3, error_score="raise")
    with pytest.raises(TypeError, match="method locate"):
        scorer(LogisticRegression().fit(X, y), X, y, beats=beats)
    with pytest.raises(ValueError, match="metric must be one or more of"):
        metrics.make_map_scorer("f1", label="V")
    for make in (metrics.make_beat_scorer, metrics.make_map_scorer):
        with pytest.raises(ValueError, match=r"label must be an AAMI class, .* got 'PVC'"):
            make(label="PVC", **({"sampling_rate": 100} if make is metrics.make_beat_scorer else {}))
    with pytest.raises(TypeError, match="map_iou takes the options"):
        metrics.make_map_scorer("map_iou", label="V", level="beat")


def test_located_beats_may_be_a_frame():
    dtype = [("sample", np.int64), ("label", object)]
    rows = [(0, 100, "V"), (2, 50, "V"), (2, 90, "S"), (0, 300, "S")]
    frame = pd.DataFrame(rows, columns=["ecg", "sample", "label"])
    arrays = [np.array([row[1:] for row in rows if row[0] == k], dtype=dtype) for k in range(4)]
    truth = [np.array([(105, "V"), (290, "N")], dtype=[("sample", "i8"), ("symbol", "U4")])] * 4
    options = {"label": "V", "sampling_rate": 100}
    assert metrics.beat_detection(truth, frame, **options) == metrics.beat_detection(truth, arrays, **options)
    assert metrics.beat_detection(truth, frame[:0], **options).fn == 4
    with pytest.raises(ValueError, match=r"windows 0 to 1 in its column 'ecg', .* got 0 to 2"):
        metrics.beat_detection(truth[:2], frame, **options)
    with pytest.raises(ValueError, match="must have whole numbers in its column 'sample'; got float64"):
        metrics.beat_detection(truth, frame.assign(sample=[1.0, 2.0, np.nan, 4.0]), **options)
    with pytest.raises(ValueError, match=r"lacks \['ecg'\]"):
        metrics.beat_detection(truth, frame.drop(columns="ecg"), **options)
