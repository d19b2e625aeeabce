"""The command line: ``skecgattn ...``."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from . import __version__

app = typer.Typer(
    name="skecgattn",
    help="Which arrhythmia, and where: abnormal beats in ECGs, learned from labels alone.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


class Data(StrEnum):
    """Where the demo's ECGs come from."""

    auto = "auto"
    mitbih = "mitbih"
    synthetic = "synthetic"


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"skecgattn {__version__}")
        raise typer.Exit


@app.callback()
def _skecgattn(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@contextmanager
def _plain_messages() -> Iterator[None]:
    """Print warnings, and what the user can put right, as one line each without a traceback."""

    def note(message: Warning | str, *args: Any, **kwargs: Any) -> None:
        typer.secho(f"note: {message}", err=True, fg="yellow")

    with warnings.catch_warnings():
        warnings.showwarning = note
        try:
            yield
        except OSError as error:
            typer.secho(f"error: {error}", err=True, fg="red")
            raise typer.Exit(2) from error
        except KeyboardInterrupt as error:
            typer.secho("interrupted", err=True, fg="red")
            raise typer.Exit(130) from error


@app.command()
def demo(
    data: Annotated[
        Data,
        typer.Option(
            help="ECGs to use. 'auto': MIT-BIH, from SKECGATTN_DATA, the cache or PhysioNet, and synthetic "
            "ECG where that fails. 'mitbih': nothing else. 'synthetic': no download."
        ),
    ] = Data.auto,
    output: Annotated[Path, typer.Option(help="Folder for demo.png and demo.json.")] = Path("skecgattn-demo"),
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Decides all that is random.")] = 0,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bars.")] = False,
) -> None:
    """Learn from labels of whole windows, find the abnormal beats of patients never seen.

    Trains on 10 s windows of MIT-BIH that are only labelled with whether a ventricular beat is in them, then
    tells which windows of other patients have one, and where. Prints the scores beside their chance levels
    and draws four windows on ECG paper. Takes one to three minutes on two CPU cores.
    """
    from ._demo import run_demo, show_results  # torch and matplotlib only where they are needed

    with _plain_messages():
        results = run_demo(output, data=data.value, seed=seed, verbose=not quiet)
    show_results(results, Console())


def main() -> None:
    """Run the command line."""
    app()
