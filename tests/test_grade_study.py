"""The page for experts, in headless Chromium too, and the statistics of their grades against others' code."""

from __future__ import annotations

import base64
import importlib
import itertools
import json
import re
from collections import Counter

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from typer.testing import CliRunner

from skecgattn import AttentionECGClassifier, save
from skecgattn.cli._grade import grade as grade_app
from skecgattn.datasets import make_ecg
from skecgattn.inspection import GradeStudyDisplay, build_grade_study, summarise_grades
from skecgattn.inspection._grade_study import _order_strips
from skecgattn.preprocessing import Resampler

from ._browser import SIZES, check_page, profile, watch

RATE = 100
METHODS = ("attention", "shuffled")


class Marker(ClassifierMixin, BaseEstimator):
    """Marks the ECG's highest sample, 0.2 s to both sides."""

    def __init__(self, sampling_rate=RATE, classes=("N", "S", "V")):
        self.sampling_rate = sampling_rate
        self.classes = classes

    def fit(self, X, y=None):
        self.classes_ = np.array(self.classes)
        self.map_labels_ = [label for label in self.classes if label != "N"]
        return self

    def predict(self, X):
        return np.array(["V" if k % 2 else "N" for k in range(len(X))])

    def segment(self, X, target=None):
        X = np.asarray(X).reshape(len(X), -1, np.shape(X)[-1])
        time = np.arange(X.shape[-1]) / self.sampling_rate
        return 0.5 * (abs(time - time[X[:, 0].argmax(axis=1)][:, None]) < 0.2)


def ecgs(n_samples=12, n_leads=2, seed=0):
    """Noise with one spike of 2 mV in each ECG; its sample."""
    rng = np.random.default_rng(seed)
    X = rng.normal(0, 0.02, (n_samples, n_leads, 4 * RATE))
    spikes = rng.integers(40, 360, n_samples)
    X[np.arange(n_samples), :, spikes] += 2
    return X, spikes


def content(page):
    text = page.read_text(encoding="utf-8")
    return json.loads(re.search(r'id="study">(.*?)</script>', text, re.DOTALL)[1])


def key_of(study):
    return json.loads(study.key.read_text(encoding="utf-8"))


def decode(text, dtype=np.uint8):
    return np.frombuffer(base64.b64decode(text), dtype)


@pytest.fixture
def study(tmp_path):
    X, _ = ecgs()
    labels = np.repeat(["S", "V", "N"], 4)
    return build_grade_study(
        tmp_path / "study.html", Marker().fit(X), X, labels, methods=METHODS, n_strips=6, n_repeats=4,
        groups=np.arange(12) // 2, lead_names=["II", "V1"], class_names={"V": "ventricular <ectopic>"},
        title="Beats & <maps>", random_state=0,
    )  # fmt: skip


# --- the page ---------------------------------------------------------------------------------------------


