"""What a recording's annotations add up to: rates, burden, couplets, runs, bigeminy."""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skecgattn._words import clock, counted

if TYPE_CHECKING:
    from skecgattn.records._annotations import RecordAnnotations

SHORTEST_RUN = 3
"""Beats of one class in a row that are a run; two are a couplet."""

SHORTEST_BIGEMINY = 3
"""Abnormal beats, every second heartbeat, that are bigeminy."""

RATE_INTERVALS = 8
"""RR intervals that the lowest and the highest heart rate are means of."""

HOUR = 3600.0


@dataclass(frozen=True, eq=False)
class Summary:
    """What the annotations of a recording add up to.

    Made by :meth:`RecordAnnotations.summary`. Beats are *in a row* where no other heartbeat and no
    unreadable stretch is between them. Two abnormal beats of one class in a row are a couplet, three or more
    a run [1]_. Bigeminy is where at least three abnormal beats of one class have exactly one normal beat
    between any two; that number is this library's choice.

    Parameters
    ----------
    duration : float
        Length of the recording in seconds.

    readable : float
        Seconds of it that could be read.

    n_heartbeats, n_abnormal : int
        Number of heartbeats, and of abnormal ones.

    mean_heart_rate : float
        Per minute, from all RR intervals that no unreadable stretch interrupts; NaN without any.

    min_heart_rate, max_heart_rate : float
        Lowest and highest mean rate of 8 RR intervals in a row.

    longest_rr : float
        Longest RR interval in seconds.

    classes : DataFrame
        One row a label: number of `beats`, `burden` (share of all heartbeats), beats `per_hour` of readable
        signal; `isolated` beats, `couplets` and `runs`; `longest_run` (its beats, 0 without a run),
        `longest_run_time` (when it begins, in seconds) and `longest_run_rate` (per minute), NaN without a
        run; `bigeminy_episodes` and the `bigeminy_beats` of the class in them.

    hourly : DataFrame
        One row an hour from the start of the recording: `start` and `readable` (seconds), `heartbeats`,
        `mean_heart_rate` (per minute), and a column for each label: its beats.

    References
    ----------
    .. [1] A. E. Buxton et al., "ACC/AHA/HRS 2006 key data elements and definitions for electrophysiological
       studies and procedures", Circulation 114(23), 2006.

    Examples
    --------
    >>> import numpy as np
    >>> from skecgattn.records import RecordAnnotations
    >>> fields = [("sample", int), ("label", object), ("score", float), ("abnormal", bool)]
    >>> rows = [(k * 250, "V" if k % 2 else "N", 0.9, k % 2 == 1) for k in range(7)]
    >>> heartbeats = np.array(rows, dtype=fields)
    >>> annotations = RecordAnnotations.from_heartbeats(
    ...     heartbeats, [], record_name="a", sampling_rate=250, n_timesteps=2000, labels=("N", "V")
    ... )
    >>> annotations.summary().n_abnormal
    3
    """

    duration: float
    readable: float
    n_heartbeats: int
    n_abnormal: int
    mean_heart_rate: float
    min_heart_rate: float
    max_heart_rate: float
    longest_rr: float
    classes: pd.DataFrame
    hourly: pd.DataFrame

    @property
    def unreadable_share(self) -> float:
        """Share of the recording that could not be read."""
        return 1 - self.readable / self.duration

    @property
    def hourly_burden(self) -> pd.DataFrame:
        """Share of each hour's heartbeats that have each label; NaN in an hour without heartbeats."""
        labels = list(self.classes.index)
        return self.hourly[labels].div(self.hourly["heartbeats"].where(self.hourly["heartbeats"] > 0), axis=0)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain numbers and lists, None for NaN: ready for JSON.

        Returns
        -------
        values : dict
            The attributes by name; `classes` by label, `hourly` as a list.
        """
        values: dict[str, Any] = {
            name: _plain(value) for name, value in vars(self).items() if not isinstance(value, pd.DataFrame)
        }
        values["unreadable_share"] = self.unreadable_share
        values["classes"] = {str(label): _plain_row(row) for label, row in self.classes.iterrows()}
        values["hourly"] = [_plain_row(row) for _, row in self.hourly.iterrows()]
        return values

    def __str__(self) -> str:
        rates = f"{self.mean_heart_rate:.0f} ({self.min_heart_rate:.0f} to {self.max_heart_rate:.0f})"
        lines = [
            f"recording      {clock(self.duration)} h, {self.unreadable_share:.1%} unreadable",
            f"heartbeats     {self.n_heartbeats}, {self.n_abnormal} abnormal",
            f"heart rate     {rates} a minute, longest RR interval {self.longest_rr:.2f} s",
        ]
        for label, row in self.classes.iterrows():
            lines.append(
                f"{label!s:<14} {row['beats']:.0f} ({row['burden']:.2%} of heartbeats, "
                f"{row['per_hour']:.1f} an hour): {row['isolated']:.0f} isolated, "
                f"{counted(row['couplets'], 'couplet')}, {counted(row['runs'], 'run')}, "
                f"longest {row['longest_run']:.0f}; "
                f"{counted(row['bigeminy_episodes'], 'episode')} of bigeminy"
            )
        return "\n".join(lines)


def summarise(annotations: RecordAnnotations) -> Summary:
    """Return the summary of a recording's annotations."""
    beats = annotations.beats
    time = beats["time"].to_numpy()
    lengths = _unbroken_rr(annotations)
    hours = np.arange(max(1, math.ceil(annotations.duration / HOUR)))
    edges = np.minimum(np.append(hours, len(hours)) * HOUR, annotations.duration)
    readable = np.diff(edges) - unreadable_seconds(annotations, edges)
    return Summary(
        duration=annotations.duration,
        readable=float(readable.sum()),
        n_heartbeats=len(beats),
        n_abnormal=int(beats["abnormal"].sum()),
        **_heart_rates(lengths),
        classes=_classes(annotations, float(readable.sum())),
        hourly=_hourly(annotations, time, lengths, hours, readable),
    )


