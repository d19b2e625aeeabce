"""
Which arrhythmia, and where
===========================

Windows with supraventricular (S) and with ventricular (V) premature beats are told apart from each other
and from those without, on patients that were not trained on. The model makes a map for either kind, and
lists the beats.
"""

# %%
# Patients to train on, patients to test on
# -----------------------------------------
#
# All patients are of DS1, the training half of the MIT-BIH Arrhythmia Database as de Chazal et al. split
# it. Five of them, who between them have many V and S beats, are kept for the test.
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from skecgattn import AttentionECGClassifier
from skecgattn.datasets import DataNotFoundError, fetch_mitbih, make_ecg, make_windows
from skecgattn.inspection import AttentionMapDisplay, BeatGalleryDisplay, TrainingHistoryDisplay
from skecgattn.metrics import beat_detection, pointing_game

RATE = 360  # Hz
TEST = ["119", "205", "215", "220", "223"]

try:
    records = fetch_mitbih("ds1").records
    others = [record for record in records if record.name not in TEST]
    X, y, patient, _ = make_windows(others, label="frequent")
    tested = [record for record in records if record.name in TEST]
    X_test, y_test, patient_test, beats = make_windows(tested, step=30, label="frequent")
    source, leads = "MIT-BIH Arrhythmia Database", ["MLII", "V1"]
except DataNotFoundError:
    X, y, patient, _ = make_ecg(900, n_patients=90, label="frequent", random_state=0)
    X_test, y_test, patient_test, beats = make_ecg(200, n_patients=20, label="frequent", random_state=1)
    source, leads = "synthetic ECG", ["II", "V1"]

# %%
# A window is labelled with the kind that it has more beats of, and "N" where it has none. Most windows of
# DS1 are N; a short training learns more from as many of each class, and that choice needs nothing but the
# labels.
rng = np.random.default_rng(0)
rows = np.sort(np.concatenate([rng.permutation(np.flatnonzero(y == label))[:200] for label in "NSV"]))
X, y, patient = X[rows], y[rows], patient[rows]

print(f"Data: {source}")
for name, labels, patients in (("training", y, patient), ("test", y_test, patient_test)):
    counts = ", ".join(f"{np.sum(labels == label)} {label}" for label in "NSV")
    print(f"{name}: {len(np.unique(patients))} patients, {len(labels)} windows ({counts})")

# %%
# Training
# --------
#
# The networks work at 120 Hz here, two thirds of the default rate, to save a third of the time.
clf = AttentionECGClassifier(
    sampling_rate=RATE, lead_names=leads, resample_to=120, batch_size=16, max_epochs=10, random_state=0
).fit(X, y)
TrainingHistoryDisplay.from_estimator(clf)

# %%
# Scores, each beside its chance level
# ------------------------------------
#
# From the window down to the single beat. The pointing game asks whether the highest point of the map lies
# in a beat of the class; its chance level is the share of the window that such beats cover. A beat counts
# as found within 150 ms of the annotation.
probability = dict(zip(clf.classes_, clf.predict_proba(X_test).T))
located = clf.locate(X_test)
rows = []
for label in clf.map_labels_:
    auc = roc_auc_score(y_test == label, probability[label])
    pointing, by_chance = pointing_game(
        clf.segment(X_test, target=label), beats, label=label, return_chance=True
    )
    found, chance = beat_detection(
        beats, located, label=label, sampling_rate=RATE, zero_division=0.0, return_chance=True
    )
    rows += [
        (label, "window AUC", auc, 0.5),
        (label, "pointing game", pointing, by_chance),
        (label, "beat sensitivity", found.sensitivity, chance.sensitivity),
        (label, "beat positive predictivity", found.positive_predictivity, chance.positive_predictivity),
    ]
print(pd.DataFrame(rows, columns=["class", "score", "found", "chance"]).round(2).to_string(index=False))

# %%
# Ventricular beats are wide and look foreign in every patient. Supraventricular beats have the shape of a
# normal beat and give themselves away by coming early: they are the harder class. How much hangs on who is
# asked, for V:
for name in np.unique(patient_test)[:5]:
    rows = np.flatnonzero(patient_test == name)
    scores = beat_detection(beats[rows], [located[row] for row in rows], label="V", sampling_rate=RATE)
    print(f"patient {name}: {scores.tp} of {scores.tp + scores.fn} V beats found, {scores.fp} false")

# %%
# On ECG paper
# ------------
#
# One panel a class. First the window with V that the model is surest of. Bands are the maps, letters the
# annotated beats, triangles the located ones.
ventricular = np.argmax(np.where(y_test == "V", probability["V"], 0))
AttentionMapDisplay.from_estimator(
    clf, X_test, sample=ventricular, target=["V", "S"], lead_names=leads, beats=beats
)

# %%
# Then the same for the window with S beats, annotated as A, a, J or S.
supraventricular = np.argmax(np.where(y_test == "S", probability["S"], 0))
AttentionMapDisplay.from_estimator(
    clf, X_test, sample=supraventricular, target=["V", "S"], lead_names=leads, beats=beats
)

# %%
# All located beats
# -----------------
#
# Laid on top of each other at the R peak. A class whose beats do not look like one kind is a reason to look
# again at the windows that they come from.
BeatGalleryDisplay.from_estimator(clf, X_test, lead_name=leads[0])
plt.show()
