"""Data sets of the Hub or of the disk, whose columns become modalities."""

import copy
import hashlib
import inspect
import io
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from huggingface_hub import constants
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id
from torch.utils.data import Dataset, IterableDataset, get_worker_info
from tqdm.auto import tqdm

from ..errors import UserError, suggest
from .loaded import CaptionBenchmark, LoadedData
from .tokenizers import WORDS, load_tokenizer

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
        streaming: Read the rows as they come instead of downloading them first; training then needs `max_steps`. The
            stream starts again at its end.
        shuffle_buffer: Of a stream, how many rows wait to be drawn from; 0 keeps the order.
        on_bad_row: `"error"` stops at a row that cannot be read and names it; `"skip"` reads every row once before
            training, leaves the bad ones out and counts them; of a stream they are left out as they come.
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
    streaming: bool = False
    shuffle_buffer: int = 1000
    on_bad_row: Literal["error", "skip"] = "error"
    tokenizers: dict[str, str] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)

    def load(self, progress: bool = False) -> LoadedData:
        for name in self.tokenizers:
            if name not in self.columns:
                raise UserError(f"data.tokenizers.{name}: no such modality; {suggest(name, self.columns)}")
        rows = self._stream() if self.streaming else self._rows(self.split, progress)
        tokenizers = {}
        for name, value in self.tokenizers.items():
            if value == WORDS and isinstance(rows, ModalityStream):
                raise UserError(f"data.tokenizers.{name}: the words of a stream are not known: name a checkpoint")
            sentences = rows.sentences(self.columns[name]) if isinstance(rows, ModalityRows) else []
            tokenizers[name] = load_tokenizer(value, sentences)
        captions = None
        if self.test_split is not None:
            captions = self._benchmark(self._rows(self.test_split, progress))
        size = f"{len(rows):,} rows" if isinstance(rows, ModalityRows) else "a stream of rows"
        summary = f"{Path(self.path).name}: {size}"
        return LoadedData(rows, dict(self.columns), summary, tokenizers, captions=captions)

    def _rows(self, split: str, progress: bool) -> "ModalityRows":
        rows = ModalityRows(self._open(split), list(self.columns.values()), self.ids, from_hub=self.is_on_hub)
        return rows.without_bad_rows(progress) if self.on_bad_row == "skip" else rows

    def _stream(self) -> "ModalityStream":
        opened = self._open(self.split, streaming=True)
        columns = list(self.columns.values())
        return ModalityStream(
            opened, columns, self.ids, self.shuffle_buffer, self.on_bad_row == "skip", from_hub=self.is_on_hub
        )

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

    def _open(self, split: str, streaming: bool = False) -> Any:
        import datasets

        if "streaming" in self.options:
            raise UserError("data.options.streaming: write data.streaming: true")
        path = f"hf://datasets/{self.path}" if self.is_on_hub else self.path
        try:
            if self.is_on_hub and "data_files" not in self.options:
                self._refuse_other_files(path)
            if (Path(self.path) / "state.json").exists() or (Path(self.path) / "dataset_dict.json").exists():
                opened = datasets.load_from_disk(self.path)
                opened = opened[split] if isinstance(opened, datasets.DatasetDict) else opened
                opened = opened.to_iterable_dataset() if streaming else opened
            else:
                opened = datasets.load_dataset(path, split=split, streaming=streaming, **self.options)
        except UserError:
            raise
        except KeyError:
            raise UserError(f"data.split={split!r}: {self.path} has no such split") from None
        except Exception as error:  # the builders of datasets raise what they like
            raise UserError(f"data.path={self.path!r} cannot be opened: {error}") from error
        if opened.features is None:  # a stream may not say what it holds before it is read
            opened = opened._resolve_features()
        for modality, column in self.columns.items():
            if column not in opened.column_names:
                raise UserError(f"data.columns.{modality}={column!r}: {suggest(column, opened.column_names)}")
        if self.ids is not None and self.ids not in opened.column_names:
            raise UserError(f"data.ids={self.ids!r}: {suggest(self.ids, opened.column_names)}")
        return opened

    @property
    def is_on_hub(self) -> bool:
        """Whether `path` names a data set of the Hub: it is an id, of no folder here and no format of `datasets`."""
        from datasets.packaged_modules import _PACKAGED_DATASETS_MODULES

        try:
            validate_repo_id(self.path)
        except HFValidationError:
            return False
        return self.path not in _PACKAGED_DATASETS_MODULES and not Path(self.path).exists()

    def local_reads(self) -> dict[str, Any]:
        """The keys that may make `load` read anything but a data set of the Hub by its id, with their values."""
        plain = ("name", "revision")  # of a configuration, and of a branch or commit
        options = {key: value for key, value in self.options.items() if key not in plain or not isinstance(value, str)}
        path = {} if self.is_on_hub else {"data.path": self.path}
        return path | {f"data.options.{key}": value for key, value in options.items()}

    def _refuse_other_files(self, path: str) -> None:
        """A data set of the Hub lists its files itself, and may list some of this machine, or of other hosts."""
        import datasets

        known = inspect.signature(datasets.load_dataset_builder).parameters
        only_loading = set(inspect.signature(datasets.load_dataset).parameters) - set(known)
        options = {key: value for key, value in self.options.items() if key not in only_loading}
        files: Any = datasets.load_dataset_builder(path, **options).config.data_files or {}
        for file in itertools.chain.from_iterable(files.values()):
            if not str(file).startswith(f"hf://datasets/{self.path}@"):
                raise UserError(f"data.path={self.path!r}: this data set lists {file}, which is not one of its files")


