"""A page on which experts grade maps without knowing which method made them."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.signal import resample_poly
from sklearn.utils import Bunch, check_random_state
from sklearn.utils._param_validation import Interval, validate_params
from sklearn.utils.validation import check_is_fitted, column_or_1d

from .._files import write_text
from .._unpack import unpack
from .._validation import lead_names_of
from ._attribution import grad_cam, guided_grad_cam, integrated_gradients
from ._grade_files import KEY_FORMAT, VERSION
from ._input import check_ecgs
from ._paper import BOX

SPEED, GAIN = 25.0, 10.0  # mm/s and mm/mV, those of ECG paper
MAP_RATE = 25.0  # shades a second: one a millimetre, for all methods alike
DRAWN_RATE = 250.0  # samples a second, about; more would not be seen
UNIT = 0.005  # mV, the resolution of the traces in the page
ABOVE, BELOW, MAX_DEFLECTION = 1.5, 0.7, 4.0  # mV from the median that a lead gets at least, and at most
MAX_GAP = 8  # strips of other ECGs between two of the same
SHUFFLED = "shuffled"

Method = Callable[[Any, NDArray, Any], NDArray]
"""From estimator, ECGs and target to maps (n_samples, n_timesteps)."""


def _attention(model: Any, X: NDArray, target: Any) -> NDArray:
    several = len(getattr(model, "map_labels_", ())) > 1
    if several and getattr(model, "segmenter", None) == "hu2021":
        target = None  # one map for all classes
    return np.asarray(model.segment(X, target))


METHODS: dict[str, Method] = {
    "attention": _attention,
    "grad_cam": grad_cam,
    "guided_grad_cam": guided_grad_cam,
    "integrated_gradients": integrated_gradients,
}


@validate_params(
    {
        "path": [str, os.PathLike],
        "model": "no_validation",
        "X": ["array-like"],
        "y": ["array-like", None],
        "groups": ["array-like", None],
        "methods": [list, tuple, dict],
        "n_strips": [Interval(Integral, 2, None, closed="left"), None],
        "n_repeats": [Interval(Integral, 0, None, closed="left")],
        "sampling_rate": [Interval(Real, 0, None, closed="neither"), None],
        "lead_names": ["array-like", None],
        "class_names": [dict, None],
        "title": [str],
        "overwrite": ["boolean"],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def build_grade_study(
    path: str | os.PathLike[str],
    model: Any,
    X: ArrayLike,
    y: ArrayLike | None = None,
    *,
    groups: ArrayLike | None = None,
    methods: Sequence[str] | Mapping[str, str | Method] = ("attention", "grad_cam", SHUFFLED),
    n_strips: int | None = 20,
    n_repeats: int = 8,
    sampling_rate: float | None = None,
    lead_names: Sequence[str] | None = None,
    class_names: Mapping[Any, str] | None = None,
    title: str = "ECG grade study",
    overwrite: bool = False,
    random_state: int | np.random.RandomState | None = None,
) -> Bunch:
    """Write a page on which experts grade, from 1 to 5, how well maps mark the abnormal beats.

    Every ECG drawn for the study is shown once with the map of each method, in random order, and some of
    these strips once more. Strips of the same ECG lie as far apart as a gap of up to 8 others, which small
    studies shorten, allows. The page is one file that needs no network; it tells nothing of the methods,
    which are in a second file, the key, beside it. Experts get the page, send back the file that it exports,
    and :func:`summarise_grades` brings both together.

    All maps are shown alike, so that the drawing gives no method away: averaged over every millimetre of
    paper (40 ms) and scaled to a maximum of 1 a strip. What is graded is where a map lies, not how strong it
    is.

    Parameters
    ----------
    path : str or path-like
        The page, such as ``"study.html"``. The key is written beside it as ``"study.key.json"``.

    model : AttentionECGClassifier
        Fitted; or a fitted pipeline that ends in one, whose transformers the drawn ECGs have not been
        through. Other estimators may be used with methods that can read them: "attention" needs ``classes_``
        and ``segment(X, target)``.

    X : array-like of shape (n_samples, n_leads, n_timesteps) or (n_samples, n_timesteps)
        ECGs in mV.

    y : array-like of shape (n_samples,) or (n_samples, n_labels), default=None
        Class labels, or an indicator matrix with one column a class of the model. An ECG is shown as a case
        of its class, which the expert is told and the maps are made for; ECGs without an abnormal class are
        left out. Of several labels one is drawn. None takes the model's predictions.

    groups : array-like of shape (n_samples,), default=None
        Patient of each ECG. Goes into the key, for intervals and tests that know of them.

    methods : sequence of str, or dict of str to str or callable
        What makes the maps: "attention", "grad_cam", "guided_grad_cam", "integrated_gradients" (the last
        three need captum: ``pip install "skecgattn[inspection]"``), and as the control "shuffled": the first
        other method's map of another ECG, shifted in a circle by a random time. A dict gives methods
        names of your own; a callable gets ``(model, X, target)`` and returns maps (n_samples, n_timesteps).

    n_strips : int or None, default=20
        Number of ECGs, drawn evenly from the classes. None takes all that have an abnormal class.

    n_repeats : int, default=8
        Number of strips shown twice, drawn evenly from the methods: how far experts agree with themselves.

    sampling_rate : float, default=None
        Samples a second of `X`. None takes ``model.sampling_rate``, of a pipeline times the factor by which
        its transformers resample.

    lead_names : sequence of n_leads str, default=None
        Names of the leads. None takes ``model.lead_names``, of a pipeline those of its last step if the steps
        before keep features one to one, or numbers where they are unknown.

    class_names : dict of label to str, default=None
        What the page calls the classes, such as ``{"V": "ventricular ectopic beats"}``.

    title : str, default="ECG grade study"
        Title of the page.

    overwrite : bool, default=False
        Whether a page and key at `path` may be replaced. Grades given on an old page need its key.

    random_state : int, RandomState instance or None, default=None
        Decides which ECGs are drawn, their order and their ids.

    Returns
    -------
    study : :class:`~sklearn.utils.Bunch`
        ``page`` and ``key``, the paths written; ``study``, the id; ``n_strips``, the number of strips with
        all methods and repeats.

    Raises
    ------
    ValueError
        If an argument does not fit; the message names it. Also if there are too few ECGs with an abnormal
        class.
    FileExistsError
        If `path` or its key exists and `overwrite` is False.
    ImportError
        If a method needs captum, which is missing.

    See Also
    --------
    summarise_grades : Mean grades, tests and agreement from the files that experts send back.

    Notes
    -----
    The order is the same for all experts. Grades are given in the page only, kept in the browser's storage,
    and leave it by the export button.

    Examples
    --------
    >>> import os, tempfile
    >>> from skecgattn import AttentionECGClassifier
    >>> from skecgattn.datasets import make_ecg
    >>> from skecgattn.inspection import build_grade_study
    >>> X, y, groups, beats = make_ecg(40, sampling_rate=180, random_state=0)
    >>> clf = AttentionECGClassifier(180, width=4, max_epochs=1, random_state=0).fit(X, y)
    >>> folder = tempfile.TemporaryDirectory()
    >>> study = build_grade_study(
    ...     os.path.join(folder.name, "study.html"), clf, X, y, groups=groups,
    ...     methods=("attention", "shuffled"), n_strips=4, n_repeats=2, random_state=0,
    ... )
    >>> study.key.name, study.n_strips
    ('study.key.json', 10)
    >>> folder.cleanup()
    """
    page = Path(path)
    if page.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"path must end in .html, got {str(path)!r}.")
    key_path = page.with_suffix(".key.json")
    if not overwrite:
        for file in (page, key_path):
            if file.exists():
                raise FileExistsError(
                    f"{file} exists: choose another path, or set overwrite=True (grades given on the old "
                    "page cannot be read without its key)."
                )
    check_is_fitted(model)
    ecgs = check_ecgs(X)
    estimator, seen = unpack(model, np.asarray(X, dtype=ecgs.dtype))
    rate = sampling_rate
    if rate is None:
        if getattr(estimator, "sampling_rate", None) is None:
            raise ValueError("sampling_rate is needed to draw ECG paper, and the model has none: got None.")
        rate = float(estimator.sampling_rate * ecgs.shape[2] / seen.shape[-1])
    duration = ecgs.shape[2] / rate
    names = _lead_names(lead_names, model, ecgs.shape[1])
    patients = None if groups is None else _checked(groups, len(ecgs), "groups")
    named = _named_methods(methods)
    rng = check_random_state(random_state)

    drawn, labels = _draw_cases(estimator, seen, y, n_strips, rng)
    if n_repeats > (n_shown := len(drawn) * len(named)):
        raise ValueError(f"n_repeats={n_repeats} exceeds the {n_shown} strips there are to repeat.")
    maps = _compute_maps(estimator, seen[drawn], labels, named, max(2, round(duration * MAP_RATE)), rng)
    strips = _order_strips(len(drawn), list(named), n_repeats, rng)

    tokens = _tokens(len(strips), rng)
    shown: list[int] = []  # ECGs in the order of their first strip, so that their numbers tell nothing
    page_strips, key_strips = [], {}
    for position, (token, (case, method, repeats)) in enumerate(zip(tokens, strips, strict=True), start=1):
        if case not in shown:
            shown.append(case)
        label = labels[case]
        page_strips.append(
            {
                "id": token,
                "ecg": shown.index(case),
                "label": str((class_names or {}).get(label, label)),
                "map": _encode(maps[method][case]),
            }
        )
        key_strips[token] = {
            "position": position,
            "ecg": int(drawn[case]),
            "method": method,
            "label": str(label),
            "group": str(drawn[case] if patients is None else patients[drawn[case]]),
            "repeat_of": None if repeats is None else tokens[repeats],
        }
    content = {
        "title": title,
        "speed": SPEED,
        "gain": GAIN,
        "duration": duration,
        "ecgs": [_drawing(ecgs[drawn[case]], names, rate) for case in shown],
        "strips": page_strips,
    }
    key = {
        "format": KEY_FORMAT,
        "version": VERSION,
        "title": title,
        "methods": list(named),
        "strips": key_strips,
    }
    study = hashlib.sha256(json.dumps([content, key], sort_keys=True).encode()).hexdigest()[:12]
    page.parent.mkdir(parents=True, exist_ok=True)
    write_text(key_path, json.dumps({"study": study, **key}, indent=1) + "\n")
    write_text(page, _render({"study": study, **content}))
    return Bunch(page=page, key=key_path, study=study, n_strips=len(strips))


def _checked(values: ArrayLike, n_samples: int, name: str) -> NDArray:
    column = column_or_1d(values)
    if len(column) != n_samples:
        raise ValueError(f"{name} must have one value an ECG: {n_samples} expected, got {len(column)}.")
    return column


def _lead_names(lead_names: Sequence[str] | None, model: Any, n_leads: int) -> list[str]:
    if lead_names is None:
        lead_names = lead_names_of(model)
    if lead_names is None:
        return [""] if n_leads == 1 else [str(number) for number in range(1, n_leads + 1)]
    if len(lead_names) != n_leads:
        raise ValueError(f"lead_names must hold one name a lead: {n_leads} expected, got {len(lead_names)}.")
    return [str(name) for name in lead_names]


def _named_methods(methods: Sequence[str] | Mapping[str, str | Method]) -> dict[str, str | Method]:
    """Return the methods by their names, the shuffled control last."""
    given = dict(methods) if isinstance(methods, Mapping) else {str(name): name for name in methods}
    if len(given) < len(methods):
        raise ValueError(f"methods must be different, got {list(methods)}.")
    wrong = [value for value in given.values() if not callable(value) and value not in (*METHODS, SHUFFLED)]
    if wrong:
        raise ValueError(f"methods must be among {[*METHODS, SHUFFLED]} or callables, got also {wrong}.")
    named: dict[str, str | Method] = {
        name: METHODS.get(value, value) if isinstance(value, str) else value for name, value in given.items()
    }
    made = {name: value for name, value in named.items() if value != SHUFFLED}
    if not made:
        raise ValueError(f"methods must hold a method other than {SHUFFLED!r}, got {list(methods)}.")
    return made | {name: value for name, value in named.items() if value == SHUFFLED}


def _draw_cases(
    model: Any, X: NDArray, y: Any, n_strips: int | None, rng: np.random.RandomState
) -> tuple[NDArray, list[Any]]:
    """Draw ECGs and the class that each is shown as a case of, evenly from the classes."""
    classes = list(model.classes_)
    abnormal = list(getattr(model, "map_labels_", classes))
    given = model.predict(X) if y is None else y
    if isinstance(given, pd.DataFrame) and given.shape[1] > 1:
        if missing := [label for label in given.columns if label not in classes]:
            raise ValueError(f"y must have columns among the model's classes {classes}, got also {missing}.")
        given = given.reindex(columns=classes, fill_value=0)
    values = np.asarray(given)
    if len(values) != len(X):
        raise ValueError(f"y must have one row an ECG: {len(X)} expected, got {len(values)}.")
    if values.ndim == 2 and values.shape[1] > 1:
        if values.shape[1] != len(classes):
            raise ValueError(
                f"y must have one column a class of the model, {classes}, got {values.shape[1]} columns."
            )
        has = {label: values[:, classes.index(label)] > 0 for label in abnormal}
    else:
        column = column_or_1d(values)
        if unknown := sorted({str(label) for label in column if label not in classes}):
            raise ValueError(f"y must hold classes of the model, {classes}, got also {unknown}.")
        has = {label: column == label for label in abnormal}

    queues = {label: list(rng.permutation(np.flatnonzero(rows))) for label, rows in has.items()}
    drawn: dict[int, Any] = {}
    while any(queues.values()) and (n_strips is None or len(drawn) < n_strips):
        for label, queue in queues.items():
            while queue and int(queue[-1]) in drawn:
                queue.pop()
            if queue and (n_strips is None or len(drawn) < n_strips):
                drawn[int(queue.pop())] = label
    if len(drawn) < (needed := n_strips or 2):
        raise ValueError(
            f"n_strips={n_strips}: {needed} ECGs of the classes {abnormal} are needed, got {len(drawn)}."
        )
    return np.array(list(drawn)), list(drawn.values())


def _compute_maps(
    model: Any,
    X: NDArray,
    labels: list[Any],
    methods: Mapping[str, str | Method],
    n_shades: int,
    rng: np.random.RandomState,
) -> dict[str, NDArray]:
    """Return the shades (n_cases, n_shades) of each method, in [0, 255]."""
    maps: dict[str, NDArray] = {}
    for name, method in methods.items():
        if not callable(method):
            source: NDArray = next(iter(maps.values()))
            cycle = rng.permutation(len(X))
            donors = np.empty(len(X), dtype=int)
            donors[cycle] = np.roll(cycle, 1)  # one cycle through all: nobody is his own donor
            shifts: NDArray = rng.randint(1, n_shades, size=len(X))
            maps[name] = np.stack(
                [np.roll(row, shift) for row, shift in zip(source[donors], shifts, strict=True)]
            )
            continue
        values = np.empty((len(X), X.shape[-1]))
        for label in dict.fromkeys(labels):
            rows = [k for k, other in enumerate(labels) if other == label]
            made = np.asarray(method(model, X[rows], label), dtype=float)
            if made.shape != (len(rows), X.shape[-1]) or not np.isfinite(made).all():
                raise ValueError(
                    f"methods[{name!r}] must return finite maps of shape {(len(rows), X.shape[-1])}, got "
                    f"shape {made.shape}" + ("." if np.isfinite(made).all() else " with NaN or infinity.")
                )
            values[rows] = made
        maps[name] = _shade(values, n_shades)
    return maps


def _shade(values: NDArray, n_shades: int) -> NDArray:
    """Average maps over every millimetre of paper and scale each to a maximum of 255."""
    edges = np.linspace(0, values.shape[1], n_shades + 1)
    # the integral of the map, read between samples: a shade need not hold a whole number of them
    area = np.concatenate([np.zeros((len(values), 1)), np.cumsum(values.clip(0), axis=1)], axis=1)
    integral = np.stack([np.interp(edges, np.arange(values.shape[1] + 1), row) for row in area])
    shades = np.diff(integral, axis=1)
    top = shades.max(axis=1, keepdims=True)
    return np.rint(255 * shades / np.where(top > 0, top, 1)).astype(np.uint8)


def _order_strips(
    n_cases: int, methods: list[str], n_repeats: int, rng: np.random.RandomState
) -> list[tuple[int, str, int | None]]:
    """Return (case, method, position of the strip it repeats) in random order, the same cases far apart."""
    strips = [(case, method) for case in range(n_cases) for method in methods]
    rest = [strips[k] for k in rng.permutation(len(strips))]
    repeated: list[tuple[int, str]] = []
    for _ in range(n_repeats):
        counts = Counter(one for strip in repeated for one in strip)
        one = min(rest, key=lambda strip: (counts[strip[1]], counts[strip[0]]))
        rest.remove(one)
        repeated.append(one)
    for gap in range(min(MAX_GAP, n_cases // 2), 0, -1):
        for _ in range(50):
            if (order := _spread(strips + repeated, gap, rng)) is not None:
                at: dict[tuple[int, str], int] = {}
                found: list[tuple[int, str, int | None]] = []
                for position, strip in enumerate(order):
                    found.append((*strip, at.get(strip)))
                    at.setdefault(strip, position)
                return found
    raise ValueError(f"n_strips={n_cases} are too few to keep strips of the same ECG apart.")


def _spread(
    strips: list[tuple[int, str]], gap: int, rng: np.random.RandomState
) -> list[tuple[int, str]] | None:
    """Draw an order in which `gap` others lie between strips of a case, or None where the draw got stuck."""
    left: dict[int, list[str]] = {}
    for case, method in strips:
        left.setdefault(case, []).append(method)
    order: list[tuple[int, str]] = []
    while left:
        recent = {case for case, _ in order[-gap:]}
        free = [case for case in left if case not in recent]
        if not free:
            return None
        weight = np.array([len(left[case]) for case in free], dtype=float) ** 3  # cases with many left first
        case = free[rng.choice(len(free), p=weight / weight.sum())]
        last = next((m for c, m in reversed(order) if c == case), None)
        choices = [m for m in left[case] if m != last] or left[case]
        method = choices[rng.randint(len(choices))]
        left[case].remove(method)
        if not left[case]:
            del left[case]
        order.append((case, method))
    return order


def _tokens(n_tokens: int, rng: np.random.RandomState) -> list[str]:
    """Return different random ids."""
    tokens: dict[str, None] = {}
    while len(tokens) < n_tokens:
        tokens[rng.bytes(4).hex()] = None
    return list(tokens)


def _drawing(ecg: NDArray, names: list[str], rate: float) -> dict[str, Any]:
    """Return the traces of one ECG and where they lie on the paper, in mm."""
    step = max(1, round(rate / DRAWN_RATE))
    traces = ecg - np.median(ecg, axis=1, keepdims=True)
    above = traces.max(axis=1).clip(ABOVE, MAX_DEFLECTION) * GAIN
    below = (-traces.min(axis=1)).clip(BELOW, MAX_DEFLECTION) * GAIN
    steps = np.ceil(np.concatenate([above[:1] + 1, below[:-1] + above[1:]]) / BOX) * BOX
    baselines = np.cumsum(steps)
    if step > 1:
        traces = resample_poly(traces, 1, step, axis=1, padtype="line")
    counts = np.rint(traces / UNIT).clip(-32768, 32767).astype("<i2")
    return {
        "rate": rate / step,
        "unit": UNIT,
        "height": float(np.ceil((baselines[-1] + below[-1] + 1) / BOX) * BOX),
        "leads": [
            {"name": name, "baseline": float(baseline), "trace": _encode(row)}
            for name, baseline, row in zip(names, baselines, counts, strict=True)
        ],
    }


def _encode(values: NDArray) -> str:
    return base64.b64encode(values.tobytes()).decode("ascii")


def _render(content: dict[str, Any]) -> str:
    """Put data, style and script into the one page."""
    folder = files(__package__) / "templates"
    parts = {
        "title": html.escape(content["title"]),
        "style": (folder / "grade.css").read_text(encoding="utf-8"),
        "script": (folder / "grade.js").read_text(encoding="utf-8"),
        # "<" cannot end the script element from within a JSON string then
        "data": json.dumps(content, separators=(",", ":")).replace("<", "\\u003c"),
    }
    template = (folder / "grade.html").read_text(encoding="utf-8")
    return re.sub(r"{{ (\w+) }}", lambda found: parts[found[1]], template)
