"""Batches of windows read by several processes."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future

import cloudpickle
import numpy as np
from joblib.externals.loky import ProcessPoolExecutor
from numpy.typing import NDArray

from skecgattn.records._batches import Batch
from skecgattn.records._model_reader import ModelReader
from skecgattn.records._stitching import Windows

AHEAD = 4
"""Batches that are handed to each of the other processes before this one reads a batch itself."""


def read_all(
    reader: ModelReader, batches: Iterator[Batch], maps: bool, n_processes: int
) -> Iterator[tuple[Windows, NDArray[np.int64]]]:
    """Yield what is read in batches, in order; few of them are in memory at a time.

    This process reads too, for it need not be started; the others get a few batches ahead.
    """
    if n_processes == 1:
        for batch in batches:
            yield reader.read(batch, maps)
        return
    # threads would wait for each other in Python's own steps
    model = cloudpickle.dumps(reader)
    executor = ProcessPoolExecutor(n_processes - 1)
    running: deque[Future[tuple[Windows, NDArray[np.int64]]]] = deque()
    try:
        for batch in batches:
            if sum(not future.done() for future in running) < AHEAD * (n_processes - 1):
                running.append(executor.submit(_read_elsewhere, model, batch, maps))
            else:
                running.append(Future())
                running[-1].set_result(reader.read(batch, maps))
            while running and running[0].done():
                yield running.popleft().result()
        while running:
            yield running.popleft().result()
    finally:
        executor.shutdown(kill_workers=True)


def _read_elsewhere(model: bytes, batch: Batch, maps: bool) -> tuple[Windows, NDArray[np.int64]]:
    """Return what another process reads."""
    reader: ModelReader = _load(model)
    return reader.read(batch, maps)


_load = functools.lru_cache(maxsize=1)(cloudpickle.loads)
