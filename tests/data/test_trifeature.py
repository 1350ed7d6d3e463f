"""Trifeature: what is drawn, what is held out, what pairs share, and that a seed fixes all of it."""

import sys

import numpy as np
import pytest
import torch

from hf_latent.data import trifeature_drawing as drawing
from hf_latent.data.trifeature import COLORS, RGB, SHAPES, TEXTURES, Trifeature, draw_picture, load_trifeature
from hf_latent.errors import UserError

SIZE = 16


@pytest.fixture(scope="module")
def data() -> Trifeature:
    return load_trifeature(image_size=SIZE)


@pytest.fixture(scope="module")
def one_render() -> Trifeature:
    return load_trifeature(image_size=SIZE, renders=1)


def draw(shape: str, texture: str, color: str, pose: drawing.Pose, period: float = 10.0, seed: int = 0) -> np.ndarray:
    canvas = np.empty((224, 224, 3), dtype=np.uint8)
    drawing.paint(canvas, shape, texture, RGB[color], pose, np.random.default_rng(seed), period)
    return canvas


def combinations(images) -> np.ndarray:
    return images.shape * 100 + images.texture * 10 + images.color


# The set


def test_class_names_have_drawings_in_the_published_order():
    assert tuple(drawing.SHAPE_FUNCTIONS) == SHAPES
    assert tuple(drawing.TEXTURE_FUNCTIONS) == TEXTURES
    assert tuple(RGB) == COLORS


def test_counts_and_types(data):
    assert data.train.images.shape == (2400, SIZE, SIZE, 3)
    assert data.test.images.shape == (200, SIZE, SIZE, 3)
    for images in (data.train, data.test):
        assert images.images.dtype == np.uint8
        for labels in (images.shape, images.texture, images.color):
            assert labels.dtype == np.int64 and len(labels) == len(images)


def test_held_out_combinations_are_never_in_train(data):
    train, renders = np.unique(combinations(data.train), return_counts=True)
    test, once = np.unique(combinations(data.test), return_counts=True)
    assert len(train) == 800 and (renders == 3).all()
    assert len(test) == 200 and (once == 1).all()
    assert not set(train) & set(test)


def test_captions_name_shape_and_color_only(data):
    captions = data.train.captions
    assert len(captions) == 2400
    assert len(set(captions)) == 100
    by_caption: dict = {}
    for words, shape, color in zip(captions, data.train.shape, data.train.color, strict=True):
        assert by_caption.setdefault(words, (shape, color)) == (shape, color)
    for words in ("a photo of a red star", "a photo of five white squares", "a photo of an ocean blue letter T"):
        assert words in by_caption


# Seeds


def test_same_seed_same_bytes_other_seed_other(one_render):
    again, other = load_trifeature(SIZE, renders=1), load_trifeature(SIZE, renders=1, seed=43)
    for split in ("train", "test"):
        assert np.array_equal(getattr(again, split).images, getattr(one_render, split).images)
    assert np.array_equal(again.mapping, one_render.mapping)
    assert np.array_equal(again.pairs().index, one_render.pairs().index)
    assert not np.array_equal(other.mapping, one_render.mapping)
    assert not np.array_equal(combinations(other.test), combinations(one_render.test))
    shared = np.intersect1d(combinations(other.train), combinations(one_render.train), return_indices=True)[1:]
    assert not np.array_equal(other.train.images[shared[0]], one_render.train.images[shared[1]])


def test_more_renders_move_nothing_else(data, one_render):
    assert np.array_equal(data.train.images[::3], one_render.train.images)
    assert np.array_equal(data.test.images, one_render.test.images)
    assert np.array_equal(data.mapping, one_render.mapping)
    assert not np.array_equal(data.train.images[1::3], data.train.images[::3])


def test_asking_for_pairs_is_repeatable_in_any_order(data):
    first = data.pairs("test", biased=True).index
    data.pairs("train")
    assert np.array_equal(data.pairs("test", biased=True).index, first)


