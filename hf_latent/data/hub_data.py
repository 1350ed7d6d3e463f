"""Data sets of the Hub or of the disk, whose columns become modalities."""

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from torch.utils.data import Dataset
from tqdm.auto import tqdm

from ..errors import UserError, suggest
from .loaded import CaptionBenchmark, LoadedData
from .tokenizers import load_tokenizer

_REMEDY = "repair or remove it, or write data.on_bad_row: skip"


@dataclass(frozen=True)
class HubData:
    """Any data set of the Hub or of the disk, with one column a modality.

    A column of lists of sentences holds several captions of a row: each becomes a row of its own.

    Args:
        path: A folder written by `save_to_disk`, or what `datasets.load_dataset` takes: the name of a data set, a
            folder of parquet files, `imagefolder`, `csv`, `webdataset` (with `data_files` in `options`).
        split: The training split.
        columns: `{modality: column}`.
        ids: A column whose equal values make rows positives of each other, such as the column of the captions. By
            default every row of the data set is its own, and its captions are positives of each other.
        test_split: A split of images and texts to measure retrieval and geometry on.
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
    ids: str | None = None
    test_split: str | None = None
    on_bad_row: Literal["error", "skip"] = "error"
    tokenizers: dict[str, str] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)

    def load(self, progress: bool = False) -> LoadedData:
        for name in self.tokenizers:
            if name not in self.columns:
                raise UserError(f"data.tokenizers.{name}: no such modality; {suggest(name, self.columns)}")
        rows = self._rows(self.split, progress)
        tokenizers = {
            name: load_tokenizer(value, rows.sentences(self.columns[name])) for name, value in self.tokenizers.items()
        }
        captions = None
        if self.test_split is not None:
            captions = self._benchmark(self._rows(self.test_split, progress))
        summary = f"{Path(self.path).name}: {len(rows):,} rows"
        return LoadedData(rows, dict(self.columns), summary, tokenizers, captions=captions)

    def _rows(self, split: str, progress: bool) -> "ModalityRows":
        rows = ModalityRows(self._open(split), list(self.columns.values()), self.ids)
        return rows.without_bad_rows(progress) if self.on_bad_row == "skip" else rows

    def _benchmark(self, test: "ModalityRows") -> CaptionBenchmark:
        missing = {"image", "text"} - set(self.columns)
        if missing:
            raise UserError(f"data.test_split is for images and texts, and data.columns has no {', '.join(missing)}")
        texts = test.sentences(self.columns["text"])
        distinct = [f"{number} {text}" for number, text in zip(test.ids, texts, strict=True)]
        return CaptionBenchmark(
            test=test,
            test_ids=test.ids,
            images=np.unique([number for number, _ in test.index], return_index=True)[1],
            texts=np.unique(distinct, return_index=True)[1],
        )

    def _open(self, split: str) -> Any:
        import datasets

        if self.options.get("streaming"):
            raise UserError("data.options.streaming: streamed data sets are not read yet: leave it out")
        try:
            if (Path(self.path) / "state.json").exists() or (Path(self.path) / "dataset_dict.json").exists():
                opened = datasets.load_from_disk(self.path)
                opened = opened[split] if isinstance(opened, datasets.DatasetDict) else opened
            else:
                opened = datasets.load_dataset(self.path, split=split, **self.options)
        except KeyError:
            raise UserError(f"data.split={split!r}: {self.path} has no such split") from None
        except Exception as error:  # the builders of datasets raise what they like
            raise UserError(f"data.path={self.path!r} cannot be opened: {error}") from error
        for modality, column in self.columns.items():
            if column not in opened.column_names:
                raise UserError(f"data.columns.{modality}={column!r}: {suggest(column, opened.column_names)}")
        if self.ids is not None and self.ids not in opened.column_names:
            raise UserError(f"data.ids={self.ids!r}: {suggest(self.ids, opened.column_names)}")
        return opened


class ModalityRows(Dataset):
    """Rows of a `datasets.Dataset`, decoded one by one, with `ids`.

    Images are decoded here and not by `datasets`, so that one that is broken can be named.

    Args:
        dataset: A map-style `datasets.Dataset`.
        columns: The columns of the modalities.
        ids: A column whose equal values are equal ids; the row number by default.
        index: `(row, caption)` of each of our rows; by default all, with every caption of a row that has several.
    """

    def __init__(
        self,
        dataset: Any,
        columns: Sequence[str],
        ids: str | None = None,
        index: Sequence[tuple[int, int]] | None = None,
    ) -> None:
        import datasets

        for column in columns:
            if isinstance(dataset.features[column], datasets.Image):
                dataset = dataset.cast_column(column, datasets.Image(decode=False))
        self.dataset = dataset
        self.columns = list(columns)
        self.images = {c for c in columns if isinstance(dataset.features[c], datasets.Image)}
        self.lists = [c for c in columns if _holds_sentences(dataset.features[c])]
        self.id_column = ids
        self._numbers: list[int] | None = None
        if ids is not None:
            # Numbered by first appearance, so that every process finds the same.
            seen: dict[str, int] = {}
            self._numbers = [seen.setdefault(str(value), len(seen)) for value in self._column(ids)]
        if index is not None:
            self.index = list(index)
        elif self.lists:
            counts = [len(texts or [None]) for texts in self._column(self.lists[0])]
            self.index = [(row, caption) for row, count in enumerate(counts) for caption in range(max(count, 1))]
        else:
            self.index = [(row, 0) for row in range(len(dataset))]

    def _column(self, name: str) -> Iterable[Any]:
        return self.dataset.select_columns(name)[name]

    @property
    def ids(self) -> np.ndarray:
        """`(rows,)` int64."""
        return np.array([self._id(row) for row, _ in self.index], dtype=np.int64)

    def _id(self, row: int) -> int:
        return row if self._numbers is None else self._numbers[row]

    def sentences(self, column: str) -> Iterator[str]:
        """The texts of one column, row by row."""
        texts = list(self._column(column))
        return (str(texts[row][caption] if column in self.lists else texts[row]) for row, caption in self.index)

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, i: int) -> dict[str, Any]:
        number, caption = self.index[i]
        row = self.dataset[number]
        values = {column: self._value(number, column, caption, row[column]) for column in self.columns}
        return {**values, "ids": self._id(number)}

    def _value(self, number: int, column: str, caption: int, value: Any) -> Any:
        if column in self.lists:
            value = value[caption] if value else None
        if value is None or (isinstance(value, str) and not value.strip()):
            raise UserError(f"row {number}, column {column!r} is empty: {_REMEDY}")
        if column in self.images:
            return self._image(number, column, value)
        if isinstance(value, float | list) and not _finite(value):
            raise UserError(f"row {number}, column {column!r} holds NaN or infinity: {_REMEDY}")
        return value

    @staticmethod
    def _image(number: int, column: str, value: dict[str, Any]) -> Any:
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
        return ModalityRows(self.dataset, self.columns, self.id_column, good)


def _holds_sentences(feature: Any) -> bool:
    import datasets

    inner = getattr(feature, "feature", feature[0] if isinstance(feature, list) else None)
    return isinstance(inner, datasets.Value) and inner.dtype in ("string", "large_string")


def _finite(value: Any) -> bool:
    try:
        return bool(np.isfinite(np.asarray(value, dtype=float)).all())
    except (TypeError, ValueError):
        return True  # ragged or no numbers: the processor says what is wrong with it
