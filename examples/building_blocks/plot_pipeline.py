"""
A pipeline with transformers of your own
========================================

The estimator resamples, filters and scales by itself. Where these steps are to be tuned or replaced, they
are switched off, and transformers take their place: those of :mod:`skecgattn.preprocessing`,
scikit-learn's, or your own. Any transformer that takes and returns arrays of shape (n_samples, n_leads,
n_timesteps) will do.
"""

# %%
# ECGs
# ----
import matplotlib.pyplot as plt
import numpy as np
from scipy.ndimage import median_filter
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.model_selection import StratifiedGroupKFold, cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from skecgattn import AttentionECGClassifier
from skecgattn.datasets import DataNotFoundError, fetch_mitbih, make_ecg, make_windows
from skecgattn.inspection import AttentionMapDisplay
from skecgattn.preprocessing import BandPassFilter, Resampler, RobustLeadScaler

RATE, NEW_RATE = 360, 120  # Hz

try:
    X, y, patient, beats = make_windows(fetch_mitbih("ds1"), label="frequent", classes=["V"])
    source, leads = "MIT-BIH Arrhythmia Database, DS1", ["MLII", "V1"]
except DataNotFoundError:
    X, y, patient, beats = make_ecg(500, n_patients=50, label="frequent", classes=["V"], random_state=0)
    source, leads = "synthetic ECG", ["II", "V1"]

rng = np.random.default_rng(0)
rows = np.sort(np.concatenate([rng.permutation(np.flatnonzero(y == label))[:120] for label in ("N", "V")]))
X, y, patient, beats = X[rows], y[rows], patient[rows], beats[rows]
print(f"Data: {source}, {len(X)} windows of {len(np.unique(patient))} patients")

# %%
# Two transformers
# ----------------
#
# A function is enough for a step that learns nothing. This one keeps the first lead, as a shape of three
# dimensions.


def first_lead(X):
    return X[:, :1]


# %%
# A class is needed for a step with parameters. This one removes the baseline as de Chazal et al. (2004)
# did: a median filter of 200 ms takes out the QRS complexes and P waves, one of 600 ms the T waves, and
# what is left is the baseline. Both are called on the last axis only, so that no lead and no ECG touches
# another.


class MedianBaseline(TransformerMixin, BaseEstimator):
    def __init__(self, sampling_rate, *, widths=(0.2, 0.6)):
        self.sampling_rate = sampling_rate
        self.widths = widths

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        baseline = X
        for width in self.widths:
            n_timesteps = round(width * self.sampling_rate)
            baseline = median_filter(baseline, n_timesteps, axes=(-1,), mode="nearest")
        return X - baseline

    def __sklearn_is_fitted__(self):
        return True


# %%
# The pipeline
# ------------
#
# Resampling comes first, as all that follows is cheaper then. The estimator is told the rate of what it
# gets, and to leave preprocessing alone: ``resample_to=None, band=None, scale=False``.
pipeline = Pipeline(
    [
        ("lead", FunctionTransformer(first_lead)),
        ("resample", Resampler(RATE, new_rate=NEW_RATE)),
        ("baseline", MedianBaseline(NEW_RATE)),
        ("scale", RobustLeadScaler()),
        (
            "classify",
            AttentionECGClassifier(
                sampling_rate=NEW_RATE,
                resample_to=None,
                band=None,
                scale=False,
                batch_size=8,
                max_epochs=4,
                random_state=0,
            ),
        ),
    ]
)

# %%
# A window with much wander, before and after the step.
wander = np.argmax(np.ptp(np.median(X[:, 0].reshape(len(X), 10, -1), axis=2), axis=1))
before = pipeline[:2].fit_transform(X[[wander]])[0, 0]
after = pipeline["baseline"].transform(before)
time = np.arange(len(before)) / NEW_RATE

fig, ax = plt.subplots(figsize=(9, 3), layout="constrained")
ax.plot(time, before, color="0.6", label="before")
ax.plot(time, after, color="tab:blue", linewidth=1, label="after MedianBaseline")
ax.set(xlabel="Time (s)", ylabel=f"{leads[0]} (mV)", xlim=(0, time[-1]))
ax.legend(loc="upper right")

# %%
# Steps are parameters
# --------------------
#
# A step is exchanged by its name, here in cross-validation by patient; ``"passthrough"`` leaves it out. A
# ``GridSearchCV`` with ``{"baseline": [...]}`` does the same and picks the best. With so few windows,
# differences smaller than the spread between folds mean nothing.
cv = StratifiedGroupKFold(2)
for step in (MedianBaseline(NEW_RATE), BandPassFilter(NEW_RATE, low=0.5, high=40), "passthrough"):
    auc = cross_val_score(pipeline.set_params(baseline=step), X, y, groups=patient, cv=cv, scoring="roc_auc")
    print(f"{step!s:<50} AUC {', '.join(f'{value:.3f}' for value in auc)}")

# %%
# The picture is of the ECG, not of its transform
# -----------------------------------------------
#
# The displays take a pipeline too. They draw the ECG as it came, in millivolts and with all its leads, with
# the map brought back to its sampling rate.
train, test = next(cv.split(X, y, patient))
pipeline.set_params(baseline=MedianBaseline(NEW_RATE)).fit(X[train], y[train])
probability = pipeline.predict_proba(X[test])[:, 1]
surest = test[np.argmax(np.where(y[test] == "V", probability, 0))]
AttentionMapDisplay.from_estimator(pipeline, X, sample=surest, lead_names=leads, beats=beats)
plt.show()
