"""The sigmoid loss: every pair of a row and a column is right or wrong by itself."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from .contrastive import groups_of, wide
from .logsumexp import full_precision, tile_size, tiles
from .rows import Rows, mean_of_rows, of_process


def sigmoid_loss(
    anchors: Tensor,
    columns: Tensor,
    scale: Tensor | float,
    bias: Tensor | float,
    *,
    rows: Rows = None,
    ids: Tensor | None = None,
) -> Tensor:
    r"""A binary decision about each pair, without a softmax.

    \[ L = \frac1N \sum_{jk} \log (1 + e^{-y_{jk} (\langle a_j, c_k \rangle / \tau + b)}) \]

    where \(y_{jk}\) is 1 where k is a positive of j, and -1 elsewhere. It is a sum over columns and a mean over rows.

    Args:
        anchors: `(batch, dim)`, L2-normalised.
        columns: `(batch, dim)`; row i is a positive of row i of `anchors`.
        scale: The inverse temperature.
        bias: b, which says how rare positives are.
        rows: The anchors to score, all by default.
        ids: `(batch,)`; rows with the same id are all positives of each other.

    Returns:
        Scalar, in float32 or wider. It can be differentiated once. The logits are made in tiles.

    Source: Zhai et al., "Sigmoid Loss for Language Image Pre-Training", ICCV 2023, algorithm 1.
    """
    anchors, columns = scale * wide(anchors), wide(columns)
    ones = torch.ones_like(columns[:, :1])
    # The bias is one more coordinate of each row.
    anchors, columns = torch.cat([anchors, bias * ones], dim=1), torch.cat([columns, ones], dim=1)
    wrong = _SoftplusSums.apply(of_process(anchors, rows), columns, tile_size(anchors))
    right = columns
    if ids is not None:
        group = groups_of(ids)
        right = torch.zeros_like(columns).index_add(0, group, columns)[group]
    # log(1 + e^-x) = log(1 + e^x) - x
    return mean_of_rows(wrong - of_process((anchors * right).sum(dim=1), rows), rows)


class _SoftplusSums(torch.autograd.Function):
    r"""\(\sum_k \log (1 + e^{\langle x_j, c_k \rangle})\) of every row."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, columns: Tensor, size: int) -> Tensor:
        ctx.save_for_backward(rows, columns)
        ctx.size = size
        sums = torch.zeros_like(rows[:, 0])
        for i, _, tile in tiles(rows, columns, None, None, size):
            sums[i] += F.softplus(tile).sum(dim=1)
        return sums

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, pulls: Tensor) -> tuple[Tensor | None, ...]:
        rows, columns = ctx.saved_tensors
        row_gradient, column_gradient = torch.zeros_like(rows), torch.zeros_like(columns)
        for i, j, tile in tiles(rows, columns, None, None, ctx.size):
            weights = tile.sigmoid_().mul_(pulls[i, None])
            with full_precision(rows):
                row_gradient[i] += weights @ columns[j]
                column_gradient[j] += weights.T @ rows[i]
        return row_gradient, column_gradient, None
