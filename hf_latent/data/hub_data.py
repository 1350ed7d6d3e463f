"""Data sets of the Hub or of the disk, whose columns become modalities and labels."""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

from ..errors import UserError, suggest
from ..kinds import kind_of
from .columns import check_column, label_columns, read_labels, split_of
from .description import Description, on_the_hub
from .files import Format, folders_of, formats_of
from .hub_sample import hub_sample
from .loaded import EvaluationData, Label, LoadedData, Regions
from .opening import NAMES, Opener, check_split, choose_splits
from .region_columns import read_regions, region_columns
from .rows import ModalityRows
from .sample import ROWS, Role, Sample
from .source import Reader, Source, register_source
from .stream import ModalityStream
from .target import TARGET, TargetColumn, read_target, target_column
from .tokenizers import WORDS, load_tokenizer


@register_source("dataset")
@dataclass(frozen=True)
class HubData(Source):
    """Any data set of the Hub or of the disk, with one column a modality.

    A column of lists of sentences holds several captions of a row: each becomes a row of its own.

    Args:
        path: A folder written by `save_to_disk`, or what `datasets.load_dataset` takes: the name of a data set, a
            folder of parquet files, `imagefolder`, `csv`, `webdataset` (with `data_files` in `options`).
        columns: `{modality: column}`. Of a model that reads two images with a sentence, `{image: [left, right], ...}`,
            or a column of lists of two images. Of a table without `input_dim`, `{table: [column, ...]}`, or a column
            of records.
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
        target: What a head is trained to say, or the classes that the objective `supcon` contrasts: a column, or
            `{column: ..., names: [...], groups: ...}`; see [`read_target`] and [`TargetColumn`]. Models that read it
            need it, and no other may have it.
        regions: The columns of phrases and of their boxes, `{phrases: ..., boxes: ...}`, for the benchmark
            `grounding`; see [`RegionColumns`].
        ids: A column whose equal values make rows positives of each other, such as the column of the captions. By
            default every row of the data set is its own, and its captions are positives of each other; so is a row
            whose value is missing (None, NaN or empty).
        streaming: Read the rows as they come instead of downloading them first; training then needs `max_steps`. The
            stream starts again at its end. No probes are fit on it.
        shuffle_buffer: Of a stream, how many rows wait to be drawn from; 0 keeps the order.
        on_bad_row: `"error"` stops at a row that cannot be read and names it, before training unless it is an image;
            `"skip"` reads every row once before training, leaves the bad ones out and counts them; of a stream they
            are left out as they come.
        on_missing: What becomes of a row in which a modality is missing: its value is None, or a text of spaces.
            `"error"`: it is a row that cannot be read, for `on_bad_row`. `"drop"`: it is left out, and counted; of a
            stream it is left out as it comes. `"use"`: it is trained on and measured with what it has; each term of
            the objective is of the rows that have all of its modalities. A row that has none cannot be read.
        tokenizers: The tokenizer of each text modality: a checkpoint's name, a folder, or `words` for one made of the
            words of its column; or `{words: [column, ...]}`, for one made of the words of several, such as those of
            questions and of answers. A list of columns is the same.
        options: Further arguments of `datasets.load_dataset`.
    """

    path: str
    columns: dict[str, str | list[str]]
    split: str | None = None
    ids: str | None = None
    test_split: str | None = None
    streaming: bool = False
    shuffle_buffer: int = 1000
    on_bad_row: Literal["error", "skip"] = "error"
    on_missing: Literal["error", "drop", "use"] = "error"
    tokenizers: dict[str, str | list[str] | dict[str, list[str]]] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    splits: dict[str, str | None] = field(default_factory=dict)
    validation_share: float = 0.0
    labels: dict[str, str | dict[str, Any]] = field(default_factory=dict)
    target: Any = None
    regions: dict[str, Any] | None = None

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
        columns, target = label_columns(self.labels, self.columns), self._target(reader)
        self._check_images(reader)
        shapes = self._shapes(reader.encoders)
        opener = self._opener()
        splits = self._choose(opener, find)
        rows: ModalityRows | ModalityStream
        if self.streaming:
            rows = self._stream(opener, splits["train"], shapes)
        else:
            rows = self._rows(opener, "train", splits["train"], shapes, progress, reader.images)
        held: dict[str, ModalityRows] = {
            role: self._rows(opener, role, splits[role], shapes, progress, reader.images)
            for role in ("validation", "test")
            if role in splits
        }
        if self.validation_share and isinstance(rows, ModalityRows):
            with _prefixed(f"data.validation_share={self.validation_share}: "):
                rows, held["validation"] = rows.cut(self.validation_share)
        there = dict(held)
        if isinstance(rows, ModalityRows):
            there = {"train": rows, **held}
        cut, found = ["validation"] if self.validation_share else [], None
        if target is not None and reader.labels is not None:
            target = replace(target, problem=reader.problem)
            kinds = {own.name: own.kind for own in columns}
            found = read_target(target, reader.labels, there, cut, kinds, self.on_bad_row == "skip")
            there = found.splits
            rows, held = there["train"], {role: there[role] for role in held}
        answers = None if found is None else found.labels[TARGET]
        tokenizers = {name: self._tokenizer(name, value, rows, answers) for name, value in self.tokenizers.items()}
        labels, values = read_labels(columns, there, cut) if there else ({}, {})
        if found is not None:
            labels = labels | found.labels
            values = {name: own | found.values[name] for name, own in values.items()}
        evaluation = None
        if held:
            measured = {name: split_of(own, self.row_columns, values[name]) for name, own in there.items()}
            evaluation = EvaluationData(
                test=measured["test" if "test" in held else "validation"],
                train=measured.get("train"),
                validation=measured.get("validation"),
                columns=self.row_columns,
                labels=labels,
                target=None if found is None else found.target,
                regions=self._regions(held["test" if "test" in held else "validation"]),
            )
        summary = self._summary(rows, held, splits, labels)
        examples = self._examples(rows, splits["train"]) if self.on_missing == "use" else None
        return LoadedData(rows, self.row_columns, summary, tokenizers, evaluation, answers, splits, examples)

    def _examples(self, rows: ModalityRows | ModalityStream, split: str) -> dict[str, Any]:
        """A value of each modality."""
        with _prefixed(f"data.on_missing: use: the split {split!r}: "):
            values = rows.examples()
        return {name: values[column] for name, column in self.row_columns.items()}

    @property
    def row_columns(self) -> dict[str, str]:
        """The key of each modality in a row: its column, or of several columns their names together."""
        return {name: part if isinstance(part, str) else " + ".join(part) for name, part in self.columns.items()}

    @property
    def joined(self) -> dict[str, list[str]]:
        """The columns of each key that stands for several."""
        return {self.row_columns[name]: part for name, part in self.columns.items() if not isinstance(part, str)}

    def _target(self, reader: Reader) -> TargetColumn | None:
        """What a head is trained to say.

        Raises:
            UserError: If a head has none, another model has one, or it is a stream.
        """
        target = target_column(self.target)
        if target is None and reader.labels == "contrast":
            raise UserError(
                "data.target is missing: this model contrasts the classes of rows, so write the column that holds them"
            )
        if target is None and reader.labels is not None:
            raise UserError("data.target is missing: this model has a head, so write the column that it should say")
        if target is not None and reader.labels is None and reader.encoders:
            raise UserError("data.target: this model has no head that says it: leave it out, or write it as a label")
        if target is not None and self.streaming:
            raise UserError("data.target: the answers of a stream are not known: write data.streaming: false")
        if target is not None and TARGET in self.labels:
            raise UserError(f"data.labels.{TARGET}: data.target has this name: choose another")
        return target

    def _regions(self, rows: ModalityRows) -> Regions | None:
        """The phrases with boxes of the rows to measure on, where columns hold them."""
        columns = region_columns(self.regions)
        if columns is None:
            return None
        if not isinstance(self.columns.get("image"), str):
            raise UserError("data.regions: boxes lie in a picture: name its column in data.columns.image")
        return read_regions(columns, rows, self.row_columns["image"])

    def _check_images(self, reader: Reader) -> None:
        """Refuse another number of columns of images than the model reads."""
        for name, columns in self.columns.items():
            if isinstance(columns, str):
                continue
            kind = kind_of(reader.encoders.get(name, {}))
            if kind is not None and kind.joins(reader.encoders[name]):
                continue
            if name != "image":
                raise UserError(
                    f"data.columns.{name}={columns}: several columns are for images alone, and for tables without "
                    "input_dim: write one"
                )
            if len(columns) != reader.images:
                reads = "one image" if reader.images == 1 else f"{reader.images} images"
                number = "is 1 column" if len(columns) == 1 else f"are {len(columns)} columns"
                raise UserError(f"data.columns.{name}: there {number}, and this model reads {reads} of a row")

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

    def known_splits(self) -> list[str]:
        """The names of the splits, as far as they are known before the data is read.

        Raises:
            UserError: If there is no such data set.
        """
        return self._opener().known()

    def columns_of(self, split: str) -> list[str]:
        """The columns of a split, such as `train[:90%]`.

        Raises:
            UserError: If it cannot be opened.
        """
        check_split("--split", split, self.known_splits())
        opener = self._opener()
        return opener.open(split).column_names

    def rows_of(self, split: str, reader: Reader, progress: bool = False) -> ModalityRows:
        """The rows of one split, with no more than what the columns of the modalities hold.

        Raises:
            UserError: If they cannot be read; it names the row.
        """
        return self._rows(self._opener(), "train", split, self._shapes(reader.encoders), progress, reader.images)

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

    def _shapes(self, encoders: Mapping[str, Mapping[str, Any]]) -> dict[str, Format]:
        """What the encoder of each column reads, see `data.rows.RowReader`."""
        folders = [] if self.is_on_hub else folders_of(self.path, self.options)
        read = {name: spec for name, spec in encoders.items() if name in self.columns}
        return formats_of(read, self.columns, self.row_columns, folders)

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
        for role, part in {"train": rows, **held}.items() if self.on_missing == "use" else ():
            if isinstance(part, ModalityRows) and (lacking := _lacking(part)):
                parts.append(f"missing in {role}: {lacking}")
        if held and "test" not in held:
            parts.append("no test split: the validation rows are reported, too")
        if self.labels and not held:
            parts.append("no split to measure on: the labels are not used")
        elif labels:
            parts.append(f"labels: {', '.join(f'{name} ({_said(label)})' for name, label in labels.items())}")
        return f"{Path(self.path).name}: {'; '.join(parts)}"

    def _tokenizer(self, name: str, value: Any, rows: ModalityRows | ModalityStream, answers: Label | None) -> Any:
        if isinstance(value, str) and value != WORDS:
            return load_tokenizer(value, [])
        if isinstance(rows, ModalityStream):
            raise UserError(f"data.tokenizers.{name}: the words of a stream are not known: name a checkpoint")
        if isinstance(value, Mapping):
            if list(value) != [WORDS]:
                raise UserError(f"data.tokenizers.{name}={value!r}: write {{words: [column, ...]}}")
            value = value[WORDS]
        if not value:
            raise UserError(f"data.tokenizers.{name}: there is no column: write one or more")
        sentences: list[Iterable[str]] = []
        target = target_column(self.target)
        for column in [self.row_columns[name]] if isinstance(value, str) else value:
            if answers is not None and target is not None and column == target.column:
                sentences.append(answers.names)
            elif column in rows.text_columns:
                sentences.append(rows.texts(column))
            else:
                raise UserError(
                    f"data.tokenizers.{name}: {column!r} is no column of text; {suggest(column, rows.text_columns)}"
                )
        return load_tokenizer(WORDS, itertools.chain.from_iterable(sentences))

    def _rows(
        self,
        opener: Opener,
        role: str,
        split: str,
        shapes: Mapping[str, Format],
        progress: bool,
        images: int = 1,
    ) -> ModalityRows:
        opened, columns = self._open(opener, role, split), list(self.row_columns.values())
        reading: dict[str, Any] = {"from_hub": self.is_on_hub, "shapes": shapes, "images": images}
        missing = self.on_missing != "error"
        rows = ModalityRows(opened, columns, self.ids, joined=self.joined, missing=missing, **reading)
        single = self.columns.get("image")
        if images > 1 and isinstance(single, str) and single in rows.reader.images:
            raise UserError(
                f"data.columns.image={single!r}: this model reads {images} images of a row: write a column for each, "
                "such as [left, right], or one of lists of images"
            )
        with _prefixed(f"the split {split!r}: "):
            if not len(rows):
                raise UserError(f"{self._key(role)} has no rows")
            if self.on_missing == "drop":
                rows = _without_missing(rows)
            if self.on_bad_row == "skip":
                return rows.without_bad_rows(progress)
            rows.check()
        return rows

    def _stream(self, opener: Opener, split: str, shapes: Mapping[str, Format]) -> ModalityStream:
        if not opener.is_saved and set(split) & set("[+"):
            raise UserError(f"{self._key('train')}={split!r}: a stream reads a whole split; write its name alone")
        opened = self._open(opener, "train", split, streaming=True)
        skip = self.on_bad_row == "skip"
        columns = list(self.row_columns.values())
        options = (self.shuffle_buffer, skip, self.is_on_hub, shapes, self.on_missing, self.joined)
        return ModalityStream(opened, columns, self.ids, *options)

    def _open(self, opener: Opener, role: str, split: str, streaming: bool = False) -> Any:
        opened = opener.open(split, streaming)
        for modality, columns in self.columns.items():
            for column in [columns] if isinstance(columns, str) else columns:
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


def _without_missing(rows: ModalityRows) -> ModalityRows:
    """The rows that have all modalities; says how many have not."""
    whole = rows.complete()
    if not len(whole):
        raise UserError("data.on_missing: drop: no row has all of its columns: write data.on_missing: use")
    if len(whole) < len(rows):
        print(f"Dropped {len(rows) - len(whole):,} of {len(rows):,} rows, which lack a modality: {_lacking(rows)}")
    return whole


def _lacking(rows: ModalityRows) -> str:
    """How many rows lack a value of each column, of those that any row lacks."""
    counts = {name: int((~there).sum()) for name, there in rows.present.items()}
    return ", ".join(f"{name} in {count:,} of {len(rows):,} rows" for name, count in counts.items() if count)


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
