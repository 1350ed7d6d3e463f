"""Trifeature: pictures of 10 shapes x 10 textures x 10 colors, and pairs of them with a known common part.

The set is Hermann & Lampinen, "What shapes feature representations?", NeurIPS 2020. The pairs, and the questions asked
of them, are the controlled experiment on bimodal Trifeatures of Dufumier et al., "What to align in multimodal
contrastive learning?", ICLR 2025 (CoMM). Geometry, colors, split sizes and pair rules are theirs. What differs:

- Split, rendering, mapping and pairs have a random stream each, so that a second run with the same seed finds the same
  mapping whether or not it had to render first. The random draws therefore are not the published ones.
- Pictures stay in memory as arrays; nothing is written to disk.
- `image_size` and `texture_period` are free; the defaults are the published values.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from io import BytesIO
from math import isfinite
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch.utils.data

from ..errors import UserError, suggest
from ..memory import check_memory
from . import trifeature_drawing as drawing

if TYPE_CHECKING:
    import datasets

UInt8 = npt.NDArray[np.uint8]
Int64 = npt.NDArray[np.int64]

SHAPES = ("triangle", "square", "plus", "circle", "tee", "rhombus", "pentagon", "star", "fivesquare", "trapezoid")
TEXTURES = ("solid", "stripes", "grid", "hexgrid", "dots", "noise", "triangles", "zigzags", "rain", "pluses")
COLORS = ("red", "green", "blue", "yellow", "pink", "cyan", "purple", "ocean", "orange", "white")

RGB: dict[str, tuple[float, float, float]] = {
    "red": (1.0, 0.0, 0.0),
    "green": (0.0, 1.0, 0.0),
    "blue": (0.0, 0.0, 1.0),
    "yellow": (1.0, 1.0, 0.0),
    "pink": (1.0, 0.4, 1.0),
    "cyan": (0.0, 1.0, 1.0),
    "purple": (0.3, 0.0, 0.5),
    "ocean": (0.1, 0.4, 0.5),
    "orange": (1.0, 0.6, 0.0),
    "white": (1.0, 1.0, 1.0),
}
SYNERGY = ("unmapped", "mapped")
SPLITS = ("train", "test")

COMBINATIONS = len(SHAPES) * len(TEXTURES) * len(COLORS)
HELD_OUT = COMBINATIONS // 5
MIN_IMAGE_SIZE = 8
MIN_TEXTURE_PERIOD = 4.0

# One random stream a purpose: none of them moves when another one draws more.
_SPLIT, _RENDERING, _MAPPING, _PAIRS = range(4)

# What a caption names, and what only the picture shows.
SHARED_FACTORS = ("shape", "color")
PRIVATE_FACTOR = "texture"

_SHAPE_PHRASES = {"plus": "plus sign", "tee": "letter T", "fivesquare": "squares"}
COLOR_PHRASES = {name: {"ocean": "ocean blue"}.get(name, name) for name in COLORS}


def noun_phrase(shape: str | None, *adjectives: str, definite: bool = False) -> str:
    """What a picture shows: "a red star", "five red squares", "an old thing" without a shape; or "the red star"."""
    words = " ".join([*adjectives, _SHAPE_PHRASES.get(shape, shape) if shape else "thing"])
    if shape == "fivesquare":
        return f"the five {words}" if definite else f"five {words}"
    article = "the" if definite else "an" if words[0] in "aeiou" else "a"
    return f"{article} {words}"


def caption(shape: str, color: str) -> str:
    """A sentence that names the shape and the color, not the texture: 100 distinct ones over all classes."""
    return f"a photo of {noun_phrase(shape, COLOR_PHRASES[color])}"


CAPTIONS = tuple(caption(shape, color) for shape in SHAPES for color in COLORS)


@dataclass(frozen=True, eq=False)
class TrifeatureImages:
    """The pictures of one split.

    Attributes:
        images: (N, H, W, 3) uint8, RGB; the background is 127.
        shape, texture, color: (N,) int64, indices into `SHAPES`, `TEXTURES`, `COLORS`.
    """

    images: UInt8 = field(repr=False)
    shape: Int64 = field(repr=False)
    texture: Int64 = field(repr=False)
    color: Int64 = field(repr=False)

    def __len__(self) -> int:
        return len(self.images)

    @property
    def caption_ids(self) -> Int64:
        """(N,) which of the 100 captions, `len(COLORS) * shape + color`."""
        return self.shape * len(COLORS) + self.color

    @property
    def captions(self) -> list[str]:
        """N sentences such as "a photo of a red star": shape and color only."""
        return [CAPTIONS[i] for i in self.caption_ids]


@dataclass(frozen=True, eq=False)
class TrifeaturePairs(torch.utils.data.Dataset[dict[str, Any]]):
    """Ordered pairs of pictures of one split that share their shape; made by `Trifeature.pairs`.

    Attributes:
        source: the pictures.
        index: (P, 2) int64, rows of `source`. An image may be paired with itself, as published.
        mapping: (10,) int64, texture -> color; the synergy question.

    An item is `{"image1": (H, W, 3) uint8, "image2": the same, "ids": its own row number}`; the arrays are views.
    """

    source: TrifeatureImages
    index: Int64 = field(repr=False)
    mapping: Int64 = field(repr=False)

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, i: int) -> dict[str, Any]:
        row = range(len(self))[i]
        first, second = self.index[row]
        return {"image1": self.source.images[first], "image2": self.source.images[second], "ids": row}

    @property
    def labels(self) -> dict[str, Int64]:
        """What can be asked of a pair, each (P,) int64.

        `redundancy` is the common shape, `uniqueness1` and `uniqueness2` the texture of the first and of the second
        picture, `synergy` is 1 where the second picture's color is the one that `mapping` gives the first's texture.
        """
        first, second = self.index.T
        texture1 = self.source.texture[first]
        return {
            "redundancy": self.source.shape[first],
            "uniqueness1": texture1,
            "uniqueness2": self.source.texture[second],
            "synergy": (self.source.color[second] == self.mapping[texture1]).astype(np.int64),
        }

    def to_dataset(self) -> "datasets.Dataset":
        """The pairs with `image1`, `image2` (Image) and the four labels (ClassLabel), in the order of `index`.

        Raises:
            ImportError: `datasets` (or Pillow, which it needs for images) is not installed.
        """
        hf = _import_datasets()
        images = _encode(self.source.images)  # once each, however many pairs show it
        names = {"redundancy": SHAPES, "uniqueness1": TEXTURES, "uniqueness2": TEXTURES, "synergy": SYNERGY}
        features = {"image1": hf.Image(), "image2": hf.Image()}
        features |= {name: hf.ClassLabel(names=list(classes)) for name, classes in names.items()}
        columns = {f"image{side + 1}": [images[row] for row in self.index[:, side]] for side in range(2)}
        return hf.Dataset.from_dict(columns | self.labels, features=hf.Features(features))


@dataclass(frozen=True, eq=False)
class Trifeature:
    """Both splits, and the mapping that makes some pairs synergistic; made by `load_trifeature`.

    Attributes:
        train: 800 combinations of shape, texture and color, `renders` pictures each.
        test: the other 200 combinations, `test_renders` pictures each.
        mapping: (10,) int64, a permutation: texture index -> color index.
        seed: what all of it was drawn from.
    """

    train: TrifeatureImages
    test: TrifeatureImages
    mapping: Int64
    seed: int

    def pairs(self, split: str = "train", biased: bool = False, max_pairs: int = 10_000) -> TrifeaturePairs:
        """Ordered pairs of one split with the same shape, drawn uniformly without replacement.

        Args:
            split: "train" or "test".
            biased: keep only pairs where color(second) = mapping[texture(first)]. Dufumier et al. train on biased
                pairs for synergy, on unbiased ones for the rest, and always probe on unbiased ones.
            max_pairs: how many at most, default 10,000; all allowed pairs where there are fewer (unbiased test: about
                4,000; biased test: about 400).

        Raises:
            ValueError: `split` or `max_pairs` cannot be used.
        """
        if split not in SPLITS:
            raise ValueError(f"split={split!r} is unknown; write one of {', '.join(map(repr, SPLITS))}")
        check_options(max_pairs=max_pairs)
        source = self.train if split == "train" else self.test
        # A picture may be followed by every member of one group: those of its shape (and of its mapped color).
        wanted, offered = source.shape, source.shape
        if biased:
            wanted = wanted * len(COLORS) + self.mapping[source.texture]
            offered = offered * len(COLORS) + source.color
        members = np.argsort(offered, kind="stable")
        group_sizes = np.bincount(offered, minlength=int(wanted.max()) + 1)
        group_starts = np.cumsum(group_sizes) - group_sizes
        # Number all allowed pairs, first picture by first picture, and draw numbers: no N x N table.
        ends = np.cumsum(group_sizes[wanted])
        check_memory(min(max_pairs, int(ends[-1])) * 48, f"max_pairs={max_pairs}")  # six whole numbers a pair
        rng = generator(self.seed, _PAIRS, SPLITS.index(split), int(biased))
        chosen = rng.choice(ends[-1], size=min(max_pairs, ends[-1]), replace=False)
        first = np.searchsorted(ends, chosen, side="right")
        place = chosen - (ends - group_sizes[wanted])[first]
        second = members[group_starts[wanted[first]] + place]
        return TrifeaturePairs(source, np.stack([first, second], axis=1).astype(np.int64), self.mapping)

    def to_dataset(self) -> "datasets.DatasetDict":
        """Both splits with `image`, `shape`, `texture`, `color` (ClassLabel) and `caption`.

        Raises:
            ImportError: `datasets` (or Pillow, which it needs for images) is not installed.
        """
        hf = _import_datasets()
        classes = {"shape": SHAPES, "texture": TEXTURES, "color": COLORS}
        labels = {name: hf.ClassLabel(names=list(names)) for name, names in classes.items()}
        features = hf.Features({"image": hf.Image()} | labels | {"caption": hf.Value("string")})
        splits = {}
        for name in SPLITS:
            part: TrifeatureImages = getattr(self, name)
            columns = {label: getattr(part, label) for label in labels}
            columns = {"image": _encode(part.images)} | columns | {"caption": part.captions}
            splits[name] = hf.Dataset.from_dict(columns, features=features)
        return hf.DatasetDict(splits)


def load_trifeature(
    image_size: int = 224,
    renders: int = 3,
    seed: int = 42,
    progress: bool = False,
    texture_period: float = 10.0,
    test_renders: int = 1,
) -> Trifeature:
    """Draw the Trifeature set: a few seconds, about 390 MB of pictures at 224 px, 32 MB at 64 px.

    A picture is a 128 px shape, turned by a whole number of degrees in [-45, 45) and put uniformly at random on a grey
    224 px canvas; through it one sees a texture with a random offset and an angle of its own, in one color. A picture
    depends on the seed, its combination and its number among the renders only: more renders add pictures and change
    none. The same arguments give the same bytes on any machine.

    Args:
        image_size: side in pixels, at least 8. Other than 224: the 224 px picture, every pixel the mean over its area.
        renders: training pictures of each combination, at least 1.
        seed: whole number, 0 or more.
        progress: show a progress bar.
        texture_period: period of the textures in pixels of the 224 px canvas, at least 4. Larger is coarser: the
            published texture is magnified, each of its pixels `texture_period / 10` wide. Anything but 10 deviates
            from the published set; useful where a small `image_size` would blur the textures into grey.
        test_renders: test pictures of each combination, at least 1.

    Raises:
        ValueError: an argument cannot be used; the text says what to write instead.
    """
    check_options(image_size, renders, seed, texture_period, test_renders)
    # plain numbers of Python, whatever integer type they came as
    image_size, renders, seed, texture_period = int(image_size), int(renders), int(seed), float(texture_period)

    count = (COMBINATIONS - HELD_OUT) * renders + HELD_OUT * int(test_renders)
    told = f"{count:,} pictures (image_size={image_size}, renders={renders}, test_renders={test_renders})"
    check_memory(count * image_size**2 * 3, told)
    trains, tests = split_combinations(seed)
    train = render(trains, renders, image_size, seed, texture_period, "Trifeature train" if progress else None)
    test = render(tests, int(test_renders), image_size, seed, texture_period, "Trifeature test" if progress else None)
    mapping = generator(seed, _MAPPING).permutation(len(COLORS)).astype(np.int64)
    return Trifeature(train=train, test=test, mapping=mapping, seed=seed)


def check_options(
    image_size: int = 224,
    renders: int = 3,
    seed: int = 42,
    texture_period: float = 10.0,
    test_renders: int = 1,
    max_pairs: int = 10_000,
) -> None:
    """A ValueError where [`load_trifeature`], or `max_pairs` of its pairs, cannot use one of its arguments."""
    _require_count("image_size", image_size, MIN_IMAGE_SIZE, "the published size is 224")
    _require_count("renders", renders, 1, "the published number is 3")
    _require_count("test_renders", test_renders, 1, "the published number is 1")
    _require_count("seed", seed, 0, "the published seed is 42")
    number = isinstance(texture_period, (int, float, np.number)) and not isinstance(texture_period, bool)
    if not number or not isfinite(texture_period) or texture_period < MIN_TEXTURE_PERIOD:
        raise ValueError(
            f"texture_period={texture_period!r} is too small to tell textures apart, or no number; "
            f"write {MIN_TEXTURE_PERIOD:g} or more pixels of the 224 px canvas (the published period is 10)"
        )
    _require_count("max_pairs", max_pairs, 1, "leave it out for 10,000")


def draw_picture(
    shape: str,
    texture: str,
    color: str,
    angle: int = 0,
    image_size: int = 224,
    texture_period: float = 10.0,
    texture_angle: int = 0,
) -> UInt8:
    """One picture as you ask for it, in the middle of the canvas: (H, W, 3) uint8, the same bytes every time.

    Args:
        shape, texture, color: names in `SHAPES`, `TEXTURES` and `COLORS`.
        angle, texture_angle: whole degrees, -45 to 45.
        image_size, texture_period: as in `load_trifeature`.

    Raises:
        UserError: a name is unknown, or an angle is out of range; the text says what to write instead.
    """
    for word, known in ((shape, SHAPES), (texture, TEXTURES), (color, COLORS)):
        if word not in known:
            raise UserError(f"no picture shows {word!r}: {suggest(word, known)}")
    for turn in (angle, texture_angle):
        if not -drawing.MAX_ANGLE <= turn <= drawing.MAX_ANGLE:
            bounds = f"-{drawing.MAX_ANGLE} to {drawing.MAX_ANGLE}"
            raise UserError(f"an angle of {turn} degrees cannot be drawn: write {bounds}")
    canvas = np.empty((drawing.CANVAS, drawing.CANVAS, 3), dtype=np.uint8)
    pose = drawing.middle_pose(int(angle), int(texture_angle))
    drawing.paint(canvas, shape, texture, RGB[color], pose, np.random.default_rng(0), texture_period)
    return canvas if image_size == drawing.CANVAS else drawing.resize(canvas, drawing.area_taps(image_size))


def split_combinations(seed: int) -> tuple[Int64, Int64]:
    """The 800 combinations of training and the 200 held out, each `(shape * 10 + texture) * 10 + color`, ascending."""
    shuffled = generator(seed, _SPLIT).permutation(COMBINATIONS)
    return np.sort(shuffled[HELD_OUT:]), np.sort(shuffled[:HELD_OUT])


def render(
    combinations: Int64,
    renders: int,
    image_size: int,
    seed: int,
    texture_period: float = 10.0,
    title: str | None = None,
) -> TrifeatureImages:
    """Pictures of the combinations, `renders` in a row of each; `title` is the progress bar's, None for no bar."""
    grid = (len(SHAPES), len(TEXTURES), len(COLORS))
    shape, texture, color = np.unravel_index(np.repeat(combinations, renders), grid)
    images = np.empty((len(shape), image_size, image_size, 3), dtype=np.uint8)
    canvas = np.empty((drawing.CANVAS, drawing.CANVAS, 3), dtype=np.uint8)
    taps = drawing.area_taps(image_size)
    rows: Iterable[int] = range(len(images))
    if title is not None:
        from tqdm.auto import tqdm

        rows = tqdm(rows, desc=title, unit="image")
    for k in rows:
        rng = generator(seed, _RENDERING, int(combinations[k // renders]), k % renders)
        pose = drawing.draw_pose(rng)
        target = images[k] if image_size == drawing.CANVAS else canvas
        names = SHAPES[shape[k]], TEXTURES[texture[k]], RGB[COLORS[color[k]]]
        drawing.paint(target, *names, pose, rng, texture_period)
        if target is canvas:
            images[k] = drawing.resize(canvas, taps)
    return TrifeatureImages(images, shape.astype(np.int64), texture.astype(np.int64), color.astype(np.int64))


def generator(seed: int, purpose: int, *key: int) -> np.random.Generator:
    """A random stream of its own for each purpose and key."""
    return np.random.default_rng(np.random.SeedSequence([seed, purpose, *key]))


def _require_count(name: str, value: Any, least: int, hint: str) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise ValueError(f"{name}={value!r} cannot be used; write a whole number of at least {least} ({hint})")


def _import_datasets() -> ModuleType:
    try:
        import datasets
        import PIL.Image  # noqa: F401  (datasets decodes images with Pillow, and does not bring it)
    except ImportError as error:
        raise ImportError("to_dataset() needs datasets and Pillow: pip install datasets pillow") from error
    return datasets


def _encode(images: UInt8) -> list[dict[str, Any]]:
    """PNG files in memory, as the Image feature stores them."""
    from PIL import Image

    encoded = []
    for image in images:
        Image.fromarray(image).save(buffer := BytesIO(), format="png", compress_level=1)
        encoded.append({"bytes": buffer.getvalue(), "path": None})
    return encoded
