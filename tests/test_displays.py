"""What the displays draw: positions, colours and proportions of the artists, also in grey."""

from __future__ import annotations

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skecgattn import AttentionECGClassifier
from skecgattn.datasets import make_ecg
from skecgattn.inspection import AttentionMapDisplay, BeatGalleryDisplay, TrainingHistoryDisplay
from skecgattn.preprocessing import Resampler

RATE = 250
N_TIMESTEPS = 4 * RATE
PEAKS = np.array([200, 450, 600, 900])
SYMBOLS = ["N", "V", "A", "N"]
LUMINANCE = np.array([0.2126, 0.7152, 0.0722])


@pytest.fixture(autouse=True)
def _closed_figures():
    matplotlib.use("Agg")
    yield
    plt.close("all")


def ecg(n_samples=3, n_leads=2, seed=0):
    """Sharp unit peaks at PEAKS, a multiple of the lead's number high, on a little noise."""
    time = np.arange(N_TIMESTEPS)
    peaks = np.exp(-(((time - PEAKS[:, None]) / 4) ** 2)).sum(axis=0)
    X = np.random.default_rng(seed).normal(0, 0.01, (n_samples, n_leads, N_TIMESTEPS))
    return X + peaks * np.arange(1, n_leads + 1)[:, None]


def true_beats():
    return np.array(list(zip(PEAKS, SYMBOLS)), dtype=[("sample", "i8"), ("symbol", "U4")])


LOCATED_DTYPE = [("sample", "i8"), ("start", "i8"), ("stop", "i8"), ("label", "U4"), ("score", "f8")]
LOCATED = np.array([(450, 330, 520, "V", 0.9), (600, 530, 740, "S", 0.7)], dtype=LOCATED_DTYPE)


class Dummy(ClassifierMixin, BaseEstimator):
    """Marks the peaks known beforehand, on ECGs of any sampling rate."""

    def __init__(self, sampling_rate=RATE):
        self.sampling_rate = sampling_rate

    def fit(self, X, y=None):
        self.history_ = [{"epoch": epoch, "train_loss": 1 / epoch} for epoch in (1, 2, 3)]
        self.best_epoch_ = 2
        return self

    def segment(self, X, target=None):
        peaks = {None: PEAKS[1:3], "V": PEAKS[1:2], "S": PEAKS[2:3]}[target]
        time = np.arange(X.shape[-1]) / self.sampling_rate
        one = np.exp(-(((time - peaks[:, None] / RATE) / 0.1) ** 2)).max(axis=0)
        return np.repeat(one[None], len(X), axis=0)

    def locate(self, X):
        found = LOCATED.copy()
        for field in ("sample", "start", "stop"):
            found[field] = np.rint(found[field] * self.sampling_rate / RATE)
        return [found] * len(X)


def mm_per_unit(ax):
    """Return how many mm a second and a mV take on the page."""
    ax.figure.canvas.draw()
    corners = ax.transData.transform([(0, 0), (1, 1)]) / ax.figure.dpi * 25.4
    return corners[1] - corners[0]


def rendered_luminance(ax, x, y):
    """Return the rendered lightness, 0 to 1, at points in data coordinates."""
    ax.figure.canvas.draw()
    page = np.asarray(ax.figure.canvas.buffer_rgba())[..., :3] @ LUMINANCE / 255
    columns, rows = ax.transData.transform(np.column_stack([x, y])).astype(int).T
    return page[page.shape[0] - 1 - rows, columns]