def test_strips_and_key(study):
    key, page = key_of(study), content(study.page)
    strips = key["strips"]
    assert study.study == key["study"] == page["study"]
    assert study.n_strips == len(page["strips"]) == len(strips) == 6 * 2 + 4
    assert [strip["id"] for strip in page["strips"]] == list(strips)
    assert [strip["position"] for strip in strips.values()] == list(range(1, 17))
    firsts = [strip for strip in strips.values() if strip["repeat_of"] is None]
    shown = Counter((strip["ecg"], strip["method"]) for strip in firsts)
    assert len({ecg for ecg, _ in shown}) == 6
    assert set(shown.values()) == {1}
    assert Counter(strip["method"] for strip in firsts) == {"attention": 6, "shuffled": 6}
    repeats = {token: strip for token, strip in strips.items() if strip["repeat_of"] is not None}
    assert Counter(strip["method"] for strip in repeats.values()) == {"attention": 2, "shuffled": 2}
    by_id = {strip["id"]: strip for strip in page["strips"]}
    for token, strip in repeats.items():
        first = strips[strip["repeat_of"]]
        assert first["position"] < strip["position"] - 1
        assert (first["ecg"], first["method"]) == (strip["ecg"], strip["method"])
        assert by_id[token] == {**by_id[strip["repeat_of"]], "id": token}
    for strip in strips.values():
        assert strip["label"] == "SV"[strip["ecg"] // 4]
        assert strip["group"] == str(strip["ecg"] // 2)


def test_page_draws_the_ecgs_and_maps(study):
    X, spikes = ecgs()
    key, page = key_of(study), content(study.page)
    maps = {}
    for strip in page["strips"]:
        known, shades = key["strips"][strip["id"]], decode(strip["map"])
        ecg = page["ecgs"][strip["ecg"]]
        assert [lead["name"] for lead in ecg["leads"]] == ["II", "V1"]
        expected = X[known["ecg"]] - np.median(X[known["ecg"]], axis=1, keepdims=True)
        traces = [decode(lead["trace"], "<i2") * ecg["unit"] for lead in ecg["leads"]]
        np.testing.assert_allclose(traces, expected, atol=0.0026)
        assert ecg["rate"] == RATE
        assert shades.max() == 255
        assert len(shades) == 100  # one a millimetre of 4 s
        maps[known["ecg"], known["method"]] = shades
        if known["method"] == "attention":
            middle = np.average(np.arange(100), weights=shades) / 25
            assert abs(middle - spikes[known["ecg"]] / RATE) < 0.05
    for (ecg, method), shades in maps.items():
        if method == "shuffled":  # another one's, turned
            others = [m for (e, name), m in maps.items() if name == "attention" and e != ecg]
            turned = {np.roll(other, by).tobytes() for other in others for by in range(1, 100)}
            assert shades.tobytes() in turned


def test_page_is_blinded_and_alone(study):
    text = study.page.read_text(encoding="utf-8")
    for word in (*METHODS, "grad_cam", "grad-cam", "gradient-weighted", "control", "repeat_of", "captum"):
        assert word not in text.lower(), word
    assert not re.search(r"""(src|href)=["'](?!data:)|@import|url\((?!#)""", text)
    assert "{{" not in text
    assert "<title>Beats &amp; &lt;maps&gt;</title>" in text
    assert {strip["label"] for strip in content(study.page)["strips"]} == {"S", "ventricular <ectopic>"}
    assert "not a medical device" in text.lower()


def test_random_state_decides_all(tmp_path):
    X, _ = ecgs()
    model = Marker().fit(X)

    def build(name, seed):
        options = {"methods": METHODS, "n_strips": 6, "n_repeats": 2, "random_state": seed}
        return build_grade_study(tmp_path / name, model, X, ["V"] * 12, **options)

    one, same, other = build("a.html", 1), build("b.html", 1), build("c.html", 2)
    assert one.page.read_bytes() == same.page.read_bytes()
    assert one.key.read_bytes() == same.key.read_bytes()
    assert one.study != other.study
    assert not set(key_of(one)["strips"]) & set(key_of(other)["strips"])
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        f"{name}.{end}" for name in "abc" for end in ("html", "key.json")
    )
    with pytest.raises(FileExistsError, match="overwrite=True"):
        build("a.html", 1)


@pytest.mark.parametrize(
    ("n_cases", "n_methods", "n_repeats"), [(2, 3, 6), (3, 1, 3), (20, 3, 8), (30, 4, 120)]
)
def test_strips_of_an_ecg_lie_apart(n_cases, n_methods, n_repeats):
    methods = [str(k) for k in range(n_methods)]
    for seed in range(5):
        order = _order_strips(n_cases, methods, n_repeats, np.random.RandomState(seed))
        assert len(order) == n_cases * n_methods + n_repeats
        assert sum(first is not None for *_, first in order) == n_repeats
        gaps = [b - a for c in range(n_cases) for a, b in itertools.pairwise(
            [k for k, (case, *_) in enumerate(order) if case == c])]  # fmt: skip
        assert min(gaps) >= (2 if n_cases < 20 else 6)


def test_labels(tmp_path):
    X, _ = ecgs()
    model = Marker().fit(X)

    def labels_of(y, n_strips=None):
        options = {"methods": METHODS, "n_strips": n_strips, "n_repeats": 0, "random_state": 0}
        built = build_grade_study(tmp_path / "s.html", model, X, y, overwrite=True, **options)
        return {strip["ecg"]: strip["label"] for strip in key_of(built)["strips"].values()}

    assert labels_of(None) == dict.fromkeys(range(1, 12, 2), "V")  # as predicted
    indicator = np.zeros((12, 3), dtype=int)
    indicator[0, 1] = indicator[5, 2] = indicator[6, 1:] = 1
    expected = {0: {"S"}, 5: {"V"}, 6: {"S", "V"}}
    for y in (indicator, pd.DataFrame(indicator[:, 1:], columns=["S", "V"])):
        found = labels_of(y)
        assert found.keys() == expected.keys()
        assert all(found[ecg] in expected[ecg] for ecg in found)
    even = labels_of(np.repeat(["S", "V", "N"], [9, 2, 1]), n_strips=4)
    assert Counter(even.values()) == {"S": 2, "V": 2}


def test_trained_model_pipeline_and_rivals(tmp_path):
    pytest.importorskip("captum")
    X, y, groups, _ = make_ecg(24, sampling_rate=250, duration=4, classes=("V",), pvc=0.5, random_state=0)
    y = np.where(y[:, 0] > 0, "V", "N")
    classifier = AttentionECGClassifier(125, width=4, max_epochs=1, batch_size=8, random_state=0)
    model = make_pipeline(Resampler(250, new_rate=125), classifier).fit(X, y)
    methods = {"ours": "attention", "rival": "grad_cam", "own": lambda m, X, t: X[:, 0] > 0}
    built = build_grade_study(
        tmp_path / "s.html",
        model,
        X,
        y,
        methods=methods,
        n_strips=4,
        n_repeats=0,
        groups=groups,
        random_state=0,
    )
    page, key = content(built.page), key_of(built)
    assert key["methods"] == ["ours", "rival", "own"]
    assert page["duration"] == 4
    assert page["ecgs"][0]["rate"] == 250
    seen = model[:-1].transform(X)
    for strip in page["strips"]:
        known = key["strips"][strip["id"]]
        if known["method"] == "ours":
            values = classifier.segment(seen[[known["ecg"]]], "V")[0].reshape(100, 5).mean(axis=1)
            np.testing.assert_allclose(decode(strip["map"]), 255 * values / values.max(), atol=1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"path": "page.txt"}, r"path must end in \.html, got .*page\.txt"),
        ({"methods": ("attention", "cam")}, "methods must be among .* got also .'cam'"),
        ({"methods": ("shuffled",)}, "a method other than 'shuffled'"),
        ({"methods": ("attention", "attention")}, "methods must be different"),
        (
            {"methods": {"own": lambda model, X, target: X}},
            r"methods\['own'\] must return finite maps of shape",
        ),
        ({"n_strips": 9}, "9 ECGs of the classes .* are needed, got 8"),
        ({"n_repeats": 13}, "n_repeats=13 exceeds the 12 strips"),
        ({"y": ["V"] * 3}, "y must have one row an ECG: 12 expected, got 3"),
        ({"y": ["A"] * 12}, "y must hold classes of the model, .* got also .'A'"),
        ({"y": np.ones((12, 2))}, "y must have one column a class"),
        ({"groups": [1]}, "groups must have one value an ECG: 12 expected, got 1"),
        ({"lead_names": ["II"]}, "lead_names must hold one name a lead: 2 expected, got 1"),
        ({"model": Marker(None)}, "sampling_rate is needed"),
    ],
)
def test_mistakes_in_building(tmp_path, change, message):
    X, _ = ecgs()
    arguments = {
        "path": "s.html", "model": Marker(), "X": X, "y": np.repeat(["S", "V", "N"], 4), "methods": METHODS,
        "n_strips": 6, "n_repeats": 2,
    } | change  # fmt: skip
    arguments["path"] = tmp_path / arguments["path"]
    arguments["model"].fit(X)
    with pytest.raises(ValueError, match=message):
        build_grade_study(**arguments)
    assert list(tmp_path.iterdir()) == []


