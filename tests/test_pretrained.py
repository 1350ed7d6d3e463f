"""Recipes that begin with a pre-trained model."""

import json
import shutil

import pytest
import torch

from hf_latent import (
    CoMMConfig,
    CoMMProcessor,
    LatentALBEFForImageTextRetrieval,
    LatentALBEFForPreTraining,
    LatentALBEFProcessor,
    LatentCLIPModel,
)
from hf_latent.data.tokenizers import load_tokenizer, word_tokenizer
from hf_latent.errors import UserError
from hf_latent.pretrained import check_vocabulary, load_pretrained_model
from hf_latent.recipe import load_recipe, parse_recipe
from tests.models.small import save_small_clip, small_albef, small_clip

RECIPE = """
model: {{type: latent_albef_{kind}, pretrained: {folder}, alpha: 0.2{more}}}
data: {{name: trifeature_captions, image_size: 16}}
views: {{image: {{kind: image}}, text: {{kind: none}}}}
training: {{max_steps: 2, global_batch_size: 4, output_dir: {output}}}
"""
KINDS = ("question_answering", "classification", "visual_reasoning")


@pytest.fixture
def folder(tmp_path):
    """A pre-trained model with regularizers, as a run leaves it."""
    folder = tmp_path / "pretrained"
    tokenizer = word_tokenizer(["what color is it", "a red star"])
    options = {"vocab_size": len(tokenizer), "regularizers": {"feature_separation": {}}, "alpha": 0.4}
    small_albef(dtype=torch.float32, **options).save_pretrained(folder)
    LatentALBEFProcessor.for_size(16, tokenizer, mean=[0.1] * 3, std=[0.3] * 3).save_pretrained(folder)
    return folder


def write(tmp_path, folder, kind="classification", more=", num_labels: 3"):
    path = tmp_path / f"{kind}.yaml"
    path.write_text(RECIPE.format(kind=kind, folder=folder, more=more, output=tmp_path / "run"))
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_a_head_begins_as_the_pre_trained_model(tmp_path, folder, kind):
    more = ", num_labels: 3, id2label: {0: a, 1: b, 2: c}" if kind != "question_answering" else ""
    recipe = load_recipe(write(tmp_path, folder, kind, more))
    config = recipe.config
    assert (config.alpha, config.fusion_layers, config.projection_dim) == (0.2, 1, 8) and not config.regularizers
    assert recipe.pretrained == str(folder) and recipe.data.tokenizers == {"text": str(folder)}
    assert recipe.views["image"].mean == pytest.approx([0.1] * 3)
    model = load_pretrained_model(recipe.model_class, recipe.pretrained, config)
    assert type(model) is recipe.model_class and model.config.alpha == 0.2
    if more:
        assert model.config.num_labels == 3 and model.config.id2label[1] == "b"
    source = LatentALBEFForImageTextRetrieval.from_pretrained(folder)
    for name, value in source.fusion.state_dict().items():
        assert torch.equal(model.fusion.state_dict()[name], value)
    assert all(torch.equal(own, copy) for own, copy in model._followed())


def test_the_recipe_of_a_finished_run_needs_the_pre_trained_model_no_more(tmp_path, folder):
    path = write(tmp_path, folder)
    recipe = load_recipe(path)
    run = tmp_path / "finished"
    load_pretrained_model(recipe.model_class, str(folder), recipe.config).save_pretrained(run)
    shutil.rmtree(folder)
    with pytest.raises(UserError, match="there is no .*config.json.*write the folder of a finished run"):
        load_recipe(path)
    shutil.copy(path, run / "recipe.yaml")
    again = load_recipe(run / "recipe.yaml")
    assert again.config.num_labels == 3 and again.config.alpha == 0.2
    assert again.data.tokenizers == {"text": str(run)} and again.pretrained == str(folder)


def test_a_tokenizer_with_other_numbers_is_refused(tmp_path, folder):
    check_vocabulary(str(folder), load_tokenizer(str(folder), []))
    with pytest.raises(UserError, match="data.tokenizers.text: its vocabulary is not that .*leave it out"):
        check_vocabulary(str(folder), word_tokenizer(["a blue star", "what color is it"]))
    check_vocabulary(str(tmp_path), word_tokenizer(["without one of its own"]))


def test_text_assignment_goes_on_to_statements(tmp_path, folder):
    first = load_recipe(write(tmp_path, folder, "visual_reasoning"))
    load_pretrained_model(first.model_class, str(folder), first.config).save_pretrained(tmp_path / "assigned")
    path = write(tmp_path, tmp_path / "assigned", "visual_reasoning", ", num_labels: 2")
    recipe = load_recipe(path)
    model = load_pretrained_model(recipe.model_class, str(tmp_path / "assigned"), recipe.config)
    assert model.classifier[2].out_features == 2 and len(model.config.id2label) == 2


def test_pre_training_goes_on(tmp_path, folder):
    recipe = load_recipe(write(tmp_path, folder, more=""), ["model.type=latent_albef"])
    assert recipe.config.regularizers == {}
    model = load_pretrained_model(recipe.model_class, str(folder), recipe.config)
    source = LatentALBEFForPreTraining.from_pretrained(folder)
    assert {name.split(".")[0] for name in source.state_dict()} - {
        name.split(".")[0] for name in model.state_dict()
    } == {"extra_projections"}
    for name, value in model.state_dict().items():
        assert torch.equal(source.state_dict()[name], value), name
    assert all(torch.equal(own, copy) for own, copy in model._followed())


