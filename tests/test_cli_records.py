"""The commands that read recordings: train, annotate, evaluate, report, info."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from skecgattn import records
from skecgattn.cli import _cross_validation, app
from skecgattn.cli._cross_validation import cross_validate
from skecgattn.cli._inputs import list_records
from skecgattn.cli._training_data import TrainingSet, read_labels
from skecgattn.datasets import make_ecg
from skecgattn.datasets._wfdb import quiet_wfdb
from skecgattn.records import evaluate_annotations, read_record

RATE, LEADS = 180, ("MLII", "V1")
CODES = {0: "426783006", 1: "427172004"}


def invoke(*arguments, code=0):
    result = CliRunner().invoke(app, [str(one) for one in arguments], env={"COLUMNS": "140", "NO_COLOR": "1"})
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result


def write(folder, name, signal, *, beats=(), comments=(), leads=LEADS, rate=RATE):
    with quiet_wfdb() as wfdb:
        wfdb.wrsamp(
            name,
            fs=rate,
            units=["mV"] * len(leads),
            sig_name=list(leads),
            d_signal=np.rint(signal.T * 1000).astype(int),
            adc_gain=[1000] * len(leads),
            baseline=[0] * len(leads),
            fmt=["16"] * len(leads),
            write_dir=str(folder),
            comments=list(comments),
        )
        if len(beats):
            samples, symbols = beats
            wfdb.wrann(name, "atr", samples, symbol=symbols, write_dir=str(folder))


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Six records of a minute, of six virtual patients."""
    folder = tmp_path_factory.mktemp("archive")
    X, _, groups, truth = make_ecg(36, sampling_rate=RATE, n_patients=6, pvc=0.6, random_state=0)
    for k, patient in enumerate(dict.fromkeys(groups)):
        rows = np.flatnonzero(groups == patient)
        signal = np.concatenate(X[rows], axis=1)
        samples = np.concatenate([i * X.shape[2] + truth[row]["sample"] for i, row in enumerate(rows)])
        symbols = np.concatenate([truth[row]["symbol"] for row in rows]).tolist()
        comments = [f"Dx: {CODES[k % 2]},164889003", f"patient: p{k}"]
        write(folder, f"r{k}", signal, beats=(samples, symbols), comments=comments)
    return folder


@pytest.fixture(scope="module")
def model(archive, tmp_path_factory):
    """A model file, and what training has printed."""
    path = tmp_path_factory.mktemp("model") / "made" / "m.skecg"
    options = ["--from-annotations", "--folds", 2, "--epochs", 1, "--json", "--output", path]
    return path, invoke("train", archive, *options)


