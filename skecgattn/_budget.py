"""How long and in which batches to train, where the user leaves it open."""

from __future__ import annotations

STEPS = 32
"""Batches an epoch is divided into, where that makes no batch too small or too large."""

BATCH_SIZES = (16, 64)
"""Bounds of the batch size: smaller batches say little, larger ones take fewer steps."""

MULTIPLE = 8
"""Batch sizes are multiples of it."""

BUDGET = 86.4e6
"""Timesteps that the networks read in training: 480,000 seconds at 180 Hz."""

EPOCHS = (12, 48)
"""Bounds of the number of epochs: many ECGs need to be read several times, too, and few are soon known."""

MOST_EPOCHS_UNDECIDED = 72
"""The upper bound where no class is normal, and an epoch teaches about half as much."""


def choose_batch_size(batch_size: int | str | None, n_samples: int) -> int:
    """Return the number of ECGs in a batch.

    Parameters
    ----------
    batch_size : int, "auto" or None
        None takes all ECGs at once; "auto" about 32 batches an epoch, of 16 to 64 ECGs.
    n_samples : int
        ECGs to train on.

    Returns
    -------
    batch_size : int
        At most `n_samples`.
    """
    if batch_size == "auto":
        smallest, largest = BATCH_SIZES
        batch_size = min(max(-(-n_samples // (STEPS * MULTIPLE)) * MULTIPLE, smallest), largest)
    return n_samples if batch_size is None else min(int(batch_size), n_samples)


def choose_epochs(
    max_epochs: int | str, n_samples: int, n_timesteps: int, *, has_nothing: bool = True
) -> int:
    """Return the largest number of epochs.

    Parameters
    ----------
    max_epochs : int or "auto"
        "auto" takes as many as the budget of timesteps allows, from 12 to 48; where no class is normal the
        budget is twice as large, as the objective reads about half as much of a batch then, and 72 the most.
    n_samples : int
        ECGs to train on.
    n_timesteps : int
        Length of the ECGs as the networks read them.
    has_nothing : bool, default=True
        Whether ECGs without an abnormality have a target of their own, see :class:`skecgattn.nn.Task`.

    Returns
    -------
    max_epochs : int
    """
    if max_epochs == "auto":
        fewest, most = EPOCHS
        budget, most = (BUDGET, most) if has_nothing else (2 * BUDGET, MOST_EPOCHS_UNDECIDED)
        return min(max(round(budget / (n_samples * n_timesteps)), fewest), most)
    return int(max_epochs)
