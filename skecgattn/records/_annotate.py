"""From a recording and a trained model to annotated heartbeats, stretch by stretch."""

from __future__ import annotations

import copy
import dataclasses
import functools
import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from numbers import Integral, Real
from typing import Any, NamedTuple

import cloudpickle
import numpy as np
from joblib import effective_n_jobs
from joblib.externals.loky import ProcessPoolExecutor
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline
from sklearn.utils._param_validation import Interval, validate_params
from sklearn.utils.validation import check_is_fitted
from tqdm.auto import tqdm

from skecgattn.classifier import AttentionECGClassifier
from skecgattn.preprocessing import resample
from skecgattn.records._annotations import HEARTBEAT, RecordAnnotations
from skecgattn.records._map_file import map_writer
from skecgattn.records._readability import context_length, join_stretches, judge, needed_until
from skecgattn.records._record import Record, read_record
from skecgattn.records._stitching import Stitched, Stitcher, Windows
from skecgattn.records._windows import WindowPlanner

BATCH = 64
"""Windows that the networks read at a time."""

AHEAD = 4
"""Batches that are handed to each of the other processes before this one reads a batch itself."""

SHORTEST_SHARED = 7200.0
"""Seconds of a recording that are read sooner than another process is there to help."""

DEFAULT_WINDOW = 10.0
"""Seconds, where the model does not know the length that it was trained on."""

DECIMALS = 4
"""Of scores: sums are rounded otherwise in batches of another size."""

NORMAL_LABEL = "N"
"""Label of heartbeats that are not abnormal, where the model has no normal class."""


class AnnotatedStretch(NamedTuple):
    """A finished stretch of a recording; samples are counted from the recording's start.

    Examples
    --------
    >>> from skecgattn import AttentionECGClassifier
    >>> from skecgattn.datasets import make_ecg
    >>> from skecgattn.records import Record, iter_annotate
    >>> X, y, _, _ = make_ecg(16, sampling_rate=180, random_state=0)
    >>> clf = AttentionECGClassifier(180, max_epochs=1, random_state=0).fit(X, y)
    >>> record = Record.from_array(X[0], 180)
    >>> [(stretch.start, stretch.stop) for stretch in iter_annotate(clf, record)]
    [(0, 1800)]
    """

    start: int
    """First sample."""
    stop: int
    """The sample after the last one."""
    heartbeats: NDArray
    """Structured array: `sample` (R peak), `label`, `score`, `abnormal`; ascending."""
    unreadable: NDArray[np.int64]
    """Unreadable parts (n, 2) of the stretch, as [start, stop)."""
    map: NDArray[np.float16] | None
    """Map times probability (n_maps, stop - start), NaN where unreadable; None where not wanted."""


PARAMETERS: dict[str, Any] = {
    "threshold": [Interval(Real, 0, 1, closed="both"), dict, None],
    "leads": ["array-like", None],
    "window": [Interval(Real, 0, None, closed="neither"), None],
    "overlap": [Interval(Real, 0, None, closed="left")],
    "chunk": [Interval(Real, 0, None, closed="neither"), None],
    "n_jobs": [Integral, None],
    "verbose": ["verbose"],
}


@validate_params(
    {**PARAMETERS, "record": [Record, str, os.PathLike], "maps": ["boolean"]},
    prefer_skip_nested_validation=True,
)
def iter_annotate(
    model: Any,
    record: Record | str | os.PathLike[str],
    *,
    threshold: float | dict | None = None,
    leads: Sequence[str] | None = None,
    window: float | None = None,
    overlap: float = 1.5,
    chunk: float | None = 600.0,
    n_jobs: int | None = None,
    maps: bool = False,
    verbose: int = 0,
) -> Iterator[AnnotatedStretch]:
    """Annotate a recording of any length, and yield what is finished as it goes.

    The parameters are those of :func:`annotate`, but for `maps`. Memory does not grow with the length of
    the recording.

    Parameters
    ----------
    model : AttentionECGClassifier or Pipeline
        Fitted.

    record : Record, str or path-like
        The recording.

    threshold, leads, window, overlap, chunk, n_jobs, verbose
        See :func:`annotate`.

    maps : bool, default=False
        Whether the stretches have the map.

    Yields
    ------
    stretch : AnnotatedStretch
        The next stretch; there is no gap between two, and no overlap.

    Raises
    ------
    ValueError, TypeError, NotFittedError, UnreadableRecordError
        See :func:`annotate`; model and leads are checked before the first stretch is asked for.

    See Also
    --------
    annotate : All of it at once.

    Examples
    --------
    >>> from skecgattn import AttentionECGClassifier
    >>> from skecgattn.datasets import make_ecg
    >>> from skecgattn.records import Record, iter_annotate
    >>> X, y, *_ = make_ecg(40, sampling_rate=180, random_state=0)
    >>> clf = AttentionECGClassifier(180, max_epochs=1, random_state=0).fit(X, y)
    >>> record = Record.from_array(X[:6].transpose(1, 0, 2).reshape(X.shape[1], -1), 180)
    >>> stretches = list(iter_annotate(clf, record))
    >>> stretches[0].start, stretches[-1].stop
    (0, 10800)
    """
    record = record if isinstance(record, Record) else read_record(record)
    reader = _Reader(model, record, leads, window, threshold)
    if not overlap <= reader.seconds / 2:
        raise ValueError(
            f"overlap must be at most half a window, {reader.seconds / 2:g} s, got {overlap:g} s."
        )
    return _stretches(reader, overlap, chunk, n_jobs, maps, verbose)


