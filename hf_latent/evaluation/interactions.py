"""Redundancy, uniqueness and synergy of pairs whose labels are known to be one of these."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ..data.loaded import EvaluationData, Split
from ..errors import UserError, suggest
from ..metrics import interactions
from ..metrics.chance import balanced_chance
from ..metrics.linear_probe import PROTOCOLS, check_probe_labels
from .benchmark import Benchmark, Encode, Values, register_benchmark
from .measurement import Group, Information, Measurement

ROLES: dict[str, tuple[str, Information]] = {
    "redundancy": ("Redundancy", "redundant"),
    "uniqueness1": ("Uniqueness 1", "unique"),
    "uniqueness2": ("Uniqueness 2", "unique"),
    "synergy": ("Synergy", "synergistic"),
}


@register_benchmark("interactions")
@dataclass(frozen=True)
class Interactions(Benchmark):
    """What a linear probe reads from the representation of all modalities together, as macro accuracy.

    The controlled experiment of CoMM (Dufumier et al. 2025): a label that all modalities tell, one that only the first
    or only the second tells, and one of two classes that only both together tell.

    Args:
        redundancy, uniqueness1, uniqueness2, synergy: The labels; by default those of these names.
        protocol: How probes are fitted, a name in `hf_latent.metrics.PROTOCOLS`.
    """

    reads_train: ClassVar[bool] = True
    groups: ClassVar[Mapping[str, Group]] = {
        "interactions": Group(
            "Redundant, unique and synergistic information",
            "What a linear probe reads from the frozen representation of all modalities together, as macro accuracy: "
            "what all of them tell, what only one of them tells, and what only all together tell.",
            order=20,
        )
    }
    figures: ClassVar[Mapping[str, str]] = {
        "interactions.png": "What a linear probe reads from the representation; dashed lines are chance."
    }

    redundancy: str | None = None
    uniqueness1: str | None = None
    uniqueness2: str | None = None
    synergy: str | None = None
    protocol: str = "standard"

    @classmethod
    def by_default(cls, encode: Encode, data: EvaluationData) -> Mapping[str, Benchmark]:
        return {"interactions": cls()} if data.train is not None and ROLES.keys() & data.labels.keys() else {}

    def check(self, data: EvaluationData) -> None:
        if data.train is None:
            raise UserError("interactions are probed on training rows, and a stream has none to keep: leave them out")
        if self.protocol not in PROTOCOLS:
            raise UserError(f"protocol={self.protocol!r}: {suggest(self.protocol, PROTOCOLS)}")
        if data.train.present or data.test.present:
            raise UserError("interactions are of all modalities, and some rows lack one: leave them out")
        found = self._labels(data)
        if not found:
            raise UserError(f"interactions: name labels as {', '.join(ROLES)}")
        for role, name in found.items():
            if name not in data.labels:
                raise UserError(f"{role}: no label {name!r} in data.labels; {suggest(name, data.labels)}")
            if data.labels[name].kind != "class":
                raise UserError(f"{role}: {name!r} is a {data.labels[name].kind}: a class is needed here")
            train, test = data.train.labels[name], data.test.labels[name]
            if min(train.min(), test.min()) < 0:
                raise UserError(f"{role}: label {name!r} is missing in some rows")
            try:
                check_probe_labels(train, test, self.protocol)
            except ValueError as error:
                raise UserError(f"{role}: label {name!r}: {error}") from None
        if "synergy" in found:
            both = (split.labels[found["synergy"]] for split in (data.train, data.test))
            if {len(np.unique(values)) for values in both} != {2}:
                raise UserError(f"synergy: label {found['synergy']!r} must have two classes, in train and in test")

    def describe(self, encode: Encode, data: EvaluationData) -> list[Measurement]:
        found = []
        for role, name in self._labels(data).items():
            word, information = ROLES[role]
            title = f"{word}: {data.labels[name].title or name}"
            truth = data.test.labels[name]
            kinds = {role: title}
            if role == "synergy":
                kinds[role] += " (class-weighted probe)"
                kinds["synergy_unweighted"] = "Synergy, unweighted probe (the protocol of the CoMM paper)"
            for key, words in kinds.items():
                found.append(
                    Measurement(
                        key,
                        np.nan,
                        words,
                        "interactions",
                        "%",
                        balanced_chance(truth),
                        rows=len(truth),
                        headline=True,
                        metric="balanced_accuracy",
                        information=information,
                    )
                )
            if role == "synergy":
                words = "Synergy, area under the ROC curve"
                common: dict[str, Any] = {"rows": len(truth), "headline": True, "information": information}
                found.append(
                    Measurement("synergy_auroc", np.nan, words, "interactions", chance=0.5, metric="roc_auc", **common)
                )
        return found

    def measure(self, encode: Encode, data: EvaluationData) -> Values:
        assert data.train is not None
        labels = [self._values(split, data) for split in (data.train, data.test)]
        train, test = encode.features(data.train.rows), encode.features(data.test.rows)
        return interactions(train, labels[0], test, labels[1], protocol=self.protocol)

    def draw(
        self, encode: Encode, data: EvaluationData, found: Sequence[Measurement], folder: Path, title: str
    ) -> None:
        from ..plots import plot_interactions

        known = {measurement.key: measurement for measurement in found}
        drawn = [(word, known[role]) for role, (word, _) in ROLES.items() if role in known]
        bars = {word: (measurement.value, measurement.chance or np.nan) for word, measurement in drawn}
        plot_interactions({title: bars}, folder / "interactions.png")

    def _labels(self, data: EvaluationData) -> dict[str, str]:
        written = {spec.name: getattr(self, spec.name) for spec in fields(self) if spec.name in ROLES}
        named = {role: name for role, name in written.items() if name is not None}
        return named or {role: role for role in ROLES if role in data.labels}

    def _values(self, split: Split, data: EvaluationData) -> dict[str, np.ndarray]:
        return {role: split.labels[name] for role, name in self._labels(data).items()}
