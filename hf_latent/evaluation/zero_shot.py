"""Zero-shot classification by a label and sentences that name its classes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch

from ..data.loaded import EvaluationData, Split
from ..errors import UserError, suggest
from ..metrics import class_embeddings, zero_shot
from ..metrics.arrays import cutoffs
from ..metrics.chance import top_k_chance
from .benchmark import Benchmark, Encode, Values, register_benchmark
from .labels import chosen_label, known_rows
from .measurement import Group, Measurement


@register_benchmark("zero_shot")
@dataclass(frozen=True)
class ZeroShot(Benchmark):
    """Every held-out item takes the class whose sentences lie nearest.

    The embeddings of a class's sentences are normalised, averaged, and normalised again (Radford et al. 2021).

    Args:
        label: A label with classes; may be left out where there is one only.
        templates: Sentences in which `{}` stands for the name of the class.
        modality: What is classified.
        k: The right class among the nearest k; of as many as there are classes it would always be, and is left out.
    """

    groups: ClassVar[Mapping[str, Group]] = {
        "zero_shot": Group(
            "Zero-shot classification", "Everything takes the class whose sentence lies nearest by cosine.", order=0
        )
    }
    needs: ClassVar[frozenset[str]] = frozenset({"texts"})
    reads: ClassVar[str] = "class"

    label: str | None = None
    templates: list[str] = field(default_factory=lambda: ["{}"])
    modality: str = "image"
    k: list[int] = field(default_factory=lambda: [1, 3, 5])

    @classmethod
    def by_default(cls, encode: Encode, data: EvaluationData) -> Mapping[str, Benchmark]:
        """Of every class that the text may tell, its name alone."""
        classes = {name: label for name, label in data.labels.items() if label.kind == "class"}
        told = [name for name, label in classes.items() if not label.of or "text" in label.of]
        there = "texts" in encode.abilities and "image" in data.columns and data.target is None
        names = ["zero_shot", *(f"zero_shot_{name}" for name in told[1:])]
        return {name: cls(label=label) for name, label in zip(names, told, strict=False)} if there else {}

    def check(self, data: EvaluationData) -> None:
        name = chosen_label(data, self.label, ("class",))
        if not self.k or min(self.k) < 1:
            raise UserError(f"k={list(self.k)}: write cut-offs of 1 or more")
        if len(data.labels[name].names) < 2:
            raise UserError(f"label {name!r} has {len(data.labels[name].names)} class: 2 or more are told apart")
        if not self.templates:
            raise UserError('templates is empty: write sentences, such as "a photo of a {}"')
        for template in self.templates:
            if "{}" not in template:
                raise UserError(f"templates: {template!r} has no place for the name of a class: write {{}} there")
        if self.modality not in data.columns:
            raise UserError(f"modality: there is no {self.modality!r}; {suggest(self.modality, data.columns)}")
        if not len(self._rows(data.test, name)):
            raise UserError(f"label {name!r} is missing in all rows that would be measured")

    def sentences(self, data: EvaluationData) -> list[str]:
        names = data.labels[chosen_label(data, self.label, ("class",))].names
        return [template.replace("{}", name) for template in self.templates for name in names]

    def describe(self, encode: Encode, data: EvaluationData) -> list[Measurement]:
        name = chosen_label(data, self.label, ("class",))
        truth, classes = self._truth(data.test, name), len(data.labels[name].names)
        what = data.labels[name].title or name
        return [
            Measurement(
                f"zero_shot_top{k}",
                np.nan,
                f"{what.capitalize()}: nearest of {classes}"
                if k == 1
                else f"{what.capitalize()}: among the nearest {k}",
                "zero_shot",
                "%",
                top_k_chance(truth, k),
                rows=len(truth),
                headline=k == min(self.k),
                short="zero_shot" if k == min(self.k) else "",
                metric="accuracy" if k == 1 else f"top_{k}_accuracy",
                task="zero-shot-image-classification",
                information="redundant",
            )
            for k in cutoffs(self.k)
            if k < classes
        ]

    def measure(self, encode: Encode, data: EvaluationData) -> Values:
        name = chosen_label(data, self.label, ("class",))
        rows = self._rows(data.test, name)
        vectors = (encode(data.test.rows).embeds or {})[self.modality][torch.from_numpy(rows)]
        names = list(data.labels[name].names)
        if self.templates == ["{}"]:  # one sentence a class, whose vector needs no mean
            classes = encode.texts(names)
        else:
            classes = torch.from_numpy(class_embeddings(encode.texts, names, self.templates))
        found = zero_shot(vectors, classes, data.test.labels[name][rows], k=self.k)
        return {f"zero_shot_{key}": value for key, value in found.items() if key != f"top{len(names)}"}

    def _rows(self, split: Split, name: str) -> np.ndarray:
        return known_rows(split, name, split.distinct(self.modality))

    def _truth(self, split: Split, name: str) -> np.ndarray:
        return split.labels[name][self._rows(split, name)]
