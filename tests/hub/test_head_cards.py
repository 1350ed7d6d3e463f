"""The cards of downstream heads: what they say of tiny runs, and that their code runs as it is written."""

import pytest
import torch
from huggingface_hub import ModelCard
from PIL import Image

from hf_latent import (
    LatentALBEFForImageTextClassification,
    LatentALBEFForNaturalLanguageVisualReasoning,
    LatentALBEFForQuestionAnswering,
)
from hf_latent.hub.card import render, write_card
from hf_latent.hub.card_fields import model_name, shareable, withheld
from hf_latent.runs import read_json
from tests.downstream import BEGINS
from tests.hub.cards import albef_card, cited
from tests.hub.test_card_code import blocks, picture

WHAT = {
    "questions": "A model that answers questions about an image:",
    "entailment": "entails a sentence, contradicts it, or leaves it open: `entailment`, `neutral` or `contradiction`.",
    "statements": "tells whether a statement about two images is true: `false` or `true`.",
    "text_assignment": "which of two images a caption belongs to, if to any: `first`, `second` or `neither`.",
}
DATA = {
    "questions": "trained on questions about rendered Trifeature images, 1 on each of 800",
    "entailment": "trained on hypotheses about rendered Trifeature images",
    "statements": "trained on statements about two rendered Trifeature images, 1 on each of 800 with another",
    "text_assignment": "trained on captions with two rendered Trifeature images",
}
KINDS = {
    "questions": {"Right answer: what color?": "color", "Right answer: yes or no?": "yes_no"},
    "entailment": {"Right class: what the picture shows": "plain"},
    "statements": {"Right class: of both pictures": "both", "Right class: of exactly one": "one"},
    "text_assignment": {"Right class: which of two that are much alike": "near"},
}


def head_card(downstream, name, model=None, data=None):
    """A card of the config of a run, with another recipe."""
    recipe = {"model": {"type": "latent_albef_classification", **(model or {})}, "data": data or {}}
    return render(name, read_json(downstream / name / "config.json", ""), recipe, {"class_accuracy": 50.0}, set())


@pytest.mark.parametrize("name", BEGINS)
def test_a_card_tells_what_the_head_is_and_what_it_reaches(downstream, name):
    text = (downstream / name / "README.md").read_text()
    metrics = read_json(downstream / name / "metrics.json", "")
    which = "answer" if name == "questions" else "class"
    top, _, rest = text.partition("## Use")
    assert WHAT[name] in top and f"a trained model named `{BEGINS[name]}`" in top and DATA[name] in top
    assert "with momentum distillation" in top and "image-text contrast" not in top
    value, chance = (metrics[f"{which}_{key}"] for key in ("accuracy", "chance"))
    assert f"| Right {which} | **{value:.1f} %** | {chance:.1f} % |" in rest
    for title, kind in KINDS[name].items():
        (line,) = (line for line in rest.splitlines() if line.startswith(f"| {title} |"))
        level = metrics["measurements"][f"{which}_accuracy_{kind}"]["chance"]
        assert line.endswith(f"| {level:.1f} % |")
    assert "200 sentences on 200 images of the 200 combinations" in rest and "16 px" in rest
    assert rest.index("| Right") < rest.index("(figures/predictions.png)") < rest.index("## Objective")
    assert "## Latent structure" not in text and "temperature" not in rest and "contrasted" not in rest
    assert "### Cross-entropy" in rest and "L_{\\mathrm{teacher}}" in rest and "rises from 0 to 0.4" in rest
    assert "Its vocabulary has 88 tokens" in rest and "synthetic" in rest
    assert cited(text) == ["li2021align", "hermann2020what"]
    assert str(downstream) not in text and f"pretrained: {BEGINS[name]}\n" in text
    assert "is filled in: `model.pretrained`" in text
    head = ModelCard(text).data
    assert head.pipeline_tag == "visual-question-answering" and head.base_model is None
    assert "contrastive-learning" not in head.tags and "latent_albef" in head.tags
    result = head.eval_results[0]
    assert (result.task_type, result.dataset_type) == ("visual-question-answering", f"trifeature_{name}")
    assert result.metric_name == f"{which}_accuracy" and result.metric_value == round(value, 4)


