from __future__ import annotations

import copy
import json
import os
import pickle
import resource

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from safetensors import safe_open
from safetensors import torch as safetensors
from sklearn import config_context
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.exceptions import InconsistentVersionWarning, NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils.metadata_routing import MetadataRequest
from skorch.callbacks import Callback

import skecgattn._model_file as model_file
from skecgattn import AttentionECGClassifier
from skecgattn._frontend import FrontEnd
from skecgattn._labels import Labels
from skecgattn._model_file import info, load, save
from skecgattn.datasets import make_ecg
from skecgattn.exceptions import ModelFileError
from skecgattn.nn import Augmentation, ConvolutionalClassifier, Evidence
from skecgattn.preprocessing import RobustLeadScaler, make_ecg_pipeline

RATE = 128
SMALL = {"resample_to": None, "width": 4, "max_epochs": 1, "batch_size": 16, "random_state": 0}


def small(**params):
    return AttentionECGClassifier(**({"sampling_rate": RATE} | SMALL | params))


@pytest.fixture(scope="module")
def ecgs():
    X, y, groups, _ = make_ecg(
        24, n_leads=2, sampling_rate=RATE, duration=4, classes=["S", "V"], pvc=0.4, pac=0.4, random_state=0
    )
    return X.astype(np.float32), y, groups


@pytest.fixture(scope="module")
def fitted(ecgs):
    X, y, _ = ecgs
    frame = pd.DataFrame(y, columns=["S", "V"])
    return small(lead_names=("MLII", "V1"), early_stopping=True, max_epochs=2).fit(X, frame)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.skecg"


@pytest.fixture
def saved(fitted, path):
    save(fitted, path)
    return path


def assert_same(first, second, X):
    """Same parameters, same learned attributes with the same types, same predictions to the bit."""
    assert_equal(first, second)
    np.testing.assert_array_equal(first.predict_proba(X), second.predict_proba(X))
    np.testing.assert_array_equal(first.predict(X), second.predict(X))


def assert_equal(first, second):
    """Values and types are equal, through attributes and containers."""
    assert type(first) is type(second)
    if isinstance(first, np.ndarray | torch.Tensor):
        assert first.dtype == second.dtype
        np.testing.assert_array_equal(first, second)
    elif isinstance(first, list | tuple):
        assert len(first) == len(second)
        for item, other in zip(first, second):
            assert_equal(item, other)
    elif isinstance(first, dict):
        assert_equal(list(first), list(second))
        assert_equal(list(first.values()), list(second.values()))
    elif isinstance(first, torch.nn.Module):
        assert repr(first) == repr(second)
        assert_equal(dict(first.state_dict()), dict(second.state_dict()))
    elif isinstance(first, np.random.RandomState):
        assert_equal(first.get_state(), second.get_state())
    elif isinstance(first, BaseEstimator | Evidence | Augmentation | FrontEnd | Labels):
        assert vars(first).keys() == vars(second).keys()
        for name, value in vars(first).items():
            assert_equal(value, vars(second)[name])
    elif isinstance(first, MetadataRequest):
        assert str(first) == str(second)
    else:
        assert first == second


def round_trip(model, path):
    state = torch.random.get_rng_state()
    save(model, path)
    loaded = load(path)
    assert torch.equal(state, torch.random.get_rng_state())
    return loaded


def test_a_loaded_estimator_is_the_saved_one(fitted, ecgs, path):
    X, y, _ = ecgs
    loaded = round_trip(fitted, path)
    assert_same(fitted, loaded, X)
    for got, expected in zip(loaded.locate(X, threshold=0.1), fitted.locate(X, threshold=0.1)):
        np.testing.assert_array_equal(got, expected)
    assert loaded.classes_.dtype == fitted.classes_.dtype
    assert not loaded.network_.training
    assert all(weight.requires_grad for weight in loaded.network_.parameters())
    # as alive as the first one: pickled, copied, cloned, trained on, saved again
    assert_same(pickle.loads(pickle.dumps(loaded)), fitted, X)
    fresh = clone(loaded)
    assert not hasattr(fresh, "network_")
    frame = pd.DataFrame(y, columns=["S", "V"])
    np.testing.assert_array_equal(fresh.fit(X, frame).predict_proba(X), fitted.predict_proba(X))
    first, second = (copy.deepcopy(model).partial_fit(X, y) for model in (fitted, loaded))
    np.testing.assert_array_equal(first.predict_proba(X), second.predict_proba(X))
    content = path.read_bytes()
    save(load(path), path)
    assert path.read_bytes() == content


