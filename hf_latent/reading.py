"""What a source of data is told of the model that reads its rows."""

from typing import Any

from .data.source import Reader
from .objectives import OBJECTIVES
from .tasks import task_of


def reader_of(model_class: type, config: Any) -> Reader:
    """The reader that a model is.

    Args:
        model_class: Of the model.
        config: Of the model.
    """
    task = task_of(model_class)
    if task is not None:
        said = task.said(config)
        classes = config.num_labels if said in ("classes", "labels") else None
        return Reader(config.modalities, said, task.images, classes, problem=getattr(config, "problem_type", None))
    objective: Any = OBJECTIVES.get(config.model_type, {}).get(config.objective)
    contrasted = objective is not None and "labels" in objective.requires
    return Reader(config.modalities, "contrast" if contrasted else None)
