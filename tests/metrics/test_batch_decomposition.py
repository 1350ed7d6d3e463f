"""Bits by networks: gates whose answer is known, and the pure parts against loops."""

from math import log

import numpy as np
import pytest
import torch

from hf_latent.metrics import batch_decomposition
from hf_latent.metrics.batch_decomposition import (
    conditional_information,
    decompose_by_networks,
    information,
    project,
)

ONE_HOT = np.eye(2)
PARTS = ("redundancy", "unique1", "unique2", "synergy")


def gate(label, rows, seed, same=False, names=(0, 1)):
    """Two coins, or one that both sources show, without noise; a quarter of the rows for each throw of both."""
    first, second = np.divmod(np.random.default_rng(seed).permutation(rows) % 4, 2)
    second = first if same else second
    return ONE_HOT[first], ONE_HOT[second], np.asarray(names)[label(first, second)]


@pytest.mark.parametrize(
    ("label", "options", "expected"),
    [
        (lambda a, b: a ^ b, {}, (0, 0, 0, 1)),
        (lambda a, b: a, {}, (0, 1, 0, 0)),
        (lambda a, b: b, {"names": (3, 7)}, (0, 0, 1, 0)),
        (lambda a, b: a, {"same": True}, (1, 0, 0, 0)),
        (lambda a, b: a & b, {}, (0.311, 0, 0, 0.5)),
    ],
    ids=["xor", "first", "second", "shared", "and"],
)
def test_gates(monkeypatch, label, options, expected):
    monkeypatch.setattr(batch_decomposition, "BATCH", 64)
    monkeypatch.setattr(batch_decomposition, "LEAST_STEPS", 150)
    estimate = decompose_by_networks(gate(label, 512, 0, **options), gate(label, 256, 1, **options))
    parts = [getattr(estimate.parts, part) for part in PARTS]
    assert abs(estimate.excess) < 0.02
    assert parts == pytest.approx(expected, abs=0.06)
    r, u1, u2, s = parts
    assert (r + u1, r + u2, r + u1 + u2 + s) == pytest.approx((estimate.first, estimate.second, estimate.both))


def quick(monkeypatch):
    monkeypatch.setattr(batch_decomposition, "LEAST_STEPS", 20)
    monkeypatch.setattr(batch_decomposition, "CLASSIFIER_EPOCHS", 2)
    monkeypatch.setattr(batch_decomposition, "ALIGNMENT_EPOCHS", 2)


def test_equal_seeds_give_equal_bits_and_nothing_else_is_drawn(monkeypatch):
    quick(monkeypatch)
    train, test = (gate(lambda a, b: a & b, 300, seed) for seed in (0, 1))
    state = torch.get_rng_state()
    with torch.inference_mode():
        first, again, other = (decompose_by_networks(train, test, seed=seed) for seed in (3, 3, 4))
    assert first == again != other
    assert torch.equal(torch.get_rng_state(), state)


def test_many_rows_are_drawn_from(monkeypatch):
    quick(monkeypatch)
    train, test = (gate(lambda a, b: a & b, 300, seed) for seed in (0, 1))
    whole = decompose_by_networks(train, test)
    monkeypatch.setattr(batch_decomposition, "MOST_ROWS", 100)
    sizes = []
    monkeypatch.setattr(batch_decomposition, "_steps", lambda rows, epochs: sizes.append(rows) or 3)
    assert decompose_by_networks(train, test) != whole and set(sizes) == {100}


def test_classifiers_stop_before_they_learn_noise_by_heart(monkeypatch):
    """Of labels that nothing tells the parts are small; without held-out rows they are not, as `excess` says."""
    monkeypatch.setattr(batch_decomposition, "LEAST_STEPS", 200)
    rng = np.random.default_rng(0)
    train, test = ((rng.normal(size=(60, 20)), rng.normal(size=(60, 20)), rng.integers(2, size=60)) for _ in range(2))
    assert decompose_by_networks(train, test).both < 0.3
    monkeypatch.setattr(batch_decomposition, "HELD_OUT", 10**6)  # no row is held out
    estimate = decompose_by_networks(train, test)
    assert estimate.both > 0.5 and estimate.excess > 0.5


@pytest.mark.parametrize("change", ["one label", "many labels", "unknown", "few"])
def test_what_does_not_fit_is_refused(change):
    words = {
        "one label": "there are 1 labels: networks tell of 2 to 50",
        "many labels": "there are 60 labels",
        "unknown": "the test label 2 is that of no training row",
        "few": "two test rows or more",
    }
    train, test = (gate(lambda a, b: a, 60, seed) for seed in (0, 1))
    if change == "one label":
        train = (*train[:2], np.zeros(60, dtype=int))
    if change == "many labels":
        train = (*train[:2], np.arange(60))
    if change == "unknown":
        test = (*test[:2], test[2] + 1)
    if change == "few":
        test = tuple(part[:1] for part in test)
    with pytest.raises(ValueError, match=words[change]):
        decompose_by_networks(train, test)


