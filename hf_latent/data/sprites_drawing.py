"""Sprites after dSprites: a white square, ellipse or heart on black, of a size, an angle and a place."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

SHAPES = ("square", "ellipse", "heart")
SCALES, ORIENTATIONS, PLACES = 6, 40, 32
CANVAS = 64  # units of length a side; sizes and places are in them
ROWS = 256  # that are drawn together


def draw_sprites(classes: npt.NDArray[np.int64], image_size: int = CANVAS) -> npt.NDArray[np.uint8]:
    """Sprites, the same bytes on every machine.

    A sprite covers a pixel where it covers the centre of the pixel. As in dSprites the first and the last orientation
    are the same angle, and the border stays empty; the sizes of the shapes are our own choice.

    Args:
        classes: `(rows, 5)`, of each the number of shape, scale, orientation and place from the left and from the top.
        image_size: In pixels a side.

    Returns:
        `(rows, image_size, image_size)`, 0 or 255.
    """
    images = np.zeros((len(classes), image_size, image_size), dtype=np.uint8)
    centres = (np.arange(image_size, dtype=np.float64) + 0.5) * (CANVAS / image_size)
    for shape, covers in enumerate((_square, _ellipse, _heart)):
        own = np.flatnonzero(classes[:, 0] == shape)
        for start in range(0, len(own), ROWS):
            part = own[start : start + ROWS]
            images[part] = np.where(covers(*_coordinates(classes[part], centres)), 255, 0)
    return images


def _coordinates(classes: npt.NDArray[np.int64], centres: Floats) -> tuple[Floats, Floats]:
    """The centres of all pixels as a sprite sees them, turned and scaled about its middle."""
    scale = np.linspace(0.5, 1, SCALES)[classes[:, 1], None, None]
    angle = (2 * np.pi / (ORIENTATIONS - 1) * classes[:, 2])[:, None, None]
    cos, sin = np.cos(angle), np.sin(angle)
    right = centres[None, None, :] - (16.5 + classes[:, 3, None, None])
    down = centres[None, :, None] - (16.5 + classes[:, 4, None, None])
    return (cos * right + sin * down) / scale, (cos * down - sin * right) / scale


def _square(u: Floats, v: Floats) -> npt.NDArray[np.bool_]:
    return np.maximum(abs(u), abs(v)) <= 9


def _ellipse(u: Floats, v: Floats) -> npt.NDArray[np.bool_]:
    return (u / 12) ** 2 + (v / 7) ** 2 <= 1


def _heart(u: Floats, v: Floats) -> npt.NDArray[np.bool_]:
    a, b = u / 9.5, (1.5 - v) / 9.5
    return (a**2 + b**2 - 1) ** 3 <= a**2 * b**3