# Pairs


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("biased", [False, True])
def test_pairs_are_drawn_from_exactly_the_allowed_ones(data, split, biased):
    images = getattr(data, split)
    allowed = images.shape[:, None] == images.shape[None, :]
    if biased:
        allowed = allowed & (data.mapping[images.texture][:, None] == images.color[None, :])
    everything = data.pairs(split, biased, max_pairs=10**9)
    seen = np.zeros_like(allowed)
    seen[tuple(everything.index.T)] = True
    assert np.array_equal(seen, allowed) and len(everything) == allowed.sum()  # every one, and once

    pairs = data.pairs(split, biased)
    assert pairs.index.shape == (min(10_000, allowed.sum()), 2) and pairs.index.dtype == np.int64
    assert allowed[tuple(pairs.index.T)].all()
    assert len(np.unique(pairs.index, axis=0)) == len(pairs)
    if allowed.sum() > 10_000:  # a sample of all, not of the first ones
        assert len(np.unique(pairs.index[:, 0])) > 0.9 * len(images)


def test_the_size_of_the_test_pairs_is_near_the_published_one(data):
    assert 4000 < len(data.pairs("test")) < 4200
    assert 350 < len(data.pairs("test", biased=True)) < 460


def test_mapping_is_a_permutation(data):
    assert data.mapping.dtype == np.int64
    assert sorted(data.mapping) == list(range(10))


@pytest.mark.parametrize("biased", [False, True])
def test_labels_by_recomputation(data, biased):
    pairs = data.pairs("test", biased)
    labels = pairs.labels
    assert list(labels) == ["redundancy", "uniqueness1", "uniqueness2", "synergy"]
    assert all(values.dtype == np.int64 and values.shape == (len(pairs),) for values in labels.values())
    for row, (first, second) in enumerate(pairs.index):
        assert labels["redundancy"][row] == data.test.shape[first] == data.test.shape[second]
        assert labels["uniqueness1"][row] == data.test.texture[first]
        assert labels["uniqueness2"][row] == data.test.texture[second]
        assert labels["synergy"][row] == (data.mapping[data.test.texture[first]] == data.test.color[second])
    lowest, highest = (1, 1) if biased else (0.07, 0.13)
    assert lowest <= labels["synergy"].mean() <= highest


def test_a_pair_is_views_and_its_row_number(data):
    pairs = data.pairs("train", max_pairs=50)
    item = pairs[7]
    assert set(item) == {"image1", "image2", "ids"} and item["ids"] == 7
    for side in (0, 1):
        image = item[f"image{side + 1}"]
        assert np.array_equal(image, data.train.images[pairs.index[7, side]])
        assert np.shares_memory(image, data.train.images)
    assert pairs[-1]["ids"] == 49
    with pytest.raises(IndexError):
        pairs[50]
    batch = next(iter(torch.utils.data.DataLoader(pairs, batch_size=4)))
    assert batch["image1"].shape == (4, SIZE, SIZE, 3) and batch["ids"].tolist() == [0, 1, 2, 3]


# Drawing


def test_template_areas_are_the_published_ones():
    areas = {shape: int(drawing.template(shape).sum()) for shape in SHAPES}
    assert areas == {
        "triangle": 8192,
        "square": 16384,
        "plus": 9159,
        "circle": 12892,
        "tee": 9074,
        "rhombus": 8064,
        "pentagon": 11248,
        "star": 4273,
        "fivesquare": 9074,
        "trapezoid": 11144,
    }


@pytest.mark.parametrize("angle", [-45, -30, -7, 0, 1, 44])
def test_shapes_are_rotated_as_scipy_rotates_them(angle):
    ndimage = pytest.importorskip("scipy.ndimage")
    for shape in SHAPES:
        expected = ndimage.rotate(drawing.template(shape).astype(np.float32), angle, order=1)
        np.testing.assert_allclose(drawing.rotated_shape(shape, angle), expected, atol=1e-6)


