"""How a Trifeature picture is drawn: templates, textures, pose, paint, resizing. Plain NumPy, no data set.

Coordinates are (row, column), `y` and `x`, in pixels, `y` downwards. Everything that could round differently from one
machine to the next is either an integer or an elementwise IEEE operation, so the same pose gives the same bytes.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

CANVAS = 224
TEMPLATE = 128
PERIOD = 10
MAX_ANGLE = 45
BACKGROUND = 0.5


# Shapes: functions of the row y (128, 1) and column x (1, 128) of the template; True is inside.
# Most are symmetric about the middle column, so they are a half-width for every row.


def _beside_axis(x: Array) -> Array:
    return np.abs(x - TEMPLATE // 2)


def _bar(t: Array) -> Array:
    return _beside_axis(t) <= TEMPLATE // 6


def _pentagon(y: Array, x: Array) -> Array:
    shoulder = 51
    return _beside_axis(x) < np.where(y < shoulder, 1 + 1.25 * y, TEMPLATE // 2 - (y - shoulder) // 3.1)


def _star(y: Array, x: Array) -> Array:
    tip = (y < 51) & (_beside_axis(x) < 1 + y // 4)
    arms = (y >= 51) & (y < 76) & (_beside_axis(x) < TEMPLATE // 2 - 2.4 * (y - 51))
    outer, inner = TEMPLATE * 0.33 - 0.43 * (y - 70), TEMPLATE * 0.62 - 1.05 * (y - 70)
    left, right = (outer < x) & (x < inner), (outer < TEMPLATE - x) & (TEMPLATE - x < inner)
    return tip | arms | ((y >= 70) & (left | right))


def _fivesquare(y: Array, x: Array) -> Array:
    def middle_third(t: Array) -> Array:
        return (t >= TEMPLATE // 3) & (t < 2 * TEMPLATE // 3)

    return middle_third(y) == middle_third(x)  # four corners, and the middle of both


SHAPE_FUNCTIONS: dict[str, Callable[[Array, Array], Array]] = {
    "triangle": lambda y, x: _beside_axis(x) < 1 + y // 2,
    "square": lambda y, x: (y >= 0) & (x >= 0),
    "plus": lambda y, x: _bar(y) | _bar(x),
    "circle": lambda y, x: (y + 0.5 - TEMPLATE / 2) ** 2 + (x + 0.5 - TEMPLATE / 2) ** 2 < (TEMPLATE / 2) ** 2,
    "tee": lambda y, x: (y < TEMPLATE // 3) | _bar(x),
    "rhombus": lambda y, x: (x - TEMPLATE // 2 + y // 2 > 0) & (x + y // 2 < TEMPLATE),
    "pentagon": _pentagon,
    "star": _star,
    "fivesquare": _fivesquare,
    "trapezoid": lambda y, x: _beside_axis(x) < TEMPLATE // 2 - y // 3.1,
}


# Textures: functions of integer coordinates of any (broadcast) shape; True is painted. Only noise and rain draw.


def _hexgrid(y: Array, x: Array, rng: np.random.Generator) -> Array:
    slant = 173 * y // 100  # a slope of about the square root of 3, in whole pixels
    return ((x + slant) % PERIOD < 2) | ((x - slant) % PERIOD < 2) | (y % PERIOD < 2)


def _zigzags(y: Array, x: Array, rng: np.random.Generator) -> Array:
    across = np.where(y // PERIOD % 2 == 1, -x - 1, x) % PERIOD  # every other band leans the other way
    lean = y % PERIOD // 2
    return (across > lean) & (across < lean + PERIOD // 2)


def _pluses(y: Array, x: Array, rng: np.random.Generator) -> Array:
    odd_band = y // PERIOD % 2 == 1
    column, row = x % PERIOD, y % PERIOD
    crossbar, post = np.abs(row - 5) < 2, np.abs(column - 5) < 2
    return np.where(odd_band, (column < 2) | (column > 8) | (crossbar & ~post), post | crossbar)


def _random_field(y: Array, x: Array, rng: np.random.Generator, probability: float, fall: int) -> Array:
    """Points of a random field that are within `fall` pixels below a drop; only the field's needed part is drawn."""
    top, left = int(y.min()), int(x.min())
    height, width = int(y.max()) - top + 1, int(x.max()) - left + 1
    drops = rng.random((height + fall - 1, width), dtype=np.float32) < probability
    wet = np.logical_or.reduce([drops[k : k + height] for k in range(fall)])
    return wet[y - top, x - left]


