"""Which ECGs early stopping holds out: a stratified sample, or whole patients."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.model_selection import ShuffleSplit, StratifiedGroupKFold, StratifiedShuffleSplit


def check_groups(groups: ArrayLike | None, n_samples: int) -> NDArray | None:
    """Return the patient of each ECG as an array, where patients are known.

    Raises
    ------
    ValueError
        If there is not one entry an ECG, or one is missing.
    """
    if groups is None:
        return None
    as_given = np.asarray(groups, dtype=object)
    missing = pd.isna(as_given)
    groups = np.asarray(groups)
    if groups.shape != (n_samples,):
        raise ValueError(
            f"groups must have one entry an ECG, shape ({n_samples},), got shape {groups.shape}."
        )
    if missing.any():
        raise ValueError(
            "groups must name the patient of every ECG, got a missing one: who is not known needs a name of "
            "their own, such as the record's."
        )
    if len({isinstance(name, str) for name in as_given}) > 1:  # numbers and names, which cannot be sorted
        return pd.factorize(as_given)[0]
    return groups


def hold_out(
    y: NDArray, rows: NDArray, groups: NDArray | None, fraction: float, seed: int
) -> tuple[NDArray, NDArray]:
    """Hold out a share of ECGs: whole groups where they are known, otherwise a stratified sample.

    Parameters
    ----------
    y : ndarray of shape (n_samples,) or (n_samples, n_labels)
        Labels.
    rows : ndarray of int
        ECGs there are to train on or to hold out.
    groups : ndarray of shape (n_samples,) or None
        Patient of each ECG.
    fraction : float
        Share to hold out.
    seed : int

    Returns
    -------
    training, held_out : ndarray of int
        Both of `rows`.

    Raises
    ------
    ValueError
        If there are too few ECGs, or a single group.
    """
    kinds = np.unique(y[rows], axis=0, return_inverse=True)[1].ravel()
    if groups is None:
        training, held_out = split_ecgs(kinds, fraction, seed)
    else:
        training, held_out = split_groups(kinds, groups[rows], fraction, seed)
    return rows[training], rows[held_out]


def split_ecgs(kinds: NDArray, fraction: float, seed: int) -> tuple[NDArray, NDArray]:
    """Hold out a share of ECGs, stratified where every kind has enough of them.

    Parameters
    ----------
    kinds : ndarray of shape (n_samples,), int
        Number of each ECG's class, or combination of labels, from 0.
    fraction : float
        Share to hold out.
    seed : int

    Returns
    -------
    training, held_out : ndarray of int
        Rows.

    Raises
    ------
    ValueError
        If nothing would be left to train on.
    """
    counts = np.bincount(kinds)
    n_held_out = int(np.ceil(fraction * len(kinds)))
    if n_held_out >= len(kinds):
        raise ValueError(
            f"early_stopping=True cannot hold out {fraction:g} of n_samples={len(kinds)}: "
            "give more ECGs or set early_stopping=False."
        )
    stratified = counts.min() > 1 and len(counts) <= min(n_held_out, len(kinds) - n_held_out)
    splitter = StratifiedShuffleSplit if stratified else ShuffleSplit
    training, held_out = next(splitter(1, test_size=n_held_out, random_state=seed).split(kinds, kinds))
    return training, held_out


def split_groups(kinds: NDArray, groups: NDArray, fraction: float, seed: int) -> tuple[NDArray, NDArray]:
    """Hold out whole groups that have about a share of the ECGs and are labelled most like all.

    Parameters
    ----------
    kinds, fraction, seed
        As for :func:`split_ecgs`.
    groups : ndarray of shape (n_samples,)
        Patient of each ECG.

    Returns
    -------
    training, held_out : ndarray of int
        Rows; no group is in both.

    Raises
    ------
    ValueError
        If there is a single group.
    """
    n_groups = len(np.unique(groups))
    if n_groups < 2:
        raise ValueError(
            "early_stopping=True holds out whole groups, got groups with a single one: give more "
            "patients or set early_stopping=False."
        )
    folds = StratifiedGroupKFold(min(n_groups, max(2, round(1 / fraction))), shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class")
        splits = list(folds.split(kinds, kinds, groups))
    # small folds that leave every kind to train on, where there are any
    share = np.bincount(kinds) / len(kinds)
    half = len(kinds) / 2
    good = [s for s in splits if len(np.unique(kinds[s[0]])) == len(share) and 0 < len(s[1]) <= half]
    splits = good or [s for s in splits if len(s[1])]
    # the fold whose labels are distributed most like all, so that no class is only here or only there
    distance = [
        np.abs(np.bincount(kinds[held_out], minlength=len(share)) / len(held_out) - share).sum()
        for _, held_out in splits
    ]
    training, held_out = splits[int(np.argmin(distance))]
    return training, held_out
