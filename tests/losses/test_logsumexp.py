"""Log-sum-exp in tiles against torch's own of the whole matrix, in float64, values and gradients."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_latent.losses.logsumexp import logsumexp, loss_tile_size, mutual_logsumexp, self_logsumexp
from tests.regularizers.reference import LargestTensor


def draw(rows, columns, dim=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    sizes = [(rows, dim), (columns, dim)]
    return [torch.randn(size, generator=generator, dtype=torch.float64).requires_grad_() for size in sizes]


def assert_same(fast, slow, inputs):
    """Also under weights that differ from row to row."""
    torch.testing.assert_close(fast, slow, rtol=1e-12, atol=1e-12)
    weights = torch.linspace(-1, 2, len(fast), dtype=torch.float64)
    grads = [
        torch.autograd.grad((weights * sums.nan_to_num(neginf=0)).sum(), inputs, retain_graph=True)
        for sums in (fast, slow)
    ]
    for ours, plain in zip(*grads, strict=True):
        torch.testing.assert_close(ours, plain.nan_to_num(), rtol=1e-10, atol=1e-12)


@given(rows=st.integers(1, 9), columns=st.integers(1, 9), tile=st.integers(1, 10), seed=st.integers(0, 50))
@settings(max_examples=60, deadline=None)
def test_every_shape_and_tile(rows, columns, tile, seed):
    first, second = draw(rows, columns, seed=seed)
    labels = torch.arange(rows) % 3, torch.arange(columns) % 4
    matrix, alone = first @ second.T, first @ first.T
    left_out = matrix.masked_fill(labels[0][:, None] == labels[1], float("-inf"))
    others = alone.masked_fill(torch.eye(rows, dtype=torch.bool), float("-inf"))
    with loss_tile_size(tile):
        assert_same(logsumexp(first, second), matrix.logsumexp(1), [first, second])
        mutual, both = mutual_logsumexp(first, second), [matrix.logsumexp(1), matrix.logsumexp(0)]
        assert_same(torch.cat(mutual), torch.cat(both), [first, second])
        assert_same(self_logsumexp(first), others.logsumexp(1), [first])
        found = logsumexp(first, second, row_labels=labels[0], column_labels=labels[1])
        assert_same(found, left_out.logsumexp(1), [first, second])


def test_a_row_without_columns_has_no_gradient():
    first, second = draw(2, 2)
    labels = torch.tensor([0, 1]), torch.tensor([1, 1])
    sums = logsumexp(first, second, row_labels=labels[0], column_labels=labels[1])
    assert sums[1] == float("-inf") and sums[0].isfinite()
    gradient = torch.autograd.grad(torch.logaddexp(sums, torch.zeros(2, dtype=torch.float64)).sum(), first)[0]
    assert gradient[0].any() and not gradient[1].any()


def test_products_are_whole_under_autocast():
    first, second = (tensor.detach().float().requires_grad_() for tensor in draw(5, 6))
    expected = logsumexp(first, second)
    with torch.autocast("cpu", torch.bfloat16):
        found = logsumexp(first, second)
        gradient = torch.autograd.grad(found.sum(), first)[0]
    assert torch.equal(found, expected) and torch.equal(gradient, torch.autograd.grad(expected.sum(), first)[0])


def test_the_tile_size_holds_inside_only():
    first, second = (torch.randn(40, 2) for _ in range(2))

    def largest():
        with LargestTensor() as seen:
            logsumexp(first, second)
        return seen.elements

    with pytest.raises(RuntimeError), loss_tile_size(10):
        assert largest() == 100
        raise RuntimeError
    assert largest() == 1600
