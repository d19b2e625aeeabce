"""What scikit-learn offers around an estimator, with 3-D ECG."""

from __future__ import annotations

import pickle

import joblib
import numpy as np
import pytest
import sklearn
from scipy.stats import randint
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import StackingClassifier, VotingClassifier
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    HalvingGridSearchCV,
    RandomizedSearchCV,
    StratifiedGroupKFold,
    TunedThresholdClassifierCV,
    cross_val_predict,
    cross_val_score,
    cross_validate,
    learning_curve,
    permutation_test_score,
    validation_curve,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import MultiOutputClassifier
from sklearn.pipeline import make_pipeline
from skorch.callbacks import Callback

from skecgattn import AttentionECGClassifier
from skecgattn.datasets import make_ecg
from skecgattn.nn import Augmentation, Evidence
from skecgattn.preprocessing import BandPassFilter, Resampler, RobustLeadScaler, make_ecg_pipeline

RATE = 128
small = AttentionECGClassifier(
    RATE,
    resample_to=None,
    width=4,
    max_epochs=1,
    batch_size=16,
    early_stopping=True,
    n_threads=1,
    random_state=0,
)


@pytest.fixture(scope="module")
def data():
    """ECGs, "N" or "V", patients."""
    X, y, groups, _ = make_ecg(
        36, sampling_rate=RATE, duration=4, pvc=0.5, pac=0, classes=["V"], n_patients=9, random_state=0
    )
    return X.astype(np.float32), np.where(y[:, 0] == 1, "V", "N"), groups


@pytest.fixture(scope="module")
def labels():
    """ECGs, indicators of [S, V], patients."""
    X, y, groups, _ = make_ecg(
        36, sampling_rate=RATE, duration=4, pvc=0.5, pac=0.5, n_patients=9, random_state=0
    )
    return X.astype(np.float32), y, groups


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


@pytest.fixture(scope="module")
def fitted(data):
    X, y, groups = data
    return clone(small).fit(X, y, groups=groups)


def proba_is_sane(clf, X, n_classes=2):
    probability = clf.predict_proba(X)
    assert probability.shape == (len(X), n_classes)
    np.testing.assert_allclose(probability.sum(axis=1), 1, rtol=1e-4)


def test_clone_keeps_every_parameter():
    clf = small.__class__(
        RATE, objective=Evidence(area=2.0), augmentation=Augmentation(noise=0.01), band=(1, 30)
    )
    copy = clone(clf)
    assert copy.objective is not clf.objective
    assert copy.augmentation is not clf.augmentation
    assert str(copy.get_params()) == str(clf.get_params())
    assert repr(copy) == repr(clf)
    assert "objective=Evidence(area=2.0" in repr(copy)
    assert copy.get_params()["objective__area"] == 2.0


def test_a_fitted_estimator_is_cloned_unfitted(fitted):
    assert not hasattr(clone(fitted), "network_")
    assert clone(fitted).get_params() == fitted.get_params()


@pytest.mark.parametrize("way", ["pickle", "joblib"])
def test_saved_and_loaded(data, fitted, tmp_path, way):
    X, _, _ = data
    if way == "pickle":
        again = pickle.loads(pickle.dumps(fitted))
    else:
        joblib.dump(fitted, tmp_path / "model.joblib")
        again = joblib.load(tmp_path / "model.joblib")
    np.testing.assert_array_equal(again.predict_proba(X), fitted.predict_proba(X))
    np.testing.assert_array_equal(again.segment(X), fitted.segment(X))


def test_a_memory_mapped_network_predicts(data, fitted, tmp_path):
    X, _, _ = data
    joblib.dump((fitted, X), tmp_path / "model.joblib")
    again, mapped = joblib.load(tmp_path / "model.joblib", mmap_mode="r")
    assert isinstance(mapped, np.memmap)
    np.testing.assert_array_equal(again.predict_proba(mapped), fitted.predict_proba(X))


