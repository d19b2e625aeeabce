"""Detection of beats: located beats against annotated ones, as ANSI/AAMI EC57 counts them."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import Bunch
from sklearn.utils._param_validation import HasMethods, Interval, Options, StrOptions, validate_params

from .._aami import AAMI_CLASSES
from ._annotations import IGNORED, POSITIVE, beat_roles, flatten, resolve_label, split_frame


def _match(first: NDArray, second: NDArray, tolerance: float) -> tuple[NDArray, NDArray]:
    """Pair two ascending sequences one to one within `tolerance`; return which of each are paired.

    Taking the earliest admissible pair each time gives the largest possible number of pairs, as every element
    admits an interval of the same width.
    """
    in_first, in_second = np.zeros(len(first), dtype=bool), np.zeros(len(second), dtype=bool)
    left, right = first.tolist(), second.tolist()
    i = j = 0
    while i < len(left) and j < len(right):
        distance = right[j] - left[i]
        if abs(distance) <= tolerance:
            in_first[i] = in_second[j] = True
            i, j = i + 1, j + 1
        elif distance > 0:
            i += 1
        else:
            j += 1
    return in_first, in_second


def _nearest(position: NDArray, beats: NDArray) -> NDArray:
    """Return the index of the beat nearest to each position; the earlier one in a tie."""
    right = np.clip(np.searchsorted(beats, position), 1, max(len(beats) - 1, 1))
    left = right - 1
    right = np.minimum(right, len(beats) - 1)
    return np.where(np.abs(beats[right] - position) < np.abs(position - beats[left]), right, left)


def _forgiven(extra: NDArray, position: NDArray, role: NDArray, tolerance: float) -> NDArray:
    """Tell which unmatched predictions fall on a don't-care beat, at most one a beat."""
    forgiven = np.zeros(len(extra), dtype=bool)
    if not len(position) or not len(extra):
        return forgiven
    nearest = _nearest(extra, position)
    distance = np.abs(position[nearest] - extra)
    candidates = np.flatnonzero((role[nearest] == IGNORED) & (distance <= tolerance))
    candidates = candidates[np.argsort(distance[candidates], kind="stable")]
    _, first = np.unique(nearest[candidates], return_index=True)
    forgiven[candidates[first]] = True
    return forgiven


def _ratio(numerator: NDArray, denominator: NDArray, zero_division: float) -> NDArray:
    out = np.full(numerator.shape, zero_division, dtype=float)
    return np.divide(numerator, denominator, out=out, where=denominator > 0)


def _summary(counts: NDArray, groups: NDArray, average: str, zero_division: float) -> Bunch:
    """Turn (4, n_samples) counts of tp, fp, fn and ignored predictions into scores."""
    if average == "pooled":
        summed = counts.sum(axis=1, keepdims=True)
    else:
        _, code = np.unique(groups, return_inverse=True)
        summed = np.stack([np.bincount(code, weights=row) for row in counts])
    tp, fp, fn, _ = summed
    scores = {
        "sensitivity": _ratio(tp, tp + fn, zero_division),
        "positive_predictivity": _ratio(tp, tp + fp, zero_division),
        "f1": _ratio(2 * tp, 2 * tp + fp + fn, zero_division),
    }
    total = dict(zip(("tp", "fp", "fn", "ignored"), counts.sum(axis=1).tolist()))
    means = {
        name: float(values[defined].mean()) if (defined := ~np.isnan(values)).any() else float("nan")
        for name, values in scores.items()
    }
    return Bunch(**total, **means)


def counted_label(label: str | Sequence[str], predicted_label: Any) -> Any:
    """Return the label that located beats must have to count; None: any."""
    return label if predicted_label is None and isinstance(label, str) else predicted_label


