"""Sums over pairs of rows against the matrices that they avoid."""

import pytest
import torch
import torch.nn.functional as F

from hf_latent.losses.gram import similarity_difference, squared_products
from tests.regularizers.reference import LargestTensor

PLAIN = {
    squared_products: lambda a, b: (a @ b.T).square().sum(),
    similarity_difference: lambda a, b: (a @ a.T - b @ b.T).square().sum(),
}
every_sum = pytest.mark.parametrize("fast, plain", PLAIN.items(), ids=lambda function: function.__name__)


def units(rows, dim, seed=0, dtype=torch.float64):
    torch.manual_seed(seed)
    return [F.normalize(torch.randn(rows, dim, dtype=dtype), dim=-1) for _ in range(2)]


@every_sum
@pytest.mark.parametrize("rows, dim", [(1, 3), (6, 4), (3, 8)])
def test_values_and_gradients(fast, plain, rows, dim):
    a, b = (tensor.requires_grad_() for tensor in units(rows, dim))
    torch.testing.assert_close(fast(a, b), plain(a, b), rtol=1e-10, atol=1e-14)
    for ours, theirs in zip(
        torch.autograd.grad(fast(a, b), (a, b)), torch.autograd.grad(plain(a, b), (a, b)), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


def test_both_squares_at_once():
    a, b = units(7, 4)
    asymmetry = (a @ b.T - b @ a.T).square().sum()
    both = similarity_difference(a, b) + asymmetry
    torch.testing.assert_close(squared_products(a + b, a - b), both, rtol=1e-12, atol=0)


@pytest.mark.parametrize("apart", [1e-1, 1e-2, 1e-3, 1e-4])
def test_float32_keeps_its_digits_where_rows_nearly_coincide(apart):
    fast = similarity_difference
    a, noise = units(64, 16, dtype=torch.float32)
    b = F.normalize(a + apart * noise, dim=-1)
    exact = PLAIN[fast](a.double(), b.double())
    assert abs(fast(a, b).double() / exact - 1) < 1e-5
    a.requires_grad_()
    wide = a.detach().double().requires_grad_()
    (ours,) = torch.autograd.grad(fast(a, b), a)
    (theirs,) = torch.autograd.grad(PLAIN[fast](wide, b.double()), wide)
    assert (ours - theirs).norm() / theirs.norm() < 1e-5
    assert fast(a, a) == 0


@every_sum
def test_no_matrix_of_all_pairs(fast, plain):
    a, b = (tensor.requires_grad_() for tensor in units(200, 8))
    with LargestTensor() as largest:
        fast(a, b).backward()
    assert largest.elements <= 200 * 8


@every_sum
def test_half_precision_and_autocast_are_summed_in_float32(fast, plain):
    a, b = (tensor.bfloat16() for tensor in units(6, 4))
    exact = fast(a.float(), b.float())
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(fast(a, b), exact) and torch.equal(fast(a.float(), b.float()), exact)
