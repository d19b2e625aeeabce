"""Pictures of what the model found: maps on ECG paper, the beats picked, the training's course."""

from ._attention_map import AttentionMapDisplay
from ._beat_gallery import BeatGalleryDisplay
from ._training_history import TrainingHistoryDisplay

__all__ = ["AttentionMapDisplay", "BeatGalleryDisplay", "TrainingHistoryDisplay"]
