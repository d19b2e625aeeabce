"""Which odds of known kinds of beats a label's map trusts, by labels of whole ECGs."""

import numpy as np
import pytest

from skecgattn import AttentionECGClassifier
from skecgattn._trust import MOST_TRUST, trust_for
from skecgattn.inspection import randomise_weights

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
