from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from skecgattn.beats import (
    BEAT_DTYPE,
    N_RHYTHM,
    _vote,
    contrast_channels,
    detect_heartbeats,
    reference_beats,
    rhythm_channels,
    score_beats,
    select_beats,
    spans,
)
from skecgattn.beats._quantile import median
from skecgattn.datasets import fetch_mitbih, make_ecg, make_windows
from skecgattn.preprocessing import bandpass, robust_scale
from skecgattn.records import read_record

RATE = 180


def share_found(X, beats, sampling_rate, tolerance=0.15, method="network"):
    """Return the shares of true beats found and of found beats that are true, 0.5 s from the ends."""
    hits, margin = np.zeros(4), sampling_rate // 2
    for found, truth in zip(detect_heartbeats(X, sampling_rate, method=method), beats):
        inside = [b for b in truth["sample"] if margin <= b < X.shape[2] - margin]
        near = [np.abs(found - b).min(initial=10**9) <= tolerance * sampling_rate for b in inside]
        kept = [b for b in found if margin <= b < X.shape[2] - margin]
        true = [np.abs(truth["sample"] - b).min() <= tolerance * sampling_rate for b in kept]
        hits += [sum(near), len(near), sum(true), len(true)]
    return hits[0] / hits[1], hits[2] / hits[3]


@pytest.mark.parametrize("sampling_rate", [128, 360])
@pytest.mark.parametrize("n_leads", [1, 2, 12])
@pytest.mark.parametrize("heart_rate", [50, 75, 200])
def test_heartbeats_of_synthetic_ecg(heart_rate, n_leads, sampling_rate):
    X, _, _, beats = make_ecg(
        12, n_leads=n_leads, sampling_rate=sampling_rate, heart_rate=heart_rate, pvc=0, pac=0, random_state=0
    )
    sensitivity, predictivity = share_found(X, beats, sampling_rate)
    assert sensitivity > 0.96
    assert predictivity > 0.96


@pytest.mark.parametrize("sampling_rate", [50, 60, 100])
def test_heartbeats_at_low_rates(sampling_rate):
    X, _, _, beats = make_ecg(12, sampling_rate=sampling_rate, pvc=0, pac=0, random_state=0)
    assert min(share_found(X, beats, sampling_rate)) > 0.96
    assert all(found[-1] < X.shape[2] for found in detect_heartbeats(X, sampling_rate))


@pytest.mark.parametrize("n_leads", [1, 12])
def test_slow_rhythm_is_not_missed(n_leads):
    X, _, _, beats = make_ecg(
        12, n_leads=n_leads, sampling_rate=RATE, heart_rate=30, pvc=0, pac=0, random_state=0
    )
    assert share_found(X, beats, RATE)[0] > 0.97


def test_wide_beats_are_found():
    X, _, _, beats = make_ecg(20, sampling_rate=250, pvc=1, pac=0, random_state=0)
    sensitivity, predictivity = share_found(X, beats, 250)
    assert sensitivity > 0.97
    assert predictivity > 0.97


@pytest.mark.requires_data
def test_heartbeats_of_real_ecg(mitbih_windows):
    X, _, _, beats = mitbih_windows
    sensitivity, predictivity = share_found(X[::4], beats[::4], 360)
    assert sensitivity > 0.95
    assert predictivity > 0.93


def test_nothing_to_detect():
    X = np.zeros((2, 2, 900))
    X[1] = 1.0
    assert [len(found) for found in detect_heartbeats(X, RATE)] == [0, 0]
    rail = np.full((1, 1, 20 * RATE), np.iinfo(np.int16).min, dtype=np.int16)
    assert len(detect_heartbeats(rail, RATE)[0]) == 0
    assert len(detect_heartbeats(np.ones((1, 1, RATE - 1)), RATE)[0]) == 0


def test_heartbeats_do_not_depend_on_the_scale_or_on_the_other_ecgs():
    X, *_ = make_ecg(4, sampling_rate=RATE, random_state=0)
    found = detect_heartbeats(X, RATE)
    for a, b, c in zip(found, detect_heartbeats(1e-3 * X, RATE), detect_heartbeats(X[::-1], RATE)[::-1]):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, c)
        assert a.dtype == np.int64
        assert (np.diff(a) > 0).all()


def test_a_flat_lead_among_others_does_not_hide_the_beats():
    X, _, _, beats = make_ecg(6, n_leads=3, sampling_rate=RATE, pvc=0, random_state=0)
    X[:, 1] = 0
    assert min(share_found(X, beats, RATE)) > 0.97


