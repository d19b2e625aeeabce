"""Whether maps learned from window labels find the abnormal beats of patients never seen.

MIT-BIH, DS1 to DS2 (de Chazal et al. 2004), 10 s windows labelled [S, V]. Beat annotations are
used for scoring only. Writes ``localisation.json`` and ``localisation.md`` beside this file, row by
row: a run that was killed goes on where it was::

    python benchmarks/localisation.py --seeds 5
    python benchmarks/localisation.py --methods default "classifier alone" --seeds 1 --output /tmp

The published setting ("published") takes hours a seed on a CPU; "published, faster" is the same network at
180 Hz with a learning rate of 1e-3 and 10 epochs. It has one map for both classes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from _tables import (
    LABELS,
    Rows,
    areas,
    cell,
    detection,
    make_parser,
    markdown,
    paired,
    train_all,
    windows,
)

from skecgattn import AttentionECGClassifier, metrics
from skecgattn.inspection import grad_cam, guided_grad_cam, integrated_gradients

PUBLISHED = {
    name: value
    for name, value in AttentionECGClassifier.published().get_params().items()
    if name not in ("sampling_rate", "random_state")
} | {"precision": "float32"}
METHODS: dict[str, dict[str, Any]] = {
    "default": {},
    "default without waves": {"waves": False},
    "published": PUBLISHED,
    "published, faster": {**PUBLISHED, "lr": 1e-3, "max_epochs": 10, "resample_to": 180.0},
    "U-Net segmenter": {"segmenter": "unet", "precision": "float32"},
    "U-Net, cross-entropy only": {
        "segmenter": "unet",
        "objective": "cross_entropy",
        "precision": "float32",
    },
    "multiple instance": {"segmenter": "unet", "objective": "multiple_instance"},
    "multiple instance, with rhythm": {
        "segmenter": "unet",
        "objective": "multiple_instance",
        "rhythm": True,
        "precision": "float32",
    },
    "classifier alone": {"segmenter": None},
}
ATTRIBUTIONS: dict[str, Callable[..., np.ndarray]] = {
    "Grad-CAM": grad_cam,
    "guided Grad-CAM": guided_grad_cam,
    "integrated gradients": integrated_gradients,
}


MAP_SCORES: dict[str, Callable[..., Any]] = {
    "pointing game": metrics.pointing_game,
    "attention mass": metrics.attention_mass,
    "beat AP": partial(metrics.map_average_precision, level="beat"),
    "rank accuracy": metrics.rank_accuracy,
    "IoU": metrics.map_iou,
    "sample AP": metrics.map_average_precision,
    "sample AUROC": metrics.map_auroc,
    "beat AUROC": partial(metrics.map_auroc, level="beat"),
}
"""Of the windows that hold the class, each with its chance level."""


def score_maps(maps: np.ndarray, beats: np.ndarray, label: str, correct: np.ndarray) -> dict[str, float]:
    """Score the maps of one class in windows that hold it; the pointing game also in the correct ones."""
    scores = {}
    for name, score in MAP_SCORES.items():
        scores[name], scores[f"{name}, chance"] = score(maps, beats, label=label, return_chance=True)
    if correct.any():
        scores["pointing game, correct windows"] = metrics.pointing_game(
            maps, beats, label=label, mask=correct
        )
    return scores


def run(clf: AttentionECGClassifier, seconds: float, test: tuple) -> dict[str, Any]:
    """Score an estimator trained on DS1, in so many seconds, on DS2."""
    X_test, y_test, patient_test, beats = test
    row: dict[str, Any] = {"training time (s)": seconds, "epochs": clf.n_iter_}
    start = time.perf_counter()
    probability = clf.predict_proba(X_test)
    row["windows a second"] = len(X_test) / (time.perf_counter() - start)
    row["window AUC"] = areas(y_test, probability)
    sources: dict[str, Callable] = {"": clf.segment}
    if clf.segmenter == "hu2021":  # one map for both classes
        sources = {"": lambda X, target: clf.segment(X)}
    if not clf.map_labels_:
        sources = {name: _bound(function, clf) for name, function in ATTRIBUTIONS.items()}
    row["maps"] = {}
    for k, label in enumerate(LABELS):
        holds = y_test[:, k] == 1
        correct, there = probability[holds, k] > 0.5, beats[holds]
        for name, source in sources.items():
            maps = source(X_test[holds], target=k)
            row["maps"].setdefault(name, {})[label] = score_maps(maps, there, label, correct)
            if label == "S":
                rest = patient_test[holds] != "232"
                row["maps"][name]["S without 232"] = score_maps(maps[rest], there[rest], "S", correct[rest])
    if clf.map_labels_:
        located = clf.locate(X_test)
        row["thresholds"] = clf.thresholds_.tolist()
        row["beats"] = {label: detection(beats, located, k, label) for k, label in enumerate(LABELS)}
        rest = patient_test != "232"
        row["beats"]["S without 232"] = detection(
            beats[rest], [b for b, keep in zip(located, rest) if keep], 0, "S"
        )
    return row


def _bound(function: Callable, clf: AttentionECGClassifier) -> Callable:
    return lambda X, target: function(clf, X, target)


def table(rows: Rows) -> str:
    """Return the results as Markdown: mean ± standard deviation over seeds."""
    results = {method: rows.select(method=method) for method in rows.names("method", METHODS)}
    names = ("pointing game", "pointing game, correct windows", "attention mass", "beat AP")
    told = ("sensitivity", "positive predictivity", "F1", "F1, chance")
    further = [name for name in MAP_SCORES if name not in names]
    lines = []
    for label in LABELS:
        scored = [maps[label] for seeds in results.values() for row in seeds for maps in row["maps"].values()]
        chance = {name: value for one in scored for name, value in one.items() if name.endswith("chance")}
        lines += [f"### {label}", "", "Maps are scored in the windows that hold the class.", ""]
        body, more = [], []
        for method, seeds in results.items():
            for source in seeds[0]["maps"]:
                paths = [("window AUC", label), *(("maps", source, label, name) for name in names)]
                paths += [("beats", label, name) for name in told]
                name = f"{method} + {source}" if source else method
                body.append([name, len(seeds), *(cell(seeds, *path) for path in paths)])
                cells = [cell(seeds, "maps", source, label, name) for name in further]
                of_marks = cell(seeds, "maps", source, label, "IoU, chance")
                if set(cells) != {"–"}:
                    more.append([name, len(seeds), *cells, of_marks])
        body.append(["chance", "", "0.500", *(_of_chance(chance, name) for name in names), *[""] * len(told)])
        lines += [*markdown(["method", "seeds", "window AUC", *names, *told], body), ""]
        if more:
            cells = ["" if name == "IoU" else _of_chance(chance, name) for name in further]
            more.append(["chance", "", *cells, ""])
            lines += [*markdown(["method", "seeds", *further, "IoU, chance"], more), ""]
        lines += differences(results, label)
    lines += without_232(results)
    times = []
    for method, seeds in results.items():
        timed = [row for row in seeds if row["trained on"] == "CPU"]
        if timed:
            seconds = np.mean([row["training time (s)"] for row in timed])
            speed = np.mean([row["windows a second"] for row in timed])
            times.append([method, len(timed), f"{seconds:.0f}", f"{speed:.0f}"])
    header = ["method", "seeds", "training (s)", "windows a second"]
    lines += ["### Time, of the seeds that were trained on the CPU", "", *markdown(header, times)]
    return "\n".join(lines) + "\n"


def _of_chance(chance: dict[str, float], name: str) -> str:
    """Return a chance level that is the same for all maps, and nothing for a score that has no such."""
    value = chance.get(f"{name}, chance")
    return "" if value is None else f"{value:.3f}"


def without_232(results: dict[str, list[dict[str, Any]]]) -> list[str]:
    """Return the lines of a table: S beats outside of the record that holds most of them."""
    points = ("pointing game", "pointing game, chance")
    names = ("sensitivity", "positive predictivity", "F1", "F1, chance")
    body = [
        [
            f"{method} + {source}" if source else method,
            len(rows),
            *(cell(rows, "maps", source, "S without 232", name) for name in points),
            *(cell(rows, "beats", "S without 232", name) for name in names),
        ]
        for method, rows in results.items()
        for source in rows[0]["maps"]
    ]
    header = ["method", "seeds", *points, *names]
    return ["### S, without record 232", "", *markdown(header, body), ""] if body else []


def differences(results: dict[str, list[dict[str, Any]]], label: str) -> list[str]:
    """Return the lines of a table: the default's scores of a class minus each other method's."""
    scores = ("pointing game", "attention mass", "beat AP")
    ours = results.get("default", [])
    others = {method: rows for method, rows in results.items() if method != "default"}
    if not ours or not others:
        return []
    body = [
        [
            f"{method} + {source}" if source else method,
            *(
                paired(ours, rows, "maps", "", label, name, against=("maps", source, label, name))
                for name in scores
            ),
        ]
        for method, rows in others.items()
        for source in rows[0]["maps"]
    ]
    return [
        "The default minus each, paired over seeds (t test):",
        "",
        *markdown(["method", *scores], body),
        "",
    ]


def main() -> None:
    """Run the methods asked for and write the tables."""
    options = make_parser(__doc__, methods=METHODS, models=True).parse_args()
    training, test = (windows(subset, options.records) for subset in ("ds1", "ds2"))
    train_all(Rows(options.output / "localisation.json", table), options, METHODS, training, test, run)


if __name__ == "__main__":
    main()
