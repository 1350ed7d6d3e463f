"""Objectives: what a model family trains on, chosen by its config."""

from transformers import PreTrainedConfig

from .albef import ALBEFObjective
from .base import Objective, base_objective
from .clip import CLIPObjective
from .comm import CoMMObjective, CrossObjective, CrossSelfObjective
from .regularized import RegularizedObjective, add_regularizers, required_heads
from .supervised import SupervisedObjective

__all__ = [
    "ALBEFObjective",
    "CLIPObjective",
    "CoMMObjective",
    "CrossObjective",
    "CrossSelfObjective",
    "Objective",
    "RegularizedObjective",
    "SupervisedObjective",
    "build_objective",
    "required_heads",
]


def build_objective(config: PreTrainedConfig) -> Objective:
    """The objective of a model's config: the contrastive one that it names, and its regularizers.

    Raises:
        ValueError: If a name or an option is unknown or does not fit.
    """
    return add_regularizers(base_objective(config), config)
