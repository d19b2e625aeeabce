from __future__ import annotations

import contextlib
import io
import math
import pickle
import random
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from joblib import Parallel, delayed
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import Pipeline
from sklearn.utils._param_validation import InvalidParameterError
from skorch.callbacks import Callback, Checkpoint

from skecgattn import AttentionECGClassifier
from skecgattn._build import make_front_end
from skecgattn._labels import Labels
from skecgattn._thresholds import NOTHING_LEARNED
from skecgattn.beats import BEAT_DTYPE, N_RHYTHM, N_WAVES
from skecgattn.beats._heartbeat_network import trained_network
from skecgattn.datasets import make_ecg
from skecgattn.exceptions import ECGWarning, TrainingDivergedError
from skecgattn.nn import (
    Augmentation,
    BeatSegmenter,
    CrossEntropy,
    Evidence,
    MultipleInstance,
    UNetSegmenter,
)

RATE = 128
SMALL = {
    "resample_to": None,
    "width": 4,
    "max_epochs": 2,
    "batch_size": 16,
    "early_stopping": True,
    "random_state": 0,
}


def small(**params):
    return AttentionECGClassifier(RATE, **(SMALL | params))


def ecg_of(n_samples=40, n_leads=2, *, classes=("V",), duration=5.0, seed=0, **params):
    options = {"pvc": 0.5, "pac": 0.0 if len(classes) == 1 else 0.4, "n_patients": 8} | params
    X, y, groups, _ = make_ecg(
        n_samples,
        n_leads=n_leads,
        sampling_rate=RATE,
        duration=duration,
        classes=classes,
        random_state=seed,
        **options,
    )
    return X.astype(np.float32), y, groups


@pytest.fixture(scope="module")
def binary():
    """ECGs, "N" or "V", patients."""
    X, y, groups = ecg_of()
    return X, np.where(y[:, 0] == 1, "V", "N"), groups


@pytest.fixture(scope="module")
def multilabel():
    """ECGs, indicators of [S, V], patients."""
    return ecg_of(classes=("S", "V"))


@pytest.fixture(scope="module")
def multiclass(multilabel):
    X, y, groups = multilabel
    return X, np.where(y[:, 1] == 1, "V", np.where(y[:, 0] == 1, "S", "N")), groups


@pytest.fixture(scope="module")
def fitted(binary):
    X, y, groups = binary
    return small().fit(X, y, groups=groups)


@pytest.fixture(scope="module")
def fitted_multilabel(multilabel):
    X, y, groups = multilabel
    return small().fit(X, y, groups=groups)


def assert_usable(clf, X):
    probability = clf.predict_proba(X)
    assert probability.shape == (len(X), len(clf.classes_))
    assert np.isfinite(probability).all()
    assert np.isfinite(clf.segment(X)).all()
    assert len(clf.locate(X)) == len(X)


# --- learning -------------------------------------------------------------------------------------


def test_it_learns_and_its_map_finds_the_beats():
    X, y, groups, _ = make_ecg(
        160, sampling_rate=RATE, duration=6, pac=0, n_patients=20, classes=["V"], random_state=0
    )
    new, truth, _, beats = make_ecg(
        40, sampling_rate=RATE, duration=6, pac=0, n_patients=10, classes=["V"], random_state=1
    )
    clf = small(width=8, max_epochs=20, lr=1e-2).fit(X, y.ravel(), groups=groups)
    assert roc_auc_score(truth, clf.predict_proba(new)[:, 1]) > 0.9
    assert clf.history_[-1]["train_loss"] < clf.history_[0]["train_loss"]
    peaks = clf.segment(new).argmax(axis=1)
    rows = np.flatnonzero((truth.ravel() == 1) & (clf.predict(new) == 1))
    hits = 0
    for row in rows:
        nearest = np.abs(beats[row]["sample"] - peaks[row]).argmin()
        hits += beats[row]["symbol"][nearest] == "V"
    assert hits / len(rows) > 0.6  # chance is the share of V beats, about 0.2


@pytest.mark.parametrize(
    ("segmenter", "rhythm", "n_channels"),
    [
        ("auto", "auto", 4 + N_RHYTHM + N_WAVES),
        ("beat", False, 4 + N_WAVES),
        ("unet", "auto", 4),  # it may mark the pause after the beat
        ("unet", True, 4 + N_RHYTHM),
        (None, "auto", 4 + N_RHYTHM),
        (UNetSegmenter, "auto", 4),
        (BeatSegmenter, "auto", 4 + N_RHYTHM + N_WAVES),
        (partial(BeatSegmenter, n_features=8), "auto", 4 + N_RHYTHM + N_WAVES),
        (partial(UNetSegmenter, width=4), "auto", 4),
    ],
)
def test_rhythm_and_waves_are_read_where_beats_are_judged(binary, segmenter, rhythm, n_channels):
    X, y, _ = binary
    clf = small(segmenter=segmenter, rhythm=rhythm, max_epochs=1, early_stopping=False).fit(X, y)
    assert clf._n_channels == n_channels


@pytest.mark.parametrize(
    ("no", "yes"),
    [
        ("N", "V"),
        (0, 1),
        (False, True),
        (-1, 1),
        (0.0, 2.0),
        ("sinus rhythm", "RVOT"),
        ("healthy", "RVOT"),
        (np.int8(3), np.int8(7)),
    ],
)
def test_any_label_type(binary, no, yes):
    X, y, _ = binary
    dtype = object if no == "healthy" else None
    labels = np.array([no, yes], dtype=dtype)[(y == "V").astype(int)]
    clf = small(max_epochs=1).fit(X, labels)
    assert clf.classes_.dtype == labels.dtype
    assert clf.classes_.tolist() == sorted([no, yes])
    assert set(clf.predict(X).tolist()) <= {no, yes}
    assert 0 <= clf.score(X, labels) <= 1
    assert clf.map_labels_ == ([no, yes] if no == 3 else [yes])
    assert all(type(label) in (str, int, float, bool) for label in clf.map_labels_)
    assert clf.segment(X[:2], target=yes).shape == (2, X.shape[2])


@pytest.mark.parametrize(
    ("no", "normal"),
    [
        ("Normal sinus rhythm", True),
        ("Sinus_Rhythm", True),
        ("426783006", True),
        ("no PVC", True),
        ("none", True),
        ("nodal", False),
    ],
)
def test_usual_spellings_of_normal(no, normal):
    labels = Labels.learn(np.array([no, "PVC"] * 3), normal_class="auto")
    assert labels.abnormal == (["PVC"] if normal else sorted([no, "PVC"]))


def test_indicators_are_0_and_1(multilabel):
    X, y, _ = multilabel
    for wrong in (2 * y - 1, y + 1, 2 * y):
        with pytest.raises(ValueError, match="y must be an indicator matrix of 0 and 1, got the values"):
            small(max_epochs=1).fit(X, wrong)
    clf = small(max_epochs=1, early_stopping=False).fit(X, y)
    with pytest.raises(ValueError, match="y must be an indicator matrix of 0 and 1"):
        clf.partial_fit(X, 2 * y - 1)
    with pytest.raises(
        ValueError, match=r"normal_class must be 'auto' or None for multilabel y, .*; got 'N'"
    ):
        small(normal_class="N").fit(X, y)


def test_labels_do_not_change_the_result(binary):
    X, y, _ = binary
    p = [small().fit(X, labels).predict_proba(X) for labels in (y, y == "V", pd.Series(y), list(y))]
    for other in p[1:]:
        np.testing.assert_array_equal(p[0], other)


