"""Objectives: what a model family trains on, chosen by its config."""

from transformers import PreTrainedConfig

from ..discovery import import_modules
from .albef import ALBEFObjective
from .base import OBJECTIVES, Objective, base_objective, objective_modules
from .clip import CLIPObjective
from .comm import CoMMObjective, CrossObjective, CrossSelfObjective
from .regularized import RegularizedObjective, add_regularizers, required_heads
from .supervised import SupervisedObjective

__all__ = [
    "OBJECTIVES",
    "ALBEFObjective",
    "CLIPObjective",
    "CoMMObjective",
    "CrossObjective",
    "CrossSelfObjective",
    "Objective",
    "RegularizedObjective",
    "SupervisedObjective",
    "build_objective",
    "objective_modules",
    "required_heads",
]

import_modules(__name__, __path__)


def build_objective(config: PreTrainedConfig) -> Objective:
    """The objective of a model's config: the contrastive one that it names, and its regularizers.

    Raises:
        ValueError: If a name or an option is unknown or does not fit.
    """
    return add_regularizers(base_objective(config), config)
