"""Every public object says what it takes and gives back, with shapes and errors, and has an example."""

from __future__ import annotations

import importlib
import inspect
import re

import pytest
from numpydoc.docscrape import NumpyDocString

ROOMS = ["nn", "beats", "preprocessing", "datasets", "metrics", "inspection", "records", "exceptions"]
MODULES = ["skecgattn", *(f"skecgattn.{room}" for room in ROOMS)]
ARRAY = re.compile(r"\b(ndarray|array-like|Tensor)\b")
SHAPED = re.compile(r"shape|structured|\b(of|list of) (str|int|ndarray)|one-dimensional|sequence of ndarray")
OWNER = {"self", "cls"}
BRIEF = {"forward"}  # torch's: the class says what goes in and out, and torch's hooks call it


def public(module):
    """Yield names and objects: functions, classes, and the methods that a class defines itself."""
    package = importlib.import_module(module)
    for name in package.__all__:
        item = getattr(package, name)
        if inspect.isfunction(item):
            yield name, item
        elif inspect.isclass(item):
            yield name, item
            own = {} if issubclass(item, tuple) else vars(item)
            for member, value in own.items():
                function = getattr(value, "__func__", value)
                if inspect.isfunction(function) and not member.startswith("_"):
                    yield f"{name}.{member}", function


def lacks(name, item):
    """Yield what the docstring of a public object lacks."""
    text = inspect.getdoc(item)
    if not text:
        yield "a docstring"
        return
    document = NumpyDocString(text)
    if not document["Summary"]:
        yield "a summary"
    if inspect.isclass(item) and issubclass(item, Exception):
        return
    if "." not in name and ">>>" not in text:
        yield "an example"
    if inspect.isclass(item) and issubclass(item, tuple):  # its fields have docstrings of their own
        return
    if item.__name__ not in BRIEF:
        yield from _lacks_of_arguments(item, document)
    for entry in [*document["Parameters"], *document["Returns"], *document["Attributes"]]:
        if ARRAY.search(entry.type) and not SHAPED.search(entry.type):
            yield f"the shape of {entry.name or 'what it returns'}"


def _lacks_of_arguments(item, document):
    entries = document["Parameters"]
    described = [name.strip().lstrip("*") for entry in entries for name in entry.name.split(",")]
    signature = inspect.signature(item)
    taken = [name for name in signature.parameters if name not in OWNER and not name.startswith("_")]
    yield from (f"a description of {name}" for name in taken if name not in described)
    yield from (f"a parameter {name}, which it describes" for name in described if name not in taken)
    if inspect.isclass(item):
        return
    returns = signature.return_annotation not in (None, "None")
    if returns and not (document["Returns"] or document["Yields"]):
        yield "a description of what it returns"
    raises = re.search(r"^\s+raise \w", inspect.getsource(inspect.unwrap(item)), flags=re.MULTILINE)
    if raises and not document["Raises"]:
        yield "a description of its errors"


@pytest.mark.parametrize("module", MODULES)
def test_docstrings_are_complete(module):
    found = [f"{name} lacks {what}" for name, item in public(module) for what in lacks(name, item)]
    assert found == []
