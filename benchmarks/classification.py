"""Whether learning where the abnormal beats are costs or gains in telling windows apart.

MIT-BIH, DS1 to DS2 (de Chazal et al. 2004), 10 s windows labelled [S, V]: the default estimator against its
classifier alone and against published classifiers. Deep rivals are trained like the default: the same
windows, resampling, filter, scaling, augmentation, optimiser and number of epochs, in float32 wherever
they are trained; they read the leads, as published, or, in the methods named "all channels", the rhythm
and contrast channels that the default's classifier reads as well. One thread. Writes
``classification.json`` and ``classification.md`` beside this file, row by row: a run that was killed
goes on where it was::

    python benchmarks/classification.py --seeds 5
    python benchmarks/classification.py --methods default "MiniRocket + ridge" --seeds 1 --output /tmp
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from _rivals import InceptionTime, MiniRocketRidge, XResNet1d, xresnet1d101
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
from sklearn.metrics import recall_score
from threadpoolctl import threadpool_limits
from tqdm.auto import tqdm

from skecgattn import AttentionECGClassifier


def _rival(network: Callable, *, all_channels: bool = False) -> Callable[..., AttentionECGClassifier]:
    return partial(
        AttentionECGClassifier,
        RATE,
        segmenter=None,
        classifier=network,
        objective="cross_entropy",
        rhythm=all_channels,
        contrast=all_channels,
        precision="float32",
    )


METHODS: dict[str, Callable[..., Any]] = {
    "default": partial(AttentionECGClassifier, RATE),
    "classifier alone": partial(AttentionECGClassifier, RATE, segmenter=None),
    "MiniRocket + ridge": partial(MiniRocketRidge, RATE),
    "xresnet1d50": _rival(XResNet1d),
    "InceptionTime": _rival(InceptionTime),
    "xresnet1d101": _rival(xresnet1d101),
    "xresnet1d50, all channels": _rival(XResNet1d, all_channels=True),
    "InceptionTime, all channels": _rival(InceptionTime, all_channels=True),
}
USUAL = list(METHODS)[:5]
TIMES = {
    "training time (s)": "training (s)",
    "training, processor time (s)": "of the processor (s)",
    "windows a second": "windows a second",
    "windows a processor second": "windows a processor second",
}
"""What the rows and the table call them."""


def run(estimator: Any, training: tuple, test: tuple, models: Path | None) -> dict[str, Any]:
    """Train on DS1 and score on DS2, in one thread."""
    X_test, y_test, *_ = test
    estimator, seconds, processor_seconds, hardware = train(estimator, *training[:3], models)
    start = (time.perf_counter(), time.process_time())
    decision = estimator.decision_function(X_test)
    end = (time.perf_counter(), time.process_time())
    area = areas(y_test, decision)
    recall = recall_score(y_test, decision > 0, average=None, zero_division=0)
    return {
        "macro AUC": float(np.mean(list(area.values()))),
        "AUC": area,
        "recall": dict(zip(LABELS, map(float, recall))),
        "trained on": hardware,
        "training time (s)": seconds,
        "training, processor time (s)": processor_seconds,
        "windows a second": len(X_test) / (end[0] - start[0]),
        "windows a processor second": len(X_test) / (end[1] - start[1]),
        "training windows": len(training[0]),
        "test windows": len(X_test),
    }


def table(rows: Rows, minority: str) -> str:
    """Return the results as Markdown: mean ± standard deviation over seeds."""
    scores: list[tuple[str, ...]] = [("macro AUC",)]
    scores += [(what, label) for what in ("AUC", "recall") for label in LABELS]
    compared: list[tuple[str, ...]] = [("macro AUC",), ("recall", minority)]
    ours = rows.select(method="default")
    scored, differences, times = [], [], []
    for method in rows.names("method", METHODS):
        there = rows.select(method=method)
        scored.append([method, len(there), *(cell(there, *path) for path in scores)])
        if method != "default":
            differences.append([method, *(paired(ours, there, *path) for path in compared)])
        timed = [row for row in there if row["trained on"] == "CPU"]
        if timed:
            times.append([method, len(timed), *(cell(timed, name, digits=0) for name in TIMES)])
    names = [" ".join(path) for path in scores]
    return "\n".join(
        [
            "### Windows of DS2",
            "",
            f"Chance: AUC .500. Recall at a probability of one half; {minority} is the minority class. "
            "InceptionTime is one network, not the published ensemble of five.",
            "",
            *markdown(["method", "seeds", *names], scored),
            "",
            "### The default minus each, paired over seeds (t test)",
            "",
            *markdown(["method", "macro AUC", f"recall {minority}"], differences),
            "",
            "### Time, one thread, of the seeds that were trained on the CPU",
            "",
            *markdown(["method", "seeds", *TIMES.values()], times),
            "",
        ]
    )


def main() -> None:
    """Run the methods asked for and write the tables."""
    parser = make_parser(__doc__, methods=METHODS, models=True)
    parser.set_defaults(methods=USUAL)
    options = parser.parse_args()
    training, test = (windows(subset, options.records) for subset in ("ds1", "ds2"))
    minority = LABELS[int(training[1].mean(axis=0).argmin())]
    rows = Rows(options.output / "classification.json", partial(table, minority=minority))
    # cheap methods first, all of them at one seed before the next
    jobs = [(seed, method) for seed in range(options.seeds) for method in options.methods]
    for seed, method in (bar := tqdm(jobs, desc="trainings")):
        bar.set_postfix_str(f"{method}, seed {seed}")
        change = {} if method == "MiniRocket + ridge" else epochs(options)
        estimator = METHODS[method](random_state=seed, **change)
        settings = fingerprint(estimator, training[0].shape, test[0].shape)
        if rows.done(settings, method=method, seed=seed):
            continue
        with threadpool_limits(1):
            rows.add(settings, run(estimator, training, test, options.models), method=method, seed=seed)


if __name__ == "__main__":
    main()
