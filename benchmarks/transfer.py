"""Trainings on MIT-BIH, tried on electrocardiographs, countries and labels they have never seen.

The default estimator and its classifier alone, trained on DS1 of MIT-BIH (two leads of ambulatory
recorders), read the twelve-lead ECGs of LUDB and of the PhysioNet Challenge 2021 that lie in the data, by
leads II and V1, resampled to 360 Hz. A physician's diagnoses are the labels; a record's score is the highest
of its consecutive windows of 10 s. Paced records are left out, as they are from MIT-BIH. Writes
``transfer.json`` and ``transfer.md`` beside this file::

    SKECGATTN_DATA=... python benchmarks/transfer.py --models models
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from _tables import (
    LABELS,
    RATE,
    Rows,
    areas,
    cell,
    epochs,
    fingerprint,
    make_parser,
    markdown,
    paired,
    train,
    windows,
)
from sklearn.metrics import precision_score, recall_score
from threadpoolctl import threadpool_limits
from tqdm.auto import tqdm

from skecgattn import AttentionECGClassifier
from skecgattn.preprocessing import resample
from skecgattn.records import read_record

METHODS: dict[str, dict[str, Any]] = {"default": {}, "classifier alone": {"segmenter": None}}
LEADS = ("II", "V1")
WINDOW = round(10 * RATE)

DIAGNOSES = {
    "S": {"284470004", "63593006", "713422000", "426761007"},
    "V": {"427172004", "17338001", "164884008", "425856008", "164895002"},
}
"""SNOMED CT: premature atrial contraction, supraventricular premature beats, atrial and supraventricular
tachycardia; premature ventricular contractions, ventricular premature and ectopic beats, ventricular
tachycardia, paroxysmal or not."""

PACED = {"10370003", "251266004"}
"""SNOMED CT: pacing rhythm, ventricular pacing pattern."""

EXTRASYSTOLES = {"S": "atrial extrasystole", "V": "ventricular extrasystole"}
"""How an entry in LUDB's column of extrasystoles begins."""


def challenge(folder: Path) -> Iterator[tuple[Path, list[bool]]]:
    """Yield the records of the Challenge with whether their diagnoses are S and V."""
    for path in sorted(folder.rglob("*.hea")):
        comments = read_record(path.with_suffix("")).comments
        codes = {
            code.strip()
            for comment in comments
            if comment.lstrip("# ").startswith("Dx")
            for code in comment.partition(":")[2].split(",")
        }
        if not codes & PACED:
            yield path.with_suffix(""), [bool(codes & DIAGNOSES[label]) for label in LABELS]


def ludb(folder: Path) -> Iterator[tuple[Path, list[bool]]]:
    """Yield the records of LUDB with whether they show S and V."""
    for row in pd.read_csv(folder / "ludb.csv", keep_default_na=False).to_dict("records"):
        if not row["Cardiac pacing"].strip():
            entries = row["Extrasystolies"].lower().splitlines()
            shown = [any(entry.startswith(EXTRASYSTOLES[label]) for entry in entries) for label in LABELS]
            yield folder / "data" / str(row["ID"]), shown


def read(path: Path) -> np.ndarray:
    """Return the windows (n_windows, 2, 3600) of a record; what is left over at its end is not read."""
    record = read_record(path)
    names = [name.upper() for name in record.lead_names]
    ecg = record.read()[[names.index(lead) for lead in LEADS]]
    ecg = resample(ecg[None], record.sampling_rate, RATE)[0]
    n_windows = ecg.shape[1] // WINDOW
    return ecg[:, : n_windows * WINDOW].reshape(len(LEADS), n_windows, WINDOW).swapaxes(0, 1)


def load(data: Path) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Return the windows, the record each is of, and the records' labels [S, V] of both databases."""
    loaded = {}
    sources = {
        "Challenge 2021": challenge(data / "cinc2021_samples"),
        "LUDB": ludb(data / "ludb"),
    }
    for name, records in sources.items():
        found = [(read(path), shown) for path, shown in tqdm(list(records), desc=name)]
        found = [(parts, shown) for parts, shown in found if len(parts)]
        owner = np.repeat(np.arange(len(found)), [len(parts) for parts, _ in found])
        loaded[name] = np.concatenate([parts for parts, _ in found]), owner, np.array([y for _, y in found])
    return loaded


def run(clf: AttentionECGClassifier, X: np.ndarray, owner: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    """Score the records of a database."""
    decision = np.full(y.shape, -np.inf)
    np.maximum.at(decision, owner, clf.decision_function(X))
    told: dict[str, Any] = {"average": None, "zero_division": 0}
    return {
        "records": len(y),
        "positive": dict(zip(LABELS, y.sum(axis=0).tolist())),
        "AUC": areas(y, decision),
        "recall": dict(zip(LABELS, map(float, recall_score(y, decision > 0, **told)))),
        "precision": dict(zip(LABELS, map(float, precision_score(y, decision > 0, **told)))),
    }


def table(rows: Rows) -> str:
    """Return the results as Markdown: mean ± standard deviation over seeds."""
    body, differences = [], []
    for name in rows.names("database"):
        ours = rows.select(database=name, method="default")
        for label in LABELS:
            for method in rows.names("method", METHODS):
                there = rows.select(database=name, method=method)
                if not there:
                    continue
                shown = f"{there[0]['positive'][label]} of {there[0]['records']}"
                cells = [cell(there, what, label) for what in ("AUC", "recall", "precision")]
                body.append([name, label, shown, method, len(there), *cells])
                if method != "default":
                    differences.append([name, label, method, paired(ours, there, "AUC", label)])
    return "\n".join(
        [
            "### Twelve-lead ECGs, read by II and V1, after training on DS1 of MIT-BIH",
            "",
            "Chance: AUC .500. Recall and precision at a probability of one half.",
            "",
            *markdown(["database", "label", "records", "method", "seeds", "AUC", "recall", "precision"], body),
            "",
            "### The default minus it, paired over seeds (t test)",
            "",
            *markdown(["database", "label", "method", "AUC"], differences),
            "",
        ]
    )


def main() -> None:
    """Train on DS1 what is not saved, score both databases and write the tables."""
    parser = make_parser(__doc__, methods=METHODS, models=True)
    options = parser.parse_args()
    if "SKECGATTN_DATA" not in os.environ:
        parser.error("SKECGATTN_DATA must name the folder with mitdb, ludb and cinc2021_samples")
    databases = load(Path(os.environ["SKECGATTN_DATA"]))
    training = windows("ds1", options.records)
    rows = Rows(options.output / "transfer.json", table)
    jobs = [(seed, method) for seed in range(options.seeds) for method in options.methods]
    for seed, method in (bar := tqdm(jobs, desc="trainings")):
        bar.set_postfix_str(f"{method}, seed {seed}")
        clf = AttentionECGClassifier(RATE, random_state=seed, **METHODS[method], **epochs(options))
        for name, (X, owner, y) in databases.items():
            settings = fingerprint(clf, training[0].shape, X.shape, y.sum(axis=0).tolist())
            if not rows.done(settings, database=name, method=method, seed=seed):
                with threadpool_limits(1):
                    trained = train(clf, *training[:3], options.models)
                    scores = run(trained.estimator, X, owner, y)
                rows.add(settings, scores, database=name, method=method, seed=seed)


if __name__ == "__main__":
    main()
