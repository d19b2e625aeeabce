"""Whether the default estimator's maps can be trusted: four checks, none of which asks where the beats are.

Trained on DS1 as in ``localisation.py``; windows of DS2.

- *Random weights* (Adebayo et al. 2018): rank correlation of the map with that of the same network untrained,
  over windows that hold the class; a map that survives says nothing of the model.
- *Mask leakage*: how well the class can be told from the map alone, beyond what counts of beats tell that the
  map marks; all windows, folds by patient. A beat is marked where the map reaches the threshold that
  ``locate`` would have learned from DS1 if its scores were the map alone, without the class's probability.
- *Deletion and insertion* (Petsiuk et al. 2018): the class's probability as the samples that come first in
  the map are taken from the ECG, or are all that is left of it; against the order of Grad-CAM of the same
  classifier and against the order of another window's map. Over windows that hold the class. The lead's mean
  replaces the samples, and in deletion straight lines do, too: where they do for a quarter of a second, the
  estimator sees that nothing was recorded.
- *Seeds*: how well the maps of differently seeded trainings agree.

Slow checks run on windows drawn with one seed for all runs. Writes ``honesty.json`` and ``honesty.md`` beside
this file, row by row: a run that was killed goes on where it was. ``--models`` takes the trainings that
``localisation.py --models`` has left::

    python benchmarks/honesty.py --seeds 5 --models models
"""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any

import numpy as np
from _tables import (
    LABELS,
    RATE,
    Rows,
    cell,
    epochs,
    fingerprint,
    make_parser,
    markdown,
    paired,
    train,
    windows,
)
from tqdm.auto import tqdm

from skecgattn import AttentionECGClassifier, metrics
from skecgattn._reading import chunks
from skecgattn._thresholds import learn_threshold
from skecgattn.beats import score_beats
from skecgattn.exceptions import ECGWarning
from skecgattn.inspection import grad_cam, randomisation_check

N_DRAWS = 20
"""Networks with random weights that each trained one is compared with."""

CURVES = {
    "deletion": metrics.deletion_curve,
    "deletion, straight lines": partial(metrics.deletion_curve, fill="linear"),
    "insertion": metrics.insertion_curve,
}
ORDERS = ("map", "Grad-CAM", "map of another window")


def draw(rows: np.ndarray, n: int) -> np.ndarray:
    """Return at most `n` of the rows, the same in every run."""
    return np.sort(np.random.default_rng(0).permutation(rows)[:n])


def curves(clf: AttentionECGClassifier, X: np.ndarray, k: int) -> dict[str, dict[str, float]]:
    """Return the areas under the deletion and insertion curves of each order of the samples."""
    maps = clf.segment(X, target=k)
    # moving on by one pairs every window with another one
    orders = dict(zip(ORDERS, (maps, grad_cam(clf, X, target=k), np.roll(maps, 1, axis=0))))

    def probability(ecgs: np.ndarray) -> np.ndarray:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ECGWarning)  # that nothing is left of an ECG is meant
            return clf.predict_proba(ecgs)[:, k]

    return {
        what: {name: curve(probability, X, order).auc for name, order in orders.items()}
        for what, curve in CURVES.items()
    }


def map_threshold(clf: AttentionECGClassifier, training: tuple, k: int) -> float:
    """Return what `fit` would have learned if the scores of beats were the map alone."""
    X, y, *_ = training
    reader = clf._reader()
    scores = []
    for chunk in chunks(X):
        reading = reader.read_channels(reader.channels(chunk))
        scores += [
            beats[:, k] for beats in score_beats(reading.maps, reading.heartbeats, reader.front_end.rate)
        ]
    return learn_threshold(scores, y[:, k] == 1)


def run(
    clf: AttentionECGClassifier, label: str, seed: int, training: tuple, test: tuple, n_windows: int
) -> dict[str, Any]:
    """Check the map of one class."""
    X, y, patient, beats = test
    k = LABELS.index(label)
    shown = draw(np.flatnonzero(y[:, k]), n_windows)
    check = randomisation_check(clf, X[shown], target=k, n_draws=N_DRAWS, random_state=seed)
    maps = clf.segment(X, target=k)
    threshold = map_threshold(clf, training, k)
    leakage = metrics.mask_leakage(maps, y[:, k], patient, beats=beats, threshold=threshold)
    return {
        "random weights": check.spearman,
        "random weights, sd of a draw": float(check.spearman_per_draw.std(ddof=1)),
        "leakage": {
            "map": leakage.auc,
            "counts": leakage.auc_counts,
            "excess": leakage.excess,
            "threshold": threshold,
        },
        "curves": curves(clf, X[shown], k),
        "windows": {"leakage": len(X), "others": len(shown)},
    }


