"""ImageView against a plain reference, one image at a time in float64."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from hf_latent.views import ImageView
from tests.views.small import SIZE, draw, few, pixels

LUMA = np.array([0.299, 0.587, 0.114])


def reference_crop(image: np.ndarray, crop: np.ndarray, flip: bool, size: int) -> np.ndarray:
    _, height, width = image.shape
    top, left, tall, wide = crop
    out = np.empty((3, size, size))
    for row in range(size):
        for column in range(size):
            place = size - 1 - column if flip else column
            y = np.clip((top + tall * (row + 0.5) / size) * height - 0.5, 0, height - 1)
            x = np.clip((left + wide * (place + 0.5) / size) * width - 0.5, 0, width - 1)
            y0, x0 = int(y), int(x)
            y1, x1 = min(y0 + 1, height - 1), min(x0 + 1, width - 1)
            upper = image[:, y0, x0] * (1 - (x - x0)) + image[:, y0, x1] * (x - x0)
            lower = image[:, y1, x0] * (1 - (x - x0)) + image[:, y1, x1] * (x - x0)
            out[:, row, column] = upper * (1 - (y - y0)) + lower * (y - y0)
    return out


def reference_colours(image: np.ndarray, jitter: np.ndarray, grayscale: bool) -> np.ndarray:
    """The formulas of ImageEnhance one after the other, hue in explicit YIQ coordinates, a clamp at the end."""
    brightness, contrast, saturation, hue = jitter

    def grey(colours: np.ndarray) -> np.ndarray:
        return np.einsum("c,chw->hw", LUMA, colours)[None]

    image = brightness * image
    image = contrast * image + (1 - contrast) * grey(image).mean()
    image = saturation * image + (1 - saturation) * grey(image)
    to_yiq = np.array([LUMA, [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])
    luma, i, q = np.einsum("dc,chw->dhw", to_yiq, image)
    turned = (i + 1j * q) * np.exp(-1j * hue)  # hue of HSV runs against the angle of (I, Q)
    image = np.einsum("dc,chw->dhw", np.linalg.inv(to_yiq), np.stack((luma, turned.real, turned.imag)))
    image = np.repeat(grey(image), 3, axis=0) if grayscale else image
    return image.clip(0, 1)


def reference_blur(image: np.ndarray, sigma: float, radius: int) -> np.ndarray:
    if sigma == 0:
        return image
    steps = np.arange(-radius, radius + 1)
    kernel = np.exp(-0.5 * (steps / sigma) ** 2)
    kernel = np.outer(kernel, kernel) / kernel.sum() ** 2
    padded = np.pad(image, ((0, 0), (radius, radius), (radius, radius)), mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel.shape, axis=(1, 2))
    return np.einsum("chwyx,yx->chw", windows, kernel)


def reference(view: ImageView, images: Tensor, noise: dict[str, Tensor]) -> Tensor:
    drawn = {name: numbers.double().numpy() for name, numbers in noise.items()}
    radius = math.ceil(3 * view.blur_sigma[1])
    rows = []
    for row, image in enumerate(images.double().numpy() / 255):
        image = reference_crop(image, drawn["crop"][row], bool(drawn["flip"][row]), view.size)
        image = reference_colours(image, drawn["jitter"][row], bool(drawn["grayscale"][row]))
        image = reference_blur(image, drawn["sigma"][row], radius)
        rows.append((image - np.array(view.mean)[:, None, None]) / np.array(view.std)[:, None, None])
    return torch.from_numpy(np.stack(rows))


def still(rows: int) -> dict[str, Tensor]:
    """The numbers that change nothing."""
    return {
        "crop": torch.tensor([[0.0, 0.0, 1.0, 1.0]]).repeat(rows, 1),
        "flip": torch.zeros(rows, dtype=torch.bool),
        "jitter": torch.tensor([[1.0, 1.0, 1.0, 0.0]]).repeat(rows, 1),
        "grayscale": torch.zeros(rows, dtype=torch.bool),
        "sigma": torch.zeros(rows),
    }


OPERATIONS = {
    "still": {},
    "crop": {"crop": torch.tensor([[0, 0, 0.5, 0.5], [0.3, 0.1, 0.6, 0.9], [0.8, 0.7, 0.2, 0.3], [0, 0, 1, 1]])},
    "flip": {"flip": torch.tensor([True, False, True, True])},
    "brightness": {"jitter": torch.tensor([[b, 1, 1, 0] for b in (0, 0.6, 1.4, 3)])},
    "contrast": {"jitter": torch.tensor([[1, c, 1, 0] for c in (0, 0.6, 1.4, 3)])},
    "saturation": {"jitter": torch.tensor([[1, 1, s, 0] for s in (0, 0.6, 1.4, 3)])},
    "hue": {"jitter": torch.tensor([[1, 1, 1, h] for h in (-3.1, -0.6, 0.6, 2.0)])},
    "grayscale": {"grayscale": torch.tensor([True, True, False, True])},
    "blur": {"sigma": torch.tensor([0.1, 0.0, 0.7, 2.0])},
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_each_operation_is_its_plain_reference(name: str) -> None:
    view, images = ImageView(size=SIZE), pixels(4)
    noise = still(4) | {
        key: numbers.float() if key != "flip" else numbers for key, numbers in OPERATIONS[name].items()
    }
    noise["grayscale"] = noise["grayscale"].bool()
    got = view.augment({"pixel_values": images}, noise)["pixel_values"]
    torch.testing.assert_close(got.double(), reference(view, images, noise), atol=1e-4, rtol=0)


@few
@given(seed=st.integers(0, 2**31), height=st.integers(8, 40), width=st.integers(8, 40), size=st.integers(8, 24))
def test_all_operations_together_are_the_plain_reference(seed: int, height: int, width: int, size: int) -> None:
    images = pixels(3, height, width, seed)
    view = ImageView(size=size, flip=0.5, jitter=(0.8, 0.8, 0.8, 0.5), blur_sigma=(0.1, 2.0))
    noise = draw(view, 3, {"pixel_values": images}, seed)
    got = view.augment({"pixel_values": images}, noise)["pixel_values"]
    torch.testing.assert_close(got.double(), reference(view, images, noise), atol=1e-4, rtol=0)


def test_flipping_twice_gives_the_image_back() -> None:
    view = ImageView(size=SIZE, mean=(0, 0, 0), std=(1, 1, 1))
    images = pixels(2, SIZE, SIZE) / 255
    noise = still(2) | {"flip": torch.ones(2, dtype=torch.bool)}
    once = view.augment({"pixel_values": images}, noise)["pixel_values"]
    torch.testing.assert_close(once, images.flip(-1), atol=1e-5, rtol=0)
    twice = view.augment({"pixel_values": once}, noise)["pixel_values"]
    torch.testing.assert_close(twice, images, atol=1e-5, rtol=0)


def test_a_third_of_a_turn_makes_red_green() -> None:
    view = ImageView(size=8, mean=(0, 0, 0), std=(1, 1, 1))
    red = torch.tensor([0.5, 0.4, 0.4]).view(1, 3, 1, 1).expand(1, 3, 8, 8)
    noise = still(1) | {"jitter": torch.tensor([[1.0, 1.0, 1.0, 2 * math.pi / 3]])}
    colour = view.augment({"pixel_values": red}, noise)["pixel_values"][0, :, 4, 4]
    assert colour.argmax() == 1
    assert torch.isclose(colour @ torch.tensor(LUMA).float(), torch.tensor(0.4299), atol=1e-5)


def test_probabilities_of_zero_leave_the_plain_view() -> None:
    images = {"pixel_values": pixels(6, SIZE, SIZE)}
    view = ImageView(
        size=SIZE, crop_scale=(1, 1), crop_ratio=(1, 1), flip=0, jitter_probability=0, grayscale=0, blur=0
    )
    got = view.augment(images, draw(view, 6, images))["pixel_values"]
    torch.testing.assert_close(got, view.plain(images)["pixel_values"], atol=1e-4, rtol=0)


def test_plain_normalises_and_resizes_with_antialiasing() -> None:
    view, images = ImageView(size=SIZE), pixels(2, SIZE, SIZE)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (view.mean, view.std))
    expected = (images / 255 - mean) / std
    torch.testing.assert_close(view.plain({"pixel_values": images})["pixel_values"], expected, atol=1e-5, rtol=0)
    floats = images / 255
    torch.testing.assert_close(view.plain({"pixel_values": floats})["pixel_values"], expected, atol=1e-5, rtol=0)
    assert torch.equal(floats, images / 255)  # not changed in place
    stripes = torch.zeros(1, 3, 64, 48)
    stripes[..., ::2] = 1  # one pixel wide: without antialiasing some would survive
    small = view.plain({"pixel_values": stripes})["pixel_values"] * std + mean
    assert small.shape == (1, 3, SIZE, SIZE)
    assert (small[..., 2:-2] - 0.5).abs().max() < 0.1


@few
@given(seed=st.integers(0, 2**31), height=st.integers(8, 300), width=st.integers(8, 300))
def test_draws_lie_within_their_bounds(seed: int, height: int, width: int) -> None:
    view = ImageView(size=SIZE, crop_scale=(0.2, 0.9), jitter=(0.4, 0.3, 1.5, 0.1))
    noise = draw(view, 300, {"pixel_values": torch.empty(1, 3, height, width, dtype=torch.uint8)}, seed)
    assert all(len(numbers) == 300 and numbers.device.type == "cpu" for numbers in noise.values())
    top, left, tall, wide = noise["crop"].unbind(1)
    assert min(top.min(), left.min()) >= 0
    assert max((top + tall).max(), (left + wide).max()) <= 1 + 1e-6
    assert (tall * wide).max() <= 0.9 + 1e-5
    whole = (tall < 1) & (wide < 1)  # the others were cut to the image
    ratio = (wide * width / (tall * height))[whole]
    assert ((ratio > 0.749) & (ratio < 1.334)).all()
    assert ((tall * wide)[whole] > 0.2 - 1e-5).all()
    low, high = torch.tensor([0.6, 0.7, 0, -0.1 * 2 * math.pi]), torch.tensor([1.4, 1.3, 2.5, 0.1 * 2 * math.pi])
    assert ((noise["jitter"] >= low - 1e-6) & (noise["jitter"] <= high + 1e-6)).all()
    blurred = noise["sigma"] > 0
    assert noise["sigma"][blurred].min() >= 0.1 and noise["sigma"].max() <= 2
    # 300 draws: within five standard deviations
    moved = (noise["jitter"] != torch.tensor([1.0, 1.0, 1.0, 0.0])).any(1)
    for flags, p in ((noise["flip"], 0.5), (moved, 0.8), (noise["grayscale"], 0.2), (blurred, 0.5)):
        assert abs(flags.float().mean() - p) < 5 * math.sqrt(p * (1 - p) / 300)


def test_draws_fill_their_ranges() -> None:
    noise = draw(ImageView(), 5000, {"pixel_values": torch.empty(1, 3, 64, 64, dtype=torch.uint8)})
    area = noise["crop"][:, 2] * noise["crop"][:, 3]
    assert area.min() < 0.09 and area.max() > 0.95 and 0.45 < area.mean() < 0.54
    torch.testing.assert_close(noise["jitter"].mean(0), torch.tensor([1.0, 1, 1, 0]), atol=0.03, rtol=0)
    torch.testing.assert_close(
        noise["jitter"].std(0) ** 2, torch.tensor([0.0427, 0.0427, 0.0427, 0.105]), atol=0.006, rtol=0
    )
    assert abs(noise["sigma"][noise["sigma"] > 0].mean() - 1.05) < 0.06


def test_floats_bytes_memory_formats_and_autocast_agree() -> None:
    view, bytes_ = ImageView(size=SIZE), pixels()
    noise = draw(view, 6, {"pixel_values": bytes_})
    expected = view.augment({"pixel_values": bytes_}, noise)["pixel_values"]
    floats = view.augment({"pixel_values": bytes_ / 255}, noise)["pixel_values"]
    torch.testing.assert_close(floats, expected, atol=2e-5, rtol=0)
    last = view.augment({"pixel_values": bytes_.contiguous(memory_format=torch.channels_last)}, noise)["pixel_values"]
    assert torch.equal(last, expected)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = view.augment({"pixel_values": bytes_}, noise)["pixel_values"]
    assert half.dtype == torch.float32 and torch.equal(half, expected)
