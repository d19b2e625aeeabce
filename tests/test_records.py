from __future__ import annotations

import os
import pickle
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from skecgattn.datasets import make_ecg
from skecgattn.datasets._wfdb import quiet_wfdb
from skecgattn.records import Record, UnreadableRecordError, read_record, unreadable_stretches
from skecgattn.records._quality import CONTEXT_SECONDS
from skecgattn.records._times import read_clock

DATA = Path(os.environ.get("SKECGATTN_DATA", "."))
RATE = 250


def write_wfdb(
    folder, name="rec", signal=None, leads=("MLII", "V1"), units=("mV", "mV"), fmt="16", comments=()
):
    """Write a record; its signal in mV, of shape (n_leads, n_timesteps), is returned."""
    if signal is None:
        signal = np.random.default_rng(0).uniform(-0.5, 0.5, (len(leads), 1001))
    gain = {"80": 200.0}.get(fmt, 1000.0)
    scale = {"V": 1e-3, "uV": 1e3}
    with quiet_wfdb() as wfdb:
        wfdb.wrsamp(
            name,
            fs=RATE,
            units=list(units),
            sig_name=list(leads),
            d_signal=np.rint(signal.T * gain).astype(int),
            adc_gain=[gain / scale.get(unit, 1) for unit in units],
            baseline=[0] * len(leads),
            fmt=[fmt] * len(leads),
            write_dir=str(folder),
            comments=list(comments),
        )
    return np.rint(signal * gain) / gain


def read_with_wfdb(path):
    with quiet_wfdb() as wfdb:
        return wfdb.rdrecord(str(path)).p_signal.T


def marked(signal, rate, **options):
    mask = np.zeros(np.shape(signal)[-1], dtype=bool)
    for start, stop in unreadable_stretches(signal, rate, **options):
        mask[start:stop] = True
    return mask


# --- reading


@pytest.mark.requires_data
def test_mitbih_is_read_as_wfdb_reads_it():
    headers = sorted((DATA / "mitdb").glob("*.hea"))
    assert len(headers) == 48
    for header in headers:
        record = read_record(header)
        assert record.read(7, 1000).shape == (2, 993)
    assert (record.n_timesteps, record.sampling_rate, record.start_time) == (650000, 360.0, None)
    np.testing.assert_allclose(
        record.read(3, 649999), read_with_wfdb(DATA / "mitdb" / record.name)[:, 3:649999], atol=1e-6
    )


@pytest.mark.requires_data
def test_annotations_of_100():
    record = read_record(DATA / "mitdb" / "100")
    symbols, counts = np.unique(record.annotations()["symbol"], return_counts=True)
    assert dict(zip(symbols, counts)) == {"+": 1, "A": 33, "N": 2239, "V": 1}
    assert record.annotations()["aux_note"][0] == "(N"
    assert record.annotations("qrs") is None
    assert record.lead_names == ("MLII", "V5")
    assert record.comments[0].startswith("69 M")


@pytest.mark.requires_data
def test_all_twelve_lead_ecgs_are_read():
    paths = [*(DATA / "cinc2021_samples").glob("*.mat"), *(DATA / "ludb" / "data").glob("*.dat")]
    assert len(paths) == 300
    for path in paths:
        record = read_record(path)
        X = record.read()
        assert X.shape == (12, record.n_timesteps)
        assert np.isfinite(X).all()
        assert record.lead_names[0].casefold() == "i"
        if record.name.startswith("JS4554"):  # fast ventricular tachycardias, which are not noise
            assert len(unreadable_stretches(X, record.sampling_rate)) == 0
    assert any("Dx:" in comment for comment in read_record(DATA / "cinc2021_samples" / "A0001").comments)


@pytest.mark.parametrize("fmt", ["16", "212", "24", "32", "80", "516"])
@pytest.mark.parametrize("n_leads", [1, 2, 3])
def test_pieces_are_the_whole(tmp_path, fmt, n_leads):
    leads = [f"V{i}" for i in range(n_leads)]
    X = write_wfdb(tmp_path, leads=leads, units=["mV"] * n_leads, fmt=fmt)
    record = read_record(tmp_path / "rec")
    np.testing.assert_allclose(record.read(), X, atol=1e-6)
    for start, stop in [(0, 1), (1, 2), (333, 700), (1000, 1001), (5, 5)]:
        np.testing.assert_allclose(record.read(start, stop), X[:, start:stop], atol=1e-6)


@pytest.mark.parametrize("fmt", ["16", "212"])
def test_missing_samples_are_nan(tmp_path, fmt):
    X = np.zeros((2, 100))
    X[1, 40:60] = -2.048 if fmt == "212" else -32.768
    write_wfdb(tmp_path, signal=X, fmt=fmt)
    missing = np.isnan(read_record(tmp_path / "rec").read())
    assert missing[1, 40:60].all()
    assert missing.sum() == 20


