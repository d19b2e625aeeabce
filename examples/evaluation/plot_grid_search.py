"""
Grid search by patient
======================

``GridSearchCV`` works as with any scikit-learn estimator. For ECG it has to keep patients apart in two
places: between the folds, and inside each fit, where early stopping holds out ECGs of its own. With
scikit-learn's metadata routing, ``groups`` reaches both.
"""

# %%
# Windows of patients
# -------------------
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import sklearn
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold

from skecgattn import AttentionECGClassifier
from skecgattn.datasets import DataNotFoundError, fetch_mitbih, make_ecg, make_windows
from skecgattn.metrics import make_beat_scorer
from skecgattn.nn import Evidence

try:
    X, y, patient, beats = make_windows(fetch_mitbih("ds1"), label="frequent", classes=["V"])
    source = "MIT-BIH Arrhythmia Database, DS1"
except DataNotFoundError:
    X, y, patient, beats = make_ecg(500, n_patients=50, label="frequent", classes=["V"], random_state=0)
    source = "synthetic ECG"

# As many windows of one class as of the other, few enough for a quick search.
rng = np.random.default_rng(0)
rows = np.sort(np.concatenate([rng.permutation(np.flatnonzero(y == label))[:160] for label in ("N", "V")]))
X, y, patient, beats = X[rows], y[rows], patient[rows], beats[rows]
print(f"Data: {source}, {len(X)} windows of {len(np.unique(patient))} patients")

# %%
# The search
# ----------
#
# Two parameters: the learning rate, and how much the objective charges for the area of the map. Parameters
# of an objective are reached with ``objective__``. Two scores: how well windows are told apart, and how
# well the beats are found. The annotated beats are needed for the second score alone; they travel to the
# scorer as metadata and the training never sees them. ``refit`` names the score that picks the winner:
# labels are enough for ``"auc"``.
search = GridSearchCV(
    AttentionECGClassifier(
        sampling_rate=360,
        objective=Evidence(),
        resample_to=100,
        batch_size=8,
        max_epochs=4,
        early_stopping=True,
        random_state=0,
    ),
    {"lr": [1e-3, 3e-3], "objective__area": [0.3, 1.0]},
    scoring={"auc": "roc_auc", "beat_f1": make_beat_scorer("f1", label="V", sampling_rate=360)},
    refit="auc",
    cv=StratifiedGroupKFold(2),
    n_jobs=2,
)
with sklearn.config_context(enable_metadata_routing=True):
    search.fit(X, y, groups=patient, beats=beats)
print(f"Best by AUC: {search.best_params_}")

# %%
# Each of the two workers computes with one thread (``n_threads=1`` is the default), so they do not get in
# each other's way, and give the same weights as one worker would.
results = pd.DataFrame(search.cv_results_)
columns = ["param_lr", "param_objective__area", "mean_test_auc", "std_test_auc", "mean_test_beat_f1"]
print(results[columns].round(3).to_string(index=False))

# %%
# Reading the result
# ------------------
#
# The two scores need not agree on a winner. Differences must be held against the spread between folds,
# which is large, as it always is between patients.
fig, axes = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
for ax, (score, title) in zip(axes, {"auc": "window AUC", "beat_f1": "beat F1"}.items()):
    grid = results.pivot(index="param_lr", columns="param_objective__area", values=f"mean_test_{score}")
    image = ax.imshow(grid, cmap="Blues", aspect="auto")
    for (row, column), value in np.ndenumerate(grid.to_numpy()):
        dark = value > grid.to_numpy().mean()
        ax.text(column, row, f"{value:.3f}", ha="center", va="center", color="white" if dark else "black")
    ax.set_xticks(range(grid.shape[1]), grid.columns)
    ax.set_yticks(range(grid.shape[0]), grid.index)
    ax.set(title=f"Mean {title} of the folds", xlabel="objective__area", ylabel="lr")
plt.show()
