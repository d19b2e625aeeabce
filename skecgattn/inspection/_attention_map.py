"""An ECG on paper with the attention map, the annotated beats and the located beats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils._param_validation import Interval, StrOptions, validate_params

from .._unpack import unpack
from .._validation import lead_names_of
from ._input import (
    check_beats,
    check_ecgs,
    check_map,
    check_sample,
    rescale_beats,
)
from ._marks import (
    draw_band,
    draw_beat_legend,
    draw_beats,
    draw_leads,
    draw_located,
    draw_map_scale,
    draw_shaded_leads,
)
from ._paper import (
    BOX,
    INK,
    as_axes,
    axes_scale,
    check_axes,
    draw_baseline_pulse,
    draw_paper,
    figure_scale,
    make_sheets,
    paper_note,
    root_figure,
    time_ticks,
)

if TYPE_CHECKING:
    from matplotlib.colors import Colormap

SYMBOL_LANE = 6.0  # mm, above the traces
LOCATED_LANE = 9.0  # mm, below the traces
PULSE_MARGIN = 11.0  # mm, left of the traces, for the lead's name and the calibration pulse
MAX_DEFLECTION = 4.0  # mV from the median; an artefact beyond it may run over the neighbouring lead
WIDTH_WITHOUT_RATE = 250.0  # mm
LOCATED_FIELDS = ("sample", "start", "stop", "label")

_RATE: list[Any] = [Interval(Real, 0, None, closed="neither"), None]
_INPUT: dict[str, list[Any]] = {
    "X": ["array-like"],
    "sample": [Integral],
    "sampling_rate": _RATE,
    "lead_names": ["array-like", None],
}
_PLOT: dict[str, list[Any]] = {
    "style": [StrOptions({"band", "trace"})],
    "time_range": [tuple, list, None],
    "speed": [Interval(Real, 0, None, closed="neither")],
    "gain": [Interval(Real, 0, None, closed="neither")],
    "n_columns": [Interval(Integral, 1, None, closed="left")],
    "line_kw": [dict, None],
}


class AttentionMapDisplay:
    """ECG on paper with its attention map, annotated beats and located beats.

    The leads lie below each other on ECG paper with true proportions (25 mm/s and 10 mm/mV unless set), each
    with its median on a coarse line of the grid and a calibration pulse of 1 mV before it. A figure that the
    display makes itself is at true size where that gives 115 to 600 mm of width. The map, the same for all
    leads, is the strength of a band behind them, or the colour and thickness of the trace; either can be read
    in greyscale. Annotated beats are letters above the leads, located beats are triangles below them, with
    the span as a bar and the label.

    It is recommended to make a display with :meth:`from_estimator` or :meth:`from_maps`.

    Parameters
    ----------
    ecg : ndarray of shape (n_leads, n_timesteps)
        The ECG in mV.
    maps : dict of str to ndarray of shape (n_timesteps,)
        The maps in [0, 1] by their names. One panel is drawn a map.
    sampling_rate : float, default=None
        Samples a second. None counts time in samples, on paper without vertical lines.
    lead_names : sequence of n_leads str, default=None
        Names of the leads; None numbers them where there are several.
    located : dict of str to structured ndarray or None, default=None
        Located beats for each map, with the fields ``sample``, ``start``, ``stop`` and ``label``.
    beats : structured ndarray, default=None
        Annotated beats, with the fields ``sample`` and ``symbol``.

    Attributes
    ----------
    ax_ : matplotlib Axes, or ndarray of Axes of shape (n_maps,)
        The panels.
    figure_ : matplotlib Figure
        The figure.
    lines_ : list of n_maps lists of n_leads artists
        The traces: `Line2D`, or for ``style="trace"`` `LineCollection` with the map as its array.
    bands_ : list of n_maps `AxesImage`
        The bands, with the map as their array; empty for ``style="trace"``.
    beats_ : list of n_maps lists of `Text`
        The symbols of the annotated beats.
    located_ : list of n_maps `Line2D`
        The markers of the located beats, at their R peaks.
    spans_ : list of n_maps `LineCollection`
        The spans of the located beats.
    labels_ : list of n_maps lists of `Text`
        The labels of the located beats.
    colorbar_ : `Colorbar`
        The scale of the map, below the last panel.

    See Also
    --------
    BeatGalleryDisplay : The located beats of many ECGs, aligned on the R peak.

    Examples
    --------
    >>> import numpy as np
    >>> from skecgattn.inspection import AttentionMapDisplay
    >>> time = np.arange(1080) / 360
    >>> X = np.exp(-((((time % 0.8) - 0.4) / 0.02) ** 2))[None]
    >>> maps = np.exp(-(((time - 1.2) / 0.2) ** 2))[None]
    >>> beats = np.array([(144, "N"), (432, "V"), (720, "N")], dtype=[("sample", "i8"), ("symbol", "U4")])
    >>> display = AttentionMapDisplay.from_maps(X, maps, sampling_rate=360, beats=beats)
    >>> [text.get_text() for text in display.beats_[0]]
    ['N', 'V', 'N']
    >>> display.figure_.savefig("map.png")  # doctest: +SKIP
    """

    def __init__(
        self,
        *,
        ecg: NDArray,
        maps: dict[str, NDArray],
        sampling_rate: float | None = None,
        lead_names: Sequence[str] | None = None,
        located: dict[str, NDArray | None] | None = None,
        beats: NDArray | None = None,
    ) -> None:
        self.ecg = ecg
        self.maps = maps
        self.sampling_rate = sampling_rate
        self.lead_names = lead_names
        self.located = located
        self.beats = beats

    @classmethod
    @validate_params(_INPUT, prefer_skip_nested_validation=False)
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        *,
        sample: int = 0,
        target: Any = None,
        sampling_rate: float | None = None,
        lead_names: Sequence[str] | None = None,
        beats: Any = None,
        **plot_kw: Any,
    ) -> Self:
        """Draw one ECG with the map of a fitted estimator.

        The map is ``estimator.segment(X, target=target)``, the located beats are ``estimator.locate(X)``
        where the estimator has that method and knows the sampling rate. Of a pipeline the ECG before its
        transformers is drawn, in mV; where they resample, map and located beats are stretched to it.

        Parameters
        ----------
        estimator : fitted estimator
            Has a method ``segment``; or a fitted `Pipeline` or search that ends in such an estimator.
        X : array-like of shape (n_samples, n_timesteps) or (n_samples, n_leads, n_timesteps)
            ECGs in mV.
        sample : int, default=0
            Index of the ECG drawn. Only this one is passed to the estimator.
        target : class label or list of class labels, default=None
            Class whose map is drawn, with the beats located as that class only. A list gives one panel a
            class. None is the estimator's map of all classes and every located beat.
        sampling_rate : float, default=None
            Samples a second of `X`. None takes ``estimator.sampling_rate`` (of a pipeline's last step, times
            the factor by which its transformers resample).
        lead_names : sequence of n_leads str, default=None
            Names of the leads. None takes ``estimator.lead_names``; of a pipeline those of its last step, if
            the steps before keep features one to one (scikit-learn's `OneToOneFeatureMixin`).
        beats : structured array, or sequence of n_samples of them, default=None
            Annotated beats of the ECG drawn, or of all of `X`, with the fields ``sample`` and ``symbol``.
        **plot_kw : dict
            Keyword arguments of :meth:`plot`, such as `ax` and `style`.

        Returns
        -------
        display : AttentionMapDisplay
            The display, drawn.

        Raises
        ------
        TypeError
            If the estimator has no ``segment``.
        ValueError
            If a shape, an index or a range does not fit; the message names the argument.
        """
        ecgs = check_ecgs(X)
        n_samples, _, n_timesteps = ecgs.shape
        sample = check_sample(sample, n_samples)
        if hasattr(X, "iloc"):  # a DataFrame, whose columns the estimator may know
            seen = X.iloc[[sample]]
        else:
            seen = ecgs[[sample]] if np.ndim(X) == 3 else ecgs[[sample], 0]
        model, seen = unpack(estimator, seen, "segment")
        ratio = n_timesteps / np.shape(seen)[-1]
        found = None
        if hasattr(model, "locate") and getattr(model, "sampling_rate", True) is not None:
            found = rescale_beats(np.asarray(model.locate(seen)[0]), ratio, n_timesteps)
        if sampling_rate is None and (rate := getattr(model, "sampling_rate", None)) is not None:
            sampling_rate = float(rate * ratio)
        names = lead_names_of(estimator)
        if lead_names is None and names is not None and len(names) == ecgs.shape[1]:
            lead_names = names
        maps, located = {}, {}
        for one in target if isinstance(target, list | tuple | np.ndarray) else [target]:
            name = "attention map" if one is None else f"attention map, {one}"
            values = model.segment(seen) if one is None else model.segment(seen, target=one)
            centres = (np.arange(n_timesteps) + 0.5) / ratio - 0.5
            maps[name] = (
                values[0] if ratio == 1 else np.interp(centres, np.arange(np.shape(seen)[-1]), values[0])
            )
            located[name] = (
                found if found is None or one is None else found[found["label"].astype(str) == str(one)]
            )
        return cls.from_maps(
            ecgs,
            maps,
            sample=sample,
            sampling_rate=sampling_rate,
            lead_names=lead_names,
            located=located,
            beats=beats,
            **plot_kw,
        )

    @classmethod
    @validate_params({**_INPUT, "maps": ["array-like", dict]}, prefer_skip_nested_validation=False)
    def from_maps(
        cls,
        X: ArrayLike,
        maps: ArrayLike | Mapping[str, ArrayLike],
        *,
        sampling_rate: float | None,
        sample: int = 0,
        lead_names: Sequence[str] | None = None,
        located: Any = None,
        beats: Any = None,
        **plot_kw: Any,
    ) -> Self:
        """Draw one ECG with maps that are there already.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_timesteps) or (n_samples, n_leads, n_timesteps)
            ECGs in mV.
        maps : array-like of shape (n_samples, n_timesteps) or (n_timesteps,), or dict of str to such
            Maps in [0, 1] of all ECGs or of the one drawn. A dict gives one panel a map, with its name.
        sampling_rate : float or None
            Samples a second of `X`. None counts time in samples, on paper without vertical lines.
        sample : int, default=0
            Index of the ECG drawn.
        lead_names : sequence of n_leads str, default=None
            Names of the leads.
        located : structured array, or sequence of n_samples of them, or dict of such, default=None
            Located beats of the ECG drawn, or of all of `X`, with the fields ``sample``, ``start``, ``stop``
            and ``label``. A dict with the names of the maps gives each panel its own.
        beats : structured array, or sequence of n_samples of them, default=None
            Annotated beats of the ECG drawn, or of all of `X`, with the fields ``sample`` and ``symbol``.
        **plot_kw : dict
            Keyword arguments of :meth:`plot`, such as `ax` and `style`.

        Returns
        -------
        display : AttentionMapDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If a shape, an index or a range does not fit; the message names the argument.

        Examples
        --------
        Two maps of one ECG below each other, on the same ECG paper:

        >>> import numpy as np
        >>> from skecgattn.inspection import AttentionMapDisplay
        >>> rng = np.random.default_rng(0)
        >>> X, ours, rival = rng.normal(size=(2, 3, 500)), rng.random((2, 500)), rng.random((2, 500))
        >>> display = AttentionMapDisplay.from_maps(
        ...     X, {"ours": ours, "Grad-CAM": rival}, sampling_rate=250, lead_names=["I", "II", "V1"]
        ... )
        >>> [ax.get_title(loc="left") for ax in display.ax_]
        ['ours', 'Grad-CAM']
        """
        ecgs = check_ecgs(X)
        n_samples, n_leads, n_timesteps = ecgs.shape
        sample = check_sample(sample, n_samples)
        shape = (sample, n_samples, n_timesteps)
        if isinstance(maps, Mapping):
            if not maps:
                raise ValueError("maps must hold at least one map, got an empty dict.")
            checked = {str(name): check_map(value, *shape, f"maps[{name!r}]") for name, value in maps.items()}
        else:
            checked = {"attention map": check_map(maps, *shape, "maps")}
        if not isinstance(located, Mapping):
            located = dict.fromkeys(checked, located)
        if unknown := sorted(set(map(str, located)) - set(checked)):
            raise ValueError(f"located must have the names of maps, {list(checked)}, got also {unknown}.")
        if lead_names is not None and len(lead_names) != n_leads:
            raise ValueError(
                f"lead_names must hold one name a lead: {n_leads} expected, got {len(lead_names)}."
            )
        return cls(
            ecg=ecgs[sample],
            maps=checked,
            sampling_rate=sampling_rate,
            lead_names=lead_names,
            located={
                name: check_beats(located.get(name), *shape, "located", LOCATED_FIELDS) for name in checked
            },
            beats=check_beats(beats, *shape, "beats", ("sample", "symbol")),
        ).plot(**plot_kw)

    @validate_params(_PLOT, prefer_skip_nested_validation=True)
    def plot(
        self,
        *,
        ax: Any = None,
        style: str = "band",
        time_range: Sequence[float] | None = None,
        speed: float = 25.0,
        gain: float = 10.0,
        n_columns: int = 1,
        cmap: str | Colormap | None = None,
        line_kw: dict[str, Any] | None = None,
    ) -> Self:
        """Draw the display.

        Parameters
        ----------
        ax : matplotlib Axes or sequence of n_maps Axes, default=None
            Axes to draw on, one a map; the paper is shrunk to fit, with its proportions kept. None makes a
            figure.
        style : {"band", "trace"}, default="band"
            Whether the map is a band behind the leads or the colour and thickness of the trace.
        time_range : tuple of (start, stop), default=None
            Part of the ECG to draw, in seconds, or in samples where there is no sampling rate. None is all.
        speed : float, default=25.0
            Speed of the paper in mm/s. Unused where there is no sampling rate.
        gain : float, default=10.0
            Height of the paper in mm/mV.
        n_columns : int, default=1
            Number of panels beside each other in a new figure.
        cmap : str or matplotlib Colormap, default=None
            Colours of the map from 0 to 1. None is transparent to blue (band), or grey to dark blue (trace).
        line_kw : dict, default=None
            Keyword arguments of the traces' `Line2D` or, for ``style="trace"``, `LineCollection`.

        Returns
        -------
        display : AttentionMapDisplay
            The display itself.

        Raises
        ------
        ValueError
            If the number of axes is not that of the maps, or `time_range` holds no two samples.
        TypeError
            If `ax` is not made of Axes.
        """
        time, shown = self._time(time_range)
        rate = self.sampling_rate or 1.0
        end = time[-1] + (time[1] - time[0])
        mm_per_x = speed if self.sampling_rate else WIDTH_WITHOUT_RATE / (end - time[0])
        traces, baselines, top, bottom = self._arrange(shown, gain)
        words = SYMBOL_LANE * self._has_beats + LOCATED_LANE * self._has_located
        width = (end - time[0]) * mm_per_x
        height = (top - bottom) * gain
        n_maps = len(self.maps)
        if ax is None:
            scale = figure_scale(PULSE_MARGIN + width)
        else:
            axes = check_axes(ax, n_maps, "map")
            scale = min(axes_scale(one, (width, height), (PULSE_MARGIN, words)) for one in axes)
        margin, lanes = PULSE_MARGIN / min(scale, 1.0), self._lanes(scale, gain)
        if ax is None:
            sheet = (margin + width) * scale, (height + sum(lanes) * gain) * scale
            self.figure_, axes = make_sheets(n_maps, min(n_columns, n_maps), *sheet)
        else:
            self.figure_ = root_figure(axes[0])
        xlim = (time[0] - margin / mm_per_x, end)
        ylim = (bottom - lanes[1], top + lanes[0])
        names = list(
            self.lead_names
            or ([""] if len(traces) == 1 else [f"lead {lead + 1}" for lead in range(len(traces))])
        )

        self.ax_ = as_axes(axes)
        self.lines_: list[list[Any]] = []
        self.bands_: list[Any] = []
        self.beats_: list[list[Any]] = []
        self.located_: list[Any] = []
        self.spans_: list[Any] = []
        self.labels_: list[list[Any]] = []
        for one, (name, values) in zip(axes, self.maps.items(), strict=True):
            draw_paper(
                one, xlim, ylim, mm_per_x=mm_per_x, mm_per_mv=gain, time_grid=self.sampling_rate is not None
            )
            placed = traces + baselines[:, None]
            if style == "band":
                mappable = draw_band(one, time, values[shown], (bottom, top), cmap)
                self.bands_.append(mappable)
                self.lines_.append(draw_leads(one, time, placed, line_kw))
            else:
                self.lines_.append(draw_shaded_leads(one, time, placed, values[shown], cmap, line_kw))
                mappable = self.lines_[-1][0]
            for lead, baseline in zip(names, baselines, strict=True):
                draw_baseline_pulse(one, time[0], baseline, mm_per_x=mm_per_x, color=INK, linewidth=0.8)
                one.annotate(
                    str(lead),
                    (xlim[0] + 2 / mm_per_x, baseline + 1),
                    xytext=(0, 3),
                    textcoords="offset points",
                    color=INK,
                    fontsize=8,
                    fontweight="bold",
                )
            self.beats_.append(draw_beats(one, _inside(self.beats, shown), rate, top + lanes[0] * 0.45))
            spans, peaks, labels = draw_located(
                one,
                _inside((self.located or {}).get(name), shown),
                rate,
                (shown.start, shown.stop),
                (bottom - 0.2 * lanes[1], bottom - 0.65 * lanes[1]),
            )
            self.spans_.append(spans)
            self.located_.append(peaks)
            self.labels_.append(labels)
            if n_maps > 1 or name != "attention map":
                one.set_title(name, loc="left", fontsize=10, fontweight="bold")
            if self.sampling_rate is None:
                words_below = f"Time (samples)   \N{MIDDLE DOT}   {gain:g} mm/mV"
            else:
                time_ticks(one, time[0], end)
                words_below = f"Time (s)   \N{MIDDLE DOT}   {paper_note(mm_per_x, gain)}"
            one.set_xlabel(words_below, loc="left", fontsize=8)
        draw_beat_legend(axes[0], annotated=self._has_beats, located=self._has_located)
        label = "attention map" if n_maps == 1 else "map"
        self.colorbar_ = draw_map_scale(axes[-1], mappable, label, (mm_per_x * scale, gain * scale))
        return self

    @property
    def _has_beats(self) -> bool:
        return self.beats is not None

    @property
    def _has_located(self) -> bool:
        return any(found is not None for found in (self.located or {}).values())

    def _time(self, time_range: Sequence[float] | None) -> tuple[NDArray, slice]:
        """Return the times drawn and their slice of the samples."""
        rate = self.sampling_rate or 1.0
        time = np.arange(self.ecg.shape[-1]) / rate
        if time_range is None:
            return time, slice(0, len(time))
        start, stop = time_range
        first, last = np.searchsorted(time, [start - 0.25 / rate, stop + 0.25 / rate])
        if last - first < 2:
            raise ValueError(
                f"time_range must hold two samples or more, got {tuple(time_range)} for an ECG from 0 to "
                f"{time[-1]:g} {'s' if self.sampling_rate else 'samples'}."
            )
        return time[first:last], slice(int(first), int(last))

    def _arrange(self, shown: slice, gain: float) -> tuple[NDArray, NDArray, float, float]:
        """Return traces about their medians, baselines on coarse lines, and the top and bottom of all."""
        traces = self.ecg[:, shown] - np.median(self.ecg[:, shown], axis=1, keepdims=True)
        above = np.clip(traces.max(axis=1), 1.5, MAX_DEFLECTION)  # 1.5 mV: the pulse and the lead's name
        below = np.clip(-traces.min(axis=1), 0.3, MAX_DEFLECTION)
        box = BOX / gain
        steps = np.ceil((below[:-1] + above[1:]) / box) * box
        baselines = -np.concatenate([[0.0], np.cumsum(steps)])
        return traces, baselines, above[0] + 1 / gain, baselines[-1] - below[-1] - 2 / gain

    def _lanes(self, scale: float, gain: float) -> tuple[float, float]:
        """Return the heights, in mV, of the lanes for words, which do not shrink with the paper."""
        unit = 1 / (scale * gain)
        return SYMBOL_LANE * self._has_beats * unit, LOCATED_LANE * self._has_located * unit


def _inside(beats: NDArray | None, shown: slice) -> NDArray | list[Any]:
    """Return the beats within the samples shown."""
    if beats is None:
        return []
    return beats[(beats["sample"] >= shown.start) & (beats["sample"] < shown.stop)]
