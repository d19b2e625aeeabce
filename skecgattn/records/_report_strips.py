"""The strips of a report: which ones matter most, and their drawing on ECG paper."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skecgattn._model_file import classifier_of
from skecgattn._words import clock
from skecgattn.records._annotate import iter_annotate
from skecgattn.records._annotations import RecordAnnotations
from skecgattn.records._record import Record
from skecgattn.records._report_signal import reduced
from skecgattn.records._summary import find_runs

SECONDS = 10.0
"""Length of a strip: 250 mm of paper."""

LEAD_IN = 2.0
"""Seconds of a strip before a run begins."""

CONTEXT = 15.0
"""Seconds to either side that the model reads to draw the map of a strip."""

UNIT = 20
"""Drawing units a millimetre."""

PER_SECOND, PER_MV = 25 * UNIT, 10 * UNIT
BOX = 5 * UNIT
LEVELS = 8
"""Shades of a map."""

DARKEST = 0.42
DRAWN_RATE = 250.0
LANE = (0.5, 3.0)
"""Smallest and largest millivolts drawn on either side of a lead's baseline."""


class Strip(NamedTuple):
    """A stretch to draw, and why."""

    group: str
    label: Hashable | None
    words: str
    start: float
    focus: float
    """Seconds; where "show in the recording" leads."""


def choose_strips(
    annotations: RecordAnnotations, classes: Sequence[Hashable], n: int, limits: Mapping[Hashable, float]
) -> list[Strip]:
    """Choose each class's highest scores, its longest runs, and the beats nearest to the threshold.

    No two strips of a group overlap.
    """
    beats, last = annotations.beats, max(0.0, annotations.duration - SECONDS)
    scored = bool(beats["score"].notna().any())
    strips: list[Strip] = []

    def take(group: str, rows: pd.DataFrame, words: Any, lead_in: float) -> None:
        taken: list[float] = []
        for row in rows.itertuples():
            if len(taken) == n:
                return
            if all(abs(row.time - other) >= SECONDS for other in taken):
                taken.append(row.time)
                start = min(max(0.0, row.time - lead_in), last)
                label = row.label if row.label in classes else None
                strips.append(Strip(group, label, words(row), start, row.time))

    for label in classes:
        own = beats[beats["abnormal"] & (beats["label"] == label)]
        group = f"{label}: highest scores" if scored else f"{label}: the first"
        take(group, own.sort_values("score", ascending=False, kind="stable"), _score, SECONDS / 2)
    runs = find_runs(annotations)
    runs = runs[runs["label"].isin(list(classes))].sort_values("n_beats", ascending=False, kind="stable")
    take("Longest runs", runs, _run, LEAD_IN)
    if scored and limits:
        take("Least certain", _uncertain(beats, limits), _near, SECONDS / 2)
    return strips


def _score(row: Any) -> str:
    return "" if np.isnan(row.score) else f"score {row.score:.2f}"


def _run(row: Any) -> str:
    return f"run of {row.n_beats} beats, {row.heart_rate:.0f} a minute"


def _near(row: Any) -> str:
    side = "just at or above" if row.abnormal else "just below"
    return f"score {row.score:.2f}, {side} the threshold {row.limit:.2f}"


def _uncertain(beats: pd.DataFrame, limits: Mapping[Hashable, float]) -> pd.DataFrame:
    """Return the beats with their threshold, those nearest to it first."""
    score = beats["score"].to_numpy()
    limit = beats["label"].map(dict(limits)).to_numpy(dtype=float, na_value=np.nan)
    # a normal beat's score is of the class that comes closest to its threshold, from below
    bounds = np.sort(np.array(list(limits.values()), dtype=float))
    above = bounds[np.searchsorted(bounds, score, side="right").clip(max=len(bounds) - 1)]
    limit = np.where(beats["abnormal"], limit, above)
    order = np.argsort(np.abs(score - limit), kind="stable")
    return beats.assign(limit=limit).iloc[order[: np.count_nonzero(~np.isnan(score - limit))]]


def draw_strip(
    strip: Strip,
    record: Record,
    leads: Sequence[str],
    annotations: RecordAnnotations,
    colours: Mapping[Hashable, int],
    symbols: Mapping[Hashable, str],
    model: Any,
) -> str:
    """Return the SVG of a strip at true size: 25 mm/s and 10 mm/mV."""
    rate = record.sampling_rate
    start = round(strip.start * rate)
    stop = min(start + round(SECONDS * rate), record.n_timesteps)
    factor = max(1, round(rate / DRAWN_RATE))
    first, last = start // factor, -(-stop // factor)
    signal = reduced(record.select_leads(leads), first, last, factor)
    x = (
        ((np.arange(first, first + signal.shape[1]) * factor - start) * (PER_SECOND / rate))
        .round()
        .astype(int)
    )
    width = round((stop - start) / rate * PER_SECOND)
    traces, names, y = [], [], BOX
    for name, lead in zip(leads, signal):
        trace, up, down = _trace(lead, x, y)
        y += up
        names.append(f'<text class="lead" x="24" y="{y - 90}">{escape(name)}</text>')
        traces.append(f'<path class="trace" d="{trace}"/>')
        y += down
    height = y + BOX
    near = annotations.beats
    near = near[(near["stop"] > start) & (near["start"] < stop)]
    if model is None:
        shades = _spans(near, start, stop, rate, height, colours)
    else:
        shades = _map(model, record, start, stop, height, colours)
    gaps = annotations.unreadable
    gaps = gaps[(gaps["stop"] > start) & (gaps["start"] < stop)]
    hatched = "".join(
        _box(max(a, start) - start, min(b, stop) - start, rate, height, 'fill="url(#hatch)"')
        for a, b in gaps[["start", "stop"]].to_numpy().tolist()
    )
    words = [
        _word(row, start, rate, colours, symbols) for row in near.itertuples() if start <= row.sample < stop
    ]
    marks = _time_marks(strip.start, width, height)
    said = ", ".join(
        f"{symbols.get(row.label, row.label)} at {clock(row.time, 1)}"
        for row in near.itertuples()
        if row.abnormal
    )
    label = escape(
        f"ECG from {clock(strip.start)}, leads {', '.join(leads)}: {said or 'no abnormal beat'}", True
    )
    return (
        f'<svg role="img" aria-label="{label}" viewBox="0 0 {width} {height}" '
        f'width="{width / UNIT:g}mm" height="{height / UNIT:g}mm">'
        f'<rect width="{width}" height="{height}" fill="url(#fine)"/>'
        f'<rect width="{width}" height="{height}" fill="url(#coarse)"/>'
        f"{shades}{hatched}{''.join(traces)}{''.join(names)}{''.join(words)}{marks}</svg>"
    )


