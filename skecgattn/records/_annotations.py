"""The annotated heartbeats of one recording."""

from __future__ import annotations

import datetime
import json
import os
import tempfile
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skecgattn._files import write_text, written_whole
from skecgattn._words import counted
from skecgattn.datasets._wfdb import quiet_wfdb
from skecgattn.records._readability import join_stretches
from skecgattn.records._summary import Summary, summarise
from skecgattn.records._symbols import BEAT_SYMBOLS, NORMAL_SYMBOLS, beat_symbols, known_symbols
from skecgattn.records._wfdb_reader import OTHER_FILES, read_annotations

EXTENSION = "skg"
"""Suffix of the annotation files, WFDB's name of the annotator."""

HEARTBEAT = np.dtype([("sample", np.int64), ("label", object), ("score", np.float64), ("abnormal", np.bool_)])
"""Fields of an annotated heartbeat: R peak, class label, score, whether it is abnormal."""

LONGEST_HALF_SPAN = 1.0
"""Seconds that the span of a heartbeat reaches to either side, at most."""

PIECE = 5000
"""Annotations that are encoded at a time."""

QUALITY, UNREADABLE, READABLE = "~", "unreadable", "readable"

ABNORMAL, NORMAL = "abnormal", "normal"
"""Words in the note of a heartbeat that its symbol would tell otherwise."""


