"""Redundancy, uniqueness and synergy, on features whose numbers are known by hand."""

import numpy as np
import pytest

from hf_latent.data.loaded import Label
from hf_latent.errors import UserError
from hf_latent.evaluation import Interactions
from tests.evaluation.planted import Planted, chances, data_of, embeddings, split, values

TWO, THREE = Label(names=("no", "yes")), Label(names=("a", "b", "c"))


def features(labels, wrong=0):
    """One axis a label; the first `wrong` rows lie at another one."""
    return np.eye(4)[np.where(np.arange(len(labels)) < wrong, (labels + 1) % 2, labels)]


def run(train, test, labels, wrong=0, **options):
    """Each of `train` and `test` is label -> values; the features tell the first of them."""
    splits = [split(len(next(iter(part.values()))), part) for part in (train, test)]
    told = [next(iter(part.values())) for part in (train, test)]
    vectors = [features(told[0]), features(told[1], wrong)]
    planted = [(part, embeddings(fused=found)) for part, found in zip(splits, vectors, strict=True)]
    data = data_of(splits[1], "left", "right", train=splits[0], labels=labels)
    benchmark = Interactions(**options)
    benchmark.check(data)
    return benchmark.run(Planted(*planted, compared=False), data)


def test_they_are_read_from_the_features_of_the_test_rows():
    """Of ten pairs of each class, one is shown as the other: 90 and 100 % of the two classes."""
    rows = np.arange(40) % 2, np.arange(20) % 2
    train, test = ({role: part for role in ("redundancy", "synergy")} for part in rows)
    measured = run(train, test, {"redundancy": TWO, "synergy": TWO}, wrong=1)
    # Of the 10 x 10 pairs of a positive and a negative, 90 are in order and 10 are ties.
    assert values(measured) == pytest.approx(
        {"redundancy": 95, "synergy": 95, "synergy_unweighted": 95, "synergy_auroc": 0.95}
    )
    assert {m.rows for m in measured} == {20}


def test_accuracy_is_a_mean_over_classes():
    """Of 18 rows of a and 2 of b, one of a is shown as b: a mean of 17 / 18 and 1."""
    test = np.array([0] * 18 + [1] * 2)
    measured = run({"redundancy": np.arange(40) % 2}, {"redundancy": test}, {"redundancy": TWO}, wrong=1)
    assert values(measured)["redundancy"] == pytest.approx(100 * (17 / 18 + 1) / 2)
    assert chances(measured)["redundancy"] == 50


def test_chance_counts_the_classes_of_the_test_rows():
    """Three classes in training, two of them in test."""
    train, test = {"uniqueness1": np.arange(60) % 3}, {"uniqueness1": np.arange(20) % 2}
    assert chances(run(train, test, {"uniqueness1": THREE})) == {"uniqueness1": 50}
    test = {"uniqueness1": np.arange(21) % 3}
    assert chances(run(train, test, {"uniqueness1": THREE})) == {"uniqueness1": pytest.approx(100 / 3)}


def test_a_role_may_be_played_by_any_label():
    """The features tell `both`, and nothing of `side`."""
    rows = [(np.arange(n) % 2, np.arange(n) // 2 % 2) for n in (80, 40)]
    train, test = ({"both": both, "side": side} for both, side in rows)
    measured = run(train, test, {"both": TWO, "side": TWO}, synergy="both", uniqueness2="side")
    found = values(measured)
    assert found == pytest.approx({"uniqueness2": 50, "synergy": 100, "synergy_unweighted": 100, "synergy_auroc": 1.0})
    assert chances(measured) == {"uniqueness2": 50, "synergy": 50, "synergy_unweighted": 50, "synergy_auroc": 0.5}
    roles = {m.key: m.information for m in measured}
    assert (roles["uniqueness2"], roles["synergy_auroc"]) == ("unique", "synergistic")
    assert {m.title for m in measured if m.key == "uniqueness2"} == {"Uniqueness 2: side"}


def test_an_unweighted_probe_of_a_rare_synergy_says_no():
    """All positives, two of twenty rows, show 1, and so do four of the negatives, of which there are eighteen."""
    rare = [(np.isin(n % 20, [0, 1, 2, 3, 18, 19]).astype(int), (n % 20 >= 18).astype(int)) for n in ROWS]
    train, test = ({"shown": shown, "synergy": synergy} for shown, synergy in rare)
    found = values(run(train, test, {"synergy": TWO}))
    assert found["synergy"] == pytest.approx(100 * (1 + 14 / 18) / 2) and found["synergy_unweighted"] == 50
    assert found["synergy_auroc"] == pytest.approx((14 + 4 / 2) / 18)


ROWS = np.arange(400), np.arange(100)
FOUR = np.arange(80) % 4
GOOD = {"redundancy": FOUR, "synergy": FOUR % 2}


@pytest.mark.parametrize(
    ("options", "labels", "train", "said"),
    [
        ({}, {}, GOOD, "interactions: name labels as redundancy, uniqueness1, uniqueness2, synergy"),
        ({"synergy": "synerg"}, None, GOOD, "synergy: no label 'synerg' in data.labels; did you mean 'synergy'"),
        ({"redundancy": "synergy", "protocol": "com2025"}, None, GOOD, "protocol='com2025': did you mean 'comm2025'"),
        ({}, {"synergy": Label("number")}, GOOD, "synergy: 'synergy' is a number: a class is needed here"),
        ({"synergy": "redundancy"}, None, GOOD, "synergy: label 'redundancy' must have two classes, in train and"),
        ({}, None, {**GOOD, "synergy": np.where(FOUR, 1, -1)}, "synergy: label 'synergy' is missing in some rows"),
        ({}, None, {**GOOD, "redundancy": FOUR % 3}, r"redundancy: label 'redundancy': The test labels \[3\] are not"),
        (
            {},
            None,
            {**GOOD, "redundancy": np.append(FOUR[:-1] % 3, 3)},
            "redundancy: label 'redundancy': The train set is too small",
        ),
    ],
)
def test_labels_that_cannot_be_probed_are_refused(options, labels, train, said):
    known = {"redundancy": Label(names=tuple("abcd")), "synergy": TWO} if labels is None else labels
    data = data_of(split(80, GOOD), "left", "right", train=split(80, train), labels=known)
    with pytest.raises(UserError, match=said):
        Interactions(**options).check(data)


def test_a_stream_is_refused():
    with pytest.raises(UserError, match="a stream has none to keep: leave them out"):
        Interactions().check(data_of(split(80, GOOD), labels={"synergy": TWO}))
