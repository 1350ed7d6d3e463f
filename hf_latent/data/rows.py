"""Rows of a data set of `datasets`, decoded one by one; a bad one is named."""

import copy
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from torch.utils.data import Dataset
from tqdm.auto import tqdm

from ..errors import UserError
from ..models.images import read_image
from .cells import (
    ANSWER,
    holds_answers,
    holds_images,
    holds_sentences,
    is_missing,
    is_plain,
    is_string,
    lacking,
    misfit,
)
from .files import Files, Format, in_cache

_REMEDY = "repair or remove it, or write data.on_bad_row: skip"
_OR_MISSING = ", or data.on_missing: use or drop"


class RowReader:
    """Decodes the values of rows. Images are decoded here and not by `datasets`, so that a broken one can be named.

    Args:
        features: Of the data set.
        columns: Those to read.
        from_hub: The rows are of a data set of the Hub: they may hold images, and name files of the cache of
            `datasets`, but no other file of this machine.
        shapes: Of columns of numbers, the shapes of a row that can be read; of columns that an encoder reads by the
            decoder of its kind, this.
        joined: Names for several columns, whose values become one list.
        images: How many images a row has, where it has a list of them.
        missing: A row may lack a value, for which None stands, but not all of them.
    """

    def __init__(
        self,
        features: Any,
        columns: Sequence[str],
        from_hub: bool = False,
        shapes: Mapping[str, Format] | None = None,
        joined: Mapping[str, Sequence[str]] | None = None,
        images: int = 1,
        missing: bool = False,
    ) -> None:
        import datasets

        self.from_hub, self.image_count, self.missing = from_hub, images, missing
        self.values = {name: list((joined or {}).get(name, [name])) for name in columns}
        self.joined = set(joined or {})
        self.columns = list(dict.fromkeys(column for parts in self.values.values() for column in parts))
        self.shapes = {column: format for column, format in (shapes or {}).items() if not isinstance(format, Files)}
        self.class_names = {c: features[c].names for c in self.columns if isinstance(features[c], datasets.ClassLabel)}
        self.images = {c for c in self.columns if isinstance(features[c], datasets.Image)}
        self.image_lists = {c for c in self.columns if holds_images(features[c])}
        typed = self.images | self.image_lists
        self.files = {
            name: format
            for name, format in (shapes or {}).items()
            if isinstance(format, Files) and not (format.untyped and typed.issuperset(self.values[name]))
        }
        self.decoded = {column for name in self.files for column in self.values[name]}
        self.lists = [c for c in self.columns if holds_sentences(features[c]) and c not in self.files]

    def undecoded(self, dataset: Any, keep: Sequence[str] = ()) -> Any:
        """The data set with its images as bytes, and the columns that are read alone, with those of `keep`."""
        import datasets

        dataset = dataset.select_columns(list(dict.fromkeys([*self.columns, *keep])))
        for column in self.images:
            dataset = dataset.cast_column(column, datasets.Image(decode=False))
        for column in self.image_lists:
            dataset = dataset.cast_column(column, datasets.List(datasets.Image(decode=False)))
        for column in self.decoded:
            if isinstance(dataset.features[column], datasets.Audio):
                # As records: of Audio(decode=False), too, datasets makes no rows without torchcodec.
                dataset = dataset.cast_column(
                    column, {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}
                )
        return dataset

    def captions(self, row: dict[str, Any]) -> int:
        """How many rows one row of the data set becomes."""
        return max(1, len(row[self.lists[0]] or ())) if self.lists else 1

    def read(self, number: int, row: dict[str, Any], caption: int) -> dict[str, Any]:
        """The values of one row, or of those of its columns that are there; a UserError names a bad one."""
        found = {}
        for name, columns in self.values.items():
            if name in self.files and all(column in row for column in columns):
                found[name] = self._decoded(number, name, columns, [self._named(c, row[c]) for c in columns])
            elif all(column in row for column in columns):
                parts = [self._value(number, column, caption, row[column]) for column in columns]
                whole = parts if all(part is not None for part in parts) else None
                found[name] = whole if name in self.joined else parts[0]
        if len(found) == len(self.values) and all(value is None for value in found.values()):
            raise UserError(f"row {number} has none of the columns {', '.join(self.values)}: {_REMEDY}")
        return found

    def _value(self, number: int, column: str, caption: int, value: Any) -> Any:
        if column in self.lists:
            value = value[caption] if value and caption < len(value) else None
        if self.lacks(column, value):
            if self.missing:
                return None
            raise UserError(f"row {number}, column {column!r} is empty: {_REMEDY}{_OR_MISSING}")
        if column in self.images:
            return self._image(number, column, value)
        if column in self.image_lists:
            if len(value) != self.image_count:
                raise UserError(
                    f"row {number}, column {column!r} holds {len(value)} images, and the model reads "
                    f"{self.image_count} of a row: {_REMEDY}"
                )
            return [self._image(number, column, image) for image in value]
        shapes = self.shapes.get(column, ())
        if (shapes or isinstance(value, float | list)) and (wrong := misfit(value, shapes)):
            raise UserError(f"row {number}, column {column!r} {wrong}: {_REMEDY}")
        return value

    def lacks(self, column: str, value: Any) -> bool:
        """Whether a value of a column, as `datasets` stores it, stands for none: None, or a text of spaces; of what a
        decoder reads also NaN or an empty list."""
        if isinstance(value, Mapping) and (column in self.images or column in self.decoded):
            return all(part is None for part in value.values())
        if column in self.decoded:
            return is_missing(value)
        return value is None or (isinstance(value, str) and is_missing(value))

    def _named(self, column: str, value: Any) -> Any:
        """The name of a class; other values as they are."""
        return self.class_names[column][value] if column in self.class_names and value is not None else value

    def _decoded(self, number: int, name: str, columns: Sequence[str], parts: list[Any]) -> Any:
        if all(self.lacks(column, part) for column, part in zip(columns, parts, strict=True)):  # of a table, cells
            if self.missing:
                return None
            raise UserError(f"row {number}, column {name!r} is empty: {_REMEDY}{_OR_MISSING}")
        try:
            return self.files[name].read(parts if name in self.joined else parts[0], self.from_hub)
        except Exception as error:  # decoders raise what they like
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise UserError(f"row {number}, column {name!r} cannot be read ({reason}): {_REMEDY}") from error

    def _image(self, number: int, column: str, value: dict[str, Any]) -> Any:
        import datasets

        if self.from_hub and value["bytes"] is None and not in_cache(value["path"]):
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
    """A row that knows its number in the data set, and of which data set where there are several, for errors to
    name."""

    number: int | str