def slow_texture(name: str, y: int, x: int) -> bool:
    """One pixel of a texture of period 10, from its definition."""
    row, column, odd = y % 10, x % 10, (y // 10) % 2 == 1
    if name == "solid":
        return True
    if name == "stripes":  # three lines of ten
        return row in (0, 1, 2)
    if name == "grid":
        return row in (0, 1, 2) or column in (0, 1, 2)
    if name == "hexgrid":  # level lines, and two families of slope 1.73, two pixels wide
        climb = int(y * 1.73)
        return row <= 1 or (x + climb) % 10 <= 1 or (x - climb) % 10 <= 1
    if name == "dots":  # open discs of radius 4
        return float(np.hypot(row - 5, column - 5)) < 4
    if name == "triangles":
        return abs(column - 5) < row // 2
    if name == "zigzags":  # a band 4 wide that moves one pixel aside every two lines, mirrored in every other tile
        across = 9 - column if odd else column
        return row // 2 + 1 <= across <= row // 2 + 4
    if name == "pluses":  # crosses with arms 3 wide, every other row of tiles shifted by half a tile
        if odd:
            return column in (9, 0, 1) or (row in (4, 5, 6) and column not in (4, 5, 6))
        return column in (4, 5, 6) or row in (4, 5, 6)
    raise KeyError(name)


@pytest.mark.parametrize("name", [t for t in TEXTURES if t not in ("noise", "rain")])
@pytest.mark.parametrize("offset", [(0, 0), (3, 7), (207, 118)])
def test_textures_equal_a_pixel_loop(name, offset):
    y, x = np.arange(45)[:, None] + offset[0], np.arange(47)[None, :] + offset[1]
    drawn = drawing.TEXTURE_FUNCTIONS[name](y, x, np.random.default_rng(0))
    expected = [[slow_texture(name, int(i), int(j)) for j in x[0]] for i in y[:, 0]]
    assert np.array_equal(drawn, np.array(expected))


def test_random_textures_have_the_published_statistics():
    y, x = np.mgrid[0:300, 0:300]
    noise = drawing.TEXTURE_FUNCTIONS["noise"](y, x, np.random.default_rng(0))
    rain = drawing.TEXTURE_FUNCTIONS["rain"](y, x, np.random.default_rng(0))
    assert abs(noise.mean() - 0.5) < 0.01
    assert abs(rain.mean() - (1 - 0.95**7)) < 0.01
    assert abs(np.mean(noise[1:] == noise[:-1]) - 0.5) < 0.01
    starts = rain & ~np.roll(rain, 1, axis=0)
    for row, column in np.argwhere(starts[1:290])[:200] + [1, 0]:  # every drop falls seven pixels or more
        assert rain[row : row + 7, column].all()


def test_random_textures_are_fields_of_the_plane():
    """A point has one value however it is reached: rotated pixels that fall together are equal."""
    y, x = np.array([[40, 41, 40]]), np.array([[-7, 300, -7]])
    for name in ("noise", "rain"):
        for seed in range(20):
            values = drawing.TEXTURE_FUNCTIONS[name](y, x, np.random.default_rng(seed))[0]
            assert values[0] == values[2]


def test_poses_are_uniform_and_stay_on_the_canvas():
    rng = np.random.default_rng(0)
    poses = [drawing.draw_pose(rng) for _ in range(4000)]
    for pose in poses:
        n = len(drawing.rotated_shape("square", pose.angle))
        assert 0 <= pose.row < 224 - n and 0 <= pose.column < 224 - n
    columns = np.array(poses)
    for k in (0, 3):
        assert set(columns[:, k]) == set(range(-45, 45))
    for k in (4, 5):
        assert set(columns[:, k]) == set(range(10))


@pytest.mark.parametrize("color", COLORS)
def test_pixels_are_the_color_blended_over_grey(color):
    pose = drawing.Pose(20, 11, 5, -30, 3, 4)
    canvas, mask = draw("circle", "solid", color, pose), drawing.rotated_shape("circle", 20)
    cover = np.zeros((224, 224, 1))
    cover[11 : 11 + len(mask), 5 : 5 + len(mask), 0] = mask
    expected = (cover * np.array(RGB[color]) + (1 - cover) * 0.5) * 255
    assert np.abs(canvas - expected).max() <= 1  # cut, not rounded, as published
    assert (canvas[cover[..., 0] == 0] == 127).all()
    full = (np.array(RGB[color], dtype=np.float32) * np.float32(255)).astype(np.uint8)
    assert (canvas[cover[..., 0] == 1] == full).all()
    assert (cover == 1).sum() > 10_000


def test_a_texture_is_turned_about_the_middle_of_the_canvas():
    """Against the published way: a plane twice the canvas, turned by nearest neighbour, its middle cut out."""
    ndimage = pytest.importorskip("scipy.ndimage")
    y, x = np.ogrid[:448, :448]
    for texture in ("stripes", "hexgrid", "zigzags", "pluses"):
        for angle in (-44, -11, 0, 37):  # at -45 a diagonal falls between two pixels, and rounding noise decides
            plane = drawing.TEXTURE_FUNCTIONS[texture](y + 4, x + 9, np.random.default_rng(0)).astype(np.float32)
            turned = ndimage.rotate(plane, angle, order=0, reshape=False)[112:-112, 112:-112]
            canvas = draw("square", texture, "white", drawing.Pose(0, 17, 60, angle, 4, 9))
            seen = canvas[17 : 17 + 128, 60 : 60 + 128, 0] == 255
            assert np.array_equal(seen, turned[17 : 17 + 128, 60 : 60 + 128] == 1), (texture, angle)


@pytest.mark.parametrize("size", [64, 224])
def test_textures_look_different(size):
    pose, taps = drawing.Pose(0, 40, 40, 15, 0, 0), drawing.area_taps(size)
    pictures = [drawing.resize(draw("square", texture, "white", pose), taps).astype(float) for texture in TEXTURES]
    for i, first in enumerate(pictures):
        for second in pictures[:i]:
            assert np.abs(first - second).mean() > 4


def test_a_larger_period_is_the_texture_magnified(one_render):
    pose = drawing.Pose(0, 48, 48, 0, 0, 0)
    rows = {period: draw("square", "stripes", "white", pose, period)[48:176, 100, 0] == 255 for period in (10, 30)}
    for period, row in rows.items():
        edges = np.flatnonzero(np.diff(row.astype(int)) == 1)
        assert set(np.diff(edges)) == {period}
        assert abs(row.mean() - 0.3) < 0.05
    coarse = load_trifeature(SIZE, renders=1, texture_period=30)
    assert np.array_equal(coarse.train.texture, one_render.train.texture)
    assert not np.array_equal(coarse.train.images, one_render.train.images)


@pytest.mark.parametrize("size", [8, 64, 100, 224, 300])
def test_resizing_takes_the_mean_over_areas(size):
    image = np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    # on the common grid of both, a picture is blocks, and a mean over an area is a plain mean
    step = size // np.gcd(size, 224)
    block = 224 // np.gcd(size, 224)
    mean = image[:, :, 0].astype(np.float64)
    for axis in (0, 1):
        fine = np.repeat(mean, step, axis=axis)
        mean = np.add.reduceat(fine, np.arange(0, fine.shape[axis], block), axis=axis) / block
    resized = drawing.resize(image, drawing.area_taps(size))
    assert resized.shape == (size, size, 3) and resized.dtype == np.uint8
    assert np.abs(resized[:, :, 0] - mean).max() <= 0.5 + 1e-9
    if size == 224:
        assert np.array_equal(resized, image)


# datasets


def test_to_dataset_round_trip(one_render):
    pytest.importorskip("datasets")
    dataset = one_render.to_dataset()
    assert {name: len(split) for name, split in dataset.items()} == {"train": 800, "test": 200}
    test = dataset["test"]
    assert list(test.features) == ["image", "shape", "texture", "color", "caption"]
    assert test.features["texture"].names == list(TEXTURES)
    assert np.array_equal(np.stack([np.asarray(image) for image in test["image"]]), one_render.test.images)
    for label in ("shape", "texture", "color"):
        assert test[label][:] == getattr(one_render.test, label).tolist()
    assert test["caption"][:] == one_render.test.captions


def test_pairs_to_dataset_round_trip(one_render):
    pytest.importorskip("datasets")
    pairs = one_render.pairs("test", max_pairs=30)
    dataset = pairs.to_dataset()
    assert list(dataset.features) == ["image1", "image2", "redundancy", "uniqueness1", "uniqueness2", "synergy"]
    for name, values in pairs.labels.items():
        assert dataset[name][:] == values.tolist()
    for row, item in zip(dataset, pairs, strict=True):
        for side in ("image1", "image2"):
            assert np.array_equal(np.asarray(row[side]), item[side])


def test_without_datasets_the_error_says_what_to_install(one_render, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    for source in (one_render, one_render.pairs("test")):
        with pytest.raises(ImportError, match="pip install datasets"):
            source.to_dataset()


# Mistakes


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"image_size": 7}, "image_size=7 .* at least 8"),
        ({"image_size": 64.0}, "image_size=64.0 .* whole number"),
        ({"image_size": True}, "image_size=True"),
        ({"renders": 0}, "renders=0 .* at least 1"),
        ({"seed": -1}, "seed=-1 .* at least 0"),
        ({"texture_period": 3.9}, "texture_period=3.9 .* write 4 or more"),
        ({"texture_period": float("nan")}, "texture_period=nan"),
        ({"texture_period": "10"}, "texture_period='10'"),
    ],
)
def test_bad_arguments_are_explained(arguments, text):
    with pytest.raises(ValueError, match=text):
        load_trifeature(**arguments)


