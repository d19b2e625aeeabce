"""From maps to the scores of heartbeats, and from scores to the abnormal ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ._spans import spans

BEAT_DTYPE = np.dtype(
    [("sample", np.int64), ("start", np.int64), ("stop", np.int64), ("label", object), ("score", np.float64)]
)
"""Fields of a located beat: R peak, span [start, stop), class label, score."""

SEARCH_WINDOW = 0.1
"""Seconds around an R peak in which the map's maximum is the beat's score."""


def score_beats(
    maps: NDArray, heartbeats: Sequence[NDArray[np.int64]], sampling_rate: float
) -> list[NDArray[np.float64]]:
    """Return the map's maximum within 100 ms of every R peak.

    Parameters
    ----------
    maps : ndarray of shape (n_samples, n_maps, n_timesteps)

    heartbeats : sequence of ndarray of int
        R peaks of each ECG.

    sampling_rate : float
        In Hz.

    Returns
    -------
    scores : list of ndarray of shape (n_beats, n_maps)

    Examples
    --------
    >>> import numpy as np
    >>> from skecgattn.beats import score_beats
    >>> maps = np.zeros((1, 1, 300))
    >>> maps[0, 0, 105] = 0.9
    >>> score_beats(maps, [np.array([100, 200])], 100)
    [array([[0.9],
           [0. ]])]
    """
    reach = max(1, round(SEARCH_WINDOW * sampling_rate))
    offsets = np.arange(-reach, reach + 1)
    scores = []
    for ecg_maps, beats in zip(maps, heartbeats):
        index = np.clip(beats[:, None] + offsets, 0, ecg_maps.shape[1] - 1)
        scores.append(ecg_maps[:, index].max(axis=2).T.astype(np.float64))
    return scores


def select_beats(
    scores: NDArray[np.float64],
    heartbeats: NDArray[np.int64],
    n_timesteps: int,
    labels: Sequence,
    thresholds: NDArray[np.float64],
) -> NDArray:
    """Return the abnormal beats of one ECG: those with a class whose score reaches its threshold.

    Parameters
    ----------
    scores : ndarray of shape (n_beats, n_maps)

    heartbeats : ndarray of shape (n_beats,)

    n_timesteps : int
        Length of the ECG in samples.

    labels : sequence of length n_maps
        Class label of each map.

    thresholds : ndarray of shape (n_maps,)

    Returns
    -------
    located : structured ndarray
        Fields `sample`, `start`, `stop`, `label` and `score`; a beat above several thresholds has
        the label that exceeds its threshold by the largest factor.

    Examples
    --------
    >>> import numpy as np
    >>> from skecgattn.beats import select_beats
    >>> scores, beats = np.array([[0.1], [0.9]]), np.array([100, 200])
    >>> select_beats(scores, beats, 300, ["V"], np.array([0.5]))["sample"]
    array([200])
    """
    located = np.empty(0, dtype=BEAT_DTYPE)
    if len(heartbeats) == 0:
        return located
    reached = scores >= thresholds
    margin = np.where(reached, scores / np.maximum(thresholds, 1e-12), -1.0)
    best = margin.argmax(axis=1)
    rows = np.flatnonzero(reached.any(axis=1))
    located = np.empty(len(rows), dtype=BEAT_DTYPE)
    located["sample"] = heartbeats[rows]
    located["start"], located["stop"] = spans(heartbeats, n_timesteps)[rows].T
    located["label"] = [labels[k] for k in best[rows]]
    located["score"] = scores[rows, best[rows]]
    return located