def contrast(first, second):
    """Return the WCAG 2 contrast ratio of two colours."""

    def relative(color):
        c = np.asarray(to_rgb(color))
        return np.where(c <= 0.03928, c / 12.92, ((c + 0.055) / 1.055) ** 2.4) @ LUMINANCE

    bright, dark = sorted((relative(first), relative(second)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("layout", ["own", "given"])
@pytest.mark.parametrize(("speed", "gain"), [(25.0, 10.0), (50.0, 20.0)])
def test_paper_has_true_proportions(layout, speed, gain):
    X = np.tile(ecg(n_leads=3), 2)
    ax = plt.subplots()[1] if layout == "given" else None
    display = AttentionMapDisplay.from_estimator(Dummy(), X, ax=ax, speed=speed, gain=gain)
    across, up = mm_per_unit(display.ax_)
    np.testing.assert_allclose(across / up, speed / gain, rtol=1e-3)
    if layout == "own":  # 8 s are 200 or 400 mm, in the range drawn at true size
        np.testing.assert_allclose([across, up], [speed, gain], rtol=1e-3)
    assert f"{speed:g} mm/s, {gain:g} mm/mV" in display.ax_.xaxis.label.get_text()


def test_grid_is_ruled_every_1_and_5_mm_from_zero():
    ax = AttentionMapDisplay.from_estimator(Dummy(), ecg()).ax_
    for step in (1, 5):
        (grid,) = [one for one in ax.collections if one.get_label() == f"_grid of {step} mm"]
        segments = np.array(grid.get_segments())
        vertical = segments[segments[:, 0, 0] == segments[:, 1, 0], 0, 0]
        level = segments[segments[:, 0, 1] == segments[:, 1, 1], 0, 1]
        for lines, unit, limits in ((vertical, step / 25, ax.get_xlim()), (level, step / 10, ax.get_ylim())):
            np.testing.assert_allclose(np.diff(lines), unit)
            np.testing.assert_allclose(lines / unit, np.rint(lines / unit), atol=1e-6)
            assert limits[0] <= lines[0] < limits[0] + unit
            assert limits[1] - unit < lines[-1] <= limits[1]


def test_what_the_estimator_knows_is_drawn():
    named = Dummy()
    named.lead_names = ["II", "V1"]
    assert AttentionMapDisplay.from_estimator(named, ecg()).lead_names == ["II", "V1"]
    assert AttentionMapDisplay.from_estimator(named, ecg(n_leads=3)).lead_names is None
    X, y, *_ = make_ecg(20, n_leads=1, duration=5, sampling_rate=100, label="frequent", random_state=0)
    table = pd.DataFrame(X[:, 0], columns=[f"at {k}" for k in range(X.shape[2])])
    clf = AttentionECGClassifier(max_epochs=1, width=4, random_state=0).fit(table, y)
    for rate in (None, 100):  # without a rate of its own the estimator locates nothing
        display = AttentionMapDisplay.from_estimator(clf, table, sample=3, sampling_rate=rate)
        np.testing.assert_array_equal(display.ecg[0], X[3, 0])
        np.testing.assert_allclose(next(iter(display.maps.values())), clf.segment(table)[3], atol=1e-6)


def test_leads_are_stacked_on_coarse_lines_in_their_order():
    X = ecg(n_leads=12)
    names = ["I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6"]
    display = AttentionMapDisplay.from_estimator(Dummy(), X, sample=-1, lead_names=names)
    lines = display.lines_[0]
    assert len(lines) == 12
    offsets = []
    for line, lead in zip(lines, X[-1], strict=True):
        np.testing.assert_allclose(line.get_xdata(), np.arange(N_TIMESTEPS) / RATE)
        offset = np.median(line.get_ydata())
        np.testing.assert_allclose(line.get_ydata(), lead - np.median(lead) + offset, atol=1e-9)
        offsets.append(offset)
    np.testing.assert_allclose(np.array(offsets) / 0.5, np.rint(np.array(offsets) / 0.5), atol=1e-9)
    assert (np.diff(offsets) < 0).all()
    drawn = {text.get_text(): text.xy[1] for text in display.ax_.texts if text.get_text() in names}
    assert sorted(drawn, key=drawn.get, reverse=True) == names
    tops = [line.get_ydata().max() for line in lines[1:4]]
    assert (tops <= np.array([line.get_ydata().min() for line in lines[:3]]) + 1e-9).all()


def test_band_is_the_map_behind_the_leads():
    X, estimator = ecg(), Dummy()
    display = AttentionMapDisplay.from_estimator(estimator, X)
    (band,) = display.bands_
    values = estimator.segment(X[:1])[0]
    np.testing.assert_allclose(np.ravel(band.get_array()), values)
    assert band.get_clim() == (0, 1)
    np.testing.assert_allclose(band.get_extent()[:2], [-0.5 / RATE, (N_TIMESTEPS - 0.5) / RATE])
    alpha = band.to_rgba(values)[:, 3]
    np.testing.assert_allclose(alpha, values * alpha.max() / values.max(), atol=0.01)
    assert band.zorder < display.lines_[0][0].zorder
    assert display.ax_.get_xlim()[1] == pytest.approx(4)
    scale = display.colorbar_
    assert (scale.vmin, scale.vmax) == (0, 1)
    assert scale.mappable is band


def test_trace_carries_the_map():
    X, estimator = ecg(), Dummy()
    display = AttentionMapDisplay.from_estimator(estimator, X, style="trace")
    assert display.bands_ == []
    values = estimator.segment(X[:1])[0]
    middle = (values[1:] + values[:-1]) / 2
    for line in display.lines_[0]:
        np.testing.assert_allclose(line.get_array(), middle)
        assert len(line.get_segments()) == N_TIMESTEPS - 1
        assert np.corrcoef(line.get_linewidths(), middle)[0, 1] > 0.999


def test_band_is_read_in_greyscale():
    values = np.repeat([0.0, 0.25, 0.5, 0.75, 1.0], N_TIMESTEPS // 5)
    display = AttentionMapDisplay.from_maps(np.zeros((1, N_TIMESTEPS)), values, sampling_rate=RATE)
    x = np.linspace(0.05, 3.95, 400)
    light = rendered_luminance(display.ax_, x, np.full(400, 0.77)).reshape(5, 80)
    medians = np.median(light, axis=1)
    assert (np.diff(medians) < -0.05).all()
    assert medians[0] - medians[-1] > 0.25
    band = display.bands_[0].to_rgba(1.0)
    darkest = np.array(band[:3]) * band[3] + 1 - band[3]
    assert contrast(display.lines_[0][0].get_color(), darkest) > 4.5


def test_trace_colours_darken_with_the_map():
    display = AttentionMapDisplay.from_estimator(Dummy(), ecg(), style="trace")
    colors = display.lines_[0][0].to_rgba(np.linspace(0, 1, 20))[:, :3]
    assert (np.diff(colors @ LUMINANCE) < 0).all()


@pytest.mark.parametrize("all_beats", [False, True])
def test_annotated_and_located_beats(all_beats):
    beats = true_beats()
    display = AttentionMapDisplay.from_estimator(Dummy(), ecg(), beats=[beats] * 3 if all_beats else beats)
    texts = display.beats_[0]
    assert [text.get_text() for text in texts] == SYMBOLS
    np.testing.assert_allclose([text.get_position()[0] for text in texts], PEAKS / RATE)
    assert [text.get_fontweight() for text in texts] == ["normal", "bold", "bold", "normal"]

    marker = display.located_[0]
    assert marker.get_marker() == "^"
    np.testing.assert_allclose(marker.get_xdata(), LOCATED["sample"] / RATE)
    spans = np.array(display.spans_[0].get_segments())
    np.testing.assert_allclose(spans[:, :, 0], np.column_stack([LOCATED["start"], LOCATED["stop"]]) / RATE)
    assert [label.get_text() for label in display.labels_[0]] == ["V", "S"]
    traces = np.concatenate([line.get_ydata() for line in display.lines_[0]])
    assert min(text.get_position()[1] for text in texts) > traces.max()
    assert max(marker.get_ydata()) < traces.min()
    legend = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert legend == ["annotated beat", "located beat"]


def test_without_beats_there_is_neither_lane_nor_legend():
    X, values = ecg(), np.zeros(N_TIMESTEPS)
    plain = AttentionMapDisplay.from_maps(X, values, sampling_rate=RATE)
    full = AttentionMapDisplay.from_maps(X, values, sampling_rate=RATE, beats=true_beats(), located=LOCATED)
    assert plain.ax_.get_legend() is None
    assert plain.beats_ == [[]]
    assert np.ptp(plain.ax_.get_ylim()) < np.ptp(full.ax_.get_ylim()) - 1


def test_targets_get_a_panel_each_with_their_beats():
    X, estimator = ecg(), Dummy()
    display = AttentionMapDisplay.from_estimator(estimator, X, target=["S", "V"])
    assert [ax.get_title(loc="left") for ax in display.ax_] == ["attention map, S", "attention map, V"]
    for panel, target in enumerate(["S", "V"]):
        expected = estimator.segment(X[:1], target=target)[0]
        np.testing.assert_allclose(np.ravel(display.bands_[panel].get_array()), expected)
        assert [label.get_text() for label in display.labels_[panel]] == [target]


@pytest.mark.parametrize("n_columns", [1, 2])
def test_several_maps_on_equal_sheets(n_columns):
    X = ecg()
    maps = {"ours": Dummy().segment(X), "Grad-CAM": np.full(X.shape[::2], 0.5)}
    display = AttentionMapDisplay.from_maps(
        X, maps, sampling_rate=RATE, sample=2, located={"ours": [LOCATED] * 3}, n_columns=n_columns
    )
    ours, rival = display.ax_
    assert [ax.get_title(loc="left") for ax in display.ax_] == list(maps)
    assert ours.get_xlim() == rival.get_xlim()
    assert ours.get_ylim() == rival.get_ylim()
    here, there = ours.get_position(), rival.get_position()
    np.testing.assert_allclose([here.width, here.height], [there.width, there.height])
    assert here.y0 > there.y1 if n_columns == 1 else here.x1 < there.x0
    assert [len(marker.get_xdata()) for marker in display.located_] == [2, 0]
    np.testing.assert_allclose(display.bands_[1].get_array(), 0.5)


def test_given_axes_hold_everything():
    figure, axes = plt.subplots(1, 2, figsize=(12, 4))
    X = ecg()
    display = AttentionMapDisplay.from_maps(
        X, {"a": X[:, 0] * 0, "b": X[:, 0] * 0}, sampling_rate=RATE, beats=true_beats(), ax=axes
    )
    assert display.figure_ is figure
    assert list(display.ax_) == list(axes)
    before = [ax.get_position(original=True) for ax in axes]
    figure.canvas.draw()
    for ax, place in zip(axes, before, strict=True):
        assert ax.get_position().height <= place.height + 1e-9
        assert ax.get_position().width <= place.width + 1e-9


def test_nothing_is_drawn_outside_an_own_figure():
    display = AttentionMapDisplay.from_estimator(
        Dummy(), ecg(n_leads=1), beats=true_beats(), target=["S", "V"]
    )
    display.figure_.canvas.draw()
    page, tight = display.figure_.bbox_inches, display.figure_.get_tightbbox()
    assert (tight.min >= page.min).all()
    assert (tight.max <= page.max).all()


def test_time_range_cuts_the_picture_not_the_map():
    X, estimator = ecg(), Dummy()
    display = AttentionMapDisplay.from_estimator(estimator, X, beats=true_beats(), time_range=(1.6, 2.6))
    shown = slice(400, 651)
    np.testing.assert_allclose(np.ravel(display.bands_[0].get_array()), estimator.segment(X)[0, shown])
    np.testing.assert_allclose(display.lines_[0][0].get_xdata(), np.arange(400, 651) / RATE)
    assert [text.get_text() for text in display.beats_[0]] == ["V", "A"]
    assert np.array(display.spans_[0].get_segments())[:, :, 0].min() >= 1.6


def test_without_sampling_rate_time_is_in_samples():
    display = AttentionMapDisplay.from_maps(ecg()[:, 0], np.zeros(N_TIMESTEPS), sampling_rate=None)
    assert "samples" in display.ax_.xaxis.label.get_text()
    assert "mm/s" not in display.ax_.xaxis.label.get_text()
    np.testing.assert_array_equal(display.lines_[0][0].get_xdata(), np.arange(N_TIMESTEPS))


def test_names_are_those_of_the_leads_drawn():
    X, named = np.repeat(ecg(n_leads=2), 2, axis=0), Dummy()
    named.lead_names = ["II", "V1"]
    same = make_pipeline(Resampler(RATE, new_rate=RATE), "passthrough", named).fit(X, [0, 1])
    assert AttentionMapDisplay.from_estimator(same, X).lead_names == ["II", "V1"]
    swapped = make_pipeline(FunctionTransformer(lambda X: X[:, ::-1]), named).fit(X, [0, 1])
    assert AttentionMapDisplay.from_estimator(swapped, X).lead_names is None
    given = AttentionMapDisplay.from_estimator(swapped, X, lead_names=["V1", "II"])
    assert given.lead_names == ["V1", "II"]


def test_pipeline_draws_the_ecg_before_its_transformers():
    X = ecg()
    pipeline = make_pipeline(Resampler(RATE, new_rate=125), Dummy(sampling_rate=125)).fit(X, [0, 1, 0])
    display = AttentionMapDisplay.from_estimator(pipeline, X)
    plain = AttentionMapDisplay.from_estimator(Dummy(), X)
    assert display.sampling_rate == RATE
    np.testing.assert_allclose(display.ecg, X[0])
    np.testing.assert_allclose(display.maps["attention map"], plain.maps["attention map"], atol=0.05)
    np.testing.assert_allclose(display.located_[0].get_xdata(), LOCATED["sample"] / RATE, atol=1 / RATE)
    gallery = BeatGalleryDisplay.from_estimator(pipeline, X)
    assert {label: len(beats) for label, beats in gallery.excerpts.items()} == {"S": 3, "V": 3}


def test_symbols_are_not_read_as_mathtext():
    beats = np.array([(100, "$"), (300, "/")], dtype=[("sample", "i8"), ("symbol", "U4")])
    display = AttentionMapDisplay.from_maps(ecg(), np.zeros(N_TIMESTEPS), sampling_rate=RATE, beats=beats)
    display.figure_.canvas.draw()
    assert [text.get_text() for text in display.beats_[0]] == ["$", "/"]


BAD_BEATS = np.array([(N_TIMESTEPS, "V")], dtype=[("sample", "i8"), ("symbol", "U4")])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"maps": np.zeros(7)}, r"maps must have shape \(3, 1000\) like X, .* got \(7,\)"),
        ({"maps": np.full(N_TIMESTEPS, 1.5)}, r"maps must lie in \[0, 1\], got values from 1.5"),
        ({"maps": {"a": np.full(N_TIMESTEPS, -1)}}, r"maps\['a'\] must lie in"),
        ({"maps": {}}, "at least one map"),
        ({"X": np.zeros((1, 1, 1, 9))}, r"X must have shape .* got shape \(1, 1, 1, 9\)"),
        ({"sample": 3}, "sample=3 is out of range: X holds 3"),
        ({"lead_names": ["I"]}, "lead_names must hold one name a lead: 2 expected, got 1"),
        ({"beats": BAD_BEATS}, "beats must lie in the ECG's 1000 samples"),
        ({"beats": [true_beats()]}, "beats must be a structured array, or one for each of the 3"),
        ({"located": true_beats()}, r"located must have the fields .* \['start', 'stop', 'label'\] missing"),
        ({"located": {"other": LOCATED}}, "located must have the names of maps"),
        ({"sampling_rate": -1}, "'sampling_rate' parameter"),
        ({"style": "lines"}, "'style' parameter"),
        ({"time_range": (9, 10)}, "time_range must hold two samples or more"),
    ],
)
def test_bad_input_is_named(changed, message):
    arguments = {"X": ecg(), "maps": np.zeros((3, N_TIMESTEPS)), "sampling_rate": RATE, **changed}
    with pytest.raises(ValueError, match=message):
        AttentionMapDisplay.from_maps(**arguments)


