"""How often a downstream model is right: of questions, statements or hypotheses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ..data.loaded import EvaluationData, Label, Target
from ..errors import UserError
from ..metrics.chance import balanced_chance, top_k_chance
from ..metrics.tasks import PREFIXES, task_accuracy
from .benchmark import Benchmark, Encode, Values, register_benchmark
from .measurement import Group, Measurement

TASK = "visual-question-answering"


@register_benchmark("tasks")
@dataclass(frozen=True)
class Tasks(Benchmark):
    """How often the model picks the right answer of a list, or the right class: of all rows, and of each kind."""

    groups: ClassVar[Mapping[str, Group]] = {
        "answers": Group(
            "Questions",
            "What the model answers to questions on held-out images: the likeliest of a closed list of answers.",
            order=14,
        ),
        "classes": Group(
            "Sentences about images",
            "Whether a sentence is right of held-out images, or which of them it is about, told by the model as a "
            "class.",
            order=15,
        ),
    }
    figures: ClassVar[Mapping[str, str]] = {
        "predictions.png": "Held-out pictures with what was asked or said of them, and what the model says: with a "
        "tick where it is right, else with a cross and the right answer. Of each kind as many; they were not chosen."
    }
    needs: ClassVar[frozenset[str]] = frozenset({"answer"})
    reads: ClassVar[str] = "answer"

    @classmethod
    def by_default(cls, encode: Encode, data: EvaluationData) -> Mapping[str, Benchmark]:
        return {} if data.target is None else {"tasks": cls()}

    def check(self, data: EvaluationData) -> None:
        if data.target is None:
            raise UserError("tasks need rows with answers or classes, which this data has not: leave it out")

    def sentences(self, data: EvaluationData) -> list[str]:
        task, label = _task(data)
        return list(label.names) if task.kind == "answers" else []

    def describe(self, encode: Encode, data: EvaluationData) -> list[Measurement]:
        task, label = _task(data)
        truth, groups = data.test.labels[task.label], _groups(data)
        name = PREFIXES[task.kind]

        def accuracy(key: str, title: str, chance: float, rows: int, **options: Any) -> Measurement:
            return Measurement(key, np.nan, title, task.kind, "%", chance, rows=rows, task=TASK, **options)

        found = [
            accuracy(f"{name}_accuracy", f"Right {name}", top_k_chance(truth), len(truth), headline=True, short=name),
            accuracy(
                f"{name}_accuracy_balanced",
                f"Right {name}, mean over the {task.kind}",
                balanced_chance(truth),
                len(truth),
                metric="balanced_accuracy",
            ),
        ]
        if groups is not None:
            titles = data.labels[task.groups or ""]
            for group in np.unique(groups):
                own = truth[groups == group]
                words = titles.title_of(str(group))
                key = f"{name}_accuracy_{group}"
                found.append(accuracy(key, f"Right {name}: {words}", top_k_chance(own), len(own), short=str(group)))
        return found

    def measure(self, encode: Encode, data: EvaluationData) -> Values:
        task, _ = _task(data)
        found = task_accuracy(_said(encode, data), data.test.labels[task.label], _groups(data), kind=task.kind)
        return found

    def outcomes(self, encode: Encode, data: EvaluationData) -> Mapping[str, np.ndarray]:
        task, _ = _task(data)
        return {f"{PREFIXES[task.kind]}_accuracy": _said(encode, data) == data.test.labels[task.label]}

    def draw(
        self, encode: Encode, data: EvaluationData, found: Sequence[Measurement], folder: Path, title: str
    ) -> None:
        from ..plots import plot_predictions
        from ..plots.predictions import MOST

        task, label = _task(data)
        groups = _groups(data)
        rows = _shown(np.zeros(len(data.test)) if groups is None else groups, MOST)
        shown: Any = [data.test.rows[int(row)] for row in rows]
        truth = data.test.labels[task.label]
        right, said = ([label.names[i] for i in which[rows]] for which in (truth, _said(encode, data)))
        columns = data.columns
        pictures, texts = [row[columns["image"]] for row in shown], [row[columns["text"]] for row in shown]
        plot_predictions(pictures, texts, right, said, folder / "predictions.png")


def _task(data: EvaluationData) -> tuple[Target, Label]:
    assert data.target is not None
    return data.target, data.labels[data.target.label]


def _groups(data: EvaluationData) -> np.ndarray | None:
    """`(rows,)` str, the kind of question of each row."""
    name = data.target.groups if data.target else None
    if name is None:
        return None
    return np.array(data.labels[name].names)[data.test.labels[name]]


def _said(encode: Encode, data: EvaluationData) -> np.ndarray:
    task, label = _task(data)
    return encode.answer(data.test.rows, list(label.names) if task.kind == "answers" else None).argmax(dim=1).numpy()


def _shown(groups: np.ndarray, most: int) -> np.ndarray:
    """Row numbers: of each kind of question as many, and not the same pictures for all kinds."""
    parts = [np.flatnonzero(groups == name) for name in np.unique(groups)]
    each = -(-most // len(parts))
    chosen = []
    for order, rows in enumerate(parts):
        places = (np.arange(each) + (order + 0.5) / len(parts)) / each
        chosen.append(np.unique(rows[(places * len(rows)).astype(int)]))
    return np.concatenate(chosen)[:most]
