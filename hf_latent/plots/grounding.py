"""The figure of what a model sees where: maps of phrases laid over the pictures they were found in."""

from collections.abc import Sequence
from math import ceil
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from .look import save_png, titled_panels

COLUMNS = 4
DARKEST = 0.75  # where a map is zero


def plot_grounding(
    images: Sequence[NDArray[np.uint8]],
    maps: Sequence[NDArray[np.floating]],
    phrases: Sequence[str],
    boxes: Sequence[Sequence[float]],
    path: str | Path,
) -> Path:
    """Pictures lit where their maps are large, a cross at the largest value, the phrase above and the true box drawn.

    Args:
        images: `(H, W, 3)` uint8 each.
        maps: `(rows, columns)` each, on a grid over the picture, 0 or more; each is drawn up to its own largest value.
        phrases: What was looked for.
        boxes: Left, top, right, bottom in pixels.
        path: where the PNG goes.

    Raises:
        ValueError: nothing to draw, lists of different lengths, or the path does not end in `.png`.
    """
    return save_png(grounding_figure(images, maps, phrases, boxes), path)


def grounding_figure(
    images: Sequence[NDArray[np.uint8]],
    maps: Sequence[NDArray[np.floating]],
    phrases: Sequence[str],
    boxes: Sequence[Sequence[float]],
) -> Figure:
    """The figure of `plot_grounding`."""
    if not len(images) or not len(images) == len(maps) == len(phrases) == len(boxes):
        counts = ", ".join(str(len(part)) for part in (images, maps, phrases, boxes))
        raise ValueError(f"Give one image, map, phrase and box at least, and as many of each; got {counts}.")
    columns = min(COLUMNS, len(images))
    title = "Where the model looks for the phrase"
    figure, panels = titled_panels(title, ceil(len(images) / columns), columns, (2.6, 2.8))
    for panel, image, values, phrase, box in zip(panels, images, maps, phrases, boxes, strict=False):
        height, width = image.shape[:2]
        # Light instead of a color: a colored map over colored objects would change what they are.
        strength = np.asarray(values, dtype=np.float64) / max(float(np.max(values)), 1e-30)
        panel.imshow(image, extent=(0, width, height, 0), interpolation="nearest")
        shade = np.zeros((*strength.shape, 4))
        shade[..., 3] = DARKEST * (1 - strength)
        panel.imshow(shade, extent=(0, width, height, 0), interpolation="bilinear")
        if strength.any():
            row, column = np.unravel_index(strength.argmax(), strength.shape)
            middle = (column + 0.5) * width / strength.shape[1], (row + 0.5) * height / strength.shape[0]
            panel.plot(*middle, "+", color="black", markersize=13, markeredgewidth=3.5)
            panel.plot(*middle, "+", color="white", markersize=12, markeredgewidth=1.5)
        left, top, right, bottom = box
        corner, size = (left, top), (right - left, bottom - top)
        panel.add_patch(Rectangle(corner, *size, fill=False, edgecolor="black", lw=3.5))
        panel.add_patch(Rectangle(corner, *size, fill=False, edgecolor="white", lw=1.8))
        panel.set_visible(True)
        panel.set_title(phrase, fontsize=12)
        panel.set(xticks=[], yticks=[], xlim=(0, width), ylim=(height, 0))
    return figure
