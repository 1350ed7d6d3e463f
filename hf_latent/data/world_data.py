"""Pictures that follow from a few factors, with these as a table or a caption: what each side tells is known."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from torch.utils.data import Dataset

from ..citations import ALMUDEVAR_2025, BURGESS_2018, MATTHEY_2017
from ..errors import UserError, suggest
from .description import Description
from .kept_pictures import Pictures, kept
from .loaded import EvaluationData, Label, LoadedData, Split
from .source import Reader, RenderedSource, Source, register_source
from .tokenizers import WORDS, load_tokenizer
from .worlds import DRAW, ROOMS, SPRITES, Int64, World, drawn_rows

IMAGE, TABLE, TEXT = MODALITIES = ("image", "factors", "text")
TRAIN_SHARE = 0.75
FEWEST, LARGEST = 16, 512  # rows, and pixels a side
BENCHMARKS: Mapping[str, Mapping[str, Any]] = {"probe_information": {}, "geometry": {}, "retrieval": {}}


class WorldRows(Dataset):
    """Pictures with the factors that are told of them.

    Args:
        world: Of the pictures.
        pictures: `(rows, height, width)` or `(rows, height, width, 3)`.
        classes: `(rows, factors)`.
        told: The factors that table and caption tell.
        ids: `(rows,)`, equal where rows are positives of each other.
    """

    def __init__(self, world: World, pictures: Pictures, classes: Int64, told: Sequence[str], ids: Int64) -> None:
        self.world, self.pictures, self.classes, self.told, self.ids = world, pictures, classes, told, ids

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, i: int) -> dict[str, Any]:
        picture = np.asarray(self.pictures[i])
        return {
            IMAGE: picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2),
            TABLE: self.world.record(self.classes[i], self.told),
            TEXT: self.world.caption(self.classes[i], self.told),
            "ids": int(self.ids[i]),
        }

    def read_column(self, name: str) -> list[Any]:
        """The values of one column, without the others."""
        if name == IMAGE:
            return [self[i][IMAGE] for i in range(len(self))]
        tell = self.world.record if name == TABLE else self.world.caption
        return [tell(row, self.told) for row in self.classes]


@dataclass(frozen=True)
class WorldSource(Source):
    """A world of which some combinations are drawn: three quarters to train on, the others to report.

    A row holds `image`, `factors` (a table of the factors by name) and `text` (a sentence that tells them); a model
    reads those that it has modalities of.

    Args:
        rows: How many combinations, each once.
        seed: Of the choice; it stays the same when the seed of a training run changes.
        withheld: Factors that neither table nor text tells: only the image does.
        unseen: Factors that the image does not show, where they have their middle value: only table and text tell
            them.
        every: Of a factor, only every n-th value, from the first one on: `{x: 4}` leaves 8 of 32.
        positives: `combinations`: rows of which table and text tell the same are positives of each other. `rows`: each
            row has one, as in the paper's code, and equal tables are negatives of each other.
        validation_share: Validate on this share of the training rows, which is then not trained on.
        tokenizers: Of `text`, `words` by default.
    """

    WORLD: ClassVar[World]

    rows: int = 10_000
    seed: int = 42
    withheld: list[str] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)
    every: dict[str, int] = field(default_factory=dict)
    positives: Literal["combinations", "rows"] = "combinations"
    validation_share: float = 0.0
    tokenizers: dict[str, str] = field(default_factory=dict)

    @abstractmethod
    def pictures(self, classes: Int64, progress: bool) -> Pictures:
        """The pictures of combinations, `(rows, factors)`."""

    def load(self, progress: bool = False) -> LoadedData:
        return self.load_for(Reader(), progress)

    def load_for(self, reader: Reader, progress: bool = False) -> LoadedData:
        self._check()
        for name in reader.encoders:
            if name not in MODALITIES:
                known = suggest(name, MODALITIES)
                raise UserError(f"model.modalities.{name}: no modality of data.name={self.NAME}; {known}")
        names = [name for name in MODALITIES if name in (reader.encoders or (IMAGE, TABLE))]
        if reader.labels is not None:
            raise UserError(f"data.name={self.NAME} has no target: this model reads labels, so write name: dataset")
        world = self.WORLD.thinned(self.every)
        classes = world.classes(drawn_rows(world, self.rows, self.seed))
        shown = classes.copy()
        for factor in self.unseen:
            place = list(world.factors).index(factor)
            shown[:, place] = world.sizes[place] // 2
        steps = np.array([self.every.get(name, 1) for name in world.factors])
        pictures = self.pictures(shown * steps, progress)
        told = [name for name in world.factors if name not in self.withheld]
        combinations = _numbered(classes[:, [list(world.factors).index(name) for name in told]])
        ids = combinations if self.positives == "combinations" else np.arange(self.rows)
        same: Mapping[str, Int64] = {IMAGE: _numbered(shown), TABLE: combinations, TEXT: combinations}
        items = {name: same[name] for name in names}
        values_of = dict(zip(world.factors, classes.T, strict=True))

        def split(rows: slice) -> Split:
            own = WorldRows(world, pictures[rows], classes[rows], told, ids[rows])
            labels = {name: values[rows] for name, values in values_of.items()}
            return Split(own, ids[rows], labels, {name: each[rows] for name, each in items.items()})

        end = int(self.rows * TRAIN_SHARE)
        begin = end - round(end * self.validation_share)
        train, columns = split(slice(begin)), {name: name for name in names}
        sentences = train.rows.read_column(TEXT) if TEXT in names else []  # type: ignore[attr-defined]
        return LoadedData(
            train=train.rows,
            columns=columns,
            summary=f"{begin:,} {world.title} with {', '.join(told)}"
            + (f"; withheld: {', '.join(self.withheld)}" if self.withheld else ""),
            tokenizers={TEXT: load_tokenizer(self.tokenizers.get(TEXT, WORDS), sentences)} if TEXT in names else {},
            evaluation=EvaluationData(
                test=split(slice(end, None)),
                train=train,
                validation=split(slice(begin, end)) if begin < end else None,
                columns=columns,
                labels={name: Label(names=world.factors[name], of=self._of(name, names)) for name in world.factors},
                benchmarks=BENCHMARKS,
            ),
        )

    def _of(self, factor: str, names: Sequence[str]) -> tuple[str, ...]:
        """The modalities that tell a factor."""
        silent = {IMAGE: self.unseen, TABLE: self.withheld, TEXT: self.withheld}
        return tuple(name for name in names if factor not in silent[name])

    def _check(self) -> None:
        for name, step in self.every.items():
            if name not in self.WORLD.factors:
                raise UserError(f"data.every: {name!r} is no factor: {suggest(name, self.WORLD.factors)}")
            most = len(self.WORLD.factors[name]) - 1
            if not 1 <= step <= most:
                raise UserError(f"data.every.{name}={step}: write 1 to {most}, so that two values are left")
        world = self.WORLD.thinned(self.every)
        if not FEWEST <= self.rows <= len(world):
            raise UserError(f"data.rows={self.rows}: write {FEWEST} to {len(world)}, of as many combinations")
        if not 0 <= self.seed < 2**32:
            raise UserError(f"data.seed={self.seed}: write a whole number from 0 to {2**32 - 1}")
        if not 0 <= self.validation_share < 1:
            raise UserError(f"data.validation_share={self.validation_share}: write a share from 0 to below 1")
        for key, own in (("withheld", self.withheld), ("unseen", self.unseen)):
            for name in own:
                if name not in world.factors:
                    raise UserError(f"data.{key}: {name!r} is no factor: {suggest(name, world.factors)}")
            if len(set(own)) == len(world.factors):
                side = "table and text tell" if key == "withheld" else "the image shows"
                raise UserError(f"data.{key} names all factors, and {side} nothing: leave one out")
        if both := sorted(set(self.withheld) & set(self.unseen)):
            raise UserError(f"data.withheld and data.unseen both name {', '.join(both)}, which nothing tells then")


def _numbered(rows: npt.NDArray[np.int64]) -> Int64:
    """Equal numbers where rows are equal."""
    return np.unique(rows, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)


@dataclass(frozen=True)
class DrawnWorldSource(RenderedSource, WorldSource):
    """A world that this library draws.

    Args:
        image_size: In pixels.
    """

    image_size: int = 64

    def pictures(self, classes: Int64, progress: bool) -> Pictures:
        size = self.image_size
        if not 8 <= size <= LARGEST:
            raise UserError(f"data.image_size={size}: write 8 to {LARGEST}")
        channels = () if self.NAME == "sprites" else (3,)
        thinned = [f"{name}-{step}" for name, step in sorted(self.every.items()) if step > 1]
        name = "_".join([self.NAME, str(size), str(self.rows), str(self.seed), *sorted(self.unseen), *thinned])

        def draw() -> Pictures:
            if progress:
                print(f"Drawing {self.rows:,} {self.WORLD.title} ...")
            return DRAW[self.NAME](classes, size)

        return kept(name, (self.rows, size, size, *channels), draw)

    @classmethod
    def told(cls, options: Mapping[str, Any], like: str) -> Description:
        """What a card tells of it."""
        rows = options["rows"]
        size = f"{options['image_size']:g} px"
        return Description(
            f"rendered {cls.WORLD.title}, drawn after {like}, with the factors that they follow from",
            f"{rows - int(rows * TRAIN_SHARE):,.0f} {cls.WORLD.title} that training never showed, {size}",
            f"{cls.NAME}, drawn by hf_latent",
            ("The images are synthetic. The model is for studying what contrastive training keeps.",),
            closed_vocabulary=True,
            texts=("a square, size 1.0", "a heart, size 0.5")
            if cls.NAME == "sprites"
            else ("a red cube", "a blue cube"),
            citations=(ALMUDEVAR_2025, MATTHEY_2017 if cls.NAME == "sprites" else BURGESS_2018),
        )


@register_source("sprites")
@dataclass(frozen=True)
class SpritesData(DrawnWorldSource):
    """White squares, ellipses and hearts on black, of a size, an angle and a place: five factors, as of dSprites."""

    WORLD: ClassVar[World] = SPRITES

    @classmethod
    def described(cls, options: Mapping[str, Any]) -> Description:
        return cls.told(options, "dSprites")


@register_source("rooms")
@dataclass(frozen=True)
class RoomsData(DrawnWorldSource):
    """Rooms with a thing, by the hues of floor, walls and thing, its size and shape, and an angle: six factors, as of
    3D Shapes."""

    WORLD: ClassVar[World] = ROOMS

    @classmethod
    def described(cls, options: Mapping[str, Any]) -> Description:
        return cls.told(options, "3D Shapes")
