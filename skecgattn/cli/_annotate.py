"""``skecgattn annotate``: from recordings and a model to annotation files."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Hashable, Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from .._words import clock, counted, few
from ._console import FAILED, bars, make_table, note, plain_messages, print_json, print_table, reason, say
from ._inputs import by_label, list_records, open_record, pairs, split, thresholds
from ._options import MODEL, Jobs, Json, Quiet, SamplingRate, Threshold, Units
from ._wording import in_options

EPILOG = """**Examples**

`skecgattn annotate holter/*.hea --model model.skecg --output found --n-jobs 2` : writes for each
record `found/NAME.skg`, which WFDB's tools open. A second run skips what is done.

`skecgattn annotate archive --model model.skecg --output found --threshold V=0.6,S=0.5 --csv` : all WFDB
and EDF records of a folder, with thresholds of one's own, and a table of heartbeats for each.

`skecgattn annotate ecg.npy --sampling-rate 250 --leads MLII,V1 --model model.skecg --output found`

Exit code 1: some records could not be annotated; the table and a line each say which, and why.
"""

BARE = (".csv", ".npy")

HEADING = "sample,time,start,stop,label,score,abnormal"
"""First line of a table of heartbeats."""


def annotate(
    records: Annotated[
        list[Path],
        typer.Argument(help="WFDB records, .edf, .csv or .npy files, or folders.", show_default=False),
    ],
    model: Annotated[Path, MODEL],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for the annotation files.", show_default=False)
    ],
    annotator: Annotated[str, typer.Option(help="Extension of the annotation files: letters.")] = "skg",
    threshold: Threshold = "",
    leads: Annotated[
        str,
        typer.Option(
            help="Names of the records' leads in the model's order, or of the rows of .npy files; else "
            "matched by name.",
            show_default=False,
        ),
    ] = "",
    symbols: Annotated[
        str,
        typer.Option(help="WFDB symbols of the model's classes, such as RVOT=V.", show_default=False),
    ] = "",
    sampling_rate: SamplingRate = None,
    units: Units = None,
    csv: Annotated[bool, typer.Option("--csv", help="Also write NAME.csv, one row a heartbeat.")] = False,
    maps: Annotated[
        bool,
        typer.Option("--map", help="Also write NAME.map.npy (classes, samples), in a second pass."),
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Annotate all again, and replace files of others.")
    ] = False,
    n_jobs: Jobs = 1,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Find the heartbeats of recordings of any length, and which of them are abnormal.

    Files appear when they are complete; a run that was interrupted goes on where it stopped.
    """
    with plain_messages():
        from .._model_file import info
        from ..records import annotate_many
        from ..records._symbols import known_symbols

        facts = info(model)
        labels, normal = facts["map_labels"], facts["normal_class"]
        names = split(leads)
        paths = list_records(records)
        _check_targets(paths, output, csv, maps, overwrite)
        sources, unread = _open_bare(paths, sampling_rate, units, names, output, annotator)
        readable = [source for source in sources if source is not None]
        # names of the rows of .npy files, among which the model finds its own
        rows_named = all(path.suffix.lower() == ".npy" for path in paths) and {
            name.casefold() for name in names
        } >= {str(name).strip().casefold() for name in facts["lead_names"] or names}
        options: dict[str, Any] = {
            "threshold": thresholds(threshold, labels),
            "leads": None if rows_named else names or None,
        }
        given = by_label(
            pairs(symbols, "--symbols"), [*labels, "N" if normal is None else normal], "--symbols"
        )
        table = annotate_many(
            model,
            readable,
            output,
            symbols=given or None,
            extension=annotator,
            overwrite=overwrite,
            n_jobs=n_jobs,
            verbose=int(not quiet and sys.stderr.isatty()),
            **options,
        )
        empty, read = dict.fromkeys(table.columns), iter(table.to_dict("records"))
        rows = [
            next(read) if source is not None else empty | unread[path] for path, source in zip(paths, sources)
        ]
        made = {
            row["record"]: (row, source) for row, source in zip(rows, sources) if row["status"] != "failed"
        }
        _tell_outdated(made, output, annotator, {".csv": csv, ".map.npy": maps})
        if csv or maps:
            usual = "N" if normal is None else normal
            known = {usual: "N"} | known_symbols([usual, *labels]) | given
            of_names = {name: source for name, (_, source) in made.items()}
            for name, error in _write_more(
                of_names, model, output, annotator, csv, maps, options, known, quiet
            ).items():
                made[name][0].update(status="failed", error=error)
        for row in rows:
            row["error"] = row["error"] and in_options(row["error"])
    if as_json:
        print_json(rows)
    else:
        _show(rows, [str(label) for label in labels])
    for row in rows:
        if row["status"] == "failed":
            say(f"failed: {row['record']}: {row['error']}", fg="red")
    if any(row["status"] == "failed" for row in rows):
        raise typer.Exit(FAILED)