TEXTURE_FUNCTIONS: dict[str, Callable[[Array, Array, np.random.Generator], Array]] = {
    "solid": lambda y, x, rng: np.ones(np.broadcast(y, x).shape, dtype=bool),
    "stripes": lambda y, x, rng: np.broadcast_to(y % PERIOD < 3, np.broadcast(y, x).shape),
    "grid": lambda y, x, rng: (y % PERIOD < 3) | (x % PERIOD < 3),
    "hexgrid": _hexgrid,
    "dots": lambda y, x, rng: (y % PERIOD - 5) ** 2 + (x % PERIOD - 5) ** 2 < 16,
    "noise": lambda y, x, rng: _random_field(y, x, rng, probability=0.5, fall=1),
    "triangles": lambda y, x, rng: y % PERIOD // 2 > np.abs(x % PERIOD - 5),
    "zigzags": _zigzags,
    "rain": lambda y, x, rng: _random_field(y, x, rng, probability=0.05, fall=7),
    "pluses": _pluses,
}


class Pose(NamedTuple):
    """Where a shape lies and how its texture runs: whole degrees, and pixels of the 224 px canvas."""

    angle: int
    row: int
    column: int
    texture_angle: int
    texture_row: int
    texture_column: int


def draw_pose(rng: np.random.Generator) -> Pose:
    """A random pose: angles in [-45, 45), the rotated shape whole on the canvas, texture offsets in [0, 10)."""
    angle, texture_angle = (int(a) for a in rng.integers(-MAX_ANGLE, MAX_ANGLE, size=2))
    row, column = (int(p) for p in rng.integers(0, CANVAS - _extent(angle), size=2))
    texture_row, texture_column = (int(o) for o in rng.integers(0, PERIOD, size=2))
    return Pose(angle, row, column, texture_angle, texture_row, texture_column)


def middle_pose(angle: int, texture_angle: int) -> Pose:
    """The shape in the middle of the canvas, the texture without an offset."""
    place = (CANVAS - _extent(angle)) // 2
    return Pose(angle, place, place, texture_angle, 0, 0)


def _cos_sin(angle: int) -> tuple[float, float]:
    # libm's last digit differs between machines; twelve decimals do not
    return round(float(np.cos(np.deg2rad(angle))), 12), round(float(np.sin(np.deg2rad(angle))), 12)


def _extent(angle: int) -> int:
    """Side in pixels of the square that holds the rotated template."""
    cos, sin = _cos_sin(angle)
    return int(TEMPLATE * (cos + abs(sin)) + 0.5)


def _turn(rows: Array, columns: Array, angle: int) -> tuple[Array, Array]:
    """Where the points (n,) x (m,) of a rotated plane lie in the plane itself, about the origin: two (n, m) arrays."""
    cos, sin = _cos_sin(angle)
    rows, columns = rows[:, None], columns[None, :]
    return cos * rows + sin * columns, cos * columns - sin * rows


def template(shape: str) -> Array:
    """The upright shape: (128, 128) bool."""
    y, x = np.ogrid[:TEMPLATE, :TEMPLATE]
    return np.broadcast_to(SHAPE_FUNCTIONS[shape](y, x), (TEMPLATE, TEMPLATE))


