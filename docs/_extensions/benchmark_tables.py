"""The benchmarks' tables with the commands that made them: `benchmarks/README.md` lists both."""

from __future__ import annotations

import re
from pathlib import Path

from sphinx.application import Sphinx

LEVEL = 4
"""Depth of the tables' outermost headings."""


def gather(app: Sphinx) -> None:
    """Write ``generated/benchmarks.md``: each table that is there, below its command."""
    folder = Path(app.srcdir).parent / "benchmarks"
    parts = []
    for line in (folder / "README.md").read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        names = re.findall(r"`(\w+\.md)`", cells[-1])
        tables = [folder / name for name in names if (folder / name).exists()]
        if len(cells) == 3 and tables:
            what, how, _ = cells
            command, note = re.fullmatch(r"`(.*?)`\s*(.*)", how).groups()
            parts.append(f"### {what[0].upper()}{what[1:]}\n\n```sh\n{command}\n```\n\n{note}\n")
            parts += [_deeper(table.read_text(encoding="utf-8")) for table in tables]
    target = Path(app.srcdir) / "generated"
    target.mkdir(exist_ok=True)
    text = "\n".join(parts)
    page = target / "benchmarks.md"
    if not page.exists() or page.read_text(encoding="utf-8") != text:
        page.write_text(text, encoding="utf-8")


def _deeper(text: str) -> str:
    headings = re.findall(r"^(#+) ", text, flags=re.MULTILINE)
    shift = LEVEL - min(map(len, headings), default=LEVEL)
    return re.sub(r"^(#+) ", lambda found: "#" * (len(found[1]) + shift) + " ", text, flags=re.MULTILINE)


def setup(app: Sphinx) -> dict[str, bool]:
    """Gather before the pages are read."""
    app.connect("builder-inited", gather)
    return {"parallel_read_safe": True}
