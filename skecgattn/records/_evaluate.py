"""Score annotations of recordings beat by beat against a reference annotator, as ANSI/AAMI EC57 does."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils._param_validation import Interval, validate_params

from skecgattn._aami import AAMI_CLASSES, aami_class
from skecgattn.metrics import beat_detection
from skecgattn.metrics._annotations import DONT_CARE
from skecgattn.metrics._detection import _summary
from skecgattn.records._annotations import RecordAnnotations
from skecgattn.records._record import Record
from skecgattn.records._source import UnreadableRecordError
from skecgattn.records._symbols import BEAT_SYMBOLS, beat_symbols
from skecgattn.records._wfdb_reader import read_annotations

QRS = "QRS"
"""Name of the row that counts beats of any class."""

FLUTTER_STARTS, FLUTTER_ENDS = "[", "]"
"""WFDB symbols around ventricular flutter or fibrillation, in which there are no beats to find."""

QUALITY, UNREADABLE = "~", -1
"""WFDB's symbol of a change of signal quality, and its subtype where no lead can be read."""

NO_END = 2**52
"""Stands for the end of the recording, which annotations do not tell."""

SKIPPED = "skipped"
"""Takes the place of the symbol of reference beats that are not scored."""

COUNTS = ["tp", "fp", "fn", "ignored"]
SCORES = ["sensitivity", "positive_predictivity", "f1"]

Annotations = str | os.PathLike | Record | RecordAnnotations | np.ndarray


