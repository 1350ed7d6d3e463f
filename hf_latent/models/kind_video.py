"""Clips as frames of pixels."""

import re
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from .images import read_image
from .kind_image import ImageKind

FRAMES = 8
SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp")


class VideoKind(ImageKind):
    """What [`read_clip`] takes, as `pixel_values` `(batch, frames, 3, size, size)`.

    Options: those of `ImageKind`, for each frame, and `frames`, how many are read of a clip (8).
    """

    kind = "video"

    def __init__(self, name: str, options: dict[str, Any], tokenizer: Any = None) -> None:
        super().__init__(name, options, tokenizer)
        count = options.setdefault("frames", FRAMES)
        if not isinstance(count, int) or isinstance(count, bool) or count < 1:
            raise ValueError(f"modality {name!r}: frames={count!r}: write a whole number of at least 1")

    def stack(self, values: Sequence[Any], **text: Any) -> dict[str, Tensor]:
        """uint8, before any view."""
        return super().stack([self._frames(row, value) for row, value in enumerate(values)])

    def _frames(self, row: int, value: Any) -> list[Image.Image]:
        try:
            return read_clip(value, self.options["frames"])
        except ValueError as error:
            raise ValueError(f"row {row} of modality {self.name!r} is no clip that can be read: {error}") from None


def chosen_frames(length: int, frames: int) -> list[int]:
    """Which of `length` frames are read: the middle ones of `frames` parts of equal length, number `i` is
    `floor((i + 1/2) length / frames)`. Short clips repeat some."""
    return [(2 * number + 1) * length // (2 * frames) for number in range(frames)]


def read_clip(value: Any, frames: int) -> list[Image.Image]:
    """Some frames of a clip, see [`chosen_frames`]; only these are decoded.

    Args:
        value: A list of frames, each as `images.read_image` takes it or a `pathlib.Path`; an array
            `(frames, height, width, 3)`, or a tensor `(frames, 3, height, width)`; or a `pathlib.Path` to a folder of
            frames, in the order of their names, in which numbers are counted: `2.png` stands before `10.png`. No
            name as a text, as of images.
        frames: How many to read.

    Raises:
        ValueError: If it cannot be read; says why.
    """
    if isinstance(value, PathLike):
        if not Path(value).is_dir():
            raise ValueError(f"there is no folder of frames {value}")
        images = (path for path in Path(value).iterdir() if path.suffix.lower() in SUFFIXES)
        value = sorted((path for path in images if not path.name.startswith(".")), key=_counted)
    if isinstance(value, list | tuple) and value and isinstance(value[0], list | tuple):
        try:
            value = np.asarray(value)  # as datasets stores arrays
        except ValueError as error:
            raise ValueError(f"expected frames of one size ({error})") from error
        if np.issubdtype(value.dtype, np.integer) and value.min() >= 0 and value.max() < 256:
            value = value.astype(np.uint8)
    if isinstance(value, np.ndarray | Tensor):
        channels = -1 if isinstance(value, np.ndarray) else 1
        if value.ndim != 4 or value.shape[channels] not in (1, 3):
            order = "(frames, height, width, 3)" if channels < 0 else "(frames, 3, height, width)"
            raise ValueError(f"expected {order}, found {tuple(value.shape)}")
    elif not isinstance(value, list | tuple):
        raise ValueError(f"expected a list of frames, found {type(value).__name__}")
    if not len(value):
        raise ValueError("a clip without a frame")
    chosen = chosen_frames(len(value), frames)
    read = {place: _frame(place, value[place]) for place in dict.fromkeys(chosen)}
    return [read[place] for place in chosen]


def _counted(path: Path) -> tuple[list[str | int], str]:
    """A name with its numbers as numbers."""
    parts = re.split("([0-9]+)", path.name)
    return [int(part) if place % 2 else part for place, part in enumerate(parts)], path.name


def _frame(place: int, value: Any) -> Image.Image:
    try:
        return read_image(Path(value).read_bytes() if isinstance(value, PathLike) else value)
    except (OSError, ValueError) as error:
        raise ValueError(f"frame {place}: {error}") from error
