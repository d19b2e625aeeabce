"""
Several labels, twelve leads
============================

A 12-lead ECG usually comes with a list of diagnoses. With one column of labels each, the model makes one
map for each: the map is shared by the leads, as a beat happens in all of them at once.
"""

# %%
# Virtual patients
# ----------------
#
# Public 12-lead databases have labels for the whole ECG and no annotated beats, so whether a map is right
# could not be told. This example therefore uses synthetic ECG, of which all is known. Each ECG may have
# supraventricular premature beats (S), ventricular ones (V), both or neither. Names of the columns become
# names of the classes.
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score, roc_auc_score

from skecgattn import AttentionECGClassifier
from skecgattn.datasets import make_ecg
from skecgattn.inspection import AttentionMapDisplay
from skecgattn.metrics import beat_detection, pointing_game

RATE = 250  # Hz
LEADS = ["I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6"]

X, y, patient, beats = make_ecg(420, n_leads=12, n_patients=84, sampling_rate=RATE, random_state=0)
y = pd.DataFrame(y, columns=["S", "V"])
train = np.isin(patient, np.unique(patient)[:60])
test = np.flatnonzero(~train)
print("Data: synthetic ECG,", X.shape)
print(pd.crosstab(y["S"], y["V"]))

# %%
# Training
# --------
clf = AttentionECGClassifier(
    sampling_rate=RATE, lead_names=LEADS, resample_to=100, batch_size=8, max_epochs=8, random_state=0
).fit(X[train], y[train])
print("Maps:", clf.map_labels_)

# %%
# Scores by label
# ---------------
#
# A model of several labels is scored label by label. The chance level of average precision is the share of
# ECGs that have the label.
probability = clf.predict_proba(X[test])
located = clf.locate(X[test])
rows = []
for column, label in enumerate(clf.classes_):
    truth, score = y[label].to_numpy()[test], probability[:, column]
    pointing, chance = pointing_game(
        clf.segment(X[test], target=label), beats[test], label=label, return_chance=True
    )
    found, by_chance = beat_detection(
        beats[test], located, label=label, sampling_rate=RATE, zero_division=0.0, return_chance=True
    )
    rows += [
        (label, "AUC", roc_auc_score(truth, score), 0.5),
        (label, "average precision", average_precision_score(truth, score), truth.mean()),
        (label, "pointing game", pointing, chance),
        (label, "beat F1", found.f1, by_chance.f1),
    ]
print(pd.DataFrame(rows, columns=["label", "score", "found", "chance"]).round(2).to_string(index=False))

# %%
# One map a label
# ---------------
#
# An ECG with both kinds of premature beats, with the map of S and the map of V as panels, in lead II and V1
# only. :meth:`~skecgattn.AttentionECGClassifier.segment` with ``target`` gives the map of a label; without,
# the union of all.
both = test[np.argmax(np.where(y.to_numpy()[test].all(axis=1), probability.min(axis=1), -1))]
maps = {f"map of {label}": clf.segment(X[[both]], target=label)[0] for label in clf.map_labels_}
chosen = [LEADS.index(name) for name in ("II", "V1")]
AttentionMapDisplay.from_maps(
    X[[both]][:, chosen], maps, sampling_rate=RATE, lead_names=["II", "V1"], beats=beats[both]
)

# %%
# On twelve leads
# ---------------
#
# The union of the maps behind all leads, over five seconds.
AttentionMapDisplay.from_estimator(clf, X, sample=both, lead_names=LEADS, beats=beats, time_range=(0, 5))
plt.show()
