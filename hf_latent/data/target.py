"""What a head is trained to say: the answers, classes, labels or numbers that a column of a data set holds."""

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..errors import UserError, blamed_on, suggest
from .cells import ANSWER, is_missing
from .columns import LabelColumn, check_column, inner_type, is_list_of_words, names_of, read_labels
from .loaded import Label, LabelKind, Target, TargetKind
from .rows import ModalityRows

KIND_OF: dict[str, LabelKind | None] = {
    "classes": "class",
    "contrast": "class",
    "labels": "multilabel",
    "numbers": "number",
    "any": None,
}
GIVEN: dict[LabelKind, TargetKind] = {"class": "classes", "multilabel": "labels", "number": "numbers"}
TARGET = "target"
"""The name of the label that a head is trained on."""


@dataclass(frozen=True)
class TargetColumn(LabelColumn):
    """`data.target` of a recipe.

    Args:
        column: Of the data set.
        names: The answers to choose from, or the classes in their order, or a file of them: JSON with a list, or a
            text with one in each line. By default those of the column. Training rows without any of them are left out.
        groups: A column, or a label of `data.labels`, whose classes say what kind of question each row is: accuracies
            are told for each, too.
        problem: The `problem_type` of the head that reads it, where one is written.
        from_file: Whether the names are those of a file, of which some may be in no training row.
    """

    groups: str | None = None
    problem: str | None = None
    from_file: bool = False

    @property
    def where(self) -> str:
        return "data.target"

    @property
    def remedy(self) -> str:
        return "write another column"

    @property
    def is_of_classes(self) -> bool:
        return self.kind == "class"

    def misfit(self, held: str) -> str:
        if self.is_of_classes:
            found = super().misfit(held)
        else:
            wanted = "lists of classes" if self.kind == "multilabel" else "floats, whole numbers, or lists of floats"
            found = f"{self.where}: the column {self.column!r} holds {held}: write a column of {wanted}"
        other = f", or leave out model.problem_type: {self.problem}, which is then as the column says"
        return found + (other if self.problem else "")


class GroupColumn(LabelColumn):
    """The column that `data.target.groups` names."""

    @property
    def where(self) -> str:
        return "data.target.groups"

    @property
    def remedy(self) -> str:
        return "leave it out"

    @property
    def is_of_classes(self) -> bool:
        return True


@dataclass(frozen=True)
class ReadTarget:
    """A target in the rows of a data set.

    Attributes:
        target: What benchmarks read; None of classes to contrast.
        labels: The label, and that of the groups.
        values: Split -> the values of its rows, by label.
        splits: The splits without the training rows that have no value, and with `labels` in each row.
    """

    target: Target | None
    labels: dict[str, Label]
    values: dict[str, dict[str, np.ndarray]]
    splits: dict[str, ModalityRows]


def target_column(written: Any) -> TargetColumn | None:
    """The section `data.target`, checked: a column, or `{column: ..., names: [...], groups: ...}`; None of none.

    Raises:
        UserError: If a key does not exist, or a value is of another type.
    """
    if written is None:
        return None
    options = {"column": written} if isinstance(written, str) else written
    if not isinstance(options, Mapping):
        raise UserError(f"data.target={written!r}: write a column, or {{column: ...}}")
    if from_file := isinstance(options.get("names"), str):
        options = {**options, "names": _names_in(options["names"])}
    known = {spec.name for spec in fields(TargetColumn)} - {"name", "kind", "of", "title", "problem", "from_file"}
    for key, value in options.items():
        if key not in known:
            raise UserError(f"unknown key data.target.{key}: {suggest(key, known)}")
        if key != "names" and not isinstance(value, str):
            raise UserError(f"data.target.{key}={value!r}: expected str")
        if key == "names" and (not is_list_of_words(value) or not value):
            raise UserError(f"data.target.names={value!r}: expected a list of str; YAML wants yes and no in quotes")
        if key == "names" and len({key_of(name) for name in value}) < len(value):
            raise UserError(f"data.target.names={value!r}: one is there twice, but for case and spaces")
    if "column" not in options:
        raise UserError("data.target.column is missing: write the column that holds the answers or classes")
    names = tuple(options.get("names", ()))
    groups = options.get("groups")
    return TargetColumn(TARGET, options["column"], "class", names=names, groups=groups, from_file=from_file)


