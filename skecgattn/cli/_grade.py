"""``skecgattn grade``: a page on which experts grade maps, and what their grades say."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from .._words import counted
from ._console import (
    bars,
    is_page,
    make_table,
    number,
    plain_messages,
    print_json,
    print_table,
    writable_file,
)
from ._inputs import find_records, split
from ._options import Folder, Json, Quiet

if TYPE_CHECKING:
    from sklearn.utils import Bunch

BUILD = """**Examples**

`skecgattn grade build model.skecg mitdb --output study.html` : windows of annotated records, each shown as a
case of a class annotated in it. Send `study.html` to the experts and keep `study.key.json`.

`skecgattn grade build model.skecg ecgs --predicted --output study.html` : the middle of each record, as a
case of what the model predicts.
"""

SUMMARY = """**Example**

`skecgattn grade summary study.key.json grades-*.json --plot grades.png`
"""

NAMES = {
    "S": "supraventricular ectopic beats (S)",
    "V": "ventricular ectopic beats (V)",
    "F": "fusion beats (F)",
    "Q": "paced or unclassifiable beats (Q)",
}

grade = typer.Typer(
    name="grade",
    help="Experts grade where maps lie, blinded to the method that made them.",
    no_args_is_help=True,
)


@grade.command(epilog=BUILD)
def build(
    model: Annotated[Path, typer.Argument(help="Model file.", show_default=False)],
    folder: Folder,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Page to write, .html; the key goes beside it.")
    ] = Path("study.html"),
    annotator: Annotated[str, typer.Option(help="Extension of the annotations that tell the class.")] = "atr",
    predicted: Annotated[
        bool, typer.Option("--predicted", help="Take the class that the model predicts, without annotations.")
    ] = False,
    patients: Annotated[
        Path | None, typer.Option(help="CSV file with the columns record and patient.", show_default=False)
    ] = None,
    leads: Annotated[
        str,
        typer.Option(
            help="Names of the leads in the model's order; else those it knows.", show_default=False
        ),
    ] = "",
    window: Annotated[float, typer.Option(min=1, help="Seconds a strip.")] = 10.0,
    methods: Annotated[
        str,
        typer.Option(help="Of attention, grad_cam, guided_grad_cam, integrated_gradients, shuffled."),
    ] = "attention,grad_cam,shuffled",
    strips: Annotated[int, typer.Option(min=2, help="Number of ECGs; each is shown once a method.")] = 20,
    repeats: Annotated[int, typer.Option(min=0, help="Strips shown twice.")] = 8,
    title: Annotated[str, typer.Option(help="Title of the page.")] = "ECG grade study",
    seed: Annotated[
        int | None, typer.Option(min=0, max=2**32 - 1, help="Decides all that is random.", show_default=False)
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a page and its key.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write the page for the experts and the key that tells which strip is of which method."""
    with plain_messages():
        page = writable_file(output, "page", is_page)
        from .. import load
        from ..inspection import build_grade_study
        from ..preprocessing import resample
        from . import _training_data as source

        fitted = load(model)
        steps: list[Any] = [step for _, step in fitted.steps] if hasattr(fitted, "steps") else [fitted]
        classifier = steps[-1]
        classes = classifier.classes_.tolist()
        known = {} if patients is None else source.read_patients(patients)
        names = split(leads) or list(classifier.lead_names or ())
        options: dict[str, Any] = {"window": window, "patients": known}
        with bars(quiet, "records") as shown:

            def watch(items: Any, what: str) -> Any:
                return shown.track(items, description=what)

            records = source.open_records(find_records(folder), watch, names)
            if predicted:
                given = [frozenset[str]()] * len(records)
                data = source.from_record_labels(records, given, watch=watch, **options)
            else:
                if foreign := [label for label in classifier.map_labels_ if label not in NAMES]:
                    raise ValueError(
                        f"beat annotations tell the AAMI classes {', '.join(NAMES)}, not the model's "
                        f"{', '.join(map(str, foreign))}; use --predicted"
                    )
                data = source.from_annotations(
                    records, annotator=annotator, classes=classifier.map_labels_, watch=watch, **options
                )
        if len(data.lead_names) != classifier.n_leads_in_:
            raise ValueError(
                f"the model reads {classifier.n_leads_in_} lead(s), the records have "
                f"{', '.join(data.lead_names)}; name those to read with --leads"
            )
        rates = (getattr(step, "sampling_rate", None) for step in steps)
        rate = float(next(filter(None, rates), data.sampling_rate))  # that of the first step is the ECGs'
        labels = None
        if not predicted:
            labels = np.array([[label in ecg for label in classes] for ecg in data.labels], dtype=int)
        page.parent.mkdir(parents=True, exist_ok=True)
        study = build_grade_study(
            page,
            fitted,
            resample(data.X, data.sampling_rate, rate),
            labels,
            groups=data.groups,
            methods=split(methods),
            n_strips=strips,
            n_repeats=repeats,
            sampling_rate=rate,
            lead_names=data.lead_names,
            class_names={} if predicted else NAMES,
            title=title,
            overwrite=overwrite,
            random_state=seed,
        )
    if as_json:
        print_json(dict(study))
    else:
        typer.echo(f"{study.n_strips} strips: {study.page}, for the experts")
        typer.echo(f"Key, not for the experts: {study.key}")


