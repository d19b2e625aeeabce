from __future__ import annotations

import copy
import dataclasses
import itertools
import json
import os
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cloudpickle
import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from skorch.callbacks import Callback

from skecgattn import AttentionECGClassifier
from skecgattn.beats import N_RHYTHM, N_WAVES
from skecgattn.datasets import make_ecg
from skecgattn.datasets._wfdb import quiet_wfdb
from skecgattn.exceptions import ECGWarning
from skecgattn.preprocessing import Resampler, resample
from skecgattn.records import (
    Record,
    RecordAnnotations,
    UnreadableRecordError,
    _annotate,
    _batches,
    _sharing,
    annotate,
    beat_symbols,
    find_bigeminy,
    find_runs,
    iter_annotate,
    read_record,
)
from skecgattn.records._annotations import HEARTBEAT
from skecgattn.records._batches import batches
from skecgattn.records._model_reader import ModelReader
from skecgattn.records._readability import judge
from skecgattn.records._stitching import Stitcher, Windows
from skecgattn.records._windows import WindowPlanner

RATE = 180
LEADS = ("MLII", "V1")
DATA = Path(os.environ.get("SKECGATTN_DATA", "."))


@pytest.fixture(scope="module")
def model():
    X, y, *_ = make_ecg(80, sampling_rate=RATE, random_state=0)
    clf = AttentionECGClassifier(RATE, lead_names=LEADS, max_epochs=12, batch_size=16, random_state=0)
    return clf.fit(X, pd.DataFrame(y, columns=["S", "V"]))


@pytest.fixture(scope="module")
def ecg():
    """Seven minutes of 42 joined ECGs, and the R peaks in them."""
    X, _, _, beats = make_ecg(42, sampling_rate=RATE, random_state=1)
    peaks = [window["sample"] + k * X.shape[2] for k, window in enumerate(beats)]
    return X.transpose(1, 0, 2).reshape(2, -1), np.concatenate(peaks)


@pytest.fixture(scope="module")
def record(ecg):
    return Record.from_array(ecg[0], RATE, LEADS, name="joined")


@pytest.fixture(scope="module")
def threshold(model, record):
    """A threshold that a fifth of the beats reach, between two rounded scores."""
    return float(annotate(model, record).beats["score"].quantile(0.8)) - 5e-5


@pytest.fixture(scope="module")
def whole(model, record, threshold):
    found = annotate(model, record, threshold=threshold)
    assert 0.1 < len(found.abnormal) / len(found.beats) < 0.4
    return found


def assert_same(one, two):
    pd.testing.assert_frame_equal(one.beats, two.beats, check_exact=True)
    pd.testing.assert_frame_equal(one.unreadable, two.unreadable, check_exact=True)


def assert_same_later(whole, cropped, by):
    """Check that from 25 s after the start of a cropped recording there are the same heartbeats."""
    after = by + 25 * whole.sampling_rate
    one = whole.beats[whole.beats["sample"] >= after]
    two = cropped.beats[cropped.beats["sample"] >= after - by]
    np.testing.assert_array_equal(one["sample"], two["sample"] + by)
    assert (one["label"].to_numpy() == two["label"].to_numpy()).mean() > 0.999  # a score may be the threshold
    np.testing.assert_allclose(one["score"], two["score"], atol=2e-4)


@pytest.mark.parametrize(("factor", "spans"), [(1e3, r"1\..*e\+03"), (1e-3, "0.00")])
def test_recordings_in_another_unit_are_told(model, ecg, factor, spans):
    start = [ecg[0][:, : 60 * RATE] * factor, np.full((2, 20 * RATE), np.nan)]
    wrong = Record.from_array(np.concatenate(start, axis=1), RATE, LEADS, name="other")
    with pytest.warns(
        ECGWarning, match=rf"Record other has leads that span {spans}.*read_record the file's units"
    ):
        annotate(model, wrong)


# --- beats


@pytest.mark.parametrize("options", [{"chunk": 60}, {"chunk": None}, {"chunk": 7.77, "n_jobs": 2}])
def test_beats_do_not_depend_on_chunks_or_processes(model, record, threshold, whole, options, monkeypatch):
    monkeypatch.setattr(_annotate, "SHORTEST_SHARED", 0)
    monkeypatch.setattr(_batches, "BATCH", 3)
    monkeypatch.setattr(_sharing, "AHEAD", 1)
    assert_same(annotate(model, record, threshold=threshold, **options), whole)


