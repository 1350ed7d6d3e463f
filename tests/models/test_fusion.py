"""The fusion of all subsets in one pass against one pass a subset."""

import pytest
import torch

from hf_latent.models.fusion import FusionTransformer
from tests.models.reference import fuse_one_subset

SUBSETS = [[0], [1], [2], [0, 1, 2]]


def build(layers, pooling):
    torch.manual_seed(0)
    fusion = FusionTransformer(16, layers, 4, pooling).double()
    with torch.no_grad():
        fusion.initialize()
    return fusion


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("pooling", ["cls", "mean"])
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_all_subsets_at_once_equal_one_pass_a_subset(layers, pooling, padded):
    fusion = build(layers, pooling)
    tokens = [torch.randn(3, length, 16, dtype=torch.float64, requires_grad=True) for length in (4, 1, 3)]
    masks = [None, None, torch.tensor([[1, 1, 1], [1, 0, 0], [1, 1, 0]]).bool() if padded else None]

    def gradients(output):
        (output * torch.arange(output.numel()).view_as(output).cos()).sum().backward()
        leaves = [*tokens, *fusion.parameters()]
        found = [leaf.grad.clone() for leaf in leaves]
        for leaf in leaves:
            leaf.grad = None
        return found

    fast = fusion(tokens, SUBSETS, masks)
    slow = torch.stack([fuse_one_subset(fusion, [tokens[i] for i in s], [masks[i] for i in s]) for s in SUBSETS], 1)
    assert fast.shape == (3, 4, 16)
    torch.testing.assert_close(fast, slow, rtol=1e-10, atol=1e-12)
    for ours, plain in zip(gradients(fast), gradients(slow), strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-10, atol=1e-12)


def test_subsets_do_not_leak_into_each_other():
    fusion = build(2, "cls")
    tokens = [torch.randn(2, 3, 16, dtype=torch.float64) for _ in range(3)]
    before = fusion(tokens, SUBSETS)
    tokens[2] = torch.randn(2, 3, 16, dtype=torch.float64)
    after = fusion(tokens, SUBSETS)
    torch.testing.assert_close(after[:, :2], before[:, :2], rtol=0, atol=0)
    assert (after[:, 2:] - before[:, 2:]).abs().min() > 0


def test_padding_does_not_reach_the_output():
    fusion = build(2, "mean")
    tokens = [torch.randn(2, 3, 16, dtype=torch.float64), torch.randn(2, 4, 16, dtype=torch.float64)]
    mask = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 0]]).bool()
    before = fusion(tokens, [[0], [1], [0, 1]], [None, mask])
    tokens[1] = tokens[1] + 100 * (~mask)[..., None]
    torch.testing.assert_close(fusion(tokens, [[0], [1], [0, 1]], [None, mask]), before)