class ModalityRows(Dataset):
    """Rows of a `datasets.Dataset`, decoded one by one, with `ids`.

    `dropped` counts the rows that were left out, since they lack a modality.

    Args:
        dataset: A map-style `datasets.Dataset`.
        columns: The columns of the modalities.
        ids: A column whose equal values are equal ids; the row number by default.
        index: `(row, caption)` of each of our rows; by default all, with every caption of a row that has several.
        from_hub, shapes, joined, images, missing: As of [`RowReader`].
    """

    def __init__(
        self,
        dataset: Any,
        columns: Sequence[str],
        ids: str | None = None,
        index: Sequence[tuple[int, int]] | None = None,
        from_hub: bool = False,
        shapes: Mapping[str, Format] | None = None,
        joined: Mapping[str, Sequence[str]] | None = None,
        images: int = 1,
        missing: bool = False,
    ) -> None:
        self.reader = RowReader(dataset.features, columns, from_hub, shapes, joined, images, missing)
        self.dataset = dataset
        self._read = self.reader.undecoded(dataset)
        self.id_column = ids
        self._numbers: list[int] | None = None
        self._labels: dict[int, Any] | None = None
        self.dropped = 0
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

    def _column(self, name: str) -> list[Any]:
        return self.dataset.select_columns(name)[name][:]  # a slice is read at once, and much faster than row by row

    @property
    def ids(self) -> np.ndarray:
        """`(rows,)` int64."""
        return np.array([self._id(row) for row, _ in self.index], dtype=np.int64)

    def _id(self, row: int) -> int:
        return row if self._numbers is None else self._numbers[row]

    def sentences(self, column: str) -> Iterator[str]:
        """The texts of one column, row by row; an empty one of a row that has none."""
        texts = self._column(column)
        listed = column in self.reader.lists
        own = ((texts[row] or [""])[caption] if listed else texts[row] for row, caption in self.index)
        return ("" if text is None else str(text) for text in own)

    @cached_property
    def _lacking(self) -> dict[str, list[Any]]:
        """Of each column, of each row of the data set whether it lacks a value; of lists of captions, of each."""
        return {column: self._lacking_in(column) for column in self.reader.columns}

    def _lacking_in(self, column: str) -> list[Any]:
        if column in self.reader.lists:
            rows = self._column(column)
            return [[self.reader.lacks(column, text) for text in texts or [None]] for texts in rows]
        stored = self.dataset.select_columns(column).with_format("arrow")  # no image is copied out
        decoded = column in self.reader.decoded
        return [lacks for table in stored.iter(1000) for lacks in lacking(table.column(column), decoded)]

    @property
    def present(self) -> dict[str, np.ndarray]:
        """`(rows,)` bool of each key of a row, whether it has a value."""
        found = {}
        for name, columns in self.reader.values.items():
            lacks = [(self._lacking[column], column in self.reader.lists) for column in columns]
            gone = all if name in self.reader.files else any  # of the cells of a table some may be
            found[name] = np.array(
                [
                    not gone(own[row][caption] if listed else own[row] for own, listed in lacks)
                    for row, caption in self.index
                ],
                dtype=bool,
            )
        return found

    def complete(self) -> "ModalityRows":
        """The rows that lack nothing."""
        whole = np.logical_and.reduce(list(self.present.values()))
        part = self.part([row for row, there in zip(self.index, whole, strict=True) if there])
        part.dropped = self.dropped + len(self) - len(part)
        return part

    @property
    def text_columns(self) -> list[str]:
        """The columns of strings, of lists of strings, or of lists of records with the answers of annotators."""
        features = self.dataset.features.items()
        return [name for name, kind in features if is_string(kind) or holds_sentences(kind) or holds_answers(kind)]

    def texts(self, column: str) -> Iterator[str]:
        """Every text of a column, of the rows that are read."""
        values = self._column(column)
        for row in dict.fromkeys(row for row, _ in self.index):
            texts = values[row] if isinstance(values[row], list) else [values[row]]
            texts = [text[ANSWER] if isinstance(text, dict) else text for text in texts]
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
        if self._labels is not None:
            found["labels"] = self._labels[number]
        return found

    def examples(self) -> dict[str, Any]:
        """A value of each key of a row, the first that is there.

        Raises:
            UserError: If no row has one, or it is a bad one.
        """
        found = {}
        for name, there in self.present.items():
            if not there.any():
                raise UserError(f"no row has a value in the column {name!r}: leave its modality out")
            found[name] = self[int(there.argmax())][name]
        return found

    def check(self) -> None:
        """A UserError where a row holds a bad value, or none at all; images and files are not looked at."""
        self._agree()
        if self.reader.missing:
            empty = ~np.logical_or.reduce(list(self.present.values()))
            if empty.any():
                self[int(empty.argmax())]  # which says so
        reader, features = self.reader, self.dataset.features
        files = {c for name, own in reader.files.items() if own.opens for c in reader.values[name]}
        plain = [column for column in reader.columns if is_plain(features[column]) and column not in files]
        if plain:
            for number, row, captions in self._of_columns(plain):
                for caption in captions:
                    self.reader.read(number, row, caption)

    def joined(self, name: str) -> list[str] | None:
        """The columns that one modality is read of, where it is read of several."""
        return self.reader.values[name] if name in self.reader.joined else None

    def read_column(self, name: str) -> Iterator[Any]:
        """The values of one modality, of each row of the data set that is read, without those of the others."""
        for number, row, _ in self._of_columns(self.reader.values[name]):
            yield self.reader.read(number, row, 0)[name]

    def _of_columns(self, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, Any], list[int]]]:
        """Each row of the data set that is read: its number, these columns of it, and the captions that are read."""
        captions: dict[int, list[int]] = {}
        for number, caption in self.index:
            captions.setdefault(number, []).append(caption)
        chosen = self.dataset.select_columns(list(dict.fromkeys(columns)))
        if len(captions) < len(chosen):
            chosen = chosen.select(list(captions))
        return zip(captions, chosen, captions.values(), strict=True)

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
        return self.part(good)

    def part(self, index: Sequence[tuple[int, int]]) -> "ModalityRows":
        """Some of these rows, with the ids that they have here.

        Args:
            index: `(row, caption)` of each, as in `index`.
        """
        part = copy.copy(self)
        part.index = list(index)
        return part

    def with_labels(self, labels: Sequence[Any]) -> "ModalityRows":
        """These rows with what a head should say of them.

        Args:
            labels: `(rows,)`, equal for rows of one row of the data set.
        """
        labelled = copy.copy(self)
        labelled._labels = {row: label for (row, _), label in zip(self.index, labels, strict=True)}
        return labelled

    def cut(self, share: float, seed: int = 0) -> tuple["ModalityRows", "ModalityRows"]:
        """These rows in two parts, both in their order; rows with equal ids are on one side.

        Args:
            share: Of the rows, in the second part; above 0 and below 1. It has no more rows where whole ids allow
                that, and each part has one id at least.
            seed: Of the draw, which is the same in every process.

        Raises:
            UserError: If all rows have one id.
        """
        numbers, places, counts = np.unique(self.ids, return_inverse=True, return_counts=True)
        if len(numbers) < 2:
            raise UserError(f"all of the {len(self)} rows have one id, which cannot be cut in two")
        order = np.random.default_rng(seed).permutation(len(numbers))
        drawn: list[int] = []
        space = round(share * len(self))
        for number in order:
            if counts[number] <= space and len(drawn) < len(numbers) - 1:
                drawn.append(number)
                space -= counts[number]
        second_side = np.isin(places, drawn or [order[counts[order].argmin()]])
        first, second = (
            self.part([row for row, other in zip(self.index, second_side, strict=True) if other == side])
            for side in (False, True)
        )
        return first, second

    def values(self, column: str) -> tuple[list[Any], np.ndarray]:
        """A column as `datasets` stores it, of the rows of the data set that are read.

        Returns:
            The values, one a row of the data set, and `(rows,)` int64, the place among them of each of our rows, which
            are several where a row of the data set has several captions.
        """
        numbers, places = np.unique(self.numbers, return_inverse=True)
        values = self._column(column)
        return [values[number] for number in numbers], places

    @property
    def numbers(self) -> np.ndarray:
        """`(rows,)` int64, the row of the data set that each of our rows is of."""
        return np.array([row for row, _ in self.index], dtype=np.int64)
