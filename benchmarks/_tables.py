"""What the benchmarks share: rows that outlive a killed run, saved trainings, and tables."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import joblib
import numpy as np
import torch
from scipy.stats import ttest_rel
from sklearn.metrics import roc_auc_score
from tqdm.auto import tqdm

import skecgattn
from skecgattn import AttentionECGClassifier, metrics
from skecgattn._files import write_text
from skecgattn.datasets import fetch_mitbih, make_windows

LABELS = ("S", "V")
RATE = 360.0


def write(path: Path, text: str) -> None:
    """Write a file in one step, so that a killed run leaves the one before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text)


def record_paths(folder: Path) -> list[Path]:
    """Return the WFDB records in a folder and below it."""
    return sorted(path.with_suffix("") for path in folder.rglob("*.hea"))


def fingerprint(estimator: Any, *data: Any) -> str:
    """Return a hash of an estimator's parameters but its seed, the package's version and the data's marks."""
    params = {
        name: f"{value.__module__}.{value.__qualname__}" if hasattr(value, "__qualname__") else repr(value)
        for name, value in estimator.get_params().items()
        if name != "random_state"
    }
    text = json.dumps([type(estimator).__name__, sorted(params.items()), skecgattn.__version__, repr(data)])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


class Rows:
    """Rows of a benchmark in a JSON file: one that is there is not computed again.

    A row is known by its key, such as its method and seed, and by its settings (a hash of all parameters, of
    the package's version and of the data's size). The first row with other settings takes the place of all
    that differ from it in nothing but seed and fold, so that no table mixes settings. The table of all rows
    lies beside them.
    """

    def __init__(self, path: Path, table: Callable[[Rows], str]) -> None:
        self.path = path
        self.table = table
        self.rows: list[dict[str, Any]] = json.loads(path.read_text()) if path.exists() else []

    def done(self, settings: str, **key: Any) -> bool:
        """Tell whether the row is there, computed with these settings."""
        wanted = {**key, "settings": settings}.items()
        return any(wanted <= _scalars(row).items() for row in self.rows)

    def add(self, settings: str, values: dict[str, Any], **key: Any) -> None:
        """Save a row, and the table."""
        kind = {name: value for name, value in key.items() if name not in ("seed", "fold")}.items()
        self.rows = [
            row for row in self.rows if row["settings"] == settings or not kind <= _scalars(row).items()
        ]
        self.rows.append({**key, "version": skecgattn.__version__, "settings": settings, **values})
        write(self.path, json.dumps(self.rows, indent=1))
        write(self.path.with_suffix(".md"), self.table(self))

    def select(self, **key: Any) -> list[dict[str, Any]]:
        """Return the rows with these values, by seed where they have one."""
        found = [row for row in self.rows if key.items() <= _scalars(row).items()]
        return sorted(found, key=lambda row: row.get("seed", 0))

    def names(self, field: str, order: Iterable[Any] = ()) -> list[Any]:
        """Return the different values of a field: those in `order` first, then as they come."""
        there = dict.fromkeys(row[field] for row in self.rows if field in row)
        return [name for name in order if name in there] + [name for name in there if name not in set(order)]


def _scalars(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if not isinstance(value, dict | list)}


class Training(NamedTuple):
    """A fitted estimator, and what its training took."""

    estimator: Any
    seconds: float
    processor_seconds: float
    hardware: str = "CPU"


def hardware(estimator: Any) -> str:
    """Return what an estimator was trained on."""
    network = getattr(estimator, "network_", None)
    where = None if network is None else next(network.parameters()).device
    return "CPU" if where is None or where.type == "cpu" else torch.cuda.get_device_name(where)


