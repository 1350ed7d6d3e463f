"""Zero-shot classification by a label and sentences that name its classes."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

import numpy as np
import torch

from ..data.loaded import EvaluationData
from ..errors import UserError, suggest
from ..metrics import class_embeddings, zero_shot
from ..metrics.arrays import cutoffs
from ..metrics.chance import balanced_chance, top_k_chance
from .benchmark import Benchmark, Encode, Values, register_benchmark
from .labels import chosen_label, known_rows, reference_modality
from .measurement import Group, Measurement
from .prompts import OWN, Prompts, read_prompts

TASKS = {kind: f"zero-shot-{kind}-classification" for kind in ("image", "audio", "video")}  # as the Hub names them


@register_benchmark("zero_shot")
@dataclass(frozen=True)
class ZeroShot(Benchmark):
    """Every held-out item takes the class whose sentences lie nearest.

    The embeddings of a class's sentences are normalised, averaged, and normalised again (Radford et al. 2021).

    Args:
        label: A label with classes; may be left out where there is one only.
        templates: Sentences in which `{}` stands for the name of the class.
        modality: What is classified; by default the one modality that is no text, or of several the one image.
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
    modality: str | None = None
    k: list[int] = field(default_factory=lambda: [1, 3, 5])
    prompts: str | None = None
    aliases: str | None = None
    subset: list[str] | None = None
    ties: Literal["wrong", "first"] = "wrong"
    mean_per_class: bool = False

    @classmethod
    def by_default(cls, encode: Encode, data: EvaluationData) -> Mapping[str, Benchmark]:
        """Of every class that the text may tell, its name alone."""
        texts = {name for name, kind in encode.kinds.items() if kind == "text"}
        classes = {name: label for name, label in data.labels.items() if label.kind == "class"}
        told = [name for name, label in classes.items() if not label.of or texts & set(label.of)]
        if "texts" not in encode.abilities or data.target is not None or not told:
            return {}
        try:
            modality = _classified(encode, data)
        except UserError as error:
            print(f"Not measured: zero_shot: {error}")
            return {}
        names = ["zero_shot", *(f"zero_shot_{name}" for name in told[1:])]
        return {name: cls(label=label, modality=modality) for name, label in zip(names, told, strict=True)}

    def for_model(self, encode: Encode, data: EvaluationData) -> "ZeroShot":
        return self if self.modality is not None else replace(self, modality=_classified(encode, data))

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
        if self._of(data) not in data.columns:
            raise UserError(f"modality: there is no {self.modality!r}; {suggest(self._of(data), data.columns)}")
        if not len(self._rows(data, name)):
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
        task = TASKS.get(encode.kinds.get(self._of(data), ""), "other")
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
                task=task,
                information="redundant",
            )
            for k in cutoffs(self.k)
            if k < classes
        ]
        if self.mean_per_class:
            chance = balanced_chance(truth)
            title = f"{what.capitalize()}: {of}, mean over the classes"
            said: dict[str, Any] = {"rows": len(truth), "metric": "balanced_accuracy", "task": task}
            found.append(Measurement("zero_shot_mean_per_class", np.nan, title, "zero_shot", "%", chance, **said))
        return found

    def measure(self, encode: Encode, data: EvaluationData) -> Values:
        name, prompts = chosen_label(data, self.label, ("class",)), self._prompts(data)
        rows = self._rows(data, name)
        vectors = (encode(data.test.rows).embeds or {})[self._of(data)][torch.from_numpy(rows)]
        if prompts.templates == ("{}",) and all(len(own) == 1 for own in prompts.names):
            classes = encode.texts([own[0] for own in prompts.names])  # a sentence a class, whose vector needs no mean
        else:
            classes = torch.from_numpy(class_embeddings(encode.texts, prompts.names, prompts.templates))
        truth = self._truth(data, name, prompts)
        found = zero_shot(vectors, classes, truth, k=self.k, ties=self.ties, mean_per_class=self.mean_per_class)
        return {f"zero_shot_{key}": value for key, value in found.items() if key != f"top{len(prompts.names)}"}

    def _of(self, data: EvaluationData) -> str:
        """What is classified; where nothing is written and no model was asked, what stands for the rows."""
        return reference_modality(data) if self.modality is None else self.modality

    def _rows(self, data: EvaluationData, name: str) -> np.ndarray:
        return known_rows(data.test, name, data.test.distinct(self._of(data)))

    def _truth(self, data: EvaluationData, name: str, prompts: Prompts) -> np.ndarray:
        """The right class of each row, by its place among the prompts."""
        return np.array(prompts.classes)[data.test.labels[name][self._rows(data, name)]]


def _classified(encode: Encode, data: EvaluationData) -> str:
    """The one modality of the data that is no text, or of several the one image.

    Raises:
        UserError: If there is none, or it is not clear which.
    """
    others = [name for name in data.columns if encode.kinds.get(name) != "text"]
    images = [name for name in others if encode.kinds.get(name) == "image"]
    found = others if len(others) == 1 else images
    if len(found) != 1:
        there = f"write one of {', '.join(found or others)}" if others else "the data has nothing but text to classify"
        raise UserError(f"modality is missing: {there}")
    return found[0]