def test_spans_meet_in_the_middle():
    np.testing.assert_array_equal(spans(np.array([10, 20, 41]), 50), [[0, 15], [15, 31], [31, 50]])
    np.testing.assert_array_equal(spans(np.array([7]), 50), [[0, 50]])
    assert spans(np.array([], dtype=np.int64), 50).shape == (0, 2)


def test_rhythm_of_an_early_beat_and_its_pause():
    # the shortest half of the logarithms of 100, 50, 150, 150, 100 runs from 100 to 150
    spread = 0.03 + np.log(1.5)
    at = [100, 200, 250, 400, 550, 650]
    channels = rhythm_channels([np.array(at)], 700)
    assert channels.shape == (1, N_RHYTHM, 700)
    before, after, change, pause, frequent, around, reference = channels[0, 3:]
    for channel, in_spreads in zip(channels[0], (before, frequent, reference)):
        np.testing.assert_allclose(channel, 12 * spread * in_spreads, atol=1e-5)
    for channel, ratios in (
        (before, [1, 1, 0.5, 1.5, 1.5, 1]),
        (after, [1, 1, 1 / 1.5, 1 / 1.5, 1, 1]),
        (change, [1, 1, 0.5, 3, 1, 1 / 1.5]),
        (pause, [1, 1, 1 / 3, 1, 1, 1]),
        (frequent, [1, 1 / 1.5, 0.5 / 1.5, 1, 1, 1 / 1.5]),
        (around, [1, 1 / np.sqrt(1.5), 0.5, 1.5, 1.5, 1 / np.sqrt(1.5)]),
        (reference, [1, 1, 0.5, 1.5, 1.5, 1]),
    ):
        np.testing.assert_allclose(12 * spread * channel[at], np.log(ratios), atol=1e-5)
    # held from midpoint to midpoint
    assert set(before[225:325].tolist()) == {before[250]}
    assert before[224] != before[225]


def test_the_beat_before_is_not_told_that_the_next_one_is_early():
    channels = rhythm_channels([np.array([100, 200, 300, 400, 450, 600, 700, 800])], 900)
    np.testing.assert_array_equal(channels[0, :, 400], channels[0, :, 300])


def test_only_the_beat_after_a_pause_is_late():
    channels = rhythm_channels([np.array([100, 200, 300, 400, 550, 650, 750])], 850)[0]
    assert (channels[:, [100, 200, 300, 400, 650, 750]] <= 0).all()
    assert (channels[:, 550] >= 0).all()
    assert (channels[[4, 6], 400] < 0).all()


def test_rhythm_without_beats_and_beyond_its_limit():
    few = [np.array([], dtype=np.int64), np.array([50])]
    assert not rhythm_channels(few, 100).any()
    far = rhythm_channels([np.array([0, 10, 20, 30, 900])], 1000, limit=1.5)
    assert far[0, :3].max() == pytest.approx(1.5)
    assert far[0, 3:].max() == pytest.approx(0.5)
    early = rhythm_channels([np.array([0, 300, 600, 610, 900])], 1000, limit=1.5)
    assert early[0, :3].min() == pytest.approx(-1.5)


def test_an_early_beat_is_unusual_in_a_regular_rhythm_only():
    regular = np.array([100, 200, 300, 370, 500, 600, 700, 800])
    bigeminy = np.array([0, 60, 160, 220, 320, 380, 480])
    irregular = np.cumsum([20, 60, 110, 80, 140, 95, 130, 70, 100])
    channels = rhythm_channels([regular, irregular, bigeminy], 900)
    assert channels[0, 0, 370] > channels[1, 0, irregular[1]]  # which is even earlier
    assert channels[0, 3, 370] == pytest.approx(-0.5)
    assert channels[0, 4, 370] < -0.4
    assert channels[0, 3, [200, 300, 600, 700, 800]] == pytest.approx(0)
    assert abs(channels[1, 3:]).max() < 0.3
    assert channels[0, 3, 100] == 0  # the interval before the first beat is unknown
    # intervals that take turns are regular
    assert channels[2, 7, [60, 220, 380]] == pytest.approx(-0.5)


