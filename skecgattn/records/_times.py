"""What a column of times, in a table of samples, tells of their sampling rate."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

RATES = 20.0, 5000.0
"""Sampling rates of ECGs in Hz. Times that make another one are in another unit, or no times."""

LOWEST_GUESS = 60.0
"""Hz from which a rate may tell the unit."""

EPOCH = 1e9, 3e9
"""Seconds since 1970 by which times in millionths and billionths of a second are known."""

TOLD = 0.005
"""Largest uncertainty, as a share, of a sampling rate that times tell."""

SLACK = 0.01
"""Share by which a sampling rate that is given may differ from that of the times: clocks are wrong, too."""

DRIFT, STRAY = 1e-3, 3.0
"""Share, and number, of samples by which the last time may lie elsewhere than the first ones let expect."""

DAY, HOUR = 86400.0, 3600.0

FEWEST = 8
"""Times that a rate is told by at least."""

_SECONDS = {
    **dict.fromkeys(["s", "sec", "secs", "second", "seconds"], 1.0),
    **dict.fromkeys(["ms", "msec", "millisecond", "milliseconds"], 1e-3),
    **dict.fromkeys(["us", "usec", "\u00b5s", "\u03bcs", "microsecond", "microseconds"], 1e-6),
    **dict.fromkeys(["ns", "nsec", "nanosecond", "nanoseconds"], 1e-9),
    **dict.fromkeys(["min", "minute", "minutes"], 60.0),
    **dict.fromkeys(["h", "hour", "hours"], 3600.0),
}
_BARE = {"s", "sec", "seconds", "ms", "msec", "milliseconds"}
_NAME = re.compile(
    r"(?:t|(?:[a-z]+[ _])?(?:time|timestamp|datetime|date))\s*(?:[ _(\[]\s*(?P<unit>[^\W\d_]+)\s*[)\]]?)?"
)


class Clock(NamedTuple):
    """The sampling rate by a column of times."""

    rate: float
    """In Hz."""
    uncertainty: float
    """Share of the rate by which it may be wrong: times are rounded, or those of packets."""
    overall: float
    """Rate of all samples from the first to the last, which is another one where some are missing."""
    even: bool
    """Whether the two agree."""
    guessed: bool
    """Whether nothing but the rate tells the unit of whole numbers."""


def unit_in(name: str) -> float | None:
    """Return the unit in the name of a column of times, in seconds; 0 where it names none.

    None where it is the name of something else.

    Examples
    --------
    >>> [unit_in(name) for name in ("Time (ms)", "sec", "Elapsed time", "II")]
    [0.001, 1.0, 0.0, None]
    """
    name = name.strip().casefold()
    if name in _BARE:
        return _SECONDS[name]
    found = _NAME.fullmatch(name)
    return found and _SECONDS.get(found["unit"], 0.0)


def unit_of(text: str) -> float | None:
    """Return a unit of time in seconds; 0 for none or a pattern of clock times, None for anything else."""
    text = text.strip("()[] ").casefold()
    return 0.0 if not text or ":" in text else _SECONDS.get(text)


def read_clock(
    cells: Sequence[str], rows: NDArray[np.int64], n_first: int, unit: float, decimal: str
) -> Clock | None:
    """Return the sampling rate that times tell, None where they are not those of samples.

    The step from one sample to the next is the median one over a quarter of the first rows, which a gap does
    not change. A rate that may be a multiple of 10 Hz, or else of 1 Hz, is that.

    Parameters
    ----------
    cells : sequence of str
        The times of the first rows, then of the last ones: numbers, clock times or dates; "" where one is
        missing. The very last one does not count, as it may be cut off.
    rows : ndarray of int
        Their rows, ascending.
    n_first : int
        How many of them are of the first rows.
    unit : float
        Of numbers, in seconds; with 0 it is a second or a thousandth, a millionth, a billionth of one,
        whichever makes the rate that of an ECG.
    decimal : str
        Decimal sign.
    """
    texts = pd.Series(list(cells)[:-1], dtype=str).str.strip(" '[]\"").str.replace(decimal, ".")
    times, clock = _values(texts)
    known = np.isfinite(times)
    n_first = int(known[:n_first].sum())
    times, rows = times[known], rows[:-1][known]
    if n_first < FEWEST:
        return None
    turn = {"of day": DAY, "of hour": HOUR}.get(clock, 0.0)
    if turn:
        times = times + turn * np.cumsum(np.diff(times, prepend=times[0]) < -turn / 2)
    first = times[:n_first]
    step, noise, lag = _step(first, rows[:n_first])
    if not step > 0 or any((np.diff(part) < 0).any() for part in (first, times[n_first:])):
        return None
    steps = np.diff(first)
    if clock:
        unit = 1.0
    decimals = texts[known].str.extract(r"\.(\d+)", expand=False).str.len().max()
    guessed = not unit and np.isnan(decimals)
    if not unit:
        unit = _guess_unit(times, step, counting=(steps == np.diff(rows[:n_first])).all())
    if not unit or not RATES[0] <= 1 / (step * unit) <= RATES[1]:
        return None
    rounded = [0.1 ** (0 if np.isnan(decimals) else decimals), np.spacing(np.abs(times).max()), noise]
    if steps.min() == 0:  # of several samples at once
        rounded.append(float(np.median(steps[steps > 0])))
    uncertainty = max(rounded) / (lag * step)
    stray = STRAY + max(rounded) / step
    overall, even = 1 / step, True
    for last in (n_first - 1, len(times) - 1):
        span, n_steps = times[last] - times[0], rows[last] - rows[0]
        if turn:
            span += turn * max(round((n_steps * step - span) / turn), 0)
        if even:
            overall = float(n_steps / span) if span > 0 else 0.0
            even = bool(abs(span / step - n_steps) <= stray + (DRIFT + uncertainty) * n_steps)
    rate = _round_rate(1 / (step * unit), uncertainty) or (overall if even else 1 / step) / unit
    return Clock(rate, uncertainty, overall / unit, even, guessed)


def _round_rate(rate: float, uncertainty: float) -> float | None:
    """Return the multiple of 10 Hz, or else of 1 Hz, that a rate may be."""
    for whole in (10, 1):
        near = float(whole * round(rate / whole))
        if abs(near / rate - 1) <= uncertainty:
            return near
    return None


def _guess_unit(times: NDArray[np.float64], step: float, *, counting: bool) -> float:
    """Return the unit that makes the rate of times that of an ECG; 0: none does, or they count samples."""
    for unit in (1.0, 1e-3, 1e-6, 1e-9):
        of_epoch = EPOCH[0] <= times[0] * unit <= EPOCH[1]
        if (counting or unit < 1e-3) and not of_epoch:
            continue
        if LOWEST_GUESS <= 1 / (step * unit) <= RATES[1]:
            return unit
    return 0.0


def _values(texts: pd.Series) -> tuple[NDArray[np.float64], str]:
    """Return times, NaN for others, as numbers with "", or as seconds of "dates", "of day" or "of hour"."""
    numbers = pd.to_numeric(texts, errors="coerce").to_numpy(dtype=np.float64)
    if np.isfinite(numbers).any():
        return numbers, ""
    written = texts.where(texts.str.contains(":"), "")
    dates = pd.to_datetime(written, errors="coerce", format="ISO8601", utc=True)
    if texts.str.contains("-").any() and dates.notna().any():
        passed = dates - dates.dropna().iloc[0]
        return passed.dt.total_seconds().to_numpy(dtype=np.float64), "dates"
    short = written.str.count(":") == 1  # minutes and seconds
    times = pd.to_timedelta(written.where(~short, "0:" + written), errors="coerce").dt.total_seconds()
    return times.to_numpy(dtype=np.float64), "of hour" if short[written != ""].all() else "of day"


def _step(times: NDArray[np.float64], rows: NDArray[np.int64]) -> tuple[float, float, int]:
    """Return the time from one row to the next, how far times stray from that, and over how many rows."""
    lag = len(times) // 4
    spans, apart = times[lag:] - times[:-lag], rows[lag:] - rows[:-lag]
    step = float(np.median(spans / apart))
    return step, 4 * float(np.median(np.abs(spans - step * apart))), lag