def test_multiclass_has_a_map_for_every_abnormal_class(multiclass):
    X, y, _ = multiclass
    clf = small().fit(X, y)
    assert clf.classes_.tolist() == ["N", "S", "V"]
    assert clf.map_labels_ == ["S", "V"]
    np.testing.assert_allclose(clf.predict_proba(X).sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(clf.predict(X), clf.classes_[clf.decision_function(X).argmax(axis=1)])
    single = [clf.segment(X, target=label) for label in clf.map_labels_]
    np.testing.assert_allclose(clf.segment(X), 1 - (1 - single[0]) * (1 - single[1]), atol=1e-6)
    assert small(normal_class=None).fit(X, y).map_labels_ == ["N", "S", "V"]
    assert small(normal_class="S").fit(X, y).map_labels_ == ["N", "V"]


def test_multilabel(multilabel, fitted_multilabel):
    X, y, _ = multilabel
    clf = fitted_multilabel
    assert clf.predict(X).shape == clf.predict_proba(X).shape == y.shape
    assert clf.map_labels_ == [0, 1]
    np.testing.assert_array_equal(clf.predict(X), clf.predict_proba(X) > 0.5)
    expected = 1 / (1 + np.exp(-clf.decision_function(X)))
    np.testing.assert_allclose(clf.predict_proba(X), expected, rtol=1e-5)
    frame = small(max_epochs=1).fit(X, pd.DataFrame(y, columns=["S", "V"]))
    assert frame.map_labels_ == ["S", "V"]
    plain = small(max_epochs=1).fit(X, y).predict_proba(X)
    np.testing.assert_array_equal(frame.predict_proba(X), plain)
    for other in (csr_array(y), y.astype(bool), y.tolist()):
        np.testing.assert_array_equal(small(max_epochs=1).fit(X, other).predict_proba(X), plain)


def test_decision_function_of_two_classes(binary, fitted):
    X, _, _ = binary
    decision, probability = fitted.decision_function(X), fitted.predict_proba(X)[:, 1]
    np.testing.assert_allclose(np.log(probability / (1 - probability)), decision, atol=1e-4)
    np.testing.assert_array_equal(fitted.predict(X) == "V", decision > 0)


def test_class_weight_and_sample_weight(binary):
    X, y, _ = binary
    options = {"early_stopping": False, "augmentation": False, "dropout": 0.0, "batch_size": None}
    share = (y == "V").mean()
    balanced = small(class_weight="balanced", **options).fit(X, y).predict_proba(X)
    by_hand = {"N": 0.5 / (1 - share), "V": 0.5 / share}
    given = small(class_weight=by_hand, **options).fit(X, y).predict_proba(X)
    np.testing.assert_allclose(given, balanced, atol=1e-5)
    favoured = small(class_weight={"V": 50}, lr=2e-2, **options).fit(X, y).predict_proba(X)[:, 1].mean()
    weight = np.where(y == "V", 50.0, 1.0)
    weighted = small(lr=2e-2, **options).fit(X, y, sample_weight=weight).predict_proba(X)[:, 1].mean()
    neutral = small(lr=2e-2, **options).fit(X, y).predict_proba(X)[:, 1].mean()
    assert favoured > neutral
    assert weighted > neutral


def test_balanced_classes_are_those_trained_on(binary):
    X, y, groups = binary
    drawn = []

    class Watch(Callback):
        def on_train_begin(self, net, X=None, **kwargs):
            drawn.append((net.plan.task.class_weight, X.target.numpy()))

    small(class_weight="balanced", callbacks=[Watch()], max_epochs=1).fit(X, y, groups=groups)
    weights, target = drawn[0]
    assert len(target) < len(X)
    np.testing.assert_allclose(weights, len(target) / (2 * target.sum(axis=0)))


def test_ecgs_of_no_weight_are_not_used(binary):
    X, y, _ = binary
    weight = np.r_[np.ones(30), np.zeros(10)]
    spoilt, wrong = X.copy(), y.copy()
    spoilt[30:] = X[:10]
    wrong[30:] = y[::-1][:10]
    # training multiplies what is rounded differently, on some processors to more than the tolerance
    a = small(precision="float64").fit(X, y, sample_weight=weight)
    b = small(precision="float64").fit(spoilt, wrong, sample_weight=weight)
    np.testing.assert_allclose(a.predict_proba(X), b.predict_proba(X), atol=1e-6)


def test_class_weight_of_labels(multilabel):
    X, y, _ = multilabel
    options = {"early_stopping": False, "max_epochs": 1}
    plain = small(**options).fit(X, y).predict_proba(X)
    ones = small(class_weight=[{0: 1, 1: 1}] * 2, **options).fit(X, y).predict_proba(X)
    np.testing.assert_allclose(ones, plain, atol=1e-6)
    share = y.mean(axis=0)
    by_hand = [{0: 0.5 / (1 - p), 1: 0.5 / p} for p in share]
    np.testing.assert_allclose(
        small(class_weight=by_hand, **options).fit(X, y).predict_proba(X),
        small(class_weight="balanced", **options).fit(X, y).predict_proba(X),
        atol=1e-5,
    )


@pytest.mark.parametrize(
    "params",
    [
        {"segmenter": None},
        {"segmenter": "beat"},
        {"segmenter": "unet"},
        {"segmenter": "unet", "rhythm": False, "contrast": False},
        {"objective": CrossEntropy()},
        {"objective": "multiple_instance"},
        {"objective": MultipleInstance(top=0.1)},
        {"objective": Evidence(area=0.5, random=0)},
        {"segmenter": "hu2021", "objective": "cross_entropy"},
        {"classifier": "hu2021"},
        {"augmentation": Augmentation(noise=0)},
        {"augmentation": False, "lr_schedule": "constant", "weight_decay": 0},
        {"rhythm": False, "contrast": False},
        {"band": None, "scale": False},
        {"band": (None, 30)},
        {"resample_to": 100.0},
        {"precision": "bfloat16"},
        {"precision": "float64"},
        {"batch_size": None},
        {"early_stopping": False},
        {"device": torch.device("cpu"), "n_threads": 1},
    ],
    ids=str,
)
def test_every_setting_trains_and_predicts(multilabel, params):
    X, y, _ = multilabel
    clf = small(**({"max_epochs": 1} | params)).fit(X, y)
    assert clf.predict_proba(X).shape == y.shape
    assert np.isfinite(clf.history_[0]["train_loss"])
    if clf.segmenter is None:
        assert clf.map_labels_ == []
        for ask in (clf.segment, clf.locate):
            with pytest.raises(ValueError, match="segmenter=None"):
                ask(X)
        return
    maps = clf.segment(X)
    assert maps.shape == (len(X), X.shape[2])
    assert maps.min() >= 0
    assert maps.max() <= 1
    assert len(clf.locate(X)) == len(X)


def test_published_setting(binary):
    X, y, _ = binary
    clf = AttentionECGClassifier.published(RATE, max_epochs=1, random_state=0).fit(X, y)
    assert (clf.lr, clf.batch_size, clf.objective, clf.class_weight) == (
        1e-5,
        16,
        "cross_entropy",
        "balanced",
    )
    assert AttentionECGClassifier.published().max_epochs == 150
    maps = clf.segment(X)
    np.testing.assert_allclose(maps.max(axis=1), 1)
    assert maps.min() >= 0
    assert_usable(clf, X)
    assert_usable(clf, X[:3, :, :501])
    assert pickle.loads(pickle.dumps(clf)).score(X, y) == clf.score(X, y)


def test_published_setting_reads_ecgs_as_they_are(binary):
    X = binary[0][:3].copy()
    X[:, :, :200] = 0  # padding, which is held where the networks' input is filtered
    front_end = make_front_end(AttentionECGClassifier.published(RATE))
    values, heartbeats = front_end.transform(X)
    np.testing.assert_array_equal(values, X.astype(np.float32))
    np.testing.assert_array_equal(
        values, make_front_end(AttentionECGClassifier.published()).transform(X).values
    )
    found = heartbeats[heartbeats >= 0]
    assert len(found) > 3 * 3
    assert found.min() >= 200


def test_published_setting_can_tell_that_a_label_is_missing(binary):
    X, y, _ = binary
    for target, missing in ((np.stack([y == y[0]] * 2, axis=1).astype(int), True), (y, False)):
        clf = AttentionECGClassifier.published(RATE, max_epochs=1, random_state=0).fit(X, target)
        with torch.no_grad():
            clf.network_.classifier.head.bias.fill_(-9)
        logits = clf._logits(X)
        assert (logits < 0).all() if missing else (logits == 0).all()


def test_one_map_for_several_classes_cannot_be_asked_for_one(multiclass):
    X, y, _ = multiclass
    clf = small(segmenter="hu2021", objective="cross_entropy", max_epochs=1).fit(X, y)
    with pytest.raises(ValueError, match=r"target='V': the segmenter makes one map for all of \['S', 'V'\]"):
        clf.segment(X, target="V")
    assert_usable(clf, X)


# --- the user's own networks -------------------------------------------------------------------------


class Line(torch.nn.Module):
    """A convolution that serves as a segmenter, and averaged over time as a classifier."""

    def __init__(self, n_channels, n_out, mean):
        super().__init__()
        self.convolution = torch.nn.Conv1d(n_channels, n_out, 9, padding="same")
        self.mean = mean

    def forward(self, x):
        y = self.convolution(x)
        return y.mean(dim=2) if self.mean else y


def own_segmenter(n_channels, n_maps):
    return Line(n_channels, n_maps, mean=False)


def own_classifier(n_channels, n_outputs):
    return Line(n_channels, n_outputs, mean=True)


def test_networks_of_ones_own(multiclass):
    X, y, _ = multiclass
    clf = clone(small(segmenter=own_segmenter, classifier=own_classifier)).fit(X, y)
    assert_usable(clf, X)
    assert clf.segment(X, target="S").shape == (len(X), X.shape[2])
    again = pickle.loads(pickle.dumps(clf))
    np.testing.assert_array_equal(again.predict_proba(X), clf.predict_proba(X))


def own_beat_segmenter(n_channels, n_maps):
    return BeatSegmenter(n_channels, n_maps, before=20, after=30, width=6)


def test_judge_of_beats_of_ones_own(multiclass):
    X, y, _ = multiclass
    clf = small(segmenter=own_beat_segmenter).fit(X, y)
    assert_usable(clf, X)
    assert clf.segment(X, target="S").shape == (len(X), X.shape[2])
    for needs, message in (
        (own_beat_segmenter, "this segmenter needs sampling_rate to find heartbeats, got None"),
        (partial(BeatSegmenter, width=6), "segmenter='beat' needs sampling_rate"),
    ):
        with pytest.raises(ValueError, match=message):
            small(segmenter=needs).set_params(sampling_rate=None).fit(X, y)
    with pytest.raises(ValueError, match="segmenter='beat' needs sampling_rate"):
        small(segmenter="beat").set_params(sampling_rate=None).fit(X, y)


class DerivedSegmenter(BeatSegmenter):
    """A class of one's own that judges beats as the "beat" segmenter does."""


def test_the_beat_segmenters_class_gets_what_its_name_gives(multiclass):
    X, y, _ = multiclass
    named = small(segmenter="beat").fit(X, y)
    for segmenter in (BeatSegmenter, DerivedSegmenter, partial(BeatSegmenter, n_features=48)):
        clf = clone(small(segmenter=segmenter)).fit(X, y)
        np.testing.assert_array_equal(clf.predict_proba(X), named.predict_proba(X))
        np.testing.assert_array_equal(clf.segment(X), named.segment(X))
    network = clone(small(segmenter=partial(BeatSegmenter, width=5, before=7))).fit(X, y).network_.segmenter
    assert (network.before, network.after) == (7, named.network_.segmenter.after)
    assert network.trust.shape == named.network_.segmenter.trust.shape
    weights = [[w.shape for w in s.parameters()] for s in (network, named.network_.segmenter)]
    assert weights[0] != weights[1]


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        (
            {"segmenter": lambda n_channels, n_maps: "unet"},
            TypeError,
            "segmenter must return a torch.nn.Module",
        ),
        ({"classifier": lambda n_channels, n_outputs: None}, TypeError, "classifier must return .* NoneType"),
        (
            {"segmenter": lambda n_channels, n_maps: Line(n_channels, n_maps + 2, mean=False)},
            ValueError,
            r"module of segmenter must return a tensor of shape \(2, 1, 640\), got shape \(2, 3, 640\)",
        ),
        (
            {"segmenter": lambda n_channels, n_maps: BeatSegmenter(n_channels, n_maps + 1)},
            ValueError,
            r"module of segmenter must return a tensor of shape \(2, 1, \d+\), got shape \(2, 2, \d+\)",
        ),
        (
            {"classifier": lambda n_channels, n_outputs: Line(n_channels, n_outputs + 1, mean=True)},
            ValueError,
            r"module of classifier must return a tensor of shape \(2, 2\), got shape \(2, 3\)",
        ),
        (
            {"classifier": lambda n_channels, n_outputs: torch.nn.LSTM(640, 3)},
            ValueError,
            "module of classifier must return a tensor .* got tuple",
        ),
    ],
)
def test_networks_of_the_wrong_shape(binary, params, error, message):
    X, y, _ = binary
    with pytest.raises(error, match=message):
        small(**params).fit(X, y)


