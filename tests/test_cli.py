from __future__ import annotations

import atexit
import gc
import json
from functools import partial

import pytest
from typer.testing import CliRunner

import skecgattn
from skecgattn import _demo
from skecgattn.cli import app, main
from skecgattn.datasets import DataNotFoundError


def invoke(*arguments):
    return CliRunner().invoke(app, [str(one) for one in arguments], env={"COLUMNS": "120", "NO_COLOR": "1"})


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(_demo, "run_demo", partial(_demo.run_demo, max_epochs=1, n_patients=(3, 2)))


def missing(*args, **kwargs):
    raise DataNotFoundError("Record 101 is nowhere.") from ConnectionError()


def test_version():
    result = invoke("--version")
    assert (result.exit_code, result.output) == (0, f"skecgattn {skecgattn.__version__}\n")


def test_main_is_the_entry_point(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["skecgattn", "--version"])
    before = gc.get_threshold()
    try:
        with pytest.raises(SystemExit, match="0"):
            main()
    finally:  # these tests are not its process
        gc.set_threshold(*before)
        atexit.unregister(gc.freeze)
    assert capsys.readouterr().out.startswith("skecgattn ")


def test_help_names_every_option():
    assert "demo" in invoke("--help").output
    result = invoke("demo", "--help")
    assert result.exit_code == 0
    for word in ("--data", "auto|mitbih|synthetic", "--output", "--seed", "--quiet", "SKECGATTN_DATA"):
        assert word in result.output


def test_demo(small, tmp_path):
    result = invoke("demo", "--data", "synthetic", "--output", tmp_path, "--seed", 3, "--quiet")
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    assert "windows with a ventricular beat" in result.stdout
    assert "pointing game" in result.stdout
    assert str(tmp_path / "demo.png") in result.stdout
    assert json.loads((tmp_path / "demo.json").read_text())["settings"]["seed"] == 3


def test_demo_without_data_says_so_in_one_line(small, monkeypatch, tmp_path):
    monkeypatch.setattr(_demo, "fetch_mitbih", missing)
    # here warnings are errors; outside they are printed
    with pytest.MonkeyPatch.context() as context:
        context.setattr("warnings.filters", [])
        result = invoke("demo", "--output", tmp_path, "--quiet")
    assert result.exit_code == 0, result.output
    assert result.stderr.startswith("note: MIT-BIH is not on this machine and could not be downloaded")
    assert result.stderr.count("\n") == 1
    assert "Synthetic ECG: 2 patients" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "mitbih"], "error: Record 101 is nowhere.\n"),
        (["--output", "{folder}/file/below"], "error: cannot write to the output folder"),
        (["--data", "ptb"], "'ptb' is not one of"),
        (["--seed", "-1"], "Invalid value for '--seed'"),
        (["--seeds", "1"], "No such option: --seeds"),
    ],
)
def test_mistakes_get_one_line_and_exit_code_2(monkeypatch, tmp_path, arguments, message):
    monkeypatch.setattr(_demo, "fetch_mitbih", missing)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    result = invoke("demo", *(one.format(folder=tmp_path) for one in arguments))
    assert result.exit_code == 2
    assert message in result.stderr, result.stderr
    assert "Traceback" not in result.output
    if result.stderr.startswith("error"):
        assert result.stderr.count("\n") == 1


def test_interrupt(monkeypatch, tmp_path):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(_demo, "make_ecg", interrupt)
    result = invoke("demo", "--data", "synthetic", "--output", tmp_path)
    assert (result.exit_code, result.stderr) == (130, "interrupted\n")
