"""Regularizers: structure for the latent space, chosen by name and added to an objective with a weight."""

from ..discovery import import_modules
from .alignment import Alignment
from .base import REGULARIZERS, Regularizer, build_regularizer, register_regularizer, regularizer_class
from .brownian_bridge import BrownianBridge
from .feature_separation import FeatureSeparation
from .geometric_consistency import GeometricConsistency
from .information_bottleneck import InformationBottleneck

__all__ = [
    "REGULARIZERS",
    "Alignment",
    "BrownianBridge",
    "FeatureSeparation",
    "GeometricConsistency",
    "InformationBottleneck",
    "Regularizer",
    "build_regularizer",
    "register_regularizer",
    "regularizer_class",
]

import_modules(__name__, __path__)
