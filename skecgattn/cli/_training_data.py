"""From a folder of WFDB records and their labels to ECGs of one length, one set of leads and one rate."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils import Bunch

from .._aami import AAMI_CLASSES
from .._labels import means_normal
from .._words import counted, few
from ..datasets import make_windows
from ..preprocessing import resample
from ._console import note, reason

if TYPE_CHECKING:
    from ..records import Record

MISSING = 0.1
"""Largest share of missing samples of a lead that is bridged; ECGs with more are left out."""

SHORT = 0.5
"""A record shorter than this share of the common length is left out rather than padded."""

# fmt: off
SNOMED = {
    "164889003": "AF", "164890007": "AFL", "6374002": "BBB", "426627000": "Brady", "733534002": "CLBBB",
    "713427006": "CRBBB", "270492004": "IAVB", "713426002": "IRBBB", "39732003": "LAD", "445118002": "LAnFB",
    "164909002": "LBBB", "251146004": "LQRSV", "698252002": "NSIVCB", "426783006": "NSR", "284470004": "PAC",
    "10370003": "PR", "365413008": "PRWP", "427172004": "PVC", "164947007": "LPR", "111975006": "LQT",
    "164917005": "QAb", "47665007": "RAD", "59118001": "RBBB", "427393009": "SA", "426177001": "SB",
    "427084000": "STach", "63593006": "SVPB", "164934002": "TAb", "59931005": "TInv", "17338001": "VPB",
}
"""Abbreviations of the SNOMED CT codes that the PhysioNet/CinC Challenge 2021 scored."""
# fmt: on

Watch = Callable[[Sequence[Any], str], Iterable[Any]]
"""Goes through a sequence and shows how far it has come."""


@dataclass
class TrainingSet:
    """ECGs with one label, or one set of labels, each."""

    X: NDArray
    labels: list[frozenset[str]]
    groups: NDArray
    sampling_rate: float
    lead_names: tuple[str, ...]
    n_records: int
    normal: str | None = None
    """The label of ECGs without an abnormality, where its spelling does not tell."""

    @property
    def y(self) -> NDArray | pd.DataFrame:
        """One label an ECG where every ECG has one, else a column a label that is not normal."""
        names = sorted(set().union(*self.labels))
        if all(len(labels) == 1 for labels in self.labels):
            return np.array([next(iter(labels)) for labels in self.labels])
        names = [name for name in names if name != self.normal and not means_normal(name)]
        table = np.array([[int(name in labels) for name in names] for labels in self.labels])
        if len(names) == 1:
            return np.where(table[:, 0] > 0, names[0], "N")
        return pd.DataFrame(table, columns=names)


class _Labelled(NamedTuple):
    record: Record
    labels: frozenset[str]


def read_table(path: Path, columns: Sequence[str]) -> Iterator[dict[str, str]]:
    """Read the rows of a CSV file with a heading, separated by commas, semicolons or tabs."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not text in UTF-8 ({error.reason}): save it as CSV UTF-8") from error
    with io.StringIO(text, newline="") as file:
        heading = file.readline()
        file.seek(0)
        rows = csv.DictReader(file, delimiter=max(",;\t", key=heading.count))
        names = [name.strip().lower() for name in rows.fieldnames or []]
        if missing := [name for name in columns if name not in names]:
            raise ValueError(
                f"{path} must have the columns {list(columns)}, but lacks {missing}; got {names}"
            )
        if twice := [name for name, n in Counter(names).items() if n > 1 and name in columns]:
            raise ValueError(f"{path} must have each column once, got {twice} several times")
        rows.fieldnames = names
        for row in rows:
            if extra := "".join(row.get(None, ())).strip():
                raise ValueError(
                    f"{path}, line {rows.line_num} has more fields than the heading, with {extra!r}: put a "
                    "field with the separator in it in quotes, and | between several labels"
                )
            yield {name: (value or "").strip() for name, value in row.items() if isinstance(name, str)}


def read_labels(path: Path) -> tuple[dict[str, frozenset[str]], dict[str, str]]:
    """Read the labels of each record, and its patient where the file has that column."""
    labels: dict[str, frozenset[str]] = {}
    patients: dict[str, str] = {}
    for row in read_table(path, ["record", "label"]):
        given = frozenset(one.strip() for one in row["label"].replace("|", ";").split(";") if one.strip())
        record = row["record"].removesuffix(".hea")
        labels[record] = labels.get(record, frozenset()) | given
        if row.get("patient"):
            patients[record] = row["patient"]
    if not labels:
        raise ValueError(f"{path} has no rows below its heading")
    return _by_name(labels, path), _by_name(patients, path)


