"""Parameters and learned attributes as JSON and tensors, and back, without ever running what is read."""

from __future__ import annotations

import importlib
import math
import re
import warnings
from typing import Any, NamedTuple

import numpy as np
import sklearn
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.exceptions import InconsistentVersionWarning

from .exceptions import ModelFileError
from .nn._parameters import Parameterised

OWN_MODULES = ("skecgattn", "skecgattn.nn", "skecgattn.preprocessing")
"""Modules of this library whose public classes a description may name."""

SPECIAL_FLOATS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}

TENSOR_KINDS = "biuf"
"""Kinds of NumPy arrays that are kept as tensors."""


class Route(NamedTuple):
    """Where a value is: for messages."""

    text: str

    def __truediv__(self, part: str) -> Route:
        return Route(f"{self.text}{part}")


def public_name(cls: type) -> str | None:
    """Return the public dotted name of a class of scikit-learn or this library; None for any other class."""
    parts = cls.__module__.split(".")
    for module in (".".join(parts[:2]), parts[0]):
        try:
            if public_class(name := f"{module}.{cls.__name__}") is cls:
                return name
        except ModelFileError:
            continue
    return None


def public_class(name: str) -> type:
    """Return the class of a public dotted name, if it is an estimator or an objective or the like.

    Only modules that scikit-learn and this library declare public are ever imported.
    """
    module_name, _, class_name = str(name).rpartition(".")
    package, _, part = module_name.partition(".")
    if module_name in OWN_MODULES or (package == "sklearn" and part in sklearn.__all__):
        try:
            module = importlib.import_module(module_name)
        except ImportError:  # a public function of scikit-learn's
            module = None
        cls = getattr(module, class_name, None) if class_name in getattr(module, "__all__", ()) else None
        if isinstance(cls, type) and issubclass(cls, BaseEstimator | Parameterised):
            return cls
    raise ModelFileError(f"{name!r} is no estimator of scikit-learn or skecgattn known here")


class Encoder:
    """Turn values into what JSON holds; arrays and tensors go to `tensors`.

    Parameters
    ----------
    left_out : set of (int, str)
        The `id` of an object and the name of an attribute of it that is not encoded.
    """

    def __init__(self, left_out: set[tuple[int, str]]) -> None:
        self.left_out = left_out
        self.tensors: dict[str, torch.Tensor] = {}

    def encode(self, value: Any, where: Route) -> Any:
        """Return `value` for JSON.

        Raises
        ------
        ModelFileError
            If there is a value that is neither plain data nor a known object.
        """
        kind: type = type(value)  # a subclass would come back as its base
        if value is None or kind in (bool, int, str):
            return value
        if kind is float:
            return value if math.isfinite(value) else {"$float": str(value)}
        if kind is list:
            return [self.encode(item, where / f"[{k}]") for k, item in enumerate(value)]
        if kind is tuple:
            return {"$tuple": [self.encode(item, where / f"[{k}]") for k, item in enumerate(value)]}
        if kind is dict:
            if all(type(key) is str and not key.startswith("$") for key in value):
                return {key: self.encode(item, where / f"[{key!r}]") for key, item in value.items()}
            pairs = [[key, item] for key, item in value.items()]
            return {"$dict": self.encode(pairs, where)}
        if isinstance(value, np.generic) and value.dtype.kind in TENSOR_KINDS + "U":
            return {"$scalar": self.encode(value.item(), where), "dtype": value.dtype.str}
        if kind is np.ndarray:
            return self._encode_array(value, where)
        if kind is torch.Tensor:
            return {"$tensor": self._keep(value.detach().cpu().clone())}
        if kind is torch.device:
            return {"$device": str(value)}
        if kind is np.random.RandomState:
            return {"$random_state": self.encode(value.get_state(legacy=True), where)}
        if isinstance(value, BaseEstimator | Parameterised):
            return self._encode_object(value, where)
        raise _unsupported(value, where)

    def _keep(self, tensor: torch.Tensor) -> str:
        name = f"value.{len(self.tensors)}"
        self.tensors[name] = tensor.contiguous()
        return name

    def _encode_array(self, array: NDArray, where: Route) -> dict[str, Any]:
        if array.dtype.kind in TENSOR_KINDS and array.dtype.itemsize <= 8:
            native = np.array(array, dtype=array.dtype.newbyteorder("="), order="C")
            return {"$array": self._keep(torch.from_numpy(native))}
        if array.dtype.kind in "UO":
            items = self.encode(array.ravel().tolist(), where)
            return {"$labels": items, "dtype": array.dtype.str, "shape": list(array.shape)}
        raise _unsupported(array, where)

    def _encode_object(self, value: Any, where: Route) -> dict[str, Any]:
        name = public_name(type(value))
        if name is None:
            raise _unsupported(value, where)
        params = value.get_params(deep=False)
        if params.get("memory") is not None:
            raise ModelFileError(
                f"cannot save {(where / '.memory').text}: a cache belongs to one machine. "
                "set_params(memory=None) first."
            )
        state = {
            attribute: item
            for attribute, item in vars(value).items()
            if attribute not in params and (id(value), attribute) not in self.left_out
        }
        described: dict[str, Any] = {"$object": name}
        if (requests := state.pop("_metadata_request", None)) is not None:
            described["routing"] = self.encode(_routing(requests), where / ".get_metadata_routing()")
        described["params"] = {key: self.encode(item, where / f".{key}") for key, item in params.items()}
        described["state"] = {key: self.encode(item, where / f".{key}") for key, item in state.items()}
        return described


