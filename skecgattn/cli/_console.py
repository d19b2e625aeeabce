"""What the commands share: errors of one line, progress bars, tables and JSON."""

from __future__ import annotations

import json
import math
import os
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from ._wording import in_options

FAILED, MISTAKE, INTERRUPTED = 1, 2, 130
"""Exit codes: some records failed; nothing could be done; interrupted from the keyboard."""


@contextmanager
def plain_messages() -> Iterator[None]:
    """Print warnings, and what the user can put right, as one line each without a traceback."""

    def note(message: Warning | str, *args: Any, **kwargs: Any) -> None:
        say(f"note: {message}", fg="yellow")

    with warnings.catch_warnings():
        warnings.showwarning = note
        try:
            yield
        except BrokenPipeError:
            raise  # typer ends quietly where nobody reads any more
        except (OSError, ValueError, TypeError, ArithmeticError, ImportError) as error:
            if os.environ.get("SKECGATTN_TRACEBACK"):
                raise
            say(f"error: {reason(error)}", fg="red")
            raise typer.Exit(MISTAKE) from error
        except KeyboardInterrupt as error:
            say("interrupted", fg="red")
            raise typer.Exit(INTERRUPTED) from error


def reason(error: BaseException) -> str:
    """Return an error's message, or what the system says about a file."""
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{error.strerror}: {error.filename}"
    return in_options(str(error)) or type(error).__name__


def say(message: str, fg: str | None = None) -> None:
    """Print one line on standard error."""
    typer.secho(" ".join(message.split()), err=True, fg=fg)


def note(message: str) -> None:
    """Tell on standard error what was done with the data."""
    say(f"note: {message}", fg="yellow")


@contextmanager
def bars(quiet: bool, unit: str) -> Iterator[Progress]:
    """Give progress bars with the time left on standard error, where that is a terminal."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(f"{unit},"),
        TimeRemainingColumn(elapsed_when_finished=True),
        TextColumn("left"),
    )
    console = Console(stderr=True)
    with Progress(
        *columns, console=console, transient=True, disable=quiet or not console.is_terminal
    ) as shown:
        yield shown


def make_table(title: str, columns: Sequence[str]) -> Table:
    """Make a table whose first column is words and whose others are numbers."""
    table = Table(title=title, title_justify="left", title_style="bold")
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 else "right", overflow="fold")
    return table


def print_table(table: Table) -> None:
    """Print on standard output, as wide as is needed where that is no terminal."""
    wide = sys.stdout.isatty() or "COLUMNS" in os.environ
    console = Console(width=None if wide else 200)
    console.print(table)


def print_json(value: Any) -> None:
    """Print JSON that every reader takes: what is undefined is null."""
    typer.echo(json.dumps(plain(value), indent=2, allow_nan=False))


def plain(value: Any) -> Any:
    """Return numpy's numbers and arrays, paths and tuples as what JSON knows; NaN as None."""
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [plain(one) for one in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, (str, int, bool)) or value is None:
        return value
    return str(value)


def number(value: float | None, digits: int = 3) -> str:
    """Write a number, or a dash where it is undefined."""
    return "\N{EN DASH}" if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def writable_file(path: Path, kind: str = "file", is_one: Callable[[Path], bool] | None = None) -> Path:
    """Check before long work that a file can be written, in a folder that is there or can be made.

    Where `is_one` tells files of this kind, it may replace such a one, or an empty one, and no other.
    """
    path = path.expanduser()
    if is_one is not None and path.is_file() and path.stat().st_size and not is_one(path):
        raise FileExistsError(f"{path} is no {kind} and would be replaced: choose another name")
    if path.is_dir():
        raise ValueError(f"the output {path} is a folder; give the name of a file")
    there = next(folder for folder in path.absolute().parents if folder.exists())
    if not there.is_dir():
        raise NotADirectoryError(f"cannot write to the output folder {path.parent}: {there} is a file")
    if not os.access(there, os.W_OK):
        raise PermissionError(f"cannot write to the output folder {path.parent}: Permission denied")
    if not shutil.disk_usage(there).free:
        raise OSError(f"cannot write to the output folder {path.parent}: No space left on device")
    return path


def is_page(path: Path) -> bool:
    """Tell whether a file is HTML, as reports and studies are."""
    with path.open("rb") as file:
        return file.read(15).lower() == b"<!doctype html>"
