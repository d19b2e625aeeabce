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
    make_parser,
    markdown,
    paired,
    record_paths,
    train_all,
    value,
    windows,
)
from scipy.stats import bootstrap
from sklearn.metrics import precision_score, recall_score, roc_auc_score
from tqdm.auto import tqdm

from skecgattn import AttentionECGClassifier
from skecgattn.cli._training_data import diagnosis_codes
from skecgattn.preprocessing import resample
from skecgattn.records import read_record

METHODS: dict[str, dict[str, Any]] = {"default": {}, "classifier alone": {"segmenter": None}}
LEADS = ("II", "V1")
WINDOW = round(10 * RATE)

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
judged was prompted by LUDB. The default's wave network has learned from the boundaries of the waves of
records 1 to 150, among them all with S or V: its ECGs of LUDB are not unseen ones."""


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


def load(data: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the windows, the record each is of, the records' labels [S, V] and their databases."""
    sources = {"Challenge 2021": challenge(data / "cinc2021_samples"), "LUDB": ludb(data / "ludb")}
    parts, labels, databases = [], [], []
    for name, records in sources.items():
        for path, shown in tqdm(list(records), desc=name):
            found = read(path)
            if len(found):
                parts.append(found)
                labels.append(shown)
                databases.append(name)
    owner = np.repeat(np.arange(len(parts)), list(map(len, parts)))
    return np.concatenate(parts), owner, np.array(labels), np.array(databases)


def interval(y: np.ndarray, score: np.ndarray) -> dict[str, float]:
    """Return the 95% interval of the area under the curve over draws of records, by percentiles."""

    def area(negative: np.ndarray, positive: np.ndarray) -> float:
        truth = np.repeat([0, 1], [len(negative), len(positive)])
        return roc_auc_score(truth, np.concatenate([negative, positive]))

    groups = (score[y == 0], score[y == 1])
    drawn = bootstrap(groups, area, n_resamples=1000, method="percentile", vectorized=False, rng=0)
    return {"low": float(drawn.confidence_interval.low), "high": float(drawn.confidence_interval.high)}


def run(clf: AttentionECGClassifier, seconds: float, test: tuple) -> dict[str, Any]:
    """Score the records of each database."""
    X, owner, y, databases = test
    decision = np.full(y.shape, -np.inf)
    np.maximum.at(decision, owner, clf.decision_function(X))
    told: dict[str, Any] = {"average": None, "zero_division": 0}
    row = {}
    for name in np.unique(databases).tolist():
        truth, score = y[databases == name], decision[databases == name]
        row[name] = {
            "records": len(truth),
            "positive": dict(zip(LABELS, truth.sum(axis=0).tolist())),
            "AUC": areas(truth, score),
            "AUC, 95%": {label: interval(truth[:, k], score[:, k]) for k, label in enumerate(LABELS)},
            "recall": dict(zip(LABELS, map(float, recall_score(truth, score > 0, **told)))),
            "precision": dict(zip(LABELS, map(float, precision_score(truth, score > 0, **told)))),
        }
    return row


def table(rows: Rows) -> str:
    """Return the results as Markdown: mean ± standard deviation over seeds."""
    body, differences = [], []
    ours = rows.select(method="default")
    for name in ("Challenge 2021", "LUDB"):
        for label in LABELS:
            for method in rows.names("method", METHODS):
                there = rows.select(method=method)
                positive, records = there[0][name]["positive"][label], there[0][name]["records"]
                low, high = (
                    np.mean([value(row, name, "AUC, 95%", label, end) for row in there])
                    for end in ("low", "high")
                )
                cells = [cell(there, name, what, label) for what in ("AUC", "recall", "precision")]
                cells.insert(1, f"{low:.3f} to {high:.3f}")
                body.append([name, label, f"{positive} of {records}", method, len(there), *cells])
                if method != "default":
                    differences.append([name, label, method, paired(ours, there, name, "AUC", label)])
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
    """Run the methods asked for and write the tables."""
    parser = make_parser(__doc__, methods=METHODS, models=True)
    options = parser.parse_args()
    if "SKECGATTN_DATA" not in os.environ:
        parser.error("SKECGATTN_DATA must name the folder with mitdb, ludb and cinc2021_samples")
    test = load(Path(os.environ["SKECGATTN_DATA"]))
    training = windows("ds1", options.records)
    train_all(Rows(options.output / "transfer.json", table), options, METHODS, training, test, run)


if __name__ == "__main__":
    main()
