"""What the columns of a data set tell of its rows beside the modalities: labels, and which rows hold the same item."""

import itertools
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, get_args

import numpy as np

from ..errors import UserError, suggest
from .cells import is_missing, is_string
from .loaded import Label, LabelKind, Split
from .rows import ModalityRows

MAX_CLASSES = 1000
"""A column with more different whole numbers holds numbers, and not classes, unless it is said."""

WRITTEN = tuple(kind for kind in get_args(LabelKind) if kind != "answers")  # of which data.target is
# What a column can be, by what it holds; the first is taken where nothing is said.
KINDS: dict[str, tuple[LabelKind, ...]] = {
    "named classes": ("class",),
    "strings": ("class", "text"),
    "booleans": ("class", "number"),
    "whole numbers": ("class", "number"),
    "floats": ("number",),
    "lists": ("multilabel",),
}


@dataclass(frozen=True)
class LabelColumn:
    """A label as a recipe writes it in `data.labels`.

    Args:
        name: Of the label.
        column: Of the data set.
        kind: `class`, `multilabel`, `number` or `text`; by default what the column holds, see [`read_labels`].
        of: The modalities that tell it, where that is known.
        title: What it is, in words.
        names: Of the classes, in their order. Of a column of strings, or of lists of them, the values to tell apart:
            others are missing. Of a `ClassLabel`, some of its names, or other names for all of them; of whole numbers,
            the names of 0, 1, 2, ...; of booleans, of false and of true.
    """

    name: str
    column: str
    kind: LabelKind | None = None
    of: tuple[str, ...] = ()
    title: str = ""
    names: tuple[str, ...] = ()

    @property
    def where(self) -> str:
        """Its key in a recipe, for errors."""
        return f"data.labels.{self.name}"

    @property
    def remedy(self) -> str:
        """What to do about one that tells nothing."""
        return "leave the label out"

    @property
    def is_of_classes(self) -> bool:
        """Whether nothing but classes will do, so that no other kind can be written."""
        return False

    def misfit(self, held: str) -> str:
        """What is wrong with a column that holds something of another kind, a key of `KINDS`."""
        if self.is_of_classes:
            return (
                f"{self.where}: the column {self.column!r} holds {held}: classes are strings, booleans, whole numbers "
                "or a ClassLabel, one in a row"
            )
        return (
            f"{self.where}.kind={self.kind!r}: the column {self.column!r} holds {held}: write kind: "
            f"{' or '.join(KINDS[held])}, or change the column"
        )


def label_columns(written: Mapping[str, Any], modalities: Collection[str]) -> list[LabelColumn]:
    """The section `data.labels`, checked: `{name: column}`, or `{name: {column: ..., kind: ..., of: [...]}}`.

    Args:
        written: The section.
        modalities: Those of the data.

    Raises:
        UserError: If a name cannot be part of the name of a measurement, a key or a kind does not exist, a value is of
            another type, or `of` names no modality.
    """
    return [_label_column(name, value, modalities) for name, value in written.items()]


def _label_column(name: str, value: Any, modalities: Collection[str]) -> LabelColumn:
    where = f"data.labels.{name}"
    if not str(name).isidentifier():
        raise UserError(f"{where}: names of measurements are made of this name: write letters, digits and _ alone")
    options = {"column": value} if isinstance(value, str) else value
    if not isinstance(options, Mapping):
        raise UserError(f"{where}={value!r}: write a column, or {{column: ..., kind: ...}}")
    known = {spec.name for spec in fields(LabelColumn)} - {"name"}
    for key, option in options.items():
        if key not in known:
            raise UserError(f"unknown key {where}.{key}: {suggest(key, known)}")
        if key in ("column", "title") and not isinstance(option, str):
            raise UserError(f"{where}.{key}={option!r}: expected str")
        if key in ("of", "names") and not is_list_of_words(option):
            raise UserError(f"{where}.{key}={option!r}: expected a list of str")
    if "column" not in options:
        raise UserError(f"{where}.column is missing: write the column that holds it")
    kind: Any = options.get("kind")
    if kind is not None and kind not in WRITTEN:
        raise UserError(f"{where}.kind={kind!r}: {suggest(kind, WRITTEN)}")
    for modality in options.get("of", ()):
        if modality not in modalities:
            raise UserError(f"{where}.of: no such modality {modality!r}; {suggest(modality, modalities)}")
    names = tuple(options.get("names", ()))
    if len(set(names)) < len(names):
        raise UserError(f"{where}.names: {next(n for n in names if names.count(n) > 1)!r} is there twice")
    column, title = str(options["column"]), str(options.get("title", ""))
    return LabelColumn(name, column, kind, tuple(options.get("of", ())), title, names)


