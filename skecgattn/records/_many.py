"""Annotate many recordings, side by side, and go on where an earlier run has stopped."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import hashlib
import json
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import joblib
import numpy as np
import pandas as pd
from joblib.parallel import LokyBackend, get_active_backend
from sklearn.pipeline import Pipeline
from sklearn.utils._param_validation import validate_params
from tqdm.auto import tqdm

from skecgattn import __version__
from skecgattn._files import write_text
from skecgattn._model_file import classifier_of, info, load, pack, unpack
from skecgattn.exceptions import ModelFileError
from skecgattn.records._annotate import PARAMETERS, annotate
from skecgattn.records._annotations import EXTENSION, RecordAnnotations, check_extension
from skecgattn.records._model_reader import beat_labels
from skecgattn.records._record import Record, read_record
from skecgattn.records._symbols import beat_symbols
from skecgattn.records._wfdb_reader import files_of_header

SUFFIXES = (".hea", ".dat", ".mat", ".edf", ".csv", ".npy")
"""Suffixes of recordings, which their names go without."""

BEGIN = 1 << 16
"""Bytes at the beginning of a file that tell it from others."""

DONE, SKIPPED, FAILED = "done", "skipped", "failed"

MADE_BY = "skecgattn.records.annotate_many"
"""Tells the files of this function from others."""


class _Job(NamedTuple):
    """One recording, and where its annotations go."""

    name: str
    record: Record | str | os.PathLike[str]
    target: Path
    overwrite: bool

    @property
    def sidecar(self) -> Path:
        """What the annotations were made of."""
        return self.target.with_name(f"{self.target.name}.json")

    @property
    def draft(self) -> Path:
        """Folder for files that are not complete; the next run clears what a killed one has left there."""
        return self.target.with_name(f".{self.target.name}.part")


class _Work(NamedTuple):
    """What is done with each recording."""

    model: Any
    """The model, or what a model file of it holds."""
    fingerprint: str
    """Differs where the model differs."""
    options: dict[str, Any]
    """Of `annotate`."""
    symbols: dict | None
    """WFDB symbols of labels."""
    identity: dict[str, Any]
    """The model and the options that make a difference, as plain data."""


@validate_params(
    {
        **PARAMETERS,
        "records": [list, tuple, np.ndarray],
        "output": [str, os.PathLike],
        "symbols": [dict, None],
        "extension": [str],
        "overwrite": ["boolean"],
        "backend": [str, None],
    },
    prefer_skip_nested_validation=True,
)
def annotate_many(
    model: Any,
    records: Sequence[Record | str | os.PathLike[str]],
    output: str | os.PathLike[str],
    *,
    threshold: float | dict | None = None,
    leads: Sequence[str] | None = None,
    window: float | None = None,
    overlap: float = 1.5,
    chunk: float | None = 600.0,
    symbols: dict | None = None,
    extension: str = EXTENSION,
    overwrite: bool = False,
    n_jobs: int | None = None,
    backend: str | None = None,
    verbose: int = 0,
) -> pd.DataFrame:
    """Annotate many recordings, and write a WFDB annotation file for each.

    A recording that cannot be annotated is reported, and the others go on. Beside each annotation file
    ``100.skg`` lies ``100.skg.json``, which says what it was made with and holds its summary; a second run
    skips the recordings that were annotated by the same model with the same options, and have not changed
    since. A file appears when it is complete: a run can be interrupted at any time, even killed.

    Parameters
    ----------
    model : AttentionECGClassifier, Pipeline, str or path-like
        Fitted, or the path of a model file. Every worker computes with one thread.

    records : sequence of str, path-like or Record
        The recordings, as for :func:`annotate`; their names must differ.

    output : str or path-like
        Folder for the annotation files, made where it is missing. Workers on other machines must see it
        under the same path, as they must see the recordings.

    threshold, leads, window, overlap, chunk
        As for :func:`annotate`.

    symbols : dict, default=None
        WFDB symbols of the model's classes, see :func:`beat_symbols`.

    extension : str, default="skg"
        Suffix of the annotation files: the annotator's name, letters only.

    overwrite : bool, default=False
        Whether all recordings are annotated again, and files of that name which this function has not
        written, or which were edited since, are replaced. Otherwise they are left alone and reported.

    n_jobs : int, default=None
        Number of workers; None is 1 unless in a :class:`joblib.parallel_config` context, -1 one a core. A
        single recording is shared among processes of this machine, as :func:`annotate` does it.

    backend : str, default=None
        Backend of joblib; None is that of the :class:`joblib.parallel_config` context, else "loky",
        processes on this machine. "dask" takes the workers of the current ``dask.distributed.Client``.

    verbose : int, default=0
        1 shows a progress bar with the time left.

    Returns
    -------
    table : DataFrame
        One row a recording, in the order of `records`: ``record`` (name), ``status`` ("done", "skipped" or
        "failed"), ``error`` (one line, None where there is none), ``seconds`` (that it took), ``duration``
        (of the recording, s), ``beats``, ``abnormal``, one column a label of abnormal beats, ``unreadable``
        (share of the recording), and ``output`` (path of the annotation file).

    Raises
    ------
    ValueError
        If two recordings have the same name, or `model` or an option cannot be used.
    TypeError
        If `model` is no fitted AttentionECGClassifier and no pipeline that ends in one.
    OSError
        If `output` cannot be made.

    See Also
    --------
    annotate : Annotate one recording.

    Examples
    --------
    >>> import tempfile
    >>> from skecgattn import AttentionECGClassifier
    >>> from skecgattn.datasets import make_ecg
    >>> from skecgattn.records import Record, annotate_many
    >>> X, y, *_ = make_ecg(40, sampling_rate=180, classes=["V"], random_state=0)
    >>> clf = AttentionECGClassifier(180, max_epochs=1, random_state=0)
    >>> clf = clf.fit(X, ["PVC" if one else "normal" for one in y[:, 0]])
    >>> records = [Record.from_array(ecg, 180, name=f"r{k}") for k, ecg in enumerate(X[:2])]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     annotate_many(clf, records, folder)[["record", "status"]]
      record status
    0     r0   done
    1     r1   done
    """
    folder = Path(output)
    options = {"threshold": threshold, "leads": leads, "window": window, "overlap": overlap, "chunk": chunk}
    work = _prepare(model, options, symbols, extension)
    jobs = [
        _Job(name, record, folder / f"{name}.{extension}", overwrite)
        for name, record in zip(_names(records), records)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    rows = [None if overwrite else _finished(job, work.identity) for job in jobs]
    left = [position for position, row in enumerate(rows) if row is None]
    if len(left) == 1 and backend is None and isinstance(get_active_backend()[0], LokyBackend):
        rows[left[0]] = _annotate(left[0], jobs[left[0]], *work, n_jobs=n_jobs, verbose=verbose)[1]
        return _table(rows)
    bar = tqdm(total=len(jobs), desc="annotating", unit="record", disable=not verbose, dynamic_ncols=True)
    # joblib finds "dask" in this way only
    context = contextlib.nullcontext() if backend is None else joblib.parallel_config(backend=backend)
    with bar, context:
        parallel = joblib.Parallel(n_jobs=n_jobs, return_as="generator_unordered")
        bar.update(len(jobs) - len(left))
        n_failed = 0
        for position, row in parallel(joblib.delayed(_annotate)(k, jobs[k], *work) for k in left):
            rows[position] = row
            n_failed += row["status"] == FAILED
            bar.set_postfix({"failed": n_failed} if n_failed else {}, refresh=False)
            bar.update()
    return _table(rows)


def _names(records: Sequence[Record | str | os.PathLike[str]]) -> list[str]:
    """Return the names of recordings, which name their annotation files."""
    names: list[str] = []
    for record in records:
        if not isinstance(record, Record | str | os.PathLike):
            raise TypeError(f"records must hold paths or Records, got {type(record).__name__}.")
        names.append(record.name if isinstance(record, Record) else stem_of(record).name)
        if not names[-1] or "/" in names[-1] or os.sep in names[-1]:
            raise ValueError(f"records has {record!r}, whose name {names[-1]!r} cannot name a file.")
    twice = sorted({name for name in names if names.count(name) > 1}) if len({*names}) < len(names) else []
    if twice:
        raise ValueError(
            f"records has several recordings of the name {twice[0]!r}, whose annotations would be one file: "
            "annotate them into different folders."
        )
    return names


def stem_of(path: str | os.PathLike[str]) -> Path:
    """Return the path of a recording without its suffix; its last part is the recording's name."""
    path = Path(path)
    return path.with_suffix("") if path.suffix.lower() in SUFFIXES else path


