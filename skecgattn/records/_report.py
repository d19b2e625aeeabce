"""A recording's annotations as one HTML file that opens anywhere, without a network."""

from __future__ import annotations

import datetime
import json
import math
import os
from collections.abc import Callable, Hashable, Iterator, Sequence
from html import escape
from importlib.resources import files
from itertools import groupby
from numbers import Integral
from pathlib import Path
from typing import IO, Any

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions, validate_params

from skecgattn import __version__
from skecgattn._aami import aami_class
from skecgattn._files import written_whole
from skecgattn._model_file import classifier_of
from skecgattn._words import clock, counted
from skecgattn.records._annotations import RecordAnnotations
from skecgattn.records._record import Record, read_record
from skecgattn.records._report_burden import draw_burden
from skecgattn.records._report_signal import PIECE, pack_beats, write_pieces
from skecgattn.records._report_strips import SECONDS, Strip, choose_strips, draw_strip
from skecgattn.records._summary import Summary

N_COLOURS = 6
NORMAL = 255
"""Class number of beats that are not abnormal, in the page."""

MAX_LEADS = 3
"""Leads that are shown where none are named."""

CLASS_NAMES = {
    "N": "normal",
    "S": "supraventricular",
    "V": "ventricular",
    "F": "fusion",
    "Q": "unclassifiable",
}


@validate_params(
    {
        "path": [str, os.PathLike],
        "record": [Record, str, os.PathLike],
        "annotations": [RecordAnnotations],
        "model": "no_validation",
        "model_name": [str, None],
        "leads": ["array-like", None],
        "strips": [Interval(Integral, 1, None, closed="left")],
        "disclosure": [StrOptions({"all", "abnormal", "none"})],
        "verbose": ["verbose"],
    },
    prefer_skip_nested_validation=True,
)
def write_report(
    path: str | os.PathLike[str],
    record: Record | str | os.PathLike[str],
    annotations: RecordAnnotations,
    *,
    model: Any = None,
    model_name: str | None = None,
    leads: Sequence[str] | None = None,
    strips: int = 4,
    disclosure: str = "all",
    verbose: int = 0,
) -> Path:
    """Write a recording with its annotations as one self-contained HTML file.

    The page has a summary, the abnormal beats over time, the strips that matter most on ECG paper (25 mm/s,
    10 mm/mV), and the whole recording to scroll through, at about 125 Hz: about 0.5 MB an hour and lead. It
    loads nothing from anywhere, works from a disk, and prints without the recording. It is written piece by
    piece, so that memory does not grow with the recording, and appears when it is complete.

    Parameters
    ----------
    path : str or path-like
        The file, ``.html``.

    record : Record, str or path-like
        The recording, or what :func:`read_record` opens.

    annotations : RecordAnnotations
        Annotations of that recording.

    model : AttentionECGClassifier or Pipeline, default=None
        The model that made them; it draws its map behind the strips. Without it the spans of abnormal beats
        are shaded by their scores.

    model_name : str, default=None
        What the page calls the model.

    leads : sequence of str, default=None
        Leads to show. None takes those of the model that the recording has, else the first three.

    strips : int, default=4
        Largest number of strips for each of: a class's highest scores, longest runs, least certain beats.

    disclosure : {"all", "abnormal", "none"}, default="all"
        What of the recording is in the file besides the strips: everything, the minutes with abnormal beats,
        or nothing.

    verbose : int, default=0
        1 shows a progress bar.

    Returns
    -------
    path : Path
        The file.

    Raises
    ------
    ValueError
        If the annotations are not of this recording, or it has no such lead.
    OSError
        If the recording cannot be read, or the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from skecgattn.records import Record, RecordAnnotations, write_report
    >>> record = Record.from_array(np.zeros((1, 1000)), 100, name="a")
    >>> beats = np.array([(100, "N", 0.1, False), (280, "V", 0.9, True)],
    ...     dtype=[("sample", int), ("label", object), ("score", float), ("abnormal", bool)])
    >>> annotations = RecordAnnotations.from_heartbeats(beats, [], record_name="a", sampling_rate=100,
    ...     n_timesteps=1000, labels=("N", "V"))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     page = write_report(Path(folder) / "a.html", record, annotations)
    ...     page.read_text().startswith("<!DOCTYPE html>")
    True
    """
    record = record if isinstance(record, Record) else read_record(record)
    if (record.sampling_rate, record.n_timesteps) != (annotations.sampling_rate, annotations.n_timesteps):
        raise ValueError(
            f"annotations must be of record {record.name}, {record.n_timesteps} samples at "
            f"{record.sampling_rate:g} Hz; got {annotations.n_timesteps} at {annotations.sampling_rate:g} Hz."
        )
    page = _Page(record, annotations, model, model_name, leads, strips, disclosure)
    target = Path(path)
    with written_whole(target) as file:
        page.write(file, verbose)
    return target


