"""Scenes: the boxes hold their objects, captions tell the truth, and nothing held out is named in training."""

import numpy as np
import pytest

from hf_latent.data.trifeature import COLORS, RGB, SHAPES, TEXTURES, split_combinations
from hf_latent.data.trifeature_scenes import DEFINITE, PHRASES, TrifeatureScenesData, draw_scenes, phrases_of
from hf_latent.errors import UserError

pytestmark = pytest.mark.usefixtures("one_drawing")


@pytest.fixture(scope="module")
def data(one_drawing):
    return TrifeatureScenesData(scenes=60, test_scenes=40).load()


def plain_color(number):
    return np.floor(np.array(RGB[COLORS[number % len(COLORS)]]) * 255 + 1e-6)


def scenes_of(data):
    return data.train, data.evaluation.test.rows


def test_the_pixels_of_an_object_lie_in_its_box_and_fill_it(data):
    for scenes in scenes_of(data):
        assert scenes.images.shape[1:] == (64, 64, 3)
        for image, objects, boxes in zip(scenes.images, scenes.objects, scenes.boxes, strict=True):
            rest = image.copy()
            for number, (left, top, right, bottom) in zip(objects, boxes, strict=True):
                if number < 0:
                    assert not (left or top or right or bottom)
                    continue
                part = image[top:bottom, left:right].astype(float)
                drawn = (part != 127).any(axis=-1)
                for edge in (drawn[0], drawn[-1], drawn[:, 0], drawn[:, -1]):
                    assert edge.any()  # no row or column of the box is empty
                same = np.abs(part - plain_color(number)).max(axis=-1) <= 2
                assert same.sum() >= 0.3 * drawn.sum()  # of its own color, but for the blurred rim
                rest[top:bottom, left:right] = 127
                # in a cell of its own
                assert left // 32 == (right - 1) // 32 and top // 32 == (bottom - 1) // 32
            assert (rest == 127).all()


def test_objects_of_a_scene_differ_in_shape_and_color(data):
    counts = set()
    for scenes in scenes_of(data):
        for objects in scenes.objects:
            objects = objects[objects >= 0]
            counts.add(len(objects))
            for factor in (objects // len(COLORS), objects % len(COLORS)):
                assert len(set(factor)) == len(objects)
    assert counts == {2, 3, 4}


def test_captions_name_two_objects_of_the_scene(data):
    train = data.train
    for number in range(len(train)):
        row = train[number]
        first, second = row["text"].removeprefix("a photo of ").split(" and ")
        named = [PHRASES.index(first), PHRASES.index(second)]
        assert named == train.objects[number, :2].tolist()
        shape, color = SHAPES[named[0] // 10], COLORS[named[0] % 10]
        assert color in first and (shape in first or shape in ("plus", "tee", "fivesquare"))
        assert row["ids"] == train.ids[number] and np.array_equal(row["image"], train.images[number])


def test_equal_ids_are_the_same_two_objects_in_any_order():
    rows, _ = split_combinations(42)
    scenes = draw_scenes(rows[rows // 10 % 10 == 0], 40, 64, 42, 0, renders=1)
    turned = type(scenes)(scenes.images, scenes.objects[:, [1, 0, 2, 3]], scenes.boxes)
    assert np.array_equal(turned.ids, scenes.ids)
    named = np.sort(scenes.objects[:, :2], axis=1).tolist()
    pairs = {tuple(pair): number for pair, number in zip(named, scenes.ids, strict=True)}
    assert len(set(pairs.values())) == len(pairs)


def test_a_caption_is_hardly_ever_true_of_a_scene_with_another_id():
    """What matching calls a negative is one."""
    train = TrifeatureScenesData(scenes=400, test_scenes=1).load().train
    shown = np.zeros((len(train), 100), dtype=bool)
    for number in range(4):
        there = train.objects[:, number] >= 0
        shown[there, train.objects[there, number]] = True
    true = shown[:, train.objects[:, 0]] & shown[:, train.objects[:, 1]]
    other = train.ids[:, None] != train.ids
    assert true.diagonal().all() and true[other].mean() < 0.003


def test_no_combination_of_the_test_is_named_or_shown_in_training(data):
    train, test = (set(scenes.objects[scenes.objects >= 0]) for scenes in scenes_of(data))
    assert not train & test and len(test) >= 10
    # Trifeature's own split, of the plain pictures.
    solid = TEXTURES.index("solid")
    held_out = {c // 100 * 10 + c % 10 for c in split_combinations(42)[1] if c // 10 % 10 == solid}
    assert test <= held_out and not train & held_out


def test_phrases_and_their_boxes(data):
    test, benchmark = data.evaluation.test.rows, data.evaluation.regions
    assert len(benchmark.phrases) == (test.objects >= 0).sum() == len(benchmark.boxes)
    for row, (picture, phrase) in enumerate(zip(benchmark.pictures, benchmark.phrases, strict=True)):
        number = (DEFINITE if row % 2 else PHRASES).index(phrase)
        place = test.objects[picture].tolist().index(number)
        assert np.array_equal(benchmark.boxes[row, 0], test.boxes[picture, place])
        others = [box for k, box in enumerate(test.boxes[picture].tolist()) if k != place]
        assert benchmark.boxes[row, 1:].tolist() == others
    assert phrases_of(test).phrases == benchmark.phrases and benchmark.template == "a photo of {}"
    assert {"the red star", "the five red squares", "the letter T".replace("letter", "red letter")} <= set(DEFINITE)


def test_the_same_seed_draws_the_same_and_more_scenes_change_none(data):
    more = TrifeatureScenesData(scenes=80, test_scenes=40).load()
    assert np.array_equal(more.train.images[:60], data.train.images)
    assert np.array_equal(more.train.boxes[:60], data.train.boxes)
    assert np.array_equal(more.evaluation.regions.boxes, data.evaluation.regions.boxes)
    other = TrifeatureScenesData(scenes=60, test_scenes=1, seed=7).load()
    assert not np.array_equal(other.train.images, data.train.images)


def test_every_word_is_known(data):
    for name in ("words", "trifeature"):
        tokenizer = TrifeatureScenesData(scenes=1, test_scenes=1, tokenizers={"text": name}).load().tokenizers["text"]
        sentences = [*data.evaluation.regions.phrases, *(data.train[i]["text"] for i in range(len(data.train)))]
        assert not any(tokenizer.unk_token_id in ids for ids in tokenizer(sentences)["input_ids"])


@pytest.mark.parametrize("option", [{"image_size": 24}, {"scenes": 0}, {"test_scenes": 0}, {"seed": -1}])
def test_mistakes_say_what_to_write(option):
    with pytest.raises(UserError, match=f"data.{next(iter(option))}=.*write a whole number of at least"):
        TrifeatureScenesData(**option).load()
