"""How long a day of ECG takes, and how much memory: read, annotated and written.

Joins the MIT-BIH records of DS1 and DS2, at 250 Hz, to recordings of 24 and 48 hours, trains a model on
DS1 for a few epochs, and annotates each recording in a process of its own. Writes
``long_recordings.json`` and ``long_recordings.md`` beside this file::

    python benchmarks/long_recordings.py
    python benchmarks/long_recordings.py --hours 1 2 --n-jobs 2 --output /tmp
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
from _tables import LABELS, RATE, markdown, write
from tqdm.auto import tqdm

from skecgattn import AttentionECGClassifier
from skecgattn.datasets import fetch_mitbih, make_windows
from skecgattn.preprocessing import resample

NEW_RATE = 250.0
GAIN = 200
TRAINED_ON = ["106", "119", "201", "208", "209", "215", "223", "114"]

MEASURE = r"""
import json, re, resource, sys, time
from pathlib import Path

def peak():
    status = Path("/proc/self/status")
    if status.exists():  # what getrusage tells on Linux may be the peak of the parent
        return int(re.search(r"VmHWM:\s+(\d+) kB", status.read_text())[1]) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)

begin = time.perf_counter()
import joblib
from skecgattn.records import annotate, read_record
model = joblib.load(sys.argv[1])
loaded, memory = time.perf_counter(), peak()
annotations = annotate(model, read_record(sys.argv[2]), n_jobs=int(sys.argv[3]))
annotated = time.perf_counter()
annotations.to_wfdb(sys.argv[4])
print(json.dumps({
    "hours": annotations.duration / 3600,
    "heartbeats": len(annotations.beats),
    "abnormal": len(annotations.abnormal),
    "start (s)": loaded - begin,
    "read and annotate (s)": annotated - loaded,
    "write (s)": time.perf_counter() - annotated,
    "in all (s)": time.perf_counter() - begin,
    "CPU (s)": time.process_time(),
    "memory at the start (MB)": memory,
    "peak memory (MB)": peak(),
}))
"""


def memory_of(pid: int) -> float:
    """Return the MB that a process and all that it has started take, what they share counted once.

    0 where the system does not tell (`/proc`, Linux).
    """
    total, waiting = 0, [pid]
    while waiting:
        process = Path(f"/proc/{waiting.pop()}")
        try:
            total += int(re.search(r"^Pss:\s+(\d+) kB", (process / "smaps_rollup").read_text(), re.M)[1])
            for children in process.glob("task/*/children"):
                waiting += map(int, children.read_text().split())
        except (OSError, TypeError):  # it has ended
            continue
    return total * 1024 / 1e6


def measure(command: list[str]) -> dict[str, Any]:
    """Return what a process prints, and the peak of the memory that it took with those it started."""
    highest = 0.0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            highest = max(highest, memory_of(process.pid))
            time.sleep(0.5)
        output = process.stdout.read() if process.stdout else ""
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return {**json.loads(output), "peak memory of all processes (MB)": highest}


def build(folder: Path, hours: float, signals: list[np.ndarray]) -> Path:
    """Join recordings (n_leads, n) at `NEW_RATE`, over and over, and write a WFDB record."""
    name, left = f"long{hours:g}".replace(".", "_"), round(hours * 3600 * NEW_RATE)
    n_timesteps = left
    with open(folder / f"{name}.dat", "wb") as file:
        while left:
            for signal in signals:
                piece = np.clip(np.rint(signal[:, :left] * GAIN), -(2**15) + 1, 2**15 - 1)
                file.write(np.ascontiguousarray(piece.T, dtype="<i2").tobytes())
                left -= piece.shape[1]
    lines = [f"{name} 2 {NEW_RATE:g} {n_timesteps}"]
    lines += [f"{name}.dat 16 {GAIN}/mV 16 0 0 0 0 {lead}" for lead in ("MLII", "V1")]
    (folder / f"{name}.hea").write_text("\n".join(lines) + "\n")
    return folder / name


def train(path: Path) -> None:
    """Train a model for a few epochs: its speed does not depend on how good it is."""
    X, y, patients, _ = make_windows(fetch_mitbih(TRAINED_ON, verbose=False))
    model = AttentionECGClassifier(RATE, lead_names=("MLII", "V1"), max_epochs=2, random_state=0)
    joblib.dump(model.fit(X, pd.DataFrame(y, columns=list(LABELS)), groups=patients), path)


def table(rows: list[dict[str, Any]]) -> str:
    """Return the results as Markdown."""
    names = list(rows[0])
    return "\n".join([*markdown(names, ([f"{row[name]:.4g}" for name in names] for row in rows)), ""])


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hours", type=float, nargs="+", default=[24, 48], help="lengths (default 24 48)")
    parser.add_argument("--n-jobs", type=int, nargs="+", default=[1, 2], help="processes (default 1 2)")
    parser.add_argument("--model", type=Path, help="a model saved with joblib, instead of training one")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent, help="folder for the tables")
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        model = options.model or folder / "model.joblib"
        if options.model is None:
            train(model)
        records = [r for part in ("ds1", "ds2") for r in fetch_mitbih(part, verbose=False).records]
        signals = [resample(r.signal.astype(np.float32), RATE, NEW_RATE) for r in records]
        runs = list(itertools.product(options.hours, options.n_jobs))
        for hours, n_jobs in tqdm(runs, desc="recordings"):
            record = build(folder, hours, signals)
            command = [sys.executable, "-c", MEASURE, model, record, n_jobs, folder]
            busy = os.getloadavg()[0]
            rows.append({"processes": n_jobs, **measure(list(map(str, command))), "load before": busy})
            write(options.output / "long_recordings.json", json.dumps(rows, indent=1) + "\n")
            write(options.output / "long_recordings.md", table(rows))


if __name__ == "__main__":
    main()