def test_bad_pairs_are_explained(one_render):
    with pytest.raises(ValueError, match="split='validation' is unknown; write one of 'train', 'test'"):
        one_render.pairs("validation")
    with pytest.raises(ValueError, match="max_pairs=0 .* at least 1"):
        one_render.pairs(max_pairs=0)


def test_a_picture_as_asked_is_in_the_middle_and_the_same_each_time():
    picture = draw_picture("square", "solid", "red")
    assert picture.shape == (224, 224, 3) and picture.dtype == np.uint8
    red = (picture == [255, 0, 0]).all(-1)
    rows, columns = (np.flatnonzero(red.any(axis)) for axis in (1, 0))
    assert (rows[0], rows[-1], columns[0], columns[-1]) == (48, 175, 48, 175)  # 128 of 224
    assert np.array_equal(draw_picture("plus", "noise", "blue", 30), draw_picture("plus", "noise", "blue", 30))
    assert draw_picture("tee", "rain", "cyan", -45, image_size=32, texture_period=35.0).shape == (32, 32, 3)


def test_a_turned_picture_is_turned():
    upright, turned = draw_picture("square", "solid", "white"), draw_picture("square", "solid", "white", 45)
    assert abs(int(upright.sum()) - int(turned.sum())) < 0.01 * upright.sum()
    assert (turned[20:30, 112] == 255).any() and not (upright[20:30, 112] == 255).any()  # its corner
    stripes, leaning = (draw_picture("square", "stripes", "white", texture_angle=angle) for angle in (0, 45))
    assert np.ptp(stripes[60:160, 60:160].mean(1), axis=0).max() > 100  # rows are painted or not
    assert np.ptp(leaning[60:160, 60:160].mean(1), axis=0).max() < 60


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (("squaer", "solid", "red"), "did you mean 'square'"),
        (("square", "solid", "mauve"), "no picture shows 'mauve'"),
        (("square", "solid", "red", 46), "46 degrees cannot be drawn: write -45 to 45"),
        (("square", "solid", "red", 0, 224, 10.0, -60), "-60 degrees cannot be drawn"),
    ],
)
def test_a_picture_that_cannot_be_drawn_is_refused_with_what_to_write(asked, words):
    with pytest.raises(UserError, match=words):
        draw_picture(*asked)