def test_two_towers_go_on_with_other_regularizers(tmp_path):
    folder = tmp_path / "towers"
    save_small_clip(folder, objective="sigmoid", regularizers={"feature_separation": {}}, temperature=0.2)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"model: {{type: latent_clip, pretrained: {folder}, "
        "regularizers: {distillation: {}, brownian_bridge: {}}}\n"
        "data: {name: trifeature_captions, image_size: 16}\nviews: {image: {kind: image}, text: {kind: none}}\n"
        f"training: {{output_dir: {tmp_path / 'run'}}}\n",
        encoding="utf-8",
    )
    source = LatentCLIPModel.from_pretrained(folder)
    with torch.no_grad():
        source.objective_modules["bias"].weight += 1
    source.save_pretrained(folder)
    for override, name in ((), "sigmoid"), (("model.objective=clip",), "clip"):
        own = load_recipe(recipe, override)
        assert own.config.objective == name and own.config.projection_dim == 8
        assert list(own.config.regularizers) == ["distillation", "brownian_bridge"]
        assert own.data.tokenizers == {"text": str(folder)}
        model = load_pretrained_model(own.model_class, str(folder), own.config)
        old, new = source.state_dict(), model.state_dict()
        shared = {key for key in new if key in old}
        assert all(torch.equal(old[key], new[key]) for key in shared)
        parts = {key.split(".")[0] for key in shared} - {"objective_modules"}
        assert parts == {"encoders", "projections", "logit_scale"}
        assert ("objective_modules.bias.weight" in shared) == (name == "sigmoid")
    with pytest.raises(UserError, match="model.clip and model.pretrained both say what training begins with"):
        load_recipe(recipe, ["model.clip=openai/clip-vit-base-patch32"])
    with pytest.raises(UserError, match="was trained with 8, which stays"):
        load_recipe(recipe, ["model.projection_dim=16"])


def test_the_modalities_of_a_recipe_change_those_of_the_model(tmp_path, folder):
    recipe = load_recipe(write(tmp_path, folder), ["model.modalities={image: {frozen: true}}"])
    assert recipe.config.modalities["image"] == {"encoder": "cnn", "channels": [8, 16], "frozen": True}
    wider = load_recipe(write(tmp_path, folder), ["model.modalities={image: {channels: [8, 24]}}"])
    with pytest.raises(UserError, match="of its weights do not fit this model, as encoders.image.*leave out what"):
        load_pretrained_model(wider.model_class, str(folder), wider.config)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("model.projection_dim=16", "model.projection_dim=16: .* was trained with 8, which stays"),
        ("model.fusion_layers=2", "was trained with 1, which stays"),
        ("model.queue_size=8", "latent_albef_classification does not read it, pre-training does"),
        ("model.regularizers={alignment: {weight: 1}}", "regularizers: .* does not read it"),
        ("model.pretraned=x", "did you mean 'pretrained'"),
        ("model.num_labels=three", "model.num_labels='three': expected int"),
        ("model.id2label={0: star}", "id2label names 0: name each of the 3 labels, from 0 on"),
        ("model.pretrained=/nowhere", "there is no .nowhere.config.json.*write the folder of a finished run"),
        ("model.type=latent_clip", "unknown key model.alpha"),
        ("model.modalities={series: {encoder: cnn}}", "was trained with image, text"),
    ],
)
def test_what_does_not_fit_is_said(tmp_path, folder, override, words):
    with pytest.raises(UserError, match=words):
        load_recipe(write(tmp_path, folder), [override])


@pytest.mark.parametrize(
    ("written", "words"), [(None, "there is no .*config.json"), ("[]", "no config of a model"), ("{", "no config of")]
)
def test_a_folder_without_a_config_is_said(tmp_path, written, words):
    (tmp_path / "odd").mkdir()
    if written is not None:
        (tmp_path / "odd" / "config.json").write_text(written)
    with pytest.raises(UserError, match=words):
        load_recipe(write(tmp_path, tmp_path / "odd"))


def test_a_model_of_another_type_is_refused(tmp_path):
    small_clip(dtype=torch.float32).save_pretrained(tmp_path / "clip")
    with pytest.raises(UserError, match="holds a model of type 'latent_clip': name one of 'latent_albef'"):
        load_recipe(write(tmp_path, tmp_path / "clip"))
    (tmp_path / "clip" / "config.json").write_text(json.dumps({"model_type": "latent_albef"}))
    with pytest.raises(UserError, match="model.modalities is missing"):
        load_recipe(write(tmp_path, tmp_path / "clip"))


def test_clips_are_read_as_the_pre_trained_model_read_them(tmp_path):
    """Its size, mean and deviation are those of a view that writes none."""
    mean = {"mean": [0.3, 0.3, 0.3], "std": [0.2, 0.2, 0.2]}
    CoMMProcessor({"clip": {"kind": "video", "size": 24, "frames": 2, **mean}}).save_pretrained(tmp_path)
    config = CoMMConfig(modalities={"clip": {"encoder": "cnn", "channels": [8], "frames": 2}})
    config.save_pretrained(tmp_path)
    recipe = {
        "model": {"type": "comm_classification", "pretrained": str(tmp_path), "num_labels": 2},
        "data": {"name": "dataset", "path": "user/clips", "columns": {"clip": "clip"}, "target": "kind"},
        "views": {"clip": {"kind": "video"}},
    }
    view = parse_recipe(recipe, name="run").views["clip"]
    assert view.size == 24 and list(view.mean) == mean["mean"] and list(view.std) == mean["std"]
