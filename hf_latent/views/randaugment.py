"""RandAugment on whole batches: a few random operations on each image, of one strength (arXiv 1909.13719)."""

import math
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from .base import Inputs, Rule, send

OPERATIONS = (
    *("identity", "autocontrast", "equalize", "brightness", "sharpness"),
    *("shear_x", "shear_y", "translate_x", "translate_y", "rotate"),
)
# Those that move pixels: x or y of the source, in pixels, as numbers times the x, the y and 1 of the target.
MOVES = OPERATIONS[5:]
STRONGEST = 10
PROBABILITY = 0.5  # of each operation that was drawn
FILL = 128.0  # gray, where an image was moved away
TRUNCATE = 1e-3  # what rounding may have taken from a whole number before it is truncated
RANDAUGMENT: Rule = (
    lambda v: v is None or len(v) == 2 and isinstance(v[0], int) and v[0] >= 1 and 0 <= v[1] <= STRONGEST,
    f"[count, magnitude], a whole number above 0 and a number from 0 to {STRONGEST}, such as [2, 7]",
)


def draw_operations(images: int, count: int, generator: Generator) -> Inputs:
    """operation: places in `OPERATIONS`; sign: 1 or -1. Each (images, count)."""
    chosen = torch.randint(len(OPERATIONS), (images, count), generator=generator)
    done = torch.rand(images, count, generator=generator) < PROBABILITY
    sign = torch.where(torch.rand(images, count, generator=generator) < 0.5, -1.0, 1.0)
    return {"operation": chosen * done, "sign": sign}


def randaugment(images: Tensor, operation: Tensor, sign: Tensor, magnitude: float) -> Tensor:
    """Images with their operations applied one after the other, each as Pillow does it.

    Args:
        images: (B, 3, H, W) floats from 0 to 255; they are rounded to whole numbers.
        operation, sign: As [`draw_operations`] gives them, on the CPU.
        magnitude: From 0 to 10. Times it, a rotation is by 3 degrees, a shear by 0.03, a translation by 1 pixel
            whatever the size of the image; the factor of brightness and sharpness is 0.1 + 0.18 times it.

    Returns:
        (B, 3, H, W) whole numbers from 0 to 255, as floats. No value is more than 1 away from what Pillow computes.
    """
    images = images.round()
    factor = 0.1 + 1.8 * magnitude / STRONGEST
    functions: dict[str, Callable[[Tensor], Tensor]] = {
        "autocontrast": autocontrast,
        "equalize": equalize,
        "brightness": partial(brightness, factor=factor),
        "sharpness": partial(sharpness, factor=factor),
    }
    for chosen, signs in zip(operation.T, sign.T, strict=True):
        moved = (chosen >= OPERATIONS.index(MOVES[0])).nonzero().squeeze(1)  # on the CPU: no wait for the device
        if len(moved):
            names = [OPERATIONS[number] for number in chosen[moved].tolist()]
            matrices = _matrices(names, signs[moved] * magnitude, *images.shape[-2:])
            where = send(moved, images)
            images = images.index_copy(0, where, move(images.index_select(0, where), matrices))
        for name, function in functions.items():
            where = send((chosen == OPERATIONS.index(name)).nonzero().squeeze(1), images)
            if len(where):
                images = images.index_copy(0, where, function(images.index_select(0, where)))
    return images


def _matrices(names: list[str], strength: Tensor, height: int, width: int) -> Tensor:
    """(B, 2, 3): the place in the source of a place in the target, both in pixels from the left and the top edge."""
    found = []
    for name, strong in zip(names, strength.tolist(), strict=True):
        shear, angle = 0.3 * strong / STRONGEST, math.radians(30 * strong / STRONGEST)
        if name == "rotate":
            cos, sin = math.cos(angle), math.sin(angle)
            x, y = width / 2, height / 2
            found.append([[cos, -sin, x - cos * x + sin * y], [sin, cos, y - sin * x - cos * y]])
        else:
            across = {"shear_x": [1.0, shear, 0.0], "translate_x": [1.0, 0.0, strong]}.get(name, [1.0, 0.0, 0.0])
            down = {"shear_y": [shear, 1.0, 0.0], "translate_y": [0.0, 1.0, strong]}.get(name, [0.0, 1.0, 0.0])
            found.append([across, down])
    return torch.tensor(found)


def move(images: Tensor, matrices: Tensor) -> Tensor:
    """As `Image.transform(size, Image.AFFINE, matrix, Image.BILINEAR, fillcolor=(128, 128, 128))`.

    Args:
        images: (B, 3, H, W) floats from 0 to 255.
        matrices: (B, 2, 3) on the CPU.
    """
    height, width = images.shape[-2:]
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    targets = send(torch.stack((x, y, torch.ones_like(x))), images)
    sources = torch.einsum("bij,jhw->bhwi", send(matrices, images), targets)
    sizes = send(torch.tensor([width, height]), images)
    inside = ((sources >= 0) & (sources < sizes)).all(-1)[:, None]
    found = F.grid_sample(images, 2 * sources / sizes - 1, "bilinear", padding_mode="border", align_corners=False)
    return _whole(found).where(inside, FILL)


def brightness(images: Tensor, factor: float) -> Tensor:
    """As `ImageEnhance.Brightness`."""
    return _whole(images * factor)


def sharpness(images: Tensor, factor: float) -> Tensor:
    """As `ImageEnhance.Sharpness`; the outermost pixels stay."""
    kernel = torch.ones(3, 1, 3, 3, dtype=images.dtype, device=images.device)
    kernel[:, :, 1, 1] = 5
    smooth = images.clone()
    smooth[..., 1:-1, 1:-1] = (F.conv2d(images, kernel, groups=3) / 13).round()
    return _whole(smooth + factor * (images - smooth))


def autocontrast(images: Tensor) -> Tensor:
    """As `ImageOps.autocontrast`: each channel is stretched to 0 to 255, unless it has one value only."""
    low, high = images.amin((-2, -1), keepdim=True), images.amax((-2, -1), keepdim=True)
    stretched = ((images - low) * 255 / (high - low).clamp(min=1)).floor()
    return torch.where(high > low, stretched, images)


def equalize(images: Tensor) -> Tensor:
    """As `ImageOps.equalize`: the values of each channel become about equally frequent."""
    values = images.long().flatten(0, 1).flatten(1)  # (3 B, H W)
    counts = values.new_zeros(len(values), 256).scatter_add(1, values, torch.ones_like(values))
    last = counts.gather(1, values.amax(1, keepdim=True))
    step = (counts.sum(1, keepdim=True) - last) // 255
    table = (step // 2 + counts.cumsum(1) - counts) // step.clamp(min=1)
    table = table.clamp(max=255).where(step > 0, torch.arange(256, device=values.device))
    return table.gather(1, values).view(images.shape).to(images.dtype)


def _whole(values: Tensor) -> Tensor:
    """Truncated to whole numbers from 0 to 255, as Pillow does."""
    return (values + TRUNCATE).floor().clamp(0, 255)