def test_bad_axes_and_estimators_are_named():
    X = ecg()
    maps = {"a": X[:, 0] * 0, "b": X[:, 0] * 0}
    with pytest.raises(ValueError, match="ax must hold one Axes a map: 2 expected, got 1"):
        AttentionMapDisplay.from_maps(X, maps, sampling_rate=RATE, ax=plt.subplots()[1])
    with pytest.raises(TypeError, match="ax must be matplotlib Axes"):
        AttentionMapDisplay.from_maps(X, maps, sampling_rate=RATE, ax="here")
    for display in (AttentionMapDisplay, BeatGalleryDisplay):
        with pytest.raises(TypeError, match="estimator must have a method"):
            display.from_estimator(BaseEstimator(), X)


@pytest.mark.parametrize("display", [AttentionMapDisplay, BeatGalleryDisplay])
def test_searches_are_drawn_by_their_best_estimator(display):
    X, y, *_ = make_ecg(12, sampling_rate=RATE, classes=["V"], label="frequent", random_state=0)
    clf = AttentionECGClassifier(RATE, width=2, lead_names=["a", "b"], max_epochs=1, random_state=0)
    search = GridSearchCV(clf, {"lr": [1e-3]}, cv=2).fit(X, y)
    drawn, best = (display.from_estimator(one, X) for one in (search, search.best_estimator_))
    if display is AttentionMapDisplay:
        assert drawn.lead_names == best.lead_names == ["a", "b"]
    assert len(drawn.figure_.axes) == len(best.figure_.axes)
    for one, other in zip(drawn.figure_.axes, best.figure_.axes):
        for line, same in zip(one.lines, other.lines, strict=True):
            np.testing.assert_array_equal(line.get_ydata(), same.get_ydata())


