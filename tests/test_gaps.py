"""Stretches of an ECG in which nothing was recorded, by any lead or by one."""

from __future__ import annotations

import numpy as np
import pytest

from skecgattn import _frontend
from skecgattn._artefacts import add_artefacts
from skecgattn._frontend import FrontEnd
from skecgattn._gaps import bridge_lead_off, find_gaps, find_lead_off
from skecgattn.beats import reference_beats, rhythm_channels
from skecgattn.datasets import make_ecg

RATE = 250


@pytest.fixture
def noise():
    """Two ECGs of two leads that never stand still."""
    return np.random.default_rng(0).normal(scale=0.05, size=(2, 2, 1000))


def front_end(rate=RATE):
    return FrontEnd(rate, 180.0, (0.5, 40.0), True, True, True, False)


def peaks_of(X):
    """Return the R peaks of each ECG in its own samples."""
    return [beats[beats >= 0] * RATE / 180 for beats in front_end().transform(X).heartbeats]


# --- all leads ----------------------------------------------------------------------------------------


def test_gaps_are_where_all_leads_stand_still(noise):
    noise[1, :, 200:263] = 1
    noise[1, :, 600:] = 0
    noise[1, :, 400:462] = 2  # a sample shorter than a quarter of a second
    noise[0, 0, 100:500] = 0  # the other lead goes on
    found = find_gaps(noise, 252)
    assert not len(found[0])
    np.testing.assert_array_equal(found[1], [[200, 263], [600, 1000]])
    assert find_gaps(noise[:0], 252) == []


@pytest.mark.parametrize("start", range(8, 120, 7))
def test_no_gap_is_overlooked_wherever_it_begins(start):
    X = np.arange(200.0)[None, None] ** 2
    X[..., start : start + 25] = -9
    np.testing.assert_array_equal(find_gaps(X, 100)[0], [[start, start + 25]])
    X[..., start + 24] = -8
    assert not len(find_gaps(X, 100)[0])


