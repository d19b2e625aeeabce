"""
Premature atrial or premature ventricular? Why leakage flatters
===============================================================

The method of this library was first judged on a task made of the MIT-BIH Arrhythmia Database: tell
stretches of whole beats with premature atrial beats ("AN") from stretches with premature ventricular beats
("NV"), in cross-validation with folds drawn over the *segments*. Segments of one patient then lie on both
sides of every split. This example shows what that does to the score.

To be quick it takes a part of the segments, the default network and few epochs. The published network and
training are ``AttentionECGClassifier.published()``, which takes 150 epochs.
"""

# %%
# The segments
# ------------
#
# :func:`~skecgattn.datasets.fetch_pac_pvc` cuts them as published. Premature ventricular beats are far more
# common; all AN segments are kept, and of the NV segments as many as make the classes equal, so that chance
# is one half. The synthetic stand-in has patients with one kind of premature beat mostly, as the real ones.
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from skecgattn import AttentionECGClassifier
from skecgattn.datasets import DataNotFoundError, fetch_pac_pvc, make_ecg

N_AN = 270  # at most; the same number of NV

try:
    data = fetch_pac_pvc()
    X, y, patient, source = data.data, data.target, data.groups, "MIT-BIH Arrhythmia Database"
except DataNotFoundError:
    parts = [
        make_ecg(
            300, n_patients=15, duration=5.56, label=lambda _, kind=kind: kind, random_state=seed, **share
        )
        for seed, (kind, share) in enumerate({"AN": {"pac": 1, "pvc": 0}, "NV": {"pac": 0, "pvc": 1}}.items())
    ]
    X, y = (np.concatenate([part[column] for part in parts]) for column in (0, 1))
    patient = np.concatenate([np.char.add(part[2], part[1]) for part in parts])
    source = "synthetic ECG"

rng = np.random.default_rng(0)
rows = np.sort(np.concatenate([rng.permutation(np.flatnonzero(y == kind))[:N_AN] for kind in ("AN", "NV")]))
X, y, patient = X[rows], y[rows], patient[rows]
print(f"Data: {source}")
kinds = pd.crosstab(patient, y)
print(
    f"{len(y)} segments of {len(kinds)} patients; {(kinds.min(axis=1) == 0).sum()} patients have one kind alone"
)

# %%
# Two ways to fold
# ----------------
#
# The same number of folds, once drawn over segments and once over patients.
folds = {
    "segments": list(StratifiedKFold(3, shuffle=True, random_state=0).split(X, y)),
    "patients": list(StratifiedGroupKFold(3, shuffle=True, random_state=0).split(X, y, patient)),
}
for name, splits in folds.items():
    shared = np.mean([np.isin(patient[test], patient[train]).mean() for train, test in splits])
    print(f"folds of {name}: {shared:.0%} of the test segments are of a patient in the training set")

# %%
# A classifier that never looks at the ECG
# ----------------------------------------
#
# Most patients have mainly one kind of premature beat, so it pays to know who it is. The first classifier
# below gets nothing but the patient's name; for names that it has not seen it cannot but guess. The second
# one is the library's. Both are scored in both kinds of folds.
names = pd.DataFrame({"patient": patient})
classifiers = {
    "the patient's name": (
        make_pipeline(OneHotEncoder(handle_unknown="ignore"), LogisticRegression()),
        names,
    ),
    "the ECG": (AttentionECGClassifier(sampling_rate=360, batch_size=16, max_epochs=4, random_state=0), X),
}
auc = {
    (reads, name): roc_auc_score(
        y == "NV", cross_val_predict(estimator, data, y, cv=splits, method="predict_proba")[:, 1]
    )
    for reads, (estimator, data) in classifiers.items()
    for name, splits in folds.items()
}
table = pd.Series(auc).unstack()
print(table.round(3))

# %%
# The bars start at chance. What separates the two colours is not skill: it is what the classifier knows
# about patients that it has met, and it is gone with the next patient. Folds of patients tell what a clinic
# would get.
ax = (table.T - 0.5).plot.bar(bottom=0.5, rot=0, color=["0.65", "tab:blue"], figsize=(6, 3.6))
ax.axhline(0.5, color="black", linewidth=0.8)
ax.set(xlabel="Folds drawn over", ylabel="Area under the ROC curve (chance 0.5)", ylim=(0.3, 1))
ax.legend(title="The classifier reads", loc="lower left")
ax.figure.tight_layout()
plt.show()
