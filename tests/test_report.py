from __future__ import annotations

import base64
import datetime
import errno
import json
import re
import tracemalloc
import zlib
from dataclasses import replace

import numpy as np
import pytest

from skecgattn import AttentionECGClassifier
from skecgattn._aami import aami_class
from skecgattn.datasets import make_ecg
from skecgattn.records import Record, RecordAnnotations, _report, write_report
from skecgattn.records._report_signal import STEP, reduced
from skecgattn.records._report_strips import SECONDS, choose_strips

from ._browser import SIZES, check_page, watch

RATE, LEADS = 250.0, ("MLII", "V1")
BEAT = [("sample", np.int64), ("label", object), ("score", np.float64), ("abnormal", np.bool_)]


def annotated(n_ecgs=60, rate=RATE):
    """Ten minutes of synthetic ECG with its true beats, a gap and an unreadable stretch."""
    X, _, _, truth = make_ecg(n_ecgs, sampling_rate=rate, random_state=0)
    signal = X.transpose(1, 0, 2).reshape(len(LEADS), -1)
    length = X.shape[2]
    samples = np.concatenate([k * length + beats["sample"] for k, beats in enumerate(truth)])
    labels = [aami_class(symbol) for beats in truth for symbol in beats["symbol"]]
    heartbeats = np.empty(len(samples), dtype=BEAT)
    heartbeats["sample"], heartbeats["label"] = samples, labels
    heartbeats["abnormal"] = [label != "N" for label in labels]
    noise = np.random.default_rng(0).uniform(0, 0.45, len(samples))
    heartbeats["score"] = np.where(heartbeats["abnormal"], 1 - noise, noise)
    gap = slice(round(130 * rate), round(136 * rate))
    signal[:, gap] = np.nan
    keep = (samples < gap.start) | (samples >= gap.stop)
    record = replace(
        Record.from_array(signal, rate, LEADS, name="made <up>"),
        start_time=datetime.datetime(2026, 3, 4, 23, 55, 0),
    )
    annotations = RecordAnnotations.from_heartbeats(
        heartbeats[keep],
        [[gap.start, gap.stop]],
        record_name=record.name,
        sampling_rate=rate,
        n_timesteps=record.n_timesteps,
        labels=("N", "S", "V"),
        thresholds={"S": 0.5, "V": 0.5},
        start_time=record.start_time,
    )
    return record, annotations


@pytest.fixture(scope="module")
def made():
    return annotated()


@pytest.fixture(scope="module")
def page(made, tmp_path_factory):
    return write_report(tmp_path_factory.mktemp("report") / "made.html", *made, model_name="m.skecg")


def element(text, name):
    return re.search(rf'<script type="[^"]+" id="{name}">(.*?)</script>', text, re.DOTALL).group(1)


def unpack(text, number, n_leads):
    """Read a piece of the page as its script does."""
    raw = np.frombuffer(zlib.decompress(base64.b64decode(element(text, f"c{number}"))), dtype=np.uint8)
    low, high = raw.reshape(2, n_leads, -1).astype(np.int64)
    zigzag = low | (high << 8)
    values = np.cumsum((zigzag >> 1) ^ -(zigzag & 1), axis=1).astype(np.int16)
    return np.where(values == np.iinfo(np.int16).min, np.nan, values * STEP)


def test_page_needs_nothing_else_and_says_what_it_is(page):
    text = page.read_text()
    assert "http" not in text.replace("http-equiv", "")
    assert "default-src 'none'" in text
    assert not re.search(r"<(?:link|script|img)[^>]+(?:src|href)=\"(?!data:)", text)
    assert "Research software, no medical device." in text
    assert "Recording made &lt;up&gt;" in text
    assert "{{" not in text
    assert "2026-03-04 23:55:00" in text
    assert page.stat().st_size < 1.5e6


def test_summary_is_that_of_the_annotations(made, page):
    summary = made[1].summary()
    words = re.sub(r"<[^>]+>", " ", page.read_text())
    assert f"{summary.n_heartbeats:,}" in words
    for label in "SV":
        assert f"{summary.classes.loc[label, 'burden']:.2%} of heartbeats" in words


