from __future__ import annotations

import copy
import sys

import numpy as np
import pytest
import torch
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from torch import nn

from skecgattn import AttentionECGClassifier
from skecgattn.datasets import make_ecg
from skecgattn.exceptions import ECGWarning
from skecgattn.inspection import (
    grad_cam,
    guided_grad_cam,
    integrated_gradients,
    randomisation_check,
    randomise_weights,
)
from skecgattn.inspection._attribution import _centres
from skecgattn.metrics import pointing_game
from skecgattn.nn import ConvolutionalClassifier, HuClassifier
from skecgattn.preprocessing import BandPassFilter

pytest.importorskip("captum")

RATE = 128
METHODS = [grad_cam, guided_grad_cam, integrated_gradients]
TINY = {"width": 4, "batch_size": 16, "early_stopping": False, "n_threads": 1, "random_state": 0}


class Plain(nn.Module):
    """A user's classifier of Conv1d modules, without a submodule called features."""

    def __init__(self, n_channels, n_outputs):
        super().__init__()
        self.convolution = nn.Conv1d(n_channels, 4, 7, stride=4)
        self.head = nn.Linear(4, n_outputs)

    def forward(self, x):
        return self.head(self.convolution(x).relu().mean(dim=2))


@pytest.fixture(scope="module")
def ecgs():
    X, y, _, beats = make_ecg(
        64, sampling_rate=RATE, duration=5.0, classes=("V",), pvc=0.5, pac=0.0, n_patients=8, random_state=0
    )
    return X, np.where(y[:, 0] == 1, "V", "N"), beats


@pytest.fixture(scope="module")
def fitted(ecgs):
    """One estimator a setting, by name."""
    X, y, _ = ecgs
    settings = {
        "alone": {"segmenter": None, "max_epochs": 12, "lr": 1e-2, "augmentation": False},
        # what tells of the pause after a beat leads attributions to the next one
        "leads alone": {
            "segmenter": None,
            "max_epochs": 24,
            "lr": 1e-2,
            "augmentation": False,
            "rhythm": False,
            "contrast": False,
        },
        "joint": {"max_epochs": 2},
        "multilabel": {"max_epochs": 1, "segmenter": "unet"},
        "hu2021": {"max_epochs": 1, "segmenter": "hu2021", "classifier": "hu2021", "rhythm": False},
        "plain": {"max_epochs": 1, "segmenter": None, "classifier": Plain},
        "no rate": {"max_epochs": 1, "sampling_rate": None, "precision": "float64"},
    }
    fitted = {}
    for name, params in settings.items():
        target = np.stack([y == "V", np.arange(len(y)) % 3 == 0], axis=1) if name == "multilabel" else y
        fitted[name] = AttentionECGClassifier(**({"sampling_rate": RATE} | TINY | params)).fit(X, target)
    return fitted


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["alone", "joint", "multilabel", "hu2021", "plain", "no rate"])
def test_maps_have_the_format_of_segment(fitted, ecgs, method, name):
    X = ecgs[0][:5]
    estimator = fitted[name]
    options = {"n_steps": 4} if method is integrated_gradients else {}
    network = estimator.network_
    before = {key: value.clone() for key, value in network.state_dict().items()}
    gradients = [None if p.grad is None else p.grad.clone() for p in network.parameters()]
    maps = method(estimator, X, **options)
    assert maps.shape == (5, X.shape[2])
    assert np.isfinite(maps).all()
    assert maps.min() >= 0
    assert set(np.unique(maps.max(axis=1).round(6))) <= {0.0, 1.0}
    np.testing.assert_array_equal(maps, method(estimator, X, **options))
    for key, value in network.state_dict().items():
        torch.testing.assert_close(value, before[key], rtol=0, atol=0)
    for parameter, gradient in zip(network.parameters(), gradients):
        assert parameter.grad is gradient is None or torch.equal(parameter.grad, gradient)


@pytest.mark.parametrize("method", METHODS)
def test_default_target_is_the_predicted_class(fitted, ecgs, method):
    X = ecgs[0][:12]
    for name in ("alone", "multilabel"):
        estimator = fitted[name]
        predicted = estimator.predict_proba(X).argmax(axis=1)
        maps = method(estimator, X)
        for k, label in enumerate(estimator.classes_):
            of_label = method(estimator, X, label)
            np.testing.assert_allclose(maps[predicted == k], of_label[predicted == k], atol=1e-5)