@pytest.mark.parametrize("cores", [1, 2])
def test_beats_do_not_depend_on_cores(model, record, threshold, whole, cores, monkeypatch):
    """With two, a second thread prepares windows; either way batches come back in order."""
    threads = watch(monkeypatch, cores)
    assert_same(annotate(model, record, threshold=threshold), whole)
    assert (threads == {threading.get_ident()}) == (cores == 1)


def test_a_worker_has_one_thread(model, record, monkeypatch):
    threads = watch(monkeypatch, 2)
    with ThreadPoolExecutor(1) as worker:
        worker.submit(annotate, model, record).result()
        assert threads == {worker.submit(threading.get_ident).result()}


def watch(monkeypatch, cores):
    """Return the threads that will have prepared windows, a few at a time."""
    threads, prepare = set(), ModelReader.prepare

    def watched(reader, batch):
        threads.add(threading.get_ident())
        return prepare(reader, batch)

    monkeypatch.setattr(_batches, "BATCH", 3)
    monkeypatch.setattr(_sharing, "cpu_count", lambda: cores)
    monkeypatch.setattr(ModelReader, "prepare", watched)
    return threads


def test_the_networks_are_the_callers_between_stretches(model, record, monkeypatch):
    """No other thread runs them, so that hooks, gradients and further training do not get in the way."""
    watch(monkeypatch, 2)
    compute, busy = ModelReader.compute, threading.Event()

    def watched(reader, *args):
        busy.set()
        return compute(reader, *args)

    monkeypatch.setattr(ModelReader, "compute", watched)
    for _ in itertools.islice(iter_annotate(model, record), 3):
        busy.clear()
        assert not busy.wait(0.1)


def test_an_error_in_the_other_thread_is_raised(model, record, monkeypatch):
    def fail(reader, batch):
        raise MemoryError("no room")

    monkeypatch.setattr(_sharing, "cpu_count", lambda: 2)
    monkeypatch.setattr(ModelReader, "prepare", fail)
    before = threading.active_count()
    with pytest.raises(MemoryError, match="no room"):
        annotate(model, record)
    assert threading.active_count() == before


def test_stopping_early_leaves_no_thread(model, record, monkeypatch):
    watch(monkeypatch, 2)
    before = threading.active_count()
    stretches = iter_annotate(model, record)
    next(stretches)
    assert threading.active_count() == before + 1
    stretches.close()
    assert threading.active_count() == before


def test_other_processes_get_what_reads_alone(model, ecg):
    """Neither the recording, which may be a day in memory, nor callbacks that cannot leave the process."""
    record = Record.from_array(ecg[0], RATE, LEADS)
    reader = ModelReader(clone_with_lock(model), record, None, None, None)
    sent = cloudpickle.dumps(reader)
    assert len(sent) < ecg[0].nbytes
    assert len(sent) < len(cloudpickle.dumps(model)) / 2
    batch = next(batches(reader.record, reader.length, 1.5, None))
    windows, unreadable = reader.read(batch, maps=True)
    others, too = cloudpickle.loads(sent).read(batch, maps=True)
    np.testing.assert_array_equal(windows.maps, others.maps)
    np.testing.assert_array_equal(unreadable, too)
    assert reader.classifier.callbacks
    assert reader.classifier._optimizer_state


def clone_with_lock(model):
    callback = Callback()
    callback.lock = threading.Lock()
    return copy.copy(model).set_params(callbacks=[callback])


@pytest.mark.parametrize("by", [1, 777, 3601])
def test_beats_do_not_depend_on_where_the_recording_starts(model, ecg, threshold, whole, by):
    cropped = Record.from_array(ecg[0][:, by:], RATE, LEADS)
    assert_same_later(whole, annotate(model, cropped, threshold=threshold), by)


