"""One recording of any length, read piece by piece."""

from __future__ import annotations

import datetime
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils._param_validation import Interval, validate_params

from skecgattn.records._array_reader import ArrayReader, open_npy
from skecgattn.records._csv_reader import open_csv
from skecgattn.records._edf_reader import open_edf
from skecgattn.records._source import Reader, Source, UnreadableRecordError, lead_and_unit, to_millivolts
from skecgattn.records._wfdb_reader import open_wfdb, read_annotations

_WFDB_SUFFIXES = (".hea", ".dat", ".mat")


@dataclass(frozen=True, kw_only=True, eq=False)
class Record:
    """One ECG recording, whose samples are read when they are asked for.

    Made by :func:`read_record` from a file, or by :meth:`from_array`. A record holds a path and no open
    file: it can be pickled, sent to another process, and read by several threads.

    Parameters
    ----------
    name : str
        Name of the record, such as "100".

    sampling_rate : float
        Samples a second (Hz).

    lead_names : tuple of str
        Name of each lead.

    n_timesteps : int
        Length in samples.

    patient : str or None, default=None
        The patient, as far as the file tells: the EDF patient code, or a WFDB comment such as
        "patient: 12" or "subject_id: 12".

    comments : tuple of str, default=()
        Comments of the header, such as "Dx: 426783006".

    start_time : datetime.datetime, datetime.time or None, default=None
        When the recording began; only the time of day where the file has no date.

    path : pathlib.Path or None, default=None
        The file without its suffix; None for an array in memory.

    See Also
    --------
    read_record : Open a file.

    Examples
    --------
    >>> import numpy as np
    >>> from skecgattn.records import Record
    >>> record = Record.from_array(np.zeros((2, 720)), 360, ["MLII", "V1"], name="flat")
    >>> record
    <Record flat: MLII, V1; 360 Hz, 2 s>
    >>> record.select_leads(["v1"]).read(0, 90).shape
    (1, 90)
    """

    name: str
    sampling_rate: float
    lead_names: tuple[str, ...]
    n_timesteps: int
    patient: str | None = None
    comments: tuple[str, ...] = ()
    start_time: datetime.datetime | datetime.time | None = None
    path: Path | None = None
    _reader: Reader = field(repr=False)
    _channels: tuple[int, ...] = field(repr=False)

    @classmethod
    def from_array(
        cls,
        signal: ArrayLike,
        sampling_rate: float,
        lead_names: Sequence[str] | None = None,
        *,
        name: str = "array",
    ) -> Record:
        """Make a record of an array in memory.

        Parameters
        ----------
        signal : array-like of shape (n_leads, n_timesteps) or (n_timesteps,)
            The ECG in mV; NaN where it is missing. It is not copied.

        sampling_rate : float
            Samples a second (Hz).

        lead_names : sequence of str, default=None
            Name of each lead; None calls them "lead1", "lead2" and so on.

        name : str, default="array"
            Name of the record.

        Returns
        -------
        record : Record
            The record.

        Raises
        ------
        ValueError
            If the array has no samples or another shape, or not as many leads as there are names.
        """
        signal = np.atleast_2d(np.asarray(signal))
        if signal.ndim != 2 or signal.size == 0 or signal.dtype.kind not in "fiu":
            raise ValueError(
                "signal must hold numbers and have shape (n_leads, n_timesteps) or (n_timesteps,), "
                f"got {signal.dtype} of shape {signal.shape}."
            )
        if not sampling_rate > 0:
            raise ValueError(f"sampling_rate must be a positive number of Hz, got {sampling_rate!r}.")
        if lead_names is None:
            lead_names = [f"lead{i + 1}" for i in range(len(signal))]
        if isinstance(lead_names, str) or len(lead_names) != len(signal):
            raise ValueError(f"lead_names must name {len(signal)} leads, got {lead_names!r}.")
        return cls(
            name=name,
            sampling_rate=float(sampling_rate),
            lead_names=tuple(lead_names),
            n_timesteps=signal.shape[1],
            _reader=ArrayReader(signal),
            _channels=tuple(range(len(signal))),
        )

    def __repr__(self) -> str:
        leads = ", ".join(self.lead_names)
        return f"<Record {self.name}: {leads}; {self.sampling_rate:g} Hz, {self.duration:g} s>"

    @property
    def n_leads(self) -> int:
        """Number of leads."""
        return len(self.lead_names)

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.n_timesteps / self.sampling_rate

    def read(self, start: int = 0, stop: int | None = None) -> NDArray[np.float32]:
        """Read a piece of the recording.

        Parameters
        ----------
        start : int, default=0
            First sample.

        stop : int, default=None
            The sample after the last one; None reads to the end.

        Returns
        -------
        signal : ndarray of shape (n_leads, stop - start), float32
            The ECG in mV; NaN where it is missing or infinite.

        Raises
        ------
        ValueError
            If the piece is not within the recording.

        UnreadableRecordError
            If the file is damaged there.
        """
        stop = self.n_timesteps if stop is None else stop
        if not 0 <= start <= stop <= self.n_timesteps:
            raise ValueError(
                f"start and stop must lie within record {self.name}, 0 <= start <= stop <= "
                f"{self.n_timesteps}, got {start} and {stop}."
            )
        if start == stop:
            return np.empty((self.n_leads, 0), dtype=np.float32)
        try:
            with np.errstate(over="ignore", invalid="ignore"):  # what float32 cannot hold
                signal = self._reader.read(self._channels, int(start), int(stop))
        except UnreadableRecordError:
            raise
        except Exception as error:
            # wfdb, pandas and edfio each raise what their parsers raise.
            raise UnreadableRecordError(
                f"Record {self.name}: samples {start} to {stop} cannot be read: {error}"
            ) from error
        # nobody has measured infinity
        np.copyto(signal, np.nan, where=np.isinf(signal))
        return signal

    def select_leads(self, names: Sequence[str]) -> Record:
        """Take some leads, in the order given.

        Parameters
        ----------
        names : sequence of str
            Names of leads; case is ignored. Where several leads have one name, each use of the name takes
            the next of them.

        Returns
        -------
        record : Record
            The same recording with these leads only.

        Raises
        ------
        ValueError
            If there is no such lead.
        """
        chosen = _find_leads(names, self.lead_names, self.name)
        return replace(
            self,
            lead_names=tuple(self.lead_names[i] for i in chosen),
            _channels=tuple(self._channels[i] for i in chosen),
        )

    def annotations(self, extension: str = "atr") -> NDArray[np.void] | None:
        """Read the WFDB annotation file beside the recording.

        Parameters
        ----------
        extension : str, default="atr"
            Suffix of the annotation file: the annotator's name.

        Returns
        -------
        annotations : structured ndarray of shape (n_annotations,) or None
            Fields ``sample`` (int64, at the rate of this record), ``symbol`` (WFDB's, such as "N") and
            ``aux_note`` (str). None if there is no such file.

        Raises
        ------
        UnreadableRecordError
            If the file is damaged.
        """
        extension = extension.lstrip(".")
        if self.path is None or not self.path.with_name(f"{self.path.name}.{extension}").is_file():
            return None
        try:
            read, rate = read_annotations(self.path, extension)
        except Exception as error:
            raise UnreadableRecordError(
                f"The annotation file {self.path}.{extension} cannot be read: {error}"
            ) from error
        notes = [note.rstrip("\x00") for note in read.aux_note]
        width = max(map(len, notes), default=1)
        dtype = [("sample", np.int64), ("symbol", "U4"), ("aux_note", f"U{max(width, 1)}")]
        annotations = np.empty(len(read.sample), dtype=dtype)
        annotations["sample"] = np.rint(
            np.asarray(read.sample) * (self.sampling_rate / (rate or self.sampling_rate))
        )
        annotations["symbol"] = read.symbol
        annotations["aux_note"] = notes
        return annotations