@pytest.fixture(scope="module")
def found(archive, model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("found")
    return folder, invoke("annotate", archive, "--model", model[0], "--output", folder, "--csv", "--json")


# --- train


def test_train_scores_patients_left_out(model):
    path, result = model
    told = json.loads(result.stdout)
    assert told["data"]["records"] == told["data"]["patients"] == 6
    assert (told["data"]["ecgs"], told["data"]["seconds"]) == (36, 10)
    assert told["data"]["lead_names"] == list(LEADS)
    scores = told["cross_validation"]
    assert scores["n_folds"] == 2
    assert set(scores["classes"]) == {"S", "V"}
    auc = scores["classes"]["V"]["auc"]
    assert auc["mean"] == pytest.approx(np.mean(auc["folds"]))
    assert path.is_file()


def test_train_on_a_table_of_labels(archive, tmp_path):
    rows = [
        "Record;Label;Patient",
        *(f"r{k};{'PVC' if k % 2 else 'normal'};{k // 2}" for k in range(6)),
        "x;PVC;9",
    ]
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    options = ["--folds", 0, "--epochs", 1, "--window", 5, "--output", tmp_path / "m.skecg"]
    result = invoke("train", archive, "--labels", tmp_path / "labels.csv", *options)
    assert "6 records of 3 patients: 6 ECGs of 5 s" in result.stdout
    assert "1 of 7 labelled records are not to be had" in result.stderr
    told = json.loads(invoke("info", tmp_path / "m.skecg", "--json").stdout)
    assert (told["classes"], told["normal_class"]) == (["PVC", "normal"], "normal")


def test_records_without_a_label_are_not_normal(archive, tmp_path):
    rows = ["r0,normal", "r1,PVC", "r2,", "r3,PVC", "r4,normal", "r4,PVC", "r5,normal"]
    table = tmp_path / "labels.csv"
    train = ["train", archive, "--labels", table, "--folds", 0, "--epochs", 1, "--window", 5]
    train += ["--output", tmp_path / "m.skecg"]
    table.write_text("\n".join(["record,label", *rows]))
    result = invoke(*train, "--json")
    assert "1 record without a label left out: r2" in result.stderr
    assert "1 record both normal and not, taken for what is not: r4" in result.stderr
    assert json.loads(result.stdout)["data"]["labels"] == {"PVC": 3, "normal": 3}
    table.write_text("\n".join(["record,label", *rows]).replace("normal", ""))
    result = invoke(*train, "--json")
    assert "3 records without a label taken for normal, as no label means that: r0, r2, r5" in result.stderr


@pytest.mark.parametrize("command", ["train", "report"])
def test_no_file_of_another_kind_is_replaced(archive, model, tmp_path, command):
    (tmp_path / "labels.csv").write_text(
        "record,label\n" + "\n".join(f"r{k},{'NV'[k % 2]}" for k in range(6))
    )
    run = {
        "train": ["train", archive, "--labels", tmp_path / "labels.csv", "--folds", 0, "--epochs", 1],
        "report": ["report", archive / "r0", "--model", model[0]],
    }[command]
    for path in (archive / "r0.hea", archive / "r0.dat", tmp_path / "labels.csv"):
        before = path.read_bytes()
        assert "and would be replaced: choose another name" in invoke(*run, "-o", path, code=2).stderr
        assert path.read_bytes() == before
    out = tmp_path / "out"
    out.touch()
    for _ in range(2):  # an empty file, then one of its own
        invoke(*run, "-o", out)
        assert out.stat().st_size


def test_labels_in_another_encoding_are_named(archive, tmp_path):
    (tmp_path / "l.csv").write_text("record,label\nr0,ventrikul\u00e4r\n", encoding="cp1252")
    result = invoke("train", archive, "--labels", tmp_path / "l.csv", "-o", tmp_path / "m", code=2)
    assert "l.csv is not text in UTF-8" in result.stderr
    assert "save it as CSV UTF-8" in result.stderr


def test_units_of_a_table(archive, model, tmp_path):
    write_csv(tmp_path / "a.csv", archive)
    heading, *rows = (tmp_path / "a.csv").read_text().splitlines()
    rows = [",".join(str(float(cell) * 1000) for cell in row.split(",")) for row in rows]
    (tmp_path / "a.csv").write_text("\n".join([heading, *rows]))
    run = ["annotate", tmp_path / "a.csv", "--sampling-rate", RATE, "--model", model[0], "--output"]
    found = invoke(*run, tmp_path / "one", code=1).stderr  # warnings are errors here
    assert "leads that span" in found
    assert "give the file's --units" in found
    assert "leads that span" not in invoke(*run, tmp_path / "two", "--units", "uV", "--json").stderr
    for units, status in (("uV", "skipped"), ("mV", "failed")):  # annotated anew, which is an error here
        code = int(status == "failed")
        again = invoke(*run, tmp_path / "two", "--units", units, "--json", code=code)
        assert json.loads(again.stdout)[0]["status"] == status
    assert "--units must be one of" in invoke(*run, tmp_path / "three", "--units", "kV", code=2).stderr
    told = invoke("info", tmp_path / "a.csv", "--sampling-rate", RATE, "--units", "uV", "--json")
    assert json.loads(told.stdout)["lead_names"] == list(LEADS)


def test_train_takes_the_normal_label_that_it_is_told(archive, tmp_path):
    rows = ["record,label", *(f"r{k},{'PVC' if k % 2 else 'unremarkable'}" for k in range(6))]
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    options = ["--labels", tmp_path / "labels.csv", "--folds", 0, "--epochs", 1, "--window", 5]
    options += ["--output", tmp_path / "m.skecg"]
    result = invoke("train", archive, *options)
    assert "no label is known to mean normal: each of PVC, unremarkable gets a map" in result.stderr
    result = invoke("train", archive, *options, "--normal", "unremarkable")
    assert "normal" not in result.stderr
    told = json.loads(invoke("info", tmp_path / "m.skecg", "--json").stdout)
    assert (told["map_labels"], told["normal_class"]) == (["PVC"], "unremarkable")
    result = invoke("train", archive, *options, "--normal", "well", code=2)
    assert "--normal must be one of the labels PVC, unremarkable, got well" in result.stderr


def test_a_normal_label_gets_no_column():
    labels = [frozenset({"PVC", "AF"}), frozenset({"well"}), frozenset({"AF"})]
    data = TrainingSet(np.zeros((3, 1, 9)), labels, np.arange(3), 180.0, ("I",), 3)
    assert list(data.y.columns) == ["AF", "PVC", "well"]
    data.normal = "well"
    assert list(data.y.columns) == ["AF", "PVC"]


def test_train_on_diagnosis_codes_with_mixed_rates(archive, tmp_path):
    for k in range(4):
        record = read_record(archive / f"r{k}")
        signal, rate = record.read(0, 1800), RATE
        if k == 3:
            signal, rate = np.repeat(signal, 2, axis=1), 2 * RATE
        write(tmp_path, f"r{k}", signal, comments=[f"Dx: {CODES[k % 2]}"], rate=rate)
    options = ["--folds", 2, "--epochs", 1, "--output", tmp_path / "m.skecg"]
    codes = ",".join(f"{code}={name}" for code, name in zip(CODES.values(), "NV"))
    result = invoke("train", tmp_path, "--from-dx", "--codes", codes, *options)
    assert "all are resampled to 180 Hz" in result.stderr
    assert "4 ECGs of 10 s at 180 Hz" in result.stdout
    assert "balanced accuracy" in result.stdout
    result = invoke("train", tmp_path, "--from-dx", *options, code=2)
    assert "426783006 NSR (2), 427172004 PVC (2)" in result.stderr


def test_labels_of_several_rows_add_up(tmp_path):
    (tmp_path / "l.csv").write_text("record,label\na,PVC\na,AF\nb,PVC;AF\nc,\n")
    labels, patients = read_labels(tmp_path / "l.csv")
    assert labels == {"a": {"PVC", "AF"}, "b": {"PVC", "AF"}, "c": frozenset()}
    assert patients == {}


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("record,label\nx/a.hea,PVC, \nb,PVC,AF\n", r"line 3 has more fields than the heading, with 'AF'"),
        ("record,label,label\na,PVC,AF\n", r"must have each column once, got \['label'\] several times"),
    ],
)
def test_labels_that_would_be_lost_are_refused(tmp_path, table, message):
    (tmp_path / "l.csv").write_text(table)
    with pytest.raises(ValueError, match=message):
        read_labels(tmp_path / "l.csv")


