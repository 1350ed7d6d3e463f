"""Worlds of pictures that follow from a few factors: what these are, how they are told, and which rows are drawn."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from . import rooms_drawing, sprites_drawing

Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True)
class World:
    """Every combination of some factors, a picture each.

    Attributes:
        title: What the pictures are, in the plural.
        factors: Factor -> the name of each of its values; of two neighbouring combinations the last factor differs.
        noun: The factor that a caption names as the thing.
        thing: What a caption calls it where that factor is withheld.
        before: Factors that a caption tells as adjectives, in order, each as a sentence part with "{}".
        behind: The others.
    """

    title: str
    factors: Mapping[str, tuple[str, ...]]
    noun: str
    thing: str
    before: Mapping[str, str] = field(default_factory=dict)
    behind: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        return tuple(map(len, self.factors.values()))

    def __len__(self) -> int:
        return int(np.prod(self.sizes))

    def thinned(self, every: Mapping[str, int]) -> "World":
        """The world of every n-th value of some factors, from the first one on."""
        return replace(self, factors={name: values[:: every.get(name, 1)] for name, values in self.factors.items()})

    def classes(self, numbers: Int64) -> Int64:
        """`(rows, factors)`, the values of numbered combinations."""
        return np.stack(np.unravel_index(numbers, self.sizes), axis=1)

    def numbers(self, classes: Int64) -> Int64:
        """`(rows,)`, the numbers of combinations."""
        return np.ravel_multi_index(tuple(classes.T), self.sizes)

    def record(self, classes: Int64, told: Collection[str]) -> dict[str, str]:
        """The factors of one combination that are told, by name."""
        return {
            name: values[number]
            for (name, values), number in zip(self.factors.items(), classes.tolist(), strict=True)
            if name in told
        }

    def caption(self, classes: Int64, told: Collection[str]) -> str:
        """A sentence that tells these factors of one combination, and no other."""
        found = self.record(classes, told)
        adjectives = [words.format(found[name]) for name, words in self.before.items() if name in found]
        behind = [words.format(found[name]) for name, words in self.behind.items() if name in found]
        return ", ".join([" ".join(["a", *adjectives, found.get(self.noun, self.thing)]), *behind])


def drawn_rows(world: World, rows: int, seed: int) -> Int64:
    """The numbers of some combinations, each once: those that the code of the paper draws (Almudevar et al. 2025)."""
    return np.random.RandomState(seed).choice(len(world), rows, replace=False)


def _counted(count: int, words: str = "{}") -> tuple[str, ...]:
    return tuple(words.format(number) for number in range(count))


def _angles(start: float, end: float, count: int) -> tuple[str, ...]:
    return tuple(f"{angle:.0f}" for angle in np.linspace(start, end, count))


HUES = ("red", "orange", "lime", "green", "mint", "cyan", "azure", "blue", "violet", "pink")

SPRITES = World(
    "sprites",
    {
        "shape": sprites_drawing.SHAPES,
        "scale": tuple(f"{scale:.1f}" for scale in np.linspace(0.5, 1, sprites_drawing.SCALES)),
        # The last angle is the first again; classes need names of their own.
        "orientation": tuple(
            f"{360 * number / (sprites_drawing.ORIENTATIONS - 1):.0f}"
            for number in range(sprites_drawing.ORIENTATIONS)
        ),
        "x": _counted(sprites_drawing.PLACES),
        "y": _counted(sprites_drawing.PLACES),
    },
    noun="shape",
    thing="sprite",
    behind={
        "scale": "size {}",
        "orientation": "turned by {} degrees",
        "x": "{} from the left",
        "y": "{} from the top",
    },
)
ROOMS = World(
    "rooms",
    {
        "floor_hue": HUES,
        "wall_hue": HUES,
        "object_hue": HUES,
        "scale": tuple(f"{scale:.2f}" for scale in np.linspace(0.75, 1.25, rooms_drawing.SCALES)),
        "shape": rooms_drawing.SHAPES,
        "orientation": _angles(-30, 30, rooms_drawing.ORIENTATIONS),
    },
    noun="shape",
    thing="thing",
    before={"object_hue": "{}"},
    behind={
        "scale": "size {}",
        "floor_hue": "a {} floor",
        "wall_hue": "{} walls",
        "orientation": "seen from {} degrees",
    },
)
ROBOT_ARM = World(
    "photographs of a thing on a robot arm",
    {
        "object_color": ("white", "green", "red", "blue", "brown", "olive"),
        "object_shape": ("cone", "cube", "cylinder", "hexagonal", "pyramid", "sphere"),
        "object_size": ("small", "large"),
        "camera_height": ("top", "center", "bottom"),
        "background_color": ("purple", "sea-green", "salmon"),
        "horizontal_axis": _counted(40),
        "vertical_axis": _counted(40),
    },
    noun="object_shape",
    thing="thing",
    before={"object_size": "{}", "object_color": "{}"},
    behind={
        "background_color": "on {}",
        "camera_height": "seen from the {}",
        "horizontal_axis": "{} across",
        "vertical_axis": "{} up",
    },
)
DRAW: Mapping[str, Callable[[Any, int], npt.NDArray[np.uint8]]] = {
    "sprites": sprites_drawing.draw_sprites,
    "rooms": rooms_drawing.draw_rooms,
}
