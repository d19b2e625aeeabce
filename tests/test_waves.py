from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from skecgattn import AttentionECGClassifier
from skecgattn._frontend import FrontEnd
from skecgattn.beats import N_WAVES, detect_heartbeats, wave_channels
from skecgattn.datasets import fetch_mitbih, make_ecg, make_windows
from skecgattn.nn import BeatSegmenter, ConvolutionalClassifier, JointNetwork
from skecgattn.records import read_record

RATE = 180.0
NO_P, MISSING, SHIFTED, MISSING_HERE, SUPRAVENTRICULAR, _, VENTRICULAR, _ = range(N_WAVES)


@pytest.fixture(scope="module")
def regular():
    """Return an ECG of regular beats, and their R peaks."""
    X, _, _, beats = make_ecg(1, sampling_rate=RATE, heart_rate=70, pvc=0, pac=0, random_state=0)
    return X, beats[0]["sample"]


def at_beats(X, beats, rate=RATE, **options):
    """Return the values (8, n_beats)."""
    return wave_channels(X, [beats], rate, **options)[0][:, beats]


def test_waves_are_within_bounds_and_constant_over_spans(regular):
    X, beats = regular
    channels = wave_channels(X, [beats], RATE)
    assert channels.shape == (1, N_WAVES, X.shape[2])
    assert channels.dtype == np.float32
    assert channels.min() >= -0.25
    assert channels.max() == 0
    # a beat is of one kind only
    assert channels[0, [SUPRAVENTRICULAR, VENTRICULAR]].sum(axis=0).min() > -0.25
    middle = (beats[2] + beats[3] + 1) // 2
    assert np.ptp(channels[0][:, middle : (beats[3] + beats[4] + 1) // 2], axis=1).max() == 0


def test_waves_need_three_beats(regular):
    X, beats = regular
    assert not wave_channels(X, [beats[:2]], RATE).any()
    assert not wave_channels(X, [beats[:0]], RATE).any()
    assert wave_channels(X, [beats[:3]], RATE).any()


def test_p_wave_is_unknown_where_the_ecg_begins_after_it(regular):
    X, beats = regular
    cut = X[:, :, beats[1] - 20 :]
    values = at_beats(cut, beats[1:] - beats[1] + 20)
    assert not values[:4, 0].any()
    assert values[NO_P, 1:].all()


def test_nobody_takes_a_gap_for_a_pause(regular):
    X, beats = regular
    free = at_beats(X, beats)
    gap = np.array([[beats[4] - 50, beats[4] - 20]])
    values = at_beats(X, beats, gaps=[gap])
    assert free[:4, 4].any()
    assert not values[:4, 4].any()
    np.testing.assert_array_equal(np.delete(values[:4], 4, axis=1), np.delete(free[:4], 4, axis=1))
    near = np.abs(beats - beats[4]) < 6 * RATE
    assert free[4:6, near].any()
    assert not values[4:6, near].any()
    np.testing.assert_array_equal(values[6:], free[6:])


def test_p_wave_is_unknown_before_what_was_recorded(regular):
    X, beats = regular
    values = at_beats(X, beats, starts=np.array([beats[3] - 20]))
    assert not values[:4, :4].any()
    np.testing.assert_array_equal(values[:, 4:], at_beats(X, beats)[:, 4:])


def waves_of(X, band=(0.5, 40.0)):
    """Return the values (8, n_beats) that the front end makes, and the heartbeats."""
    channels = FrontEnd(RATE, 180.0, band, True, False, False, True).transform(X)
    beats = channels.heartbeats[0]
    return channels.values[0, -N_WAVES:][:, beats], beats


def test_waves_are_seen_before_a_narrow_band(regular):
    X, _ = regular
    wide, beats = waves_of(X)
    narrow, found = waves_of(X, band=(5.0, 15.0))
    assert len(beats) == len(found)
    assert abs(narrow[NO_P].mean() - wide[NO_P].mean()) < 0.05


def test_front_end_tells_of_padding_and_gaps(regular):
    X, beats = regular
    padded = X.copy()
    padded[:, :, : beats[2] - 20] = 0
    values, _ = waves_of(padded)
    assert not values[:4, 0].any()
    assert values[NO_P, 1:].all()
    gap = X.copy()
    gap[:, :, beats[4] - 60 : beats[4] + 60] = gap.mean()
    values, found = waves_of(gap)
    near = np.abs(found - beats[4]) < 6 * RATE
    assert near.any()
    assert not values[4:6, near].any()


@pytest.mark.parametrize(("n_leads", "rate", "dtype"), [(1, 250, np.float32), (12, 500, np.float64)])
def test_waves_of_any_leads_and_rate(n_leads, rate, dtype):
    X, _, _, beats = make_ecg(1, n_leads=n_leads, sampling_rate=rate, pvc=0, pac=0, random_state=0)
    values = at_beats(X.astype(dtype), beats[0]["sample"], rate)
    assert (values[NO_P, 1:] > -0.125).mean() > 0.8


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"X": np.zeros((2, 900))},
            r"X must be of shape \(n_samples, n_leads, n_timesteps\), got \(2, 900\)",
        ),
        ({"sampling_rate": 0}, "sampling_rate must be positive, got 0"),
        ({"heartbeats": []}, "heartbeats must have one entry for each of 1 ECGs, got 0"),
    ],
)
def test_bad_input_is_named(regular, change, message):
    X, beats = regular
    with pytest.raises(ValueError, match=message):
        wave_channels(**({"X": X, "heartbeats": [beats], "sampling_rate": RATE} | change))


