"""Data sets of the Hub or of the disk, whose columns become modalities."""

import copy
import inspect
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, NoReturn

import numpy as np
from huggingface_hub import constants
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id
from torch.utils.data import Dataset, IterableDataset, get_worker_info
from tqdm.auto import tqdm

from ..errors import UserError, suggest
from ..models.images import read_image
from .cells import Shape, holds_sentences, is_missing, is_plain, is_string, misfit, shapes_of, stable_hash
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
            default every row of the data set is its own, and its captions are positives of each other; so is a row
            whose value is missing (None, NaN or empty).
        test_split: A split of images and texts to measure retrieval and geometry on.
        streaming: Read the rows as they come instead of downloading them first; training then needs `max_steps`. The
            stream starts again at its end.
        shuffle_buffer: Of a stream, how many rows wait to be drawn from; 0 keeps the order.
        on_bad_row: `"error"` stops at a row that cannot be read and names it, before training unless it is an image;
            `"skip"` reads every row once before training, leaves the bad ones out and counts them; of a stream they
            are left out as they come.
        tokenizers: The tokenizer of each text modality: a checkpoint's name, a folder, or `words` for one made of the
            words of its column; or a list of columns, for one made of the words of all of them.
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
    tokenizers: dict[str, str | list[str]] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)

    def load(self, progress: bool = False, encoders: Mapping[str, Mapping[str, Any]] | None = None) -> LoadedData:
        """The rows and what comes with them.

        Args:
            progress: Show how far the check of the rows is.
            encoders: The encoder of each modality, as in a model's config: a row that it cannot read is a bad one.

        Raises:
            UserError: If the data cannot be read; it names the row.
        """
        for name in self.tokenizers:
            if name not in self.columns:
                raise UserError(f"data.tokenizers.{name}: no such modality; {suggest(name, self.columns)}")
        found = {
            self.columns[name]: shapes_of(spec) for name, spec in (encoders or {}).items() if name in self.columns
        }
        shapes = {column: shapes for column, shapes in found.items() if shapes}
        rows = self._stream(shapes) if self.streaming else self._rows(self.split, shapes, progress)
        tokenizers = {name: self._tokenizer(name, value, rows) for name, value in self.tokenizers.items()}
        captions = None
        if self.test_split is not None:
            captions = self._benchmark(self._rows(self.test_split, shapes, progress))
        size = f"{len(rows):,} rows" if isinstance(rows, ModalityRows) else "a stream of rows"
        summary = f"{Path(self.path).name}: {size}"
        return LoadedData(rows, dict(self.columns), summary, tokenizers, captions=captions)

    def _tokenizer(self, name: str, value: str | list[str], rows: "ModalityRows | ModalityStream") -> Any:
        if isinstance(value, str) and value != WORDS:
            return load_tokenizer(value, [])
        if isinstance(rows, ModalityStream):
            raise UserError(f"data.tokenizers.{name}: the words of a stream are not known: name a checkpoint")
        columns = [self.columns[name]] if isinstance(value, str) else value
        for column in columns:
            if column not in rows.text_columns:
                raise UserError(
                    f"data.tokenizers.{name}: {column!r} is no column of text; {suggest(column, rows.text_columns)}"
                )
        return load_tokenizer(WORDS, itertools.chain.from_iterable(map(rows.texts, columns)))

    def _rows(self, split: str, shapes: Mapping[str, Sequence[Shape]], progress: bool) -> "ModalityRows":
        opened, columns = self._open(split), list(self.columns.values())
        rows = ModalityRows(opened, columns, self.ids, from_hub=self.is_on_hub, shapes=shapes)
        with _in_split(split):
            if self.on_bad_row == "skip":
                return rows.without_bad_rows(progress)
            rows.check()
        return rows

    def _stream(self, shapes: Mapping[str, Sequence[Shape]]) -> "ModalityStream":
        opened = self._open(self.split, streaming=True)
        skip = self.on_bad_row == "skip"
        columns = list(self.columns.values())
        return ModalityStream(opened, columns, self.ids, self.shuffle_buffer, skip, self.is_on_hub, shapes)

    def _benchmark(self, test: "ModalityRows") -> CaptionBenchmark:
        missing = {"image", "text"} - set(self.columns)
        if missing:
            raise UserError(f"data.test_split is for images and texts, and data.columns has no {', '.join(missing)}")
        # Captions that differ in case or in spaces alone are one: most tokenizers make the same tokens of them.
        texts = [" ".join(text.casefold().split()) for text in test.sentences(self.columns["text"])]
        return CaptionBenchmark(
            test=test,
            test_ids=test.ids,
            captions=np.unique(texts, return_inverse=True)[1],
            images=np.unique([number for number, _ in test.index], return_index=True)[1],
            columns=dict(self.columns),
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
        shapes: Of columns of numbers, the shapes of a row that can be read.
    """

    def __init__(
        self,
        features: Any,
        columns: Sequence[str],
        from_hub: bool = False,
        shapes: Mapping[str, Sequence[Shape]] | None = None,
    ) -> None:
        import datasets

        self.from_hub = from_hub
        self.columns = list(columns)
        self.shapes = dict(shapes or {})
        self.images = {c for c in columns if isinstance(features[c], datasets.Image)}
        self.lists = [c for c in columns if holds_sentences(features[c])]

    def undecoded(self, dataset: Any, keep: Sequence[str] = ()) -> Any:
        """The data set with its images as bytes, and the columns that are read alone, with those of `keep`."""
        import datasets

        dataset = dataset.select_columns(list(dict.fromkeys([*self.columns, *keep])))
        for column in self.images:
            dataset = dataset.cast_column(column, datasets.Image(decode=False))
        return dataset

    def captions(self, row: dict[str, Any]) -> int:
        """How many rows one row of the data set becomes."""
        return max(1, len(row[self.lists[0]] or ())) if self.lists else 1

    def read(self, number: int, row: dict[str, Any], caption: int) -> dict[str, Any]:
        """The values of one row, or of those of its columns that are there; a UserError names a bad one."""
        there = [column for column in self.columns if column in row]
        return {column: self._value(number, column, caption, row[column]) for column in there}

    def _value(self, number: int, column: str, caption: int, value: Any) -> Any:
        if column in self.lists:
            value = value[caption] if value and caption < len(value) else None
        if value is None or (isinstance(value, str) and is_missing(value)):
            raise UserError(f"row {number}, column {column!r} is empty: {_REMEDY}")
        if column in self.images:
            return self._image(number, column, value)
        shapes = self.shapes.get(column, ())
        if (shapes or isinstance(value, float | list)) and (wrong := misfit(value, shapes)):
            raise UserError(f"row {number}, column {column!r} {wrong}: {_REMEDY}")
        return value

    def _image(self, number: int, column: str, value: dict[str, Any]) -> Any:
        import datasets

        if self.from_hub and value["bytes"] is None and not _in_cache(value["path"]):
            named = f"row {number}, column {column!r} names {value['path']}"
            raise UserError(f"{named}, which is no image of the data set: {_REMEDY}")
        try:  # of files that are remote or in an archive, datasets fetches the bytes
            return read_image(value["bytes"] or datasets.Image().decode_example(value))
        except Exception as error:  # decoders raise what they like
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise UserError(
                f"row {number}, column {column!r} is not an image that can be read ({reason}): {_REMEDY}"
            ) from error


class Row(dict[str, Any]):
    """A row that knows its number in the data set, for errors to name."""

    number: int


class ModalityRows(Dataset):
    """Rows of a `datasets.Dataset`, decoded one by one, with `ids`.

    Args:
        dataset: A map-style `datasets.Dataset`.
        columns: The columns of the modalities.
        ids: A column whose equal values are equal ids; the row number by default.
        index: `(row, caption)` of each of our rows; by default all, with every caption of a row that has several.
        from_hub, shapes: As of [`RowReader`].
    """

    def __init__(
        self,
        dataset: Any,
        columns: Sequence[str],
        ids: str | None = None,
        index: Sequence[tuple[int, int]] | None = None,
        from_hub: bool = False,
        shapes: Mapping[str, Sequence[Shape]] | None = None,
    ) -> None:
        self.reader = RowReader(dataset.features, columns, from_hub, shapes)
        self.dataset = dataset
        self._read = self.reader.undecoded(dataset)
        self.id_column = ids
        self._numbers: list[int] | None = None
        if ids is not None:
            # Numbered by first appearance, so that every process finds the same; a row without an id is its own.
            seen: dict[Any, int] = {}
            keys = ((row,) if is_missing(value) else str(value) for row, value in enumerate(self._column(ids)))
            self._numbers = [seen.setdefault(key, len(seen)) for key in keys]
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

    @property
    def text_columns(self) -> list[str]:
        """The columns of strings, or of lists of strings."""
        return [name for name, kind in self.dataset.features.items() if is_string(kind) or holds_sentences(kind)]

    def texts(self, column: str) -> Iterator[str]:
        """Every text of a column, of the rows that are read."""
        values = list(self._column(column))
        for row in dict.fromkeys(row for row, _ in self.index):
            texts = values[row] if isinstance(values[row], list) else [values[row]]
            yield from (text for text in texts if text is not None)

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, i: int) -> Row:
        number, caption = self.index[i]
        try:
            row = self._read[number]
        except Exception as error:  # datasets decodes what is no plain image, and decoders raise what they like
            raise UserError(f"row {number} cannot be read ({error}): {_REMEDY}") from error
        found = Row(self.reader.read(number, row, caption), ids=self._id(number))
        found.number = number
        return found

    def check(self) -> None:
        """A UserError where a row holds a bad value; images are not looked at."""
        self._agree()
        plain = [column for column in self.reader.columns if is_plain(self.dataset.features[column])]
        if plain:
            for number, row in enumerate(self.dataset.select_columns(plain)):
                for caption in range(self.reader.captions(row)):
                    self.reader.read(number, row, caption)

    def _agree(self) -> None:
        """Where rows of several shapes can be read, but not in one batch, the commonest shape is that of all."""
        for column, shapes in self.reader.shapes.items():
            if len(shapes) > 1:
                found = Counter(np.shape(v) for v in self._column(column) if v is not None and not misfit(v, shapes))
                if found:
                    self.reader.shapes[column] = [found.most_common(1)[0][0]]

    def without_bad_rows(self, progress: bool = False) -> "ModalityRows":
        """The rows that can be read; says how many were left out, and raises a UserError where none can be."""
        self._agree()
        good, first = [], None
        for i in tqdm(range(len(self)), desc="Checking rows", disable=not progress):
            try:
                self[i]
            except UserError as error:
                first = first or error
            else:
                good.append(self.index[i])
        if not good:
            raise UserError(f"none of its {len(self)} rows can be read; the first: {str(first).split(': ')[0]}")
        if first is not None:
            print(f"Skipped {len(self) - len(good)} of {len(self)} rows; the first: {str(first).split(': ')[0]}")
        reader = self.reader
        return ModalityRows(self.dataset, reader.columns, self.id_column, good, reader.from_hub, reader.shapes)


class ModalityStream(IterableDataset):
    """Rows of a `datasets.IterableDataset`, again and again, shuffled anew each time.

    It never ends: whoever resumes finds the place by counting rows. Processes and their workers share the rows, each
    row once a pass: by files where the number of files allows it, else by turns.

    Args:
        dataset: A `datasets.IterableDataset`.
        columns, ids: As of [`ModalityRows`].
        buffer: Rows that wait to be drawn from; 0 keeps the order.
        skip: Leave rows out that cannot be read, instead of stopping.
        from_hub, shapes: As of [`RowReader`].
    """

    def __init__(
        self,
        dataset: Any,
        columns: Sequence[str],
        ids: str | None,
        buffer: int,
        skip: bool,
        from_hub: bool = False,
        shapes: Mapping[str, Sequence[Shape]] | None = None,
    ) -> None:
        self.reader = RowReader(dataset.features, columns, from_hub, shapes)
        self.ordered = self.reader.undecoded(dataset, keep=[] if ids is None else [ids])
        self.buffer = buffer
        self.dataset = self.ordered.shuffle(seed=0, buffer_size=buffer) if buffer else self.ordered
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

    def _name_bad_row(self, place: int, error: UserError) -> NoReturn:
        """Raise the error of a bad row with its number in the data set.

        The place in a stream that is shuffled and shared is another one, so the first rows are read again in their
        order: as many as were read of all shares, and of the buffer.
        """
        worker = get_worker_info()
        shares = self.shares * (worker.num_workers if worker else 1)
        for number, row in enumerate(itertools.islice(self.ordered, (place + 1) * shares + self.buffer)):
            for caption in range(self.reader.captions(row)):
                self.reader.read(number, row, caption)
        # The files of the stream were shuffled, too, and no bad row is among the first.
        raise UserError(str(error).replace(f"row {place}", f"row {place} of the shuffled stream", 1)) from error

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
                    except UserError as error:
                        if not self.skip:
                            self._name_bad_row(number, error)
                        continue
                    read = True
                    value = None if self.id_column is None else row[self.id_column]
                    yield {**values, "ids": own if is_missing(value) else stable_hash(value)}
            if not read:
                here = "" if self.shares == 1 else f" for process {self.share} of {self.shares}"
                raise UserError(f"the stream holds no row that can be read{here}")


@contextmanager
def _in_split(split: str) -> Iterator[None]:
    """An error in here tells the split."""
    try:
        yield
    except UserError as error:
        raise UserError(f"the split {split!r}: {error}") from error


def _in_cache(path: Any) -> bool:
    """Whether a file was fetched from the Hub: it is remote, or in the caches of `datasets` and of the Hub."""
    import datasets

    if str(path).rpartition("::")[2].startswith("hf://"):
        return True
    caches = (datasets.config.HF_DATASETS_CACHE, datasets.config.DOWNLOADED_DATASETS_PATH, constants.HF_HUB_CACHE)
    return any(Path(str(path)).resolve().is_relative_to(Path(cache).resolve()) for cache in caches)
