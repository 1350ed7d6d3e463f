"""Scenes: several Trifeature objects in one picture, captions that name two of them, and phrases with boxes."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
from torch.utils.data import Dataset

from ..citations import HERMANN_2020
from ..errors import UserError
from ..memory import check_memory
from . import trifeature_drawing as drawing
from .description import Description
from .loaded import EvaluationData, Label, LoadedData, Regions, Split
from .sample import ROWS, Role, Sample
from .source import Reader, RenderedSource, register_source
from .tokenizers import WORDS, load_tokenizer
from .trifeature import (
    CAPTIONS,
    COLOR_PHRASES,
    COLORS,
    SHAPES,
    TEXTURES,
    Int64,
    UInt8,
    generator,
    noun_phrase,
    render,
    split_combinations,
)
from .trifeature_data import CONTRASTED, SYNTHETIC, TEXTS, TITLE
from .trifeature_sample import COLOR_CODES, PREFIX

PHRASES = tuple(caption.removeprefix(PREFIX) for caption in CAPTIONS)  # "a red star", "five blue squares"
DEFINITE = tuple(noun_phrase(s, COLOR_PHRASES[c], definite=True) for s in SHAPES for c in COLORS)
# Textures are a blur at the size of an object: all of them are plain.
TEXTURE = TEXTURES.index("solid")
MOST_OBJECTS = 4
_SCENES = 4  # the random stream, after those of `trifeature`
_EXTENT = 182  # no turned shape is wider, of the 224 px canvas


@dataclass(frozen=True, eq=False)
class TrifeatureScenes(Dataset):
    """Pictures of two to four objects, no two of one shape or of one color, each in a cell of its own.

    Attributes:
        images: (N, H, W, 3) uint8; the background is 127.
        objects: (N, 4) int64, which of the 100 captions says what the object is; -1 where there is none. The caption
            of the scene names the first two.
        boxes: (N, 4, 4) int64, left, top, right, bottom of every object in pixels, right and bottom exclusive.

    A row is `image`, `text` such as "a photo of a red star and a blue circle", and `ids`, a number of the two that are
    named. Another scene with the same two has the same id, so it is no negative. A third object is never named; that
    it and the next make a caption of another scene true is left to chance, about one in a thousand.
    """

    images: UInt8 = field(repr=False)
    objects: Int64 = field(repr=False)
    boxes: Int64 = field(repr=False)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> dict[str, Any]:
        return {"image": self.images[i], "text": self.caption(i), "ids": int(self.ids[i])}

    def caption(self, i: int) -> str:
        first, second = self.objects[i, :2]
        return f"{PREFIX}{PHRASES[first]} and {PHRASES[second]}"

    @property
    def ids(self) -> Int64:
        """(N,) a number of the two objects that are named, whichever is named first."""
        named = np.sort(self.objects[:, :2], axis=1)
        return named[:, 0] * len(CAPTIONS) + named[:, 1]


def draw_scenes(
    combinations: Int64, count: int, image_size: int, seed: int, split: int, renders: int = 20, cells: int = 2
) -> TrifeatureScenes:
    """Scenes of the given combinations; each depends on its number only, so that more scenes change none.

    Args:
        combinations: Which objects there are, as [`split_combinations`] numbers them.
        count: How many scenes.
        image_size: Of a scene, in pixels.
        seed, split: What it is drawn from.
        renders: Poses of each object.
        cells: A scene has `cells` x `cells` places.
    """
    cell = image_size // cells
    # Two pixels less than the cell: an object may begin and end within a pixel.
    drawn = render(combinations, renders, (cell - 2) * drawing.CANVAS // _EXTENT, seed)
    background = drawn.images[0, 0, 0, 0]
    parts = [_cut(image, background) for image in drawn.images]
    images = np.full((count, image_size, image_size, 3), background, dtype=np.uint8)
    objects = np.full((count, MOST_OBJECTS), -1, dtype=np.int64)
    boxes = np.zeros((count, MOST_OBJECTS, 4), dtype=np.int64)
    shape, color = drawn.shape[::renders], drawn.color[::renders]
    for scene in range(count):
        rng = generator(seed, _SCENES, split, scene)
        chosen: list[int] = []
        most = rng.integers(2, MOST_OBJECTS + 1)
        for k in rng.permutation(len(combinations)):
            if len(chosen) < most and all(shape[k] != shape[j] and color[k] != color[j] for j in chosen):
                chosen.append(int(k))
        places = rng.permutation(cells**2)
        for number, k in enumerate(chosen):
            part = parts[k * renders + rng.integers(renders)]
            height, width = part.shape[:2]
            row, column = divmod(int(places[number]), cells)
            top = row * cell + int(rng.integers(cell - height + 1))
            left = column * cell + int(rng.integers(cell - width + 1))
            images[scene, top : top + height, left : left + width] = part
            objects[scene, number] = shape[k] * len(COLORS) + color[k]
            boxes[scene, number] = left, top, left + width, top + height
    return TrifeatureScenes(images, objects, boxes)


def _cut(image: UInt8, background: Any) -> UInt8:
    """The part of a picture that its object fills."""
    differs = (image != background).any(axis=-1)
    rows, columns = (np.flatnonzero(differs.any(axis=axis)) for axis in (1, 0))
    return image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def phrases_of(scenes: TrifeatureScenes) -> Regions:
    """Every object of every scene as a phrase, "a red star" and "the red star" in turn, read as a caption."""
    pictures, places = (scenes.objects >= 0).nonzero()
    objects = scenes.objects[pictures, places]
    phrases = [(DEFINITE if row % 2 else PHRASES)[number] for row, number in enumerate(objects)]
    # The box of the phrase first, the others in their order.
    order = np.argsort(np.arange(MOST_OBJECTS) != places[:, None], axis=1, kind="stable")
    boxes = np.take_along_axis(scenes.boxes[pictures], order[..., None], axis=1)
    return Regions(scenes.images, pictures, phrases, boxes, template=PREFIX + "{}")


@register_source("trifeature_scenes")
@dataclass(frozen=True)
class TrifeatureScenesData(RenderedSource):
    """Pictures of two to four Trifeature objects with captions that name two, and phrases to ground.

    The objects of held-out scenes are the combinations of shape and color whose plain picture Trifeature holds out:
    no caption of training names one of them.

    Args:
        image_size: In pixels; at least 32.
        scenes: Of training.
        test_scenes: Held out.
        seed: Of the data set itself; it stays the same when the seed of a training run changes.
        tokenizers: The tokenizer of `text`: a checkpoint's, or `words` for one made of these captions.
    """

    image_size: int = 64
    scenes: int = 4000
    test_scenes: int = 300
    seed: int = 42
    tokenizers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def described(cls, options: Mapping[str, Any]) -> Description:
        """What a card tells of the data, from the numbers of a data section."""
        return Description(
            "rendered pictures of two to four Trifeature objects, with captions that name two of them and never say "
            "where they are",
            f"{options['test_scenes']:,.0f} pictures whose objects are combinations of shape and color that no "
            f"caption of training named, {options['image_size']:g} px",
            TITLE,
            (SYNTHETIC.format(CONTRASTED),),
            closed_vocabulary=True,
            texts=TEXTS,
            citations=(HERMANN_2020,),
        )

    def load(self, progress: bool = False) -> LoadedData:
        for name, least in (("image_size", 32), ("scenes", 1), ("test_scenes", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise UserError(f"data.{name}={getattr(self, name)}: write a whole number of at least {least}")
        pictures, told = self.scenes + self.test_scenes, f"data.scenes={self.scenes}, test_scenes={self.test_scenes}"
        check_memory(pictures * self.image_size**2 * 3, f"{told} of image_size={self.image_size}")
        plain = [rows[rows // len(COLORS) % len(TEXTURES) == TEXTURE] for rows in split_combinations(self.seed)]
        counts = (self.scenes, self.test_scenes)
        train, test = (
            draw_scenes(rows, count, self.image_size, self.seed, split)
            for split, (rows, count) in enumerate(zip(plain, counts, strict=True))
        )
        sentences = [*CAPTIONS, *DEFINITE, "and"]
        tokenizers = {"text": WORDS} | self.tokenizers
        return LoadedData(
            train=train,
            columns={"image": "image", "text": "text"},
            summary=f"Trifeature scenes at {self.image_size} px: {len(train):,} pictures of two to four objects",
            tokenizers={name: load_tokenizer(value, sentences) for name, value in tokenizers.items()},
            evaluation=EvaluationData(
                test=Split(test, test.ids, items={"text": test.ids}),
                columns={"image": "image", "text": "text"},
                regions=phrases_of(test),
            ),
        )

    def sample(self, rows: int = ROWS, reader: Reader | None = None, role: Role = "test") -> Sample:
        own = replace(self, scenes=rows if role == "train" else 1, test_scenes=rows if role == "test" else 1).load()
        scenes = cast(TrifeatureScenes, own.train if role == "train" else cast(Any, own.evaluation).test.rows)
        captions = [scenes.caption(row) for row in range(len(scenes))]
        first, kind = scenes.objects[:, 0], "held-out" if role == "test" else "training"
        return Sample(
            f"{len(scenes)} {kind} scenes of two to four Trifeature objects with captions that name two of them",
            {"image": list(scenes.images), "text": captions},
            captions,
            scenes.ids,
            "the same two objects",
            {
                "shape": Label(names=SHAPES, title="shape of the first"),
                "color": Label(names=COLORS, title="color of the first", colors=COLOR_CODES),
            },
            {"shape": first // len(COLORS), "color": first % len(COLORS)},
            held_out=role == "test",
            phrases=[[PHRASES[number] for number in named] for named in scenes.objects[:, :2]],
        )
