"""Batches of windows read by several threads or processes."""

from __future__ import annotations

import functools
import multiprocessing
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import cloudpickle
import numpy as np
from joblib import cpu_count
from joblib.externals.loky import ProcessPoolExecutor
from numpy.typing import NDArray

from skecgattn.records._batches import Batch
from skecgattn.records._model_reader import ModelReader, Prepared
from skecgattn.records._stitching import Windows

AHEAD = 4
"""Batches that are handed to each of the other processes before this one reads a batch itself."""

PREPARED = 1
"""Batches that are prepared while the networks read one."""

LARGE_BLOCK = 31 << 20
"""Bytes of a block that the threshold of glibc, up to 32 MiB, can follow."""

Read = tuple[Windows, NDArray[np.int64]]


def read_all(reader: ModelReader, batches: Iterator[Batch], maps: bool, n_processes: int) -> Iterator[Read]:
    """Yield what is read in batches, in order; few of them are in memory at a time."""
    if n_processes > 1:
        yield from _read_in_processes(reader, batches, maps, n_processes)
    elif cpu_count() > 1 and _is_alone():
        yield from _read_in_threads(reader, batches, maps)
    else:
        for batch in batches:
            yield reader.read(batch, maps)


def _is_alone() -> bool:
    """Tell whether this is no worker, process or thread, beside which others have the cores."""
    return multiprocessing.parent_process() is None and threading.current_thread() is threading.main_thread()


def _read_in_threads(reader: ModelReader, batches: Iterator[Batch], maps: bool) -> Iterator[Read]:
    """Prepare batches in another thread; the networks, which are the caller's, run in this one."""
    _keep_freed_memory()
    waiting: deque[Future[Prepared]] = deque()
    thread = ThreadPoolExecutor(1)
    try:
        for batch in batches:
            waiting.append(thread.submit(reader.prepare, batch))
            if len(waiting) > PREPARED:
                yield reader.compute(waiting.popleft().result(), maps)
        while waiting:
            yield reader.compute(waiting.popleft().result(), maps)
    finally:
        thread.shutdown(cancel_futures=True)


def _keep_freed_memory() -> None:
    """Have glibc keep the memory that is freed, up to some MB, from now on.

    It returns freed memory to the system above a threshold, which follows the largest block that was freed.
    Two threads that fetch it back page by page spend a twentieth of their time on it. Nothing happens
    where there is no glibc.
    """
    np.empty(LARGE_BLOCK, dtype=np.uint8)


def _read_in_processes(
    reader: ModelReader, batches: Iterator[Batch], maps: bool, n_processes: int
) -> Iterator[Read]:
    """Read in this process too, for it need not be started; the others get a few batches ahead."""
    model = cloudpickle.dumps(reader)
    executor = ProcessPoolExecutor(n_processes - 1)
    running: deque[Future[Read]] = deque()
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


def _read_elsewhere(model: bytes, batch: Batch, maps: bool) -> Read:
    """Return what another process reads."""
    reader: ModelReader = _load(model)
    return reader.read(batch, maps)


_load = functools.lru_cache(maxsize=1)(cloudpickle.loads)