def test_gallery_aligns_beats_on_the_r_peak_by_class():
    X = ecg()
    display = BeatGalleryDisplay.from_estimator(Dummy(), X, lead=1, lead_name="V1", before=0.2, after=0.4)
    assert [ax.get_title(loc="left") for ax in display.ax_] == ["S", "V"]
    assert display.ax_[0].get_title(loc="right") == "3 beats · V1"
    for lines, mean, peak in zip(display.lines_, display.means_, (600, 450), strict=True):
        segments = np.array(lines.get_segments())
        expected = X[:, 1, peak - 50 : peak + 101]
        expected = expected - np.median(expected, axis=1, keepdims=True)
        np.testing.assert_allclose(segments[:, :, 0], np.tile(np.arange(-50, 101) / RATE, (3, 1)))
        np.testing.assert_allclose(segments[:, :, 1], expected)
        np.testing.assert_allclose(mean.get_ydata(), expected.mean(axis=0))
        assert mean.get_xdata()[np.argmax(mean.get_ydata())] == pytest.approx(0, abs=2 / RATE)
        assert mean.get_linewidth() > 2 * lines.get_linewidth()[0]
    limits = {ax.get_ylim() for ax in display.ax_}
    assert len(limits) == 1
    for ax in display.ax_:
        across, up = mm_per_unit(ax)
        assert across / up == pytest.approx(2.5, rel=1e-3)


