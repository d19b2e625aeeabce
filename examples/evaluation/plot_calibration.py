"""
Probabilities and thresholds
============================

Three numbers decide what a user sees: the probability of a window's class, the threshold from which a
window counts as abnormal, and the threshold from which :meth:`~skecgattn.AttentionECGClassifier.locate`
lists a beat. scikit-learn's tools set the first two, here with folds of patients; the third is a trade
between missed beats and false ones.
"""

# %%
# Windows
# -------
#
# Calibration is about frequencies, so the windows are taken as they come, one class more frequent than the
# other.
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import sklearn
from sklearn.calibration import CalibratedClassifierCV, CalibrationDisplay
from sklearn.metrics import brier_score_loss, fbeta_score, make_scorer, recall_score
from sklearn.model_selection import StratifiedGroupKFold, TunedThresholdClassifierCV

from skecgattn import AttentionECGClassifier
from skecgattn.datasets import DataNotFoundError, fetch_mitbih, make_ecg, make_windows
from skecgattn.metrics import beat_detection

RATE, WINDOW = 360, 10  # Hz, seconds

try:
    X, y, patient, _ = make_windows(fetch_mitbih("ds1"), step=120, label="frequent", classes=["V"])
    X_test, y_test, _, beats = make_windows(fetch_mitbih("ds2"), step=120, label="frequent", classes=["V"])
    source = "MIT-BIH Arrhythmia Database, DS1 to train and DS2 to test"
except DataNotFoundError:
    X, y, patient, _ = make_ecg(330, n_patients=33, label="frequent", classes=["V"], random_state=0)
    X_test, y_test, _, beats = make_ecg(330, n_patients=33, label="frequent", classes=["V"], random_state=1)
    source = "synthetic ECG"
print(f"Data: {source}")
print(f"{len(X)} windows to train on, {np.mean(y == 'V'):.0%} with V; {len(X_test)} to test on")

# %%
# Calibrated probabilities
# ------------------------
#
# :class:`~sklearn.calibration.CalibratedClassifierCV` trains a model in each fold, learns a sigmoid from
# its probabilities for the patients left out, and averages these calibrated models. (``ensemble=False``
# would apply one sigmoid to a model trained on all patients. That model is surer than those of the folds,
# so that the sigmoid does not fit it where patients are few.) Metadata routing takes ``groups`` to the
# splitter.
clf = AttentionECGClassifier(sampling_rate=RATE, resample_to=100, batch_size=8, max_epochs=5, random_state=0)
calibrated = CalibratedClassifierCV(clf, cv=StratifiedGroupKFold(3))
with sklearn.config_context(enable_metadata_routing=True):
    calibrated.fit(X, y, groups=patient)
trained = clf.fit(X, y)

# %%
# In a reliability diagram a calibrated model lies on the diagonal: of the windows given a probability of
# 0.8, 80% should hold a V beat. The Brier score is the mean squared error of the probability; smaller is
# better. What counts for the sigmoid is not the number of windows but of patients: learned from a few it
# can as well lose as gain on others, which is why both are drawn.
fig, ax = plt.subplots(figsize=(5, 4.6), layout="constrained")
for (name, model), (marker, line) in zip(
    {"as trained": trained, "calibrated": calibrated}.items(), [("s", "-"), ("o", "--")]
):
    probability = model.predict_proba(X_test)[:, 1]
    print(f"{name}: Brier score {brier_score_loss(y_test, probability, pos_label='V'):.3f}")
    CalibrationDisplay.from_predictions(
        y_test,
        probability,
        pos_label="V",
        n_bins=5,
        strategy="quantile",
        name=name,
        ax=ax,
        marker=marker,
        linestyle=line,
    )
ax.set(xlabel="Predicted probability of V", ylabel="Share of windows with V")

# %%
# A threshold for windows
# -----------------------
#
# ``predict`` takes V from a probability of one half. Who screens would rather read some windows in vain
# than miss one. The F2 score weighs sensitivity more than positive predictivity, and
# :class:`~sklearn.model_selection.TunedThresholdClassifierCV` finds the threshold at which it is highest,
# again on patients left out.
screening = make_scorer(fbeta_score, beta=2, pos_label="V")
tuned = TunedThresholdClassifierCV(clf, scoring=screening, cv=StratifiedGroupKFold(2))
with sklearn.config_context(enable_metadata_routing=True):
    tuned.fit(X, y, groups=patient)
rows = {
    name: {
        "sensitivity": recall_score(y_test, prediction, pos_label="V"),
        "specificity": recall_score(y_test, prediction, pos_label="N"),
        "F2": fbeta_score(y_test, prediction, beta=2, pos_label="V"),
    }
    for name, prediction in {
        "threshold 0.50": trained.predict(X_test),
        f"tuned to {tuned.best_threshold_:.2f}": tuned.predict(X_test),
    }.items()
}
print(pd.DataFrame(rows).T.round(3))

# %%
# A threshold for beats
# ---------------------
#
# From a threshold of 0 ``locate`` returns every heartbeat with its score, so one call is enough for all
# thresholds. The false beats an hour say more to a user than a rate does.
located = trained.locate(X_test, threshold=0.0)
hours = len(X_test) * WINDOW / 3600
thresholds = np.linspace(0.02, 0.98, 49)


def trade(threshold):
    """Return false beats an hour and sensitivity."""
    kept = [window[window["score"] >= threshold] for window in located]
    counts = beat_detection(beats, kept, label="V", sampling_rate=RATE)
    return counts.fp / hours, counts.tp / (counts.tp + counts.fn)


false_beats, sensitivity = np.transpose([trade(threshold) for threshold in thresholds])
learned = trained.thresholds_[0]
at_learned = trade(learned)
print(
    f"Threshold {learned:.2f}: {at_learned[0]:.0f} false beats an hour, {at_learned[1]:.0%} of V beats found"
)

fig, ax = plt.subplots(figsize=(6, 4.2), layout="constrained")
ax.plot(false_beats, sensitivity, color="tab:blue")
ax.plot(*at_learned, "ko", label=f"learned in training: {learned:.2f}")
for threshold in (0.1, 0.2, 0.3, 0.4):
    place = trade(threshold)
    ax.plot(*place, "o", color="white", markeredgecolor="tab:blue")
    ax.annotate(f"{threshold:.1f}", place, xytext=(6, -10), textcoords="offset points", fontsize=8)
ax.set_xscale("symlog", linthresh=1)
ax.set(xlabel="False beats an hour", ylabel="Sensitivity", xlim=(0, None), ylim=(0, 1))
ax.set_title("Located V beats by threshold", loc="left", fontsize=10)
ax.legend(loc="lower right")
plt.show()

# %%
# The learned threshold comes from labels alone: hardly any beat of an ECG without V may reach it. To use
# another, choose it on patients that are neither trained on nor tested on, and pass it on: ``locate(X,
# threshold=0.3)``.