# --- early stopping, continuing, stopping ------------------------------------------------------------


class Spy(Callback):
    """Remember what skorch trains on, and what weights it had."""

    def on_train_begin(self, net, X=None, y=None, **kwargs):
        self.training, self.weights = X, []

    def on_epoch_begin(self, net, dataset_valid=None, **kwargs):
        self.validation = dataset_valid

    def on_epoch_end(self, net, **kwargs):
        self.weights.append([w.detach().clone() for w in net.module_.parameters()])


@pytest.mark.filterwarnings("ignore:Heartbeats have next to no score")
def test_best_weights_are_restored(binary):
    X, y, groups = binary
    spy = Spy()
    clf = small(max_epochs=9, lr=0.1, lr_schedule="constant", patience=2, callbacks=[spy])
    clf.fit(X, y, groups=groups)
    losses = [row["valid_loss"] for row in clf.history_]
    assert clf.best_epoch_ == 1 + int(np.argmin(losses))
    assert clf.best_epoch_ < clf.n_iter_ == len(losses) == len(spy.weights)
    assert clf.n_iter_ in (clf.best_epoch_ + 2, 9)
    for kept, best in zip(clf.network_.parameters(), spy.weights[clf.best_epoch_ - 1]):
        torch.testing.assert_close(kept, best, rtol=0, atol=0)


def test_history(binary):
    X, y, _ = binary
    held_out = small(max_epochs=3).fit(X, y)
    assert [row["epoch"] for row in held_out.history_] == [1, 2, 3]
    assert set(held_out.history_[0]) == {"epoch", "train_loss", "valid_loss", "duration"}
    assert all(isinstance(row["train_loss"], float) and row["duration"] > 0 for row in held_out.history_)
    without = small(early_stopping=False).fit(X, y)
    assert set(without.history_[0]) == {"epoch", "train_loss", "duration"}
    assert without.best_epoch_ == without.n_iter_ == 2


def rows_of(dataset, X):
    """Return the rows of `X` that a dataset of plain ECGs is made of."""
    return [int(np.flatnonzero((ecg.numpy() == X).all(axis=(1, 2)))[0]) for ecg in dataset.channels]


PLAIN = {"band": None, "scale": False, "rhythm": False, "contrast": False, "waves": False, "max_epochs": 1}


@pytest.mark.parametrize("kind", ["binary", "multilabel"])
def test_held_out_patients_are_kept_apart(request, kind):
    X, y, groups = request.getfixturevalue(kind)
    spy = Spy()
    small(callbacks=[spy], **PLAIN).fit(X, y, groups=groups)
    training, validation = rows_of(spy.training, X), rows_of(spy.validation, X)
    assert sorted(training + validation) == list(range(len(X)))
    assert set(groups[training]).isdisjoint(groups[validation])
    assert 0 < len(validation) < len(X) / 2
    names = np.array([f"patient {g}" for g in groups])
    other = Spy()
    small(callbacks=[other], **PLAIN).fit(X, y, groups=names)
    assert set(names[rows_of(other.training, X)]).isdisjoint(names[rows_of(other.validation, X)])


def test_held_out_sample_is_stratified_without_groups(binary):
    X, y, _ = binary
    spy = Spy()
    small(callbacks=[spy], validation_fraction=0.25, **PLAIN).fit(X, y)
    validation = rows_of(spy.validation, X)
    assert len(validation) == 10
    assert abs((y[validation] == "V").mean() - (y == "V").mean()) < 0.1


def test_classes_stay_in_training_where_one_patient_has_most_of_them(binary):
    """Only two of five patients have the abnormality, and one has half of the ECGs."""
    X, _, _ = binary
    groups = np.repeat([0, 1, 2, 3, 4], [20, 5, 5, 5, 5])
    y = np.isin(groups, [0, 3])
    for seed in range(3):
        spy = Spy()
        small(callbacks=[spy], **(PLAIN | {"random_state": seed})).fit(X, y, groups=groups)
        rows = rows_of(spy.training, X)
        assert set(y[rows]) == {False, True}
        assert len(rows) >= 20