def test_gallery_leaves_out_what_the_ecg_does_not_have():
    X = np.tile(np.arange(N_TIMESTEPS) / N_TIMESTEPS, (2, 1))
    located = [np.array([(10, "V")], dtype=[("sample", "i8"), ("label", "U4")]), np.array([], LOCATED_DTYPE)]
    display = BeatGalleryDisplay.from_beats(X, located, sampling_rate=RATE)
    (line,) = display.lines_[0].get_segments()
    assert line[0, 0] == pytest.approx(-10 / RATE)
    assert np.isnan(display.means_[0].get_ydata()[: 75 - 10]).all()
    assert display.ax_.get_title(loc="right") == "1 beat"


def test_gallery_without_beats_says_so():
    display = BeatGalleryDisplay.from_beats(ecg(1), [LOCATED[:0]], sampling_rate=RATE)
    assert "no beat located" in [text.get_text() for text in display.ax_.texts]
    assert display.lines_ == []


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"located": [LOCATED]}, "located must hold one array an ECG: 3 expected, got 1"),
        ({"located": [true_beats()] * 3}, r"located\[0\] must have the fields"),
        ({"lead": 2}, r"lead=2 is out of range: X has 2 lead\(s\)"),
    ],
)
def test_gallery_names_bad_input(changed, message):
    arguments = {"X": ecg(), "located": [LOCATED] * 3, "sampling_rate": RATE, **changed}
    with pytest.raises(ValueError, match=message):
        BeatGalleryDisplay.from_beats(**arguments)


