from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest
from matplotlib.image import imread
from rich.console import Console

from skecgattn import _demo
from skecgattn._demo import run_demo, show_results
from skecgattn.datasets import DataNotFoundError

SMALL = {"max_epochs": 1, "n_patients": (3, 2), "verbose": False}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "made" / "on the way"
    return folder, run_demo(folder, data="synthetic", **SMALL)


def test_results_file_holds_what_is_returned(run):
    folder, results = run
    assert json.loads((folder / "demo.json").read_text()) == results
    assert sorted(path.name for path in folder.iterdir()) == ["demo.json", "demo.png"]


def test_training_and_test_patients_are_different_ones(run):
    _, results = run
    training, test = results["trained_on"], results["tested_on"]
    assert (len(training["patients"]), len(test["patients"])) == (3, 2)
    assert not set(training["patients"]) & set(test["patients"])
    assert (training["windows"], test["windows"]) == (60, 40)
    assert 0 < test["windows_with_V"] < 40


def test_scores_have_chance_levels(run):
    scores = run[1]["scores"]
    assert set(scores) == {
        "window_auc",
        "pointing_game",
        "beat_sensitivity",
        "beat_positive_predictivity",
        "beat_f1",
    }
    assert scores["window_auc"]["chance"] == 0.5
    assert 0 < scores["pointing_game"]["chance"] < 0.5
    values = [value for pair in scores.values() for value in pair.values() if value is not None]
    assert all(0 <= value <= 1 for value in values)


def test_picture_is_four_sheets_of_ecg_paper(run):
    folder, results = run
    picture = imread(folder / "demo.png")
    height, width, _ = picture.shape
    # 10 s at 25 mm/s, with the pulse and the margins, at true size
    assert width == pytest.approx((250 + 11 + 10) / 25.4 * 150, abs=2)
    assert height > width
    assert picture[..., :3].std() > 0.05
    assert len(results["windows_drawn"]) == 4


def test_windows_are_chosen_by_rank():
    y = np.array(["N", "V", "V", "N", "V", "N"])
    probability = np.array([0.1, 0.9, 0.2, 0.7, 0.6, 0.3])
    assert list(_demo._telling_windows(y, probability).values()) == [1, 4, 2, 3]


def test_same_seed_same_results(run, tmp_path):
    again = run_demo(tmp_path, data="synthetic", **SMALL)
    assert again["scores"] == run[1]["scores"]
    assert (tmp_path / "demo.png").read_bytes() == (run[0] / "demo.png").read_bytes()


def test_show_results_prints_each_number_and_nothing_undefined(run):
    results = json.loads(json.dumps(run[1]))
    results["scores"]["beat_f1"] = {"found": None, "chance": 0.1234}
    console = Console(width=120)
    with console.capture() as capture:
        show_results(results, console)
    lines = capture.get().splitlines()
    n_windows = results["tested_on"]["windows_with_V"]
    assert f" of {n_windows} windows with a ventricular beat" in lines[1]
    rows = {
        line.split("│")[2].strip(): [one.strip() for one in line.split("│")[3:5]]
        for line in lines
        if "│" in line
    }
    pointing = results["scores"]["pointing_game"]
    assert rows["pointing game"] == [f"{pointing['found']:.3f}", f"{pointing['chance']:.3f}"]
    assert rows["F1"] == ["undefined", "0.123"]
    assert f"Tested on patients {', '.join(results['tested_on']['patients'])}." in lines


def missing(*args, **kwargs):
    raise DataNotFoundError("no data") from ConnectionError()


def test_missing_data_falls_back_on_synthetic_ecg(monkeypatch, tmp_path):
    monkeypatch.setattr(_demo, "fetch_mitbih", missing)
    with pytest.warns(UserWarning, match=r"could not be downloaded \(ConnectionError\).*synthetic ECG"):
        results = run_demo(tmp_path, **SMALL)
    assert results["data"] == "Synthetic ECG"


def test_missing_data_is_an_error_where_asked_for(monkeypatch, tmp_path):
    monkeypatch.setattr(_demo, "fetch_mitbih", missing)
    with pytest.raises(DataNotFoundError, match="no data"):
        run_demo(tmp_path, data="mitbih", **SMALL)


def test_unknown_data():
    with pytest.raises(ValueError, match=r"data must be one of .*, got 'ptb'"):
        run_demo(data="ptb")


def test_output_is_checked_before_anything_else(monkeypatch, tmp_path):
    monkeypatch.setattr(_demo, "make_ecg", missing)
    (tmp_path / "file").touch()
    for output in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OSError, match=r"cannot write to the output folder .*file"):
            run_demo(output, data="synthetic", **SMALL)


@pytest.mark.requires_data
def test_real_windows_are_of_different_patients():
    training, test = _demo._real(step=300.0, verbose=False)
    assert (len(training.patients()), len(test.patients())) == (22, 11)
    assert not set(training.groups) & set(test.groups)
    assert training.X.shape == (22 * 6, 2, 3600)
    assert test.origins[:2].tolist() == ["record 100 at 0:00", "record 100 at 0:20"]
    assert test.lead_names[0].tolist() == ["MLII", "V5"]
    for patient in test.patients():
        assert set(np.diff(np.flatnonzero(test.groups == patient))) == {1}
    assert all(early < late for early, late in pairwise(test.beats[0]["sample"]))