def agree(
    models: list[AttentionECGClassifier], label: str, X: np.ndarray, y: np.ndarray, n_windows: int
) -> dict[str, Any]:
    """Compare the maps of all seeds."""
    k = LABELS.index(label)
    shown = draw(np.flatnonzero(y[:, k]), n_windows)
    agreement = metrics.seed_agreement(np.stack([clf.segment(X[shown], target=k) for clf in models]))
    return {
        "spearman": agreement.spearman,
        "iou": agreement.iou,
        "iou, chance": agreement.iou_chance,
        "windows": len(shown),
    }


def table(rows: Rows) -> str:
    """Return the results as Markdown: mean ± standard deviation over seeds."""
    checks, leaks, areas, seeds = [], [], [], []
    for label in reversed(LABELS):
        there = rows.select(check="seed", label=label)
        if there:
            names = ("random weights", "random weights, sd of a draw")
            checks.append([label, len(there), *(cell(there, name) for name in names), "0"])
            names = ("map", "counts", "excess")
            leaks.append([label, len(there), *(cell(there, "leakage", name) for name in names)])
            for what in CURVES:
                for order in ORDERS:
                    path = ("curves", what, order)
                    minus = (
                        "" if order == "map" else paired(there, there, "curves", what, "map", against=path)
                    )
                    areas.append([label, what, order, len(there), cell(there, *path), minus])
        for row in rows.select(check="agreement", label=label):
            cells = (f"{row[name]:.3f}" for name in ("spearman", "iou", "iou, chance"))
            seeds.append([label, row["seeds"], *cells])
    return "\n".join(
        [
            "### Maps of random weights",
            "",
            f"Mean over {N_DRAWS} networks with random weights for each seed.",
            "",
            *markdown(["class", "seeds", "rank correlation", "sd of one draw", "chance"], checks),
            "",
            "### Mask leakage",
            "",
            "Area under the ROC curve of the class told from the map alone, and from counts of beats whose "
            "map reaches the threshold that `locate` would learn from maps alone.",
            "",
            *markdown(["class", "seeds", "map", "counts", "excess"], leaks),
            "",
            "### Deletion and insertion",
            "",
            "Mean probability of the class while the samples go, first in the order first (the less the "
            "better), or come back (the more the better).",
            "",
            *markdown(["class", "curve", "order", "seeds", "area", "the map's minus it (paired)"], areas),
            "",
            "### Agreement between seeds",
            "",
            "Rank correlation (chance 0), and intersection over union of the highest tenth of the samples.",
            "",
            *markdown(["class", "seeds", "rank correlation", "IoU", "IoU, chance"], seeds),
            "",
        ]
    )


def main() -> None:
    """Check every seed and write the tables."""
    parser = make_parser(__doc__, models=True)
    parser.add_argument(
        "--windows", type=int, default=200, help="windows a class for the slow checks (default 200)"
    )
    options = parser.parse_args()
    training, test = (windows(subset, options.records) for subset in ("ds1", "ds2"))
    rows = Rows(options.output / "honesty.json", table)
    models = []
    for seed in (bar := tqdm(range(options.seeds), desc="seeds")):
        clf = AttentionECGClassifier(RATE, random_state=seed, **epochs(options))
        settings = fingerprint(clf, training[0].shape, test[0].shape, options.windows)
        bar.set_postfix_str(f"training {seed}")
        models.append(train(clf, *training[:3], options.models).estimator)
        for label in LABELS:
            bar.set_postfix_str(f"seed {seed}, {label}")
            key = {"check": "seed", "label": label, "seed": seed}
            if not rows.done(settings, **key):
                rows.add(settings, run(models[-1], label, seed, training, test, options.windows), **key)
    if len(models) > 1:
        settings = fingerprint(models[0], training[0].shape, test[0].shape, options.windows, len(models))
        for label in LABELS:
            key = {"check": "agreement", "label": label}
            if not rows.done(settings, **key):
                values = agree(models, label, *test[:2], options.windows)
                rows.add(settings, {"seeds": len(models), **values}, **key)


if __name__ == "__main__":
    main()
