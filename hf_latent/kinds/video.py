"""Clips."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from PIL import Image

from ..models.kind_video import FRAMES, read_clip
from .base import Decoder, Kind, register_kind

SHOWN = 3  # frames


@register_kind("video")
class VideoKind(Kind):
    """Columns of lists of images or of names of images, of names of folders of them, or of arrays
    `(frames, height, width, 3)`. Only the frames that the encoder reads are decoded."""

    IMPORTS = ("from pathlib import Path", "from PIL import Image")
    OPENS_FILES = True

    def decoder(self, spec: Mapping[str, Any]) -> Decoder:
        frames = spec.get("frames", (spec.get("config") or {}).get("num_frames", FRAMES))
        return partial(read_clip, frames=frames)

    def example(self, name: str, spec: Mapping[str, Any]) -> str:
        return f'[Image.open(path) for path in sorted(Path("{name}").glob("*.png"))]'

    def thumbnail(self, value: Any) -> Image.Image:
        from ..plots.thumbnails import of_images

        return of_images(read_clip(value, min(SHOWN, len(value)) if hasattr(value, "__len__") else SHOWN))
