"""The examples: well formed, on public names alone; the quickest two run, with a shorter training."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
SCRIPTS = sorted(EXAMPLES.glob("*/plot_*.py"))
QUICK = ["maps/plot_grad_cam.py", "recordings/plot_holter_report.py"]


def name_of(script):
    return script.relative_to(EXAMPLES).as_posix()


@pytest.fixture(params=SCRIPTS, ids=name_of)
def source(request):
    return request.param.read_text(encoding="utf-8")


def test_every_folder_has_a_header_and_examples():
    assert (EXAMPLES / "GALLERY_HEADER.rst").is_file()
    folders = [path for path in EXAMPLES.iterdir() if path.is_dir() and not path.name.startswith(("_", "."))]
    assert folders
    for folder in folders:
        assert (folder / "GALLERY_HEADER.rst").is_file()
        assert list(folder.glob("plot_*.py"))


def test_starts_with_title_and_text(source):
    docstring = ast.get_docstring(ast.parse(source))
    title, rule, empty, text = docstring.split("\n", 3)
    assert rule == "=" * len(title)
    assert not empty
    assert text.strip()


def test_headings_are_underlined_in_full(source):
    for heading, rule in re.findall(r"^# (.+)\n# ((?:-|=|~){3,})$", source, flags=re.MULTILINE):
        assert len(rule) == len(heading), heading


def test_imports_nothing_private(source):
    names = []
    for node in ast.walk(compile(source, "example", "exec", ast.PyCF_ONLY_AST)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Attribute):
            names.append(node.attr)
    private = [name for name in names if re.search(r"(^|\.)_(?!_sklearn|_init__$)", name)]
    assert not private


def test_tells_its_data_and_its_seed(source):
    assert 'print(f"Data: ' in source or 'print("Data: ' in source
    assert "random_state=" in source
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    unseeded = [call for call in calls if ast.unparse(call) in ("np.random.default_rng()",)]
    assert not unseeded


@pytest.mark.requires_data
@pytest.mark.filterwarnings("ignore:The inplace keyword:DeprecationWarning:wfdb")  # when wfdb is imported
@pytest.mark.parametrize("name", QUICK)
def test_runs(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    plt.switch_backend("Agg")
    source = (EXAMPLES / name).read_text(encoding="utf-8")
    source, found = re.subn(r'(max_epochs"?(=|: ))\d+', r"\g<1>1", source)
    assert found
    namespace = {"__name__": "__main__"}
    exec(compile(source, name, "exec"), namespace)
    assert "Data: " in capsys.readouterr().out
    assert namespace["source"].startswith("MIT-BIH")
    assert plt.get_fignums()
    plt.close("all")
    assert not list(tmp_path.iterdir())  # leaves nothing behind