def interpolated(X, start, stop):
    """Return a copy in which straight lines lead from the sample `start` to `stop`."""
    X, share = X.copy(), np.linspace(0, 1, stop - start + 1)
    X[..., start : stop + 1] = X[..., [start]] + share * (X[..., [stop]] - X[..., [start]])
    return X


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_interpolated_samples_are_a_gap(noise, dtype):
    noise = noise.astype(dtype)
    filled = interpolated(noise, 300, 400)
    np.testing.assert_array_equal(find_gaps(filled, RATE)[1], [[301, 400]])
    np.testing.assert_array_equal(find_gaps(filled.astype(np.float32).astype(dtype), RATE)[1], [[301, 400]])
    one = noise.copy()
    one[:, 0] = filled[:, 0]
    assert not any(map(len, find_gaps(one, RATE)))
    one[:, 1, 300:401] = 0.2  # and the other stands still
    assert [301, 400] in find_gaps(one, RATE)[0].tolist()
    assert not any(map(len, find_gaps(interpolated(noise, 300, 340), RATE)))
    np.testing.assert_array_equal(find_gaps(interpolated(noise, 600, 999), RATE)[0], [[601, 1000]])
    shifted = (interpolated(noise, 300, 400) + 20).astype(np.float32).astype(dtype)
    np.testing.assert_array_equal(find_gaps(shifted, RATE)[1], [[301, 400]])
    spike = noise.copy()
    spike[..., 500] = 1e7
    assert not any(map(len, find_gaps(spike, RATE)))
    bent = filled.copy()
    bent[..., 350] += 1e-3
    assert not any(map(len, find_gaps(bent, RATE)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_smooth_wave_is_no_gap(dtype):
    slow = np.sin(np.linspace(0, 1, 1000)) * [[[1.0], [2.0]]]
    assert not any(map(len, find_gaps(slow.astype(dtype), RATE)))


def test_coarsely_digitised_ecg_has_no_gaps_between_its_beats():
    X = make_ecg(20, n_leads=1, sampling_rate=RATE, heart_rate=50, muscle=0, mains=0, random_state=0)[0]
    X = np.round(X / 0.05) * 0.05
    changes = np.diff(X[:, 0], axis=1) != 0
    longest = max(np.diff(np.flatnonzero(row)).max() for row in changes)
    assert longest > 0.25 * RATE  # it does stand still
    assert sum(map(len, find_gaps(X, RATE))) < 3
    X[:, :, 1000:1200] = X.min() - 1
    for found in find_gaps(X, RATE):
        assert [1000, 1200] in found.tolist()


def test_the_interval_across_a_gap_is_unknown():
    beats = np.array([100, 200, 300, 500, 600, 700, 800])  # one is missing
    paused = rhythm_channels([beats], 900)[0]
    assert paused[:, 500].max() > 0.4
    assert paused[4, 300] < -0.4
    assert paused[5, 600] == pytest.approx(-0.5)  # earlier than the one after the pause
    unknown = rhythm_channels([beats], 900, gaps=[np.array([[380, 420]])])[0]
    np.testing.assert_allclose(unknown, 0, atol=1e-6)
    # a gap that touches no interval, and one between others, change nothing
    np.testing.assert_array_equal(rhythm_channels([beats], 900, gaps=[np.array([[820, 890]])])[0], paused)
    assert rhythm_channels([beats], 900, gaps=[np.array([[620, 650]])])[0, 4, 300] < -0.4
    # one from before a beat to behind it makes both intervals unknown
    both = rhythm_channels([beats], 900, gaps=[np.array([[290, 310]])])[0]
    assert not both[:, [300, 500]].any()


def test_an_early_beat_is_told_beside_a_gap():
    beats = np.array([100, 200, 300, 500, 600, 650, 800, 900])
    channels = rhythm_channels([beats], 1000, gaps=[np.array([[380, 420]])])[0]
    assert channels[3, 650] == pytest.approx(-0.5)
    assert channels[4, 650] < -0.4
    assert channels[3, 500] == 0


def test_too_few_known_intervals_tell_nothing():
    beats = np.array([100, 200, 240, 300, 390])
    gaps = np.array([[110, 150], [250, 280]])
    assert rhythm_channels([beats], 400, gaps=[gaps]).any()
    assert not rhythm_channels([beats[:-1]], 400, gaps=[gaps]).any()


def test_a_gap_does_not_decide_which_beats_are_the_reference():
    beats = np.array([100, 200, 300, 380, 500, 600, 700, 1000, 1100, 1200])
    X = np.zeros((1, 1, 1300))
    for beat in beats:
        early = beat in (380, 1000)  # the second only seems to be late
        X[0, 0, beat - 10 : beat + 10] = np.hanning(20) * (-1 if early else 1)
    assert reference_beats(X, [beats], 100)[0].tolist() == [3, 7]
    with_gap = reference_beats(X, [beats], 100, gaps=[np.array([[760, 940]])])[0]
    assert with_gap.tolist() == [0, 1, 2, 4, 5, 6, 8, 9]


@pytest.mark.parametrize("line", [False, True])
def test_a_beat_that_was_not_recorded_leaves_no_pause(monkeypatch, line):
    X, _, _, beats = make_ecg(1, duration=10, sampling_rate=RATE, heart_rate=60, pvc=0, pac=0, random_state=0)
    lost = beats[0]["sample"][4]
    if line:
        X = interpolated(X, lost - 100, lost + 124)
    else:
        X[0, :, lost - 100 : lost + 125] = X.mean()
    given = []

    def spy(*args, gaps, **kwargs):
        given.extend(gaps)
        return reference_beats(*args, gaps=gaps, **kwargs)

    monkeypatch.setattr(_frontend, "reference_beats", spy)
    channels = front_end().transform(X)
    np.testing.assert_allclose(given[0] * RATE / 180, [[lost - 100 + line, lost + 125 - line]])
    peaks = channels.heartbeats[0]
    after = np.searchsorted(peaks * RATE / 180, lost)
    assert not channels.values[0, -front_end().n_per_beat :, peaks[after]][[0, 3]].any()
    assert not channels.values[0, -front_end().n_per_beat :, peaks[after - 1]][[4, 6]].any()
    X[0, 0, lost - 100 : lost + 125 : 10] += 1e-3  # recorded, and nothing there: a pause
    paused = front_end().transform(X).values[0, -front_end().n_per_beat :]
    assert paused[[4, 6], peaks[after - 1]].max() < -0.4
    assert paused[[0, 3], peaks[after]].min() > 0.4


@pytest.mark.parametrize("padded", [0, 400])
def test_leads_at_their_rails_make_no_heartbeats(padded):
    X = make_ecg(20, duration=10, sampling_rate=RATE, pvc=0, pac=0, random_state=0)[0]
    X[:, :, :padded] = 0
    off, line = X.copy(), X.copy()
    off[:, :, 1000:1150] = -3
    off[:, :, 1150:1300] = 3
    line[:, :, 999:1301] = np.linspace(X[:, :, 999], X[:, :, 1300], 302, axis=2)
    same = []
    for expected, found in zip(peaks_of(line), peaks_of(off)):
        assert not np.any((found >= 1000) & (found < 1300))
        near = np.abs(expected[:, None] - found) < 0.1 * RATE
        same += [*near.any(axis=0), *near.any(axis=1)]
    assert np.mean(same) > 0.95  # what differs is the few samples of the jumps


# --- single leads -------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampling_rate", [128, 360, 500])
@pytest.mark.parametrize("on_the_way", [[], [-1.5], [-0.8, -1.6, -2.4]])
@pytest.mark.parametrize("side", ["both", "into", "out"])
def test_a_lead_that_is_off_becomes_a_line(noise, sampling_rate, on_the_way, side):
    if sampling_rate < 300 and len(on_the_way) > 1:
        on_the_way = on_the_way[:1]
    lead, n = noise[0, 1], len(on_the_way)
    lead[300:500] = -3
    slow = np.linspace(0, -3, 102)[1:-1]  # no jump
    lead[300 - n : 300], lead[500 : 500 + n] = on_the_way, on_the_way[::-1]
    if side == "into":
        lead[500:600] = slow[::-1]
    if side == "out":
        lead[200:300] = slow
    before = noise.copy()
    bridged = bridge_lead_off(noise, sampling_rate)
    np.testing.assert_array_equal(noise, before)
    [(sample, found, start, stop)] = find_lead_off(noise, sampling_rate)
    assert (sample, found) == (0, 1)
    assert start == 300 - (side != "out") * round(0.0125 * sampling_rate)
    assert stop == 500 + (side != "into") * round(0.0125 * sampling_rate)
    line = np.linspace(lead[start - 1], lead[stop], stop - start + 2)
    np.testing.assert_allclose(bridged[0, 1, start - 1 : stop + 1], line)
    bridged[0, 1, start:stop] = lead[start:stop]
    np.testing.assert_array_equal(bridged, noise)


def test_held_values_that_follow_each_other_are_one_stretch(noise):
    noise[0, 0, 300:400], noise[0, 0, 400:500] = -3, 3
    assert find_lead_off(noise, 250) == [(0, 0, 297, 503)]
    assert np.abs(np.diff(bridge_lead_off(noise, 250)[0, 0])).max() < 0.4


def test_at_an_end_the_sample_beside_is_held(noise):
    noise[0, 0, :300] = noise[1, 1, 700:] = 4
    bridged = bridge_lead_off(noise, 100)
    assert set(bridged[0, 0, :301].tolist()) == {noise[0, 0, 301]}
    assert set(bridged[1, 1, 699:].tolist()) == {noise[1, 1, 698]}
    np.testing.assert_array_equal(bridged[0, 1], noise[0, 1])


def test_what_is_no_lead_off_stays(noise):
    noise[0, 0, 100:200] = 0.1  # no jump
    noise[0, 1, 496:506] = -0.9 * np.arange(10)  # a large wave, clipped
    noise[0, 1, 506:700] = -8.5
    noise[0, 1, 700:710] = -0.9 * np.arange(10)[::-1]
    noise[1, 0] = 5  # off throughout
    noise[1, 1, 300:310] = -3  # too short
    # flat at the level of the ECG, until a QRS complex
    noise[1, 1, 600:700], noise[1, 1, 700:704] = 0, [0.9, 1, 0.3, -0.1]
    assert find_lead_off(noise, 100) == []
    assert bridge_lead_off(noise, 100) is noise


def test_one_lead_at_its_rail_adds_no_heartbeats():
    X = make_ecg(20, n_leads=3, duration=10, sampling_rate=RATE, pvc=0, pac=0, random_state=0)[0]
    off = X.copy()
    off[:10, :2, 1000:1300] = -3
    off[10:, :2, 2000:] = -3
    extra = [
        np.abs(beat - before).min() > 0.1 * RATE
        for before, after in zip(peaks_of(X), peaks_of(off))
        for beat in after
    ]
    assert sum(extra) < 3


def test_gaps_and_leads_that_are_off_stay_without_noise():
    X = make_ecg(3, duration=10, sampling_rate=RATE, random_state=0)[0]
    X[1, :, 700:900] = 0
    X[2, 1, 700:900] = -3
    changed = add_artefacts(X, RATE, np.random.RandomState(0)) != X
    assert not changed[1, :, 700:900].any()
    assert not changed[2, 1, 700:900].any()
    changed[1, :, 700:900] = changed[2, 1, 697:903] = True
    assert changed.all()