def find_runs(annotations: RecordAnnotations, *, shortest: int = SHORTEST_RUN) -> pd.DataFrame:
    """Return the runs of abnormal beats of one class.

    Parameters
    ----------
    annotations : RecordAnnotations
        Annotations of a recording.

    shortest : int, default=3
        Number of beats in a row from which they are listed: 2 lists couplets too, 1 every abnormal beat.

    Returns
    -------
    runs : DataFrame
        One row a run, in the order of time: `label`, `n_beats`, `first` (its row in `beats`), `start` and
        `stop` (samples of the first and the last R peak), `time` (of the first, in seconds), `heart_rate`
        (per minute; NaN for a single beat).

    Examples
    --------
    >>> import numpy as np
    >>> from skecgattn.records import RecordAnnotations, find_runs
    >>> fields = [("sample", int), ("label", object), ("score", float), ("abnormal", bool)]
    >>> rows = [(k * 250, "V" if k % 2 else "N", 0.9, k % 2 == 1) for k in range(7)]
    >>> heartbeats = np.array(rows, dtype=fields)
    >>> annotations = RecordAnnotations.from_heartbeats(
    ...     heartbeats, [], record_name="a", sampling_rate=250, n_timesteps=2000, labels=("N", "V")
    ... )
    >>> find_runs(annotations, shortest=1)["time"].tolist()
    [1.0, 3.0, 5.0]
    """
    beats = annotations.beats
    broken = np.isnan(_unbroken_rr(annotations))
    labels, _ = pd.factorize(beats["label"])
    labels = np.where(beats["abnormal"], labels, -1)
    begins = np.flatnonzero((np.diff(labels, prepend=-2) != 0) | np.append(True, broken)[: len(labels)])
    n_beats = np.diff(np.append(begins, len(labels)))
    chosen = (labels[begins] >= 0) & (n_beats >= shortest)
    return _episodes(annotations, begins[chosen], begins[chosen] + n_beats[chosen] - 1, n_beats[chosen])


