"""The abnormal beats of a report over time."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Mapping
from html import escape

import numpy as np
from numpy.typing import NDArray

from skecgattn._words import clock, counted
from skecgattn.records._annotations import RecordAnnotations
from skecgattn.records._summary import unreadable_seconds

BINS = ((35 * 60, 60.0, "minute"), (3 * 3600, 300.0, "5 minutes"), (math.inf, 3600.0, "hour"))
"""Longest recording, seconds and name of a bar."""


def draw_burden(
    annotations: RecordAnnotations, names: Mapping[Hashable, str], colours: Mapping[Hashable, int]
) -> Iterator[str]:
    """Yield the share of heartbeats that have each label over time, as bars and as a table."""
    duration = annotations.duration
    seconds, unit = next((width, name) for longest, width, name in BINS if duration <= longest)
    edges = np.arange(math.ceil(duration / seconds) + 1) * seconds
    n_bins = len(edges) - 1
    beats = annotations.beats
    place = (beats["time"].to_numpy() // seconds).astype(int).clip(0, n_bins - 1)
    heartbeats = np.bincount(place, minlength=n_bins)
    bounds = np.minimum(edges, duration)
    lost = unreadable_seconds(annotations, bounds) / np.maximum(np.diff(bounds), 1e-9)
    counts = {}
    for label in names:
        own = ((beats["label"] == label) & beats["abnormal"]).to_numpy(dtype=bool)
        counts[label] = np.bincount(place[own], minlength=n_bins)
    if not counts:
        yield '<p class="note">No beat of this recording is marked as abnormal.</p>'
        return
    yield f'<p class="note">Share of heartbeats that are abnormal, by the {unit}; grey: unreadable.</p>'
    for label, own in counts.items():
        yield _bars(names[label], colours[label], own / np.maximum(heartbeats, 1), own, lost, edges, unit)
    yield from _table(counts, heartbeats, lost, edges, unit)


def _bars(
    name: str, colour: int, share: NDArray, own: NDArray, lost: NDArray, edges: NDArray, unit: str
) -> str:
    n_bins, name = len(own), escape(name)
    head = f'<span><span class="dot"></span>{name}</span>'
    if not own.any():
        return f'<p class="burden k{colour}">{head}: none</p>\n'
    top = float(share.max())
    drawn = []
    for k in range(n_bins):
        height = 92 * share[k] / top
        words = f"{clock(edges[k])}: {counted(own[k], 'beat')}, {share[k]:.1%} of heartbeats"
        if lost[k] > 0.005:
            drawn.append(
                f'<rect class="unreadable" x="{k}" y="{100 * (1 - lost[k]):.1f}" width="1" height="100"/>'
            )
        if own[k]:
            drawn.append(
                f'<rect x="{k + 0.1:.1f}" y="{100 - height:.2f}" width="0.8" height="{height:.2f}"/>'
            )
        drawn.append(
            f'<rect class="room" x="{k}" y="0" width="1" height="100" data-time="{edges[k]:g}">'
            f"<title>{words}</title></rect>"
        )
    peak = int(share.argmax())
    said = (
        f"{name}: {counted(own.sum(), 'beat')}; most at {clock(edges[peak])}, {share[peak]:.1%} of heartbeats"
    )
    end = edges[-1]
    step = next(
        (s for s in (60, 300, 600, 1800, 3600, 7200, 14400, 21600, 43200, 86400) if end / s <= 8), 172800
    )
    ticks = "".join(
        f'<span style="left:{100 * t / end:.2f}%">{_tick(t)}</span>' for t in np.arange(0, end * 0.97, step)
    )
    best = f"highest {share[peak]:.1%} ({unit} from {clock(edges[peak])})"
    return (
        f'<figure class="burden k{colour}">'
        f'<figcaption>{head}<span class="top">{best}</span></figcaption>'
        f'<div class="plot"><svg role="img" aria-label="{said}" '
        f'viewBox="0 0 {n_bins} 100" preserveAspectRatio="none">{"".join(drawn)}</svg></div>'
        f'<div class="axis" aria-hidden="true">{ticks}</div></figure>\n'
    )


def _table(
    counts: Mapping[Hashable, NDArray], heartbeats: NDArray, lost: NDArray, edges: NDArray, unit: str
) -> Iterator[str]:
    names = "".join(f'<th scope="col">{escape(str(label))}</th>' for label in counts)
    yield '<details><summary>The numbers</summary><div class="scroll-x"><table><thead><tr>'
    yield f'<th scope="col">{unit}</th>'
    yield f'<th scope="col">heartbeats</th>{names}<th scope="col">unreadable</th></tr></thead><tbody>'
    for k, n in enumerate(heartbeats.tolist()):
        cells = "".join(f"<td>{own[k]}</td>" for own in counts.values())
        yield f'<tr><th scope="row">{clock(edges[k])}</th><td>{n}</td>{cells}<td>{lost[k]:.0%}</td></tr>'
    yield "</tbody></table></div></details>"


def _tick(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60}:{minutes % 60:02d}"