def is_list_of_words(value: Any) -> bool:
    """Whether a value of a recipe is a list of strings."""
    return isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)


@dataclass(frozen=True)
class _Values:
    """A column of one split: a value, a list of values, or None for each row of the data set, and the place among
    these of each row that is read."""

    rows: list[Any]
    places: np.ndarray


def read_labels(
    columns: Sequence[LabelColumn], splits: Mapping[str, ModalityRows], cut: Collection[str] = ()
) -> tuple[dict[str, Label], dict[str, dict[str, np.ndarray]]]:
    """What columns tell of the rows of all splits, as [`Split`] has it.

    What a column is follows from what it holds, where `kind` does not say it:

    - a `ClassLabel` is a class, with its names in their order, and -1 is missing;
    - strings are classes, whose names are the different values of all splits, sorted; with `kind: text`, texts;
    - booleans are the classes false and true; with `kind: number`, 0 and 1;
    - whole numbers are classes, sorted, where `names` are written, or where there are at most 1,000 different ones and
      at most half as many as rows that have one; else they are numbers;
    - floats are numbers, and never classes;
    - lists of strings, of whole numbers or of a `ClassLabel` are multilabels, whose names are found in the same way.

    Args:
        columns: What to read.
        splits: The rows of `train`, `validation` and `test`, as far as they are there.
        cut: Splits that were cut off the training rows: a class of theirs that no other training row has is missing,
            and the rows are counted in a line that is printed. In other splits it is an error.

    Returns:
        The labels, and for each split the values of its rows by label.

    Raises:
        UserError: If a column is missing, is not of its kind, holds one value in all training rows, in all test rows
            or in all rows, another class in each row, or a class that rows to measure on have and no training row has.
            Where no training row has a value, only rows to measure on are looked at.
    """
    labels: dict[str, Label] = {}
    found: dict[str, dict[str, np.ndarray]] = {name: {} for name in splits}
    for column in columns:
        labels[column.name], arrays = read_label(column, splits, cut)
        for name, array in arrays.items():
            found[name][column.name] = array
    return labels, found


def read_label(
    column: LabelColumn, splits: Mapping[str, ModalityRows], cut: Collection[str]
) -> tuple[Label, dict[str, np.ndarray]]:
    """As [`read_labels`] of one column."""
    for rows in splits.values():
        check_column(column.where, column.column, rows.dataset.column_names)
    held, feature = _held_by_all(column, {name: rows.dataset.features[column.column] for name, rows in splits.items()})
    values: dict[str, _Values] = {}
    for name, rows in splits.items():
        found, places = rows.values(column.column)
        values[name] = _Values([_clean(value, held) for value in found], places)
    kind = _kind(column, held, values)
    names: tuple[str, ...] = ()
    if kind in ("class", "multilabel"):
        known, names = _classes(column, held, feature, values)
        numbers = {value: number for number, value in enumerate(known)}
        values = {name: _Values([_encoded(v, numbers) for v in own.rows], own.places) for name, own in values.items()}
    elif column.names:
        raise UserError(f"{column.where}.names: a {kind} has no classes: leave them out")
    _check_varied(column, kind, held, values)
    if kind in ("class", "multilabel"):
        for name in [name for name in values if name != "train"]:
            values[name] = _without_unseen(column, names, values, name, name in cut)
    arrays = {name: _array(own, kind, len(names)) for name, own in values.items()}
    return Label(kind, names, column.of, column.title), arrays


def check_column(where: str, column: str, known: Collection[str]) -> None:
    """A UserError where a column does not exist."""
    if column not in known:
        raise UserError(f"{where}={column!r}: {suggest(column, known)}")


def _held_by_all(column: LabelColumn, features: Mapping[str, Any]) -> tuple[str, Any]:
    """What a column holds in all splits, and its feature; a split where it holds nothing but None has no say."""
    where = f"{column.where}: the column {column.column!r}"
    told = {name: feature for name, feature in features.items() if getattr(feature, "dtype", None) != "null"}
    if not told:
        raise UserError(f"{where} holds no value in any row: {column.remedy}")
    (first, feature), *others = told.items()
    held = _held(column, feature)
    for name, other in others:
        if _held(column, other) != held or names_of(other) != names_of(feature):
            raise UserError(f"{where} is {feature} in the {first} split and {other} in the {name} split: make it one")
    return held, feature