@pytest.mark.requires_data
def test_invariance_on_a_real_recording_with_unreadable_stretches(model):
    record = read_record(DATA / "mitdb" / "203").select_leads(["MLII", "V1"])
    signal = record.read(0, 200_000)
    whole = annotate(model, Record.from_array(signal, record.sampling_rate, LEADS))
    assert len(whole.unreadable)
    assert_same(annotate(model, Record.from_array(signal, record.sampling_rate, LEADS), chunk=33), whole)
    cropped = annotate(model, Record.from_array(signal[:, 1234:], record.sampling_rate, LEADS))
    assert_same_later(whole, cropped, 1234)
    later = whole.unreadable["start"] > 1234 + 25 * record.sampling_rate
    np.testing.assert_array_equal(
        whole.unreadable.loc[later, "start"] - 1234, cropped.unreadable["start"].tail(later.sum())
    )


def test_every_heartbeat_is_found_once(ecg, whole):
    found, peaks = whole.beats["sample"].to_numpy(), ecg[1]
    assert np.diff(found).min() > 0.15 * RATE
    nearest = np.abs(found[:, None] - peaks).min(axis=0)
    assert (nearest <= 0.15 * RATE).mean() > 0.97
    assert len(found) < 1.03 * len(peaks)
    assert (whole.beats["start"] <= found).all()
    assert (whole.beats["stop"] > found).all()
    assert (whole.beats["start"].to_numpy()[1:] >= whole.beats["stop"].to_numpy()[:-1]).all()


def test_stretches_come_one_after_the_other(model, record, threshold, whole):
    stretches = list(iter_annotate(model, record, threshold=threshold, chunk=30))
    assert len(stretches) > 1
    assert [s.start for s in stretches] == [0, *(s.stop for s in stretches[:-1])]
    assert stretches[-1].stop == record.n_timesteps
    np.testing.assert_array_equal(
        np.concatenate([s.heartbeats["sample"] for s in stretches]), whole.beats["sample"]
    )


def test_another_sampling_rate_finds_the_same_beats(model, ecg, threshold, whole):
    other = annotate(model, Record.from_array(resample(ecg[0], RATE, 250), 250, LEADS), threshold=threshold)
    near = np.abs(other.beats["time"].to_numpy()[:, None] - whole.beats["time"].to_numpy()).min(axis=0)
    assert (near < 0.03).mean() > 0.98
    assert other.abnormal.shape[0] == pytest.approx(whole.abnormal.shape[0], rel=0.25)


def test_pipeline(model, ecg, threshold, whole):
    X = make_ecg(8, sampling_rate=2 * RATE, random_state=0)[0]
    pipeline = make_pipeline(Resampler(2 * RATE, new_rate=RATE).fit(X), model)
    found = annotate(pipeline, Record.from_array(ecg[0], RATE, LEADS), threshold=threshold)
    assert abs(len(found.beats) - len(whole.beats)) <= 0.01 * len(whole.beats)


def test_pipeline_that_takes_leads_by_itself(model, ecg, whole, threshold):
    """The names of its last step's leads are not those of the leads that it gets."""
    swap = FunctionTransformer(lambda X: X[:, [2, 0]])
    record = Record.from_array(np.stack([ecg[0][1], 0 * ecg[0][0], ecg[0][0]]), RATE, ["V1", "none", "MLII"])
    assert_same(annotate(make_pipeline(swap, model), record, threshold=threshold), whole)
    named = annotate(make_pipeline(swap, model), record, leads=record.lead_names, threshold=threshold)
    assert_same(named, whole)


def test_pipeline_rounds_times_once(model, ecg):
    """From the networks' rate straight to the recording's, though the pipeline has a rate between."""
    record = Record.from_array(resample(ecg[0], RATE, 250), 250, LEADS)
    slow = copy.deepcopy(model)
    slow._front_end = dataclasses.replace(slow._front_end, resample_to=100)
    X = make_ecg(8, sampling_rate=2 * RATE, random_state=0)[0]
    pipeline = make_pipeline(Resampler(2 * RATE, new_rate=RATE).fit(X), slow)
    one, two = (annotate(reader, record).beats["sample"].to_numpy() for reader in (slow, pipeline))
    assert np.isin(one, two).mean() > 0.97