def test_integrated_gradients_by_hand(fitted, ecgs):
    estimator, X = fitted["joint"], ecgs[0][:3]
    front_end, network = estimator._front_end, estimator.network_.eval()
    channels = front_end.transform(X)
    x, beats = torch.from_numpy(channels.values), torch.from_numpy(channels.heartbeats)
    total = torch.zeros_like(x)
    for node, weight in zip(*np.polynomial.legendre.leggauss(16)):
        point = (x * (node + 1) / 2).requires_grad_()
        total += torch.autograd.grad(network(point, beats).logits[:, 1].sum(), point)[0] * weight / 2
    expected = (x * total).clamp(min=0).sum(dim=1, keepdim=True).numpy()
    expected = front_end.to_ecg_length(expected, X.shape[2])[:, 0]
    expected /= expected.max(axis=1, keepdims=True)
    np.testing.assert_allclose(integrated_gradients(estimator, X, "V", n_steps=16), expected, atol=1e-4)
    other = integrated_gradients(estimator, X, "V", n_steps=16, baseline="mean")
    assert not np.allclose(other, expected, atol=0.01)


def test_batches_do_not_matter(fitted, ecgs):
    X = ecgs[0][:40]
    for name in ("alone", "joint"):
        for method in METHODS:
            one_by_one = np.concatenate([method(fitted[name], X[[k]]) for k in (0, 35, 39)])
            np.testing.assert_allclose(method(fitted[name], X)[[0, 35, 39]], one_by_one, atol=1e-3)


@pytest.mark.parametrize("method", METHODS)
def test_attributions_point_at_the_abnormal_beats(fitted, ecgs, method):
    X, y, beats = ecgs
    estimator = fitted["leads alone"]
    found = np.flatnonzero((y == "V") & (estimator.predict(X) == "V"))
    assert len(found) >= 8
    maps = method(estimator, X[found], "V")
    score, chance = pointing_game(maps, list(beats[found]), label="V", return_chance=True)
    assert score > 2 * chance


@pytest.mark.parametrize("build", [ConvolutionalClassifier, HuClassifier])
def test_features_lie_where_they_look(build):
    """The gradient of a feature with respect to the ECG is centred where the feature is drawn."""
    classifier = build(1, 2).eval()
    x = torch.randn(1, 1, 1024, requires_grad=True)
    for size in (3, 6):
        layer = classifier.features[: size + 1]
        features = layer(x[:, :, None])
        centres = _centres(classifier, classifier.features[size], features.shape[-1], 1024)
        # normalisation reads all of the ECG: the convolutions alone decide where a feature looks
        h = x[:, :, None]
        for module in layer.modules():
            if isinstance(module, nn.Conv2d):
                h = nn.functional.conv2d(
                    h, torch.ones_like(module.weight), None, module.stride, module.padding
                )
        middle = features.shape[-1] // 2
        looked = torch.autograd.grad(h[0, 0, 0, middle], x)[0][0, 0].nonzero().double()
        assert float(looked.mean()) == pytest.approx(centres[middle], abs=0.51)


def test_guided_backpropagation_reaches_every_relu(fitted, ecgs):
    """No activation of our networks is a function, which captum could not guide."""
    for name in ("alone", "joint", "multilabel", "hu2021"):
        network, calls = copy.deepcopy(fitted[name].network_), []
        for module in network.modules():
            if isinstance(module, nn.ReLU):
                module.register_forward_hook(lambda *_, calls=calls: calls.append(None))
        channels = fitted[name]._front_end.transform(ecgs[0][:2])
        with torch.profiler.profile() as profile:
            network(torch.from_numpy(channels.values), torch.from_numpy(channels.heartbeats))
        found = sum(event.count for event in profile.key_averages() if event.key == "aten::relu")
        assert found == len(calls) > 0


def test_layer_by_name(fitted, ecgs):
    X = ecgs[0][:4]
    np.testing.assert_array_equal(
        grad_cam(fitted["alone"], X), grad_cam(fitted["alone"], X, layer="features")
    )
    assert not np.allclose(grad_cam(fitted["alone"], X), grad_cam(fitted["alone"], X, layer="features.4"))
    with pytest.raises(ValueError, match=r"layer must be the name of a layer .*features\.0.*got 'nothing'"):
        grad_cam(fitted["alone"], X, layer="nothing")
    with pytest.raises(ValueError, match="layer='head' must have features of shape"):
        guided_grad_cam(fitted["alone"], X, layer="head")