@lru_cache(maxsize=2 * MAX_ANGLE)  # one shape at all its angles: about 12 MB
def rotated_shape(shape: str, angle: int) -> Array:
    """The shape turned by `angle` degrees, bilinear: (n, n) float32 in [0, 1], n from 128 to 181. Read-only."""
    axis = np.arange(n := _extent(angle)) - (n - 1) / 2
    y, x = (t + (TEMPLATE - 1) / 2 for t in _turn(axis, axis, angle))
    inside = (y >= 0) & (y <= TEMPLATE - 1) & (x >= 0) & (x <= TEMPLATE - 1)
    y0, x0 = (np.clip(np.floor(t), 0, TEMPLATE - 2).astype(np.int64) for t in (y, x))
    down, right = y - y0, x - x0
    flat, at = template(shape).astype(np.float64).ravel(), y0 * TEMPLATE + x0
    upper = flat[at] * (1 - right) + flat[at + 1] * right
    lower = flat[at + TEMPLATE] * (1 - right) + flat[at + TEMPLATE + 1] * right
    mask = np.where(inside, upper * (1 - down) + lower * down, 0).astype(np.float32)
    mask.flags.writeable = False
    return mask


def paint(
    canvas: Array,
    shape: str,
    texture: str,
    color: tuple[float, float, float],
    pose: Pose,
    rng: np.random.Generator,
    texture_period: float = PERIOD,
) -> None:
    """Draw one picture into `canvas`, (224, 224, 3) uint8; `rng` feeds noise and rain.

    The texture is rotated about the middle of the canvas by nearest neighbour and read only where the shape's box is.
    """
    mask = rotated_shape(shape, pose.angle)
    n, middle, zoom = len(mask), (CANVAS - 1) / 2, texture_period / PERIOD
    y, x = _turn(np.arange(n) + pose.row - middle, np.arange(n) + pose.column - middle, pose.texture_angle)
    # Published textures are drawn on a plane twice the canvas, whose middle is CANVAS - 0.5; the other half rounds.
    y, x = (np.floor(t / zoom + CANVAS).astype(np.int32) for t in (y, x))
    painted = TEXTURE_FUNCTIONS[texture](y + pose.texture_row, x + pose.texture_column, rng)
    cover = mask * painted
    ground = (1 - cover) * np.float32(BACKGROUND)
    canvas.fill(int(BACKGROUND * 255))
    box = canvas[pose.row : pose.row + n, pose.column : pose.column + n]
    for channel in range(3):
        box[..., channel] = (cover * np.float32(color[channel]) + ground) * np.float32(255)


def area_taps(size: int) -> tuple[Array, Array]:
    """Which of the 224 input pixels each of `size` equal output pixels covers, and how much of each.

    Returns:
        index: (taps, size), input pixels.
        weight: (taps, size) int32, the overlap in units of 1 / size of an input pixel: whole numbers, 224 per output.
    """
    edges = np.arange(size + 1) * CANVAS
    index = edges[:-1] // size + np.arange(CANVAS // size + 2)[:, None]
    overlap = np.minimum(edges[1:], (index + 1) * size) - np.maximum(edges[:-1], index * size)
    return np.minimum(index, CANVAS - 1), np.maximum(overlap, 0).astype(np.int32)


def resize(canvas: Array, taps: tuple[Array, Array]) -> Array:
    """Mean color over every output pixel's area: (224, 224, 3) uint8 to (size, size, 3) uint8.

    Whole numbers until the one rounding at the end, and a handful of taps instead of a matrix product, whose threads
    cost more than such small work and whose rounding differs between machines.
    """
    sums = canvas
    for axis, shape in ((0, (-1, 1, 1)), (1, (1, -1, 1))):
        sums = sum(sums.take(i, axis=axis) * w.reshape(shape) for i, w in zip(*taps, strict=True))
    return ((sums + CANVAS**2 // 2) // CANVAS**2).astype(np.uint8)
