"""What a head is for: one file a task says which model it trains, what it reads, and what it is called."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

import transformers

from ..models.embeddings import LatentPreTrainedModel
from ..models.plugins import load_plugins
from ..models.registry import Registry

TASKS: Registry["Task"] = Registry("task")
Said = Literal["answers", "classes", "labels", "numbers", "any"]
PROBLEMS: dict[str, Said] = {
    "single_label_classification": "classes",
    "multi_label_classification": "labels",
    "regression": "numbers",
}


@dataclass(frozen=True)
class Task:
    """What a model with a head is trained for.

    Attributes:
        type_name: What a recipe writes as `model.type`.
        model: The head.
        does: What it does, in one line.
        labels: Whether it gives one of many `answers` in words, or tells `classes` apart; `any` of one that tells
            classes, several labels of a row, or numbers, as the `problem_type` of its config says.
        sentence: What it reads beside the images: a question, a hypothesis ...; "" of one that reads rows of any
            modalities.
        auto_class: Of transformers, which loads it.
        pipeline: The task of the Hub that is nearest; None where there is none.
        images: How many it reads with a sentence.
    """

    type_name: str
    model: type[LatentPreTrainedModel]
    does: str
    labels: Literal["answers", "classes", "any"]
    sentence: str
    auto_class: str
    pipeline: str | None = "visual-question-answering"
    images: int = 1

    def said(self, config: Any) -> Said:
        """What a model with this config says: `any` where its data are to decide."""
        if self.labels != "any":
            return self.labels
        return PROBLEMS.get(config.problem_type or "", "any")


def register_task(name: str, task: Task) -> Task:
    """Make a task known to recipes, cards and the Space, and its head to the Auto class of transformers.

    Where an Auto class has several heads, `architectures` of a folder tells which it is of; the first is for others.

    Raises:
        ValueError: If another task has the name or the type, or what it says is none of answers, classes and any.
    """
    if task.labels not in ("answers", "classes", "any"):
        raise ValueError(f"the task {name!r} has labels={task.labels!r}: write answers, classes or any")
    if any(other.type_name == task.type_name and other is not task for other in TASKS.values()):
        raise ValueError(f"there is a task of the type {task.type_name!r} already: choose another type_name")
    TASKS.register(name)(task)
    config = cast(Any, task.model).config_class
    heads = [
        other.model
        for other in TASKS.values()
        if other.auto_class == task.auto_class and cast(Any, other.model).config_class is config
    ]
    getattr(transformers, task.auto_class).register(config, heads[0] if len(heads) == 1 else tuple(heads), True)
    return task


def task_of(model_class: type) -> Task | None:
    """The task of a head; None of a model that is trained without labels."""
    if getattr(model_class, "task", None) is None:
        return None
    of_model = {task.model: task for task in TASKS.values()}
    return next((of_model[base] for base in model_class.__mro__ if base in of_model), None)


def task_of_config(config: Mapping[str, Any]) -> Task | None:
    """The task of the model that a `config.json` is of; None of one that is trained without labels."""
    names = config.get("architectures")
    name = names[0] if isinstance(names, list) and names else None
    like = next((task for task in TASKS.values() if task.model.task == config.get("objective")), None)
    if like is not None and name is not None and _named(name) is None:
        load_plugins()
    return _named(name) or like


def _named(architecture: Any) -> Task | None:
    return next((task for task in TASKS.values() if task.model.__name__ == architecture), None)
