"""Pictures that are unlike those of the sample are told, with the distance; those of the same data are not."""

import numpy as np
import pytest
from PIL import Image

import tests.space.runs  # noqa: F401  (it makes the Space importable)
from hf_latent.data.trifeature import load_trifeature

from usual import Usual  # isort: skip


@pytest.fixture(scope="module")
def usual():
    return Usual(list(load_trifeature(image_size=32, renders=1).test.images))


def test_the_distance_is_the_root_mean_square_at_eight_pixels():
    usual = Usual([np.full((16, 16, 3), level, dtype=np.uint8) for level in (0, 10, 10, 40)])
    assert len(usual) == 3 and usual.most == 30  # equal pictures count once
    assert usual.distance(np.full((8, 8, 3), 47, dtype=np.uint8)) == pytest.approx(7)
    half = np.zeros((8, 8, 3), dtype=np.uint8)
    half[:4] = 10
    assert usual.distance(half) == pytest.approx(50**0.5)
    assert usual.unlike_html(np.full((8, 8, 3), 255, dtype=np.uint8)) == ""  # three pictures tell too little
    assert Usual([half]).most == float("inf")


def test_other_pictures_of_the_same_data_are_like_the_sample(usual):
    others = load_trifeature(image_size=64, renders=1, seed=7).train.images[::8]
    told = [usual.unlike_html(picture) for picture in others]
    assert sum(map(bool, told)) <= 3  # of 100


@pytest.mark.parametrize("kind", ["noise", "white", "gradient", "negative"])
def test_pictures_of_another_kind_are_told_with_the_number(usual, kind):
    rng = np.random.default_rng(0)
    picture = {
        "noise": rng.integers(0, 256, (8, 8, 3), dtype=np.uint8),
        "white": np.full((50, 70, 3), 255, dtype=np.uint8),
        "gradient": np.broadcast_to(np.linspace(0, 255, 64)[:, None, None], (64, 64, 3)).astype(np.uint8),
        "negative": np.tile(np.array([[[0, 255], [255, 0]]], dtype=np.uint8).reshape(2, 2, 1), (4, 4, 3)),
    }[kind]
    page = usual.unlike_html(Image.fromarray(picture), "The left picture")
    assert "The left picture is unlike the pictures of the sample" in page
    assert f"by {usual.distance(picture):.0f} of 255" in page and f"within {usual.most:.0f}." in page


@pytest.mark.parametrize("noise", [0, 80])
def test_a_flat_picture_and_fine_noise_are_told_by_their_contrast(usual, noise):
    picture = Image.effect_noise((900, 600), noise) if noise else Image.new("L", (64, 64), 127)
    low, high = usual.contrast
    assert usual.distance(picture) < usual.most
    assert f"of the sample have {low:.1f} to {high:.1f}" in usual.unlike_html(picture)