def test_progress_bar(model, ecg, capsys):
    annotate(model, Record.from_array(ecg[0][:, : 20 * RATE], RATE, LEADS, name="bar"), verbose=1)
    assert "bar: 100%" in capsys.readouterr().err


# --- what cannot be read


def test_short_recordings(model, ecg):
    short = annotate(model, Record.from_array(ecg[0][:, : int(1.2 * RATE)], RATE, LEADS))
    assert short.n_timesteps == int(1.2 * RATE)
    with pytest.raises(ValueError, match=r"has 0.5 s.*at least 1 s"):
        annotate(model, Record.from_array(ecg[0][:, : RATE // 2], RATE, LEADS))


def test_missing_samples_are_marked_and_the_rest_is_read(model, ecg, threshold, whole):
    signal = ecg[0].astype(np.float32)
    signal[1, 100 * RATE : 130 * RATE] = np.nan
    found = annotate(model, Record.from_array(signal, RATE, LEADS), threshold=threshold)
    (start, stop, duration) = found.unreadable.iloc[0]
    assert len(found.unreadable) == 1
    assert abs(start - 100 * RATE) <= RATE
    assert abs(stop - 130 * RATE) <= RATE
    assert duration == pytest.approx(30, abs=1)
    assert not found.beats["sample"].between(start, stop - 1).any()
    away = lambda beats: beats.loc[~beats["time"].between(75, 155), "sample"]  # noqa: E731
    np.testing.assert_array_equal(away(found.beats), away(whole.beats))
    assert found.summary().unreadable_share == pytest.approx(30 / 420, abs=0.003)


def test_a_lead_of_nan_leaves_nothing_to_read(model, ecg, tmp_path):
    signal = ecg[0][:, : 60 * RATE].astype(np.float32)
    signal[0] = np.nan
    found = annotate(model, Record.from_array(signal, RATE, LEADS, name="nan"), maps=tmp_path / "map.npy")
    assert len(found.beats) == 0
    assert found.unreadable[["start", "stop"]].to_numpy().tolist() == [[0, 60 * RATE]]
    assert np.isnan(np.load(tmp_path / "map.npy")).all()
    summary = found.summary()
    assert summary.unreadable_share == 1
    json.dumps(summary.to_dict(), allow_nan=False)
    back = RecordAnnotations.from_wfdb(found.to_wfdb(tmp_path).with_suffix(""), n_timesteps=60 * RATE)
    pd.testing.assert_frame_equal(back.unreadable, found.unreadable)


@pytest.mark.requires_data
def test_truncated_file(model, tmp_path):
    stem = tmp_path / "100"
    stem.with_suffix(".hea").write_bytes((DATA / "mitdb" / "100.hea").read_bytes())
    stem.with_suffix(".dat").write_bytes((DATA / "mitdb" / "100.dat").read_bytes()[:900_000])
    with pytest.raises(UnreadableRecordError):
        annotate(model, stem, leads=["MLII", "V5"])


def test_an_interrupted_map_leaves_the_older_one(model, ecg, tmp_path, monkeypatch):
    record = Record.from_array(ecg[0], RATE, LEADS)
    (tmp_path / "map.npy").write_text("older")
    read = Record.read

    def fail(self, start=0, stop=None):
        if start > 300 * RATE:
            raise UnreadableRecordError("damaged")
        return read(self, start, stop)

    monkeypatch.setattr(Record, "read", fail)
    with pytest.raises(UnreadableRecordError, match="damaged"):
        annotate(model, record, chunk=100, maps=tmp_path / "map.npy")
    assert (tmp_path / "map.npy").read_text() == "older"
    assert len(list(tmp_path.iterdir())) == 1


# --- models and leads


def test_models_that_cannot_annotate(model, record, ecg):
    with pytest.raises(TypeError, match=r"AttentionECGClassifier or a Pipeline.*LogisticRegression"):
        annotate(LogisticRegression(), record)
    with pytest.raises(NotFittedError):
        annotate(AttentionECGClassifier(RATE), record)
    X, y, *_ = make_ecg(8, sampling_rate=RATE, duration=2, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        without_rate = AttentionECGClassifier(max_epochs=1, random_state=0).fit(X, y)
        without_map = AttentionECGClassifier(RATE, segmenter=None, max_epochs=1, random_state=0).fit(X, y)
    with pytest.raises(ValueError, match="sampling_rate=None"):
        annotate(without_rate, record)
    with pytest.raises(ValueError, match="no attention maps"):
        annotate(without_map, record)
    with pytest.raises(ValueError, match="overlap must be at most half a window, 5 s, got 6 s"):
        annotate(model, record, overlap=6)
    with pytest.raises(ValueError, match="npy"):
        annotate(model, record, maps="map.dat")


def test_leads_are_matched_by_name(model, ecg):
    signal = ecg[0][:, : 60 * RATE]
    expected = annotate(model, Record.from_array(signal, RATE, LEADS))
    twelve = np.random.default_rng(0).normal(size=(12, signal.shape[1]))
    twelve[[7, 3]] = signal
    names = [f"x{k}" for k in range(12)]
    names[7], names[3] = "mlii", "V1"
    assert_same(annotate(model, Record.from_array(twelve, RATE, names)), expected)
    other = Record.from_array(signal, RATE, ["ECG1", "ECG2"])
    with pytest.raises(ValueError, match=r"reads MLII, V1; record array has ECG1, ECG2: no MLII, V1"):
        annotate(model, other)
    assert_same(annotate(model, other, leads=["ecg1", "ECG2"]), expected)
    with pytest.raises(ValueError, match="leads must name the 2"):
        annotate(model, other, leads=["ECG1"])


def test_leads_without_names(model, ecg):
    nameless = AttentionECGClassifier(RATE)
    nameless.__dict__.update({**vars(model), "lead_names": None})
    three = Record.from_array(np.zeros((3, 600)), RATE)
    with pytest.raises(ValueError, match=r"reads 2 lead.*record array has lead1, lead2, lead3"):
        annotate(nameless, three)
    assert len(annotate(nameless, Record.from_array(ecg[0][:, : 20 * RATE], RATE)).beats)


# --- maps, windows, stitching


def test_map_file(model, record, threshold, tmp_path):
    found = annotate(model, record, threshold=threshold, maps=tmp_path / "map.npy")
    values = np.load(tmp_path / "map.npy")
    assert values.shape == (len(model.map_labels_), record.n_timesteps)
    assert values.dtype == np.float16
    assert values.min() >= 0
    assert values.max() <= 1
    parts = [s.map for s in iter_annotate(model, record, maps=True, chunk=50)]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), values)
    near = np.array([values[:, max(0, k - 18) : k + 19].max() for k in found.abnormal["sample"]])
    # the map fades from window to window, scores are means over windows
    assert np.median(np.abs(near / found.abnormal["score"] - 1)) < 0.1


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_stitched_map_has_no_seams(batch):
    starts = np.array([0, 40, 120, 150, 200])
    levels = np.array([0.0, 1.0, 0.0, 1.0, 0.5])
    maps = np.broadcast_to(levels[:, None, None], (5, 1, 100)).astype(np.float32)
    stitcher = Stitcher(300, 10.0, 100, 1, with_maps=True)
    parts = []
    for k in range(0, 5, batch):
        chosen = slice(k, k + batch)
        n_windows = len(starts[chosen])
        none, no_scores = np.empty(0, dtype=np.int64), np.empty((0, 1))
        parts.append(
            stitcher.push(Windows(starts[chosen], [none] * n_windows, [no_scores] * n_windows, maps[chosen]))
        )
    parts.append(stitcher.flush())
    whole = np.concatenate([part.map for part in parts if part is not None], axis=1)[0]
    assert whole.shape == (300,)
    assert np.abs(np.diff(whole)).max() < 0.06
    np.testing.assert_allclose(whole[[50, 90, 170, 200, 250]], levels, atol=0.04)


def test_beats_at_a_border_are_neither_lost_nor_doubled():
    def stitched(left, right):
        stitcher = Stitcher(1600, 100.0, 1000, 1, with_maps=False)
        windows = Windows(
            np.array([0, 600]),
            [np.array(left), np.array(right)],
            [np.full((len(left), 1), 0.2), np.full((len(right), 1), 0.6)],
            None,
        )
        parts = [stitcher.push(windows), stitcher.flush()]
        beats = np.concatenate([part.heartbeats for part in parts])
        return beats.tolist(), np.concatenate([part.scores[:, 0] for part in parts])

    # the border is at 800, and 150 ms are 15 samples
    assert stitched([700, 795], [803, 900])[0] == [700, 795, 900]
    assert stitched([700, 803], [795, 900])[0] == [700, 803, 900]
    assert stitched([700, 780], [820])[0] == [700, 780, 820]
    assert stitched([700, 820], [])[0] == [700]
    beats, scores = stitched([500, 700], [702, 1500])
    assert beats == [500, 700, 1500]
    # at 700 the first window is 300 from its end, the second 102 from its start
    np.testing.assert_allclose(scores, [0.2, (300 * 0.2 + 102 * 0.6) / 402, 0.6])


def test_windows_cover_the_recording_whatever_the_pieces():
    rng = np.random.default_rng(0)
    signal = rng.normal(size=(2, 60_000)).cumsum(axis=1)
    signal[:, 20_000:40_000] = signal[:, [20_000]]  # longer than the planner waits
    signal[0, 100:200] = np.nan
    plans = []
    for sizes in ([60_000], [1] * 50 + [59_950], rng.multinomial(60_000, np.ones(40) / 40)):
        planner, starts, position = WindowPlanner(60_000, 100.0, 1000, 850), [], 0
        for size in sizes:
            starts += planner.feed(signal[:, position : position + size])
            position += size
        plans.append(starts)
    assert plans[0] == plans[1] == plans[2]
    assert plans[0][0] == 0
    assert plans[0][-1] == 59_000
    assert np.diff(plans[0]).min() > 0
    assert np.diff(plans[0]).max() <= 850
    assert np.diff(plans[0]).mean() > 550


def test_parts_are_judged_by_their_own_surroundings(ecg):
    signal = ecg[0].astype(np.float32)
    signal[:, 10_000:12_000] = 0
    edges = np.array([9000, 10_500, 11_500, 13_000])
    stretches, hidden = judge(signal, 0, edges, RATE)
    assert hidden.tolist() == [False, True, False]
    assert np.abs(stretches - [[10_000, 12_000]]).max() <= RATE // 2
    cut, _ = judge(signal[:, 777:], 777, edges, RATE)
    np.testing.assert_array_equal(cut, stretches)


# --- results


def annotations_of(labels, *, rr=1.0, rate=100.0, unreadable=(), duration=None):
    """Annotations of heartbeats that come every `rr` seconds; one letter each, a dot is a beat left out."""
    rows = [(round((k + 1) * rr * rate), c) for k, c in enumerate(labels) if c != "."]
    heartbeats = np.array([(s, c, 0.9 if c != "N" else 0.1, c != "N") for s, c in rows], dtype=HEARTBEAT)
    return RecordAnnotations.from_heartbeats(
        heartbeats,
        list(unreadable),
        record_name="made",
        sampling_rate=rate,
        n_timesteps=round((duration or (len(labels) + 1) * rr) * rate),
        labels=("N", "S", "V"),
    )


def test_runs_couplets_and_bigeminy():
    made = annotations_of("NVNVVNVVVVNSSSNVNVNVNNSN" + "NVVSVVN")
    classes = made.summary().classes
    assert classes.loc["V", ["beats", "isolated", "couplets", "runs", "longest_run"]].tolist() == [
        14,
        4,
        3,
        1,
        4,
    ]
    assert classes.loc["S", ["beats", "isolated", "couplets", "runs", "longest_run"]].tolist() == [
        5,
        2,
        0,
        1,
        3,
    ]
    assert "3 couplets, 1 run, longest 4; 1 episode of bigeminy" in str(made.summary())
    assert "0 couplets, 1 run, longest 3; 0 episodes of bigeminy" in str(made.summary())
    assert classes.loc["V", "longest_run_time"] == 7
    assert classes.loc["V", "longest_run_rate"] == pytest.approx(60)
    assert find_runs(made)["label"].tolist() == ["V", "S"]
    assert find_runs(made, shortest=2)["n_beats"].tolist() == [2, 4, 3, 2, 2]
    bigeminy = find_bigeminy(made)
    assert bigeminy[["label", "n_beats", "time"]].to_numpy().tolist() == [["V", 3, 16.0]]
    assert classes.loc["V", ["bigeminy_episodes", "bigeminy_beats"]].tolist() == [1, 3]
    assert find_bigeminy(made, shortest=2)["n_beats"].tolist() == [2, 2, 3]


def test_unreadable_stretches_interrupt():
    made = annotations_of("NVV.VVNVN.NVNVN", unreadable=[[370, 430], [960, 1040]])
    assert find_runs(made, shortest=2)["n_beats"].tolist() == [2, 2]
    assert len(find_bigeminy(made)) == 0
    summary = made.summary()
    assert summary.longest_rr == 1
    assert summary.readable == pytest.approx(16 - 0.6 - 0.8)
    assert summary.mean_heart_rate == pytest.approx(60)


def test_hours_and_rates():
    made = annotations_of("N" * 3600 + "NV" * 1000, duration=2.5 * 3600, unreadable=[[350_000, 370_000]])
    summary = made.summary()
    assert summary.hourly["start"].tolist() == [0, 3600, 7200]
    assert summary.hourly["readable"].tolist() == pytest.approx([3500, 3500, 1800])
    assert summary.hourly["heartbeats"].sum() == 5600
    assert summary.hourly["V"].tolist() == [0, 1000, 0]
    assert summary.hourly_burden.loc[1, "V"] == pytest.approx(0.5, abs=0.001)
    assert np.isnan(summary.hourly_burden.loc[2, "V"])
    assert summary.classes.loc["V", "per_hour"] == pytest.approx(1000 * 3600 / 8800)
    assert summary.classes.loc["V", "burden"] == pytest.approx(1000 / 5600)
    assert "1000 (17.86% of heartbeats" in str(summary)
    json.dumps(made.to_dict(), allow_nan=False)
    fast = annotations_of("N" * 20, rr=0.4).beats["sample"]
    both = np.concatenate([fast, fast.iloc[-1] + 100 * np.arange(1, 21)])
    rows = np.array([(s, "N", 0.1, False) for s in both], dtype=HEARTBEAT)
    changed = RecordAnnotations.from_heartbeats(
        rows, [], record_name="a", sampling_rate=100, n_timesteps=4000, labels=("N", "V")
    ).summary()
    assert (changed.min_heart_rate, changed.max_heart_rate) == pytest.approx((60, 150))


def test_wfdb_file_round_trip(tmp_path):
    made = annotations_of("NVVNSN.NNV", unreadable=[[650, 740]])
    path = made.to_wfdb(tmp_path)
    assert path == tmp_path / "made.skg"
    assert [p.name for p in tmp_path.iterdir()] == ["made.skg"]
    with quiet_wfdb() as wfdb:
        read = wfdb.rdann(str(tmp_path / "made"), "skg")
    assert read.fs == 100
    assert "".join(read.symbol) == "NVVNSN~~NNV"
    beats = [k for k, symbol in enumerate(read.symbol) if symbol != "~"]
    np.testing.assert_array_equal(read.sample[beats], made.beats["sample"])
    assert [float(read.aux_note[k]) for k in beats] == made.beats["score"].tolist()
    back = RecordAnnotations.from_wfdb(tmp_path / "made", n_timesteps=made.n_timesteps)
    assert_same(made, back)
    assert back.labels[0] == "N"


def test_wfdb_symbols(tmp_path):
    assert beat_symbols(["normal", "PVC", "pac", "LBBB", "V"]) == {
        "normal": "N",
        "PVC": "V",
        "pac": "A",
        "LBBB": "L",
        "V": "V",
    }
    with pytest.raises(ValueError, match=r"label\(s\) \['RVOT'\].*symbols={'RVOT': 'V'}"):
        beat_symbols(["N", "RVOT"])
    with pytest.raises(ValueError, match=r"no heartbeat can have.*LVOT"):
        beat_symbols(["N", "RVOT"], {"LVOT": "V"})
    with pytest.raises(ValueError, match=r"label\(s\) \[0, 1\]"):
        beat_symbols([0, 1])
    with pytest.raises(ValueError, match="WFDB's symbols"):
        beat_symbols(["RVOT"], {"RVOT": "VT"})
    made = annotations_of("NVS")
    path = made.to_wfdb(tmp_path, extension="test", symbols={"S": "A"})
    with quiet_wfdb() as wfdb:
        assert wfdb.rdann(str(path.with_suffix("")), "test").symbol == ["N", "V", "A"]
    back = RecordAnnotations.from_wfdb(tmp_path / "made", "test", symbols={"S": "A"})
    assert back.beats["label"].tolist() == ["N", "V", "S"]
    with pytest.raises(ValueError, match="extension must be made of letters"):
        made.to_wfdb(tmp_path, extension="a1")
    with pytest.raises(ValueError, match=r"and none of hea, dat, .* got 'dat'"):
        made.to_wfdb(tmp_path, extension="dat")
    # what is abnormal stays so, whatever its symbol means to others
    for symbols in ({"S": "L"}, {"N": "R"}, {"N": "V", "V": "N"}):
        made.to_wfdb(tmp_path, symbols=symbols)
        back = RecordAnnotations.from_wfdb(tmp_path / "made", symbols=symbols)
        columns = ["label", "abnormal", "score"]
        pd.testing.assert_frame_equal(back.beats[columns], made.beats[columns])
    with quiet_wfdb() as wfdb:
        wfdb.wrann("made", "atr", np.array([100, 200, 300]), list("NLV"), fs=100, write_dir=str(tmp_path))
    back = RecordAnnotations.from_wfdb(tmp_path / "made", "atr")
    assert back.beats["abnormal"].tolist() == [False, False, True]
    with pytest.raises(ValueError, match=r"made\.csv is no annotation file"):
        RecordAnnotations.from_wfdb(tmp_path / "made", "csv")


def test_nothing_to_write(tmp_path):
    empty = annotations_of("...")
    path = empty.to_wfdb(tmp_path)
    back = RecordAnnotations.from_wfdb(path.with_suffix(""), n_timesteps=400)
    assert len(back.beats) == len(back.unreadable) == 0
    assert np.isnan(empty.summary().mean_heart_rate)
    assert find_bigeminy(empty).empty
    assert find_runs(empty).empty


def test_tables(tmp_path):
    made = annotations_of("NVN")
    made.to_csv(tmp_path / "made.csv")
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "made.csv"), made.beats, check_dtype=False)
    made.to_json(tmp_path / "made.json")
    values = json.loads((tmp_path / "made.json").read_text())
    assert values["abnormal"] == [{"sample": 200, "time": 2.0, "label": "V", "score": 0.9}]
    assert values["summary"]["classes"]["V"]["beats"] == 1
    assert made.to_dict()["summary"]["hourly"][0]["heartbeats"] == 3