def test_cross_validation_in_workers_agrees(data):
    X, y, groups = data
    folds = StratifiedGroupKFold(3)
    here, there = (
        cross_validate(
            small,
            X,
            y,
            groups=groups,
            cv=folds,
            n_jobs=n_jobs,
            scoring=["roc_auc", "neg_log_loss", "accuracy"],
        )
        for n_jobs in (1, 2)
    )
    for name in ("test_roc_auc", "test_neg_log_loss", "test_accuracy"):
        np.testing.assert_array_equal(here[name], there[name])
    probability = cross_val_predict(small, X, y, groups=groups, cv=folds, method="predict_proba", n_jobs=2)
    decision = cross_val_predict(small, X, y, groups=groups, cv=folds, method="decision_function")
    np.testing.assert_allclose(np.log(probability[:, 1] / probability[:, 0]), decision, atol=1e-4)
    assert set(cross_val_predict(small, X, y, cv=2)) <= {"N", "V"}


class Record(Callback):
    """Remember on how many ECGs each training was validated, and that all were of other patients."""

    seen: list = []  # noqa: RUF012 (shared by all clones)

    def on_epoch_begin(self, net, dataset_train=None, dataset_valid=None, **kwargs):
        Record.seen.append((dataset_train.channels, dataset_valid.channels))


@pytest.mark.usefixtures("routing")
def test_routed_groups_reach_the_fit_of_every_fold(data):
    X, y, groups = data
    plain = {"band": None, "scale": False, "rhythm": False, "contrast": False, "waves": False}
    clf = clone(small).set_params(callbacks=[Record()], **plain)
    Record.seen = []
    scores = cross_validate(
        clf, X, y, cv=StratifiedGroupKFold(3), params={"groups": groups}, return_estimator=True
    )
    assert len(scores["estimator"]) == len(Record.seen) == 3
    for parts in Record.seen:
        patients = [
            {groups[np.flatnonzero((ecg.numpy() == X).all(axis=(1, 2)))[0]] for ecg in part} for part in parts
        ]
        assert patients[0].isdisjoint(patients[1])


@pytest.mark.usefixtures("routing")
def test_routed_groups_and_weights(data):
    X, y, groups = data
    weight = np.linspace(0.5, 2, len(X))
    with pytest.raises(ValueError, match="sample_weight"):
        cross_validate(small, X, y, cv=2, params={"sample_weight": weight})
    asked = clone(small).set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
    scores = cross_validate(
        asked, X, y, cv=GroupKFold(3), params={"sample_weight": weight, "groups": groups}, error_score="raise"
    )
    assert len(scores["test_score"]) == 3
    unasked = clone(small).set_fit_request(groups=False)
    cross_val_score(unasked, X, y, cv=GroupKFold(3), params={"groups": groups}, error_score="raise")


@pytest.mark.usefixtures("routing")
def test_grid_search_carries_groups_in(data):
    X, y, groups = data
    search = GridSearchCV(
        clone(small).set_params(objective=Evidence()),
        {"objective__area": [0.5, 1.0], "lr": [1e-3, 3e-3]},
        cv=StratifiedGroupKFold(2),
        scoring="roc_auc",
        n_jobs=2,
        error_score="raise",
    )
    search.fit(X, y, groups=groups)
    assert len(search.cv_results_["params"]) == 4
    best = search.best_estimator_
    assert best.objective.area == search.best_params_["objective__area"]
    np.testing.assert_array_equal(
        best.predict_proba(X), clone(best).fit(X, y, groups=groups).predict_proba(X)
    )
    assert search.predict(X).shape == (len(X),)


@pytest.mark.parametrize("subset", ["network", "training"])
def test_grid_search_over_network_and_training(data, subset):
    X, y, _ = data
    grid = {
        "network": {"width": [2, 4], "segmenter": ["unet", None], "classifier": ["convolutional", "hu2021"]},
        "training": {
            "objective": ["cross_entropy", Evidence(area=0.3)],
            "batch_size": [8, None],
            "augmentation": [False, Augmentation()],
        },
    }[subset]
    search = GridSearchCV(small, grid, cv=2, error_score="raise").fit(X, y)
    assert len(search.cv_results_["params"]) == 8
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_randomized_search(data):
    X, y, _ = data
    search = RandomizedSearchCV(
        small, {"width": randint(2, 6)}, n_iter=2, cv=2, random_state=0, error_score="raise"
    )
    assert search.fit(X, y).best_params_["width"] in range(2, 6)


