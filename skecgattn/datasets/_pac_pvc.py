"""The published task on MIT-BIH: premature atrial against premature ventricular beats."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

import numpy as np
from sklearn.utils import Bunch
from sklearn.utils._param_validation import validate_params

from skecgattn.datasets._base import read_text
from skecgattn.datasets._mitbih import fetch_mitbih
from skecgattn.datasets._windows import as_objects, beats_of

LENGTH = 2000
TARGETS = {frozenset("AN"): "AN", frozenset("NV"): "NV"}


@validate_params(
    {"strict": ["boolean"], "return_X_y": ["boolean"]},  # the rest is checked by fetch_mitbih
    prefer_skip_nested_validation=False,
)
def fetch_pac_pvc(
    *,
    subset: str | Sequence[str] = "all",
    strict: bool = False,
    data_home: str | os.PathLike[str] | None = None,
    download_if_missing: bool = True,
    return_X_y: bool = False,
    verbose: bool = True,
) -> Bunch | tuple[np.ndarray, np.ndarray]:
    """Load segments of MIT-BIH with premature atrial ("AN") or premature ventricular beats ("NV").

    The task of Hu et al. [1]_, cut anew from the annotations: stretches of whole beats shorter than 2000
    samples (5.6 s), zero-padded on both sides to 2000. The class is the set of beat symbols of a stretch,
    {A, N} or {N, V}; all other stretches are left out. ``DESCR`` tells each step.

    Parameters
    ----------
    subset : {"ds1", "ds2", "all"} or sequence of str, default="all"
        Records to cut from, as in :func:`fetch_mitbih`. The published set is "all".

    strict : bool, default=False
        Whether the beats inside a segment alone decide its class, which gives 356 + 2627 segments. The
        published labels count the first beat after the stretch too, which gives 373 + 2730, of which 162 do
        not show what their label says.

    data_home : str or path-like, default=None
        Folder of the cache, as in :func:`get_data_home`.

    download_if_missing : bool, default=True
        Whether to download what is not on this machine.

    return_X_y : bool, default=False
        Whether to return ``(data, target)`` instead of a Bunch.

    verbose : bool, default=True
        Whether to show a progress bar while downloading.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        data : ndarray of shape (n_segments, 2, 2000), float32
            The segments in mV, leads as :func:`fetch_mitbih` orders them.
        target : ndarray of shape (n_segments,), str
            "AN" or "NV".
        groups : ndarray of shape (n_segments,), str
            Patient of each segment.
        record : ndarray of shape (n_segments,), str
            Name of the record.
        start : ndarray of shape (n_segments,), int64
            Index in the record of index 0 of the padded segment; it can be negative.
        beats : object ndarray of shape (n_segments,)
            The beats inside, for scoring only: ``sample`` (int64, index in the padded segment) and
            ``symbol``.
        target_names : list of str
            ["AN", "NV"].
        sampling_rate : float
            Samples a second (Hz), 360.0.
        DESCR : str
            Description of the data set.

    (data, target) : tuple of ndarrays, if ``return_X_y`` is True

    Raises
    ------
    ValueError, DataNotFoundError, OSError
        As :func:`fetch_mitbih`; ValueError too if the records hold no such segment.

    References
    ----------
    .. [1] X. Hu, L. Wen, S. Wang, D. Liang, J. Zhuang and Y. Shi, "Attention Based Joint Learning for
       Supervised Electrocardiogram Arrhythmia Differentiation with Unsupervised Abnormal Beat
       Segmentation", submitted to ICLR 2021, https://openreview.net/forum?id=HK_B2K0026.

    Examples
    --------
    >>> from skecgattn.datasets import fetch_pac_pvc
    >>> X, y = fetch_pac_pvc(return_X_y=True)  # doctest: +SKIP
    >>> X.shape  # doctest: +SKIP
    (3103, 2, 2000)
    """
    mitbih = fetch_mitbih(
        subset, data_home=data_home, download_if_missing=download_if_missing, verbose=verbose
    )
    data, target, groups, names, starts, truth = [], [], [], [], [], []
    for record in mitbih.records:
        beats = beats_of(record)
        borders = _borders(beats["sample"])
        for first, last in _stretches(borders):
            symbols = beats["symbol"][first : last if strict else last + 1]
            label = TARGETS.get(frozenset(symbols.tolist()))
            if label is None:
                continue
            stretch = record.signal[:, borders[first] : borders[last] + 1]  # both borders, as published
            before = (LENGTH - stretch.shape[1]) // 2
            after = LENGTH - stretch.shape[1] - before
            inside = beats[first:last].copy()
            inside["sample"] -= borders[first] - before
            data.append(np.pad(stretch, ((0, 0), (before, after))))
            target.append(label)
            groups.append(record.patient)
            names.append(record.name)
            starts.append(borders[first] - before)
            truth.append(inside)
    if not data:
        raise ValueError(f"subset={subset!r} has no segment whose beats are exactly A and N, or N and V.")
    bunch = Bunch(
        data=np.stack(data),
        target=np.asarray(target),
        groups=np.asarray(groups),
        record=np.asarray(names),
        start=np.asarray(starts, dtype=np.int64),
        beats=as_objects(truth),
        target_names=sorted(TARGETS.values()),
        sampling_rate=mitbih.records[0].sampling_rate,
        DESCR=read_text("pac_pvc.rst"),
    )
    return (bunch.data, bunch.target) if return_X_y else bunch


def _borders(peaks: np.ndarray) -> np.ndarray:
    """Return where each beat begins: a third of the way from the R peak before it; beat 0 begins at 0."""
    return np.concatenate([[0], np.ceil(2 * peaks[:-1] / 3 + peaks[1:] / 3)]).astype(np.int64)


def _stretches(borders: np.ndarray) -> Iterator[tuple[int, int]]:
    """Yield ``(first, last)`` of each longest run of beats ``first:last`` shorter than `LENGTH`.

    The walk starts at beat 1 and gives up where it would need the end of the record's last beat.
    """
    first = 1
    while True:
        # The first border that is too far; no border follows the last beat, so it ends the walk.
        too_far = max(int(np.searchsorted(borders, borders[first] + LENGTH)), first + 2)
        if too_far >= len(borders):
            return
        last = too_far - 1
        if borders[last] - borders[first] < LENGTH:
            yield first, last
        first = last
