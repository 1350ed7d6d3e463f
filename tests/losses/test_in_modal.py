"""The contrast within one modality, in tiles, against its matrix as a whole."""

import pytest
import torch
import torch.nn.functional as F

from hf_latent.losses import loss_tile_size
from hf_latent.losses.in_modal import in_modal_cross_entropy
from tests.regularizers.reference import LargestTensor


def drawn(rows=7, dim=4):
    generator = torch.Generator().manual_seed(0)
    draws = [torch.randn(rows, width, generator=generator, dtype=torch.float64) for width in (dim, dim, 3)]
    return [F.normalize(draw, dim=1).requires_grad_() for draw in draws]


def plain(z, w, e, scale, ids):
    total = 0.0
    for j in range(len(z)):
        others = [k for k in range(len(z)) if ids[k] != ids[j]]
        logits = [scale * z[j] @ w[j], *(scale * (1 - e[j] @ e[k]) * (z[j] @ z[k]) for k in others)]
        total = total - torch.stack(logits).log_softmax(0)[0] / len(z)
    return total


@pytest.mark.parametrize("tile", [1, 3, 100])
@pytest.mark.parametrize("ids", [None, [0, 1, 1, 2, 0, 3, 3], [5] * 7])
def test_tiles_have_the_value_and_the_gradients_of_the_whole(tile, ids):
    rows, partners, alike = drawn()
    scale = torch.tensor(6.0, dtype=torch.float64, requires_grad=True)
    leaves = (rows, partners, scale)
    expected = plain(rows, partners, alike.detach(), scale, range(7) if ids is None else ids)
    with loss_tile_size(tile):
        found = in_modal_cross_entropy(rows, partners, alike, scale, ids=None if ids is None else torch.tensor(ids))
        gradients = torch.autograd.grad(found, (*leaves, alike), allow_unused=True)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)
    assert gradients[3] is None
    wanted = torch.autograd.grad(expected, leaves)
    for own, other in zip(gradients, wanted, strict=False):
        torch.testing.assert_close(own, other, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("learned", ["rows", "partners", "scale", "nothing"])
def test_what_has_no_gradient_is_left_alone(learned):
    rows, partners, alike = (own.detach() for own in drawn())
    scale = torch.tensor(6.0, dtype=torch.float64)
    parts = {"rows": rows, "partners": partners, "scale": scale}
    if learned in parts:
        parts[learned].requires_grad_()
    with loss_tile_size(3):
        found = in_modal_cross_entropy(rows, partners, alike, scale)
    assert found.requires_grad == (learned in parts)
    if found.requires_grad:
        (own,) = torch.autograd.grad(found, parts[learned])
        (other,) = torch.autograd.grad(plain(rows, partners, alike, scale, range(7)), parts[learned])
        torch.testing.assert_close(own, other, rtol=1e-10, atol=1e-14)


def test_no_matrix_of_the_batch_is_held():
    rows, partners, alike = drawn(rows=200, dim=3)
    with loss_tile_size(10), LargestTensor() as largest:
        in_modal_cross_entropy(rows, partners, alike, 3.0).backward()
    assert largest.elements <= 200 * 3


def test_alike_rows_do_not_repel_each_other():
    """Rows that mean the same have no force on each other, and those that do not have one."""
    z = F.normalize(torch.tensor([[1.0, 0.1], [1.0, 0.2]], dtype=torch.float64), dim=1).requires_grad_()
    partners = F.normalize(torch.tensor([[0.0, 1.0], [0.0, 1.0]], dtype=torch.float64), dim=1)
    apart = torch.autograd.grad(in_modal_cross_entropy(z, partners, torch.eye(2), 5.0), z)[0]
    same = torch.autograd.grad(in_modal_cross_entropy(z, partners, torch.ones(2, 1), 5.0), z)[0]
    assert (same[:, 0].abs() < 1e-12).all() and (apart[:, 0] > 0.1).all()
