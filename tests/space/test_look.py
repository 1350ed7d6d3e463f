"""Look: maps and matching are those of the model, and the picture is lit where they are large."""

import re

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import CLIPImageProcessorPil

from hf_latent import LatentALBEFForImageTextRetrieval
from hf_latent.errors import UserError
from hf_latent.plots.grounding import DARKEST
from tests.space.runs import albef_run

from explorer import Explorer, picture  # isort: skip
from sentences import checked, unread_html, words_of  # isort: skip
from tabs import look  # isort: skip

PHRASE = "a red letter T"


@pytest.fixture(scope="module")
def pretrained(heads):
    return heads["pretrained"]


@pytest.fixture(scope="module")
def image(pretrained):
    return picture(pretrained.sample.values["image"][11])


def test_the_map_of_a_phrase_and_its_matching_are_those_of_the_model(pretrained, image):
    inputs = pretrained.processor.batch({"image": [image], "text": [PHRASE]})
    maps, match = look.maps_of(pretrained, image, PHRASE)
    whole = pretrained.model.grounding_maps(**inputs)[0].numpy()
    assert maps.shape[0] == inputs["input_ids"].shape[1] and whole.max() > 0
    np.testing.assert_allclose(maps.mean(0), whole, rtol=1e-4)
    expected = pretrained.model(**inputs).itm_logits.softmax(1)[0, 1].item()
    assert match == pytest.approx(expected) and 0.02 < match < 0.98
    assert f"<span>{100 * expected:.1f} %</span>" in look.look_html(pretrained, image, PHRASE)


def test_every_word_has_its_share_of_the_map(pretrained, image):
    maps, _ = look.maps_of(pretrained, image, PHRASE)
    page = look.look_html(pretrained, image, PHRASE)
    found = re.findall(r"<b>([^<]+)</b><div class=\"bar\".*?<span>(\d+) %", page)
    assert [word for word, _ in found] == PHRASE.split()
    shares = 100 * maps.sum((1, 2))[1:-1] / maps.sum()
    assert [int(share) for _, share in found] == [round(share) for share in shares] and shares.max() > 1
    assert page.count("<img") == 5


def test_the_whole_model_of_a_page_is_left_as_it_is(pretrained, image):
    before = {name: part.clone() for name, part in pretrained.model.state_dict().items()}
    look.look_html(pretrained, image, PHRASE)
    assert all(torch.equal(part, before[name]) for name, part in pretrained.model.state_dict().items())
    assert not pretrained.model.training
    assert all(parameter.grad is None for parameter in pretrained.model.parameters())


def test_a_picture_is_lit_where_its_map_is_large():
    white = Image.new("RGB", (80, 40), "white")
    values = np.zeros((2, 4))
    values[0, 3] = 2.0
    shown = np.asarray(look.lit(white, values, 160)).astype(int)
    assert shown.shape == (80, 160, 3)
    assert shown[8, 152, 0] > 250 and shown[70, 5, 0] == round(255 * (1 - DARKEST))
    assert shown[20, 140].tolist() == [255, 255, 255]  # the cross
    dark = np.asarray(look.lit(white, np.zeros((2, 4)), 160))
    assert (dark == round(255 * (1 - DARKEST))).all()  # and no cross


def test_only_what_the_model_sees_is_lit(pretrained):
    wide = Image.new("RGB", (80, 40))
    assert look.seen_of(wide, pretrained.processor.image_processor) is wide
    cropping = CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})
    assert look.seen_of(wide, cropping).size == (40, 40)


def test_examples_name_one_thing_of_each_picture(pretrained):
    rows = look.examples(pretrained)
    assert len(rows) == 6
    for image, phrase in rows:
        assert image.size == (16, 16) and re.match(r"(an?|five) ", phrase)


def test_what_cannot_be_read_is_told(pretrained, image):
    tokenizer = pretrained.processor.tokenizer
    assert unread_html(tokenizer, PHRASE) == ""
    assert "It never saw <b>zebra</b>, <b>&lt;</b>" in look.look_html(pretrained, image, "a red zebra < zebra")
    long = " ".join(["red"] * 200)
    assert "reads no further than <b>red</b>, 77 tokens" in unread_html(tokenizer, long)
    assert words_of(tokenizer, "red, Star") == [("red", [1]), (",", [2]), ("Star", [3])]
    page = look.look_html(pretrained, image, "<script>alert(1)</script>")
    assert "<script>" not in page and "&lt;script&gt;" in page


def test_sentences_have_limits():
    assert checked("  a  red\nstar ") == "a red star"
    with pytest.raises(UserError, match="has 301 characters: write at most 300"):
        checked("x" * 301)


def test_models_that_match_nothing_are_refused(heads, captions, pairs, tmp_path):
    assert look.refusal(heads["pretrained"]) is None
    for explorer in (heads["questions"], captions, pairs):
        assert "To look takes a LatentALBEF of pre-training or of retrieval" in look.refusal(explorer)
    retrieval = {"cls": LatentALBEFForImageTextRetrieval, "queue_size": 0}
    assert look.refusal(Explorer(str(albef_run(tmp_path / "retrieval", **retrieval)))) is None
    unmatched = Explorer(str(albef_run(tmp_path / "unmatched", itm_weight=0.0)))
    assert "trained without matching" in look.refusal(unmatched)


def test_a_picture_that_is_unlike_the_sample_is_told(pretrained, image):
    assert "unlike the pictures" not in look.look_html(pretrained, image, PHRASE)
    unlike = Image.new("RGB", (64, 64), "white")
    assert "This picture is unlike the pictures of the sample" in look.look_html(pretrained, unlike, PHRASE)
