"""README and user guide: code runs as printed, block after block; the reference names all that is public."""

from __future__ import annotations

import contextlib
import doctest
import importlib
import io
import re
import shlex
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
import sklearn
import typer

from skecgattn.cli import app

from .test_docstrings import MODULES

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs" / "guide").glob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```$(?:\n\n```text\n(.*?)^```$)?", flags=re.DOTALL | re.MULTILINE)
SHELL = re.compile(r"^```sh\n(.*?)^```$", flags=re.DOTALL | re.MULTILINE)


def with_code():
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        if BLOCK.search(text):
            marks = [pytest.mark.requires_data] if "import fetch_" in text else []
            yield pytest.param(page, marks=marks, id=page.stem)


@pytest.mark.filterwarnings("ignore:The inplace keyword:DeprecationWarning:wfdb")  # when wfdb is imported
@pytest.mark.parametrize("page", list(with_code()))
def test_code_runs_as_printed(page, tmp_path, monkeypatch):
    text = page.read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    plt.switch_backend("Agg")
    namespace = {"__name__": "__main__"}
    checker, flags = doctest.OutputChecker(), doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    with sklearn.config_context():  # restores what the code configures
        for block in BLOCK.finditer(text):
            before = text[: block.start(1)].count("\n")  # tracebacks then have the page's line numbers
            with contextlib.redirect_stdout(io.StringIO()) as printed:
                exec(compile("\n" * before + block[1], str(page), "exec"), namespace)
            if block[2] is not None:
                assert checker.check_output(block[2], printed.getvalue(), flags), printed.getvalue()
    plt.close("all")


@pytest.mark.parametrize("module", MODULES)
def test_reference_names_all_that_is_public(module):
    page = ROOT / "docs" / "api" / f"{module.rpartition('.')[2]}.rst"
    listed = re.findall(r"^(?:   |\.\. data:: )(\w+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    public = [name for name in importlib.import_module(module).__all__ if not name.startswith("__")]
    assert sorted(listed) == sorted(public)


def commands():
    """Yield every `skecgattn ...` in the pages' shell code."""
    for page in PAGES:
        for block in SHELL.findall(page.read_text(encoding="utf-8")):
            for line in re.findall(r"^skecgattn .*", block, flags=re.MULTILINE):
                yield shlex.split(line, comments=True)[1:]


@pytest.mark.parametrize("words", list(commands()), ids=" ".join)
def test_commands_and_their_options_exist(words):
    command = typer.main.get_command(app)
    while hasattr(command, "commands"):  # a group
        command, words = command.commands[words[0]], words[1:]
    options = {name: one for one in command.params for name in one.opts if name.startswith("-")}
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    given, positional = {word for word in words if word.startswith("-")}, []
    for before, word in zip(["", *words], words):
        if not word.startswith("-") and (before not in options or options[before].is_flag):
            positional.append(word)
    assert given <= set(options)
    assert all(given & set(one.opts) for one in options.values() if one.required)
    assert len(positional) >= len(arguments)
    assert len(positional) == len(arguments) or arguments[-1].nargs == -1
