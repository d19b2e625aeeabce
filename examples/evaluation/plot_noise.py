"""
Noise
=====

How much noise does a model stand? The MIT-BIH Noise Stress Test Database has records of noise without ECG,
of electrode motion and of muscles, to be added to clean ECG. This example trains on ECG without that noise,
tests on others with more and more of it, and draws the curves.
"""

# %%
# Clean ECG, and noise
# --------------------
import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.metrics import roc_auc_score

from skecgattn import AttentionECGClassifier
from skecgattn.datasets import DataNotFoundError, fetch_mitbih, make_ecg, make_windows
from skecgattn.inspection import AttentionMapDisplay
from skecgattn.metrics import beat_detection
from skecgattn.records import read_record

RATE = 360  # Hz
TEST = ["119", "205", "215", "220", "223"]

try:
    records = fetch_mitbih("ds1").records
    others = [record for record in records if record.name not in TEST]
    X, y, _, _ = make_windows(others, label="frequent", classes=["V"])
    tested = [record for record in records if record.name in TEST]
    X_test, y_test, _, beats = make_windows(tested, step=75, label="frequent", classes=["V"])
    source, leads = "MIT-BIH Arrhythmia Database, DS1", ["MLII", "V1"]
except DataNotFoundError:
    X, y, _, _ = make_ecg(600, n_patients=60, label="frequent", classes=["V"], random_state=0)
    X_test, y_test, _, beats = make_ecg(120, n_patients=12, label="frequent", classes=["V"], random_state=1)
    source, leads = "synthetic ECG", ["II", "V1"]

rng = np.random.default_rng(0)
rows = np.sort(np.concatenate([rng.permutation(np.flatnonzero(y == label))[:200] for label in ("N", "V")]))
X, y = X[rows], y[rows]

# %%
# The noise is read from the folder ``nstdb`` in that of ``SKECGATTN_DATA``. Where that is missing it is
# made: a random walk for electrodes that move, white noise without its low frequencies for muscles.
NOISE = {"em": "electrode motion", "ma": "muscle"}
folder = Path(os.environ.get("SKECGATTN_DATA", "")) / "nstdb"
if (folder / "em.hea").is_file():
    noise = {name: read_record(folder / name).read() for name in NOISE}
    noise_source = "MIT-BIH Noise Stress Test Database"
else:
    white = rng.normal(size=(2, 2, 500_000))
    noise = {"em": white[0].cumsum(axis=1), "ma": np.diff(white[1], n=2)}
    noise_source = "synthetic noise"
print(f"Data: {source}; {noise_source}")

# %%
# Mixing
# ------
#
# The signal-to-noise ratio is defined as in the database: the signal's power is the squared mean height of
# the QRS complexes from peak to peak, over 8 (a sine of that height has this power); the noise's power is
# its variance within a second. Both lead by lead. Noise of the same stretch and shape is used at all
# ratios, so that the curves differ by the amount of noise alone.


def signal_power(ecgs, beats):
    """Return the power of the QRS complexes, shape (n_samples, n_leads, 1)."""
    half = round(0.05 * RATE)
    heights = [
        np.mean(
            [np.ptp(ecg[:, max(0, peak - half) : peak + half], axis=1) for peak in window["sample"]], axis=0
        )
        for ecg, window in zip(ecgs, beats)
    ]
    return np.square(heights)[..., None] / 8


def cut_noise(recorded, shape):
    """Return stretches of the noise of the shape of the ECGs, scaled to a power of 1."""
    starts = rng.integers(recorded.shape[1] - shape[2], size=shape[0])
    cut = np.stack([recorded[:, start : start + shape[2]] for start in starts])
    seconds = cut.reshape(*shape[:2], -1, RATE)
    return (cut - cut.mean(axis=2, keepdims=True)) / seconds.std(axis=3).mean(axis=2)[..., None]


power = signal_power(X_test, beats)
noise = {name: cut_noise(recorded, X_test.shape) for name, recorded in noise.items()}


def add_noise(name, ratio):
    """Return the test ECGs with noise at a signal-to-noise ratio in dB."""
    return X_test + np.sqrt(power * 10 ** (-ratio / 10)) * noise[name]


# %%
# Training on clean ECG
# ---------------------
#
# Half of the training reads copies to which the estimator has added artefacts of its own making
# (:class:`~skecgattn.nn.Augmentation`). The recorded noise of the test it has never seen.
clf = AttentionECGClassifier(sampling_rate=RATE, resample_to=100, batch_size=16, max_epochs=8, random_state=0)
clf.fit(X, y)

# %%
# The curves
# ----------
RATIOS = [24, 18, 12, 6, 0]  # dB


def score(ecgs):
    auc = roc_auc_score(y_test == "V", clf.predict_proba(ecgs)[:, 1])
    return auc, beat_detection(beats, clf.locate(ecgs), label="V", sampling_rate=RATE, zero_division=0.0).f1


clean = score(X_test)
curves = {name: np.array([score(add_noise(name, ratio)) for ratio in RATIOS]) for name in NOISE}
print(f"{'clean':<17} AUC {clean[0]:.2f}, beat F1 {clean[1]:.2f}")
for name, scores in curves.items():
    for ratio, (auc, f1) in zip(RATIOS, scores):
        print(f"{NOISE[name]}, {ratio} dB: AUC {auc:.2f}, beat F1 {f1:.2f}")

fig, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
for column, (ax, label) in enumerate(zip(axes, ["Window AUC", "Beat F1 (within 150 ms)"])):
    ax.axhline(clean[column], color="0.5", linestyle=":", label="clean")
    for (name, scores), style in zip(curves.items(), ["o-", "s--"]):
        ax.plot(RATIOS, scores[:, column], style, label=NOISE[name])
    ax.set(xlabel="Signal-to-noise ratio (dB)", ylabel=label, xlim=(25, -1), ylim=(0.4 * (column == 0), 1))
    ax.set_xticks(RATIOS)
axes[0].legend(loc="lower left")

# %%
# What it looks like
# ------------------
#
# The window with V of which the model was surest while it was clean, with noise of moving electrodes at 6
# dB. Such noise has the frequencies of the QRS complex and no filter takes it out: it can pass for a
# ventricular beat, or hide one.
surest = np.argmax(np.where(y_test == "V", clf.predict_proba(X_test)[:, 1], 0))
for ecgs in (X_test, add_noise("em", 6)):
    AttentionMapDisplay.from_estimator(clf, ecgs, sample=surest, lead_names=leads, beats=beats)
plt.show()
