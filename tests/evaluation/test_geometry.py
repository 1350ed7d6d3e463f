"""The geometry of a space, on embeddings whose numbers are known by hand."""

import numpy as np
import pytest

from hf_latent.errors import UserError
from hf_latent.evaluation import Geometry
from hf_latent.metrics import geometry
from tests.evaluation.planted import E, Planted, data_of, embeddings, split, values

PAIRS = {"gap_centroid", "gap_paired", "paired_cosine", "alignment", "cka", "cka_unbiased", "mutual_knn"}


def run(test, vectors, *modalities, temperature=None, **options):
    data, benchmark = data_of(test, *modalities), Geometry(**options)
    benchmark.check(data)
    return benchmark.run(Planted((test, vectors), temperature=temperature), data)


def turned(rows, degrees):
    """Unit vectors in the plane of each row's axis and another one."""
    return np.cos(np.radians(degrees)) * rows + np.sin(np.radians(degrees)) * E[7]


def test_a_pair_of_modalities():
    """Each text lies 60 degrees from its image, whatever their lengths."""
    lengths = np.arange(1, 7)[:, None]
    vectors = embeddings(image=lengths * E[:6], text=3 * turned(E[:6], 60) / lengths)
    found = values(run(split(6), vectors, temperature=0.05))
    assert found["paired_cosine"] == pytest.approx(0.5) and found["gap_paired"] == pytest.approx(1)
    assert found["alignment"] == pytest.approx(1) and found["temperature"] == pytest.approx(0.05)
    assert found["gap_centroid"] == pytest.approx(np.sqrt(0.5**2 / 6 + 0.75))
    assert found["cka"] == pytest.approx(1) and found["mutual_knn"] == pytest.approx(1)
    assert found["effective_rank_image"] == pytest.approx(5) and found["uniformity_image"] == pytest.approx(-4)
    assert found["uniformity_text"] == pytest.approx(-1)  # at half the distance
    each = {f"{key}_{name}" for key in ("uniformity", "effective_rank") for name in ("image", "text")}
    assert set(found) == PAIRS | each | {"temperature"}


def test_three_modalities_have_pairs_and_their_mean():
    """Cosines .5, .5 and 1 of the pairs."""
    vectors = {"image": E[:6], "text": turned(E[:6], 60), "audio": 2 * turned(E[:6], 60)}
    measured = run(split(6), embeddings(**vectors), *vectors)
    found = values(measured)
    cosines = {"image_text": 0.5, "image_audio": 0.5, "text_audio": 1}
    assert {pair: found[f"paired_cosine_{pair}"] for pair in cosines} == pytest.approx(cosines)
    assert found["paired_cosine"] == pytest.approx(2 / 3) and found["alignment"] == pytest.approx(2 / 3)
    for key in PAIRS:
        assert found[key] == pytest.approx(np.mean([found[f"{key}_{pair}"] for pair in cosines]))
    assert {m.key for m in measured if m.headline} == {"gap_centroid", "cka"}
    assert {m.metric for m in measured if m.key.startswith("cka_unbiased")} == {"cka_unbiased"}


def test_every_image_counts_once_with_its_first_caption():
    image_of = [0, 0, 1, 2, 3]
    images = np.stack([0.8 * E[0] + 0.6 * E[1], E[1], E[2], E[0]])[image_of]
    measured = run(split(image_of, image=image_of), embeddings(image=images, text=E[[0, 1, 0, 2, 0]]))
    assert values(measured)["paired_cosine"] == pytest.approx((0.8 + 0 + 1 + 1) / 4, abs=1e-6)
    assert {m.rows for m in measured} == {4}


def test_of_many_rows_some_are_compared_spread_evenly():
    rng = np.random.default_rng(0)
    image, text = rng.normal(size=(2, 41, 8))
    found = values(run(split(41), embeddings(image=image, text=text), most=5))
    kept = [0, 10, 20, 30, 40]
    assert found == pytest.approx(geometry({"image": image[kept], "text": text[kept]}, k=4), abs=1e-6)


def test_separation_is_the_mean_absolute_cosine_of_every_image():
    """Of four images two have a cosine of -1 and two of 0; one of the first two has three captions."""
    image_of = [0, 0, 0, 1, 2, 3]
    independent = {"image": np.stack([-2 * E[0], -E[1], E[7], E[7]])[image_of]}
    vectors = embeddings(image=E[image_of], text=E[image_of], independent=independent)
    found = {m.key: m for m in run(split(image_of, image=image_of), vectors)}
    assert found["separation"].value == pytest.approx(0.5) and found["separation"].rows == 4


def test_nothing_is_better_and_nothing_has_a_chance_level():
    measured = run(split(6), embeddings(image=E[:6], text=E[:6]))
    assert {(m.better, m.chance, m.unit) for m in measured} == {("none", None, "")}
    neighbours = {m.key: m for m in measured}["mutual_knn"]
    assert "5 nearest" in neighbours.title and "1.000 for unrelated" in neighbours.reading


@pytest.mark.parametrize(
    ("rows", "modalities", "options", "said"),
    [
        (3, ("image", "text"), {}, "there are 3 rows to measure: 4 or more have a geometry"),
        (9, ("image",), {}, "geometry is of two modalities or more: there is image"),
        (9, ("image", "text"), {"most": 3}, "most=3: write 4 or more"),
    ],
)
def test_too_little_is_refused(rows, modalities, options, said):
    with pytest.raises(UserError, match=said):
        Geometry(**options).check(data_of(split(rows), *modalities))