def _unsupported(value: Any, where: Route) -> ModelFileError:
    return ModelFileError(
        f"cannot save {where.text}={value!r:.80}: a model file holds plain data and what scikit-learn and "
        f"skecgattn define, not {type(value).__module__}.{type(value).__qualname__}. Use pickle or "
        "joblib.dump for this model."
    )


def _routing(requests: Any) -> dict[str, dict[str, Any]]:
    """Return scikit-learn's metadata requests by method."""
    by_method = {
        method: getattr(getattr(requests, method, None), "requests", {}) for method in vars(requests)
    }
    return {method: dict(asked) for method, asked in by_method.items() if asked}


class Decoder:
    """Turn what :class:`Encoder` made into values again.

    Parameters
    ----------
    tensors : dict
        By name.
    sklearn_version : str
        Version of scikit-learn that the values were saved with.
    """

    def __init__(self, tensors: dict[str, torch.Tensor], sklearn_version: str) -> None:
        self.tensors = tensors
        self.sklearn_version = sklearn_version

    def decode(self, value: Any) -> Any:
        """Return the value that JSON stands for."""
        if isinstance(value, list):
            return [self.decode(item) for item in value]
        if not isinstance(value, dict):
            return value
        tag = next((key for key in value if key.startswith("$")), None)
        if tag is None:
            return {key: self.decode(item) for key, item in value.items()}
        if tag == "$object":
            return self._decode_object(value)
        if tag == "$float":
            return SPECIAL_FLOATS[value[tag]]
        if tag == "$device":
            return torch.device(value[tag])
        if tag == "$tensor":
            return self.tensors[value[tag]]
        if tag == "$array":
            return self.tensors[value[tag]].numpy()
        content = self.decode(value[tag])
        if tag == "$tuple":
            return tuple(content)
        if tag == "$dict":
            return dict(content)
        if tag == "$scalar":
            return np.dtype(value["dtype"]).type(content)
        if tag == "$labels":
            return _labels(content, value["dtype"], value["shape"])
        if tag == "$random_state":
            random_state = np.random.RandomState()
            random_state.set_state(content)
            return random_state
        raise ModelFileError(f"unknown kind of value {tag!r}")

    def _decode_object(self, described: dict[str, Any]) -> Any:
        name = described["$object"]
        params, state = self.decode(described["params"]), self.decode(described["state"])
        if params.get("memory") is not None:  # scikit-learn would unpickle from there
            raise ModelFileError(f"{name} has a cache, which no model file may set")
        try:
            value = public_class(name)(**params)
        except TypeError as error:
            raise ModelFileError(f"{name} of this version does not take the parameters: {error}") from error
        if wrong := [key for key in state if not re.fullmatch(r"_?[A-Za-z]\w*", key) or key in params]:
            raise ModelFileError(f"{name} has no attribute {wrong[0]!r}")
        if name.startswith("sklearn.") and state and self.sklearn_version != sklearn.__version__:
            versions = {"current_sklearn_version": sklearn.__version__}
            versions["original_sklearn_version"] = self.sklearn_version
            warnings.warn(InconsistentVersionWarning(estimator_name=name, **versions), stacklevel=2)
        vars(value).update(state)
        if "routing" in described:
            requests = value._get_metadata_request()
            for method, asked in self.decode(described["routing"]).items():
                for param, alias in asked.items():
                    getattr(requests, method).add_request(param=param, alias=alias)
            value._metadata_request = requests
        return value


def _labels(items: list, dtype: str, shape: list[int]) -> NDArray:
    array = np.empty(len(items), dtype=np.dtype(dtype))
    array[:] = items
    return array.reshape(shape)
