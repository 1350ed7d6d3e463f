"""What a recipe's `data` section can name, and how it becomes data sets."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from torch.utils.data import Dataset
from tqdm.auto import tqdm

from ..errors import UserError, suggest
from .tokenizers import WORDS, load_tokenizer
from .trifeature import (
    CAPTIONS,
    COLORS,
    PRIVATE_FACTOR,
    SHAPES,
    SHARED_FACTORS,
    SYNERGY,
    TEXTURES,
    TrifeatureImages,
    load_trifeature,
)

PAIR_TITLES = {
    "redundancy": "shape of both images",
    "uniqueness1": "texture of image 1",
    "uniqueness2": "texture of image 2",
}
PAIR_CLASSES = {
    "redundancy": list(SHAPES),
    "uniqueness1": list(TEXTURES),
    "uniqueness2": list(TEXTURES),
    "synergy": list(SYNERGY),
}


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
    """Images with captions, to measure a two-tower model with.

    Attributes:
        train, test: Rows with `image`, `text` and `ids`; equal ids are one caption.
        train_ids, test_ids: The ids, in the order of the rows.
        captions: The caption of each id: the classes of zero-shot classification.
        train_labels, test_labels: The factors of the images, for linear probes.
        class_names: The names of their classes.
        private: The factors that no caption names.
    """

    train: Dataset
    test: Dataset
    train_ids: np.ndarray
    test_ids: np.ndarray
    captions: list[str]
    train_labels: dict[str, np.ndarray]
    test_labels: dict[str, np.ndarray]
    class_names: dict[str, list[str]]
    private: tuple[str, ...]


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
    """

    train: Dataset
    columns: dict[str, str]
    summary: str
    tokenizers: dict[str, Any] = field(default_factory=dict)
    probes: Probes | None = None
    captions: CaptionBenchmark | None = None


@dataclass(frozen=True)
class TrifeatureData:
    """Bimodal Trifeature: pairs of rendered images that share their shape. See `load_trifeature`.

    Args:
        image_size: In pixels.
        renders: Images of each training combination.
        seed: Of the data set itself; it stays the same when the seed of a training run changes.
        texture_period: In pixels of the 224 px canvas.
        biased: Train on the pairs that obey the texture -> color mapping, to learn synergy. Probes use unbiased pairs.
        max_pairs: At most this many pairs a split.
    """

    NAME: ClassVar[str] = "trifeature"

    image_size: int = 224
    renders: int = 3
    seed: int = 42
    texture_period: float = 10.0
    biased: bool = False
    max_pairs: int = 10_000

    def load(self, progress: bool = False) -> LoadedData:
        try:
            trifeature = load_trifeature(
                self.image_size, self.renders, self.seed, texture_period=self.texture_period, progress=progress
            )
            train = trifeature.pairs("train", biased=self.biased, max_pairs=self.max_pairs)
            probe_train, probe_test = (
                trifeature.pairs(split, max_pairs=self.max_pairs) for split in ("train", "test")
            )
        except ValueError as error:
            raise UserError(f"data: {error}") from None
        kind = "obeying a texture to color mapping" if self.biased else "sharing their shape"
        return LoadedData(
            train=train,
            columns={"image1": "image1", "image2": "image2"},
            probes=Probes(probe_train, probe_train.labels, probe_test, probe_test.labels, PAIR_CLASSES, PAIR_TITLES),
            summary=f"Bimodal Trifeature at {self.image_size} px: {len(train):,} pairs of images {kind}",
        )


class CaptionedImages(Dataset):
    """Trifeature images as rows of `image`, `text` and `ids`, the number of the caption."""

    def __init__(self, source: TrifeatureImages) -> None:
        self.source = source
        self.ids = source.caption_ids

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, i: int) -> dict[str, Any]:
        number = int(self.ids[i])
        return {"image": self.source.images[i], "text": CAPTIONS[number], "ids": number}


@dataclass(frozen=True)
class TrifeatureCaptionsData:
    """Trifeature images with captions that name shape and color, never the texture: that is private to the image.

    Args:
        image_size: In pixels.
        renders: Images of each training combination.
        test_renders: Images of each held-out combination.
        seed: Of the data set itself; it stays the same when the seed of a training run changes.
        texture_period: In pixels of the 224 px canvas.
        tokenizers: The tokenizer of `text`: a checkpoint's, or `words`.
    """

    NAME: ClassVar[str] = "trifeature_captions"

    image_size: int = 224
    renders: int = 3
    test_renders: int = 10
    seed: int = 42
    texture_period: float = 10.0
    tokenizers: dict[str, str] = field(default_factory=lambda: {"text": WORDS})

    def load(self, progress: bool = False) -> LoadedData:
        try:
            trifeature = load_trifeature(
                self.image_size, self.renders, self.seed, progress, self.texture_period, self.test_renders
            )
        except ValueError as error:
            raise UserError(f"data: {error}") from None
        train, test = CaptionedImages(trifeature.train), CaptionedImages(trifeature.test)
        classes = {"shape": list(SHAPES), "color": list(COLORS), "texture": list(TEXTURES)}
        factors = (*SHARED_FACTORS, PRIVATE_FACTOR)
        train_labels, test_labels = ({name: getattr(rows.source, name) for name in factors} for rows in (train, test))
        return LoadedData(
            train=train,
            columns={"image": "image", "text": "text"},
            summary=f"Trifeature at {self.image_size} px: {len(train):,} images, captions of shape and color",
            tokenizers={name: load_tokenizer(value, CAPTIONS) for name, value in self.tokenizers.items()},
            captions=CaptionBenchmark(
                train=train,
                test=test,
                train_ids=train.ids,
                test_ids=test.ids,
                captions=list(CAPTIONS),
                train_labels=train_labels,
                test_labels=test_labels,
                class_names=classes,
                private=(PRIVATE_FACTOR,),
            ),
        )


