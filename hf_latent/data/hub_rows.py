"""The splits of a data set of the Hub or of the disk, as rows that a model reads."""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ..errors import UserError, suggest
from ..kinds import kind_of
from .cells import is_missing, is_string
from .columns import check_column, label_columns
from .files import Format, folders_of, formats_of
from .loaded import Label, Missing
from .opening import Opener, bases, choose_splits
from .rows import ModalityRows
from .source import Reader
from .stream import ModalityStream
from .target import target_column
from .tokenizers import WORDS, load_tokenizer

if TYPE_CHECKING:
    from .hub_data import HubData

OR = "|"
"""Between names of columns, of which the first is taken that there is."""


@dataclass(frozen=True)
class SplitReader:
    """Reads splits.

    Attributes:
        source: The data.
        opener: Of its splits.
        shapes: Of columns, what can be read, see `data.rows.RowReader`.
        images: How many images a model reads of a row.
        captions: The columns that become one of lists, by its name.
    """

    source: "HubData"
    opener: Opener
    shapes: Mapping[str, Format]
    images: int = 1
    captions: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @classmethod
    def for_model(cls, source: "HubData", reader: Reader) -> "SplitReader":
        """What reads the splits for a model.

        Raises:
            UserError: If there is no such data set, or the model reads another number of images of a row.
        """
        opener = source.opener()
        source = _with_found_columns(source, opener)
        captions = {
            source.row_columns[name]: columns
            for name, columns in source.columns.items()
            if not isinstance(columns, str) and len(columns) > 1 and _is_listed(reader.encoders.get(name, {}))
        }
        if captions:
            names = {name: key for name, key in source.row_columns.items() if key in captions}
            source = replace(source, columns={**source.columns, **names})
        _check_images(source, reader)
        folders = [] if source.is_on_hub else folders_of(source.path, source.options)
        read = {name: spec for name, spec in reader.encoders.items() if name in source.columns}
        shapes = formats_of(read, source.columns, source.row_columns, folders)
        return cls(source, opener, shapes, reader.images, captions)

    def rows(self, role: str, split: str, progress: bool = False) -> ModalityRows:
        """The rows of one split.

        Args:
            role: What it is used as, of `train`, `validation` and `test`.
            split: As `datasets` writes it.
            progress: Show how far the check of the rows is.

        Raises:
            UserError: If they cannot be read; it names the row.
        """
        source, images = self.source, self.images
        opened, columns = self.dataset(role, split), list(source.row_columns.values())
        reading: dict[str, Any] = {"from_hub": source.is_on_hub, "shapes": self.shapes, "images": images}
        missing = source.on_missing != "error"
        rows = ModalityRows(opened, columns, source.ids, joined=source.joined, missing=missing, **reading)
        single = source.columns.get("image")
        if images > 1 and isinstance(single, str) and single in rows.reader.images:
            raise UserError(
                f"data.columns.image={single!r}: this model reads {images} images of a row: write a column for each, "
                "such as [left, right], or one of lists of images"
            )
        with prefixed(f"the split {split!r}: "):
            if not len(rows):
                raise UserError(f"{source.key_of(role)} has no rows")
            if source.on_missing == "drop":
                rows = _without_missing(rows)
            if source.on_bad_row == "skip":
                return rows.without_bad_rows(progress)
            rows.check()
        return rows

    def stream(self, split: str) -> ModalityStream:
        """The training rows as they come.

        Raises:
            UserError: If the split cannot be opened, or is a part of one.
        """
        source = self.source
        if not self.opener.is_saved and set(split) & set("[+"):
            raise UserError(f"{source.key_of('train')}={split!r}: a stream reads a whole split; write its name alone")
        opened = self.dataset("train", split, streaming=True)
        skip = source.on_bad_row == "skip"
        columns = list(source.row_columns.values())
        options = (source.shuffle_buffer, skip, source.is_on_hub, self.shapes, source.on_missing, source.joined)
        return ModalityStream(opened, columns, source.ids, *options)

    def dataset(self, role: str, split: str, streaming: bool = False) -> Any:
        """A split as `datasets` has it; a UserError where it lacks a column that is named."""
        source = self.source
        opened = self.opener.open(split, streaming)
        for modality, columns in source.columns.items():
            for column in self.captions.get(columns, [columns]) if isinstance(columns, str) else columns:
                check_column(f"data.columns.{modality}", column, opened.column_names)
        if source.ids is not None:
            check_column("data.ids", source.ids, opened.column_names)
        for label in label_columns(source.labels, source.columns):
            check_column(f"data.labels.{label.name}", label.column, opened.column_names)
        if source.text_lines or self.captions:
            opened = _with_captions(opened, source, self.captions, streaming)
        return opened

    def tokenizer(self, name: str, value: Any, rows: ModalityRows | ModalityStream, answers: Label | None) -> Any:
        """The tokenizer of a modality.

        Args:
            name: Of the modality.
            value: What `data.tokenizers` says of it.
            rows: Of training.
            answers: Those of a head, where it has some.
        """
        source = self.source
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
        target = target_column(source.target)
        for column in [source.row_columns[name]] if isinstance(value, str) else value:
            if answers is not None and target is not None and column == target.column:
                sentences.append(answers.names)
            elif column in rows.text_columns:
                sentences.append(rows.texts(column))
            else:
                raise UserError(
                    f"data.tokenizers.{name}: {column!r} is no column of text; {suggest(column, rows.text_columns)}"
                )
        return load_tokenizer(WORDS, itertools.chain.from_iterable(sentences))


