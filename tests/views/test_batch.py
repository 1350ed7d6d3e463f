"""The promise that a row's view is its own, and what a user is told."""

import pytest
import torch
from torch import Tensor

from hf_latent.views import VIEWS, ImageView, NoView, SeriesView, TextView, Views, build_view
from tests.views.small import SIZE, batch, draw, pixels, same, take, views


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
        ("imge", {}, "did you mean 'image'.*known: audio, cells, image, masked, none, series, table, text, video"),
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
