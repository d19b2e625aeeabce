"""The library in one minute: learn from window labels, then find the beats of patients never seen."""

from __future__ import annotations

import io
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import sklearn
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from sklearn.metrics import roc_auc_score
from tqdm import tqdm

from . import __version__
from ._aami import MITBIH_DS1, MITBIH_DS2
from ._files import write_bytes
from ._warn import warn_user
from .classifier import AttentionECGClassifier
from .datasets import DataNotFoundError, fetch_mitbih, make_ecg, make_windows
from .inspection import AttentionMapDisplay
from .metrics import beat_detection, pointing_game

DATA = ("auto", "mitbih", "synthetic")
TRAINING_RECORDS = MITBIH_DS1
TEST_RECORDS = MITBIH_DS2[::2]  # every other record, for speed; leaves out 202, whose patient is in DS1
SAMPLING_RATE = 360.0
WINDOW = 10.0  # seconds
TEST_STEP = 20.0  # seconds
ECGS_A_PATIENT = 20  # synthetic
TOLERANCE = 0.15  # seconds
DPI = 150
LEFT = 0.0185  # of the picture's width, where the sheets begin
DOT = "  \N{MIDDLE DOT}  "
SYMBOLS = {
    "N": "normal",
    "L": "left bundle branch block",
    "R": "right bundle branch block",
    "e": "atrial escape",
    "j": "nodal escape",
    "A": "atrial premature",
    "a": "aberrated atrial premature",
    "J": "nodal premature",
    "S": "supraventricular premature",
    "V": "ventricular premature",
    "E": "ventricular escape",
    "F": "fusion of ventricular and normal",
    "/": "paced",
    "f": "fusion of paced and normal",
    "Q": "unclassifiable",
}
PICTURE, RESULTS = "demo.png", "demo.json"


class _Windows(NamedTuple):
    """Windows with their truth, and for the picture where each is from."""

    X: NDArray
    y: NDArray
    groups: NDArray
    beats: NDArray
    origins: NDArray
    lead_names: NDArray  # (n_samples, n_leads)

    @classmethod
    def join(cls, parts: Sequence[_Windows]) -> _Windows:
        return cls(*map(np.concatenate, zip(*parts)))

    def of(self, rows: NDArray) -> _Windows:
        return _Windows(*(values[rows] for values in self))

    def patients(self) -> list[str]:
        return list(dict.fromkeys(self.groups.tolist()))


