"""Which odds of known kinds of beats a label's map trusts, by labels of whole ECGs."""

import numpy as np
import pytest
import torch
from scipy.special import expit

from skecgattn import AttentionECGClassifier
from skecgattn._frontend import Channels, FrontEnd
from skecgattn._trust import MOST_TRUST, known, tell_odds, trust_for
from skecgattn.beats import score_beats
from skecgattn.datasets import fetch_mitbih, make_windows
from skecgattn.inspection import randomise_weights
from skecgattn.nn import BeatSegmenter, ConvolutionalClassifier, JointNetwork, Odds
from skecgattn.nn.segmenters import NOT_TRUSTED
from skecgattn.records import Record, iter_annotate

N_BEATS = 10


@pytest.fixture
def told():
    """Odds of two kinds of beats in 300 ECGs, which of the ECGs have such beats, and the ECG of each beat."""
    rng = np.random.RandomState(0)
    ecg = np.repeat(np.arange(300), N_BEATS)
    kinds = np.zeros((len(ecg), 2), dtype=bool)
    for kind, share in enumerate((0.1, 0.3)):
        kinds[rng.choice(300, int(300 * share), replace=False) * N_BEATS + rng.randint(N_BEATS), kind] = True
    odds = rng.normal(-4, 1, kinds.shape) + 5 * kinds
    present = kinds.reshape(300, N_BEATS, 2).any(axis=1).astype(float)
    return odds, present, ecg


def test_a_label_trusts_the_odds_that_tell_it(told):
    odds, present, ecg = told
    weight = np.ones(300)
    first, second = (trust_for(present[:, kind], weight, odds, ecg) for kind in (0, 1))
    assert -8 < first[0] <= MOST_TRUST
    assert -8 < second[1] <= MOST_TRUST
    # what tells nothing more of a label counts for next to nothing
    assert np.nan_to_num(first[1], nan=-12) < -6
    assert np.nan_to_num(second[0], nan=-12) < -6


def test_a_label_of_either_kind_trusts_both(told):
    odds, present, ecg = told
    trust = trust_for(present.max(axis=1), np.ones(300), odds, ecg)
    assert (trust > -7).all()
    assert (trust <= MOST_TRUST).all()


def test_a_label_that_no_odds_tell_trusts_none(told):
    odds, _, ecg = told
    rng = np.random.RandomState(1)
    for share in (0.05, 0.3, 0.9):
        assert np.isnan(trust_for((rng.rand(300) < share).astype(float), np.ones(300), odds, ecg)).all()


def test_ecgs_without_weight_do_not_count(told):
    odds, present, ecg = told
    label, weight = present[:, 0].copy(), np.ones(300)
    label[200:], weight[200:] = 1 - label[200:], 0
    expected = trust_for(label[:200], weight[:200], odds[ecg < 200], ecg[ecg < 200])
    np.testing.assert_allclose(trust_for(label, weight, odds, ecg), expected, atol=1e-3)
    np.testing.assert_allclose(trust_for(label, 7 * weight, odds, ecg), expected, atol=1e-3)


def test_fit_trusts_what_tells_its_labels(mitbih_windows):
    X, y, groups, _ = mitbih_windows
    clf = AttentionECGClassifier(360, width=4, max_epochs=1, random_state=0).fit(X, y, groups=groups)
    trust = clf.network_.segmenter.trust.numpy()
    assert trust.shape == (2, 2)
    assert -8 < trust[0, 0] <= MOST_TRUST  # S, by the odds of beats from the atria
    assert -8 < trust[1, 1] <= MOST_TRUST  # V, by those from the ventricles
    assert trust[0, 1] < -6
    assert trust[1, 0] < -6
    # ECGs that all lack a label say nothing about it
    clf.partial_fit(X[~y.any(axis=1)][:8], y[~y.any(axis=1)][:8])
    np.testing.assert_array_equal(clf.network_.segmenter.trust.numpy(), trust)
    # nor do those that have it, but no weight
    some = np.r_[np.flatnonzero(~y.any(axis=1))[:8], np.flatnonzero(y.all(axis=1))[:2]]
    clf.partial_fit(X[some], y[some], sample_weight=np.r_[np.ones(8), np.zeros(len(some) - 8)])
    np.testing.assert_array_equal(clf.network_.segmenter.trust.numpy(), trust)
    # it is among what random weights take away, and the map with it
    assert (randomise_weights(clf, random_state=0).network_.segmenter.trust < -1000).all()
    clf.fit(X, np.random.RandomState(0).permutation(y))
    assert (clf.network_.segmenter.trust < -1000).all()


