"""Stretches of an ECG in which nothing was recorded."""

from __future__ import annotations

import numpy as np
import pytest

from skecgattn._artefacts import add_artefacts
from skecgattn._frontend import FrontEnd
from skecgattn._gaps import bridge_gaps, find_gaps
from skecgattn.beats import reference_beats, rhythm_channels
from skecgattn.datasets import make_ecg

RATE = 250


def test_gaps_are_where_all_leads_stand_still():
    X = np.random.default_rng(0).normal(size=(3, 2, 100))
    X[1, :, 20:30] = 1
    X[1, :, 60:] = 0
    X[2, 0, 10:50] = 0  # the other lead goes on
    assert [len(gaps) for gaps in find_gaps(X, 10)] == [0, 2, 0]
    np.testing.assert_array_equal(find_gaps(X, 10)[1], [[20, 30], [60, 100]])
    np.testing.assert_array_equal(find_gaps(X, 11)[1], [[60, 100]])
    assert find_gaps(X[:0], 10) == []


@pytest.mark.parametrize("start", range(0, 91, 7))
def test_no_gap_is_overlooked_wherever_it_begins(start):
    X = np.arange(100.0)[None, None] ** 2
    X[..., start : start + 9] = -1
    np.testing.assert_array_equal(find_gaps(X, 9)[0], [[start, start + 9]])
    assert not len(find_gaps(X, 10)[0])


def test_steps_around_what_stands_still_are_bridged():
    X = np.random.default_rng(0).normal(size=(2, 2, 50))
    X[0, 0, 10:19] = -5
    X[0, :, 40:] = 0  # an end is padding
    X[1, 1, 20:30], X[1, 1, 17:20], X[1, 1, 30] = 5, [3, 3.8, 4.5], 4.95  # clipped, without a step
    X[1, 0, 1:12], X[1, 0, 0], X[1, 0, 12] = 5, 4.9, 4.95
    before = X.copy()
    bridged = bridge_gaps(X, 9)
    np.testing.assert_array_equal(X, before)
    np.testing.assert_allclose(bridged[0, 0, 9:20], np.linspace(X[0, 0, 9], X[0, 0, 19], 11))
    bridged[0, 0, 10:19] = -5
    np.testing.assert_array_equal(bridged, X)
    assert np.shares_memory(bridge_gaps(X[1:], 9), X)  # nothing to copy


def test_leads_at_their_rail_make_no_heartbeats():
    front_end = FrontEnd(RATE, 180.0, (0.5, 40.0), True, True, True)
    X = make_ecg(20, duration=10, sampling_rate=RATE, pvc=0, pac=0, random_state=0)[0]
    off = X.copy()
    off[:, :, 1000:1300] = -3
    for before, after in zip(front_end.transform(X).heartbeats, front_end.transform(off).heartbeats):
        peaks = after[after >= 0] * RATE / 180
        assert not np.any((peaks > 1020) & (peaks < 1280))
        kept = before[(before >= 0) & ((before * RATE / 180 < 950) | (before * RATE / 180 > 1350))]
        assert np.all(np.abs(kept[:, None] - after[None]).min(axis=1) < 4)


def test_gaps_stay_without_noise():
    X = make_ecg(3, duration=10, sampling_rate=RATE, random_state=0)[0]
    X[1, :, 700:900] = 0
    noisy = add_artefacts(X, RATE, np.random.RandomState(0))
    assert not noisy[1, :, 700:900].any()
    assert (noisy[1, :, 650:700] != X[1, :, 650:700]).all()
    assert (noisy[[0, 2], :, 700:900] != X[[0, 2], :, 700:900]).all()


def test_the_interval_across_a_gap_is_unknown():
    beats = np.array([100, 200, 300, 500, 600, 700, 800])  # one is missing
    late = rhythm_channels([beats], 900)[0]
    assert late[:, 500].max() > 0.4
    assert late[4, 300] > 0.4
    unknown = rhythm_channels([beats], 900, gaps=[np.array([[380, 420]])])[0]
    np.testing.assert_allclose(unknown, 0, atol=1e-6)
    # a gap that touches no interval, and one between others, change nothing
    np.testing.assert_array_equal(rhythm_channels([beats], 900, gaps=[np.array([[820, 890]])])[0], late)
    assert rhythm_channels([beats], 900, gaps=[np.array([[620, 650]])])[0, 4, 300] > 0.4


def test_an_early_beat_is_told_beside_a_gap():
    beats = np.array([100, 200, 300, 500, 600, 650, 800, 900])
    channels = rhythm_channels([beats], 1000, gaps=[np.array([[380, 420]])])[0]
    assert channels[3, 650] == pytest.approx(-0.5)
    assert channels[4, 650] > 0.4
    assert channels[3, 500] == 0


def test_too_few_known_intervals_tell_nothing():
    beats = np.array([100, 200, 240, 300])
    gaps = np.array([[110, 150], [250, 280]])
    assert not rhythm_channels([beats], 400, gaps=[gaps]).any()


def test_a_gap_does_not_decide_which_beats_are_the_reference():
    beats = np.array([100, 200, 300, 380, 500, 600, 700, 1000, 1100, 1200])
    X = np.zeros((1, 1, 1300))
    for beat in beats:
        early = beat in (380, 1000)  # the second only seems to be late
        X[0, 0, beat - 10 : beat + 10] = np.hanning(20) * (-1 if early else 1)
    assert reference_beats(X, [beats], 100)[0].tolist() == [3, 7]
    with_gap = reference_beats(X, [beats], 100, gaps=[np.array([[760, 940]])])[0]
    assert with_gap.tolist() == [0, 1, 2, 4, 5, 6, 8, 9]


def test_a_beat_that_was_not_recorded_leaves_no_pause():
    front_end = FrontEnd(RATE, 180.0, (0.5, 40.0), True, True, True)
    X, _, _, beats = make_ecg(1, duration=10, sampling_rate=RATE, heart_rate=60, pvc=0, pac=0, random_state=0)
    lost = beats[0]["sample"][4]
    X[0, :, lost - 100 : lost + 125] = X.mean()
    peaks = front_end.transform(X).heartbeats[0]
    after = np.searchsorted(peaks * RATE / 180, lost)
    rhythm = front_end.transform(X).values[0, -front_end.n_rhythm :]
    assert not rhythm[:, peaks[after]][[0, 3]].any()
    X[0, 0, lost - 100 : lost + 125 : 10] += 1e-3  # recorded, and nothing there: a pause
    paused = front_end.transform(X).values[0, -front_end.n_rhythm :]
    assert paused[[0, 3], peaks[after]].min() > 0.4
