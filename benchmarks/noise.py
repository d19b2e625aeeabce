"""Whether abnormal beats are still found when the electrodes move or muscles tense.

The default estimator, trained on DS1 as in ``localisation.py`` (its noisy copies are of its own making),
reads DS2 with the noise of the MIT-BIH Noise Stress Test Database mixed in: electrode motion ("em") and
muscle artefact ("ma"). Each record gets the whole half hour of noise, from a random place on and round (one
seed for all runs), the leads the two channels of it. The signal-to-noise ratio is that of the database's own
program nst (Moody, Muldrow and Mark 1984), each lead on its own: signal power is the squared mean
peak-to-peak amplitude of the first 300 normal QRS complexes over 8, noise power the squared mean of the
standard deviations of the first 300 seconds of noise; both means without the highest and lowest 5%. For
record 118 and "em" that gives the gains of the published 118e_6 to within 2%.

Writes ``noise.json`` and ``noise.md`` beside this file, row by row: a run that was killed goes on where it
was. ``--models`` takes the trainings that ``localisation.py --models`` has left::

    python benchmarks/noise.py --seeds 5 --models models
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import wfdb
from _tables import (
    LABELS,
    RATE,
    Rows,
    areas,
    cell,
    detection,
    epochs,
    fingerprint,
    make_parser,
    markdown,
    train,
    windows,
)
from sklearn.utils import Bunch
from tqdm.auto import tqdm

from skecgattn import AttentionECGClassifier, metrics
from skecgattn._aami import AAMI_CLASSES

NOISES = ("em", "ma")
RATIOS = (12, 6)
MEASURED = 300
"""QRS complexes, and seconds of noise, that tell the power."""


def read_noise(name: str) -> np.ndarray:
    """Return a noise record in mV, (2, n_timesteps): from ``SKECGATTN_DATA``, otherwise from PhysioNet."""
    folder = Path(os.environ.get("SKECGATTN_DATA", "")) / "nstdb"
    if (folder / f"{name}.hea").is_file():
        return wfdb.rdrecord(str(folder / name)).p_signal.T
    return wfdb.rdrecord(name, pn_dir="nstdb").p_signal.T


def _trimmed_mean(values: np.ndarray) -> np.ndarray:
    """Return the mean (n_leads,) of values (n, n_leads) without the highest and lowest 5%."""
    cut = len(values) // 20
    return np.sort(values, axis=0)[cut : len(values) - cut].mean(axis=0)


def signal_power(record: Bunch) -> np.ndarray:
    """Return the power of each lead's QRS complexes, mV²."""
    reach = round(0.05 * record.sampling_rate)
    beats = record.annotations[np.isin(record.annotations["symbol"], AAMI_CLASSES["N"])]["sample"]
    beats = beats[(beats >= reach) & (beats < record.signal.shape[1] - reach)][:MEASURED]
    around = beats[:, None] + np.arange(-reach, reach + 1)
    return _trimmed_mean(np.ptp(record.signal[:, around], axis=2).T) ** 2 / 8


def noise_power(noise: np.ndarray) -> np.ndarray:
    """Return the power of each channel of noise, mV²."""
    second = round(RATE)
    seconds = noise[:, : MEASURED * second].reshape(len(noise), -1, second)
    return _trimmed_mean(seconds.std(axis=2).T) ** 2


def mix(records: list[Bunch], noise: np.ndarray, ratio: float) -> list[Bunch]:
    """Return the records with noise at a signal-to-noise ratio in dB."""
    rng = np.random.default_rng(0)
    mixed = []
    for record in records:
        n_timesteps = record.signal.shape[1]
        place = (rng.integers(noise.shape[1]) + np.arange(n_timesteps)) % noise.shape[1]
        gain = np.sqrt(signal_power(record) / noise_power(noise) * 10 ** (-ratio / 10))
        mixed.append(Bunch(**{**record, "signal": record.signal + gain[:, None] * noise[:, place]}))
    return mixed


def run(clf: AttentionECGClassifier, test: tuple) -> dict[str, Any]:
    """Score a trained estimator."""
    X, y, _, beats = test
    located = clf.locate(X)
    row: dict[str, Any] = {"AUC": areas(y, clf.predict_proba(X))}
    for k, label in enumerate(LABELS):
        shown = y[:, k] == 1
        point, chance = metrics.pointing_game(
            clf.segment(X[shown], target=k), beats[shown], label=label, return_chance=True
        )
        row[label] = {
            "pointing game": point,
            "pointing game, chance": chance,
            **detection(beats, located, k, label),
        }
    return row


def table(rows: Rows) -> str:
    """Return the results as Markdown: mean ± standard deviation over seeds."""
    names = ("pointing game", "sensitivity", "positive predictivity", "F1")
    lines = []
    for label in reversed(LABELS):
        chance = rows.rows[0][label]["pointing game, chance"]
        body = []
        for noise in rows.names("noise", ("none", *NOISES)):
            for ratio in (None,) if noise == "none" else RATIOS:
                there = rows.select(noise=noise, ratio=ratio)
                if not there:
                    continue
                cells = [cell(there, "AUC", label), *(cell(there, label, name) for name in names)]
                lowest = min(row[label]["F1"] for row in there)
                shown = "–" if ratio is None else ratio
                body.append([noise, shown, len(there), *cells, f"{lowest:.3f}"])
        header = ["noise", "dB", "seeds", "window AUC", *names, "F1, lowest seed"]
        lines += [f"### {label}", "", f"Chance: pointing game {chance:.3f}.", "", *markdown(header, body), ""]
    return "\n".join(lines)


def main() -> None:
    """Score every seed on clean and noisy records and write the tables."""
    parser = make_parser(__doc__, models=True)
    options = parser.parse_args()
    training = windows("ds1", options.records)
    rows = Rows(options.output / "noise.json", table)
    conditions = [("none", None)] + [(noise, ratio) for noise in NOISES for ratio in RATIOS]
    with tqdm(total=len(conditions) * options.seeds, desc="seeds and conditions") as bar:
        for noise, ratio in conditions:
            change = None
            if noise != "none":
                signal = read_noise(noise)
                change = lambda records, s=signal, r=ratio: mix(records, s, r)  # noqa: E731
            test = windows("ds2", options.records, change=change)
            for seed in range(options.seeds):
                bar.set_postfix_str(f"{noise} {ratio or ''}, seed {seed}")
                clf = AttentionECGClassifier(RATE, random_state=seed, **epochs(options))
                settings = fingerprint(clf, training[0].shape, test[0].shape)
                key = {"seed": seed, "noise": noise, "ratio": ratio}
                if not rows.done(settings, **key):
                    clf = train(clf, *training[:3], options.models).estimator
                    rows.add(settings, run(clf, test), **key)
                bar.update()


if __name__ == "__main__":
    main()
