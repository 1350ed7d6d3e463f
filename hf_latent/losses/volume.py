"""The volume that several unit vectors span, and the area of the triangle between three."""

from collections.abc import Sequence

import torch
from torch import Tensor

from .contrastive import wide


def spanned(others: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """An orthonormal basis of what the vectors of each row span, and the squared volume of these alone.

    Args:
        others: `(batch, dim)` of each modality, L2-normalised.

    Returns:
        `(batch, modalities, dim)`, by Gram and Schmidt, a zero vector in place of one that lies in the span of those
        before it; and `(batch,)`, the determinant of their Gram matrix.
    """
    basis: list[Tensor] = []
    squared = torch.ones_like(wide(others[0])[:, 0])
    for other in map(wide, others):
        rest = other
        for direction in basis:
            rest = rest - (rest * direction).sum(dim=1, keepdim=True) * direction
        length = rest.square().sum(dim=1)
        squared = squared * length
        basis.append(rest / (length + _rounding(rest)).sqrt()[:, None])
    return torch.stack(basis, dim=1), squared


def volumes(anchors: Tensor, basis: Tensor, squared: Tensor) -> Tensor:
    r"""The volume of the parallelotope of each anchor and each row of the other modalities.

    \[ V_{ij} = \sqrt{\det K_j \, (1 - \sum_r \langle a_i, q_{jr} \rangle^2)} \]

    where \(K_j\) is the Gram matrix of the others in row j and \(q_{jr}\) their basis: it is \(\sqrt{\det G_{ij}}\),
    with a matrix product for each modality instead of a determinant for each pair. Below the root is clamped at 0, and
    the rounding of 1 is added, so that the gradient of equal vectors is finite.

    Args:
        anchors: `(anchors, dim)`, L2-normalised.
        basis, squared: `(others, modalities, dim)` and `(others,)`, of [`spanned`].

    Returns:
        `(anchors, others)`.
    """
    outside = 1 - sum((anchors @ directions.T).square() for directions in basis.unbind(dim=1))
    return ((squared * outside).clamp(min=0) + _rounding(anchors)).sqrt()


def areas(anchors: Tensor, second: Tensor, third: Tensor, cosines: Tensor, *, root: bool) -> Tensor:
    r"""The area of the triangle of each anchor and the two other vectors of each row.

    With \(u = a - b\) and \(w = a - c\) it is \(\tfrac12 \sqrt{|u|^2 |w|^2 - \langle u, w \rangle^2}\), where
    \(|u|^2 = 2 - 2x\), \(|w|^2 = 2 - 2y\) and \(\langle u, w \rangle = 1 - x - y + z\), for the cosines x of a and b,
    y of a and c, z of b and c: two matrix products.

    Args:
        anchors: `(anchors, dim)`, L2-normalised.
        second, third: `(others, dim)`, L2-normalised.
        cosines: `(others,)`, of `second` and `third`.
        root: Take the square root; without it, half of what is below.

    Returns:
        `(anchors, others)`.
    """
    x, y = anchors @ second.T, anchors @ third.T
    below = (2 - 2 * x) * (2 - 2 * y) - (1 - x - y + cosines).square()
    return ((below.clamp(min=0) + _rounding(anchors)).sqrt() if root else below) / 2


def _rounding(like: Tensor) -> float:
    return torch.finfo(like.dtype).eps
