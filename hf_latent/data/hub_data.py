"""Data sets of the Hub or of the disk, whose columns become modalities and labels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, HFValidationError
from huggingface_hub.utils import validate_repo_id

from ..errors import UserError, blamed_on, suggest
from .columns import label_columns, read_labels, split_of
from .description import Description, on_the_hub
from .files import folders_of
from .hub_rows import SplitReader, lacking, missing_in, prefixed
from .hub_sample import hub_sample
from .loaded import EvaluationData, Label, LoadedData, Regions, Target
from .opening import NAMES, Opener, check_split, choose_splits
from .region_columns import read_regions, region_columns
from .rows import ModalityRows
from .sample import ROWS, Role, Sample
from .source import Reader, Source, register_source
from .stream import ModalityStream
from .target import TARGET, TargetColumn, read_target, target_column

HELD = ("validation", "test")


@register_source("dataset")
@dataclass(frozen=True)
class HubData(Source):
    """Any data set of the Hub or of the disk, with one column a modality.

    A column of lists of sentences holds several captions of a row: each becomes a row of its own.

    Args:
        path: A folder written by `save_to_disk`, or what `datasets.load_dataset` takes: the name of a data set, a
            folder of parquet files, `imagefolder`, `csv`, `webdataset` (with `data_files` in `options`).
        columns: `{modality: column}`; of `a|b` the first that there is. `{text: [caption_0, caption_1]}` are several
            captions of a row, as a column of lists holds them. Of a model that reads two images with a
            sentence, `{image: [left, right], ...}`, or a column of lists of two images. Of a table without
            `input_dim`, `{table: [column, ...]}`, or a column of records.
        split, test_split: The old names of `splits.train` and `splits.test`.
        splits: The splits `train`, `validation` and `test`, as `datasets` writes them: `{train: "train[:90%]", test:
            "train[90%:]"}`. `train` is by default the split of that name. A name of the other two that is left out is
            looked for in the data set, as `validation`, `val`, `dev` or `valid`, and as `test`, among the splits that
            nothing else names; null switches it off. Of a stream they are looked for in a folder that `save_to_disk`
            wrote alone: of other data sets, reading one split may download all. The validation split is to choose by
            during training, the test split is to report; where there is a validation split alone, it is both.
        split_column: The column that names the split of each row, of data that are stored as one; its values are then
            the splits. Of a data set of the Hub and of a stream they are not looked for: write them in `splits`.
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
        text_lines: A text of several lines holds several captions of its row, one a line.
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
    split_column: str | None = None
    validation_share: float = 0.0
    labels: dict[str, str | dict[str, Any]] = field(default_factory=dict)
    target: Any = None
    regions: dict[str, Any] | None = None
    text_lines: bool = False

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
        if "train" in self.written_splits and self.written_splits["train"] is None:
            raise UserError("data.splits.train=None: write the rows to train on")
        splits_of = SplitReader.for_model(self, reader)
        target = splits_of.source._target(reader)
        splits = self._choose(splits_of.opener, find)
        rows: ModalityRows | ModalityStream
        if self.streaming:
            rows = splits_of.stream(splits["train"])
        else:
            rows = splits_of.rows("train", splits["train"], progress)
        held = {role: splits_of.rows(role, splits[role], progress) for role in HELD if role in splits}
        if self.validation_share and isinstance(rows, ModalityRows):
            with prefixed(f"data.validation_share={self.validation_share}: "):
                rows, held["validation"] = rows.cut(self.validation_share)
        there = {"train": rows, **held} if isinstance(rows, ModalityRows) else dict(held)
        found = self._read(splits_of.source, there, target, reader, ["validation"] if self.validation_share else [])
        if target is not None and reader.labels is not None:
            rows, held = found.rows["train"], {role: found.rows[role] for role in held}
        answers = found.labels.get(TARGET) if found.target is not None else None
        tokenizers = {name: splits_of.tokenizer(name, value, rows, answers) for name, value in self.tokenizers.items()}
        summary = self._summary(rows, held, splits, found.labels)
        evaluation = found.evaluation() if held else None
        examples = self._examples(splits_of.source, rows, splits["train"]) if self.on_missing == "use" else None
        columns = splits_of.source.row_columns
        counted = self.on_missing != "error" and isinstance(rows, ModalityRows)
        missing = missing_in(rows, columns, self.on_missing == "use") if counted else None
        return LoadedData(rows, columns, summary, tokenizers, evaluation, answers, splits, examples, missing)

    def evaluation_for(self, reader: Reader, train: bool = False, progress: bool = False) -> EvaluationData:
        """What to measure a model with that was trained on other data: the test split, or that of validation.

        Args:
            reader: What reads the rows.
            train: Read the training rows, too, to fit probes on.
            progress: Show how far the check of the rows is.

        Raises:
            UserError: As of `load_for`; or if there are no rows to measure on.
        """
        if train and self.written_splits.get("train", "") is None:
            raise UserError("data.splits.train=None: a benchmark fits probes, write the rows to fit them on")
        splits_of = SplitReader.for_model(self, reader)
        target = splits_of.source._target(reader)
        splits = self._choose(splits_of.opener, find=True, train=train)
        role = next((role for role in reversed(HELD) if role in splits), None)
        if role is None:
            raise UserError("data.splits.test is missing: write the rows to measure on")
        roles = [*(["train"] if train else []), role]
        there = {own: splits_of.rows(own, splits[own], progress) for own in roles}
        return self._read(splits_of.source, there, target, reader, []).evaluation()

    def _read(
        self,
        source: "HubData",
        rows: dict[str, ModalityRows],
        target: TargetColumn | None,
        reader: Reader,
        cut: list[str],
    ) -> "_Read":
        """What the columns of some splits tell of their rows.

        Args:
            source: These data, with the columns that were found.
            rows: Of each split.
            target, reader, cut: As of [`read_target`].
        """
        columns, found = label_columns(source.labels, source.columns), None
        if target is not None and reader.labels is not None:
            target = replace(target, problem=reader.problem)
            kinds = {own.name: own.kind for own in columns}
            found = read_target(target, reader.labels, rows, cut, kinds, self.on_bad_row == "skip")
            rows = found.splits
        labels, values = read_labels(columns, rows, cut) if rows else ({}, {})
        if found is not None:
            labels = labels | found.labels
            values = {name: own | found.values[name] for name, own in values.items()}
        return _Read(source, rows, labels, values, None if found is None else found.target)

    def _examples(self, source: "HubData", rows: ModalityRows | ModalityStream, split: str) -> dict[str, Any]:
        """A value of each modality."""
        with prefixed(f"data.on_missing: use: the split {split!r}: "):
            values = rows.examples()
        return {name: values[column] for name, column in source.row_columns.items()}

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
        return hub_sample(SplitReader.for_model(self, reader or Reader()), rows, role)

    def opener(self) -> Opener:
        """What opens the splits."""
        if "streaming" in self.options:
            raise UserError("data.options.streaming: write data.streaming: true")
        return Opener(self.path, self.options, self.is_on_hub, self.split_column)

    def known_splits(self) -> list[str]:
        """The names of the splits, as far as they are known before the data is read.

        Raises:
            UserError: If there is no such data set.
        """
        return self.opener().known()

    def columns_of(self, split: str) -> list[str]:
        """The columns of a split, such as `train[:90%]`.

        Raises:
            UserError: If it cannot be opened.
        """
        check_split("--split", split, self.known_splits())
        opener = self.opener()
        return opener.open(split).column_names

    def rows_of(self, split: str, reader: Reader, progress: bool = False) -> ModalityRows:
        """The rows of one split, with no more than what the columns of the modalities hold.

        Raises:
            UserError: If they cannot be read; it names the row.
        """
        return SplitReader.for_model(self, reader).rows("train", split, progress)

    def _choose(self, opener: Opener, find: bool, train: bool = True) -> dict[str, str]:
        """The splits to use, by `train`, `validation` and `test`; without `train` where that is not read."""
        written, share = self.written_splits, self.validation_share
        if not 0 <= share < 1:
            raise UserError(f"data.validation_share={share}: write a number above 0 and below 1, or 0 for none")
        if share and self.streaming:
            raise UserError(
                f"data.validation_share={share}: a stream cannot be cut; write data.splits.validation, or leave it out"
            )
        known = [] if self.streaming and not opener.is_saved else opener.known()
        splits = choose_splits(written, known if find else ())
        if not train:
            del splits["train"]
        for role, split in splits.items():
            check_split(self.key_of(role), split, known)
        if share and "validation" in splits:
            raise UserError(
                f"data.validation_share={share}: there is a validation split, {splits['validation']!r}: leave the "
                "share out, or write data.splits.validation: null"
            )
        return splits

    def key_of(self, role: str) -> str:
        """What the recipe calls a split."""
        old = {"train": ("data.split", self.split), "test": ("data.test_split", self.test_split)}
        key, value = old.get(role, ("", None))
        return f"data.splits.{role}" if value is None else key

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
            if isinstance(part, ModalityRows) and (gone := lacking(part)):
                parts.append(f"missing in {role}: {gone}")
        if held and "test" not in held:
            parts.append("no test split: the validation rows are reported, too")
        if self.labels and not held:
            parts.append("no split to measure on: the labels are not used")
        elif labels:
            parts.append(f"labels: {', '.join(f'{name} ({_said(label)})' for name, label in labels.items())}")
        return f"{Path(self.path).name}: {'; '.join(parts)}"

    @property
    def is_on_hub(self) -> bool:
        """Whether `path` names a data set of the Hub: it is an id, of no folder here and no format of `datasets`."""
        from datasets.packaged_modules import _PACKAGED_DATASETS_MODULES

        try:
            validate_repo_id(self.path)
        except HFValidationError:
            return False
        return self.path not in _PACKAGED_DATASETS_MODULES and not Path(self.path).exists()

    def text_beside(self, name: str) -> str | None:
        """The text of a file of the data set, or of the folder of its files; None where there is none.

        Raises:
            UserError: If it cannot be read.
        """
        with blamed_on(f"data.path={self.path!r}: {name}"):
            if self.is_on_hub:
                revision = self.options.get("revision")
                try:
                    found = hf_hub_download(self.path, name, repo_type="dataset", revision=revision)
                except EntryNotFoundError:
                    return None
                return Path(found).read_text(encoding="utf-8")
            places = [Path(folder) / name for folder in folders_of(self.path, self.options)]
            return next((place.read_text(encoding="utf-8") for place in places if place.is_file()), None)

    def repositories(self) -> Sequence[str]:
        return [self.path] if self.is_on_hub else []

    def local_reads(self) -> dict[str, Any]:
        """The keys that may make `load` read anything but a data set of the Hub by its id, with their values."""
        plain = ("name", "revision")  # of a configuration, and of a branch or commit
        options = {key: value for key, value in self.options.items() if key not in plain or not isinstance(value, str)}
        path = {} if self.is_on_hub else {"data.path": self.path}
        names = self.target.get("names") if isinstance(self.target, Mapping) else None
        path |= {"data.target.names": names} if isinstance(names, str) else {}
        return path | {f"data.options.{key}": value for key, value in options.items()}


