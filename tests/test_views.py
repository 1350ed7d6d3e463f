"""Views against plain per-image references in float64, and the promise that a row's view is its own."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hf_latent.views import (
    VIEWS,
    ImageView,
    NoView,
    SeriesView,
    TableView,
    TextView,
    View,
    Views,
    build_view,
)

SIZE = 16
LUMA = np.array([0.299, 0.587, 0.114])
few = settings(max_examples=12, deadline=None)


def pixels(rows: int = 6, height: int = 20, width: int = 24, seed: int = 0) -> Tensor:
    return torch.randint(
        0, 256, (rows, 3, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed)
    )


def batch(rows: int = 40) -> dict[str, dict[str, Tensor]]:
    make = torch.Generator().manual_seed(1)
    lengths = torch.randint(3, 10, (rows, 1), generator=make)
    mask = (torch.arange(9) < lengths).long()
    return {
        "image": {"pixel_values": pixels(rows)},
        "text": {"input_ids": torch.randint(5, 90, (rows, 9), generator=make) * mask, "attention_mask": mask},
        "series": {"values": torch.randn(rows, 9, 4, generator=make) * mask[..., None], "attention_mask": mask},
        "table": {"values": torch.randn(rows, 5, generator=make)},
        "features": {"values": torch.randn(rows, 7, generator=make)},
    }


def views(seed: int = 0) -> Views:
    return Views(
        {
            "image": ImageView(size=SIZE),
            "text": TextView(mask_token_id=3, mask_probability=0.5),
            "series": SeriesView(),
            "table": TableView(),
            "features": NoView(),
        },
        seed=seed,
    )


def take(modalities: dict[str, dict[str, Tensor]], rows: slice) -> dict[str, dict[str, Tensor]]:
    return {name: {key: tensor[rows] for key, tensor in inputs.items()} for name, inputs in modalities.items()}


def same(left: dict[str, dict[str, Tensor]], right: dict[str, dict[str, Tensor]]) -> list[bool]:
    return [torch.equal(left[name][key], right[name][key]) for name in left for key in left[name]]


def draw(view: View, rows: int, inputs: dict[str, Tensor], seed: int = 0) -> dict[str, Tensor]:
    return view.draw(rows, inputs, torch.Generator().manual_seed(seed))


# A row's view is its own


@pytest.mark.parametrize("step", [1, 7, 33])
def test_slices_of_the_global_batch_give_the_same_rows(step: int) -> None:
    whole = batch()
    expected = views().augmented(whole, view=1, position=80)
    for start in range(0, 40, step):
        rows = slice(start, min(start + step, 40))
        part = views().augmented(take(whole, rows), view=1, position=80, rows=rows, global_rows=40)
        assert all(same(part, take(expected, rows)))


def test_strided_rows_of_a_process_give_the_same_rows() -> None:
    whole = batch()
    rows = slice(1, None, 4)
    part = views().augmented(take(whole, rows), view=0, rows=rows, global_rows=40)
    assert all(same(part, take(views().augmented(whole, view=0), rows)))


def test_rows_of_several_images_are_as_many_single_images() -> None:
    several = {"image": {"pixel_values": pixels(36).unflatten(0, (12, 3))}}
    single = {"image": {"pixel_values": several["image"]["pixel_values"].flatten(0, 1)}}
    both = Views({"image": ImageView(size=SIZE)})
    expected = both.augmented(single, view=1)["image"]["pixel_values"]
    whole = both.augmented(several, view=1)
    assert whole["image"]["pixel_values"].shape == (12, 3, 3, SIZE, SIZE)
    assert torch.equal(whole["image"]["pixel_values"].flatten(0, 1), expected)
    for rows in (slice(0, 5), slice(5, 12), slice(1, None, 4)):
        part = both.augmented(take(several, rows), view=1, rows=rows, global_rows=12)
        assert all(same(part, take(whole, rows)))
    plain = both.plain(several)["image"]["pixel_values"]
    assert torch.equal(plain.flatten(0, 1), both.plain(single)["image"]["pixel_values"])
    assert plain.shape == (12, 3, 3, SIZE, SIZE)


def test_a_view_depends_on_seed_position_view_and_modality() -> None:
    whole = {name: inputs for name, inputs in batch().items() if name == "image"}
    whole["again"] = whole["image"]

    def look(seed: int = 0, view: int = 0, position: int = 0) -> dict[str, dict[str, Tensor]]:
        two = Views({"image": ImageView(size=SIZE), "again": ImageView(size=SIZE)}, seed=seed)
        return two.augmented(whole, view=view, position=position)

    first = look()
    assert all(same(first, look()))
    for other in (look(seed=1), look(view=1), look(position=40)):
        assert not any(same(first, other))
    assert not torch.equal(first["image"]["pixel_values"], first["again"]["pixel_values"])


def test_wider_padding_changes_nothing_before_it() -> None:
    short = take(batch(), slice(None))
    wide: dict[str, dict[str, Tensor]] = {"text": {}, "series": {}}
    for name in wide:
        for key, tensor in short[name].items():
            filler = tensor.new_zeros(len(tensor), 6, *tensor.shape[2:])
            wide[name][key] = torch.cat((tensor, filler), dim=1)
    both = Views({"text": TextView(mask_token_id=3), "series": SeriesView()})
    narrow = both.augmented({name: short[name] for name in wide}, view=0)
    broad = both.augmented(wide, view=0)
    for name in wide:
        for key in wide[name]:
            assert torch.equal(broad[name][key][:, :9], narrow[name][key])
    few_numbers, more = (draw(SeriesView(), 3, {"values": torch.zeros(3, steps, 1)}) for steps in (5, 9))
    assert torch.equal(few_numbers["order"], more["order"][:, :5])


def test_inputs_stay_as_they_were_and_other_keys_pass() -> None:
    whole = batch()
    for inputs in whole.values():
        inputs["extra"] = torch.arange(40)
    before = {name: {key: tensor.clone() for key, tensor in inputs.items()} for name, inputs in whole.items()}
    for result in (views().augmented(whole, view=0), views().plain(whole)):
        assert all(same(before, whole))
        for inputs in result.values():
            assert torch.equal(inputs["extra"], torch.arange(40))
        assert same({"x": result["features"]}, {"x": whole["features"]}) == [True, True]


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


# Each operation of ImageView, one image at a time, in float64


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


# Text, series, tables


@few
@given(seed=st.integers(0, 2**31), probability=st.floats(0.05, 0.95), length=st.integers(20, 60))
def test_text_masks_real_tokens_only(seed: int, probability: float, length: int) -> None:
    make = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, 50, (100, length), generator=make)
    mask = (torch.arange(length) < torch.randint(5, length + 1, (100, 1), generator=make)).long()
    inputs = {"input_ids": ids, "attention_mask": mask}
    view = TextView(mask_token_id=77, mask_probability=probability, special_token_ids=(0, 1, 2))
    out = view.augment(inputs, draw(view, 100, inputs, seed))
    masked = out["input_ids"] == 77
    open_ = (mask == 1) & (ids > 2)
    assert not masked[~open_].any()
    assert torch.equal(out["input_ids"][~masked], ids[~masked])
    deviation = math.sqrt(probability * (1 - probability) / int(open_.sum()))
    assert abs(masked[open_].float().mean() - probability) < 5 * deviation
    assert torch.equal(view.plain(inputs)["input_ids"], ids)


def test_text_without_a_mask_has_no_padding() -> None:
    view, inputs = TextView(mask_token_id=1, mask_probability=1.0), {"input_ids": torch.full((2, 3), 9)}
    assert (view.augment(inputs, draw(view, 2, inputs))["input_ids"] == 1).all()


@few
@given(seed=st.integers(0, 2**31), drop=st.floats(0, 1), length=st.integers(1, 40), features=st.integers(1, 5))
def test_series_drops_real_steps_and_leaves_padding(seed: int, drop: float, length: int, features: int) -> None:
    make = torch.Generator().manual_seed(seed)
    values = torch.randn(80, length, features, generator=make) + 100  # never zero, noisy or not
    mask = (torch.arange(length) < torch.randint(1, length + 1, (80, 1), generator=make)).long()
    inputs = {"values": values, "attention_mask": mask}
    view = SeriesView(drop=drop)
    noise = draw(view, 80, inputs, seed)
    out = view.augment(inputs, noise)["values"]
    assert torch.equal(out[mask == 0], values[mask == 0])
    lost = (out == 0).all(-1)
    assert torch.equal(lost, (out == 0).any(-1))
    assert torch.equal(lost.sum(1), (noise["drop"] * mask.sum(1)).floor().long())
    assert noise["drop"].max() <= drop
    kept = ~lost & (mask == 1)
    change = (out - values)[kept].abs()
    noisy = (noise["noise"] != 0).any((1, 2))
    assert torch.equal((out - values)[~noisy][kept[~noisy]].abs(), torch.zeros(int(kept[~noisy].sum()), features))
    assert change.max() < 0.7 if len(change) else True


def test_series_and_table_noise_has_its_spread_and_probability() -> None:
    inputs = {"values": torch.zeros(4000, 10, 3)}
    view = SeriesView(noise=0.3, noise_probability=0.25, drop=0.8, drop_probability=0.75)
    noise = draw(view, 4000, inputs)
    noisy = (noise["noise"] != 0).any((1, 2))
    assert abs(noisy.float().mean() - 0.25) < 0.035
    assert abs(noise["noise"][noisy].std() - 0.3) < 0.005
    assert abs((noise["drop"] > 0).float().mean() - 0.75) < 0.035
    assert abs(noise["drop"][noise["drop"] > 0].mean() - 0.4) < 0.03
    # which step is lost is uniform, and has nothing to do with the noise
    lost = view.augment({"values": torch.full((4000, 10, 3), 9.0)}, noise)["values"][..., 0] == 0
    assert (lost.float().mean(0) - lost.float().mean()).abs().max() < 0.04
    assert noise["noise"][noisy][lost[noisy]].mean(0).abs().max() < 0.03

    table = TableView(noise=0.2, noise_probability=0.5)
    rows = {"values": torch.ones(4000, 8, dtype=torch.float64)}
    change = table.augment(rows, draw(table, 4000, rows))["values"] - 1
    assert change.dtype == torch.float64
    noisy = (change != 0).any(1)
    assert abs(noisy.double().mean() - 0.5) < 0.04
    assert abs(change[noisy].std() - 0.2) < 0.005


def test_series_and_table_of_probability_zero_are_plain() -> None:
    whole = batch()
    for view, name in (
        (SeriesView(noise_probability=0, drop_probability=0), "series"),
        (TableView(noise_probability=0), "table"),
    ):
        inputs = whole[name]
        assert torch.equal(view.augment(inputs, draw(view, 40, inputs))["values"], inputs["values"])
        assert torch.equal(view.plain(inputs)["values"], inputs["values"])


# What the user got wrong


def test_build_view_takes_lists_and_knows_every_kind() -> None:
    assert build_view("image", size=64, crop_scale=[0.2, 1.0]) == ImageView(size=64, crop_scale=(0.2, 1.0))
    assert isinstance(build_view("none"), NoView)
    for kind, cls in VIEWS.items():
        needed = {"text": {"mask_token_id": 3}, "words": {"pad_token_id": 0}}.get(kind, {})
        assert type(build_view(kind, **needed)) is cls


@pytest.mark.parametrize(
    ("kind", "options", "told"),
    [
        ("imge", {}, "did you mean 'image'.*known: image, masked, none, series, table, text, words"),
        ("image", {"crop_scal": [0.1, 1]}, "option 'crop_scal' of the image view: did you mean 'crop_scale'"),
        ("none", {"size": 3}, "unknown option 'size' of the none view: known: none"),
        ("text", {"mask_token_id": "[MASK]"}, "mask_token_id='.MASK.': write a token id"),
        ("text", {"mask_token_id": 3, "special_token_ids": ["[CLS]"]}, "special_token_ids"),
        ("text", {"mask_token_id": 3, "mask_probability": 15}, "mask_probability=15: write a number from 0 to 1"),
        ("image", {"size": 4}, "size=4: write .*8 or more"),
        ("image", {"size": "64"}, "size='64'"),
        ("image", {"crop_scale": [0.0, 1.0]}, r"crop_scale=\(0.0, 1.0\): write .* 0 < low <= high <= 1"),
        ("image", {"crop_scale": [0.5, 1.1]}, "crop_scale"),
        ("image", {"crop_scale": [0.9, 0.5]}, "crop_scale"),
        ("image", {"crop_scale": 0.5}, "crop_scale"),
        ("image", {"crop_ratio": [2.0, 1.0]}, "crop_ratio"),
        ("image", {"flip": -0.1}, "flip"),
        ("image", {"blur": float("nan")}, "blur=nan"),
        ("image", {"blur_sigma": [0.1, 9.0], "size": 16}, "at most 5 pixels at size=16"),
        ("image", {"jitter": [0.4, 0.4, 0.4]}, "jitter"),
        ("image", {"jitter": [0.4, 0.4, 0.4, 0.6]}, "hue <= 0.5"),
        ("image", {"std": [0.2, 0.2, 0.0]}, "std"),
        ("series", {"drop": 1.2}, "drop=1.2"),
        ("series", {"noise": -1}, "noise=-1"),
        ("table", {"noise_probability": "often"}, "noise_probability='often'"),
    ],
)
def test_bad_options_say_what_to_write(kind: str, options: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        build_view(kind, **options)


def test_bad_batches_are_named() -> None:
    whole = batch(4)
    both = views()
    for call in (both.plain, lambda given: both.augmented(given, view=0)):
        with pytest.raises(ValueError, match="lacks the modality table"):
            call({name: inputs for name, inputs in whole.items() if name != "table"})
        with pytest.raises(ValueError, match="unknown modality 'tabel': did you mean 'table'"):
            call(whole | {"tabel": whole["table"]})
    with pytest.raises(ValueError, match="same number of rows.*'text': 2"):
        both.augmented(whole | {"text": take(whole, slice(2))["text"]}, view=0)
    with pytest.raises(ValueError, match="4 rows, but slice.4, 8, None. of global_rows=4 are 0"):
        both.augmented(whole, view=0, rows=slice(4, 8))
    with pytest.raises(ValueError, match="seed=-1"):
        Views({}, seed=-1)
    with pytest.raises(ValueError, match="needs mask_token_id: write it, or call for_tokenizer"):
        Views({"text": TextView()}).augmented({"text": whole["text"]}, view=0)
    image, series = Views({"image": ImageView()}), Views({"series": SeriesView()})
    with pytest.raises(ValueError, match="needs 'pixel_values'; this modality has pixels"):
        image.augmented({"image": {"pixels": pixels()}}, view=0)
    with pytest.raises(ValueError, match=r"int64 of shape \(6, 3, 20, 24\)"):
        image.plain({"image": {"pixel_values": pixels().long()}})
    with pytest.raises(ValueError, match=r"\(B, N, 3, H, W\), got torch.uint8 of shape \(6, 20, 24, 3\)"):
        image.plain({"image": {"pixel_values": pixels().movedim(1, -1)}})
    with pytest.raises(ValueError, match="floating values, got torch.int64"):
        series.augmented({"series": {"values": torch.zeros(2, 3, 4, dtype=torch.long)}}, view=0)
