"""Heartbeats: finding them, describing them, and telling from a map which are abnormal."""

from ._channels import N_RHYTHM, contrast_channels, reference_beats, rhythm_channels
from ._detection import VOTE_WINDOW, detect_heartbeats
from ._selection import BEAT_DTYPE, score_beats, select_beats
from ._spans import spans, stack_heartbeats

__all__ = [
    "BEAT_DTYPE",
    "N_RHYTHM",
    "VOTE_WINDOW",
    "contrast_channels",
    "detect_heartbeats",
    "reference_beats",
    "rhythm_channels",
    "score_beats",
    "select_beats",
    "spans",
    "stack_heartbeats",
]