def test_gallery_needs_a_sampling_rate():
    with pytest.raises(ValueError, match="sampling_rate must be given"):
        BeatGalleryDisplay.from_estimator(Dummy(sampling_rate=None), ecg())


HISTORY = [
    {"epoch": 1, "train_loss": 0.9, "valid_loss": 0.8, "lr": 0.1, "duration": 2.0},
    {"epoch": 2, "train_loss": 0.5, "valid_loss": 0.6, "lr": 0.2, "duration": 1.5},
    {"epoch": 3, "train_loss": 0.3, "valid_loss": 0.7, "lr": 0.1, "duration": 1.5},
]


def test_history_draws_losses_and_the_kept_epoch():
    display = TrainingHistoryDisplay.from_history(HISTORY, best_epoch=2)
    for key in ("train_loss", "valid_loss"):
        np.testing.assert_array_equal(display.lines_[key].get_xdata(), [1, 2, 3])
        np.testing.assert_array_equal(display.lines_[key].get_ydata(), [row[key] for row in HISTORY])
    assert display.best_.get_xydata().tolist() == [[2, 0.6]]
    train, valid = display.lines_["train_loss"], display.lines_["valid_loss"]
    assert train.get_linestyle() != valid.get_linestyle()
    assert train.get_marker() != valid.get_marker()
    assert "5 s" in display.ax_.get_xlabel()
    assert display.lr_ax_ is None


