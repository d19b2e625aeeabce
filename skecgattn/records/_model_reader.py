"""What a model sees in the windows of a recording."""

from __future__ import annotations

import copy
import dataclasses
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from skecgattn._frontend import Channels, FrontEnd
from skecgattn._model_file import classifier_of
from skecgattn._reading import in_ecg_time
from skecgattn._validation import EXPECTED_SPAN, implausible_span, keeps_leads, lead_names_of
from skecgattn._warn import warn_user
from skecgattn.classifier import AttentionECGClassifier
from skecgattn.exceptions import ECGWarning
from skecgattn.preprocessing import resample
from skecgattn.records._batches import Batch
from skecgattn.records._readability import judge
from skecgattn.records._record import Record
from skecgattn.records._stitching import Windows
from skecgattn.training import numpy_dtype

DEFAULT_WINDOW = 10.0
"""Seconds, where the model does not know the length that it was trained on."""

JUDGED_WINDOWS = 10
"""Windows that tell whether a recording is in millivolts."""

NORMAL_LABEL = "N"
"""Label of heartbeats that are not abnormal, where the model has no normal class."""


class Prepared(NamedTuple):
    """What the networks read of a batch of windows."""

    starts: NDArray[np.int64]
    """First sample of each readable window."""
    channels: Channels | None
    """Their channels; None where no window is readable."""
    unreadable: NDArray[np.int64]
    """Unreadable stretches (n, 2) of the recording."""


class ModelReader:
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
        classifier = classifier_of(model)
        check_is_fitted(classifier, "network_")
        classifier._check_has_maps()
        rate = classifier._front_end.sampling_rate
        if rate is None:
            raise ValueError(
                "The model does not know at which rate it reads, got sampling_rate=None: fit "
                "AttentionECGClassifier(sampling_rate=...)."
            )
        self.classifier = classifier
        self.steps = model[:-1] if isinstance(model, Pipeline) and len(model) > 1 else None
        self.thresholds = np.maximum(classifier._check_threshold(threshold), 1e-12)
        self.labels = beat_labels(classifier)
        self.record = _match_leads(model, record, leads)
        self.rate = record.sampling_rate
        shortest = classifier._minimum_length() / rate
        self.seconds = _trained_length(classifier, rate) if window is None else window
        if min(self.seconds, record.duration) < shortest:
            raise ValueError(
                f"Record {record.name} has {record.duration:g} s, in windows of {self.seconds:g} s: the "
                f"model needs at least {shortest:g} s."
            )
        self.length = min(round(self.seconds * self.rate), record.n_timesteps)
        _warn_of_units(self.record, self.length)

    def __getstate__(self) -> dict[str, Any]:
        """Return what other processes get: neither the recording nor what only training needs."""
        classifier = copy.copy(self.classifier).set_params(callbacks=None)
        classifier._optimizer_state = None
        return {**vars(self), "classifier": classifier, "model": None, "record": None}

    def read(self, batch: Batch, maps: bool) -> tuple[Windows, NDArray[np.int64]]:
        """Return what the model sees in the readable windows, and the unreadable stretches (n, 2)."""
        return self.compute(self.prepare(batch), maps)

    def prepare(self, batch: Batch) -> Prepared:
        """Return what the networks read of the readable windows."""
        unreadable, hidden = judge(batch.signal, batch.first, batch.edges, self.rate)
        starts = batch.starts[~hidden]
        offsets = (starts - batch.first).tolist()
        signals = [batch.signal[:, k : k + self.length] for k in offsets]
        return Prepared(starts, self._channels(np.stack(signals)) if signals else None, unreadable)

    def compute(self, prepared: Prepared, maps: bool) -> tuple[Windows, NDArray[np.int64]]:
        """Return what the networks see in the readable windows, and the unreadable stretches (n, 2)."""
        starts, channels, unreadable = prepared
        if channels is None:
            blank = np.empty((0, len(self.classifier.map_labels_), self.length), dtype=np.float32)
            return Windows(starts, [], [], blank if maps else None), unreadable
        reader = self.classifier._reader()
        reading = in_ecg_time(reader.read_channels(channels), self._front_end(), self.length, maps=maps)
        windows = Windows(
            starts,
            [start + beats for start, beats in zip(starts.tolist(), reading.heartbeats)],
            reading.scores,
            reading.maps * reading.present[:, :, None].astype(reading.maps.dtype) if maps else None,
        )
        return windows, unreadable

    def _channels(self, signals: NDArray[np.float32]) -> Channels:
        """Return the channels of windows (n, n_leads, length), in samples of the recording."""
        X = _fill(signals, ~np.isfinite(signals))
        classifier = self.classifier
        if self.steps is None:
            return self._front_end().transform(X, numpy_dtype(classifier.precision))
        own = [r for _, step in self.steps.steps if (r := getattr(step, "sampling_rate", None))]
        X = resample(X, self.rate, own[0] if own else classifier._front_end.sampling_rate)
        one_lead = classifier.input_ndim_ == 2
        X = np.asarray(self.steps.transform(X[:, 0] if one_lead else X))
        return classifier._reader().channels(X[:, None] if one_lead else X)

    def _front_end(self) -> FrontEnd:
        """Return the model's front end for ECGs of the recording's rate."""
        front_end = self.classifier._front_end
        return dataclasses.replace(front_end, sampling_rate=self.rate, resample_to=front_end.rate)


def _warn_of_units(record: Record, length: int) -> None:
    """Warn of a recording that is hardly in millivolts, by some of its windows."""
    starts = np.linspace(0, record.n_timesteps - length, JUDGED_WINDOWS).astype(int)
    windows = [record.read(start, start + length) for start in np.unique(starts).tolist()]
    known = [np.where(np.isfinite(window), window, np.nan) for window in windows]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # leads without a sample
        spread = np.stack([np.nanmax(window, axis=1) - np.nanmin(window, axis=1) for window in known])
    if (found := implausible_span(spread)) is not None:
        warn_user(
            f"Record {record.name} has {found}. {EXPECTED_SPAN}: tell read_record the file's units, or "
            "convert the samples.",
            ECGWarning,
        )


def beat_labels(classifier: AttentionECGClassifier) -> tuple:
    """Return the labels that heartbeats can get: the normal one, then that of each map."""
    normal = classifier._labels.normal
    normal_label = NORMAL_LABEL if normal is None else classifier.classes_.tolist()[normal]
    return (normal_label, *classifier.map_labels_)


def _trained_length(classifier: AttentionECGClassifier, rate: float) -> float:
    """Return the length in seconds of the ECGs that the model was trained on, as far as it knows."""
    n_timesteps = getattr(classifier, "n_timesteps_in_", None)
    return DEFAULT_WINDOW if n_timesteps is None else n_timesteps / rate


def _match_leads(model: Any, record: Record, leads: Sequence[str] | None) -> Record:
    """Return the record with the leads that the model reads, in its order."""
    if not keeps_leads(model):  # which leads its steps take is theirs to know
        return record if leads is None else record.select_leads(leads)
    needed, names = classifier_of(model).n_leads_in_, lead_names_of(model)
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


def _fill(signals: NDArray[np.float32], missing: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Interpolate missing samples of windows (n, n_leads, length) linearly; a lead without any is 0."""
    for window, lead in np.argwhere(missing.any(axis=2)):
        gaps, row = missing[window, lead], signals[window, lead]
        known = np.flatnonzero(~gaps)
        row[gaps] = np.interp(np.flatnonzero(gaps), known, row[known]) if len(known) else 0.0
    return signals
