"""``skecgattn train``: from a folder of labelled records to a model file."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .._words import counted, few
from ._console import bars, make_table, note, number, plain_messages, print_json, print_table, writable_file
from ._inputs import find_records, pairs, split
from ._options import Folder, Jobs, Json, Quiet, Seed

if TYPE_CHECKING:
    from ..classifier import AttentionECGClassifier
    from ._training_data import TrainingSet

EPILOG = """**Examples**

`skecgattn train ecgs --labels labels.csv --output model.skecg` : one label (or several, `PVC;AF`) a record,
from a table with the columns record, label and patient.

`skecgattn train mitdb --from-annotations --leads MLII,V1 --output model.skecg` : windows of 10 s, labelled
with the AAMI classes of the beats annotated in them.

`skecgattn train cinc2021 --from-dx --codes 427172004=PVC,426783006=N --output model.skecg` : SNOMED CT codes
of the headers' `#Dx:` lines. Without `--codes` the error lists the codes that there are.

The table is of patients that the model of their fold was not trained on; the model that is saved is
trained on all of them.
"""


class Device(StrEnum):
    """Where networks are trained."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


def train(
    folder: Folder,
    output: Annotated[Path, typer.Option("--output", "-o", help="Model file to write.", show_default=False)],
    labels: Annotated[
        Path | None,
        typer.Option(help="CSV file with the columns record, label and, best, patient.", show_default=False),
    ] = None,
    from_annotations: Annotated[
        bool, typer.Option("--from-annotations", help="Label windows by the beats annotated in them.")
    ] = False,
    from_dx: Annotated[
        bool, typer.Option("--from-dx", help="Label records by the codes of their header's #Dx: line.")
    ] = False,
    codes: Annotated[
        str, typer.Option(help="For --from-dx: code=label, separated by commas.", show_default=False)
    ] = "",
    annotator: Annotated[str, typer.Option(help="For --from-annotations: the files' extension.")] = "atr",
    classes: Annotated[
        str, typer.Option(help="For --from-annotations: AAMI classes to tell, of N, S, V, F, Q.")
    ] = "S,V",
    patients: Annotated[
        Path | None,
        typer.Option(
            help="CSV file with the columns record and patient, where neither labels nor records name them.",
            show_default=False,
        ),
    ] = None,
    leads: Annotated[
        str,
        typer.Option(
            help="Names of the leads to read, such as MLII,V1; else those that all records have.",
            show_default=False,
        ),
    ] = "",
    window: Annotated[
        float | None,
        typer.Option(
            min=1,
            help="Seconds an ECG: of windows (10, for annotations), or what is taken of each record (the "
            "records' median length).",
            show_default=False,
        ),
    ] = None,
    normal: Annotated[
        str | None,
        typer.Option(
            help="Label of ECGs without an abnormality, if none of the usual ones (N, normal, SR).",
            show_default=False,
        ),
    ] = None,
    folds: Annotated[int, typer.Option(min=0, help="Folds of patients to cross-validate; 0: none.")] = 5,
    epochs: Annotated[
        int | None,
        typer.Option(min=1, help="Passes over the data (12; more where ECGs are few).", show_default=False),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(min=1, help="ECGs a step (64; fewer where ECGs are few).", show_default=False),
    ] = None,
    seed: Seed = 0,
    device: Annotated[Device, typer.Option(help="Where to train.")] = Device.auto,
    n_jobs: Jobs = 1,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train on labelled records, measure on patients left out, save the model.

    Labels hold for a whole record, or come from annotations a window. The ECGs of one patient never lie on
    both sides of a fold. Records that cannot be used are left out, with a note that says why.
    """
    with plain_messages():
        _check_source(labels, from_annotations, from_dx)
        if folds == 1:
            raise ValueError("--folds must be 0 or at least 2, got 1")
        if codes and not from_dx:
            raise ValueError("--codes is for --from-dx: say which codes make which label there")
        output = writable_file(output, "model file", _is_model)
        data = _read(
            folder,
            labels=labels,
            from_annotations=from_annotations,
            codes=codes,
            annotator=annotator,
            classes=split(classes),
            patients=patients,
            leads=split(leads),
            window=window,
            normal=normal,
            quiet=quiet,
        )
        from .. import save
        from ._cross_validation import cross_validate, fit

        model = _model(data, epochs=epochs, batch_size=batch_size, seed=seed, device=device.value)
        with bars(quiet, "epochs") as shown:
            n_folds = _possible_folds(folds, len(set(data.groups.tolist())))
            total = (n_folds + 1) * int(model.max_epochs)
            task = shown.add_task("cross-validating" if n_folds else "training", total=total)
            scores = None
            if n_folds:
                scores = cross_validate(
                    model,
                    data.X,
                    data.y,
                    data.groups,
                    n_folds,
                    seed,
                    n_jobs,
                    lambda n: shown.advance(task, n),
                )
            shown.update(task, description="training on all")
            fit(model, data.X, data.y, data.groups, lambda n: shown.advance(task, n))
        output.parent.mkdir(parents=True, exist_ok=True)
        save(model, output)
    results = {"data": _describe(data), "cross_validation": scores, "model": output}
    if as_json:
        print_json(results)
    else:
        _show(results)


def _is_model(path: Path) -> bool:
    from .._model_file import info
    from ..exceptions import ModelFileError

    try:
        info(path)
    except (ModelFileError, OSError):
        return False
    return True


def _check_source(labels: Path | None, from_annotations: bool, from_dx: bool) -> None:
    given = [labels is not None, from_annotations, from_dx]
    if sum(given) != 1:
        raise ValueError("give one source of labels: --labels FILE, --from-annotations or --from-dx")
    if labels is not None and not labels.is_file():
        raise FileNotFoundError(f"there is no file {labels}")


def _read(
    folder: Path,
    *,
    labels: Path | None,
    from_annotations: bool,
    codes: str,
    annotator: str,
    classes: list[str],
    patients: Path | None,
    leads: list[str],
    window: float | None,
    normal: str | None,
    quiet: bool,
) -> TrainingSet:
    from . import _training_data as source

    with bars(quiet, "records") as shown:

        def watch(items: Any, what: str) -> Any:
            return shown.track(items, description=what)

        known = {} if patients is None else source.read_patients(patients)
        paths = find_records(folder)
        table: dict[str, frozenset[str]] = {}
        if labels is not None:
            table, more = source.read_labels(labels)
            known = more | known
            named = [path for path in paths if path.name in table]
            source.check_names(named)
            paths = named or paths
        elif known:
            source.check_names(paths)
        wanted = pairs(codes, "--codes")
        records = source.open_records(paths, watch, leads)
        if from_annotations:
            data = source.from_annotations(
                records,
                annotator=annotator,
                classes=classes,
                window=10.0 if window is None else window,
                patients=known,
                watch=watch,
            )
        else:
            if labels is None:
                chosen, given = source.labels_from_dx(records, wanted, normal)
            else:
                chosen, given = source.labels_from_table(records, folder, table, normal)
            data = source.from_record_labels(chosen, given, window=window, patients=known, watch=watch)
    found = sorted(set().union(*data.labels))
    if normal is not None and normal not in found:
        raise ValueError(f"--normal must be one of the labels {', '.join(found)}, got {normal}")
    data.normal = normal
    unnamed = [record.name for record in records if not (known.get(record.name) or record.patient)]
    if len(unnamed) == len(records):
        note("patients are not named: every record is taken for a patient of its own (--patients names them)")
    elif unnamed:
        note(
            f"{len(unnamed)} of {counted(len(records), 'record')} have no patient and are taken for one of "
            f"their own each: {few(unnamed)}"
        )
    return data


def _model(
    data: TrainingSet, *, epochs: int | None, batch_size: int | None, seed: int, device: str
) -> AttentionECGClassifier:
    """Return the estimator; its number of epochs is known, for the folds and the progress bar."""
    import numpy as np

    from .._budget import choose_epochs
    from .._labels import Labels
    from ..classifier import AttentionECGClassifier

    model = AttentionECGClassifier(
        data.sampling_rate,
        lead_names=data.lead_names,
        batch_size="auto" if batch_size is None else batch_size,
        random_state=seed,
        device=device,
    )
    seconds = data.X.shape[2] / data.sampling_rate
    n_timesteps = round(seconds * (model.resample_to or data.sampling_rate))
    y = np.asarray(data.y)
    if y.ndim == 1 and data.normal in y.tolist():
        model.set_params(normal_class=data.normal)
    labels = Labels.learn(y, normal_class=model.normal_class)
    if not labels.has_nothing:
        note(
            f"no label is known to mean normal: each of {few([str(one) for one in labels.classes])} gets a "
            "map of its own (--normal names the normal one)"
        )
    chosen = choose_epochs(epochs or "auto", len(data.X), n_timesteps, has_nothing=labels.has_nothing)
    return model.set_params(max_epochs=chosen)


def _possible_folds(folds: int, n_patients: int) -> int:
    if folds and n_patients < 2:
        raise ValueError("cross-validation needs at least 2 patients, got 1; --folds 0 trains without it")
    if folds > n_patients:
        note(f"{n_patients} patients make no more than {n_patients} folds, not {folds}")
    return min(folds, n_patients)


def _describe(data: TrainingSet) -> dict[str, Any]:
    names = sorted(set().union(*data.labels))
    return {
        "records": data.n_records,
        "patients": len(set(data.groups.tolist())),
        "ecgs": len(data.X),
        "seconds": data.X.shape[2] / data.sampling_rate,
        "sampling_rate": data.sampling_rate,
        "lead_names": data.lead_names,
        "labels": {name: sum(name in labels for labels in data.labels) for name in names},
    }


def _show(results: dict[str, Any]) -> None:
    data, scores = results["data"], results["cross_validation"]
    typer.echo(
        f"{counted(data['records'], 'record')} of {counted(data['patients'], 'patient')}: "
        f"{counted(data['ecgs'], 'ECG')} of {data['seconds']:g} s at {data['sampling_rate']:g} Hz, "
        f"leads {', '.join(data['lead_names'])}."
    )
    if scores is not None:
        table = make_table(
            f"Patients left out, {scores['n_folds']} folds: mean ± sd over folds (all left-out ECGs at once)",
            ["", "ECGs", "patients", "AUC", "balanced accuracy", "recall"],
        )
        for name, row in [*scores["classes"].items(), ("all", scores["all"])]:
            cells = [_spread(row[key]) for key in ("auc", "balanced_accuracy", "recall")]
            table.add_row(name, str(row["n_ecgs"]), str(row["n_patients"]), *cells)
        print_table(table)
    typer.echo(f"Model: {results['model']}")


def _spread(score: dict[str, float] | None) -> str:
    if score is None:
        return ""
    return f"{number(score['mean'])} ± {number(score['sd'])} ({number(score['out_of_fold'])})"