def _prepare(model: Any, options: dict[str, Any], symbols: dict | None, extension: str) -> _Work:
    """Check what can be checked before the first recording, and pack the model once for all workers."""
    check_extension(extension)
    if isinstance(model, str | os.PathLike):
        content: bytes | None = Path(model).read_bytes()
        fingerprint, model = info(model)["fingerprint"], load(model)
    else:
        model = getattr(model, "best_estimator_", model)
        content, fingerprint = _pack(model)
    classifier = classifier_of(model)
    classifier._check_threshold(options["threshold"])
    identity = {
        "model": fingerprint,
        "options": {name: _plain(value) for name, value in options.items() if name != "chunk"},
        "symbols": _plain(beat_symbols(beat_labels(classifier), symbols)),
    }
    # an array is what joblib's backends pass on to each worker once
    packed = _one_thread(model) if content is None else np.frombuffer(content, dtype=np.uint8)
    return _Work(packed, fingerprint, options, symbols, identity)


def _pack(model: Any) -> tuple[bytes | None, str]:
    """Return the content of a model file, None for models that no file can hold, and the fingerprint."""
    try:
        return pack(model)
    except ModelFileError:
        steps = model.steps[:-1] if isinstance(model, Pipeline) else []
        classifier = classifier_of(model)
        weights = {name: tensor.cpu().numpy() for name, tensor in classifier.network_.state_dict().items()}
        state = {k: v for k, v in vars(classifier).items() if k not in ("network_", "_optimizer_state")}
        return None, str(joblib.hash([steps, state, weights]))