class _Beats(NamedTuple):
    name: str | None
    sampling_rate: float | None
    sample: NDArray[np.int64]
    symbol: NDArray
    flutter: NDArray[np.int64]
    unreadable: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class AnnotationEvaluation:
    """How well annotations agree with a reference, record by record and over all records.

    Made by :func:`evaluate_annotations`. The rows "QRS" say how well beats of any class are found.

    Parameters
    ----------
    records : DataFrame
        Indexed by ``record`` and ``class``; with the columns ``tp``, ``fp``, ``fn`` and ``ignored`` (counts),
        ``sensitivity``, ``positive_predictivity`` and ``f1``.
    skipped : Series
        Seconds of each record that were not scored.

    Examples
    --------
    >>> import numpy as np
    >>> from skecgattn.records import evaluate_annotations
    >>> beats = np.array([(100, "N"), (400, "V")], dtype=[("sample", "i8"), ("symbol", "U4")])
    >>> evaluation = evaluate_annotations([beats, beats], [beats, beats[:1]], sampling_rate=360)
    >>> evaluation.gross.loc["V", "sensitivity"], evaluation.average.loc["V", "sensitivity"]
    (np.float64(0.5), np.float64(0.5))
    """

    records: pd.DataFrame
    skipped: pd.Series

    @property
    def gross(self) -> pd.DataFrame:
        """Scores of the summed counts, indexed by class: every beat weighs the same."""
        return self._over_records("pooled")

    @property
    def average(self) -> pd.DataFrame:
        """Mean of the records' scores where they are defined, indexed by class: every record weighs the same.

        The counts are sums.
        """
        return self._over_records("group")

    def _over_records(self, average: str) -> pd.DataFrame:
        rows = {}
        for name, counts in self.records[COUNTS].groupby(level="class", sort=False):
            rows[name] = _summary(counts.to_numpy().T, np.arange(len(counts)), average, np.nan)
        return pd.DataFrame.from_dict(rows, orient="index", columns=COUNTS + SCORES).rename_axis("class")

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data that JSON can hold, with None for undefined scores.

        Returns
        -------
        evaluation : dict
            ``records`` (record, then class, then counts and scores), ``skipped`` (record, then seconds),
            ``gross`` and ``average`` (class, then counts and scores).
        """
        names = self.records.index.unique("record")
        return {
            "records": {name: _plain(self.records.loc[name]) for name in names},
            "skipped": {str(name): float(seconds) for name, seconds in self.skipped.items()},
            "gross": _plain(self.gross),
            "average": _plain(self.average),
        }

    def __str__(self) -> str:
        parts = [self.records]
        if len(self.skipped) > 1:
            for name in ("gross", "average"):
                total = getattr(self, name)
                parts.append(total.set_index(pd.MultiIndex.from_product([[name], total.index])))
        table = pd.concat(parts)
        table.index.names = ["record", "class"]
        return table.to_string(float_format=lambda value: f"{value:.4f}", na_rep="-")


@validate_params(
    {
        "reference": "no_validation",
        "test": "no_validation",
        "classes": [tuple, list],
        "sampling_rate": [Interval(Real, 0, None, closed="neither"), None],
        "tolerance": [Interval(Real, 0, None, closed="left")],
        "start": [Interval(Real, 0, None, closed="left")],
        "skip_unreadable": ["boolean"],
        "reference_extension": [str],
        "test_extension": [str],
        "symbols": [dict, None],
    },
    prefer_skip_nested_validation=True,
)
def evaluate_annotations(
    reference: Annotations | Sequence[Annotations],
    test: Annotations | Sequence[Annotations],
    *,
    classes: Sequence[str] = ("V", "S"),
    sampling_rate: float | None = None,
    tolerance: float = 0.15,
    start: float = 0.0,
    skip_unreadable: bool = False,
    reference_extension: str = "atr",
    test_extension: str = "skg",
    symbols: dict | None = None,
) -> AnnotationEvaluation:
    """Compare annotations with those of a reference annotator, beat by beat.

    Beats are paired as :func:`skecgattn.metrics.beat_detection` says: for each class one to one within
    `tolerance`, where the don't-care beats of EC57 [1]_ (for V: F and Q; for S: Q) are neither hits nor
    errors. Ventricular flutter between the reference's ``[`` and ``]`` is not scored.

    Parameters
    ----------
    reference : path, Record, RecordAnnotations, structured array, or a list of them
        The annotations taken as true. A path is that of a WFDB annotation file (``"100.atr"``), or of a
        record without suffix; an array has the fields ``sample`` and ``symbol``.
    test : path, Record, RecordAnnotations, structured array, or a list of them
        The annotations that are scored, of the same records in the same order. Their samples are
        converted where their sampling rate is another.
    classes : sequence of {"N", "S", "V", "F", "Q"}, default=("V", "S")
        AAMI classes scored besides "QRS", beats of any class.
    sampling_rate : float, default=None
        Samples a second (Hz) of arrays and of annotation files that do not know theirs.
    tolerance : float, default=0.15
        Largest distance of a pair in seconds, inclusive.
    start : float, default=0.0
        Seconds at the beginning of a record that are not scored; 300 in EC57.
    skip_unreadable : bool, default=False
        Whether stretches that `test` marks as unreadable are not scored. Otherwise beats in them are missed.
    reference_extension, test_extension : str, default="atr", "skg"
        Suffix of the annotation files where paths have none, and of records' annotations.
    symbols : dict, default=None
        WFDB symbols of the labels of RecordAnnotations, see :func:`beat_symbols`.

    Returns
    -------
    evaluation : AnnotationEvaluation
        With ``records``, ``gross`` and ``average``.

    Raises
    ------
    FileNotFoundError
        If an annotation file does not exist.
    UnreadableRecordError
        If an annotation file is damaged.
    ValueError
        If the numbers of records differ, a class is unknown, or a sampling rate is.
    TypeError
        If annotations are of a type not listed above.

    References
    ----------
    .. [1] ANSI/AAMI EC57:2012, "Testing and reporting performance results of cardiac rhythm and ST segment
       measurement algorithms".

    Examples
    --------
    >>> import numpy as np
    >>> from skecgattn.records import evaluate_annotations
    >>> dtype = [("sample", "i8"), ("symbol", "U4")]
    >>> reference = np.array([(100, "N"), (400, "V"), (700, "N"), (1000, "V")], dtype=dtype)
    >>> test = np.array([(103, "N"), (401, "V"), (705, "V")], dtype=dtype)
    >>> evaluation = evaluate_annotations(reference, test, sampling_rate=360, classes=["V"])
    >>> evaluation.gross[["tp", "fp", "fn", "f1"]]
           tp  fp  fn        f1
    class
    QRS     3   0   1  0.857143
    V       1   1   1  0.500000
    """
    if unknown := [name for name in classes if name not in AAMI_CLASSES]:
        raise ValueError(f"classes must be among {list(AAMI_CLASSES)}, got {unknown}.")
    references, tests = _as_list(reference), _as_list(test)
    if len(references) != len(tests):
        raise ValueError(
            f"reference and test must be of the same records, got {len(references)} and {len(tests)}."
        )
    rows: dict[tuple[str, str], dict[str, float]] = {}
    skipped = {}
    for position, (one, other) in enumerate(zip(references, tests)):
        true = _read("reference", one, reference_extension, sampling_rate, symbols)
        found = _read("test", other, test_extension, sampling_rate, symbols)
        rate = true.sampling_rate or found.sampling_rate
        if rate is None:
            raise ValueError(
                "sampling_rate must be given where the annotations do not know theirs, got None."
            )
        name = true.name or found.name or f"record {position + 1}"
        if name in skipped:
            raise ValueError(f"reference has the record {name!r} twice.")
        found = _at_rate(found, rate)
        stretches = [np.array([[0, round(start * rate)]]), true.flutter]
        stretches += [found.unreadable] if skip_unreadable else []
        end = 1 + max(true.sample.max(initial=-1), found.sample.max(initial=-1))
        left_out = _join(np.minimum(np.concatenate(stretches), end))
        skipped[name] = (left_out[:, 1] - left_out[:, 0]).sum() / rate
        for label, scores in _compare(true, found, left_out, classes, rate, tolerance).items():
            rows[name, label] = {key: scores[key] for key in COUNTS + SCORES}
    index = pd.MultiIndex.from_tuples(rows, names=["record", "class"])
    records = pd.DataFrame(list(rows.values()), index=index)
    return AnnotationEvaluation(records, pd.Series(skipped, name="skipped", dtype=float))


def _compare(
    true: _Beats,
    found: _Beats,
    stretches: NDArray[np.int64],
    classes: Sequence[str],
    rate: float,
    tolerance: float,
) -> dict[str, Any]:
    """Return the scores of beats of any class and of each class."""
    skipped = _inside(true.sample, stretches)
    beats = np.empty(len(true.sample), dtype=[("sample", np.int64), ("symbol", "U8")])
    beats["sample"], beats["symbol"] = true.sample, np.where(skipped, SKIPPED, true.symbol)
    scored = beats["sample"][~skipped]
    # a beat just inside a stretch may still be the partner of one just outside
    kept = ~_inside(found.sample, stretches) | _near(found.sample, scored, tolerance * rate)
    located = np.empty(int(kept.sum()), dtype=[("sample", np.int64), ("label", object)])
    located["sample"] = found.sample[kept]
    located["label"] = [aami_class(symbol) for symbol in found.symbol[kept].tolist()]

    def detect(label: str | tuple[str, ...], dont_care: tuple[str, ...]) -> Any:
        return beat_detection(
            [beats],
            [located],
            label=label,
            ignore=(*dont_care, SKIPPED),
            sampling_rate=rate,
            tolerance=tolerance,
        )

    scores = {QRS: detect(tuple(BEAT_SYMBOLS), ())}
    return scores | {name: detect(name, DONT_CARE.get(name, ())) for name in classes}


def _as_list(annotations: Any) -> list[Any]:
    return list(annotations) if isinstance(annotations, list | tuple) else [annotations]


def _read(
    argument: str, source: Any, extension: str, sampling_rate: float | None, symbols: dict | None
) -> _Beats:
    """Return the beats of an annotation file, a record's, a result's or an array's."""
    if isinstance(source, RecordAnnotations):
        marks = source.beats["label"].map(beat_symbols(source.labels, symbols))
        unreadable = source.unreadable[["start", "stop"]].to_numpy(dtype=np.int64)
        sample = source.beats["sample"].to_numpy(dtype=np.int64)
        return _Beats(
            source.record_name,
            source.sampling_rate,
            sample,
            marks.to_numpy(dtype="U4"),
            np.empty((0, 2), dtype=np.int64),
            unreadable,
        )
    if isinstance(source, Record):
        if source.path is None:
            raise ValueError(f"{argument} has the record {source.name!r}, which is in memory only.")
        return _read_file(source.path, extension, source.sampling_rate)._replace(name=source.name)
    if isinstance(source, str | os.PathLike):
        return _read_file(Path(source), extension, sampling_rate)
    names = getattr(getattr(source, "dtype", None), "names", None) or ()
    if {"sample", "symbol"} <= {*names}:
        return _beats(None, sampling_rate, source["sample"], source["symbol"])
    raise TypeError(
        f"{argument} must be a path, a Record, RecordAnnotations, an array with the fields 'sample' and "
        f"'symbol', or a list of them; got {type(source).__name__}{f' with fields {names}' if names else ''}."
    )


