"""Scorers for cross-validation and grid search; the annotated beats travel as routed metadata."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from inspect import signature
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils._param_validation import validate_parameter_constraints
from sklearn.utils.metadata_routing import MetadataRequest

from .._unpack import unpack
from ._annotations import resolve_label
from ._detection import beat_detection, counted_label
from ._localisation import attention_mass, map_iou, pointing_game, rank_accuracy
from ._ranking import map_auroc, map_average_precision

_BEAT_METRICS: dict[str, Callable[..., Any]] = dict.fromkeys(
    ("f1", "sensitivity", "positive_predictivity"), beat_detection
)
_MAP_METRICS: dict[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (
        pointing_game,
        attention_mass,
        rank_accuracy,
        map_auroc,
        map_average_precision,
        map_iou,
    )
}


def _chosen(metric: str | Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    names = (metric,) if isinstance(metric, str) else tuple(metric)
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise ValueError(f"metric must be one or more of {list(known)}; got {metric!r}.")
    return names


class _BeatsScorer(ABC):
    """A scorer that is called with annotated beats; requests them from scikit-learn's metadata routing."""

    def __init__(
        self,
        metric: str | Sequence[str],
        functions: Mapping[str, Callable[..., Any]],
        label: str | Sequence[str],
        options: dict[str, Any],
    ):
        self.metric = metric
        self.names = _chosen(metric, list(functions))
        self.label = label
        self.options = options
        # a search would take the error of a call for a score of NaN
        for function in dict.fromkeys(functions[name] for name in self.names):
            constraints = function._skl_parameter_constraints  # type: ignore[attr-defined]
            validate_parameter_constraints(constraints, options, caller_name=function.__name__)
        resolve_label(label, options.get("ignore"))
        self._request: bool | str | None = True

    def __repr__(self) -> str:
        return f"{type(self).__name__}(metric={self.metric!r}, label={self.label!r})"

    def __call__(
        self,
        estimator: Any,
        X: ArrayLike,
        y: ArrayLike | None = None,
        *,
        beats: Sequence[NDArray] | None = None,
    ) -> float | dict[str, float]:
        """Score a fitted estimator on ECGs with annotated beats; `y` is not read."""
        if beats is None:
            raise ValueError(
                f"{self!r} needs beats and got none. Inside cross-validation call "
                "sklearn.set_config(enable_metadata_routing=True) and pass the annotated beats along, as in "
                "cross_validate(..., params={'beats': beats}) or GridSearchCV(...).fit(X, y, beats=beats)."
            )
        scores = self._scores(estimator, X, beats)
        return scores[self.metric] if isinstance(self.metric, str) else scores

    @abstractmethod
    def _scores(self, estimator: Any, X: ArrayLike, beats: Sequence[NDArray]) -> dict[str, float]:
        """Return the metrics asked for, by name."""

    def set_score_request(self, *, beats: bool | str | None = True) -> Self:
        """Set under which name the beats are requested, as on any scikit-learn scorer.

        Parameters
        ----------
        beats : bool, str or None, default=True
            True requests ``beats``, a string the metadata of that name, False nothing; None refuses them.

        Returns
        -------
        self : object
            The scorer.
        """
        self._request = beats
        return self

    def get_metadata_routing(self) -> MetadataRequest:
        """Return what this scorer requests, for scikit-learn's metadata routing."""
        request = MetadataRequest(owner=repr(self))
        request.score.add_request(param="beats", alias=self._request)
        return request

    def _accept_sample_weight(self) -> bool:
        # scikit-learn's searches ask every scorer of a dict.
        return False


class _BeatScorer(_BeatsScorer):
    def __init__(self, metric: str | Sequence[str], label: str | Sequence[str], options: dict[str, Any]):
        super().__init__(metric, _BEAT_METRICS, label, options)

    def _scores(self, estimator: Any, X: ArrayLike, beats: Sequence[NDArray]) -> dict[str, float]:
        locator, seen = unpack(estimator, X, "locate")
        rate, expected = getattr(locator, "sampling_rate", None), self.options["sampling_rate"]
        if rate is not None and not np.isclose(rate, expected):
            raise ValueError(
                f"sampling_rate of the scorer is {expected}, but {type(locator).__name__} locates beats in "
                f"ECGs of {rate} Hz. Steps before it must leave the sampling rate of X, and of beats, alone."
            )
        wanted = counted_label(self.label, self.options["predicted_label"])
        known = getattr(locator, "map_labels_", None)
        if known is not None and wanted is not None and wanted not in list(known):
            raise ValueError(
                f"predicted_label must be one of {list(known)}, the labels of the beats that "
                f"{type(locator).__name__} locates, got {self.options['predicted_label']!r} with "
                f"label={self.label!r}."
            )
        located = locator.locate(seen)
        result = beat_detection(beats, located, label=self.label, zero_division=0.0, **self.options)
        return {name: result[name] for name in self.names}


class _MapScorer(_BeatsScorer):
    def __init__(
        self, metric: str | Sequence[str], label: str | Sequence[str], target: Any, options: dict[str, Any]
    ):
        super().__init__(metric, _MAP_METRICS, label, options)
        self.target = target

    def _scores(self, estimator: Any, X: ArrayLike, beats: Sequence[NDArray]) -> dict[str, float]:
        of_class = {} if self.target is None else {"target": self.target}
        segmenter, seen = unpack(estimator, X, "segment")
        maps = np.asarray(segmenter.segment(seen, **of_class))
        return {
            name: _MAP_METRICS[name](maps, beats, label=self.label, **self.options) for name in self.names
        }


