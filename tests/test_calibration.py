"""The intercept of the logits."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from skecgattn import AttentionECGClassifier
from skecgattn._calibration import learn_intercept, learn_levels
from skecgattn._frontend import Channels
from skecgattn._thresholds import LOWEST, learn_threshold
from skecgattn.datasets import make_ecg
from skecgattn.nn import Evidence, Task
from skecgattn.training import Samples

MULTILABEL = Task(multilabel=True, normal=None, marked=(0, 1))
NORMAL = Task(multilabel=False, normal=0, marked=(1, 2))


def logits_and_target(n_outputs, seed=0):
    """Return logits that take labels for rarer than they are, and the labels."""
    rng = np.random.default_rng(seed)
    target = np.eye(n_outputs)[rng.choice(n_outputs, 3000, p=np.array([0.7, 0.2, 0.1])[:n_outputs])]
    return 2 * target + rng.normal(size=target.shape) - 1.5 * np.arange(n_outputs) - 1, target


def test_labels_are_as_frequent_as_they_are():
    logits, target = logits_and_target(3)
    logits, target = logits[:, 1:], target[:, 1:]
    intercept = learn_intercept(logits, target, np.ones(len(target)), MULTILABEL, np.zeros(2))
    shares = (1 / (1 + np.exp(-logits - intercept))).mean(axis=0)
    np.testing.assert_allclose(shares, target.mean(axis=0), atol=2e-3)
    assert (np.abs(intercept) > 0.1).all()


def test_classes_are_as_frequent_as_they_are():
    logits, target = logits_and_target(3)
    intercept = learn_intercept(logits, target, np.ones(len(target)), NORMAL, np.zeros(3))
    shares = np.exp(logits + intercept)
    shares /= shares.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(shares.mean(axis=0), target.mean(axis=0), atol=2e-3)


def test_weights_count_as_often_as_they_say():
    logits, target = logits_and_target(3)
    weight = np.random.default_rng(1).integers(0, 3, len(target))
    repeated = learn_intercept(
        np.repeat(logits, weight, axis=0),
        np.repeat(target, weight, axis=0),
        np.ones(weight.sum()),
        NORMAL,
        np.zeros(3),
    )
    weighted = learn_intercept(logits, target, weight.astype(float), NORMAL, np.zeros(3))
    np.testing.assert_allclose(weighted, repeated, atol=1e-6)


def test_weights_of_classes_are_kept():
    """What a balanced weight has made more probable must stay so."""
    logits, target = logits_and_target(3)
    logits, target = logits[:, 1:2], target[:, 1:2]
    heavy = Task(multilabel=True, normal=None, marked=(0,), class_weight=torch.tensor([[1.0, 4.0]]))
    plain = Task(multilabel=True, normal=None, marked=(0,))
    once, four = (learn_intercept(logits, target, np.ones(3000), t, np.zeros(1))[0] for t in (plain, heavy))
    assert four > once + 0.5


def levels_of(task, logits, target, held_out):
    """Return the intercept that is learned where these rows are held out; heartbeats are unknown."""
    parts = [
        Samples(Channels(logits[rows], None), target[rows], np.ones(rows.sum()))
        for rows in (~held_out, held_out)
    ]
    reader = SimpleNamespace(
        intercept=np.zeros(logits.shape[1]), compute=lambda channels: (channels.values, None)
    )
    thresholds = np.full(len(task.marked), 0.5)
    return learn_levels(reader, parts[0], Evidence(), task, thresholds, held_out=parts[1])[0]


@pytest.mark.parametrize(("task", "n_outputs"), [(MULTILABEL, 2), (NORMAL, 3)])
def test_held_out_ecgs_teach_what_they_show(task, n_outputs):
    logits, target = logits_and_target(3)
    logits, target = logits[:, -n_outputs:], target[:, -n_outputs:]
    held_out = np.arange(len(target)) % 3 == 0
    own = learn_intercept(
        logits[held_out], target[held_out], np.ones(held_out.sum()), task, np.zeros(n_outputs)
    )
    np.testing.assert_array_equal(levels_of(task, logits, target, held_out), own)
    held_out &= target[:, -1] < 0.5  # the last label is only among the others now
    others = learn_intercept(
        logits[~held_out], target[~held_out], np.ones((~held_out).sum()), task, np.zeros(n_outputs)
    )
    own = learn_intercept(
        logits[held_out], target[held_out], np.ones(held_out.sum()), task, np.zeros(n_outputs)
    )
    expected = [own[0], others[1]] if task is MULTILABEL else others
    np.testing.assert_allclose(levels_of(task, logits, target, held_out), expected, atol=1e-6)


def test_what_cannot_be_learned_stays():
    logits, target = logits_and_target(3)
    before = np.array([0.25, -0.5])
    missing = target[:, 1:] * [1, 0]
    after = learn_intercept(logits[:, 1:], missing, np.ones(len(target)), MULTILABEL, before)
    assert after[1] == -0.5
    assert after[0] != 0.25
    one_class = np.tile([1.0, 0, 0], (len(target), 1))
    kept = learn_intercept(logits, one_class, np.ones(len(target)), NORMAL, np.array([0.1, 0.2, 0.3]))
    assert kept.tolist() == [0.1, 0.2, 0.3]


@pytest.fixture(scope="module")
def ecgs():
    return make_ecg(60, sampling_rate=128, duration=5, label="frequent", classes=["V"], random_state=0)[:2]


def classifier(**params):
    options = {"resample_to": None, "width": 4, "max_epochs": 2, "batch_size": 16, "random_state": 0}
    return AttentionECGClassifier(128, **(options | params))


def test_probabilities_of_the_estimator_are_as_high_as_labels_are_frequent(ecgs):
    X, y = ecgs
    clf = classifier().fit(X, y)
    np.testing.assert_allclose(
        clf.predict_proba(X).mean(axis=0), [(y == "N").mean(), (y == "V").mean()], atol=0.01
    )
    assert clf.intercept_.any()
    before = clf.intercept_
    clf.partial_fit(X[y == "N"], y[y == "N"])
    assert clf.intercept_.tolist() == before.tolist()


@pytest.mark.parametrize("params", [{"objective": "cross_entropy"}, {"segmenter": None}])
def test_no_intercept_where_the_classifier_reads_whole_ecgs_alone(ecgs, params):
    clf = classifier(**params).fit(*ecgs)
    assert clf.intercept_.tolist() == [0, 0]


def test_threshold_where_most_ecgs_with_the_label_score_nothing():
    present = np.array([True, True, True, False])
    scores = [np.full(4, 1e-9), np.full(4, 1e-9), np.full(4, 0.9), np.full(4, 0.4)]
    assert learn_threshold(scores, present) == pytest.approx(0.4)
    assert learn_threshold([np.full(4, 1e-9)] * 4, present) == LOWEST


def test_thresholds_count_beats_by_the_weight_of_their_ecg():
    present = np.array([True, True, False, False])
    scores = [np.array([0.9, 0.1]), np.full(2, 0.8), np.full(1000, 0.2), np.full(1000, 0.6)]
    alike = learn_threshold(scores, present)
    assert alike == pytest.approx(0.6)
    assert learn_threshold(scores, present, weight=np.full(4, 3.0)) == alike
    # an ECG whose label is not trusted is as if it were not there
    doubted = learn_threshold(scores, present, weight=np.array([1, 1, 1, 1e-9]))
    assert doubted == pytest.approx(learn_threshold(scores[:3], present[:3])) == pytest.approx(0.2)
    low = learn_threshold([np.full(2, 0.01), *scores[1:]], present, weight=np.array([1, 1e-9, 1, 1]))
    assert low == pytest.approx(0.01)  # not above the usual highest score of ECGs with the label


def test_ecgs_without_weight_do_not_count_in_what_is_learned(ecgs):
    X, y = ecgs
    weight = np.where(np.arange(len(y)) % 4, 1.0, 0.0)
    clf = classifier(objective="evidence").partial_fit(X, y, sample_weight=weight)
    thresholds = clf.thresholds_
    assert np.isfinite(thresholds).all()
    wrong = np.where(weight > 0, y, np.where(y == "N", "V", "N"))
    again = classifier(objective="evidence").partial_fit(X, wrong, sample_weight=weight)
    np.testing.assert_array_equal(again.thresholds_, thresholds)
