"""The README's Python code runs as printed, one block after the other."""

from __future__ import annotations

import re
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
import sklearn

README = Path(__file__).parents[1] / "README.md"


@pytest.mark.requires_data
def test_code_runs_as_printed(tmp_path, monkeypatch):
    text = README.read_text(encoding="utf-8")
    blocks = list(re.finditer(r"^```python\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE))
    assert blocks
    monkeypatch.chdir(tmp_path)
    plt.switch_backend("Agg")
    namespace = {"__name__": "readme"}
    with sklearn.config_context():  # restores what the code configures
        for block in blocks:
            before = text[: block.start(1)].count("\n")  # tracebacks then have the README's line numbers
            exec(compile("\n" * before + block[1], str(README), "exec"), namespace)
    plt.close("all")