class RowReader:
    """Decodes the values of rows. Images are decoded here and not by `datasets`, so that a broken one can be named.

    Args:
        features: Of the data set.
        columns: Those to read.
        from_hub: The rows are of a data set of the Hub: they may hold images, and name files of the cache of
            `datasets`, but no other file of this machine.
    """

    def __init__(self, features: Any, columns: Sequence[str], from_hub: bool = False) -> None:
        import datasets

        self.from_hub = from_hub
        self.columns = list(columns)
        self.images = {c for c in columns if isinstance(features[c], datasets.Image)}
        self.lists = [c for c in columns if _holds_sentences(features[c])]

    def undecoded(self, dataset: Any) -> Any:
        """The data set with its images as bytes."""
        import datasets

        for column in self.images:
            dataset = dataset.cast_column(column, datasets.Image(decode=False))
        return dataset

    def captions(self, row: dict[str, Any]) -> int:
        """How many rows one row of the data set becomes."""
        return max(1, len(row[self.lists[0]] or ())) if self.lists else 1

    def read(self, number: int, row: dict[str, Any], caption: int) -> dict[str, Any]:
        """The values of one row; a UserError names a bad one."""
        return {column: self._value(number, column, caption, row[column]) for column in self.columns}

    def _value(self, number: int, column: str, caption: int, value: Any) -> Any:
        if column in self.lists:
            value = value[caption] if value and caption < len(value) else None
        if value is None or (isinstance(value, str) and not value.strip()):
            raise UserError(f"row {number}, column {column!r} is empty: {_REMEDY}")
        if column in self.images:
            return self._image(number, column, value)
        if isinstance(value, float | list) and not _finite(value):
            raise UserError(f"row {number}, column {column!r} holds NaN or infinity: {_REMEDY}")
        return value

    def _image(self, number: int, column: str, value: dict[str, Any]) -> Any:
        from PIL import Image

        if self.from_hub and value["bytes"] is None and not _in_cache(value["path"]):
            raise UserError(
                f"row {number}, column {column!r} names {value['path']}, no image of the data set: {_REMEDY}"
            )
        try:
            image = Image.open(io.BytesIO(value["bytes"]) if value["bytes"] is not None else value["path"])
            return image.convert("RGB")
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise UserError(f"row {number}, column {column!r} is not an image that can be read: {_REMEDY}") from error


class ModalityRows(Dataset):
    """Rows of a `datasets.Dataset`, decoded one by one, with `ids`.

    Args:
        dataset: A map-style `datasets.Dataset`.
        columns: The columns of the modalities.
        ids: A column whose equal values are equal ids; the row number by default.
        index: `(row, caption)` of each of our rows; by default all, with every caption of a row that has several.
        from_hub: As of [`RowReader`].
    """

    def __init__(
        self,
        dataset: Any,
        columns: Sequence[str],
        ids: str | None = None,
        index: Sequence[tuple[int, int]] | None = None,
        from_hub: bool = False,
    ) -> None:
        self.reader = RowReader(dataset.features, columns, from_hub)
        self.dataset = self.reader.undecoded(dataset)
        self.id_column = ids
        self._numbers: list[int] | None = None
        if ids is not None:
            # Numbered by first appearance, so that every process finds the same.
            seen: dict[str, int] = {}
            self._numbers = [seen.setdefault(str(value), len(seen)) for value in self._column(ids)]
        if index is None:
            lists = self.reader.lists
            counts = [max(1, len(texts or ())) for texts in self._column(lists[0])] if lists else [1] * len(dataset)
            index = [(row, caption) for row, count in enumerate(counts) for caption in range(count)]
        self.index = list(index)

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
        listed = column in self.reader.lists
        return (str((texts[row] or [""])[caption] if listed else texts[row]) for row, caption in self.index)

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, i: int) -> dict[str, Any]:
        number, caption = self.index[i]
        return {**self.reader.read(number, self.dataset[number], caption), "ids": self._id(number)}

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
        return ModalityRows(self.dataset, self.reader.columns, self.id_column, good, self.reader.from_hub)


