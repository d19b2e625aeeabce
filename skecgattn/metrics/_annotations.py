"""Annotated beats as flat arrays: whose they are, the class scored, and the span each covers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._aami import AAMI_CLASSES

DONT_CARE: dict[str, tuple[str, ...]] = {
    "V": AAMI_CLASSES["F"] + AAMI_CLASSES["Q"],
    "S": AAMI_CLASSES["Q"],
}
"""Symbols that are neither hits nor errors when an AAMI class is scored (ANSI/AAMI EC57)."""

POSITIVE, OTHER, IGNORED = 1, 0, -1


def resolve_label(
    label: str | Sequence[str], ignore: Sequence[str] | None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the WFDB symbols of the class scored and those that are neither hits nor errors."""
    if isinstance(label, str):
        if label not in AAMI_CLASSES:
            raise ValueError(
                f"label must be an AAMI class, one of {list(AAMI_CLASSES)}, or a tuple of WFDB beat symbols; "
                f"got {label!r}."
            )
        symbols = AAMI_CLASSES[label]
        default = DONT_CARE.get(label, ())
    else:
        symbols, default = tuple(label), ()
        if not symbols or not all(isinstance(symbol, str) for symbol in symbols):
            raise ValueError(f"label must name at least one WFDB beat symbol as a string; got {label!r}.")
    if isinstance(ignore, str):
        raise TypeError(f"ignore must be a tuple of WFDB beat symbols or None; got the string {ignore!r}.")
    ignored = default if ignore is None else tuple(ignore)
    if not all(isinstance(symbol, str) for symbol in ignored):
        raise ValueError(f"ignore must hold WFDB beat symbols as strings; got {ignore!r}.")
    both = sorted(set(symbols) & set(ignored))
    if both:
        raise ValueError(f"ignore must not hold symbols of the class scored; got {both} in both.")
    return symbols, ignored


def flatten(beats: Sequence[NDArray], field: str, name: str) -> tuple[NDArray, NDArray, NDArray]:
    """Return the window index, sample and `field` of all beats, sorted by window, then sample."""
    for position, window in enumerate(beats):
        names = getattr(getattr(window, "dtype", None), "names", None) or ()
        if "sample" not in names or field not in names:
            raise ValueError(
                f"{name} must hold one structured array a window with the fields 'sample' and {field!r}; "
                f"got {type(window).__name__} with fields {list(names)} at index {position}."
            )
    index = np.repeat(np.arange(len(beats)), [len(window) for window in beats])
    if index.size == 0:
        return index, np.empty(0, dtype=np.int64), np.empty(0, dtype=object)
    sample = np.concatenate([window["sample"] for window in beats]).astype(np.int64)
    values = np.concatenate([np.asarray(window[field], dtype=object) for window in beats])
    order = np.lexsort((sample, index))
    return index[order], sample[order], values[order]


def _is_whole(column: Any) -> bool:
    """Tell whether a column of a DataFrame holds whole numbers, though of another type."""
    try:
        values = np.asarray(column, dtype=np.float64)
    except (TypeError, ValueError):
        return False
    return bool(np.isfinite(values).all() and (values == np.round(values)).all())


def split_frame(beats: Any, n_samples: int) -> list[NDArray]:
    """Return the beats of a DataFrame, one row a beat, as an array of ``sample`` and ``label`` a window."""
    if missing := [name for name in ("ecg", "sample", "label") if name not in beats.columns]:
        raise ValueError(
            f"beats_pred must have the columns 'ecg', 'sample' and 'label' as a DataFrame; lacks {missing}."
        )
    for name in ("ecg", "sample"):
        if beats[name].to_numpy().dtype.kind not in "iu" and len(beats) and not _is_whole(beats[name]):
            raise ValueError(
                f"beats_pred must have whole numbers in its column {name!r}; got {beats[name].dtype}."
            )
    window = np.asarray(beats["ecg"], dtype=np.int64)
    if len(window) and not (window.min() >= 0 and window.max() < n_samples):
        raise ValueError(
            f"beats_pred must have windows 0 to {n_samples - 1} in its column 'ecg', one an entry of "
            f"beats_true; got {window.min()} to {window.max()}."
        )
    order = np.argsort(window, kind="stable")
    rows = np.empty(len(window), dtype=[("sample", np.int64), ("label", object)])
    for name in ("sample", "label"):
        rows[name] = beats[name].to_numpy()[order]
    return np.split(rows, np.searchsorted(window[order], np.arange(1, n_samples))) if n_samples else []


def beat_roles(symbol: NDArray, symbols: tuple[str, ...], ignored: tuple[str, ...]) -> NDArray[np.int8]:
    """Return for each beat whether it is of the class scored, another, or to be left out."""
    roles = {**dict.fromkeys(ignored, IGNORED), **dict.fromkeys(symbols, POSITIVE)}
    texts = (one.decode() if isinstance(one, bytes) else str(one) for one in symbol)
    return np.array([roles.get(text, OTHER) for text in texts], dtype=np.int8)


