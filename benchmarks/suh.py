"""The map against attributions under the protocol of Suh et al.

MIT-BIH, DS1 to DS2, first lead, 8 s windows with one label each: the abnormal AAMI class with the most beats,
else N. Maps of the labelled class are scored over the abnormal windows that the classifier tells with a
probability above .75, against the spans (midpoint to midpoint) of the beats of that class; no beat is
"don't care". Attributions are those of the same joint classifier, so that all are scored on the same windows,
and those of the classifier alone, on its own. Scores are the definitions of ``skecgattn.metrics``, averaged
over windows of all classes: pointing game, attention mass (their attribution localisation and relevance mass
accuracy), rank accuracy (their relevance rank accuracy), AUROC over the samples of each window, and
intersection over union of the spans and the samples from half of the map's maximum on.

Writes ``suh.json`` and ``suh.md`` beside this file, row by row: a run that was killed goes on where it was::

    python benchmarks/suh.py --seeds 5

Suh, Kim, Kwon et al., "Visual interpretation of deep learning model in ECG classification: a comprehensive
evaluation of feature attribution methods", Computers in Biology and Medicine 182, 2024; Suh, Kim, Jung, Rhee,
"Evaluating feature attribution methods for electrocardiogram", arXiv 2211.12702, 2022.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from _tables import (
    Rows,
    cell,
    make_parser,
    markdown,
    paired,
    train_all,
    windows,
)
from sklearn.metrics import balanced_accuracy_score

from skecgattn import AttentionECGClassifier, metrics
from skecgattn.inspection import grad_cam, guided_grad_cam, integrated_gradients

ABNORMAL = ("S", "V", "F")
CONFIDENT = 0.75
METHODS: dict[str, dict[str, Any]] = {"default": {}, "classifier alone": {"segmenter": None}}
SOURCES: dict[str, Callable[..., np.ndarray]] = {
    "map": AttentionECGClassifier.segment,
    "Grad-CAM": grad_cam,
    "guided Grad-CAM": guided_grad_cam,
    "integrated gradients": integrated_gradients,
}
SCORES: dict[str, Callable[..., Any]] = {
    "pointing game": metrics.pointing_game,
    "attention mass": metrics.attention_mass,
    "rank accuracy": metrics.rank_accuracy,
    "AUROC": lambda *args, **options: metrics.map_auroc(*args, **options, average="window"),
    "IoU": metrics.map_iou,
}


def run(clf: AttentionECGClassifier, _: float, test: tuple) -> dict[str, Any]:
    """Score the map and the attributions of a trained estimator."""
    X, y, _, beats = test
    probability = clf.predict_proba(X)
    labels = [label for label in ABNORMAL if label in clf.classes_]
    row: dict[str, Any] = {
        "balanced accuracy": float(balanced_accuracy_score(y, clf.classes_[probability.argmax(axis=1)])),
        "windows": {},
    }
    chosen = {}
    for label in labels:
        confident = probability[:, clf.classes_.tolist().index(label)] > CONFIDENT
        chosen[label] = np.flatnonzero((y == label) & confident)
        row["windows"][label] = f"{len(chosen[label])} of {(y == label).sum()}"
    row["maps"] = {}
    for name, source in SOURCES.items():
        if name == "map" and not clf.map_labels_:
            continue
        by_label = {
            label: score(source(clf, X[index], target=label), beats[index], label)
            for label, index in chosen.items()
            if len(index)
        }
        row["maps"][name] = {**by_label, "all": pool(by_label, {k: len(v) for k, v in chosen.items()})}
    return row


def score(maps: np.ndarray, beats: np.ndarray, label: str) -> dict[str, float]:
    """Return every score of the maps of one class, with its chance level."""
    top = maps.max(axis=1, keepdims=True)
    maps = maps / np.where(top > 0, top, 1)  # their maxima are what the attributions are scaled to
    scores = {}
    for name, function in SCORES.items():
        scores[name], scores[f"{name}, chance"] = function(
            maps, beats, label=label, ignore=(), return_chance=True
        )
    return scores


def pool(by_label: dict[str, dict[str, float]], counts: dict[str, int]) -> dict[str, float]:
    """Return the means over the windows of all classes."""
    if not by_label:
        return {}
    weights = [counts[label] for label in by_label]
    names = next(iter(by_label.values()))
    return {
        name: float(np.average([scores[name] for scores in by_label.values()], weights=weights))
        for name in names
    }


def table(rows: Rows) -> str:
    """Return the results as Markdown: mean ± standard deviation over seeds."""
    lines = []
    ours = rows.select(method="default")
    for group in ("all", *ABNORMAL):
        body, differences = [], []
        for method in rows.names("method", METHODS):
            there = rows.select(method=method)
            for source in there[0]["maps"]:
                if not any(row["maps"][source].get(group) for row in there):
                    continue
                name = f"{method}: {source}"
                body.append([name, len(there), *(cell(there, "maps", source, group, s) for s in SCORES)])
                if (method, source) != ("default", "map"):
                    minus = [
                        paired(ours, there, "maps", "map", group, s, against=("maps", source, group, s))
                        for s in SCORES
                    ]
                    differences.append([name, *minus])
        if not body:
            continue
        chance = [cell(ours, "maps", "map", group, f"{name}, chance") for name in SCORES]
        lines += [
            f"### {'All abnormal windows' if group == 'all' else group}",
            "",
            *markdown(["map", "seeds", *SCORES], [*body, ["chance (windows of the default)", "", *chance]]),
            "",
            "The default's map minus each, paired over seeds (t test):",
            "",
            *markdown(["map", *SCORES], differences),
            "",
        ]
    told = []
    for method in rows.names("method", METHODS):
        there = rows.select(method=method)
        counts = ["; ".join(row["windows"].get(label, "–") for row in there) for label in ABNORMAL]
        told.append([method, cell(there, "balanced accuracy"), *counts])
    header = ["method", "balanced accuracy", *(f"windows scored, {label}" for label in ABNORMAL)]
    return "\n".join([*lines, "### Windows told, seed by seed", "", *markdown(header, told), ""])


def main() -> None:
    """Run the methods asked for and write the tables."""
    options = make_parser(__doc__, methods=METHODS, models=True).parse_args()
    data = [
        windows(subset, options.records, window=8.0, label="frequent", classes=ABNORMAL)
        for subset in ("ds1", "ds2")
    ]
    training, test = ((X[:, :1], *rest) for X, *rest in data)
    train_all(Rows(options.output / "suh.json", table), options, METHODS, training, test, run)


if __name__ == "__main__":
    main()
