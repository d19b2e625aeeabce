"""The published task: premature atrial beats against premature ventricular beats, "AN" against "NV".

Segments of MIT-BIH as in Hu et al. (2021), see ``skecgattn.datasets.fetch_pac_pvc``, in three protocols:

- *segments*: 5 stratified folds over segments, as published; one patient's segments are in training and test;
- *patients*: 5 folds in which no patient straddles;
- *DS1 to DS2*: de Chazal et al. 2004; also where the map points, over the segments whose beats show their
  label (``strict=True``).

Methods: the default estimator; its classifier alone; the published setting, with whatever is changed in it
named in the tables; and a predictor that knows nothing but the record's number (the share of each class in
the record's training segments; for a new record that of all). Folds are pooled before scoring, so that a
predictor of one constant a fold has an AUC below one half. The default and its classifier alone detect
heartbeats, and the step from the ECG to the zeros around it looks like one (in 971 of the 3103 segments):
they get the segments with their first and last sample held instead. The published setting gets
the zeros, but for ``--published-held``.

The published labels count the first beat after a segment: 162 of the 3103 do not show what their label says,
and only who knows the patient can tell them. So all scores are also given over the others, "shown".

Writes ``pac_pvc.json`` and ``pac_pvc.md`` beside this file, fold by fold: a run that was killed goes on where
it was::

    python benchmarks/pac_pvc.py --repeats 3 --published-epochs 10 --published-lr 1e-3 --published-rate 180
    python benchmarks/pac_pvc.py --protocols "DS1 to DS2" --methods default "classifier alone" --repeats 5
    python benchmarks/pac_pvc.py --protocols segments --methods published --repeats 1 --folds 2
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple, Self

import numpy as np
from _tables import RATE, Rows, cell, epochs, fingerprint, hardware, make_parser, markdown, paired
from sklearn.base import BaseEstimator
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, StratifiedKFold
from sklearn.utils import Bunch
from tqdm.auto import tqdm

from skecgattn import AttentionECGClassifier, metrics
from skecgattn.datasets import fetch_mitbih, fetch_pac_pvc

PROTOCOLS = ("segments", "patients", "DS1 to DS2")
METHODS = ("default", "classifier alone", "published", "record number")
CLASSES = ("AN", "NV")
BEATS = {"A": "AN", "V": "NV"}
"""The beats that the map of each class must find."""
N_FOLDS = 5
FIELDS = ("data", "held", "target", "groups", "record", "shown")
"""What is kept of each segment."""


class RecordNumber(BaseEstimator):
    """Predict the share of each class in the record's training segments; of a new record, in all."""

    def fit(self, record: np.ndarray, y: np.ndarray, groups: Any = None) -> Self:
        """Count the classes of each record."""
        self.overall_ = float((y == CLASSES[1]).mean())
        self.share_ = {name: float((y[record == name] == CLASSES[1]).mean()) for name in np.unique(record)}
        return self

    def decision_function(self, record: np.ndarray) -> np.ndarray:
        """Return the share of the second class, less one half."""
        return np.array([self.share_.get(name, self.overall_) for name in record]) - 0.5


class Fold(NamedTuple):
    """Segments to train on and to test on, and those to test the map on."""

    number: int
    train: Bunch
    test: Bunch
    strict: Bunch | None = None


def take(data: Bunch, index: np.ndarray) -> Bunch:
    """Return some of the segments."""
    return Bunch(**{name: data[name][index] for name in FIELDS})


@cache
def fetch(subset: str, records: int | None, *, strict: bool = False) -> Bunch:
    """Return the segments of a subset, or of the first records that have any, also without zeros around."""
    wanted: Any = subset
    if records is not None:
        names = [record.name for record in fetch_mitbih(subset, verbose=False).records]
        shown = fetch_pac_pvc(subset=subset, verbose=False)
        wanted = [name for name in names if name in shown.record]
        # a record of each class first
        wanted.sort(key=lambda name: -min((shown.target[shown.record == name] == c).sum() for c in CLASSES))
        wanted = wanted[:records]
    data = fetch_pac_pvc(subset=wanted, strict=strict, verbose=False)
    data.held = hold(data.data)
    beats = [set(there["symbol"].tolist()) for there in data.beats]
    data.shown = np.array([there == set(label) for there, label in zip(beats, data.target)])
    return data


def hold(X: np.ndarray) -> np.ndarray:
    """Return the segments with the first and the last sample held where they are padded by zeros."""
    shown = (X != 0).any(axis=1)
    first, last = shown.argmax(axis=1), X.shape[2] - 1 - shown[:, ::-1].argmax(axis=1)
    time = np.clip(np.arange(X.shape[2]), first[:, None], last[:, None])
    return np.take_along_axis(X, time[:, None], axis=2)


