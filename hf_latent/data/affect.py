"""CMU-MOSI, UR-FUNNY and MUsTARD: utterances of video as MultiBench publishes their features."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..citations import CASTRO_2019, HASAN_2019, LIANG_2021, ZADEH_2016
from ..errors import UserError
from .description import Description
from .loaded import Label
from .published import Part, PublishedSource
from .published_pickle import read_arrays
from .source import register_source

SPLITS = {"train": "train", "validation": "valid", "test": "test"}
DIMENSIONS = {"vision": "numbers of facial expression", "text": "vectors of words", "audio": "numbers of the voice"}


@dataclass(frozen=True)
class AffectData(PublishedSource):
    """Utterances, step by step, of a pickle of MultiBench; see [`read_utterances`].

    Args:
        path: The file: the pickle, which is read without running it, or `.npz` with `train.vision` and so on.
        max_length: Steps of an utterance that are read, from the first one with text.
    """

    LABEL: ClassVar[str]
    CLASSES: ClassVar[tuple[str, str]]
    WORDS: ClassVar[str]
    CITATION: ClassVar[str]
    MODALITIES: ClassVar[tuple[str, ...]] = ("vision", "text", "audio")
    PROBES: ClassVar[Mapping[str, Any]] = {"protocol": "comm2025", "balanced": True, "validation": True}

    max_length: int = 50

    @classmethod
    def described(cls, options: Mapping[str, Any]) -> Description:
        return Description(
            f"features of {cls.WORDS}, as MultiBench publishes them",
            f"the test split of {cls.WORDS}",
            citations=(cls.CITATION, LIANG_2021),
        )

    def parts(self, modalities: Sequence[str], progress: bool) -> tuple[Mapping[str, Label], Mapping[str, Part]]:
        if self.max_length < 1:
            raise UserError(f"data.max_length={self.max_length}: write 1 or more")
        names = [f"{split}.{key}" for split in SPLITS.values() for key in (*self.MODALITIES, "labels")]
        arrays = read_arrays(self.path, names)
        found = {}
        for role, split in SPLITS.items():
            own = {key: arrays[f"{split}.{key}"] for key in (*self.MODALITIES, "labels")}
            for name, values in own.items():
                if len(values) != len(own["text"]) or (name != "labels" and values.ndim != 3):
                    raise UserError(f"data.path={self.path!r}: '{split}.{name}' has the shape {values.shape}")
            found[role] = self._part(split, own, modalities)
        return {self.LABEL: Label(names=self.CLASSES, of=tuple(modalities))}, found

    def _part(self, split: str, arrays: Mapping[str, np.ndarray], modalities: Sequence[str]) -> Part:
        kept, columns = read_utterances({name: arrays[name] for name in self.MODALITIES}, self.max_length)
        for name in modalities:
            bad = [row for row, values in zip(kept, columns[name], strict=True) if not np.isfinite(values).all()]
            if bad:
                raise UserError(f"data.path={self.path!r}: '{split}.{name}' holds NaN or infinity in row {bad[0]}")
        labels = arrays["labels"].reshape(len(arrays["labels"]), -1)[:, 0][kept]
        own = {name: columns[name] for name in modalities}
        return Part(own, kept.tolist(), {self.LABEL: (labels > 0).astype(np.int64)})


def read_utterances(
    arrays: Mapping[str, np.ndarray], max_length: int
) -> tuple[np.ndarray, dict[str, list[np.ndarray]]]:
    """Utterances as MultiBench reads them.

    Those whose text is zero throughout are dropped. An audio of -inf becomes 0. The files are padded in front: all
    before the first step whose text is not zero is cut off each modality, and the padding comes at the end, in a
    batch.

    Args:
        arrays: `vision`, `audio` and `text`, (rows, steps, numbers) each.
        max_length: Steps that are read.

    Returns:
        The rows that are kept, and of each modality their values, `(steps, numbers)` float32.
    """
    said = (arrays["text"] != 0).any(2)
    kept = np.flatnonzero(said.any(1))
    starts = said.argmax(1)
    columns = {}
    for name, values in arrays.items():
        if name == "audio":
            values = np.where(values == -np.inf, 0, values)
        cut = (values[row, starts[row] : starts[row] + max_length] for row in kept)
        columns[name] = [part.astype(np.float32) for part in cut]
    return kept, columns


@register_source("mosi")
@dataclass(frozen=True)
class MosiData(AffectData):
    """CMU-MOSI: is what a speaker says of a film positive? `mosi_data.pkl` of MultiBench.

    A sentiment of 0 is negative, as in the code of CoMM; FactorCL takes it for positive.

    Args:
        path: The file: the pickle, which is read without running it, or `.npz` with `train.vision` and so on.
        max_length: Steps of an utterance that are read, from the first one with text.
    """

    LABEL: ClassVar[str] = "sentiment"
    CLASSES: ClassVar[tuple[str, str]] = ("negative", "positive")
    WORDS: ClassVar[str] = "opinions on films, CMU-MOSI"
    CITATION: ClassVar[str] = ZADEH_2016


@register_source("ur_funny")
@dataclass(frozen=True)
class URFunnyData(AffectData):
    """UR-FUNNY: is what a speaker of a talk says a punchline? `humor.pkl` of MultiBench.

    Args:
        path: The file: the pickle, which is read without running it, or `.npz` with `train.vision` and so on.
        max_length: Steps of an utterance that are read, from the first one with text.
    """

    LABEL: ClassVar[str] = "humor"
    CLASSES: ClassVar[tuple[str, str]] = ("serious", "funny")
    WORDS: ClassVar[str] = "sentences of talks, UR-FUNNY"
    CITATION: ClassVar[str] = HASAN_2019


@register_source("mustard")
@dataclass(frozen=True)
class MustardData(AffectData):
    """MUsTARD: is what a person of a television series says meant? `sarcasm.pkl` of MultiBench.

    Args:
        path: The file: the pickle, which is read without running it, or `.npz` with `train.vision` and so on.
        max_length: Steps of an utterance that are read, from the first one with text.
    """

    LABEL: ClassVar[str] = "sarcasm"
    CLASSES: ClassVar[tuple[str, str]] = ("sincere", "sarcastic")
    WORDS: ClassVar[str] = "lines of television series, MUsTARD"
    CITATION: ClassVar[str] = CASTRO_2019
