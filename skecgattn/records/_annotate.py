"""From a recording and a trained model to annotated heartbeats, stretch by stretch."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator, Iterator, Sequence
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np
from joblib import effective_n_jobs
from numpy.typing import NDArray
from sklearn.utils._param_validation import Interval, validate_params
from tqdm.auto import tqdm

from skecgattn.records._annotations import HEARTBEAT, RecordAnnotations
from skecgattn.records._batches import batches
from skecgattn.records._map_file import map_writer
from skecgattn.records._model_reader import ModelReader
from skecgattn.records._readability import join_stretches
from skecgattn.records._record import Record, read_record
from skecgattn.records._sharing import read_all
from skecgattn.records._stitching import Stitched, Stitcher

SHORTEST_SHARED = 7200.0
"""Seconds of a recording that are read sooner than another process is there to help."""

DECIMALS = 4
"""Of scores: sums are rounded otherwise in batches of another size."""


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
    reader = _open(model, record, leads, window, overlap, threshold)
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
        Processes that read windows; None is 1, -1 one a core. The result is the same. One process uses two
        cores where it can: a thread prepares windows while the networks run. Two processes, of one thread
        each, are hardly faster and take more memory; more than two are for more than two cores. Recordings
        of less than two hours are read by this process alone, which takes less time than to start another.

    maps : str or path-like, default=None
        File to write the map to, a `.npy` array of float16 and shape (n_maps, n_timesteps). The map is that
        of `segment`, times the probability that scores of beats are multiplied with, and NaN where the
        recording is unreadable.

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
    reader = _open(model, record, leads, window, overlap, threshold)
    stretches = _stretches(reader, overlap, chunk, n_jobs, maps is not None, verbose)
    heartbeats, unreadable = [np.empty(0, dtype=HEARTBEAT)], [np.empty((0, 2), dtype=np.int64)]
    with (
        contextlib.closing(stretches),
        map_writer(maps, len(reader.classifier.map_labels_), record.n_timesteps) as write,
    ):
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


def _open(
    model: Any,
    record: Record,
    leads: Sequence[str] | None,
    window: float | None,
    overlap: float,
    threshold: float | dict | None,
) -> ModelReader:
    """Return the model with the leads that it reads, if they go together."""
    reader = ModelReader(model, record, leads, window, threshold)
    if not overlap <= reader.seconds / 2:
        raise ValueError(
            f"overlap must be at most half a window, {reader.seconds / 2:g} s, got {overlap:g} s."
        )
    return reader


def _stretches(
    reader: ModelReader, overlap: float, chunk: float | None, n_jobs: int | None, maps: bool, verbose: int
) -> Generator[AnnotatedStretch, None, None]:
    """Read the batches, and yield the stretches in order."""
    record, n_maps = reader.record, len(reader.classifier.map_labels_)
    stitcher = Stitcher(record.n_timesteps, reader.rate, reader.length, n_maps, with_maps=maps)
    unreadable = np.empty((0, 2), dtype=np.int64)

    def finish(stitched: Stitched) -> AnnotatedStretch:
        nonlocal unreadable
        inside = unreadable[unreadable[:, 0] < stitched.stop].clip(stitched.start, stitched.stop)
        unreadable = unreadable[unreadable[:, 1] > stitched.stop]
        bar.update(round(stitched.stop / reader.rate) - bar.n)
        return _label(reader, stitched, inside)

    with tqdm(
        total=round(record.duration), desc=record.name, unit=" s", unit_scale=True, disable=not verbose
    ) as bar:
        pieces = batches(reader.record, reader.length, overlap, chunk)
        n_processes = effective_n_jobs(n_jobs)
        if record.duration < SHORTEST_SHARED:
            n_processes = 1
        for windows, found in read_all(reader, pieces, maps, n_processes):
            unreadable = join_stretches(np.concatenate([unreadable, found]))
            if (stitched := stitcher.push(windows)) is not None:
                yield finish(stitched)
        yield finish(stitcher.flush())


def _label(reader: ModelReader, stitched: Stitched, unreadable: NDArray[np.int64]) -> AnnotatedStretch:
    """Return a finished stretch with the labels of its heartbeats."""
    scores = stitched.scores.round(DECIMALS)
    margin = scores / reader.thresholds
    best = margin.argmax(axis=1)
    rows = np.arange(len(best))
    heartbeats = np.empty(len(best), dtype=HEARTBEAT)
    heartbeats["sample"] = stitched.heartbeats
    heartbeats["score"] = scores[rows, best]
    heartbeats["abnormal"] = margin[rows, best] >= 1
    labels = np.empty(len(reader.labels), dtype=object)
    labels[:] = reader.labels
    heartbeats["label"] = labels[np.where(heartbeats["abnormal"], best + 1, 0)]
    inside = np.searchsorted(unreadable[:, 0], stitched.heartbeats, side="right") - 1
    lost = (inside >= 0) & (stitched.heartbeats < np.append(unreadable[:, 1], 0)[inside])
    stretch_map = stitched.map
    if stretch_map is not None:
        stretch_map = stretch_map.astype(np.float16)
        for start, stop in (unreadable - stitched.start).tolist():
            stretch_map[:, start:stop] = np.nan
    return AnnotatedStretch(stitched.start, stitched.stop, heartbeats[~lost], unreadable, stretch_map)