def _one_thread(model: Any) -> Any:
    """Return the model, with its networks, in a version that computes with one thread."""
    classifier = copy.copy(classifier_of(model)).set_params(n_threads=1)
    if not isinstance(model, Pipeline):
        return classifier
    return Pipeline([*model.steps[:-1], (model.steps[-1][0], classifier)])


_unpacked: dict[str, Any] = {}
"""The last model of this worker, by its fingerprint."""


def _unpack(model: Any, fingerprint: str) -> Any:
    if not isinstance(model, np.ndarray):
        return model
    if fingerprint not in _unpacked:
        _unpacked.clear()
        _unpacked[fingerprint] = _one_thread(unpack(model.tobytes(), "The model"))
    return _unpacked[fingerprint]


def _annotate(
    position: int,
    job: _Job,
    model: Any,
    fingerprint: str,
    options: dict[str, Any],
    symbols: dict | None,
    identity: dict[str, Any],
    n_jobs: int | None = 1,
    verbose: int = 0,
) -> tuple[int, dict[str, Any]]:
    """Annotate one recording in a worker; return its position and its row of the table."""
    started = time.perf_counter()
    row: dict[str, Any] = {"record": job.name, "status": FAILED, "output": str(job.target)}
    try:
        replaced = _check_replaceable(job)
        source = _source(job.record)
        record = job.record if isinstance(job.record, Record) else read_record(job.record)
        found = annotate(_unpack(model, fingerprint), record, n_jobs=n_jobs, verbose=verbose, **options)
        summary = found.summary()
        row |= {
            "status": DONE,
            "duration": found.duration,
            "beats": summary.n_heartbeats,
            "abnormal": summary.n_abnormal,
            "classes": {str(label): int(n) for label, n in summary.classes["beats"].items()},
            "unreadable": summary.unreadable_share,
            "seconds": time.perf_counter() - started,
        }
        made = {
            "made_by": MADE_BY,
            "version": __version__,
            **identity,
            "source": source,
            "replaces": replaced,
        }
        _write(job, dataclasses.replace(found, record_name=job.name), symbols, row, made)
    except Exception as error:  # of one recording: the others go on
        row = {key: row[key] for key in ("record", "output")} | {"status": FAILED, "error": _one_line(error)}
    row["seconds"] = time.perf_counter() - started
    return position, row