@pytest.mark.parametrize("name", BEGINS)
def test_the_code_of_a_card_runs(downstream, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    for seed, file in enumerate(("image", "left", "right")):
        picture(seed).save(f"{file}.png")
    text = write_card(downstream / name).read_text().replace("user/name", str(downstream / name))
    first, second = blocks(text)
    names, packaged = {}, {}
    exec(first, names)
    exec(second, packaged)
    for ours, theirs in zip(packaged["model"].parameters(), names["model"].parameters(), strict=True):
        assert torch.equal(ours, theirs)
    if name == "questions":
        assert type(packaged["model"]) is LatentALBEFForQuestionAnswering
        assert len(names["written"]) == 1 and isinstance(names["written"][0], str) and "[" not in names["written"][0]
        assert names["scores"].shape == (1, 7) and names["scores"].isfinite().all()
        assert names["likeliest"] in names["answers"]
        return
    two = name != "entailment"
    one = LatentALBEFForImageTextClassification
    assert type(packaged["model"]) is (LatentALBEFForNaturalLanguageVisualReasoning if two else one)
    assert f"(1, {len(names['model'].config.id2label)})" in first
    assert names["probabilities"].shape == (1, names["model"].config.num_labels)
    assert names["label"] in names["model"].config.id2label.values()
    if two:
        assert names["batch"]["pixel_values"].shape == (1, 2, 3, 16, 16)


def test_the_figure_of_predictions_is_large_enough_to_read(downstream):
    for name in ("questions", "statements"):
        width, height = Image.open(downstream / name / "figures" / "predictions.png").size
        assert width > 600 and height > 400


def test_a_base_on_the_hub_is_named_and_a_folder_is_not(downstream, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = head_card(downstream, "entailment", {"pretrained": "user/albef"})
    head = ModelCard(text).data
    assert (head.base_model, head.base_model_relation) == ("user/albef", "finetune")
    assert "from [`user/albef`](https://huggingface.co/user/albef)." in text
    assert "tells the class of a sentence with an image" in text and "What it was trained on is not recorded." in text
    (tmp_path / "user" / "albef").mkdir(parents=True)
    assert ModelCard(head_card(downstream, "entailment", {"pretrained": "user/albef"})).data.base_model is None
    for folder in ("outputs/albef", "/home/ada/albef", "../albef", "albef"):
        text = head_card(downstream, "entailment", {"pretrained": folder})
        assert ModelCard(text).data.base_model is None and "a trained model named `albef`" in text
        assert folder == "albef" or folder not in text
    text = head_card(downstream, "entailment", {"pretrained": "/home/ada/my secret run"})
    assert "secret" not in text and "from a checkpoint that is not on the Hub" in text
    assert model_name("/home/ada/hf_abcdefghijklmnopqrstuvwxyz") is None and model_name(None) is None


def test_labels_and_beginnings_in_what_is_shared():
    recipe = {"model": {"type": "latent_albef_classification", "pretrained": "/a/b", "num_labels": 2}}
    recipe["model"]["id2label"] = {0: "cat", 1: "my secret", "/x": "y"}
    model = shareable(recipe)["model"]
    assert model == {"type": "latent_albef_classification", "pretrained": "b", "num_labels": 2, "id2label": {0: "cat"}}
    assert withheld(recipe) == ["model.pretrained", "model.id2label.1"]


def test_own_data_is_not_spoken_of_as_trifeature(downstream):
    data = {
        "name": "dataset",
        "path": "user/rows",
        "test_split": "test",
        "columns": {"image": "image", "text": "text"},
    }
    text = head_card(downstream, "statements", data=data)
    assert "the class of a sentence with two images: `false` or `true`" in text
    assert "the split `test` of `user/rows`" in text and "few fixed forms" not in text and "synthetic" not in text


def test_pre_training_speaks_of_contrast_as_before():
    text = albef_card()
    assert "image-text contrast" in text and "### Contrast: `albef`" in text and "*\u03c4* is the temperature" in text
    assert "contrastive-learning" in ModelCard(text).data.tags


def test_what_a_head_is_trained_on_in_what_is_shared():
    data = {
        **{"name": "dataset", "path": "user/rows", "columns": {"image": ["left", "right"], "text": "statement"}},
        "target": {"column": "truth", "groups": "kind", "names": ["no", "yes"], "own": "/home/ada"},
        "tokenizers": {"text": {"words": ["statement", "truth"], "from": "/home/ada"}},
    }
    recipe = {"plugins": ["my_package.parts", "/home/ada/parts.py"], "data": data}
    shared = shareable(recipe)
    assert shared["data"]["columns"] == data["columns"]
    assert shared["data"]["target"] == {"column": "truth", "groups": "kind", "names": ["no", "yes"]}
    assert shared["data"]["tokenizers"] == {"text": {"words": ["statement", "truth"]}}
    assert "plugins" not in shared and withheld(recipe) == ["plugins"]
    assert shareable({"plugins": ["my_package.parts"]}) == {"plugins": ["my_package.parts"]}
    assert shareable({"data": {**data, "target": "truth"}})["data"]["target"] == "truth"