def read_patients(path: Path) -> dict[str, str]:
    """Read the patient of each record."""
    rows = read_table(path, ["record", "patient"])
    return _by_name({row["record"].removesuffix(".hea"): row["patient"] for row in rows}, path)


def _by_name(table: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Return rows by the names of their records, which a table may name by their paths."""
    named: dict[str, Any] = {}
    for record, value in table.items():
        name = Path(record).name
        if name in named:
            raise ValueError(f"{path} has several records called {name}, one of them {record}: rename them")
        named[name] = value
    return named


def check_names(paths: Sequence[Path]) -> None:
    """Refuse records of one name, which a table cannot tell apart."""
    known: dict[str, Path] = {}
    for path in paths:
        if (other := known.setdefault(path.name, path)) != path:
            raise ValueError(f"two records are called {path.name}: {other} and {path}; rename one of them")


def open_records(paths: Sequence[Path], watch: Watch, leads: Sequence[str] | None) -> list[Record]:
    """Read the records' headers; those that cannot be used are left out, with a note."""
    from ..records import read_record

    records, left_out = [], {}
    for path in watch(paths, "reading headers"):
        try:
            record = read_record(path)
            records.append(record.select_leads(leads) if leads else record)
        except (OSError, ValueError) as error:
            left_out[path.name] = reason(error)
    _tell_left_out(left_out, len(paths))
    if not records:
        raise ValueError(
            "no record can be used: " + "; ".join(f"{k}: {v}" for k, v in list(left_out.items())[:3])
        )
    return records


def common_leads(records: Sequence[Record]) -> tuple[str, ...]:
    """Return the leads that all records have, in the order of the first."""
    found = Counter(lead for record in records for lead in {name.casefold() for name in record.lead_names})
    common = tuple(lead for lead in records[0].lead_names if found[lead.casefold()] == len(records))
    if not common:
        counts = ", ".join(f"{lead} in {n}" for lead, n in found.most_common(8))
        raise ValueError(f"no lead is in all {len(records)} records; choose some with --leads ({counts})")
    return common


def common_rate(records: Sequence[Record]) -> float:
    """Return the most frequent sampling rate."""
    rates = Counter(float(record.sampling_rate) for record in records)
    rate = max(rates, key=lambda one: (rates[one], -one))
    if len(rates) > 1:
        found = ", ".join(f"{one:g} Hz in {n}" for one, n in rates.most_common())
        note(f"sampling rates differ ({found} records): all are resampled to {rate:g} Hz")
    return rate


def from_annotations(
    records: Sequence[Record],
    *,
    annotator: str,
    classes: Sequence[str],
    window: float,
    patients: Mapping[str, str],
    watch: Watch,
) -> TrainingSet:
    """Cut records into windows, each labelled with the AAMI classes of the beats annotated in it."""
    if unknown := [name for name in classes if name not in AAMI_CLASSES]:
        raise ValueError(f"the classes of beats are the AAMI classes {list(AAMI_CLASSES)}, got {unknown}")
    names, rate = common_leads(records), common_rate(records)
    parts: list[tuple[NDArray, NDArray, NDArray, NDArray]] = []
    left_out: dict[str, str] = {}
    n_windows = 0
    for record in watch(records, "reading signals"):
        try:
            annotations = record.annotations(annotator)
            if annotations is None:
                raise FileNotFoundError(f"no annotation file .{annotator}")
            if record.duration < window:
                raise ValueError(f"shorter ({record.duration:g} s) than the window of {window:g} s")
            signal = _signal(record, names, rate)
            beats = annotations.copy()
            beats["sample"] = np.round(beats["sample"] * (rate / record.sampling_rate))
            part = make_windows(
                [
                    Bunch(
                        name=record.name,
                        patient=_patient(record, patients),
                        signal=signal,
                        sampling_rate=rate,
                        annotations=beats,
                    )
                ],
                window=window,
                label="multilabel",
                classes=list(classes),
            )
        except (OSError, ValueError) as error:
            left_out[record.name] = reason(error)
            continue
        n_windows += len(part[0])
        readable = _bridge(part[0])
        parts.append((part[0][readable], part[1][readable], part[2][readable], part[3][readable]))
    _tell_left_out(left_out, len(records))
    if not parts:
        raise ValueError(f"no record has annotations .{annotator} and {window:g} s of ECG")
    X, indicators, groups = (np.concatenate([part[k] for part in parts]) for k in range(3))
    if len(X) < n_windows:
        note(
            f"{n_windows - len(X)} of {counted(n_windows, 'window')} left out: more than {MISSING:.0%} of a "
            "lead is missing"
        )
    labels = [frozenset(np.array(classes)[row > 0].tolist()) for row in indicators]
    if len(classes) == 1:  # one label a window: the class, or none of it
        labels = [one or frozenset({"N"}) for one in labels]
    return TrainingSet(X, labels, groups, rate, names, len(parts))


def from_record_labels(
    records: Sequence[Record],
    labels: Sequence[frozenset[str]],
    *,
    window: float | None,
    patients: Mapping[str, str],
    watch: Watch,
) -> TrainingSet:
    """Make one ECG a record: the middle of longer ones, shorter ones padded with each lead's median.

    A label holds for the whole record; windows that do not show what it names must not carry it.
    """
    names, rate = common_leads(records), common_rate(records)
    durations = np.array([record.duration for record in records])
    common = float(np.median(durations)) if window is None else window
    length = round(common * rate)
    X: list[NDArray] = []
    kept: list[_Labelled] = []
    left_out: dict[str, str] = {}
    for record, given in watch(list(zip(records, labels)), "reading signals"):
        try:
            if record.duration < SHORT * common:
                raise ValueError(f"{record.duration:g} s are less than half of {common:g} s")
            signal = _signal(record, names, rate, middle=common)
            if not _bridge(signal[np.newaxis])[0]:
                raise ValueError(f"more than {MISSING:.0%} of a lead is missing")
        except (OSError, ValueError) as error:
            left_out[record.name] = reason(error)
            continue
        X.append(_fit(signal, length))
        kept.append(_Labelled(record, given))
    _tell_left_out(left_out, len(records))
    if not kept:
        raise ValueError("no record can be used")
    slack = 1.5 / rate
    cut, padded = np.count_nonzero(durations > common + slack), np.count_nonzero(durations < common - slack)
    if cut or padded:
        note(
            f"one ECG of {common:g} s a record: of {cut} longer records the middle, {padded} shorter ones "
            "padded or left out; choose another length with --window"
        )
    groups = np.array([_patient(one.record, patients) for one in kept])
    return TrainingSet(np.stack(X), [one.labels for one in kept], groups, rate, names, len(kept))


def labels_from_table(
    records: Sequence[Record],
    folder: Path,
    labels: Mapping[str, frozenset[str]],
    normal: str | None = None,
) -> tuple[list[Record], list[frozenset[str]]]:
    """Match records with the rows of a table.

    Where it has a normal label, records without any label are left out: what is not known is not normal.
    """
    chosen = [(record, labels[record.name]) for record in records if record.name in labels]
    usual = {name for given in labels.values() for name in given if name == normal or means_normal(name)}
    unlabelled = [record.name for record, given in chosen if not given]
    if usual and unlabelled:
        note(f"{counted(len(unlabelled), 'record')} without a label left out: {few(unlabelled)}")
        chosen = [(record, given) for record, given in chosen if given]
    elif unlabelled:
        note(
            f"{counted(len(unlabelled), 'record')} without a label taken for normal, as no label means that: "
            f"{few(unlabelled)}"
        )
    if both := [record.name for record, given in chosen if given & usual and given - usual]:
        note(f"{counted(len(both), 'record')} both normal and not, taken for what is not: {few(both)}")
    missing = sorted(set(labels) - {record.name for record in records})
    if missing:
        note(
            f"{len(missing)} of {len(labels)} labelled records are not to be had in {folder}: {few(missing)}"
        )
    if not chosen:
        raise ValueError(f"none of the labelled records is in {folder}; labelled: {few(sorted(labels))}")
    return [record for record, _ in chosen], [given for _, given in chosen]


def labels_from_dx(
    records: Sequence[Record], codes: Mapping[str, str], normal: str | None = None
) -> tuple[list[Record], list[frozenset[str]]]:
    """Label records by the codes of their header's ``#Dx:`` line.

    With a code for the normal label only records with one of the codes are taken: the others are neither.
    """
    diagnoses = [diagnosis_codes(record) for record in records]
    found = Counter(code for given in diagnoses for code in given)
    listing = ", ".join(f"{code} {SNOMED.get(code, '?')} ({n})" for code, n in found.most_common(12))
    if not found:
        raise ValueError("no header has a line '#Dx:' with codes")
    if not codes:
        raise ValueError(
            "say which codes make which label, as in --codes 427172004=PVC,426783006=N; the most frequent: "
            + listing
        )
    if unknown := [code for code in codes if not found[code]]:
        note(f"codes that no header has: {', '.join(unknown)}")
    labels = [frozenset(codes[code] for code in given if code in codes) for given in diagnoses]
    if not any(labels):
        raise ValueError(f"no record has one of the codes; the most frequent: {listing}")
    with_normal = any(name == normal or means_normal(name) for name in codes.values())
    if not with_normal:
        if len(set(codes.values())) == 1:
            labels = [given or frozenset({"N"}) for given in labels]
        return list(records), labels
    kept = [(record, given) for record, given in zip(records, labels) if given]
    if len(kept) < len(records):
        note(
            f"{counted(len(records) - len(kept), 'record')} with none of the codes left out: neither normal "
            "nor labelled"
        )
    return [record for record, _ in kept], [given for _, given in kept]


def diagnosis_codes(record: Record) -> set[str]:
    """Return the codes of a header's ``#Dx:`` line."""
    lines = [line.lstrip("# ").partition(":") for line in record.comments]
    return {
        code.strip()
        for key, _, value in lines
        if key.strip().lower() == "dx"
        for code in value.split(",")
        if code.strip()
    }


def _patient(record: Record, patients: Mapping[str, str]) -> str:
    return patients.get(record.name) or record.patient or record.name


def _signal(record: Record, leads: Sequence[str], rate: float, middle: float | None = None) -> NDArray:
    """Read leads at a rate, all of them or the middle seconds."""
    record = record.select_leads(leads)
    start, stop = 0, record.n_timesteps
    if middle is not None and record.duration > middle:
        length = round(middle * record.sampling_rate)
        start = (stop - length) // 2
        stop = start + length
    signal = np.asarray(record.read(start, stop))
    if signal.shape[1] < stop - start:
        raise ValueError(f"truncated: {signal.shape[1]} of {stop - start} samples are there")
    if float(record.sampling_rate) == rate:
        return signal
    missing = np.isnan(signal)
    _bridge(signal[np.newaxis], limit=1.0)
    moved = resample(signal, float(record.sampling_rate), rate)
    rows = np.minimum(
        (np.arange(moved.shape[1]) * (record.sampling_rate / rate)).astype(int), signal.shape[1] - 1
    )
    moved[missing[:, rows]] = np.nan
    return moved


def _bridge(X: NDArray, limit: float = MISSING) -> NDArray[np.bool_]:
    """Fill gaps in place along straight lines; tell which ECGs miss no more than the limit in any lead."""
    missing = np.isnan(X)
    readable = missing.mean(axis=2).max(axis=1) <= limit
    for ecg, lead in np.argwhere(missing.any(axis=2) & readable[:, np.newaxis]):
        gap, row = missing[ecg, lead], X[ecg, lead]
        row[gap] = np.interp(np.flatnonzero(gap), np.flatnonzero(~gap), row[~gap]) if not gap.all() else 0.0
    return readable


def _fit(signal: NDArray, length: int) -> NDArray:
    """Cut the middle out of a signal, or pad it on both sides with each lead's median."""
    excess = signal.shape[1] - length
    if excess >= 0:
        return signal[:, excess // 2 : excess // 2 + length]
    before = -excess // 2
    padded = np.repeat(np.median(signal, axis=1, keepdims=True), length, axis=1)
    padded[:, before : before + signal.shape[1]] = signal
    return padded.astype(signal.dtype)


def _tell_left_out(left_out: Mapping[str, str], n_records: int) -> None:
    if left_out:
        first = "; ".join(f"{name}: {why}" for name, why in list(left_out.items())[:3])
        more = "; ..." if len(left_out) > 3 else ""
        note(f"{len(left_out)} of {counted(n_records, 'record')} left out: {first}{more}")
