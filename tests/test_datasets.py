from __future__ import annotations

import os
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from skecgattn._aami import MITBIH_DS1
from skecgattn.datasets import (
    DataNotFoundError,
    clear_data_home,
    fetch_mitbih,
    fetch_pac_pvc,
    get_data_home,
)
from skecgattn.datasets._pac_pvc import _borders, _stretches
from skecgattn.datasets._wfdb import quiet_wfdb

with quiet_wfdb() as wfdb:
    pass


@pytest.fixture
def source(monkeypatch):
    """Return the folder with the real files, hidden from the package."""
    folder = Path(os.environ["SKECGATTN_DATA"]) / "mitdb"
    monkeypatch.delenv("SKECGATTN_DATA")
    return folder


@pytest.fixture
def physionet(source, monkeypatch):
    """Serve downloads from the local files; return the list of what was asked for."""
    asked = []

    def dl_files(database, folder, names):
        asked.append((database, names))
        print("Downloading files...")
        for name in names:
            shutil.copyfile(source / name, Path(folder) / name)

    monkeypatch.setattr(wfdb, "dl_files", dl_files)
    return asked


def no_network(*args):
    raise ConnectionError("no route to host")


def test_data_home(tmp_path, monkeypatch):
    monkeypatch.setenv("SKECGATTN_HOME", str(tmp_path / "home"))
    home = Path(get_data_home())
    assert home == tmp_path / "home"
    assert home.is_dir()
    assert get_data_home(tmp_path / "other") == str(tmp_path / "other")
    (home / "file").write_text("x")
    clear_data_home()
    assert not home.exists()
    monkeypatch.delenv("SKECGATTN_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert get_data_home() == str(tmp_path / "skecgattn_data")


@pytest.mark.requires_data
@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("100", {"N": 2239, "A": 33, "V": 1}),
        ("119", {"N": 1543, "V": 444}),
        ("208", {"N": 1586, "V": 992, "F": 373, "S": 2, "Q": 2}),
    ],
)
def test_known_beats(name, counts):
    (record,) = fetch_mitbih([name]).records
    found = Counter(record.annotations["symbol"].tolist())
    assert {symbol: found[symbol] for symbol in "NAVFSQ" if found[symbol]} == counts
    assert record.signal.shape == (2, 650000)
    assert record.signal.dtype == np.float32
    assert record.sampling_rate == 360.0
    assert record.annotations["aux_note"][0] == "(N"


@pytest.mark.requires_data
def test_ds1_signal_leads_patients():
    mitbih = fetch_mitbih("ds1")
    assert [record.name for record in mitbih.records] == list(MITBIH_DS1)
    assert mitbih.DESCR.startswith("MIT-BIH")
    for record in mitbih.records:
        assert record.lead_names[0] == "MLII"
        assert record.lead_names[1] in {"V1", "V2", "V4", "V5"}
        assert 0.5 < np.ptp(record.signal[0]) < 12  # mV


@pytest.mark.requires_data
def test_leads_by_name(source, monkeypatch):
    monkeypatch.setenv("SKECGATTN_DATA", str(source.parent))
    reversed_record, v5_first = fetch_mitbih(["114", "102"]).records
    stored = wfdb.rdrecord(str(source / "114"))
    assert stored.sig_name == ["V5", "MLII"]
    assert reversed_record.lead_names == ["MLII", "V5"]
    np.testing.assert_allclose(reversed_record.signal, stored.p_signal.T[::-1], atol=1e-6)
    assert v5_first.lead_names == ["V5", "V2"]
    (one,) = fetch_mitbih(["114"], leads=["MLII"]).records
    np.testing.assert_array_equal(one.signal, reversed_record.signal[:1])
    with pytest.raises(ValueError, match=r"Record 102 has the leads \['V5', 'V2'\]"):
        fetch_mitbih(["102"], leads=["MLII"])


@pytest.mark.requires_data
def test_all_records_are_of_47_patients():
    records = fetch_mitbih("all").records
    patients = {record.name: record.patient for record in records}
    assert len(patients) == 48
    assert len(set(patients.values())) == 47
    assert patients["201"] == patients["202"] == "201"


@pytest.mark.parametrize(
    ("subset", "message"),
    [
        ("ds3", "subset must be one of"),
        ("100", r"Did you mean \['100'\]"),
        (["100", "999"], r"does not have: \['999'\]"),
        (["100", "100"], "none twice"),
        ([], "at least one"),
    ],
)
def test_bad_subset(subset, message):
    with pytest.raises(ValueError, match=message):
        fetch_mitbih(subset)


@pytest.mark.requires_data
def test_download_into_cache(physionet, tmp_path, capsys):
    first = fetch_mitbih(["100", "101"], data_home=tmp_path)
    output = capsys.readouterr()
    assert output.out == ""
    assert "Downloading mitdb" in output.err
    assert len(physionet) == 2
    assert sorted(p.name for p in (tmp_path / "mitdb").iterdir()) == [
        f"{record}.{extension}" for record in (100, 101) for extension in ("atr", "dat", "hea")
    ]
    second = fetch_mitbih(["101"], data_home=tmp_path, verbose=False)
    assert len(physionet) == 2
    np.testing.assert_array_equal(first.records[1].signal, second.records[0].signal)


