"""The metrics as `evaluate.Metric`: the train set at construction, the test features as `predictions`.

    metric = LinearProbeMetric(train_features, train_labels)
    metric.compute(predictions=test_features, references=test_labels)
    # {"accuracy": ..., "balanced_accuracy": ..., "auroc": ..., "regularization": ...}

    metric = InteractionsMetric(train_features, {"redundancy": shapes, "synergy": follows_mapping})
    metric.add_batch(predictions=test_features, redundancy=test_shapes, synergy=test_follows_mapping)
    metric.compute()  # {"redundancy": ..., "synergy": ..., "synergy_unweighted": ..., "synergy_auroc": ...}

Needs evaluate and datasets; nothing else in the package imports this module.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import datasets
import evaluate
import numpy as np
from numpy.typing import ArrayLike

from .interactions import interactions
from .linear_probe import linear_probe

_CITATION = """\
@inproceedings{dufumier2025comm,
  title={What to align in multimodal contrastive learning?},
  author={Dufumier, Benoit and Castillo-Navarro, Javiera and Tuia, Devis and Thiran, Jean-Philippe},
  booktitle={International Conference on Learning Representations},
  year={2025}
}"""


class LinearProbeMetric(evaluate.Metric):
    """`linear_probe` with `predictions` (M, D) the test features and `references` (M,) the test labels.

    Args:
        train_features: (N, D) floats.
        train_labels: (N,) integers.
        protocol: a name in `linear_probe.PROTOCOLS`.
        balanced: class-weighted loss.
        kwargs: those of `evaluate.Metric`.
    """

    def __init__(
        self,
        train_features: ArrayLike,
        train_labels: ArrayLike,
        *,
        protocol: str = "standard",
        balanced: bool = False,
        **kwargs: Any,
    ) -> None:
        self.train = (train_features, train_labels)
        self.protocol, self.balanced = protocol, balanced
        super().__init__(**kwargs)

    def _info(self) -> evaluate.MetricInfo:
        return _info("Accuracy of a linear classifier on frozen features.", ["references"])

    def _compute(self, predictions: ArrayLike, references: ArrayLike) -> dict[str, float | None]:
        test = (np.asarray(predictions), np.asarray(references))
        return asdict(linear_probe(*self.train, *test, protocol=self.protocol, balanced=self.balanced))


class InteractionsMetric(evaluate.Metric):
    """`interactions` with `predictions` (M, D) the test features and one column of labels (M,) for each task.

    Args:
        train_features: (N, D) floats.
        train_labels: task -> (N,) integers; these tasks are what `compute` takes.
        protocol: a name in `linear_probe.PROTOCOLS`.
        kwargs: those of `evaluate.Metric`.
    """

    def __init__(
        self,
        train_features: ArrayLike,
        train_labels: Mapping[str, ArrayLike],
        *,
        protocol: str = "standard",
        **kwargs: Any,
    ) -> None:
        self.train = (train_features, train_labels)
        self.protocol = protocol
        super().__init__(**kwargs)

    def _info(self) -> evaluate.MetricInfo:
        return _info("Linear probes of redundancy, uniqueness and synergy.", list(self.train[1]))

    def _compute(self, predictions: ArrayLike, **labels: ArrayLike) -> dict[str, float]:
        test_labels = {task: np.asarray(values) for task, values in labels.items()}
        return interactions(*self.train, np.asarray(predictions), test_labels, protocol=self.protocol)


def _info(description: str, label_columns: list[str]) -> evaluate.MetricInfo:
    columns = {"predictions": datasets.Sequence(datasets.Value("float32"))}
    columns |= {name: datasets.Value("int64") for name in label_columns}
    return evaluate.MetricInfo(
        description=description,
        citation=_CITATION,
        inputs_description="predictions: one feature vector a row; the other columns: one integer label a row.",
        features=datasets.Features(columns),
    )
