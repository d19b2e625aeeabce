"""Pictures of what the model found, and other methods' maps and checks to hold its maps against."""

from ._attention_map import AttentionMapDisplay
from ._attribution import (
    grad_cam,
    guided_grad_cam,
    integrated_gradients,
    randomisation_check,
    randomise_weights,
)
from ._beat_gallery import BeatGalleryDisplay
from ._training_history import TrainingHistoryDisplay

__all__ = [
    "AttentionMapDisplay",
    "BeatGalleryDisplay",
    "TrainingHistoryDisplay",
    "grad_cam",
    "guided_grad_cam",
    "integrated_gradients",
    "randomisation_check",
    "randomise_weights",
]