def _spans(window: NDArray, sample: NDArray, n_timesteps: int) -> tuple[NDArray, NDArray]:
    """Return starts and stops, midpoint to midpoint, of beats sorted by window and sample."""
    outside = (sample < 0) | (sample >= n_timesteps)
    if outside.any():
        raise ValueError(
            f"beats must lie inside their window, at samples 0 to {n_timesteps - 1}; "
            f"got sample {sample[outside][0]}."
        )
    start = np.zeros(len(sample), dtype=np.int64)
    stop = np.full(len(sample), n_timesteps, dtype=np.int64)
    neighbours = np.flatnonzero(window[1:] == window[:-1])
    middle = (sample[neighbours] + sample[neighbours + 1] + 1) // 2
    stop[neighbours], start[neighbours + 1] = middle, middle
    return start, stop


def beat_spans(beats: NDArray, n_timesteps: int) -> NDArray[np.int64]:
    """Return the span of each annotated beat of one window.

    A span runs from the midpoint between a beat's R peak and the one before to the midpoint between it and
    the next; the first and the last run to the edges of the window, so that the spans tile it. A sample as
    far from one R peak as from the next belongs to the later beat.

    Parameters
    ----------
    beats : structured ndarray of shape (n_beats,)
        All annotated beats of the window, of any class, with the field ``sample``, in ascending order.
    n_timesteps : int
        Length of the window in samples.

    Returns
    -------
    spans : ndarray of shape (n_beats, 2)
        Start and stop of each beat in samples; the stop is not included.

    Raises
    ------
    ValueError
        If the beats are not in ascending order, or one lies outside the window.

    References
    ----------
    .. [1] Suh, J., Kim, J., Kwon, S. et al. "Visual interpretation of deep learning model in ECG
       classification: A comprehensive evaluation of feature attribution methods." Computers in Biology and
       Medicine 182, 2024.

    Examples
    --------
    >>> import numpy as np
    >>> from skecgattn.metrics import beat_spans
    >>> beats = np.array([(100, "N"), (200, "V"), (400, "N")], dtype=[("sample", "i8"), ("symbol", "U4")])
    >>> beat_spans(beats, 500)
    array([[  0, 150],
           [150, 300],
           [300, 500]])
    """
    sample = np.asarray(beats["sample"], dtype=np.int64)
    if (np.diff(sample) < 0).any():
        raise ValueError("beats must be in ascending order of 'sample'.")
    return np.stack(_spans(np.zeros(len(sample)), sample, n_timesteps), axis=1)


@dataclass(frozen=True)
class MapTruth:
    """The annotated beats behind a set of maps, with their spans and roles.

    ``window``, ``start``, ``stop`` and ``role`` have one entry a beat, ``role_map`` (n_samples, n_timesteps)
    one a sample, ``used`` (n_samples,) says which windows are scored.
    """

    window: NDArray
    start: NDArray
    stop: NDArray
    role: NDArray
    role_map: NDArray
    used: NDArray

    @property
    def with_class(self) -> NDArray:
        """Indices of the windows scored that hold a beat of the class."""
        holds = np.zeros(len(self.used), dtype=bool)
        holds[self.window[(self.role == POSITIVE) & (self.stop > self.start)]] = True
        return np.flatnonzero(holds & self.used)


def map_truth(
    maps: NDArray,
    beats: Sequence[NDArray],
    label: str | Sequence[str],
    ignore: Sequence[str] | None,
    mask: ArrayLike | None,
) -> MapTruth:
    """Check the beats behind `maps` and lay them out for scoring."""
    n_samples, n_timesteps = maps.shape
    if len(beats) != n_samples:
        raise ValueError(
            f"beats must have one entry a map, {n_samples}; got {len(beats)}. (n_samples differs from maps.)"
        )
    used = np.ones(n_samples, dtype=bool) if mask is None else np.asarray(mask)
    if used.dtype != bool or used.shape != (n_samples,):
        raise ValueError(
            f"mask must be boolean of shape ({n_samples},); got dtype {used.dtype} and shape {used.shape}."
        )
    window, sample, symbol = flatten(beats, "symbol", "beats")
    start, stop = _spans(window, sample, n_timesteps)
    role = beat_roles(symbol, *resolve_label(label, ignore))
    role_map = np.zeros((n_samples, n_timesteps), dtype=np.int8)
    # Spans tile every window that has a beat, so that repeating the roles fills whole rows.
    role_map[np.bincount(window, minlength=n_samples) > 0] = np.repeat(role, stop - start).reshape(
        -1, n_timesteps
    )
    return MapTruth(window, start, stop, role, role_map, used)