@pytest.mark.parametrize("waves", [True, np.True_])
@pytest.mark.parametrize("missing", ["segmenter", "sampling_rate"])
def test_waves_that_nothing_can_read_are_refused(waves, missing):
    X, y, groups, _ = make_ecg(8, sampling_rate=RATE, duration=5, random_state=0)
    clf = AttentionECGClassifier(**({"sampling_rate": RATE, "waves": waves} | {missing: None}))
    with pytest.raises(
        ValueError, match=f"waves=True needs a segmenter and a sampling rate, got {missing}=None"
    ):
        clf.fit(X, y, groups=groups)


def test_rhythm_without_heartbeats_is_refused():
    X, y, groups, _ = make_ecg(8, sampling_rate=RATE, duration=5, random_state=0)
    with pytest.raises(ValueError, match="rhythm=True needs sampling_rate to find heartbeats, got None"):
        AttentionECGClassifier(rhythm=True).fit(X, y, groups=groups)


def test_waves_do_not_depend_on_the_ecgs_beside_or_the_unit(regular):
    X, beats = regular
    alone = wave_channels(X, [beats], RATE)
    among = wave_channels(np.concatenate([X[:, :, ::-1], X, 3 * X] * 4), [beats] * 12, RATE)
    np.testing.assert_array_equal(among[1], alone[0])
    np.testing.assert_allclose(among[2], alone[0], atol=1e-5)


def test_what_is_usual_is_that_of_the_reference_beats(regular):
    X, beats = regular
    X = X.copy()
    before = beats[5] - 45
    # the P wave of one beat is taken away
    X[0, :, before : beats[5] - 9] = np.linspace(X[0, :, before], X[0, :, beats[5] - 9], 36).T
    values = at_beats(X, beats)
    others = np.delete(values, [0, 5], axis=1)
    assert values[NO_P, 5] < others[NO_P].min() - 0.05
    assert values[MISSING, 5] < others[MISSING].min() - 0.05
    # where no reference beat has a P wave, that one is missing says nothing
    values = at_beats(X, beats, references=[np.array([5])])
    assert values[MISSING].min() == 0
    assert values[MISSING_HERE].min() == 0


@pytest.mark.requires_data
@pytest.mark.parametrize(("name", "label", "k"), [("209", "S", SUPRAVENTRICULAR), ("208", "V", VENTRICULAR)])
def test_premature_beats_of_a_database_never_seen(name, label, k):
    records = fetch_mitbih([name], download_if_missing=False).records
    X, _, _, beats = make_windows(records, step=30.0)
    channels = wave_channels(X, [there["sample"] for there in beats], 360.0)
    values = np.concatenate([c[k, there["sample"]] for c, there in zip(channels, beats)])
    symbols = np.concatenate([there["symbol"] for there in beats])
    truth = np.isin(symbols, {"S": ["A", "a", "J", "S"], "V": ["V", "E"]}[label])
    assert roc_auc_score(truth, -values) > 0.85


@pytest.mark.requires_data
def test_p_waves_are_seen_in_sinus_rhythm_and_fewer_in_fibrillation():
    folder = Path(os.environ["SKECGATTN_DATA"]) / "ludb" / "data"
    if not folder.is_dir():
        pytest.skip("needs LUDB: download https://physionet.org/content/ludb/ into a folder 'ludb' there")
    missing = {}
    for name in (*range(151, 161), 173):
        record = read_record(folder / str(name))
        X = record.read()[None, [1, 6]]
        (beats,) = detect_heartbeats(X, record.sampling_rate)
        missing[name] = (at_beats(X, beats, record.sampling_rate)[NO_P] < -0.125).mean()
    assert missing.pop(173) > 0.4  # fibrillation
    assert np.mean(list(missing.values())) < 0.1


@pytest.mark.requires_data
def test_no_p_waves_are_seen_in_fibrillation():
    X, _, _, beats = make_windows(fetch_mitbih(["203"], download_if_missing=False).records, step=60.0)
    channels = wave_channels(X, [there["sample"] for there in beats], 360.0)
    values = np.concatenate([c[NO_P, there["sample"]] for c, there in zip(channels, beats)])
    assert (values < -0.125).mean() > 0.8


def test_the_classifier_does_not_read_waves():
    torch.manual_seed(0)
    network = JointNetwork(
        BeatSegmenter(4, 1, n_per_beat=2), ConvolutionalClassifier(2, 1, width=4), read_whole=True, n_read=2
    ).eval()
    x, beats = torch.randn(2, 4, 600), torch.tensor([[100, 250, 400]] * 2)
    changed = x.clone()
    changed[:, 2:] = -0.4
    maps, others = network(x, beats).maps, network(changed, beats).maps
    assert not torch.equal(maps, others)
    network.segmenter = None
    assert torch.equal(network(x, beats).logits, network(changed, beats).logits)
