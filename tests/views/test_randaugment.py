"""RandAugment against Pillow, operation by operation, and as a part of the image view."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor

from hf_latent.views import ImageView, Views, build_view
from hf_latent.views.randaugment import MOVES, OPERATIONS, autocontrast, draw_operations, equalize, randaugment
from tests.views.small import draw, pixels

MAGNITUDE = 7
PLAIN = {"crop_scale": (1.0, 1.0), "crop_ratio": (1.0, 1.0), "flip": 0.0, "jitter": (0.0,) * 4}
PLAIN |= {"grayscale": 0.0, "blur": 0.0, "mean": (0.0,) * 3, "std": (1.0,) * 3}


def affine(image: Image.Image, *matrix: float) -> Image.Image:
    options = {"resample": Image.Resampling.BILINEAR, "fillcolor": (128, 128, 128)}
    return image.transform(image.size, Image.Transform.AFFINE, matrix, **options)


def reference(image: Image.Image, operation: str, sign: float, magnitude: float) -> Image.Image:
    """The operation of ALBEF's code, by Pillow."""
    shear, shift, factor = 0.3 * magnitude / 10 * sign, magnitude * sign, 0.1 + 1.8 * magnitude / 10
    turn = {"resample": Image.Resampling.BILINEAR, "fillcolor": (128, 128, 128)}
    return {
        "identity": lambda: image,
        "autocontrast": lambda: ImageOps.autocontrast(image),
        "equalize": lambda: ImageOps.equalize(image),
        "brightness": lambda: ImageEnhance.Brightness(image).enhance(factor),
        "sharpness": lambda: ImageEnhance.Sharpness(image).enhance(factor),
        "shear_x": lambda: affine(image, 1, shear, 0, 0, 1, 0),
        "shear_y": lambda: affine(image, 1, 0, 0, shear, 1, 0),
        "translate_x": lambda: affine(image, 1, 0, shift, 0, 1, 0),
        "translate_y": lambda: affine(image, 1, 0, 0, 0, 1, shift),
        "rotate": lambda: image.rotate(30 * magnitude / 10 * sign, **turn),
    }[operation]()


def pictures(rows: int = 8, height: int = 40, width: int = 48) -> Tensor:
    """Noise, ramps of few values, and dark ones, uint8."""
    images = pixels(rows, height, width)
    images[1] = (torch.arange(width) * 2 + 40)[None, None].expand(3, height, width).to(torch.uint8)
    images[2] = images[2] // 16 + 100
    images[3] = 77
    images[4, 1] = 0
    return images


def to_pillow(image: Tensor) -> Image.Image:
    return Image.fromarray(image.permute(1, 2, 0).numpy().astype(np.uint8))


