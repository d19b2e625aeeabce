"""MIT-BIH Arrhythmia Database."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.utils import Bunch
from sklearn.utils._param_validation import validate_params

from skecgattn._aami import MITBIH_DS1, MITBIH_DS2
from skecgattn.datasets._base import locate_records, read_checksums, read_text
from skecgattn.datasets._wfdb import quiet_wfdb

ANNOTATION = np.dtype([("sample", np.int64), ("symbol", "U4"), ("aux_note", "U16")])


@validate_params(
    {
        "subset": [str, "array-like"],
        "leads": ["array-like", None],
        "data_home": [str, os.PathLike, None],
        "download_if_missing": ["boolean"],
        "verbose": ["boolean"],
    },
    prefer_skip_nested_validation=True,
)
def fetch_mitbih(
    subset: str | Sequence[str] = "ds1",
    *,
    leads: Sequence[str] | None = None,
    data_home: str | os.PathLike[str] | None = None,
    download_if_missing: bool = True,
    verbose: bool = True,
) -> Bunch:
    """Load records of the MIT-BIH Arrhythmia Database, downloading them the first time.

    Records are looked for in the folder ``mitdb`` of the folder that the environment variable
    ``SKECGATTN_DATA`` names, then in the cache `data_home`, then at PhysioNet (about 2 MB a record). Every
    file is compared with its published SHA-256 sum; a damaged one in the cache is downloaded again.

    Parameters
    ----------
    subset : {"ds1", "ds2", "all"} or sequence of str, default="ds1"
        Which records: the training set "ds1" or the test set "ds2" of de Chazal et al. [1]_, 22 records each
        and none of them paced; all 48 records; or the named ones in the order given, such as
        ``["100", "208"]``.

    leads : sequence of str, default=None
        Names of the leads wanted, in that order, such as ``["MLII"]``. None gives both leads of each record:
        MLII first, then the chest lead (V1, V2, V4 or V5). Records 102 and 104 have no MLII; V5 stands first
        there and V2 second.

    data_home : str or path-like, default=None
        Folder of the cache, as in :func:`get_data_home`.

    download_if_missing : bool, default=True
        Whether to download what is not on this machine.

    verbose : bool, default=True
        Whether to show a progress bar while downloading.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        records : list of :class:`~sklearn.utils.Bunch`
            The records, each with

            name : str
                Name of the record, such as "100".
            patient : str
                Name of the patient's first record. 201 and 202 are of one patient, "201".
            signal : ndarray of shape (n_leads, n_timesteps), float32
                The ECG in mV.
            lead_names : list of str
                Name of each lead.
            sampling_rate : float
                Samples a second (Hz), 360.0.
            annotations : structured ndarray of shape (n_annotations,)
                All annotations: ``sample`` (int64), ``symbol`` (WFDB's, such as "N", or "+" for a change of
                rhythm) and ``aux_note`` (such as "(AFIB").
            comments : list of str
                The header's comments: age, sex, medication, notes.
        subset : str or list of str
            What was asked for.
        DESCR : str
            Description of the database.

    Raises
    ------
    ValueError
        If a record does not exist, or lacks a lead that was asked for.

    DataNotFoundError
        If records are missing and are not, or cannot be, downloaded. It is an :class:`OSError`.

    OSError
        If a file in the ``SKECGATTN_DATA`` folder is damaged.

    See Also
    --------
    make_windows : Cut the records into windows of one length.
    fetch_pac_pvc : A two-class task made of this database.

    References
    ----------
    .. [1] P. de Chazal, M. O'Dwyer and R. B. Reilly, "Automatic classification of heartbeats using ECG
       morphology and heartbeat interval features", IEEE Transactions on Biomedical Engineering 51(7), 2004.
    .. [2] G. B. Moody and R. G. Mark, "The impact of the MIT-BIH Arrhythmia Database", IEEE Engineering in
       Medicine and Biology 20(3), 2001.

    Examples
    --------
    >>> from skecgattn.datasets import fetch_mitbih
    >>> mitbih = fetch_mitbih(["100"])  # doctest: +SKIP
    >>> mitbih.records[0].signal.shape  # doctest: +SKIP
    (2, 650000)
    """
    checksums = read_checksums("mitbih.sha256")
    everything = sorted({file.split(".")[0] for file in checksums})
    names = _record_names(subset, everything)
    folders = locate_records(
        "mitdb",
        names,
        checksums,
        data_home=data_home,
        download_if_missing=download_if_missing,
        verbose=verbose,
    )
    return Bunch(
        records=[_read_record(folders[name], name, leads) for name in names],
        subset=subset if isinstance(subset, str) else names,
        DESCR=read_text("mitbih.rst"),
    )


def _record_names(subset: Any, everything: list[str]) -> list[str]:
    named = {"ds1": list(MITBIH_DS1), "ds2": list(MITBIH_DS2), "all": everything}
    if isinstance(subset, str):
        if subset not in named:
            hint = f" Did you mean [{subset!r}]?" if subset in everything else ""
            raise ValueError(
                f"subset must be one of {list(named)} or a list of records, got {subset!r}.{hint}"
            )
        return named[subset]
    names = [str(name) for name in subset]
    if unknown := [name for name in names if name not in everything]:
        raise ValueError(f"subset has records that MIT-BIH does not have: {unknown}. It has {everything}.")
    if not names or len(set(names)) < len(names):
        raise ValueError(f"subset must name at least one record and none twice, got {names}.")
    return names


def _read_record(folder: Path, name: str, leads: Sequence[str] | None) -> Bunch:
    path = str(folder / name)
    with quiet_wfdb() as wfdb:
        record = wfdb.rdrecord(path, return_res=32)
        annotation = wfdb.rdann(path, "atr")
    stored = list(record.sig_name)
    if leads is None:
        order = sorted(stored, key=lambda lead: lead != "MLII")  # stable; only 114 changes
    else:
        order = [str(lead) for lead in leads]
        if not order or not set(order) <= set(stored):
            raise ValueError(f"Record {name} has the leads {stored}, but leads={order} was asked for.")
    annotations = np.empty(len(annotation.sample), dtype=ANNOTATION)
    annotations["sample"] = annotation.sample
    annotations["symbol"] = annotation.symbol
    annotations["aux_note"] = [note.rstrip("\x00") for note in annotation.aux_note]
    return Bunch(
        name=name,
        patient="201" if name == "202" else name,
        signal=np.ascontiguousarray(record.p_signal.T[[stored.index(lead) for lead in order]]),
        lead_names=order,
        sampling_rate=float(record.fs),
        annotations=annotations,
        comments=[comment.strip() for comment in record.comments],
    )