def _held(column: LabelColumn, feature: Any) -> str:
    """What a column holds, a key of `KINDS`."""
    import datasets

    inner = _inner(feature)
    if isinstance(feature, datasets.ClassLabel):
        return "named classes"
    if isinstance(inner, datasets.ClassLabel) or is_string(inner) or _dtype(inner) == "int":
        return "lists"
    if is_string(feature):
        return "strings"
    held = {"bool": "booleans", "int": "whole numbers", "float": "floats"}.get(_dtype(feature))
    if held is None:
        what = getattr(feature, "dtype", None) or type(feature).__name__
        raise UserError(
            f"{column.where}: the column {column.column!r} holds {what}, which is no label: write one of "
            "classes, numbers, strings, or lists of classes"
        )
    return held


def _inner(feature: Any) -> Any:
    """What a column of lists has lists of; None of another column."""
    return getattr(feature, "feature", feature[0] if isinstance(feature, list) and feature else None)


def inner_type(feature: Any) -> str:
    """The type of what a column has lists of, without its width; "" of another column."""
    inner = _inner(feature)
    return "" if inner is None or not hasattr(inner, "dtype") else _dtype(inner)


def names_of(feature: Any) -> list[str] | None:
    """The names of the classes of a `ClassLabel`, or of a list of them."""
    return getattr(_inner(feature) or feature, "names", None)


def _dtype(feature: Any) -> str:
    """The type of a plain column without its width."""
    import datasets

    found = str(feature.dtype) if isinstance(feature, datasets.Value) else ""
    return found.removeprefix("u").rstrip("0123456789")


def _clean(value: Any, held: str) -> Any:
    """A value of a column, None where it is missing, and a list of those that are there where it is a list. The -1 of
    a `ClassLabel` is none of its classes, and is missing, too, once these are told apart."""
    if held == "lists":
        return [item for item in value or () if not is_missing(item)]
    return None if is_missing(value) else value


