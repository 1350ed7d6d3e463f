"""Uniformity: rows that repel each other with a Gaussian kernel."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .contrastive import wide


def _kernel(tile: Tensor, embeds: Tensor, t: float) -> Tensor:
    """`exp(-t ||u_j - u_k||^2)` for the rows j of a tile and all rows k; in place, to hold no second tile."""
    exponents = tile @ embeds.T
    exponents.mul_(2 * t).sub_(t * tile.square().sum(1, keepdim=True)).sub_(t * embeds.square().sum(1))
    return exponents.exp_()


class _KernelSum(torch.autograd.Function):
    """The sum of the kernel over all pairs of rows. The backward pass makes the tiles again instead of keeping them.

    A running sum is enough where log-sum-exp commonly needs a running maximum: the largest exponent is known, 0, of
    each row with itself.
    """

    @staticmethod
    def forward(ctx: Any, embeds: Tensor, t: float, tile_size: int) -> Tensor:
        ctx.save_for_backward(embeds)
        ctx.t, ctx.tile_size = t, tile_size
        with torch.autocast(embeds.device.type, enabled=False):
            return torch.stack([_kernel(tile, embeds, t).sum() for tile in embeds.split(tile_size)]).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (embeds,) = ctx.saved_tensors
        pulls = torch.empty_like(embeds)
        with torch.autocast(embeds.device.type, enabled=False):
            for tile, pull in zip(embeds.split(ctx.tile_size), pulls.split(ctx.tile_size), strict=True):
                kernel = _kernel(tile, embeds, ctx.t)
                pull.copy_(kernel.sum(1, keepdim=True) * tile - kernel @ embeds)
        # Every pair stands in the sum twice, and the square gives another 2.
        return -4 * ctx.t * gradient * pulls, None, None


def uniformity(sets: Sequence[Tensor], t: float = 2.0, *, tile_size: int = 1024) -> Tensor:
    r"""\(\log \frac1N \sum_s \sum_{jk} e^{-t \lVert u^s_j - u^s_k \rVert^2}\), with one logarithm around all sets.

    Source: Jiang et al., CVPR 2023 (deep feature separation), after Wang and Isola, ICML 2020. As printed there the
    pairs j = k are in the sum and the prefactor is 1/N; that the logarithm stands around all modalities is our reading
    of it. Neither prefactor nor reading moves the gradient of a single set.

    Args:
        sets: At least one tensor `(N, dim)`, for instance one a modality.
        t: The sharpness of the kernel.
        tile_size: How many rows are compared with all others at once: memory is O(N (dim + tile_size)).

    Returns:
        Scalar, in float32 or wider. It can be differentiated once.
    """
    sums = [_KernelSum.apply(wide(embeds), t, tile_size) for embeds in sets]
    return (torch.stack(sums).sum() / len(sets[0])).log()