def test_records_named_by_their_headers(tmp_path):
    (tmp_path / "l.csv").write_text("record,label\nx/a.hea,PVC,,\nx/a,AF\nb.1,AF\n")
    assert read_labels(tmp_path / "l.csv")[0] == {"a": {"PVC", "AF"}, "b.1": {"AF"}}


def test_patients_of_a_table_that_names_records_by_their_paths(archive, tmp_path):
    shutil.copytree(archive, tmp_path / "all" / "ecgs")
    kinds = ("normal", "PVC")
    rows = ["record,label,patient", *(f"ecgs/r{k},{kinds[k % 2]},{k // 2 or ''}" for k in range(6))]
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    train = ["train", tmp_path / "all", "--labels", tmp_path / "labels.csv", "--folds", 0, "--epochs", 1]
    result = invoke(*train, "--output", tmp_path / "m.skecg")
    assert "6 records of 4 patients" in result.stdout  # the headers name those of r0 and r1
    assert "no patient" not in result.stderr
    (tmp_path / "patients.csv").write_text("record,patient\n" + "\n".join(f"ecgs/r{k},0" for k in range(5)))
    for k in range(6):
        header = tmp_path / "all" / "ecgs" / f"r{k}.hea"
        lines = header.read_text().splitlines(keepends=True)
        header.write_text("".join(line for line in lines if "patient" not in line))
    (tmp_path / "labels.csv").write_text("\n".join(row.rpartition(",")[0] for row in rows))
    result = invoke(*train, "--patients", tmp_path / "patients.csv", "--output", tmp_path / "m.skecg")
    assert "6 records of 2 patients" in result.stdout
    assert "1 of 6 records have no patient and are taken for one of their own each: r5" in result.stderr


