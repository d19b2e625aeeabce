"""The networks and their objectives, in torch alone."""

from .augmentation import Augmentation
from .classifiers import CLASSIFIERS, ConvolutionalClassifier, HuClassifier
from .network import JointNetwork, JointOutput, union
from .objectives import OBJECTIVES, CrossEntropy, Evidence, MultipleInstance, Objective, Task
from .segmenters import SEGMENTERS, HuSegmenter, UNetSegmenter

__all__ = [
    "CLASSIFIERS",
    "OBJECTIVES",
    "SEGMENTERS",
    "Augmentation",
    "ConvolutionalClassifier",
    "CrossEntropy",
    "Evidence",
    "HuClassifier",
    "HuSegmenter",
    "JointNetwork",
    "JointOutput",
    "MultipleInstance",
    "Objective",
    "Task",
    "UNetSegmenter",
    "union",
]
