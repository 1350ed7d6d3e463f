"""The fusion of all subsets in one pass against one pass a subset."""

import pytest
import torch

from hf_latent.models.fusion import ConcatenationFusion, FusionTransformer
from tests.models.reference import fuse_by_rows, fuse_one_subset

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


# Of a model of four modalities, which of them a call gives, and the subsets that it asks for.
CALLS = {
    "all": ((0, 1, 2, 3), [[0], [1], [2], [3], [0, 1, 2, 3]]),
    "some, in another order": ((3, 1), [[0], [0, 1]]),
}


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("hidden", [False, True])
def test_concatenated_means_equal_rows_by_hand(hidden, call, padded):
    torch.manual_seed(0)
    fusion, (places, subsets) = ConcatenationFusion(8, 4, hidden).double(), CALLS[call]
    lengths = (4, 1, 3, 2)
    tokens = [torch.randn(3, lengths[i], 8, dtype=torch.float64, requires_grad=True) for i in places]
    masks = [None] * len(places)
    if padded:  # the second row lacks the last modality
        masks[-1] = torch.arange(lengths[places[-1]]) < torch.tensor([[1], [0], [9]])
    leaves = [*tokens, *fusion.parameters()]

    def gradients(output):
        return torch.autograd.grad((output * torch.arange(output.numel()).view_as(output).cos()).sum(), leaves)

    fast, slow = fusion(tokens, subsets, masks, places), fuse_by_rows(fusion, tokens, subsets, masks, places)
    assert fast.shape == (3, len(subsets), 8)
    torch.testing.assert_close(fast, slow, rtol=1e-10, atol=1e-12)
    for ours, plain in zip(gradients(fast), gradients(slow), strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-10, atol=1e-12)


def test_what_stands_in_place_of_padding_may_be_anything():
    fusion = ConcatenationFusion(8, 2).double()
    tokens = [torch.randn(2, 3, 8, dtype=torch.float64), torch.randn(2, 4, 8, dtype=torch.float64)]
    mask = torch.tensor([[1, 1, 0, 0], [0, 0, 0, 0]]).bool()
    before = fusion(tokens, [[0], [1], [0, 1]], [None, mask])
    tokens[1] = tokens[1].masked_fill(~mask[..., None], float("nan"))
    torch.testing.assert_close(fusion(tokens, [[0], [1], [0, 1]], [None, mask]), before, rtol=0, atol=0)
    torch.testing.assert_close(before[1, 2], before[1, 0], rtol=0, atol=0)
