"""Volumes and areas against determinants, values of the official code, and where both are blind."""

import pytest
import torch
import torch.nn.functional as F

from hf_latent.losses.cross_entropy import score_cross_entropy
from hf_latent.losses.volume import areas, spanned, volumes
from tests.losses.golden import golden

A, B, C = map(golden, range(3))
TAU = 0.07


def volume_loss(anchors, others, **options):
    return score_cross_entropy(lambda *v: -volumes(*v), anchors, spanned(others), 1 / TAU, **options)


def area_loss(a, b, c, root=False, **options):
    others = (b, c, (b * c).sum(dim=1))
    return score_cross_entropy(lambda *v: -areas(*v, root=root), a, others, 1 / TAU, **options)


def test_golden_volumes():
    assert volumes(A, *spanned([B]))[0, 0] == pytest.approx(0.5954429398)
    assert volumes(A, *spanned([B, C]))[0, 0] == pytest.approx(0.1472620171)
    assert volume_loss(A, [B, C], label_smoothing=0.1) == pytest.approx(0.8025103176)
    assert volume_loss(A, [B, C]) == pytest.approx(0.6108142149)


def test_volumes_are_roots_of_determinants():
    vectors = [golden(m, rows=3, dim=6) for m in range(5)]
    found = volumes(vectors[0], *spanned(vectors[1:]))
    for i in range(3):
        for j in range(3):
            own = torch.stack([vectors[0][i], *(v[j] for v in vectors[1:])])
            assert found[i, j] == pytest.approx((own @ own.T).det().sqrt().item())


def test_golden_areas():
    """The code of the paper leaves the root out."""
    cosines = (B * C).sum(dim=1)
    assert areas(A, B, C, cosines, root=False)[0, 0] == pytest.approx(0.0120940001)
    assert areas(A, B, C, cosines, root=True)[0, 0] == pytest.approx(0.0777624590)
    assert area_loss(A, B, C, label_smoothing=0.1) == pytest.approx(0.6165173207)
    assert area_loss(A, B, C, root=True, label_smoothing=0.1) == pytest.approx(0.5500299067)


def diagonal_volume(*vectors):
    return volumes(vectors[0], *spanned(vectors[1:])).diagonal()


def diagonal_area(*vectors):
    a, b, c = vectors
    return areas(a, b, c, (b * c).sum(dim=1), root=True).diagonal()


def test_a_volume_is_blind_to_opposite_vectors_and_an_area_is_not():
    zero = torch.zeros(4, dtype=torch.float64)
    for third in (A, -A):
        torch.testing.assert_close(diagonal_volume(A, third, C), zero, atol=1e-6, rtol=0)
    torch.testing.assert_close(diagonal_area(A, A, C), zero, atol=1e-6, rtol=0)
    # Of opposite vectors and a third it is the area of a right triangle.
    expected = (A - C).norm(dim=1) * (A + C).norm(dim=1) / 2
    torch.testing.assert_close(diagonal_area(A, -A, C), expected)


def test_two_that_coincide_are_enough_for_either():
    for shape in (diagonal_volume, diagonal_area):
        for equal in ((A, A, C), (A, B, A), (A, B, B)):
            assert (shape(*equal) < 1e-6).all()
        assert (shape(A, B, C) > 1e-2).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("apart", [0.0, 1e-4, 1e-3])
@pytest.mark.parametrize("which", ["volume", "area", "area, root"])
def test_equal_and_nearly_equal_vectors_have_a_finite_gradient(dtype, apart, which):
    """The official volume is not a number from 1e-4 on, in float32."""
    raw = [(A + apart * other).to(dtype).requires_grad_() for other in (0 * A, B, C)]
    unit = [F.normalize(v, dim=1) for v in raw]
    loss = volume_loss(unit[0], unit[1:]) if which == "volume" else area_loss(*unit, root=which == "area, root")
    loss.backward()
    assert loss.isfinite()
    for vectors in raw:
        assert vectors.grad.isfinite().all() and vectors.grad.norm() < 1e3


def test_in_float32_a_volume_is_right_to_the_root_of_its_rounding():
    vectors = [F.normalize(A + 0.1 * other, dim=1) for other in (0 * A, B, C)]
    found, expected = diagonal_volume(*(v.float() for v in vectors)).double(), diagonal_volume(*vectors)
    torch.testing.assert_close(found, expected, rtol=0, atol=4e-4)
