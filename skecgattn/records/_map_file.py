"""A map of any length, written as it comes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from skecgattn._files import written_whole


@contextlib.contextmanager
def map_writer(
    path: str | os.PathLike[str] | None, n_maps: int, n_timesteps: int
) -> Iterator[Callable[[NDArray[np.float16] | None], None]]:
    """Open a .npy file for a map (n_maps, n_timesteps), which appears when it is complete.

    Yields
    ------
    write : callable
        Appends a stretch (n_maps, n) of the map; does nothing without a path.
    """
    if path is None:
        yield lambda stretch: None
        return
    if Path(path).suffix != ".npy":
        raise ValueError(f"maps must be the path of a .npy file, got {str(path)!r}.")
    with written_whole(Path(path)) as file:
        # time runs slowest in the file, so that stretch follows stretch
        header = {"descr": "<f2", "fortran_order": True, "shape": (n_maps, n_timesteps)}
        np.lib.format.write_array_header_1_0(file, header)

        def write(stretch: NDArray[np.float16] | None) -> None:
            if stretch is not None:
                file.write(stretch.astype("<f2").tobytes(order="F"))

        yield write