def _names_in(file: str) -> Any:
    """The names in a file."""
    with blamed_on(f"data.target.names={file!r}: write a list of str, or a file of them"):
        text = Path(file).read_text(encoding="utf-8")
        return (
            json.loads(text)
            if file.endswith(".json")
            else [line.strip() for line in text.splitlines() if line.strip()]
        )


def read_target(
    column: TargetColumn,
    kind: TargetKind | Literal["any", "contrast"],
    splits: Mapping[str, ModalityRows],
    cut: Collection[str],
    labels: Mapping[str, LabelKind | None],
    skip: bool = False,
) -> ReadTarget:
    """The answers or classes of all rows.

    A class is what a column of `data.labels` of the kind `class` is; see `read_labels`. An answer is a string, a
    number or a class by its name; a list holds the answers of several annotators, and so does a list of records with a
    field `answer`, as VQA v2 has them. Answers are the same where they are equal but for case and spaces. Labels are
    lists of classes, numbers are floats or whole numbers, and lists of floats, as many in each row, several numbers.

    Args:
        column: What to read.
        kind: What the head gives; `any` for what the column holds: floats are numbers, lists of floats several, other
            lists labels, and all else what a column of `data.labels` would be. `contrast` for classes that may be
            missing.
        splits, cut: As of `read_labels`.
        labels: The names of `data.labels`, which `groups` may name, each with the kind that is written.
        skip: Leave rows without a value out, instead of raising an error that names the first.

    Raises:
        UserError: If the column holds nothing that can be learned, a training row has no value, or a row to measure on
            has a class that no training row has.
    """
    for rows in splits.values():
        check_column(f"{column.where}.column", column.column, rows.dataset.column_names)
    if kind == "answers":
        label, arrays, said, there = _answers(column, splits)
    else:
        label, arrays = _read(replace(column, kind=KIND_OF[kind]), splits, cut)
        said = {name: _as_labels(array) for name, array in arrays.items()}
        there = {name: _there(label, array) for name, array in arrays.items()}
        if kind == "contrast":
            there = {name: np.ones_like(own) for name, own in there.items()}
        if label.kind == "class" and "train" in arrays:
            _tell_single(column, label, arrays["train"])
    kept: dict[str, ModalityRows] = {}
    values: dict[str, dict[str, np.ndarray]] = {}
    for name, rows in splits.items():
        _check_missing(column, rows, there[name], name, skip)
        places = np.flatnonzero(there[name])
        kept[name] = rows.part([rows.index[place] for place in places]).with_labels(
            [said[name][place] for place in places]
        )
        values[name] = {TARGET: arrays[name][places]}
    found_labels = {TARGET: label}
    groups = column.groups
    if groups is not None and labels.get(groups) not in (None, "class"):
        raise UserError(f"data.target.groups={groups!r}: this label is a {labels[groups]}: write one of classes")
    if groups is not None and groups not in labels:
        held = {name: rows for name, rows in kept.items() if name != "train"} or kept
        name = groups if groups.isidentifier() and groups != TARGET else "group"
        written = GroupColumn(name, groups, "class")
        for rows in held.values():
            check_column("data.target.groups", groups, [*rows.dataset.column_names, *labels])
        read, own = read_labels([written], held)
        found_labels |= read
        for split, arrays_of in own.items():
            values[split] |= arrays_of
        groups = name
    if kind == "contrast":
        return ReadTarget(None, found_labels, values, kept)
    given = "answers" if kind == "answers" else GIVEN[label.kind]
    return ReadTarget(Target(given, TARGET, groups), found_labels, values, kept)