@pytest.mark.parametrize("name", ["rec", "rec.hea", "rec.dat"])
def test_any_name_of_a_record(tmp_path, name):
    write_wfdb(tmp_path, comments=["Age: 60", "Patient: p 7", "Dx: 1"])
    record = read_record(str(tmp_path / name))
    assert (record.name, record.patient, record.path) == ("rec", "p 7", tmp_path / "rec")
    assert repr(record) == "<Record rec: MLII, V1; 250 Hz, 4.004 s>"


def test_units(tmp_path):
    X = write_wfdb(tmp_path, leads=("I", "II", "III"), units=("uV", "V", "mV"))
    np.testing.assert_allclose(read_record(tmp_path / "rec").read(), X, rtol=1e-5, atol=1e-6)
    X = write_wfdb(tmp_path, leads=("II", "PLETH"), units=("mV", "NU"))
    assert read_record(tmp_path / "rec").lead_names == ("II",)
    with pytest.raises(ValueError, match=r"not voltages \(PLETH in 'NU'\)"):
        read_record(tmp_path / "rec", leads=["PLETH"])
    record = read_record(tmp_path / "rec", leads=["PLETH"], units="mV")
    np.testing.assert_allclose(record.read(), X[1:], atol=1e-6)


def test_signals_called_ecg_are_preferred(tmp_path):
    write_wfdb(tmp_path, leads=("EEG (C4-A1)", "ECG"))
    assert read_record(tmp_path / "rec").lead_names == ("ECG",)


def test_several_samples_a_frame(tmp_path):
    # Frames of two samples of the ECG and one of another signal.
    samples = np.arange(300, dtype="<i2").reshape(100, 3)
    samples.tofile(tmp_path / "rec.dat")
    (tmp_path / "rec.hea").write_text(
        "rec 2 125 100\nrec.dat 16x2 1000 16 0 0 0 0 II\nrec.dat 16 1000 16 0 0 0 0 Resp\n"
    )
    with pytest.raises(ValueError, match=r"different sampling rates \(II 250 Hz, Resp 125 Hz\)"):
        read_record(tmp_path / "rec")
    record = read_record(tmp_path / "rec", leads=["II"])
    assert (record.sampling_rate, record.n_timesteps) == (250, 200)
    np.testing.assert_allclose(record.read(31, 100)[0], samples[:, :2].reshape(-1)[31:100] / 1000, atol=1e-6)


def test_segments_of_fixed_layout_with_a_gap(tmp_path):
    A = write_wfdb(tmp_path, "a")
    B = write_wfdb(tmp_path, "b", signal=-A, units=("uV", "mV"))
    (tmp_path / "m.hea").write_text("m/3 2 250 2102\na 1001\n~ 100\nb 1001\n#subject_id: 9\n")
    record = read_record(tmp_path / "m")
    assert (record.n_timesteps, record.patient) == (2102, "9")
    whole = np.hstack([A, np.full((2, 100), np.nan), B])
    np.testing.assert_allclose(record.read(), whole, atol=1e-6)
    for start, stop in [(0, 1001), (1000, 1002), (1001, 1101), (900, 1200), (1101, 1102)]:
        np.testing.assert_allclose(record.read(start, stop), whole[:, start:stop], atol=1e-6)


def test_segments_of_variable_layout(tmp_path):
    A = write_wfdb(tmp_path, "a", leads=("V1", "II"))
    B = write_wfdb(tmp_path, "b", leads=("II",), units=("mV",))
    (tmp_path / "layout.hea").write_text("layout 2 250 0\n~ 0 200 0 0 0 0 0 II\n~ 0 200 0 0 0 0 0 V1\n")
    (tmp_path / "m.hea").write_text("m/3 2 250 2002\nlayout 0\na 1001\nb 1001\n")
    record = read_record(tmp_path / "m")
    assert record.lead_names == ("II", "V1")
    expected = np.hstack([A[::-1], np.vstack([B, np.full_like(B, np.nan)])])
    np.testing.assert_allclose(record.read(), expected, atol=1e-6)
    assert unreadable_stretches(record.select_leads(["V1"]).read(), RATE)[-1, 1] == 2002


def test_a_day_is_read_in_little_memory(tmp_path):
    n = 24 * 3600 * RATE
    with (tmp_path / "day.dat").open("wb") as file:
        file.truncate(4 * n)
    signals = "".join(f"day.dat 16 200 16 0 0 0 0 {lead}\n" for lead in ("I", "II"))
    (tmp_path / "day.hea").write_text(f"day 2 250 {n}\n{signals}")
    record = read_record(tmp_path / "day")
    tracemalloc.start()
    assert record.read(n - 60 * RATE, n).shape == (2, 60 * RATE)
    assert tracemalloc.get_traced_memory()[1] < 1e6
    tracemalloc.stop()


@pytest.mark.parametrize("n_timesteps", [RATE, 1])
def test_short_records(tmp_path, n_timesteps):
    X = write_wfdb(tmp_path, signal=np.full((2, n_timesteps), 0.25), fmt="212")
    np.testing.assert_allclose(read_record(tmp_path / "rec").read(), X)