def test_records_of_one_name_are_refused(archive, tmp_path):
    for visit in ("a", "b"):
        shutil.copytree(archive, tmp_path / "all" / visit)
    (tmp_path / "labels.csv").write_text("record,label\na/r0,PVC\nr1,normal\n")
    train = ["train", tmp_path / "all", "--labels", tmp_path / "labels.csv", "--output", tmp_path / "m.skecg"]
    assert "two records are called r0" in invoke(*train, code=2).stderr
    (tmp_path / "labels.csv").write_text("record,label\na/r0,PVC\nb/r0,normal\n")
    assert "several records called r0, one of them b/r0" in invoke(*train, code=2).stderr
    assert not (tmp_path / "m.skecg").exists()


def test_cross_validation_never_splits_a_patient(monkeypatch):
    seen = []

    def predict(model, X, y, groups, training, held_out, advance):
        seen.append((set(groups[training]), set(groups[held_out])))
        advance(1)
        return np.column_stack([1 - X[held_out], X[held_out]])

    monkeypatch.setattr(_cross_validation, "_fit_predict", predict)
    y = np.array(["N", "V"] * 12)
    X = (y == "V") * 0.8 + 0.1
    X[0] = 0.9  # one N is taken for V
    scores = cross_validate(None, X, y, np.arange(24) // 2, 3, 0, 1, lambda n: None)
    assert all(not training & held_out for training, held_out in seen)
    assert set.union(*(held_out for _, held_out in seen)) == set(range(12))
    assert scores["classes"]["N"]["recall"]["out_of_fold"] == pytest.approx(11 / 12)
    assert scores["classes"]["V"]["recall"]["out_of_fold"] == 1
    assert scores["all"]["balanced_accuracy"]["out_of_fold"] == pytest.approx(23 / 24)


# --- annotate, evaluate


def test_annotate_writes_files_and_skips_what_is_done(archive, model, found):
    folder, result = found
    rows = json.loads(result.stdout)
    assert [row["status"] for row in rows] == ["done"] * 6
    table = (folder / "r0.csv").read_text().splitlines()
    assert table[0] == "sample,time,start,stop,label,score,abnormal"
    assert len(table) == rows[0]["beats"] + 1
    again = invoke("annotate", archive, "--model", model[0], "--output", folder)
    assert again.stdout.count("skipped") == 6


def test_annotate_with_a_threshold_and_the_map(archive, model, tmp_path):
    options = ["--model", model[0], "--output", tmp_path, "--threshold", "V=0,S=1", "--map", "--json"]
    (row,) = json.loads(invoke("annotate", archive / "r0", *options).stdout)
    assert row["V"] == row["beats"] > 30
    assert np.load(tmp_path / "r0.map.npy").shape == (2, 60 * RATE)


def test_annotate_goes_on_after_a_bad_record(archive, model, tmp_path):
    data = (archive / "r1.dat").read_bytes()
    (tmp_path / "r1.hea").write_text((archive / "r1.hea").read_text())
    (tmp_path / "r1.dat").write_bytes(data[: len(data) // 2])
    write(tmp_path, "other", np.zeros((2, 1800)), leads=("I", "II"))
    records = [archive / "r0", tmp_path / "r1", tmp_path / "other", tmp_path / "nowhere"]
    result = invoke("annotate", *records, "--model", model[0], "--output", tmp_path / "out", code=1)
    failed = [line for line in result.stderr.splitlines() if line.startswith("failed: ")]
    assert [line.split(":")[1].strip() for line in failed] == ["r1", "other", "nowhere"]
    assert "MLII" in failed[1]
    assert (tmp_path / "out" / "r0.skg").is_file()


def write_csv(path, archive):
    signal = read_record(archive / "r0").read(0, 20 * RATE)
    np.savetxt(path, signal.T, "%.3f", ",", header=",".join(LEADS), comments="")


def test_annotate_a_table_of_times_needs_no_rate(archive, model, tmp_path):
    write_csv(tmp_path / "bare.csv", archive)
    heading, *rows = (tmp_path / "bare.csv").read_text().splitlines()
    rows = [f"{k / RATE:.4f},{row}" for k, row in enumerate(rows)]
    (tmp_path / "timed.csv").write_text("\n".join([f"time,{heading}", *rows]))
    run = ["annotate", tmp_path / "timed.csv", "--model", model[0], "--output", tmp_path / "out"]
    assert json.loads(invoke(*run, "--json").stdout)[0]["status"] == "done"
    assert (
        "sampling_rate of 180 Hz by its column 'time'" in invoke(*run, "--sampling-rate", 90, code=2).stderr
    )
    run[1] = tmp_path / "bare.csv"
    assert "--sampling-rate must be given for bare.csv" in invoke(*run, code=2).stderr


def test_annotate_never_writes_over_a_recording(archive, model, tmp_path):
    write_csv(tmp_path / "holter.csv", archive)
    before = (tmp_path / "holter.csv").read_bytes()
    run = ["annotate", tmp_path / "holter.csv", "--sampling-rate", RATE, "--model", model[0], "--csv"]
    result = invoke(*run, "--output", tmp_path, "--overwrite", code=2)
    assert "holter.csv is a recording and would be replaced: choose another --output" in result.stderr
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "holter.csv").write_text("name,age\n")
    result = invoke(*run, "--output", tmp_path / "out", code=2)
    assert "no table of heartbeats; --overwrite replaces it" in result.stderr
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["holter.csv"]
    invoke(*run, "--output", tmp_path / "out", "--overwrite")
    invoke(*run, "--output", tmp_path / "out")  # its own table it may replace
    assert (tmp_path / "out" / "holter.csv").read_text().startswith("sample,time,start")
    assert (tmp_path / "holter.csv").read_bytes() == before


def test_annotate_goes_on_after_a_bad_table(archive, model, tmp_path):
    write_csv(tmp_path / "good.csv", archive)
    (tmp_path / "bad.csv").write_bytes(b"a\r" * 9)
    (tmp_path / "out" / "r0.csv").mkdir(parents=True)
    run = ["annotate", tmp_path / "bad.csv", tmp_path / "good.csv", archive / "r0", "--sampling-rate", RATE]
    result = invoke(*run, "--csv", "--model", model[0], "--output", tmp_path / "out", "--json", code=1)
    told = json.loads(result.stdout)
    assert [(row["record"], row["status"]) for row in told] == [
        ("bad", "failed"),
        ("good", "done"),
        ("r0", "failed"),
    ]
    assert told[0].keys() == told[1].keys()
    assert told[0]["output"] == str(tmp_path / "out" / "bad.skg")
    assert (told[0]["beats"], told[0]["V"], told[1]["error"]) == (None, None, None)
    rows = {row["record"]: row for row in told}
    assert "must be a table of text" in rows["bad"]["error"]
    assert "r0.csv" in rows["r0"]["error"]
    assert (tmp_path / "out" / "good.csv").is_file()
    result = invoke(*run[:2], *run[4:], "--model", model[0], "--output", tmp_path / "out", code=2)
    assert "must be a table of text" in result.stderr


def test_annotate_tells_of_tables_that_it_leaves_behind(archive, model, tmp_path):
    run = ["annotate", archive / "r0", archive / "r1", "--model", model[0], "--output", tmp_path]
    assert invoke(*run, "--csv", "--map").stderr == ""
    assert invoke(*run).stderr == ""  # nothing has changed
    (tmp_path / "r1.csv").write_text("name,age\n")  # of others
    said = "note: r0.csv in {0} is of earlier annotations; --csv would write it anew"
    for _ in range(2):  # though the second time all is done
        lines = invoke(*run, "--threshold", 1).stderr.splitlines()
        assert lines[0] == said.format(tmp_path)
        assert lines[1].startswith("note: r0.map.npy, r1.map.npy in ")
        assert lines[1].endswith(" are of earlier annotations; --map would write them anew")
    lines = invoke(*run, "--threshold", 1, "--csv", "--overwrite").stderr.splitlines()
    assert len(lines) == 1
    assert not pd.read_csv(tmp_path / "r0.csv")["abnormal"].any()


def test_annotate_failures_are_told_with_options(archive, model, tmp_path):
    (tmp_path / "r0.skg").write_bytes(b"of a cardiologist")
    run = ["annotate", archive / "r0", "--model", model[0], "--output", tmp_path]
    (row,) = json.loads(invoke(*run, "--json", code=1).stdout)
    assert row["error"].endswith("was not written by skecgattn annotate: --overwrite replaces it.")
    write(tmp_path, "other", np.zeros((2, 1800)), leads=("I", "II"))
    run[1] = tmp_path / "other"
    assert (
        "--leads must name the 2 lead(s) that the model reads, got I."
        in invoke(*run, "--leads", "I", code=1).stderr
    )
    assert "name the leads to read in the model's order, --leads NAME,NAME." in invoke(*run, code=1).stderr


def test_annotate_tells_the_labels_of_the_model(archive, tmp_path):
    """A block is one of the model's abnormal classes, though its symbol is normal to others."""
    rows = ["record,label", *(f"r{k},{'LBBB' if k % 2 else 'normal'}" for k in range(6))]
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    train = ["train", archive, "--labels", tmp_path / "labels.csv", "--folds", 0, "--epochs", 1]
    invoke(*train, "--window", 10, "--output", tmp_path / "m.skecg")
    run = ["annotate", archive / "r0", "--model", tmp_path / "m.skecg", "--threshold", 0]
    (row,) = json.loads(invoke(*run, "--output", tmp_path, "--csv", "--json").stdout)
    table = pd.read_csv(tmp_path / "r0.csv")
    assert len(table) == row["LBBB"] > 30
    assert set(table["label"]) == {"LBBB"}
    assert table["abnormal"].all()
    strict = [*run[:-1], 1, "--symbols", "LBBB=N", "--output", tmp_path / "strict", "--csv", "--json"]
    (row,) = json.loads(invoke(*strict).stdout)
    table = pd.read_csv(tmp_path / "strict" / "r0.csv")
    assert len(table) == row["beats"]
    assert table["abnormal"].sum() == row["abnormal"] == 0
    assert set(table["label"]) == {"N"}  # that of both labels
    table = pd.read_csv(tmp_path / "r0.csv")
    report = ["report", archive / "r0", "-a", tmp_path / "r0.skg", "-o", tmp_path / "r.html", "--json"]
    assert json.loads(invoke(*report).stdout)["summary"]["n_abnormal"] == len(table)
    assert "no annotation file" in invoke(*report[:3], tmp_path / "m.skecg", *report[4:], code=2).stderr


def test_folders_have_edf_files_of_either_case(tmp_path):
    for name in ("a.edf", "b.EDF", "c.txt"):
        (tmp_path / name).touch()
    assert [path.name for path in list_records([tmp_path])] == ["a.edf", "b.EDF"]


def test_evaluate_prints_the_scores(archive, found, tmp_path):
    result = invoke("evaluate", archive, "--test-folder", found[0], "--json")
    names = [f"r{k}" for k in range(6)]
    tests = [found[0] / f"{name}.skg" for name in names]
    expected = evaluate_annotations([read_record(archive / name) for name in names], tests).to_dict()
    assert json.loads(result.stdout) == json.loads(json.dumps(expected))
    table = invoke("evaluate", archive / "r0", archive / "r1", "--test-folder", found[0]).stdout
    assert f"{evaluate_annotations(read_record(archive / 'r0'), tests[0]).gross.loc['V', 'f1']:.4f}" in table
    assert "gross" in table
    (tmp_path / "r0.skg").write_bytes(tests[0].read_bytes())
    result = invoke("evaluate", archive, "--test-folder", tmp_path, code=1)
    assert "5 of 6 records left out" in result.stderr


# --- report, info


def test_report_of_a_model_and_of_annotations(archive, model, found, tmp_path):
    told = invoke("report", archive / "r0", "--model", model[0], "-o", tmp_path / "a.html", "--json").stdout
    assert json.loads(told)["bytes"] == (tmp_path / "a.html").stat().st_size
    assert "m.skecg" in (tmp_path / "a.html").read_text()
    options = ["--strips", 1, "--disclosure", "none"]
    for source in (found[0] / "r0.skg", "atr"):
        invoke("report", archive / "r0", "--annotations", source, "-o", tmp_path / "b.html", *options)
        assert "Research software" in (tmp_path / "b.html").read_text()


def test_leads_by_other_names(archive, model, tmp_path):
    signal = read_record(archive / "r0").read()
    write(tmp_path, "r0", np.stack([signal[1], signal[0]]), leads=("b", "a"))
    run = ["annotate", tmp_path / "r0", "--model", model[0], "--leads", "a,b", "--output", tmp_path / "out"]
    (row,) = json.loads(invoke(*run, "--json").stdout)
    page = ["report", tmp_path / "r0", "--model", model[0], "-o", tmp_path / "r.html", "--json"]
    assert "leads" in invoke(*page, code=2).stderr
    told = json.loads(invoke(*page, "--leads", "a,b").stdout)
    other = ["report", archive / "r0", "-a", "atr", *page[2:], "--leads", "V1,MLII"]
    invoke(*other)  # a record with leads of the model's names keeps its own
    assert (tmp_path / "r.html").read_text().index("V1") < (tmp_path / "r.html").read_text().index("MLII")
    assert told["summary"]["n_heartbeats"] == row["beats"]
    given = ["--annotations", tmp_path / "out" / "r0.skg"]
    assert json.loads(invoke(*page, *given, "--leads", "a,b").stdout)["summary"] == told["summary"]
    assert "MLII" in (tmp_path / "r.html").read_text()
    # of the rows of a bare file the model takes those that it reads
    np.save(tmp_path / "x.npy", np.stack([signal[1], np.zeros_like(signal[0]), signal[0]]))
    run = ["annotate", tmp_path / "x.npy", "--sampling-rate", RATE, "--model", model[0], "--json"]
    (row,) = json.loads(invoke(*run, "--leads", "V1,none,MLII", "--output", tmp_path / "out").stdout)
    assert abs(row["beats"] - told["summary"]["n_heartbeats"]) <= 1
    np.save(tmp_path / "y.npy", np.stack([signal[1], signal[0]]))
    run[1] = tmp_path / "y.npy"
    (turned,) = json.loads(invoke(*run, "--leads", "V1,MLII", "--output", tmp_path / "out").stdout)
    assert (turned["beats"], turned["abnormal"]) == (row["beats"], row["abnormal"])


def test_info_of_a_model_and_a_record(archive, model, tmp_path):
    shown = invoke("info", model[0]).stdout
    for words in ("180 Hz", "MLII, V1", "S, V", "1 epoch;"):
        assert words in shown
    told = json.loads(invoke("info", archive / "r3", "--json").stdout)
    assert (told["patient"], told["duration"], told["annotations"]) == ("p3", 60, ["atr"])
    np.save(tmp_path / "x.npy", np.zeros((1, 500)))
    assert "0:00:02" in invoke("info", tmp_path / "x.npy", "--sampling-rate", 250).stdout


# --- what users do wrong


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("train {archive} -o {tmp}/m", "give one source of labels"),
        ("train {tmp}/nowhere --from-dx -o {tmp}/m", "there is no folder"),
        ("train {tmp} --from-dx -o {tmp}/m", "no WFDB record"),
        ("train {archive} --labels {tmp}/no.csv -o {tmp}/m", "there is no file"),
        ("train {archive} --labels {tmp}/text -o {tmp}/m", "lacks record, label"),
        ("train {archive} --from-annotations --leads II -o {tmp}/m", "has no lead 'II'"),
        ("train {archive} --from-annotations --annotator qrs -o {tmp}/m", "no record has annotations .qrs"),
        ("train {archive} --from-annotations --folds 1 -o {tmp}/m", "--folds must be 0 or at least 2"),
        ("train {archive} --from-annotations --classes X -o {tmp}/m", "AAMI"),
        ("train {archive} --from-dx --codes 42 -o {tmp}/m", "--codes must be like"),
        ("train {archive} --from-annotations -o {tmp}", "is a folder"),
        ("train {archive} --from-annotations -o {tmp}/text/m", "cannot write to the output folder"),
        ("annotate {archive} -m {tmp}/no.skecg -o {tmp}/out", "No such file"),
        ("annotate {archive} -m {tmp}/text -o {tmp}/out", "text"),
        ("annotate {archive} -m {model} -o {tmp}/out --threshold many", "--threshold must be like"),
        ("annotate {archive} -m {model} -o {tmp}/out --threshold X=1", "its labels: S, V"),
        (
            "annotate {archive} -m {model} -o {tmp}/out --threshold 2",
            "--threshold must lie from 0 to 1, got '2'",
        ),
        ("annotate {archive} -m {model} -o {tmp}/out --threshold V=-1", "--threshold must lie from 0 to 1"),
        ("annotate {archive} -m {model} -o {tmp}/out --annotator a1", "--annotator must be made of letters"),
        ("annotate {archive} -m {model} -o {tmp}/out --symbols V=x", "--symbols must be WFDB's"),
        (
            "annotate {tmp}/x.npy -m {model} -o {tmp}/out",
            "--sampling-rate must be given for x.npy: .npy files do not tell it",
        ),
        ("annotate {tmp}/x.npy -m {model} -o {tmp}/out --sampling-rate 9 --leads a", "(2, 9), got a."),
        ("annotate {archive} -m {model} -o {tmp}/text", "text"),
        ("evaluate {archive}", "no record has annotations .atr and .skg"),
        ("evaluate {archive} --test atr --classes W", "--classes must be among N, S, V, F, Q, got W"),
        ("report {archive}/r0", "give --model"),
        ("report {archive}/r9 -m {model}", "r9"),
        ("report {archive}/r0 -a qrs -o {tmp}/r.html", "there is no annotation file"),
        ("report {archive}/r0 -a atr --leads aVR -o {tmp}/r.html", "has no lead 'aVR'"),
        ("report {archive}/r0 -a atr -o {tmp}/text/r.html", "cannot write to the output folder"),
        ("report {tmp}/x.npy -m {model} --sampling-rate 180", "in the model's order, --leads NAME,NAME."),
        ("info {tmp}/nowhere", "there is no model file and no record"),
        ("info {tmp}/text", "text"),
    ],
)
def test_mistakes_get_one_line_and_exit_code_2(archive, model, tmp_path, line, message):
    (tmp_path / "text").write_text("no model,no table\n1,2\n")
    np.save(tmp_path / "x.npy", np.zeros((2, 9)))
    arguments = line.format(archive=archive, model=model[0], tmp=tmp_path).split()
    result = invoke(*arguments, code=2)
    *notes, last = result.stderr.splitlines()
    assert last.startswith("error: ")
    assert message in last
    assert all(note.startswith("note: ") for note in notes)
    assert result.stdout == ""
    assert sorted(file.name for file in tmp_path.iterdir()) == ["text", "x.npy"]


