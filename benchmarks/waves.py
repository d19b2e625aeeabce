"""What the wave network sees on ECGs that it has not learned from; and its training.

Waves: the samples told to belong to P waves, QRS complexes and T waves, against LUDB's boundaries, on
the 50 records that took no part in the training, by all 12 leads and by II and V1 alone (Dice
coefficient: twice the samples in both, over the samples in either, counted twice where in both).
Premature beats: average precision with which its odds alone rank the annotated S and V beats of DS1
of MIT-BIH, from which the network has not learned (but what is composed was chosen by these scores),
among all beats; and how often it sees a P wave before the beats of each class. Writes ``waves.json``
and ``waves.md`` beside this file::

    python benchmarks/waves.py

``--train`` trains the network first and writes the weights into the package. It reads 150 records of LUDB:
the boundaries of their waves teach it waves, and of the waves themselves ECGs are composed that teach it
what premature beats look like, so that no annotated kind of a beat takes part.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import wfdb
from _tables import RATE, Rows, cell, markdown, windows
from heartbeats import LUDB_RATE, TRAINING_LUDB, filtered, ludb, read_ludb, transients, write_weights
from sklearn.metrics import average_precision_score
from torch.nn import functional
from tqdm.auto import tqdm

from skecgattn._aami import AAMI_CLASSES
from skecgattn._artefacts import made_up_noise
from skecgattn.beats import _wave_network
from skecgattn.beats._lead_network import RATE as NETWORK_RATE
from skecgattn.beats._lead_network import LeadNetwork, prepare_leads, read_leads
from skecgattn.beats._wave_network import DILATIONS, LONGEST_PR, OUTPUTS, see_waves
from skecgattn.preprocessing import bandpass, resample

STEPS, BATCH, LR = 4000, 32, 4e-3
LEADS = ("i", "ii", "iii", "avr", "avl", "avf", "v1", "v2", "v3", "v4", "v5", "v6")
SYMBOLS = "pNt"
"""Of LUDB's waves, as the network's first three outputs."""
PREMATURE = 3.0
"""Weight in the loss of whether a beat is premature, and from where; each wave has a weight of 1."""
FIRST, SECOND = (1,), (0, 6, 7, 10)
"""Leads like those of Holter recorders, of which six tenths of the pairs are made; the rest are random."""
COMPOSED = 0.75
"""Share of the ECGs that are composed."""
SLOWEST, FASTEST = 0.3, 0.25
"""Largest logarithms of how much slower or faster an ECG is shown."""
RATIO = (6.0, 30.0)
"""Bounds of the signal-to-noise ratio in dB."""
CLEAN, SILENT, TURNED, INTERRUPTED = 0.25, 0.15, 0.15, 0.2
"""Shares of ECGs without noise, with one lead silent, of leads upside down, of ECGs with gaps."""
LENGTH = 900
"""Samples of an ECG."""
NEAR = 4
"""Samples around an R peak in which a kind is told."""
UNKNOWN = -1.0
"""Target where nothing is to be learned."""
AFTER_GAP = 1.3
"""Seconds after a gap in which nobody knows whether a beat is early."""
RHYTHMS = {
    "sinus rhythm": 0.1,
    "sinus arrhythmia": 0.08,
    "blocked beats": 0.05,
    "premature beats": 0.2,
    "bigeminy": 0.05,
    "runs": 0.18,
    "runs and pauses": 0.08,
    "atrial fibrillation": 0.19,
    "atrial flutter": 0.04,
    "junctional rhythm": 0.03,
}
"""How often each is composed."""
DRAWN = 0.5
"""Share of the ventricular beats that are drawn of bumps."""
BLENDED = 0.25
"""Share of the ventricular beats that are mixed with a normal one."""
BLOCK, ABERRANT = 0.15, 0.1
"""Shares of the composed ECGs of which all beats, or those premature from the atria, end late and slurred."""
VENTRICULAR = 0.6
"""Share of the composed ECGs with premature beats from the ventricles among the others."""
USUAL_LEADS = ("II and V1", [1, 6])


class Beat(NamedTuple):
    """The waves of a beat in all leads, each without the line between its ends."""

    complexes: np.ndarray
    """QRS complex and T wave (12, n)."""
    peak: int
    """Sample of the R peak among them."""
    qrs: tuple[int, int]
    t: tuple[int, int]
    p: np.ndarray | None
    """P wave (12, n), None without one."""
    pr: int
    """Samples from its first one to the R peak."""


class Recording(NamedTuple):
    """A record of LUDB at the network's rate."""

    leads: np.ndarray
    """(12, T)."""
    target: np.ndarray
    """Of each output (5, T): share of the leads with such a wave, UNKNOWN where nothing is annotated."""
    beats: list[Beat]


