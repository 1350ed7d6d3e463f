"""Images."""

from collections.abc import Mapping
from typing import Any

from PIL import Image

from ..models.images import read_image
from .base import Kind, register_kind


@register_kind("image")
class ImageKind(Kind):
    """Columns of images, which `data.rows` reads by their type."""

    IMPORTS = ("from PIL import Image",)

    def example(self, name: str, spec: Mapping[str, Any]) -> str:
        return f'Image.open("{name}.png")'

    def thumbnail(self, value: Any) -> Image.Image:
        from ..plots.thumbnails import of_images

        return of_images([read_image(one) for one in (value if isinstance(value, list | tuple) else [value])])
