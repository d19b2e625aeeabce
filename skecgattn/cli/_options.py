"""Options and arguments that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

MODEL = typer.Option("--model", "-m", help="Model file.", show_default=False)

Folder = Annotated[Path, typer.Argument(help="Folder of WFDB records; subfolders count.", show_default=False)]
Threshold = Annotated[
    str,
    typer.Option(
        help="Score from which a beat is abnormal, such as 0.5 or V=0.6,S=0.5; else the learned one.",
        show_default=False,
    ),
]
SamplingRate = Annotated[
    float | None,
    typer.Option(min=1, help="Hz, of .npy files and of .csv files without times.", show_default=False),
]
Units = Annotated[
    str | None,
    typer.Option(
        help="V, mV, uV or nV, of .npy and .csv files; else what the file says, or mV.", show_default=False
    ),
]
Seed = Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Decides all that is random.")]


def _check_jobs(n_jobs: int) -> int:
    if n_jobs == 0:
        raise typer.BadParameter("a number of processes, or -1 for one a core, is expected, got 0")
    return n_jobs


Jobs = Annotated[
    int,
    typer.Option(
        "--n-jobs", "-j", help="Processes at a time; -1: one a core.", show_default=True, callback=_check_jobs
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print the results as JSON, and nothing else.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bars.")]
