"""A downstream model, measured on held-out questions, statements or hypotheses."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..data.loaded import TaskBenchmark
from ..metrics.tasks import task_accuracy
from ..plots import plot_predictions
from ..plots.predictions import MOST
from ..training import LatentTrainer


class TaskEvaluation:
    """How often the model picks the right answer of the list, or the right class; and some pictures of it."""

    def __init__(self, benchmark: TaskBenchmark) -> None:
        self.benchmark = benchmark

    def embed(self, trainer: LatentTrainer) -> None:
        """What the model says of all rows; every process takes part."""
        benchmark = self.benchmark
        if benchmark.kind == "answers":
            scores = trainer.answer(benchmark.test, benchmark.classes)
        else:
            predictions: Any = trainer.predict(benchmark.test).predictions
            scores = torch.from_numpy(predictions["logits"])
        self.said = scores.argmax(dim=1).numpy()

    def metrics(self) -> dict[str, float]:
        benchmark = self.benchmark
        return task_accuracy(self.said, benchmark.labels, benchmark.groups, kind=benchmark.kind)

    def figures(self, folder: Path, name: str, metrics: dict[str, Any]) -> None:
        benchmark, rows = self.benchmark, self._shown()
        shown: Any = [benchmark.test[int(row)] for row in rows]
        right, said = ([benchmark.classes[i] for i in which[rows]] for which in (benchmark.labels, self.said))
        pictures, texts = [row["image"] for row in shown], [row["text"] for row in shown]
        plot_predictions(pictures, texts, right, said, folder / "predictions.png")

    def _shown(self) -> np.ndarray:
        """Row numbers: of each kind of question as many, and not the same pictures for all kinds."""
        groups = [np.flatnonzero(self.benchmark.groups == name) for name in np.unique(self.benchmark.groups)]
        each = -(-MOST // len(groups))
        chosen = []
        for order, rows in enumerate(groups):
            places = (np.arange(each) + (order + 0.5) / len(groups)) / each
            chosen.append(np.unique(rows[(places * len(rows)).astype(int)]))
        return np.concatenate(chosen)[:MOST]