def level(wave: np.ndarray) -> np.ndarray:
    """Take the line between their ends from waves (12, n)."""
    rise = np.linspace(0, 1, wave.shape[1])
    return wave - (wave[:, :1] + (wave[:, -1:] - wave[:, :1]) * rise)


def read_waves(name: int) -> list[np.ndarray]:
    """Return the annotated waves of each lead: rows of kind, start, peak and end at the network's rate."""
    path, folder = ludb(name)
    waves = []
    for lead in LEADS:
        marks = wfdb.rdann(path, lead, pn_dir=folder)
        places = marks.sample * (NETWORK_RATE / LUDB_RATE)
        rows = [
            (SYMBOLS.index(marks.symbol[k]), *places[k - 1 : k + 2])
            for k in range(1, len(places) - 1)
            if (marks.symbol[k - 1], marks.symbol[k + 1]) == ("(", ")") and marks.symbol[k] in SYMBOLS
        ]
        waves.append(np.array(rows))
    return waves


def agree(waves: Sequence[np.ndarray], kind: int, low: float, high: float, *, last: bool) -> tuple[int, ...]:
    """Return how many leads have a wave whose peak lies in some stretch, and its median start and end."""
    found = []
    for there in waves:
        inside = there[(there[:, 0] == kind) & (there[:, 2] >= low) & (there[:, 2] < high)]
        if len(inside):
            found.append(inside[-1 if last else 0])
    if not found:
        return 0, 0, 0
    start, end = np.median(np.array(found), axis=0)[[1, 3]]
    return len(found), int(start), int(np.ceil(end))


def cut_beats(leads: np.ndarray, waves: Sequence[np.ndarray]) -> list[Beat]:
    """Cut out the beats whose waves are annotated in some leads, II among them."""
    complexes = waves[LEADS.index("ii")]
    complexes = complexes[complexes[:, 0] == 1]
    beats = []
    for k, (_, start, peak, end) in enumerate(complexes):
        before = complexes[k - 1, 2] if k else peak - 90
        after = complexes[k + 1, 2] if k + 1 < len(complexes) else peak + 90
        n_t, t_start, t_end = agree(waves, 2, peak, min(peak + 60, after - 4), last=False)
        n_p, p_start, p_end = agree(waves, 0, max(before + 8, peak - 36), peak, last=True)
        first, here, stop = int(start - 2), round(peak), t_end + 3
        if n_t < 3 or first < 0 or stop > leads.shape[1]:
            continue
        has_p = n_p >= 4 and p_start >= 2
        beats.append(
            Beat(
                level(leads[:, first:stop]),
                here - first,
                (int(start) - first, int(end) - first + 1),
                (t_start - first, t_end - first),
                level(leads[:, p_start - 2 : p_end + 2]) if has_p else None,
                here - (p_start - 2),
            )
        )
    return beats


def read_recordings(names: range) -> list[Recording]:
    """Read records of LUDB."""
    rate = NETWORK_RATE
    X = resample(bandpass(read_ludb(names), LUDB_RATE, low=0.5, high=40.0), LUDB_RATE, rate)
    found = []
    for name, leads in zip(names, X):
        waves = read_waves(name)
        told = np.zeros((len(OUTPUTS), leads.shape[1]), dtype=np.float32)
        for there in waves:
            for kind, start, _, end in there:
                told[int(kind), int(start) : int(np.ceil(end)) + 1] += 1 / len(waves)
        first, last = (
            np.median([there[row, column] for there in waves]) for row, column in ((0, 1), (-1, 3))
        )
        told[:, : int(first)] = told[:, int(last) + 1 :] = told[3:] = UNKNOWN
        found.append(Recording(leads, told, cut_beats(leads, waves)))
    return found


