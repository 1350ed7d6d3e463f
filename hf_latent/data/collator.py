"""From rows to the batch that a model reads."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..errors import UserError, blamed_on, suggest
from ..models.images import cropped
from ..models.inputs import images_per_row, read_row
from ..views.image import CROPS
from .rows import Row
from .texts import check_known

if TYPE_CHECKING:
    from ..models.processing_comm import CoMMProcessor
    from ..models.processing_latent_clip import LatentCLIPProcessor
    from ..views import Views

IGNORED = -100


class LatentCollator:
    """Stacks rows into `{"modalities": {name: {...}}, "ids": (batch,)}`; the views are made later, on the device.

    Args:
        processor: Says what each modality is.
        columns: The column of each modality, `{modality: column}`; its own name by default.
        raw: Leave resizing and normalising to the views; otherwise the processor does all, and the batch is what the
            model reads.
        word_ids: Modalities whose view needs to know which tokens make a word.
        examples: A value of each modality, where rows may lack one and None stands for it. Each batch then says in
            `present`, `(batch,)` bool of each modality, which rows have it; the example stands in the others, whose
            embeddings no term of an objective reads.

    Rows are dicts with a value a column and, optionally, `ids` and `labels`: whole numbers become `labels`
    (batch,); strings are tokenised as the text is, between the same special tokens, and become (batch, length) with
    -100 behind their ends. A list of strings holds the answers of several annotators, one behind the other. Whole
    numbers in a column `label` are labels where there is no column `labels`. Other numbers, and lists of numbers,
    become float32 (batch,) and (batch, numbers), as of several labels of a row.
    """

    def __init__(
        self,
        processor: "CoMMProcessor | LatentCLIPProcessor",
        columns: dict[str, str] | None = None,
        raw: bool = True,
        word_ids: Collection[str] = (),
        examples: Mapping[str, Any] | None = None,
    ) -> None:
        names = processor.modalities if examples is not None else ()
        lacking = [name for name in names if (examples or {}).get(name) is None]
        if lacking:
            raise UserError(f"examples has no value of {', '.join(lacking)}: give one of each modality")
        self.processor = processor
        self.examples = examples
        self.raw = raw
        self.word_ids = frozenset(word_ids)
        self.columns = {name: (columns or {}).get(name, name) for name in processor.modalities}
        self._cut: tuple[Views, dict[str, list[int]], int] | None = None

    def cut_crops(self, views: "Views", wanted: Mapping[str, Sequence[int]], global_rows: int) -> None:
        """From now on cut the random crops of images from the images as they are, before they become squares.

        Rows tell by `place` how many rows training consumed before them; those that do not get no crops.

        Args:
            views: Draw the crops.
            wanted: Which views of each image modality are augmented.
            global_rows: Size of the global batch.
        """
        self._cut = views, {name: list(numbers) for name, numbers in wanted.items()}, global_rows

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
        values = {}
        for name, column in self.columns.items():
            if column not in rows[0]:
                raise UserError(f"modality {name!r}: the rows have no column {column!r}; {suggest(column, rows[0])}")
            values[name] = [self._value(name, place, row, column) for place, row in enumerate(rows)]
        present = None if self.examples is None else fill_missing(values, self.examples)
        try:
            batch = self._batch(values, rows)
        except ValueError as error:
            numbers = [getattr(row, "number", None) for row in rows]
            if None in numbers:  # rows of a data set of the user, which do not tell
                raise
            raise UserError(self._in_data_set(str(error), numbers)) from error
        if present is not None:
            batch["present"] = present
        if "ids" in rows[0]:
            batch["ids"] = torch.tensor([_id(place, row) for place, row in enumerate(rows)])
        if "labels" in rows[0]:
            batch["labels"] = self._labels([row["labels"] for row in rows])
        elif all(_is_whole(row.get("label")) for row in rows):
            batch["labels"] = torch.tensor([int(row["label"]) for row in rows])
        return batch

    def _value(self, name: str, place: int, row: dict[str, Any], column: str) -> Any:
        where = f"row {getattr(row, 'number', place)}, column {column!r}"
        if column not in row:
            raise UserError(f"{where} is not there, but in other rows of the batch: write None where it is missing")
        if row[column] is None and self.examples is None:
            raise UserError(
                f"{where} is None: leave the row out, or give LatentCollator(..., examples={{{name!r}: ...}}), with a "
                "value of each modality, to use rows with what they have"
            )
        return row[column]

    def _batch(self, values: dict[str, list[Any]], rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
        if not self.raw:
            return self.processor.batch(values)
        return {"modalities": {name: self._stack(name, column, rows) for name, column in values.items()}}

    def _stack(self, name: str, values: list[Any], rows: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """One modality, with the random crops of its images where they are wanted.

        Where the first view is a crop, it stands in `pixel_values`, and nothing else is made of the images.
        """
        if self._cut is None or name not in self._cut[1] or "place" not in rows[0]:
            return self.processor.stack(name, values, name in self.word_ids)
        views, wanted, global_rows = self._cut
        several = images_per_row(name, values) is not None
        images = [
            [read_row(name, row, image) for image in (value if several else [value])]
            for row, value in enumerate(values)
        ]
        places = torch.tensor([row["place"] for row in rows])
        aspects = torch.tensor([[image.width / image.height for image in row] for row in images])
        size, resample = self.processor.crop_of(name)
        found = {}
        for view in wanted[name]:
            boxes = views.crops(name, view, aspects, places, global_rows).flatten(0, 1).tolist()
            flat = zip((image for row in images for image in row), boxes, strict=True)
            crops = torch.stack([cropped(image, box, size, resample) for image, box in flat])
            found[f"{CROPS}{view}"] = crops.unflatten(0, aspects.shape) if several else crops
        first = f"{CROPS}0"
        if first not in found:
            return {**self.processor.stack(name, images if several else [row[0] for row in images]), **found}
        return {**found, "pixel_values": found[first], first: torch.empty(len(rows), 0)}

    def _in_data_set(self, text: str, numbers: Sequence[Any]) -> str:
        """What is wrong with a batch, with the rows and the column of the data set for those of the batch."""
        text = re.sub(r"\brow (\d+)\b", lambda found: f"row {numbers[int(found[1])]}", text)
        for name, column in self.columns.items():
            text = text.replace(f" of modality {name!r}", f", column {column!r}")
        return text

    def _labels(self, labels: Sequence[Any]) -> torch.Tensor:
        if all(map(_is_of_numbers, labels)):
            return self._numbers(labels)
        if not isinstance(labels[0], str | list):
            for row, label in enumerate(labels):
                if not isinstance(label, Integral):
                    raise UserError(f"row {row}, column 'labels': expected a whole number or words, found {label!r}")
            return torch.tensor([int(label) for label in labels])
        answers = [label if isinstance(label, list) else [label] for label in labels]
        for row, given in enumerate(answers):
            for answer in given:
                if not isinstance(answer, str) or not answer.strip():
                    raise UserError(f"row {row}, column 'labels': expected a whole number or words, found {answer!r}")
        if len(self.processor.tokenizers) != 1:
            names = ", ".join(self.processor.tokenizers) or "none"
            raise UserError(f"labels in words need one text modality, whose tokenizer reads them; there are: {names}")
        (tokenizer,) = self.processor.tokenizers.values()
        distinct = list(dict.fromkeys(answer for given in answers for answer in given))
        check_known(tokenizer, distinct, "answer")
        tokens = dict(zip(distinct, tokenizer(distinct)["input_ids"] if distinct else [], strict=True))
        rows = [[token for answer in given for token in tokens[answer]] for given in answers]
        length = max(2, *map(len, rows))  # rows without an answer are read, too
        return torch.tensor([row + [IGNORED] * (length - len(row)) for row in rows])

    def _numbers(self, labels: Sequence[Any]) -> torch.Tensor:
        """Numbers that are no classes."""
        shapes = {np.shape(label) for label in labels}
        if len(shapes) > 1:
            first = np.shape(labels[0])
            row = next(row for row, label in enumerate(labels) if np.shape(label) != first)
            raise UserError(
                f"row {row}, column 'labels': expected numbers of the shape {first}, as in row 0, found "
                f"{np.shape(labels[row])}"
            )
        return torch.from_numpy(np.asarray(labels, dtype=np.float32))


@dataclass(frozen=True)
class ModelCollator:
    """Stacks rows into what a finished model reads, which may be of some of its modalities.

    Args:
        processor: Of the model.
        columns: The column of each modality that is read.
        examples: As of [`LatentCollator`]; see [`examples_of`].

    Returns:
        The batch, and `(batch,)` bool of each modality, which rows have it; None where no row of the data lacks any.

    Raises:
        UserError: If a value cannot be read, of rows that tell their numbers in a data set.
    """

    processor: Any
    columns: Mapping[str, str]
    examples: Mapping[str, Any] | None = None

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Any], dict[str, torch.Tensor] | None]:
        values = {name: [row[column] for row in rows] for name, column in self.columns.items()}
        present = None if self.examples is None else fill_missing(values, self.examples)
        numbers = [row.number for row in (rows[0], rows[-1]) if isinstance(row, Row)]
        if len(numbers) < 2:  # of Python, not of a data set
            return self.processor.batch(values), present
        with blamed_on(f"rows {numbers[0]} to {numbers[1]}"):
            return self.processor.batch(values), present


def examples_of(rows: Any, columns: Mapping[str, str]) -> dict[str, Any] | None:
    """A value of each modality to stand for those that are missing; None where no row lacks any, or rows do not tell.

    Args:
        rows: Such as [`ModalityRows`].
        columns: The column of each modality.
    """
    present = getattr(rows, "present", None)
    if present is None or all(there.all() for there in present.values()):
        return None
    values = rows.examples()
    return {name: values[column] for name, column in columns.items()}


def _is_of_numbers(label: Any) -> bool:
    """Whether a label is a number that is no whole one, or holds several numbers."""
    if isinstance(label, np.ndarray | torch.Tensor):
        return label.ndim > 0 or not _is_whole(label)
    if isinstance(label, list | tuple):
        return bool(label) and all(isinstance(item, Real) for item in label)
    return isinstance(label, Real) and not isinstance(label, Integral)


def fill_missing(values: dict[str, list[Any]], examples: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Put an example in place of each None.

    Args:
        values: The values of each modality, which are changed.
        examples: A value of each modality.

    Returns:
        `(rows,)` bool of each modality, the rows that have it.
    """
    present = {}
    for name, own in values.items():
        there = [value is not None for value in own]
        present[name] = torch.tensor(there)
        values[name] = [value if has else examples[name] for value, has in zip(own, there, strict=True)]
    return present


def _is_whole(value: Any) -> bool:
    return isinstance(value, Integral) or (
        isinstance(value, torch.Tensor | np.ndarray) and value.ndim == 0 and isinstance(value.item(), int)
    )


def _id(place: int, row: dict[str, Any]) -> int:
    value: Any = row.get("ids")
    if not _is_whole(value):
        where = f"row {getattr(row, 'number', place)}, column 'ids'"
        remedy = "number them first, as class_encode_column('ids') of a datasets.Dataset does"
        raise UserError(f"{where}: expected a whole number, found {value!r}; {remedy}")
    return int(value)