def test_the_whole_recording_is_inside(made, page):
    record, _ = made
    text = page.read_text()
    meta = json.loads(element(text, "meta"))
    assert (meta["rate"], meta["n"], meta["leads"]) == (125.0, record.n_timesteps // 2, list(LEADS))
    n_pieces = -(-meta["n"] // meta["chunk"])
    found = np.concatenate([unpack(text, k, 2) for k in range(n_pieces)], axis=1)
    expected = reduced(record, 0, meta["n"], 2)
    assert np.array_equal(np.isnan(found), np.isnan(expected))
    assert np.nanmax(np.abs(found - expected)) <= STEP / 2 + 1e-6
    # piece by piece is the same as at once
    assert np.array_equal(reduced(record, 5000, 9000, 2), expected[:, 5000:9000], equal_nan=True)


@pytest.mark.parametrize("disclosure", ["abnormal", "none"])
def test_recording_can_be_left_out(made, page, tmp_path, disclosure):
    record, annotations = made
    late = annotations.beats["abnormal"] & (annotations.beats["time"] > 300)
    annotations = replace(annotations, beats=annotations.beats.assign(abnormal=late))
    text = write_report(tmp_path / "r.html", record, annotations, disclosure=disclosure).read_text()
    pieces = {int(k) for k in re.findall(r'id="c(\d+)"', text)}
    assert pieces == (set() if disclosure == "none" else set(range(5, 10)))
    assert ('id="scroller"' in text) == (disclosure == "abnormal")


def test_strips_are_of_true_size(page):
    text = page.read_text()
    sizes = re.findall(r'viewBox="0 0 (\d+) (\d+)" width="([\d.]+)mm" height="([\d.]+)mm"', text)
    assert len(sizes) >= 9
    for width, height, across, along in sizes:
        assert float(across) == 25 * SECONDS == int(width) / 20
        assert float(along) == int(height) / 20


def test_strips_are_those_that_matter(made):
    _, annotations = made
    strips = choose_strips(annotations, ["S", "V"], 3, annotations.thresholds)
    groups = {}
    for strip in strips:
        groups.setdefault(strip.group, []).append(strip)
    beats = annotations.beats
    for label in "SV":
        best = beats[beats["label"] == label]["score"].max()
        own = groups[f"{label}: highest scores"]
        assert own[0].words == f"score {best:.2f}"
        focus = sorted(strip.focus for strip in own)
        assert np.diff(focus).min() >= SECONDS
    distance = (beats["score"] - 0.5).abs()
    assert groups["Least certain"][0].focus == beats["time"][distance.idxmin()]


def test_map_of_the_model_shades_the_strips(made, tmp_path):
    record, annotations = made
    X, y, *_ = make_ecg(24, sampling_rate=RATE, random_state=0)
    model = AttentionECGClassifier(RATE, lead_names=LEADS, max_epochs=1, random_state=0)
    model.fit(X, np.where(y.any(axis=1), "V", "N"))
    annotations = replace(annotations, thresholds={"V": 0.5})
    text = write_report(tmp_path / "r.html", record, annotations, model=model, strips=1).read_text()
    assert "the model's map" in text.replace("&#x27;", "'")
    assert '<g class="map k' in text


def test_annotations_without_scores(made, tmp_path):
    record, annotations = made
    beats = annotations.beats.assign(score=np.nan)
    annotations = replace(annotations, beats=beats, thresholds={})
    text = write_report(tmp_path / "r.html", record, annotations).read_text()
    assert "V: the first" in text
    assert "Least certain" not in text
    assert "nan" not in re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)


def test_nothing_found(tmp_path):
    record = Record.from_array(np.full((1, 300), np.nan), 100)
    annotations = RecordAnnotations.from_heartbeats(
        np.empty(0, BEAT),
        [[0, 300]],
        record_name="array",
        sampling_rate=100,
        n_timesteps=300,
        labels=("N", "V"),
        thresholds={"V": 0.5},
    )
    text = write_report(tmp_path / "r.html", record, annotations).read_text()
    assert "100.0%" in text


def test_mistakes(made, tmp_path):
    record, annotations = made
    with pytest.raises(ValueError, match="annotations must be of record"):
        write_report(tmp_path / "r.html", record, replace(annotations, n_timesteps=5))
    with pytest.raises(ValueError, match="no lead 'aVR'"):
        write_report(tmp_path / "r.html", record, annotations, leads=["aVR"])
    with pytest.raises(OSError, match="nowhere"):
        write_report(tmp_path / "nowhere" / "r.html", record, annotations)


def test_full_disk_leaves_the_earlier_report(made, tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "r.html").write_text("earlier")
    monkeypatch.setattr(_report, "write_pieces", full)
    with pytest.raises(OSError, match="No space left"):
        write_report(tmp_path / "r.html", *made)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["earlier"]


def test_memory_does_not_grow_with_the_recording(tmp_path):
    class Endless:
        def read(self, channels, start, stop):
            return np.sin(np.arange(start, stop) / 20)[np.newaxis].astype(np.float32)

    peaks = []
    for minutes in (30, 120):
        n = minutes * 60 * 250
        record = replace(Record.from_array(np.zeros((1, 1)), 250), n_timesteps=n, _reader=Endless())
        annotations = RecordAnnotations.from_heartbeats(
            np.empty(0, BEAT), [], record_name="array", sampling_rate=250, n_timesteps=n, labels=("N", "V")
        )
        tracemalloc.start()
        write_report(tmp_path / "r.html", record, annotations)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]