def test_model_must_be_fitted(tmp_path):
    with pytest.raises(NotFittedError):
        build_grade_study(tmp_path / "s.html", Marker(), ecgs()[0])


# --- the statistics ---------------------------------------------------------------------------------------


def write_study(folder, grades, groups=None, repeats=None):
    """Write a key and files: `grades` an expert of shape (n_ecgs, n_methods), `repeats` of its first ECGs."""
    n_ecgs, n_methods = next(iter(grades.values())).shape
    methods = [f"m{k}" for k in range(n_methods)]
    strips, answers = {}, {expert: {} for expert in grades}

    def add(ecg, k, given, repeat_of=None):
        token = f"{len(strips):08x}"
        label, group = "SV"[ecg % 2], str(ecg if groups is None else groups[ecg])
        strips[token] = {"position": len(strips) + 1, "ecg": ecg, "method": methods[k], "label": label,
                         "group": group, "repeat_of": repeat_of}  # fmt: skip
        for expert, grade in given.items():
            if not np.isnan(grade):
                answers[expert][token] = {"grade": int(grade), "comment": "", "at": ""}
        return token

    first = {(e, k): add(e, k, {x: g[e, k] for x, g in grades.items()})
             for e in range(n_ecgs) for k in range(n_methods)}  # fmt: skip
    for e in range(len(next(iter(repeats.values()))) if repeats else 0):
        add(e, 0, {x: g[e] for x, g in repeats.items()}, first[e, 0])
    key = {"format": "skecgattn grade key", "version": 1, "study": "abc", "title": "t", "methods": methods,
           "strips": strips}  # fmt: skip
    (folder / "s.key.json").write_text(json.dumps(key))
    files = []
    for expert, given in answers.items():
        files.append(folder / f"{expert}.json")
        files[-1].write_text(json.dumps({
            "format": "skecgattn grades", "version": 1, "study": "abc", "expert": expert, "session": expert,
            "saved": "2026-01-01", "grades": given}))  # fmt: skip
    return folder / "s.key.json", files


