"""Images."""

from collections.abc import Mapping
from typing import Any

from PIL import Image

from .base import Kind, register_kind


@register_kind("image")
class ImageKind(Kind):
    """Columns of images, which `data.rows` reads by their type."""

    IMPORTS = ("from PIL import Image",)

    def example(self, name: str, spec: Mapping[str, Any]) -> str:
        return f'Image.open("{name}.png")'

    def thumbnail(self, value: Any) -> Image.Image:
        from .drawing import of_images

        return of_images(list(value) if isinstance(value, list | tuple) else [value])
