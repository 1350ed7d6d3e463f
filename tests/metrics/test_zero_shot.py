import numpy as np
import pytest
import torch

from hf_latent.metrics import TEMPLATES, class_embeddings, zero_shot

NAMES = ["cat", "dog", "hat"]


def letters(texts):
    """The counts of letters: an encoder that a hand can follow."""
    return np.array([[text.count(letter) for letter in "abcdghotn"] for text in texts], dtype=np.float32)


def labelled(rows=60, classes=7, dim=5, seed=0):
    rng = np.random.default_rng(seed)
    centers, labels = rng.normal(size=(classes, dim)), rng.integers(0, classes, rows)
    return centers[labels] + rng.normal(size=(rows, dim)), centers, labels


def test_class_embeddings_are_normalised_means_of_normalised_prompts():
    templates = ["a {}", "hot hot hot {} {}"]
    expected = []
    for name in NAMES:
        prompts = [f"a {name}", f"hot hot hot {name} {name}"]
        units = [v / np.linalg.norm(v) for v in letters(prompts).astype(np.float64)]
        mean = (units[0] + units[1]) / 2
        expected.append(mean / np.linalg.norm(mean))
    np.testing.assert_allclose(class_embeddings(letters, NAMES, templates), expected, atol=1e-12)


def test_each_template_is_one_call_with_all_names():
    calls = []

    def embed(texts):
        calls.append(texts)
        return torch.tensor(letters(texts), requires_grad=True)

    got = class_embeddings(embed, NAMES, ["{0} {}", "{}s"])
    assert calls == [["{0} cat", "{0} dog", "{0} hat"], ["cats", "dogs", "hats"]]
    assert got.shape == (3, 9) and got.dtype == np.float64
    assert all("{}" in template for template in TEMPLATES)
    assert class_embeddings(letters, NAMES).shape == (3, 9)


@pytest.mark.parametrize("chunk_size", [1, 3, 60, 1000])
def test_top_k_against_sorting(chunk_size):
    images, classes, labels = labelled()
    cosines = [[image @ c / (np.linalg.norm(image) * np.linalg.norm(c)) for c in classes] for image in images]
    order = np.argsort(-np.array(cosines), axis=1)
    got = zero_shot(3 * images, 0.1 * classes, labels, chunk_size=chunk_size)
    for k in (1, 3, 5):
        hits = [label in order[i, :k] for i, label in enumerate(labels)]
        assert got[f"top{k}"] == pytest.approx(100 * np.mean(hits))
    assert 30 < got["top1"] < got["top3"] < got["top5"] < 100
    assert list(got) == ["top1", "top3", "top5"] and all(type(value) is float for value in got.values())


def test_k_above_the_classes_is_left_out():
    assert zero_shot(np.eye(4), np.eye(4), [0, 1, 2, 3]) == {"top1": 100.0, "top3": 100.0}
    assert zero_shot(np.eye(2), np.eye(2), [1, 0], k=(1, 2, 3)) == {"top1": 0.0, "top2": 100.0}


def test_ties_count_against():
    same = np.tile(np.random.default_rng(3).normal(size=77), (5, 1))
    assert zero_shot(np.random.default_rng(0).normal(size=(9, 77)), same, np.arange(9) % 5) == {
        "top1": 0.0,
        "top3": 0.0,
        "top5": 100.0,
    }
    assert zero_shot(np.zeros((2, 3)), np.eye(3), [0, 1], k=(1, 2)) == {"top1": 0.0, "top2": 0.0}
    # two classes of one name: the right one never wins
    twins = class_embeddings(letters, ["cat", "cat", "dog"])
    assert zero_shot(letters(["cat", "dog"]), twins, [0, 2], k=(1, 2)) == {"top1": 50.0, "top2": 100.0}


def test_a_common_rotation_changes_nothing():
    images, classes, labels = labelled()
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(5, 5)))[0]
    assert zero_shot(images @ turn, classes @ turn, labels) == zero_shot(images, classes, labels)


EYE = np.eye(3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: class_embeddings(letters, NAMES, ["a {}", "a photo"]), r"template 'a photo' has no place.*\{\}"),
        (lambda: class_embeddings(letters, NAMES, []), "one or more templates"),
        (lambda: class_embeddings(letters, NAMES, "a {}"), "a list of one or more templates"),
        (lambda: class_embeddings(letters, ["cat"]), "two or more class names"),
        (lambda: class_embeddings(letters, "cat"), "a list of two or more class names; got 'cat'"),
        (lambda: class_embeddings(lambda texts: EYE[:2], NAMES), "gave 2 embeddings for 3 texts"),
        (lambda: class_embeddings(lambda texts: EYE * np.nan, NAMES), "text embeddings are NaN"),
        (lambda: zero_shot(EYE, EYE[:1], [0, 0, 0]), "1 rows of class embeddings; this needs at least 2"),
        (lambda: zero_shot(EYE, EYE, [0, 3, 1]), r"1 label\(s\) are not 0..2.*the first is 3 in row 1"),
        (lambda: zero_shot(EYE, EYE, [0, 2, -1]), r"the first is -1 in row 2"),
        (lambda: zero_shot(EYE, EYE, [0, 1]), r"labels must be \(3,\)"),
        (lambda: zero_shot(EYE, EYE, [0.0, 1, 2]), "labels must be integers"),
        (lambda: zero_shot(EYE, EYE[:, :2], [0, 1, 2]), "image embeddings are 3 wide, the class embeddings 2"),
        (lambda: zero_shot(EYE * np.nan, EYE, [0, 1, 2]), "image embeddings are NaN or infinite in 3"),
        (lambda: zero_shot(EYE, EYE, [0, 1, 2], k=(0,)), "k=0"),
    ],
)
def test_errors_in_plain_words(call, message):
    with pytest.raises(ValueError, match=message):
        call()
