"""Where data sets lie on disk, how they get there, and whether they are intact."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path

from sklearn.utils._param_validation import validate_params
from tqdm import tqdm

from skecgattn.datasets._wfdb import quiet_wfdb

DATA_VARIABLE = "SKECGATTN_DATA"
HOME_VARIABLE = "SKECGATTN_HOME"
EXTENSIONS = (".hea", ".dat", ".atr")


class DataNotFoundError(FileNotFoundError):
    """A data set is neither on this machine nor could it be downloaded.

    The message says where it was looked for, and what can be done.

    Examples
    --------
    >>> from skecgattn.datasets import DataNotFoundError
    >>> issubclass(DataNotFoundError, OSError)
    True
    """


@validate_params({"data_home": [str, os.PathLike, None]}, prefer_skip_nested_validation=True)
def get_data_home(data_home: str | os.PathLike[str] | None = None) -> str:
    """Return the folder in which downloaded data sets are kept, and make it where it is missing.

    Parameters
    ----------
    data_home : str or path-like, default=None
        The folder. None is the environment variable ``SKECGATTN_HOME``, or ``~/skecgattn_data`` where that is
        not set.

    Returns
    -------
    data_home : str
        Absolute path of the folder.

    See Also
    --------
    clear_data_home : Delete the folder.

    Examples
    --------
    >>> import os, tempfile
    >>> from skecgattn.datasets import get_data_home
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     os.path.isdir(get_data_home(os.path.join(folder, "ecg")))
    True
    """
    if data_home is None:
        data_home = os.environ.get(HOME_VARIABLE) or os.path.join("~", "skecgattn_data")
    home = Path(data_home).expanduser().absolute()
    home.mkdir(parents=True, exist_ok=True)
    return str(home)


@validate_params({"data_home": [str, os.PathLike, None]}, prefer_skip_nested_validation=True)
def clear_data_home(data_home: str | os.PathLike[str] | None = None) -> None:
    """Delete the folder in which downloaded data sets are kept, with all that is in it.

    Parameters
    ----------
    data_home : str or path-like, default=None
        The folder, as in :func:`get_data_home`.

    See Also
    --------
    get_data_home : Where the folder is.

    Examples
    --------
    >>> import os, tempfile
    >>> from skecgattn.datasets import clear_data_home, get_data_home
    >>> folder = get_data_home(tempfile.mkdtemp())
    >>> clear_data_home(folder)
    >>> os.path.exists(folder)
    False
    """
    shutil.rmtree(get_data_home(data_home))


def read_text(name: str) -> str:
    """Return a text file of the package's ``datasets/descr``."""
    return files("skecgattn.datasets").joinpath("descr", name).read_text(encoding="utf-8")


def read_checksums(name: str) -> dict[str, str]:
    """Return the SHA-256 sum of each file that the package file `name` lists."""
    return {file: checksum for checksum, file in map(str.split, read_text(name).splitlines())}


def locate_records(
    database: str,
    records: Iterable[str],
    checksums: Mapping[str, str],
    *,
    data_home: str | os.PathLike[str] | None,
    download_if_missing: bool,
    verbose: bool,
) -> dict[str, Path]:
    """Return a folder with intact files for every record, downloading those found nowhere."""
    shared = os.environ.get(DATA_VARIABLE)
    shared_folder = Path(shared).expanduser() / database if shared else None
    found: dict[str, Path] = {}
    missing: dict[str, str] = {}
    for record in records:
        names = [record + extension for extension in EXTENSIONS]
        if shared_folder and all((shared_folder / name).is_file() for name in names):
            if damaged := _damaged(shared_folder, names, checksums):
                raise OSError(
                    f"{damaged} is damaged: its SHA-256 sum is not the published one. Replace it in the "
                    f"folder that {DATA_VARIABLE} names, or unset {DATA_VARIABLE}."
                )
            found[record] = shared_folder
            continue
        cache = Path(get_data_home(data_home)) / database  # only here: it need not be writable before
        if not all((cache / name).is_file() for name in names):
            missing[record] = f"not in {cache}" + (f" nor in {shared_folder}" if shared_folder else "")
        elif damaged := _damaged(cache, names, checksums):
            missing[record] = f"{damaged} is damaged"
        else:
            found[record] = cache
    if missing:
        if not download_if_missing:
            raise DataNotFoundError(_advice(database, missing, "download_if_missing is False"))
        try:
            _download(database, list(missing), cache, checksums, verbose=verbose)
        except Exception as error:  # wfdb lets through whatever its network library raises
            reason = f"the download from PhysioNet failed ({type(error).__name__}: {error})"
            raise DataNotFoundError(_advice(database, missing, reason)) from error
        found.update(dict.fromkeys(missing, cache))
    return found


def _damaged(folder: Path, names: Iterable[str], checksums: Mapping[str, str]) -> Path | None:
    """Return the first file whose SHA-256 sum is not the known one."""
    for name in names:
        if hashlib.sha256((folder / name).read_bytes()).hexdigest() != checksums[name]:
            return folder / name
    return None


def _advice(database: str, missing: Mapping[str, str], reason: str) -> str:
    record, problem = next(iter(missing.items()))
    more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
    return (
        f"Record {record}{more} of {database}: {problem}, and {reason}. Connect to the internet and try "
        f"again; or get https://physionet.org/content/{database}/ on another machine, put its files into a "
        f"folder '{database}', and set the environment variable {DATA_VARIABLE} (or the argument data_home) "
        "to the folder that holds it."
    )


def _download(
    database: str, records: Iterable[str], cache: Path, checksums: Mapping[str, str], *, verbose: bool
) -> None:
    """Download records into the cache; a file appears there only whole and verified."""
    cache.mkdir(parents=True, exist_ok=True)
    for record in tqdm(records, desc=f"Downloading {database}", unit="record", disable=not verbose):
        names = [record + extension for extension in EXTENSIONS]
        with tempfile.TemporaryDirectory(dir=cache, prefix=".download-") as folder:
            # wfdb prints two lines a call
            with quiet_wfdb() as wfdb, contextlib.redirect_stdout(io.StringIO()):
                wfdb.dl_files(database, folder, names)
            if damaged := _damaged(Path(folder), names, checksums):
                raise OSError(f"{damaged.name} arrived damaged: its SHA-256 sum is not the published one")
            for name in names:
                os.replace(Path(folder) / name, cache / name)