class Composer:
    """Composes ECGs of the waves of recordings, of which it is known where each wave and each beat is."""

    def __init__(self, recordings: Sequence[Recording], rng: np.random.RandomState) -> None:
        self.rng = rng
        self.sources = [
            beats
            for beats in (recording.beats for recording in recordings)
            if len(beats) >= 4 and sum(beat.p is not None for beat in beats) > 0.8 * len(beats)
        ]
        self.foreign = [next(beat.p for beat in beats if beat.p is not None) for beats in self.sources]

    def pick(self, things: Sequence[Any]) -> Any:
        """Return one of some things."""
        return things[self.rng.randint(len(things))]

    def wander(self, length: int, every: int) -> np.ndarray:
        """Return random values of standard deviation 1 that change evenly between some times."""
        times = np.arange(0, length + every, every)
        return np.interp(np.arange(length), times, self.rng.standard_normal(len(times)))

    def stretched(self, beat: Beat) -> Beat:
        """Make a beat wide, its T wave opposite, and take its P wave."""
        rng, stop = self.rng, beat.qrs[1] + 2
        wider, later = rng.uniform(1.3, 2.6), rng.uniform(0.8, 1.2)
        parts = [stretch(beat.complexes[:, :stop], wider) * rng.uniform(0.8, 2)]
        parts.append(-stretch(beat.complexes[:, stop:], later) * rng.uniform(0.5, 2))
        waves = level(np.concatenate(parts, axis=1) * rng.choice([-1, 1], size=(len(LEADS), 1)))
        peak = int(np.abs(waves[:, : int(stop * wider)]).mean(axis=0).argmax())
        return Beat(waves, peak, (0, int(beat.qrs[1] * wider)), (0, 0), None, 0)

    def drawn(self, beat: Beat) -> Beat:
        """Draw a wide beat of a few bumps, as large as another one, its T wave mostly opposite."""
        rng, rate = self.rng, NETWORK_RATE
        width = rng.uniform(0.11, 0.22) * rate
        end = width + rng.uniform(0.2, 0.34) * rate
        times = np.arange(round(end) + 4) - 2.0
        size = np.median(np.ptp(beat.complexes, axis=1)) * rng.uniform(0.6, 2.2)
        axis = rng.standard_normal((len(LEADS), 1))
        waves = np.zeros((len(LEADS), len(times)))
        for _ in range(rng.randint(1, 4)):
            middle, spread = width * rng.uniform(0.25, 0.75), width * rng.uniform(0.12, 0.25)
            here = axis + rng.uniform(0, 1.2) * rng.standard_normal((len(LEADS), 1))
            waves += here * np.exp(-0.5 * ((times - middle) / spread) ** 2)
        waves *= size / np.median(np.ptp(waves, axis=1))
        area = np.sign(waves.sum(axis=1, keepdims=True))
        top, late = end * rng.uniform(0.6, 0.8), end * rng.uniform(0.1, 0.18)
        opposite = np.where(rng.uniform(size=area.shape) < 0.85, -area, area)
        t_wave = np.exp(-0.5 * ((times - top) / np.where(times < top, 1.3 * late, late)) ** 2)
        waves += opposite * size * rng.uniform(0.1, 0.6) * rng.uniform(0.5, 1, size=area.shape) * t_wave
        peak = int(np.abs(waves[:, : int(width) + 2]).mean(axis=0).argmax())
        return Beat(level(waves), peak, (2, round(width) + 2), (0, 0), None, 0)

    def ventricular(self, source: list[Beat]) -> Beat:
        """Make a beat from the ventricles: of the ECG's beats, of another one's, or drawn."""
        beat = self.pick(source)
        how = self.rng.uniform()
        if how < DRAWN:
            made = self.drawn(beat)
        else:
            made = self.stretched(beat if how < (1 + DRAWN) / 2 else self.pick(self.pick(self.sources)))
        return self.blend(made, beat) if self.rng.uniform() < BLENDED else made

    def blend(self, wide: Beat, beat: Beat) -> Beat:
        """Mix a wide beat with one of the ECG's own."""
        share = self.rng.uniform(0.4, 0.85)
        waves = share * wide.complexes
        shift = wide.peak - beat.peak
        first, last = max(shift, 0), min(shift + beat.complexes.shape[1], waves.shape[1])
        if last > first:
            waves[:, first:last] += (1 - share) * beat.complexes[:, first - shift : last - shift]
        return wide._replace(complexes=level(waves))

    def bend(self, beat: Beat) -> Callable[[Beat], Beat]:
        """Return what makes the end of QRS complexes late and slurred, as a bundle branch block does."""
        rng = self.rng
        size = np.ptp(beat.complexes, axis=1)[:, None] * rng.uniform(0.15, 0.6)
        size *= rng.choice([-1, 1], size=(len(LEADS), 1)) * rng.uniform(0.3, 1, size=(len(LEADS), 1))
        later, spread, opposite = rng.uniform(0, 3), rng.uniform(1.5, 3), rng.uniform(0, 0.5)

        def bent(beat: Beat) -> Beat:
            first, last = beat.qrs
            times = np.arange(beat.complexes.shape[1])
            bump = np.exp(-0.5 * ((times - last - later) / spread) ** 2)
            top, late = np.mean(beat.t), max(3.0, (beat.t[1] - beat.t[0]) / 5)
            bump -= opposite * np.exp(-0.5 * ((times - top) / late) ** 2)
            waves = level(beat.complexes + size * bump)
            return beat._replace(complexes=waves, qrs=(first, min(last + 4, len(times))))

        return bent

    def kinds(self, rhythm: str) -> Iterator[tuple[str, float]]:
        """Yield without end the kind of the next beat, and the interval before it over that of the sinus."""
        rng = self.rng
        often, share, runs = rng.uniform(0.04, 0.4), rng.uniform(0.1, 0.35), rhythm == "runs and pauses"
        normal = ("N", 1.0)
        conduction = rng.randint(2, 5)
        while True:
            if rhythm == "atrial fibrillation":
                yield "N", np.exp(share * rng.standard_normal())
            elif rhythm == "atrial flutter":
                yield "N", (conduction if rng.uniform() < 1 - often else rng.randint(2, 6)) / conduction
            elif rhythm == "blocked beats" and rng.uniform() < often:
                yield "P", 1.0 if rng.uniform() < 0.6 else rng.uniform(0.5, 0.8)
                yield "N", rng.uniform(0.9, 1.1)
            elif rhythm == "sinus arrhythmia":
                yield "N", rng.uniform(1.4, 2.4) if rng.uniform() < 0.04 else 1.0
            elif rhythm == "premature beats" and rng.uniform() < often:
                yield "S", rng.uniform(0.5, 0.88)
                yield "N", rng.uniform(0.95, 1.35)
            elif rhythm == "bigeminy":
                yield "S", rng.uniform(0.55, 0.8)
                yield "N", rng.uniform(1, 1.35)
            elif rhythm.startswith("runs"):
                yield from itertools.repeat(normal, rng.randint(0, 2 if runs else 8))
                fast = rng.uniform(0.45, 0.88)
                for _ in range(rng.randint(1, 15 if runs else 12)):
                    yield "S", fast * np.exp(0.03 * rng.standard_normal())
                yield "N", rng.uniform(1, 2.4) if runs else rng.uniform(0.95, 1.3)
            else:
                yield normal

    def beats(self, rhythm: str) -> Iterator[tuple[str, float]]:
        """Yield the kinds and intervals of a rhythm, with beats from the ventricles among them."""
        rng = self.rng
        often = rng.uniform(0.03, 0.5) if rng.uniform() < VENTRICULAR else 0.0
        earliest, latest = (0.8, 1.1) if rng.uniform() < 0.25 else (0.45, 0.9)
        again = rng.uniform(0, 0.7) if rng.uniform() < 0.3 else 0.0
        for kind, interval in self.kinds(rhythm):
            if kind == "N" and rng.uniform() < often:
                early = rng.uniform(earliest, latest)
                yield "V", early
                fast = rng.uniform(0.4, 0.8)
                while rng.uniform() < again:
                    yield "V", fast * np.exp(0.05 * rng.standard_normal())
                # until the next beat of the sinus, or a little after a short pause
                yield "N", 2 - early if rng.uniform() < 0.5 else interval * rng.uniform(1, 1.5)
            else:
                yield kind, interval

    def compose(self) -> tuple[np.ndarray, np.ndarray]:
        """Return leads (12, LENGTH), and the target of each output (5, LENGTH)."""
        rng, length = self.rng, LENGTH + 400
        leads, told = np.zeros((len(LEADS), length)), np.zeros((len(OUTPUTS), length), dtype=np.float32)
        told[3:] = UNKNOWN
        rhythm = rng.choice(list(RHYTHMS), p=list(RHYTHMS.values()))
        flutters = rhythm == "atrial flutter"
        without_p = rhythm in ("atrial fibrillation", "junctional rhythm") or flutters
        source = self.pick(self.sources)
        if rng.uniform() < BLOCK:
            bend = self.bend(self.pick(source))
            source = [bend(beat) for beat in source]
        with_p = [beat for beat in source if beat.p is not None]
        wide = [self.ventricular(source) for _ in range(1 if rng.uniform() < 0.75 else 2)]
        bend = self.bend(self.pick(source))
        bent = bend(self.pick(source)) if rng.uniform() < ABERRANT else None
        sinus, spread = rng.uniform(48, 118), rng.uniform(0.01, 0.06)
        breath = np.zeros(length)
        if rhythm == "sinus arrhythmia":
            turns = np.arange(length) / rng.uniform(250, 600) + rng.uniform()
            breath = rng.uniform(0.08, 0.25) * np.sin(2 * np.pi * turns)
        breathing = 1 + rng.uniform(0, 0.15) * np.sin(
            np.arange(length) / rng.uniform(30, 90) + rng.uniform(0, 6)
        )
        origin = rng.choice(["elsewhere", "sinus", "hidden"], p=[0.64, 0.2, 0.16])
        early_p = self.pick(self.foreign) * rng.choice([-1, 1], p=[0.35, 0.65])
        early_pr = rng.uniform(0.7, 1.25)
        delay = rng.uniform(1, 1.6) if rng.uniform() < 0.2 else 1.0
        place = rng.uniform(0, 60)
        for kind, interval in self.beats(rhythm):
            varied = interval * (1 + breath[int(place)]) * np.exp(spread * rng.standard_normal())
            previous = place
            place += max(sinus * varied, 28 if kind == "V" else 24)
            if place >= length - 60:
                break
            beat, peak = self.pick(wide if kind == "V" else source), round(place)
            if kind == "S" and bent is not None:
                beat = bent
            first = peak - beat.peak
            if first < 0 or first + beat.complexes.shape[1] > length:
                continue
            if kind != "P":
                size = breathing[peak] * np.exp(0.03 * rng.standard_normal())
                leads[:, first : first + beat.complexes.shape[1]] += size * beat.complexes
                told[1, first + beat.qrs[0] : first + beat.qrs[1]] = 1
                told[2, first + beat.t[0] : first + beat.t[1]] = 1
                near = slice(max(0, peak - NEAR), peak + NEAR + 1)
                told[3, near], told[4, near] = kind == "S", kind == "V"
            if without_p or (kind == "S" and origin == "hidden"):
                continue
            whose = self.pick(with_p)
            foreign = kind == "S" and origin == "elsewhere"
            wave = early_p if foreign else whose.p
            begin = peak - round(whose.pr * (early_pr if kind == "S" else delay))
            if kind == "V":
                # the sinus goes on: its P wave may show before a late beat
                begin = round(previous + sinus) - round(whose.pr * delay)
                if begin + wave.shape[1] > first + 2:
                    continue
            if begin >= 0 and begin + wave.shape[1] < peak:
                leads[:, begin : begin + wave.shape[1]] += wave
                told[0, begin + 2 : begin + wave.shape[1] - 2] = 1
        if rhythm == "atrial fibrillation":
            turns = np.cumsum(rng.uniform(4, 8) + 0.8 * self.wander(length, 40)) / NETWORK_RATE
            waves = np.sin(2 * np.pi * turns) + 0.4 * np.sin(4 * np.pi * turns + 1)
            waves *= np.exp(0.4 * self.wander(length, 60))
            leads += waves * rng.uniform(0, 0.1) * rng.standard_normal((len(LEADS), 1))
        elif flutters:
            turns = np.cumsum(rng.uniform(3.6, 5.5) + 0.05 * self.wander(length, 90)) / NETWORK_RATE
            waves = np.sin(2 * np.pi * turns) + 0.4 * np.sin(4 * np.pi * turns + rng.uniform(0, 6))
            leads += waves * rng.uniform(0.03, 0.15) * rng.standard_normal((len(LEADS), 1))
        begin = rng.randint(100, 300)
        return leads[:, begin : begin + LENGTH], told[:, begin : begin + LENGTH]


