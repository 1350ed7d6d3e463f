"""A small part of the rows of a source of data, to look at: what the Space shows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Literal

import numpy as np

from ..errors import UserError
from .loaded import EvaluationData, Label, LoadedData, Split, Target

ROWS, FEWEST = 200, 4
WORDS_SHOWN = 80
"""Characters of a text in the words of a row."""
Role = Literal["train", "test"]


@dataclass(frozen=True)
class Sample:
    """Rows to look at.

    Attributes:
        title: What they are, in one sentence without a full stop.
        values: The raw values of each modality, `{name: N values}`.
        words: What each row shows, N.
        ids: `(N,)` int64; rows with the same id are right for each other.
        right: What such rows have in common.
        labels: What is known of the rows.
        known: The value of each row by label, as [`Split.labels`] has it.
        held_out: Whether no model was trained on them.
        target: What a model of a downstream task is asked of them, where there is something.
        phrases: Of each row, what its text names; none where nothing is known but the text.
    """

    title: str
    values: dict[str, list[Any]]
    words: list[str]
    ids: np.ndarray
    right: str
    labels: Mapping[str, Label] = field(default_factory=dict)
    known: Mapping[str, np.ndarray] = field(default_factory=dict)
    held_out: bool = True
    target: Target | None = None
    phrases: Sequence[Sequence[str]] = ()

    def __len__(self) -> int:
        return len(self.words)

    def classes(self) -> dict[str, np.ndarray]:
        """The labels of one class a row, with the class of each, -1 where it is missing."""
        return {name: self.known[name] for name, label in self.labels.items() if label.kind == "class"}


def sample_of(loaded: LoadedData, rows: int = ROWS, role: Role = "test") -> Sample:
    """Rows of loaded data, evenly spaced: of those to report, or of those to train on.

    Where there are no rows to report, they are training rows, and the title says so.

    Raises:
        UserError: If fewer than four rows can be read.
    """
    data = loaded.evaluation
    split = None if data is None else data.test if role == "test" else data.train
    if data is None or split is None:
        return _of_training(loaded, rows)
    kind = "held-out rows" if role == "test" else "training rows"
    return sample_of_split(split, data, kind, rows, held_out=role == "test")


def sample_of_split(
    split: Split, data: EvaluationData, kind: str, rows: int, held_out: bool = True, right: str = ""
) -> Sample:
    """Rows of a split, evenly spaced; those that cannot be read are left out.

    Args:
        split: The rows.
        data: Its columns, labels and target.
        kind: What they are called, such as "held-out rows".
        rows: How many, at most.
        held_out: Whether no model was trained on them.
        right: What rows with the same id have in common.
    """
    kept, read = [], []
    complete = split.having(*data.columns)  # what a row lacks cannot be shown
    for place in complete[evenly(len(complete), rows)]:
        try:
            row = split.rows[int(place)]
        except UserError:
            continue  # a page can do without a row that cannot be read
        kept.append(place)
        read.append(row)
    if len(kept) < FEWEST:
        lack = f", and {len(split) - len(complete):,} lack a modality" if len(complete) < len(split) else ""
        raise UserError(f"of the {kind}, {len(kept)} can be shown{lack}: {FEWEST} are needed")
    whole = f"the {len(kept):,}" if len(kept) == len(split) else f"{len(kept):,} of the {len(split):,}"
    values = {name: [row[column] for row in read] for name, column in data.columns.items()}
    known = {name: array[kept] for name, array in split.labels.items() if name in data.labels}
    labels = {name: data.labels[name] for name in known}
    ids, right = merged_ids(split.ids[kept], values, right)
    words = words_of(values, labels, known)
    return Sample(f"{whole} {kind}", values, words, ids, right, labels, known, held_out, data.target)


def _of_training(loaded: LoadedData, rows: int) -> Sample:
    train: Any = loaded.train
    read: list[Any] = []
    if hasattr(train, "__getitem__") and hasattr(train, "__len__"):
        for place in evenly(len(train), rows):
            try:
                read.append(train[place])
            except UserError:
                continue
    else:
        read = list(islice(iter(train), rows))
    read = [row for row in read if all(row[column] is not None for column in loaded.columns.values())]
    if len(read) < FEWEST:
        raise UserError(f"{len(read)} training rows can be read: {FEWEST} are needed")
    values = {name: [row[column] for row in read] for name, column in loaded.columns.items()}
    own = [row.get("ids", place) for place, row in enumerate(read)]
    ids, right = merged_ids(np.unique(np.array(own), return_inverse=True)[1], values)
    title = f"{len(read):,} rows that the model was trained on: its data has no held-out rows"
    return Sample(title, values, words_of(values, {}, {}), ids, right, held_out=False)


def evenly(count: int, rows: int) -> list[int]:
    """The places of at most `rows` of `count` rows, evenly spaced: data sets are often sorted by class."""
    return np.linspace(0, count - 1, min(rows, count)).round().astype(int).tolist() if count else []


def merged_ids(ids: np.ndarray, values: Mapping[str, list[Any]], right: str = "") -> tuple[np.ndarray, str]:
    """The ids of rows and what those of one id have in common; without ids, rows with equal texts have one, as in the
    measurements of retrieval."""
    texts = next((name for name, column in values.items() if column and isinstance(column[0], str)), None)
    if right or len(np.unique(ids)) < len(ids):
        return ids, right or "the same id"
    if texts is None:
        return ids, "the same row"
    merged = np.unique([" ".join(text.casefold().split()) for text in values[texts]], return_inverse=True)[1]
    return merged, f"the same {texts}"


def words_of(
    values: Mapping[str, list[Any]], labels: Mapping[str, Label], known: Mapping[str, np.ndarray]
) -> list[str]:
    """What each row shows: its texts, else its labels, else its number."""
    texts = [column for column in values.values() if isinstance(column[0], str)]
    found = []
    for row in range(len(next(iter(values.values())))):
        told = [column[row][:WORDS_SHOWN] for column in texts]
        if not texts:
            said = {name: told_label(label, known[name][row]) for name, label in labels.items()}
            told = [f"{labels[name].title or name}: {text}" for name, text in said.items() if text]
        found.append(" | ".join(told) or f"row {row}")
    return found


def told_label(label: Label, value: Any) -> str:
    """The value of a label in words; empty where it is missing."""
    if label.kind == "class":
        return label.title_of(label.names[value]) if value >= 0 else ""
    if label.kind == "multilabel":
        return ", ".join(label.title_of(label.names[number]) for number in np.flatnonzero(value))
    if label.kind == "number":
        numbers = np.atleast_1d(value)
        return ", ".join(f"{number:.4g}" for number in numbers) if np.isfinite(numbers).all() else ""
    return str(value)[:WORDS_SHOWN]
