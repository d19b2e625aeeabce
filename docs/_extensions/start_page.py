"""The start page's ten lines: run when the pages are built, so that the picture beside them is theirs."""

from __future__ import annotations

import contextlib
import hashlib
import io
from pathlib import Path

import matplotlib.pyplot as plt
from sphinx.application import Sphinx
from sphinx.util import logging

from skecgattn.datasets import DataNotFoundError

CAPTIONS = {
    "mitbih": "This code drew this picture when the page was built: real ECG of the MIT-BIH Arrhythmia "
    "Database, of a patient who was not trained on, the first window with a ventricular beat.",
    "synthetic": "This code drew this picture when the page was built. The database was not there, so the "
    "ECG is synthetic.",
}
EXPLANATION = (
    "Letters are the annotated beats, which training never saw; triangles are the beats that `locate` found; "
    "the blue band is the attention map."
)
ALTERNATIVE = (
    "Two leads of an ECG on paper. Over some of the beats lies a band, the attention map; letters name the "
    "annotated beats, triangles mark the located ones."
)


def draw(app: Sphinx) -> None:
    """Run the lines, and write ``generated/start.md`` and ``generated/start.png``, unless that was done."""
    folder = Path(app.srcdir)
    target = folder / "generated"
    page, picture = target / "start.md", target / "start.png"
    scripts = {name: (folder / "start" / f"{name}.py").read_text(encoding="utf-8") for name in CAPTIONS}
    mark = f"<!-- {hashlib.sha256(str(scripts).encode()).hexdigest()} -->"
    if page.exists() and picture.exists() and mark in page.read_text(encoding="utf-8"):
        return
    logging.getLogger(__name__).info("drawing the start page's picture...")
    plt.switch_backend("Agg")
    name = "mitbih"
    try:
        _run(scripts[name])
    except DataNotFoundError:
        name = "synthetic"
        _run(scripts[name])
    target.mkdir(exist_ok=True)
    plt.gcf().savefig(picture, dpi=160, bbox_inches="tight")
    plt.close("all")
    code = scripts[name].split('"""\n\n')[1]  # without its docstring
    page.write_text(
        f"{mark}\n```python\n{code}```\n\n```{{figure}} /generated/start.png\n:alt: {ALTERNATIVE}\n\n"
        f"{CAPTIONS[name]} {EXPLANATION}\n```\n",
        encoding="utf-8",
    )


def _run(script: str) -> None:
    with contextlib.redirect_stdout(io.StringIO()):
        exec(compile(script, "start.py", "exec"), {"__name__": "start"})


def setup(app: Sphinx) -> dict[str, bool]:
    """Draw before the pages are read."""
    app.connect("builder-inited", draw)
    return {"parallel_read_safe": True}