def count_folds(protocol: str, records: int | None) -> int:
    """Return the number of folds of a protocol, fewer by patient where a try has fewer patients."""
    if protocol == "DS1 to DS2":
        return 1
    return min(N_FOLDS, len(set(fetch("all", records).groups))) if protocol == "patients" else N_FOLDS


def folds(protocol: str, repeat: int, records: int | None) -> Iterator[Fold]:
    """Yield the folds of a protocol."""
    if protocol == "DS1 to DS2":
        yield Fold(0, fetch("ds1", records), fetch("ds2", records), fetch("ds2", records, strict=True))
        return
    data = fetch("all", records)
    # StratifiedGroupKFold draws nearly the same folds whatever its seed
    kind = StratifiedKFold if protocol == "segments" else GroupKFold
    groups = None if protocol == "segments" else data.groups
    splits = kind(count_folds(protocol, records), shuffle=True, random_state=repeat).split(
        data.data, data.target, groups
    )
    for number, (train, test) in enumerate(splits):
        yield Fold(number, take(data, train), take(data, test))


def make(method: str, seed: int, options: argparse.Namespace) -> tuple[Any, str, str]:
    """Return an estimator, which form of the segments it reads, and what the published setting is not."""
    if method == "record number":
        return RecordNumber(), "record", ""
    if method != "published":
        part = {} if method == "default" else {"segmenter": None}
        return AttentionECGClassifier(RATE, random_state=seed, **part, **epochs(options)), "held", ""
    # in float32 wherever it is trained, as published
    clf = AttentionECGClassifier.published(RATE, random_state=seed, precision="float32")
    chosen = {
        "lr": options.published_lr,
        "max_epochs": options.published_epochs if options.epochs is None else options.epochs,
        "resample_to": options.published_rate,
    }
    changed = {name: value for name, value in chosen.items() if value not in (None, clf.get_params()[name])}
    texts = [f"{name} {value:g}" for name, value in changed.items()]
    form = "held" if options.published_held else "data"
    return (
        clf.set_params(**changed),
        form,
        ", ".join(texts + ["ends held for zeros"] * options.published_held),
    )


def run(estimator: Any, form: str, fold: Fold) -> dict[str, Any]:
    """Train and test on one fold."""
    start = time.perf_counter()
    estimator.fit(fold.train[form], fold.train.target, groups=fold.train.groups)
    seconds = time.perf_counter() - start
    decision = estimator.decision_function(fold.test[form])
    row = {
        "training time (s)": seconds,
        "trained on": hardware(estimator),
        "training segments": len(fold.train.target),
        # as text, on one line each
        "decision": " ".join(f"{value:.5g}" for value in decision),
        "truth": "".join(target[0] for target in fold.test.target),
        "shown": "".join("01"[int(shown)] for shown in fold.test.shown),
    }
    if fold.strict is not None and getattr(estimator, "map_labels_", None):
        row["pointing game"] = point(estimator, fold.strict, form)
    return row


def point(clf: AttentionECGClassifier, strict: Bunch, form: str) -> dict[str, dict[str, float]]:
    """Return the pointing game of both classes: all their segments, and those told correctly."""
    X, correct = strict[form], clf.predict(strict[form]) == strict.target
    single = clf.segmenter == "hu2021"  # one map for both classes
    scores: dict[str, dict[str, float]] = {}
    for symbol, label in BEATS.items():
        shown = strict.target == label
        maps = clf.segment(X[shown], target=None if single else label)
        score, chance = metrics.pointing_game(maps, strict.beats[shown], label=(symbol,), return_chance=True)
        scores[symbol] = {"all": score, "chance": chance, "segments": int(shown.sum())}
        if correct[shown].any():
            scores[symbol]["correct"] = metrics.pointing_game(
                maps, strict.beats[shown], label=(symbol,), mask=correct[shown]
            )
    return scores


