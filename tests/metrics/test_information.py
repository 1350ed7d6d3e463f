"""Theorem 3.1 of arXiv 2303.05952 on distributions small enough to try every encoder."""

import math
from collections import defaultdict
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_latent.metrics.information import (
    aligned_encoders,
    alignment_cost,
    are_aligned,
    conditional_entropy,
    factor_joint,
    information_gap,
    mutual_information,
)

LN2 = math.log(2)
CLOSE = 1e-12


def of_factors(sizes, text, image, target, weights=None):
    """p(x_T, x_V, y) of independent factors; `text`, `image`, `target`: names of those each of them is made of."""
    names = list(sizes)
    seen: dict[tuple[tuple[int, ...], ...], float] = defaultdict(float)
    for values in product(*(range(size) for size in sizes.values())):
        one = dict(zip(names, values, strict=True))
        chance = math.prod((weights or {}).get(name, [1 / sizes[name]] * sizes[name])[v] for name, v in one.items())
        seen[tuple(tuple(one[name] for name in group) for group in (text, image, target))] += chance
    places = [sorted({key[axis] for key in seen}) for axis in range(3)]
    joint = np.zeros([len(place) for place in places])
    for key, chance in seen.items():
        joint[tuple(place.index(part) for place, part in zip(places, key, strict=True))] = chance
    return joint


SIZES = {"shape": 2, "colour": 2, "texture": 2}
JOINTS = {
    "texture is the image's, Y wants all": of_factors(
        SIZES, ["shape", "colour"], ["shape", "colour", "texture"], ["shape", "colour", "texture"]
    ),
    "texture is the image's, Y wants it and the shape": of_factors(
        SIZES, ["shape", "colour"], ["shape", "colour", "texture"], ["shape", "texture"], {"texture": [0.8, 0.2]}
    ),
    "texture is the image's, Y does not care": of_factors(
        SIZES, ["shape", "colour"], ["shape", "colour", "texture"], ["shape", "colour"]
    ),
    "each has one of its own": of_factors(SIZES, ["shape", "colour"], ["shape", "texture"], ["colour", "texture"]),
    "nothing shared": of_factors({"a": 3, "b": 3}, ["a"], ["b"], ["a", "b"]),
    "noise everywhere": np.random.default_rng(0).dirichlet(np.ones(27)).reshape(3, 3, 3),
}


def labellings(values):
    """All labels of `values` values, up to the names of the labels."""
    if values == 0:
        yield ()
        return
    for labels in labellings(values - 1):
        yield from ((*labels, label) for label in range(max(labels, default=-1) + 2))


def every_aligned_pair(joint):
    """All perfectly aligned encoders, up to the names of the text's labels."""
    seen = [(t, v) for t, v in product(*map(range, joint.shape[:2])) if joint[t, v].sum() > 0]
    for g_text in labellings(joint.shape[0]):
        must = {v: {g_text[t] for t, other in seen if other == v} for v in range(joint.shape[1])}
        if all(len(found) <= 1 for found in must.values()):
            yield g_text, tuple(min(found, default=0) for found in must.values())


def least_cross_entropy(joint, z_text, z_image):
    """CE of the best table p(y | z_T, z_V), written out."""
    together: dict[tuple[int, int, int], float] = defaultdict(float)
    alone: dict[tuple[int, int], float] = defaultdict(float)
    for (t, v, y), p in np.ndenumerate(joint):
        together[z_text[t], z_image[v], y] += p
        alone[z_text[t], z_image[v]] += p
    return -sum(p * math.log(p / alone[t, v]) for (t, v, _), p in together.items() if p > 0)


def plain_cost(joint, g_text, g_image):
    best = least_cross_entropy(joint, *map(range, joint.shape[:2]))
    return least_cross_entropy(joint, g_text, g_image) - best


@pytest.mark.parametrize("name", JOINTS)
def test_no_perfectly_aligned_encoders_beat_the_gap(name):
    joint = JOINTS[name]
    gap, costs = information_gap(joint), []
    for g_text, g_image in every_aligned_pair(joint):
        assert are_aligned(joint, g_text, g_image)
        cost = alignment_cost(joint, g_text, g_image)
        assert cost == pytest.approx(plain_cost(joint, g_text, g_image), abs=CLOSE)
        assert cost >= gap - CLOSE
        costs.append(cost)
    best = aligned_encoders(joint)
    assert are_aligned(joint, *best)
    assert alignment_cost(joint, *best) == pytest.approx(min(costs), abs=CLOSE)