def test_it_continues_where_the_saved_one_would(fitted, ecgs, path):
    X, y, _ = ecgs
    frame = pd.DataFrame(y, columns=["S", "V"])
    pair = [copy.deepcopy(fitted), round_trip(fitted, path)]
    first, second = (model.set_params(warm_start=True).fit(X, frame).predict_proba(X) for model in pair)
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("changed", [{"scale": False}, {"rhythm": False}, {"sampling_rate": None}], ids=str)
def test_what_was_set_after_fit_changes_no_prediction(fitted, ecgs, path, changed):
    model = copy.deepcopy(fitted).set_params(**changed)
    loaded = round_trip(model, path)
    assert_same(model, loaded, ecgs[0])
    np.testing.assert_array_equal(loaded.predict_proba(ecgs[0]), fitted.predict_proba(ecgs[0]))
    assert info(path)["sampling_rate"] == RATE


@pytest.mark.parametrize("changed", [{"width": 8}, {"read_whole": False}, {"segmenter": None}], ids=str)
def test_a_network_of_other_parameters_is_not_saved(fitted, path, changed):
    with pytest.raises(ModelFileError, match="parameter of the network was set after fit"):
        save(copy.deepcopy(fitted).set_params(**changed), path)
    assert not path.exists()


def test_a_file_without_front_end_goes_by_the_parameters(fitted, ecgs, path):
    before_waves = clone(fitted).set_params(waves=False).fit(*ecgs[:2])
    save(before_waves, path)

    def age(description, tensors):
        del description["front_end"], description["model"]["params"]["waves"]

    rewrite(path, age)
    assert_same(before_waves, load(path), ecgs[0])


def test_pickle_and_joblib_keep_working(fitted, ecgs, tmp_path):
    joblib.dump(fitted, tmp_path / "model.joblib")
    assert_same(joblib.load(tmp_path / "model.joblib"), fitted, ecgs[0])


@pytest.mark.parametrize(
    "labels",
    [
        np.array(["N", "V"]),
        np.array(["sinus rhythm", "RVOT é"], dtype=object),
        np.array([0, 1]),
        np.array([3, 7], dtype=np.int8),
        np.array([False, True]),
        np.array([0.0, 2.0]),
    ],
    ids=lambda labels: str(labels.dtype),
)
def test_labels_keep_their_type(ecgs, path, labels):
    X, y, _ = ecgs
    clf = small(normal_class=labels[0]).fit(X, labels[y[:, 1]])
    loaded = round_trip(clf, path)
    assert_same(clf, loaded, X)
    assert loaded.predict(X).dtype == labels.dtype
    assert type(loaded.map_labels_[0]) is type(clf.map_labels_[0])
    assert info(path)["normal_class"] == labels[0]


@pytest.mark.parametrize(
    "params",
    [
        {"objective": Evidence(area=0.3), "augmentation": Augmentation(noise=0)},
        {"precision": "float64", "random_state": np.random.RandomState(3), "band": [1.0, None]},
        {"segmenter": None, "class_weight": [{0: 1.0, 1: np.float32(2)}, {1: 3}]},
        {"sampling_rate": None, "segmenter": "unet", "device": torch.device("cpu")},
        {"objective": "cross_entropy", "segmenter": "hu2021", "classifier": "hu2021", "rhythm": False},
    ],
    ids=["objects", "float64", "no-segmenter", "no-rate", "published"],
)
def test_every_parameter_travels(ecgs, path, params):
    X, y, _ = ecgs
    clf = small(**params).fit(X[:16], y[:16])
    assert_same(clf, round_trip(clf, path), X)


def test_pipelines(ecgs, path):
    X, y, groups = ecgs
    labels = np.where(y[:, 1], "V", "N")
    deep = make_ecg_pipeline(RATE, new_rate=100, estimator=AttentionECGClassifier(100, **SMALL))
    deep.set_params(robustleadscaler__per="fit").fit(X, labels)
    assert_same(deep, round_trip(deep, path), X)
    assert info(path)["sampling_rate"] == RATE
    assert info(path)["steps"] == [
        "Resampler",
        "BandPassFilter",
        "RobustLeadScaler",
        "AttentionECGClassifier",
    ]
    flat = X[:, 0]
    union = FeatureUnion([("scaled", StandardScaler()), ("raw", "passthrough")])
    with config_context(enable_metadata_routing=True):
        clf = AttentionECGClassifier(segmenter="unet", **SMALL).set_fit_request(groups="patients")
        flat_model = Pipeline([("union", union), ("none", None), ("clf", clf)])
        flat_model.fit(flat, labels, patients=groups)
        loaded = round_trip(flat_model, path)
        assert_same(flat_model, loaded, flat)
        assert loaded[-1].get_metadata_routing().fit.requests["groups"] == "patients"


