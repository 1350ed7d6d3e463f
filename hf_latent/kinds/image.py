"""Images."""

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

from ..models.images import read_image
from .base import Decoder, Kind, Suggestion, register_kind
from .stored import content, is_file, named

ENCODER = {"encoder": "cnn", "channels": [16, 32, 64, 128], "norm": "group"}
SIZE = 64  # pixels of a side that ENCODER is for


@register_kind("image")
class ImageKind(Kind):
    """Columns of images, which `data.rows` reads by their type; of names of files, of their bytes, or of records with
    `bytes` and `path`."""

    IMPORTS = ("from PIL import Image",)
    OPENS_FILES = True
    UNTYPED = True
    SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
    NAMES = ("image", "img", "image_path", "filepath", "file_name", "picture", "photo", "jpg", "jpeg", "png", "webp")

    def decoder(self, spec: Mapping[str, Any]) -> Decoder:
        return _decoded

    def suggest(self, feature: Any, values: Sequence[Any]) -> Suggestion | None:
        import datasets

        why = "images" if isinstance(feature, datasets.Image) else None
        if why is None and is_file(feature):
            name, file = named(values, self.SUFFIXES), content(values)
            if name is not None:
                why = f"files of images, such as {name!r}"
            elif file is not None and _is_image(file):
                why = "the bytes of images"
        return None if why is None else Suggestion(why, ENCODER, {"kind": "image", "size": SIZE, "fit": "squash"})

    def example(self, name: str, spec: Mapping[str, Any]) -> str:
        return f'Image.open("{name}.png")'

    def thumbnail(self, value: Any) -> Image.Image:
        from ..plots.thumbnails import of_images

        return of_images([read_image(one) for one in (value if isinstance(value, list | tuple) else [value])])


def _decoded(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_decoded(one) for one in value]
    return read_image(value.read_bytes() if isinstance(value, Path) else value)


def _is_image(content: bytes) -> bool:
    try:
        with Image.open(BytesIO(content)):
            return True
    except Exception:  # decoders raise what they like
        return False