@grade.command(epilog=SUMMARY)
def summary(
    key: Annotated[Path, typer.Argument(help="The study's .key.json.", show_default=False)],
    files: Annotated[
        list[Path], typer.Argument(help="Files that experts have exported.", show_default=False)
    ],
    confidence: Annotated[float, typer.Option(min=0.5, max=0.999, help="Coverage of the intervals.")] = 0.95,
    plot: Annotated[Path | None, typer.Option(help="Picture to write.", show_default=False)] = None,
    as_json: Json = False,
) -> None:
    """Report mean grades, tests between methods, and agreement between and within experts."""
    with plain_messages():
        from ..inspection import GradeStudyDisplay, summarise_grades

        if plot is not None:
            plot = writable_file(plot)
        found = summarise_grades(key, files, confidence=confidence)
        if plot is not None:
            display = GradeStudyDisplay.from_summary(found)
            plot.parent.mkdir(parents=True, exist_ok=True)
            display.figure_.savefig(plot, dpi=150)
    if as_json:
        tables = {name: value for name, value in found.items() if hasattr(value, "to_dict")}
        rows = {
            name: table.reset_index(drop=table.index.name is None).to_dict("records")
            for name, table in tables.items()
        }
        print_json({**found, **rows})
    else:
        _show(found)
        if plot is not None:
            typer.echo(f"Picture: {plot}")


def _show(found: Bunch) -> None:
    patients = f" of {counted(found.n_clusters, 'patient')}" if found.n_clusters < found.n_ecgs else ""
    typer.echo(
        f"{found.title}: {counted(found.n_experts, 'expert')}, {counted(found.n_ecgs, 'ECG')}{patients}."
    )
    share = f"{100 * found.confidence:g}%"
    table = make_table("Mean grade, 1 to 5", ["method", "mean", f"{share} interval", *found.experts.index])
    for method, row in found.methods.iterrows():
        experts = (number(value, 2) for value in found.experts[method])
        table.add_row(method, number(row["mean"], 2), _range(row), *experts)
    print_table(table)
    if len(found.tests):
        table = make_table(
            "Methods on the same ECGs, Wilcoxon's signed-rank test",
            ["", "difference", f"{share} interval", "p", "p (Holm)", "rank-biserial"],
        )
        for row in found.tests.to_dict("records"):
            cells = [number(row["p_value"], 4), number(row["p_holm"], 4), number(row["rank_biserial"], 2)]
            table.add_row(
                f"{row['method']} − {row['other']}", number(row["difference"], 2), _range(row), *cells
            )
        print_table(table)
    if found.n_experts > 1:
        table = make_table("Agreement between experts", ["", "strips", "weighted kappa"])
        for row in found.between_experts.to_dict("records"):
            pair = f"{row['expert']}, {row['other']}"
            table.add_row(pair, str(row["n_strips"]), number(row["weighted_kappa"], 2))
        table.add_row("mean of pairs", "", number(found.mean_weighted_kappa, 2))
        table.add_row("Krippendorff's alpha, ordinal", "", number(found.krippendorff_alpha, 2))
        print_table(table)
    table = make_table(
        "Agreement within experts, and what is missing",
        ["expert", "repeats", "same", "at most one apart", "weighted kappa", "without grade"],
    )
    for expert, row in found.within_experts.iterrows():
        cells = [number(row["exact"], 2), number(row["within_one"], 2), number(row["weighted_kappa"], 2)]
        missing = str(found.missing.loc[expert, "n_missing"])
        table.add_row(expert, str(int(row["n_repeats"])), *cells, missing)
    print_table(table)


def _range(row: Any) -> str:
    return f"{number(row['low'], 2)} to {number(row['high'], 2)}"
