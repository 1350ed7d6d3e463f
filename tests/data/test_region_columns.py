"""Phrases with boxes from the columns of a data set."""

import datasets
import numpy as np
import pytest
from PIL import Image

from hf_latent.data.hub_data import HubData
from hf_latent.data.region_columns import SIDE
from hf_latent.errors import UserError
from hf_latent.evaluation.grounding import Grounding

BOXES = [[[10, 5, 20, 10], [40, 20, 40, 20]], [[0, 0, 80, 40]], []]
NAMES = [["a cat", "a dog"], ["a field"], []]


def saved(folder, boxes=None, names=None):
    rows = {
        "image": [Image.new("RGB", (80, 40), color) for color in ("red", "green", "blue")],
        "text": [["a cat and a dog", "two animals"], ["a field"], ["the sky"]],
        "names": names or NAMES,
        "boxes": boxes or BOXES,
    }
    datasets.DatasetDict({name: datasets.Dataset.from_dict(rows) for name in ("train", "test")}).save_to_disk(folder)
    return str(folder)


def load(path, **options):
    regions = {"phrases": "names", "boxes": "boxes", **options}
    return HubData(path, {"image": "image", "text": "text"}, regions=regions).load().evaluation


def test_boxes_are_those_of_the_squares_that_pictures_become(tmp_path):
    data = load(saved(tmp_path / "own"), template="a photo of {}")
    found = data.regions
    assert found.phrases == ["a cat", "a dog", "a field"] and found.pictures.tolist() == [0, 0, 1]
    assert found.images.shape == (2, SIDE, SIDE, 3) and found.images[1].mean((0, 1)).argmax() == 1
    wide, high = SIDE / 80, SIDE / 40
    cat, dog = ([10, 5, 30, 15], [40, 20, 80, 40])
    scale = np.array([wide, high, wide, high])
    np.testing.assert_allclose(found.boxes[0], [cat * scale, dog * scale])
    np.testing.assert_allclose(found.boxes[1], [dog * scale, cat * scale])  # its own box comes first
    np.testing.assert_allclose(found.boxes[2], [[0, 0, SIDE, SIDE], [0, 0, 0, 0]])
    assert found.template == "a photo of {}"
    Grounding().check(data)
    corners = [[[left, top, left + w, top + h] for left, top, w, h in row] for row in BOXES]
    other = load(saved(tmp_path / "corners", corners), format="xyxy").regions
    np.testing.assert_allclose(other.boxes, found.boxes)


def test_one_phrase_a_row(tmp_path):
    names, boxes = ["a cat", "a field", ""], [row[0] if row else [0, 0, 0, 0] for row in BOXES]
    found = load(saved(tmp_path / "own", boxes, names)).regions
    assert found.phrases == ["a cat", "a field"] and found.boxes.shape == (2, 1, 4)
    assert len(load(saved(tmp_path / "few", boxes, names), most=1).regions.phrases) == 1


@pytest.mark.parametrize(
    ("options", "boxes", "said"),
    [
        ({"phrase": "names"}, None, "unknown key data.regions.phrase: did you mean 'phrases'"),
        ({"boxes": "box"}, None, "data.regions: box='box': did you mean 'boxes'"),
        ({"format": "xyhw"}, None, "data.regions.format='xyhw': did you mean 'xywh'"),
        ({"format": "xyxy"}, None, "row 0, column 'boxes': a box is empty or lies outside of its picture of 80 x 40"),
        ({"template": "a photo"}, None, "write {} once"),
        ({"most": "all"}, None, "expected int"),
        ({}, [[[10, 5, 20, 10]] * 3, [[0, 0, 80, 40]], []], "row 0, column 'boxes' holds 3 boxes for 2 phrases"),
        ({}, [[[10, 5, 20], [1, 2, 3]], [[0, 0, 80]], []], "row 0, column 'boxes' holds no boxes of four numbers"),
        ({}, [[[70, 5, 20, 10], [1, 2, 3, 4]], [[0, 0, 80, 40]], []], "lies outside of its picture of 80 x 40 px"),
    ],
)
def test_what_is_no_box_is_named(tmp_path, options, boxes, said):
    with pytest.raises(UserError) as error:
        load(saved(tmp_path / "own", boxes), **options)
    assert said in str(error.value)
