"""Heartbeats: finding them, describing them, and telling from a map which are abnormal."""

from ._channels import N_RHYTHM as N_RHYTHM
from ._channels import contrast_channels, reference_beats, rhythm_channels
from ._detection import detect_heartbeats
from ._lead_network import BAND as BAND
from ._selection import BEAT_DTYPE as BEAT_DTYPE
from ._selection import score_beats, select_beats
from ._spans import spans, stack_heartbeats
from ._vote import VOTE_WINDOW as VOTE_WINDOW
from ._wave_channels import N_WAVES as N_WAVES
from ._wave_channels import PREMATURE as PREMATURE
from ._wave_channels import wave_channels

__all__ = [
    "contrast_channels",
    "detect_heartbeats",
    "reference_beats",
    "rhythm_channels",
    "score_beats",
    "select_beats",
    "spans",
    "stack_heartbeats",
    "wave_channels",
]
