"""
Networks of your own
====================

The segmenter and the classifier are parameters, and so is the objective that they are trained for. A name
takes one of the library's; a callable that returns a torch module takes yours.
"""

# %%
# ECGs
# ----
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from sklearn.metrics import roc_auc_score
from torch import nn

from skecgattn import AttentionECGClassifier
from skecgattn.datasets import DataNotFoundError, fetch_mitbih, make_ecg, make_windows
from skecgattn.inspection import AttentionMapDisplay
from skecgattn.metrics import attention_mass, pointing_game
from skecgattn.nn import Evidence

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
print(f"Data: {source}, {len(X)} windows to train on, {len(X_test)} of other patients to test on")

# %%
# A segmenter
# -----------
#
# It gets the ECG and further channels (the difference to the normal beat, with ``rhythm=True`` how early
# each beat comes, and with ``waves=True`` its P wave, which the classifier does not read) as a tensor of shape (batch, n_channels, time), and returns logits of the same length, one channel a map. A stack of dilated
# convolutions sees further with every layer, without ever losing time resolution. The class itself is the
# callable.


class DilatedSegmenter(nn.Module):
    def __init__(self, n_channels, n_maps, width=16):
        super().__init__()
        layers = []
        for level, n_in in enumerate([n_channels, width, width, width, width]):
            layers += [
                nn.Conv1d(n_in, width, 5, padding="same", dilation=2**level),
                nn.GroupNorm(4, width),
                nn.ReLU(),
            ]
        self.layers = nn.Sequential(*layers, nn.Conv1d(width, n_maps, 1))

    def forward(self, x):
        return self.layers(x)


# %%
# A classifier
# ------------
#
# It gets the modulated ECG in the same shape and returns one logit a class. A recurrent network, for a
# change, on top of a strided convolution that makes the sequence short.


class RecurrentClassifier(nn.Module):
    def __init__(self, n_channels, n_outputs, width=24):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv1d(n_channels, width, 11, stride=8, padding=5), nn.ReLU())
        self.recurrent = nn.GRU(width, width, batch_first=True, bidirectional=True)
        self.head = nn.Linear(2 * width, n_outputs)

    def forward(self, x):
        states, _ = self.recurrent(self.stem(x).transpose(1, 2))
        return self.head(states.amax(dim=1))


print("Logits of a map:", DilatedSegmenter(4, 1)(torch.zeros(2, 4, 1000)).shape)
print("Logits of classes:", RecurrentClassifier(4, 2)(torch.zeros(2, 4, 1000)).shape)

# %%
# Objectives and their options, channels and their meaning
# --------------------------------------------------------
#
# ``Evidence`` wants all of the evidence in the map and charges for the map's area; a search would reach its
# weight as ``objective__area``. Without the charge a map may mark everything.
#
# What counts as evidence depends on the channels that the networks read. The rhythm channels tell of each
# beat how early or late it comes, and whether a pause follows. What follows an early beat tells the classes apart as well
# as the beat itself, so that a network which judges samples may mark that instead. The library's own "beat"
# segmenter judges each heartbeat by itself; with a segmenter like the one above, ``rhythm="auto"``, the
# default, leaves the shape of the beats as the only evidence.
settings = {
    "no charge": {"objective": Evidence(area=0.0)},
    "area charged": {"objective": Evidence(area=1.0)},
    "with rhythm": {"objective": Evidence(area=1.0), "rhythm": True},
}
rows, maps = {}, {}
for name, options in settings.items():
    clf = AttentionECGClassifier(
        sampling_rate=360,
        segmenter=DilatedSegmenter,
        classifier=RecurrentClassifier,
        resample_to=100,
        batch_size=16,
        max_epochs=5,
        random_state=0,
        **options,
    ).fit(X, y)
    maps[name] = clf.segment(X_test)
    rows[name] = {
        "window AUC": roc_auc_score(y_test == "V", clf.predict_proba(X_test)[:, 1]),
        "mean of the map": maps[name].mean(),
        "pointing game": pointing_game(maps[name], beats, label="V"),
        "mass in V beats": attention_mass(maps[name], beats, label="V"),
    }
chance = pointing_game(maps[name], beats, label="V", return_chance=True)[1]
print(pd.DataFrame(rows).T.round(2).to_string())
print(f"Chance of pointing game and mass: {chance:.2f}")

# %%
# The AUC alone would not have told these models apart.
#
# The three maps of one window
# ----------------------------
window = np.flatnonzero(y_test == "V")[0]
AttentionMapDisplay.from_maps(
    X_test, maps, sample=window, sampling_rate=360, lead_names=leads, beats=beats, time_range=(0, 6)
)
plt.show()