def test_a_folder_is_made_when_there_is_something_for_it(archive, model, tmp_path):
    (tmp_path / "text").write_text("no model")
    page = tmp_path / "new" / "pages" / "r.html"
    invoke("report", archive / "r0", "-m", tmp_path / "text", "-o", page, code=2)
    invoke("train", archive, "--labels", tmp_path / "text", "-o", page, code=2)
    invoke("grade", "build", tmp_path / "text", archive, "-o", page, code=2)
    assert not (tmp_path / "new").exists()
    invoke("report", archive / "r0", "-a", "atr", "-o", page)
    assert page.is_file()


def test_no_processes_are_refused(archive, model, tmp_path):
    run = ["annotate", archive, "--model", model[0], "--output", tmp_path / "out", "--n-jobs", 0]
    assert "expected, got 0" in invoke(*run, code=2).stderr


def test_what_is_infinite_is_missing_without_a_word(archive, model, tmp_path):
    signal = read_record(archive / "r0").read()
    signal[0, 100], signal[:, 3000:4000] = np.inf, -np.inf
    np.save(tmp_path / "x.npy", signal)
    run = [tmp_path / "x.npy", "--sampling-rate", RATE, "--leads", ",".join(LEADS), "--model", model[0]]
    result = invoke("annotate", *run, "--output", tmp_path / "out", "--json")
    assert result.stderr == ""
    assert json.loads(result.stdout)[0]["unreadable"] > 0.05
    assert invoke("report", *run, "--output", tmp_path / "r.html").stderr == ""