@dataclass(frozen=True)
class HubData:
    """Any data set of the Hub or of the disk, with one column a modality.

    Args:
        path: A folder written by `save_to_disk`, or what `datasets.load_dataset` takes.
        split: The training split.
        columns: `{modality: column}`.
        on_bad_row: `"error"` stops at a row that cannot be read and names it; `"skip"` reads every row once before
            training, leaves the bad ones out and counts them.
        tokenizers: The tokenizer of each text modality: a checkpoint's name, a folder, or `words` for one made of the
            words of its column.
        options: Further arguments of `datasets.load_dataset`.
    """

    NAME: ClassVar[str] = "dataset"

    path: str
    columns: dict[str, str]
    split: str = "train"
    on_bad_row: Literal["error", "skip"] = "error"
    tokenizers: dict[str, str] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)

    def load(self, progress: bool = False) -> LoadedData:
        rows = ModalityRows(self._open(), list(self.columns.values()))
        if self.on_bad_row == "skip":
            rows = rows.without_bad_rows(progress)
        return LoadedData(
            rows,
            dict(self.columns),
            summary=f"{Path(self.path).name}: {len(rows):,} rows",
            tokenizers={
                name: load_tokenizer(value, self._sentences(rows, name)) for name, value in self.tokenizers.items()
            },
        )

    def _sentences(self, rows: "ModalityRows", modality: str) -> Iterator[str]:
        if modality not in self.columns:
            raise UserError(f"data.tokenizers.{modality}: no such modality; {suggest(modality, self.columns)}")
        column = self.columns[modality]
        return (str(text) for text in rows.dataset.select_columns(column).select(rows.index)[column])

    def _open(self) -> Any:
        import datasets

        try:
            if (Path(self.path) / "state.json").exists() or (Path(self.path) / "dataset_dict.json").exists():
                opened = datasets.load_from_disk(self.path)
                opened = opened[self.split] if isinstance(opened, datasets.DatasetDict) else opened
            else:
                opened = datasets.load_dataset(self.path, split=self.split, **self.options)
        except KeyError:
            raise UserError(f"data.split={self.split!r}: {self.path} has no such split") from None
        except (OSError, ValueError) as error:
            raise UserError(f"data.path={self.path!r} cannot be opened: {error}") from None
        for modality, column in self.columns.items():
            if column not in opened.column_names:
                raise UserError(f"data.columns.{modality}={column!r}: {suggest(column, opened.column_names)}")
        return opened


class ModalityRows(Dataset):
    """Rows of a `datasets.Dataset`, decoded one by one, with the row number as `ids`.

    Images are decoded here and not by `datasets`, so that one that is broken can be named.
    """

    def __init__(self, dataset: Any, columns: Sequence[str], index: Sequence[int] | None = None) -> None:
        import datasets

        for column in columns:
            if isinstance(dataset.features[column], datasets.Image):
                dataset = dataset.cast_column(column, datasets.Image(decode=False))
        self.dataset = dataset
        self.columns = list(columns)
        self.images = {c for c in columns if isinstance(dataset.features[c], datasets.Image)}
        self.index = list(range(len(dataset))) if index is None else list(index)

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, i: int) -> dict[str, Any]:
        number = self.index[i]
        row = self.dataset[number]
        values = {column: self._value(number, column, row[column]) for column in self.columns}
        return {**values, "ids": number}

    def _value(self, number: int, column: str, value: Any) -> Any:
        if value is None:
            raise UserError(f"row {number}, column {column!r} is empty: {_REMEDY}")
        if column not in self.images:
            return value
        from PIL import Image

        try:
            image = Image.open(io.BytesIO(value["bytes"]) if value["bytes"] is not None else value["path"])
            return image.convert("RGB")
        except (OSError, SyntaxError, ValueError) as error:
            raise UserError(f"row {number}, column {column!r} is not an image that can be read: {_REMEDY}") from error

    def without_bad_rows(self, progress: bool = False) -> "ModalityRows":
        """The rows that can be read; says how many were left out."""
        good, first = [], None
        for i in tqdm(range(len(self)), desc="Checking rows", disable=not progress):
            try:
                self[i]
            except UserError as error:
                first = first or error
            else:
                good.append(self.index[i])
        if first is not None:
            print(f"Skipped {len(self) - len(good)} of {len(self)} rows; the first: {str(first).split(': ')[0]}")
        return ModalityRows(self.dataset, self.columns, good)


_REMEDY = "repair or remove it, or write data.on_bad_row: skip"

Source = TrifeatureData | TrifeatureCaptionsData | HubData
SOURCES: dict[str, type[Source]] = {cls.NAME: cls for cls in (TrifeatureData, TrifeatureCaptionsData, HubData)}
