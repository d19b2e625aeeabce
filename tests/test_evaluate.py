from __future__ import annotations

import json
import os
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from skecgattn._aami import AAMI_CLASSES
from skecgattn.datasets._wfdb import quiet_wfdb
from skecgattn.records import RecordAnnotations, evaluate_annotations, read_record
from skecgattn.records._annotations import HEARTBEAT
from skecgattn.records._symbols import BEAT_SYMBOLS as SYMBOLS

RATE = 360
REACH = 54  # samples in 150 ms
ANNOTATION = [("sample", np.int64), ("symbol", "U4")]


def annotations(*beats):
    return np.array(list(beats), dtype=ANNOTATION)


def imperfect(reference, seed):
    """Annotations like those of a fair detector: jittered, some missed, some made up, some mistaken."""
    rng = np.random.default_rng(seed)
    beats = reference[np.isin(reference["symbol"], list(SYMBOLS))][["sample", "symbol"]].astype(ANNOTATION)
    beats = beats[rng.random(len(beats)) > 0.05]
    beats["sample"] += rng.integers(-30, 31, size=len(beats))
    wrong = rng.random(len(beats)) < 0.15
    beats["symbol"][wrong] = rng.choice(["N", "V", "A", "Q"], size=wrong.sum())
    extra = np.empty(len(beats) // 20, dtype=ANNOTATION)
    extra["sample"] = rng.integers(0, reference["sample"].max(), size=len(extra))
    extra["symbol"] = rng.choice(["N", "V", "A"], size=len(extra))
    beats = np.sort(np.concatenate([beats, extra]), order="sample")
    return beats[np.diff(beats["sample"], prepend=-100) > 60]  # no detector finds two in a QRS complex


def largest_pairing(true, found):
    """Pair beats by scipy's matching of graphs; return the indices of those of `found` that are paired."""
    near = np.abs(true[:, None] - found) <= REACH
    return np.flatnonzero(maximum_bipartite_matching(csr_array(near), perm_type="row") >= 0)


def wfdb_pairing(true, found):
    """Pair beats by wfdb, which passes over a pair now and then."""
    if len(true) == 0 or len(found) == 0:
        return np.empty(0, dtype=int)
    with quiet_wfdb():
        from wfdb.processing import compare_annotations
    return compare_annotations(true, found, REACH).matched_test_inds


def independent_counts(pairing, reference, test, symbols, dont_care):
    """Pair the class's beats; what is left over may fall on a don't-care beat."""
    true = reference["sample"][np.isin(reference["symbol"], symbols)]
    found = test["sample"][np.isin(test["symbol"], symbols)]
    paired = pairing(true, found)
    left = np.delete(found, paired)
    ignored = len(pairing(reference["sample"][np.isin(reference["symbol"], dont_care)], left))
    return np.array([len(paired), len(left) - ignored, len(true) - len(paired)])


@pytest.mark.parametrize("record_name", ["106", "119", "208", "209", "223"])
def test_the_counts_are_those_of_an_independent_comparison(mitbih_records, tmp_path, record_name):
    record = next(record for record in mitbih_records if record.name == record_name)
    reference, test = record.annotations, imperfect(record.annotations, seed=int(record_name))
    with quiet_wfdb() as wfdb:
        wfdb.wrann(
            record_name, "skg", test["sample"], symbol=test["symbol"].tolist(), write_dir=str(tmp_path)
        )
    evaluation = evaluate_annotations(reference, tmp_path / f"{record_name}.skg", sampling_rate=RATE)
    for name, symbols, dont_care in (
        ("QRS", [*SYMBOLS], ()),
        ("V", AAMI_CLASSES["V"], AAMI_CLASSES["F"] + AAMI_CLASSES["Q"]),
        ("S", AAMI_CLASSES["S"], AAMI_CLASSES["Q"]),
    ):
        row = evaluation.records.loc[record_name, name]
        tp, fp, fn = independent_counts(largest_pairing, reference, test, symbols, dont_care)
        assert (row.tp, row.fp, row.fn) == (tp, fp, fn)
        counts = independent_counts(wfdb_pairing, reference, test, symbols, dont_care)
        assert np.abs(counts - [tp, fp, fn]).max() <= 0.002 * (tp + fn)
        if tp + fp + fn:
            assert row.f1 == pytest.approx(2 * tp / (2 * tp + fp + fn))
            assert row.f1 < 1


@pytest.fixture
def mitbih_folder():
    return Path(os.environ["SKECGATTN_DATA"]) / "mitdb"


@pytest.mark.requires_data
def test_a_reference_agrees_with_itself(mitbih_folder):
    records = [mitbih_folder / name for name in ("100", "119", "207")]
    evaluation = evaluate_annotations(records, records, test_extension="atr")
    counts = evaluation.gross
    assert counts.loc["QRS", "tp"] == 2273 + 1987 + 1860
    assert counts.loc["V", "tp"] == 1 + 444 + 105 + 105
    assert not counts[["fp", "fn"]].to_numpy().any()
    assert evaluation.records.loc["100"].loc["V", "sensitivity"] == 1
    assert np.isnan(evaluation.records.loc["119"].loc["S", "sensitivity"])
    # 207 has ventricular flutter
    assert evaluation.skipped["207"] == pytest.approx(2 * 60 + 24, abs=15)
    assert evaluation.skipped["100"] == 0
    record = read_record(records[0])
    again = evaluate_annotations(record, records[0].with_suffix(".atr"), reference_extension="atr")
    pd.testing.assert_frame_equal(again.records, evaluation.records.loc[["100"]])


def test_counts_by_hand(tmp_path):
    reference = annotations((100, "N"), (400, "V"), (700, "F"), (1000, "A"), (1300, "Q"), (1500, "+"))
    test = annotations((120, "V"), (440, "V"), (720, "V"), (1050, "A"), (1290, "A"), (1354, "V"), (1700, "N"))
    table = evaluate_annotations(reference, test, sampling_rate=RATE).records.loc["record 1"]
    counts = table[["tp", "fp", "fn", "ignored"]]
    assert counts.loc["QRS"].tolist() == [5, 2, 0, 0]
    assert counts.loc["V"].tolist() == [1, 1, 0, 2]  # one on F, one on Q
    assert counts.loc["S"].tolist() == [1, 0, 0, 1]
    near = evaluate_annotations(reference, test, sampling_rate=RATE, tolerance=0.06, classes=["N"])
    assert near.gross.loc["QRS", "tp"] == 3
    assert list(near.gross.index) == ["QRS", "N"]
    # the test's samples count at half the rate: the reference is an array, its rate the argument's
    half = test.copy()
    half["sample"] //= 2
    heartbeats = np.empty(len(half), dtype=HEARTBEAT)
    heartbeats["sample"], heartbeats["label"], heartbeats["score"] = half["sample"], half["symbol"], 0.5
    slow = RecordAnnotations.from_heartbeats(
        heartbeats,
        [[150, 300]],
        record_name="slow",
        sampling_rate=RATE / 2,
        n_timesteps=1000,
        labels=("N", "V", "A"),
    )
    frame = evaluate_annotations(reference, slow, sampling_rate=RATE).records.loc["slow"]
    pd.testing.assert_frame_equal(frame, table)
    readable = evaluate_annotations(reference, slow, sampling_rate=RATE, skip_unreadable=True)
    assert readable.skipped["slow"] == pytest.approx(300 / RATE)
    assert readable.gross.loc["V", ["tp", "fp", "fn"]].tolist() == [0, 1, 0]
    # a file of ours says the same
    for source in (slow.to_wfdb(tmp_path), tmp_path / "slow", str(tmp_path / "slow")):
        again = evaluate_annotations(reference, source, sampling_rate=RATE, skip_unreadable=True)
        pd.testing.assert_frame_equal(again.records, readable.records)
        assert again.skipped.tolist() == readable.skipped.tolist()


def test_what_is_skipped():
    reference = annotations(
        (200, "V"), (500, "N"), (900, "V"), (1000, "["), (1200, "!"), (1400, "!"), (2000, "]"), (2030, "V")
    )
    test = annotations((190, "V"), (500, "V"), (1020, "V"), (1500, "V"), (1995, "V"))
    counts = evaluate_annotations(reference, test, sampling_rate=RATE)
    assert counts.skipped.tolist() == [1000 / RATE]
    assert counts.gross.loc["V", ["tp", "fp", "fn"]].tolist() == [2, 1, 1]
    later = evaluate_annotations(reference, test, sampling_rate=RATE, start=195 / RATE)
    # the pair on both sides of the start is scored, as its reference beat is after it
    assert later.gross.loc["V", ["tp", "fp", "fn"]].tolist() == [2, 1, 1]
    later = evaluate_annotations(reference, test, sampling_rate=RATE, start=1)
    assert later.gross.loc["V", ["tp", "fp", "fn"]].tolist() == [1, 1, 1]
    everything = evaluate_annotations(reference, test, sampling_rate=RATE, start=1000)
    assert not everything.gross[["tp", "fp", "fn", "ignored"]].to_numpy().any()


def test_gross_and_average():
    first = annotations((100, "V"), (400, "V"), (700, "V"), (1000, "V"))
    evaluation = evaluate_annotations(
        [first, first[:1], annotations((100, "N"))],
        [first[:1], first[:1], annotations((100, "N"))],
        sampling_rate=RATE,
    )
    assert evaluation.gross.loc["V", "sensitivity"] == 2 / 5
    assert evaluation.average.loc["V", "sensitivity"] == (1 / 4 + 1) / 2
    assert evaluation.average.loc["V", "fn"] == 3
    plain = json.loads(json.dumps(evaluation.to_dict(), allow_nan=False))
    assert plain["records"]["record 3"]["V"]["f1"] is None
    assert plain["gross"]["V"]["tp"] == 2
    text = str(evaluation)
    assert "gross" in text
    assert "0.4000" in text


def test_no_beats_at_all():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        evaluation = evaluate_annotations(annotations(), annotations((5, "V")), sampling_rate=RATE)
    assert evaluation.gross.loc["V", ["tp", "fp", "fn"]].tolist() == [0, 1, 0]


def test_errors_name_the_argument(tmp_path):
    beats = annotations((100, "N"))
    with pytest.raises(ValueError, match="sampling_rate must be given"):
        evaluate_annotations(beats, beats)
    with pytest.raises(ValueError, match="same records, got 2 and 1"):
        evaluate_annotations([beats, beats], beats, sampling_rate=RATE)
    with pytest.raises(ValueError, match=r"classes must be among .*got \['X'\]"):
        evaluate_annotations(beats, beats, sampling_rate=RATE, classes=["X"])
    with pytest.raises(TypeError, match=r"test must be a path.*got ndarray"):
        evaluate_annotations(beats, np.zeros(3), sampling_rate=RATE)
    with pytest.raises(FileNotFoundError, match=r"no annotation file '.*100\.skg'"):
        evaluate_annotations(beats, tmp_path / "100")
    (tmp_path / "100.skg").write_bytes(b"\x00")
    with pytest.raises(OSError, match="cannot be read"):
        evaluate_annotations(beats, tmp_path / "100")
