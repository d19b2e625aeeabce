"""Windows of one length, with weak labels, cut from records of any length."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils import Bunch
from sklearn.utils._param_validation import Interval, StrOptions, validate_params

from skecgattn._aami import AAMI_CLASSES, BEAT_CLASS, aami_class

BEAT = np.dtype([("sample", np.int64), ("symbol", "U4")])
POSITIVE = Interval(Real, 0, None, closed="neither")


@validate_params(
    {
        "records": [Bunch, list, tuple],
        "window": [POSITIVE],
        "step": [POSITIVE, None],
        "label": [StrOptions({"multilabel", "frequent"}), callable],
        "classes": ["array-like"],
    },
    prefer_skip_nested_validation=True,
)
def make_windows(
    records: Bunch | Sequence[Bunch],
    *,
    window: float = 10.0,
    step: float | None = None,
    label: str | Callable[[np.ndarray], Any] = "multilabel",
    classes: Sequence[str] = ("S", "V"),
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Cut annotated records into windows of one length, one label a window.

    Window ``k`` of a record covers the samples from ``round(k * step * sampling_rate)`` up to, but not
    including, ``round(window * sampling_rate)`` further on. What is left at a record's end, shorter than a
    window, is dropped. Beats are the annotations with a symbol of an AAMI class (N, S, V, F or Q);
    annotations of rhythm or signal quality are left out.

    Parameters
    ----------
    records : Bunch of :func:`fetch_mitbih`, or list of record Bunches
        Records with ``name``, ``patient``, ``signal`` (n_leads, n_timesteps), ``sampling_rate`` (Hz) and
        ``annotations`` (structured, with ``sample`` and ``symbol``). All need the same sampling rate and
        number of leads. Leads go by index: MIT-BIH's second lead differs between records.

    window : float, default=10.0
        Length of a window in seconds.

    step : float, default=None
        Seconds from the start of one window to that of the next. None is `window`: no gap, no overlap.

    label : {"multilabel", "frequent"} or callable, default="multilabel"
        How a window gets its label:

        - "multilabel": for each of `classes`, whether a beat of that AAMI class lies in the window;
        - "frequent": the one of `classes` with the most beats in the window, the first of them in a tie, and
          "N" where there is none;
        - a callable: gets the window's beats (structured array as in `beats`) and returns the label, or None
          to drop the window.

    classes : sequence of str, default=("S", "V")
        AAMI classes that "multilabel" and "frequent" tell apart. A callable decides by itself.

    Returns
    -------
    X : ndarray of shape (n_windows, n_leads, n_timesteps), float32
        The windows, in the unit of the records (mV).

    y : ndarray of shape (n_windows, n_classes) or (n_windows,)
        Indicator matrix (int64) for "multilabel"; labels (str) for "frequent"; what the callable returned.

    groups : ndarray of shape (n_windows,), str
        Patient of each window, for splits in which no patient straddles; the name of the record where it has
        none (None, NaN), as if it were of a patient of its own.

    beats : object ndarray of shape (n_windows,)
        The truth, for scoring only: for each window a structured array with ``sample`` (int64, index in the
        window) and ``symbol`` (WFDB's, such as "V").

    Raises
    ------
    ValueError
        If records differ in sampling rate or number of leads, lack something, or are all shorter than a
        window; if no window is left; if `classes` are not AAMI classes.

    See Also
    --------
    fetch_mitbih : Real records.
    make_ecg : Synthetic windows in the same form.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.utils import Bunch
    >>> from skecgattn.datasets import make_windows
    >>> annotations = np.array([(120, "N"), (400, "V")], dtype=[("sample", int), ("symbol", "U4")])
    >>> record = Bunch(name="a", patient="a", signal=np.zeros((2, 600)), sampling_rate=100.0,
    ...                annotations=annotations)
    >>> X, y, groups, beats = make_windows([record], window=3)
    >>> X.shape
    (2, 2, 300)
    >>> y
    array([[0, 0],
           [0, 1]])
    >>> beats[1]["sample"]
    array([100])
    """
    record_list = _record_list(records)
    rate, n_leads = float(record_list[0].sampling_rate), record_list[0].signal.shape[0]
    length = round(window * rate)
    hop = window if step is None else step
    if length < 1 or hop * rate < 1:
        raise ValueError(f"window={window} and step={hop} must cover at least one sample at {rate:g} Hz.")
    label_of = _labeller(label, classes)

    starts = []
    for record in record_list:
        room = record.signal.shape[1] - length
        candidates = np.round(np.arange(max(room, 0) / (hop * rate) + 2) * hop * rate).astype(np.int64)
        starts.append(candidates[candidates <= room])
    if not sum(map(len, starts)):
        longest = max(record.signal.shape[1] for record in record_list) / rate
        raise ValueError(f"window={window} s is longer than all records; the longest has {longest:g} s.")

    labels: list[Any] = []
    groups: list[str] = []
    truth: list[np.ndarray] = []
    kept: list[list[int]] = []
    for record, record_starts in zip(record_list, starts):
        beats = beats_of(record)
        kept.append([])
        for start in record_starts.tolist():
            first, last = np.searchsorted(beats["sample"], [start, start + length])
            inside = beats[first:last].copy()
            inside["sample"] -= start
            if (value := label_of(inside)) is None:
                continue
            kept[-1].append(start)
            labels.append(value)
            groups.append(_patient(record))
            truth.append(inside)
    if not labels:
        raise ValueError("No window is left: label returned None for all of them.")

    X = np.empty((len(labels), n_leads, length), dtype=np.float32)
    row = iter(X)
    for record, record_starts in zip(record_list, kept):
        for start in record_starts:
            next(row)[:] = record.signal[:, start : start + length]
    return X, np.asarray(labels), np.asarray(groups), as_objects(truth)