def test_annotations_count_in_samples_of_the_record(tmp_path):
    write_wfdb(tmp_path)
    with quiet_wfdb() as wfdb:
        beats = np.array([100, 200]), ["N", "V"]
        wfdb.wrann("rec", "qrs", *beats, fs=500, aux_note=["0.5", ""], write_dir=str(tmp_path))
        wfdb.wrann("rec", "atr", *beats, write_dir=str(tmp_path))
    record = read_record(tmp_path / "rec")
    assert record.annotations("qrs").tolist() == [(50, "N", "0.5"), (100, "V", "")]
    assert record.annotations().tolist() == [(100, "N", ""), (200, "V", "")]
    (tmp_path / "rec.atr").write_bytes(b"\x01")
    with pytest.raises(UnreadableRecordError, match=r"rec\.atr cannot be read"):
        record.annotations()


# --- what goes wrong


def one_line(error):
    assert "\n" not in str(error.value)


def test_files_that_are_missing_or_damaged(tmp_path):
    with pytest.raises(FileNotFoundError, match="Record rec has no header") as error:
        read_record(tmp_path / "rec")
    one_line(error)
    write_wfdb(tmp_path)
    content = (tmp_path / "rec.dat").read_bytes()
    (tmp_path / "rec.dat").write_bytes(content[:2000])
    truncated = r"rec.dat is truncated: expected 4004 bytes, got 2000"
    with pytest.raises(UnreadableRecordError, match=truncated) as error:
        read_record(tmp_path / "rec")
    one_line(error)
    (tmp_path / "rec.dat").unlink()
    with pytest.raises(FileNotFoundError, match="its signal file"):
        read_record(tmp_path / "rec")
    (tmp_path / "rec.hea").write_text("nonsense")
    with pytest.raises(UnreadableRecordError, match="damaged or not of WFDB") as error:
        read_record(tmp_path / "rec")
    one_line(error)
    (tmp_path / "rec.hea").write_text("rec 0 250 100\n")
    with pytest.raises(UnreadableRecordError, match="has no signals"):
        read_record(tmp_path / "rec")


def test_a_file_that_shrinks_is_reported_when_it_is_read(tmp_path):
    write_wfdb(tmp_path)
    record = read_record(tmp_path / "rec")
    (tmp_path / "rec.dat").write_bytes(b"")
    with pytest.raises(UnreadableRecordError, match="Record rec: samples 10 to 20 cannot be read"):
        record.read(10, 20)


def test_a_header_without_a_length(tmp_path):
    X = write_wfdb(tmp_path, fmt="212")
    header = (tmp_path / "rec.hea").read_text().replace("250 1001", "250")
    (tmp_path / "rec.hea").write_text(header)
    np.testing.assert_allclose(read_record(tmp_path / "rec").read(), X, atol=1e-6)


def test_arguments(tmp_path):
    write_wfdb(tmp_path)
    with pytest.raises(ValueError, match=r"Record rec has no lead 'V9', 'X'; its leads are MLII, V1"):
        read_record(tmp_path / "rec", leads=["MLII", "V9", "X"])
    with pytest.raises(ValueError, match=r"no lead 'mlii'"):
        read_record(tmp_path / "rec", leads=["MLII", "mlii"])
    with pytest.raises(ValueError, match="at least one lead"):
        read_record(tmp_path / "rec", leads=[])
    with pytest.raises(ValueError, match="'leads' parameter of read_record"):
        read_record(tmp_path / "rec", leads="V1")
    with pytest.raises(ValueError, match="sampling_rate of 250 Hz, got 360"):
        read_record(tmp_path / "rec", sampling_rate=360)
    with pytest.raises(ValueError, match="units must be one of"):
        read_record(tmp_path / "rec", units="mmHg")
    (tmp_path / "x.pdf").touch()
    with pytest.raises(ValueError, match=r"or a file .edf, .csv or .npy, got 'x.pdf'"):
        read_record(tmp_path / "x.pdf")
    record = read_record(tmp_path / "rec")
    for start, stop in [(-1, 5), (6, 5), (0, 1002)]:
        with pytest.raises(ValueError, match="must lie within record rec"):
            record.read(start, stop)


# --- the record


def test_leads_are_chosen_by_name(tmp_path):
    X = write_wfdb(tmp_path, leads=("ECG", "V1", "ECG2"), units=("mV",) * 3)
    header = (tmp_path / "rec.hea").read_text().replace("ECG2", "ECG")
    (tmp_path / "rec.hea").write_text(header)
    record = read_record(tmp_path / "rec", leads=["v1", "ecg"], units="mV")
    np.testing.assert_allclose(record.read(), X[[1, 0]], atol=1e-6)
    assert record.lead_names == ("V1", "ECG")
    record = read_record(tmp_path / "rec", leads=["ECG", "ECG"])
    np.testing.assert_allclose(record.read(), X[[0, 2]], atol=1e-6)
    np.testing.assert_allclose(record.select_leads(["ECG"]).read(9, 20), X[[0], 9:20], atol=1e-6)