def test_partial_fit_continues(binary):
    X, y, _ = binary
    clf = small(lr=1e-2).partial_fit(X[:20], y[:20], classes=["N", "V"])
    before = clf.predict_proba(X)
    for _ in range(6):
        clf.partial_fit(X, y)
    assert clf.n_iter_ == len(clf.history_) == 7
    assert [row["epoch"] for row in clf.history_] == list(range(1, 8))
    assert clf.history_[-1]["train_loss"] < clf.history_[1]["train_loss"]
    assert not np.allclose(before, clf.predict_proba(X))
    assert_usable(clf, X)
    with pytest.raises(ValueError, match="differ from those of the first call"):
        clf.partial_fit(X, y, classes=["N", "S"])
    with pytest.raises(ValueError, match=r"not among the classes: \['S'\]"):
        clf.partial_fit(X[:2], ["N", "S"])
    with pytest.raises(ValueError, match="y must have shape"):
        clf.partial_fit(X, np.stack([y == "V", y == "N"], axis=1).astype(int))


def test_partial_fit_starts_with_few_ecgs(multiclass, multilabel):
    X, y, _ = multiclass
    clf = small().partial_fit(X[:2], y[:2], classes=["N", "S", "V"])
    assert clf.predict_proba(X).shape == (40, 3)
    indicator = np.array([[0, 1]])
    several = small().partial_fit(X[:1], indicator, classes=["S", "V"])
    assert several.map_labels_ == ["S", "V"]
    several.partial_fit(X, multilabel[1])


def test_partial_fit_after_fit_has_its_own_learning_rate(binary):
    """A one-cycle schedule leaves the optimiser with a low rate; that must not be the rate from then on."""
    X, y, _ = binary
    clf = small(lr=1e-2, early_stopping=False).fit(X, y)
    before = [w.detach().clone() for w in clf.network_.parameters()]
    clf.partial_fit(X, y)
    change = max(float((a - b).detach().abs().max()) for a, b in zip(before, clf.network_.parameters()))
    assert change > 1e-3


def test_partial_fit_keeps_thresholds_that_it_cannot_learn(binary):
    X, y, _ = binary
    clf = small().partial_fit(X, y)
    before = clf.thresholds_.tolist()
    assert before != [NOTHING_LEARNED]
    clf.partial_fit(X[y == "N"], y[y == "N"])
    assert clf.thresholds_.tolist() == before
    never = small().partial_fit(X[y == "N"], y[y == "N"], classes=["N", "V"])
    assert never.thresholds_.tolist() == [NOTHING_LEARNED]


def test_partial_fit_knows_the_columns_by_name(multilabel):
    X, Y = multilabel[:2]
    named = pd.DataFrame(Y, columns=["S", "V"])
    clf = small().partial_fit(X, named)
    assert clf.classes_.tolist() == ["S", "V"]
    clf.partial_fit(X, named).partial_fit(X, Y)
    with pytest.raises(ValueError, match=r"the columns of the first call, \['S', 'V'\], got \['V', 'S'\]"):
        clf.partial_fit(X, named[["V", "S"]])
    given = small().partial_fit(X, Y, classes=["S", "V"])
    with pytest.raises(ValueError, match=r"the columns of the first call, \['S', 'V'\], got \['V', 'S'\]"):
        given.partial_fit(X, named[["V", "S"]])
    with pytest.raises(ValueError, match=r"classes must be the columns of y, \['V', 'S'\], in their order"):
        small().partial_fit(X, named[["V", "S"]], classes=["S", "V"])


def test_warm_start_continues(binary):
    X, y, _ = binary
    options = {"early_stopping": False, "lr_schedule": "constant", "max_epochs": 3}
    cold, warm = small(**options), small(warm_start=True, **options)
    first = [cold.fit(X, y).history_[0]["train_loss"], warm.fit(X, y).history_[0]["train_loss"]]
    second = [cold.fit(X, y).history_[0]["train_loss"], warm.fit(X, y).history_[0]["train_loss"]]
    assert first[0] == first[1] == second[0] > second[1]
    with pytest.raises(ValueError, match="warm_start=True needs the classes of the last fit"):
        warm.fit(X, y == "V")
    assert set(warm.predict(X)) <= {"N", "V"}
    with pytest.raises(ValueError, match="X has 1 lead"):
        warm.fit(X[:, :1], y)
    assert set(warm.predict(X)) <= {"N", "V"}


def test_warm_start_refuses_another_task(binary):
    X, y, _ = binary
    warm = small(warm_start=True, max_epochs=1).fit(X, y)
    with pytest.raises(ValueError, match=r"got \['N', 'V'\] with none normal, expected .* with 'N' normal"):
        warm.set_params(normal_class=None).fit(X, y)
    warm.set_params(normal_class="auto")
    assert warm.map_labels_ == ["V"]
    assert_usable(warm, X)
    for other in ({"segmenter": None}, {"width": 8}, {"dropout": 0.5}, {"read_whole": False}):
        changed = pickle.loads(pickle.dumps(warm)).set_params(**other)
        with pytest.raises(ValueError, match=r"dropout, read_whole, .* needs a fit with warm_start=False"):
            changed.fit(X, y)
        with pytest.raises(ValueError, match="of the network was set after fit"):
            changed.partial_fit(X, y)
    assert_usable(warm.fit(X, y), X)
    number = small(warm_start=True, max_epochs=1).fit(X, (y == "V").astype(int))
    with pytest.raises(ValueError, match=r"got columns \[0, 1\], expected \[0, 1\] with 0 normal"):
        number.fit(X, np.stack([y == "V", y == "N"], axis=1).astype(int))


CHANGED = [
    {"scale": False},
    {"band": None},
    {"resample_to": 64},
    {"rhythm": False},
    {"contrast": False},
    {"waves": False},
    {"sampling_rate": 2 * RATE},
    {"sampling_rate": None},
]
"""What ECGs are made into, other than in the fixture."""


@pytest.mark.parametrize("changed", CHANGED, ids=str)
def test_predictions_are_of_what_was_fitted(binary, fitted, changed):
    X, y, _ = binary
    clf = pickle.loads(pickle.dumps(fitted)).set_params(**changed)
    for copied in (clf, pickle.loads(pickle.dumps(clf))):
        np.testing.assert_array_equal(copied.predict_proba(X), fitted.predict_proba(X))
        np.testing.assert_array_equal(copied.segment(X), fitted.segment(X))
        pd.testing.assert_frame_equal(copied.locate(X, as_frame=True), fitted.locate(X, as_frame=True))
    (name,) = changed
    before = vars(clf).copy()
    for train in (clf.partial_fit, clf.set_params(warm_start=True).fit):
        with pytest.raises(ValueError, match=f"{name} was .* in the last fit, got .* warm_start=False"):
            train(X, y)
    assert vars(clf) == before | {"warm_start": True}
    refitted = clf.set_params(warm_start=False).fit(X, y, groups=binary[2])
    assert not np.array_equal(refitted.predict_proba(X), fitted.predict_proba(X))


def test_warm_start_takes_ecgs_of_another_rate(binary):
    X, y, _ = binary
    warm = small(resample_to=100, warm_start=True, max_epochs=1).fit(X, y)
    other = X.repeat(2, axis=2)
    warm.set_params(sampling_rate=2 * RATE).fit(other, y)
    assert warm.n_timesteps_in_ == other.shape[2]
    assert_usable(warm, other)
    assert warm.locate(other, threshold=0, as_frame=True)["time"].max() < 5


@pytest.mark.parametrize("broken", ["class_weight", "one class", "callable", "interrupted"])
def test_a_training_that_fails_before_it_begins_changes_nothing(binary, fitted, monkeypatch, broken):
    X, y, _ = binary
    clf = pickle.loads(pickle.dumps(fitted))
    before = vars(clf).copy()
    other, error = np.where(y == "V", "PVC", "sinus rhythm"), ValueError
    if broken == "class_weight":
        clf.set_params(class_weight={"V": 2})
    elif broken == "one class":
        other = np.full(len(y), "PVC")
    elif broken == "callable":
        clf.set_params(classifier=lambda n_channels, n_outputs: None)
        error = TypeError
    else:
        monkeypatch.setattr("skecgattn.classifier.make_plan", interrupt)
        error = KeyboardInterrupt
    with pytest.raises(error):
        clf.fit(X[:, :1], other)
    clf.set_params(class_weight=None, classifier="convolutional")
    assert vars(clf) == before  # the same objects
    np.testing.assert_array_equal(clf.predict_proba(X), fitted.predict_proba(X))


