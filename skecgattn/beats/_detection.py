"""Where the heartbeats are."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._heartbeat_network import find_heartbeats
from ._vote import vote_heartbeats

METHODS = {"network": find_heartbeats, "vote": vote_heartbeats}
"""Detectors by the name that ``detect_heartbeats(method=...)`` takes."""


def detect_heartbeats(
    X: ArrayLike, sampling_rate: float, *, method: str = "network"
) -> list[NDArray[np.int64]]:
    """Detect the heartbeats of ECGs.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_leads, n_timesteps)
        ECGs in any unit, band-passed or raw, finite.

    sampling_rate : float
        In Hz.

    method : {"network", "vote"}, default="network"
        "vote": the detector of :func:`sleepecg.detect_heartbeats` on every lead, and on the length of the
        vector of all leads' slopes. A heartbeat is where at least half of these signals, and at least two,
        have a detection within 150 ms; a single lead takes the detections on the lead, and those on its slope
        that are far from them. Low detections in noise are dropped. ECGs of 60 Hz and less are resampled
        first; below 50 Hz beats are missed.

        "network": a small convolutional network reads all leads, of which there may be any number. It has
        learned from "vote": what that finds in clean ECGs (the training set DS1 of MIT-BIH, and LUDB), and
        the true beats of synthetic ECGs, it learned to find under made-up noise. No annotated beat took part.
        On clean ECGs both agree; in noise the network makes far fewer false detections, and its R peaks lie
        where they would without noise.

    Returns
    -------
    heartbeats : list of ndarray of int
        Sample indices of the R peaks of each ECG, ascending. None in ECGs shorter than a second.

    Raises
    ------
    ValueError
        If `X` has other than three dimensions or holds NaN or infinity, `sampling_rate` is not positive, or
        `method` is unknown.

    References
    ----------
    Brunner, Hofer, "SleepECG: a Python package for sleep staging based on heart rate",
    Journal of Open Source Software 8(86), 2023.

    Moody, Mark, "The impact of the MIT-BIH Arrhythmia Database", IEEE Engineering in Medicine and Biology
    20(3), 2001.

    Kalyakulina et al., "LUDB: a new open-access validation tool for electrocardiogram delineation
    algorithms", IEEE Access 8, 2020.

    Examples
    --------
    >>> from skecgattn.beats import detect_heartbeats
    >>> from skecgattn.datasets import make_ecg
    >>> X, *_ = make_ecg(2, duration=10, sampling_rate=250, random_state=0)
    >>> [int(abs(len(r) - 12) < 6) for r in detect_heartbeats(X, 250)]
    [1, 1]
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {sorted(METHODS)}, got {method!r}.")
    if not sampling_rate > 0:
        raise ValueError(f"sampling_rate must be positive, got {sampling_rate!r}.")
    X = np.asarray(X)
    if X.ndim != 3:
        raise ValueError(f"X must be of shape (n_samples, n_leads, n_timesteps), got {X.shape}.")
    if not np.isfinite(X).all():
        raise ValueError("X holds NaN or infinity, expected finite samples: interpolate what is missing.")
    if len(X) == 0 or X.shape[2] < sampling_rate:
        return [np.empty(0, dtype=np.int64)] * len(X)
    return METHODS[method](X, sampling_rate)
