"""
The attention map against Grad-CAM
==================================

Grad-CAM and its kin explain a classifier after the fact. The attention map is part of the model: the
classifier reads the ECG through it, and it is trained to hold all of the evidence and nothing else. Both
claim to show where the abnormality is, and annotated beats tell which of them does. The rivals need captum:
``pip install "skecgattn[inspection]"``.
"""

# %%
# Two models of the same windows
# ------------------------------
#
# One as it comes, and one without segmenter, which is a plain convolutional classifier for Grad-CAM to
# explain.
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from skecgattn import AttentionECGClassifier
from skecgattn.datasets import DataNotFoundError, fetch_mitbih, make_ecg, make_windows
from skecgattn.inspection import (
    AttentionMapDisplay,
    grad_cam,
    guided_grad_cam,
    randomisation_check,
    randomise_weights,
)
from skecgattn.metrics import attention_mass, map_auroc, pointing_game

TEST = ["119", "205", "215", "220", "223"]

try:
    records = fetch_mitbih("ds1").records
    others = [record for record in records if record.name not in TEST]
    X, y, _, _ = make_windows(others, label="frequent", classes=["V"])
    tested = [record for record in records if record.name in TEST]
    X_test, y_test, _, beats = make_windows(tested, step=60, label="frequent", classes=["V"])
    source, leads = "MIT-BIH Arrhythmia Database, DS1", ["MLII", "V1"]
except DataNotFoundError:
    X, y, _, _ = make_ecg(600, n_patients=60, label="frequent", classes=["V"], random_state=0)
    X_test, y_test, _, beats = make_ecg(150, n_patients=15, label="frequent", classes=["V"], random_state=1)
    source, leads = "synthetic ECG", ["II", "V1"]

rng = np.random.default_rng(0)
rows = np.sort(np.concatenate([rng.permutation(np.flatnonzero(y == label))[:200] for label in ("N", "V")]))
X, y = X[rows], y[rows]
print(f"Data: {source}, {len(X)} windows to train on, {len(X_test)} of other patients to test on")

settings = {"sampling_rate": 360, "resample_to": 100, "batch_size": 16, "max_epochs": 6, "random_state": 0}
ours = AttentionECGClassifier(**settings).fit(X, y)
plain = AttentionECGClassifier(**settings, segmenter=None).fit(X, y)
for name, model in {"with attention map": ours, "classifier alone": plain}.items():
    print(f"{name}: window AUC {roc_auc_score(y_test == 'V', model.predict_proba(X_test)[:, 1]):.3f}")

# %%
# Three maps
# ----------
#
# All are asked about V, and all lie in [0, 1] with one value a sample.
maps = {
    "attention map": ours.segment(X_test),
    "Grad-CAM": grad_cam(plain, X_test, target="V"),
    "guided Grad-CAM": guided_grad_cam(plain, X_test, target="V"),
}

# %%
# Scores against the annotated beats, over the windows that hold a ventricular beat: does the map's highest
# point lie in one (pointing game), how much of the map lies in them (mass), and how well does it rank
# samples inside above samples outside (AUROC)? A beat's span runs from the midpoint between it and the beat
# before to the midpoint between it and the beat after. The last row is chance.
metrics = {"pointing game": pointing_game, "mass": attention_mass, "AUROC": map_auroc}
table = pd.DataFrame(
    {
        name: {kind: metric(values, beats, label="V") for kind, values in maps.items()}
        | {"chance": metric(maps["attention map"], beats, label="V", return_chance=True)[1]}
        for name, metric in metrics.items()
    }
)
print(table.round(2))

# %%
# Side by side
# ------------
#
# The window with V in the middle of the ranking by probability: neither the best nor the worst case.
probability = np.where(y_test == "V", ours.predict_proba(X_test)[:, 1], -1)
middle = np.argsort(probability)[-(np.sum(y_test == "V") // 2)]
AttentionMapDisplay.from_maps(X_test, maps, sample=middle, sampling_rate=360, lead_names=leads, beats=beats)

# %%
# Does the map depend on what was learned?
# ----------------------------------------
#
# A map can look right and still show the ECG and not the model. The check of Adebayo et al. replaces all
# weights by random ones and compares the maps by rank correlation: at 1, the map did not need the training.
# The attention map has one value a heartbeat, and few values make a rank correlation that is far from 0 by
# luck, so several draws are averaged. The pointing game of the random networks need not be at chance: they
# read, among others, each beat's difference to the patient's normal beat, which is large where a beat is
# abnormal. What training has added is the distance from there to the score above.
checks = {"attention map": (ours, None), "Grad-CAM": (plain, grad_cam)}
for name, (model, method) in checks.items():
    check = randomisation_check(model, X_test[:20], target="V", method=method, n_draws=5, random_state=0)
    print(f"{name}: rank correlation with random weights {check.spearman:+.2f}")
pointing = [
    pointing_game(randomise_weights(ours, random_state=draw).segment(X_test), beats, label="V")
    for draw in range(5)
]
print(f"pointing game of the attention map with random weights {np.mean(pointing):.2f}")
plt.show()
