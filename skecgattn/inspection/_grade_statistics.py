"""What experts' grades say: means with intervals, paired tests, agreement between and within experts."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import combinations
from numbers import Real

import krippendorff
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats
from sklearn.metrics import cohen_kappa_score
from sklearn.utils import Bunch
from sklearn.utils._param_validation import Interval, validate_params

from ._grade_files import GRADES, read_grades, read_key

MAX_EXACT = 13  # differences up to which all 2**n signs are gone through


@validate_params(
    {
        "key": [str, os.PathLike],
        "files": [str, os.PathLike, list, tuple],
        "confidence": [Interval(Real, 0, 1, closed="neither")],
    },
    prefer_skip_nested_validation=True,
)
def summarise_grades(
    key: str | os.PathLike[str],
    files: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    confidence: float = 0.95,
) -> Bunch:
    r"""Summarise the grades of any number of experts.

    Means, intervals and tests are of ECGs under all methods: an expert's grades of an ECG count where that
    expert has graded it under every method, and are averaged over experts. Repeated strips count for the
    agreement within experts only.

    Parameters
    ----------
    key : str or path-like
        The ``.key.json`` that :func:`build_grade_study` has written beside the page.

    files : path or sequence of paths
        The JSON files that experts have exported from the page.

    confidence : float, default=0.95
        Coverage of the intervals.

    Returns
    -------
    summary : :class:`~sklearn.utils.Bunch`
        With the attributes

        - ``title``, ``study``, ``confidence``, ``n_experts``, ``n_ecgs`` (ECGs that count), ``n_clusters``
          (their patients, or the ECGs themselves where the study was built without ``groups``);
        - ``methods`` : DataFrame with a row a method: ``mean`` and its interval ``low``, ``high``;
        - ``experts`` : DataFrame (n_experts, n_methods) of each expert's mean grades;
        - ``labels`` : DataFrame (n_labels, n_methods) of the mean grades by class;
        - ``tests`` : DataFrame with a row a pair of methods: ``method``, ``other``, ``difference`` of the
          means and its interval ``low``, ``high``; ``p_value`` of Wilcoxon's signed-rank test and ``p_holm``,
          corrected for the number of pairs; ``rank_biserial``, the effect size in [-1, 1];
        - ``between_experts`` : DataFrame with a row a pair of experts: ``expert``, ``other``, ``n_strips``
          that both have graded, ``weighted_kappa``;
        - ``mean_weighted_kappa``, its mean over pairs, and ``krippendorff_alpha``, ordinal, of all experts;
        - ``within_experts`` : DataFrame with a row an expert: ``n_repeats`` graded twice, ``exact``, the
          share with the same grade, ``within_one``, the share at most one grade apart, ``weighted_kappa``;
        - ``missing`` : DataFrame with a row an expert: ``file``, ``n_missing``, ``positions`` of the strips
          without grade, counted from 1 as on the page;
        - ``grades`` : DataFrame with a row an expert and strip, comments included.

        What cannot be computed, such as agreement of a single expert or of constant grades, is NaN.

    Raises
    ------
    ValueError
        If the key or a file cannot be used: not JSON, of another study, grades beyond 1 to 5, unknown
        strips, two separate files of one expert. All files at fault are named at once. Also if no ECG is
        graded under all methods by anyone.

    Warns
    -----
    UserWarning
        If strips have no grade, or an older export of the same answers is left out.

    See Also
    --------
    build_grade_study : The page that experts grade on.
    GradeStudyDisplay : Mean grades with their intervals, drawn.

    Notes
    -----
    Intervals are Student's t intervals that are robust to clusters, the patients: with the residuals
    :math:`e_i` of the :math:`n` ECGs' grades from their mean, the squared standard error is
    :math:`\frac{m}{m - 1} \sum_g (\sum_{i \in g} e_i)^2 / n^2` for :math:`m` clusters :math:`g`, with
    :math:`m - 1` degrees of freedom [1]_. With an ECG a patient it is the usual t interval. They speak of
    other patients graded by the same experts, and are cut off at 1 and 5.

    The test takes one difference a cluster, the mean over its ECGs; zeros are dropped. Up to 13 differences
    the p-value is exact also with ties; beyond that it is from the normal approximation with correction for
    ties. The rank-biserial correlation is the difference of the two rank sums over their sum [2]_.
    Cohen's kappa has quadratic weights [3]_; Krippendorff's alpha is that of ordinal data [4]_.

    References
    ----------
    .. [1] Cameron, Miller, "A practitioner's guide to cluster-robust inference", Journal of Human Resources
       50(2), 2015.
    .. [2] Kerby, "The simple difference formula: an approach to teaching nonparametric correlation",
       Comprehensive Psychology 3, 2014.
    .. [3] Cohen, "Weighted kappa: nominal scale agreement provision for scaled disagreement or partial
       credit", Psychological Bulletin 70(4), 1968.
    .. [4] Krippendorff, "Content analysis: an introduction to its methodology", Sage, 2004.

    Examples
    --------
    Grades that an expert has exported, here written by hand:

    >>> import json, tempfile
    >>> from pathlib import Path
    >>> from skecgattn.inspection import summarise_grades
    >>> folder = tempfile.TemporaryDirectory()
    >>> strips, grades = {}, {}
    >>> for ecg in range(6):
    ...     for method, grade in (("ours", 4 + ecg % 2), ("rival", 2 + ecg % 3)):
    ...         token = f"{method}{ecg}"
    ...         strips[token] = {"position": len(strips) + 1, "ecg": ecg, "method": method, "label": "V",
    ...                          "group": str(ecg), "repeat_of": None}
    ...         grades[token] = {"grade": grade, "comment": ""}
    >>> key = {"format": "skecgattn grade key", "version": 1, "study": "a", "title": "Example",
    ...        "methods": ["ours", "rival"], "strips": strips}
    >>> answers = {"format": "skecgattn grades", "version": 1, "study": "a", "expert": "A. B.",
    ...            "session": "0", "saved": "2026-01-01T00:00:00Z", "grades": grades}
    >>> for name, content in (("study.key.json", key), ("ab.json", answers)):
    ...     _ = Path(folder.name, name).write_text(json.dumps(content))
    >>> summary = summarise_grades(Path(folder.name, "study.key.json"), [Path(folder.name, "ab.json")])
    >>> summary.methods["mean"].to_dict()
    {'ours': 4.5, 'rival': 3.0}
    >>> summary.tests[["difference", "p_value"]].iloc[0].tolist()
    [1.5, 0.0625]
    >>> folder.cleanup()
    """
    contents = read_key(key)
    grades = read_grades(contents, [files] if isinstance(files, str | os.PathLike) else files)
    methods, experts = list(contents["methods"]), list(dict.fromkeys(grades["expert"]))
    firsts = grades[grades["repeat_of"].isna()]

    table = firsts.pivot(index=["expert", "ecg", "label", "group"], columns="method", values="grade")[methods]
    table = table.dropna()
    if table.empty:
        raise ValueError("no expert has graded an ECG under all methods; nothing can be compared.")
    ecgs = table.groupby(["ecg", "label", "group"]).mean()
    clusters = ecgs.index.get_level_values("group")

    absent = grades[grades["grade"].isna()].groupby("expert")["position"].apply(lambda rows: sorted(rows))
    positions = [absent.get(expert, []) for expert in experts]
    pairs = _between(firsts, experts)
    return Bunch(
        title=contents["title"],
        study=contents["study"],
        confidence=confidence,
        n_experts=len(experts),
        n_ecgs=len(ecgs),
        n_clusters=clusters.nunique(),
        methods=pd.DataFrame(
            [
                _interval(ecgs[name].to_numpy(), clusters, confidence, (GRADES[0], GRADES[-1]))
                for name in methods
            ],
            index=pd.Index(methods, name="method"),
            columns=["mean", "low", "high"],
        ),
        experts=table.groupby("expert").mean().reindex(experts),
        labels=ecgs.groupby("label").mean(),
        tests=_tests(ecgs, clusters, methods, confidence),
        between_experts=pairs,
        mean_weighted_kappa=float(pairs["weighted_kappa"].mean()),
        krippendorff_alpha=_alpha(firsts.pivot(index="expert", columns="strip", values="grade").to_numpy()),
        within_experts=_within(grades, experts),
        missing=pd.DataFrame(
            {
                "file": grades.groupby("expert")["file"].first().reindex(experts),
                "n_missing": [len(found) for found in positions],
                "positions": positions,
            },
            index=pd.Index(experts, name="expert"),
        ),
        grades=grades,
    )


def _interval(
    values: NDArray, clusters: pd.Index, confidence: float, limits: tuple[float, float]
) -> tuple[float, float, float]:
    """Return the mean and its cluster-robust t interval, within the limits."""
    mean = float(values.mean())
    sums = pd.Series(values - mean).groupby(np.asarray(clusters)).sum()
    if (m := len(sums)) < 2:
        return mean, np.nan, np.nan
    error = np.sqrt(m / (m - 1) * (sums**2).sum()) / len(values)
    half = stats.t.ppf((1 + confidence) / 2, m - 1) * error
    return mean, max(limits[0], mean - half), min(limits[1], mean + half)


def _tests(ecgs: pd.DataFrame, clusters: pd.Index, methods: list[str], confidence: float) -> pd.DataFrame:
    """Compare all pairs of methods on the same ECGs."""
    widest = GRADES[-1] - GRADES[0]
    rows = []
    for method, other in combinations(methods, 2):
        differences = (ecgs[method] - ecgs[other]).to_numpy()
        difference, low, high = _interval(differences, clusters, confidence, (-widest, widest))
        by_cluster = pd.Series(differences).groupby(np.asarray(clusters)).mean().to_numpy()
        by_cluster = by_cluster.round(9)  # ties that rounding would part
        by_cluster = by_cluster[by_cluster != 0]
        rows.append((method, other, difference, low, high, *_signed_ranks(by_cluster)))
    tests = pd.DataFrame(
        rows, columns=["method", "other", "difference", "low", "high", "p_value", "rank_biserial"]
    )
    tests.insert(6, "p_holm", _holm(tests["p_value"].to_numpy()))
    return tests


def _signed_ranks(differences: NDArray) -> tuple[float, float]:
    """Return the two-sided p-value of Wilcoxon's signed-rank test and the rank-biserial correlation."""
    if len(differences) < 2:
        return 1.0, float(np.sign(differences).sum())
    if len(differences) <= MAX_EXACT:
        test = stats.wilcoxon(differences, method=stats.PermutationMethod(n_resamples=2**MAX_EXACT))
    else:
        test = stats.wilcoxon(differences, method="approx")
    ranks = stats.rankdata(np.abs(differences))
    return float(test.pvalue), float((ranks * np.sign(differences)).sum() / ranks.sum())