@pytest.mark.parametrize("method", METHODS)
def test_what_bad_input_gets(fitted, ecgs, method):
    X = ecgs[0][:2]
    with pytest.raises(ValueError, match=r"target must be one of \['N', 'V'\] or None, got 'S'"):
        method(fitted["alone"], X, "S")
    with pytest.raises(NotFittedError):
        method(AttentionECGClassifier(RATE), X)
    with pytest.raises(TypeError, match=r"estimator must be an AttentionECGClassifier, or .*, got str\."):
        method("no estimator", X)
    with pytest.raises(ValueError, match="lead"):
        method(fitted["alone"], np.concatenate([X, X], axis=1))


def test_without_captum(fitted, ecgs, monkeypatch):
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    for method in METHODS:
        with pytest.raises(ImportError, match=r'pip install "skecgattn\[inspection\]"'):
            method(fitted["alone"], ecgs[0][:2])


def test_ecg_without_heartbeats(fitted):
    X = np.zeros((1, fitted["joint"].n_leads_in_, 640))
    for method in METHODS:
        with pytest.warns(ECGWarning, match="flat lead"):
            maps = method(fitted["joint"], X)
        assert np.isfinite(maps).all()


@pytest.mark.parametrize("method", [*METHODS, lambda *a, **k: randomisation_check(*a, random_state=0, **k)])
def test_pipelines_and_searches_are_explained_by_what_they_end_in(ecgs, method):
    X, y, _ = ecgs
    clf = AttentionECGClassifier(RATE, max_epochs=1, **TINY)
    search = GridSearchCV(
        Pipeline([("filter", BandPassFilter(RATE)), ("clf", clf)]), {"clf__lr": [3e-3]}, cv=2
    )
    search.fit(X, y)
    pipeline = search.best_estimator_
    inner, seen = pipeline[-1], pipeline[:-1].transform(X[:4])
    expected = method(inner, seen, target="V")
    for outer in (search, pipeline):
        found = method(outer, X[:4], target="V")
        if isinstance(expected, np.ndarray):
            np.testing.assert_array_equal(found, expected)
            assert np.abs(found - method(inner, X[:4], target="V")).max() > 0  # the filter changes something
        else:
            assert found.spearman == expected.spearman
    for wrong in (LogisticRegression(), Pipeline([("clf", LogisticRegression())]), "clf"):
        with pytest.raises(
            TypeError, match="estimator must be an AttentionECGClassifier, or a fitted pipeline"
        ):
            method(wrong, X)


def test_randomise_weights(fitted, ecgs):
    estimator, X = fitted["joint"], ecgs[0][:8]
    before = estimator.predict_proba(X)
    one, same, other = (randomise_weights(estimator, random_state=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one.segment(X), same.segment(X))
    assert not np.allclose(one.predict_proba(X), before)
    assert not np.allclose(one.segment(X), other.segment(X))
    np.testing.assert_array_equal(estimator.predict_proba(X), before)
    with pytest.raises(NotFittedError):
        randomise_weights(AttentionECGClassifier(RATE))


def test_randomisation_check(fitted, ecgs):
    X = ecgs[0][:8]
    check = randomisation_check(fitted["joint"], X, random_state=0)
    assert check.spearman_per_ecg.shape == (8,)
    assert check.spearman == pytest.approx(check.spearman_per_ecg.mean())
    assert check.spearman_per_draw.shape == (10,)
    assert check.spearman == pytest.approx(check.spearman_per_draw.mean())
    assert len(np.unique(check.spearman_per_draw)) == 10
    first = randomisation_check(fitted["joint"], X, n_draws=1, random_state=0)
    assert first.spearman == pytest.approx(check.spearman_per_draw[0])
    cam = randomisation_check(fitted["alone"], X, target="V", method=grad_cam, n_draws=1, random_state=0)
    assert abs(cam.spearman) < 0.8
    # a map that does not ask the network survives
    blind = randomisation_check(fitted["alone"], X, method=lambda estimator, X, target: np.abs(X[:, 0]))
    assert blind.spearman == pytest.approx(1)
    with pytest.raises(ValueError, match="no attention maps"):
        randomisation_check(fitted["alone"], X)
    with pytest.raises(ValueError, match="n_draws"):
        randomisation_check(fitted["joint"], X, n_draws=0)
