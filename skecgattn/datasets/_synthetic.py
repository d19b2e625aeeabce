"""Synthetic ECG of virtual patients, with sinus beats, premature beats, noise, and the truth about it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from sklearn.utils import Bunch
from sklearn.utils._param_validation import Interval, StrOptions, validate_params

from skecgattn.datasets._windows import BEAT, make_windows

POSITIVE = Interval(Real, 0, None, closed="neither")
NOT_NEGATIVE = Interval(Real, 0, None, closed="left")
SHARE = Interval(Real, 0, 1, closed="both")

# Leads as seen by the dipole (x to the left, y to the feet, z to the back): Dower's matrix.
DOWER = {
    "II": (0.235, 1.066, -0.132),
    "V1": (-0.515, 0.157, -0.917),
    "V5": (1.125, 0.127, -0.086),
    "V2": (0.044, 0.164, -1.387),
    "V3": (0.882, 0.098, -1.277),
    "V4": (1.213, 0.127, -0.601),
    "V6": (0.831, 0.076, 0.230),
    "I": (0.632, -0.235, 0.059),
    "III": (-0.397, 1.301, -0.191),
    "aVR": (-0.4335, -0.4155, 0.0365),
    "aVL": (0.5145, -0.768, 0.125),
    "aVF": (-0.081, 1.1835, -0.1615),
}
TWELVE_LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
SUPPORT = (-0.45, 0.75)  # seconds around an R peak that a beat can reach, at 60 beats a minute
REFRACTORY = 0.22  # seconds after a beat, in which the ventricles do not beat again
ECTOPIC_SHARE = 0.15  # of the beats in a window that has premature beats of a kind


@dataclass(frozen=True)
class _Morphology:
    """The events of a beat at 60 beats a minute: Gaussian pulses of the dipole around the R peak."""

    times: np.ndarray  # (n_events,), seconds
    widths: np.ndarray  # (n_events,), seconds, standard deviation
    dipoles: np.ndarray  # (n_events, 3), mV
    stretched: np.ndarray  # (n_events,), bool: whether the event moves with the heart rate, as P and T do

    @classmethod
    def of(cls, *events: tuple[float, float, tuple[float, float, float], bool]) -> Self:
        return cls(*(np.array(column) for column in zip(*events)))

    def waves(self, time: np.ndarray, stretch: float) -> np.ndarray:
        """Return the dipole, shape (3, n_timesteps), at times in seconds from the R peak."""
        factor = np.where(self.stretched, stretch, 1.0)
        phase = (time - (self.times * factor)[:, None]) / (self.widths * factor)[:, None]
        return self.dipoles.T @ np.exp(-0.5 * phase**2)


P_WAVE = (-0.165, 0.022, (0.05, 0.11, -0.03), True)
SINUS = _Morphology.of(
    P_WAVE,
    (-0.026, 0.008, (-0.08, -0.04, -0.20), False),  # septum, to the right and to the front
    (0.0, 0.011, (0.95, 0.85, 0.45), False),
    (0.028, 0.010, (-0.10, -0.18, 0.30), False),  # base, to the back
    (0.24, 0.055, (0.12, 0.12, -0.10), True),
    (0.29, 0.035, (0.14, 0.13, -0.08), True),
)
PVC_WAVES = ((-0.032, 0.018, 0.5), (0.0, 0.018, 1.0), (0.045, 0.022, 0.6))  # time, width, relative size
PVC_T_WAVE = (0.30, 0.06, -0.35)


@dataclass(frozen=True)
class _Patient:
    """What stays the same in all ECGs of one virtual patient."""

    name: str
    heart_rate: float
    shapes: dict[str, _Morphology]
    coupling: dict[str, float]  # interval before a premature beat, in units of the sinus interval
    leads: np.ndarray  # (n_leads, 3)


@validate_params(
    {
        "n_samples": [Interval(Integral, 1, None, closed="left")],
        "n_leads": [Interval(Integral, 1, None, closed="left")],
        "sampling_rate": [POSITIVE],
        "duration": [POSITIVE],
        "n_patients": [Interval(Integral, 1, None, closed="left"), None],
        "heart_rate": [Interval(Real, 20, 300, closed="both"), tuple],
        "pvc": [SHARE],
        "pac": [SHARE],
        "baseline_wander": [NOT_NEGATIVE],
        "mains": [NOT_NEGATIVE],
        "mains_frequency": [POSITIVE],
        "muscle": [NOT_NEGATIVE],
        "label": [StrOptions({"multilabel", "frequent"}), callable],
        "classes": ["array-like"],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def make_ecg(
    n_samples: int = 100,
    *,
    n_leads: int = 2,
    sampling_rate: float = 360.0,
    duration: float = 10.0,
    n_patients: int | None = None,
    heart_rate: float | tuple[float, float] = (55.0, 95.0),
    pvc: float = 0.4,
    pac: float = 0.3,
    baseline_wander: float = 0.1,
    mains: float = 0.01,
    mains_frequency: float = 50.0,
    muscle: float = 0.02,
    label: str | Callable[[np.ndarray], Any] = "multilabel",
    classes: Sequence[str] = ("S", "V"),
    random_state: int | np.random.RandomState | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Make synthetic ECG with premature beats, in the form of :func:`make_windows`.

    The dynamical model of McSharry et al. [1]_ with the heart as a dipole, as in Sameni et al. [2]_: each
    beat runs round the limit cycle, and P, Q, R, S and T are Gaussian events that push the dipole on its way.
    Without their restoring term these equations have an exact solution, a sum of Gaussians, which is used
    here instead of a numerical integration. As in Clifford et al. [3]_ every beat has a phase and a shape of
    its own, so a pause does not stretch the beat before it. Dower's matrix [4]_ turns the dipole into leads.

    - Sinus beats ("N") follow a tachogram with power around 0.1 Hz and, from breathing, 0.25 Hz, as in [1]_.
      Breathing also changes the size of the beats and moves the baseline.
    - Premature atrial beats ("A") come early, with the QRS and T of a sinus beat and a P wave from another
      focus. They reset the sinus node: the pause after them does not compensate.
    - Premature ventricular beats ("V") come early, wide, without a P wave, with a T wave against the QRS.
      The sinus beat after them comes when it would have come without them: a compensatory pause.

    Two premature beats never follow each other, and at fast rates they come no sooner than the refractory
    period of 0.22 s allows, as long as that is early at all.

    Parameters
    ----------
    n_samples : int, default=100
        Number of ECGs.

    n_leads : int, default=2
        Number of leads: the first of II, V1, V5, V2, V3, V4, V6, I, III, aVR, aVL, aVF; for 12, these in the
        standard order I to V6; beyond 12, leads from random directions follow, the same in all patients.

    sampling_rate : float, default=360.0
        Samples a second (Hz).

    duration : float, default=10.0
        Length of each ECG in seconds.

    n_patients : int, default=None
        Number of virtual patients. The ECGs of a patient follow each other and share heart rate, axis, shape
        of the beats and coupling of the premature ones. None is one patient for every ten ECGs.

    heart_rate : float or tuple (low, high), default=(55.0, 95.0)
        Mean sinus rate in beats a minute, of all patients or the range that theirs are drawn from, 20 to 300.

    pvc, pac : float, default=0.4, 0.3
        Probability that an ECG has premature ventricular, or premature atrial, beats; drawn independently.
        An ECG that has them has at least one, as far as it is long enough, and about 15% of its beats.

    baseline_wander, mains, muscle : float, default=0.1, 0.01, 0.02
        Root mean square, in mV, of three kinds of noise: breathing and electrode drift below 0.5 Hz; the
        interference of the mains; muscle activity, mainly above 20 Hz.

    mains_frequency : float, default=50.0
        Frequency of the mains in Hz. From half the sampling rate on there is no such interference, as behind
        a recorder's anti-aliasing filter.

    label : {"multilabel", "frequent"} or callable, default="multilabel"
        How an ECG gets its label, as in :func:`make_windows`.

    classes : sequence of str, default=("S", "V")
        AAMI classes that the label tells apart, as in :func:`make_windows`.

    random_state : int, RandomState instance or None, default=None
        The seed. An int gives the same ECGs in every call. numpy's global generator is never touched.

    Returns
    -------
    X : ndarray of shape (n_samples, n_leads, n_timesteps), float32
        The ECGs in mV.

    y : ndarray of shape (n_samples, n_classes) or (n_samples,)
        Indicator matrix for "multilabel", else labels. It follows from `beats`.

    groups : ndarray of shape (n_samples,), str
        Virtual patient of each ECG.

    beats : object ndarray of shape (n_samples,)
        The truth: for each ECG a structured array with ``sample`` (int64, the R peak) and ``symbol`` ("N",
        "A" or "V").

    Raises
    ------
    ValueError
        If `heart_rate` is no rising pair within 20 to 300, or `duration` shorter than one sample.

    See Also
    --------
    fetch_mitbih : Real ECG.

    References
    ----------
    .. [1] P. E. McSharry, G. D. Clifford, L. Tarassenko and L. A. Smith, "A dynamical model for generating
       synthetic electrocardiogram signals", IEEE Trans. Biomedical Engineering 50(3), 289-294, 2003.
    .. [2] R. Sameni, G. D. Clifford, C. Jutten and M. B. Shamsollahi, "Multichannel ECG and noise modeling:
       application to maternal and fetal ECG signals", EURASIP J. Advances in Signal Processing, 2007.
    .. [3] G. D. Clifford, S. Nemati and R. Sameni, "An artificial vector model for generating abnormal
       electrocardiographic rhythms", Physiological Measurement 31(5), 595-609, 2010.
    .. [4] G. E. Dower, H. B. Machado and J. A. Osborne, "On deriving the electrocardiogram from
       vectorcardiographic leads", Clinical Cardiology 3(2), 87-95, 1980.

    Examples
    --------
    >>> from skecgattn.datasets import make_ecg
    >>> X, y, groups, beats = make_ecg(n_samples=20, random_state=0)
    >>> X.shape, y.shape
    ((20, 2, 3600), (20, 2))
    >>> beats[0].dtype.names
    ('sample', 'symbol')
    """
    low, high = _rate_range(heart_rate)
    length = round(duration * sampling_rate)
    if length < 1:
        raise ValueError(f"duration={duration} s is less than one sample at {sampling_rate:g} Hz.")
    rng = _generator(random_state)
    directions = _lead_directions(n_leads, rng)
    patient_count = n_patients or -(-n_samples // 10)
    patients = [
        _draw_patient(str(number), rng.uniform(low, high), directions, rng) for number in range(patient_count)
    ]
    amplitudes = {"baseline_wander": baseline_wander, "mains": mains, "muscle": muscle}
    records = []
    for sample in range(n_samples):
        patient = patients[sample * patient_count // n_samples]
        times, symbols = _rhythm(patient, length / sampling_rate, rng, pvc=pvc, pac=pac)
        breathing = rng.uniform(0.2, 0.3), rng.uniform(0, 2 * np.pi)  # frequency and phase
        signal = _clean_ecg(patient, times, symbols, breathing, length, sampling_rate, rng)
        signal += _noise(n_leads, length, sampling_rate, mains_frequency, breathing, rng, **amplitudes)
        peaks = np.round(times * sampling_rate).astype(np.int64)
        inside = (peaks >= 0) & (peaks < length)
        annotations = np.empty(inside.sum(), dtype=BEAT)
        annotations["sample"], annotations["symbol"] = peaks[inside], symbols[inside]
        records.append(
            Bunch(
                name=str(sample),
                patient=patient.name,
                signal=signal.astype(np.float32),
                sampling_rate=sampling_rate,
                annotations=annotations,
            )
        )
    return make_windows(records, window=length / sampling_rate, label=label, classes=classes)


def _rate_range(heart_rate: float | tuple[float, float]) -> tuple[float, float]:
    pair = heart_rate if isinstance(heart_rate, tuple) else (heart_rate, heart_rate)
    if len(pair) != 2 or not 20 <= pair[0] <= pair[1] <= 300:
        raise ValueError(
            f"heart_rate must be a number or a pair (low, high) within 20 to 300 beats a minute, got "
            f"{heart_rate}."
        )
    return pair


def _generator(random_state: int | np.random.RandomState | None) -> np.random.Generator:
    """Return our own generator: check_random_state(None) would draw from numpy's global one."""
    if isinstance(random_state, np.random.RandomState):
        return np.random.default_rng(random_state.randint(2**31 - 1))
    return np.random.default_rng(random_state)


def _lead_directions(n_leads: int, rng: np.random.Generator) -> np.ndarray:
    names = TWELVE_LEADS if n_leads >= 12 else list(DOWER)[:n_leads]
    directions = np.array([DOWER[name] for name in names])
    extra = rng.normal(size=(n_leads - len(names), 3))
    return np.concatenate([directions, extra / np.linalg.norm(extra, axis=1, keepdims=True)])


def _draw_patient(name: str, heart_rate: float, directions: np.ndarray, rng: np.random.Generator) -> _Patient:
    """Vary the axis, size and width of the waves, and draw where the premature beats come from."""
    turn = _rotation(rng.normal(scale=0.2, size=3))
    sinus = _Morphology(
        times=SINUS.times * rng.normal(1, 0.04, size=len(SINUS.times)),
        widths=SINUS.widths * rng.normal(1, 0.06, size=len(SINUS.widths)),
        dipoles=SINUS.dipoles * rng.lognormal(0, 0.15, size=(len(SINUS.dipoles), 1)) @ turn.T,
        stretched=SINUS.stretched,
    )
    focus = np.linalg.norm(P_WAVE[2]) * _unit(rng.normal(size=3))
    pac = replace(
        sinus,
        times=np.concatenate([[sinus.times[0] * rng.uniform(0.7, 0.95)], sinus.times[1:]]),
        dipoles=np.concatenate([focus[None], sinus.dipoles[1:]]),
    )
    # Towards the feet or the head enough to be seen in lead II, where one lead is all there is.
    axis = _unit(
        np.array([rng.uniform(-1, 1), rng.choice([-1, 1]) * rng.uniform(0.6, 1), rng.uniform(-1, 1)])
    )
    axis *= rng.uniform(1.2, 2.0)
    width = rng.uniform(0.9, 1.2)
    waves = *((*wave, False) for wave in PVC_WAVES), (*PVC_T_WAVE, True)
    pvc = _Morphology.of(*((width * t, width * w, tuple(size * axis), s) for t, w, size, s in waves))
    # The vector turns while the excitation spreads from muscle to muscle.
    pvc.dipoles[[0, 2]] += 0.25 * np.linalg.norm(axis) * rng.normal(size=(2, 3)) / np.sqrt(3)
    return _Patient(
        name=name,
        heart_rate=heart_rate,
        shapes={"N": sinus, "A": pac, "V": pvc},
        coupling={"A": rng.uniform(0.6, 0.75), "V": rng.uniform(0.55, 0.7)},
        leads=directions,
    )


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


def _rotation(vector: np.ndarray) -> np.ndarray:
    """Return the rotation about a vector by its length in radians (Rodrigues)."""
    angle = np.linalg.norm(vector)
    x, y, z = vector / angle
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def _rhythm(
    patient: _Patient, duration: float, rng: np.random.Generator, *, pvc: float, pac: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return R peak times in seconds and symbols of all beats that reach into the ECG."""
    mean = 60 / patient.heart_rate
    count = int((duration + 3) / (0.6 * mean)) + 8  # enough even if every second beat is premature
    start = SUPPORT[0] - mean * rng.uniform(1, 2)
    sinus = mean * _tachogram(start + mean * np.arange(count), rng)

    symbols = np.full(count, "N", dtype="U4")
    expected = start + np.cumsum(sinus)
    inside = np.flatnonzero((expected > 0) & (expected < duration))
    present = [symbol for symbol, share in (("V", pvc), ("A", pac)) if rng.random() < share]
    for symbol in present:  # one of each kind first, as far as there is room
        if len(free := _free(inside, symbols)):
            symbols[rng.choice(free)] = symbol
    for symbol in present:
        for index in inside[rng.random(len(inside)) < ECTOPIC_SHARE]:
            if index in _free(inside, symbols):
                symbols[index] = symbol

    intervals = sinus.copy()
    for index in np.flatnonzero(symbols != "N"):
        coupling = patient.coupling[symbols[index]] * rng.normal(1, 0.02)
        intervals[index] = min(max(coupling * sinus[index], REFRACTORY), max(coupling, 0.9) * sinus[index])
        if symbols[index] == "V":  # the sinus node keeps its own time
            intervals[index + 1] = sinus[index] + sinus[index + 1] - intervals[index]
        else:
            intervals[index + 1] = sinus[index + 1] * rng.uniform(1.0, 1.1)
    return start + np.cumsum(intervals), symbols


def _free(inside: np.ndarray, symbols: np.ndarray) -> np.ndarray:
    """Return the beats that can become premature: no neighbour is, and they stay inside when early."""
    later = inside[1:]
    return later[(symbols[later] == "N") & (symbols[later - 1] == "N") & (symbols[later + 1] == "N")]


def _tachogram(times: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return RR intervals relative to their mean, with the two spectral bands of heart rate variability."""
    relative = np.ones(len(times))
    for centre, spread, size in ((0.1, 0.01, 0.02), (0.25, 0.01, 0.03)):  # Mayer waves, breathing
        frequencies = rng.normal(centre, spread, size=10)
        phases = rng.uniform(0, 2 * np.pi, size=10)
        waves = np.sin(2 * np.pi * frequencies[:, None] * times + phases[:, None])
        relative += size * waves.sum(axis=0) / np.sqrt(5)  # root mean square: size
    return np.clip(relative + rng.normal(scale=0.005, size=len(times)), 0.8, 1.2)


def _clean_ecg(
    patient: _Patient,
    times: np.ndarray,
    symbols: np.ndarray,
    breathing: tuple[float, float],
    length: int,
    rate: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return the noise-free leads: each beat's exact solution, added up."""
    signal = np.zeros((len(patient.leads), length))
    stretch = min(1.0, np.sqrt(60 / patient.heart_rate))  # Bazett: QT goes with the square root of RR
    frequency, phase = breathing
    sizes = 1 + 0.05 * np.sin(2 * np.pi * frequency * times + phase) + rng.normal(scale=0.02, size=len(times))
    for time, symbol, size in zip(times, symbols.tolist(), sizes):
        first = max(0, int(np.ceil((time + SUPPORT[0]) * rate)))
        last = min(length, int((time + SUPPORT[1]) * rate))
        if first < last:
            dipole = patient.shapes[symbol].waves(np.arange(first, last) / rate - time, stretch)
            signal[:, first:last] += size * (patient.leads @ dipole)
    return signal


def _noise(
    n_leads: int,
    length: int,
    rate: float,
    mains_frequency: float,
    breathing: tuple[float, float],
    rng: np.random.Generator,
    *,
    baseline_wander: float,
    mains: float,
    muscle: float,
) -> np.ndarray:
    """Return baseline wander, mains interference and muscle noise of the given root mean squares."""
    time = np.arange(length) / rate

    def sines(frequencies: np.ndarray, phases: np.ndarray) -> np.ndarray:
        return np.sqrt(2) * np.sin(2 * np.pi * frequencies[:, None] * time + phases[:, None])

    def gains(n: int) -> np.ndarray:
        """Draw how strongly each of n sources is seen in each lead; root mean square 1 over the leads."""
        weights = rng.normal(size=(n_leads, n))
        return weights / np.sqrt((weights**2).sum(axis=1, keepdims=True))

    drift = np.append(rng.uniform(0.02, 0.5, size=4), breathing[0])
    phases = np.append(rng.uniform(0, 2 * np.pi, size=4), breathing[1])
    noise = baseline_wander * gains(5) @ sines(drift, phases)
    if mains_frequency < rate / 2:
        hum = sines(np.array([mains_frequency]), rng.uniform(0, 2 * np.pi, size=1))
        noise += mains * rng.choice([-1, 1], size=(n_leads, 1)) * hum
    spectrum = np.fft.rfft(rng.normal(size=(n_leads, length)), axis=1)
    frequencies = np.fft.rfftfreq(length, 1 / rate)
    response = frequencies**2 / (frequencies**2 + 20**2)
    power = np.mean(np.append(response[1:], response) ** 2)
    return noise + muscle * np.fft.irfft(spectrum * response, n=length, axis=1) / np.sqrt(max(power, 1e-12))
