"""Mean grades of a grade study, drawn."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from sklearn.utils import Bunch
from sklearn.utils._param_validation import validate_params

from .._words import counted
from ._grade_files import GRADES
from ._grade_statistics import summarise_grades
from ._paper import BLUE, INK, MUTED, check_axes, root_figure

MARKERS = "os^Dv<>Pph*"
LEGEND_COLUMNS = 4


class GradeStudyDisplay:
    """Mean grade of each method with its interval, and the means of each expert.

    Experts differ in their markers; nothing depends on colour.

    It is recommended to make a display with :meth:`from_files` or :meth:`from_summary`.

    Parameters
    ----------
    summary : :class:`~sklearn.utils.Bunch`
        What :func:`summarise_grades` has returned.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes.
    figure_ : matplotlib Figure
        The figure.
    errorbar_ : `ErrorbarContainer`
        The means and their intervals.
    experts_ : dict of str to `Line2D`
        The means of each expert by name; empty for ``show_experts=False`` and for a single expert.

    See Also
    --------
    summarise_grades : The numbers drawn.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn.utils import Bunch
    >>> from skecgattn.inspection import GradeStudyDisplay
    >>> methods = pd.DataFrame(
    ...     {"mean": [4.2, 2.5], "low": [3.9, 2.0], "high": [4.5, 3.0]}, index=["ours", "rival"]
    ... )
    >>> experts = pd.DataFrame({"ours": [4.1, 4.3], "rival": [2.4, 2.6]}, index=["AB", "CD"])
    >>> summary = Bunch(methods=methods, experts=experts, confidence=0.95, n_ecgs=20, n_experts=2)
    >>> display = GradeStudyDisplay.from_summary(summary)
    >>> [tick.get_text() for tick in display.ax_.get_yticklabels()]
    ['ours', 'rival']
    """

    def __init__(self, *, summary: Bunch) -> None:
        self.summary = summary

    @classmethod
    def from_files(
        cls,
        key: str | os.PathLike[str],
        files: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        *,
        confidence: float = 0.95,
        **plot_kw: Any,
    ) -> Self:
        """Draw the grades in experts' files.

        Parameters
        ----------
        key : str or path-like
            The ``.key.json`` of the study.
        files : path or sequence of paths
            The files that experts have exported.
        confidence : float, default=0.95
            Coverage of the intervals.
        **plot_kw : dict
            Keyword arguments of :meth:`plot`.

        Returns
        -------
        display : GradeStudyDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If a file cannot be used, see :func:`summarise_grades`.
        """
        return cls.from_summary(summarise_grades(key, files, confidence=confidence), **plot_kw)

    @classmethod
    def from_summary(cls, summary: Bunch, **plot_kw: Any) -> Self:
        """Draw a summary.

        Parameters
        ----------
        summary : :class:`~sklearn.utils.Bunch`
            What :func:`summarise_grades` has returned.
        **plot_kw : dict
            Keyword arguments of :meth:`plot`.

        Returns
        -------
        display : GradeStudyDisplay
            The display, drawn.
        """
        return cls(summary=summary).plot(**plot_kw)

    @validate_params({"show_experts": ["boolean"]}, prefer_skip_nested_validation=True)
    def plot(self, *, ax: Any = None, show_experts: bool = True) -> Self:
        """Draw the display.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes a figure.
        show_experts : bool, default=True
            Whether to draw each expert's means too, where there are several experts.

        Returns
        -------
        display : GradeStudyDisplay
            The display itself.

        Raises
        ------
        TypeError
            If `ax` is not an Axes.
        """
        import matplotlib.pyplot as plt

        methods, experts = self.summary.methods, self.summary.experts
        if ax is None:
            _, ax = plt.subplots(figsize=(6.4, 1.5 + 0.6 * len(methods)), layout="constrained")
        (self.ax_,) = check_axes(ax, 1, "study")
        self.figure_ = root_figure(self.ax_)
        rows = np.arange(len(methods))
        self.experts_: dict[str, Any] = {}
        if show_experts and len(experts) > 1:
            for k, (expert, means) in enumerate(experts.iterrows()):
                (self.experts_[str(expert)],) = self.ax_.plot(
                    means[methods.index],
                    rows + 0.24,
                    linestyle="none",
                    marker=MARKERS[k % len(MARKERS)],
                    markersize=5,
                    markerfacecolor="none",
                    markeredgecolor=MUTED,
                    label=str(expert),
                )
        mean = methods["mean"].to_numpy()
        self.errorbar_ = self.ax_.errorbar(
            mean,
            rows,
            xerr=np.stack([mean - methods["low"], methods["high"] - mean]),
            fmt="o",
            color=INK,
            markerfacecolor=BLUE,
            markeredgecolor=INK,
            markersize=8,
            capsize=4,
            linewidth=1.6,
            label=f"mean, {100 * self.summary.confidence:g}% interval",
        )
        for row, value in zip(rows, mean, strict=True):
            self.ax_.annotate(
                f"{value:.2f}", (value, row), (0, 7), textcoords="offset points", ha="center", fontsize=8
            )
        count = f"{counted(self.summary.n_ecgs, 'ECG')}, {counted(self.summary.n_experts, 'expert')}"
        self.ax_.set(
            xlim=(GRADES[0] - 0.15, GRADES[-1] + 0.15),
            ylim=(len(methods) - 0.45, -0.55),
            xlabel=f"Mean grade ({count})",
        )
        self.ax_.set_xticks(
            GRADES, [f"{GRADES[0]}\nnot at all", *map(str, GRADES[1:-1]), f"{GRADES[-1]}\nfully"]
        )
        self.ax_.set_yticks(rows, [str(name) for name in methods.index])
        self.ax_.grid(axis="x", color="#dddddd", linewidth=0.6)
        self.ax_.set_axisbelow(True)
        for side in ("top", "right", "left"):
            self.ax_.spines[side].set_visible(False)
        self.ax_.tick_params(axis="y", length=0)
        handles = [self.errorbar_, *self.experts_.values()]
        self.ax_.legend(
            handles=handles,
            loc="lower left",
            bbox_to_anchor=(0, 1),
            ncols=min(len(handles), LEGEND_COLUMNS),
            frameon=False,
            fontsize=8,
            columnspacing=1.2,
            handletextpad=0.4,
        )
        return self