def interrupt(*args):
    raise KeyboardInterrupt


def test_a_network_that_marks_nothing_locates_nothing_and_says_so():
    X, y, _, _ = make_ecg(
        60, n_patients=12, sampling_rate=180, label="frequent", classes=["V"], random_state=0
    )
    # without waves: what is known of V beats would still mark them
    clf = AttentionECGClassifier(180, lr=0.1, max_epochs=3, batch_size=16, waves=False, random_state=0)
    with pytest.warns(ConvergenceWarning, match=r"next to no score for \['V'\].* Try a lower lr"):
        clf.fit(X, y)
    assert clf.segment(X).max() < 1e-6
    assert not any(map(len, clf.locate(X)))


class StopAt(Callback):
    """Press Ctrl-C in the middle of an epoch."""

    def __init__(self, epoch, error=KeyboardInterrupt):
        self.epoch, self.error = epoch, error

    def on_batch_end(self, net, training=False, **kwargs):
        if training and len(net.history) == self.epoch:
            raise self.error


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("epoch", [1, 3])
def test_interrupt_leaves_a_usable_estimator(binary, epoch, early_stopping):
    X, y, _ = binary
    clf = small(max_epochs=5, early_stopping=early_stopping, callbacks=[StopAt(epoch)])
    with pytest.warns(ConvergenceWarning, match=f"interrupted after {epoch - 1} of 5 epochs"):
        clf.fit(X, y)
    assert clf.n_iter_ == len(clf.history_) == epoch - 1
    assert_usable(clf, X)
    clf.set_params(callbacks=None).partial_fit(X, y)
    assert clf.n_iter_ == epoch


class StopAtEnd(Callback):
    """Stop at the end of the first epoch, as a callback that has seen enough."""

    def on_epoch_end(self, net, **kwargs):
        raise KeyboardInterrupt


def test_a_callback_that_stops_after_an_epoch(binary):
    X, y, _ = binary
    clf = small(max_epochs=3, callbacks=[StopAtEnd()])
    with pytest.warns(ConvergenceWarning, match="interrupted after 1 of 3 epochs"):
        clf.fit(X, y)
    assert clf.best_epoch_ == clf.n_iter_ == len(clf.history_) == 1


class Spoil(Callback):
    """Make the weights NaN, before the loss of an epoch or after the last of its steps."""

    def __init__(self, epoch, at):
        self.epoch, self.at = epoch, at

    def _spoil(self, net):
        if len(net.history) == self.epoch:
            with torch.no_grad():
                next(net.module_.parameters()).fill_(math.nan)

    def on_epoch_begin(self, net, **kwargs):
        if self.at == "begin":
            self._spoil(net)

    def on_batch_end(self, net, training=False, **kwargs):
        if self.at == "end" and training:
            self._spoil(net)


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("at", ["begin", "end"])
def test_divergence_stops_with_the_last_good_weights(binary, at, early_stopping):
    X, y, _ = binary
    options = {"max_epochs": 3, "batch_size": None, "early_stopping": early_stopping}
    spy = Spy()
    clf = small(callbacks=[spy, Spoil(3, at)], **options)
    with pytest.raises(TrainingDivergedError, match=r"in epoch 3\. The estimator has the last good weights"):
        clf.fit(X, y)
    assert clf.n_iter_ == len(clf.history_) == 2
    for kept, good in zip(clf.network_.parameters(), spy.weights[clf.best_epoch_ - 1]):
        torch.testing.assert_close(kept, good, rtol=0, atol=0)
    assert_usable(clf, X)
    clf.set_params(callbacks=None).partial_fit(X, y)
    assert_usable(clf, X)


def test_divergence_by_the_learning_rate(binary):
    X, y, _ = binary
    clf = small(lr=1e30, weight_decay=0, max_epochs=3, lr_schedule="constant")
    with pytest.raises(TrainingDivergedError, match=r"in epoch 1.*as it was before; try a lower lr than 1e"):
        clf.fit(X, y)
    with pytest.raises(NotFittedError):
        clf.predict(X)


@pytest.mark.parametrize("segmenter", ["auto", None])
def test_weights_too_large_to_predict_with(binary, segmenter):
    X, y, _ = binary
    # one step, after which no loss follows: the weights are finite
    options = {"max_epochs": 1, "batch_size": None, "early_stopping": False, "segmenter": segmenter}
    with pytest.raises(TrainingDivergedError, match=r"outputs of the network became NaN .* in epoch 1"):
        small(lr=1e10, **options).fit(X, y)


@pytest.mark.parametrize("way", ["fit", "warm_start", "partial_fit"])
def test_divergence_at_once_changes_nothing(binary, fitted, way):
    X, y, _ = binary
    clf = pickle.loads(pickle.dumps(fitted))
    clf.set_params(lr=1e30, warm_start=way == "warm_start", random_state=np.random.RandomState(0))
    before, drawn = vars(clf).copy(), clf.random_state.get_state()[1].copy()
    train = clf.partial_fit if way == "partial_fit" else clf.fit
    for _ in range(2):
        with pytest.raises(TrainingDivergedError, match="The estimator is as it was before"):
            train(X, y)
    assert vars(clf) == before  # the same objects
    np.testing.assert_array_equal(clf.random_state.get_state()[1], drawn)
    np.testing.assert_array_equal(clf.predict_proba(X), fitted.predict_proba(X))


def test_a_fit_that_fails_draws_nothing(binary):
    X, y, _ = binary
    drawn = np.random.RandomState(0)
    with pytest.raises(ValueError, match="class_weight has labels"):
        small(random_state=drawn, class_weight={"PVC": 2}).fit(X, y)
    assert drawn.randint(2**31 - 1) == np.random.RandomState(0).randint(2**31 - 1)


class Rates(Callback):
    """Keeps the learning rates of every batch."""

    def on_train_begin(self, net, **kwargs):
        self.rates = []

    def on_batch_end(self, net, training=False, **kwargs):
        self.rates.append([group["lr"] for group in net.optimizer_.param_groups])


@pytest.mark.parametrize("schedule", ["one_cycle", "constant"])
@pytest.mark.parametrize(("segmenter", "factors"), [("beat", [5 / 3, 1]), ("unet", [1]), (None, [1])])
def test_a_segmenter_of_beats_learns_faster(binary, segmenter, factors, schedule):
    X, y, _ = binary
    spy = Rates()
    options = {"early_stopping": False, "batch_size": 8, "lr_schedule": schedule, "lr": 2e-3}
    small(segmenter=segmenter, callbacks=[("spy", spy)], **options).fit(X, y)
    rates = np.array(spy.rates)
    np.testing.assert_allclose(rates / rates[:, -1:], np.broadcast_to(factors, rates.shape))
    assert rates[:, -1].max() == pytest.approx(2e-3, rel=0.2)


def test_callbacks_go_to_skorch(binary, tmp_path):
    X, y, _ = binary
    spy = Spy()
    checkpoint = Checkpoint(dirname=tmp_path, monitor="valid_loss_best", f_optimizer=None, f_criterion=None)
    small(callbacks=[("spy", spy), checkpoint]).fit(X, y)
    assert len(spy.weights) == 2
    assert (tmp_path / "params.pt").is_file()


def test_verbose_shows_a_progress_bar(binary):
    X, y, _ = binary
    shown = {}
    for verbose in (0, 1):
        with contextlib.redirect_stderr(io.StringIO()) as stream:
            small(verbose=verbose).fit(X, y)
        shown[verbose] = stream.getvalue()
    assert shown[0] == ""
    assert "training: 100%" in shown[1]
    assert "valid_loss=" in shown[1]


# --- reproducibility ------------------------------------------------------------------------------


def test_same_seed_same_predictions(binary, fitted):
    X, y, groups = binary
    again = small().fit(X, y, groups=groups)
    np.testing.assert_array_equal(again.predict_proba(X), fitted.predict_proba(X))
    np.testing.assert_array_equal(again.segment(X), fitted.segment(X))
    np.testing.assert_array_equal(again.thresholds_, fitted.thresholds_)
    other = small(random_state=1).fit(X, y, groups=groups)
    assert not np.allclose(other.predict_proba(X), fitted.predict_proba(X))


def global_state():
    return pickle.dumps(
        (
            np.random.get_state(),  # noqa: NPY002
            torch.get_rng_state().numpy(),
            random.getstate(),
            torch.get_num_threads(),
        )
    )


