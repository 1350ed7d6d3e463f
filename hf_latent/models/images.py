"""Reading images: the one place that makes RGB of them, for training, processors and the Space alike."""

from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image, ImageOps
from torch import Tensor


def read_image(value: Any) -> Image.Image:
    """An image in RGB, 8 bits a channel, upright.

    The orientation that EXIF names is applied, transparency is composited on white, the first frame stands for all.
    Values of more than 8 bits are scaled: 16-bit integers are divided by 257, floats from 0 to 1 are multiplied by
    255, other floats and wider integers are stretched from their smallest to their largest value. Of arrays and
    tensors of wide integers, values up to 255 are those of 8 bits.

    Args:
        value: A PIL image; the bytes of a file; an array `(height, width)` or `(height, width, channels)` with 1
            channel (gray), 2 (gray and alpha), 3 (RGB) or 4 (RGBA); or such a tensor with its channels first. No path:
            a text in a row of somebody's data must not name a file of this machine.

    Raises:
        ValueError: If it cannot be read; says why.
    """
    try:
        if isinstance(value, Image.Image):
            return _rgb(value)
        if isinstance(value, bytes):
            with Image.open(BytesIO(value)) as image:
                return _rgb(image)
        if isinstance(value, Tensor | np.ndarray):
            return _rgb(Image.fromarray(_array(value)))
    except Exception as error:  # decoders raise what they like: OverflowError, struct.error, zlib.error ...
        raise ValueError(str(error) or type(error).__name__) from error
    raise ValueError(f"expected an image, found {type(value).__name__}")


def _rgb(image: Image.Image) -> Image.Image:
    image = ImageOps.exif_transpose(image)
    if image.mode == "F" or image.mode.startswith("I"):
        image = Image.fromarray(_eight_bits(np.asarray(image), sixteen=image.mode != "F"))
    if image.mode == "La":
        image = image.convert("LA")  # Pillow knows no shorter way to RGBA
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    if image.mode != "RGB":
        return image.convert("RGB")
    image.load()
    return image


def _array(value: Any) -> np.ndarray:
    """`(height, width)` or `(height, width, channels)` uint8, as Pillow takes it."""
    pixels = value.detach().cpu().numpy() if isinstance(value, Tensor) else value
    if isinstance(value, Tensor) and pixels.ndim == 3:
        pixels = pixels.transpose(1, 2, 0)
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] not in (2, 3, 4)) or 0 in pixels.shape:
        order = "(channels, height, width)" if isinstance(value, Tensor) else "(height, width, channels)"
        raise ValueError(f"expected {order} with 1 to 4 channels, found {tuple(value.shape)}")
    return np.ascontiguousarray(_eight_bits(pixels, sixteen=pixels.dtype == np.uint16))


def _eight_bits(pixels: np.ndarray, sixteen: bool) -> np.ndarray:
    """Any numbers as uint8; `sixteen` says that integers up to 255 are dark ones of 16 bits."""
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype == bool:
        return pixels.astype(np.uint8) * 255
    if not np.issubdtype(pixels.dtype, np.number) or np.iscomplexobj(pixels):
        raise ValueError(f"expected numbers, found {pixels.dtype}")
    low, high = float(pixels.min()), float(pixels.max())
    if not np.isfinite([low, high]).all():
        raise ValueError("it holds NaN or infinity")
    whole = np.issubdtype(pixels.dtype, np.integer)
    if whole and low >= 0 and high < 2**8 and not sixteen:
        return pixels.astype(np.uint8)
    if whole and low >= 0 and high < 2**16:
        scaled = pixels.astype(np.float64) / 257
    elif not whole and low >= 0 and high <= 1:
        scaled = pixels.astype(np.float64) * 255
    else:
        scaled = (pixels.astype(np.float64) - low) * (255 / (high - low) if high > low else 0)
    return np.rint(scaled).astype(np.uint8)
