"""A loaded model: its embeddings are the model's own, and what cannot be shown is told in a sentence."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import BertConfig, BertModel

from hf_latent.errors import UserError
from hf_latent.metrics import retrieval
from hf_latent.views import Views
from tests.space.runs import PAIRS, captions_run, pairs_run

from explorer import FUSED, Explorer  # isort: skip
from tabs import ask  # isort: skip
from thumbnails import thumbnail  # isort: skip


def test_embeddings_are_those_of_the_model(pairs, captions):
    for explorer in (pairs, captions):
        rows = {name: values[150:153] for name, values in explorer.sample.values.items()}  # of the second batch
        with torch.no_grad():
            whole = explorer.model(**explorer.processor.batch(rows), return_loss=False)
        fused = {} if whole.fused is None else {FUSED: whole.fused}
        for name, vectors in (whole.embeds | fused).items():
            expected = torch.nn.functional.normalize(vectors.double(), dim=1)
            torch.testing.assert_close(explorer.unit[name][150:153], expected, rtol=0, atol=1e-5)
    assert list(pairs.unit) == ["image1", "image2", FUSED] and list(captions.unit) == ["image", "text"]


def test_one_modality_is_embedded_alone(captions, pairs):
    assert list(captions.embed({"text": ["a photo of a red star"]}).embeds) == ["text"]
    assert list(captions.embed({"image": [Image.new("RGB", (40, 20))]}).embeds) == ["image"]
    assert list(pairs.embed({"image2": pairs.sample.values["image2"][:2]}).embeds) == ["image2"]


def test_second_views_are_those_of_the_recipe_and_the_same_each_time(captions):
    rows = {name: values[:3] for name, values in captions.sample.values.items()}
    assert isinstance(captions.views, Views)
    once, again = (captions.embed_views(rows, captions.views) for _ in range(2))
    assert torch.equal(once.augmented["image"], again.augmented["image"])
    assert not torch.allclose(once.augmented["image"], once.embeds["image"])
    torch.testing.assert_close(once.embeds["image"], captions.embed(rows).embeds["image"], rtol=0, atol=1e-4)
    backwards = captions.embed_views({name: values[::-1] for name, values in rows.items()}, captions.views)
    torch.testing.assert_close(backwards.augmented["text"].flip(0), once.augmented["text"], rtol=0, atol=1e-5)


def test_recalls_count_each_text_once(captions):
    ids, seen = captions.sample.ids, np.unique(captions.sample.ids, return_index=True)[1]
    image, text = captions.unit["image"], captions.unit["text"]
    expected = retrieval(image, text[seen], ids, ids[seen], k=(1,))
    assert captions.recalls(captions.unit) == {
        "text nearest to image is right": expected["image_to_text_r1"],
        "image nearest to text is right": expected["text_to_image_r1"],
    }


def test_thumbnails_keep_the_proportions():
    wide = thumbnail(Image.new("RGB", (200, 100), "red"), "image")
    assert wide.size == (96, 96)
    assert wide.getpixel((48, 48)) == (255, 0, 0) and wide.getpixel((48, 4)) == (128, 128, 128)
    assert np.array_equal(np.asarray(thumbnail(np.full((96, 96, 3), 7, np.uint8), "image")), np.full((96, 96, 3), 7))


def test_a_run_that_cannot_be_shown_is_told_in_a_sentence(tmp_path, pairs_folder):
    (tmp_path / "empty").mkdir()
    bert = BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, vocab_size=9)
    BertModel(bert).save_pretrained(shutil.copytree(pairs_folder, tmp_path / "foreign"))
    broken = shutil.copytree(pairs_folder, tmp_path / "broken")
    (broken / "model.safetensors").write_bytes(b"no weights")
    code = shutil.copytree(pairs_folder, tmp_path / "code")
    config = json.loads((code / "config.json").read_text())
    (code / "config.json").write_text(json.dumps(config | {"model_type": "unheard_of"}))
    mistakes = {
        "nobody/no-such-model": "neither a folder nor a model that can be reached",
        "not an id": "neither a folder nor a model that can be reached",
        str(tmp_path / "empty"): "holds no model that can be loaded",
        str(tmp_path / "broken"): "holds no model that can be loaded",
        str(tmp_path / "code"): "holds no model that can be loaded",
        str(tmp_path / "foreign"): "name a model that hf_latent trained",
        str(pairs_run(tmp_path / "one", names=("photo",), data=None)): "names data with the modalities photo",
        str(pairs_run(tmp_path / "size", data={**PAIRS, "image_size": 2})): "image_size=2 cannot be used",
    }
    for run, words in mistakes.items():
        with pytest.raises(UserError, match=words):
            Explorer(run)


def test_a_model_without_recipe_or_metrics_is_shown_all_the_same(tmp_path):
    folder = captions_run(tmp_path / "bare", data=None, views=None)
    (folder / "metrics.json").unlink()
    explorer = Explorer(str(folder))
    assert explorer.views is None and explorer.metrics == {} and explorer.name == "bare"
    assert explorer.sample.values["image"][0].shape == (16, 16, 3)


@pytest.mark.parametrize("path", [{"path": "/no/such/place"}, {}])  # on the Hub a recipe keeps local paths to itself
def test_no_other_data_stand_in_for_those_that_are_not_here(app, tmp_path, path):
    mine = {"name": "dataset", "columns": {"image": "photo", "text": "words"}, **path}
    explorer = Explorer(str(captions_run(tmp_path / "moved", data=mine)))
    assert "cannot be read here (data.path" in explorer.note and explorer.rows is None
    page = json.loads(json.dumps(app.build_demo([explorer]).get_config_file(), default=str))
    tabs = [part["props"]["label"] for part in page["components"] if part["type"] == "tabitem"]
    assert tabs == ["Ask"]  # with an image and texts that a visitor brings
    assert [part["api_name"] for part in page["dependencies"] if part["api_visibility"] == "public"] == ["ask"]
    assert "there are no rows to show" in json.dumps(page)
    image = Image.new("RGB", (40, 20), "red")
    table = ask.answer_html(explorer, None, image, ["a photo of a red star", "a photo of a blue star"])
    assert table.count("<th scope='row'>") == 2 and "cannot be read here (data.path" in table


def test_a_model_whose_data_are_not_here_and_that_nothing_can_be_asked_is_refused(tmp_path):
    gone = {"name": "dataset", "path": "/no/such/place", "columns": {"image1": "a", "image2": "b"}}
    with pytest.raises(UserError, match=r"cannot be read here \(data.path='/no/such/place'.*no rows to show"):
        Explorer(str(pairs_run(tmp_path / "moved", data=gone)))


@pytest.mark.slow
def test_what_stands_in_for_a_model_without_a_recipe_is_said(app, tmp_path):
    explorer = Explorer(str(captions_run(tmp_path / "bare", data=None, views=None)))
    assert explorer.note == "No recipe says which data this model is of: trifeature_captions stands in for it."
    assert explorer.note in json.dumps(app.build_demo([explorer]).get_config_file(), default=str)
