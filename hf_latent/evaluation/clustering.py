"""Clusters of all modalities together, against classes and against modalities."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..data.loaded import EvaluationData
from ..errors import UserError, suggest
from ..metrics.clustering import clustering
from .benchmark import Benchmark, Encode, Values, register_benchmark, some
from .labels import class_labels, known_rows
from .measurement import Group, Measurement


@register_benchmark("clustering")
@dataclass(frozen=True)
class Clustering(Benchmark):
    """k-means over the rows of all modalities together: do clusters follow the classes of a label, or the modalities?
    It is measured where a recipe asks for it.

    Args:
        labels: Labels of classes; by default all of up to 50.
        seeds: Runs that are averaged.
        most: Rows of each modality, spread evenly.
    """

    groups: ClassVar[Mapping[str, Group]] = {
        "clustering": Group(
            "Clusters of all modalities together",
            "k-means with as many clusters as classes; the best of 20 starts.",
            order=60,
        )
    }

    labels: list[str] | None = None
    seeds: int = 3
    most: int = 2000

    def check(self, data: EvaluationData) -> None:
        fitting = [name for name, label in data.labels.items() if label.kind == "class"]
        for name in self.labels or ():
            if name not in fitting:
                raise UserError(f"labels: {name!r} is no label of classes: {suggest(name, fitting)}")
        if self.labels == [] or not self._labels(data):
            raise UserError("clustering needs a label of few classes: name a column of them in data.labels")
        if self.seeds < 1 or self.most < 2:
            raise UserError(f"seeds={self.seeds}, most={self.most}: write 1 or more, and 2 or more")
        for name in self._labels(data):
            if self._count(data, name) < 2:
                raise UserError(f"label {name!r} has fewer than two classes in the rows to measure: leave it out")

    def describe(self, encode: Encode, data: EvaluationData) -> list[Measurement]:
        found = []
        for name in self._labels(data):
            rows = sum(map(len, self._rows(data, name).values()))
            title = f"Clusters and {data.labels[name].title or name}"
            common: dict[str, Any] = {"rows": rows, "group": "clustering", "metric": "v_measure"}
            found += [
                Measurement(
                    f"cluster_{name}_v_measure", np.nan, f"{title}, V-measure", headline=True, chance=0.0, **common
                ),
                Measurement(
                    f"cluster_{name}_ari",
                    np.nan,
                    f"{title}, adjusted Rand index",
                    chance=0.0,
                    **{**common, "metric": "ari"},
                ),
                Measurement(
                    f"cluster_{name}_modality_v_measure",
                    np.nan,
                    f"The same clusters and the modalities, V-measure, of {self._count(data, name)} clusters",
                    better="lower",
                    reading="0 where clusters do not tell the modality",
                    **common,
                ),
            ]
        return found

    def measure(self, encode: Encode, data: EvaluationData) -> Values:
        embeds = encode(data.test.rows).embeds or {}
        found: dict[str, float] = {}
        for name in self._labels(data):
            rows = self._rows(data, name)
            vectors = {modality: embeds[modality][own] for modality, own in rows.items()}
            classes = {modality: data.test.labels[name][own] for modality, own in rows.items()}
            scores = clustering(vectors, classes, seeds=self.seeds)
            found |= {f"cluster_{name}_{key}": value for key, value in scores.items()}
        return found

    def _labels(self, data: EvaluationData) -> list[str]:
        if self.labels is not None:
            return list(self.labels)
        return [name for name in class_labels(data) if self._count(data, name) > 1]

    def _rows(self, data: EvaluationData, name: str) -> dict[str, np.ndarray]:
        found = {}
        for modality in data.columns:
            rows = known_rows(data.test, name, data.test.distinct(modality))
            found[modality] = rows[some(len(rows), self.most)]
        return {modality: rows for modality, rows in found.items() if len(rows)}

    def _count(self, data: EvaluationData, name: str) -> int:
        rows = self._rows(data, name)
        return len(np.unique(np.concatenate([data.test.labels[name][own] for own in rows.values()]))) if rows else 0