@validate_params(
    {**PARAMETERS, "record": [Record, str, os.PathLike], "maps": [str, os.PathLike, None]},
    prefer_skip_nested_validation=True,
)
def annotate(
    model: Any,
    record: Record | str | os.PathLike[str],
    *,
    threshold: float | dict | None = None,
    leads: Sequence[str] | None = None,
    window: float | None = None,
    overlap: float = 1.5,
    chunk: float | None = 600.0,
    n_jobs: int | None = None,
    maps: str | os.PathLike[str] | None = None,
    verbose: int = 0,
) -> RecordAnnotations:
    """Annotate every heartbeat of a recording of any length.

    The recording is read in overlapping windows of the length that the model was trained on. Windows are
    placed by the shape of the ECG, so that neither the size of the pieces it is read in nor where the
    recording starts makes a difference. Unreadable stretches are marked, and no beats are reported there.

    Parameters
    ----------
    model : AttentionECGClassifier or Pipeline
        Fitted; a pipeline must end in an `AttentionECGClassifier`. A fitted search is taken for its best
        estimator.

    record : Record, str or path-like
        The recording, or what :func:`read_record` opens.

    threshold : float or dict, default=None
        Score from which a beat is abnormal, for all classes or as ``{label: threshold}``. None takes what the
        model has learned (`thresholds_`).

    leads : sequence of str, default=None
        Names of the recording's leads, in the order in which the model reads them. None matches the
        model's `lead_names` with those of the recording, whatever their case; if the model has none, the
        recording must have as many leads as the model reads.

    window : float, default=None
        Length of a window in seconds. None takes the length that the model was trained on.

    overlap : float, default=1.5
        Seconds that neighbouring windows share, at least.

    chunk : float or None, default=600.0
        Seconds that are read at a time; None reads the whole recording into memory. The result is the same.

    n_jobs : int, default=None
        Processes that read windows; None is 1, -1 one a core. The result is the same. Recordings of less than
        two hours are read by this process alone, which takes less time than to start another.

    maps : str or path-like, default=None
        File to write the map to, a `.npy` array of float16 and shape (n_maps, n_timesteps). The map is that
        of `segment`, times the probability of its class, and NaN where the recording is unreadable.

    verbose : int, default=0
        1 shows a progress bar with the time left.

    Returns
    -------
    annotations : RecordAnnotations
        Heartbeats with label and score, unreadable stretches, and what can be made of them: summary, WFDB
        annotation file, tables.

    Raises
    ------
    NotFittedError
        If the model is not fitted.

    TypeError
        If the model is no `AttentionECGClassifier`, and no pipeline that ends in one.

    ValueError
        If the model has no sampling rate or no maps, the leads do not match, the recording is too short, or
        a parameter cannot be used.

    UnreadableRecordError
        If a file is damaged.

    See Also
    --------
    iter_annotate : The same stretch by stretch.
    annotate_many : Many recordings.

    Examples
    --------
    >>> from skecgattn import AttentionECGClassifier
    >>> from skecgattn.datasets import make_ecg
    >>> from skecgattn.records import Record, annotate
    >>> X, y, *_ = make_ecg(40, sampling_rate=180, random_state=0)
    >>> clf = AttentionECGClassifier(180, max_epochs=1, random_state=0).fit(X, y)
    >>> record = Record.from_array(X[:6].transpose(1, 0, 2).reshape(X.shape[1], -1), 180)
    >>> annotations = annotate(clf, record)
    >>> list(annotations.beats.columns)
    ['sample', 'time', 'start', 'stop', 'label', 'score', 'abnormal']
    """
    record = record if isinstance(record, Record) else read_record(record)
    reader = _Reader(model, record, leads, window, threshold)
    stretches = iter_annotate(
        reader.model,
        record,
        threshold=threshold,
        leads=leads,
        window=window,
        overlap=overlap,
        chunk=chunk,
        n_jobs=n_jobs,
        maps=maps is not None,
        verbose=verbose,
    )
    heartbeats, unreadable = [np.empty(0, dtype=HEARTBEAT)], [np.empty((0, 2), dtype=np.int64)]
    with map_writer(maps, len(reader.classifier.map_labels_), record.n_timesteps) as write:
        for stretch in stretches:
            heartbeats.append(stretch.heartbeats)
            unreadable.append(stretch.unreadable)
            write(stretch.map)
    return RecordAnnotations.from_heartbeats(
        np.concatenate(heartbeats),
        np.concatenate(unreadable),
        record_name=record.name,
        sampling_rate=record.sampling_rate,
        n_timesteps=record.n_timesteps,
        labels=reader.labels,
        thresholds=dict(zip(reader.classifier.map_labels_, reader.thresholds.tolist())),
        start_time=record.start_time,
    )


