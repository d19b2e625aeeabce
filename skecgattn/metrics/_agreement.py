"""Agreement between the maps of models that differ in their seed only."""

from __future__ import annotations

from itertools import combinations
from numbers import Real

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata
from sklearn.utils import Bunch, check_array, check_random_state
from sklearn.utils._param_validation import Interval, validate_params


@validate_params(
    {
        "maps_by_seed": ["array-like"],
        "area": [Interval(Real, 0, 1, closed="neither")],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def seed_agreement(
    maps_by_seed: ArrayLike, *, area: float = 0.1, random_state: int | np.random.RandomState | None = 0
) -> Bunch:
    """Agreement between maps of the same ECGs from models trained with different seeds.

    For every pair of seeds and every ECG: Spearman's rank correlation of the two maps over samples, and the
    intersection over union of their highest samples; both averaged over the pairs. A map that is constant has
    no order and counts as correlation 0; samples that tie for the last places among the highest are drawn at
    random.

    Parameters
    ----------
    maps_by_seed : array-like of shape (n_seeds, n_samples, n_timesteps)
        The maps, at least two seeds.
    area : float, default=0.1
        Share of the samples that make the highest.
    random_state : int, RandomState instance or None, default=0
        Draws among ties.

    Returns
    -------
    agreement : :class:`~sklearn.utils.Bunch`
        ``spearman`` and ``iou``, means over pairs and ECGs; ``spearman_per_ecg`` and ``iou_per_ecg``, both
        (n_samples,); and the chance levels of unrelated maps, ``spearman_chance`` (0) and ``iou_chance``, the
        expected intersection over the union that goes with it.

    Raises
    ------
    ValueError
        If the array is not three-dimensional or holds fewer than two seeds.

    References
    ----------
    .. [1] Spearman, C. "The proof and measurement of association between two things." American Journal of
       Psychology 15(1), 1904.

    Examples
    --------
    >>> import numpy as np
    >>> from skecgattn.metrics import seed_agreement
    >>> maps = np.random.default_rng(0).uniform(size=(1, 4, 100))
    >>> agreement = seed_agreement(np.concatenate([maps, maps**2]))
    >>> round(agreement.spearman, 6), agreement.iou
    (1.0, 1.0)
    """
    maps: NDArray = check_array(
        maps_by_seed, dtype=[np.float64, np.float32], allow_nd=True, input_name="maps_by_seed"
    )
    if maps.ndim != 3 or maps.shape[0] < 2:
        raise ValueError(
            "maps_by_seed must have shape (n_seeds, n_samples, n_timesteps) with at least 2 seeds; "
            f"got {maps.shape}."
        )
    n_seeds, n_samples, n_timesteps = maps.shape
    n_top = max(1, round(area * n_timesteps))
    rng = check_random_state(random_state)
    ranks = np.empty(maps.shape, dtype=np.float32)
    top = np.zeros(maps.shape, dtype=bool)
    for seed in range(n_seeds):
        rank = rankdata(maps[seed], axis=1)
        rank -= rank.mean(axis=1, keepdims=True)
        norm = np.linalg.norm(rank, axis=1, keepdims=True)
        ranks[seed] = np.divide(rank, norm, out=np.zeros_like(rank), where=norm > 0)
        # Ties fall to the samples first in a shuffled order, another one for each seed and ECG.
        shuffled = rng.random_sample(maps[seed].shape).argsort(axis=1)
        values = np.take_along_axis(maps[seed], shuffled, axis=1)
        highest = np.argpartition(-values, n_top - 1, axis=1)[:, :n_top]
        np.put_along_axis(top[seed], np.take_along_axis(shuffled, highest, axis=1), True, axis=1)

    spearman, iou = np.zeros(n_samples), np.zeros(n_samples)
    pairs = list(combinations(range(n_seeds), 2))
    for one, other in pairs:
        spearman += np.einsum("nt,nt->n", ranks[one], ranks[other])
        both = (top[one] & top[other]).sum(axis=1)
        iou += both / (2 * n_top - both)
    spearman /= len(pairs)
    iou /= len(pairs)
    expected = n_top**2 / n_timesteps
    return Bunch(
        spearman=float(spearman.mean()),
        iou=float(iou.mean()),
        spearman_per_ecg=spearman,
        iou_per_ecg=iou,
        spearman_chance=0.0,
        iou_chance=expected / (2 * n_top - expected),
    )
