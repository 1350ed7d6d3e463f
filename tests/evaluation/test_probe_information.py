"""The benchmark of probe information on planted embeddings: sums of essence and nuisance, collapse, and errors."""

import numpy as np
import pytest

from hf_latent.data.loaded import Label
from hf_latent.errors import UserError
from hf_latent.evaluation.probe_information import ProbeInformationBenchmark
from hf_latent.metrics.probe_information import probe_information
from tests.evaluation.planted import Planted, data_of, embeddings, split, values

ROWS = 60
NUMBER = np.arange(2 * ROWS)
SHAPE, COLOR = NUMBER % 3, NUMBER // 3 % 2


def planted(image, table):
    """Training rows and test rows: both sides tell the shape, the image the color."""
    labels = {"shape": SHAPE, "color": COLOR}
    parts = [
        split(ROWS, {name: own[rows] for name, own in labels.items()}) for rows in (slice(ROWS), slice(ROWS, None))
    ]
    vectors = [embeddings(image=image[rows], factors=table[rows]) for rows in (slice(ROWS), slice(ROWS, None))]
    known = {
        "shape": Label(names=("a", "b", "c"), of=("image", "factors")),
        "color": Label(names=("red", "blue"), of=("image",)),
    }
    data = data_of(parts[1], "image", "factors", train=parts[0], labels=known)
    return Planted(*zip(parts, vectors, strict=True)), data


def told():
    noise = np.random.default_rng(0).normal(scale=0.1, size=(2 * ROWS, 5))
    image = noise.copy()
    image[NUMBER, SHAPE] += 1
    image[NUMBER, 3 + COLOR] += 1
    table = noise[:, ::-1].copy()
    table[NUMBER, SHAPE] += 1
    return image, table


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_what_each_side_tells_is_summed():
    image, table = told()
    encode, data = planted(image, table)
    benchmark = ProbeInformationBenchmark()
    benchmark.check(data)
    found = values(benchmark.run(encode, data))
    for name, labels, classes in (("shape", SHAPE, 3), ("color", COLOR, 2)):
        for source, vectors in (("image", image), ("factors", table)):
            own = unit(vectors).astype(np.float32)
            alone = probe_information(own[:ROWS], labels[:ROWS], own[ROWS:], labels[ROWS:], classes)
            assert found[f"information_{name}_{source}"] == pytest.approx(alone.information, abs=1e-5)
            assert found[f"urr_{name}_{source}"] == pytest.approx(alone.ratio, abs=1e-5)
            assert found[f"information_accuracy_{name}_{source}"] == pytest.approx(100 * alone.accuracy)
    assert found["essence_information_image"] == found["information_shape_image"] > 0.9
    assert found["nuisance_information_image"] == found["information_color_image"] > 0.5
    assert found["information_color_factors"] < 0.1 and "nuisance_information_factors" not in found
    assert found["essence_entropy"] == pytest.approx(np.log(3)) and 0.3 < found["variance_image"] < 1


def test_a_collapsed_space_is_read_as_any_other_and_its_variance_says_so():
    image, table = told()
    encode, data = planted(1e-3 * image + np.eye(5)[4], table)
    found = values(ProbeInformationBenchmark(of=["image"]).run(encode, data))
    assert found["information_shape_image"] > 0.9 and found["variance_image"] < 1e-4
    assert not any(key.endswith("factors") for key in found)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"labels": ["colour"]}, "labels: 'colour' is no label of classes: did you mean 'color'"),
        ({"of": ["text"]}, "of: 'text': known: factors, image"),
        ({"labels": []}, "a label of classes and a modality are needed"),
        ({"of": []}, "a label of classes and a modality are needed"),
    ],
)
def test_mistakes_are_told(options, words):
    _, data = planted(*told())
    with pytest.raises(UserError, match=words):
        ProbeInformationBenchmark(**options).check(data)