class _Reader:
    """A model with the leads that it reads of a recording."""

    def __init__(
        self,
        model: Any,
        record: Record,
        leads: Sequence[str] | None,
        window: float | None,
        threshold: float | dict | None,
    ) -> None:
        self.model = model = getattr(model, "best_estimator_", model)
        classifier = model.steps[-1][1] if isinstance(model, Pipeline) else model
        if not isinstance(classifier, AttentionECGClassifier):
            raise TypeError(
                "model must be an AttentionECGClassifier or a Pipeline that ends in one, got "
                f"{type(classifier).__name__}."
            )
        check_is_fitted(classifier, "network_")
        classifier._check_has_maps()
        if classifier.sampling_rate is None:
            raise ValueError(
                "The model does not know at which rate it reads, got sampling_rate=None: fit "
                "AttentionECGClassifier(sampling_rate=...)."
            )
        self.classifier = classifier
        self.steps = model[:-1] if isinstance(model, Pipeline) and len(model) > 1 else None
        self.thresholds = np.maximum(classifier._check_threshold(threshold), 1e-12)
        normal = classifier._labels.normal
        normal_label = NORMAL_LABEL if normal is None else classifier.classes_.tolist()[normal]
        self.labels = (normal_label, *classifier.map_labels_)
        self.record = _match_leads(classifier, record, leads)
        self.rate = record.sampling_rate
        shortest = classifier._minimum_length() / classifier.sampling_rate
        self.seconds = _trained_length(classifier) if window is None else window
        if min(self.seconds, record.duration) < shortest:
            raise ValueError(
                f"Record {record.name} has {record.duration:g} s, in windows of {self.seconds:g} s: the "
                f"model needs at least {shortest:g} s."
            )
        self.length = min(round(self.seconds * self.rate), record.n_timesteps)

    def __getstate__(self) -> dict[str, Any]:
        """Return what other processes get: neither the recording nor what only training needs."""
        classifier = copy.copy(self.classifier).set_params(callbacks=None)
        classifier._optimizer_state = None
        return {**vars(self), "classifier": classifier, "model": None, "record": None}

    def read(self, batch: _Batch, maps: bool) -> tuple[Windows, NDArray[np.int64]]:
        """Return what the model sees in the readable windows, and the unreadable stretches (n, 2)."""
        unreadable, hidden = judge(batch.signal, batch.first, batch.edges, self.rate)
        starts = batch.starts[~hidden]
        offsets = (starts - batch.first).tolist()
        signals = [batch.signal[:, k : k + self.length] for k in offsets]
        if not signals:
            blank = np.empty((0, len(self.classifier.map_labels_), self.length), dtype=np.float32)
            return Windows(starts, [], [], blank if maps else None), unreadable
        return self._read(starts, np.stack(signals), maps), unreadable

    def _read(self, starts: NDArray[np.int64], signals: NDArray[np.float32], maps: bool) -> Windows:
        """Return what the model sees in windows (n, n_leads, length), in samples of the recording."""
        X = _fill(signals)
        classifier = self.classifier
        if self.steps is None:
            reading = classifier._read(X, maps=maps, sampling_rate=self.rate)
            heartbeats, found = reading.heartbeats, reading.maps
        else:
            rate: float = classifier.sampling_rate  # type: ignore[assignment]
            own = [r for _, step in self.steps.steps if (r := getattr(step, "sampling_rate", None))]
            X = resample(X, self.rate, own[0] if own else rate)
            one_lead = classifier.input_ndim_ == 2
            X = np.asarray(self.steps.transform(X[:, 0] if one_lead else X))
            reading = classifier._read(X[:, None] if one_lead else X, maps=maps)
            front_end = dataclasses.replace(
                classifier._front_end(), sampling_rate=self.rate, resample_to=rate
            )
            heartbeats = [front_end.to_ecg_time(beats, self.length) for beats in reading.heartbeats]
            found = front_end.to_ecg_length(reading.maps, self.length) if maps else reading.maps
        return Windows(
            starts,
            [start + beats for start, beats in zip(starts.tolist(), heartbeats)],
            reading.scores,
            found * reading.probability[:, classifier._labels.marked, None] if maps else None,
        )

    def label(self, stitched: Stitched, unreadable: NDArray[np.int64]) -> AnnotatedStretch:
        """Return a finished stretch with the labels of its heartbeats."""
        scores = stitched.scores.round(DECIMALS)
        margin = scores / self.thresholds
        best = margin.argmax(axis=1)
        rows = np.arange(len(best))
        heartbeats = np.empty(len(best), dtype=HEARTBEAT)
        heartbeats["sample"] = stitched.heartbeats
        heartbeats["score"] = scores[rows, best]
        heartbeats["abnormal"] = margin[rows, best] >= 1
        labels = np.empty(len(self.labels), dtype=object)
        labels[:] = self.labels
        heartbeats["label"] = labels[np.where(heartbeats["abnormal"], best + 1, 0)]
        inside = np.searchsorted(unreadable[:, 0], stitched.heartbeats, side="right") - 1
        lost = (inside >= 0) & (stitched.heartbeats < np.append(unreadable[:, 1], 0)[inside])
        stretch_map = stitched.map
        if stretch_map is not None:
            stretch_map = stretch_map.astype(np.float16)
            for start, stop in (unreadable - stitched.start).tolist():
                stretch_map[:, start:stop] = np.nan
        return AnnotatedStretch(stitched.start, stitched.stop, heartbeats[~lost], unreadable, stretch_map)