class Watch(Callback):
    pass


class MyEvidence(Evidence):
    pass


class MyScaler(TransformerMixin, BaseEstimator):
    def fit(self, X, y=None):
        self.n_features_in_ = X.shape[1]
        return self

    def transform(self, X):
        return X


def my_classifier(n_channels, n_outputs):
    return ConvolutionalClassifier(n_channels, n_outputs, width=4)


@pytest.mark.parametrize(
    ("params", "named"),
    [
        ({"classifier": my_classifier}, r"model\.classifier=<function my_classifier"),
        ({"segmenter": None, "callbacks": [Watch()]}, r"model\.callbacks\[0\]="),
        ({"objective": MyEvidence()}, r"model\.objective=MyEvidence"),
    ],
)
def test_code_is_refused_by_name(ecgs, path, params, named):
    clf = small(**params).fit(ecgs[0], ecgs[1])
    with pytest.raises(ModelFileError, match=named + r".*[Pp]ickle") as caught:
        save(clf, path)
    assert "\n" not in str(caught.value)
    assert not path.exists()
    assert os.listdir(path.parent) == []


def test_what_is_no_saveable_model(fitted, path):
    with pytest.raises(TypeError, match="Pipeline that ends in one, got LogisticRegression"):
        save(LogisticRegression(), path)
    with pytest.raises(TypeError, match="Pipeline that ends in StandardScaler"):
        save(make_pipeline(StandardScaler()), path)
    search = GridSearchCV(small(), {"lr": [1e-3]})
    search.best_estimator_ = fitted
    with pytest.raises(TypeError, match="best_estimator_"):
        save(search, path)
    with pytest.raises(NotFittedError):
        save(small(), path)
    for step, named in (
        (FunctionTransformer(np.abs), r"\.func=<ufunc"),
        (MyScaler(), "MyScaler"),
    ):
        with pytest.raises(ModelFileError, match=named):
            save(Pipeline([("step", step), ("clf", fitted)]), path)
    with pytest.raises(ModelFileError, match="memory=None"):
        save(Pipeline([("clf", fitted)], memory="cache"), path)
    odd = copy.deepcopy(fitted)
    odd.something_ = {1, 2}
    with pytest.raises(ModelFileError, match=r"model\.something_=\{1, 2\}"):
        save(odd, path)


def test_info(saved, fitted):
    found = info(saved)
    json.dumps(found, allow_nan=False)
    assert found["sampling_rate"] == RATE
    assert found["lead_names"] == ["MLII", "V1"]
    assert found["classes"] == found["map_labels"] == ["S", "V"]
    assert found["n_leads"] == 2
    assert found["thresholds"] == fitted.thresholds_.tolist()
    assert found["history"] == fitted.history_
    assert found["parameters"]["width"] == 4
    assert found["versions"]["torch"] == torch.__version__
    assert found["n_bytes"] == saved.stat().st_size
    with safe_open(saved, "pt") as file:  # any reader of safetensors opens it
        assert set(file.metadata()) == {"skecgattn"}
    weights = {name for name in safetensors.load_file(saved) if name.startswith("network.")}
    assert weights == {f"network.{name}" for name in fitted.network_.state_dict()}


def test_the_fingerprint_is_the_contents(saved, fitted, path, tmp_path):
    before = info(saved)["fingerprint"]
    save(fitted, tmp_path / "again")
    assert info(tmp_path / "again")["fingerprint"] == before
    save(copy.deepcopy(fitted).set_params(verbose=1), tmp_path / "again")
    assert info(tmp_path / "again")["fingerprint"] != before


@pytest.mark.parametrize(
    "content",
    [b"", b"\x08", b"not a model at all, but some text", pickle.dumps({"a": 1}), b"\xff" * 100],
    ids=["empty", "one-byte", "text", "pickle", "ones"],
)
def test_foreign_files(path, content):
    path.write_bytes(content)
    for read in (load, info):
        with pytest.raises(ModelFileError, match="no model file of skecgattn") as caught:
            read(path)
        assert "\n" not in str(caught.value)


