"""How well attention maps and located beats agree with annotated beats, and how far a map can be trusted.

Annotated beats (``beats``) come as one structured array an ECG window with the fields ``sample`` (the R
peak's index in the window) and ``symbol`` (WFDB beat symbol), maps as an array of shape (n_samples,
n_timesteps). The protocols are those of ANSI/AAMI EC57 for beats and of the attribution literature for maps.
"""

from __future__ import annotations

from ._agreement import seed_agreement
from ._annotations import beat_spans
from ._detection import beat_detection
from ._leakage import mask_leakage
from ._localisation import attention_mass, map_iou, pointing_game, rank_accuracy
from ._perturbation import deletion_curve, insertion_curve
from ._ranking import map_auroc, map_average_precision
from ._scorers import make_beat_scorer, make_map_scorer

__all__ = [
    "attention_mass",
    "beat_detection",
    "beat_spans",
    "deletion_curve",
    "insertion_curve",
    "make_beat_scorer",
    "make_map_scorer",
    "map_auroc",
    "map_average_precision",
    "map_iou",
    "mask_leakage",
    "pointing_game",
    "rank_accuracy",
    "seed_agreement",
]
