"""Uniformity: rows that repel each other with a Gaussian kernel."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .contrastive import wide
from .logsumexp import logsumexp


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


def _kernel_logsumexp(embeds: Tensor, t: float) -> Tensor:
    """Of every row, from inner products: -t |u - v|^2 = <u', v'> with two more numbers in every vector."""
    u, squares = (2 * t) ** 0.5 * embeds, -t * embeds.square().sum(dim=1, keepdim=True)
    ones = torch.ones_like(squares)
    return logsumexp(torch.cat([u, squares, ones], dim=1), torch.cat([u, ones, squares], dim=1))
