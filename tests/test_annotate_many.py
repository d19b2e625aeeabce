from __future__ import annotations

import inspect
import json
import os
import shutil
import signal
import subprocess
import sys

import joblib
import numpy as np
import pandas as pd
import pytest

from skecgattn import AttentionECGClassifier, save
from skecgattn.datasets import make_ecg
from skecgattn.datasets._wfdb import quiet_wfdb
from skecgattn.nn import ConvolutionalClassifier
from skecgattn.records import Record, _many, annotate, annotate_many, read_record

RATE = 128
NAMES = ("one", "two", "three")
SMALL = {"sampling_rate": RATE, "resample_to": None, "width": 4, "max_epochs": 1, "random_state": 0}
COLUMNS = [
    "record",
    "status",
    "error",
    "seconds",
    "duration",
    "beats",
    "abnormal",
    "V",
    "unreadable",
    "output",
]


def make_task(n_samples, seed):
    X, y, *_ = make_ecg(
        n_samples, n_leads=2, sampling_rate=RATE, duration=6, classes=["V"], pvc=0.4, random_state=seed
    )
    return X.astype(np.float32), np.where(y[:, 0], "V", "N")


def small_classifier(n_channels, n_outputs):
    return ConvolutionalClassifier(n_channels, n_outputs, width=4)


@pytest.fixture(scope="module")
def model():
    params = SMALL | {"max_epochs": 10, "lr": 1e-2, "batch_size": 16}
    return AttentionECGClassifier(lead_names=("I", "II"), **params).fit(*make_task(64, 0))


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    """Three WFDB records of 36 s."""
    folder = tmp_path_factory.mktemp("records")
    for seed, name in enumerate(NAMES):
        X, _ = make_task(6, seed + 1)
        with quiet_wfdb() as wfdb:
            wfdb.wrsamp(
                name,
                fs=RATE,
                units=["mV", "mV"],
                sig_name=["I", "II"],
                p_signal=np.concatenate(X, axis=1).T.astype(float),
                fmt=["16", "16"],
                write_dir=str(folder),
            )
    return folder


@pytest.fixture
def paths(originals, tmp_path):
    shutil.copytree(originals, tmp_path / "records")
    return [tmp_path / "records" / name for name in NAMES]


@pytest.fixture
def output(tmp_path):
    return tmp_path / "output"


def contents(folder):
    return {file.name: file.read_bytes() for file in folder.glob("*.skg")}


def statuses(table):
    return table["status"].tolist()


def test_every_record_gets_what_annotate_finds(model, paths, output):
    table = annotate_many(model, paths, output, threshold=0.01)
    assert list(table.columns) == COLUMNS
    assert statuses(table) == ["done"] * 3
    assert table["record"].tolist() == list(NAMES)
    assert table["error"].isna().all()
    assert sorted(file.name for file in output.iterdir()) == sorted(
        f"{name}.skg{end}" for name in NAMES for end in ("", ".json")
    )
    for path, row in zip(paths, table.itertuples()):
        expected = annotate(model, path, threshold=0.01)
        with quiet_wfdb() as wfdb:
            read = wfdb.rdann(str(output / path.name), "skg")
        beats = read.sample[np.isin(read.symbol, ["N", "V"])]
        np.testing.assert_array_equal(beats, expected.beats["sample"])
        assert (row.beats, row.abnormal, row.V) == (len(beats), *[len(expected.abnormal)] * 2)
        assert row.duration == 36
        assert row.output == str(output / f"{path.name}.skg")
        summary = json.loads((output / f"{path.name}.skg.json").read_text())["summary"]
        assert summary == expected.summary().to_dict()
    assert table["abnormal"].sum() > 0