@dataclass(frozen=True, eq=False)
class RecordAnnotations:
    """Heartbeats of a recording with their labels, and the stretches that could not be read.

    Made by :func:`annotate`, or from a WFDB annotation file by :meth:`from_wfdb`.

    Parameters
    ----------
    record_name : str
        Name of the recording.

    sampling_rate : float
        Of the recording, in Hz.

    n_timesteps : int
        Length of the recording in samples.

    beats : DataFrame
        One row a heartbeat, ascending: `sample` (R peak), `time` (in seconds), `start` and `stop` (its span
        in samples, from midpoint to midpoint between heartbeats, at most 1 s to either side), `label`,
        `score` (in [0, 1], of the abnormal class that comes closest to its threshold) and `abnormal` (whether
        it reaches it).

    unreadable : DataFrame
        One row a stretch: `start` and `stop` in samples, `duration` in seconds.

    labels : tuple
        All labels that a heartbeat can have, that of normal ones first.

    thresholds : dict, default={}
        Threshold that was applied to the scores of each label.

    start_time : datetime.datetime, datetime.time or None, default=None
        When the recording began.

    See Also
    --------
    annotate : Annotate a recording.

    Examples
    --------
    >>> import numpy as np
    >>> from skecgattn.records import RecordAnnotations
    >>> heartbeats = np.array([(100, "N", 0.1, False), (280, "V", 0.9, True)],
    ...     dtype=[("sample", int), ("label", object), ("score", float), ("abnormal", bool)])
    >>> annotations = RecordAnnotations.from_heartbeats(heartbeats, [[400, 500]], record_name="a",
    ...     sampling_rate=100, n_timesteps=500, labels=("N", "V"))
    >>> annotations.beats
       sample  time  start  stop label  score  abnormal
    0     100   1.0      0   190     N    0.1     False
    1     280   2.8    190   380     V    0.9      True
    """

    record_name: str
    sampling_rate: float
    n_timesteps: int
    beats: pd.DataFrame
    unreadable: pd.DataFrame
    labels: tuple[Hashable, ...]
    thresholds: dict[Hashable, float] = field(default_factory=dict)
    start_time: datetime.datetime | datetime.time | None = None

    @classmethod
    def from_heartbeats(
        cls,
        heartbeats: NDArray,
        unreadable: Sequence | NDArray,
        *,
        record_name: str,
        sampling_rate: float,
        n_timesteps: int,
        labels: Sequence[Hashable],
        thresholds: Mapping[Hashable, float] | None = None,
        start_time: datetime.datetime | datetime.time | None = None,
    ) -> RecordAnnotations:
        """Make annotations of arrays.

        Parameters
        ----------
        heartbeats : structured ndarray
            Fields `sample`, `label`, `score` and `abnormal`, as in :class:`AnnotatedStretch`, ascending.

        unreadable : array-like of shape (n, 2)
            Unreadable stretches [start, stop) in samples; those that touch are joined.

        record_name, sampling_rate, n_timesteps, labels, thresholds, start_time
            As in the constructor.

        Returns
        -------
        annotations : RecordAnnotations
        """
        sample = heartbeats["sample"].astype(np.int64)
        reach = round(LONGEST_HALF_SPAN * sampling_rate)
        middles = (sample[1:] + sample[:-1] + 1) // 2
        first, last = (np.full(min(1, len(sample)), edge) for edge in (0, n_timesteps))
        beats = pd.DataFrame(
            {
                "sample": sample,
                "time": sample / sampling_rate,
                "start": np.maximum(np.concatenate([first, middles]), sample - reach).astype(np.int64),
                "stop": np.minimum(np.concatenate([middles, last]), sample + reach).astype(np.int64),
                "label": heartbeats["label"].astype(object),
                "score": heartbeats["score"].astype(np.float64),
                "abnormal": heartbeats["abnormal"].astype(bool),
            }
        )
        stretches = join_stretches(np.asarray(unreadable, dtype=np.int64).reshape(-1, 2))
        table = pd.DataFrame(stretches, columns=["start", "stop"])
        table["duration"] = (table["stop"] - table["start"]) / sampling_rate
        return cls(
            record_name,
            float(sampling_rate),
            int(n_timesteps),
            beats,
            table,
            tuple(labels),
            dict(thresholds or {}),
            start_time,
        )

    def __repr__(self) -> str:
        return (
            f"<RecordAnnotations {self.record_name}: {counted(len(self.beats), 'heartbeat')}, "
            f"{len(self.abnormal)} abnormal; {self.duration:g} s>"
        )

    @property
    def duration(self) -> float:
        """Length of the recording in seconds."""
        return self.n_timesteps / self.sampling_rate

    @property
    def abnormal(self) -> pd.DataFrame:
        """The rows of `beats` that are abnormal."""
        return self.beats[self.beats["abnormal"]]

    @property
    def symbols(self) -> dict[Hashable, str]:
        """WFDB symbols of the labels, as far as they are known; see :func:`beat_symbols`."""
        return {self.labels[0]: "N"} | known_symbols(self.labels)

    def summary(self) -> Summary:
        """Count, class by class and hour by hour.

        Returns
        -------
        summary : Summary
        """
        return summarise(self)

    def to_wfdb(
        self,
        folder: str | os.PathLike[str] = ".",
        *,
        extension: str = EXTENSION,
        symbols: Mapping[Hashable, str] | None = None,
    ) -> Path:
        """Write a WFDB annotation file, which `wfdb.rdann` and PhysioNet's tools read.

        Every heartbeat is an annotation with its score in `aux_note`, and "abnormal" or "normal" where its
        symbol would tell otherwise, such as "L" for a model's class. Signal quality annotations ("~") mark
        where an unreadable stretch begins (`subtype` -1, `aux_note` "unreadable") and where it ends (0,
        "readable").

        Parameters
        ----------
        folder : str or path-like, default="."
            Where to write ``<record_name>.<extension>``. An older file is replaced when the new one is
            complete.

        extension : str, default="skg"
            Name of the annotator: letters only.

        symbols : dict, default=None
            WFDB symbols of labels, as ``{label: symbol}``, beside those that :func:`beat_symbols` knows.

        Returns
        -------
        path : Path
            The file.

        Raises
        ------
        ValueError
            If a label has no symbol, or `extension` is not made of letters, or that of another kind of file.
        """
        chosen = beat_symbols(self.labels, self.symbols | dict(symbols or {}))
        check_extension(extension)
        stretches = self.unreadable[["start", "stop"]].to_numpy()
        ends = stretches[stretches[:, 1] < self.n_timesteps, 1]
        sample = np.concatenate([stretches[:, 0], ends, self.beats["sample"].to_numpy()])
        order = np.argsort(sample, kind="stable")
        first_beat = len(stretches) + len(ends)
        labels, scores, abnormal = (self.beats[name].to_numpy() for name in ("label", "score", "abnormal"))

        def annotation(k: int) -> tuple[str, int, str]:
            """Return symbol, subtype and note of the k-th of `sample`."""
            if k >= first_beat:
                beat = k - first_beat
                symbol = chosen[labels[beat]]
                return symbol, 0, _note(symbol, scores[beat], abnormal[beat])
            return (QUALITY, -1, UNREADABLE) if k < len(stretches) else (QUALITY, 0, READABLE)

        path = Path(folder) / f"{self.record_name}.{extension}"
        with written_whole(path) as file:
            # wfdb writes no empty file, and needs much memory for a long one
            if len(sample) == 0:
                file.write(
                    _encode(np.zeros(1, dtype=np.int64), [('"', 0, "no heartbeats")], self.sampling_rate)
                )
            base = 0
            for first in range(0, len(order), PIECE):
                rows = order[first : first + PIECE]
                piece = _encode(
                    sample[rows] - base,
                    [annotation(k) for k in rows.tolist()],
                    None if first else self.sampling_rate,
                )
                # two zero bytes end a file; times are counted from the annotation before
                file.write(piece if first + PIECE >= len(order) else piece[:-2])
                base = sample[rows[-1]]
        return path

    @classmethod
    def from_wfdb(
        cls,
        path: str | os.PathLike[str],
        extension: str = EXTENSION,
        *,
        n_timesteps: int | None = None,
        sampling_rate: float | None = None,
        symbols: Mapping[Hashable, str] | None = None,
    ) -> RecordAnnotations:
        """Read a file that :meth:`to_wfdb` has written.

        Parameters
        ----------
        path : str or path-like
            The file without its suffix.

        extension : str, default="skg"
            The suffix.

        n_timesteps : int, default=None
            Length of the recording in samples. None takes it to end with the last annotation.

        sampling_rate : float, default=None
            In Hz, for files that do not tell it.

        symbols : dict, default=None
            Symbols of labels, as ``{label: symbol}``, where they are not the labels themselves.

        Returns
        -------
        annotations : RecordAnnotations
            Heartbeats of the symbols N, L, R, B, e, j and n are normal where the file says nothing else.

        Raises
        ------
        ValueError
            If the file does not tell the sampling rate, and none is given.
        """
        path = Path(path)
        read, rate = read_annotations(path, extension)
        if (rate or sampling_rate) is None:
            raise ValueError(f"sampling_rate must be given: {path}.{extension} does not tell it.")
        sample, marks = np.asarray(read.sample, dtype=np.int64), np.asarray(read.symbol, dtype=object)
        notes = [note.rstrip("\x00") for note in read.aux_note]
        end = int(sample[-1]) + 1 if n_timesteps is None and len(sample) else int(n_timesteps or 0)
        labels = {symbol: label for label, symbol in (symbols or {}).items()}
        of_beats = np.array([mark in BEAT_SYMBOLS for mark in marks], dtype=bool)
        rows = np.flatnonzero(of_beats)
        heartbeats = np.empty(len(rows), dtype=HEARTBEAT)
        heartbeats["sample"] = sample[rows]
        heartbeats["label"] = [labels.get(marks[k], marks[k]) for k in rows]
        heartbeats["score"] = [_number(notes[k]) for k in rows]
        heartbeats["abnormal"] = [_is_abnormal(marks[k], notes[k]) for k in rows]
        starts = [
            int(s) for s, mark, note in zip(sample, marks, notes) if (mark, note) == (QUALITY, UNREADABLE)
        ]
        stops = [int(s) for s, mark, note in zip(sample, marks, notes) if (mark, note) == (QUALITY, READABLE)]
        stops += [end] * (len(starts) - len(stops))
        normal = [labels.get("N", "N")]
        found = dict.fromkeys([*normal, *labels.values(), *heartbeats["label"]])
        return cls.from_heartbeats(
            heartbeats,
            np.array([starts, stops]).T,
            record_name=path.name,
            sampling_rate=float(rate or sampling_rate or 0),
            n_timesteps=end,
            labels=tuple(found),
        )

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write `beats` as a CSV file, which appears when it is complete.

        Parameters
        ----------
        path : str or path-like
            The file.
        """
        write_text(Path(path), self.beats.to_csv(index=False))

    def to_dict(self) -> dict[str, Any]:
        """Return the summary, the abnormal beats and the unreadable stretches as plain lists and numbers.

        Returns
        -------
        values : dict
            Keys `record`, `sampling_rate`, `n_timesteps`, `thresholds`, `summary`, `abnormal`, `unreadable`.
        """
        beats = self.abnormal[["sample", "time", "label", "score"]]
        return {
            "record": self.record_name,
            "sampling_rate": self.sampling_rate,
            "n_timesteps": self.n_timesteps,
            "thresholds": {str(label): value for label, value in self.thresholds.items()},
            "summary": self.summary().to_dict(),
            "abnormal": beats.assign(label=beats["label"].map(str)).to_dict("records"),
            "unreadable": self.unreadable.to_dict("records"),
        }

    def to_json(self, path: str | os.PathLike[str]) -> None:
        """Write `to_dict` as a JSON file, which appears when it is complete.

        Parameters
        ----------
        path : str or path-like
            The file.
        """
        write_text(Path(path), json.dumps(self.to_dict(), indent=1) + "\n")


def check_extension(extension: str) -> None:
    """Refuse an extension that wfdb cannot write, or that other files have.

    Raises
    ------
    ValueError
    """
    if not (extension.isascii() and extension.isalpha()) or extension.casefold() in OTHER_FILES:
        others = ", ".join(OTHER_FILES)
        raise ValueError(f"extension must be made of letters, and none of {others}; got {extension!r}.")


def _encode(
    sample: NDArray[np.int64], annotations: Sequence[tuple[str, int, str]], sampling_rate: float | None
) -> bytes:
    """Return a WFDB annotation file of symbols, subtypes and notes, as `wfdb.wrann` writes it."""
    symbols, subtypes, notes = (list(column) for column in zip(*annotations))
    with tempfile.TemporaryDirectory() as folder, quiet_wfdb() as wfdb:
        wfdb.wrann(
            "piece",
            EXTENSION,
            sample,
            symbol=symbols,
            subtype=np.array(subtypes),
            aux_note=notes,
            fs=sampling_rate,
            write_dir=folder,
        )
        return (Path(folder) / f"piece.{EXTENSION}").read_bytes()


def _note(symbol: str, score: float, abnormal: bool) -> str:
    """Return a beat's score, and whether it is abnormal where its symbol means the opposite."""
    word = "" if abnormal == _is_abnormal(symbol, "") else f" {ABNORMAL if abnormal else NORMAL}"
    return f"{score:.4f}{word}"


def _is_abnormal(symbol: str, note: str) -> bool:
    word = note.rpartition(" ")[2]
    return word == ABNORMAL if word in (ABNORMAL, NORMAL) else symbol not in NORMAL_SYMBOLS


def _number(note: str) -> float:
    """Return the score in a note, NaN where there is none."""
    try:
        return float(note.partition(" ")[0])
    except ValueError:
        return float("nan")