def test_rhythm_beside_the_reference_beats():
    bigeminy = np.array([0, 60, 160, 220, 320, 380, 480])
    channels = rhythm_channels([bigeminy], 600, references=[np.arange(0, 7, 2)])
    np.testing.assert_allclose(channels[0, 2, bigeminy[1:]], [np.log(0.6), 0] * 3, atol=1e-6)
    np.testing.assert_allclose(channels[0, 9, bigeminy[1:]], [-0.5, 0] * 3, atol=1e-6)


def test_the_reference_in_bigeminy_is_the_sinus_beat(mitbih_records):
    """Record 106 has minutes in which every other beat is a PVC."""
    record = next(record for record in mitbih_records if record.name == "106")
    beats, symbols = record.annotations["sample"], record.annotations["symbol"]
    shares = []
    for start in range(0, record.signal.shape[1] - 3600, 3600):
        inside = (beats >= start + 60) & (beats < start + 3540)
        if not 0.4 < (symbols[inside] == "V").mean() < 0.6:
            continue
        window = robust_scale(bandpass(record.signal[None, :, start : start + 3600], 360))
        chosen = reference_beats(window, [beats[inside] - start], 360)[0]
        shares.append((symbols[inside][chosen] == "N").mean())
    assert len(shares) > 5
    assert np.mean(shares) > 0.9


def test_contrast_vanishes_for_a_regular_ecg_and_shows_the_beat_that_differs():
    beats = np.arange(100, 1800, 200)
    X = np.zeros((1, 2, 1800))
    for beat in beats:
        X[0, :, beat - 5 : beat + 5] = [[1.0], [-2.0]]
    assert not contrast_channels(X, [beats], RATE).any()
    X[0, 0, beats[3] - 5 : beats[3] + 5] = 4
    contrast = contrast_channels(X, [beats], RATE)
    np.testing.assert_allclose(contrast[0, 0, beats[3] - 5 : beats[3] + 5], 3)
    contrast[0, 0, beats[3] - 5 : beats[3] + 5] = 0
    assert not contrast.any()


def test_contrast_needs_three_beats():
    X = np.random.default_rng(0).normal(size=(2, 1, 500))
    assert not contrast_channels(X, [np.array([10, 400]), np.array([], dtype=np.int64)], RATE).any()


def test_beats_at_both_ends():
    """Windows that reach over an end are padded, not wrapped round."""
    X, heartbeats = np.zeros((1, 1, 600)), np.array([0, 300, 599])
    X[0, 0, heartbeats] = 1
    assert np.isfinite(contrast_channels(X, [heartbeats], RATE)).all()
    maps = np.zeros((1, 1, 600))
    maps[0, 0, 0] = 0.7
    np.testing.assert_allclose(score_beats(maps, [heartbeats], RATE)[0], [[0.7], [0], [0]])


def test_score_is_the_highest_of_the_map_near_the_r_peak():
    maps = np.zeros((2, 2, 1000))
    maps[0, 0, 215], maps[0, 1, 400] = 0.6, 0.9
    scores = score_beats(maps, [np.array([200, 400, 600]), np.array([], dtype=np.int64)], RATE)
    np.testing.assert_allclose(scores[0], [[0.6, 0], [0, 0.9], [0, 0]])
    assert scores[1].shape == (0, 2)


def test_selected_beats():
    scores = np.array([[0.1, 0.2], [0.6, 0.1], [0.6, 0.4], [0.5, 0.24]])
    located = select_beats(scores, np.array([50, 150, 250, 350]), 400, ["S", "V"], np.array([0.5, 0.25]))
    assert located.dtype == BEAT_DTYPE
    assert located["sample"].tolist() == [150, 250, 350]
    assert located["label"].tolist() == ["S", "V", "S"]  # above both thresholds: V by the larger factor
    assert located["score"].tolist() == [0.6, 0.4, 0.5]
    assert [(b["start"], b["stop"]) for b in located] == [(100, 200), (200, 300), (300, 400)]


def test_threshold_zero_selects_every_beat():
    scores, beats = np.array([[0.0], [0.9]]), np.array([100, 200])
    assert select_beats(scores, beats, 300, ["V"], np.array([0.0]))["sample"].tolist() == [100, 200]


def test_selected_beats_of_nothing():
    none = select_beats(np.empty((0, 1)), np.array([], dtype=np.int64), 400, ["V"], np.array([0.5]))
    assert none.dtype == BEAT_DTYPE
    assert len(none) == 0


