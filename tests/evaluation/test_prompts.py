"""The names and sentences of zero-shot classification: from files, with several names of a class, for some classes."""

import hashlib
import json

import numpy as np
import pytest
import torch

from hf_latent.data.loaded import Label
from hf_latent.errors import UserError
from hf_latent.evaluation.prompts import NAMES, OWN, TEMPLATES, WNIDS, read_prompts
from hf_latent.metrics import class_embeddings, zero_shot

LABEL = Label(names=("cra", "dog", "missile"))
FILES = {
    NAMES: "crab\ndog\nmissile\nmissile\n\n",
    TEMPLATES: "a photo of a {c}.\na drawing of {c}\n",
    WNIDS: "n3\nn7\nn8\nn9\n",
}


@pytest.fixture
def folder(tmp_path):
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, encoding="utf-8", newline="\n")
    return tmp_path


def test_names_and_templates_of_a_folder_and_of_the_data_are_the_same(folder):
    numbers = Label(names=("0", "2"))  # no row has the classes 1 and 3
    found = read_prompts(numbers, ["{}"], str(folder))
    assert found == read_prompts(numbers, ["{}"], OWN, beside=FILES.get)
    assert found.names == (("crab",), ("dog",), ("missile",), ("missile",)) and found.classes == (0, 2)
    assert found.sentences[:2] == ["a photo of a crab.", "a photo of a dog."] and len(found.sentences) == 8
    text = json.dumps([found.names, found.templates]).encode()
    assert found.digest == hashlib.sha256(text).hexdigest()[:8]
    assert found.digest != read_prompts(LABEL, ["{}"]).digest


def test_a_subset_has_its_own_classes_in_the_order_of_the_files(folder):
    found = read_prompts(Label(names=("0", "1")), ["{}"], str(folder), subset=["n8", "n3"])
    assert found.names == (("crab",), ("missile",)) and found.classes == (0, 1)


def test_several_names_of_a_class_are_averaged():
    found = read_prompts(Label(names=("crab, king crab", "dog")), ["{}", "no {}"], aliases=",")
    assert found.names == (("crab", "king crab"), ("dog",))
    vectors = {text: np.random.default_rng(n).normal(size=5) for n, text in enumerate(found.sentences)}
    classes = class_embeddings(lambda texts: np.stack([vectors[t] for t in texts]), found.names, found.templates)
    own = [vectors[t] / np.linalg.norm(vectors[t]) for t in ("crab", "king crab", "no crab", "no king crab")]
    wanted = np.mean(own, axis=0)
    np.testing.assert_allclose(classes[0], wanted / np.linalg.norm(wanted), rtol=0, atol=1e-12)


def test_the_example_of_two_templates_and_its_top_classes():
    """By hand: three classes, two prompts each; without the inner normalisation, the third image would tie."""
    a, b = [[3.0, 0, 0], [0, 1, 0]], [[0, 0, 2.0], [0, 1, 1]]
    vectors = {"a x": a[0], "b x": a[1], "a y": b[0], "b y": b[1]}
    classes = class_embeddings(lambda texts: [vectors[t] for t in texts], ["x", "y"], ["a {}", "b {}"])
    np.testing.assert_allclose(classes, [[0.707107, 0.707107, 0], [0, 0.382683, 0.923880]], atol=1e-6)
    images = np.array([[1.0, 2, 0], [0, 1, 3], [1, 0, 1]])
    cosines = images / np.linalg.norm(images, axis=1, keepdims=True) @ classes.T
    np.testing.assert_allclose(cosines, [[0.948683, 0.342282], [0.223607, 0.997484], [0.5, 0.653281]], atol=1e-6)
    found = zero_shot(images, classes, [0, 1, 0], k=[1], mean_per_class=True)
    assert found["top1"] == pytest.approx(200 / 3) and found["mean_per_class"] == pytest.approx(75)


def test_of_two_classes_with_one_name_the_first_counts_where_papers_count_so():
    generator = torch.Generator().manual_seed(0)
    classes = torch.randn(5, 8, generator=generator)
    classes[3] = classes[1]
    labels = torch.arange(5).repeat(4)
    images = classes[labels]
    strict = zero_shot(images, classes, labels, k=[1])
    first = zero_shot(images, classes, labels, k=[1, 2], ties="first", chunk_size=3)
    order = (torch.nn.functional.normalize(classes[labels].double(), dim=1) @ classes.double().T).argmax(1)
    assert strict["top1"] == 60 and first == {"top1": 80, "top2": 100}
    assert (order == 3).sum() == 0  # argmax takes the first


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"source": "nowhere"}, "there is no such folder"),
        ({"source": OWN}, "there is neither classnames.txt nor"),
        ({"source": OWN, "beside": {NAMES: "a\nb"}.get}, "2 names for the 3 classes"),
        ({"source": OWN, "beside": {TEMPLATES: "a photo"}.get}, "no place for the name"),
        ({"source": OWN, "beside": FILES.get, "subset": ["n4"]}, "'n4' is no line of wnids.txt"),
        ({"source": OWN, "beside": {NAMES: "a\nb\nc", WNIDS: "n1"}.get, "subset": ["n1"]}, "has 1 lines"),
        ({"aliases": "o", "templates": ["{}"], "label": Label(names=("oo", "dog"))}, "class 0 has no name"),
        ({"source": OWN, "beside": FILES.get, "label": Label(names=("0", "4"))}, "4 names, and a row has the class 4"),
    ],
)
def test_what_does_not_fit_is_told(options, words):
    options = {"label": LABEL, "templates": ["{}"], **options}
    with pytest.raises(UserError, match=words):
        read_prompts(**options)
