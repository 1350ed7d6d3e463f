"""Contrastive losses against row-by-row restatements, in float64, values and gradients."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_latent.losses import loss_tile_size, nt_xent, one_way_info_nce, symmetric_info_nce
from hf_latent.losses.logsumexp import CPU_TILE
from tests.models.reference import nt_xent_by_rows
from tests.objectives.reference import symmetric_by_rows
from tests.regularizers.reference import LargestTensor


def embeddings(rows, dim=5, seed=0):
    torch.manual_seed(seed)
    raw = torch.randn(2, rows, dim, dtype=torch.float64)
    return [F.normalize(view, dim=-1).requires_grad_() for view in raw]


@pytest.mark.parametrize("ids", [None, [0, 1, 0, 2, 1, 0]])
@pytest.mark.parametrize("loss", ["nt_xent", "info_nce"])
def test_values_and_gradients(loss, ids):
    a, b = embeddings(6)
    ids = None if ids is None else torch.tensor(ids)
    if loss == "nt_xent":
        fast, slow = nt_xent(a, b, 10.0, ids=ids), nt_xent_by_rows(a, b, 10.0, ids)
    else:
        fast = symmetric_info_nce(a, b, 10.0, ids=ids)
        slow = symmetric_by_rows(a, b, 10.0, ids)
    torch.testing.assert_close(fast, slow, rtol=1e-12, atol=1e-12)
    for ours, plain in zip(torch.autograd.grad(fast, (a, b)), torch.autograd.grad(slow, (a, b)), strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-10, atol=1e-12)


@given(rows=st.integers(2, 9), seed=st.integers(0, 100), scale=st.floats(0.5, 50))
@settings(max_examples=30, deadline=None)
def test_properties(rows, seed, scale):
    a, b = embeddings(rows, seed=seed)
    whole = nt_xent(a, b, scale)
    torch.testing.assert_close(nt_xent(b, a, scale), whole)  # symmetric
    order = torch.randperm(rows)
    torch.testing.assert_close(nt_xent(a[order], b[order], scale), whole)  # no row is special
    torch.testing.assert_close(nt_xent(a, b, scale, ids=torch.arange(rows)), whole)  # distinct ids say nothing new
    for loss in (nt_xent, symmetric_info_nce):
        parts = torch.stack([loss(a, b, scale, rows=slice(i, i + 1)) for i in range(rows)])
        torch.testing.assert_close(parts.mean(), loss(a, b, scale))


def test_half_precision_is_scored_in_float32():
    a, b = (view.detach().bfloat16() for view in embeddings(6))
    assert nt_xent(a, b, 10.0).dtype == torch.float32
    torch.testing.assert_close(nt_xent(a, b, 10.0), nt_xent(a.float(), b.float(), 10.0))


@pytest.mark.parametrize("tile_size", [1, 4, 5, 100])
@pytest.mark.parametrize("with_ids", [False, True])
@pytest.mark.parametrize("rows", [None, slice(3, 9)])
@pytest.mark.parametrize("loss", [nt_xent, one_way_info_nce, symmetric_info_nce])
def test_tiles_change_neither_value_nor_gradient(loss, rows, with_ids, tile_size):
    draw = torch.Generator().manual_seed(0)
    first, second = (F.normalize(torch.randn(12, 5, generator=draw, dtype=torch.float64), dim=1) for _ in range(2))
    ids = torch.tensor([0, 1, 1, 2, 3, 4, 5, 5, 5, 6, 7, 0]) if with_ids else None
    scale = torch.tensor(7.0, dtype=torch.float64)
    inputs = [tensor.requires_grad_() for tensor in (first, second, scale)]
    whole = loss(*inputs, rows=rows, ids=ids)
    with loss_tile_size(tile_size):
        tiled = loss(*inputs, rows=rows, ids=ids)
    torch.testing.assert_close(tiled, whole, rtol=1e-12, atol=1e-14)
    for a, b in zip(torch.autograd.grad(tiled, inputs), torch.autograd.grad(whole, inputs), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("loss", [nt_xent, symmetric_info_nce])
def test_large_batches_make_no_square_matrix(loss):
    embeds = [F.normalize(torch.randn(900, 4), dim=1).requires_grad_() for _ in range(2)]
    with LargestTensor() as largest:
        loss(*embeds, 10.0, ids=torch.arange(900) // 2).backward()
    assert largest.elements <= CPU_TILE**2 < 900**2


@pytest.mark.parametrize("scale", [10.0, 100.0])
@pytest.mark.parametrize("loss", [nt_xent, symmetric_info_nce])
def test_float32_keeps_its_digits(loss, scale):
    """Also at CLIP's largest scale, where most rows are told apart and gradients are small."""
    draw = torch.Generator().manual_seed(0)
    first = F.normalize(torch.randn(64, 16, generator=draw, dtype=torch.float64), dim=1)
    second = F.normalize(first + 0.2 * torch.randn(64, 16, generator=draw, dtype=torch.float64), dim=1)
    exact, rounded = ([x.to(dtype).requires_grad_() for x in (first, second)] for dtype in (None, torch.float32))
    value, found = loss(*exact, scale), loss(*rounded, scale)
    torch.testing.assert_close(found.double(), value, rtol=1e-4, atol=1e-6)
    wanted, got = (torch.cat(torch.autograd.grad(f, x)) for f, x in ((value, exact), (found, rounded)))
    assert (got.double() - wanted).norm() <= 1e-4 * wanted.norm()
