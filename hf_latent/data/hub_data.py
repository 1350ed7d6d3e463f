"""Data sets of the Hub or of the disk, whose columns become modalities."""

import inspect
import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

from ..errors import UserError, suggest
from .cells import Shape, shapes_of
from .loaded import CaptionBenchmark, LoadedData
from .rows import ModalityRows
from .stream import ModalityStream
from .tokenizers import WORDS, load_tokenizer


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


@contextmanager
def _in_split(split: str) -> Iterator[None]:
    """An error in here tells the split."""
    try:
        yield
    except UserError as error:
        raise UserError(f"the split {split!r}: {error}") from error
