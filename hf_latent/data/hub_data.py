"""Data sets of the Hub or of the disk, whose columns become modalities and labels."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

from ..errors import UserError, suggest
from .cells import Shape, shapes_of
from .columns import check_column, label_columns, read_labels, split_of
from .description import Description, on_the_hub
from .hub_sample import hub_sample
from .loaded import EvaluationData, Label, LoadedData
from .opening import NAMES, Opener, check_split, choose_splits
from .rows import ModalityRows
from .sample import ROWS, Role, Sample
from .source import Reader, Source, register_source
from .stream import ModalityStream
from .tokenizers import WORDS, load_tokenizer


@register_source("dataset")
@dataclass(frozen=True)
class HubData(Source):
    """Any data set of the Hub or of the disk, with one column a modality.

    A column of lists of sentences holds several captions of a row: each becomes a row of its own.

    Args:
        path: A folder written by `save_to_disk`, or what `datasets.load_dataset` takes: the name of a data set, a
            folder of parquet files, `imagefolder`, `csv`, `webdataset` (with `data_files` in `options`).
        columns: `{modality: column}`.
        split, test_split: The old names of `splits.train` and `splits.test`.
        splits: The splits `train`, `validation` and `test`, as `datasets` writes them: `{train: "train[:90%]", test:
            "train[90%:]"}`. `train` is by default the split of that name. A name of the other two that is left out is
            looked for in the data set, as `validation`, `val`, `dev` or `valid`, and as `test`, among the splits that
            nothing else names; null switches it off. Of a stream they are looked for in a folder that `save_to_disk`
            wrote alone: of other data sets, reading one split may download all. The validation split is to choose by
            during training, the test split is to report; where there is a validation split alone, it is both.
        validation_share: Cut this share of the training rows off and validate on them, by whole ids, so that all
            captions of a row and all rows of an id are on one side. The draw is the same in every process and run. 0
            cuts nothing.
        labels: What columns tell of the rows: `{name: column}`, or `{name: {column: ..., kind: class | multilabel |
            number | text, of: [modality, ...], title: ..., names: [...]}}`. See [`read_labels`] for what a column is
            taken for, and [`LabelColumn`] for the keys. A label that is missing does not make a row a bad one.
        ids: A column whose equal values make rows positives of each other, such as the column of the captions. By
            default every row of the data set is its own, and its captions are positives of each other; so is a row
            whose value is missing (None, NaN or empty).
        streaming: Read the rows as they come instead of downloading them first; training then needs `max_steps`. The
            stream starts again at its end. No probes are fit on it.
        shuffle_buffer: Of a stream, how many rows wait to be drawn from; 0 keeps the order.
        on_bad_row: `"error"` stops at a row that cannot be read and names it, before training unless it is an image;
            `"skip"` reads every row once before training, leaves the bad ones out and counts them; of a stream they
            are left out as they come.
        tokenizers: The tokenizer of each text modality: a checkpoint's name, a folder, or `words` for one made of the
            words of its column; or a list of columns, for one made of the words of all of them.
        options: Further arguments of `datasets.load_dataset`.
    """

    path: str
    columns: dict[str, str]
    split: str | None = None
    ids: str | None = None
    test_split: str | None = None
    streaming: bool = False
    shuffle_buffer: int = 1000
    on_bad_row: Literal["error", "skip"] = "error"
    tokenizers: dict[str, str | list[str]] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    splits: dict[str, str | None] = field(default_factory=dict)
    validation_share: float = 0.0
    labels: dict[str, str | dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def described(cls, options: Mapping[str, Any]) -> Description:
        """What a card tells of the data: its `paths` on the Hub, and what was measured on."""
        return on_the_hub(options["paths"], options["test_split"], options["path"])

    def load(self, progress: bool = False) -> LoadedData:
        return self.load_for(Reader(), progress)

    def load_for(self, reader: Reader, progress: bool = False, find: bool = True) -> LoadedData:
        """The rows and what comes with them.

        `evaluation` is None where there is no validation and no test split. Its `train` are the training rows, with
        their labels, and None of a stream.

        Args:
            reader: What reads the rows: one that an encoder cannot read is a bad one.
            progress: Show how far the check of the rows is.
            find: Look in the data set for splits to measure on that are not written.

        Raises:
            UserError: If the data cannot be read, and it names the row; if a column, a split or a key does not exist;
                or if a label tells nothing, see [`read_labels`].
        """
        for name in self.tokenizers:
            if name not in self.columns:
                raise UserError(f"data.tokenizers.{name}: no such modality; {suggest(name, self.columns)}")
        columns = label_columns(self.labels, self.columns)
        shapes = self._shapes(reader.encoders)
        opener = self._opener()
        splits = self._choose(opener, find)
        rows: ModalityRows | ModalityStream
        if self.streaming:
            rows = self._stream(opener, splits["train"], shapes)
        else:
            rows = self._rows(opener, "train", splits["train"], shapes, progress)
        held: dict[str, ModalityRows] = {
            role: self._rows(opener, role, splits[role], shapes, progress)
            for role in ("validation", "test")
            if role in splits
        }
        if self.validation_share and isinstance(rows, ModalityRows):
            with _prefixed(f"data.validation_share={self.validation_share}: "):
                rows, held["validation"] = rows.cut(self.validation_share)
        tokenizers = {name: self._tokenizer(name, value, rows) for name, value in self.tokenizers.items()}
        there = dict(held)
        if isinstance(rows, ModalityRows):
            there = {"train": rows, **held}
        cut = ["validation"] if self.validation_share else []
        labels, values = read_labels(columns, there, cut) if there else ({}, {})
        evaluation = None
        if held:
            measured = {name: split_of(own, self.columns, values[name]) for name, own in there.items()}
            evaluation = EvaluationData(
                test=measured["test" if "test" in held else "validation"],
                train=measured.get("train"),
                validation=measured.get("validation"),
                columns=dict(self.columns),
                labels=labels,
            )
        summary = self._summary(rows, held, splits, labels)
        return LoadedData(rows, dict(self.columns), summary, tokenizers, evaluation)

    @property
    def written_splits(self) -> dict[str, str | None]:
        """The splits that are written, whether by their old names or by their new ones.

        Raises:
            UserError: If one is written twice, or `splits` has another name.
        """
        for role in self.splits:
            if role not in NAMES:
                raise UserError(f"unknown key data.splits.{role}: {suggest(role, NAMES)}")
        written = dict(self.splits)
        for role, key, value in (("train", "split", self.split), ("test", "test_split", self.test_split)):
            if value is not None and role in written:
                raise UserError(f"data.{key} is the old name of data.splits.{role}: write one of them")
            if value is not None:
                written[role] = value
        if "train" in written and written["train"] is None:
            raise UserError("data.splits.train=None: write the rows to train on")
        return written

    @property
    def is_measured(self) -> bool:
        """Whether rows to measure on are written, without a look into the data set."""
        written = self.written_splits
        return bool(self.validation_share or written.get("test") or written.get("validation"))

    def sample(self, rows: int = ROWS, reader: Reader | None = None, role: Role = "test") -> Sample:
        """As [`Source.sample`]. All rows are loaded only for a model of a downstream task, whose answers are those of
        all, and where rows to validate on were cut off those that can be read."""
        whole = bool(self.validation_share) and self.on_bad_row == "skip"
        if whole or (reader is not None and reader.labels is not None):
            return super().sample(rows, reader, role)
        shapes = self._shapes(reader.encoders if reader else {})
        return hub_sample(self, self._opener(), self._open, shapes, rows, role)

    def _opener(self) -> Opener:
        if "streaming" in self.options:
            raise UserError("data.options.streaming: write data.streaming: true")
        return Opener(self.path, self.options, self.is_on_hub)

    def _choose(self, opener: Opener, find: bool) -> dict[str, str]:
        """The splits to use, by `train`, `validation` and `test`."""
        written, share = self.written_splits, self.validation_share
        if not 0 <= share < 1:
            raise UserError(f"data.validation_share={share}: write a number above 0 and below 1, or 0 for none")
        if share and self.streaming:
            raise UserError(
                f"data.validation_share={share}: a stream cannot be cut; write data.splits.validation, or leave it out"
            )
        known = [] if self.streaming and not opener.is_saved else opener.known()
        splits = choose_splits(written, known if find else ())
        for role, split in splits.items():
            check_split(self._key(role), split, known)
        if share and "validation" in splits:
            raise UserError(
                f"data.validation_share={share}: there is a validation split, {splits['validation']!r}: leave the "
                "share out, or write data.splits.validation: null"
            )
        return splits

    def _key(self, role: str) -> str:
        """What the recipe calls a split."""
        old = {"train": ("data.split", self.split), "test": ("data.test_split", self.test_split)}
        key, value = old.get(role, ("", None))
        return f"data.splits.{role}" if value is None else key

    def _shapes(self, encoders: Mapping[str, Mapping[str, Any]]) -> dict[str, Sequence[Shape]]:
        found = {self.columns[name]: shapes_of(spec) for name, spec in encoders.items() if name in self.columns}
        return {column: shapes for column, shapes in found.items() if shapes}

    def _summary(
        self,
        rows: ModalityRows | ModalityStream,
        held: Mapping[str, ModalityRows],
        splits: Mapping[str, str],
        labels: Mapping[str, Label],
    ) -> str:
        parts = [f"{len(rows):,} rows" if isinstance(rows, ModalityRows) else "a stream of rows"]
        for role, own in held.items():
            origin = f"the split {splits[role]!r}" if role in splits else "cut off the training rows"
            parts.append(f"{role}: {len(own):,} rows, {origin}")
        if held and "test" not in held:
            parts.append("no test split: the validation rows are reported, too")
        if self.labels and not held:
            parts.append("no split to measure on: the labels are not used")
        elif labels:
            parts.append(f"labels: {', '.join(f'{name} ({_said(label)})' for name, label in labels.items())}")
        return f"{Path(self.path).name}: {'; '.join(parts)}"

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

    def _rows(
        self, opener: Opener, role: str, split: str, shapes: Mapping[str, Sequence[Shape]], progress: bool
    ) -> ModalityRows:
        opened, columns = self._open(opener, role, split), list(self.columns.values())
        rows = ModalityRows(opened, columns, self.ids, from_hub=self.is_on_hub, shapes=shapes)
        with _prefixed(f"the split {split!r}: "):
            if not len(rows):
                raise UserError(f"{self._key(role)} has no rows")
            if self.on_bad_row == "skip":
                return rows.without_bad_rows(progress)
            rows.check()
        return rows

    def _stream(self, opener: Opener, split: str, shapes: Mapping[str, Sequence[Shape]]) -> ModalityStream:
        if not opener.is_saved and set(split) & set("[+"):
            raise UserError(f"{self._key('train')}={split!r}: a stream reads a whole split; write its name alone")
        opened = self._open(opener, "train", split, streaming=True)
        skip = self.on_bad_row == "skip"
        columns = list(self.columns.values())
        return ModalityStream(opened, columns, self.ids, self.shuffle_buffer, skip, self.is_on_hub, shapes)

    def _open(self, opener: Opener, role: str, split: str, streaming: bool = False) -> Any:
        opened = opener.open(split, streaming)
        for modality, column in self.columns.items():
            check_column(f"data.columns.{modality}", column, opened.column_names)
        if self.ids is not None:
            check_column("data.ids", self.ids, opened.column_names)
        for label in label_columns(self.labels, self.columns):
            check_column(f"data.labels.{label.name}", label.column, opened.column_names)
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

    def repositories(self) -> Sequence[str]:
        return [self.path] if self.is_on_hub else []

    def local_reads(self) -> dict[str, Any]:
        """The keys that may make `load` read anything but a data set of the Hub by its id, with their values."""
        plain = ("name", "revision")  # of a configuration, and of a branch or commit
        options = {key: value for key, value in self.options.items() if key not in plain or not isinstance(value, str)}
        path = {} if self.is_on_hub else {"data.path": self.path}
        return path | {f"data.options.{key}": value for key, value in options.items()}


def _said(label: Label) -> str:
    """What a label is, in words."""
    return f"{len(label.names)} classes" if label.kind == "class" else label.kind


@contextmanager
def _prefixed(text: str) -> Iterator[None]:
    """An error in here begins with this text."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{text}{error}") from error
