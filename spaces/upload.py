"""Images that visitors bring: opened with care, or refused in a sentence."""

from abc import ABCMeta
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from hf_latent.models.images import read_image

FORMATS = ("PNG", "JPEG", "WEBP", "BMP")
MAX_FILE, MAX_PIXELS = "5mb", 30_000_000
WANTED = f"Bring a {', '.join(FORMATS[:-1])} or {FORMATS[-1]} file of at most {MAX_PIXELS // 10**6} megapixels."


def open_image(path: str | Path) -> Image.Image:
    """An uploaded image as models read it, whole; its header is judged before a pixel is read.

    Raises:
        gr.Error: If it is no image, or too large to open.
    """
    try:
        with Image.open(path, formats=FORMATS) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise refusal(f"This image has {width} x {height} pixels.")
            return read_image(image)
    except gr.Error:  # a ValueError, too
        raise
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        raise refusal("This file cannot be read as an image.") from None


def refusal(reason: str) -> gr.Error:
    """What the visitor is told."""
    return gr.Error(f"{reason} {WANTED}", print_exception=False)


def _preprocess(self: gr.Image, payload: Any) -> Image.Image | None:
    if payload is None:
        return None
    if payload.path is None:
        raise refusal("The image came without a file.")
    return open_image(payload.path)


# An image component that opens what it is given with `open_image`: gradio's own decodes anything. It is made behind
# the back of gradio's metaclass, which would write a .pyi file beside this one.
Upload: type[gr.Image] = ABCMeta.__new__(
    type(gr.Image), "Upload", (gr.Image,), {"preprocess": _preprocess, "is_template": True, "__module__": __name__}
)
