"""Load wfdb only where it is needed, for it loads slowly, and without warnings that are not ours."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType


@contextmanager
def quiet_wfdb() -> Iterator[ModuleType]:
    """Give the module `wfdb`, and ignore what it uses of pandas that pandas 3.1 deprecates."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", category=DeprecationWarning)
        import wfdb

        yield wfdb