def test_history_of_an_estimator_without_validation():
    estimator = Dummy()
    with pytest.raises(NotFittedError):
        TrainingHistoryDisplay.from_estimator(estimator)
    ax = plt.subplots()[1]
    display = TrainingHistoryDisplay.from_estimator(estimator.fit(ecg()), ax=ax)
    assert display.ax_ is ax
    assert display.figure_ is ax.figure
    assert list(display.lines_) == ["train_loss"]
    assert display.best_.get_xydata().tolist() == [[2, 0.5]]


def test_history_draws_the_learning_rate_on_its_own_axis():
    display = TrainingHistoryDisplay.from_history(HISTORY, show_lr=True)
    np.testing.assert_array_equal(display.lines_["lr"].get_ydata(), [0.1, 0.2, 0.1])
    assert display.lines_["lr"].axes is display.lr_ax_
    assert display.best_ is None


@pytest.mark.parametrize(
    ("history", "options", "message"),
    [
        ([], {}, "at least one epoch"),
        ([{"epoch": 1}], {}, "'train_loss'.* missing"),
        (HISTORY, {"best_epoch": 9}, "best_epoch=9 is not in history, which has the epochs 1 to 3"),
        ([{"epoch": 1, "train_loss": 1.0}], {"show_lr": True}, "show_lr=True needs the key 'lr'"),
    ],
)
def test_history_names_bad_input(history, options, message):
    with pytest.raises(ValueError, match=message):
        TrainingHistoryDisplay.from_history(history, **options)
