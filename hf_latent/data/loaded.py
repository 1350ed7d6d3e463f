"""What a source of data gives: a training set, and what to measure a model with."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from torch.utils.data import Dataset

LabelKind = Literal["class", "multilabel", "number", "text", "answers"]
TargetKind = Literal["answers", "classes", "labels", "numbers"]
TRAIN_ROWS, DROPPED, WITHOUT = "train_rows", "train_rows_dropped", "train_rows_without_"


@dataclass(frozen=True)
class Label:
    """What is known of each row beside its modalities.

    Attributes:
        kind: `class`, one of `names`; `multilabel`, any number of them; `number`; `text`; or `answers`, one of `names`
            by each of several annotators.
        names: Of the classes; none of numbers and texts.
        of: The modalities that tell it, where that is known: what only some of them tell is unique to these.
        title: What it is, in words; by default its name.
        titles: What each class is, in words; by default its name.
        colors: In which each class is drawn, such as "#ff0000"; by default those of a palette.
    """

    kind: LabelKind = "class"
    names: tuple[str, ...] = ()
    of: tuple[str, ...] = ()
    title: str = ""
    titles: tuple[str, ...] = ()
    colors: tuple[str, ...] = ()

    def title_of(self, name: str) -> str:
        """A class in words."""
        return self.titles[self.names.index(name)] if self.titles else name


@dataclass(frozen=True)
class Split:
    """Rows with their ids and labels.

    Attributes:
        rows: A data set of rows, keyed by column.
        ids: `(rows,)` int64; rows with equal ids are right for each other.
        labels: Name -> the value of each row: `(rows,)` int64 of a class, `(rows, classes)` bool of a multilabel,
            `(rows,)` float64 of a number, `(rows, numbers)` of several, `(rows,)` str of a text, `(rows, annotators)`
            int64 of answers. A value that is missing is -1, a row of False, NaN, "", or a row of -1.
        items: Modality -> `(rows,)` int64, equal where rows hold the same item, such as an image that has several
            captions, or a caption that several images have. A modality that is left out has an item a row.
        present: Modality -> `(rows,)` bool, the rows that have it; all have a modality that is left out.
    """

    rows: Dataset
    ids: np.ndarray
    labels: Mapping[str, np.ndarray] = field(default_factory=dict)
    items: Mapping[str, np.ndarray] = field(default_factory=dict)
    present: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    def having(self, *modalities: str) -> np.ndarray:
        """The rows that have all of these modalities; a name that is no modality is of all rows."""
        there = np.ones(len(self), dtype=bool)
        for modality in modalities:
            there &= self.present.get(modality, True)
        return np.flatnonzero(there)

    def distinct(self, *modalities: str) -> np.ndarray:
        """The rows that stand for the distinct items of a modality, the first of each; of several modalities, the
        distinct items of the first one among the rows that have all of them."""
        rows, items = self.having(*modalities), self.items.get(modalities[0])
        return rows if items is None else rows[np.unique(items[rows], return_index=True)[1]]

    def pairs(self, first: str, second: str) -> np.ndarray:
        """`(pairs, 2)` int64: which items of two modalities are right for each other, by their places in `distinct` of
        both.

        Of rows that have both modalities, two items are where a row of the one has the id of a row of the other. That
        is not passed on: two images that share a caption do not share their others.
        """
        rows = self.having(first, second)
        places = [
            np.unique(self.items.get(name, np.arange(len(self)))[rows], return_inverse=True)[1]
            for name in (first, second)
        ]
        _, ids = np.unique(self.ids[rows], return_inverse=True)
        found: dict[int, list[int]] = {}
        for item, number in np.unique(np.stack([places[0], ids], axis=1), axis=0):
            found.setdefault(int(number), []).append(int(item))
        others = np.unique(np.stack([places[1], ids], axis=1), axis=0)
        pairs = [(item, int(other)) for other, number in others for item in found[int(number)]]
        return np.unique(np.array(pairs, dtype=np.int64), axis=0)


@dataclass(frozen=True)
class Regions:
    """Held-out pictures with phrases and the boxes of what they name.

    Attributes:
        images: `(pictures, height, width, 3)` uint8.
        pictures: `(phrases,)`, the picture of each phrase.
        phrases: Such as "a red star".
        boxes: `(phrases, candidates, 4)`, left, top, right, bottom in pixels, right and bottom exclusive: first the
            box of what the phrase names, then those of the other objects of the picture; rows of zeros where there are
            no more.
        template: The sentence in which the model reads a phrase, such as the captions that it was trained on.
    """

    images: np.ndarray
    pictures: np.ndarray
    phrases: list[str]
    boxes: np.ndarray
    template: str = "{}"


@dataclass(frozen=True)
class Target:
    """What a downstream model is asked of the rows, and what is right.

    Attributes:
        kind: Whether the model gives one of many `answers` in words, tells `classes` apart, says which of some
            `labels` a row has, or gives `numbers`.
        label: The label that is right, whose names are the answers, the classes, the labels or, of several numbers,
            these.
        groups: A label that says what kind of question or statement each row is, if there is one.
        sentence: What the sentence is called, such as "hypothesis"; by default as the task says.
    """

    kind: TargetKind
    label: str
    groups: str | None = None
    sentence: str = ""


@dataclass(frozen=True)
class EvaluationData:
    """What a model is measured with; a benchmark reads what it needs.

    Attributes:
        test: Held-out rows, to report.
        train: Rows to fit probes on, where there are labels.
        validation: Held-out rows to choose by, if there are any.
        columns: The column of each modality in the rows.
        labels: What is known of the rows.
        benchmarks: The benchmarks that the data was made for, with their options, as `evaluation.benchmarks` of a
            recipe writes them; by default all that columns and labels allow.
        regions, target: Where there is something.
        beside: The text of a file that lies beside the rows, by its name, such as `classnames.txt`; None of one that
            is not there.
    """

    test: Split
    train: Split | None = None
    validation: Split | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, Label] = field(default_factory=dict)
    benchmarks: Mapping[str, Mapping[str, Any]] | None = None
    regions: Regions | None = None
    target: Target | None = None
    beside: Callable[[str], str | None] | None = None


@dataclass(frozen=True)
class Missing:
    """How many training rows lack a modality, counted as they were loaded.

    Attributes:
        rows: How many rows there are to train on.
        without: Modality -> how many of them lack it; None where rows that lack one are left out.
        dropped: How many further rows were left out, since they lack a modality.
    """

    rows: int
    without: Mapping[str, int] | None = None
    dropped: int = 0

    def numbers(self) -> dict[str, int]:
        """As `metrics.json` keeps it: `train_rows`, `train_rows_dropped`, `train_rows_without_<modality>`."""
        without = {f"{WITHOUT}{name}": count for name, count in (self.without or {}).items()}
        return {TRAIN_ROWS: self.rows, DROPPED: self.dropped, **without}

    @classmethod
    def read(cls, numbers: Mapping[str, Any], modalities: Iterable[str]) -> "Missing | None":
        """What [`numbers`] wrote; None where it is not there, or is no count."""
        keys = {name: f"{WITHOUT}{name}" for name in modalities if f"{WITHOUT}{name}" in numbers}
        found = [numbers.get(key) for key in (TRAIN_ROWS, DROPPED, *keys.values())]
        counts = [int(value) for value in found if isinstance(value, int | float) and 0 <= value < 2**53]
        if len(counts) < len(found):
            return None
        rows, dropped, *without = counts
        return cls(rows, dict(zip(keys, without, strict=True)) if keys else None, dropped)


@dataclass(frozen=True)
class LoadedData:
    """A training set and what comes with it.

    Attributes:
        train: The training rows.
        columns: The column of each modality.
        summary: One sentence about it.
        tokenizers: Of each text modality.
        evaluation: What to measure a model with, where there is something.
        target: What the rows tell a head to say, where they do; its names are the answers, the classes, the labels,
            or those of several numbers.
        splits: The splits that the rows were read from, by `train`, `validation` and `test`, where the data has such.
        examples: Where rows may lack a modality, a value of each modality: what stands in place of a value that is
            missing, and no term reads.
        missing: How many training rows lack a modality, where rows may and can be counted; of a stream they cannot.
    """

    train: Dataset
    columns: dict[str, str]
    summary: str
    tokenizers: dict[str, Any] = field(default_factory=dict)
    evaluation: EvaluationData | None = None
    target: Label | None = None
    splits: Mapping[str, str] = field(default_factory=dict)
    examples: Mapping[str, Any] | None = None
    missing: Missing | None = None
