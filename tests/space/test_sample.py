"""The small data set: which rows a page shows, and what it says where there are none."""

from dataclasses import replace

import datasets
import numpy as np
import pytest
from PIL import Image

from hf_latent.data.hub_data import HubData
from hf_latent.data.sample import ROWS
from hf_latent.data.source import Reader
from hf_latent.data.trifeature import CAPTIONS, COLORS, SHAPES, TEXTURES
from hf_latent.data.trifeature_data import TrifeatureCaptionsData, TrifeatureData
from hf_latent.data.trifeature_sample import drawn
from hf_latent.data.trifeature_scenes import TrifeatureScenesData
from hf_latent.data.trifeature_task_data import TrifeatureStatementsData, TrifeatureTextAssignmentData
from hf_latent.errors import UserError
from tests.space.runs import CAPTIONED, PAIRS, SIZE

from sample import read_recipe, source_of  # isort: skip

IMAGES = {"image1": {"kind": "image", "size": 24}, "image2": {"kind": "image", "size": 24}}
TOWERS = {"image": {"kind": "image", "size": 24}, "text": {"kind": "text", "max_length": 9}}


def test_a_recipe_says_which_data():
    pairs, captions = (source_of({"data": data}, IMAGES, Reader()) for data in (PAIRS, CAPTIONED))
    assert pairs == TrifeatureData(image_size=SIZE, texture_period=35.0, renders=1)
    assert captions == TrifeatureCaptionsData(image_size=SIZE, texture_period=35.0)
    for mistake, words in (
        ({"name": "trifeture"}, "did you mean 'trifeature'"),
        ({"name": "trifeature", "image_sise": 16}, "did you mean 'image_size'"),
        ({"image_size": 16}, "data.name='None'"),
    ):
        with pytest.raises(UserError, match=words):
            source_of({"data": mistake}, IMAGES, Reader())


def test_without_a_recipe_it_is_trifeature_at_the_size_of_the_model():
    assert source_of({}, IMAGES, Reader()) == TrifeatureData(image_size=24)
    assert source_of({}, TOWERS, Reader()) == TrifeatureCaptionsData(image_size=24)
    with pytest.raises(UserError, match="no recipe.yaml that names data with the modalities force, image"):
        source_of({}, {"force": {"kind": "series"}, "image": {"kind": "image", "size": 24}}, Reader())


def test_a_source_stands_in_for_a_model_with_its_modalities_task_and_classes():
    reader = Reader(labels="classes", images=2, classes=2)
    assert source_of({}, TOWERS, reader) == TrifeatureStatementsData(image_size=24)
    assert source_of({}, TOWERS, replace(reader, classes=3)) == TrifeatureTextAssignmentData(image_size=24)
    for other in (replace(reader, classes=4), replace(reader, images=3)):
        with pytest.raises(UserError, match="no recipe.yaml that names data"):
            source_of({}, TOWERS, other)


def test_a_broken_recipe_is_told_in_a_sentence(tmp_path):
    assert read_recipe(tmp_path) == {}
    for content, words in (("a: [", "cannot be read"), ("just words", "no sections"), ("data: 3", "no sections")):
        (tmp_path / "recipe.yaml").write_text(content)
        with pytest.raises(UserError, match=words):
            read_recipe(tmp_path)


def test_every_held_out_image_is_once_the_first_and_once_the_second_of_a_pair():
    source = TrifeatureData(**{key: value for key, value in PAIRS.items() if key != "name"})
    sample, trifeature = source.sample(), drawn(SIZE, 42, 35.0)
    assert len(sample) == len(trifeature.test) == ROWS
    everything = sorted(image.tobytes() for image in trifeature.test.images)
    for name in ("image1", "image2"):
        assert sorted(image.tobytes() for image in sample.values[name]) == everything
    assert not any(np.array_equal(a, b) for a, b in zip(*sample.values.values(), strict=True))
    for row in range(0, ROWS, 17):
        first, second = sample.words[row].split(" | ")
        texture, color = (int(sample.known[name][row]) for name in ("texture1", "color2"))
        assert first.endswith(TEXTURES[texture]) and second.startswith(COLORS[color])
        assert SHAPES[sample.known["shape"][row]] in first and SHAPES[sample.known["shape"][row]] in second
        fits = trifeature.mapping[texture] == color
        assert sample.known["synergy"][row] == fits
    assert np.array_equal(sample.ids, sample.known["shape"])