def test_a_record_is_pickled_by_its_path(tmp_path, monkeypatch):
    X = write_wfdb(tmp_path)
    monkeypatch.chdir(tmp_path)
    dumped = pickle.dumps(read_record("rec"))
    assert len(dumped) < 3000
    monkeypatch.chdir("/")
    np.testing.assert_allclose(pickle.loads(dumped).read(), X, atol=1e-6)


def test_from_array():
    X = np.arange(20).reshape(2, 10)
    record = Record.from_array(X, 5, name="x")
    assert (record.lead_names, record.duration, record.annotations()) == (("lead1", "lead2"), 2.0, None)
    np.testing.assert_array_equal(record.select_leads(["lead2"]).read(3), X[1:, 3:])
    assert record.read().dtype == np.float32
    assert Record.from_array(X[0], 5, ["II"]).read().shape == (1, 10)
    with pytest.raises(ValueError, match="lead_names must name 2 leads"):
        Record.from_array(X, 5, ["II"])
    with pytest.raises(ValueError, match="signal must hold numbers"):
        Record.from_array([["a"]], 5)
    with pytest.raises(ValueError, match="sampling_rate must be"):
        Record.from_array(X, 0)


# --- other formats


def write_edf(path, n_seconds=20, **more):
    edfio = pytest.importorskip("edfio", reason='EDF needs edfio: pip install "skecgattn[edf]"')
    X = np.random.default_rng(0).uniform(-0.5, 0.5, n_seconds * RATE)
    signals = [
        edfio.EdfSignal(np.zeros(n_seconds * 100), 100, label="EEG Fz", physical_dimension="uV"),
        edfio.EdfSignal(1000 * X, RATE, label="ECG II", physical_dimension="uV", physical_range=(-500, 500)),
        edfio.EdfSignal(X, RATE, label="ECG V1", physical_dimension="mV", physical_range=(-0.5, 0.5)),
    ]
    edfio.Edf(signals, **more).write(path)
    return X


def test_edf(tmp_path):
    edfio = pytest.importorskip("edfio", reason='EDF needs edfio: pip install "skecgattn[edf]"')
    X = write_edf(tmp_path / "a.edf", patient=edfio.Patient(code="P7", name="Doe"))
    record = read_record(tmp_path / "a.edf")
    assert (record.lead_names, record.sampling_rate, record.patient) == (("II", "V1"), RATE, "P7")
    assert not any("Doe" in comment for comment in record.comments)
    np.testing.assert_allclose(record.read(), np.stack([X, X]), atol=2e-5)
    np.testing.assert_allclose(pickle.loads(pickle.dumps(record)).read(123, 777)[1], X[123:777], atol=2e-5)
    assert read_record(tmp_path / "a.edf", leads=["EEG Fz"]).sampling_rate == 100
    content = (tmp_path / "a.edf").read_bytes()
    for n_bytes in (100, len(content) - 3000):
        (tmp_path / "a.edf").write_bytes(content[:n_bytes])
        with pytest.raises(UnreadableRecordError, match="damaged or not EDF"):
            read_record(tmp_path / "a.edf")


def test_edf_with_gaps_is_refused(tmp_path):
    edfio = pytest.importorskip("edfio", reason='EDF needs edfio: pip install "skecgattn[edf]"')
    path = tmp_path / "a.edf"
    write_edf(path, annotations=[edfio.EdfAnnotation(1, None, "x")])
    continuous = path.read_bytes()
    path.write_bytes(continuous.replace(b"EDF+C", b"EDF+D"))
    assert read_record(path).duration == 20
    path.write_bytes(continuous.replace(b"EDF+C", b"EDF+D").replace(b"+19\x14\x14", b"+90\x14\x14"))
    with pytest.raises(UnreadableRecordError, match="has gaps"):
        read_record(path)


def test_edf_without_edfio(tmp_path, monkeypatch):
    (tmp_path / "a.edf").touch()
    monkeypatch.setitem(sys.modules, "edfio", None)
    with pytest.raises(ImportError, match=r'pip install "skecgattn\[edf\]"'):
        read_record(tmp_path / "a.edf")


@pytest.mark.parametrize("end", ["\n", "\r\n", ""])
def test_csv(tmp_path, end):
    X = np.random.default_rng(0).uniform(-500, 500, (2, 10000)).round(3)
    newline = end or "\n"
    rows = [f"{i / RATE},{a},{b}" for i, (a, b) in enumerate(X.T)]
    rows[5000] = "20.0,,1.5"
    X[:, 5000] = np.nan, 1.5
    (tmp_path / "a.csv").write_text(newline.join(["Time,MLII, V1", *rows]) + end, newline="")
    record = read_record(tmp_path / "a.csv", sampling_rate=RATE, units="uV")
    assert (record.lead_names, record.n_timesteps) == (("MLII", "V1"), 10000)
    np.testing.assert_allclose(record.read(), X / 1000, atol=1e-6)
    for start, stop in [(4095, 4097), (4096, 8192), (9999, 10000), (4999, 5002)]:
        np.testing.assert_allclose(record.read(start, stop), X[:, start:stop] / 1000, atol=1e-6)
    np.testing.assert_allclose(record.select_leads(["V1"]).read(0, 9), X[1:, :9] / 1000, atol=1e-6)
    (tmp_path / "c.csv").write_text("V3,V3'\n1,2\n")  # names of leads that end in a quote keep it
    assert read_record(tmp_path / "c.csv", sampling_rate=RATE).lead_names == ("V3", "V3'")
    (tmp_path / "b.csv").write_text(newline.join(["'sample #','MLII','V1'", *rows]) + end, newline="")
    record = read_record(tmp_path / "b.csv", sampling_rate=RATE, units="uV")
    assert record.lead_names == ("MLII", "V1")
    np.testing.assert_allclose(record.read(), X / 1000, atol=1e-6)