@validate_params(
    {
        "path": [str, os.PathLike],
        "leads": ["array-like", None],
        "sampling_rate": [Interval(Real, 0, None, closed="neither"), None],
        "units": [str, None],
    },
    prefer_skip_nested_validation=True,
)
def read_record(
    path: str | os.PathLike[str],
    *,
    leads: Sequence[str] | None = None,
    sampling_rate: float | None = None,
    units: str | None = None,
) -> Record:
    """Open an ECG recording of any length.

    Parameters
    ----------
    path : str or path-like
        A record or file:

        - WFDB, as ``"mitdb/100"``, or with the suffix ``.hea``, ``.dat`` or ``.mat``: one or many segments,
          all formats that wfdb reads. Gaps, and leads that a segment lacks, are read as NaN.
        - EDF and EDF+ (``.edf``), through edfio (``pip install "skecgattn[edf]"``). "ECG II" is called "II".
        - ``.csv``: one column a lead, below a line of their names, which may end in a unit as in "II (uV)"; a
          second line may give the units, as PhysioNet's rdsamp and LightWAVE write it. Empty fields are NaN.
          A column called time (elapsed time, t, timestamp, date, seconds, ms, ..., with a unit or not) tells
          the sampling rate; it is no lead, nor are sample, index, and columns of text in the first and last
          rows. With separators other than commas numbers may have decimal commas.
        - ``.npy``: an array of shape (n_leads, n_timesteps), (n_timesteps, n_leads) or (n_timesteps,). Of
          two axes, the shorter one is that of the leads, or the first of two equal ones; with `leads`, one
          that is as long as there are names.

    leads : sequence of str, default=None
        Names of the leads wanted, in that order; case is ignored. None takes all signals that are voltages,
        and of them, if there are signals whose name begins with ECG or EKG, only those. A ``.npy`` file has
        no names: there, `leads` gives those of all its leads.

    sampling_rate : float, default=None
        Samples a second (Hz) of a ``.npy`` file, and of a ``.csv`` file without a column of times (``time``,
        ``elapsed time``, ``timestamp``, ``time_ms``, ...). The other formats know theirs.

    units : {"V", "mV", "uV", "nV"}, default=None
        Unit of the samples. None takes the unit that the file gives, and mV where it gives none.

    Returns
    -------
    record : Record
        The recording. No samples are read yet.

    Raises
    ------
    FileNotFoundError
        If there is no such record, or its header or signal file is missing.

    UnreadableRecordError
        If a file is damaged or shorter than its header says, or samples are missing between the times of a
        ``.csv`` file. It is an :class:`OSError`.

    ValueError
        If a lead does not exist or is not a voltage, the leads have different sampling rates, the sampling
        rate is missing or not the file's, or the suffix is unknown.

    ImportError
        If edfio is needed and not installed.

    See Also
    --------
    Record.from_array : A record of an array in memory.

    References
    ----------
    .. [1] G. B. Moody, "WFDB Applications Guide", PhysioNet,
       https://physionet.org/physiotools/wag/header-5.htm
    .. [2] B. Kemp and J. Olivan, "European data format 'plus' (EDF+), an EDF alike standard format for the
       exchange of physiological data", Clinical Neurophysiology 114(9), 2003.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from skecgattn.records import read_record
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = Path(folder.name) / "patient1.npy"
    >>> np.save(path, np.zeros((2, 2500)))
    >>> record = read_record(path, sampling_rate=250, leads=["MLII", "V1"])
    >>> record
    <Record patient1: MLII, V1; 250 Hz, 10 s>
    >>> record.read(0, 250).shape
    (2, 250)
    >>> folder.cleanup()
    """
    if units is not None and to_millivolts(units) is None:
        raise ValueError(f"units must be one of 'V', 'mV', 'uV', 'nV', got {units!r}.")
    path = Path(path).absolute()  # so that another process finds it
    stem, source = _open(path, leads, sampling_rate, units)
    chosen = _choose_leads(source, leads if path.suffix.lower() != ".npy" else None, units)
    rates = {source.sampling_rates[i]: source.lead_names[i] for i in chosen}
    if len(rates) > 1:
        listed = ", ".join(f"{name} {rate:g} Hz" for rate, name in rates.items())
        raise ValueError(
            f"Record {source.name} has leads of different sampling rates ({listed}); leads must choose "
            "among those of one rate."
        )
    rate = source.sampling_rates[chosen[0]]
    if sampling_rate is not None and not np.isclose(rate, sampling_rate):
        raise ValueError(f"Record {source.name} has a sampling_rate of {rate:g} Hz, got {sampling_rate:g}.")
    return Record(
        name=source.name,
        sampling_rate=rate,
        lead_names=tuple(source.lead_names[i] for i in chosen),
        n_timesteps=source.n_timesteps[chosen[0]],
        patient=source.patient,
        comments=source.comments,
        start_time=source.start_time,
        path=stem,
        _reader=source.reader,
        _channels=tuple(chosen),
    )


