"""The cross-entropy of any score, in tiles, against the matrix of scores as a whole."""

import pytest
import torch

from hf_latent.losses import loss_tile_size, symmetric_info_nce
from hf_latent.losses.cross_entropy import score_cross_entropy
from tests.regularizers.reference import LargestTensor


def drawn(rows=7, dim=4, count=2):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(rows, dim, generator=generator, dtype=torch.float64).requires_grad_() for _ in range(count)]


def distance(anchors, others, lengths):
    """A score that is no inner product."""
    return -(anchors[:, None] - others[None]).square().sum(dim=2).sqrt() * lengths


@pytest.mark.parametrize("tile", [1, 3, 100])
@pytest.mark.parametrize("rows", [None, slice(2, 5)])
def test_tiles_have_the_gradient_of_the_whole(tile, rows):
    first, second = drawn()
    scale, ids = torch.tensor(2.0, dtype=torch.float64, requires_grad=True), torch.tensor([0, 1, 1, 2, 0, 3, 3])
    lengths = second.square().sum(dim=1)
    logits = scale * distance(first, second, lengths)
    right = (ids[:, None] == ids).double()
    target = 0.8 * right / right.sum(dim=1, keepdim=True) + 0.2 / 7
    losses = [-(target * matrix.log_softmax(dim=1)).sum(dim=1) for matrix in (logits, logits.T)]
    expected = (sum(losses) / 2)[slice(None) if rows is None else rows].mean()
    with loss_tile_size(tile):
        others = (second, second.square().sum(dim=1))
        found = score_cross_entropy(distance, first, others, scale, rows=rows, ids=ids, label_smoothing=0.2)
        gradients = torch.autograd.grad(found, (first, second, scale))
    torch.testing.assert_close(found, expected)
    for own, wanted in zip(gradients, torch.autograd.grad(expected, (first, second, scale)), strict=True):
        torch.testing.assert_close(own, wanted)


def test_of_cosines_it_is_info_nce():
    first, second = drawn()
    ids = torch.tensor([0, 1, 1, 2, 0, 3, 3])
    found = score_cross_entropy(lambda a, b: a @ b.T, first, (second,), 3.0, ids=ids)
    torch.testing.assert_close(found, symmetric_info_nce(first, second, 3.0, ids=ids))


def test_no_matrix_of_the_batch_is_held():
    rows = drawn(rows=200, dim=3)
    with loss_tile_size(10), LargestTensor() as largest:
        score_cross_entropy(lambda a, b: a @ b.T, rows[0], (rows[1],), 3.0).backward()
    assert largest.elements <= 200 * 3