def find_bigeminy(annotations: RecordAnnotations, *, shortest: int = SHORTEST_BIGEMINY) -> pd.DataFrame:
    """Return the episodes of bigeminy: abnormal beats of one class with one normal beat between any two.

    Parameters
    ----------
    annotations : RecordAnnotations
        Annotations of a recording.

    shortest : int, default=3
        Number of abnormal beats from which it is an episode.

    Returns
    -------
    episodes : DataFrame
        One row an episode, with the columns of :func:`find_runs`; `n_beats` counts the abnormal beats.

    Examples
    --------
    >>> import numpy as np
    >>> from skecgattn.records import RecordAnnotations, find_bigeminy
    >>> fields = [("sample", int), ("label", object), ("score", float), ("abnormal", bool)]
    >>> rows = [(k * 250, "V" if k % 2 else "N", 0.9, k % 2 == 1) for k in range(7)]
    >>> heartbeats = np.array(rows, dtype=fields)
    >>> annotations = RecordAnnotations.from_heartbeats(
    ...     heartbeats, [], record_name="a", sampling_rate=250, n_timesteps=2000, labels=("N", "V")
    ... )
    >>> find_bigeminy(annotations)["n_beats"].tolist()
    [3]
    """
    beats = annotations.beats
    labels, _ = pd.factorize(beats["label"])
    labels = np.where(beats["abnormal"], labels, -1)
    whole = ~np.isnan(_unbroken_rr(annotations))
    # whether a beat and the one after the next are of one class, with a normal one between, unbroken
    paired = (labels[2:] == labels[:-2]) & (labels[2:] >= 0) & (labels[1:-1] < 0) & whole[1:] & whole[:-1]
    first, last = [], []
    for phase in (0, 1):  # beats with an even, and with an odd number
        links = np.flatnonzero(np.diff(np.concatenate([[False], paired[phase::2], [False]]).astype(np.int8)))
        first.append(2 * links[::2] + phase)
        last.append(2 * links[1::2] + phase)
    begins, ends = np.concatenate(first), np.concatenate(last)
    n_beats = (ends - begins) // 2 + 1
    chosen = np.flatnonzero(n_beats >= shortest)
    chosen = chosen[np.argsort(begins[chosen])]
    return _episodes(annotations, begins[chosen], ends[chosen], n_beats[chosen])


def _episodes(
    annotations: RecordAnnotations, first: NDArray, last: NDArray, n_beats: NDArray
) -> pd.DataFrame:
    beats = annotations.beats
    sample, time = beats["sample"].to_numpy(), beats["time"].to_numpy()
    seconds = time[last] - time[first]
    rates = np.full(len(first), np.nan)
    np.divide(60.0 * (last - first), seconds, out=rates, where=seconds > 0)
    return pd.DataFrame(
        {
            "label": beats["label"].to_numpy(dtype=object)[first],
            "n_beats": n_beats,
            "first": first,
            "start": sample[first],
            "stop": sample[last],
            "time": time[first],
            "heart_rate": rates,
        }
    )


def _unbroken_rr(annotations: RecordAnnotations) -> NDArray[np.float64]:
    """Return the RR intervals in seconds, NaN where an unreadable stretch interrupts them."""
    sample = annotations.beats["sample"].to_numpy()
    starts = annotations.unreadable["start"].to_numpy()
    intervals = np.diff(sample) / annotations.sampling_rate
    before = np.searchsorted(starts, sample, side="right")
    intervals[np.diff(before) > 0] = np.nan
    return intervals


