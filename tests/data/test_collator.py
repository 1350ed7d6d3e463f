"""Labels and rows of several images, in the batch."""

import re

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from hf_latent import CoMMProcessor, LatentALBEFProcessor, LatentCLIPProcessor
from hf_latent.data.collator import LatentCollator, ModelCollator
from hf_latent.data.rows import Row
from hf_latent.data.tokenizers import trifeature_tokenizer
from hf_latent.errors import UserError


def picture(seed, size=8):
    return np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def tokenizer():
    return trifeature_tokenizer()


@pytest.fixture(params=["albef", "clip", "comm"])
def processor(request, tokenizer):
    if request.param == "comm":
        return CoMMProcessor({"image": {"kind": "image", "size": 8}, "text": {"kind": "text"}}, {"text": tokenizer})
    return {"albef": LatentALBEFProcessor, "clip": LatentCLIPProcessor}[request.param].for_size(8, tokenizer)


def rows(*labels, images=1):
    pictures = [[picture(10 * row + k) for k in range(images)] for row in range(len(labels))]
    return [
        {"image": shown[0] if images == 1 else shown, "text": "is this a star?", "labels": label, "ids": row}
        for row, (shown, label) in enumerate(zip(pictures, labels, strict=True))
    ]


@pytest.mark.parametrize("raw", [True, False])
def test_whole_numbers_are_the_labels(processor, raw):
    batch = LatentCollator(processor, raw=raw)(rows(2, np.int64(0), 1))
    assert batch["labels"].tolist() == [2, 0, 1] and batch["labels"].dtype == torch.int64
    assert "labels" not in LatentCollator(processor, raw=raw)([{"image": picture(0), "text": "red"}])


def test_words_are_tokenised_as_the_text_is(processor, tokenizer):
    labels = LatentCollator(processor)(rows("red", "five squares", "letter t"))["labels"]
    assert labels.dtype == torch.int64 and labels.shape == (3, 4)
    vocabulary = tokenizer.get_vocab()
    names = [["[CLS]", "red", "[SEP]"], ["[CLS]", "five", "squares", "[SEP]"], ["[CLS]", "letter", "t", "[SEP]"]]
    wanted = [[vocabulary[name] for name in row] for row in names]
    assert labels.tolist() == [wanted[0] + [-100], *wanted[1:]]


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        ((1, "red"), "row 1, column 'labels': expected a whole number or words, found 'red'"),
        (("red", 1), "row 1, column 'labels': expected a whole number or words, found 1"),
        ((0.5, 1), "row 0, column 'labels': expected a whole number or words, found 0.5"),
        (("red", " "), "row 1, column 'labels': expected a whole number or words, found ' '"),
        ((None, 1), "row 0, column 'labels': expected a whole number or words, found None"),
    ],
)
def test_bad_labels_are_named(processor, labels, told):
    with pytest.raises(UserError, match=re.escape(told)):
        LatentCollator(processor)(rows(*labels))


def test_words_without_a_tokenizer_are_refused():
    images = CoMMProcessor({"image": {"kind": "image", "size": 8}})
    with pytest.raises(UserError, match="labels in words need one text modality.*there are: none"):
        LatentCollator(images)(rows("red"))


def test_several_images_a_row(processor):
    given = rows(0, 1, 0, images=2)
    several = LatentCollator(processor)(given)["modalities"]["image"]["pixel_values"]
    assert several.shape == (3, 2, 3, 8, 8) and several.dtype == torch.uint8
    for row, shown in enumerate(given):
        for k in range(2):
            assert np.array_equal(several[row, k].permute(1, 2, 0).numpy(), shown["image"][k])


def pixel_values(batch):
    return batch["pixel_values"] if "pixel_values" in batch else batch["modalities"]["image"]["pixel_values"]


def test_several_images_a_row_are_processed_as_single_ones(processor):
    given = rows(0, 1, 0, images=2)
    single = [row | {"image": image} for row in given for image in row["image"]]
    as_pictures = [row | {"image": tuple(map(Image.fromarray, row["image"]))} for row in given]
    of_any_size = [row | {"image": [picture(1, 11), picture(2, 9)]} for row in given]
    whole = LatentCollator(processor, raw=False)
    expected = pixel_values(whole(single)).unflatten(0, (3, 2))
    assert torch.equal(pixel_values(whole(given)), expected)
    assert torch.equal(pixel_values(whole(as_pictures)), expected)
    assert pixel_values(whole(of_any_size)).shape == (3, 2, 3, 8, 8)
    resized = LatentCollator(processor)(of_any_size)["modalities"]["image"]["pixel_values"]
    assert resized.shape == (3, 2, 3, 8, 8) and resized.dtype == torch.uint8


@pytest.mark.parametrize("raw", [True, False])
@pytest.mark.parametrize(
    ("images", "told"),
    [
        ([picture(0)], "row 1 of modality 'image' is a list of 1, row 0 is a list of 2: give as many to each row"),
        (picture(0), "row 1 of modality 'image' is an image, row 0 is a list of 2: give as many to each row"),
        ([], "row 1 of modality 'image': a list without an image"),
    ],
)
def test_a_row_with_another_number_of_images_is_named(processor, raw, images, told):
    given = rows(0, 1, 0, images=2)
    given[1]["image"] = images
    with pytest.raises(ValueError, match=re.escape(told)):
        LatentCollator(processor, raw=raw)(given)


def test_what_is_no_image_is_named_by_its_row(processor):
    given = rows(0, 1, images=2)
    given[1]["image"][0] = "a picture"
    with pytest.raises(
        ValueError, match="row 1 of modality 'image' is not an image that can be read: expected an image, found a text"
    ):
        LatentCollator(processor)(given)


def refused(rows):
    try:
        raise KeyError("image")
    except KeyError as error:
        raise UserError("row 3, column 'image' is empty: repair it\nor remove it") from error


def test_an_error_in_a_worker_of_a_data_loader_is_its_text_alone():
    with pytest.raises(UserError) as error:
        next(iter(DataLoader([1, 2], collate_fn=refused, num_workers=1)))
    assert str(error.value) == "row 3, column 'image' is empty: repair it\nor remove it"


def test_a_finished_model_reads_some_modalities_and_rows_of_a_data_set_are_named():
    processor = CoMMProcessor({"left": {"kind": "table"}, "right": {"kind": "features"}})
    rows = [Row(a=[1.0, 2.0]), Row(a=None), Row(a=[3.0, 4.0])]
    for number, row in enumerate(rows, 4):
        row.number = number
    batch, present = ModelCollator(processor, {"left": "a"}, {"left": [0.0, 0.0]})(rows)
    assert set(batch["modalities"]) == {"left"} and present["left"].tolist() == [True, False, True]
    assert batch["modalities"]["left"]["values"].tolist() == [[1, 2], [0, 0], [3, 4]]
    assert ModelCollator(processor, {"left": "a"})([rows[0], rows[2]])[1] is None
    with pytest.raises(UserError, match="rows 4 to 6: row 1 of modality 'left' is None"):
        ModelCollator(processor, {"left": "a"})(rows)
    with pytest.raises(ValueError, match="^row 0 of modality 'left' is None"):
        ModelCollator(processor, {"left": "a"})([{"a": None}])
