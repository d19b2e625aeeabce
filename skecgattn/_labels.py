"""What the labels of a task are: its classes, which one is normal, which have maps, and their targets."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.multiclass import check_classification_targets, type_of_target

from .nn import Task

NORMAL_LABELS = (
    "n",
    "nor",
    "norm",
    "normal",
    "normal ecg",
    "normal sinus rhythm",
    "nsr",
    "sr",
    "sinus",
    "sinus rhythm",
    "426783006",  # sinus rhythm in SNOMED CT
    "healthy",
    "control",
    "negative",
    "no",
    "none",
    "0",
    "false",
)
"""Labels, in lower case, that ``normal_class="auto"`` takes for the absence of an abnormality."""


@dataclass(frozen=True, eq=False)  # arrays have no single truth: compared below
class Labels:
    """The labels that ECGs can have.

    Parameters
    ----------
    classes : ndarray of shape (n_outputs,)
        Class labels; for multilabel tasks the names of the labels.
    multilabel : bool
        Whether an ECG may have any number of the labels, instead of exactly one.
    normal : int or None
        Index of the class that stands for the absence of an abnormality, where there is one.
    """

    classes: NDArray
    multilabel: bool
    normal: int | None

    @classmethod
    def learn(
        cls,
        y: NDArray,
        *,
        normal_class: Any,
        names: NDArray | None = None,
        classes: ArrayLike | None = None,
    ) -> Self:
        """Learn the labels from targets (n_samples,) or indicators (n_samples, n_labels).

        Parameters
        ----------
        y : ndarray of shape (n_samples,) or (n_samples, n_labels)
        normal_class : label, "auto" or None
            Which class is normal, where an ECG has one.
        names : ndarray of shape (n_labels,), optional
            Names of the columns of `y`.
        classes : array-like of shape (n_outputs,), optional
            All classes there will be, or the names of the columns; some may be missing in `y`.

        Returns
        -------
        labels : Labels

        Raises
        ------
        ValueError
            If `y` holds no classification task, or does not go with `classes` or `normal_class`.
        """
        check_classification_targets(y)
        kind = type_of_target(y, input_name="y")
        if kind == "multiclass-multioutput":
            raise ValueError(
                "y must be a vector of class labels or an indicator matrix of 0 and 1, got several columns "
                "of class labels. Wrap the estimator in sklearn.multioutput.MultiOutputClassifier."
            )
        if kind == "multilabel-indicator":
            if normal_class is not None and not (isinstance(normal_class, str) and normal_class == "auto"):
                raise ValueError(
                    "normal_class must be 'auto' or None for multilabel y, in which no label means normal; "
                    f"got {normal_class!r}."
                )
            labels = cls(_check_columns(y, names, classes), True, None)
        else:
            found = _check_classes(y, classes)
            labels = cls(found, False, _find_normal(found, normal_class))
        if len(y) < labels.n_outputs and classes is None:
            raise ValueError(f"X has {len(y)} sample(s), fewer than the {labels.n_outputs} classes.")
        return labels

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Labels)
            and np.array_equal(self.classes, other.classes)
            and (self.multilabel, self.normal) == (other.multilabel, other.normal)
        )

    def __str__(self) -> str:
        if self.multilabel:
            return f"columns {self.classes.tolist()}"
        classes = self.classes.tolist()
        return f"{classes} with {'none' if self.normal is None else repr(classes[self.normal])} normal"

    def goes_with(self, names: NDArray) -> bool:
        """Tell whether columns of such names are the labels; of labels without names any columns are."""
        return self.classes.tolist() in (names.tolist(), list(range(len(names))))

    @property
    def n_outputs(self) -> int:
        """Number of classes, or of labels."""
        return len(self.classes)

    @property
    def has_nothing(self) -> bool:
        """Whether ECGs without an abnormality have a target of their own: no label, or the normal class."""
        return self.multilabel or self.normal is not None

    @property
    def marked(self) -> tuple[int, ...]:
        """Indices of the classes that are not normal: each has a map."""
        return tuple(k for k in range(self.n_outputs) if k != self.normal)

    @property
    def abnormal(self) -> list:
        """Labels of the classes that are not normal."""
        labels = self.classes.tolist()
        return [labels[k] for k in self.marked]

    def encode(self, y: NDArray) -> NDArray[np.float64]:
        """Return target distributions, or indicators, of shape (n_samples, n_outputs).

        Raises
        ------
        ValueError
            If `y` has another shape than the one learned from, labels that are no classes, or indicators
            other than 0 and 1.
        """
        expected = (self.n_outputs,) if self.multilabel else ()
        if y.shape[1:] != expected:
            raise ValueError(
                f"y must have shape {('n_samples', *expected)} as in the first fit, got shape {y.shape}."
            )
        if self.multilabel:
            _check_indicators(y)
            return np.array(y, dtype=np.float64)  # a copy: that of a DataFrame cannot be written to
        if len(unknown := np.setdiff1d(y, self.classes)):
            raise ValueError(f"y has labels that are not among the classes: {unknown.tolist()}.")
        return np.eye(self.n_outputs)[np.searchsorted(self.classes, y)]

    def task(self, target: NDArray, weight: NDArray, class_weight: dict | list | str | None) -> Task:
        """Return what an objective has to know.

        Parameters
        ----------
        target : ndarray of shape (n_samples, n_outputs)
            Encoded labels of the ECGs trained on.
        weight : ndarray of shape (n_samples,)
            Weights of the ECGs.
        class_weight : dict, list of dict, "balanced" or None
            As the estimator takes it.

        Returns
        -------
        task : Task

        Raises
        ------
        ValueError
            If `class_weight` does not go with the labels.
        """
        if class_weight is None:
            weights = None
        elif self.multilabel:
            weights = torch.from_numpy(self._weights_of_labels(target, weight, class_weight))
        else:
            weights = torch.from_numpy(self._weights_of_classes(target, weight, class_weight))
        return Task(self.multilabel, self.normal, self.marked, weights)

    def _weights_of_labels(self, target: NDArray, weight: NDArray, class_weight: Any) -> NDArray:
        """Return weights (n_outputs, 2) of no and yes."""
        if class_weight == "balanced":
            yes = weight @ target
            return _balanced(np.stack([weight.sum() - yes, yes], axis=1), weight.sum(), 2)
        given = class_weight if isinstance(class_weight, list) else []
        if len(given) != self.n_outputs or not all(isinstance(row, dict) for row in given):
            raise ValueError(
                "class_weight for multilabel y must be 'balanced' or a list with one dict a label, got "
                f"{class_weight!r} for {self.n_outputs} labels."
            )
        if unknown := {key for row in given for key in row} - {0, 1}:
            raise ValueError(
                "class_weight for multilabel y must have the keys 0 and 1 alone in each dict, got "
                f"{sorted(map(repr, unknown))}."
            )
        for row in given:
            _check_weights(row)
        return np.array([[row.get(0, 1.0), row.get(1, 1.0)] for row in given], dtype=float)

    def _weights_of_classes(self, target: NDArray, weight: NDArray, class_weight: Any) -> NDArray:
        """Return weights (n_outputs,)."""
        if class_weight == "balanced":
            sums = weight @ target
            return _balanced(sums, weight.sum(), int(np.count_nonzero(sums)))
        if not isinstance(class_weight, dict):
            raise ValueError(
                "class_weight is a list, which is for multilabel y: expected a dict or 'balanced'."
            )
        labels = self.classes.tolist()
        # as in scikit-learn: a fold may lack a class that all have weights
        if (unknown := set(class_weight) - set(labels)) and set(labels) - set(class_weight):
            raise ValueError(f"class_weight has labels that are no classes: {sorted(map(str, unknown))}.")
        _check_weights(class_weight)
        return np.array([class_weight.get(label, 1.0) for label in labels], dtype=float)


def _check_weights(given: dict) -> None:
    """Refuse weights that are no finite numbers from 0 on."""
    for label, weight in given.items():
        if not isinstance(weight, Real) or not 0 <= float(weight) < float("inf"):
            raise ValueError(f"class_weight must hold numbers of 0 and more, got {weight!r} for {label!r}.")


def _check_indicators(y: NDArray) -> None:
    """Refuse an indicator matrix of other values than 0 and 1, which scikit-learn lets pass."""
    values = np.unique(y)
    if not np.isin(values, (0, 1)).all():
        raise ValueError(f"y must be an indicator matrix of 0 and 1, got the values {values[:5].tolist()}.")


def _check_columns(y: NDArray, names: NDArray | None, classes: ArrayLike | None) -> NDArray:
    """Return the names of the columns of an indicator matrix."""
    n_labels = y.shape[1]
    if classes is None:
        if all(column.min() == column.max() for column in np.asarray(y).T):
            raise ValueError("y has one class only: no label is both present and absent in some ECG.")
        return np.arange(n_labels) if names is None else names
    if np.shape(classes) != (n_labels,):
        raise ValueError(f"classes must name the {n_labels} labels of y, one each, got {classes!r}.")
    if names is not None and names.tolist() != np.asarray(classes).tolist():
        raise ValueError(
            f"classes must be the columns of y, {names.tolist()}, in their order, got {classes!r}."
        )
    return np.asarray(classes)


def _check_classes(y: NDArray, classes: ArrayLike | None) -> NDArray:
    """Return the classes, sorted, of which each ECG has one."""
    found: NDArray = np.unique(y if classes is None else np.asarray(classes))
    if len(found) < 2:
        raise ValueError(f"y has one class only, got {found.tolist()}; at least 2 classes are required.")
    if len(unknown := np.setdiff1d(y, found)):
        raise ValueError(f"y has labels that are not in classes: {unknown.tolist()}.")
    return found


def means_normal(label: Any) -> bool:
    """Tell whether a label stands for the absence of an abnormality in a usual spelling."""
    spelled = " ".join(str(label).lower().replace("_", " ").split())
    return spelled in NORMAL_LABELS or spelled in ("0.0", "-1") or spelled.startswith("no ")


def _find_normal(classes: NDArray, normal_class: Any) -> int | None:
    """Return the index of the class that stands for the absence of an abnormality."""
    if normal_class is None:
        return None
    labels = classes.tolist()
    if isinstance(normal_class, str) and normal_class == "auto":
        found = [k for k, label in enumerate(labels) if means_normal(label)]
        return found[0] if len(found) == 1 else None
    found = [k for k, label in enumerate(labels) if label == normal_class]
    if not found:
        raise ValueError(f"normal_class={normal_class!r} is not among the classes {labels}.")
    return found[0]


def _balanced(sums: NDArray, total: float, n_kinds: int) -> NDArray:
    """Return weights that make kinds of these sums weigh the same; 0 where there is nothing to weigh."""
    return total / (n_kinds * np.maximum(sums, 1e-12)) * (sums > 0)
