"""
From a long recording to a report
=================================

A model trained on windows of 10 s reads a recording of any length: every heartbeat gets a label, unreadable
stretches are marked, and the result is a summary, an annotation file and a report to open in a browser.
"""

# %%
# A model
# -------
#
# Trained on windows of other patients. ``lead_names`` let the model find its leads in a recording by name.
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from skecgattn import AttentionECGClassifier
from skecgattn.datasets import DataNotFoundError, fetch_mitbih, make_ecg, make_windows
from skecgattn.inspection import AttentionMapDisplay
from skecgattn.records import annotate, evaluate_annotations, find_runs, read_record, write_report

RATE, LEADS = 360, ["MLII", "V1"]

try:
    X, y, _, _ = make_windows(fetch_mitbih("ds1"), label="frequent", classes=["V"])
    holter = fetch_mitbih(["200"]).records[0]
    signal, reference, source = holter.signal, holter.annotations, "MIT-BIH Arrhythmia Database"
except DataNotFoundError:
    X, y, _, _ = make_ecg(500, n_patients=50, label="frequent", classes=["V"], random_state=0)
    long, _, _, beats = make_ecg(1, duration=1800, pvc=1, random_state=1)
    signal, reference, source = long[0], beats[0], "synthetic ECG"

rng = np.random.default_rng(0)
rows = np.sort(np.concatenate([rng.permutation(np.flatnonzero(y == label))[:200] for label in ("N", "V")]))
clf = AttentionECGClassifier(
    sampling_rate=RATE, lead_names=LEADS, resample_to=100, batch_size=16, max_epochs=8, random_state=0
).fit(X[rows], y[rows])
print(f"Data: {source}, {len(rows)} windows to train on")

# %%
# A recording
# -----------
#
# Half an hour of a patient that the model does not know, in a file. To show what happens to unreadable
# stretches, the electrodes fall off for two minutes. This file is numpy's, which has to be told sampling
# rate and leads; WFDB and EDF files know theirs. No samples are read before they are needed.
folder = tempfile.TemporaryDirectory()
off = slice(600 * RATE, 720 * RATE)
signal[:, off] = signal[:, off.start, None]
np.save(Path(folder.name) / "holter.npy", signal)

record = read_record(Path(folder.name) / "holter.npy", sampling_rate=RATE, leads=LEADS)
print(record)

# %%
# Annotating
# ----------
#
# The recording is read in overlapping windows, a few minutes at a time, so that a day of ECG needs no more
# memory than an hour. ``maps`` writes the attention map to a file, for the picture further down.
map_file = Path(folder.name) / "map.npy"
annotations = annotate(clf, record, maps=map_file)
print(annotations.beats.head())
print(annotations.unreadable)

# %%
# The summary
# -----------
print(annotations.summary())

# %%
# Runs of ventricular beats, the longest first:
print(find_runs(annotations, shortest=2).sort_values("n_beats", ascending=False).head())

# %%
# Over time
# ---------
minutes = np.arange(0, record.duration / 60 + 1)
counts, _ = np.histogram(annotations.abnormal["time"] / 60, bins=minutes)
fig, ax = plt.subplots(figsize=(9, 2.8), layout="constrained")
ax.bar(minutes[:-1], counts, width=0.9, align="edge", color="tab:blue", label="V beats found")
for start, stop in annotations.unreadable[["start", "stop"]].to_numpy() / RATE / 60:
    ax.axvspan(start, stop, color="0.8", hatch="//", label="unreadable")
ax.set(xlabel="Time (minutes)", ylabel="V beats a minute", xlim=(0, minutes[-1]))
handles, labels = ax.get_legend_handles_labels()
unique = dict(zip(labels, handles))
ax.legend(unique.values(), unique.keys(), loc="upper right")

# %%
# The strip with the highest score, with the map from the file:
top = annotations.abnormal.sort_values("score").iloc[-1]
start = max(0, int(top["sample"]) - 4 * RATE)
stop = min(record.n_timesteps, start + 8 * RATE)
inside = annotations.abnormal[annotations.abnormal["sample"].between(start, stop - 1)]
located = inside[["sample", "start", "stop", "label", "score"]].copy()
located["sample"] -= start
located[["start", "stop"]] = (located[["start", "stop"]] - start).clip(0, stop - start)
strip_map = np.load(map_file, mmap_mode="r")[0, start:stop].astype(float)
AttentionMapDisplay.from_maps(
    record.read(start, stop)[None],
    strip_map,
    sampling_rate=RATE,
    lead_names=record.lead_names,
    located=located.to_records(index=False),
)

# %%
# Compared with a cardiologist
# ----------------------------
#
# Where annotations exist, ours are scored against them beat by beat, as ANSI/AAMI EC57 does. "QRS" says how
# well heartbeats of any kind are found; the two minutes without electrodes are left out.
evaluation = evaluate_annotations(
    reference, annotations, sampling_rate=RATE, classes=["V"], skip_unreadable=True
)
print(evaluation.gross.round(3).to_string())

# %%
# Files
# -----
#
# An annotation file that any WFDB program shows over the recording, a table, and the report: one HTML file
# that loads nothing from elsewhere.
wfdb_file = annotations.to_wfdb(folder.name)
annotations.to_csv(Path(folder.name) / "beats.csv")
report = write_report(Path(folder.name) / "report.html", record, annotations, model=clf)
for path in (wfdb_file, report):
    print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")

# %%
# The example has worked in a temporary folder, which goes now.
folder.cleanup()
plt.show()