@pytest.mark.parametrize("resource", ["max_epochs", "n_samples"])
def test_halving_search(data, resource):
    X, y, _ = data
    limits = {"max_epochs": {"min_resources": 1, "max_resources": 2}, "n_samples": {"min_resources": 18}}
    search = HalvingGridSearchCV(
        small,
        {"width": [2, 4]},
        resource=resource,
        factor=2,
        cv=2,
        random_state=0,
        error_score="raise",
        **limits[resource],
    )
    search.fit(X, y)
    assert search.n_iterations_ == 2
    if resource == "max_epochs":
        assert search.best_estimator_.n_iter_ == 2


def test_learning_and_validation_curves(data):
    X, y, groups = data
    sizes, train, test = learning_curve(
        small, X, y, groups=groups, cv=GroupKFold(2), train_sizes=[0.6, 1.0], error_score="raise"
    )
    assert train.shape == test.shape == (2, 2)
    assert sizes[0] < sizes[1]
    train, test = validation_curve(
        small, X, y, param_name="dropout", param_range=[0.0, 0.5], cv=2, error_score="raise"
    )
    assert train.shape == test.shape == (2, 2)


def test_permutation_test(data):
    X, y, _ = data
    score, permuted, p = permutation_test_score(small, X, y, cv=2, n_permutations=2, random_state=0)
    assert permuted.shape == (2,)
    assert 0 < p <= 1
    assert 0 <= score <= 1


@pytest.mark.parametrize("method", ["sigmoid", "isotonic", "temperature"])
def test_calibration(data, method):
    X, y, _ = data
    if method not in CalibratedClassifierCV._parameter_constraints["method"][0].options:
        pytest.skip("this scikit-learn has no temperature scaling")
    proba_is_sane(CalibratedClassifierCV(small, method=method, cv=2).fit(X, y), X)


def test_tuned_threshold(data):
    X, y, _ = data
    clf = TunedThresholdClassifierCV(small, scoring="balanced_accuracy", cv=2).fit(X, y == "V")
    assert clf.predict(X).dtype == bool
    proba_is_sane(clf, X)


@pytest.mark.usefixtures("routing")
@pytest.mark.parametrize("wrap", [CalibratedClassifierCV, TunedThresholdClassifierCV])
def test_groups_are_routed_through_wrappers(data, wrap):
    X, y, groups = data
    clf = wrap(small, cv=StratifiedGroupKFold(2)).fit(X, y == "V", groups=groups)
    proba_is_sane(clf, X)


def test_voting(data):
    X, y, _ = data
    members = [("a", small), ("b", clone(small).set_params(segmenter=None))]
    soft = VotingClassifier(members, voting="soft").fit(X, y)
    expected = np.mean([e.predict_proba(X) for e in soft.estimators_], axis=0)
    np.testing.assert_allclose(soft.predict_proba(X), expected)
    hard = VotingClassifier(members, n_jobs=2).set_output(transform="pandas").fit(X, y)
    assert set(hard.predict(X)) <= {"N", "V"}
    assert list(hard.transform(X).columns) == hard.get_feature_names_out().tolist()


def test_voting_needs_the_number_of_the_normal_class(data):
    X, y, _ = data
    beats = np.where(y == "V", "PVC", "SR")  # the first in the alphabet is abnormal
    member = clone(small).set_params(normal_class=1)
    voting = VotingClassifier([("a", member)], voting="soft").fit(X, beats)
    direct = clone(small).fit(X, beats)
    assert (voting.estimators_[0].map_labels_, direct.map_labels_) == ([0], ["PVC"])
    np.testing.assert_array_equal(voting.estimators_[0].segment(X), direct.segment(X))


def test_stacking(data):
    X, y, _ = data
    members = [("a", small), ("b", clone(small).set_params(width=2))]
    clf = StackingClassifier(members, LogisticRegression(), cv=2).fit(X, y)
    proba_is_sane(clf, X)
    frame = clf.set_output(transform="pandas").transform(X)
    assert (
        list(frame.columns)
        == clf.get_feature_names_out().tolist()
        == ["stackingclassifier_a", "stackingclassifier_b"]
    )
    np.testing.assert_allclose(frame["stackingclassifier_a"], clf.estimators_[0].predict_proba(X)[:, 1])