def _said(label: Label) -> str:
    """What a label is, in words."""
    return f"{len(label.names)} classes" if label.kind == "class" else label.kind


@dataclass(frozen=True)
class _Read:
    """What the columns of some splits tell of their rows."""

    source: HubData
    rows: Mapping[str, ModalityRows]
    labels: dict[str, Label]
    values: Mapping[str, Mapping[str, np.ndarray]]
    target: Target | None

    def evaluation(self) -> EvaluationData:
        """To measure with."""
        columns = self.source.row_columns
        splits = {name: split_of(own, columns, self.values[name]) for name, own in self.rows.items()}
        test = "test" if "test" in splits else "validation"
        return EvaluationData(
            test=splits[test],
            train=splits.get("train"),
            validation=splits.get("validation"),
            columns=columns,
            labels=self.labels,
            target=self.target,
            regions=self._regions(self.rows[test]),
            beside=self.source.text_beside,
        )

    def _regions(self, rows: ModalityRows) -> Regions | None:
        """The phrases with boxes of the rows to measure on, where columns hold them."""
        columns = region_columns(self.source.regions)
        if columns is None:
            return None
        if not isinstance(self.source.columns.get("image"), str):
            raise UserError("data.regions: boxes lie in a picture: name its column in data.columns.image")
        return read_regions(columns, rows, self.source.row_columns["image"])
