r"""Sums over all pairs of rows, from `(dim, dim)` matrices: no `(batch, batch)` matrix is made.

With \(S = A + B\) and \(D = A - B\), row by row,

\[ AA^T - BB^T = \tfrac12 (SD^T + DS^T), \qquad AB^T - BA^T = \tfrac12 (DS^T - SD^T), \]

so the sums of their squares are made of \(S^T S\), \(D^T D\) and \(D^T S\), and both together are
`squared_products(first + second, first - second)`. The expansion in \(A^T A\), \(B^T B\) and \(A^T B\)
is equal on paper, but subtracts numbers that agree where A and B do: in float32 it has no correct digit left once
paired rows are 1e-4 apart, where these forms keep all but the last. Time is O(batch dim^2).
"""

import torch
from torch import Tensor

from .contrastive import wide


def _products(first: Tensor, second: Tensor) -> Tensor:
    with torch.autocast(first.device.type, enabled=False):
        return first.T @ second


def squared_products(first: Tensor, second: Tensor) -> Tensor:
    r"""\(\sum_{jk} \langle a_j, b_k \rangle^2 = \langle A^T A, B^T B \rangle\).

    Args:
        first: `(rows, dim)`.
        second: `(other rows, dim)`.

    Returns:
        Scalar, in float32 or wider.
    """
    first, second = wide(first), wide(second)
    return (_products(first, first) * _products(second, second)).sum()


def similarity_difference(first: Tensor, second: Tensor) -> Tensor:
    r"""\(\sum_{jk} (\langle a_j, a_k \rangle - \langle b_j, b_k \rangle)^2\): do two sets of rows have one geometry?

    Where they do although their rows lie apart (one is the other turned), rounding may leave a value of either sign,
    about 1e-7 of \(\sum_{jk} \langle a_j + b_j, a_k - b_k \rangle^2\). It is not clamped: that would drop its
    gradient.

    Args:
        first: `(batch, dim)`.
        second: `(batch, dim)`; row i belongs to row i of `first`.

    Returns:
        Scalar, in float32 or wider.
    """
    first, second = wide(first), wide(second)
    total, difference = first + second, first - second
    mixed = _products(difference, total)
    return (squared_products(total, difference) + (mixed * mixed.T).sum()) / 2
