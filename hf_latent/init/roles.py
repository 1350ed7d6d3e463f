"""What a column is for, by its type, its values and its name, in this order."""

import re
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ..data.cells import is_missing
from ..data.columns import MAX_CLASSES
from ..data.opening import NAMES
from ..kinds import KINDS
from ..kinds.base import Suggestion
from ..kinds.stored import dtype, inner
from .look import SPLITS, Column

LABELS = ("label", "labels", "cls", "class", "category", "fine_label", "coarse_label", "target")
CLASS_WORDS = ("class", "label", "category", "cls", "type", "group", "target")
WORDS = 3  # of a text, at most so many are the name of a class

WORDS_OF = {"string": "texts", "int": "whole numbers", "float": "numbers", "bool": "truth values", "binary": "bytes"}

Use = Literal["modality", "cells", "label", "id", "number", "none"]


@dataclass(frozen=True)
class Role:
    """What a column is for.

    Attributes:
        column: The column.
        use: A modality, cells of a table, a label, an id, a number that may be a cell, or nothing.
        why: What the column holds, in words.
        kind, suggestion: Of a modality, and of cells.
    """

    column: Column
    use: Use
    why: str
    kind: str = ""
    suggestion: Suggestion | None = None


def role_of(column: Column) -> Role:
    """What a column is for."""
    import datasets

    name, feature = column.name, column.feature
    if name.startswith("__"):
        return Role(column, "none", "")  # which the format added
    several = isinstance(inner(feature), datasets.ClassLabel)
    if several or isinstance(feature, datasets.ClassLabel):
        names = (inner(feature) if several else feature).names
        return Role(column, "label", f"{'lists of ' if several else ''}{len(names)} named classes")
    if (found := as_modality(column, last=False)) is not None:
        return found
    if dtype(feature) == "string" and name.lower() in SPLITS and _are_splits(column):
        why = "it names splits, and the data has splits of its own, or is not read"
        return Role(column, "none", why)
    if dtype(feature) == "string":
        return _of_strings(column)
    if dtype(feature) in ("int", "bool", "float"):
        return _of_numbers(column)
    if dtype(inner(feature)) == "string" and _are_tags(column):
        return Role(column, "label", "lists of few different words")
    return as_modality(column) or Role(column, "none", f"holds {said(feature)}, which nothing here reads")


def as_modality(column: Column, kind: str | None = None, last: bool = True) -> Role | None:
    """A column as a modality; None where no kind reads it.

    Args:
        column: The column.
        kind: Ask this kind alone.
        last: Ask the kinds, too, that take what no other does.
    """
    values = [value for value in column.values if not is_missing(value)]
    for name, known in sorted(KINDS.items(), key=lambda item: item[1].ASKED_LAST):
        if kind not in (None, name) or (known.ASKED_LAST and not last):
            continue
        if (found := known.suggest(column.feature, values)) is not None:
            use: Use = "cells" if known.joins(found.encoder) else "modality"
            return Role(column, use, found.why, name, found)
    return None


def _of_strings(column: Column) -> Role:
    values, distinct = there(column), counted(column)
    files = [kind for kind, own in KINDS.items() if any(_ends(value, own.SUFFIXES) for value in values)]
    count = sum(any(_ends(value, KINDS[kind].SUFFIXES) for kind in files) for value in values)
    if 2 * count > len(values):
        others = "" if count == len(values) else f", and {len(values) - count:,} other texts"
        return Role(column, "none", f"names of files of {' and of '.join(files)} in one column{others}")
    long = sum(len(value.split()) > WORDS for value in values) * 2 > len(values)
    text = as_modality(column)
    by_name = text is not None and is_named(column.name, KINDS[text.kind].NAMES)
    if text is not None and (by_name or not (values or is_id(column.name) or column.name.lower() in LABELS)):
        return text
    if not values:
        called = "id" if is_id(column.name) else "label"
        return Role(column, "id" if is_id(column.name) else "label", f"{called} by its name")
    if is_id(column.name):
        return Role(column, "id", "ids by its name")
    if distinct == 1:
        return Role(column, "none", "one value in all rows")
    few = distinct <= min(MAX_CLASSES, len(values) // 2) and not long
    if few or column.name.lower() in LABELS:
        return Role(column, "label", f"{distinct:,} different words in {len(values):,} rows")
    if not any(" " in value.strip() for value in values):
        return Role(column, "id", "another word in each row" if distinct == len(values) else "single words")
    return text or Role(column, "none", "texts")


def _of_numbers(column: Column) -> Role:
    values, distinct, held = there(column), counted(column), dtype(column.feature)
    if is_id(column.name):
        return Role(column, "id", "ids by its name")
    if values and distinct == 1:
        return Role(column, "none", "one value in all rows")
    if not values:
        labelled = column.name.lower() in LABELS and held != "float"
        return Role(column, "label" if labelled else "number", "a label by its name" if labelled else "numbers")
    if held == "bool" or (held == "int" and distinct <= min(MAX_CLASSES, len(values) // 2)):
        what = "truth values" if held == "bool" else f"{distinct:,} different whole numbers in {len(values):,} rows"
        return Role(column, "label", what)
    return Role(column, "number", "numbers")


def _are_tags(column: Column) -> bool:
    """Whether lists of strings are labels: few different ones, of few words."""
    words = [word for value in column.values for word in value or () if isinstance(word, str)]
    few = 0 < len(set(words)) <= min(MAX_CLASSES, len(words) // 2)
    short = sum(len(word.split()) > WORDS for word in words) * 2 <= len(words)
    return few and short and not is_named(column.name, KINDS["text"].NAMES)


def _are_splits(column: Column) -> bool:
    known = {name for names in NAMES.values() for name in names}
    return all(str(value).lower().startswith(("test", *known)) for value in there(column))


def _ends(value: Any, suffixes: Sequence[str]) -> bool:
    return bool(suffixes) and isinstance(value, str) and value.lower().endswith(tuple(suffixes))


def is_id(name: str) -> bool:
    """Whether a column is called as an id of rows, and not of classes."""
    found = re.fullmatch(r"(?:(.*?)[_\- ]?)(?:ids?|uid|uuid|key|index|idx)", name.lower())
    if found is None or found[1] in CLASS_WORDS:
        return False
    return found[1] == "" or re.search(r"[_\- ](ids?|key|index|idx)$|Id$|ID$", name) is not None


def stem(name: str) -> str:
    """A name in small letters, without a number at its end."""
    return re.sub(r"[\W_]*\d+$", "", name.lower())


def is_named(name: str, names: Sequence[str]) -> bool:
    return stem(name) in names


def there(column: Column) -> list[Any]:
    """The values that are not missing."""
    return [value for value in column.values if not is_missing(value)]


def counted(column: Column, key: Callable[[object], Hashable] = repr) -> int:
    """How many different values there are."""
    return len({key(value) for value in there(column)})


def said(feature: object) -> str:
    """What a column holds, in few words."""
    if (plain := WORDS_OF.get(dtype(feature))) is not None:
        return plain
    held = " ".join(str(feature).split())
    return held if len(held) < 60 else f"{held[:57]}..."