@pytest.mark.requires_data
def test_damaged_cache(physionet, tmp_path, capsys):
    fetch_mitbih(["100"], data_home=tmp_path, verbose=False)
    damaged = tmp_path / "mitdb" / "100.dat"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    with pytest.raises(DataNotFoundError, match=r"100\.dat is damaged"):
        fetch_mitbih(["100"], data_home=tmp_path, download_if_missing=False)
    fetch_mitbih(["100"], data_home=tmp_path, verbose=False)
    assert capsys.readouterr().err == ""
    assert len(physionet) == 2
    assert damaged.stat().st_size == 1950000


@pytest.mark.requires_data
def test_damaged_download_is_not_kept(source, tmp_path, monkeypatch):
    def dl_files(database, folder, names):
        for name in names:
            (Path(folder) / name).write_bytes(b"half")

    monkeypatch.setattr(wfdb, "dl_files", dl_files)
    with pytest.raises(DataNotFoundError, match=r"100\.hea arrived damaged"):
        fetch_mitbih(["100"], data_home=tmp_path, verbose=False)
    assert list((tmp_path / "mitdb").iterdir()) == []


@pytest.mark.requires_data
def test_damaged_shared_file(source, tmp_path, monkeypatch):
    (tmp_path / "mitdb").mkdir()
    for extension in ("hea", "dat", "atr"):
        shutil.copyfile(source / f"100.{extension}", tmp_path / "mitdb" / f"100.{extension}")
    (tmp_path / "mitdb" / "100.atr").write_bytes(b"")
    monkeypatch.setenv("SKECGATTN_DATA", str(tmp_path))
    with pytest.raises(OSError, match=r"mitdb.100\.atr is damaged"):
        fetch_mitbih(["100"])


def test_no_data_and_no_network(tmp_path, monkeypatch):
    monkeypatch.delenv("SKECGATTN_DATA", raising=False)
    monkeypatch.setattr(wfdb, "dl_files", no_network)
    with pytest.raises(DataNotFoundError, match=r"(?s)Record 101 \(and 21 more\).*no route.*SKECGATTN_DATA"):
        fetch_mitbih(data_home=tmp_path, verbose=False)
    monkeypatch.setenv("SKECGATTN_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(OSError, match=r"nor in .*nowhere.*download_if_missing is False"):
        fetch_pac_pvc(data_home=tmp_path, download_if_missing=False)


def test_stretches_of_whole_beats():
    peaks = np.array([300, 900, 1500, 2100, 2700, 5700, 6000, 6300])
    borders = _borders(peaks)
    assert borders.tolist() == [0, 500, 1100, 1700, 2300, 3700, 5800, 6100]
    # 500 to 2300 is followed by one beat of 1400, then by one that alone is too long; the end is left out.
    assert list(_stretches(borders)) == [(1, 4), (4, 5)]


@pytest.mark.requires_data
def test_pac_pvc_is_the_published_set():
    bunch = fetch_pac_pvc()
    assert Counter(bunch.target.tolist()) == {"AN": 373, "NV": 2730}
    assert bunch.data.shape == (3103, 2, 2000)
    assert bunch.data.dtype == np.float32
    assert len(set(bunch.groups)) < len(set(bunch.record))  # 201 and 202
    shown = [set(beats["symbol"]) == set(label) for beats, label in zip(bunch.beats, bunch.target)]
    assert Counter(bunch.target[~np.array(shown)].tolist()) == {"AN": 35, "NV": 127}

    records = {record.name: record for record in fetch_mitbih(sorted(set(bunch.record))).records}
    for i in range(0, 3103, 100):
        signal = np.pad(records[bunch.record[i]].signal, ((0, 0), (2000, 2000)))
        segment = signal[:, bunch.start[i] + 2000 :][:, :2000]
        filled = np.flatnonzero(bunch.data[i].any(axis=0))
        assert abs(filled[0] - (1999 - filled[-1])) <= 8  # centred, up to samples that are zero by chance
        np.testing.assert_array_equal(bunch.data[i][:, filled], segment[:, filled])
        assert filled[0] <= bunch.beats[i]["sample"].min()
        assert filled[-1] >= bunch.beats[i]["sample"].max()


@pytest.mark.requires_data
def test_pac_pvc_strict_and_subset():
    strict = fetch_pac_pvc(strict=True)
    assert Counter(strict.target.tolist()) == {"AN": 356, "NV": 2627}
    assert all(set(beats["symbol"]) == set(label) for beats, label in zip(strict.beats, strict.target))
    X, y = fetch_pac_pvc(subset=["119"], return_X_y=True)
    assert len(X) == len(y) > 50
    assert set(y) == {"NV"}
    with pytest.raises(ValueError, match="no segment"):
        fetch_pac_pvc(subset=["107"])
