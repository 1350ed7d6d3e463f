"""What a source of data gives: a training set, and what to measure a model with."""

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from torch.utils.data import Dataset


@dataclass(frozen=True)
class Probes:
    """Labelled rows for the probes.

    Attributes:
        train, test: Two data sets.
        train_labels, test_labels: The labels of each task, in the order of the rows.
        class_names: The names of the classes of each task.
        titles: What the tasks ask, in words, for those that a map of the latent space can show.
    """

    train: Dataset
    train_labels: dict[str, np.ndarray]
    test: Dataset
    test_labels: dict[str, np.ndarray]
    class_names: dict[str, list[str]]
    titles: dict[str, str]


@dataclass(frozen=True)
class CaptionBenchmark:
    """Held-out images with captions, to measure a two-tower model with.

    Attributes:
        test: Rows with an image, a text and `ids`; rows with equal ids are right for each other.
        test_ids: The ids, in the order of the rows.
        captions: `(rows,)` int64, equal where the captions are equal: for retrieval they are one.
        images: The rows that stand for the distinct images.
        classes: One sentence a class, for zero-shot classification; none by default.
        test_classes: The class of each row.
        train: Rows to fit linear probes on, where there are labels.
        train_labels, test_labels: The factors of the images.
        class_names: The names of their classes.
        private: The factors that no caption names.
        columns: The columns of `image` and `text` in the rows.
    """

    test: Dataset
    test_ids: np.ndarray
    captions: np.ndarray
    images: np.ndarray
    classes: list[str] = field(default_factory=list)
    test_classes: np.ndarray | None = None
    train: Dataset | None = None
    train_labels: dict[str, np.ndarray] = field(default_factory=dict)
    test_labels: dict[str, np.ndarray] = field(default_factory=dict)
    class_names: dict[str, list[str]] = field(default_factory=dict)
    private: tuple[str, ...] = ()
    columns: dict[str, str] = field(default_factory=lambda: {"image": "image", "text": "text"})

    @property
    def texts(self) -> np.ndarray:
        """The rows that stand for the distinct captions, the first of each."""
        return np.unique(self.captions, return_index=True)[1]

    @property
    def pairs(self) -> np.ndarray:
        """`(pairs, 2)` int64: an image, by its place in `images`, and a caption that is right for it, in `texts`.

        A caption is right for the images that have its words or the id of a row with its words. That is not passed on:
        two images that share one caption do not share their others.
        """
        images: dict[int, list[int]] = {}
        for image, number in enumerate(self.test_ids[self.images]):
            images.setdefault(number, []).append(image)
        numbers = np.unique(self.captions, return_inverse=True)[1]
        ids_of_texts = np.unique(np.stack([numbers, self.test_ids], axis=1), axis=0)
        pairs = [(image, text) for text, number in ids_of_texts for image in images.get(number, ())]
        return np.array(pairs, dtype=np.int64)


@dataclass(frozen=True)
class GroundingBenchmark:
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
class TaskBenchmark:
    """Held-out rows of pictures and sentences with what is right of them.

    Attributes:
        test: Rows with `image`, one picture or a list of them, `text`, `labels` and `ids`.
        kind: Whether the model gives one of many `answers` in words, or tells `classes` apart.
        labels: `(rows,)` int64, the right one of `classes` for each row.
        classes: The answers, or the names of the classes.
        groups: `(rows,)` str, what kind of question or statement each row is.
    """

    test: Dataset
    kind: Literal["answers", "classes"]
    labels: np.ndarray
    classes: list[str]
    groups: np.ndarray


@dataclass(frozen=True)
class LoadedData:
    """A training set and what comes with it.

    Attributes:
        train: The training rows.
        columns: The column of each modality.
        summary: One sentence about it.
        tokenizers: Of each text modality.
        probes: What to probe the fused features with, where there is something.
        captions: What to measure an image and a text tower with, where there is something.
        grounding: What to measure with where a model sees what a phrase names, where there is something.
        task: What to measure the answers or the classes of a downstream model with, where there is something.
    """

    train: Dataset
    columns: dict[str, str]
    summary: str
    tokenizers: dict[str, Any] = field(default_factory=dict)
    probes: Probes | None = None
    captions: CaptionBenchmark | None = None
    grounding: GroundingBenchmark | None = None
    task: TaskBenchmark | None = None
