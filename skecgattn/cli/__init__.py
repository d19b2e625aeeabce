"""The command line: ``skecgattn ...``, one file a command."""

from __future__ import annotations

import atexit
import gc
from typing import Annotated

import typer

from .. import __version__
from . import _annotate, _evaluate, _info, _report, _train
from ._demo import demo
from ._grade import grade

__all__ = ["app", "main"]

app = typer.Typer(
    name="skecgattn",
    help="Which arrhythmia, and where: abnormal beats in ECGs, learned from labels alone.",
    epilog="Exit codes: **0** done; **1** done, but not for every record; **2** not done, and one line says "
    "why; **130** interrupted. With SKECGATTN_TRACEBACK=1 in the environment errors show their traceback.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(demo)
app.command(epilog=_train.EPILOG)(_train.train)
app.command(epilog=_annotate.EPILOG)(_annotate.annotate)
app.command(epilog=_evaluate.EPILOG)(_evaluate.evaluate)
app.command(epilog=_report.EPILOG)(_report.report)
app.command(epilog=_info.EPILOG)(_info.info)
app.add_typer(grade)


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


def main() -> None:
    """Run the command line."""
    # imports make hundreds of thousands of objects and hardly any garbage: to look for it over and over, and
    # at the end once more, would take more than half a second
    gc.set_threshold(100_000, 50, 100)
    atexit.register(gc.freeze)
    app(prog_name="skecgattn")
