"""Whether heartbeats are found, also when the electrodes move or muscles tense; and the detector's training.

The detector of the front end, ``detect_heartbeats(method="network")``, against what it has learned from, a
vote of sleepecg's detector among the leads, and against ``wfdb.processing.xqrs_detect`` on the first lead.
Every fifth 10 s window of DS2 of MIT-BIH, clean and with the Noise Stress Test's electrode motion ("em") and
muscle artefact ("ma") mixed in as in ``noise.py``; and 12 leads, the 50 records of LUDB that the detector has
not seen. Detections and annotated beats within 150 ms are paired one to one; how many of the beats are found
within 50 ms tells how well R peaks are placed. Writes ``heartbeats.json`` and ``heartbeats.md`` beside this
file::

    python benchmarks/heartbeats.py

``--train`` trains the network first and writes the weights into the package. It reads DS1 of MIT-BIH, 150
records of LUDB and synthetic ECGs of all heart rates, two leads of them at a time or one, with noise of
random colour, bursts and transients added, and learns to find the heartbeats that the vote has found without
it, in synthetic ECGs the true ones. No annotation is read.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import wfdb
from _tables import RATE, Rows, cell, markdown, windows
from noise import NOISES, RATIOS, mix, read_noise
from safetensors.torch import save
from torch.nn import functional
from tqdm.auto import tqdm
from wfdb.processing import xqrs_detect

from skecgattn import metrics
from skecgattn._aami import AAMI_CLASSES
from skecgattn._artefacts import LOWEST, STEEPNESS, made_up_noise
from skecgattn._files import write_bytes
from skecgattn.beats import _heartbeat_network as heartbeat_network
from skecgattn.beats import detect_heartbeats
from skecgattn.beats._heartbeat_network import DILATIONS
from skecgattn.beats._lead_network import RATE as NETWORK_RATE
from skecgattn.beats._lead_network import LeadNetwork, prepare_leads
from skecgattn.datasets import make_ecg
from skecgattn.preprocessing import bandpass, resample, robust_scale

EPOCHS, BATCH, LR = 24, 64, 4e-3
OTHERS = 11
"""ECGs of a batch that are two random leads of LUDB, and as many of synthetic ECGs."""
LUDB_RATE = 500.0
TRAINING_LUDB = 150
"""Records of LUDB, from the first, that the network learns from."""
SYNTHETIC = 600
"""Synthetic ECGs."""
HEART_RATES = (30.0, 240.0)
"""Bounds of their heart rates a minute."""
DETECTION_RATE = 180.0
"""Hz at which the vote works in the front end."""
RATIO = (-3.0, 24.0)
"""Bounds of the signal-to-noise ratio in dB."""
CLEAN = 0.2
"""Share of ECGs without noise."""
SILENT = 0.4
"""Share of ECGs with one lead silent."""
SPEED = 0.3
"""Largest logarithm of how much faster or slower a batch is shown, but for some."""
FAST, FASTEST = 0.3, 0.7
"""Share of batches that are shown still faster, and the largest logarithm."""
SIGMA = 0.0167
"""Seconds of spread of the target around a heartbeat."""
CLOSE = 0.05
"""Seconds from an annotated beat within which an R peak is well placed."""
EVERY = 5
"""Of so many windows one is a test."""
BEATS = tuple(symbol for symbols in AAMI_CLASSES.values() for symbol in symbols)
"""All symbols of heartbeats."""
LOCATED = np.dtype([("sample", np.int64), ("label", "U1")])


Taught = tuple[np.ndarray, np.ndarray]
"""Leads (n, L, T), and their heartbeats (n, n_beats)."""


def ludb(name: int) -> tuple[str, str | None]:
    """Return where a record of LUDB is, for wfdb: in the shared folder, otherwise at PhysioNet."""
    path = Path(os.environ.get("SKECGATTN_DATA", "")) / "ludb" / "data" / str(name)
    return (str(path), None) if path.with_suffix(".hea").is_file() else (str(name), "ludb/1.0.1/data")


def read_ludb(names: range) -> np.ndarray:
    """Return records of LUDB in mV, (n_records, 12, 5000)."""
    places = map(ludb, names)
    return np.stack([wfdb.rdrecord(path, pn_dir=folder).p_signal.T for path, folder in places])


def filtered(X: np.ndarray, rate: float) -> np.ndarray:
    """Return ECGs as the front end has them where it detects heartbeats."""
    return robust_scale(bandpass(resample(X, rate, DETECTION_RATE), DETECTION_RATE, low=0.5, high=40.0))


def lesson(leads: np.ndarray, beats: Sequence[np.ndarray]) -> Taught:
    """Return filtered leads as the network reads them, and the heartbeats in their time, filled up by inf."""
    places = np.full((len(beats), max(map(len, beats))), np.inf, dtype=np.float32)
    for row, there in zip(places, beats):
        row[: len(there)] = there * (NETWORK_RATE / DETECTION_RATE)
    return prepare_leads(leads, DETECTION_RATE), places


def teach(X: np.ndarray, rate: float) -> Taught:
    """Return ECGs as the network reads them, and the vote's heartbeats."""
    leads = filtered(X, rate)
    return lesson(leads, detect_heartbeats(leads, DETECTION_RATE, method="vote"))


