"""Parameters of objectives and augmentations, got and set as scikit-learn's estimators do it."""

from __future__ import annotations

import inspect
from typing import Any, Self


class Parameterised:
    """Base of objects that an estimator takes as a parameter and a search may look into.

    Every constructor parameter is stored under its own name, so that ``clone`` copies the object and
    ``objective__area`` in the grid of a ``GridSearchCV`` sets ``area`` of the objective.
    """

    @classmethod
    def _parameter_names(cls) -> list[str]:
        if cls.__init__ is object.__init__:
            return []
        return [name for name in inspect.signature(cls.__init__).parameters if name != "self"]

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the constructor's parameters by name.

        Parameters
        ----------
        deep : bool, default=True
            Accepted as scikit-learn passes it; the parameters hold no parameters of their own.

        Returns
        -------
        params : dict
        """
        return {name: getattr(self, name) for name in self._parameter_names()}

    def set_params(self, **params: Any) -> Self:
        """Set constructor parameters by name.

        Parameters
        ----------
        **params : dict
            Values by name.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            If a name is no parameter.
        """
        valid = self._parameter_names()
        for name, value in params.items():
            if name not in valid:
                raise ValueError(f"Invalid parameter {name!r} for {self!r}. Valid parameters are: {valid!r}.")
            setattr(self, name, value)
        return self

    def _check(self) -> None:
        """Refuse values that mean nothing, when training begins."""

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={value!r}" for name, value in self.get_params().items())
        return f"{type(self).__name__}({values})"