def test_any_beat_of_a_kind_that_suffices_counts_for_its_ecg():
    segmenter = BeatSegmenter(3, 2, n_per_beat=2, odds=[Odds(0, suffices=True), Odds(1)], edge=3)
    segmenter.trust[:] = torch.tensor([[-1.0, -1.0], [NOT_TRUSTED, 0.0]])
    values = np.zeros((3, 3, 200), dtype=np.float32)
    values[0, 1, 50], values[0, 1, 100], values[0, 2, 100] = 2, 1, 3
    values[1, 1, 197] = 9  # at the end of its ECG: not judged
    heartbeats = np.array([[50, 100], [100, 197], [-1, -1]])
    network = JointNetwork(segmenter, ConvolutionalClassifier(1, 2, width=4), n_read=1)
    told = known(network, Channels(values, heartbeats))
    expected = [1 - expit(-1) * expit(0), expit(-1), 0]
    np.testing.assert_allclose(told[:, 0], expected, rtol=1e-6)
    assert not told[:, 1].any()  # what it trusts does not suffice
    network.segmenter = BeatSegmenter(3, 2, n_per_beat=2)
    assert not known(network, Channels(values, heartbeats)).any()


def test_premature_beats_from_the_atria_need_a_p_wave_of_their_own_or_of_others():
    front_end = FrontEnd(360, 180, (0.5, 40.0), True, rhythm=True, contrast=True, waves=True)
    segmenter = BeatSegmenter(40, 1, n_per_beat=front_end.n_per_beat, odds=front_end.odds)
    values = torch.zeros(4, front_end.n_per_beat)
    first = front_end.n_per_beat - front_end.n_waves
    own, usual = torch.tensor([0.9, 0.1, 0.2, 0.4]), torch.tensor([0.9, 0.9, 0.3, 0.1])
    values[:, first] = (own - 1) / 4
    values[:, first + 1] = (own - usual).clamp(max=0) / 4
    values[:, first + 5] = values[:, first + 7] = -1 / 8  # half of the way from -5 to 3
    from_the_atria, from_the_ventricles = segmenter.tell_odds(values).unbind(dim=1)
    torch.testing.assert_close(from_the_atria, -1 + 2 * torch.log(torch.maximum(own, usual)))
    torch.testing.assert_close(from_the_ventricles, torch.full((4,), -1.0))
    assert [kind.suffices for kind in front_end.odds] == [True, False]


def test_known_beats_are_located_in_an_ecg_that_the_classifier_takes_for_normal(mitbih_windows):
    X, y, groups, _ = mitbih_windows
    clf = AttentionECGClassifier(360, width=4, max_epochs=1, random_state=0).fit(X, y, groups=groups)
    few = X[np.flatnonzero(y[:, 0])[:40]]
    clf.intercept_ = np.full(2, -100.0)
    reader = clf._reader()
    channels = reader.channels(few)
    told = known(clf.network_, channels)
    ecg = int(told[:, 0].argmax())
    assert told[ecg, 0] > 0.5
    reading = reader.read_channels(channels)
    peaks = score_beats(reading.maps, reading.heartbeats, reader.front_end.rate)[ecg]
    np.testing.assert_allclose(reading.scores[ecg], peaks * told[ecg], rtol=1e-6, atol=1e-30)
    (located,) = clf.locate(few[[ecg]], threshold={clf.map_labels_[0]: 0.9 * reading.scores[ecg][:, 0].max()})
    assert set(located["label"]) == {clf.map_labels_[0]}
    # so does a map file show them
    record = Record.from_array(few[ecg], 360, ["MLII", "V1"])
    (segment,) = iter_annotate(clf, record, maps=True)
    best = segment.heartbeats[segment.heartbeats["label"] == clf.map_labels_[0]]["score"].max()
    assert best > 0.05
    assert np.nanmax(segment.map[0]) == pytest.approx(best, rel=0.1)
    # nothing is known any more: nothing is located
    clf.network_.segmenter.trust[:] = NOT_TRUSTED
    assert max(scores.max() for scores in reader.read_channels(channels).scores) < 1e-30


@pytest.mark.requires_data
def test_beats_from_the_atria_need_p_waves():
    """In fibrillation fewer beats are taken for premature ones by their odds."""
    records = fetch_mitbih(["203", "209"], download_if_missing=False).records
    X, y, _, _ = make_windows(records, step=60.0)
    clf = AttentionECGClassifier(360, width=4, max_epochs=1, random_state=0).fit(X, y)
    channels, n_of_203 = clf._reader().channels(X), (len(X) // 2)
    segmenter = clf.network_.segmenter
    odds, ecg = tell_odds(segmenter, channels)
    segmenter.odds = tuple(kind._replace(needs=()) for kind in segmenter.odds)
    lowered = tell_odds(segmenter, channels)[0][:, 0] - odds[:, 0]
    assert (lowered >= 0).all()
    assert np.median(lowered[ecg < n_of_203]) > 2
    assert np.median(lowered[ecg >= n_of_203]) < 0.3