@pytest.mark.parametrize(
    ("units", "scales"),
    [("'mV','mV','mmHg'", (1, 1)), ("'uV',' V ','NU'", (1e-3, 1e3)), ("(µV),(mV),()", (1e-3, 1))],
)
def test_csv_with_units(tmp_path, units, scales):
    path = tmp_path / "a.csv"
    X = np.random.default_rng(0).uniform(-5, 5, (3, 5000)).round(3)
    rows = [f"'0:{k / RATE:06.3f}',{a},{b},{c}" for k, (a, b, c) in enumerate(X.T)]
    rows[0], X[0, 0] = "'0:00.000',-,1.5,2", np.nan
    X[1, 0] = 1.5
    heading = ["'Elapsed time','MLII','V5','ABP'", f"'hh:mm:ss.mmm',{units}"]
    path.write_text("\n".join([*heading, *rows]), encoding="utf-8")
    record = read_record(path, sampling_rate=RATE)
    assert (record.lead_names, record.n_timesteps) == (("MLII", "V5"), 5000)
    expected = X[:2] * np.array(scales)[:, None]
    np.testing.assert_allclose(record.read(), expected, rtol=1e-5)
    np.testing.assert_allclose(
        record.select_leads(["V5"]).read(4090, 4100), expected[1:, 4090:4100], rtol=1e-5
    )
    given = read_record(path, sampling_rate=RATE, units="V")
    np.testing.assert_allclose(given.read(9, 19), X[:, 9:19] * 1000, rtol=1e-5)
    assert read_record(path, units="V").sampling_rate == RATE
    with pytest.raises(ValueError, match=r"not voltages \(ABP in "):
        read_record(path, sampling_rate=RATE, leads=["ABP"])
    path.write_text("\n".join(heading))
    with pytest.raises(UnreadableRecordError, match="holds no samples"):
        read_record(path, sampling_rate=RATE)


def clock(seconds):
    """Return the time of day, as wall clocks and rdsamp write it."""
    whole = int(seconds)
    return f"{whole // 3600 % 24:02d}:{whole // 60 % 60:02d}:{seconds % 60:06.3f}"


def date(seconds):
    return str(pd.Timestamp("2026-01-31 23:59:58") + pd.Timedelta(seconds, unit="s"))


def timed(path, rows, heading="time", write="{:.3f}".format):
    """Write a .csv file of one lead with a column of times; "" for a time leaves the row empty."""
    lines = ["" if time == "" else f"{write(time)},{k % 7}" for k, time in enumerate(rows)]
    path.write_text("\n".join([f"{heading},II", *lines, ""]), encoding="utf-8")
    return path


@pytest.mark.parametrize("rate", [128, 250, 360, 257.5, 500])
@pytest.mark.parametrize(
    ("heading", "write"),
    [
        ("time", "{:.4f}".format),
        ("Time", lambda s: f"{1000 * s:.1f}"),
        ("t (us)", lambda s: f"{1e6 * s:.0f}"),
        ("t", lambda s: f"{1.7e15 + 1e6 * s:.0f}"),
        ("ms", lambda s: f"{1000 * s:.1f}"),
        ("timestamp_ms", lambda s: f"{1.7e12 + 1000 * s:.1f}"),
        ("Phone timestamp [ns]", lambda s: f"{1_700_000_000_000_000_000 + round(1e9 * s)}"),
        ("time (s)", lambda s: f"{1e3 + s:.3f}"),
        ("elapsed time (min)", lambda s: f"{s / 60:.6f}"),
        ("'Elapsed time'", lambda s: f"'{int(s // 60)}:{s % 60:06.3f}'"),
        ("clock time", lambda s: clock(86395 + s)),
        ("timestamp", date),
        ("datetime", lambda s: f"{date(s).replace(' ', 'T')}+02:00"),
    ],
)
def test_times_of_a_csv_tell_the_rate(tmp_path, heading, write, rate):
    rows = np.arange(9000) / rate
    path = timed(tmp_path / "a.csv", rows, heading, write)
    record = read_record(path)
    assert (record.lead_names, record.n_timesteps) == (("II",), 9000)
    assert record.sampling_rate == pytest.approx(rate, rel=1e-3)
    assert (record.sampling_rate == rate) == (rate % 1 == 0)
    assert read_record(path, sampling_rate=rate).sampling_rate == rate
    with pytest.raises(ValueError, match=rf"a sampling_rate of {int(rate)}\S* Hz by its column .*, got 400"):
        read_record(path, sampling_rate=400)
    timed(path, [*rows[:5000], *rows[5200:]], heading, write)
    with pytest.raises(UnreadableRecordError, match=rf"lacks samples.* come at {int(rate)}\S* Hz, but"):
        read_record(path, sampling_rate=rate)