def _read(
    column: TargetColumn, splits: Mapping[str, ModalityRows], cut: Collection[str]
) -> tuple[Label, dict[str, np.ndarray]]:
    """A label that is no answer, and its values: as of `data.labels`, or several numbers of a row."""
    held = {name: inner_type(rows.dataset.features[column.column]) for name, rows in splits.items()}
    wanted = {None: ("float",), "number": ("float", "int")}.get(column.kind, ())
    if held and all(kind in wanted for kind in held.values()):
        return _several_numbers(column, splits)
    found = read_labels([column], splits, cut)
    label, values = found[0][TARGET], found[1]
    if label.kind == "text":
        raise UserError(column.misfit("strings"))
    return label, {name: own[TARGET] for name, own in values.items()}


def _several_numbers(column: TargetColumn, splits: Mapping[str, ModalityRows]) -> tuple[Label, dict[str, np.ndarray]]:
    where, width, arrays = f"{column.where}: the column {column.column!r}", 0, {}
    for name, rows in splits.items():
        values, places = rows.values(column.column)
        width = width or next((len(value) for value in values if value), 0)
        for number, value in zip(np.unique(rows.numbers), values, strict=True):
            if value and len(value) != width:
                raise UserError(
                    f"{where} holds {len(value)} numbers in row {number} of the {name} rows, and {width} in others: "
                    "write as many in each"
                )
        found = [[np.nan if item is None else item for item in value or [None] * width] for value in values]
        arrays[name] = np.array(found, dtype=np.float64).reshape(len(found), width)[places]
    for name, array in arrays.items():
        there = array[np.isfinite(array).all(axis=1)]
        if len(there) == 0 or (np.ptp(there, axis=0) == 0).any():
            raise UserError(
                f"{where} holds the same in all {name} rows in one of its places, which tells nothing: {column.remedy}"
            )
    if column.names and len(column.names) != width:
        raise UserError(f"{column.where}.names: {len(column.names)} names, write one for each of the {width} numbers")
    names = column.names or tuple(f"{column.column}_{place}" for place in range(width))
    return Label("number", names, title=column.title or column.column), arrays


def _as_labels(array: np.ndarray) -> list[Any]:
    """What the rows of a batch hold."""
    return (array.astype(np.float64) if array.dtype == bool else array).tolist()


def _there(label: Label, array: np.ndarray) -> np.ndarray:
    """`(rows,)` bool, those that have a value; of labels all, as a row need not have any."""
    if label.kind == "class":
        return array >= 0
    return np.ones(len(array), dtype=bool) if label.kind == "multilabel" else ~_any(~np.isfinite(array))


def _tell_single(column: TargetColumn, label: Label, classes: np.ndarray) -> None:
    """Say which classes have one training row: what is learned of them is that row."""
    single = np.flatnonzero(np.bincount(classes[classes >= 0], minlength=len(label.names)) == 1)
    if len(single):
        print(
            f"{column.where}: {len(single):,} of {len(label.names):,} classes have one training row, such as "
            f"{label.names[single[0]]!r}: write data.splits that put more rows of it into training, or "
            "data.target.names without it"
        )


def _check_missing(column: TargetColumn, rows: ModalityRows, there: np.ndarray, split: str, skip: bool) -> None:
    if there.all():
        return
    first = rows.numbers[int(np.flatnonzero(~there)[0])]
    if not skip and not column.names:
        raise UserError(
            f"the {split} rows: row {first}, column {column.column!r} is empty: repair or remove it, or write "
            "data.on_bad_row: skip"
        )
    print(f"Left out {int((~there).sum()):,} of {len(there):,} {split} rows without an answer; the first: row {first}")


def _any(mask: np.ndarray) -> np.ndarray:
    return np.asarray(mask.reshape(len(mask), -1).any(axis=1))