def run_demo(
    output: str | os.PathLike[str] = "skecgattn-demo",
    *,
    data: str = "auto",
    seed: int = 0,
    verbose: bool = True,
    max_epochs: int = 6,
    step: float = 30.0,
    n_patients: tuple[int, int] = (44, 22),
) -> dict[str, Any]:
    """Train on the labels of ECG windows and find the ventricular beats of patients never seen.

    The training set are windows of the 22 patients of MIT-BIH's DS1, each labelled with whether a ventricular
    beat is somewhere in it; the test set are those of every other record of DS2. Files in `output` are
    replaced only once the new ones are complete.

    Parameters
    ----------
    output : path-like, default="skecgattn-demo"
        Folder for ``demo.png`` and ``demo.json``; made where it is missing.

    data : {"auto", "mitbih", "synthetic"}, default="auto"
        The ECGs. "auto" is MIT-BIH, or synthetic ECG where that can be neither found nor downloaded.

    seed : int, default=0
        Decides the synthetic ECG and the training.

    verbose : bool, default=True
        Whether to show progress bars, where standard error is a terminal.

    max_epochs : int, default=6
        Epochs of training.

    step : float, default=30.0
        Seconds from the start of one training window to that of the next.

    n_patients : tuple of (int, int), default=(44, 22)
        Numbers of virtual patients to train and to test on, 20 ECGs each.

    Returns
    -------
    results : dict
        What ``demo.json`` holds.

    Raises
    ------
    OSError
        If `output` cannot be written to; raised before any training. For ``data="mitbih"`` a
        :class:`~skecgattn.datasets.DataNotFoundError` if MIT-BIH is not to be had.

    ValueError
        If `data` is unknown.

    Warns
    -----
    UserWarning
        If ``data="auto"`` falls back on synthetic ECG.

    Examples
    --------
    >>> from skecgattn._demo import run_demo
    >>> results = run_demo("demo")  # doctest: +SKIP
    >>> results["scores"]["pointing_game"]["found"]  # doctest: +SKIP
    """
    if data not in DATA:
        raise ValueError(f"data must be one of {list(DATA)}, got {data!r}.")
    folder = _writable_folder(output)
    verbose = verbose and sys.stderr.isatty()
    clock = _Clock()
    with clock("data"):
        source, training, test = _get_data(data, seed, step, n_patients, verbose)
    with clock("training"):
        # Few held-out patients would stop so short a training by luck. Threads would make results depend on
        # their number, and wait for each other where other programs run.
        model = AttentionECGClassifier(
            SAMPLING_RATE,
            max_epochs=max_epochs,
            batch_size=16,
            early_stopping=False,
            n_threads=1,
            random_state=seed,
            verbose=int(verbose),
        ).fit(training.X, training.y)
    with clock("scoring"):
        probability, maps, located = _apply(model, test, verbose)
        scores = _score(test, probability, maps, located)
    chosen = _telling_windows(test.y, probability)
    with clock("picture"):
        picture = _draw(test, probability, maps, located, chosen, source)
    results = {
        "task": f"Does this window of {WINDOW:g} s hold a ventricular beat (AAMI class V), and which beats?",
        "data": source,
        "trained_on": _describe(training),
        "tested_on": _describe(test),
        "scores": scores,
        "windows_drawn": [
            {"why": why, "from": str(test.origins[row]), "probability": float(probability[row])}
            for why, row in chosen.items()
        ],
        "seconds": clock.seconds,
        "settings": {"seed": seed, "epochs": model.n_iter_, "window": WINDOW, "tolerance": TOLERANCE},
        "versions": {
            "skecgattn": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "scikit-learn": sklearn.__version__,
        },
        "files": {"picture": str(folder / PICTURE), "results": str(folder / RESULTS)},
    }
    write_bytes(folder / PICTURE, picture)
    write_bytes(folder / RESULTS, (json.dumps(results, indent=2, allow_nan=False) + "\n").encode())
    return results


