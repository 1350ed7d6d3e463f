"""Training: the Trainer, its arguments, and the only collectives of the library."""

from .arguments import LatentTrainingArguments
from .trainer import ObjectiveTrainer

__all__ = ["LatentTrainingArguments", "ObjectiveTrainer"]