class ModalityStream(IterableDataset):
    """Rows of a `datasets.IterableDataset`, again and again, shuffled anew each time.

    It never ends: whoever resumes finds the place by counting rows. Processes and their workers share the rows, each
    row once a pass: by files where the number of files allows it, else by turns.

    Args:
        dataset: A `datasets.IterableDataset`.
        columns, ids: As of [`ModalityRows`].
        buffer: Rows that wait to be drawn from; 0 keeps the order.
        skip: Leave rows out that cannot be read, instead of stopping.
        from_hub: As of [`RowReader`].
    """

    def __init__(
        self, dataset: Any, columns: Sequence[str], ids: str | None, buffer: int, skip: bool, from_hub: bool = False
    ) -> None:
        self.reader = RowReader(dataset.features, columns, from_hub)
        dataset = self.reader.undecoded(dataset)
        self.dataset = dataset.shuffle(seed=0, buffer_size=buffer) if buffer else dataset
        self.id_column, self.skip = ids, skip
        self.share, self.shares = 0, 1

    @property
    def max_workers(self) -> int:
        """Workers that have something to read: one a file."""
        return self.dataset.num_shards

    def share_of(self, process: int, processes: int) -> "ModalityStream":
        """The rows that one of several processes reads."""
        from datasets.distributed import split_dataset_by_node

        part = copy.copy(self)
        part.dataset = split_dataset_by_node(self.dataset, rank=process, world_size=processes)
        part.share, part.shares = process, processes
        return part

    def _numbers(self) -> Iterator[int]:
        """Numbers of rows that no other process or worker gives."""
        worker = get_worker_info()
        number, workers = (worker.id, worker.num_workers) if worker else (0, 1)
        return itertools.count(self.share * workers + number, self.shares * workers)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        numbers = self._numbers()
        for epoch in itertools.count():
            self.dataset.set_epoch(epoch)
            read = False
            for number, row in enumerate(self.dataset):
                own = next(numbers)
                for caption in range(self.reader.captions(row)):
                    try:
                        values = self.reader.read(number, row, caption)
                    except UserError:
                        if not self.skip:
                            raise
                        continue
                    read = True
                    yield {**values, "ids": own if self.id_column is None else _hash(row[self.id_column])}
            if not read:
                here = "" if self.shares == 1 else f" for process {self.share} of {self.shares}"
                raise UserError(f"the stream holds no row that can be read{here}")


def _in_cache(path: Any) -> bool:
    """Whether a file was fetched from the Hub: it is remote, or in the caches of `datasets` and of the Hub."""
    import datasets

    if "\0" in str(path):
        return False
    if str(path).rpartition("::")[2].startswith("hf://"):
        return True
    caches = (datasets.config.HF_DATASETS_CACHE, datasets.config.DOWNLOADED_DATASETS_PATH, constants.HF_HUB_CACHE)
    return any(Path(str(path)).resolve().is_relative_to(Path(cache).resolve()) for cache in caches)


def _hash(value: Any) -> int:
    """The same number for the same value in every process."""
    return int.from_bytes(hashlib.blake2b(str(value).encode(), digest_size=7).digest(), "big")


def _holds_sentences(feature: Any) -> bool:
    import datasets

    inner = getattr(feature, "feature", feature[0] if isinstance(feature, list) else None)
    return isinstance(inner, datasets.Value) and inner.dtype in ("string", "large_string")


def _finite(value: Any) -> bool:
    try:
        return bool(np.isfinite(np.asarray(value, dtype=float)).all())
    except (TypeError, ValueError):
        return True  # ragged or no numbers: the processor says what is wrong with it