def _chance_counts(window: NDArray, role: NDArray, n_predictions: NDArray) -> NDArray:
    """Return the expected counts when each window's predictions are dealt out to its beats at random."""
    n_samples = len(n_predictions)
    n_beats = np.bincount(window, minlength=n_samples)
    n_class = np.bincount(window[role == POSITIVE], minlength=n_samples)
    n_ignored = np.bincount(window[role == IGNORED], minlength=n_samples)
    share = _ratio(np.minimum(n_predictions, n_beats).astype(float), n_beats.astype(float), 0.0)
    tp, ignored = share * n_class, share * n_ignored
    return np.stack([tp, n_predictions - tp - ignored, n_class - tp, ignored])


@validate_params(
    {
        "beats_true": ["array-like"],
        "beats_pred": ["array-like", HasMethods(["to_records"])],
        "label": [str, tuple, list],
        "sampling_rate": [Interval(Real, 0, None, closed="neither")],
        "tolerance": [Interval(Real, 0, None, closed="left")],
        "ignore": [tuple, list, None],
        "average": [StrOptions({"pooled", "group"})],
        "groups": ["array-like", None],
        "zero_division": [Options(Real, {0.0, 1.0}), "nan"],
        "return_chance": ["boolean"],
    },
    prefer_skip_nested_validation=True,
)
def beat_detection(
    beats_true: Sequence[NDArray],
    beats_pred: Any,
    *,
    label: str | Sequence[str],
    sampling_rate: float,
    tolerance: float = 0.15,
    ignore: Sequence[str] | None = None,
    predicted_label: Any = None,
    average: str = "pooled",
    groups: ArrayLike | None = None,
    zero_division: float = np.nan,
    return_chance: bool = False,
) -> Bunch | tuple[Bunch, Bunch]:
    """Score located beats of one class against annotated beats.

    Predictions and beats of the class are paired one to one, no further apart than `tolerance`, so that the
    number of pairs is the largest possible. Pairs are true positives, unpaired beats of the class false
    negatives. An unpaired prediction whose nearest annotated beat of any class is a don't-care beat within
    `tolerance` is counted as ignored, once a beat; all others are false positives. So predictions on
    don't-care beats are neither hits nor errors, and don't-care beats without a prediction are no misses.

    - sensitivity: tp / (tp + fn)
    - positive predictivity: tp / (tp + fp)
    - F1: 2 tp / (2 tp + fp + fn), their harmonic mean

    Parameters
    ----------
    beats_true : sequence of n_samples structured arrays
        All annotated beats of each window, with the fields ``sample`` and ``symbol``.
    beats_pred : sequence of n_samples structured arrays, or DataFrame
        Located beats of each window as ``locate()`` returns them, with the fields ``sample`` and ``label``;
        or what ``locate(as_frame=True)`` returns, whose column ``ecg`` tells the window of each beat.
    label : str or tuple of str
        The class scored: an AAMI class ("N", "S", "V", "F" or "Q") or a tuple of WFDB beat symbols.
    sampling_rate : float
        Samples a second.
    tolerance : float, default=0.15
        Largest distance of a pair in seconds, inclusive.
    ignore : tuple of str, default=None
        WFDB symbols of the don't-care beats. None means those of EC57 for an AAMI class (V: F and Q beats;
        S: Q beats; else none), and none for a tuple of symbols.
    predicted_label : label of `beats_pred`, default=None
        Only predictions with this label count. None means `label` where that is an AAMI class, and every
        prediction where it is a tuple of symbols.
    average : {"pooled", "group"}, default="pooled"
        "pooled" computes the scores from the counts of all windows (EC57's gross statistics), "group" a group
        and averages over the groups where the score is defined (EC57's average statistics; groups are records
        or patients). The counts are pooled in either case.
    groups : array-like of shape (n_samples,), default=None
        Group of each window; needed for ``average="group"``.
    zero_division : {0.0, 1.0, nan}, default=nan
        Value of a score whose denominator is zero.
    return_chance : bool, default=False
        Whether to return the chance level as well: the same scores from the expected counts when each
        window's predictions, as many as there are, fall on its annotated beats at random, no two on one beat.
        Predictions beyond the number of beats are false positives.

    Returns
    -------
    scores : :class:`~sklearn.utils.Bunch`
        With ``tp``, ``fp``, ``fn``, ``ignored`` (counts), ``sensitivity``, ``positive_predictivity`` and
        ``f1``.
    chance : :class:`~sklearn.utils.Bunch`
        The same at chance level, with expected counts. Only if `return_chance` is True.

    Raises
    ------
    ValueError
        If the lengths differ, an array lacks a field or a DataFrame a column, the latter holds no whole
        numbers where they are samples or windows, or `groups` or `predicted_label` is missing where it is
        needed.

    Notes
    -----
    The chance level keeps how many predictions each window has, and so asks what is added by *where* they
    are.

    References
    ----------
    .. [1] ANSI/AAMI EC57:1998/(R)2008, "Testing and reporting performance results of cardiac rhythm and ST
       segment measurement algorithms".
    .. [2] de Chazal, P., O'Dwyer, M., Reilly, R. B. "Automatic classification of heartbeats using ECG
       morphology and heartbeat interval features." IEEE Transactions on Biomedical Engineering 51(7), 2004.

    Examples
    --------
    >>> import numpy as np
    >>> from skecgattn.metrics import beat_detection
    >>> true = [np.array([(100, "N"), (400, "V"), (800, "V")], dtype=[("sample", "i8"), ("symbol", "U4")])]
    >>> pred = [np.array([(110, "V"), (410, "V")], dtype=[("sample", "i8"), ("label", "U4")])]
    >>> scores = beat_detection(true, pred, label="V", sampling_rate=360)
    >>> scores.tp, scores.fp, scores.fn, scores.f1
    (1, 1, 1, 0.5)
    """
    if hasattr(beats_pred, "to_records"):
        beats_pred = split_frame(beats_pred, len(beats_true))
    if len(beats_true) != len(beats_pred):
        raise ValueError(
            f"beats_true and beats_pred must have one entry a window each; "
            f"got {len(beats_true)} and {len(beats_pred)}."
        )
    n_samples = len(beats_true)
    if average == "group" and groups is None:
        raise ValueError("groups must be given with average='group'; got None.")
    group = np.zeros(n_samples) if groups is None else np.asarray(groups)
    if group.shape != (n_samples,):
        raise ValueError(f"groups must have shape ({n_samples},); got {group.shape}.")

    window, sample, symbol = flatten(beats_true, "symbol", "beats_true")
    role = beat_roles(symbol, *resolve_label(label, ignore))
    pred_window, pred_sample, pred_label = flatten(beats_pred, "label", "beats_pred")
    wanted = counted_label(label, predicted_label)
    known = [one for one in pred_label if isinstance(one, str) and one in AAMI_CLASSES]
    if predicted_label is None and wanted is not None and len(pred_label) and not known:
        raise ValueError(
            "predicted_label must be given where the labels of beats_pred are no AAMI classes, such as "
            f"{pred_label[0]!r}; got None, with label={label!r}."
        )
    if wanted is not None:
        keep = np.array([one == wanted for one in pred_label], dtype=bool)
        pred_window, pred_sample = pred_window[keep], pred_sample[keep]

    # Windows are laid end to end, further apart than the tolerance, and matched in one pass.
    reach = tolerance * sampling_rate * (1 + 1e-9)
    low = min(sample.min(initial=0), pred_sample.min(initial=0))
    stride = max(sample.max(initial=0), pred_sample.max(initial=0)) - low + int(reach) + 2
    position, pred_position = sample + window * stride, pred_sample + pred_window * stride
    of_class = role == POSITIVE
    found, hit = _match(position[of_class], pred_position, reach)
    ignored = np.zeros(len(hit), dtype=bool)
    ignored[~hit] = _forgiven(pred_position[~hit], position, role, reach)

    def count(windows: NDArray) -> NDArray:
        return np.bincount(windows, minlength=n_samples)

    counts = np.stack(
        [
            count(pred_window[hit]),
            count(pred_window[~hit & ~ignored]),
            count(window[of_class][~found]),
            count(pred_window[ignored]),
        ]
    )
    scores = _summary(counts, group, average, zero_division)
    if not return_chance:
        return scores
    return scores, _summary(_chance_counts(window, role, count(pred_window)), group, average, zero_division)