def simulate(n_ecgs, faithful, seed=0, shifts=(1.0, 0.0, 0.0)):
    """Experts who give the true grade with a probability, and any grade else."""
    rng = np.random.default_rng(seed)
    truth = (rng.integers(1, 6, (n_ecgs, len(shifts))) + np.array(shifts)).clip(1, 5)
    return {
        name: np.where(rng.random(truth.shape) < share, truth, rng.integers(1, 6, truth.shape))
        for name, share in faithful.items()
    }


def alpha_by_definition(grades):
    """Krippendorff's ordinal alpha from pairs of values within and across units."""
    units = [column[~np.isnan(column)] for column in grades.T]
    units = [unit for unit in units if len(unit) > 1]
    values = np.concatenate(units)
    count = {v: (values == v).sum() for v in range(1, 6)}

    def distance(a, b):
        a, b = sorted((a, b))
        return (sum(count[v] for v in range(int(a), int(b) + 1)) - (count[a] + count[b]) / 2) ** 2

    within = sum(
        sum(distance(a, b) for a, b in itertools.permutations(unit, 2)) / (len(unit) - 1) for unit in units
    )
    across = sum(distance(a, b) for a, b in itertools.permutations(values, 2))
    return 1 - (within / len(values)) / (across / len(values) / (len(values) - 1))


