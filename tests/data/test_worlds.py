"""Worlds of factors: golden pixels, the rows that the paper's code draws, and what each side tells."""

import time

import numpy as np
import pytest

from hf_latent.data.rooms_drawing import OBJECT, _scene, draw_rooms
from hf_latent.data.source import Reader
from hf_latent.data.sprites_drawing import draw_sprites
from hf_latent.data.world_data import RoomsData, SpritesData
from hf_latent.data.worlds import ROBOT_ARM, ROOMS, SPRITES, drawn_rows
from hf_latent.errors import UserError

TOWERS = {"image": {"encoder": "cnn"}, "factors": {"encoder": "table"}, "text": {"encoder": "auto"}}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr("hf_latent.data.kept_pictures.constants.HF_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "hf_latent" / "pictures"


@pytest.mark.parametrize(
    ("classes", "pixels"),
    [
        ((0, 0, 0, 0, 0), 81),
        ((0, 5, 0, 16, 16), 361),
        ((1, 5, 0, 16, 16), 259),
        ((2, 5, 0, 16, 16), 332),
        ((2, 5, 10, 31, 31), 331),
        ((1, 3, 7, 4, 20), 167),
    ],
)
def test_sprites_have_the_pixels_of_the_recipe(classes, pixels):
    (image,) = draw_sprites(np.array([classes]))
    assert set(np.unique(image)) == {0, 255} and (image > 0).sum() == pixels


def test_sprites_repeat_where_their_shape_does_and_keep_off_the_border():
    for shape, different in enumerate((187, 228, 234)):
        own = np.array([(shape, scale, turn, 16, 16) for scale in range(6) for turn in range(39)])
        assert len(np.unique(draw_sprites(own).reshape(len(own), -1), axis=0)) == different
    draw = np.random.default_rng(0)
    images = draw_sprites(np.stack([draw.integers(0, size, 500) for size in SPRITES.sizes], axis=1))
    assert not images[:, [0, -1]].any() and not images[:, :, [0, -1]].any()
    ends = draw_sprites(np.array([(2, 3, 0, 4, 5), (2, 3, 39, 4, 5)]))
    assert np.array_equal(*ends)


@pytest.mark.parametrize(
    ("classes", "mean"),
    [
        ((0, 3, 6, 0, 0, 7), (137.865, 79.941, 20.174)),
        ((1, 2, 3, 7, 1, 0), (155.826, 159.316, 0)),
        ((9, 5, 4, 3, 2, 14), (124.341, 89.22, 152.486)),
        ((4, 8, 1, 5, 3, 10), (71.505, 138.478, 122.138)),
    ],
)
def test_rooms_have_the_colors_of_the_recipe(classes, mean):
    (image,) = draw_rooms(np.array([classes]))
    assert image.reshape(-1, 3).mean(0) == pytest.approx(mean, abs=5e-4)


def test_things_are_as_large_as_they_should_be():
    for shape, (small, large) in enumerate(((390, 1216), (322, 954), (204, 626), (132, 392))):
        for scale, pixels in ((0, small), (7, large)):
            assert (_scene(scale, shape, 7, 64)[0] == OBJECT).sum() == pixels


@pytest.mark.parametrize(
    ("world", "first", "test"),
    [
        (SPRITES, [69605, 318657, 582492, 340705], [120673, 518671]),
        (ROOMS, [312423, 6849, 361455, 5537], [235119, 435092]),
        (ROBOT_ARM, [341044, 685028, 221918, 646938], [759297, 320494]),
    ],
)
def test_the_rows_are_those_that_the_code_of_the_paper_draws(world, first, test):
    rows = drawn_rows(world, 10_000, 42)
    assert rows[:4].tolist() == first and rows[7500:7502].tolist() == test
    assert len(np.unique(rows)) == 10_000
    assert np.array_equal(world.numbers(world.classes(rows)), rows)
    assert world.classes(np.arange(2)).tolist() == [[0] * len(world.sizes), [0] * (len(world.sizes) - 1) + [1]]


def test_each_side_tells_what_it_should():
    own = {"rows": 200, "image_size": 16, "withheld": ["x", "scale"], "unseen": ["shape"]}
    data = SpritesData(**own).load_for(Reader(encoders=TOWERS))
    row = data.train[0]
    assert row["image"].shape == (16, 16, 3) and set(row["factors"]) == {"shape", "orientation", "y"}
    assert row["text"] == ("a {shape}, turned by {orientation} degrees, {y} from the top".format(**row["factors"]))
    labels = data.evaluation.labels
    assert {name: label.of for name, label in labels.items()} == {
        "shape": ("factors", "text"),
        "scale": ("image",),
        "orientation": ("image", "factors", "text"),
        "x": ("image",),
        "y": ("image", "factors", "text"),
    }
    test = data.evaluation.test
    assert len(data.train) == 150 and len(test) == 50 and data.columns == {name: name for name in TOWERS}
    classes = SPRITES.classes(drawn_rows(SPRITES, 200, 42))
    for number, name in enumerate(SPRITES.factors):
        assert np.array_equal(test.labels[name], classes[150:, number])
    shown = classes[:150].copy()
    shown[:, 0] = 1  # the middle of three
    assert np.array_equal(data.train.pictures[0], draw_sprites(shown[:1], 16)[0])
    told = [tuple(row) for row in classes[:, [0, 2, 4]].tolist()]
    ids = np.concatenate([data.train.ids, test.ids])
    for i, j in ((0, 1), (3, 77), (150, 2)):
        assert (ids[i] == ids[j]) == (told[i] == told[j])
    assert len(np.unique(ids)) == len(set(told))
    assert data.tokenizers["text"].unk_token_id not in data.tokenizers["text"](row["text"])["input_ids"]


def test_every_nth_value_is_a_smaller_world():
    own = {"rows": 300, "image_size": 16, "every": {"orientation": 5, "x": 4, "y": 4}}
    data = SpritesData(**own).load()
    small = SPRITES.thinned(own["every"])
    assert small.sizes == (3, 6, 8, 8, 8) and small.factors["x"] == tuple(map(str, range(0, 32, 4)))
    classes = small.classes(drawn_rows(small, 300, 42))
    for place in range(5):
        assert np.array_equal(data.train.pictures[place], draw_sprites(classes[[place]] * [1, 1, 5, 4, 4], 16)[0])
        assert int(data.train[place]["factors"]["x"]) == 4 * classes[place, 3]
    assert data.evaluation.labels["orientation"].names == small.factors["orientation"]
    for every, words in (
        ({"z": 2}, "'z' is no factor"),
        ({"x": 0}, "x=0: write 1 to 31"),
        ({"shape": 3}, "write 1 to 2"),
    ):
        with pytest.raises(UserError, match=words):
            SpritesData(rows=100, every=every).load()


def test_equal_tables_are_negatives_as_in_the_code_of_the_paper_where_asked():
    own = {"rows": 400, "image_size": 8, "withheld": ["orientation", "x", "y"]}
    data = SpritesData(**own).load()
    assert len(np.unique(data.train.ids)) <= 18
    assert len(np.unique(SpritesData(**own, positives="rows").load().train.ids)) == 300


def test_a_validation_split_is_cut_from_the_training_rows():
    data = RoomsData(rows=100, image_size=8, validation_share=0.2).load()
    whole = RoomsData(rows=100, image_size=8).load()
    assert len(data.train) == 60 and len(data.evaluation.validation) == 15 and len(data.evaluation.test) == 25
    assert np.array_equal(data.evaluation.test.labels["shape"], whole.evaluation.test.labels["shape"])
    assert data.train[0]["text"].startswith("a ") and whole.evaluation.validation is None


def test_pictures_are_drawn_once(own_cache, monkeypatch):
    first = RoomsData(rows=50, image_size=8).load().train[3]["image"]
    (file,) = own_cache.iterdir()
    monkeypatch.setitem(__import__("hf_latent.data.world_data").data.world_data.DRAW, "rooms", None)
    assert np.array_equal(RoomsData(rows=50, image_size=8).load().train[3]["image"], first)
    file.write_bytes(file.read_bytes()[:200])  # a machine that was switched off
    with pytest.raises(TypeError):
        RoomsData(rows=50, image_size=8).load()


@pytest.mark.slow
@pytest.mark.parametrize(("source", "seconds"), [(SpritesData, 30), (RoomsData, 90)])
def test_ten_thousand_pictures_are_drawn_soon(source, seconds):
    start = time.process_time()
    source().load()
    assert time.process_time() - start < seconds
    start = time.process_time()
    source().load()
    assert time.process_time() - start < 5


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"withheld": ["colour"]}, "data.withheld: 'colour' is no factor: known: orientation, scale, shape"),
        ({"unseen": ["shap"]}, "data.unseen: 'shap' is no factor: did you mean 'shape'"),
        ({"withheld": list(SPRITES.factors)}, "data.withheld names all factors, and table and text tell nothing"),
        ({"unseen": list(SPRITES.factors)}, "data.unseen names all factors, and the image shows nothing"),
        ({"withheld": ["x"], "unseen": ["x"]}, "data.withheld and data.unseen both name x, which nothing tells"),
        ({"rows": 3}, "data.rows=3: write 16 to 737280"),
        ({"rows": 737281}, "data.rows=737281"),
        ({"seed": -1}, "data.seed=-1: write a whole number"),
        ({"validation_share": 1.0}, "data.validation_share=1.0: write a share"),
        ({"image_size": 4}, "data.image_size=4: write 8 to 512"),
    ],
)
def test_mistakes_are_told(options, words):
    with pytest.raises(UserError, match=words):
        SpritesData(**{"rows": 100, **options}).load()


def test_a_model_of_other_modalities_is_refused():
    with pytest.raises(
        UserError, match="model.modalities.table: no modality of data.name=sprites; known: factors, image"
    ):
        SpritesData(rows=100).load_for(Reader(encoders={"table": {}}))