def _trained_length(classifier: AttentionECGClassifier) -> float:
    """Return the length in seconds of the ECGs that the model was trained on, as far as it knows."""
    n_timesteps = getattr(classifier, "n_timesteps_in_", None)
    return DEFAULT_WINDOW if n_timesteps is None else n_timesteps / float(classifier.sampling_rate or 1)


def _match_leads(classifier: AttentionECGClassifier, record: Record, leads: Sequence[str] | None) -> Record:
    """Return the record with the leads that the model reads, in its order."""
    needed = classifier.n_leads_in_
    names = None if classifier.lead_names is None else list(classifier.lead_names)
    has = f"record {record.name} has {', '.join(record.lead_names)}"
    if leads is not None:
        if isinstance(leads, str) or len(leads) != needed:
            raise ValueError(f"leads must name the {needed} lead(s) that the model reads, got {leads!r}.")
        return record.select_leads(leads)
    if names is None:
        if record.n_leads != needed:
            raise ValueError(
                f"The model reads {needed} lead(s) and does not know their names; {has}. Name those to read, "
                "leads=[...], or train with lead_names."
            )
        return record
    available = [name.strip().casefold() for name in record.lead_names]
    missing = [name for name in names if name.strip().casefold() not in available]
    if missing:
        raise ValueError(
            f"The model reads {', '.join(names)}; {has}: no {', '.join(missing)}. If they are called "
            "otherwise, name the leads to read in the model's order, leads=[...]."
        )
    return record.select_leads([record.lead_names[available.index(n.strip().casefold())] for n in names])


def _fill(signals: NDArray[np.float32]) -> NDArray[np.float32]:
    """Interpolate missing samples of windows (n, n_leads, length) linearly; a lead without any is 0."""
    missing = ~np.isfinite(signals)
    for window, lead in np.argwhere(missing.any(axis=2)):
        gaps, row = missing[window, lead], signals[window, lead]
        known = np.flatnonzero(~gaps)
        row[gaps] = np.interp(np.flatnonzero(gaps), known, row[known]) if len(known) else 0.0
    return signals


class _Batch(NamedTuple):
    """Windows that are read together."""

    starts: NDArray[np.int64]
    """First sample of each window."""
    edges: NDArray[np.int64]
    """Samples (n_windows + 1,) between which each window is the nearest."""
    signal: NDArray[np.float32]
    """The recording around all of them."""
    first: int
    """First sample of `signal`."""


