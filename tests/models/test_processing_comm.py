"""The processor: every kind of modality, what evaluation sees, saving, and errors that name the row."""

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoProcessor, BertTokenizer

from hf_latent import CoMMProcessor, build_view

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "red", "star"]


def tokenizer():
    return BertTokenizer(vocab={word: i for i, word in enumerate(WORDS)})


def processor():
    kinds = {
        "image": {"kind": "image", "size": 12},
        "text": {"kind": "text"},
        "series": {"kind": "series"},
        "table": {"kind": "table"},
    }
    return CoMMProcessor(kinds, tokenizers={"text": tokenizer()})


def test_every_kind_becomes_tensors():
    batch = processor()(
        {
            "image": [Image.new("L", (30, 20)), np.zeros((9, 9, 3), np.uint8)],
            "text": ["a red star", "star"],
            "series": [np.ones((4, 3)), np.ones((2, 3))],
            "table": [[1.0, 2.0], [3.0, 4.0]],
        }
    )["modalities"]
    assert batch["image"]["pixel_values"].shape == (2, 3, 12, 12)
    assert batch["text"]["attention_mask"].sum(1).tolist() == [5, 3]
    assert batch["series"]["values"].shape == (2, 4, 3)
    assert batch["series"]["attention_mask"].tolist() == [[1, 1, 1, 1], [1, 1, 0, 0]]
    assert batch["table"]["values"].tolist() == [[1.0, 2.0], [3.0, 4.0]]


@pytest.mark.parametrize("size", [12, 16])
def test_it_gives_what_the_plain_view_of_evaluation_gives(size):
    images = torch.randint(0, 256, (4, 3, 16, 16), dtype=torch.uint8)
    processor = CoMMProcessor({"image": {"kind": "image", "size": size}})
    made = processor({"image": list(images)})["modalities"]["image"]
    view = build_view("image", size=size).plain(processor.stack("image", list(images)))
    torch.testing.assert_close(made["pixel_values"], view["pixel_values"], rtol=1e-5, atol=1e-5)


def test_a_picture_does_not_depend_on_its_neighbours():
    ours = processor()
    one, other = Image.linear_gradient("L").resize((20, 20)), Image.new("RGB", (30, 12), "red")
    alone = ours.stack("image", [one, one])["pixel_values"]
    beside = ours.stack("image", [one, other])["pixel_values"]
    assert torch.equal(alone[0], beside[0])


def test_it_survives_saving(tmp_path):
    ours = processor()
    ours.save_pretrained(tmp_path)
    loaded = AutoProcessor.from_pretrained(tmp_path)
    assert isinstance(loaded, CoMMProcessor) and loaded.modalities == ours.modalities
    before, after = (p({"text": ["a red star"]})["modalities"]["text"]["input_ids"] for p in (ours, loaded))
    assert torch.equal(before, after)


@pytest.mark.parametrize(
    ("modalities", "words"),
    [
        ({"imag": [1]}, "did you mean 'image'"),
        (
            {"image": [np.zeros((4, 4, 5), np.uint8)]},
            "row 0 of modality 'image' is not an image that can be read: exp",
        ),
        ({"image": [np.full((4, 4, 3), np.nan)]}, "image that can be read: it holds NaN or infinity"),
        ({"image": ["/etc/hostname.png"]}, "image that can be read: expected an image, found a text"),
        ({"text": ["star", " "]}, "row 1 of modality 'text': expected a sentence"),
        ({"table": [[1.0], [float("nan")]]}, "row 1 of modality 'table' holds NaN"),
        ({"table": [[1.0], [1.0, 2.0]]}, "rows of different shapes"),
        ({"table": [[1.0]], "text": ["a", "a"]}, "differ in their number of rows"),
    ],
)
def test_bad_rows_are_named(modalities, words):
    with pytest.raises(ValueError, match=words):
        processor()(modalities)


def test_bad_modalities_are_named():
    with pytest.raises(ValueError, match="unknown kind 'imge': did you mean 'image'"):
        CoMMProcessor({"photo": {"kind": "imge"}})
    with pytest.raises(ValueError, match="give its tokenizer"):
        CoMMProcessor({"caption": {"kind": "text"}})


def test_call_time_arguments_are_heeded_or_refused():
    ours, texts = processor(), {"text": ["a red star", "star"]}

    def length(**options):
        return ours(texts, **options)["modalities"]["text"]["input_ids"].shape[1]

    assert (length(), length(padding=True), length(max_length=3)) == (5, 5, 3)
    assert length(padding="max_length", max_length=7) == 7
    arrays = ours({**texts, "table": [[1.0], [2.0]]}, return_tensors="np")["modalities"]
    assert all(isinstance(rows, np.ndarray) for part in arrays.values() for rows in part.values())
    with pytest.raises(ValueError, match="return_tensors='tf': write 'pt' or 'np'"):
        ours(texts, return_tensors="tf")
    with pytest.raises(TypeError, match="text_kwargs"):
        ours(texts, text_kwargs={"padding": True})


def test_it_loads_from_a_subfolder(tmp_path):
    processor().save_pretrained(tmp_path / "parts" / "processor")
    loaded = AutoProcessor.from_pretrained(tmp_path, subfolder="parts/processor")
    assert loaded({"text": ["a red star"]})["modalities"]["text"]["input_ids"].shape == (1, 5)
