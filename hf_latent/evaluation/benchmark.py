"""What a benchmark is, and how a recipe names one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset

from ..data.loaded import EvaluationData, Regions, Split
from ..errors import UserError
from ..models.embeddings import Embeddings
from ..models.registry import Registry
from .measurement import Group, Measurement

BENCHMARKS: Registry[type["Benchmark"]] = Registry("benchmark")
Values = Mapping[str, float]
WORDS = {
    "texts": "embed sentences",
    "rerank": "tell pairs of image and text",
    "maps": "say where it looks",
    "answer": "answer, or tell classes",
}


class Encode(Protocol):
    """A model as benchmarks see it: it gives vectors for rows, on the CPU, in their order, each row once.

    Attributes:
        modalities: Their names.
        kinds: The kind of each, such as `image` or `text`.
        compared: The modalities are embedded in one space, where cosines were trained.
        gives: The fields of [`Embeddings`] beside `embeds` that it gives: `independent`, `fused`.
        abilities: What else it can do, of `texts`, `rerank`, `maps` and `answer`; and `alone`, to answer from one
            modality alone.
        temperature: Of the contrast, where it has one.
        progress: What takes long shows a progress bar.
    """

    @property
    def modalities(self) -> tuple[str, ...]: ...

    @property
    def kinds(self) -> Mapping[str, str]: ...

    @property
    def compared(self) -> bool: ...

    @property
    def gives(self) -> frozenset[str]: ...

    @property
    def abilities(self) -> frozenset[str]: ...

    @property
    def temperature(self) -> float | None: ...

    @property
    def progress(self) -> bool: ...

    def __call__(self, rows: Dataset) -> Embeddings:
        """The raw embeddings of rows."""

    def features(self, rows: Dataset) -> np.ndarray:
        """`(rows, dim)` float32, the representation of all modalities together."""

    def texts(self, sentences: Sequence[str]) -> Tensor:
        """`(sentences, dim)`, the embeddings of sentences."""

    def rerank(self, split: Split, columns: Mapping[str, str], candidates: int) -> tuple[Tensor, Tensor]:
        """`(images, texts)` and `(texts, images)` scores of matching for the nearest candidates of each query."""

    def maps(self, regions: Regions) -> np.ndarray | None:
        """`(phrases, rows, columns)`, where matching looks; None of an image whose tokens are no grid."""

    def answer(self, rows: Dataset, answers: Sequence[str] | None, only: str | None = None) -> Tensor:
        """`(rows, answers)` scores of a list of answers; of the classes, labels or numbers of the model where none are
        given. With `only`, as it says from that modality alone; what it says of rows that lack it means nothing."""


@dataclass(frozen=True)
class Benchmark:
    """A kind of measurement; its fields are the options that a recipe writes.

    A subclass says what it will measure, chance levels and all, in `describe`, before anything is trained; and finds
    the values in `measure`. Neither asks which model or which data set it has.

    Attributes:
        kind: Its name in a recipe; set by `register_benchmark`.
        groups: The groups of its measurements, for a card.
        figures: The files that `draw` writes, with what they show; a card has them behind the first group.
        needs: The abilities of [`Encode`] that it cannot do without.
        reads: What its `sentences` are, in errors about unknown words.
        reads_train: It reads training rows, as to fit probes on.
    """

    kind: ClassVar[str] = ""
    groups: ClassVar[Mapping[str, Group]] = {}
    figures: ClassVar[Mapping[str, str]] = {}
    needs: ClassVar[frozenset[str]] = frozenset()
    reads: ClassVar[str] = "sentence"
    reads_train: ClassVar[bool] = False

    @classmethod
    def by_default(cls, encode: Encode, data: EvaluationData) -> "Mapping[str, Benchmark]":
        """What is measured where nothing is written: instances by their names. None of a benchmark that has to be
        asked for."""
        return {}

    def for_model(self, encode: Encode, data: EvaluationData) -> "Benchmark":
        """This benchmark with what it takes from the model and the data where nothing is written; called before
        `check`.

        Raises:
            UserError: If that is not clear.
        """
        return self

    def check(self, data: EvaluationData) -> None:
        """A UserError where the data lacks what this needs; it says what to write instead."""

    def check_model(self, encode: Encode) -> None:
        """A UserError where the model lacks what this needs."""
        if "answer" in encode.abilities and "answer" not in self.needs:
            raise UserError("it reads embeddings, and a model with a head gives answers or classes: leave it out")
        for ability in sorted(self.needs - encode.abilities):
            raise UserError(f"a model that can {WORDS[ability]} is needed here: leave it out")

    def local_reads(self) -> Mapping[str, str]:
        """The options that make this machine read something beside the data, with their values: what the recipe of a
        stranger may not name."""
        return {}

    def sentences(self, data: EvaluationData) -> list[str]:
        """What the text tower will read beside the rows: it should know the words."""
        return []

    def describe(self, encode: Encode, data: EvaluationData) -> list[Measurement]:
        """What will be measured, with values of NaN."""
        raise NotImplementedError

    def measure(self, encode: Encode, data: EvaluationData) -> Values:
        """The values by the keys of `describe`; a key may be missing where it could not be measured. Other values are
        kept as plain numbers."""
        raise NotImplementedError

    def outcomes(self, encode: Encode, data: EvaluationData) -> Mapping[str, np.ndarray]:
        """Of keys whose values are means over rows, what each row adds; called after `measure`."""
        return {}

    def draw(
        self, encode: Encode, data: EvaluationData, found: Sequence[Measurement], folder: Path, title: str
    ) -> None:
        """Draw figures into a folder; called after `run` with what it found, and the name of the run."""

    def run(self, encode: Encode, data: EvaluationData) -> list[Measurement]:
        """The measurements of this benchmark."""
        values, outcomes = self.measure(encode, data), self.outcomes(encode, data)
        found = {measurement.key: measurement for measurement in self.describe(encode, data)}
        plain = {key: Measurement(key, np.nan, "", "") for key in values if key not in found}
        return [
            replace(measurement, value=float(values[key]), outcomes=outcomes.get(key))
            for key, measurement in (found | plain).items()
            if key in values
        ]


def fits(benchmark: Benchmark, data: EvaluationData, name: str) -> bool:
    """Whether a benchmark that nobody asked for can be measured; says why where not."""
    try:
        benchmark.check(data)
    except UserError as error:
        print(f"Not measured: {name}: {error}")
        return False
    return True


def renamed(found: Sequence[Measurement], benchmark: Benchmark, name: str) -> list[Measurement]:
    """The measurements of a benchmark that a recipe calls by another name: their keys begin with it."""
    if name == benchmark.kind:
        return list(found)
    start = f"{benchmark.kind}_"
    return [replace(measurement, key=f"{name}_{measurement.key.removeprefix(start)}") for measurement in found]


def register_benchmark(name: str) -> Any:
    """Class decorator: a benchmark that recipes call `name`."""

    def register(cls: type[Benchmark]) -> type[Benchmark]:
        BENCHMARKS.register(name)(cls)
        cls.kind = name
        return cls

    return register


def some(total: int, most: int) -> np.ndarray:
    """At most `most` row numbers, spread evenly."""
    return np.linspace(0, total - 1, min(most, total)).astype(int)


def groups() -> dict[str, Group]:
    """The groups of all benchmarks, in the order of a card."""
    found = {name: group for cls in BENCHMARKS.values() for name, group in cls.groups.items()}
    return dict(sorted(found.items(), key=lambda item: item[1].order))