class _Clock:
    """Seconds that each part has taken."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[part] = round(time.perf_counter() - start, 2)


def _writable_folder(output: str | os.PathLike[str]) -> Path:
    folder = Path(output).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise OSError(f"cannot write to the output folder {folder}: {error.strerror}") from error
    return folder


def _get_data(
    data: str, seed: int, step: float, n_patients: tuple[int, int], verbose: bool
) -> tuple[str, _Windows, _Windows]:
    if data != "synthetic":
        try:
            return "MIT-BIH Arrhythmia Database", *_real(step, verbose)
        except DataNotFoundError as error:
            if data == "mitbih":
                raise
            reason = "" if error.__cause__ is None else f" ({type(error.__cause__).__name__})"
            warn_user(
                f"MIT-BIH is not on this machine and could not be downloaded{reason}; this runs on synthetic "
                "ECG instead. For real ECG go online, or set SKECGATTN_DATA to a folder with 'mitdb' in it."
            )
    return "Synthetic ECG", *_synthetic(seed, n_patients)


def _real(step: float, verbose: bool) -> tuple[_Windows, _Windows]:
    """Load MIT-BIH record by record, so that one bar shows reading and downloading."""
    parts: tuple[list[_Windows], list[_Windows]] = ([], [])
    records = tqdm([*TRAINING_RECORDS, *TEST_RECORDS], "loading MIT-BIH", unit="record", disable=not verbose)
    for name in records:
        record = fetch_mitbih([name], verbose=False).records[0]
        testing = name in TEST_RECORDS
        hop = TEST_STEP if testing else step
        X, y, groups, beats = make_windows(
            [record], window=WINDOW, step=hop, label="frequent", classes=("V",)
        )
        starts = [f"{seconds // 60:.0f}:{seconds % 60:02.0f}" for seconds in np.arange(len(X)) * hop]
        origins = [f"record {name} at {start}" for start in starts]
        leads = np.array([record.lead_names] * len(starts))
        parts[testing].append(_Windows(X, y, groups, beats, np.array(origins), leads))
    training, test = map(_Windows.join, parts)
    return training, test


def _synthetic(seed: int, n_patients: tuple[int, int]) -> tuple[_Windows, _Windows]:
    X, y, groups, beats = make_ecg(
        sum(n_patients) * ECGS_A_PATIENT,
        n_patients=sum(n_patients),
        sampling_rate=SAMPLING_RATE,
        duration=WINDOW,
        label="frequent",
        classes=("V",),
        random_state=seed,
    )
    origins = [f"virtual patient {name}, ECG {row % ECGS_A_PATIENT + 1}" for row, name in enumerate(groups)]
    leads = np.array([("II", "V1")] * len(X))
    windows = _Windows(X, y, groups, beats, np.array(origins), leads)
    training = np.isin(windows.groups, windows.patients()[: n_patients[0]])
    return windows.of(training), windows.of(~training)


def _describe(windows: _Windows) -> dict[str, Any]:
    return {
        "patients": windows.patients(),
        "windows": len(windows.y),
        "windows_with_V": int(np.count_nonzero(windows.y == "V")),
    }


def _apply(
    model: AttentionECGClassifier, test: _Windows, verbose: bool
) -> tuple[NDArray, NDArray, list[NDArray]]:
    """Return the probability of V, the map and the located beats of every window."""
    column = np.flatnonzero(model.classes_ == "V")[0]
    probability: list[NDArray] = []
    maps: list[NDArray] = []
    located: list[NDArray] = []
    for patient in tqdm(test.patients(), "scoring", unit="patient", disable=not verbose):
        X = test.X[test.groups == patient]  # a patient's windows follow each other
        probability.append(model.predict_proba(X)[:, column])
        maps.append(model.segment(X, target="V"))
        located += model.locate(X)
    return np.concatenate(probability), np.concatenate(maps), located


def _score(
    test: _Windows, probability: NDArray, maps: NDArray, located: list[NDArray]
) -> dict[str, dict[str, float | None]]:
    """Return each score with its chance level; None where a score is undefined."""
    pairs = {
        "window_auc": (roc_auc_score(test.y == "V", probability), 0.5),
        "pointing_game": pointing_game(maps, test.beats, label="V", return_chance=True),
    }
    found, chance = beat_detection(
        test.beats, located, label="V", sampling_rate=SAMPLING_RATE, tolerance=TOLERANCE, return_chance=True
    )
    for name in ("sensitivity", "positive_predictivity", "f1"):
        pairs[f"beat_{name}"] = found[name], chance[name]
    return {
        name: {
            key: None if np.isnan(value) else float(value) for key, value in zip(("found", "chance"), pair)
        }
        for name, pair in pairs.items()
    }


def _telling_windows(y: NDArray, probability: NDArray) -> dict[str, int]:
    """Choose windows by their place in the model's ranking: its best, its middle, and its two worst."""
    order = np.argsort(-probability, kind="stable")
    abnormal, normal = order[y[order] == "V"].tolist(), order[y[order] != "V"].tolist()
    return {
        "Surest window with V": abnormal[0],
        "Median window with V": abnormal[len(abnormal) // 2],
        "Least sure window with V": abnormal[-1],
        "Surest window without V": normal[0],
    }


def _draw(
    test: _Windows,
    probability: NDArray,
    maps: NDArray,
    located: list[NDArray],
    chosen: dict[str, int],
    source: str,
) -> bytes:
    """Return a PNG with one sheet of ECG paper below the other, each at true size."""
    import matplotlib.pyplot as plt
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.image import imsave

    def render(figure: Any) -> NDArray:
        figure.set_dpi(DPI)
        canvas: Any = FigureCanvasAgg(figure)
        canvas.draw()
        plt.close(figure)
        return np.asarray(canvas.buffer_rgba())

    sheets = []
    for why, row in chosen.items():
        display = AttentionMapDisplay.from_maps(
            test.X,
            maps,
            sample=row,
            sampling_rate=SAMPLING_RATE,
            lead_names=test.lead_names[row].tolist(),
            located=located,
            beats=test.beats,
        )
        title = DOT.join([why, f"probability of V {probability[row]:.1%}", test.origins[row]])
        display.ax_.set_title(title, loc="left", fontsize=10, fontweight="bold")
        sheets.append(render(display.figure_))
    symbols = sorted({str(beat["symbol"]) for row in chosen.values() for beat in test.beats[row]})
    title = "Which beats made the window abnormal?"
    words = (
        "Blue bands and triangles: found by a model that was only ever told which windows hold "
        "a ventricular beat, not which beats.\n"
        f"{source}, patients that the model was not trained on.\n"
        "Letters: the annotated beats. " + DOT.join(f"{symbol} {SYMBOLS[symbol]}" for symbol in symbols)
    )
    heading = plt.figure(figsize=(sheets[0].shape[1] / DPI, 1.15))
    heading.text(LEFT, 0.80, title, fontsize=15, fontweight="bold", va="center")
    heading.text(LEFT, 0.33, words, fontsize=10, linespacing=1.5, va="center", parse_math=False)
    buffer = io.BytesIO()
    imsave(buffer, np.concatenate([render(heading), *sheets]), format="png", dpi=DPI)
    return buffer.getvalue()


def show_results(results: dict[str, Any], console: Console) -> None:
    """Print what was asked, what was found, and how good chance would have been."""
    training, test, scores = results["trained_on"], results["tested_on"], results["scores"]
    table = Table(
        title=f"{results['data']}: {len(test['patients'])} patients not trained on, "
        f"{test['windows']} windows of {WINDOW:g} s",
        title_justify="left",
    )
    for heading, justify in (
        ("asked", "left"),
        ("measured by", "left"),
        ("found", "right"),
        ("chance", "right"),
    ):
        table.add_column(heading, justify=justify)  # type: ignore[arg-type]
    for asked, measure, name in (
        ("Does this window hold a V beat?", "area under ROC curve", "window_auc"),
        ("Does the map's peak lie in one?", "pointing game", "pointing_game"),
        (f"Which beats are V (within {1000 * TOLERANCE:.0f} ms)?", "sensitivity", "beat_sensitivity"),
        ("", "positive predictivity", "beat_positive_predictivity"),
        ("", "F1", "beat_f1"),
    ):
        table.add_row(asked, measure, *(_number(scores[name][key]) for key in ("found", "chance")))
    console.print()
    console.print(_verdict(results), style="bold")
    console.print(table)
    console.print(
        f"Trained on {len(training['patients'])} other patients: {training['windows']} windows "
        f"with one label each ({training['windows_with_V']} of them with V), and no beat annotation."
    )
    console.print(f"Tested on {_names(test['patients'])}.")
    seconds = results["seconds"]
    parts = ", ".join(f"{part} {value:.0f} s" for part, value in seconds.items())
    console.print(f"Time: {sum(seconds.values()):.0f} s ({parts}).")
    for kind, path in results["files"].items():
        console.print(f"{kind.capitalize()}: {path}", soft_wrap=True)


def _verdict(results: dict[str, Any]) -> str:
    n_windows = results["tested_on"]["windows_with_V"]
    pointing = results["scores"]["pointing_game"]
    hits, chance = (round(n_windows * pointing[key]) for key in ("found", "chance"))
    return (
        f"In {hits} of {n_windows} windows with a ventricular beat (V), of patients never seen, "
        f"the map's peak lay inside one (by chance: {chance})."
    )


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"


def _names(patients: Sequence[str]) -> str:
    return f"patient{'s' * (len(patients) > 1)} {', '.join(patients)}"