def synthesise(seed: int) -> Taught:
    """Return synthetic ECGs as the network reads them, and their heartbeats."""
    X, _, _, beats = make_ecg(
        SYNTHETIC,
        n_leads=12,
        sampling_rate=DETECTION_RATE,
        n_patients=SYNTHETIC,
        heart_rate=HEART_RATES,
        random_state=seed,
    )
    return lesson(filtered(X, DETECTION_RATE), [there["sample"] for there in beats])


def transients(shape: tuple[int, ...], rate: float, rng: np.random.RandomState) -> np.ndarray:
    """Return noise of standard deviation 1 with sudden beginnings, as electrodes leave behind.

    Random shots, rare or many, of one sign or both, among some white noise, all of which falls off as
    by a capacitor.
    """
    each = (shape[0], 1, 1)
    frequency = np.fft.rfftfreq(shape[2], 1 / rate)
    corner, slope = 25.0 ** rng.uniform(size=each), rng.uniform(*STEEPNESS, size=each)
    response = (frequency > LOWEST) * (1 + 1j * frequency / corner) ** (-slope / 2)
    often = 0.5 * 20.0 ** rng.uniform(size=each) / rate
    shots = (rng.uniform(size=shape) < often) * rng.standard_exponential(shape) / np.sqrt(2 * often)
    one_sign = rng.uniform(size=each) < 0.5
    signs = rng.choice([-1, 1], size=shape)
    shots *= np.where(one_sign, signs[:, :, :1], signs)
    share = rng.uniform(size=each)
    source = np.sqrt(1 - share) * rng.standard_normal(shape) + np.sqrt(share) * shots
    noise = np.fft.irfft(np.fft.rfft(source, axis=2) * response, n=shape[2], axis=2)
    return noise / (noise.std(axis=2, keepdims=True) + 1e-12)


def draw(
    ours: Taught, others: Sequence[Taught], rows: np.ndarray, rng: np.random.RandomState
) -> tuple[np.ndarray, np.ndarray]:
    """Return two leads each of some ECGs and of random others, and their heartbeats."""
    leads, places = [ours[0][rows]], [ours[1][rows]]
    for X, beats in others:
        drawn = rng.randint(len(X), size=OTHERS)
        pairs = np.stack([rng.choice(X.shape[1], 2, replace=False) for _ in drawn])
        leads.append(X[drawn[:, None], pairs])
        places.append(beats[drawn])
    width = max(part.shape[1] for part in places)
    filled = [np.pad(p, ((0, 0), (0, width - p.shape[1])), constant_values=np.inf) for p in places]
    return np.concatenate(leads), np.concatenate(filled)