def _kind(column: LabelColumn, held: str, values: Mapping[str, _Values]) -> LabelKind:
    allowed = KINDS[held]
    if column.kind is None:
        if held == "whole numbers" and not column.names:
            there = [value for own in values.values() for value in own.rows if value is not None]
            return "class" if len(set(there)) <= min(MAX_CLASSES, len(there) // 2) else "number"
        return allowed[0]
    if column.kind not in allowed:
        raise UserError(column.misfit(held))
    return column.kind


def _classes(
    column: LabelColumn, held: str, feature: Any, values: Mapping[str, _Values]
) -> tuple[list[Any], tuple[str, ...]]:
    """The values of a column that are classes, in their order, and their names."""
    rows = itertools.chain.from_iterable(own.rows for own in values.values())
    there = itertools.chain.from_iterable(row if isinstance(row, list) else [row] for row in rows)
    found = sorted({value for value in there if value is not None})
    where, written = f"{column.where}.names", column.names
    own_names = names_of(feature)
    if own_names is not None:
        if not written:
            return list(range(len(own_names))), tuple(own_names)
        if set(written) <= set(own_names):
            return [own_names.index(name) for name in written], written
        if len(written) == len(own_names):
            return list(range(len(own_names))), written
        wrong = next(name for name in written if name not in own_names)
        raise UserError(f"{where}: {wrong!r} is no class of the column {column.column!r}; {suggest(wrong, own_names)}")
    if held == "booleans":
        if written and len(written) != 2:
            raise UserError(f"{where}: {len(written)} names, write one for false and one for true")
        return [False, True], written or ("false", "true")
    if not written:
        return found, tuple(str(value) for value in found)
    if found and isinstance(found[0], str):
        for name in written:
            if name not in found:
                raise UserError(
                    f"{where}: no row has {name!r} in the column {column.column!r}; {suggest(name, found)}"
                )
        return list(written), written
    for value in found:
        if not 0 <= value < len(written):
            raise UserError(
                f"{where}: the column {column.column!r} holds {value}, and {len(written)} names are of 0 to "
                f"{len(written) - 1}"
            )
    return list(range(len(written))), written


def _encoded(value: Any, numbers: Mapping[Any, int]) -> Any:
    """The number of a class, None where it is none of them; of a list, the set of numbers."""
    if isinstance(value, list):
        return frozenset(numbers[item] for item in value if item in numbers)
    return numbers.get(value)


def _check_varied(column: LabelColumn, kind: LabelKind, held: str, values: Mapping[str, _Values]) -> None:
    """A UserError where a label tells nothing of the rows: they all have the same, or each another class."""
    where = f"{column.where}: the column {column.column!r}"
    there = {name: [value for value in own.rows if value is not None] for name, own in values.items()}
    whole = [value for own in there.values() for value in own]
    if not any(value != frozenset() for value in whole):
        raise UserError(f"{where} holds no value in any row: {column.remedy}")
    if len(set(whole)) == 1:
        raise UserError(f"{where} holds the same in all rows, which tells nothing: {column.remedy}")
    for name in ("train", "test"):
        if len(set(there.get(name, ()))) == 1:
            raise UserError(
                f"{where} holds the same in all {name} rows, which tells nothing: write data.splits that mix the "
                f"classes, or {column.remedy}"
            )
    if kind == "class" and len(set(whole)) == len(whole):
        other = {"strings": ", or kind: text", "whole numbers": ", or kind: number"}.get(held, "")
        other = "" if column.is_of_classes else other
        raise UserError(
            f"{where} holds another class in each of {len(whole)} rows, so that none can be learned from others: "
            f"write another column{other}"
        )


def _without_unseen(
    column: LabelColumn, names: Sequence[str], values: Mapping[str, _Values], split: str, is_cut: bool
) -> _Values:
    """The values of a split to measure on, whose classes training rows have, too; see `cut` of [`read_labels`]."""
    seen = frozenset[int]().union(*map(_as_set, values["train"].rows)) if "train" in values else frozenset()
    own = values[split]
    unseen = Counter(number for value in own.rows for number in _as_set(value) - seen)
    if not seen or not unseen:
        return own
    if is_cut:
        rows = sum(bool(_as_set(value) - seen) for value in own.rows)
        print(
            f"{column.where}: {rows:,} of {len(own.rows):,} {split} rows, cut off by validation_share, "
            f"have a class that no other training row has, such as {names[min(unseen)]!r}; it is not measured"
        )
        kept = [v & seen if isinstance(v, frozenset) else v if v in seen else None for v in own.rows]
        return _Values(kept, own.places)
    number, count = unseen.most_common(1)[0]
    more = f" (and {len(unseen) - 1} more classes)" if len(unseen) > 1 else ""
    raise UserError(
        f"{column.where}: the class {names[number]!r} is in {count:,} {split} rows and in no training row"
        f"{more}: write data.splits that put rows of it into training, or {column.where}.names without it, "
        f"or {column.remedy}"
    )


def _as_set(value: Any) -> frozenset[int]:
    """The numbers of the classes of a row."""
    return value if isinstance(value, frozenset) else frozenset(() if value is None else (value,))


def _array(values: _Values, kind: LabelKind, classes: int) -> np.ndarray:
    """The value of each row that is read."""
    if kind == "multilabel":
        array = np.zeros((len(values.rows), classes), dtype=bool)
        for row, numbers in enumerate(values.rows):
            array[row, sorted(numbers)] = True
    elif kind == "class":
        array = np.array([-1 if value is None else value for value in values.rows], dtype=np.int64)
    elif kind == "number":
        array = np.array([np.nan if value is None else value for value in values.rows], dtype=np.float64)
    else:
        array = np.array(["" if value is None else value for value in values.rows], dtype=np.str_)
    return array[values.places]


def split_of(rows: ModalityRows, columns: Mapping[str, str], labels: Mapping[str, np.ndarray]) -> Split:
    """Rows with what is known of them.

    Texts are the same item where they are equal but for case and spaces, of which most tokenizers make the same
    tokens. Of another modality, rows of one row of the data set hold the same item, as an image with several captions.

    Args:
        rows: The rows.
        columns: The column of each modality.
        labels: The values of the rows, by label.
    """
    texts = set(rows.text_columns)
    items = {
        name: _numbered(" ".join(text.casefold().split()) for text in rows.sentences(column))
        if column in texts
        else rows.numbers
        for name, column in columns.items()
    }
    there = rows.present if rows.reader.missing else {}
    present = {name: there[column] for name, column in columns.items() if column in there}
    return Split(rows, rows.ids, labels, items, {name: own for name, own in present.items() if not own.all()})


def _numbered(values: Iterable[str]) -> np.ndarray:
    """A number for each value, by first appearance."""
    seen: dict[str, int] = {}
    return np.array([seen.setdefault(value, len(seen)) for value in values], dtype=np.int64)
