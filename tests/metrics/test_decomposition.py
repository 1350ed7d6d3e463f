"""Partial information decomposition: gates, and a distribution whose values the official code gives."""

import numpy as np
import pytest

from hf_latent.metrics.decomposition import bootstrap, bounds, counted, decompose, told_by

A = np.array([[[5, 1], [2, 2]], [[1, 3], [0, 6]]]) / 20


def gate(function):
    joint = np.zeros((2, 2, 2))
    for x1 in range(2):
        for x2 in range(2):
            joint[x1, x2, function(x1, x2)] += 0.25
    return joint


@pytest.mark.parametrize(
    ("joint", "expected"),
    [
        (gate(lambda a, b: a & b), (0.311278, 0, 0, 0.5)),
        (gate(lambda a, b: a ^ b), (0, 0, 0, 1)),
        (gate(lambda a, b: a), (0, 1, 0, 0)),
        (gate(lambda a, b: b), (0, 0, 1, 0)),
        (np.diag([0.5, 0.5])[:, :, None] * np.eye(2)[:, None], (1, 0, 0, 0)),
        (A, (0.124511, 0.171296, 0, 0.117881)),
        (20 * np.pad(A, ((0, 1), (1, 0), (0, 2))), (0.124511, 0.171296, 0, 0.117881)),  # values that never occur
    ],
)
def test_golden_values(joint, expected):
    found = decompose(joint)
    values = (found.redundancy, found.unique1, found.unique2, found.synergy)
    assert values == pytest.approx(expected, abs=2e-5)
    assert sum(values) == pytest.approx(decomposed_total(joint))


def decomposed_total(joint):
    p = joint / joint.sum()
    flat = p.reshape(-1, p.shape[2])
    outer = flat.sum(1, keepdims=True) * flat.sum(0, keepdims=True)
    return (flat[flat > 0] * np.log2(flat[flat > 0] / outer[flat > 0])).sum()


def test_bounds_hold_the_decomposition():
    found = decompose(A)
    i1, i2 = 0.295807, 0.124511
    limits = bounds(i1, i2, 0.413688)
    assert limits.redundancy == pytest.approx((0.006630, 0.124511), abs=1e-6)
    for name in ("redundancy", "unique1", "unique2", "synergy"):
        low, high = getattr(limits, name)
        assert low - 1e-5 <= getattr(found, name) <= high + 1e-5
    assert bounds(-0.1, 0.2, 0.1).synergy == (0, 0)  # estimates that do not fit together


def test_what_a_classifier_tells():
    labels = np.array([0, 0, 1, 1])
    assert told_by(np.full(4, np.log(2)), labels) == pytest.approx(0)
    assert told_by(np.zeros(4), labels) == pytest.approx(1)
    assert told_by(np.full(4, -np.log(0.9)), labels) == pytest.approx(1 + np.log2(0.9))


def test_rows_are_counted_and_drawn_again():
    rng = np.random.default_rng(0)
    x1, x2 = rng.integers(2, size=(2, 400))
    y = x1 ^ x2
    assert counted(x1, x2, y).sum() == 400 and counted(x1, x2, y)[0, 1, 0] == 0

    def synergy(rows):
        return np.array([decompose(counted(x1[rows], x2[rows], y[rows]), rounds=50).synergy])

    low, high = bootstrap(synergy, 400, draws=20)
    assert 0.9 < low[0] <= high[0] <= 1 + 1e-9 and low[0] < high[0]
    with pytest.raises(ValueError, match=r"must be \(x1, x2, y\)"):
        decompose(np.zeros((2, 2, 2)))
