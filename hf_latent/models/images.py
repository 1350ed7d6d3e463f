"""Images: how they are read, and how they become the squares that a tower sees, in training and everywhere else."""

from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any, cast

import numpy as np
import torch
import transformers
from PIL import ExifTags, Image, ImageOps
from torch import Tensor
from transformers import AutoImageProcessor, CLIPImageProcessorPil
from transformers.image_processing_backends import PilBackend
from transformers.image_processing_utils import BaseImageProcessor
from transformers.image_transforms import get_resize_output_image_size

FITS = ("squash", "crop", "pad")
RESAMPLES = ("bilinear", "bicubic")


def read_image(value: Any) -> Image.Image:
    """An image in RGB, 8 bits a channel, upright.

    The orientation that EXIF names is applied, transparency is composited on white, the first frame stands for all.
    Values of more than 8 bits are scaled: 16-bit integers are divided by 257, floats from 0 to 1 are multiplied by
    255, other floats and wider integers are stretched from their smallest to their largest value. Of arrays and
    tensors of wide integers, values up to 255 are those of 8 bits.

    Args:
        value: A PIL image; the bytes of a file, also as `{"bytes": ..., "path": ...}`, as `datasets` stores them; an
            array `(height, width)` or `(height, width, channels)` with 1 channel (gray), 2 (gray and alpha), 3 (RGB)
            or 4 (RGBA); or such a tensor with its channels first. No path: a text in a row of somebody's data must not
            name a file of this machine.

    Raises:
        ValueError: If it cannot be read; says why.
    """
    if isinstance(value, Mapping):
        value = value.get("bytes")
    if isinstance(value, str):
        raise ValueError(
            "expected an image, found a text: names of files are not opened; give PIL.Image.open(name), or cast the "
            "column of the data set to datasets.Image()"
        )
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
    image.load()
    if image.getexif().get(ExifTags.Base.Orientation, 1) != 1:  # it copies images that are upright
        image = ImageOps.exif_transpose(image)
    if image.mode == "F" or image.mode.startswith("I"):
        image = Image.fromarray(_eight_bits(np.asarray(image), sixteen=image.mode != "F"))
    if image.mode == "La":
        image = image.convert("LA")  # Pillow knows no shorter way to RGBA
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image if image.mode == "RGB" else image.convert("RGB")


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


def scratch_processor(
    size: int, mean: Sequence[float], std: Sequence[float], fit: str = "squash", resample: str = "bilinear"
) -> Any:
    """The image processor of a tower that is trained from scratch.

    Args:
        size: Side of the square that it gives, in pixels.
        mean, std: Of each channel, on the scale from 0 to 1.
        fit: How an image becomes a square: `"squash"` resizes it whatever its aspect ratio, `"crop"` resizes the
            shorter side and takes the center, `"pad"` resizes the longer side; what it pads is said to [`fitted`].
        resample: `"bilinear"` or `"bicubic"`, both antialiased; of random crops, too.
    """
    for name, value, known in (("fit", fit, FITS), ("resample", resample, RESAMPLES)):
        if value not in known:
            raise ValueError(f"{name}={value!r}: write one of {', '.join(known)}")
    square = {"height": size, "width": size}
    crop = fit == "crop"
    return CLIPImageProcessorPil(
        size=cast(Any, {"shortest_edge": size} if crop else square),
        crop_size=cast(Any, square),
        do_center_crop=crop,
        resample=Image.Resampling[resample.upper()],
        image_mean=list(mean),
        image_std=list(std),
    )


def checkpoint_processor(checkpoint: str) -> Any:
    """The image processor of a checkpoint, with which its tower was trained; None where it comes without one.

    Raises:
        ValueError: If it does not give squares of one size and three channels, or scales them by anything but 255 and
            a mean and deviation of each channel.
    """
    try:
        processor: Any = AutoImageProcessor.from_pretrained(checkpoint, backend="pil", trust_remote_code=False)
    except (OSError, ValueError):
        return None
    size = output_size(processor)
    colors = Image.fromarray(np.arange(size * size * 3, dtype=np.uint32).reshape(size, size, 3).astype(np.uint8))
    wanted = processor([colors], return_tensors="pt")["pixel_values"]
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in mean_and_std(processor))
    if (wanted - (_processed(processor, [colors]) / 255 - mean) / std).abs().max() > 1e-4:
        raise ValueError(f"{checkpoint}: its {type(processor).__name__} scales pixels in a way that is not known here")
    return processor


def mean_and_std(processor: Any) -> tuple[list[float], list[float]]:
    """The mean and deviation of each channel that an image processor takes out."""
    if not processor.do_normalize:
        return [0.0] * 3, [1.0] * 3
    return list(processor.image_mean), list(processor.image_std)


def stored_processor(settings: Mapping[str, Any]) -> Any:
    """The image processor whose `to_dict` gave these settings."""
    name = str(settings.get("image_processor_type")).removesuffix("Pil").removesuffix("Fast")
    cls = getattr(transformers, f"{name}Pil", None)
    if not isinstance(cls, type) or not issubclass(cls, BaseImageProcessor):
        raise ValueError(f"image_processor_type={settings.get('image_processor_type')!r} is not of transformers")
    return cls.from_dict(dict(settings))