# --- in the browser


@pytest.mark.parametrize(("size", "scheme"), [("wide", "light"), ("narrow", "dark")])
def test_page_works_in_a_browser(made, page, browser, size, scheme):
    _, annotations = made
    view = browser.new_page(viewport=SIZES[size], color_scheme=scheme)
    complaints = watch(view)
    requests = []
    view.on("request", lambda request: requests.append(request.url))
    view.goto(page.as_uri())
    view.wait_for_selector("html[data-ready]")
    check_page(view)

    strip = view.locator(".strip svg").first
    strip.scroll_into_view_if_needed()
    assert strip.is_visible()
    assert strip.bounding_box()["width"] == pytest.approx(250 * 96 / 25.4, abs=1)

    rows = view.locator(".row canvas[data-drawn]")
    first_row = view.locator(".row .when").first
    scroller = view.locator("#scroller")
    scroller.scroll_into_view_if_needed()
    rows.first.wait_for()
    assert first_row.inner_text().startswith("0:00:00")
    inked = rows.first.evaluate(
        """(c) => { const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
        return new Set(Array.from({length: d.length / 4}, (_, k) => d[4 * k])).size; }"""
    )
    assert inked > 20  # paper, shades and a trace
    scroller.focus()
    view.keyboard.press("End")
    view.locator(".row canvas[data-drawn][aria-label*='to 0:10:00']").wait_for()
    assert "(day 2)" in view.locator(".row .when").last.inner_text()
    view.keyboard.press("Home")
    view.keyboard.press("PageDown")
    assert view.evaluate("document.getElementById('scroller').scrollTop") > 0

    view.keyboard.press("Home")
    abnormal = annotations.abnormal
    for rank in (1, 2):
        view.keyboard.press("n")
        expected = f"{rank} of {len(abnormal)}"
        assert expected in view.locator("#status").inner_text()
    view.keyboard.press("p")
    assert f"1 of {len(abnormal)}" in view.locator("#status").inner_text()
    assert view.locator("#status").inner_text().startswith(abnormal["label"].iloc[0])
    view.select_option("#which", "1")
    view.keyboard.press("n")
    assert f"of {(abnormal['label'] == 'V').sum()}" in view.locator("#status").inner_text()

    view.keyboard.press("?")
    assert view.locator("#help").is_visible()
    view.keyboard.press("Escape")
    assert not view.locator("#help").is_visible()

    for scale in ("60", "30", "0"):
        view.select_option("#scale", scale)
        rows.first.wait_for()
    view.select_option("#leads", "1")
    view.locator(".strip .link").first.click()
    assert "of" in view.locator("#status").inner_text()
    check_page(view)

    view.emulate_media(media="print")
    assert not scroller.is_visible()
    assert strip.is_visible()
    assert complaints == []
    assert requests == [page.as_uri()]
    view.close()
