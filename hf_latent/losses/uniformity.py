"""Uniformity: rows that repel each other with a Gaussian kernel."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .contrastive import groups_of, wide
from .logsumexp import logsumexp

LOWEST = -1e30  # a logarithm whose number is 0 beside any other


def uniformity(sets: Sequence[Tensor], t: float = 2.0) -> Tensor:
    r"""\(\log \frac1N \sum_s \sum_{jk} e^{-t \lVert u^s_j - u^s_k \rVert^2}\), with one logarithm around all sets.

    Source: Jiang et al., CVPR 2023 (deep feature separation), after Wang and Isola, ICML 2020. As printed there the
    pairs j = k are in the sum and the prefactor is 1/N; that the logarithm stands around all modalities is our reading
    of it. Neither prefactor nor reading moves the gradient of a single set.

    Args:
        sets: At least one tensor `(N, dim)`, for instance one a modality. Of sets of different sizes each has its own
            N; an empty one adds nothing, and where all are empty the value is 0.
        t: The sharpness of the kernel.

    Returns:
        Scalar, in float32 or wider. It can be differentiated once.
    """
    # Scalars of the CPU go with the operation; on the device they would be copied there first.
    sums = torch.cat([_kernel_logsumexp(wide(embeds), t) - math.log(max(len(embeds), 1)) for embeds in sets])
    return sums.logsumexp(0) if len(sums) else sums.sum()


def pair_uniformity(first: Tensor, second: Tensor, t: float = 2.0, ids: Tensor | None = None) -> Tensor:
    r"""\(\log\) of the mean over pairs of different rows of \(e^{-t \lVert u_j - v_k \rVert^2}\).

    Args:
        first: `(rows, dim)`.
        second: `(rows, dim)`; row i belongs to row i of `first`, and they are no pair. It may be the same.
        t: The sharpness of the kernel.
        ids: `(rows,)`; rows with the same id are no pair, either.

    Returns:
        Scalar, in float32 or wider; 0 where there is no pair. It can be differentiated once.

    Source: Wang and Isola, ICML 2020, equation 2.
    """
    first, second = wide(first), wide(second)
    label = torch.arange(len(first), device=first.device) if ids is None else groups_of(ids)
    counts = torch.zeros_like(label).index_add(0, label, torch.ones_like(label))
    pairs = len(first) ** 2 - counts.square().sum()
    sums = _kernel_logsumexp(first, t, second, label)
    # A row without a pair adds nothing, and no gradient; an `if` would wait for the device.
    total = sums.masked_fill(sums.isinf(), LOWEST).logsumexp(0) - pairs.clamp(min=1).to(sums).log()
    return torch.where(pairs > 0, total, torch.zeros_like(total))


def _kernel_logsumexp(first: Tensor, t: float, second: Tensor | None = None, label: Tensor | None = None) -> Tensor:
    """Of every row, from inner products: -t |u - v|^2 = <u', v'> with two more numbers in every vector.

    Columns of the label of a row are left out.
    """

    def scaled(rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        squares = -t * rows.square().sum(dim=1, keepdim=True)
        return (2 * t) ** 0.5 * rows, squares, torch.ones_like(squares)

    (u, u_squares, ones), (v, v_squares, _) = scaled(first), scaled(first if second is None else second)
    rows, columns = torch.cat([u, u_squares, ones], dim=1), torch.cat([v, ones, v_squares], dim=1)
    return logsumexp(rows, columns, row_labels=label, column_labels=label)
