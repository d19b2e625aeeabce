"""What is inside of pipelines and searches."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike
from sklearn.pipeline import Pipeline


def unpack(estimator: Any, X: ArrayLike, method: str | None = None) -> tuple[Any, Any]:
    """Return the estimator that has a method, the best of a search or the last of a pipeline, and its `X`.

    Parameters
    ----------
    estimator : fitted estimator
    X : array-like
        What `estimator` reads.
    method : str, optional
        Name of the method. None takes the innermost estimator, whatever it has.

    Returns
    -------
    inner : estimator
    X : array-like
        As the steps of a pipeline before it make it.

    Raises
    ------
    TypeError
        If none has the method.
    """
    if method is not None and hasattr(estimator, method):
        return estimator, X
    if hasattr(estimator, "best_estimator_"):
        return unpack(estimator.best_estimator_, X, method)
    if isinstance(estimator, Pipeline):
        before = estimator[:-1]
        return unpack(estimator[-1], before.transform(X) if len(before) else X, method)
    if method is None:
        return estimator, X
    raise TypeError(
        f"estimator must have a method {method}(X), got {type(estimator).__name__}, which has none as it is "
        "set."
    )