def _read_file(path: Path, extension: str, sampling_rate: float | None) -> _Beats:
    if path.is_file() and path.suffix not in (".hea", ".dat"):
        path, extension = path.with_suffix(""), path.suffix[1:]
    elif path.suffix in (".hea", ".dat"):
        path = path.with_suffix("")
    file = path.with_name(f"{path.name}.{extension}")
    if not file.is_file():
        raise FileNotFoundError(f"There is no annotation file {str(file)!r}.")
    try:
        read, rate = read_annotations(path, extension)
    except Exception as error:  # wfdb raises what its parser raises
        raise UnreadableRecordError(f"The annotation file {str(file)!r} cannot be read: {error}") from error
    sample, symbol = np.asarray(read.sample), np.asarray(read.symbol)
    return _beats(path.name, rate or sampling_rate, sample, symbol, np.asarray(read.subtype))


def _beats(
    name: str | None, rate: float | None, sample: NDArray, symbol: NDArray, subtype: NDArray | None = None
) -> _Beats:
    """Return beats in order, and the stretches of flutter and without a readable lead."""
    order = np.argsort(sample, kind="stable")
    sample, symbol = np.asarray(sample, dtype=np.int64)[order], np.asarray(symbol, dtype="U4")[order]
    is_beat = np.isin(symbol, list(BEAT_SYMBOLS))
    begins = np.where(symbol == FLUTTER_STARTS, 1, 0) - (symbol == FLUTTER_ENDS)
    flutter = _stretches(sample, begins)
    quality = (
        np.zeros(len(sample), dtype=int) if subtype is None else np.where(subtype == UNREADABLE, 1, -1)[order]
    )
    unreadable = _stretches(sample, np.where(symbol == QUALITY, quality, 0))
    return _Beats(name, rate, sample[is_beat], symbol[is_beat], flutter, unreadable)


