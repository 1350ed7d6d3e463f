"""Singular values and leading directions against a decomposition of each row, and where that has no gradient."""

import pytest
import torch
import torch.nn.functional as F

from hf_latent.losses import one_way_info_nce
from hf_latent.losses.singular import leading_direction
from tests.losses.golden import golden

A, B, C = map(golden, range(3))


def losses(vectors, first=1.0, second=1.0):
    values, direction = leading_direction(vectors)
    singular = ((values / first).logsumexp(dim=1) - values[:, 0] / first).mean()
    return singular, one_way_info_nce(direction, direction, 1 / second)


def test_golden_values():
    values, _ = leading_direction([A, B, C])
    assert values[0].tolist() == pytest.approx([1.6621351302, 0.4444968632, 0.1993222201])
    singular, instance = losses([A, B, C])
    assert singular == pytest.approx(0.4495182672) and instance == pytest.approx(0.7933564668)
    assert losses([A, B, C], second=0.1)[1] == pytest.approx(0.0010501869)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_it_is_the_decomposition_of_each_row_with_its_gradient(count):
    raw = [golden(m, rows=5, dim=6).requires_grad_() for m in range(count)]
    stacked = torch.stack(raw, dim=2)
    left, expected, _ = torch.linalg.svd(stacked, full_matrices=False)
    signs = (stacked.sum(dim=2) * left[:, :, 0]).sum(dim=1).sign()
    direction = left[:, :, 0] * signs[:, None]
    found = leading_direction(raw)
    weights = golden(7, rows=5, dim=6), golden(8, rows=5, dim=count)
    for own, wanted, weight in zip(found, (expected, direction), weights[::-1], strict=True):
        torch.testing.assert_close(own, wanted)
        gradients = (torch.autograd.grad((each * weight).sum(), raw, retain_graph=True) for each in (own, wanted))
        for ours, theirs in zip(*gradients, strict=True):
            torch.testing.assert_close(ours, theirs)


def test_the_sign_is_that_of_the_sum_however_it_is_decomposed(monkeypatch):
    expected = leading_direction([A, B, C])[1]
    assert ((A + B + C) * expected).sum(dim=1).min() > 0
    eigh = torch.linalg.eigh

    def turned(matrix):
        values, vectors = eigh(matrix)
        return values, vectors * torch.tensor([-1, 1, -1], dtype=vectors.dtype)

    monkeypatch.setattr(torch.linalg, "eigh", turned)
    torch.testing.assert_close(leading_direction([A, B, C])[1], expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("vectors", ["equal", "opposite", "orthogonal", "near"])
def test_ties_have_a_finite_gradient(dtype, vectors):
    """Of equal vectors all but the first singular value are zero; of orthogonal ones all are 1."""
    basis = torch.eye(6, dtype=torch.float64)
    rows = {
        "equal": [A, A, A],
        "opposite": [A, -A, A],
        "orthogonal": [basis[:4], basis[[1, 2, 3, 4]], basis[[2, 3, 4, 5]]],
        "near": [A, A + 1e-4 * B, A + 1e-4 * C],
    }[vectors]
    raw = [own.clone().to(dtype).requires_grad_() for own in rows]
    sum(losses([F.normalize(own, dim=1) for own in raw], 0.05, 0.1)).backward()
    for own in raw:
        assert own.grad.isfinite().all() and own.grad.norm() < 1e3


def test_singular_values_are_blind_to_opposite_vectors_and_see_a_third_that_differs():
    equal, opposite = (losses([A, other, C])[0] for other in (A, -A))
    torch.testing.assert_close(equal, opposite)
    assert losses([A, A, A])[0] < equal - 0.01