def _open(path: Path, leads: Any, sampling_rate: float | None, units: str | None) -> tuple[Path, Source]:
    """Open a file by its suffix; a name without a known suffix is that of a WFDB record."""
    suffix = path.suffix.lower()
    if suffix in (".edf", ".csv", ".npy"):
        stem = path.with_suffix("")
        if not path.is_file():
            raise FileNotFoundError(f"The file {path} does not exist.")
        if suffix == ".edf":
            return stem, open_edf(path, units)
        if suffix == ".csv":
            return stem, open_csv(path, None if sampling_rate is None else float(sampling_rate), units)
        if sampling_rate is None:
            raise ValueError(f"sampling_rate must be given for {path.name}: {suffix} files do not tell it.")
        return stem, open_npy(path, float(sampling_rate), units or "mV", leads)
    if suffix in _WFDB_SUFFIXES:
        path = path.with_suffix("")
    elif path.is_file() and not path.with_name(path.name + ".hea").is_file():
        raise ValueError(
            f"path must be a WFDB record ({', '.join(_WFDB_SUFFIXES)}) or a file .edf, .csv or .npy, "
            f"got {path.name!r}."
        )
    return path, open_wfdb(path, units)


def _choose_leads(source: Source, leads: Sequence[str] | None, units: str | None) -> list[int]:
    voltages = [i for i, unit in enumerate(source.units) if units or to_millivolts(unit) is not None]
    if leads is not None:
        chosen = _find_leads(leads, source.lead_names, source.name)
    else:
        chosen = [i for i in voltages if source.called_ecg[i]] or voltages
    strange = [i for i in chosen if i not in voltages] or ([] if chosen else range(len(source.units)))
    if strange:
        listed = ", ".join(f"{source.lead_names[i]} in {source.units[i]!r}" for i in strange)
        raise ValueError(
            f"Record {source.name} has signals that are not voltages ({listed}); choose others with leads, "
            "or say with units what they are in."
        )
    return chosen


def _find_leads(wanted: Sequence[str], lead_names: Sequence[str], record: str) -> list[int]:
    if len(wanted) == 0:
        raise ValueError("leads must name at least one lead, got none.")
    free: dict[str, list[int]] = {}
    for i, name in enumerate(lead_names):
        free.setdefault(name.casefold(), []).append(i)
    chosen, missing = [], []
    for name in wanted:
        if places := free.get(str(name).casefold()) or free.get(lead_and_unit(str(name))[0].casefold()):
            chosen.append(places.pop(0))
        else:
            missing.append(str(name))
    if missing:
        raise ValueError(
            f"Record {record} has no lead {', '.join(map(repr, missing))}; its leads are "
            f"{', '.join(lead_names)}."
        )
    return chosen