def _without_missing(rows: ModalityRows) -> ModalityRows:
    """The rows that have all modalities; says how many have not."""
    whole = rows.complete()
    if not len(whole):
        raise UserError("data.on_missing: drop: no row has all of its columns: write data.on_missing: use")
    if len(whole) < len(rows):
        print(f"Dropped {len(rows) - len(whole):,} of {len(rows):,} rows, which lack a modality: {lacking(rows)}")
    return whole


def missing_in(rows: Any, columns: Mapping[str, str], used: bool) -> Missing:
    """How many rows lack what.

    Args:
        rows: To train on.
        columns: The key of each modality in a row.
        used: Whether rows are used with what they have.
    """
    present = rows.present if used else {}
    without = {name: int((~present[key]).sum()) for name, key in columns.items()} if used else None
    return Missing(len(rows), without, rows.dropped)


def lacking(rows: ModalityRows) -> str:
    """How many rows lack a value of each column, of those that any row lacks."""
    counts = {name: int((~there).sum()) for name, there in rows.present.items()}
    return ", ".join(f"{name} in {count:,} of {len(rows):,} rows" for name, count in counts.items() if count)


@contextmanager
def prefixed(text: str) -> Iterator[None]:
    """An error in here begins with this text."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{text}{error}") from error


def _check_images(source: "HubData", reader: Reader) -> None:
    """Refuse another number of columns of images than the model reads."""
    for name, columns in source.columns.items():
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


def _with_found_columns(source: "HubData", opener: Opener) -> "HubData":
    """The data with one column in place of each `a|b`, the first that there is."""
    sections: dict[str, Any] = {
        name: getattr(source, name) for name in ("columns", "labels", "target", "regions") if getattr(source, name)
    }
    if not any(OR in text for section in sections.values() for text in _texts(section)):
        return source
    known = opener.known()
    splits = choose_splits(source.written_splits, known).values()
    split = next((split for split in splits if not known or bases(split) <= {"all", *known}), "train")
    there = opener.open(split, source.streaming).column_names
    return replace(source, **{name: _found(section, there) for name, section in sections.items()})


def _texts(section: Any) -> Iterator[str]:
    if isinstance(section, str):
        yield section
    elif isinstance(section, Mapping | list):
        for part in section.values() if isinstance(section, Mapping) else section:
            yield from _texts(part)


def _found(section: Any, there: Sequence[str]) -> Any:
    """A section with the first column that there is in place of each `a|b`; other texts stay."""
    if isinstance(section, Mapping):
        return {key: _found(part, there) for key, part in section.items()}
    if isinstance(section, list):
        return [_found(part, there) for part in section]
    if not isinstance(section, str) or section in there:
        return section
    return next((part for part in section.split(OR) if part in there), section)


def _is_listed(encoder: Mapping[str, Any]) -> bool:
    kind = kind_of(encoder)
    return kind is not None and kind.LISTED


def _with_captions(opened: Any, source: "HubData", captions: Mapping[str, Sequence[str]], streaming: bool) -> Any:
    """A split whose texts are lists: of the texts of several columns, or of the lines of a text."""
    if streaming:
        key = "text_lines" if source.text_lines else "columns"
        raise UserError(f"data.{key}: the captions of a stream are not known: write data.streaming: false")
    for name, columns in captions.items():
        for column in columns:
            if not is_string(opened.features[column]):
                raise UserError(f"data.columns: {column} is one of several columns of captions, and holds no texts")
        parts = [opened.select_columns(column)[column][:] for column in columns]
        rows = [[text for text in texts if not is_missing(text)] or None for texts in zip(*parts, strict=True)]
        opened = opened.add_column(name, rows)
    for column in source.row_columns.values() if source.text_lines else ():
        if column in opened.column_names and is_string(opened.features[column]):
            texts = opened.select_columns(column)[column][:]
            lines = [None if text is None else [line for line in text.splitlines() if line.strip()] for text in texts]
            opened = opened.remove_columns(column).add_column(column, lines)
    return opened