def _trace(lead: NDArray[np.float32], x: NDArray, top: int) -> tuple[str, int, int]:
    """Return the path of a lead whose lane begins at `top`, and its height above and below its baseline."""
    known = lead[~np.isnan(lead)]
    if len(known) == 0:
        return "", BOX, BOX
    middle = float(np.median(known))
    up, down = (
        int(np.ceil(np.clip(reach, *LANE) * PER_MV / BOX)) * BOX
        for reach in (known.max() - middle, middle - known.min())
    )
    limits = (top - BOX, top + up + down + BOX)
    y = np.clip(top + up - (lead - middle) * PER_MV, *limits)
    parts = []
    present = np.flatnonzero(~np.isnan(lead))
    for piece in np.split(present, np.flatnonzero(np.diff(present) > 1) + 1):
        px, py = x[piece], y[piece].round().astype(int)
        steps = np.column_stack([np.diff(px), np.diff(py)]).ravel()
        parts.append(f"M{px[0]} {py[0]}" + (f"l{' '.join(map(str, steps.tolist()))}" if len(steps) else ""))
    return "".join(parts), up, down


def _map(
    model: Any, record: Record, start: int, stop: int, height: int, colours: Mapping[Hashable, int]
) -> str:
    """Shade by the model's map."""
    rate = record.sampling_rate
    begin, end = (
        round(t) for t in (max(0, start - CONTEXT * rate), min(record.n_timesteps, stop + CONTEXT * rate))
    )
    piece = Record.from_array(record.read(begin, end), rate, record.lead_names, name=record.name)
    maps = np.concatenate(
        [one.map for one in iter_annotate(model, piece, maps=True) if one.map is not None], axis=1
    )[:, start - begin : stop - begin]
    drawn = []
    for label, values in zip(classifier_of(model).map_labels_, np.nan_to_num(maps.astype(np.float32))):
        if label not in colours:
            continue
        shade = np.rint(values * LEVELS).astype(int)
        edges = np.flatnonzero(np.diff(shade, prepend=-1, append=-1))
        boxes = "".join(
            _box(a, b, rate, height, f'fill-opacity="{shade[a] / LEVELS * DARKEST:.2f}"')
            for a, b in zip(edges[:-1].tolist(), edges[1:].tolist())
            if shade[a] > 0
        )
        drawn.append(f'<g class="map k{colours[label]}">{boxes}</g>')
    return "".join(drawn)


def _spans(
    beats: pd.DataFrame, start: int, stop: int, rate: float, height: int, colours: Mapping[Hashable, int]
) -> str:
    """Shade the spans of abnormal beats by their score."""
    return "".join(
        f'<g class="map k{colours[row.label]}">'
        + _box(
            max(row.start, start) - start,
            min(row.stop, stop) - start,
            rate,
            height,
            f'fill-opacity="{DARKEST * (1 if np.isnan(row.score) else row.score):.2f}"',
        )
        + "</g>"
        for row in beats.itertuples()
        if row.abnormal and row.label in colours
    )


def _box(first: int, last: int, rate: float, height: int, style: str) -> str:
    x, end = (round(k * PER_SECOND / rate) for k in (first, last))
    return f'<rect x="{x}" width="{end - x}" height="{height}" {style}/>'


def _word(
    row: Any, start: int, rate: float, colours: Mapping[Hashable, int], symbols: Mapping[Hashable, str]
) -> str:
    x = round((row.sample - start) * PER_SECOND / rate)
    symbol = escape(symbols.get(row.label, str(row.label)))
    kind = f"beat abnormal k{colours[row.label]}" if row.abnormal and row.label in colours else "beat"
    title = f"<title>{symbol}, score {row.score:.2f}</title>" if not np.isnan(row.score) else ""
    return f'<text class="{kind}" x="{x}" y="66">{title}{symbol}</text>'


def _time_marks(start: float, width: int, height: int) -> str:
    """Write the time below every second large box of a second."""
    begin = int(np.ceil(start))
    times = np.arange(begin, start + (width - 200) / PER_SECOND, 2)
    return "".join(
        f'<text x="{round((t - start) * PER_SECOND) + 8}" y="{height - 28}">{clock(float(t))}</text>'
        for t in times
    )