class _Page:
    """The parts of the page."""

    def __init__(
        self,
        record: Record,
        annotations: RecordAnnotations,
        model: Any,
        model_name: str | None,
        leads: Sequence[str] | None,
        n_strips: int,
        disclosure: str,
    ) -> None:
        self.record, self.annotations, self.model = record, annotations, model
        self.model_name, self.n_strips, self.disclosure = model_name, n_strips, disclosure
        self.leads = list(leads) if leads is not None else _usual_leads(record, model)
        self.shown = record.select_leads(self.leads)
        beats = annotations.beats
        occurring = set(beats.loc[beats["abnormal"], "label"])
        self.classes = [k for k in annotations.labels if k in annotations.thresholds or k in occurring]
        self.colours = {label: k % N_COLOURS for k, label in enumerate(self.classes)}
        self.symbols = {label: annotations.symbols.get(label, str(label)) for label in annotations.labels}
        self.summary: Summary = annotations.summary()

    def write(self, file: IO[bytes], verbose: int) -> None:
        record = self.record
        disclosed = self.disclosure != "none"
        parts: dict[str, Callable[[], Iterator[str]]] = {
            "title": lambda: iter([escape(f"{record.name}: annotated ECG")]),
            "heading": lambda: iter([escape(f"Recording {record.name}")]),
            "css": lambda: iter([_asset("report.css")]),
            "facts": self._facts,
            "nav": lambda: self._nav(disclosed),
            "tiles": self._tiles,
            "classes": self._class_table,
            "burden": self._burden,
            "strips_note": self._strips_note,
            "strips": self._strips,
            "recording": lambda: iter([_asset("recording.html")] if disclosed else []),
            "disclosure_note": self._disclosure_note,
            "made": lambda: iter([f"Made by skecgattn {escape(__version__)} on {_now():%Y-%m-%d at %H:%M}."]),
        }
        for text in _filled(_asset("report.html"), parts):
            file.write(text.encode())
        if disclosed:
            self._write_recording(file, verbose)
        file.write(b"</body>\n</html>\n")

    # --- head ---------------------------------------------------------------------------------------

    def _facts(self) -> Iterator[str]:
        record, annotations = self.record, self.annotations
        facts = {"Duration": f"{clock(record.duration)} h"}
        if record.start_time is not None:
            day = isinstance(record.start_time, datetime.datetime)
            facts["Began"] = (
                f"{record.start_time:%Y-%m-%d %H:%M:%S}" if day else f"{record.start_time:%H:%M:%S}"
            )
        facts["Signal"] = f"{', '.join(record.lead_names)} at {record.sampling_rate:g} Hz"
        if self.model_name is not None:
            facts["Model"] = self.model_name
        if annotations.thresholds:
            facts["Thresholds"] = ", ".join(f"{k} {v:.2f}" for k, v in annotations.thresholds.items())
        for name, value in facts.items():
            yield f"<div><dt>{name}</dt><dd>{escape(value)}</dd></div>\n"

    def _nav(self, disclosed: bool) -> Iterator[str]:
        yield '<a href="#summary-title">Summary</a> <a href="#burden-title">Over time</a> '
        yield '<a href="#strips">Strips</a>'
        if disclosed:
            yield ' <a href="#recording" class="screen">The whole recording</a>'

    # --- summary ------------------------------------------------------------------------------------

    def _tiles(self) -> Iterator[str]:
        summary = self.summary
        rates = (
            ""
            if math.isnan(summary.mean_heart_rate)
            else (f"{summary.min_heart_rate:.0f} to {summary.max_heart_rate:.0f} a minute")
        )
        mean = "–" if math.isnan(summary.mean_heart_rate) else f"{summary.mean_heart_rate:.0f}"
        yield _tile(
            "Heartbeats", f"{summary.n_heartbeats:,}", f"in {clock(summary.readable)} h of readable signal"
        )
        yield _tile("Mean heart rate", mean, rates)
        for label in self.classes:
            row = summary.classes.loc[label]
            share = "" if math.isnan(row["burden"]) else f"{row['burden']:.2%} of heartbeats"
            yield _tile(self._name(label), f"{row['beats']:,.0f}", share, self.colours[label])
        lost = 1 - summary.readable / summary.duration if summary.duration else 0.0
        yield _tile("Unreadable", f"{lost:.1%}", "lead off, saturation or noise")

    def _class_table(self) -> Iterator[str]:
        if not self.classes:
            return
        columns = ["beats", "an hour", "isolated", "couplets", "runs", "longest run", "bigeminy"]
        heads = "".join(f'<th scope="col">{name}</th>' for name in columns)
        yield '<div class="scroll-x" tabindex="0" role="region" aria-label="Beats of each class"><table>'
        yield f'<thead><tr><th scope="col">Class</th>{heads}</tr></thead><tbody>'
        for label in self.classes:
            row = self.summary.classes.loc[label]
            longest = "–"
            if row["longest_run"]:
                rate, when = row["longest_run_rate"], clock(row["longest_run_time"])
                longest = f"{row['longest_run']:.0f} beats, {rate:.0f} a minute, at {when}"
            hourly = "–" if math.isnan(row["per_hour"]) else f"{row['per_hour']:,.1f}"
            counts = [f"{row[key]:,.0f}" for key in ("isolated", "couplets", "runs")]
            cells = [
                f"{row['beats']:,.0f}",
                hourly,
                *counts,
                longest,
                counted(row["bigeminy_episodes"], "episode", ",d"),
            ]
            body = "".join(f"<td>{cell}</td>" for cell in cells)
            name = escape(self._name(label))
            yield f'<tr class="k{self.colours[label]}"><th scope="row"><span class="dot"></span>{name}</th>'
            yield f"{body}</tr>"
        yield "</tbody></table></div>"

    def _name(self, label: Hashable) -> str:
        text = str(label)
        known = CLASS_NAMES.get(text) or CLASS_NAMES.get(aami_class(text) or "", "")
        return f"{text}, {known}" if known else text

    def _burden(self) -> Iterator[str]:
        names = {label: self._name(label) for label in self.classes}
        return draw_burden(self.annotations, names, self.colours)

    # --- strips -------------------------------------------------------------------------------------

    def _strips_note(self) -> Iterator[str]:
        shade = "the model's map" if self.model is not None else "the beats' scores"
        yield f"25 mm/s, 10 mm/mV; the shade behind the trace is {shade}, the letters name the beats. "
        yield "Each lead is shifted so that its median lies on its baseline."

    def _strips(self) -> Iterator[str]:
        chosen = choose_strips(self.annotations, self.classes, self.n_strips, self._limits())
        if not chosen:
            yield '<p class="note">No beat reached a threshold, and there are no scores: nothing to show.</p>'
        for group, members in groupby(chosen, key=lambda strip: strip.group):
            yield f"<h3>{escape(group)}</h3>\n"
            for strip in members:
                yield self._strip(strip)

    def _strip(self, strip: Strip) -> str:
        svg = draw_strip(
            strip, self.record, self.leads, self.annotations, self.colours, self.symbols, self.model
        )
        kind, name = "", ""
        if strip.label is not None:
            kind, name = f" k{self.colours[strip.label]}", f"<b>{escape(str(strip.label))}</b> "
        when = clock(strip.focus, 1)
        if self.disclosure != "none":
            link = f'<button type="button" class="link screen" data-time="{strip.focus:.3f}" '
            link += f'aria-label="Show {when} in the recording">Show in the recording</button>'
        else:
            link = ""
        return (
            f'<figure class="strip{kind}"><figcaption><span>{name}{escape(strip.words)}</span>'
            f'<span class="when">{when}{self._daytime(strip.focus)}</span>{link}</figcaption>'
            f'<div class="paper" tabindex="0" role="region" aria-label="Strip from {clock(strip.start)}" '
            f'data-focus="{(strip.focus - strip.start) / SECONDS:.3f}">'
            f"{svg}</div></figure>\n"
        )

    def _daytime(self, seconds: float) -> str:
        start = _seconds_of_day(self.record.start_time)
        return "" if start is None else f" · {clock((start + seconds) % 86400)}"

    def _limits(self) -> dict[Hashable, float]:
        """Return the thresholds; where a file did not tell them, the lowest scores of abnormal beats."""
        if self.annotations.thresholds:
            return dict(self.annotations.thresholds)
        lowest = self.annotations.abnormal.groupby("label")["score"].min()
        return {label: float(score) for label, score in lowest.items() if not np.isnan(score)}

    # --- the whole recording ------------------------------------------------------------------------

    def _disclosure_note(self) -> Iterator[str]:
        yield "Drawn from about 125 samples a second. Rows of 30 s and 1 min are at 5 and 2.5 mm/mV. "
        if self.disclosure == "abnormal":
            yield "Only minutes with an abnormal beat are in this file. "
        yield "Each lead is shifted so that its median in a row lies on its baseline."

    def _write_recording(self, file: IO[bytes], verbose: int) -> None:
        beats, rate = self.annotations.beats, self.record.sampling_rate
        wanted = None
        if self.disclosure == "abnormal":
            wanted = set((beats.loc[beats["abnormal"], "time"] // PIECE).astype(int).tolist())
        packed = write_pieces(file, self.shown, wanted=wanted, verbose=verbose)
        kinds = beats["label"].map({label: k for k, label in enumerate(self.classes)})
        kind = np.where(beats["abnormal"], kinds.fillna(NORMAL), NORMAL)
        sample = beats["sample"].to_numpy()
        file.write(b'<script type="text/plain" id="beats">')
        for text in pack_beats(
            beats["time"].to_numpy(),
            (sample - beats["start"].to_numpy()) / rate,
            (beats["stop"].to_numpy() - sample) / rate,
            kind,
            beats["score"].fillna(1.0).to_numpy(),
        ):
            file.write(text)
        normal = set(beats.loc[~beats["abnormal"], "label"])
        meta = {
            **packed.to_dict(),
            "leads": self.leads,
            "duration": self.record.duration,
            "start": _seconds_of_day(self.record.start_time),
            "classes": [
                {
                    "symbol": self.symbols[label],
                    "name": self._name(label).removeprefix(f"{label}, "),
                    "colour": self.colours[label],
                }
                for label in self.classes
            ],
            "normal": self.symbols[next(iter(normal))] if len(normal) == 1 else "·",
            "unreadable": (self.annotations.unreadable[["start", "stop"]] / rate)
            .round(3)
            .to_numpy()
            .tolist(),
            "scores": bool(beats["score"].notna().any()),
        }
        known = json.dumps(meta, allow_nan=False).replace("<", "\\u003c")
        file.write(f'</script>\n<script type="application/json" id="meta">{known}</script>\n'.encode())
        file.write(f"<script>\n{_asset('report.js')}</script>\n".encode())


def _filled(template: str, parts: dict[str, Callable[[], Iterator[str]]]) -> Iterator[str]:
    """Yield a template with its ``{{names}}`` replaced, also within what replaces one."""
    text, found, rest = template.partition("{{")
    yield text
    if found:
        name, _, rest = rest.partition("}}")
        if name == "recording":
            rest = "".join(parts[name]()) + rest
        else:
            yield from parts[name]()
        yield from _filled(rest, parts)


def _asset(name: str) -> str:
    return (files("skecgattn.records") / "templates" / name).read_text(encoding="utf-8")


def _usual_leads(record: Record, model: Any) -> list[str]:
    wanted = () if model is None else classifier_of(model).lead_names or ()
    names = {name.casefold(): name for name in record.lead_names}
    known = [names[lead.casefold()] for lead in wanted if lead.casefold() in names]
    return (known or list(record.lead_names))[:MAX_LEADS]


def _tile(what: str, value: str, more: str, colour: int | None = None) -> str:
    kind = "" if colour is None else f' class="k{colour}"'
    return (
        f'<li{kind}><span class="what">{escape(what)}</span> <span class="value">{escape(value)}</span> '
        f'<span class="more">{escape(more)}</span></li>\n'
    )


def _seconds_of_day(start: datetime.datetime | datetime.time | None) -> float | None:
    if start is None:
        return None
    return start.hour * 3600 + start.minute * 60 + start.second + start.microsecond / 1e6


def _now() -> datetime.datetime:
    return datetime.datetime.now()