def test_fits_in_threads_do_not_share_random_numbers(binary):
    X, y, _ = binary
    both = [small(lr=lr) for lr in (1e-3, 3e-3)]
    alone = [clone(clf).fit(X, y).predict_proba(X) for clf in both]
    state = torch.get_rng_state()
    with Parallel(n_jobs=2, backend="threading") as workers:
        together = workers(delayed(fit_and_predict)(clf, X, y, torch.get_num_threads()) for clf in both)
    np.testing.assert_array_equal(together, alone)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("error", [None, KeyboardInterrupt, ZeroDivisionError, TrainingDivergedError])
def test_global_state_is_left_alone(binary, error):
    X, y, _ = binary
    trained_network.cache_clear()  # as in a new process
    before = global_state()
    n_threads = torch.get_num_threads() + 1 if error is ZeroDivisionError else None
    callbacks = [StopAt(1, error)] if error in (KeyboardInterrupt, ZeroDivisionError) else []
    clf = small(callbacks=callbacks, n_threads=n_threads, lr=1e30 if error is TrainingDivergedError else 1e-3)
    expected = contextlib.nullcontext()
    if error is not None:
        warned = error is KeyboardInterrupt
        expected = pytest.warns(ConvergenceWarning) if warned else pytest.raises(error)
    with expected:
        clf.fit(X, y)
    if error is not TrainingDivergedError:  # which leaves it unfitted
        clf.predict(X)
        clf.locate(X)
    assert global_state() == before


def fit_and_predict(clf, X, y, n_threads):
    torch.set_num_threads(n_threads)
    return clone(clf).fit(X, y).predict_proba(X)


def test_workers_agree_with_the_parent(binary):
    """To the last digit with the same number of threads; sums are rounded otherwise with another."""
    X, y, _ = binary
    X, y = X[:16], y[:16]
    jobs = [(small(n_threads=1), 1), (small(n_threads=1), 2), (small(max_epochs=1), 2)]
    with Parallel(n_jobs=2) as workers:
        results = workers(delayed(fit_and_predict)(clf, X, y, n) for clf, n in jobs)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        parent = small(n_threads=1).fit(X, y).predict_proba(X)
        torch.set_num_threads(1)
        short = small(max_epochs=1).fit(X, y).predict_proba(X)
        free = small().fit(X, y).predict_proba(X)
    finally:
        torch.set_num_threads(before)
    np.testing.assert_array_equal(results[0], parent)
    np.testing.assert_array_equal(results[1], parent)
    np.testing.assert_array_equal(free, parent)
    np.testing.assert_allclose(results[2], short, atol=0.01)


def test_prediction_does_not_depend_on_the_other_ecgs(binary, fitted):
    X, _, _ = binary
    for ask in (fitted.predict_proba, fitted.segment):
        together = ask(X)
        np.testing.assert_allclose(np.concatenate([ask(X[:7]), ask(X[7:])]), together, atol=1e-5)
        np.testing.assert_allclose(ask(X[::-1])[::-1], together, atol=1e-5)


# --- pickling and devices -------------------------------------------------------------------------


def test_pickle(binary, fitted):
    X, y, _ = binary
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict_proba(X), fitted.predict_proba(X))
    assert again.locate(X)[0].tolist() == fitted.locate(X)[0].tolist()
    again.partial_fit(X, y)
    assert again.n_iter_ == fitted.n_iter_ + 1


def test_state_is_pickled_on_the_cpu(fitted):
    """A stand-in for a GPU: the device "meta", whose tensors cannot be loaded as numbers."""
    clf = pickle.loads(pickle.dumps(fitted))
    moments = [t for s in fitted.__getstate__()["_optimizer_state"]["state"].values() for t in s.values()]
    assert len(moments) > 0
    assert {t.device.type for t in moments} == {"cpu"}
    moved = []

    class Elsewhere(torch.nn.Linear):
        def parameters(self, recurse=True):
            return iter([torch.nn.Parameter(torch.empty(1, device="meta"))])

        def __deepcopy__(self, memo):
            return self

        def cpu(self):
            moved.append(self)
            return torch.nn.Linear(1, 1)

    clf.network_ = Elsewhere(1, 1)
    state = clf.__getstate__()
    assert type(state["network_"]) is torch.nn.Linear
    assert len(moved) == 1
    assert type(clf.network_) is Elsewhere


@pytest.mark.skipif(torch.cuda.is_available(), reason="the machine without a GPU is what is tested")
def test_device_that_is_not_here(binary, fitted):
    X, y, _ = binary
    clf = pickle.loads(pickle.dumps(fitted)).set_params(device="cuda")
    with pytest.warns(UserWarning, match="device='cuda' is not available here: the CPU predicts"):
        probability = clf.predict_proba(X)
    np.testing.assert_array_equal(probability, fitted.predict_proba(X))
    with pytest.warns(UserWarning, match="the CPU predicts"):
        assert len(clf.locate(X)) == len(X)
    np.testing.assert_array_equal(clf.set_params(device="auto").predict_proba(X), probability)
    clf.set_params(device="cuda")
    for train in (clf.fit, clf.partial_fit):
        with pytest.raises(
            ValueError, match=r"device='cuda' is not available: .* 'auto' takes what there is"
        ):
            train(X, y)
    with pytest.raises(ValueError, match="device must be 'auto' or a device that torch knows, got 'gpu'"):
        small(device="gpu").fit(X, y)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_gpu(binary):
    X, y, groups = binary
    clf = small(device="cuda", precision="float32").fit(X, y, groups=groups)
    np.testing.assert_array_equal(clf.predict_proba(X), clone(clf).fit(X, y, groups=groups).predict_proba(X))
    there = pickle.loads(pickle.dumps(clf)).set_params(device="cpu")
    np.testing.assert_allclose(there.predict_proba(X), clf.predict_proba(X), atol=1e-3)
    assert small().fit(X, y).precision == "auto"


# --- lengths, maps, locate ------------------------------------------------------------------------


@pytest.mark.parametrize("n_timesteps", [RATE, 333, 1001, 20 * RATE])
def test_3d_model_predicts_on_any_length(binary, fitted, n_timesteps):
    X, _, _ = binary
    longer = np.tile(X, (1, 1, 5))[..., :n_timesteps]
    assert fitted.predict_proba(longer).shape == (len(X), 2)
    assert fitted.segment(longer).shape == (len(X), n_timesteps)
    for beats in fitted.locate(longer, threshold=0.01):
        assert (beats["stop"] <= n_timesteps).all()


def test_2d_input_is_one_lead(binary):
    X, y, _ = binary
    flat = small().fit(X[:, 0], y)
    deep = small().fit(X[:, :1], y)
    assert (flat.n_features_in_, flat.n_leads_in_) == (X.shape[2], 1)
    assert (deep.n_features_in_, deep.n_leads_in_) == (1, 1)
    np.testing.assert_array_equal(flat.predict_proba(X[:, 0]), deep.predict_proba(X[:, :1]))
    with pytest.raises(ValueError, match="X has 600 features, but AttentionECGClassifier is expecting 640"):
        flat.predict(X[:, 0, :600])


@pytest.mark.parametrize("rate", [128, 250, 360])
def test_maps_are_in_the_time_of_the_ecg(rate):
    X, y, _, _ = make_ecg(20, sampling_rate=rate, duration=4.1, pac=0, pvc=0.5, classes=["V"], random_state=0)
    clf = AttentionECGClassifier(rate, **(SMALL | {"resample_to": 180.0, "max_epochs": 1}))
    clf.fit(X, y.ravel())
    maps = clf.segment(X)
    assert maps.shape == (20, X.shape[2])
    found, n_found = clf.locate(X, threshold=0.0), 0
    for beats in found:
        n_found += len(beats)
        assert (beats["start"] <= beats["sample"]).all()
        assert (beats["sample"] < beats["stop"]).all()
        np.testing.assert_array_equal(beats["start"][1:], beats["stop"][:-1])
        assert beats["start"][:1].tolist() in ([], [0])
        assert beats["stop"][-1:].tolist() in ([], [X.shape[2]])
    assert n_found > 60