@pytest.mark.parametrize(
    "rows",
    [
        [*np.arange(1000), *np.arange(1500, 2500)],  # in the first rows
        [*np.arange(50_000), *np.arange(50_800, 100_000)],
        [*np.arange(6000), *np.arange(6000)],  # two strips
    ],
)
def test_uneven_times_of_a_csv_are_refused(tmp_path, rows):
    path = timed(tmp_path / "a.csv", np.array(rows) / 250)
    for given in ({}, {"sampling_rate": 250}):
        with pytest.raises(
            UnreadableRecordError, match="lacks samples, or repeats some: by its column 'time'"
        ):
            read_record(path, **given)


def test_times_of_a_csv_may_have_holes_and_a_broken_end(tmp_path):
    rows = [k / 250 if not 2000 <= k < 3000 else "" for k in range(9000)]
    path = timed(tmp_path / "a.csv", rows)
    assert read_record(path).sampling_rate == 250
    timed(path, [k / 250 for k in range(8192)])
    with path.open("a") as file:
        file.write("3")
    assert read_record(path).sampling_rate == 250
    timed(path, [*np.arange(8999) / 249.89, 0.1], write="{:.6f}".format)
    assert read_record(path).sampling_rate == pytest.approx(249.89, abs=1e-4)


def test_minutes_and_seconds_that_turn(tmp_path):
    path = timed(tmp_path / "a.csv", np.arange(70 * 60 * 50) / 50, write=lambda s: clock(s)[3:])
    assert read_record(path).sampling_rate == 50
    assert read_record(path, sampling_rate=50).n_timesteps == 210_000


@pytest.mark.parametrize("days", [0.9, 1.1, 3.4])
@pytest.mark.parametrize("missing", [0, 600])
def test_wall_clocks_that_turn(days, missing):
    """From ten o'clock on, for some days, of which ten minutes may be missing."""
    n_rows, rate = round(days * 86400 * 250), 250
    rows = np.r_[:4096, n_rows - 500 : n_rows]
    seconds = 36000 + rows / rate + np.where(rows < 4096, 0, missing)
    told = read_clock([clock(s) for s in seconds], rows, 4096, 0.0, ".")
    assert (told.rate, told.even) == (rate, not missing)