def from_pillow(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float()


@pytest.mark.parametrize("magnitude", [0, 2.5, MAGNITUDE])
@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_each_operation_is_that_of_pillow(operation, sign, magnitude):
    images = pictures()
    place = torch.full((len(images), 1), OPERATIONS.index(operation))
    found = randaugment(images.float(), place, torch.full((len(images), 1), sign), magnitude)
    for image, mine in zip(images, found, strict=True):
        wanted = from_pillow(reference(to_pillow(image), operation, sign, magnitude))
        off = (mine - wanted).abs()
        # One of 255 everywhere; on the edge of what was moved, rounding decides whether a pixel is filled.
        edge = 0.004 if operation in MOVES else 0.0
        assert (off > 1).float().mean() <= edge, (operation, off.max())
    if operation not in ("identity", "autocontrast", "equalize") and magnitude == MAGNITUDE:
        assert (found - images).abs().mean() > 2


def test_stretched_channels_are_exact():
    images = pictures().float()
    for function, name in ((autocontrast, "autocontrast"), (equalize, "equalize")):
        wanted = [from_pillow(reference(to_pillow(image), name, 1, 0)) for image in images]
        off = (function(images) - torch.stack(wanted)).abs()
        assert off.max() <= (1 if name == "autocontrast" else 0)


def test_operations_come_one_after_the_other_and_rows_keep_to_themselves():
    images = pictures(24)
    noise = draw_operations(24, 3, torch.Generator().manual_seed(5))
    found = randaugment(images.float(), noise["operation"], noise["sign"], MAGNITUDE)
    alone = [
        randaugment(images[i : i + 1].float(), noise["operation"][i : i + 1], noise["sign"][i : i + 1], MAGNITUDE)
        for i in range(24)
    ]
    torch.testing.assert_close(found, torch.cat(alone), rtol=0, atol=1)
    for row, image in enumerate(images):
        wanted = to_pillow(image)
        for operation, sign in zip(noise["operation"][row].tolist(), noise["sign"][row].tolist(), strict=True):
            wanted = reference(wanted, OPERATIONS[operation], sign, MAGNITUDE)
        # Equalizing and sharpening widen a difference of 1.
        assert (found[row] - from_pillow(wanted)).abs().mean() < 1.5


def test_half_of_the_operations_are_done_each_as_often():
    noise = draw_operations(20_000, 2, torch.Generator().manual_seed(0))
    shares = torch.bincount(noise["operation"].flatten(), minlength=len(OPERATIONS)) / 40_000
    wanted = torch.full((len(OPERATIONS),), 0.05)
    wanted[0] = 0.55
    torch.testing.assert_close(shares, wanted, rtol=0, atol=0.01)
    assert abs(noise["sign"].mean()) < 0.03


@pytest.mark.parametrize("kind", ["uint8", "floats"])
def test_the_view_augments_between_crop_and_colors(kind):
    view = build_view("image", size=40, randaugment=[2, MAGNITUDE], **PLAIN)
    images = pictures(16, 40, 40)
    given = images if kind == "uint8" else images / 255
    noise = draw(view, 16, {"pixel_values": given})
    found = view.augment({"pixel_values": given}, noise)["pixel_values"]
    wanted = randaugment(images.float(), noise["operation"], noise["sign"], MAGNITUDE) / 255
    torch.testing.assert_close(found, wanted, rtol=0, atol=1.1 / 255)
    assert (found - images / 255).abs().mean() > 0.01
    several = view.augment(
        {"pixel_values": given.unflatten(0, (8, 2))}, {k: v.unflatten(0, (8, 2)) for k, v in noise.items()}
    )["pixel_values"]
    torch.testing.assert_close(several.flatten(0, 1), found)


def test_a_row_is_augmented_alike_in_any_slice_of_the_global_batch():
    views = Views({"image": build_view("image", size=40, randaugment=[2, MAGNITUDE], **PLAIN)}, seed=3)
    batch = {"image": {"pixel_values": pictures(12, 40, 40)}}
    whole = views.augmented(batch, view=1, position=24)["image"]["pixel_values"]
    for rows in (slice(0, 5), slice(5, 12)):
        part = {"image": {"pixel_values": batch["image"]["pixel_values"][rows]}}
        found = views.augmented(part, view=1, position=24, rows=rows, global_rows=12)["image"]["pixel_values"]
        torch.testing.assert_close(found, whole[rows], rtol=0, atol=1.1 / 255)
    assert (views.augmented(batch, view=1, position=36)["image"]["pixel_values"] - whole).abs().mean() > 0.01


def test_other_views_keep_their_numbers():
    inputs = {"pixel_values": pictures()}
    without, with_it = (draw(ImageView(size=16, randaugment=r), 8, inputs) for r in (None, (2, 7)))
    assert "operation" not in without and with_it["operation"].shape == (8, 2)
    assert all(torch.equal(with_it[name], numbers) for name, numbers in without.items())


@pytest.mark.parametrize("wrong", [[2], [0, 7], [2, 11], [2, -1], [2.5, 7], 7, [2, "7"], {"count": 2}])
def test_wrong_options_say_what_to_write(wrong):
    with pytest.raises(ValueError, match=r"randaugment=.*: write \[count, magnitude\]"):
        build_view("image", randaugment=wrong)