def test_one_vs_rest(labels):
    X, y, _ = labels
    three = np.where(y[:, 1] == 1, "V", np.where(y[:, 0] == 1, "S", "N"))
    clf = OneVsRestClassifier(small).fit(X, three)
    assert clf.classes_.tolist() == ["N", "S", "V"]
    proba_is_sane(clf, X, 3)
    assert clf.decision_function(X).shape == (len(X), 3)
    several = OneVsRestClassifier(small).fit(X, y)
    assert several.predict(X).shape == y.shape


def test_multi_output(labels):
    X, y, _ = labels
    named = np.where(y == 1, [["S", "V"]], "N")
    clf = MultiOutputClassifier(small, n_jobs=2).fit(X, named)
    assert [c.tolist() for c in clf.classes_] == [["N", "S"], ["N", "V"]]
    assert clf.predict(X).shape == y.shape
    assert [p.shape for p in clf.predict_proba(X)] == [(len(X), 2)] * 2


def test_multilabel_scores(labels):
    X, y, groups = labels
    scores = cross_validate(
        small,
        X,
        y,
        groups=groups,
        cv=GroupKFold(2),
        scoring=["roc_auc", "average_precision", "f1_macro", "accuracy"],
        error_score="raise",
    )
    assert all(np.isfinite(scores[f"test_{name}"]).all() for name in ("roc_auc", "average_precision"))
    probability = cross_val_predict(small, X, y, cv=2, method="predict_proba")
    assert 0 <= roc_auc_score(y, probability, average="macro") <= 1


@pytest.mark.usefixtures("routing")
def test_pipeline_with_our_transformers(data):
    X, y, groups = data
    pipeline = make_pipeline(
        Resampler(sampling_rate=RATE, new_rate=100),
        BandPassFilter(sampling_rate=100),
        RobustLeadScaler(),
        clone(small).set_params(sampling_rate=100, band=None, scale=False),
    )
    pipeline.fit(X, y, groups=groups)
    maps = pipeline[-1].segment(pipeline[:-1].transform(X))
    assert maps.shape == (len(X), 400)
    assert len(pipeline[-1].locate(pipeline[:-1].transform(X))) == len(X)
    search = GridSearchCV(
        pipeline,
        {"bandpassfilter__low": [None, 0.5], "attentionecgclassifier__width": [2, 4]},
        cv=StratifiedGroupKFold(2),
        error_score="raise",
    )
    search.fit(X, y, groups=groups)
    np.testing.assert_array_equal(
        pickle.loads(pickle.dumps(search)).predict_proba(X), search.predict_proba(X)
    )


def test_the_default_pipeline(data):
    X, y, _ = data
    # artefacts are added to what the estimator gets
    same = {"augmentation": Augmentation(artefacts=0)}
    estimator = clone(small).set_params(sampling_rate=180, band=None, scale=False, **same)
    pipeline = clone(make_ecg_pipeline(RATE, estimator=estimator)).fit(X, y)
    proba_is_sane(pipeline, X)
    assert pipeline.classes_.tolist() == ["N", "V"]
    # the front end of the estimator does the same by itself
    alone = clone(small).set_params(resample_to=180, **same).fit(X, y)
    np.testing.assert_allclose(alone.predict_proba(X), pipeline.predict_proba(X), atol=2e-3)


@pytest.mark.requires_data
@pytest.mark.usefixtures("routing")
def test_grid_search_on_real_windows(mitbih_windows):
    X, y, groups, _ = mitbih_windows
    rows = slice(None, None, 8)
    clf = AttentionECGClassifier(360, width=4, max_epochs=1, n_threads=1, random_state=0)
    search = GridSearchCV(
        clf, {"width": [4, 8], "lr": [1e-3, 3e-3]}, cv=GroupKFold(2), n_jobs=2, error_score="raise"
    )
    search.fit(X[rows], y[rows], groups=groups[rows])
    assert search.best_estimator_.n_leads_in_ == 2
