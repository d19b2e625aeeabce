"""Recordings of any length: read, annotate, summarise, score, write."""

from __future__ import annotations

from skecgattn.records._annotate import AnnotatedStretch, annotate, iter_annotate
from skecgattn.records._annotations import RecordAnnotations
from skecgattn.records._evaluate import AnnotationEvaluation, evaluate_annotations
from skecgattn.records._many import annotate_many
from skecgattn.records._quality import unreadable_stretches
from skecgattn.records._record import Record, read_record
from skecgattn.records._report import write_report
from skecgattn.records._source import UnreadableRecordError
from skecgattn.records._summary import Summary, find_bigeminy, find_runs
from skecgattn.records._symbols import beat_symbols

__all__ = [
    "AnnotatedStretch",
    "AnnotationEvaluation",
    "Record",
    "RecordAnnotations",
    "Summary",
    "UnreadableRecordError",
    "annotate",
    "annotate_many",
    "beat_symbols",
    "evaluate_annotations",
    "find_bigeminy",
    "find_runs",
    "iter_annotate",
    "read_record",
    "unreadable_stretches",
    "write_report",
]