@pytest.mark.parametrize(
    ("problem", "code", "line"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (
            OSError(errno.ENOSPC, "No space left on device", "r.html"),
            2,
            "error: No space left on device: r.html",
        ),
        (PermissionError(errno.EACCES, "Permission denied", "r.html"), 2, "error: Permission denied: r.html"),
    ],
)
def test_trouble_in_the_middle_is_told_in_one_line(archive, tmp_path, monkeypatch, problem, code, line):
    def fail(*args, **kwargs):
        raise problem

    monkeypatch.setattr(records, "write_report", fail)
    result = invoke("report", archive / "r0", "-a", "atr", "-o", tmp_path / "r.html", code=code)
    assert result.stderr == f"{line}\n"


def test_interrupted_training_ends_the_command(archive, tmp_path, monkeypatch):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("skorch.net.NeuralNet.run_single_epoch", interrupt)
    with pytest.MonkeyPatch.context() as context:
        context.setattr("warnings.filters", [])
        options = ["--from-annotations", "--folds", 0, "-o", tmp_path / "m.skecg"]
        result = invoke("train", archive, *options, code=130)
    assert result.stderr.endswith("interrupted\n")
    assert list(tmp_path.iterdir()) == []


def test_help_teaches_without_torch():
    names = ("demo", "train", "annotate", "evaluate", "report", "info", "grade")
    code = "import sys, skecgattn.cli; print('torch' in sys.modules, 'pandas' in sys.modules)"
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, check=True
    )
    assert shown.stdout == "False False\n"
    listed = invoke("--help").stdout
    assert all(name in listed for name in names)
    for name in names[1:-1]:
        assert f"skecgattn {name}" in invoke(name, "--help").stdout.split("Examples")[1]