def test_captions_stand_beside_their_images():
    sample = TrifeatureCaptionsData(image_size=SIZE, texture_period=35.0).sample()
    for row in range(0, len(sample), 13):
        assert sample.values["text"][row] == CAPTIONS[sample.ids[row]]
        assert SHAPES[sample.known["shape"][row]] in sample.words[row]


def stored(folder, rows=6):
    """A data set on the disk with two captions a row, one of them broken, and an id column."""
    images = [Image.new("RGB", (20, 30), (40 * k, 10, 10)) for k in range(rows)]
    texts = [[f"picture {k}", f"again {k}"] if k != 2 else [] for k in range(rows)]
    columns = {"photo": images, "words": texts, "scene": ["a", "a", "b", "b", "c", "d"][:rows]}
    features = datasets.Features(
        {"photo": datasets.Image(), "words": [datasets.Value("string")], "scene": datasets.Value("string")}
    )
    datasets.Dataset.from_dict(columns, features=features).save_to_disk(str(folder))
    return str(folder)


def test_a_data_set_of_ones_own_is_read_from_its_beginning(tmp_path):
    source = HubData(path=stored(tmp_path / "mine"), columns={"image": "photo", "text": "words"}, ids="scene")
    sample = source.sample()
    assert sample.values["text"] == sample.words == ["picture 0", "picture 1", "picture 3", "picture 4", "picture 5"]
    assert sample.ids.tolist() == [0, 0, 1, 2, 3] and sample.right == "the same scene"
    assert all(image.size == (20, 30) for image in sample.values["image"])
    assert sample.title == "5 of the 6 rows of the train split of mine, which the model was trained on"


def test_without_ids_equal_captions_are_right_for_each_other(tmp_path):
    """As in the measurements of retrieval."""
    columns = {"photo": [Image.new("RGB", (4, 4))] * 5, "words": ["a dog", "A  dog", "a cat", "a dog", "a cow"]}
    datasets.Dataset.from_dict(columns).save_to_disk(str(tmp_path / "mine"))
    sample = HubData(path=str(tmp_path / "mine"), columns={"image": "photo", "text": "words"}).sample()
    assert sample.ids[0] == sample.ids[1] == sample.ids[3] and len(set(sample.ids.tolist())) == 3
    assert sample.right == "the same text"


def test_data_that_cannot_be_read_is_named(tmp_path):
    columns = {"image": "photo", "text": "words"}
    with pytest.raises(UserError, match="cannot be opened"):
        HubData(path=str(tmp_path / "nothing"), columns=columns).sample()
    with pytest.raises(UserError, match="of the .*the train split of few.*, 3 can be shown: 4 are needed"):
        HubData(path=stored(tmp_path / "few", rows=4), columns=columns).sample()


def test_scenes_are_held_out_ones_with_their_captions(one_drawing):
    sample = TrifeatureScenesData(image_size=32, scenes=3, test_scenes=2).sample()
    assert len(sample) == ROWS == len(sample.values["image"]) and sample.values["text"] == sample.words
    shape, color = (sample.known[factor] for factor in ("shape", "color"))
    told = TrifeatureScenesData(image_size=32, scenes=1, test_scenes=ROWS).load().evaluation.test.rows
    assert np.array_equal(shape * 10 + color, told.objects[:, 0]) and sample.words[0] == told[0]["text"]


def test_of_a_mixture_it_is_the_source_that_is_measured_on(tmp_path):
    columns = {"photo": [Image.new("RGB", (8, 8), (i, 0, 0)) for i in range(6)], "words": [f"w {i}" for i in range(6)]}
    rows = datasets.Dataset.from_dict(columns)
    for name in ("first", "second"):
        datasets.DatasetDict({"train": rows, "test": rows.select(range(5))}).save_to_disk(tmp_path / name)
    written = [
        {"path": str(tmp_path / name), "columns": {"image": "photo", "text": "words"}} for name in ("first", "second")
    ]
    data = {"name": "mixture", "sources": [written[0], {**written[1], "test_split": "test"}]}
    sample = source_of({"data": data}, TOWERS, Reader()).sample()
    assert sample.title == "the 5 rows of the test split of second" and sample.values["text"][4] == "w 4"