@pytest.mark.parametrize("n_ecgs", [9, 40])
@pytest.mark.parametrize("clustered", [False, True])
def test_statistics_against_independent_computation(tmp_path, n_ecgs, clustered):
    api = pytest.importorskip("statsmodels.api")
    inter_rater = importlib.import_module("statsmodels.stats.inter_rater")
    multitest = importlib.import_module("statsmodels.stats.multitest")
    grades = simulate(n_ecgs, {"ab": 0.9, "cd": 0.7, "ef": 0.5})
    groups = np.arange(n_ecgs) // 2 if clustered else np.arange(n_ecgs)
    rng = np.random.default_rng(1)
    repeats = {
        x: np.clip(g[: n_ecgs // 2, 0] + rng.integers(-1, 2, n_ecgs // 2), 1, 5) for x, g in grades.items()
    }
    summary = summarise_grades(*write_study(tmp_path, grades, groups if clustered else None, repeats))
    assert (summary.n_experts, summary.n_ecgs, summary.n_clusters) == (3, n_ecgs, len(set(groups)))

    mean = np.mean(list(grades.values()), axis=0)

    def interval(values):
        fit = api.OLS(values, np.ones(len(values))).fit(
            cov_type="cluster", cov_kwds={"groups": groups}, use_t=True
        )
        return [values.mean(), *fit.conf_int()[0]]

    for k in range(3):
        np.testing.assert_allclose(summary.methods.iloc[k], np.clip(interval(mean[:, k]), 1, 5), rtol=1e-9)
        np.testing.assert_allclose(summary.labels[f"m{k}"], [mean[p::2, k].mean() for p in (0, 1)])
        for expert in grades:
            assert summary.experts.loc[expert, f"m{k}"] == pytest.approx(grades[expert][:, k].mean())

    p_values = []
    for row, (a, b) in zip(summary.tests.itertuples(), itertools.combinations(range(3), 2)):
        assert (row.method, row.other) == (f"m{a}", f"m{b}")
        difference = mean[:, a] - mean[:, b]
        np.testing.assert_allclose([row.difference, row.low, row.high], interval(difference), rtol=1e-9)
        by_cluster = np.array([difference[groups == g].mean() for g in np.unique(groups)]).round(9)
        by_cluster = by_cluster[by_cluster != 0]
        sizes = np.abs(by_cluster)
        ranks = np.array([(sizes < s).sum() + ((sizes == s).sum() + 1) / 2 for s in sizes])
        plus, minus = ranks[by_cluster > 0].sum(), ranks[by_cluster < 0].sum()
        assert row.rank_biserial == pytest.approx((plus - minus) / (plus + minus))
        if len(ranks) <= 13:
            signs = np.array(list(itertools.product([0, 1], repeat=len(ranks))))
            sums = signs @ ranks
            p = min(1, 2 * min((sums <= plus + 1e-9).mean(), (sums >= plus - 1e-9).mean()))
        else:
            _, ties = np.unique(ranks, return_counts=True)
            n = len(ranks)
            spread = np.sqrt(n * (n + 1) * (2 * n + 1) / 24 - (ties**3 - ties).sum() / 48)
            z = (plus - n * (n + 1) / 4) / spread
            p = 2 * importlib.import_module("statistics").NormalDist().cdf(-abs(z))
        assert row.p_value == pytest.approx(p, rel=1e-6)
        p_values.append(row.p_value)
    np.testing.assert_allclose(summary.tests["p_holm"], multitest.multipletests(p_values, method="holm")[1])

    def kappa(one, other):
        table = pd.crosstab(
            pd.Categorical(one.ravel(), range(1, 6)), pd.Categorical(other.ravel(), range(1, 6)), dropna=False
        )
        return inter_rater.cohens_kappa(table.to_numpy(), wt="quadratic").kappa

    pairs = list(itertools.combinations(grades, 2))
    assert list(zip(summary.between_experts["expert"], summary.between_experts["other"])) == pairs
    expected = [kappa(grades[a], grades[b]) for a, b in pairs]
    np.testing.assert_allclose(summary.between_experts["weighted_kappa"], expected)
    assert summary.mean_weighted_kappa == pytest.approx(np.mean(expected))
    ravelled = np.array([g.ravel() for g in grades.values()], dtype=float)
    assert summary.krippendorff_alpha == pytest.approx(alpha_by_definition(ravelled))
    for expert, row in summary.within_experts.iterrows():
        first, second = grades[expert][: n_ecgs // 2, 0], repeats[expert]
        assert row["n_repeats"] == len(first)
        assert row["exact"] == pytest.approx((first == second).mean())
        assert row["within_one"] == 1
        assert row["weighted_kappa"] == pytest.approx(kappa(first, second))


def test_known_agreement(tmp_path):
    # of grades drawn evenly, each true with probability q, quadratic kappa and ordinal alpha are q squared
    grades = simulate(1500, {"ab": 0.8, "cd": 0.8}, shifts=(0.0, 0.0))
    summary = summarise_grades(*write_study(tmp_path, grades))
    assert summary.mean_weighted_kappa == pytest.approx(0.64, abs=0.03)
    assert summary.krippendorff_alpha == pytest.approx(0.64, abs=0.03)
    grades = {"ab": grades["ab"], "cd": grades["ab"], "ef": 6 - grades["ab"]}
    summary = summarise_grades(*write_study(tmp_path, grades))
    np.testing.assert_allclose(summary.between_experts["weighted_kappa"], [1, -1, -1], atol=0.01)


def test_what_cannot_be_computed_is_nan(tmp_path):
    constant = {"ab": np.full((4, 2), 3.0), "cd": np.full((4, 2), 3.0)}
    summary = summarise_grades(*write_study(tmp_path, constant))
    assert np.isnan([summary.mean_weighted_kappa, summary.krippendorff_alpha]).all()
    assert summary.tests.loc[0, ["p_value", "rank_biserial", "difference"]].tolist() == [1, 0, 0]
    assert summary.within_experts["exact"].isna().all()
    alone = summarise_grades(*write_study(tmp_path, {"ab": np.array([[4.0, 2.0]])}))
    assert len(alone.between_experts) == 0
    assert alone.methods["mean"].tolist() == [4, 2]
    assert alone.methods[["low", "high"]].isna().to_numpy().all()


def test_missing_grades_are_named_and_compared_like_with_like(tmp_path):
    grades = {"ab": np.array([[5.0, 1.0]] * 6), "cd": np.array([[3.0, 2.0]] * 6)}
    grades["cd"][0, 1] = grades["cd"][4, 0] = np.nan
    key, files = write_study(tmp_path, grades)
    with pytest.warns(UserWarning, match=r"cd\.json: 'cd' has left 2 of 12 strips without a grade: 2, 9\."):
        summary = summarise_grades(key, files)
    assert summary.missing["n_missing"].tolist() == [0, 2]
    assert summary.missing.loc["cd", "positions"] == [2, 9]
    assert summary.experts.loc["cd"].tolist() == [3, 2]
    assert summary.n_ecgs == 6
    assert summary.methods.loc["m0", "mean"] == pytest.approx((4 * 4 + 2 * 5) / 6)
    assert summary.between_experts.loc[0, "n_strips"] == 10


def edit(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_files_that_cannot_be_used_are_all_named(tmp_path):
    key, files = write_study(tmp_path, simulate(3, dict.fromkeys("abcdefgh", 0.5)))
    a, b, c, d, e, f, g, h = files
    edit(a, study="xyz")
    edit(b, grades={"00000000": {"grade": 6}})
    edit(c, grades={"unknown": {"grade": 3}})
    d.write_text("{")
    edit(e, grades={"00000000": {"grade": None}})
    edit(f, expert=" H ")
    edit(g, grades=[])
    (tmp_path / "i.json").write_text("[]")
    with pytest.raises(ValueError, match="files that cannot be used") as caught:
        summarise_grades(key, [*files, tmp_path / "i.json", key])
    lines = str(caught.value).splitlines()[1:]
    for path, words in {
        a: "is of study 'xyz', the key of 'abc'",
        b: "strip 1 has grade 6, expected a whole number from 1 to 5",
        c: "grades strips that the study does not have: unknown",
        d: "is not JSON",
        e: "holds no grade",
        h: "are both by 'h', begun separately",
        g: "lacks 'grades'",
        tmp_path / "i.json": "holds a JSON list",
        key: "is not a file of grades",
    }.items():
        assert sum(str(path) in line and words in line for line in lines) == 1, (path.name, lines)
    assert len(lines) == 9
    with pytest.raises(ValueError, match=r"key must be the study's \.key\.json, got an expert's grades"):
        summarise_grades(a, files)
    with pytest.raises(ValueError, match="at least one expert's file"):
        summarise_grades(key, [])
    with pytest.raises(FileNotFoundError):
        summarise_grades(key, tmp_path / "nobody.json")
    edit(b, grades={"00000000": {"grade": 5}})
    with (
        pytest.raises(ValueError, match="under all methods"),
        pytest.warns(UserWarning, match="has left 8 of 9"),
    ):
        summarise_grades(key, b)


def test_a_later_export_of_the_same_answers_counts(tmp_path):
    grades = {"ab": np.full((3, 2), 2.0), "old": np.full((3, 2), 5.0)}
    key, (new, old) = write_study(tmp_path, grades)
    edit(old, expert="AB", session="ab", saved="2025-12-31")
    for files in ([new, old], [old, new]):
        with pytest.warns(UserWarning, match=rf"old\.json is left out: .*{new.name} holds later answers"):
            summary = summarise_grades(key, files)
        assert summary.n_experts == 1
        assert summary.methods["mean"].tolist() == [2, 2]


def test_display(tmp_path):
    matplotlib.use("Agg")
    key, files = write_study(tmp_path, simulate(20, {"ab": 0.9, "cd": 0.7}))
    display = GradeStudyDisplay.from_files(key, files, confidence=0.9)
    summary = summarise_grades(key, files, confidence=0.9)
    line, _, (bars,) = display.errorbar_.lines
    np.testing.assert_allclose(line.get_xdata(), summary.methods["mean"])
    ends = np.array([segment[:, 0] for segment in bars.get_segments()])
    np.testing.assert_allclose(ends, summary.methods[["low", "high"]])
    assert list(display.experts_) == ["ab", "cd"]
    assert len({line.get_marker() for line in display.experts_.values()}) == 2
    np.testing.assert_allclose(display.experts_["cd"].get_xdata(), summary.experts.loc["cd"])
    assert "20 ECGs, 2 experts" in display.ax_.get_xlabel()
    labels = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert labels == ["mean, 90% interval", "ab", "cd"]
    again = GradeStudyDisplay.from_summary(summary, ax=display.ax_, show_experts=False)
    assert again.experts_ == {}
    display.figure_.canvas.draw()
    plt.close("all")


# --- the page in a browser --------------------------------------------------------------------------------


def graded(page):
    return page.locator("#count").inner_text()


def title(page):
    return page.locator("#strip-title").inner_text()


def export(page, button):
    with page.expect_download() as download:
        page.get_by_role("button", name=button).click()
    return download.value


def test_grade_close_resume_export_summarise(playwright, study, tmp_path):
    url, folder = study.page.as_uri(), tmp_path / "profile"
    complaints = []
    with profile(playwright, folder) as context:
        page = context.pages[0]
        complaints.append(watch(page))
        page.goto(url)
        page.get_by_role("button", name="Start", exact=True).click()
        assert page.locator("#grade").is_hidden()  # a name is needed
        page.get_by_label("Your name or initials").fill(" A. Müller ")
        page.keyboard.press("Enter")
        assert title(page) == "Strip 1 of 16"
        page.keyboard.press("4")
        assert page.get_by_role("radio", name="Well").is_checked()
        page.keyboard.press("ArrowRight")
        page.get_by_role("radio", name="Poorly").click()
        page.keyboard.press("ArrowLeft")  # from the radio button too
        assert title(page) == "Strip 1 of 16"
        assert page.get_by_role("radio", name="Well").is_checked()
        page.keyboard.press("c")
        page.keyboard.type("5 of 5? No <b>")
        page.keyboard.press("Escape")
        page.get_by_role("button", name="Next").click()
        page.keyboard.press("Enter")
        assert title(page) == "Strip 3 of 16"
        assert graded(page) == "2 of 16 graded"

    with profile(playwright, folder, accept_downloads=True) as context:
        page = context.pages[0]
        complaints.append(watch(page))
        page.goto(url)
        assert page.get_by_label("Your name or initials").input_value() == "A. Müller"
        page.get_by_role("button", name="Continue, 2 of 16 graded").click()
        assert title(page) == "Strip 3 of 16"
        for number in range(3, 16):
            page.keyboard.press(str(number % 5 + 1))
            page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowRight")
        assert page.get_by_role("heading", name="Not finished yet").is_visible()
        early = tmp_path / "early.json"
        export(page, "Export my grades").save_as(early)
        page.get_by_role("button", name="Go to the first open strip").click()
        assert title(page) == "Strip 16 of 16"
        page.keyboard.press("1")
        page.get_by_role("button", name="Finish").click()
        assert page.get_by_role("heading", name="All strips are graded").is_visible()
        download = export(page, "Export my grades")
        assert download.suggested_filename == f"grades-{study.study}-A-Müller.json"
        final = tmp_path / "final.json"
        download.save_as(final)
        page.get_by_role("button", name="Instructions").click()
        page.get_by_role("button", name="Start over as another expert").click()
        page.get_by_role("button", name="Delete and start over").click()
        page.reload()
        assert graded(page) == "0 of 16 graded"
        page.get_by_label("Continue from an exported file").set_input_files(early)  # on another machine
        page.get_by_role("button", name="Continue, 15 of 16 graded").click()
        assert title(page) == "Strip 16 of 16"

    assert complaints == [[], []]
    answers = json.loads(final.read_text(encoding="utf-8"))
    assert answers["finished"] is True
    with pytest.warns(UserWarning, match="early.json is left out"):
        summary = summarise_grades(study.key, [early, final])
    given = summary.grades.sort_values("position")
    assert given["grade"].tolist() == [4, 2, *(n % 5 + 1 for n in range(3, 16)), 1]
    assert given["comment"].tolist()[:2] == ["5 of 5? No <b>", ""]
    assert given["expert"].unique().tolist() == ["A. Müller"]
    assert summary.within_experts.loc["A. Müller", "n_repeats"] == 4
    assert summary.n_ecgs == 6


def test_foreign_files_and_missing_storage_are_told(browser, study, tmp_path):
    context = browser.new_context()
    page = context.new_page()
    complaints = watch(page)
    page.add_init_script("Object.defineProperty(window, 'localStorage', {get() { throw new Error('off'); }})")
    page.goto(study.page.as_uri())
    assert "cannot keep your answers" in page.locator("#notice").inner_text()
    for text, words in {
        "{": "is not a file that this page has exported",
        json.dumps({"format": "skecgattn grades", "version": 1, "study": "x"}): "is of another study",
    }.items():
        path = tmp_path / "other.json"
        path.write_text(text)
        page.get_by_label("Continue from an exported file").set_input_files(path)
        page.get_by_text(words).wait_for()
    page.get_by_label("Your name or initials").fill("B")
    page.get_by_role("button", name="Start", exact=True).click()
    page.keyboard.press("3")
    assert page.get_by_text("Not saved: export before closing").is_visible()
    assert graded(page) == "1 of 16 graded"
    assert complaints == []
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", list(SIZES))
def test_page_fits_and_every_control_has_a_name(browser, study, size, scheme):
    context = browser.new_context(viewport=SIZES[size], color_scheme=scheme)
    page = context.new_page()
    complaints = watch(page)
    page.goto(study.page.as_uri())
    check_page(page)
    page.get_by_label("Your name or initials").fill("AB")
    page.keyboard.press("Enter")
    page.keyboard.press("5")
    check_page(page)
    box = page.locator("#strip svg").bounding_box()
    width, height = map(float, page.locator("#strip svg").get_attribute("viewBox").split()[2:])
    assert box["width"] / box["height"] == pytest.approx(width / height, rel=1e-3)  # mm are square
    first = page.locator("#strip .trace").nth(1).get_attribute("d").split("L")
    x = [float(point.strip("M").split()[0]) for point in (first[0], first[-1])]
    assert x[1] - x[0] == pytest.approx(25 * 3.99)
    for _ in range(16):
        page.keyboard.press("ArrowRight")
    check_page(page)
    assert page.get_by_text("15 of 16 strips have no grade").is_visible()
    assert complaints == []
    context.close()


# --- the command line -------------------------------------------------------------------------------------


def invoke(*arguments):
    return CliRunner().invoke(
        grade_app, [str(one) for one in arguments], env={"COLUMNS": "160", "NO_COLOR": "1"}
    )


def test_summary_command(tmp_path):
    matplotlib.use("Agg")
    key, files = write_study(
        tmp_path, simulate(12, {"ab": 0.9, "cd": 0.7}), repeats={"ab": [3, 3], "cd": [2, 1]}
    )
    result = invoke("summary", key, *files, "--plot", tmp_path / "out" / "grades.png")
    assert result.exit_code == 0, result.output
    for words in ("2 experts, 12 ECGs", "m0 − m1", "Krippendorff's alpha", "ab, cd", "p (Holm)"):
        assert words in result.stdout
    assert (tmp_path / "out" / "grades.png").stat().st_size > 5000
    plt.close("all")
    values = json.loads(invoke("summary", key, *files, "--json").stdout)
    assert values["krippendorff_alpha"] == pytest.approx(summarise_grades(key, files).krippendorff_alpha)
    assert values["methods"][0]["method"] == "m0"
    wrong = invoke("summary", key, key)
    assert wrong.exit_code == 2
    assert "is not a file of grades" in wrong.stderr


@pytest.mark.filterwarnings("ignore:The inplace keyword")  # wfdb's, when it writes
def test_build_command(tmp_path):
    wfdb = pytest.importorskip("wfdb")
    X, y, _, beats = make_ecg(16, sampling_rate=200, duration=10, classes=("V",), pvc=0.5, random_state=0)
    names = ["MLII", "V1"][: X.shape[1]]
    y = np.where(y[:, 0] > 0, "V", "N")
    model = AttentionECGClassifier(
        100, lead_names=names, width=4, max_epochs=1, batch_size=8, random_state=0
    ).fit(X[:, :, ::2], y)
    save(model, tmp_path / "model.skecg")
    (tmp_path / "ecgs").mkdir()
    for k in range(2):
        part = slice(8 * k, 8 * k + 8)
        signal = np.concatenate(list(X[part]), axis=1).T.astype(float)
        samples = np.concatenate([b["sample"] + 2000 * i for i, b in enumerate(beats[part])])
        symbols = np.concatenate([b["symbol"] for b in beats[part]]).tolist()
        options = {"write_dir": str(tmp_path / "ecgs")}
        wfdb.wrsamp(f"r{k}", 200, ["mV"] * len(names), names, signal, fmt=["16"] * len(names), **options)
        wfdb.wrann(f"r{k}", "atr", samples, symbols, fs=200, **options)
    arguments = ["build", tmp_path / "model.skecg", tmp_path / "ecgs", "--output", tmp_path / "s.html",
                 "--methods", "attention,shuffled", "--seed", 0, "--quiet"]  # fmt: skip
    result = invoke(*arguments, "--strips", 4, "--repeats", 1)
    assert result.exit_code == 0, result.output
    assert "9 strips" in result.stdout
    page = content(tmp_path / "s.html")
    assert page["duration"] == 10
    assert {strip["label"] for strip in page["strips"]} == {"ventricular ectopic beats (V)"}
    assert [lead["name"] for lead in page["ecgs"][0]["leads"]] == names
    again = invoke(*arguments, "--strips", 4, "--repeats", 1)
    assert again.exit_code == 2
    assert "set --overwrite" in again.stderr
    few = invoke(*arguments, "--strips", 40, "--overwrite")
    assert few.exit_code == 2
    assert "--strips 40: 40 ECGs" in few.stderr