def output_size(processor: Any) -> int:
    """The side of the squares that an image processor gives, in pixels."""
    sizes = {tuple(_processed(processor, [Image.new("RGB", shape)]).shape[-3:]) for shape in ((96, 64), (64, 96))}
    channels, height, width = next(iter(sizes))
    if len(sizes) > 1 or channels != 3 or height != width:
        raise ValueError(f"{type(processor).__name__} gives no squares of one size: {sorted(sizes)}")
    return height


def at_size(processor: Any, size: int) -> Any:
    """A copy of an image processor that gives squares of another size, all of its lengths scaled alike."""
    before = output_size(processor)
    if size == before:
        return processor
    settings = processor.to_dict()
    for key in ("size", "crop_size"):
        lengths = {name: length for name, length in dict(settings.get(key) or {}).items() if length}
        if lengths:
            settings[key] = {name: round(length * size / before) for name, length in lengths.items()}
    changed = type(processor).from_dict(settings)
    if output_size(changed) != size:
        raise ValueError(f"{type(processor).__name__} cannot be made to give {size} px: leave size out")
    return changed


def keeps_squares(processor: Any, size: int) -> bool:
    """Whether an image processor leaves the geometry of a square of its own size as it is."""
    pixels = np.arange(size * size * 3, dtype=np.uint32).reshape(size, size, 3).astype(np.uint8)
    return bool((_processed(processor, [Image.fromarray(pixels)])[0].permute(1, 2, 0).numpy() == pixels).all())


def fitted(processor: Any, images: Sequence[Image.Image], pad: bool = False) -> Tensor:
    """Images as the tower sees them, uint8 `(images, 3, size, size)`: resized and cropped, not normalised yet.

    Args:
        processor: An image processor.
        images: In RGB, of any size.
        pad: First pad each to a square, in the mean color of the processor.
    """
    return _processed(processor, [padded(image, processor.image_mean) for image in images] if pad else images)


def padded(image: Image.Image, mean: Sequence[float]) -> Image.Image:
    """An image in the middle of a square as wide as its longer side."""
    side = max(image.size)
    square = Image.new("RGB", (side, side), cast(Any, tuple(round(255 * value) for value in mean)))
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return square


def cropped(image: Image.Image, box: Sequence[float], size: int, resample: int) -> Tensor:
    """A crop of an image as uint8 `(3, size, size)`.

    Args:
        image: In RGB.
        box: Top, left, height and width as shares of the image.
        size: Side of the square, in pixels.
        resample: As of Pillow.
    """
    top, left, height, width = box
    corners = (left * image.width, top * image.height, (left + width) * image.width, (top + height) * image.height)
    right, bottom = min(corners[2], image.width), min(corners[3], image.height)
    part = image.resize((size, size), Image.Resampling(resample), (corners[0], corners[1], right, bottom))
    return torch.from_numpy(np.array(part)).permute(2, 0, 1)


def _processed(processor: Any, images: Sequence[Image.Image]) -> Tensor:
    options: Any = {"do_rescale": False, "do_normalize": False, "return_tensors": "pt"}
    if _resizes_first(processor):
        images = [image.resize(_resized(processor, image), processor.resample) for image in images]
        if not processor.do_center_crop and not processor.do_pad:
            return _stacked(images)
        options["do_resize"] = False
    return processor(list(images), **options)["pixel_values"]


def _stacked(images: Sequence[Image.Image]) -> Tensor:
    """RGB images of one size as uint8 `(images, 3, height, width)`."""
    pixels = torch.empty(len(images), 3, images[0].height, images[0].width, dtype=torch.uint8)
    for place, image in zip(pixels.numpy(), images, strict=True):
        place[:] = np.asarray(image).transpose(2, 0, 1)
    return pixels


def _resizes_first(processor: Any) -> bool:
    """Whether all that an image processor does before it crops is the usual resize.

    It would copy each image to an array and back to resize it, and that takes as long as to decode it.
    """
    kind = type(processor)
    usual = issubclass(kind, PilBackend) and all(
        getattr(kind, name) is getattr(PilBackend, name) for name in ("_preprocess", "resize")
    )
    if not usual or not processor.do_resize or not isinstance(processor.resample, int):
        return False
    lengths = {name for name, length in dict(processor.size or {}).items() if length}
    return lengths in ({"height", "width"}, {"shortest_edge"})


def _resized(processor: Any, image: Image.Image) -> tuple[int, int]:
    """The width and height that an image processor resizes an image to."""
    size = processor.size
    if not size.shortest_edge:
        return size.width, size.height
    shape = np.broadcast_to(np.uint8(0), (3, image.height, image.width))  # of the right shape, and no memory
    height, width = get_resize_output_image_size(shape, size.shortest_edge, default_to_square=False)
    return width, height