def _check_targets(paths: list[Path], output: Path, csv: bool, maps: bool, overwrite: bool) -> None:
    """Refuse to write tables and maps over recordings, or tables over files of others."""
    from ..records._many import stem_of

    given = {path.resolve() for path in paths}
    for path in paths:
        name = stem_of(path).name
        targets = [output / f"{name}.csv"] * csv + [output / f"{name}.map.npy"] * maps
        for target in targets:
            if target.resolve() in given:
                raise ValueError(f"{target} is a recording and would be replaced: choose another --output")
        if csv and not overwrite and targets[0].is_file() and not _is_ours(targets[0]):
            raise FileExistsError(f"{targets[0]} is no table of heartbeats; --overwrite replaces it")


def _tell_outdated(made: Iterable[str], output: Path, annotator: str, wanted: dict[str, bool]) -> None:
    """Tell of tables and maps that are not written anew and are older than the annotations beside them."""
    for suffix, option in ((".csv", "--csv"), (".map.npy", "--map")):
        if wanted[suffix]:
            continue
        pairs_of_files = ((output / f"{name}{suffix}", output / f"{name}.{annotator}") for name in made)
        old = [file.name for file, found in pairs_of_files if _is_ours(file) and _is_older(file, found)]
        if old:
            are, them = ("is", "it") if len(old) == 1 else ("are", "them")
            note(f"{few(old)} in {output} {are} of earlier annotations; {option} would write {them} anew")


def _is_older(file: Path, than: Path) -> bool:
    return file.stat().st_mtime_ns < than.stat().st_mtime_ns


def _is_ours(file: Path) -> bool:
    """Tell whether a file is a table of heartbeats or a map."""
    if not file.is_file() or file.suffix != ".csv":
        return file.is_file()
    with file.open(encoding="utf-8", errors="replace") as table:
        return table.readline().strip() == HEADING


def _open_bare(
    paths: list[Path],
    sampling_rate: float | None,
    units: str | None,
    names: list[str],
    output: Path,
    annotator: str,
) -> tuple[list[Any], dict[Path, dict[str, Any]]]:
    """Open the files that do not tell all of themselves.

    Return all records in order, None for one that cannot be read, and the rows of those by their paths.
    """
    sources: list[Any] = []
    unread: dict[Path, dict[str, Any]] = {}
    for path in paths:
        if path.suffix.lower() not in BARE:
            sources.append(path)
            continue
        try:
            sources.append(open_record(path, sampling_rate, units, names))
        except (OSError, ValueError) as error:
            if len(paths) == 1:
                raise
            sources.append(None)
            unread[path] = {
                "record": path.stem,
                "status": "failed",
                "error": reason(error),
                "seconds": 0.0,
                "output": str(output / f"{path.stem}.{annotator}"),
            }
    if len(unread) == len(sources):
        first = unread[paths[0]]
        raise ValueError(f"none of the files can be read; {first['record']}: {first['error']}")
    return sources, unread


def _write_more(
    made: dict[str, Any],
    model: Path,
    output: Path,
    annotator: str,
    csv: bool,
    maps: bool,
    options: dict[str, Any],
    symbols: dict[Hashable, str],
    quiet: bool,
) -> dict[str, str]:
    """Write the tables and the maps of the records that were annotated; return what failed, and why."""
    from .. import load
    from ..records import Record, RecordAnnotations, read_record
    from ..records import annotate as annotate_one

    # of a symbol that several labels have, the file does not tell which is meant
    shared = Counter(symbols.values())
    symbols = {label: symbol for label, symbol in symbols.items() if shared[symbol] == 1}
    failed = {}
    with bars(quiet, "records") as shown:
        for name, source in shown.track(made.items(), description="tables and maps"):
            try:
                record = source if isinstance(source, Record) else read_record(source)
                if csv:
                    found = RecordAnnotations.from_wfdb(
                        output / name,
                        annotator,
                        n_timesteps=record.n_timesteps,
                        sampling_rate=record.sampling_rate,
                        symbols=symbols,
                    )
                    found.to_csv(output / f"{name}.csv")
                if maps:
                    annotate_one(load(model), record, maps=output / f"{name}.map.npy", **options)
            except (OSError, ValueError) as error:
                failed[name] = reason(error)
    return failed


def _show(rows: list[dict[str, Any]], labels: list[str]) -> None:
    table = make_table(
        f"{sum(row['status'] != 'failed' for row in rows)} of {counted(len(rows), 'record')} annotated",
        ["record", "", "duration", "heartbeats", *labels, "burden", "unreadable"],
    )
    for row in rows:
        if row["status"] == "failed":
            table.add_row(row["record"], "failed")
            continue
        burden = row["abnormal"] / row["beats"] if row["beats"] else 0.0
        table.add_row(
            row["record"],
            row["status"],
            clock(row["duration"]),
            f"{row['beats']:,.0f}",
            *(f"{row[label]:,.0f}" for label in labels),
            f"{burden:.2%}",
            f"{row['unreadable']:.1%}",
        )
    print_table(table)