def test_a_missing_folder_is_named(whole, tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        whole.to_wfdb(tmp_path / "nowhere")


def test_an_interval_across_missing_samples_is_no_pause(model):
    X, _, _, beats = make_ecg(1, sampling_rate=RATE, heart_rate=60, pvc=0, pac=0, random_state=0)
    lost = beats[0]["sample"][4]
    X = X.astype(np.float32)
    X[0, :, lost - 70 : lost + 90] = np.nan
    reader = ModelReader(model, Record.from_array(X[0], RATE, LEADS), None, None, None)
    values, heartbeats = reader._channels(X.copy())
    peaks = heartbeats[0][heartbeats[0] >= 0]
    after = peaks[np.searchsorted(peaks, lost)]
    assert not np.any((peaks >= lost - 70) & (peaks < lost + 90))
    assert np.isfinite(values).all()
    rhythm = -(N_RHYTHM + N_WAVES)
    assert not values[0, [rhythm, rhythm + 3], after].any()
    # a few missing samples are no gap, but a line
    X[0, :, lost - 70 : lost + 90] = 0
    line, few = X.copy(), X.copy()
    few[0, :, 500:520] = np.nan
    line[0, :, 499:521] = np.linspace(X[0, :, 499], X[0, :, 520], 22, axis=1)
    np.testing.assert_allclose(reader._channels(few).values, reader._channels(line).values, atol=1e-5)