@pytest.mark.parametrize("method", ["network", "vote"])
@pytest.mark.parametrize("duration", [1.0, 1.5, 3.0])
def test_short_and_fast_signals_stay_in_bounds(duration, method):
    # the vote's buffers are made for longer signals: these overran them, and crashed the process
    rate = 128
    n_timesteps = int(duration * rate)
    time = np.arange(n_timesteps) / rate
    noise = np.random.default_rng(0).normal(size=(50, 2, n_timesteps))
    for X in (noise, np.sin(2 * np.pi * 8 * time) + 0.01 * noise):
        for beats in detect_heartbeats(X, rate, method=method):
            assert np.all((beats >= 0) & (beats < n_timesteps))


@pytest.mark.parametrize("n_leads", [1, 2])
def test_vote_at_once_is_the_detectors(n_leads, monkeypatch):
    # the quick way uses parts of the detector that have no public name: they must do what it does
    X = make_ecg(4, duration=12, sampling_rate=250, random_state=3)[0][:, :n_leads]
    X[1, :, :400] = X[1, :, 400:401]  # a flat beginning
    X[2] = 0
    quick = detect_heartbeats(X, 250, method="vote")
    monkeypatch.setattr(_vote, "_thresholding", None)
    for one, two in zip(quick, detect_heartbeats(X, 250, method="vote"), strict=True):
        np.testing.assert_array_equal(one, two)


def test_unknown_detector_is_named():
    with pytest.raises(ValueError, match=r"method must be one of .*network.*, got 'wavelet'"):
        detect_heartbeats(np.zeros((1, 1, 900)), RATE, method="wavelet")


@pytest.mark.parametrize(
    ("X", "sampling_rate", "message"),
    [
        (np.zeros((2, 900)), RATE, r"X must be of shape \(n_samples, n_leads, n_timesteps\), got \(2, 900\)"),
        (np.full((1, 1, 900), np.nan), RATE, "X holds NaN or infinity"),
        (np.zeros((1, 1, 900)), 0, "sampling_rate must be positive, got 0"),
    ],
)
def test_what_cannot_be_read_is_refused(X, sampling_rate, message):
    with pytest.raises(ValueError, match=message):
        detect_heartbeats(X, sampling_rate)


@pytest.mark.parametrize("n_leads", [0, 1])
def test_no_ecgs_have_no_heartbeats(n_leads):
    for method in ("network", "vote"):
        assert detect_heartbeats(np.zeros((0, 1 + n_leads, 900)), RATE, method=method) == []


def test_detection_leaves_the_number_of_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        detect_heartbeats(make_ecg(1, sampling_rate=RATE, random_state=0)[0], RATE)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("n_leads", [1, 2, 12])
def test_network_and_vote_agree_on_clean_ecg(n_leads):
    X, *_ = make_ecg(10, n_leads=n_leads, sampling_rate=RATE, random_state=4)
    X = bandpass(X, RATE, low=0.5, high=40.0)
    found, voted = detect_heartbeats(X, RATE), detect_heartbeats(X, RATE, method="vote")
    distance = np.concatenate([np.abs(one[:, None] - two).min(axis=0) for one, two in zip(found, voted)])
    assert np.mean(distance <= 0.05 * RATE) > 0.95
    assert abs(sum(map(len, found)) - len(distance)) < 0.03 * len(distance)


def test_silent_lead_and_order_of_leads_change_little():
    X, *_ = make_ecg(10, n_leads=3, sampling_rate=RATE, random_state=5)
    found = detect_heartbeats(X, RATE)
    for one, two in zip(found, detect_heartbeats(X[:, ::-1], RATE), strict=True):
        assert len(one) == len(two)
        assert np.all(np.abs(one - two) <= 1)
    X[:, 2] = 0
    silent = detect_heartbeats(X, RATE)
    assert abs(sum(map(len, silent)) - sum(map(len, found))) < 0.05 * sum(map(len, found))


def test_gap_and_padding_hold_no_heartbeat():
    X, *_ = make_ecg(4, duration=20, sampling_rate=RATE, random_state=6)
    X[:, :, 1000:2000] = X[:, :, 1000:1001]
    X[:, :, 3000:] = 0
    whole = detect_heartbeats(X[:, :, :1000], RATE)
    for beats, alone in zip(detect_heartbeats(X, RATE), whole):
        assert not np.any((beats > 1020) & (beats < 1980))
        assert not np.any(beats > 3020)
        assert abs(np.sum(beats < 960) - np.sum(alone < 960)) <= 1