def test_foreign_safetensors(path):
    safetensors.save_file({"a": torch.zeros(2)}, path)
    with pytest.raises(ModelFileError, match="no model file"):
        load(path)
    with pytest.raises(FileNotFoundError):
        load(path.with_name("missing"))


def test_damage_is_noticed_anywhere(saved):
    content = saved.read_bytes()
    rng = np.random.default_rng(0)
    positions = [*range(12), *rng.integers(len(content), size=150).tolist(), len(content) - 1]
    for position in positions:
        damaged = bytearray(content)
        damaged[position] ^= 1 << int(rng.integers(8))
        saved.write_bytes(damaged)
        with pytest.raises(ModelFileError) as caught:
            load(saved)
        assert "\n" not in str(caught.value)
    for length in [*range(0, 30, 7), *rng.integers(len(content), size=30).tolist(), len(content) - 1]:
        saved.write_bytes(content[:length])
        with pytest.raises(ModelFileError):
            load(saved)
    saved.write_bytes(content + b"more")
    with pytest.raises(ModelFileError):
        load(saved)


def rewrite(path, change):
    """Change the description or the tensors, with a right checksum: what a forger would do."""
    with safe_open(path, "pt") as file:
        description = json.loads(file.metadata()["skecgattn"])
    tensors = safetensors.load_file(path)
    del description["sha256"]
    change(description, tensors)
    description["sha256"] = model_file._digest(description, tensors)
    path.write_bytes(safetensors.save(tensors, {"skecgattn": json.dumps(description)}))


def drop_weights(description, tensors):
    del tensors[next(name for name in tensors if name.startswith("network."))]


def reshape_weights(description, tensors):
    tensors["network.more"] = torch.zeros(3)


FORGERIES = {
    "newer": (lambda d, t: d.update(format_version=2), "format 2.*Update skecgattn"),
    "weights-missing": (drop_weights, "weights do not fit the network"),
    "weights-extra": (reshape_weights, r"network, at 1 of .*'more' has shape \(3,\), expected None"),
    "width": (lambda d, t: d["model"]["params"].update(width=10**6), "weights do not fit"),
    "parameter": (lambda d, t: d["model"]["params"].update(depth=3), "does not take the parameters.*depth"),
    "value": (lambda d, t: d["model"]["params"].update(width="wide"), "'width' parameter"),
    "front-end": (lambda d, t: d["front_end"].update(resample_to="high"), "'resample_to' parameter"),
    "system": (lambda d, t: d["model"].update({"$object": "os.system"}), "no estimator of"),
    "function": (lambda d, t: d["model"].update({"$object": "sklearn.clone.X"}), "no estimator of"),
    "private": (
        lambda d, t: d["model"].update({"$object": "sklearn.tests.test_base.MyEstimator"}),
        "no estim",
    ),
    "other": (lambda d, t: d["model"].update({"$object": "sklearn.svm.SVC", "params": {}}), "must be an Att"),
    "tag": (lambda d, t: d["model"]["params"].update(verbose={"$code": "1"}), "unknown kind of value"),
    "dunder": (lambda d, t: d["model"]["state"].update(__class__=1), "no attribute '__class__'"),
    "tensor": (lambda d, t: d["model"]["state"].update(x_={"$array": "none"}), "cannot be loaded: 'none'"),
    "cache": (lambda d, t: d["model"]["params"].update(memory="/tmp"), "has a cache"),
    "no-model": (lambda d, t: d.pop("model"), "cannot be loaded: 'model'"),
    "deep": (lambda d, t: d.update(format_version=[1]), "no model file"),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_forged_files(saved, name):
    change, message = FORGERIES[name]
    rewrite(saved, change)
    with pytest.raises(ModelFileError, match=message) as caught:
        load(saved)
    assert "\n" not in str(caught.value)


def test_another_version_of_sklearn_is_told(fitted, ecgs, path):
    scaler = StandardScaler().fit(ecgs[0][:, 0])
    save(Pipeline([("scaler", scaler), ("own", RobustLeadScaler()), ("clf", fitted)]), path)
    rewrite(path, lambda description, tensors: description["versions"].update({"scikit-learn": "1.0"}))
    with pytest.warns(InconsistentVersionWarning, match=r"StandardScaler from version 1\.0") as caught:
        load(path)
    assert len(caught) == 1


def test_a_full_disk_leaves_the_old_file(fitted, saved):
    before = saved.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OSError, match="too large"):
            save(copy.deepcopy(fitted).set_params(verbose=1), saved)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert saved.read_bytes() == before
    assert os.listdir(saved.parent) == [saved.name]