@pytest.mark.parametrize(
    ("heading", "cells"),
    [
        ("time", ["0", "1", "2"] * 9),  # not rising
        ("time", [str(k) for k in range(99)]),  # the samples' numbers
        ("time", [str(k) if k % 9 else "" for k in range(100, 999)]),  # those of an excerpt
        ("timestamp", [str(638_000_000_000_000_000 + 40_000 * k) for k in range(999)]),  # of 100 ns each
        ("time", [str(40 * k) for k in range(999)]),  # of 0.1 ms each
        ("time", [f"{k / 250 / 60:.6f}" for k in range(999)]),  # minutes, which nothing says
        ("time", [f"{k / 250:.2f}" for k in range(250)]),  # too coarse
        ("timestamp", [date(k // 250) for k in range(9000)]),
        ("timestamp", [f"{k // 73 * 73 / 250:.3f}" for k in range(1300)]),  # of packets
        ("time", ["a", "b"] * 9),
        ("time", [""] * 99),
        ("time", ["0", "0.004", "0.008"]),
        ("s", [str(np.sin(k)) for k in range(99)]),
    ],
)
def test_times_of_a_csv_that_tell_nothing(tmp_path, heading, cells):
    (tmp_path / "a.csv").write_text("\n".join([f"{heading},II", *(f"{cell},1" for cell in cells)]))
    with pytest.raises(ValueError, match=r"sampling_rate must be given for a.csv: it has no column of times"):
        read_record(tmp_path / "a.csv")
    record = read_record(tmp_path / "a.csv", sampling_rate=250)
    assert (record.sampling_rate, record.n_timesteps) == (250, len(cells))


def test_units_and_the_finest_of_several_times_of_a_csv(tmp_path):
    path = tmp_path / "a.csv"
    rows = [f"{date(k // 250)},{k / 250 / 60:.6f},1" for k in range(9000)]
    path.write_text("\n".join(["timestamp,'Elapsed time',II", "'yyyy-mm-dd hh:mm:ss','minutes','mV'", *rows]))
    assert read_record(path).sampling_rate == 250
    path.write_text("\n".join(["timestamp,'Elapsed time',II", ",'beats','mV'", *rows]))
    with pytest.raises(ValueError, match="sampling_rate must be given"):
        read_record(path)


def test_names_of_csv_leads_may_end_in_their_unit(tmp_path):
    (tmp_path / "a.csv").write_text(
        "II (uV),V1 [\u00b5V],V2 ( mV ),V_3,ECG_V\n1000,2000,3,4,5\n", encoding="cp1252"
    )
    record = read_record(tmp_path / "a.csv", sampling_rate=RATE)
    assert record.lead_names == ("II", "V1", "V2", "V_3", "ECG_V")
    assert record.select_leads(["II (uV)", "ECG_V"]).lead_names == ("II", "ECG_V")
    np.testing.assert_allclose(record.read()[:, 0], [1, 2, 3, 4, 5])
    np.testing.assert_allclose(
        read_record(tmp_path / "a.csv", sampling_rate=RATE, units="mV").read()[:, 0], [1000, 2000, 3, 4, 5]
    )


def test_columns_of_text_in_a_csv_are_no_leads(tmp_path):
    rows = [f"N,{k},NA,{k}" if k else "(AFIB,-,NA,0" for k in range(99)]
    (tmp_path / "a.csv").write_text("\n".join(["rhythm,II,V1,V2", *rows]))
    record = read_record(tmp_path / "a.csv", sampling_rate=RATE)
    assert record.lead_names == ("II", "V1", "V2")
    np.testing.assert_array_equal(record.read(1, 3), [[1, 2], [np.nan, np.nan], [1, 2]])
    (tmp_path / "a.csv").write_text("name,age\nx,young\n")
    with pytest.raises(UnreadableRecordError, match="must have a column of numbers, got text in name, age"):
        read_record(tmp_path / "a.csv", sampling_rate=RATE)


def test_csv_with_decimal_commas(tmp_path):
    rows = [f"{k / RATE:.4f};{k / 8};-{k / 4}".replace(".", ",") for k in range(5000)]
    rows[:100] = [f"{k};0;0" if k == 0 else row.split(";")[0] + ";0;" for k, row in enumerate(rows[:100])]
    (tmp_path / "a.csv").write_text("\n".join(["time;II;V1", *rows]))
    record = read_record(tmp_path / "a.csv")
    assert record.sampling_rate == RATE
    np.testing.assert_allclose(
        record.read(4090, 4100), [np.arange(4090, 4100) / 8, -np.arange(4090, 4100) / 4]
    )
    # of a file with points that of the times alone
    rows = [f"{clock(k / RATE)};{k / 8};a".replace(".", ",", 1) for k in range(5000)]
    (tmp_path / "a.csv").write_text("\n".join(["time;II;note", *rows, f"{clock(20)};1;1,5"]))
    record = read_record(tmp_path / "a.csv").select_leads(["II"])
    assert record.sampling_rate == RATE
    np.testing.assert_allclose(record.read(4, 6), [[0.5, 0.625]])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_is_infinite_is_missing(dtype):
    X = np.array([[1, np.inf, -np.inf, 2, np.finfo(dtype).max]], dtype=dtype)
    read = Record.from_array(X, RATE).read()
    np.testing.assert_array_equal(np.isnan(read), [[False, True, True, False, dtype is np.float64]])
    assert np.isinf(X).sum() == 2  # the user's array is as it was


def test_csv_whose_first_samples_are_missing(tmp_path):
    (tmp_path / "a.csv").write_text("MLII,V5\nNA,NaN\n-,\n1,2\n")
    np.testing.assert_array_equal(
        read_record(tmp_path / "a.csv", sampling_rate=RATE).read(), [[np.nan, np.nan, 1], [np.nan, np.nan, 2]]
    )


def test_csv_that_is_no_ecg(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("II;V1\n1;2\n1;x\n")
    with pytest.raises(ValueError, match=r"sampling_rate must be given for a.csv"):
        read_record(path)
    with pytest.raises(UnreadableRecordError, match="samples 0 to 2 cannot be read"):
        read_record(path, sampling_rate=RATE).read()
    path.write_text("1,2\n3,4\n")
    with pytest.raises(UnreadableRecordError, match="begin with a line of lead names, got '1,2'"):
        read_record(path, sampling_rate=RATE)
    path.write_text("II,V1\n")
    with pytest.raises(UnreadableRecordError, match="holds no samples"):
        read_record(path, sampling_rate=RATE)


def test_npy(tmp_path):
    X = np.random.default_rng(0).uniform(size=(3, 100))
    path = tmp_path / "a.npy"
    for stored in (X, X.T, np.asfortranarray(X)):
        np.save(path, stored)
        np.testing.assert_allclose(read_record(path, sampling_rate=RATE).read(5, 50), X[:, 5:50], rtol=1e-6)
    np.save(path, X[0])
    assert read_record(path, sampling_rate=RATE).n_leads == 1
    np.save(path, X[:, :2])  # two samples of three leads, as only names can tell
    assert read_record(path, sampling_rate=RATE).n_leads == 2
    record = read_record(path, sampling_rate=RATE, leads=["I", "II", "III"], units="V")
    np.testing.assert_allclose(record.read(), 1000 * X[:, :2], rtol=1e-6)
    with pytest.raises(ValueError, match=r"of shape \(3, 2\), got \['I'\]"):
        read_record(path, sampling_rate=RATE, leads=["I"])
    np.save(path, np.array([{}]), allow_pickle=True)
    with pytest.raises(UnreadableRecordError, match=r"not a \.npy file of numbers"):
        read_record(path, sampling_rate=RATE)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        read_record(tmp_path / "b.npy", sampling_rate=RATE)


# --- what can be read


@pytest.fixture(scope="module")
def ecg():
    """One minute of two leads, RATE Hz."""
    return make_ecg(1, duration=60, sampling_rate=RATE, pvc=1.0, random_state=0)[0][0]


def stretch(seconds):
    return slice(*(round(second * RATE) for second in seconds))


def assert_only(mask, start, stop):
    """The stretch in seconds is marked, nothing more than half a second beside it."""
    assert mask[stretch((start + 0.5, stop - 0.5))].all()
    assert not mask[: round((start - 0.6) * RATE)].any()
    assert not mask[round((stop + 0.6) * RATE) :].any()


def test_clean_ecg_is_readable(ecg):
    assert unreadable_stretches(ecg, RATE).shape == (0, 2)
    assert unreadable_stretches(5 * ecg, RATE).shape == (0, 2)


def test_missing_samples_are_unreadable_in_any_lead(ecg):
    X = ecg.copy()
    X[1, stretch((20, 30))] = np.nan
    assert_only(marked(X, RATE), 20, 30)
    X[1, stretch((20, 30))] = np.inf
    assert_only(marked(X, RATE), 20, 30)
    X = ecg.copy()
    X[0, 500:508] = np.nan
    assert not marked(X, RATE).any()
    X[0] = np.nan
    np.testing.assert_array_equal(unreadable_stretches(X, RATE), [[0, X.shape[1]]])


def test_lead_off(ecg):
    X = ecg.copy()
    X[:, stretch((20, 30))] = -0.3
    assert_only(marked(X, RATE), 20, 30)
    X[1] = ecg[1]
    assert not marked(X, RATE).any()
    assert_only(marked(X, RATE, readable_leads=1.0), 20, 30)
    assert_only(marked(X[0], RATE), 20, 30)


def test_saturation(ecg):
    X = ecg.copy()
    t = np.arange(10 * RATE) / RATE
    X[:, stretch((20, 30))] = 5.0 * np.sign(np.sin(2 * np.pi * 1.7 * t))
    assert_only(marked(X, RATE), 20, 30)
    np.testing.assert_array_equal(unreadable_stretches(np.clip(ecg, -0.2, 0.6), RATE), np.empty((0, 2)))


def test_white_noise(ecg):
    X = ecg.copy()
    X[:, stretch((20, 30))] += np.random.default_rng(0).standard_normal((2, 10 * RATE))
    mask = marked(X, RATE)
    assert mask[stretch((22.5, 27.5))].all()
    assert not mask[: 18 * RATE].any()
    assert not mask[32 * RATE :].any()


@pytest.mark.requires_data
def test_electrode_motion_at_minus_six_decibel():
    mask = marked(read_record(DATA / "nstdb" / "118e_6").read(), 360)
    t = np.arange(len(mask)) / 360
    noisy = (t > 300) & ((t - 300) // 120 % 2 == 0)  # two minutes with, two without, after five
    assert mask[noisy].mean() > 0.9
    assert mask[~noisy].mean() < 0.01


@pytest.mark.requires_data
@pytest.mark.parametrize("name", ["100", "119", "200", "207", "208", "215", "233"])
def test_ventricular_beats_and_flutter_are_readable(name):
    assert not marked(read_record(DATA / "mitdb" / name).read(), 360).any()


@pytest.mark.requires_data
@pytest.mark.parametrize("n_timesteps", [3600, 77777])
def test_pieces_give_the_stretches_of_the_whole(n_timesteps):
    X = read_record(DATA / "mitdb" / "203").read(0, 400000)
    X[0, 100000:100500] = np.nan
    X[:, 200000:201500] = 1.0
    whole = marked(X, 360)
    assert whole.sum() > 5000
    context = round(CONTEXT_SECONDS * 360)
    for start in range(0, X.shape[1], n_timesteps):
        first, last = max(0, start - context), start + n_timesteps + context
        piece = marked(X[:, first:last], 360, first_sample=first)[start - first :][:n_timesteps]
        np.testing.assert_array_equal(piece, whole[start : start + n_timesteps])


@pytest.mark.parametrize("n_timesteps", [1, 100, RATE])
@pytest.mark.parametrize("value", [0.0, np.nan])
def test_short_signals_without_ecg(n_timesteps, value):
    X = np.full((2, n_timesteps), value)
    np.testing.assert_array_equal(unreadable_stretches(X, RATE), [[0, n_timesteps]])


def test_a_second_of_ecg_is_readable(ecg):
    assert len(unreadable_stretches(ecg[:, :RATE], RATE)) == 0
    assert len(unreadable_stretches(np.empty((2, 0)), RATE)) == 0
    with pytest.raises(ValueError, match="signal must hold numbers"):
        unreadable_stretches(ecg[np.newaxis], RATE)