def test_reference_without_enough_beats():
    X = np.zeros((3, 2, 900), dtype=np.float32)
    beats = [np.array([], dtype=int), np.array([5]), np.array([5, 100, 300])]
    found = reference_beats(X, beats, 180.0)
    assert [row.tolist() for row in found] == [[], [0], [0, 1, 2]]
    assert reference_beats(X[:0], [], 180.0) == []


def noisy_ecg():
    X, _, _, beats = make_ecg(20, sampling_rate=RATE, pvc=0, pac=0, random_state=1)
    rng = np.random.default_rng(0)
    return bandpass(X + 0.2 * rng.standard_normal(X.shape), RATE, low=0.5, high=40.0), beats


def test_noise_is_no_heartbeat_to_the_vote(monkeypatch):
    noisy, beats = noisy_ecg()
    sensitivity, predictivity = share_found(noisy, beats, RATE, method="vote")
    monkeypatch.setattr(_vote, "_drop_noise", lambda X, heartbeats, sampling_rate: heartbeats)
    before = share_found(noisy, beats, RATE, method="vote")
    assert sensitivity > before[0] - 0.01
    assert 1 - predictivity < (1 - before[1]) / 2
    assert before[1] < 0.9  # there is noise to drop


def test_network_finds_in_noise_what_the_vote_does_not():
    noisy, beats = noisy_ecg()
    voted = share_found(noisy, beats, RATE, tolerance=0.05, method="vote")
    sensitivity, predictivity = share_found(noisy, beats, RATE, tolerance=0.05)
    assert 1 - sensitivity < (1 - voted[0]) / 2
    assert 1 - predictivity < (1 - voted[1]) / 2


@pytest.mark.requires_data
@pytest.mark.parametrize("noise", ["em", "ma"])
def test_heartbeats_of_other_patients_in_real_noise(noise):
    # the network has learned from DS1 and made-up noise
    path = Path(os.environ["SKECGATTN_DATA"]) / "nstdb" / noise
    if not path.with_suffix(".hea").is_file():
        pytest.skip(
            "no Noise Stress Test: download https://physionet.org/content/nstdb/ into a folder 'nstdb'"
        )
    X, _, _, beats = make_windows(fetch_mitbih(["100", "233"], download_if_missing=False).records)
    X, beats = X[::6], beats[::6]
    recorded = read_record(path).read()
    parts = np.array_split(recorded[:, : 3600 * len(X)], len(X), axis=1)
    height = np.median(np.ptp(X.reshape(*X.shape[:2], 10, 360), axis=3), axis=2, keepdims=True)
    noisy = X + np.stack([part / part.std(axis=1, keepdims=True) for part in parts]) * height / 6
    shared = {"sampling_rate": 360, "tolerance": 0.05}
    sensitivity, predictivity = share_found(noisy, beats, **shared)
    voted = share_found(noisy, beats, **shared, method="vote")
    assert sensitivity > max(0.93, voted[0] - 0.01)
    assert predictivity > 0.9
    assert 1 - predictivity < (1 - voted[1]) / 2


@pytest.mark.parametrize("n", [1, 2, 7, 12])
def test_median_is_that_of_numpy(n):
    values = np.random.default_rng(n).standard_normal((2, 5, n))
    np.testing.assert_array_equal(median(values), np.median(values, axis=-1))


@pytest.mark.parametrize("dtype", [np.int16, np.uint16, np.float16, np.float64])
def test_channels_do_not_depend_on_the_type_of_numbers(dtype):
    """Converter steps, whose squares and sums overflow 16 bits, give what the same values in float do."""
    X, *_ = make_ecg(3, duration=10, sampling_rate=180, random_state=0)
    X = np.round((X - X.min()) * 4000).astype(dtype)
    exact = X.astype(np.float64)
    heartbeats = detect_heartbeats(exact, 180)
    references = reference_beats(X, heartbeats, 180)
    for one, two in zip(references, reference_beats(exact, heartbeats, 180)):
        np.testing.assert_array_equal(one, two)
    contrast = contrast_channels(X, heartbeats, 180, references=references)
    assert contrast.dtype == np.float32
    for ecg, beats, normal, channel in zip(exact, heartbeats, references, contrast):
        for lead, found in zip(np.pad(ecg, ((0, 0), (54, 90)), mode="edge"), channel):
            template = np.median([lead[k : k + 144] for k in beats[normal]], axis=0)
            expected = (lead[beats + 54] - template[54]) / np.ptp(template)
            np.testing.assert_allclose(found[beats], expected, rtol=1e-5, atol=1e-6)