def test_a_bad_record_is_reported_and_the_others_go_on(model, paths, output):
    data = paths[1].with_suffix(".dat")
    data.write_bytes(data.read_bytes()[:1000])
    records = [paths[0], paths[1], paths[2].with_suffix(".hea"), paths[0].with_name("missing")]
    X, _ = make_task(2, 9)
    records += [Record.from_array(X[0], RATE, ["I", "aVF"], name="leads")]
    records += [Record.from_array(X[0], RATE, ["II", "I"], name="memory")]
    table = annotate_many(model, records, output)
    assert statuses(table) == ["done", "failed", "done", "failed", "failed", "done"]
    errors = table["error"].tolist()
    assert "two" in errors[1]
    assert "missing" in errors[3]
    assert "II" in errors[4]
    assert not any("\n" in error for error in errors if error)
    assert errors[0] is None
    assert table["beats"].isna().tolist() == [False, True, False, True, True, False]
    assert {file.name for file in output.glob("*.skg")} == {"one.skg", "three.skg", "memory.skg"}
    # repaired, they alone are done
    shutil.copy(paths[0].with_suffix(".dat"), data)
    assert statuses(annotate_many(model, records, output)) == [
        "skipped", "done", "skipped", "failed", "failed", "skipped",
    ]  # fmt: skip


def test_a_second_run_does_what_is_left(model, paths, output, tmp_path):
    first = annotate_many(model, paths[:2], output)
    before = contents(output)
    table = annotate_many(model, paths, output)
    assert statuses(table) == ["skipped", "skipped", "done"]
    columns = ["record", "duration", "beats", "abnormal", "V", "unreadable"]
    pd.testing.assert_frame_equal(table[columns][:2], first[columns])
    assert before.items() <= contents(output).items()
    # the same model from a file, the size of the pieces and a lead's case make no difference; others do
    save(model, tmp_path / "model.skecg")
    assert statuses(annotate_many(tmp_path / "model.skecg", paths, output, chunk=20)) == ["skipped"] * 3
    assert statuses(annotate_many(model, paths[:1], output, threshold={"V": 0.3})) == ["done"]
    assert statuses(annotate_many(model, paths[:1], output, threshold={"V": np.float64(0.3)})) == ["skipped"]
    assert statuses(annotate_many(model, paths[:1], output, leads=["II", "I"], overwrite=True)) == ["done"]
    other = AttentionECGClassifier(lead_names=("I", "II"), **SMALL | {"random_state": 1}).fit(
        *make_task(24, 0)
    )
    assert statuses(annotate_many(other, paths[:1], output)) == ["done"]
    # a recording that has changed is annotated again
    os.utime(paths[1].with_suffix(".dat"), ns=(0, 0))
    assert statuses(annotate_many(model, paths[1:], output)) == ["done", "skipped"]
    # as is everything on demand, to the same result
    before = contents(output)
    assert statuses(annotate_many(model, paths[1:], output, overwrite=True)) == ["done"] * 2
    assert contents(output) == before


def test_a_recording_of_the_same_name_is_another_one(model, paths, output):
    folder = paths[0].with_name("other")
    folder.mkdir()
    for suffix in (".hea", ".dat"):
        os.utime(paths[0].with_suffix(suffix), ns=(0, 0))
    header, signal = (paths[0].with_suffix(suffix).read_bytes() for suffix in (".hea", ".dat"))
    (folder / "one.hea").write_bytes(header)
    (folder / "one.dat").write_bytes(signal[::-1])
    for suffix in (".hea", ".dat"):
        os.utime((folder / "one").with_suffix(suffix), ns=(0, 0))
    assert statuses(annotate_many(model, [paths[0]], output)) == ["done"]
    assert statuses(annotate_many(model, [folder / "one"], output)) == ["done"]
    assert statuses(annotate_many(model, [folder / "one"], output)) == ["skipped"]