def _batches(reader: _Reader, overlap: float, chunk: float | None) -> Iterator[_Batch]:
    """Read the recording, `chunk` seconds at a time, and yield its windows, `BATCH` at a time."""
    record, length, rate = reader.record, reader.length, reader.rate
    n_timesteps = record.n_timesteps
    context = context_length(rate)
    planner = WindowPlanner(n_timesteps, rate, length, max(1, length - round(overlap * rate)))
    signal = np.empty((record.n_leads, 0), dtype=np.float32)
    first = edge = 0
    waiting: list[int] = []
    n_read = n_timesteps if chunk is None else max(1, round(chunk * rate))
    for start in range(0, n_timesteps, n_read):
        piece = record.read(start, min(start + n_read, n_timesteps))
        signal = np.concatenate([signal, piece], axis=1) if signal.size else piece
        waiting += planner.feed(piece)
        known = first + signal.shape[1]
        at_end = known == n_timesteps
        while len(waiting) > BATCH or (at_end and waiting):
            starts = np.array(waiting[: BATCH + 1])
            borders = (starts[1:] + starts[:-1]) // 2 + length // 2
            edges = np.concatenate([[edge], borders, [n_timesteps]])[: BATCH + 1]
            starts = starts[:BATCH]
            stop = max(int(starts[-1]) + length, needed_until(edges, rate))
            if stop > known and not at_end:
                break
            begin = max(first, min(int(starts[0]), edge - context))
            yield _Batch(starts, edges, signal[:, begin - first : stop - first], begin)
            edge, waiting = int(edges[-1]), waiting[BATCH:]
        keep = max(first, min([edge - context, *waiting[:1]]))
        # a copy, so that the rest is freed
        signal, first = signal[:, keep - first :].copy(), keep


def _stretches(
    reader: _Reader, overlap: float, chunk: float | None, n_jobs: int | None, maps: bool, verbose: int
) -> Iterator[AnnotatedStretch]:
    """Read the batches, and yield the stretches in order."""
    record, n_maps = reader.record, len(reader.classifier.map_labels_)
    stitcher = Stitcher(record.n_timesteps, reader.rate, reader.length, n_maps, with_maps=maps)
    unreadable = np.empty((0, 2), dtype=np.int64)

    def finish(stitched: Stitched) -> AnnotatedStretch:
        nonlocal unreadable
        inside = unreadable[unreadable[:, 0] < stitched.stop].clip(stitched.start, stitched.stop)
        unreadable = unreadable[unreadable[:, 1] > stitched.stop]
        bar.update(round(stitched.stop / reader.rate) - bar.n)
        return reader.label(stitched, inside)

    with tqdm(
        total=round(record.duration), desc=record.name, unit=" s", unit_scale=True, disable=not verbose
    ) as bar:
        batches = _batches(reader, overlap, chunk)
        n_processes = effective_n_jobs(n_jobs)
        if record.duration < SHORTEST_SHARED:
            n_processes = 1
        for windows, found in _read_all(reader, batches, maps, n_processes):
            unreadable = join_stretches(np.concatenate([unreadable, found]))
            if (stitched := stitcher.push(windows)) is not None:
                yield finish(stitched)
        yield finish(stitcher.flush())


def _read_all(
    reader: _Reader, batches: Iterator[_Batch], maps: bool, n_processes: int
) -> Iterator[tuple[Windows, NDArray[np.int64]]]:
    """Yield what is read in batches, in order; few of them are in memory at a time.

    This process reads too, for it need not be started; the others get a few batches ahead.
    """
    if n_processes == 1:
        for batch in batches:
            yield reader.read(batch, maps)
        return
    # threads would wait for each other: a third of the time goes into Python's own steps
    model = cloudpickle.dumps(reader)
    executor = ProcessPoolExecutor(n_processes - 1)
    running: deque[Future[tuple[Windows, NDArray[np.int64]]]] = deque()
    try:
        for batch in batches:
            if sum(not future.done() for future in running) < AHEAD * (n_processes - 1):
                running.append(executor.submit(_read_elsewhere, model, batch, maps))
            else:
                running.append(Future())
                running[-1].set_result(reader.read(batch, maps))
            while running and running[0].done():
                yield running.popleft().result()
        while running:
            yield running.popleft().result()
    finally:
        executor.shutdown(kill_workers=True)


def _read_elsewhere(model: bytes, batch: _Batch, maps: bool) -> tuple[Windows, NDArray[np.int64]]:
    """Return what another process reads."""
    reader: _Reader = _load(model)
    return reader.read(batch, maps)


_load = functools.lru_cache(maxsize=1)(cloudpickle.loads)
