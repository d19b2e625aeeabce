"""What moving electrodes and tense muscles add to an ECG, made up."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ._gaps import SHORTEST_PADDING, find_gaps, find_lead_off, hold_padding

BLOCK = 256
"""ECGs that are made noisy at a time."""

RATIO = (0.0, 24.0)
"""Bounds of the signal-to-noise ratio in dB."""

CORNER = (1.0, 25.0)
"""Bounds of the frequency in Hz above which the noise falls: electrodes move slowly, muscles tremble fast."""

STEEPNESS = (1.5, 4.0)
"""Bounds of the power of the frequency by which its power falls there."""

LOWEST = 0.3
"""Hz below which there is no noise: baselines wander there, which the band-pass takes out."""

CHANGES = (0.5, 5.0)
"""Bounds of how often a second the noise grows or shrinks."""

LARGEST_BURSTS = 1.0
"""Largest standard deviation of the logarithm of the noise's size."""


def add_artefacts(X: NDArray, sampling_rate: float, rng: np.random.RandomState) -> NDArray[np.float32]:
    """Return ECGs with noise of random colour, bursts and strength, partly shared by the leads.

    The signal-to-noise ratio is that of the MIT-BIH Noise Stress Test: the power of a sine as high as the
    QRS complexes over the noise's power. Padding, gaps, and leads that are flat or off, stay as they are.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_leads, n_timesteps)
        ECGs.
    sampling_rate : float
        In Hz.
    rng : RandomState

    Returns
    -------
    noisy : ndarray of shape (n_samples, n_leads, n_timesteps), float32

    References
    ----------
    Moody, Muldrow, Mark, "A noise stress test for arrhythmia detectors", Computers in Cardiology 11, 1984.
    """
    noisy = np.array(X, dtype=np.float32)
    for start in range(0, len(noisy), BLOCK):
        block = noisy[start : start + BLOCK]
        _, recorded = hold_padding(block, round(SHORTEST_PADDING * sampling_rate))
        time = np.arange(block.shape[2])
        inside = (time >= recorded[:, :1]) & (time < recorded[:, 1:])
        shown = np.repeat(inside[:, None], block.shape[1], axis=1)
        for row, gaps in enumerate(find_gaps(block, sampling_rate)):
            for begin, end in gaps:
                shown[row, :, begin:end] = False
        for row, lead, begin, end in find_lead_off(block, sampling_rate):
            shown[row, lead, begin:end] = False
        ratio = rng.uniform(*RATIO, size=(len(block), 1, 1))
        power = _height(block, recorded, sampling_rate) ** 2 / 8 * 10 ** (-ratio / 10)
        block += (made_up_noise(block.shape, sampling_rate, rng) * np.sqrt(power)) * shown
    return noisy


def _height(X: NDArray, recorded: NDArray[np.int64], sampling_rate: float) -> NDArray:
    """Return how high the QRS complexes of each lead are: the median range of a recorded second.

    Of shape (n_samples, n_leads, 1).
    """
    second = min(round(sampling_rate), X.shape[2])
    n_seconds = X.shape[2] // second
    seconds = X[:, :, : n_seconds * second].reshape(*X.shape[:2], n_seconds, second)
    ranges = np.ptp(seconds, axis=3)
    starts = np.arange(n_seconds) * second
    padded = (starts + second <= recorded[:, :1]) | (starts >= recorded[:, 1:])
    padded &= ~padded.all(axis=1, keepdims=True)  # less than the last second is recorded
    return np.nanmedian(np.where(padded[:, None], np.nan, ranges), axis=2)[:, :, None]


def made_up_noise(shape: tuple[int, ...], sampling_rate: float, rng: np.random.RandomState) -> NDArray:
    """Return noise (n_samples, n_leads, n_timesteps) of standard deviation 1."""
    n_samples, n_leads, n_timesteps = shape
    each = (n_samples, 1, 1)
    frequency = np.fft.rfftfreq(n_timesteps, 1 / sampling_rate)
    # noise of all frequencies, which falls from the corner on
    corner = CORNER[0] * (CORNER[1] / CORNER[0]) ** rng.uniform(size=each)
    response = (frequency > LOWEST) / np.sqrt(1 + (frequency / corner) ** rng.uniform(*STEEPNESS, size=each))
    real, imaginary = rng.standard_normal((2, n_samples, n_leads + 1, len(frequency)))
    noise = np.fft.irfft((real + 1j * imaginary) * response, n=n_timesteps, axis=2)
    # a share of the power is the same in all leads, upright or upside down
    shared = rng.uniform(size=each)
    common = noise[:, n_leads:] * rng.choice([-1, 1], size=(n_samples, n_leads, 1))
    noise = np.sqrt(1 - shared) * noise[:, :n_leads] + np.sqrt(shared) * common
    # bursts: the logarithm of the size is random at some times, and changes evenly from one to the next
    n_times = max(2, round(n_timesteps / sampling_rate * rng.uniform(*CHANGES)))
    size = rng.uniform(0, LARGEST_BURSTS, size=(n_samples, 1)) * rng.standard_normal((n_samples, n_times))
    place = np.linspace(0, n_times - 1, n_timesteps)
    before = np.minimum(place.astype(int), n_times - 2)
    share = place - before
    noise *= np.exp(size[:, before] * (1 - share) + size[:, before + 1] * share)[:, None]
    return noise / (noise.std(axis=2, keepdims=True) + 1e-12)
