"""The Space: what it finds similar, what it says about it, and how it refuses a run that it cannot show."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from hf_latent import CoMMConfig, CoMMModel, CoMMProcessor

gr = pytest.importorskip("gradio")
APP = Path(__file__).resolve().parents[1] / "spaces" / "app.py"
METRICS = {"redundancy": 96.37, "uniqueness1": 69.07, "uniqueness2": None, "synergy": 46.06, "seed": 42}


@pytest.fixture(scope="module")
def app():
    spec = importlib.util.spec_from_file_location("hf_latent_space", APP)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def save_run(folder, names=("image1", "image2"), data="{name: trifeature, image_size: 16, renders: 1}"):
    torch.manual_seed(0)
    encoder = {"encoder": "cnn", "channels": [8, 16]}
    CoMMModel(CoMMConfig(modalities={name: encoder for name in names}, embed_dim=16)).save_pretrained(folder)
    CoMMProcessor({name: {"kind": "image", "size": 16} for name in names}).save_pretrained(folder)
    (folder / "recipe.yaml").write_text(f"data: {data}\n")
    (folder / "metrics.json").write_text(json.dumps(METRICS))
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return save_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def explorer(app, run):
    return app.Explorer(str(run))


def pair_of(app, explorer, row):
    return tuple(app.picture_of(explorer.data.test, image, True) for image in explorer.pairs.index[row])


@pytest.fixture(scope="module")
def new_pair(explorer):
    shape, texture1, color1, texture2, color2 = explorer.examples()[0]
    return explorer.picture(shape, texture1, color1), explorer.picture(shape, texture2, color2)


def test_the_pictures_are_those_of_the_recipe(explorer):
    assert explorer.data.test.images.shape[1:] == (16, 16, 3)
    assert len(explorer.pairs) == 600


@pytest.mark.parametrize("row", [0, 17, 599])
def test_a_pair_of_the_reference_finds_itself_first(app, explorer, row):
    query = pair_of(app, explorer, row)
    for pairs in explorer.neighbours(*query).values():
        assert pairs[0].similarity == pytest.approx(1, abs=1e-3)
        assert all(np.array_equal(a.pixels, b.pixels) for a, b in zip(pairs[0].pair, query, strict=True))
        assert pairs[0].agrees == app.FACTORS


def test_lists_have_five_neighbours_and_are_sorted(app, explorer, new_pair):
    found = explorer.neighbours(*new_pair)
    assert list(found) == ["image1", "image2", "fused"]
    for pairs in found.values():
        similarities = [pair.similarity for pair in pairs]
        assert len(similarities) == 5
        assert similarities == sorted(similarities, reverse=True)
        assert max(map(abs, similarities)) < 1.001


def test_each_view_sees_what_it_says(explorer, new_pair):
    """A list by one image alone stays when the other image changes; the fused one does not; and all three differ."""
    first, second = new_pair
    shape, _, _, texture, color = explorer.examples()[1]
    before, after = (
        explorer.neighbours(first, second),
        explorer.neighbours(first, explorer.picture(shape, texture, color)),
    )
    scores = {view: [[pair.similarity for pair in found[view]] for found in (before, after)] for view in before}
    assert scores["image1"][0] == pytest.approx(scores["image1"][1])
    assert scores["image2"][0] != pytest.approx(scores["image2"][1])
    assert scores["fused"][0] != pytest.approx(scores["fused"][1])
    assert scores["fused"][0] != pytest.approx(scores["image1"][0])
    assert scores["fused"][0] != pytest.approx(scores["image2"][0])


def test_by_one_image_no_image_comes_twice(explorer, new_pair):
    found = explorer.neighbours(*new_pair)
    for side, view in enumerate(("image1", "image2")):
        assert len({pair.pair[side].pixels.tobytes() for pair in found[view]}) == 5


def test_the_words_agree_with_the_labels(app, explorer):
    labels = explorer.pairs.labels
    query = pair_of(app, explorer, 0)
    tasks = {"shape": "redundancy", "texture 1": "uniqueness1", "texture 2": "uniqueness2"}
    for row in range(0, 600, 7):
        said = app.agreement(query, pair_of(app, explorer, row))
        assert {name: name in said for name in tasks} == {
            name: bool(labels[task][row] == labels[task][0]) for name, task in tasks.items()
        }
    assert app.sentence(()) == "nothing agrees"
    assert app.sentence(("shape",)) == "same shape"
    assert app.sentence(("shape", "texture 1", "color 2")) == "same shape, texture 1 and color 2"


def test_the_counts_above_a_list_are_those_of_its_cards(app, explorer, new_pair):
    found = explorer.neighbours(*new_pair)
    page = app.neighbours_html(found)
    assert page.count("<img") == 30
    for pairs in found.values():
        assert f"same shape in {sum(pair.pair[0].shape == new_pair[0].shape for pair in pairs)}, texture" in page


def test_a_combination_that_was_not_held_out_is_called_a_training_picture(app, explorer):
    train = app.picture_of(explorer.data.train, 0, False)
    picture = explorer.picture(train.shape, train.texture, train.color)
    assert np.array_equal(picture.pixels, train.pixels)
    assert "from the training set" in app.picked_html(picture)
    test = app.picture_of(explorer.data.test, 0, True)
    assert "training set" not in app.picked_html(explorer.picture(test.shape, test.texture, test.color))


def test_the_page_builds_and_shows_what_was_measured(app, run):
    demo = app.build_demo(str(run))
    assert isinstance(demo, gr.Blocks)
    page = json.dumps(demo.get_config_file(), default=str)
    assert "96.4 %" in page and "46.1 %" in page and "Uniqueness 2" not in page
    show = next(fn.fn for fn in demo.fns.values() if fn.api_name == "neighbours")
    assert "Both images, fused" in show("star", "dots", "red", "solid", "blue")[2]
    with pytest.raises(gr.Error, match="no picture shows 'comet'"):
        show("comet", "dots", "red", "solid", "blue")


def test_a_run_that_cannot_be_shown_ends_in_a_sentence_and_code_2(app, run, tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("HF_LATENT_MODEL", raising=False)
    other = save_run(tmp_path / "other", names=("photo",))
    foreign = save_run(tmp_path / "foreign", data="{name: dataset, path: x}")
    odd = save_run(tmp_path / "odd", data="{name: trifeature, image_size: 2}")
    (tmp_path / "empty").mkdir()
    mistakes = {
        "": "set HF_LATENT_MODEL",
        str(tmp_path / "nothing"): "neither a folder nor a model",
        "nobody/no-such-model": "neither a folder nor a model",
        str(tmp_path / "empty"): "holds no model that can be loaded",
        str(other): "is a model of photo, not of two images",
        str(foreign): "was trained on 'dataset'",
        str(odd): "image_size=2 cannot be used",
    }
    for name, words in mistakes.items():
        assert app.main([name] if name else []) == 2
        said = capsys.readouterr().err.splitlines()[-1]
        assert words in said
        monkeypatch.setenv("HF_LATENT_MODEL", name)
        assert app.main([]) == 2
        assert capsys.readouterr().err.splitlines()[-1] == said
