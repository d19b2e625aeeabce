"""
Quickstart
==========

An :class:`~skecgattn.AttentionECGClassifier` learns from one label a window, such as "V" where a
ventricular beat is somewhere in it. It answers two questions about a new ECG: does it hold such a beat, and
where?
"""

# %%
# ECG and labels
# --------------
#
# ECGs are an array of shape (n_samples, n_leads, n_timesteps) in millivolts. Here they are windows of 10 s,
# one a minute, of the 22 patients in the training half (DS1) of the MIT-BIH Arrhythmia Database. A window's
# label is "V" if it holds a ventricular beat (a premature one, or an escape), else "N". Where the database
# can be neither found nor downloaded, virtual patients stand in.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.metrics import roc_auc_score

from skecgattn import AttentionECGClassifier
from skecgattn.datasets import DataNotFoundError, fetch_mitbih, make_ecg, make_windows
from skecgattn.inspection import AttentionMapDisplay
from skecgattn.metrics import beat_detection

TEST = ["100", "105", "200", "213", "221", "233"]  # patients of the other half, DS2

try:
    X, y, patient, _ = make_windows(fetch_mitbih("ds1"), step=60, label="frequent", classes=["V"])
    X_test, y_test, _, beats = make_windows(fetch_mitbih(TEST), step=60, label="frequent", classes=["V"])
    source, leads = "MIT-BIH Arrhythmia Database", ["MLII", "V1"]
except DataNotFoundError:
    X, y, patient, _ = make_ecg(660, n_patients=66, label="frequent", classes=["V"], random_state=0)
    X_test, y_test, _, beats = make_ecg(180, n_patients=18, label="frequent", classes=["V"], random_state=1)
    source, leads = "synthetic ECG", ["II", "V1"]

print(f"Data: {source}")
print(f"Training: {X.shape} from {len(np.unique(patient))} patients, {np.mean(y == 'V'):.0%} with V")

# %%
# Training
# --------
#
# The sampling rate is all that the estimator has to be told. It resamples, filters and scales by itself.
# Small batches give a short training on few windows enough steps.
clf = AttentionECGClassifier(sampling_rate=360, batch_size=16, max_epochs=6, random_state=0)
clf.fit(X, y)

# %%
# Which: the class of each window
# -------------------------------
#
# As with any scikit-learn classifier. The test patients are others than the training patients, as they
# should always be.
probability = clf.predict_proba(X_test)[:, list(clf.classes_).index("V")]
print(f"Area under the ROC curve: {roc_auc_score(y_test == 'V', probability):.3f} (chance 0.5)")

# %%
# Where: the beats
# ----------------
#
# :meth:`~skecgattn.AttentionECGClassifier.locate` lists the abnormal beats: R peak and span in samples,
# label and score. ``ecg`` is the row of ``X_test``.
print(clf.locate(X_test, as_frame=True).head())

# %%
# No beat was ever annotated for the training. The annotations of the test patients tell how many of the
# ventricular beats were found (sensitivity), and how many of the found beats are ventricular (positive
# predictivity). Chance means as many beats a window, picked at random.
found, chance = beat_detection(beats, clf.locate(X_test), label="V", sampling_rate=360, return_chance=True)
for name in ("sensitivity", "positive_predictivity"):
    print(f"{name.replace('_', ' ')}: {found[name]:.2f} (chance {chance[name]:.2f})")

# %%
# The picture
# -----------
#
# The window with V that the model is surest of. The blue bands are the attention map, the triangles the
# located beats, the letters the annotated beats.
surest = np.argmax(np.where(y_test == "V", probability, 0))
AttentionMapDisplay.from_estimator(clf, X_test, sample=surest, lead_names=leads, beats=beats)
plt.show()
