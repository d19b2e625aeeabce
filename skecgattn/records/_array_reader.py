"""Recordings in plain arrays: in memory and .npy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skecgattn.records._source import Source, UnreadableRecordError, to_millivolts, uniform_source


@dataclass(frozen=True)
class ArrayReader:
    """Samples of an array of shape (n_leads, n_timesteps) in mV."""

    signal: NDArray[Any]

    def read(self, channels: Sequence[int], start: int, stop: int) -> NDArray[np.float32]:
        return self.signal[list(channels), start:stop].astype(np.float32)


@dataclass(frozen=True)
class NpyReader:
    """Samples of a .npy file, mapped anew at each reading so that no memory stays in use."""

    path: Path
    lead_axis: int
    scale: float

    def read(self, channels: Sequence[int], start: int, stop: int) -> NDArray[np.float32]:
        signal = np.load(self.path, mmap_mode="r", allow_pickle=False)
        signal = np.moveaxis(np.atleast_2d(signal), self.lead_axis, 0)
        X = np.array(signal[:, start:stop][list(channels)], dtype=np.float32)
        return X if self.scale == 1 else X * np.float32(self.scale)


def open_npy(path: Path, sampling_rate: float, units: str, leads: Sequence[str] | None) -> Source:
    """Open a .npy file; `leads` names its leads."""
    try:
        signal = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise UnreadableRecordError(
            f"The file {path} is damaged or not a .npy file of numbers: {error}"
        ) from error
    if signal.ndim not in (1, 2) or signal.size == 0 or signal.dtype.kind not in "fiu":
        raise UnreadableRecordError(
            f"The file {path} must hold numbers of shape (n_leads, n_timesteps), (n_timesteps, n_leads) or "
            f"(n_timesteps,), got {signal.dtype} of shape {signal.shape}."
        )
    shape = (1, *signal.shape) if signal.ndim == 1 else signal.shape
    axis = int(shape[1] < shape[0])
    if leads is not None and len(leads) != shape[axis]:
        axis = 1 - axis
        if len(leads) != shape[axis]:
            raise ValueError(
                f"leads must name all leads of {path.name}, of shape {signal.shape}, got {list(leads)}."
            )
    names = tuple(map(str, leads)) if leads is not None else tuple(f"lead{i + 1}" for i in range(shape[axis]))
    return uniform_source(
        path,
        NpyReader(path, axis, _scale(units)),
        names,
        shape[1 - axis],
        sampling_rate,
        [units] * len(names),
    )


def _scale(units: str) -> float:
    scale = to_millivolts(units)
    if scale is None:
        raise ValueError(f"units must be a unit of voltage, got {units!r}.")
    return scale
