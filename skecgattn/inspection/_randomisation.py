"""Whether maps depend on what was learned: Adebayo's check against random weights."""

from __future__ import annotations

import copy
from collections.abc import Callable
from numbers import Integral
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import Bunch, check_random_state
from sklearn.utils._param_validation import Interval, validate_params
from sklearn.utils.validation import check_is_fitted

from .._build import build_network
from ..classifier import AttentionECGClassifier
from ..metrics import seed_agreement
from ..training import seeded
from ._input import classifier_in


@validate_params(
    {"estimator": [AttentionECGClassifier], "random_state": ["random_state"]},
    prefer_skip_nested_validation=True,
)
def randomise_weights(
    estimator: AttentionECGClassifier, *, random_state: int | np.random.RandomState | None = None
) -> AttentionECGClassifier:
    """Return a copy of a fitted estimator whose network has initial, untrained weights.

    Parameters
    ----------
    estimator : AttentionECGClassifier
        Fitted.

    random_state : int, RandomState instance or None, default=None
        Decides the weights.

    Returns
    -------
    randomised : AttentionECGClassifier
        Fitted copy: classes, intercept and thresholds are those of `estimator`, the network is built anew.

    Raises
    ------
    NotFittedError
        If the estimator is not fitted.

    Examples
    --------
    >>> from skecgattn import AttentionECGClassifier
    >>> from skecgattn.datasets import make_ecg
    >>> from skecgattn.inspection import randomise_weights
    >>> X, y, groups, beats = make_ecg(40, sampling_rate=180, random_state=0)
    >>> clf = AttentionECGClassifier(180, width=4, max_epochs=1, random_state=0).fit(X, y)
    >>> randomise_weights(clf, random_state=0).segment(X).shape
    (40, 1800)
    """
    check_is_fitted(estimator, "network_")
    randomised = copy.deepcopy(estimator)
    seed = check_random_state(random_state).randint(2**31 - 1)
    with seeded(seed, torch.device("cpu")):
        randomised.network_ = build_network(randomised)
    randomised._optimizer_state = None
    return randomised


@validate_params(
    {
        "estimator": "no_validation",
        "X": "no_validation",
        "target": "no_validation",
        "method": [callable, None],
        "n_draws": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def randomisation_check(
    estimator: Any,
    X: ArrayLike,
    *,
    target: Any = None,
    method: Callable[..., NDArray] | None = None,
    n_draws: int = 10,
    random_state: int | np.random.RandomState | None = None,
) -> Bunch:
    """Model parameter randomisation test: whether the map depends on what was learned.

    Spearman's rank correlation over samples between the map of the trained network and that of a network with
    the same architecture and random weights [1]_. A map that survives the loss of all weights shows
    the ECG or the architecture, not the model. A map that is constant has no order and counts as 0.

    A network with random weights answers to *something* in the ECG, such as how early a beat comes, with
    either sign: one draw says little, the mean over draws tells whether the architecture points anywhere.

    Parameters
    ----------
    estimator : AttentionECGClassifier, Pipeline or search
        Fitted. Of a pipeline the last step is checked, of a search the best estimator.

    X : array-like of shape (n_samples, n_leads, n_timesteps) or (n_samples, n_timesteps)
        ECGs in millivolts.

    target : label, default=None
        Class of the maps, given to `method`. With None an attribution like :func:`grad_cam` explains what
        each of the two networks predicts, which need not be the same class.

    method : callable, default=None
        From ``(estimator, X, target)`` to maps of shape (n_samples, n_timesteps), such as :func:`grad_cam`.
        None is the attention map, :meth:`~skecgattn.AttentionECGClassifier.segment`.

    n_draws : int, default=10
        Networks with random weights to average over.

    random_state : int, RandomState instance or None, default=None
        Decides the random weights.

    Returns
    -------
    check : :class:`~sklearn.utils.Bunch`
        ``spearman``, the mean over ECGs and draws; ``spearman_per_ecg`` of shape (n_samples,) and
        ``spearman_per_draw`` of shape (n_draws,), the means over the other; ``spearman_chance``, 0, that of
        unrelated maps.

    Raises
    ------
    NotFittedError
        If the estimator is not fitted.
    TypeError
        If `estimator` neither is an `AttentionECGClassifier` nor ends in one.
    ValueError
        If it has no attention maps and there is no `method`, or `X` or `target` cannot be used.

    References
    ----------
    .. [1] Adebayo, Gilmer, Muelly, Goodfellow, Hardt, Kim, "Sanity checks for saliency maps", NeurIPS 2018.

    Examples
    --------
    >>> from skecgattn import AttentionECGClassifier
    >>> from skecgattn.datasets import make_ecg
    >>> from skecgattn.inspection import randomisation_check
    >>> X, y, groups, beats = make_ecg(40, sampling_rate=180, random_state=0)
    >>> clf = AttentionECGClassifier(180, width=4, max_epochs=1, random_state=0).fit(X, y)
    >>> randomisation_check(clf, X, random_state=0).spearman_per_ecg.shape
    (40,)
    """
    estimator, X = classifier_in(estimator, X)
    explain = AttentionECGClassifier.segment if method is None else method
    generator = check_random_state(random_state)
    trained = explain(estimator, X, target)
    agreements = []
    for _ in range(n_draws):
        randomised = randomise_weights(estimator, random_state=generator)
        agreements.append(seed_agreement(np.stack([trained, explain(randomised, X, target)])))
    per_draw = np.array([agreement.spearman for agreement in agreements])
    return Bunch(
        spearman=float(per_draw.mean()),
        spearman_per_ecg=np.mean([agreement.spearman_per_ecg for agreement in agreements], axis=0),
        spearman_per_draw=per_draw,
        spearman_chance=agreements[0].spearman_chance,
    )