def make_beat_scorer(
    metric: str | Sequence[str] = "f1",
    *,
    label: str | Sequence[str],
    sampling_rate: float,
    tolerance: float = 0.15,
    ignore: Sequence[str] | None = None,
    predicted_label: Any = None,
) -> _BeatScorer:
    """Make a scorer of the beats that ``estimator.locate(X)`` finds, for any ``scoring=``.

    Parameters
    ----------
    metric : {"f1", "sensitivity", "positive_predictivity"} or a tuple of them, default="f1"
        Which score of :func:`beat_detection`; 0 where its denominator is zero. For a tuple the scorer returns
        a dict, which scikit-learn reads as several metrics, from one call of ``locate``.
    label : str or tuple of str
        The class scored: an AAMI class ("N", "S", "V", "F" or "Q") or a tuple of WFDB beat symbols.
    sampling_rate : float
        Samples a second, of X as the estimator locates beats in it.
    tolerance : float, default=0.15
        Largest distance between a located and an annotated beat in seconds.
    ignore : tuple of str, default=None
        WFDB symbols of the don't-care beats; None means those of EC57, see :func:`beat_detection`.
    predicted_label : label of the located beats, default=None
        Only located beats with this label count, see :func:`beat_detection`. It is needed where the classes
        of the estimator have other names than `label`: "PVC", or 0 and 1 of an indicator matrix.

    Returns
    -------
    scorer : callable
        ``scorer(estimator, X, y, beats=beats)`` returns a float, the higher the better, or a dict of floats.
        It requests ``beats`` from scikit-learn's metadata routing; ``set_score_request(beats="other_name")``
        renames.

    Raises
    ------
    ValueError
        If `metric` or `label` is unknown, or another argument is none that the metric takes. When called: if
        no beats came, the estimator has another sampling rate, or it locates no beats with the label that
        counts.

    Notes
    -----
    Metadata routing must be on, see the example. A search is scored by its best estimator. A pipeline is
    scored by its last step, on what the steps before make of X: they must leave the sampling rate and the
    length alone.

    Examples
    --------
    >>> import numpy as np
    >>> import sklearn
    >>> from sklearn.base import BaseEstimator
    >>> from sklearn.model_selection import cross_validate
    >>> from skecgattn.metrics import make_beat_scorer
    >>> class PeakLocator(BaseEstimator):
    ...     def fit(self, X, y=None):
    ...         return self
    ...     def locate(self, X):
    ...         dtype = [("sample", "i8"), ("label", "U4")]
    ...         return [np.array([(ecg.argmax(), "V")], dtype=dtype) for ecg in X]
    >>> X = np.eye(6)
    >>> beats = np.empty(6, dtype=object)
    >>> beats[:] = [np.array([(i, "V")], dtype=[("sample", "i8"), ("symbol", "U4")]) for i in range(6)]
    >>> scorer = make_beat_scorer("f1", label="V", sampling_rate=360)
    >>> with sklearn.config_context(enable_metadata_routing=True):
    ...     result = cross_validate(PeakLocator(), X, scoring=scorer, params={"beats": beats}, cv=3)
    >>> result["test_score"]
    array([1., 1., 1.])
    """
    options = {
        "sampling_rate": sampling_rate,
        "tolerance": tolerance,
        "ignore": ignore,
        "predicted_label": predicted_label,
    }
    return _BeatScorer(metric, label, options)


def make_map_scorer(
    metric: str | Sequence[str] = "pointing_game",
    *,
    label: str | Sequence[str],
    target: Any = None,
    **kwargs: Any,
) -> _MapScorer:
    """Make a scorer of the maps of ``estimator.segment(X)``, for any ``scoring=``.

    Parameters
    ----------
    metric : str or tuple of str, default="pointing_game"
        "pointing_game", "attention_mass", "rank_accuracy", "map_auroc", "map_average_precision" or "map_iou":
        the function of that name in this module. For a tuple the scorer returns a dict, which scikit-learn
        reads as several metrics, from one call of ``segment``.
    label : str or tuple of str
        The class scored: an AAMI class ("N", "S", "V", "F" or "Q") or a tuple of WFDB beat symbols.
    target : class label, default=None
        Whose map is asked for, ``segment(X, target=target)``; None asks for ``segment(X)``.
    **kwargs
        Options of the metric, such as ``level="beat"``, ``threshold=0.3`` or ``ignore=()``.

    Returns
    -------
    scorer : callable
        ``scorer(estimator, X, y, beats=beats)`` returns a float, the higher the better, or a dict of floats.
        It requests ``beats`` from scikit-learn's metadata routing; ``set_score_request(beats="other_name")``
        renames.

    Raises
    ------
    ValueError
        If `metric` or `label` is unknown, or an option is none that the metric takes. When called: if no
        beats came.
    TypeError
        If a metric does not take an option.

    See Also
    --------
    make_beat_scorer : The same for located beats, with an example and notes on searches and pipelines.

    Examples
    --------
    >>> from skecgattn.metrics import make_map_scorer
    >>> make_map_scorer("map_average_precision", label="V", level="beat")
    _MapScorer(metric='map_average_precision', label='V')
    """
    scorer = _MapScorer(metric, label, target, kwargs)
    for name in scorer.names:
        known = set(signature(_MAP_METRICS[name]).parameters) - {
            "maps",
            "beats",
            "label",
            "mask",
            "return_chance",
        }
        unknown = sorted(set(kwargs) - known)
        if unknown:
            raise TypeError(f"{name} takes the options {sorted(known)}; got {unknown}.")
    return scorer