def _holm(p_values: NDArray) -> NDArray:
    """Return Holm's step-down correction."""
    order = np.argsort(p_values)
    stepped = p_values[order] * np.arange(len(p_values), 0, -1)
    corrected = np.empty(len(p_values))
    corrected[order] = np.minimum(np.maximum.accumulate(stepped), 1)
    return corrected


def _weighted_kappa(one: NDArray, other: NDArray) -> float:
    """Return Cohen's kappa with quadratic weights; NaN where grades do not vary."""
    if len(np.unique(np.concatenate([one, other]))) < 2:
        return np.nan
    return float(cohen_kappa_score(one.astype(int), other.astype(int), labels=GRADES, weights="quadratic"))


def _alpha(grades: NDArray) -> float:
    """Return Krippendorff's ordinal alpha of (n_experts, n_strips); NaN where it is not defined."""
    shared = grades[:, (~np.isnan(grades)).sum(axis=0) > 1]
    if len(np.unique(shared[~np.isnan(shared)])) < 2:
        return np.nan
    return float(krippendorff.alpha(shared, value_domain=GRADES, level_of_measurement="ordinal"))


def _between(firsts: pd.DataFrame, experts: list[str]) -> pd.DataFrame:
    by_strip = firsts.pivot(index="strip", columns="expert", values="grade")
    rows = []
    for one, other in combinations(experts, 2):
        both = by_strip[[one, other]].dropna().to_numpy()
        rows.append((one, other, len(both), _weighted_kappa(both[:, 0], both[:, 1])))
    return pd.DataFrame(rows, columns=["expert", "other", "n_strips", "weighted_kappa"]).astype(
        {"n_strips": int, "weighted_kappa": float}
    )


def _within(grades: pd.DataFrame, experts: list[str]) -> pd.DataFrame:
    rows = []
    for expert in experts:
        own = grades[grades["expert"] == expert].set_index("strip")
        repeats = own[own["repeat_of"].notna()]
        twice = np.column_stack([own.loc[repeats["repeat_of"], "grade"], repeats["grade"]])
        twice = twice[~np.isnan(twice).any(axis=1)]
        apart = np.abs(twice[:, 0] - twice[:, 1])
        shares = (float((apart == 0).mean()), float((apart <= 1).mean())) if len(twice) else (np.nan, np.nan)
        rows.append((len(twice), *shares, _weighted_kappa(twice[:, 0], twice[:, 1])))
    return pd.DataFrame(
        rows,
        index=pd.Index(experts, name="expert"),
        columns=["n_repeats", "exact", "within_one", "weighted_kappa"],
    )