def test_the_enumeration_leaves_out_no_pair():
    joint = of_factors({"a": 2, "own": 2}, ["a"], ["a", "own"], ["own"])
    joint = joint[:, :3] / joint[:, :3].sum()
    known = {round(alignment_cost(joint, *pair), 9) for pair in every_aligned_pair(joint)}
    brute = set()
    for g_text, g_image in product(product(range(3), repeat=2), product(range(3), repeat=3)):
        aligned = all(g_text[t] == g_image[v] for t, v, _ in zip(*joint.nonzero(), strict=True))
        assert are_aligned(joint, g_text, g_image) == aligned
        if aligned:
            brute.add(round(alignment_cost(joint, g_text, g_image), 9))
    assert known == brute and len(brute) == 2


def test_the_bound_is_reached_where_the_text_has_nothing_of_its_own():
    for name in list(JOINTS)[:3]:
        joint = JOINTS[name]
        assert alignment_cost(joint, *aligned_encoders(joint)) == pytest.approx(information_gap(joint), abs=CLOSE)
    assert information_gap(JOINTS["texture is the image's, Y wants all"]) == pytest.approx(LN2)
    mild = -(0.8 * math.log(0.8) + 0.2 * math.log(0.2))
    assert information_gap(JOINTS["texture is the image's, Y wants it and the shape"]) == pytest.approx(mild)
    assert information_gap(JOINTS["texture is the image's, Y does not care"]) == pytest.approx(0, abs=CLOSE)


def test_the_bound_is_loose_where_both_have_something_of_their_own():
    joint = JOINTS["each has one of its own"]
    assert information_gap(joint) == pytest.approx(0, abs=CLOSE)
    assert alignment_cost(joint, *aligned_encoders(joint)) == pytest.approx(2 * LN2)


def test_encoders_that_are_not_aligned_go_below_the_gap():
    joint = JOINTS["texture is the image's, Y wants all"]
    everything = (range(4), range(8))
    assert not are_aligned(joint, *everything)
    assert alignment_cost(joint, *everything) == pytest.approx(0, abs=CLOSE) and information_gap(joint) > 0.69
    texture, nothing = np.arange(8) % 2, np.zeros(4, dtype=int)
    assert alignment_cost(joint, nothing, texture) == pytest.approx(2 * LN2)
    assert alignment_cost(joint, range(4), texture) == pytest.approx(0, abs=CLOSE)


def test_the_names_of_labels_do_not_change_the_cost():
    joint = JOINTS["noise everywhere"]
    renamed = alignment_cost(joint, [-7, 90, 90], [5, 5, -1])
    assert alignment_cost(joint, [0, 1, 1], [0, 0, 1]) == pytest.approx(renamed, abs=CLOSE)


@st.composite
def structured(draw):
    """Random p over blocks of values that occur together, with values and pairs that never occur."""
    blocks = draw(st.lists(st.tuples(st.integers(1, 2), st.integers(1, 2)), min_size=1, max_size=3))
    targets = draw(st.integers(1, 3))
    spare = draw(st.tuples(st.integers(0, 1), st.integers(0, 1)))
    height, width = (sum(block[axis] for block in blocks) + spare[axis] for axis in (0, 1))
    weights = np.zeros((height, width, targets))
    top = left = 0
    for tall, wide in blocks:
        size = tall * wide * targets
        numbers = draw(st.lists(st.sampled_from([0, 0, 1, 2, 5, 100]), min_size=size, max_size=size))
        weights[top : top + tall, left : left + wide] = np.reshape(numbers, (tall, wide, targets))
        top, left = top + tall, left + wide
    weights[0, 0, 0] += 1  # not all zero
    order = draw(st.permutations(range(height)))
    return weights[order] / weights.sum()