def train(estimator: Any, X: np.ndarray, y: np.ndarray, patient: np.ndarray, folder: Path | None) -> Training:
    """Fit an estimator, or take it from `folder`, where it is saved otherwise."""
    some = X[:: max(1, len(X) // 64)]
    settings = fingerprint(
        estimator, estimator.random_state, X.shape, f"{np.abs(some).mean(dtype=float):.6f}"
    )
    path = None if folder is None else folder / f"{settings}.joblib"
    if path is not None and path.exists():
        return Training(**joblib.load(path))
    start = time.perf_counter(), time.process_time()
    estimator.fit(X, y, groups=patient)
    seconds, processor_seconds = time.perf_counter() - start[0], time.process_time() - start[1]
    training = Training(estimator, seconds, processor_seconds, hardware(estimator))
    if path is not None:
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".part")
        joblib.dump(training._asdict(), unfinished, compress=3)
        os.replace(unfinished, path)
    return training


def train_all(
    rows: Rows,
    options: argparse.Namespace,
    methods: dict[str, dict[str, Any]],
    training: tuple,
    test: tuple,
    run: Callable[[Any, float, tuple], dict[str, Any]],
) -> None:
    """Train the methods asked for, all at one seed before the next, and add the rows that are not there.

    `run` gets the fitted estimator, the seconds of its training and the test windows.
    """
    jobs = [(seed, method) for seed in range(options.seeds) for method in options.methods]
    for seed, method in (bar := tqdm(jobs, desc="trainings")):
        bar.set_postfix_str(f"{method}, seed {seed}")
        clf = AttentionECGClassifier(RATE, random_state=seed, **(methods[method] | epochs(options)))
        settings = fingerprint(clf, training[0].shape, test[0].shape)
        if not rows.done(settings, method=method, seed=seed):
            done = train(clf, *training[:3], options.models)
            row = {"trained on": done.hardware, **run(done.estimator, done.seconds, test)}
            rows.add(settings, row, method=method, seed=seed)


def value(row: dict[str, Any], *path: str) -> float:
    """Return the value of a row under the names of `path`; nan where missing."""
    found: Any = row
    for name in path:
        found = found.get(name, np.nan) if isinstance(found, dict) else np.nan
    return float(found)


def cell(rows: Iterable[dict[str, Any]], *path: str, digits: int = 3) -> str:
    """Return mean ± standard deviation of a value over the rows; a dash where one lacks it."""
    numbers = np.array([value(row, *path) for row in rows])
    if not len(numbers) or np.isnan(numbers).any():
        return "–"
    spread = f" ± {numbers.std(ddof=1):.{digits}f}" if len(numbers) > 1 else ""
    return f"{numbers.mean():.{digits}f}{spread}"


def paired(
    ours: Iterable[dict[str, Any]],
    theirs: Iterable[dict[str, Any]],
    *path: str,
    against: Sequence[str] | None = None,
) -> str:
    """Return the mean difference of a value over the seeds of both, its standard deviation, p of a t test.

    Theirs is under the names `against`, where that is not `path`.
    """
    our = {row["seed"]: value(row, *path) for row in ours}
    their = {row["seed"]: value(row, *(against or path)) for row in theirs}
    seeds = sorted(set(our) & set(their))
    difference = np.array([our[seed] - their[seed] for seed in seeds])
    if not len(seeds) or np.isnan(difference).any():
        return "–"
    if len(seeds) == 1 or difference.std() == 0:
        return f"{difference.mean():+.3f}"
    p = ttest_rel([our[seed] for seed in seeds], [their[seed] for seed in seeds]).pvalue
    return f"{difference.mean():+.3f} ± {difference.std(ddof=1):.3f} (p {p:.3f})"


def markdown(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
    """Return the lines of a Markdown table."""
    lines = ["| " + " | ".join(header) + " |", "| --- " * len(header) + "|"]
    return lines + ["| " + " | ".join(map(str, row)) + " |" for row in rows]


def make_parser(
    description: str | None, *, methods: Iterable[str] = (), models: bool = False
) -> argparse.ArgumentParser:
    """Return a parser with the options that the benchmarks share."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds, from 0 (default 5)")
    parser.add_argument("--records", type=int, help="only so many records of DS1 and of DS2, for a try")
    parser.add_argument("--epochs", type=int, help="other number of epochs, for a try")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent, help="folder for the tables")
    if methods:
        parser.add_argument("--methods", nargs="+", choices=methods, default=list(methods), metavar="METHOD")
    if models:
        parser.add_argument("--models", type=Path, help="folder of trainings, read from and saved to")
    return parser


def windows(
    subset: str, records: int | None, change: Callable[[list], list] | None = None, **options: Any
) -> tuple[np.ndarray, ...]:
    """Return windows, labels, patients and beats of DS1 or DS2, or of its first records, changed first."""
    wanted: Any = fetch_mitbih(subset, verbose=False).records[:records]
    return make_windows(wanted if change is None else change(wanted), **options)


def areas(y: np.ndarray, score: np.ndarray) -> dict[str, float]:
    """Return the area under the ROC curve of each label's windows."""
    return dict(zip(LABELS, map(float, roc_auc_score(y, score, average=None))))


def detection(beats: np.ndarray, located: list, k: int, label: str) -> dict[str, float]:
    """Score located beats with the label `k` against the annotated ones of an AAMI class."""
    found, chance = metrics.beat_detection(
        beats,
        located,
        label=label,
        sampling_rate=RATE,
        predicted_label=k,
        zero_division=0.0,
        return_chance=True,
    )
    return {
        "sensitivity": found.sensitivity,
        "positive predictivity": found.positive_predictivity,
        "F1": found.f1,
        "F1, chance": chance.f1,
    }


def epochs(options: argparse.Namespace) -> dict[str, Any]:
    """Return the parameter that ``--epochs`` sets."""
    return {} if options.epochs is None else {"max_epochs": options.epochs}