def batches(
    ours: Taught, others: Sequence[Taught], rng: np.random.RandomState
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield one epoch of noisy leads (B, 2, T) and where the heartbeats are (B, T)."""
    rate = NETWORK_RATE
    order = rng.permutation(len(ours[0]))
    step = BATCH - OTHERS * len(others)
    for start in range(0, len(order) - step + 1, step):
        x, places = draw(ours, others, order[start : start + step], rng)
        # faster or slower, and a part of it
        fast = rng.uniform() < FAST
        speed = np.exp(rng.uniform(-FASTEST, -SPEED) if fast else rng.uniform(-SPEED, SPEED))
        x = functional.interpolate(torch.from_numpy(x), scale_factor=speed, mode="linear").numpy()
        places = (places + 0.5) * speed - 0.5
        part = rng.randint(x.shape[2] // 2, x.shape[2] + 1)
        begin = rng.randint(x.shape[2] - part + 1)
        x, places = x[:, :, begin : begin + part], places - begin
        noise = (made_up_noise, transients)[rng.randint(2)](x.shape, rate, rng)
        size = np.sqrt(10 ** (-rng.uniform(*RATIO, size=(BATCH, 1, 1)) / 10) / 8)
        size[rng.uniform(size=BATCH) < CLEAN] = 0
        x = x + noise * size * np.exp(0.3 * rng.standard_normal((BATCH, 2, 1)))
        x *= np.exp(0.3 * rng.standard_normal((BATCH, 2, 1)))
        x *= rng.choice([-1, 1], p=[0.3, 0.7], size=(BATCH, 2, 1))
        silent = rng.uniform(size=BATCH) < SILENT
        x[silent, rng.randint(2, size=silent.sum())] = 0
        distance = np.abs(np.arange(part, dtype=np.float32)[:, None] - places[:, None, :]).min(axis=2)
        target = np.exp(-0.5 * (distance / (SIGMA * rate)) ** 2)
        yield torch.from_numpy(prepare_leads(x, rate)), torch.from_numpy(target)


def train_network(epochs: int, seed: int = 0) -> LeadNetwork:
    """Return a network that has learned from the vote."""
    X, *_ = windows("ds1", None)
    ours = teach(X, RATE)
    others = [teach(read_ludb(range(1, TRAINING_LUDB + 1)), LUDB_RATE), synthesise(seed)]
    torch.manual_seed(seed)
    rng = np.random.RandomState(seed)
    network = LeadNetwork(1, DILATIONS, normalise=True)
    torch.nn.init.constant_(network.head.bias, -3.0)
    optimizer = torch.optim.AdamW(network.parameters(), lr=LR, weight_decay=1e-3)
    n_batches = len(ours[0]) // (BATCH - OTHERS * len(others))
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=LR, total_steps=n_batches * epochs, pct_start=0.2
    )
    for epoch in (bar := tqdm(range(epochs), desc="epochs")):
        total = 0.0
        for x, target in batches(ours, others, rng):
            logits = network(x)[:, 0]
            losses = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
            loss = (losses * (1 + 4 * target)).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += float(loss.detach())
        bar.set_postfix_str(f"epoch {epoch + 1}, loss {total / n_batches:.4f}")
    return network.eval().fold()


def write_weights(network: LeadNetwork, module: Any) -> None:
    """Replace the weights that come with the package, of the network in one of its modules."""
    path = Path(module.__file__).with_name(module.WEIGHTS)
    write_bytes(path, save({name: value.contiguous() for name, value in network.state_dict().items()}))
    module.trained_network.cache_clear()


def detect(X: np.ndarray, rate: float, method: str) -> list[np.ndarray]:
    """Detect as the front end does."""
    found = detect_heartbeats(filtered(X, rate), DETECTION_RATE, method=method)
    return [np.rint(beats * (rate / DETECTION_RATE)).astype(int) for beats in found]


def xqrs(X: np.ndarray, rate: float) -> list[np.ndarray]:
    """Detect by wfdb's XQRS on the first lead."""
    return [np.asarray(xqrs_detect(ecg[0].astype(float), rate, verbose=False), dtype=int) for ecg in X]


METHODS: dict[str, Callable[[np.ndarray, float], list[np.ndarray]]] = {
    "network": partial(detect, method="network"),
    "vote of sleepecg's": partial(detect, method="vote"),
    "wfdb's XQRS, first lead": xqrs,
}


def score(found: list[np.ndarray], truth: Sequence[np.ndarray], rate: float) -> dict[str, float]:
    """Score detections against annotated beats of all kinds."""
    located = []
    for samples in found:
        located.append(np.zeros(len(samples), dtype=LOCATED))
        located[-1]["sample"] = samples
    right = metrics.beat_detection(truth, located, label=BEATS, sampling_rate=rate)
    close = metrics.beat_detection(truth, located, label=BEATS, sampling_rate=rate, tolerance=CLOSE)
    return {
        "sensitivity": right.sensitivity,
        "positive predictivity": right.positive_predictivity,
        "sensitivity within 50 ms": close.sensitivity,
    }


def conditions() -> Iterator[tuple[str, np.ndarray, Sequence[np.ndarray], float]]:
    """Yield the name, the ECGs, the beats and the sampling rate of every test."""
    kinds = [("none", None)] + [(noise, ratio) for noise in NOISES for ratio in RATIOS]
    for noise, ratio in kinds:
        change = None if ratio is None else lambda r, n=noise, d=ratio: mix(r, read_noise(n), d)
        X, _, _, beats = windows("ds2", None, change)
        yield "DS2" if ratio is None else f"DS2, {noise} {ratio} dB", X[::EVERY], beats[::EVERY], RATE
    names = range(TRAINING_LUDB + 1, 201)
    truth = []
    for name in names:
        path, folder = ludb(name)
        marks = wfdb.rdann(path, "ii", pn_dir=folder)
        peaks = marks.sample[np.array(marks.symbol) == "N"]  # of QRS complexes, whatever their kind
        truth.append(np.array([(peak, "N") for peak in peaks], dtype=[("sample", "i8"), ("symbol", "U1")]))
    X = read_ludb(names)
    # the first and the last beats are not annotated there: they are not shown either
    reach = round(0.3 * LUDB_RATE)
    time = np.arange(X.shape[2])
    ends = [(there["sample"][0] - reach, there["sample"][-1] + reach) for there in truth]
    shown = [np.clip(time, max(0, first), last) for first, last in ends]
    held = np.stack([ecg[:, np.minimum(index, time[-1])] for ecg, index in zip(X, shown)])
    yield "LUDB, 12 leads", held, truth, LUDB_RATE


def table(rows: Rows) -> str:
    """Return the results as Markdown."""
    names = ("sensitivity", "positive predictivity", "sensitivity within 50 ms")
    body = []
    for test in rows.names("test"):
        for method in rows.names("method", METHODS):
            there = rows.select(test=test, method=method)
            cells = [cell(there, name) for name in names]
            body.append([test, method, *cells, cell(there, "windows a second", digits=0)])
    return "\n".join([*markdown(["test", "detector", *names, "ECGs a second"], body), ""])


def main() -> None:
    """Train the network if asked to, and compare the detectors."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--train", action="store_true", help="train the network and replace its weights")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help=f"of the training (default {EPOCHS})")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent, help="folder for the tables")
    options = parser.parse_args()
    if options.train:
        write_weights(train_network(options.epochs), heartbeat_network)
    torch.set_num_threads(1)
    rows = Rows(options.output / "heartbeats.json", table)
    rows.rows = []
    for test, X, truth, rate in conditions():
        for method, detector in METHODS.items():
            start = time.perf_counter()
            found = detector(X, rate)
            seconds = time.perf_counter() - start
            values: dict[str, Any] = {**score(found, truth, rate), "windows a second": len(X) / seconds}
            rows.add("", values, test=test, method=method)
            print(test, method, {name: round(value, 3) for name, value in values.items()})


if __name__ == "__main__":
    main()
