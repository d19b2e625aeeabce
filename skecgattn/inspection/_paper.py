"""ECG paper with true proportions, and the colours that every display uses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Hues of Okabe and Ito (2008), told apart in every colour vision; lightness orders them in greyscale.
INK = "#111111"
MUTED = "#5f5f5f"
BLUE = "#0072B2"
VERMILION = "#C04E00"
SHEET = "#fffdfc"
FINE_GRID = "#f8dfdb"
COARSE_GRID = "#efbfb8"

BOX = 5  # mm, the side of a large square
MM_PER_INCH = 25.4
MAX_FINE_GRID = 1000  # mm of paper; on longer strips the 1 mm lines would run together
FIGURE_RANGE = (115.0, 600.0)  # mm; a narrower sheet is enlarged to hold its notes, a larger one reduced
MAX_ENLARGEMENT = 2.5
MARGIN = {"left": 5.0, "right": 5.0, "top": 9.0, "bottom": 14.0}  # mm around each sheet, for its words


def draw_paper(
    ax: Axes,
    xlim: tuple[float, float],
    ylim: tuple[float, float],
    *,
    mm_per_x: float,
    mm_per_mv: float,
    time_grid: bool = True,
) -> None:
    """Rule `ax` every 1 mm and 5 mm, and fix its limits and proportions.

    Without `time_grid` only the horizontal lines are ruled: time has no known unit then.
    """
    from matplotlib.collections import LineCollection

    steps = (1, BOX) if (xlim[1] - xlim[0]) * mm_per_x <= MAX_FINE_GRID else (BOX,)
    for step in steps:
        y = _multiples(ylim, step / mm_per_mv)
        segments = [np.column_stack([np.broadcast_to(xlim, (len(y), 2)).ravel(), np.repeat(y, 2)])]
        if time_grid:
            x = _multiples(xlim, step / mm_per_x)
            segments.append(np.column_stack([np.repeat(x, 2), np.broadcast_to(ylim, (len(x), 2)).ravel()]))
        color, width = (FINE_GRID, 0.4) if step == 1 else (COARSE_GRID, 0.6)
        grid = LineCollection(
            list(np.concatenate(segments).reshape(-1, 2, 2)),
            colors=color,
            linewidths=width,
            zorder=0.5,
            label=f"_grid of {step} mm",
        )
        ax.add_collection(grid, autolim=False)
    ax.set_facecolor(SHEET)
    ax.set(xlim=xlim, ylim=ylim)
    ax.set_aspect(mm_per_mv / mm_per_x, adjustable="box")
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set(color=COARSE_GRID, linewidth=0.8)
    ax.tick_params(axis="x", which="both", color=COARSE_GRID, labelsize=8)


def _multiples(limits: tuple[float, float], step: float) -> NDArray[np.float64]:
    """Return the multiples of `step` within the limits, safe from rounding."""
    return np.arange(np.ceil(limits[0] / step - 1e-6), np.floor(limits[1] / step + 1e-6) + 1) * step


def draw_baseline_pulse(
    ax: Axes, right: float, baseline: float, *, mm_per_x: float, **kwargs: Any
) -> NDArray[Any]:
    """Draw the calibration pulse of ECG recorders, 1 mV high and 5 mm wide, ending 1 mm before `right`."""
    x = right - np.array([8, 7, 7, 2, 2, 1]) / mm_per_x
    return np.asarray(ax.plot(x, baseline + np.array([0, 0, 1, 1, 0, 0]), **kwargs))


def time_ticks(ax: Axes, start: float, stop: float) -> None:
    """Label whole seconds, or the large squares on short strips."""
    duration = stop - start
    step = next((step for limit, step in ((1.3, 0.2), (3, 0.5), (15, 1), (40, 5)) if duration <= limit), 10)
    ticks = _multiples((start, stop), step)
    ax.set_xticks(ticks, [f"{tick:.10g}" for tick in np.round(ticks, 6) + 0.0])


def paper_note(mm_per_x: float, mm_per_mv: float) -> str:
    """Word the scales as they are printed on ECG paper."""
    return f"{mm_per_x:g} mm/s, {mm_per_mv:g} mm/mV"


def figure_scale(width: float) -> float:
    """Return the enlargement of a figure that is `width` mm wide at true size."""
    low, high = FIGURE_RANGE
    return min(MAX_ENLARGEMENT, max(1.0, low / width), high / width)


def axes_scale(ax: Axes, size: tuple[float, float], words: tuple[float, float] = (0.0, 0.0)) -> float:
    """Return the scale at which a sheet of `size` mm fits into `ax` beside `words`, mm of fixed size."""
    box = ax.get_position(original=True)
    inches = root_figure(ax).get_size_inches()
    across, along = box.width * inches[0] * MM_PER_INCH, box.height * inches[1] * MM_PER_INCH
    fits = [
        max(room - fixed, room / 2) / mm for room, fixed, mm in zip((across, along), words, size, strict=True)
    ]
    return float(min(fits))


def make_sheets(n_sheets: int, n_columns: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """Make a figure of equal sheets of `width` by `height` mm, row by row."""
    import matplotlib.pyplot as plt

    n_rows = -(-n_sheets // n_columns)
    full_width = width + MARGIN["left"] + MARGIN["right"]
    full_height = height + MARGIN["top"] + MARGIN["bottom"]
    size = np.array([n_columns * full_width, n_rows * full_height])
    figure = plt.figure(figsize=tuple(size / MM_PER_INCH))
    axes = []
    for sheet in range(n_sheets):
        row, column = divmod(sheet, n_columns)
        corner = np.array(
            [
                column * full_width + MARGIN["left"],
                (n_rows - 1 - row) * full_height + MARGIN["bottom"],
            ]
        )
        axes.append(figure.add_axes((*(corner / size), *(np.array([width, height]) / size))))
    return figure, axes


def check_axes(ax: Any, n_axes: int, what: str) -> list[Axes]:
    """Return the given axes as a list of the length needed."""
    from matplotlib.axes import Axes

    axes = list(np.ravel(np.asarray(ax, dtype=object)))
    if not all(isinstance(one, Axes) for one in axes):
        raise TypeError(f"ax must be matplotlib Axes or a sequence of them, got {ax!r}.")
    if len(axes) != n_axes:
        raise ValueError(f"ax must hold one Axes a {what}: {n_axes} expected, got {len(axes)}.")
    return axes


def root_figure(ax: Axes) -> Figure:
    """Return the figure that holds `ax`, also through subfigures."""
    figure = ax.get_figure(root=True)
    if figure is None:
        raise ValueError("ax must be in a figure, got Axes that were removed from theirs.")
    return figure


def as_axes(axes: Sequence[Axes]) -> Any:
    """Return one Axes alone, several as an array."""
    return axes[0] if len(axes) == 1 else np.array(axes, dtype=object)
