"""What is drawn on ECG paper: maps, leads, annotated beats and located ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .._aami import AAMI_CLASSES
from ._paper import BLUE, COARSE_GRID, INK, MUTED, VERMILION, root_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import LineCollection
    from matplotlib.colorbar import Colorbar
    from matplotlib.image import AxesImage
    from matplotlib.lines import Line2D
    from matplotlib.text import Text


def draw_band(ax: Axes, time: NDArray, values: NDArray, extent: tuple[float, float], cmap: Any) -> AxesImage:
    """Draw a map behind the leads, from bottom to top."""
    from matplotlib.colors import LinearSegmentedColormap, to_rgba

    if cmap is None:
        clear, full = (*to_rgba(BLUE)[:3], 0.0), (*to_rgba(BLUE)[:3], 0.55)
        cmap = LinearSegmentedColormap.from_list("attention band", [clear, full])
    half = (time[1] - time[0]) / 2
    return ax.imshow(
        values[None],
        cmap=cmap,
        vmin=0,
        vmax=1,
        extent=(time[0] - half, time[-1] + half, *extent),
        aspect=ax.get_aspect(),
        zorder=1,
    )


def draw_leads(ax: Axes, time: NDArray, traces: NDArray, line_kw: dict[str, Any] | None) -> list[Line2D]:
    """Draw the traces (n_leads, n_timesteps) in ink."""
    options = {"color": INK, "linewidth": 0.9, "solid_joinstyle": "round", "zorder": 3, **(line_kw or {})}
    return [ax.plot(time, trace, **options)[0] for trace in traces]


def draw_shaded_leads(
    ax: Axes, time: NDArray, traces: NDArray, values: NDArray, cmap: Any, line_kw: dict[str, Any] | None
) -> list[LineCollection]:
    """Draw the traces (n_leads, n_timesteps) in the colour and the thickness of a map."""
    from matplotlib.collections import LineCollection
    from matplotlib.colors import LinearSegmentedColormap

    if cmap is None:
        cmap = LinearSegmentedColormap.from_list("attention trace", ["#a9a9a9", BLUE, "#062a4f"])
    middle = (values[:-1] + values[1:]) / 2
    options = {"linewidths": 0.9 + 1.6 * middle, "capstyle": "round", "zorder": 3, **(line_kw or {})}
    lines = []
    for trace in traces:
        points = np.column_stack([time, trace])
        line = LineCollection(list(np.stack([points[:-1], points[1:]], axis=1)), cmap=cmap, **options)
        line.set_array(middle)
        line.set_clim(0, 1)
        ax.add_collection(line, autolim=False)
        lines.append(line)
    return lines


def draw_beats(ax: Axes, beats: NDArray | Sequence, rate: float, height: float) -> list[Text]:
    """Write the symbols of annotated beats, those that are not normal larger."""
    texts = []
    for beat in beats:
        symbol = str(beat["symbol"])
        normal = symbol in AAMI_CLASSES["N"]
        style: dict[str, Any] = {"color": INK, "fontsize": 10, "fontweight": "bold"}
        if normal:
            style = {"color": MUTED, "fontsize": 8, "fontweight": "normal"}
        texts.append(_word(ax, beat["sample"] / rate, height, symbol, **style))
    return texts


def draw_located(
    ax: Axes,
    located: NDArray | Sequence,
    rate: float,
    limits: tuple[int, int],
    heights: tuple[float, float],
) -> tuple[LineCollection, Line2D, list[Text]]:
    """Draw located beats: spans, cut at the limits, and R peaks at one height, labels at the other."""
    from matplotlib.collections import LineCollection

    x, y = [beat["sample"] / rate for beat in located], heights[0]
    spans = [[(np.clip(beat[end], *limits) / rate, y) for end in ("start", "stop")] for beat in located]
    bars = LineCollection(spans, colors=VERMILION, linewidths=1.6, capstyle="butt", zorder=3)
    ax.add_collection(bars, autolim=False)
    ends = np.array(spans).reshape(-1, 2)
    ax.plot(ends[:, 0], ends[:, 1], "|", color=VERMILION, markersize=5, markeredgewidth=1.2, zorder=3)
    peaks = ax.plot(x, [y] * len(x), "^", color=VERMILION, markersize=7, markeredgecolor="white", zorder=4)
    labels = [
        _word(ax, where, heights[1], str(beat["label"]), color=VERMILION, fontsize=9, fontweight="bold")
        for where, beat in zip(x, located, strict=True)
    ]
    return bars, peaks[0], labels


def _word(ax: Axes, x: float, y: float, text: str, **style: Any) -> Text:
    return ax.text(x, y, text, ha="center", va="center", clip_on=True, parse_math=False, **style)


def draw_beat_legend(ax: Axes, *, annotated: bool, located: bool) -> None:
    """Explain the letters of annotated beats and the triangles of located ones, above the paper."""
    from matplotlib.lines import Line2D

    handles = []
    if annotated:
        handles.append(
            Line2D(
                [], [], marker=r"$\mathrm{V}$", color=INK, markersize=6, linestyle="", label="annotated beat"
            )
        )
    if located:
        handles.append(
            Line2D([], [], marker="^", color=VERMILION, markersize=6, linewidth=1.6, label="located beat")
        )
    if handles:
        ax.legend(
            handles=handles,
            loc="lower right",
            bbox_to_anchor=(1, 1),
            borderaxespad=0.3,
            ncols=len(handles),
            frameon=False,
            fontsize=8,
            handletextpad=0.5,
            columnspacing=1.5,
        )


def draw_map_scale(ax: Axes, mappable: Any, label: str, mm_per_unit: tuple[float, float]) -> Colorbar:
    """Draw the map's scale, 22 by 2.2 mm, below the right end of the axis."""
    x_mm, y_mm = mm_per_unit
    right, bottom = ax.get_xlim()[1], ax.get_ylim()[0]
    place = (right - 24 / x_mm, bottom - 9.5 / y_mm, 22 / x_mm, 2.2 / y_mm)
    inset = ax.inset_axes(place, transform=ax.transData)
    inset.set_facecolor("white")
    bar = root_figure(ax).colorbar(mappable, cax=inset, orientation="horizontal", ticks=[0, 1])
    for spine in inset.spines.values():
        spine.set(edgecolor=COARSE_GRID, linewidth=0.8)
    inset.tick_params(labelsize=7, length=0, pad=2)
    inset.text(-0.06, 0.5, label, transform=inset.transAxes, ha="right", va="center", fontsize=8)
    return bar