def plain_projection(kernel, first, second, rounds, tolerance):
    """Entry by entry."""
    rows, columns = range(len(first)), range(len(second))
    q = {(i, j): kernel[i, j] for i in rows for j in columns}
    for _ in range(rounds):
        sums = [sum(q[i, j] for i in rows) for j in columns]
        q = {(i, j): q[i, j] / sums[j] * second[j] for i in rows for j in columns}
        sums = [sum(q[i, j] for j in columns) for i in rows]
        if all(abs(sums[i] - first[i]) <= tolerance for i in rows):
            break
        q = {(i, j): q[i, j] / sums[i] * first[i] for i in rows for j in columns}
        if all(abs(sum(q[i, j] for i in rows) - second[j]) <= tolerance for j in columns):
            break
    return torch.stack([torch.stack([q[i, j] for j in columns]) for i in rows])


def drawn(labels=1, rows=4, columns=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    kernel = torch.randn(labels, rows, columns, generator=generator, dtype=torch.float64).exp()
    shape = torch.rand(labels, rows, columns, generator=generator, dtype=torch.float64)
    return kernel.requires_grad_(), shape.sum(dim=2), shape.sum(dim=1)


@pytest.mark.parametrize(("rounds", "tolerance"), [(500, 0.01), (500, 0.2), (1, 0.0), (2, 0.0)])
def test_the_projection_is_that_of_a_loop(rounds, tolerance):
    kernel, first, second = drawn()
    found = project(kernel, first, second, rounds=rounds, tolerance=tolerance)
    expected = plain_projection(kernel[0], first[0], second[0], rounds, tolerance)
    torch.testing.assert_close(found[0], expected, rtol=1e-9, atol=1e-11)
    pull = torch.randn(4, 3, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    own, wanted = (torch.autograd.grad((pull * q).sum(), kernel)[0] for q in (found[0], expected))
    torch.testing.assert_close(own, wanted, rtol=1e-8, atol=1e-10)


def test_the_projection_has_the_margins_of_each_label_and_zeros_stay():
    kernel, first, second = drawn(labels=2)
    first[1], second[1] = torch.tensor([0.0, 0.5, 1.0, 0.0]), torch.tensor([0.75, 0.0, 0.75])
    found = project(kernel, first, second, tolerance=1e-10)
    torch.testing.assert_close(found.sum(dim=2), first, rtol=0, atol=1e-6)
    torch.testing.assert_close(found.sum(dim=1), second, rtol=0, atol=1e-6)
    assert not found[1, 0].any() and not found[1, :, 1].any()
    assert torch.autograd.grad(found.square().sum(), kernel)[0].isfinite().all()


def test_totals_that_differ_end_where_nothing_changes(monkeypatch):
    """The sums of the rows are right, and those of the columns as near as 500 rounds make them."""
    kernel, first, second = drawn()
    expected = plain_projection(kernel[0].detach(), first[0], 1.3 * second[0], 500, 0.01)
    calls = []
    multiply = torch.Tensor.__matmul__
    monkeypatch.setattr(torch.Tensor, "__matmul__", lambda a, b: calls.append(0) or multiply(a, b))
    found = project(kernel.detach(), first, 1.3 * second)
    torch.testing.assert_close(found[0], expected, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(found.sum(dim=2), first)
    assert len(calls) < 200


def test_the_information_of_posteriors_by_hand():
    p, shares = torch.tensor([[0.5, 0.5], [0.1, 0.9]], dtype=torch.float64), torch.tensor([0.25, 0.75]).double()
    rows = [0.5 * log(0.5 / 0.25) + 0.5 * log(0.5 / 0.75), 0.1 * log(0.1 / 0.25) + 0.9 * log(0.9 / 0.75)]
    assert information(p.log(), shares) == pytest.approx(sum(rows) / 2)


def test_the_conditional_information_of_a_small_table_by_hand():
    """Of (x1, x2, y) probabilities where x1 is uniform, by the sum over all cells."""
    table = np.array([[[0.20, 0.05], [0.10, 0.15]], [[0.05, 0.15], [0.00, 0.30]]])
    expected = 0.0
    for a in range(2):
        for b in range(2):
            for y in range(2):
                if cell := table[a, b, y]:
                    of_x1, of_x1_y, of_x1_x2 = table[a].sum(), table[a, :, y].sum(), table[a, b].sum()
                    expected += cell * log(cell * of_x1 / (of_x1_y * of_x1_x2))
    joint = torch.tensor(table).permute(2, 0, 1)
    given = torch.tensor(table.sum(1) / table.sum((1, 2))[:, None])
    assert conditional_information(joint, given) == pytest.approx(expected, abs=1e-9)
    assert conditional_information(7 * joint, given) == pytest.approx(expected, abs=1e-9)  # rows are normalised


def test_of_an_exclusive_or_it_is_one_bit():
    joint = torch.stack([torch.eye(2), 1 - torch.eye(2)]).double()
    assert conditional_information(joint, torch.full((2, 2), 0.5).double()) == pytest.approx(log(2))