def pooled(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the scores of each repeat whose folds are all there, over all of its folds."""
    repeats = defaultdict(list)
    for row in rows:
        repeats[row["seed"]].append(row)
    scores = []
    for seed, there in sorted(repeats.items()):
        if len(there) < there[0]["folds"]:
            continue
        decision = np.concatenate([np.array(row["decision"].split(), dtype=float) for row in there])
        truth = np.array([letter == "N" for row in there for letter in row["truth"]])
        shown = np.array([letter == "1" for row in there for letter in row["shown"]])
        told = decision > 0
        scores.append(
            {
                "seed": seed,
                "accuracy": float((told == truth).mean()),
                "AUC": float(roc_auc_score(truth, decision)),
                "accuracy, shown": float((told == truth)[shown].mean()),
                "AUC, shown": float(roc_auc_score(truth[shown], decision[shown])),
                "recall AN": float((~told[~truth]).mean()),
                "recall NV": float(told[truth].mean()),
                "recall AN, shown": float((~told[~truth & shown]).mean()),
                "recall NV, shown": float(told[truth & shown].mean()),
                "pointing game": there[0].get("pointing game", {}),
                "training time (s)": sum(row["training time (s)"] for row in there) / len(there),
                "trained on": {row["trained on"] for row in there},
            }
        )
    return scores


def table(rows: Rows) -> str:
    """Return the results as Markdown: mean ± standard deviation over repeats."""
    names = [
        f"{name}{over}" for over in ("", ", shown") for name in ("accuracy", "AUC", "recall AN", "recall NV")
    ]
    lines = []
    for protocol in rows.names("protocol", PROTOCOLS):
        body, differences, pointing = [], [], []
        found = {
            (method, changed): pooled(rows.select(protocol=protocol, method=method, changed=changed))
            for method in rows.names("method", METHODS)
            for changed in rows.names("changed")
        }
        ours = found.get(("default", ""), [])
        for (method, changed), repeats in found.items():
            if not repeats:
                continue
            name = f"{method} ({changed})" if changed else method
            seconds = cell(repeats, "training time (s)", digits=0)
            where = ", ".join(sorted(set().union(*(repeat["trained on"] for repeat in repeats))))
            body.append([name, len(repeats), *(cell(repeats, score) for score in names), seconds, where])
            if method != "default":
                differences.append([name, *(paired(ours, repeats, score) for score in names)])
            if any(repeat["pointing game"] for repeat in repeats):
                kinds = [(symbol, kind) for symbol in BEATS for kind in ("all", "correct", "chance")]
                scores = [cell(repeats, "pointing game", *path) for path in kinds]
                pointing.append([name, len(repeats), *scores])
        lines += [
            f"### {protocol}",
            "",
            *markdown(["method", "repeats", *names, "training a fold (s)", "on"], body),
            "",
            "The default minus each, paired over repeats (t test):",
            "",
            *markdown(["method", *names], differences),
            "",
        ]
        if pointing:
            kinds = [
                f"{symbol}, {kind}"
                for symbol in BEATS
                for kind in ("all segments", "correct segments", "chance")
            ]
            lines += ["Pointing game:", "", *markdown(["method", "repeats", *kinds], pointing), ""]
    return "\n".join(lines)


def main() -> None:
    """Run the protocols and methods asked for and write the tables."""
    parser = make_parser(__doc__, methods=METHODS)
    parser.add_argument("--repeats", dest="seeds", type=int, help="the same as --seeds (default 3)")
    parser.add_argument("--protocols", nargs="+", choices=PROTOCOLS, default=PROTOCOLS, metavar="PROTOCOL")
    parser.add_argument(
        "--folds",
        nargs="+",
        type=int,
        choices=range(N_FOLDS),
        metavar="FOLD",
        help="only these folds, 0 to 4",
    )
    parser.add_argument("--published-lr", type=float, help="another learning rate than 1e-5")
    parser.add_argument("--published-epochs", type=int, help="another number of epochs than 150")
    parser.add_argument("--published-rate", type=float, help="another sampling rate than 360 Hz")
    parser.add_argument("--published-held", action="store_true", help="no zeros for the published setting")
    parser.set_defaults(seeds=3)
    options = parser.parse_args()
    rows = Rows(options.output / "pac_pvc.json", table)
    sizes = {protocol: count_folds(protocol, options.records) for protocol in options.protocols}
    with tqdm(total=sum(sizes.values()) * options.seeds * len(options.methods), desc="trainings") as bar:
        for protocol, size in sizes.items():
            for seed in range(options.seeds):
                for fold in folds(protocol, seed, options.records):
                    if options.folds is not None and fold.number not in options.folds:
                        bar.update(len(options.methods))
                        continue
                    for method in options.methods:
                        bar.set_postfix_str(f"{protocol}, repeat {seed}, fold {fold.number}, {method}")
                        estimator, form, changed = make(method, seed, options)
                        settings = fingerprint(estimator, len(fold.train.target) + len(fold.test.target))
                        key = {
                            "protocol": protocol,
                            "method": method,
                            "changed": changed,
                            "seed": seed,
                            "fold": fold.number,
                        }
                        if not rows.done(settings, **key):
                            rows.add(settings, {"folds": size, **run(estimator, form, fold)}, **key)
                        bar.update()


if __name__ == "__main__":
    main()