def _write(
    job: _Job,
    annotations: RecordAnnotations,
    symbols: dict | None,
    row: dict[str, Any],
    made: dict[str, Any],
) -> None:
    """Write the annotations and what they were made of, each in one go."""
    shutil.rmtree(job.draft, ignore_errors=True)
    job.draft.mkdir()
    try:
        written = annotations.to_wfdb(job.draft, extension=job.target.suffix[1:], symbols=symbols)
        made |= {"sha256": _sha256(written), "row": row, "summary": annotations.summary().to_dict()}
        sidecar = job.draft / job.sidecar.name
        write_text(sidecar, json.dumps(made, indent=1) + "\n")
        # in this order: an annotation file of ours always has a sidecar that knows it
        os.replace(sidecar, job.sidecar)
        os.replace(written, job.target)
    finally:
        shutil.rmtree(job.draft, ignore_errors=True)


def _check_replaceable(job: _Job) -> str | None:
    """Return the SHA-256 sum of the annotation file that will be replaced, None where there is none."""
    if not job.target.is_file():
        return None
    found = _sha256(job.target)
    made = _read_sidecar(job)
    if not job.overwrite and found not in (made.get("sha256"), made.get("replaces")):
        what = "was changed after annotate_many wrote it" if made else "was not written by annotate_many"
        raise FileExistsError(f"{str(job.target)!r} {what}: overwrite=True replaces it.")
    return found


def _finished(job: _Job, identity: dict[str, Any]) -> dict[str, Any] | None:
    """Return the row of a recording that an earlier run has annotated in the same way, else None."""
    made = _read_sidecar(job)
    if (
        not isinstance(made.get("row"), dict)
        or not job.target.is_file()
        or made.get("sha256") != _sha256(job.target)
    ):
        return None
    if {name: made.get(name) for name in identity} != identity or made.get("source") != _source(job.record):
        return None
    shutil.rmtree(job.draft, ignore_errors=True)
    return {**made["row"], "status": SKIPPED, "output": str(job.target), "seconds": 0.0}


def _read_sidecar(job: _Job) -> dict[str, Any]:
    """Return what the annotation file was made of; nothing where it is not known."""
    try:
        made = json.loads(job.sidecar.read_text())
    except (OSError, ValueError):
        return {}
    return made if isinstance(made, dict) and made.get("made_by") == MADE_BY else {}


def _source(record: Record | str | os.PathLike[str]) -> dict[str, Any]:
    """Return what tells whether a recording has changed."""
    known: dict[str, Any] = {}
    if isinstance(record, Record):
        known = {"lead_names": list(record.lead_names), "sampling_rate": record.sampling_rate}
        # the units that it was opened with show in the samples alone
        with contextlib.suppress(OSError):
            known["first"] = hashlib.sha256(record.read(0, min(BEGIN, record.n_timesteps)).data).hexdigest()
        if record.path is None:
            return {**known, "sha256": hashlib.sha256(record.read().data).hexdigest()}
        record = record.path
    stem = stem_of(record)
    files = [stem.with_name(f"{stem.name}{suffix}") for suffix in SUFFIXES]
    for file in dict.fromkeys([*files, Path(record), *files_of_header(files[0])]):
        if file.is_file():
            status = file.stat()
            # of another folder a file may have the same name, size and, unpacked from an archive, time
            with file.open("rb") as opened:
                begin = hashlib.sha256(opened.read(BEGIN)).hexdigest()
            known[file.name] = [status.st_size, status.st_mtime_ns, begin]
    return known


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _plain(value: Any) -> Any:
    """Return an option as JSON gives it back."""
    if isinstance(value, Mapping):
        return sorted([repr(key), _plain(item)] for key, item in value.items())
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if text and isinstance(error, OSError | ValueError) else f"{type(error).__name__}: {text}"


def _table(rows: Sequence[dict[str, Any] | None]) -> pd.DataFrame:
    """Return one row a recording, with a column a label of abnormal beats."""
    flat = [{**row, **row.get("classes", {})} for row in rows if row is not None]
    labels = list(dict.fromkeys(label for row in flat for label in row.get("classes", {})))
    counts = ["beats", "abnormal", *labels]
    columns = ["record", "status", "error", "seconds", "duration", *counts, "unreadable", "output"]
    table = pd.DataFrame(flat, columns=columns)
    table["error"] = table["error"].astype(object).where(table["error"].notna(), None)
    return table.astype(dict.fromkeys(counts, "Int64"))