def test_beats_at_the_ends_are_found_but_not_judged(binary, fitted):
    X, n_cut = binary[0], 0
    for ecg, beats in zip(X, fitted.locate(X, threshold=0.0)):
        first = int(beats["sample"][1]) - 1  # 8 ms before the R peak
        cut = fitted.locate(ecg[None, :, first:], threshold=0.0)[0][:-1]  # the last may lie at the other end
        at_the_end = cut["sample"] * 1000 < 15 * RATE
        assert cut["score"][~at_the_end].min() > 1e-6
        if at_the_end.any():
            n_cut += 1
            assert cut["score"][at_the_end].max() < 1e-6
            assert cut["start"][1] > 0.2 * (beats["sample"][2] - beats["sample"][1])
    assert n_cut > len(X) / 2


@pytest.mark.parametrize("heart_rate", [30, 200])
@pytest.mark.parametrize("n_leads", [1, 12])
def test_locate_for_any_rate_and_leads(n_leads, heart_rate):
    X, y, groups = ecg_of(24, n_leads, heart_rate=heart_rate, duration=8.0)
    clf = small(max_epochs=1).fit(X, y.ravel(), groups=groups)
    located = clf.locate(X, threshold=0.0)
    n_expected = heart_rate / 60 * 8
    assert 0.5 * n_expected < np.median([len(beats) for beats in located]) < 3 * n_expected
    scores = np.concatenate(located)["score"]
    assert scores.min() >= 0
    assert scores.max() <= 1


def test_locate_output(multilabel, fitted_multilabel):
    X, _, _ = multilabel
    clf = fitted_multilabel
    everything = clf.locate(X, threshold=0)
    assert all(beats.dtype == BEAT_DTYPE for beats in everything)
    score = float(np.median(np.concatenate(everything)["score"]))
    some = clf.locate(X, threshold=score)
    n_some, n_all = sum(map(len, some)), sum(map(len, everything))
    assert 0 < n_some < n_all
    assert np.concatenate(some)["score"].min() >= score
    assert set(np.concatenate(clf.locate(X, threshold={0: 1.0, 1: 0.0}))["label"]) == {1}
    default = clf.locate(X, threshold=dict(zip(clf.map_labels_, clf.thresholds_)))
    assert [b.tolist() for b in default] == [b.tolist() for b in clf.locate(X)]

    frame = clf.locate(X, threshold=score, as_frame=True)
    assert list(frame.columns) == ["ecg", "sample", "time", "start", "stop", "label", "score"]
    assert len(frame) == n_some
    assert frame["ecg"].tolist() == np.repeat(np.arange(len(X)), [len(b) for b in some]).tolist()
    np.testing.assert_allclose(frame["time"], frame["sample"] / RATE)


def test_windows_without_beats(fitted):
    noise = np.random.default_rng(0).normal(scale=0.05, size=(3, 2, 640)).cumsum(axis=2) * 0.1
    noise[0] = 0
    with pytest.warns(ECGWarning, match="flat lead"):
        located = fitted.locate(noise, threshold=0.0)
    assert len(located[0]) == 0
    assert located[0].dtype == BEAT_DTYPE
    with pytest.warns(ECGWarning, match="flat lead"):
        frame = fitted.locate(noise[:1], as_frame=True)
    assert frame.empty
    assert list(frame.columns) == ["ecg", "sample", "time", "start", "stop", "label", "score"]


def test_thresholds_lie_in_range(fitted, fitted_multilabel):
    for clf in (fitted, fitted_multilabel):
        assert clf.thresholds_.shape == (len(clf.map_labels_),)
        assert ((clf.thresholds_ > 0) & (clf.thresholds_ < 1)).all()


# --- what bad input gets --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("threshold", "message"),
    [
        (True, r"threshold must be in \[0, 1\], got True"),
        (1.5, r"threshold must be in \[0, 1\], got 1.5"),
        (math.nan, r"threshold must be in \[0, 1\]"),
        ("high", r"threshold must be in \[0, 1\], got 'high'"),
        ({"V": -1}, r"threshold must be in \[0, 1\]"),
        ({"S": 0.5}, r"threshold has labels without a map: \['S'\]; those with one: \['V'\]"),
    ],
)
def test_bad_threshold(binary, fitted, threshold, message):
    with pytest.raises(ValueError, match=message):
        fitted.locate(binary[0], threshold=threshold)


def test_bad_target(binary, fitted):
    with pytest.raises(ValueError, match=r"target must be one of \['V'\] or None, got 'N'"):
        fitted.segment(binary[0], target="N")


def test_locate_needs_the_sampling_rate(binary):
    X, y, _ = binary
    clf = AttentionECGClassifier(**(SMALL | {"max_epochs": 1})).fit(X, y)
    assert clf.segment(X).shape == (len(X), X.shape[2])
    with pytest.raises(ValueError, match="sampling rate, got sampling_rate=None"):
        clf.locate(X)


@pytest.mark.parametrize("method", ["predict", "predict_proba", "decision_function", "segment", "locate"])
def test_not_fitted(binary, method):
    with pytest.raises(NotFittedError):
        getattr(small(), method)(binary[0])


@pytest.mark.parametrize(
    "params",
    [
        {"segmenter": "unnet"},
        {"classifier": "resnet"},
        {"classifier": None},
        {"objective": "area"},
        {"objective": Evidence},
        {"width": 0},
        {"dropout": 1.0},
        {"resample_to": 0},
        {"max_epochs": 0},
        {"batch_size": 0},
        {"lr": 0.0},
        {"lr_schedule": "cosine"},
        {"validation_fraction": 1.0},
        {"patience": 0},
        {"precision": "float16"},
        {"n_threads": 0},
        {"class_weight": "equal"},
        {"callbacks": "progress"},
        {"augmentation": 1.5},
        {"sampling_rate": -360},
        {"random_state": "seed"},
    ],
    ids=str,
)
def test_unknown_parameter_values(binary, params):
    X, y, _ = binary
    name = next(iter(params))
    clf = small().set_params(**params)
    with pytest.raises(
        InvalidParameterError, match=f"The '{name}' parameter of AttentionECGClassifier must be"
    ):
        clf.fit(X, y)
    with pytest.raises(InvalidParameterError, match=f"The '{name}' parameter"):
        clf.partial_fit(X, y)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"band": (0.5,)}, r"band must be None or two frequencies .* got \(0.5,\)"),
        ({"band": ("low", "high")}, "band must be None or two frequencies"),
        ({"band": (0, 40)}, r"band must be None or two frequencies .* above 0 Hz or None, got \(0, 40\)"),
        ({"band": (30, 5)}, "low must be below high"),
        ({"normal_class": "S"}, r"normal_class='S' is not among the classes \['N', 'V'\]"),
        ({"class_weight": {"S": 2}}, r"class_weight has labels that are no classes: \['S'\]"),
        ({"class_weight": {"N": 1, "V": -2}}, "class_weight must hold numbers of 0 and more, got -2 for 'V'"),
        ({"class_weight": {"N": float("nan")}}, "class_weight must hold numbers of 0 and more, got nan for"),
        ({"class_weight": {"N": "much"}}, "class_weight must hold numbers of 0 and more, got 'much' for 'N'"),
        ({"class_weight": [{0: 1, 1: 2}]}, "class_weight is a list, which is for multilabel y"),
        ({"objective": "multiple_instance", "segmenter": None}, "needs a segmenter, got segmenter=None"),
    ],
)
def test_parameters_that_do_not_fit_the_data(binary, params, message):
    X, y, _ = binary
    with pytest.raises(ValueError, match=message):
        small(**params).fit(X, y)


@pytest.mark.parametrize("class_weight", [{0: 1}, [{0: 1, 1: 2}], [1, 2]])
def test_class_weight_of_labels_is_checked(multilabel, class_weight):
    X, y, _ = multilabel
    with pytest.raises(ValueError, match="must be 'balanced' or a list with one dict a label"):
        small(class_weight=class_weight).fit(X, y)


@pytest.mark.parametrize("missing", [None, float("nan")])
def test_groups_name_every_patient(binary, missing):
    X, y, groups = binary
    with pytest.raises(ValueError, match="groups must name the patient of every ECG, got a missing one"):
        small().fit(X, y, groups=[missing, *groups[1:]])


def test_groups_may_mix_numbers_and_names(binary):
    X, y, groups = binary
    mixed = [int(name[-1]) if name[-1] in "02468" else str(name) for name in groups]
    one, two = (
        small(max_epochs=1).fit(X, y, groups=g) for g in (mixed, np.unique(groups, return_inverse=True)[1])
    )
    np.testing.assert_array_equal(one.predict_proba(X), two.predict_proba(X))


