"""Trainings on MIT-BIH, tried on other electrocardiographs, countries and labels.

The default estimator and its classifier alone, trained on DS1 of MIT-BIH (two leads of ambulatory
recorders), read the twelve-lead ECGs of LUDB and of the PhysioNet Challenge 2021 that lie in the data, by
leads II and V1, resampled to 360 Hz. A physician's diagnoses are the labels; a record's score is the highest
of its windows of 10 s, the last of which ends where the record does. Paced records are left out, as they are
from MIT-BIH. Writes ``transfer.json`` and ``transfer.md`` beside this file::

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
    record_paths,
    train,
    windows,
)
from sklearn.metrics import precision_score, recall_score, roc_auc_score
from threadpoolctl import threadpool_limits
from tqdm.auto import tqdm

from skecgattn import AttentionECGClassifier
from skecgattn.cli._training_data import diagnosis_codes
from skecgattn.preprocessing import resample
from skecgattn.records import read_record

METHODS: dict[str, dict[str, Any]] = {"default": {}, "classifier alone": {"segmenter": None}}
LEADS = ("II", "V1")
WINDOW = round(10 * RATE)

N_RESAMPLES = 1000
"""Draws of records for an interval."""

DIAGNOSES = {
    "S": {
        *("284470004", "63593006", "251173003", "251170000", "251168009", "251164006", "251187003"),
        *("713422000", "426761007", "67198005"),
    },
    "V": {
        *("427172004", "17338001", "164884008", "11157007", "251180001", "251182009"),
        *("164895002", "425856008", "111288001", "75532003"),
    },
}
"""SNOMED CT. S: premature atrial contractions and supraventricular premature beats, also in bigeminy or
blocked, junctional premature and atrial escape beats; atrial and (paroxysmal) supraventricular tachycardia.
V: premature ventricular contractions, ventricular premature and ectopic beats, also in bigeminy, trigeminy
and pairs; ventricular tachycardia, paroxysmal or not, and flutter; ventricular escape beats."""

PACED = {"10370003", "251266004", "251268003"}
"""SNOMED CT: pacing rhythm, ventricular and atrial pacing pattern."""

EXTRASYSTOLES = {"S": "atrial extrasystole", "V": "ventricular extrasystole"}
"""How an entry in LUDB's column of extrasystoles begins."""

NOTE = """Chance: AUC .500. Recall and precision at a probability of one half. ± is over seeds; the 95%
interval is over records (drawn anew with replacement, positive and other ones apart), and wide, as few are
positive. All records of the Challenge with S come from one of its sources, and half of those with V are
ventricular tachycardia with hardly a normal beat to compare with. The heartbeat detector of both methods
has learned from records 1 to 150 of LUDB, without labels of beats, and that peaks at an ECG's ends are not
judged was prompted by LUDB."""


def challenge(folder: Path) -> Iterator[tuple[Path, list[bool]]]:
    """Yield the records of the Challenge with whether their diagnoses are S and V."""
    for path in record_paths(folder):
        codes = diagnosis_codes(read_record(path))
        if not codes & PACED:
            yield path, [bool(codes & DIAGNOSES[label]) for label in LABELS]


def ludb(folder: Path) -> Iterator[tuple[Path, list[bool]]]:
    """Yield the records of LUDB with whether they show S and V."""
    for row in pd.read_csv(folder / "ludb.csv", keep_default_na=False).to_dict("records"):
        if not row["Cardiac pacing"].strip():
            entries = row["Extrasystolies"].lower().splitlines()
            shown = [any(entry.startswith(EXTRASYSTOLES[label]) for entry in entries) for label in LABELS]
            yield folder / "data" / str(row["ID"]), shown


def read(path: Path) -> np.ndarray:
    """Return the windows (n_windows, 2, 3600) of a record; the last one ends where it does."""
    record = read_record(path, leads=LEADS)
    ecg = resample(record.read(), record.sampling_rate, RATE)
    last = ecg.shape[1] - WINDOW
    starts = [*range(0, last, WINDOW), *([last] if last >= 0 else [])]
    return np.array([ecg[:, start : start + WINDOW] for start in starts])


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


def interval(y: np.ndarray, score: np.ndarray) -> tuple[float, float]:
    """Return the 95% interval of the area under the curve over draws of records, by percentiles."""
    rng = np.random.RandomState(0)
    groups = [score[y == 0], score[y == 1]]
    truth = np.repeat([0, 1], [len(group) for group in groups])
    drawn = [
        roc_auc_score(truth, np.concatenate([rng.choice(group, len(group)) for group in groups]))
        for _ in range(N_RESAMPLES)
    ]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return float(low), float(high)


def run(clf: AttentionECGClassifier, X: np.ndarray, owner: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    """Score the records of a database."""
    decision = np.full(y.shape, -np.inf)
    np.maximum.at(decision, owner, clf.decision_function(X))
    told: dict[str, Any] = {"average": None, "zero_division": 0}
    bounds = {label: interval(y[:, k], decision[:, k]) for k, label in enumerate(LABELS)}
    return {
        "records": len(y),
        "positive": dict(zip(LABELS, y.sum(axis=0).tolist())),
        "AUC": areas(y, decision),
        "AUC, low": {label: low for label, (low, _) in bounds.items()},
        "AUC, high": {label: high for label, (_, high) in bounds.items()},
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
                low, high = (np.mean([row[f"AUC, {end}"][label] for row in there]) for end in ("low", "high"))
                cells = [cell(there, what, label) for what in ("AUC", "recall", "precision")]
                cells.insert(1, f"{low:.3f} to {high:.3f}")
                body.append([name, label, shown, method, len(there), *cells])
                if method != "default":
                    differences.append([name, label, method, paired(ours, there, "AUC", label)])
    header = ["database", "label", "records", "method", "seeds", "AUC", "95%", "recall", "precision"]
    return "\n".join(
        [
            "### Twelve-lead ECGs, read by II and V1, after training on DS1 of MIT-BIH",
            "",
            *NOTE.splitlines(),
            "",
            *markdown(header, body),
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
        settings = {
            name: fingerprint(clf, training[0].shape, X.shape, y.sum(axis=0).tolist())
            for name, (X, _, y) in databases.items()
        }
        key = {"method": method, "seed": seed}
        missing = [name for name in databases if not rows.done(settings[name], database=name, **key)]
        if missing:
            with threadpool_limits(1):
                trained = train(clf, *training[:3], options.models).estimator
                for name in missing:
                    scores = run(trained, *databases[name])
                    rows.add(settings[name], scores, database=name, **key)


if __name__ == "__main__":
    main()