def test_a_segment_that_has_changed_is_annotated_again(model, paths, output):
    with quiet_wfdb() as wfdb:
        segments = [wfdb.rdheader(str(path)) for path in paths[:2]]
    rows = [f"{path.name} {segment.sig_len}" for path, segment in zip(paths, segments)]
    whole = paths[0].with_name("whole")
    first = f"whole/2 2 {RATE} {sum(segment.sig_len for segment in segments)}"
    whole.with_suffix(".hea").write_text("\n".join([first, *rows]) + "\n")
    assert statuses(annotate_many(model, [whole], output)) == ["done"]
    assert statuses(annotate_many(model, [whole], output)) == ["skipped"]
    os.utime(paths[1].with_suffix(".dat"), ns=(0, 0))
    assert statuses(annotate_many(model, [whole], output)) == ["done"]
    whole.with_suffix(".hea").write_text(f"{first}\nnowhere/else 100\n{rows[1]}\n")
    assert statuses(annotate_many(model, [whole], output)) == ["failed"]


def test_files_of_others_are_left_alone(model, paths, output):
    output.mkdir()
    (output / "one.atr").write_bytes(b"of a cardiologist")
    table = annotate_many(model, paths, output, extension="atr")
    assert statuses(table) == ["failed", "done", "done"]
    assert "was not written by annotate_many: overwrite=True" in table["error"][0]
    assert (output / "one.atr").read_bytes() == b"of a cardiologist"
    reviewed = (output / "two.atr").read_bytes()[:-4] + b"\0" * 4
    (output / "two.atr").write_bytes(reviewed)
    table = annotate_many(model, paths, output, extension="atr", threshold=0.5)
    assert statuses(table) == ["failed", "failed", "done"]
    assert "was changed after annotate_many wrote it" in table["error"][1]
    assert (output / "two.atr").read_bytes() == reviewed
    table = annotate_many(model, paths, output, extension="atr", threshold=0.5, overwrite=True)
    assert statuses(table) == ["done"] * 3


KILLED = """
import os, signal, sys
from pathlib import Path
from skecgattn.records import annotate_many
allowed, threshold, model, output, *paths = sys.argv[1:]
allowed, replace = int(allowed), os.replace
def replace_or_die(source, target):
    global allowed
    if Path(target).parent == Path(output):
        if allowed == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        allowed -= 1
    replace(source, target)
os.replace = replace_or_die
annotate_many(model, paths, output, threshold=float(threshold))
"""


def test_killed_in_the_middle(model, paths, output, tmp_path):
    save(model, tmp_path / "model.skecg")

    def run_killed(allowed, threshold):
        """Kill a process that has moved `allowed` files to their places, and is about to move another."""
        arguments = [allowed, threshold, tmp_path / "model.skecg", output, *paths]
        command = [sys.executable, "-c", KILLED, *map(str, arguments)]
        process = subprocess.run(command, capture_output=True, timeout=120)
        assert process.returncode == -signal.SIGKILL, process.stderr.decode()

    annotate_many(model, paths, tmp_path / "whole", threshold=0.5)
    whole = contents(tmp_path / "whole")
    run_killed(3, 0.5)  # the second recording's sidecar is there, its annotation file is not
    assert contents(output) == {"one.skg": whole["one.skg"]}
    assert statuses(annotate_many(model, paths, output, threshold=0.5)) == ["skipped", "done", "done"]
    assert contents(output) == whole
    run_killed(1, 0.0)  # as above, where there is an earlier annotation file
    assert contents(output) == whole
    assert statuses(annotate_many(model, paths, output, threshold=0.0)) == ["done"] * 3
    assert not [file for file in output.iterdir() if file.name.startswith(".")]


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_backends(model, paths, output, tmp_path, backend, capsys):
    expected = annotate_many(model, paths, tmp_path / "alone")
    table = annotate_many(model, paths, output, n_jobs=2, backend=backend, verbose=1)
    assert statuses(table) == ["done"] * 3
    assert contents(output) == contents(tmp_path / "alone")
    columns = ["record", "beats", "abnormal"]
    pd.testing.assert_frame_equal(table[columns], expected[columns])
    assert "3/3" in capsys.readouterr().err