@settings(max_examples=60, deadline=None)
@given(joint=structured())
def test_theorem_on_random_structure(joint):
    gap = information_gap(joint)
    costs = [alignment_cost(joint, *pair) for pair in every_aligned_pair(joint)]
    assert min(costs) >= gap - 1e-9
    best = aligned_encoders(joint)
    assert are_aligned(joint, *best)
    assert alignment_cost(joint, *best) == pytest.approx(min(costs), abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(joint=structured(), seed=st.integers(0, 2**31))
def test_any_encoders_cost_between_nothing_and_everything(joint, seed):
    rng = np.random.default_rng(seed)
    g_text, g_image = (rng.integers(0, size, size) for size in joint.shape[:2])
    cost = alignment_cost(joint, g_text, g_image)
    assert cost == pytest.approx(plain_cost(joint, g_text, g_image), abs=1e-9)
    assert -1e-9 <= cost <= mutual_information(joint) + 1e-9


# Information


def test_information_of_known_distributions():
    assert mutual_information(np.eye(4) / 4) == pytest.approx(2 * LN2)
    assert conditional_entropy(np.eye(4) / 4) == pytest.approx(0, abs=CLOSE)
    assert mutual_information(np.full((3, 5), 1 / 15)) == pytest.approx(0, abs=CLOSE)
    assert conditional_entropy(np.full((3, 5), 1 / 15)) == pytest.approx(math.log(5))
    flips = np.array([[0.9, 0.1], [0.1, 0.9]]) / 2  # a binary symmetric channel
    noise = -(0.9 * math.log(0.9) + 0.1 * math.log(0.1))
    assert conditional_entropy(flips) == pytest.approx(noise)
    assert mutual_information(flips) == pytest.approx(LN2 - noise)
    xor = np.zeros((2, 2, 2))
    xor[[0, 0, 1, 1], [0, 1, 0, 1], [0, 1, 1, 0]] = 0.25
    assert mutual_information(xor) == pytest.approx(LN2)  # of both together
    assert mutual_information(xor.sum(0)) == pytest.approx(0, abs=CLOSE)
    assert information_gap(xor) == pytest.approx(0, abs=CLOSE)


def test_no_predictor_has_less_cross_entropy_than_the_conditional_entropy():
    rng = np.random.default_rng(0)
    joint = rng.dirichlet(np.ones(24)).reshape(2, 3, 4)
    given_x = joint / joint.sum(-1, keepdims=True)
    assert -(joint * np.log(given_x)).sum() == pytest.approx(conditional_entropy(joint))
    for step in (1e-3, 0.1, 10):
        worse = given_x * np.exp(step * rng.normal(size=joint.shape))
        worse /= worse.sum(-1, keepdims=True)
        assert -(joint * np.log(worse)).sum() > conditional_entropy(joint)


@pytest.mark.parametrize("image_only", [0, 0.3, 1])
@pytest.mark.parametrize("text_only", [0, 0.5])
def test_factor_joint_has_the_information_it_says(image_only, text_only):
    joint = factor_joint(image_only, text_only, shared=0.7)
    assert joint.shape == (4, 4, 27) and joint.sum() == pytest.approx(1)
    assert mutual_information(joint.sum(1)) == pytest.approx((0.7 + text_only) * LN2, abs=CLOSE)
    assert mutual_information(joint.sum(0)) == pytest.approx((0.7 + image_only) * LN2, abs=CLOSE)
    assert mutual_information(joint) == pytest.approx((0.7 + text_only + image_only) * LN2)
    assert information_gap(joint) == pytest.approx(abs(image_only - text_only) * LN2, abs=CLOSE)
    g_text, g_image = aligned_encoders(joint)
    assert g_text.tolist() == g_image.tolist() == [0, 0, 2, 2]  # the bit they share
    assert alignment_cost(joint, g_text, g_image) == pytest.approx((image_only + text_only) * LN2, abs=CLOSE)


def test_errors_say_what_to_give():
    joint = JOINTS["noise everywhere"]
    for call in (information_gap, aligned_encoders, lambda p: alignment_cost(p, [0] * 3, [0] * 3)):
        with pytest.raises(ValueError, match=r"axes X_T, X_V, Y; got the shape \(3, 3\)"):
            call(joint.sum(0))
    for call in (mutual_information, conditional_entropy):
        with pytest.raises(ValueError, match=r"axes X, Y.*got the shape \(3,\)"):
            call(joint.sum((0, 1)))
        for wrong, told in ((joint * 2, "not 2; divide counts"), (-joint, "0 or more"), (joint * np.nan, "0 or more")):
            with pytest.raises(ValueError, match=told):
                call(wrong)
    for wrong in ([0, 1], [0.0, 1.0, 2.0], [[0, 1, 2]]):
        with pytest.raises(ValueError, match="g_text must hold an integer for each of 3 values"):
            alignment_cost(joint, wrong, [0, 1, 2])
        with pytest.raises(ValueError, match="g_image must hold an integer for each of 3 values"):
            are_aligned(joint, [0, 1, 2], wrong)
    with pytest.raises(ValueError, match="text_only=1.5: write a probability"):
        factor_joint(1.0, text_only=1.5)
