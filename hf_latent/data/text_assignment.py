"""Text assignment: which of two pictures a caption belongs to, from any rows of pictures with captions."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, cast

import numpy as np
from torch.utils.data import Dataset

from ..errors import UserError
from .description import Description
from .hub_data import HubData
from .hub_rows import prefixed
from .loaded import EvaluationData, Label, LoadedData, Split, Target
from .rows import ModalityRows, Row
from .sample import ROWS, Role, Sample
from .source import Reader, register_source
from .target import key_of
from .trifeature_tasks import ASSIGNMENT

LABEL = "class"
TRIES = 20  # draws for all rows at once, before the pictures that are left for a row are counted
STREAMS = {"train": 0, "validation": 1, "test": 2}


@register_source("text_assignment")
@dataclass(frozen=True)
class TextAssignmentData(HubData):
    """A caption and two pictures, of any data set with captions: is it of the first, the second, or neither?

    The paper's preparation of ALBEF for statements about two images (arXiv 2107.07651, section 3.5). Each caption
    comes once, and each class has a third of the rows of each split. Other pictures are drawn uniformly from the rows
    that have another id and do not have the caption, too; the code of ALBEF draws them from the batch, those that are
    alike more often. What is drawn is the same in every process and epoch. The other options are those of the data
    `dataset`.

    Args:
        columns: The column of the pictures and that of their captions, `{image: ..., text: ...}`.
        ids: A column whose equal values make rows such that none is drawn beside the other's caption. By default every
            row of the data set is its own; so is a row whose value is missing.
        on_missing: What becomes of a row that has no picture or no caption. `"error"`: it is a row that cannot be
            read, for `on_bad_row`. `"drop"`: it is left out, and counted.
        seed: Of the draw.
    """

    on_missing: Literal["error", "drop"] = "error"
    seed: int = 42
    # What a stream is drawn from is not known, and what the model says is made here.
    streaming: bool = field(default=False, init=False)
    shuffle_buffer: int = field(default=1000, init=False)
    labels: dict[str, str | dict[str, Any]] = field(default_factory=dict, init=False)
    target: Any = field(default=None, init=False)
    regions: dict[str, Any] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        for name in ("image", "text"):
            if not isinstance(self.columns.get(name), str):
                what = "the pictures" if name == "image" else "their captions"
                raise UserError(f"data.columns.{name}: text assignment needs one column, write that of {what}")
        if self.seed < 0:
            raise UserError(f"data.seed={self.seed}: write 0 or more")

    @classmethod
    def described(cls, options: Mapping[str, Any]) -> Description:
        found = super().described(options)
        return replace(
            found,
            trained=f"captions with two pictures of {found.trained}: is one of the first, the second, or neither?",
            sentence="a photo of a cat",
            says="tells which of two images a caption belongs to, if to any",
        )

    @property
    def pairs(self) -> HubData:
        """The pictures with their captions."""
        return HubData(**{spec.name: getattr(self, spec.name) for spec in fields(HubData)})

    def load_for(self, reader: Reader, progress: bool = False, find: bool = True) -> LoadedData:
        """As [`HubData.load_for`]; a UserError where a split has fewer than three ids, too."""
        loaded = self.pairs.load_for(_of_pairs(reader), progress, find)
        train = self._drawn(loaded.train, loaded.columns, "train")
        return replace(
            loaded,
            train=train,
            summary=f"captions with two pictures of {loaded.summary}",
            evaluation=loaded.evaluation and self._evaluation(loaded.evaluation),
            target=Label(names=ASSIGNMENT),
        )

    def evaluation_for(self, reader: Reader, train: bool = False, progress: bool = False) -> EvaluationData:
        return self._evaluation(self.pairs.evaluation_for(_of_pairs(reader), False, progress))

    def sample(self, rows: int = ROWS, reader: Reader | None = None, role: Role = "test") -> Sample:
        """As [`HubData.sample`]; the other pictures are drawn from the sample."""
        found = self.pairs.sample(rows, _of_pairs(reader or Reader()), role)
        images, texts = found.values["image"], found.values["text"]
        shown, labels = draw_assignments(found.ids, texts, (self.seed, STREAMS[role]))
        return replace(
            found,
            values={"image": [[images[place] for place in pair] for pair in shown.tolist()], "text": texts},
            labels={LABEL: Label(names=ASSIGNMENT)},
            known={LABEL: labels},
            target=_target(),
        )

    def _evaluation(self, data: EvaluationData) -> EvaluationData:
        def drawn(split: Split, role: str) -> Split:
            rows = self._drawn(split.rows, data.columns, role)
            return Split(rows, rows.ids, {LABEL: rows.labels})

        validation = None if data.validation is None else drawn(data.validation, "validation")
        reported = validation if data.test is data.validation else drawn(data.test, "test")
        # No training rows: the captions alone tell nothing of the classes.
        return EvaluationData(
            cast(Split, reported),
            validation=validation,
            columns=data.columns,
            labels={LABEL: Label(names=ASSIGNMENT)},
            target=_target(),
        )

    def _drawn(self, rows: Dataset, columns: Mapping[str, str], role: str) -> "AssignmentRows":
        own = cast(ModalityRows, rows)
        return AssignmentRows(own, columns["image"], columns["text"], (self.seed, STREAMS[role]), role)


def _target() -> Target:
    return Target("classes", LABEL, sentence="caption")


def _of_pairs(reader: Reader) -> Reader:
    """What reads a picture and its caption for a model that reads two pictures.

    Raises:
        UserError: If the model reads one, or says no classes.
    """
    if reader.encoders and (reader.images != 2 or reader.labels not in ("classes", "any")):
        raise UserError(
            "data.name: text_assignment is for a model that tells classes of two images: write model.type: "
            "latent_albef_visual_reasoning"
        )
    return Reader(reader.encoders)


class AssignmentRows(Dataset):
    """Rows of two pictures, a caption, `ids` of the caption's row and `labels`, a row of `ASSIGNMENT`.

    Args:
        rows: Of a picture and a caption.
        image, text: Their columns.
        seed: Of the draw.
        role: What the rows are used as, for errors to name.
    """

    def __init__(self, rows: ModalityRows, image: str, text: str, seed: Sequence[int], role: str) -> None:
        if text not in rows.text_columns:
            raise UserError(f"data.columns.text={text!r} is no column of text: write that of the captions")
        self.rows, self.image, self.text, self.ids = rows, image, text, rows.ids
        with prefixed(f"the {role} rows: "):
            self.shown, self.labels = draw_assignments(self.ids, rows.sentences(text), seed)
        self._texts = rows.dataset.select_columns(text)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, i: int) -> Row:
        pictures = [self.rows[place][self.image] for place in self.shown[i].tolist()]
        number, caption = self.rows.index[i]
        text = self.rows.reader.read(number, self._texts[number], caption)[self.text]
        row = Row({self.image: pictures, self.text: text}, ids=int(self.ids[i]), labels=int(self.labels[i]))
        row.number = number
        return row

    def sentences(self, column: str) -> Iterator[str]:
        """The captions, row by row."""
        return self.rows.sentences(column)


def draw_assignments(ids: np.ndarray, captions: Iterable[str], seed: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Two pictures for each caption, and what is right of them.

    A third of the rows has each class of `ASSIGNMENT`, but for a remainder. The pictures that are not the caption's
    own are drawn uniformly from the rows that have another id, of which no row has the caption; those of "neither"
    have different ids. So no picture alone tells the class.

    Args:
        ids: `(rows,)` int64, of pictures with captions.
        captions: Of each row; equal ones are one, but for case and spaces.
        seed: Of the draw.

    Returns:
        `(rows, 2)` int64, the rows of the two pictures, and `(rows,)` int64, the class.

    Raises:
        UserError: If there are fewer than three ids, or no two pictures can stand beside a caption.
    """
    owners = np.unique(ids, return_inverse=True)[1]
    count, number = len(owners), int(owners.max(initial=-1)) + 1
    if number < 3:
        given = f"{count:,} rows of {number}" if number < count else f"{number}"
        remedy = "leave data.ids out, or read more rows" if number < count else "read more rows"
        raise UserError(f"text assignment needs rows of three ids or more, and these are {given}: {remedy}")
    seen: dict[str, int] = {}
    texts = np.array([seen.setdefault(key_of(caption), len(seen)) for caption in captions], dtype=np.int64)
    taken = np.unique(owners * len(seen) + texts)  # which ids have which captions

    def fits(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
        """Whether pictures may stand beside the captions of some rows."""
        return (owners[others] != owners[rows]) & ~np.isin(owners[others] * len(seen) + texts[rows], taken)

    rng = np.random.default_rng(list(seed))
    labels = rng.permutation(count) % len(ASSIGNMENT)
    others, left = np.zeros((count, 2), dtype=np.int64), np.arange(count)
    for _ in range(TRIES):
        first, second = rng.integers(count, size=(2, len(left)))
        others[left] = np.stack([first, second], axis=1)
        good = fits(left, first) & fits(left, second) & (owners[first] != owners[second])
        left = left[~good]
    for row in left:
        allowed = np.flatnonzero(fits(np.full(count, row), np.arange(count)))
        first = rng.choice(allowed) if len(allowed) else row
        further = allowed[owners[allowed] != owners[first]]
        if not len(further):
            raise UserError(
                f"the caption of row {row} is that of all other ids but one or none: text assignment needs two "
                "pictures that do not have it"
            )
        others[row] = first, rng.choice(further)
    own = np.arange(count)
    shown = np.where((labels == 0)[:, None], np.stack([own, others[:, 0]], axis=1), others)
    shown = np.where((labels == 1)[:, None], np.stack([others[:, 0], own], axis=1), shown)
    return shown, labels