def stretch(waves: np.ndarray, factor: float) -> np.ndarray:
    """Stretch waves (12, n) in time."""
    times = np.linspace(0, waves.shape[1] - 1, max(4, int(waves.shape[1] * factor)))
    return np.stack([np.interp(times, np.arange(waves.shape[1]), wave) for wave in waves])


def interrupt(leads: np.ndarray, told: np.ndarray, rng: np.random.RandomState) -> None:
    """Replace stretches of all leads by what they begin with, or by a line."""
    for _ in range(rng.randint(1, 4)):
        size = rng.randint(27, 180)
        start = rng.randint(leads.shape[1] - size)
        end = (
            leads[:, start + size - 1 : start + size] if rng.uniform() < 0.5 else leads[:, start : start + 1]
        )
        begin = leads[:, start : start + 1].copy()
        leads[:, start : start + size] = begin + (end - begin) * np.linspace(0, 1, size)
        told[:3, start : start + size] = 0
        told[3:, start : start + size] = UNKNOWN
        told[3, start + size : start + size + round(AFTER_GAP * NETWORK_RATE)] = UNKNOWN


def draw(
    recordings: Sequence[Recording], composer: Composer, rng: np.random.RandomState
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return two leads each of a batch of ECGs (B, 2, T) as the network reads them, and targets (B, 5, T)."""
    part = rng.randint(600, LENGTH + 1)
    x, targets = np.empty((BATCH, 2, part)), np.empty((BATCH, len(OUTPUTS), part), dtype=np.float32)
    for row in range(BATCH):
        if rng.uniform() < COMPOSED:
            leads, told = composer.compose()
        else:
            leads, told, _ = recordings[rng.randint(len(recordings))]
        pair = [
            usual[rng.randint(len(usual))] if rng.uniform() < 0.6 else rng.randint(len(LEADS))
            for usual in (FIRST, SECOND)
        ]
        speed = np.exp(rng.uniform(-SLOWEST, FASTEST))
        times = np.arange(int(leads.shape[1] / speed)) * speed
        leads = np.stack([np.interp(times, np.arange(leads.shape[1]), lead) for lead in leads[pair]])
        told = told[:, np.minimum(np.rint(times).astype(int), told.shape[1] - 1)]
        missing = max(0, part - leads.shape[1])
        leads = np.pad(leads, ((0, 0), (0, missing)), mode="edge")
        told = np.pad(told, ((0, 0), (0, missing)), constant_values=UNKNOWN)
        begin = rng.randint(leads.shape[1] - part + 1)
        x[row], targets[row] = leads[:, begin : begin + part], told[:, begin : begin + part]
    noise = (made_up_noise, transients)[rng.randint(2)](x.shape, NETWORK_RATE, rng)
    size = np.sqrt(10 ** (-rng.uniform(*RATIO, size=(BATCH, 1, 1)) / 10) / 8)
    size[rng.uniform(size=BATCH) < CLEAN] = 0
    x += noise * size * np.ptp(x, axis=2, keepdims=True)
    x *= rng.choice([-1, 1], p=[TURNED, 1 - TURNED], size=(BATCH, 2, 1))
    for row in np.flatnonzero(rng.uniform(size=BATCH) < INTERRUPTED):
        interrupt(x[row], targets[row], rng)
    x[rng.uniform(size=BATCH) < SILENT, rng.randint(2)] = 0
    return torch.from_numpy(prepare_leads(x, NETWORK_RATE)), torch.from_numpy(targets)


def losses(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return the loss of each wave, and of which of the two kinds a beat is, if either; (4,)."""
    waves, told = logits[:, :3], target[:, :3]
    each = functional.binary_cross_entropy_with_logits(waves, told.clamp(min=0), reduction="none")
    known = told >= 0
    found = list((each * known).sum(dim=(0, 2)) / known.sum(dim=(0, 2)).clamp(min=1))
    atria, ventricles = (target[:, k] > 0.5 for k in (3, 4))
    # who does not know whether a beat is early still knows a beat from the ventricles
    known = (target[:, 3:] >= 0).all(dim=1) | ventricles
    kinds = torch.cat([torch.zeros_like(logits[:, :1]), logits[:, 3:]], dim=1)
    each = functional.cross_entropy(kinds, torch.where(ventricles, 2, atria.long()), reduction="none")
    return torch.stack([*found, (each * known).sum() / known.sum().clamp(min=1)])


def train_network(steps: int, seed: int = 0) -> LeadNetwork:
    """Return a network that has learned from LUDB and what is composed of it."""
    recordings = read_recordings(range(1, TRAINING_LUDB + 1))
    rng = np.random.RandomState(seed)
    composer = Composer(recordings, rng)
    torch.manual_seed(seed)
    network = LeadNetwork(len(OUTPUTS), DILATIONS, normalise=True)
    torch.nn.init.constant_(network.head.bias, -2.0)
    optimizer = torch.optim.AdamW(network.parameters(), lr=LR, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=LR, total_steps=steps, pct_start=0.2)
    shown = torch.zeros(4)
    for step in (bar := tqdm(range(1, steps + 1), desc="steps")):
        x, target = draw(recordings, composer, rng)
        each = losses(network(x), target)
        optimizer.zero_grad()
        (each[:3].sum() + PREMATURE * each[3]).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        schedule.step()
        shown += (each.detach() - shown) / min(step, 100)
        if step % 100 == 0:
            names = (*OUTPUTS[:3], "kinds")
            bar.set_postfix_str(", ".join(f"{name} {loss:.3f}" for name, loss in zip(names, shown.tolist())))
    return network.eval().fold()


def waves_of_ludb() -> Iterator[dict[str, Any]]:
    """Yield how well waves are told in the records that took no part in the training."""
    recordings = read_recordings(range(TRAINING_LUDB + 1, 201))
    X = np.stack([recording.leads for recording in recordings])
    truth = np.stack([recording.target for recording in recordings])
    for leads, chosen in (("all 12", list(range(len(LEADS)))), USUAL_LEADS):
        network = _wave_network.trained_network()
        seen = np.stack(list(read_leads(network, prepare_leads(X[:, chosen], NETWORK_RATE))))
        for kind, wave in enumerate(OUTPUTS[:3]):
            known = truth[:, kind] >= 0
            here, told = truth[:, kind][known] > 0.5, seen[:, kind][known] > 0
            yield {
                "what": wave,
                "of": f"LUDB, {leads}",
                "Dice": 2 * (here & told).sum() / (here.sum() + told.sum()),
            }


def beats_of_mitbih() -> Iterator[dict[str, Any]]:
    """Yield how the annotated beats of DS1 look to the network."""
    X, _, _, beats = windows("ds1", None)
    symbols = {symbol: name for name, members in AAMI_CLASSES.items() for symbol in members}
    truth = np.concatenate([[symbols[symbol] for symbol in there["symbol"]] for there in beats])
    parts = []
    for start in range(0, len(X), 256):
        block = slice(start, start + 256)
        places = [there["sample"] // 2 for there in beats[block]]
        for seen, here in zip(see_waves(filtered(X[block], RATE), places, RATE / 2), places):
            known = here >= LONGEST_PR * RATE / 2
            parts.append(np.stack([seen.p_wave, seen.supraventricular, seen.ventricular, known]))
    p_wave, *premature, known = np.concatenate(parts, axis=1)
    for label, score in zip(("S", "V"), premature):
        yield {
            "what": f"premature beats, {label}",
            "of": "DS1",
            "average precision": average_precision_score(truth == label, score),
            "their share": (truth == label).mean(),
        }
    for label in ("N", "S", "V"):
        share = (p_wave[(truth == label) & (known > 0)] > 0.5).mean()
        yield {"what": f"P wave before beats, {label}", "of": "DS1", "share with P wave": share}


def table(rows: Rows) -> str:
    """Return the results as Markdown."""
    names = ("Dice", "average precision", "their share", "share with P wave")
    body = [
        [row["what"], row["of"], *(cell([row], name) if name in row else "" for name in names)]
        for row in rows.rows
    ]
    return "\n".join([*markdown(["what", "of", *names], body), ""])


def main() -> None:
    """Train the network if asked to, and tell what it sees."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--train", action="store_true", help="train the network and replace its weights")
    parser.add_argument("--steps", type=int, default=STEPS, help=f"of the training (default {STEPS})")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent, help="folder for the tables")
    options = parser.parse_args()
    if options.train:
        write_weights(train_network(options.steps), _wave_network)
    torch.set_num_threads(1)
    rows = Rows(options.output / "waves.json", table)
    rows.rows = []
    for found in itertools.chain(waves_of_ludb(), beats_of_mitbih()):
        what, of = found.pop("what"), found.pop("of")
        rows.add("", found, what=what, of=of)
        print(what, of, {name: round(float(value), 3) for name, value in found.items()})


if __name__ == "__main__":
    main()