def _patient(record: Bunch) -> str:
    """Return the patient of a record; its name where none is known, and 1 for 1.0."""
    patient = record.patient
    if pd.isna(patient):
        return str(record.name)
    whole = isinstance(patient, Real) and float(patient).is_integer()
    return str(int(patient) if whole else patient)


def as_objects(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Return an object array of arrays, one-dimensional even where all have one length."""
    objects = np.empty(len(arrays), dtype=object)
    objects[:] = arrays
    return objects


def _record_list(records: Bunch | Iterable[Bunch]) -> list[Bunch]:
    if isinstance(records, Bunch):
        records = records.records if "records" in records else [records]
    record_list = list(records)
    if not record_list:
        raise ValueError("records is empty; at least one record is required.")
    for index, record in enumerate(record_list):
        needed = ("name", "patient", "signal", "sampling_rate", "annotations")
        if missing := [key for key in needed if not hasattr(record, key)]:
            raise ValueError(
                f"records[{index}] must be a record as fetch_mitbih gives it, but lacks {missing}."
            )
        if np.ndim(record.signal) != 2:
            raise ValueError(
                f"The signal of record {record.name} must have shape (n_leads, n_timesteps), got "
                f"{np.shape(record.signal)}."
            )
    for what, values in {
        "sampling rate": {record.name: float(record.sampling_rate) for record in record_list},
        "number of leads": {record.name: record.signal.shape[0] for record in record_list},
    }.items():
        if len(set(values.values())) > 1:
            examples = {value: name for name, value in values.items()}
            found = ", ".join(f"{value:g} (record {name})" for value, name in examples.items())
            raise ValueError(f"All records must have the same {what}, got {found}. Make them equal first.")
    return record_list


def beats_of(record: Bunch) -> np.ndarray:
    """Return the record's annotated beats in the order of time."""
    annotations = record.annotations[np.isin(record.annotations["symbol"], list(BEAT_CLASS))]
    beats = np.empty(len(annotations), dtype=BEAT)
    for field in ("sample", "symbol"):
        beats[field] = annotations[field]
    return beats[np.argsort(beats["sample"], kind="stable")]


def _labeller(
    label: str | Callable[[np.ndarray], Any], classes: Iterable[str]
) -> Callable[[np.ndarray], Any]:
    """Return the function that labels the beats of a window."""
    if not isinstance(label, str):
        return label
    names = [str(name) for name in classes]
    allowed = [name for name in AAMI_CLASSES if label == "multilabel" or name != "N"]
    if not names or len(set(names)) < len(names) or not set(names) <= set(allowed):
        raise ValueError(f"classes must be different ones of {allowed} for label={label!r}, got {names}.")

    def count(beats: np.ndarray) -> list[int]:
        found: Counter[Hashable] = Counter(map(aami_class, beats["symbol"].tolist()))
        return [found[name] for name in names]

    def multilabel(beats: np.ndarray) -> list[int]:
        return [int(n > 0) for n in count(beats)]

    def frequent(beats: np.ndarray) -> str:
        counts = count(beats)
        return names[counts.index(max(counts))] if any(counts) else "N"

    return multilabel if label == "multilabel" else frequent
