"""``skecgattn demo``: the library in one minute."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ._console import plain_messages
from ._options import Quiet, Seed


class Data(StrEnum):
    """Where the demo's ECGs come from."""

    auto = "auto"
    mitbih = "mitbih"
    synthetic = "synthetic"


def demo(
    data: Annotated[
        Data,
        typer.Option(
            help="ECGs to use. 'auto': MIT-BIH, from SKECGATTN_DATA, the cache or PhysioNet, and synthetic "
            "ECG where that fails. 'mitbih': nothing else. 'synthetic': no download."
        ),
    ] = Data.auto,
    output: Annotated[Path, typer.Option(help="Folder for demo.png and demo.json.")] = Path("skecgattn-demo"),
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Learn from labels of whole windows, find the abnormal beats of patients never seen.

    Trains on 10 s windows of MIT-BIH that are only labelled with whether a ventricular beat is in them, then
    tells which windows of other patients have one, and where. Prints the scores beside their chance levels
    and draws four windows on ECG paper. Takes one to three minutes on two CPU cores.
    """
    from .._demo import run_demo, show_results  # torch and matplotlib only where they are needed

    with plain_messages():
        results = run_demo(output, data=data.value, seed=seed, verbose=not quiet)
    show_results(results, Console())
