"""The files of a grade study: the key that its builder keeps and the grades that experts send back."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from .._warn import warn_user

KEY_FORMAT = "skecgattn grade key"
GRADES_FORMAT = "skecgattn grades"
VERSION = 1
GRADES = (1, 2, 3, 4, 5)


def read_key(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read the key of a study.

    Raises
    ------
    ValueError
        If the file is not such a key.
    """
    key = _read_json(Path(path))
    if key.get("format") == GRADES_FORMAT:
        raise ValueError(f"key must be the study's .key.json, got an expert's grades: {path}.")
    if key.get("format") != KEY_FORMAT:
        raise ValueError(f"key must be the .key.json that was written beside the page, got {path}.")
    if key.get("version") != VERSION:
        raise ValueError(f"{path} has version {key.get('version')}, this skecgattn reads {VERSION}.")
    return key


def read_grades(key: dict[str, Any], files: Iterable[str | os.PathLike[str]]) -> pd.DataFrame:
    """Read experts' grades: one row an expert and strip, NaN where there is no grade.

    Raises
    ------
    ValueError
        If a file cannot be used; the message names all such files and what is wrong with each.

    Warns
    -----
    UserWarning
        If an older export of the same answers is left out, or if strips have no grade.
    """
    problems: list[str] = []
    kept: dict[str, tuple[Path, dict[str, Any]]] = {}
    for path in map(Path, files):
        try:
            answers = _read_json(path)
            _check_grades(answers, key, path)
        except ValueError as error:
            problems.append(str(error))
            continue
        expert = " ".join(answers["expert"].split())
        name = expert.casefold()
        if name not in kept:
            kept[name] = path, answers
            continue
        other, earlier = kept[name]
        if answers["session"] != earlier["session"]:
            problems.append(
                f"{other} and {path} are both by {expert!r}, begun separately: leave one out, or give two "
                "experts of the same name different ones."
            )
            continue
        if answers["saved"] > earlier["saved"]:
            kept[name] = path, answers
            path, other = other, path
        warn_user(f"{path} is left out: {other} holds later answers of {expert!r}.")
    if problems:
        raise ValueError("files that cannot be used:\n" + "\n".join(problems))
    if not kept:
        raise ValueError("files must name at least one expert's file, got none.")

    rows = []
    for path, answers in kept.values():
        expert = " ".join(answers["expert"].split())
        given = answers["grades"]
        missing = []
        for token, strip in key["strips"].items():
            answer = given.get(token, {})
            if answer.get("grade") is None:
                missing.append(strip["position"])
            rows.append(
                {
                    "expert": expert,
                    "file": str(path),
                    "strip": token,
                    **{field: strip[field] for field in ("position", "ecg", "method", "label", "group")},
                    "repeat_of": strip["repeat_of"],
                    "grade": answer.get("grade"),
                    "comment": answer.get("comment") or "",
                }
            )
        if missing:
            shown = ", ".join(map(str, sorted(missing)))
            warn_user(
                f"{path}: {expert!r} has left {len(missing)} of {len(key['strips'])} strips without a grade: "
                f"{shown}."
            )
    frame = pd.DataFrame(rows)
    frame["grade"] = frame["grade"].astype(float)
    return frame


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is not JSON: {error}.") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a JSON {type(content).__name__}, expected an object.")
    return content


def _check_grades(answers: dict[str, Any], key: dict[str, Any], path: Path) -> None:
    if answers.get("format") != GRADES_FORMAT:
        raise ValueError(f"{path} is not a file of grades that the page has exported.")
    if answers.get("version") != VERSION:
        raise ValueError(f"{path} has version {answers.get('version')}, this skecgattn reads {VERSION}.")
    if answers.get("study") != key["study"]:
        raise ValueError(f"{path} is of study {answers.get('study')!r}, the key of {key['study']!r}.")
    for field in ("expert", "session", "saved"):
        if not isinstance(answers.get(field), str) or not answers[field].strip():
            raise ValueError(f"{path} lacks {field!r}.")
    given = answers.get("grades")
    if not isinstance(given, dict) or not all(isinstance(answer, dict) for answer in given.values()):
        raise ValueError(f"{path} lacks 'grades', an object of one answer a strip.")
    if unknown := sorted(set(given) - set(key["strips"])):
        raise ValueError(f"{path} grades strips that the study does not have: {', '.join(unknown)}.")
    for token, answer in given.items():
        grade = answer.get("grade")
        if grade is not None and (isinstance(grade, bool) or grade not in GRADES):
            raise ValueError(
                f"{path}: strip {key['strips'][token]['position']} has grade {grade!r}, expected a whole "
                f"number from {GRADES[0]} to {GRADES[-1]}."
            )
    if all(answer.get("grade") is None for answer in given.values()):
        raise ValueError(f"{path} holds no grade.")
