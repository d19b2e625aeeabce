"""Pictures of what the model found, and other methods' maps and checks to hold its maps against."""

from ._attention_map import AttentionMapDisplay
from ._attribution import grad_cam, guided_grad_cam, integrated_gradients
from ._beat_gallery import BeatGalleryDisplay
from ._grade_display import GradeStudyDisplay
from ._grade_statistics import summarise_grades
from ._grade_study import build_grade_study
from ._randomisation import randomisation_check, randomise_weights
from ._training_history import TrainingHistoryDisplay

__all__ = [
    "AttentionMapDisplay",
    "BeatGalleryDisplay",
    "GradeStudyDisplay",
    "TrainingHistoryDisplay",
    "build_grade_study",
    "grad_cam",
    "guided_grad_cam",
    "integrated_gradients",
    "randomisation_check",
    "randomise_weights",
    "summarise_grades",
]