def test_dask(model, paths, output, tmp_path):
    distributed = pytest.importorskip("distributed", reason="needs distributed: pip install distributed")
    annotate_many(model, paths, tmp_path / "alone")
    missing = paths[0].with_name("missing")
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=2, processes=False, dashboard_address=":0"
        ) as cluster,
        distributed.Client(cluster),
    ):
        table = annotate_many(model, [*paths[:2], missing], output, n_jobs=-1, backend="dask")
        assert statuses(table) == ["done", "done", "failed"]
        with joblib.parallel_config(backend="dask"):
            assert statuses(annotate_many(model, paths, output)) == ["skipped", "skipped", "done"]
    assert contents(output) == contents(tmp_path / "alone")


def test_a_model_that_no_file_holds(paths, output):
    model = AttentionECGClassifier(classifier=small_classifier, **SMALL).fit(*make_task(24, 0))
    model.set_params(n_threads=2)
    assert statuses(annotate_many(model, paths, output)) == ["done"] * 3
    assert model.n_threads == 2
    assert statuses(annotate_many(model, paths, output)) == ["skipped"] * 3


def test_its_defaults_are_those_of_annotate():
    one, many = (inspect.signature(function).parameters for function in (annotate, annotate_many))
    for name in ("threshold", "leads", "window", "overlap", "chunk"):
        assert many[name].default == one[name].default


def test_arguments_are_checked_first(model, paths, output):
    with pytest.raises(ValueError, match="several recordings of the name 'one'"):
        annotate_many(model, [paths[0], paths[0].with_suffix(".hea")], output)
    with pytest.raises(TypeError, match="records must hold paths or Records, got int"):
        annotate_many(model, [1], output)
    with pytest.raises(ValueError, match=r"cannot name a file"):
        annotate_many(model, [Record.from_array(np.zeros((1, 9)), RATE, name="../a")], output)
    with pytest.raises(ValueError, match="threshold"):
        annotate_many(model, paths, output, threshold={"S": 0.5})
    with pytest.raises(ValueError, match="symbols"):
        annotate_many(model, paths, output, symbols={"S": "A"})
    with pytest.raises(ValueError, match="extension must be made of letters"):
        annotate_many(model, paths, output, extension="a1")
    with pytest.raises(TypeError, match="must be an AttentionECGClassifier"):
        annotate_many(object(), paths, output)
    assert not output.exists()
    assert annotate_many(model, [], output).empty


def test_a_full_disk(model, paths, output):
    resource = pytest.importorskip("resource", reason="POSIX only")
    annotate_many(model, paths, output)
    before = contents(output)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, hard))
    try:
        table = annotate_many(model, paths, output, threshold=0.6)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert statuses(table) == ["failed"] * 3
    assert contents(output) == before
    assert statuses(annotate_many(model, paths, output)) == ["skipped"] * 3


def test_a_record_object_is_known_by_its_leads(model, paths, output):
    record = read_record(paths[0])
    assert statuses(annotate_many(model, [record], output)) == ["done"]
    assert statuses(annotate_many(model, [read_record(paths[0])], output)) == ["skipped"]
    swapped = record.select_leads(["II", "I"])
    assert statuses(annotate_many(model, [swapped], output)) == ["done"]


def test_a_single_recording_is_shared_among_processes(model, paths, output, monkeypatch):
    asked = []

    def spy(*args, **options):
        asked.append(options["n_jobs"])
        return annotate(*args, **options)

    monkeypatch.setattr(_many, "annotate", spy)
    assert statuses(annotate_many(model, paths[:2], output)) == ["done"] * 2
    assert asked == [1, 1]
    # one is left
    assert statuses(annotate_many(model, paths, output, n_jobs=2)) == ["skipped"] * 2 + ["done"]
    assert asked == [1, 1, 2]
