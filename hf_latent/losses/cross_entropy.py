"""Cross-entropy over the scores of all pairs of rows, where the score is any function of two rows.

The matrix of scores is made in tiles, forward and again backward, where the gradient of a tile is that of autograd. So
a score is written once, as a plain function, and no matrix of the whole batch is held. Inner products have a faster
way, [`logsumexp`].
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .contrastive import groups_of, sizes_of, wide
from .logsumexp import full_precision, tile_size
from .rows import Rows, mean_of_rows, places

Tile = Callable[..., Tensor]
"""`(rows, columns)` of the slices `i` of rows and `j` of columns: `tile(i, j, *tensors)`."""


def score_cross_entropy(
    score: Tile,
    anchors: Tensor,
    others: tuple[Tensor, ...],
    scale: Tensor | float,
    *,
    rows: Rows = None,
    ids: Tensor | None = None,
    label_smoothing: float = 0.0,
) -> Tensor:
    r"""InfoNCE of a score in place of the cosine, the mean of both directions.

    \[ L = -\frac{1}{2N} \sum_{jk} y_{jk} \Big( \log \frac{e^{s_{jk} / \tau}}{\sum_l e^{s_{jl} / \tau}}
       + \log \frac{e^{s_{jk} / \tau}}{\sum_l e^{s_{lk} / \tau}} \Big) \]

    where \(y_{jk} = (1 - \epsilon) p_{jk} + \epsilon / N\), and \(p_{jk}\) is 1 over the number of positives of j
    where k is one of them, else 0.

    Args:
        score: `score(anchors, *others)` of some anchors and some of the others, `(anchors, others)`.
        anchors: `(batch, dim)`.
        others: Tensors with a row for each of the others, `(batch, ...)`; row i is a positive of anchor i.
        scale: The inverse temperature.
        rows: The anchors, and the others, that this process scores; all by default.
        ids: `(batch,)`; rows with the same id are positives of each other and share the target evenly.
        label_smoothing: \(\epsilon\).

    Returns:
        Scalar, in float32 or wider. It can be differentiated once.
    """
    anchors, others = wide(anchors), tuple(map(wide, others))
    total = len(anchors)
    index = torch.arange(total, device=anchors.device)
    group = index if ids is None else groups_of(ids)
    share = (1 - label_smoothing) / sizes_of(group).to(anchors)
    own = places(rows, total, anchors.device)
    own_group, own_share = (group, share) if own is None else (group[own], share[own])

    def targets(i: slice, j: slice) -> Tensor:
        return (own_group[i, None] == group[j]) * own_share[i, None] + label_smoothing / total

    def tile(i: slice, j: slice, scale: Tensor, anchors: Tensor, *others: Tensor) -> Tensor:
        return scale * score(anchors[i], *(other[j] for other in others))

    def mirrored(i: slice, j: slice, *tensors: Tensor) -> Tensor:
        return tile(j, i, *tensors).T

    scale = torch.as_tensor(scale, dtype=anchors.dtype, device=anchors.device)
    if own is None:
        both = cross_entropies(tile, targets, (total, total), (scale, anchors, *others), both=True)
        return mean_of_rows(torch.stack(both).mean(dim=0), rows)
    shape = (len(own), total)
    first, _ = cross_entropies(tile, targets, shape, (scale, anchors[own], *others))
    second, _ = cross_entropies(mirrored, targets, shape, (scale, anchors, *(other[own] for other in others)))
    return mean_of_rows((first + second) / 2, rows)


def cross_entropies(
    tile: Tile,
    targets: Callable[[slice, slice], Tensor],
    shape: tuple[int, int],
    tensors: tuple[Tensor, ...],
    both: bool = False,
) -> tuple[Tensor, Tensor]:
    r"""\(\log \sum_j e^{x_{ij}} - \sum_j y_{ij} x_{ij}\) of every row of a matrix that is made in tiles.

    Args:
        tile: Of the matrix x, a function of `tensors`, which alone have a gradient.
        targets: `targets(i, j)`, the same tile of y.
        shape: Rows and columns of the matrix.
        tensors: What it is made of.
        both: Of every column, too.

    Returns:
        `(rows,)`, and `(columns,)`; zeros without `both`.
    """
    return _CrossEntropies.apply(tile, targets, shape, both, tile_size(tensors[-1]), *tensors)


class _CrossEntropies(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        tile: Tile,
        targets: Callable[[slice, slice], Tensor],
        shape: tuple[int, int],
        both: bool,
        size: int,
        *tensors: Tensor,
    ) -> tuple[Tensor, Tensor]:
        ctx.tile, ctx.targets, ctx.shape, ctx.both, ctx.size = tile, targets, shape, both, size
        sums = [tensors[-1].new_full((count,), float("-inf")) for count in shape]
        hits = [tensors[-1].new_zeros(count) for count in shape]
        for i, j in _tiles(shape, size):
            with full_precision(tensors[-1]):
                logits = tile(i, j, *tensors)
            wanted = targets(i, j) * logits
            for axis, own in ((0, i), (1, j)) if both else ((0, i),):
                sums[axis][own] = torch.logaddexp(sums[axis][own], logits.logsumexp(1 - axis))
                hits[axis][own] += wanted.sum(1 - axis)
        ctx.save_for_backward(*sums, *tensors)
        return sums[0] - hits[0], sums[1] - hits[1] if both else hits[1]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, row_pulls: Tensor, column_pulls: Tensor) -> tuple[Tensor | None, ...]:
        row_sums, column_sums, *tensors = ctx.saved_tensors
        wanted = ctx.needs_input_grad[5:]
        leaves = [tensor.detach().requires_grad_(need) for tensor, need in zip(tensors, wanted, strict=True)]
        learned = [leaf for leaf in leaves if leaf.requires_grad]
        gradients = [torch.zeros_like(leaf) for leaf in learned]
        for i, j in _tiles(ctx.shape, ctx.size):
            with torch.enable_grad(), full_precision(tensors[-1]):
                logits = ctx.tile(i, j, *leaves)
            found, target = logits.detach(), ctx.targets(i, j)
            pulls = ((found - row_sums[i, None]).exp() - target) * row_pulls[i, None]
            if ctx.both:
                pulls += ((found - column_sums[j]).exp() - target) * column_pulls[j]
            for gradient, part in zip(gradients, torch.autograd.grad(logits, learned, pulls), strict=True):
                gradient += part
        rest = iter(gradients)
        return None, None, None, None, None, *(next(rest) if need else None for need in wanted)


def _tiles(shape: tuple[int, int], size: int) -> Iterator[tuple[slice, slice]]:
    rows, columns = shape
    for top in range(0, rows, size):
        for left in range(0, columns, size):
            yield slice(top, min(top + size, rows)), slice(left, min(left + size, columns))
