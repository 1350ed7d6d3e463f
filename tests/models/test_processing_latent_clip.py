"""The processor of two towers takes what CLIPProcessor takes when it is called."""

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import CLIPProcessor

from hf_latent import LatentCLIPProcessor
from hf_latent.data.tokenizers import word_tokenizer

TEXTS = ["a red star", "two green squares that are big", "star"]
PIXELS = np.random.default_rng(0).integers(0, 256, (20, 24, 3), dtype=np.uint8)
PICTURE = Image.fromarray(PIXELS)
SHARES = PIXELS.astype(np.float32) / 255


def processors(**options):
    ours = LatentCLIPProcessor.for_size(16, word_tokenizer(TEXTS, max_length=12), **options)
    return ours, CLIPProcessor(ours.image_processor, ours.tokenizer)


CALLS = {
    "both": ((), {"images": PICTURE, "text": TEXTS, "padding": True, "return_tensors": "pt"}),
    "images, text": (([PICTURE, PICTURE], TEXTS), {"padding": True, "return_tensors": "pt"}),
    "np": ((), {"images": PICTURE, "text": TEXTS, "padding": True, "return_tensors": "np"}),
    "lists": ((), {"images": PICTURE, "text": TEXTS, "padding": False, "return_tensors": None}),
    "text_kwargs": ((), {"text": TEXTS, "text_kwargs": {"padding": True}, "return_tensors": "pt"}),
    "common": ((), {"text": TEXTS, "text_kwargs": {"padding": True}, "common_kwargs": {"return_tensors": "np"}}),
    "cut": ((), {"text": TEXTS, "padding": "max_length", "max_length": 4, "truncation": True, "return_tensors": "pt"}),
    "whole": ((), {"text": ["a " * 30], "truncation": False, "return_tensors": "pt"}),
    "images_kwargs": ((), {"images": PICTURE, "images_kwargs": {"do_normalize": False}, "return_tensors": "np"}),
    "size": ((), {"images": PICTURE, "size": {"height": 8, "width": 8}, "return_tensors": "pt"}),
    "shares": ((), {"images": [SHARES, SHARES], "do_rescale": False, "return_tensors": "pt"}),
    "tensors": (
        (),
        {
            "images": torch.tensor(SHARES).permute(2, 0, 1)[None],
            "images_kwargs": {"do_rescale": False},
            "return_tensors": "pt",
        },
    ),
    "tokens": ((), {"text": TEXTS, "padding": True, "add_special_tokens": False, "return_tensors": "pt"}),
}


@pytest.mark.parametrize("call", CALLS)
def test_it_is_called_as_that_of_clip(call):
    arguments, keywords = CALLS[call]
    ours, clip = (dict(processor(*arguments, **keywords)) for processor in processors())
    assert ours.keys() == clip.keys()
    for key, expected in clip.items():
        found = ours[key]
        assert type(found) is type(expected), key
        if isinstance(found, list) and key != "pixel_values":
            assert found == expected, key
        else:
            np.testing.assert_allclose(np.asarray(found), np.asarray(expected), atol=1e-6, err_msg=key)


@pytest.mark.parametrize("returned", ["pt", "np", None])
def test_lists_of_images_stay_together_in_every_kind_of_tensors(returned):
    ours, _ = processors()
    pixels = ours(images=[[PICTURE, PICTURE.rotate(90)]] * 3, return_tensors=returned)["pixel_values"]
    assert np.shape(pixels) == (3, 2, 3, 16, 16)


def test_padding_true_is_that_of_the_processor():
    ours, _ = processors(padding="max_length")
    assert ours(text=TEXTS)["input_ids"].shape == (3, 12)
    assert ours(text=TEXTS, padding=True)["input_ids"].shape == (3, 12)
    assert ours(text=TEXTS, text_kwargs={"padding": True})["input_ids"].shape == (3, 12)
    assert ours(text=TEXTS, padding="longest")["input_ids"].shape == (3, 8)


def test_captions_are_cut_where_training_cuts_them():
    """Tokenizers of sentence-transformers keep a `max_length` of their own beside `model_max_length`."""
    ours, _ = processors()
    ours.tokenizer.init_kwargs["max_length"] = 4
    assert ours(text=TEXTS)["input_ids"].shape == ours.stack("text", TEXTS)["input_ids"].shape == (3, 8)


def test_floats_that_a_processor_would_pad_are_named():
    ours, _ = processors(fit="pad")
    with pytest.raises(ValueError, match="do_rescale=False with float images"):
        ours(images=[SHARES], do_rescale=False)