def _answers(
    column: TargetColumn, splits: Mapping[str, ModalityRows]
) -> tuple[Label, dict[str, np.ndarray], dict[str, list[Any]], dict[str, np.ndarray]]:
    """The label, the numbers of the answers of each row, what is said in it, and whether it is used: a row to train on
    with an answer of the list, a row to measure on with any answer, for one that is not in the list is a mistake."""
    given: dict[str, list[list[str]]] = {}
    several = False
    for name, rows in splits.items():
        raw, places = rows.values(column.column)
        names = names_of(rows.dataset.features[column.column])
        where = f"{column.where}: the column {column.column!r}"
        listed = [_listed(where, value, names) for value in raw]
        several = several or any(isinstance(value, list) for value in raw)
        given[name] = [listed[place] for place in places]
    training = given["train"] if "train" in given else [row for own in given.values() for row in own]
    counts: Counter[str] = Counter()
    spelled: dict[str, str] = {}
    for row in training:
        for answer in row:
            spelled.setdefault(key_of(answer), answer)
            counts[key_of(answer)] += 1
    if not counts:
        raise UserError(f"{where} holds no answer in any training row: write another column")
    if column.names:
        known = {key_of(name): name for name in column.names}
        unused = [name for key, name in known.items() if key not in counts] if "train" in given else []
        if unused and not column.from_file:
            raise UserError(f"data.target.names: no training row has the answer {unused[0]!r}; leave it out")
        if unused:
            print(f"{len(unused):,} of {len(known):,} answers of the list are in no training row, as {unused[0]!r}")
    else:
        known = {key: spelled[key] for key in sorted(counts, key=lambda key: (-counts[key], key))}
    if len(known) < 2:
        raise UserError(f"{where} holds one answer in all training rows, which tells nothing: write another column")
    numbers = {key: number for number, key in enumerate(known)}
    arrays = {name: _numbered(rows, numbers, several) for name, rows in given.items()}
    for name, array in arrays.items():
        unknown = sum(bool(row) for row in given[name]) - int(_any(array >= 0).sum())
        if name != "train" and unknown:
            whose = "of the list" if column.names else "that training rows have"
            print(f"{unknown:,} of {len(array):,} {name} rows have no answer {whose}: they count as mistakes")
    kept = {
        name: [[known[key_of(a)] for a in row if key_of(a) in known] for row in rows] for name, rows in given.items()
    }
    said: dict[str, list[Any]] = {
        name: [row if several or not row else row[0] for row in rows] for name, rows in kept.items()
    }  # an empty list is none: such a row has no part in a loss
    used = {
        name: np.array([bool(row) for row in (kept if name == "train" else given)[name]], dtype=bool) for name in given
    }
    return Label("answers" if several else "class", tuple(known.values()), title=column.column), arrays, said, used


def key_of(answer: str) -> str:
    """What two answers share that are the same."""
    return " ".join(answer.casefold().split())


def _listed(where: str, value: Any, names: Sequence[str] | None) -> list[str]:
    """The answers of all annotators of a row, without those that are missing."""
    answers = []
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, Mapping):
            if ANSWER not in item:
                there = ", ".join(item)
                raise UserError(f"{where} holds records with the fields {there}: one called {ANSWER} is needed")
            item = item[ANSWER]
        if is_missing(item):
            continue
        if not isinstance(item, str | int):
            raise UserError(f"{where} holds a {type(item).__name__}: answers are strings, whole numbers or classes")
        if names is not None:
            answers += [names[int(item)]] if int(item) >= 0 else []
        else:
            answers.append(" ".join((str(item).lower() if isinstance(item, bool) else str(item)).split()))
    return answers


def _numbered(rows: Sequence[Sequence[str]], numbers: Mapping[str, int], several: bool) -> np.ndarray:
    """`(rows,)` int64, or `(rows, annotators)` where there are several; -1 of an answer that is not in the list."""
    if not several:
        return np.array([numbers.get(key_of(row[0]), -1) if row else -1 for row in rows], dtype=np.int64)
    array = np.full((len(rows), max((len(row) for row in rows), default=0) or 1), -1, dtype=np.int64)
    for place, row in enumerate(rows):
        array[place, : len(row)] = [numbers.get(key_of(answer), -1) for answer in row]
    return array