def _heart_rates(intervals: NDArray[np.float64]) -> dict[str, float]:
    known = intervals[~np.isnan(intervals)]
    if len(known) == 0:
        nothing = ("mean_heart_rate", "min_heart_rate", "max_heart_rate", "longest_rr")
        return dict.fromkeys(nothing, math.nan)
    mean = 60 / float(known.mean())
    several = pd.Series(intervals).rolling(RATE_INTERVALS).mean()
    return {
        "mean_heart_rate": mean,
        "min_heart_rate": mean if several.isna().all() else 60 / float(several.max()),
        "max_heart_rate": mean if several.isna().all() else 60 / float(several.min()),
        "longest_rr": float(known.max()),
    }


def _classes(annotations: RecordAnnotations, readable: float) -> pd.DataFrame:
    found = find_runs(annotations, shortest=1)
    bigeminy = find_bigeminy(annotations)
    n_heartbeats = len(annotations.beats)
    rows: dict[Hashable, dict[str, float]] = {}
    for label in annotations.labels[1:]:
        own, episodes = found[found["label"] == label], bigeminy[bigeminy["label"] == label]
        n_beats = int(own["n_beats"].sum())
        runs = own[own["n_beats"] >= SHORTEST_RUN]
        longest = runs.loc[runs["n_beats"].idxmax()] if len(runs) else None
        rows[label] = {
            "beats": n_beats,
            "burden": n_beats / n_heartbeats if n_heartbeats else math.nan,
            "per_hour": n_beats * HOUR / readable if readable > 0 else math.nan,
            "isolated": int((own["n_beats"] == 1).sum()),
            "couplets": int((own["n_beats"] == 2).sum()),
            "runs": len(runs),
            "longest_run": 0 if longest is None else int(longest["n_beats"]),
            "longest_run_time": math.nan if longest is None else float(longest["time"]),
            "longest_run_rate": math.nan if longest is None else float(longest["heart_rate"]),
            "bigeminy_episodes": len(episodes),
            "bigeminy_beats": int(episodes["n_beats"].sum()),
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def unreadable_seconds(annotations: RecordAnnotations, edges: NDArray) -> NDArray[np.float64]:
    """Return the unreadable seconds from each edge, in seconds, to the next."""
    stretches = annotations.unreadable[["start", "stop"]].to_numpy() / annotations.sampling_rate
    starts, stops = edges[:-1, np.newaxis], edges[1:, np.newaxis]
    lost = np.minimum(stretches[:, 1], stops) - np.maximum(stretches[:, 0], starts)
    return lost.clip(min=0).sum(axis=1)


def _hourly(
    annotations: RecordAnnotations, time: NDArray, intervals: NDArray, hours: NDArray, readable: NDArray
) -> pd.DataFrame:
    hour = np.minimum((time // HOUR).astype(np.int64), hours[-1])
    whole = ~np.isnan(intervals)
    summed = np.bincount(hour[1:][whole], weights=intervals[whole], minlength=len(hours))
    n_intervals = np.bincount(hour[1:][whole], minlength=len(hours))
    rates = np.full(len(hours), np.nan)
    np.divide(60.0 * n_intervals, summed, out=rates, where=summed > 0)
    table = pd.DataFrame(
        {
            "start": hours * HOUR,
            "readable": readable,
            "heartbeats": np.bincount(hour, minlength=len(hours)),
            "mean_heart_rate": rates,
        },
        index=pd.Index(hours, name="hour"),
    )
    beats = annotations.beats
    for label in annotations.labels[1:]:
        own = ((beats["label"] == label) & beats["abnormal"]).to_numpy(dtype=bool)
        table[label] = np.bincount(hour[own], minlength=len(hours))
    return table


def _plain(value: Any) -> Any:
    number = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(number, float) and math.isnan(number) else number


def _plain_row(row: pd.Series) -> dict[str, Any]:
    return {
        str(name): int(value) if float(value).is_integer() and name in _COUNTS else _plain(value)
        for name, value in row.items()
    }


_COUNTS = {"beats", "isolated", "couplets", "runs", "longest_run", "bigeminy_episodes", "bigeminy_beats"}
