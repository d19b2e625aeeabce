"""The networks and their objectives, in torch alone."""

from .augmentation import Augmentation
from .classifiers import CLASSIFIERS, ConvolutionalClassifier, HuClassifier
from .network import JointNetwork, JointOutput, Maps, union
from .objectives import OBJECTIVES, CrossEntropy, Evidence, MultipleInstance, Objective, Task
from .segmenters import SEGMENTERS, BeatSegmenter, HuSegmenter, Odds, UNetSegmenter

__all__ = [
    "CLASSIFIERS",
    "OBJECTIVES",
    "SEGMENTERS",
    "Augmentation",
    "BeatSegmenter",
    "ConvolutionalClassifier",
    "CrossEntropy",
    "Evidence",
    "HuClassifier",
    "HuSegmenter",
    "JointNetwork",
    "JointOutput",
    "Maps",
    "MultipleInstance",
    "Objective",
    "Odds",
    "Task",
    "UNetSegmenter",
    "union",
]
