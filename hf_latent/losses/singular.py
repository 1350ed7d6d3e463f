"""The singular values of the vectors of a row, and the direction of the first."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .contrastive import wide
from .logsumexp import full_precision


def leading_direction(modalities: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    r"""The singular values of the matrix \(Z\) of the vectors of each row, and the left singular vector of the first.

    They are those of the eigenvalues of the Gram matrix, \(u_1 = Z v_1 / \sigma_1\), with the sign by which \(\langle
    u_1, \sum_m z_m \rangle \geq 0\): that of a decomposition is arbitrary, and may differ between machines.
    Eigenvectors are found without a gradient, and values and gradients follow from them, \(d\lambda_k = v_k^T\, dG\,
    v_k\) and \(dv_1 = \sum_{k > 1} v_k (v_k^T\, dG\, v_1) / (\lambda_1 - \lambda_k)\). So equal vectors, whose other
    eigenvalues coincide, have a finite gradient. Where the first two coincide the direction is not defined, and the
    part of its gradient between the two is left out. What is below the root of a singular value has the rounding of 1
    added.

    Args:
        modalities: `(batch, dim)` of each modality.

    Returns:
        `(batch, modalities)`, the singular values from the largest to the smallest, and `(batch, dim)` unit vectors.
    """
    vectors = torch.stack([wide(own) for own in modalities], dim=2)
    rounding = torch.finfo(vectors.dtype).eps
    with full_precision(vectors):
        with torch.no_grad():
            values, turns = torch.linalg.eigh(vectors.mT @ vectors)
            values, turns = values.flip(-1), turns.flip(-1)
            turns = torch.where(turns.sum(dim=1, keepdim=True) < 0, -turns, turns)
            gaps = values[:, :1] - values
            inverse = torch.where(gaps > 100 * rounding * values[:, :1], 1 / gaps, 0)
        directions = vectors @ turns  # (batch, dim, modalities), orthogonal
        singular = (directions.square().sum(dim=1) + rounding).sqrt()
        overlap = (directions * directions[:, :, :1]).sum(dim=1) * inverse  # v_k^T dG v_1 is its gradient
        moved = turns[:, :, 0] + (turns * (overlap - overlap.detach())[:, None]).sum(dim=2)
        return singular, F.normalize((vectors * moved[:, None]).sum(dim=2), dim=1)