def _stretches(sample: NDArray[np.int64], begins: NDArray) -> NDArray[np.int64]:
    """Return stretches from where `begins` is 1 to where it is -1."""
    found, start = [], None
    for k in np.flatnonzero(begins):
        if begins[k] > 0:
            start = sample[k] if start is None else start
        elif start is not None:
            found.append((start, sample[k]))
            start = None
    found += [] if start is None else [(start, NO_END)]
    return np.array(found, dtype=np.int64).reshape(-1, 2)


def _at_rate(beats: _Beats, rate: float) -> _Beats:
    if beats.sampling_rate is None or beats.sampling_rate == rate:
        return beats
    factor = rate / beats.sampling_rate
    sample = np.rint(beats.sample * factor).astype(np.int64)
    unreadable = np.rint(beats.unreadable * factor).astype(np.int64)
    return beats._replace(sampling_rate=rate, sample=sample, unreadable=unreadable)


def _join(stretches: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the union of stretches [start, stop), in order and apart."""
    joined: list[list[int]] = []
    for start, stop in sorted(stretches.tolist()):
        if joined and start <= joined[-1][1]:
            joined[-1][1] = max(joined[-1][1], stop)
        elif stop > start:
            joined.append([start, stop])
    return np.array(joined, dtype=np.int64).reshape(-1, 2)


def _inside(sample: NDArray[np.int64], stretches: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tell which samples lie in stretches that are in order and apart."""
    return np.searchsorted(stretches.ravel(), sample, side="right") % 2 == 1


def _near(sample: NDArray[np.int64], others: NDArray[np.int64], reach: float) -> NDArray[np.bool_]:
    """Tell which samples are within reach of another, in ascending order."""
    return np.searchsorted(others, sample - reach) < np.searchsorted(others, sample + reach, side="right")


def _plain(table: pd.DataFrame) -> dict[str, dict[str, Any]]:
    return {
        str(name): {
            **{key: int(row[key]) for key in COUNTS},
            **{key: None if np.isnan(row[key]) else float(row[key]) for key in SCORES},
        }
        for name, row in table.iterrows()
    }
