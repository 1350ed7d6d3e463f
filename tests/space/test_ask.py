"""Ask: probabilities, terms of the objective and images are those of the model."""

import re

import numpy as np
import pytest
import torch
from PIL import Image

from hf_latent.errors import UserError
from hf_latent.objectives import build_objective

from explorer import picture, unit  # isort: skip
from tabs import ask  # isort: skip
from terms import Terms  # isort: skip

TEXTS = ["a photo of a red star", "a photo of a blue circle", "a photo of a green letter T"]


@pytest.fixture(scope="module")
def terms(captions):
    return Terms(captions)


@pytest.fixture(scope="module")
def image(captions):
    return picture(captions.sample.values["image"][11])


def test_probabilities_are_those_of_the_model_the_likeliest_first(captions, image):
    batch = captions.processor(images=[image], text=TEXTS)
    with torch.no_grad():
        expected = captions.model(**batch, return_loss=False).logits_per_image[0].softmax(0)
    page = ask.answer_html(captions, None, image, TEXTS)
    rows = re.findall(r"<tr><th scope='row'>(.*?)</th><td>.*?<span>([\d.]+) %</span>", page)
    assert [text for text, _ in rows] == [TEXTS[k] for k in expected.argsort(descending=True)]
    for text, share in rows:
        assert float(share) == pytest.approx(100 * expected[TEXTS.index(text)].item(), abs=0.06)


def test_a_share_of_a_term_that_does_not_couple_rows_is_the_rows_own_loss(captions, terms):
    row = 150  # not in the batch
    values = {name: [rows[row]] for name, rows in captions.sample.values.items()}
    z = captions.model.score(captions.embed_views(values, captions.views))
    bridge = build_objective(captions.model.config).regularizers["brownian_bridge"].regularizer
    share = terms.shares(values, [10_000])[0]
    assert share["brownian_bridge"] == pytest.approx(bridge(z, 1.0).item(), abs=1e-4)


def test_a_share_of_the_contrast_is_what_the_row_adds_to_the_sum(captions, terms):
    values = {name: [rows[150]] for name, rows in captions.sample.values.items()}
    objective, scale = captions.model.objective, captions.model.scale

    def total(rows):
        views = {name: column[:100] + values[name] * rows for name, column in captions.sample.values.items()}
        embeddings = captions.embed_views(views, captions.views)
        embeddings.ids = torch.tensor([*captions.sample.ids[:100], 10_000][: 100 + rows])
        with torch.no_grad():
            found = objective(captions.model.score(embeddings), scale)[1]
        return (100 + rows) * found["contrastive"].item()

    assert terms.shares(values, [10_000])[0]["contrastive"] == pytest.approx(total(1) - total(0), abs=2e-3)


def test_what_is_usual_are_the_shares_of_the_batch(terms):
    assert set(terms.usual) == {"contrastive", "in_modal", "brownian_bridge"}
    assert all(len(shares) == 100 and (np.diff(shares) >= 0).all() for shares in terms.usual.values())
    # the shares of a term that is a mean of rows add up to it
    assert terms.usual["brownian_bridge"].mean() == pytest.approx(terms._terms["brownian_bridge"], rel=1e-3)
    assert terms.weights == {"brownian_bridge": 0.5}


def test_the_table_shows_each_term_with_its_weight(captions, terms, image):
    page = ask.answer_html(captions, terms, image, TEXTS)
    assert "brownian bridge, weight 0.5" in page and "in modal" in page
    assert page.count("&gt;") == 9 and "batch with 100 pairs" in page
    assert "has no recipe beside it" in ask.answer_html(captions, None, image, TEXTS)


def test_a_text_of_the_sample_has_its_id_and_others_have_none(captions):
    known = captions.sample.values["text"][5]
    ids = ask.ids_of(captions, [known, "something else", "another"])
    assert ids[0] == captions.sample.ids[5]
    assert len(set(ids)) == 3 and not set(ids[1:]) & set(captions.sample.ids.tolist())


def test_images_of_a_text_are_the_nearest(captions):
    text = TEXTS[0]
    cosines = captions.unit["image"] @ unit(captions.embed({"text": [text]}))["text"][0]
    best = cosines.argsort(descending=True)[:8]
    page = ask.images_html(captions, text)
    assert "never saw" not in page
    assert re.findall(r"<b>(-?[\d.]+)</b>", page) == [f"{cosines[row]:.2f}" for row in best]
    assert [captions.sample.words[row] for row in best] == re.findall(r"<small>(.*?)</small>", page)


def test_texts_are_lines_and_have_limits():
    assert ask.lines_of(" one \n\n two\none") == ["one", "two"]
    for texts, words in (
        (" \n ", "There are 0 texts"),
        ("\n".join(map(str, range(13))), "13 texts: write 1 to 12"),
        ("x" * 301, "has 301 characters"),
    ):
        with pytest.raises(UserError, match=words):
            ask.lines_of(texts)


def test_what_a_visitor_writes_is_text(captions, terms, image):
    page = ask.answer_html(captions, terms, image, ["<script>alert(1)</script>", "& more"])
    assert "<script>" not in page and "&lt;script&gt;" in page and "&amp; more" in page


def test_a_model_without_texts_is_refused(pairs, captions):
    assert "this one is of image1, image2" in ask.refusal(pairs) and ask.refusal(captions) is None


def test_words_that_the_model_never_saw_are_told(captions, terms, image):
    page = ask.images_html(captions, "xyzzy <plugh>")
    assert "It never saw <b>xyzzy</b>" in page and "<b>plugh</b>" in page and "<plugh>" not in page
    assert "knows no word of this text" in page
    page = ask.images_html(captions, "a photo of a red xyzzy")
    assert "It never saw <b>xyzzy</b>: it reads a blank there." in page and "knows no word" not in page
    page = ask.answer_html(captions, terms, image, [TEXTS[0], "a plugh star"])
    assert page.count("never saw") == 1 and "It never saw <b>plugh</b>" in page


def test_a_picture_that_is_unlike_the_sample_is_told(captions, terms, image):
    assert "unlike the pictures" not in ask.answer_html(captions, terms, image, TEXTS)
    page = ask.answer_html(captions, terms, Image.new("RGB", (90, 60), "red"), TEXTS)
    assert "unlike the pictures of the sample" in page
