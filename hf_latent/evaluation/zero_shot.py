"""Zero-shot classification by a label and sentences that name its classes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
import torch

from ..data.loaded import EvaluationData, Split
from ..errors import UserError, suggest
from ..metrics import class_embeddings, zero_shot
from ..metrics.arrays import cutoffs
from ..metrics.chance import balanced_chance, top_k_chance
from .benchmark import Benchmark, Encode, Values, register_benchmark
from .labels import chosen_label, known_rows
from .measurement import Group, Measurement
from .prompts import OWN, Prompts, read_prompts

TASK = "zero-shot-image-classification"


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
        prompts: A folder with `classnames.txt` and `zeroshot_classification_templates.txt`, or `own` for those files
            beside the data set, see [`read_prompts`]; by default the names of the label, in `templates`.
        aliases: What stands between several names of one class, such as a comma; sentences of all are averaged.
        subset: Of the classes that `prompts` names, those that are told apart, as of ImageNet-R and -A.
        ties: A class as near as the right one counts as nearer (`wrong`), or only if it stands before it (`first`), as
            papers count where two classes have one name.
        mean_per_class: Measure the mean over the classes of the accuracy of each, too.
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
    prompts: str | None = None
    aliases: str | None = None
    subset: list[str] | None = None
    ties: Literal["wrong", "first"] = "wrong"
    mean_per_class: bool = False

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
        if len(data.labels[name].names) < 2 and self.prompts is None:
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
        self._prompts(data)

    def local_reads(self) -> Mapping[str, str]:
        return {} if self.prompts in (None, OWN) else {"prompts": str(self.prompts)}

    def sentences(self, data: EvaluationData) -> list[str]:
        return self._prompts(data).sentences

    def _prompts(self, data: EvaluationData) -> Prompts:
        label = data.labels[chosen_label(data, self.label, ("class",))]
        return read_prompts(label, self.templates, self.prompts, self.aliases, self.subset, data.beside)

    def describe(self, encode: Encode, data: EvaluationData) -> list[Measurement]:
        name, prompts = chosen_label(data, self.label, ("class",)), self._prompts(data)
        truth, classes = self._truth(data, name, prompts), len(prompts.names)
        what, of = data.labels[name].title or name, f"nearest of {classes}"
        if self.prompts is not None or len(prompts.templates) > 1:
            of += f", {len(prompts.templates)} templates, prompts {prompts.digest}"
        found = [
            Measurement(
                f"zero_shot_top{k}",
                np.nan,
                f"{what.capitalize()}: {of}" if k == 1 else f"{what.capitalize()}: among the nearest {k}",
                "zero_shot",
                "%",
                top_k_chance(truth, k),
                rows=len(truth),
                headline=k == min(self.k),
                short="zero_shot" if k == min(self.k) else "",
                metric="accuracy" if k == 1 else f"top_{k}_accuracy",
                task=TASK,
                information="redundant",
            )
            for k in cutoffs(self.k)
            if k < classes
        ]
        if self.mean_per_class:
            chance = balanced_chance(truth)
            title = f"{what.capitalize()}: {of}, mean over the classes"
            said: dict[str, Any] = {"rows": len(truth), "metric": "balanced_accuracy", "task": TASK}
            found.append(Measurement("zero_shot_mean_per_class", np.nan, title, "zero_shot", "%", chance, **said))
        return found

    def measure(self, encode: Encode, data: EvaluationData) -> Values:
        name, prompts = chosen_label(data, self.label, ("class",)), self._prompts(data)
        rows = self._rows(data.test, name)
        vectors = (encode(data.test.rows).embeds or {})[self.modality][torch.from_numpy(rows)]
        if prompts.templates == ("{}",) and all(len(own) == 1 for own in prompts.names):
            classes = encode.texts([own[0] for own in prompts.names])  # a sentence a class, whose vector needs no mean
        else:
            classes = torch.from_numpy(class_embeddings(encode.texts, prompts.names, prompts.templates))
        truth = self._truth(data, name, prompts)
        found = zero_shot(vectors, classes, truth, k=self.k, ties=self.ties, mean_per_class=self.mean_per_class)
        return {f"zero_shot_{key}": value for key, value in found.items() if key != f"top{len(prompts.names)}"}

    def _rows(self, split: Split, name: str) -> np.ndarray:
        return known_rows(split, name, split.distinct(self.modality))

    def _truth(self, data: EvaluationData, name: str, prompts: Prompts) -> np.ndarray:
        """The right class of each row, by its place among the prompts."""
        return np.array(prompts.classes)[data.test.labels[name][self._rows(data.test, name)]]
