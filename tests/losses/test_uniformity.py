"""Uniformity in tiles against the matrix of all pairs."""

import pytest
import torch

from hf_latent.losses import loss_tile_size
from hf_latent.losses.logsumexp import CPU_TILE
from hf_latent.losses.uniformity import uniformity
from tests.regularizers.reference import LargestTensor


def sets(count=2, rows=7, dim=3, dtype=torch.float64):
    torch.manual_seed(0)
    return [torch.randn(rows, dim, dtype=dtype).requires_grad_() for _ in range(count)]


def plain(tensors, t):
    kernels = [(-t * (u[:, None] - u[None]).square().sum(-1)).exp().sum() for u in tensors]
    return (sum(kernels) / len(tensors[0])).log()


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("tile_size", [1, 3, 7, 1024])
@pytest.mark.parametrize("t", [2.0, 0.3])
def test_values_and_gradients(count, tile_size, t):
    tensors = sets(count)
    with loss_tile_size(tile_size):
        fast, slow = uniformity(tensors, t), plain(tensors, t)
    torch.testing.assert_close(fast, slow, rtol=1e-12, atol=1e-14)
    for ours, theirs in zip(torch.autograd.grad(fast, tensors), torch.autograd.grad(slow, tensors), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-14)


def test_gradcheck():
    with loss_tile_size(3):
        assert torch.autograd.gradcheck(lambda *tensors: uniformity(tensors, 0.5), sets())


def test_known_values():
    assert uniformity([torch.eye(1, 4)]) == 0  # a row alone is its own only pair
    torch.testing.assert_close(uniformity([torch.ones(5, 4) / 2]), torch.tensor(5.0).log())  # all rows in one place
    far = uniformity([1e4 * torch.eye(4)])  # no pair but each row with itself
    assert far == 0


def test_memory_is_a_tile_forward_and_backward():
    tensors = sets(rows=900)
    with LargestTensor() as largest:
        uniformity(tensors).backward()
    assert largest.elements == CPU_TILE**2


def test_half_precision_and_autocast_are_summed_in_float32():
    tensors = [tensor.detach().bfloat16().requires_grad_() for tensor in sets()]
    exact = uniformity([tensor.float() for tensor in tensors])
    expected = torch.autograd.grad(exact, tensors)
    with torch.autocast("cpu", torch.bfloat16):
        value = uniformity(tensors)
        gradients = torch.autograd.grad(value, tensors)
    assert torch.equal(value, exact)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(gradients, expected, strict=True))
