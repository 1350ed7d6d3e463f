"""Questions: answers and probabilities are those of the model, and other tabs leave such models alone."""

import json
import re

import pytest
import torch
from PIL import Image

from hf_latent import LatentALBEFForQuestionAnswering
from hf_latent.data.trifeature_sentences import ANSWERS
from tests.space.runs import ENTAILMENT, QUESTIONS, SIZE, albef_run

from explorer import Explorer, picture  # isort: skip
from tabs import ask, interactions, latent_map, look, questions, structure  # isort: skip

QUESTION = "what color is this?"


def asked(explorer):
    images, sentence = explorer.head.examples[1]
    return [picture(image) for image in images], sentence


def test_answers_are_ranked_as_the_model_does(heads):
    head = heads["questions"].head
    images, _ = asked(heads["questions"])
    shares = dict(head.shares(images, QUESTION))
    assert set(shares) == set(ANSWERS) and sum(shares.values()) == pytest.approx(1, abs=1e-5)
    # a plain loop over two of the answers
    inputs, odds = head.processor.batch({"image": images, "text": [QUESTION]}), []
    for answer in ("red", "ocean blue"):
        tokens = head.processor.tokenizer([answer], return_tensors="pt")["input_ids"]
        with torch.no_grad():
            hidden = head.model.fuse(inputs["pixel_values"], {"input_ids": inputs["input_ids"]})
            log_p = head.model.guess(head.model.answer_states(hidden, None, tokens)).log_softmax(-1)
        odds.append(sum(log_p[0, place, token] for place, token in enumerate(tokens[0, 1:])).item())
    assert shares["ocean blue"] / shares["red"] == pytest.approx(2.718281828 ** (odds[1] - odds[0]), rel=1e-3)


def test_the_page_shows_what_is_written_and_the_likeliest(heads):
    head = heads["questions"].head
    images, _ = asked(heads["questions"])
    inputs = head.processor.batch({"image": images, "text": [QUESTION]})
    written = head.processor.tokenizer.decode(head.model.generate(**inputs)[0], skip_special_tokens=True).strip()
    page = questions.answer_html(heads["questions"], images, QUESTION)
    assert f"</small>{written or '…'}</p>" in page and "of the 32 answers" in page
    shown = re.findall(r"<th scope='row'>(.*?)</th><td>.*?<span>([\d.]+) %", page)
    assert shown == [(name, f"{100 * share:.1f}") for name, share in head.shares(images, QUESTION)[:8]]
    assert [float(share) for _, share in shown] == sorted((float(share) for _, share in shown), reverse=True)


def test_without_a_list_of_answers_it_is_what_the_model_could_write(tmp_path):
    folder = albef_run(tmp_path / "bare", LatentALBEFForQuestionAnswering, data=None)
    explorer = Explorer(str(folder))
    head = explorer.head
    assert head.sentence == "question" and head.examples[0][1].endswith("?")
    assert "trifeature_questions stands in for it" in explorer.note
    head.answers = []
    images, sentence = asked(explorer)
    shares = head.shares(images, sentence)
    assert len(shares) == 8 and all(0 < share < 1 for _, share in shares)
    assert "likeliest of what it could write" in questions.answer_html(explorer, images, sentence)


@pytest.mark.parametrize(("name", "classes"), [("entailment", 3), ("statements", 2)])
def test_classes_have_their_probabilities(heads, name, classes):
    head = heads[name].head
    images, sentence = asked(heads[name])
    given = [images] if head.images == 2 else images
    with torch.no_grad():
        logits = head.model(**head.processor.batch({"image": given, "text": [sentence]})).logits[0]
    expected = dict(zip(head.answers, logits.softmax(0).tolist(), strict=True))
    assert dict(head.shares(images, sentence)) == pytest.approx(expected) and len(expected) == classes
    page = questions.answer_html(heads[name], images, sentence)
    assert f"</small>{max(expected, key=expected.get)}</p>" in page and f"One of {classes} classes" in page


def test_the_names_of_classes_are_the_models_else_those_of_its_data(heads):
    assert heads["entailment"].head.answers == ["entailment", "neutral", "contradiction"]
    assert heads["statements"].head.answers == ["false", "true"]  # LABEL_0 and LABEL_1 in the config
    assert (heads["statements"].head.images, heads["statements"].head.sentence) == (2, "statement")
    assert heads["entailment"].head.sentence == "hypothesis"