def test_warnings_name_the_line_of_the_user(binary):
    X, y, _ = binary
    clf = Pipeline([("clf", small(max_epochs=1, early_stopping=False))])
    with pytest.warns(ECGWarning, match="leads that span") as fitting:
        clf.fit(1000 * X, y)
    with pytest.warns(ECGWarning, match="leads that span") as predicting:
        cross_val_predict(clf, 1000 * X, y, cv=2)
    assert {record.filename for record in (*fitting, *predicting)} == {__file__}


def test_class_weight_of_labels_has_no_other_keys(multilabel):
    X, y, _ = multilabel
    with pytest.raises(ValueError, match=r"the keys 0 and 1 alone in each dict, got .*'yes'"):
        small(class_weight=[{0: 1, 1: 5}, {0: 1, "yes": 2}]).fit(X, y)


def test_class_weight_may_name_a_class_that_a_fold_lacks(binary):
    X, y, _ = binary
    weights = {"N": 1, "V": 3}
    one, two = (
        small(max_epochs=1, class_weight=weight).fit(X, y).predict_proba(X)
        for weight in (weights, {**weights, "S": 2})
    )
    np.testing.assert_array_equal(one, two)


def spoilt(X, place, value):
    X = X.copy()
    X[place] = value
    return X


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            lambda X, y, g: (spoilt(X, (3, 1, 17), np.nan), y, g),
            ValueError,
            "NaN: the first in ECG 3, lead 1, at sample 17",
        ),
        (
            lambda X, y, g: (spoilt(X, (3, 1, 17), np.inf), y, g),
            ValueError,
            "infinity .* ECG 3, lead 1, at sample 17",
        ),
        (lambda X, y, g: ([*X.tolist()[:-1], X[0, :, :9].tolist()], y, g), ValueError, "unequal lengths"),
        (lambda X, y, g: (X.transpose(0, 2, 1), y, g), ValueError, r"looks transposed.*transpose\(0, 2, 1\)"),
        (lambda X, y, g: (X[..., :100], y, g), ValueError, "minimum of 128 timesteps"),
        (lambda X, y, g: (X, np.full(len(y), "V"), g), ValueError, r"one class only, got \['V'\]"),
        (lambda X, y, g: (X, np.ones((len(y), 2), int), g), ValueError, "y has one class only"),
        (lambda X, y, g: (X[:2], [[0, 1, 0], [1, 0, 1]], g[:2]), ValueError, "2 sample.* fewer than the 3"),
        (lambda X, y, g: (X, np.c_[y, y], g), ValueError, "sklearn.multioutput.MultiOutputClassifier"),
        (lambda X, y, g: (X, np.linspace(0, 1, len(y)), g), ValueError, "continuous"),
        (lambda X, y, g: (X, y, g[:-1]), ValueError, r"groups .* shape \(40,\), got shape \(39,\)"),
        (lambda X, y, g: (X, y, np.zeros(len(y))), ValueError, "groups with a single one"),
        (lambda X, y, g: (X, y[:-1], g), ValueError, "inconsistent numbers of samples"),
    ],
    ids=[
        *("nan", "infinity", "unequal", "transposed", "short", "one class", "one class of labels", "few"),
        *("several columns", "continuous", "groups of another length", "one group", "y of another length"),
    ],
)
def test_bad_data(binary, change, error, message):
    X, y, groups = change(*binary)
    with pytest.raises(error, match=message):
        small().fit(X, y, groups=groups)


def test_weights_are_checked(binary):
    X, y, _ = binary
    for train in (small().fit, small().partial_fit):
        with pytest.raises(ValueError, match=r"must not be zero|at least one non-zero"):
            train(X, y, sample_weight=np.zeros(len(y)))
        with pytest.raises(ValueError, match="Negative values"):
            train(X, y, sample_weight=-np.ones(len(y)))


def test_leads_must_match(binary, fitted):
    X, _, _ = binary
    with pytest.raises(ValueError, match="X has 1 leads, but AttentionECGClassifier is expecting 2 leads"):
        fitted.predict(X[:, :1])
    with pytest.raises(ValueError, match=r"X has 640 leads.*transpose\(0, 2, 1\)"):
        fitted.predict(X.transpose(0, 2, 1))
    with pytest.raises(ValueError, match="expecting 3 dimensions"):
        fitted.predict(X[:, 0])
    with pytest.raises(ValueError, match="minimum of 128 timesteps"):
        fitted.predict(X[..., :127])


def test_suspicious_ecg_is_warned_of(binary):
    X, y, _ = binary
    with pytest.warns(ECGWarning, match="flat lead in 1 of 40"):
        small(max_epochs=1).fit(spoilt(X, (5, 1), 0.0), y)
    with pytest.warns(ECGWarning, match="probably raw ADC units"):
        small(max_epochs=1).fit((200 * X).astype(np.int16), y)


def test_early_stopping_needs_something_to_hold_out(binary):
    X, y, _ = binary
    rows = [int(np.flatnonzero(y == label)[0]) for label in ("N", "V")]
    assert_usable(small(early_stopping=False, max_epochs=1).fit(X[rows], y[rows]), X)
    with pytest.raises(ValueError, match=r"cannot hold out 0\.9 of n_samples=2"):
        small(validation_fraction=0.9).fit(X[rows], y[rows])


def test_early_stopping_learns_what_is_held_out_from_the_others():
    """A label of one patient, whom both sides cannot have."""
    X, y, groups = ecg_of(60, n_patients=10)
    y = np.where((groups == "0") & (y[:, 0] == 1), "V", "N")
    kept = (y == "V") | (groups != "0")
    X, groups, y = X[kept], groups[kept], y[kept]
    clf = small(max_epochs=3).fit(X, y, groups=groups)
    assert 0 < clf.thresholds_[0] < NOTHING_LEARNED
    assert np.abs(clf.intercept_).max() > 0


@pytest.mark.parametrize("rate", [0.36, 19, True])
def test_rates_that_are_no_hertz_are_refused(binary, rate):
    X, y, _ = binary
    for params in ({"sampling_rate": rate}, {"sampling_rate": 180, "resample_to": rate}):
        with pytest.raises(InvalidParameterError, match=r"in the range \[20.0, inf\)"):
            AttentionECGClassifier(**params).fit(X, y)


@pytest.mark.parametrize("missing", [None, np.nan])
@pytest.mark.parametrize("kind", [list, pd.Series, lambda y: np.array(y, dtype=object)])
def test_missing_labels_are_named(binary, missing, kind):
    X, y, _ = binary
    y = [*y[:7], missing, *y[8:-1], missing]
    with pytest.raises(ValueError, match=r"y contains NaN: 2 of 40 ECG.s. have no label, the first is ECG 7"):
        small().fit(X, kind(y))


def test_indicators_of_a_frame_that_cannot_be_written_to(multilabel):
    X, y, _ = multilabel
    frame = pd.DataFrame(y.astype(float), columns=["S", "V"])
    small(max_epochs=1).fit(X, frame)  # torch would warn
    assert frame.to_numpy().tolist() == y.tolist()


# --- real ECG -------------------------------------------------------------------------------------


@pytest.mark.requires_data
def test_real_ecg(mitbih_windows):
    X, y, groups, _ = mitbih_windows
    X, y, groups = X[::3], y[::3], groups[::3]
    clf = AttentionECGClassifier(360, width=8, max_epochs=6, batch_size=16, random_state=0)
    clf.fit(X, y, groups=groups)
    assert_usable(clf, X[:30])
    assert roc_auc_score(y[:, 1], clf.predict_proba(X)[:, 1]) > 0.8


# --- the leads' names ------------------------------------------------------------------------------


@pytest.mark.parametrize("names", [["MLII"], ["MLII", "MLII"], ["MLII", 1]])
def test_lead_names_that_do_not_fit(binary, names):
    X, y, _ = binary
    with pytest.raises(ValueError, match="lead_names must"):
        small(lead_names=names).fit(X, y)


def test_read_only_ecgs_are_not_touched(multilabel):
    """Without rate and scaling the channels are the leads: a copy, as joblib maps large arrays read-only."""
    X, y, _ = multilabel
    given = np.array(X, dtype=np.float32)
    given.flags.writeable = False
    clf = small(scale=False, segmenter=None).set_params(sampling_rate=None).fit(given, y)
    np.testing.assert_array_equal(clf.predict_proba(given), clf.predict_proba(np.array(given)))
