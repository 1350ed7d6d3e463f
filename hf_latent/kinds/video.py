"""Clips."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from PIL import Image

from ..models.kind_video import FRAMES, read_clip
from .base import Decoder, Kind, Suggestion, register_kind
from .image import ENCODER, SIZE, ImageKind
from .stored import dtype, inner, named

SHOWN = 3  # frames


@register_kind("video")
class VideoKind(Kind):
    """Columns of lists of images or of names of images, of names of folders of them, or of arrays
    `(frames, height, width, 3)`. Only the frames that the encoder reads are decoded."""

    IMPORTS = ("from pathlib import Path", "from PIL import Image")
    OPENS_FILES = True
    NAMES = ("video", "clip", "frames", "images")

    def decoder(self, spec: Mapping[str, Any]) -> Decoder:
        frames = spec.get("frames", (spec.get("config") or {}).get("num_frames", FRAMES))
        return partial(read_clip, frames=frames)

    def suggest(self, feature: Any, values: Sequence[Any]) -> Suggestion | None:
        import datasets

        frames, why = inner(feature), None
        if isinstance(frames, datasets.Image):
            why = "lists of images, read as the frames of a clip"
        elif dtype(frames) == "string":
            name = named([part for value in values for part in value or ()], ImageKind.SUFFIXES)
            why = None if name is None else f"lists of files of images, such as {name!r}, read as the frames of a clip"
        if why is None:
            return None
        return Suggestion(why, {**ENCODER, "frames": FRAMES}, {"kind": "video", "size": SIZE, "fit": "squash"})

    def example(self, name: str, spec: Mapping[str, Any]) -> str:
        return f'[Image.open(path) for path in sorted(Path("{name}").glob("*.png"))]'

    def thumbnail(self, value: Any) -> Image.Image:
        from ..plots.thumbnails import of_images

        return of_images(read_clip(value, min(SHOWN, len(value)) if hasattr(value, "__len__") else SHOWN))