def test_left_and_right_are_told_apart(heads):
    head = heads["statements"].head
    images, sentence = asked(heads["statements"])
    there, back = (dict(head.shares(pair, sentence)) for pair in (images, images[::-1]))
    assert there["true"] != pytest.approx(back["true"], abs=1e-5)


def test_what_is_missing_is_told(heads):
    one, two = heads["questions"], heads["statements"]
    image = Image.new("RGB", (30, 20), "red")
    assert "Bring an image, or" in questions.answer_html(one, [None, None], QUESTION)
    assert "Bring two images, or" in questions.answer_html(two, [image, None], "both are red")
    assert "Write a statement." in questions.answer_html(two, [image, image], "")
    page = questions.answer_html(one, [image, None], "what colour is <b>?")
    assert "It never saw <b>colour</b>, <b>&lt;</b>, <b>b</b>, <b>&gt;?</b>" in page and "<b>?" not in page


def test_no_other_data_stand_in_for_those_that_are_not_here(app, tmp_path):
    gone = {
        "name": "dataset",
        "path": "/no/such/place",
        "columns": {"image": "photo", "text": "words"},
        "target": "said",
    }
    explorer = Explorer(str(albef_run(tmp_path / "moved", LatentALBEFForQuestionAnswering, gone)))
    assert "cannot be read here" in explorer.note and explorer.head.answers == explorer.head.examples == []
    page = json.dumps(app.build_demo([explorer]).get_config_file(), default=str)
    assert "Bring an image." in page and "press an example" not in page and "Or one of these" not in page
    answer = questions.answer_html(explorer, [Image.new("RGB", (20, 20)), None], QUESTION)
    assert "likeliest of what it could write" in answer and "cannot be read here (data.path" in answer


def test_examples_of_another_number_of_images_are_not_offered(tmp_path):
    wrong = {**ENTAILMENT, "name": "trifeature_statements"}
    explorer = Explorer(str(albef_run(tmp_path / "wrong", LatentALBEFForQuestionAnswering, wrong)))
    assert "have not 1 images each" in explorer.note and explorer.head.examples == []
    assert explorer.head.answers == []  # true and false are no answers of a model that writes


def test_tabs_of_a_space_refuse_models_that_answer(heads, captions):
    for name in ("questions", "entailment", "statements"):
        assert questions.refusal(heads[name]) is None
        for tab in (latent_map, structure, interactions, ask, look):
            assert tab.refusal(heads[name]), tab.TITLE
        assert "see the tab Questions" in latent_map.refusal(heads[name])
    for explorer in (captions, heads["pretrained"]):
        assert "not trained to answer" in questions.refusal(explorer)
        assert not any(tab.refusal(explorer) for tab in (latent_map, structure, ask))


def test_ask_leaves_out_what_a_momentum_copy_said(heads):
    texts = ["a photo of a red star", "a photo of a blue circle"]
    page = ask.answer_html(heads["pretrained"], None, Image.new("RGB", (20, 20)), texts)
    assert "compares with a momentum copy" in page and page.count("<th scope='row'>") == 2


def test_a_page_of_one_model_that_answers_opens_with_its_tab(app, heads):
    config = json.loads(json.dumps(app.build_demo([heads["questions"]]).get_config_file(), default=str))
    tabs = [part["props"]["label"] for part in config["components"] if part["type"] == "tabitem"]
    assert tabs == ["Questions"]  # no other tab applies
    public = [part["api_name"] for part in config["dependencies"] if part["api_visibility"] == "public"]
    assert public == ["question"]


def test_pictures_are_those_of_the_recipe(heads):
    assert QUESTIONS["image_size"] == SIZE
    assert all(images[0].shape == (SIZE, SIZE, 3) for images, _ in heads["questions"].head.examples)


def test_pictures_that_are_unlike_the_held_out_ones_are_told_by_their_side(heads):
    head = heads["statements"]
    (left, right), sentence = asked(heads["statements"])
    unlike = Image.new("RGB", (64, 64), "white")
    assert "unlike the pictures" not in questions.answer_html(head, [left, right], sentence)
    page = questions.answer_html(head, [left, unlike], sentence)
    assert "The right picture is unlike" in page and "The left picture" not in page
    assert "This picture is unlike" in questions.answer_html(heads["questions"], [unlike, None], QUESTION)
