"""The located beats of many ECGs on top of each other, by class."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils._param_validation import Interval, validate_params

from .._unpack import unpack
from ._input import check_beats, check_ecgs, rescale_beats
from ._paper import (
    BLUE,
    INK,
    MUTED,
    as_axes,
    check_axes,
    draw_paper,
    figure_scale,
    make_sheets,
    paper_note,
    root_figure,
    time_ticks,
)

_POSITIVE = Interval(Real, 0, None, closed="neither")
_INPUT: dict[str, list[Any]] = {
    "X": ["array-like"],
    "sampling_rate": [_POSITIVE, None],
    "lead": [Integral],
    "before": [_POSITIVE],
    "after": [_POSITIVE],
}
_PLOT: dict[str, list[Any]] = {
    "speed": [_POSITIVE],
    "gain": [_POSITIVE],
    "n_columns": [Interval(Integral, 1, None, closed="left")],
    "line_kw": [dict, None],
    "mean_kw": [dict, None],
}
HEIGHT_RANGE = (2.0, 8.0)  # mV of paper


class BeatGalleryDisplay:
    """The beats that the map picked, aligned on the R peak, one panel a class.

    Every beat is a thin line, their mean a thick one, on ECG paper with true proportions and the same scale
    in all panels. The median of each excerpt is drawn at 0 mV, so that baseline wander does not spread the
    beats.
    Samples before the start or after the end of an ECG are left out of lines and means.

    It is recommended to make a display with :meth:`from_estimator` or :meth:`from_beats`.

    Parameters
    ----------
    excerpts : dict of str to ndarray of shape (n_beats, n_excerpt)
        Excerpts of the ECG around the beats of each class, in mV; NaN where the ECG has no samples.
    time : ndarray of shape (n_excerpt,)
        Time of the samples in seconds; 0 is the R peak.
    lead_name : str, default=None
        Name of the lead that the excerpts are from.

    Attributes
    ----------
    ax_ : matplotlib Axes, or ndarray of Axes of shape (n_classes,)
        The panels.
    figure_ : matplotlib Figure
        The figure.
    lines_ : list of n_classes `LineCollection`
        The beats.
    means_ : list of n_classes `Line2D`
        Their means.

    See Also
    --------
    AttentionMapDisplay : One ECG with its map and beats.

    Examples
    --------
    >>> import numpy as np
    >>> from skecgattn.inspection import BeatGalleryDisplay
    >>> X = np.random.default_rng(0).normal(0, 0.1, size=(3, 1000))
    >>> located = [np.array([(500, "V")], dtype=[("sample", "i8"), ("label", "U4")])] * 3
    >>> display = BeatGalleryDisplay.from_beats(X, located, sampling_rate=360)
    >>> display.ax_.get_title(loc="left")
    'V'
    >>> len(display.lines_[0].get_segments())
    3
    """

    def __init__(self, *, excerpts: dict[str, NDArray], time: NDArray, lead_name: str | None = None) -> None:
        self.excerpts = excerpts
        self.time = time
        self.lead_name = lead_name

    @classmethod
    @validate_params(_INPUT, prefer_skip_nested_validation=False)
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        *,
        sampling_rate: float | None = None,
        lead: int = 0,
        lead_name: str | None = None,
        before: float = 0.3,
        after: float = 0.5,
        **plot_kw: Any,
    ) -> Self:
        """Draw the beats that a fitted estimator locates.

        Parameters
        ----------
        estimator : fitted estimator
            Has a method ``locate``; or a fitted `Pipeline` or search that ends in such an estimator. Excerpts
            are of the ECG before a pipeline's transformers.
        X : array-like of shape (n_samples, n_timesteps) or (n_samples, n_leads, n_timesteps)
            ECGs in mV.
        sampling_rate : float, default=None
            Samples a second of `X`. None takes ``estimator.sampling_rate`` (of a pipeline's last step, times
            the factor by which its transformers resample).
        lead : int, default=0
            Index of the lead drawn.
        lead_name : str, default=None
            Name of that lead, for the title.
        before, after : float, default=0.3 and 0.5
            Seconds drawn before and after the R peak.
        **plot_kw : dict
            Keyword arguments of :meth:`plot`.

        Returns
        -------
        display : BeatGalleryDisplay
            The display, drawn.

        Raises
        ------
        TypeError
            If the estimator has no ``locate``.
        ValueError
            If `sampling_rate` is given neither here nor by the estimator, or `lead` is out of range.
        """
        n_timesteps = check_ecgs(X).shape[-1]
        model, seen = unpack(estimator, X, "locate")
        ratio = n_timesteps / np.shape(seen)[-1]
        if sampling_rate is None:
            rate = getattr(model, "sampling_rate", None)
            if rate is None:
                raise ValueError(
                    "sampling_rate must be given, in samples a second: the estimator has none, got None."
                )
            sampling_rate = float(rate * ratio)
        located = [rescale_beats(np.asarray(found), ratio, n_timesteps) for found in model.locate(seen)]
        return cls.from_beats(
            X,
            located,
            sampling_rate=sampling_rate,
            lead=lead,
            lead_name=lead_name,
            before=before,
            after=after,
            **plot_kw,
        )

    @classmethod
    @validate_params(
        {**_INPUT, "located": ["array-like"], "sampling_rate": [_POSITIVE]},
        prefer_skip_nested_validation=False,
    )
    def from_beats(
        cls,
        X: ArrayLike,
        located: Sequence[NDArray],
        *,
        sampling_rate: float,
        lead: int = 0,
        lead_name: str | None = None,
        before: float = 0.3,
        after: float = 0.5,
        **plot_kw: Any,
    ) -> Self:
        """Draw beats that are located already.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_timesteps) or (n_samples, n_leads, n_timesteps)
            ECGs in mV.
        located : sequence of n_samples structured arrays
            The beats of each ECG, with the fields ``sample`` (R peak) and ``label``.
        sampling_rate : float
            Samples a second of `X`.
        lead : int, default=0
            Index of the lead drawn.
        lead_name : str, default=None
            Name of that lead, for the title.
        before, after : float, default=0.3 and 0.5
            Seconds drawn before and after the R peak.
        **plot_kw : dict
            Keyword arguments of :meth:`plot`.

        Returns
        -------
        display : BeatGalleryDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If lengths differ, a field is missing, a beat lies outside its ECG, or `lead` is out of range.
        """
        ecgs = check_ecgs(X)
        n_samples, n_leads, n_timesteps = ecgs.shape
        if not -n_leads <= lead < n_leads:
            raise ValueError(f"lead={lead} is out of range: X has {n_leads} lead(s).")
        if len(located) != n_samples:
            raise ValueError(f"located must hold one array an ECG: {n_samples} expected, got {len(located)}.")
        offsets = np.arange(-round(before * sampling_rate), round(after * sampling_rate) + 1)
        groups: dict[str, list[NDArray]] = {}
        for sample, ecg in enumerate(ecgs[:, lead]):
            found = check_beats(
                located[sample], sample, n_samples, n_timesteps, f"located[{sample}]", ("sample", "label")
            )
            for beat in found if found is not None else ():
                index = beat["sample"] + offsets
                inside = (index >= 0) & (index < n_timesteps)
                excerpt = np.where(inside, ecg[index.clip(0, n_timesteps - 1)], np.nan)
                groups.setdefault(str(beat["label"]), []).append(excerpt - np.nanmedian(excerpt))
        excerpts = {label: np.array(groups[label]) for label in sorted(groups)}
        return cls(excerpts=excerpts, time=offsets / sampling_rate, lead_name=lead_name).plot(**plot_kw)

    @validate_params(_PLOT, prefer_skip_nested_validation=True)
    def plot(
        self,
        *,
        ax: Any = None,
        speed: float = 25.0,
        gain: float = 10.0,
        n_columns: int = 4,
        line_kw: dict[str, Any] | None = None,
        mean_kw: dict[str, Any] | None = None,
    ) -> Self:
        """Draw the display.

        Parameters
        ----------
        ax : matplotlib Axes or sequence of n_classes Axes, default=None
            Axes to draw on, one a class, in sorted order of the classes; one where no beat was located. None
            makes a figure, enlarged so that the beats are easily seen.
        speed : float, default=25.0
            Speed of the paper in mm/s.
        gain : float, default=10.0
            Height of the paper in mm/mV.
        n_columns : int, default=4
            Number of panels beside each other in a new figure.
        line_kw : dict, default=None
            Keyword arguments of the beats' `LineCollection`.
        mean_kw : dict, default=None
            Keyword arguments of the means' `Line2D`.

        Returns
        -------
        display : BeatGalleryDisplay
            The display itself.

        Raises
        ------
        ValueError
            If the number of axes is not that of the classes.
        TypeError
            If `ax` is not made of Axes.
        """
        xlim, ylim = (float(self.time[0]), float(self.time[-1])), self._limits(gain)
        width, height = (xlim[1] - xlim[0]) * speed, (ylim[1] - ylim[0]) * gain
        n_panels = max(1, len(self.excerpts))
        if ax is None:
            n_columns = min(n_columns, n_panels)
            scale = figure_scale(width)
            self.figure_, axes = make_sheets(n_panels, n_columns, width * scale, height * scale)
        else:
            axes = check_axes(ax, n_panels, "class")
            self.figure_ = root_figure(axes[0])
        self.ax_ = as_axes(axes)
        self.lines_: list[Any] = []
        self.means_: list[Any] = []
        for one in axes:
            draw_paper(one, xlim, ylim, mm_per_x=speed, mm_per_mv=gain)
            time_ticks(one, *xlim)
            one.axvline(0, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
        for one, (label, excerpts) in zip(axes, self.excerpts.items(), strict=False):
            self._draw_class(one, label, excerpts, line_kw or {}, mean_kw or {})
        if not self.excerpts:
            axes[0].text(0.5, 0.5, "no beat located", transform=axes[0].transAxes, color=INK, ha="center")
        for one in axes:
            one.set_xlabel(f"Time from R peak (s)\n{paper_note(speed, gain)}", loc="left", fontsize=8)
        return self

    def _limits(self, gain: float) -> tuple[float, float]:
        """Return limits that hold the beats but not single artefacts, on whole mm."""
        drawn = [values[np.isfinite(values)] for values in self.excerpts.values()]
        low, high = np.quantile(np.concatenate(drawn), [0.001, 0.999]) if drawn else (-0.5, 1.5)
        if drawn:
            means = np.concatenate([_mean(values) for values in self.excerpts.values()])
            low, high = min(low, np.nanmin(means)), max(high, np.nanmax(means))
        low, high = low - 0.3, high + 0.3
        low, high = max(low, -HEIGHT_RANGE[1] / 2), min(high, HEIGHT_RANGE[1] / 2)
        missing = max(0.0, HEIGHT_RANGE[0] - (high - low)) / 2
        return float(np.floor((low - missing) * gain) / gain), float(np.ceil((high + missing) * gain) / gain)

    def _draw_class(
        self, ax: Any, label: str, excerpts: NDArray, line_kw: dict[str, Any], mean_kw: dict[str, Any]
    ) -> None:
        from matplotlib.collections import LineCollection
        from matplotlib.patheffects import Normal, Stroke

        segments = []
        for excerpt in excerpts:
            inside = np.isfinite(excerpt)
            segments.append(np.column_stack([self.time[inside], excerpt[inside]]))
        options = {"colors": BLUE, "linewidths": 0.7, "alpha": float(np.clip(8 / len(excerpts), 0.08, 0.6))}
        lines = LineCollection(segments, **{**options, "zorder": 2, **line_kw})
        self.lines_.append(ax.add_collection(lines, autolim=False))
        casing = [Stroke(linewidth=4, foreground="white"), Normal()]
        drawn = {"color": INK, "linewidth": 2.0, "zorder": 3, "path_effects": casing, **mean_kw}
        self.means_ += ax.plot(self.time, _mean(excerpts), **drawn)
        ax.set_title(label, loc="left", fontsize=11, fontweight="bold")
        plural = "" if len(excerpts) == 1 else "s"
        lead = f" \N{MIDDLE DOT} {self.lead_name}" if self.lead_name else ""
        ax.set_title(f"{len(excerpts)} beat{plural}{lead}", loc="right", fontsize=8)


def _mean(excerpts: NDArray) -> NDArray:
    """Mean over the beats that have the sample; NaN where none has."""
    inside = np.isfinite(excerpts)
    count = inside.sum(axis=0)
    total = np.where(inside, excerpts, 0).sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
