"""Log-sum-exp over the rows of a matrix of inner products that is never there as a whole.

The matrix is made in square tiles, forward and again backward: for B rows of d numbers the memory is O(B d), where the
matrix alone would take B x B. Every log-sum-exp runs along, tile by tile ("online").
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

CPU_TILE, GPU_TILE = 512, 8192
"""Rows and columns of a tile by default: 1 MiB in float32 stays in a CPU's cache, 256 MiB keep a GPU busy."""

_chosen: ContextVar[int | None] = ContextVar("loss_tile_size", default=None)


@contextmanager
def loss_tile_size(size: int | None) -> Iterator[None]:
    """Inside, losses look at so many rows and columns at once; None leaves it to the device."""
    token = _chosen.set(size)
    try:
        yield
    finally:
        _chosen.reset(token)


def logsumexp(
    rows: Tensor, columns: Tensor, *, row_labels: Tensor | None = None, column_labels: Tensor | None = None
) -> Tensor:
    r"""\(\log \sum_j e^{\langle x_i, y_j \rangle}\) of every row.

    Args:
        rows: `(rows, dim)`.
        columns: `(columns, dim)`.
        row_labels: `(rows,)`; columns with the label of the row are left out.
        column_labels: `(columns,)`.

    Returns:
        `(rows,)`, minus infinity where no column is left. It can be differentiated once.
    """
    return _LogSumExp.apply(rows, columns, row_labels, column_labels, False, tile_size(rows))[0]


def mutual_logsumexp(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """The log-sum-exp of every row, and that of every column, from one pass over the tiles."""
    return _LogSumExp.apply(first, second, None, None, True, tile_size(first))


def self_logsumexp(rows: Tensor) -> Tensor:
    """The log-sum-exp of every row against all others. The matrix is symmetric, so half of it is enough."""
    return _LogSumExp.apply(rows, None, torch.arange(len(rows), device=rows.device), None, True, tile_size(rows))[0]


def tile_size(rows: Tensor) -> int:
    """How many rows and columns of such a matrix are looked at at once."""
    return _chosen.get() or (CPU_TILE if rows.device.type == "cpu" else GPU_TILE)


class _LogSumExp(torch.autograd.Function):
    """Without columns, the rows are their own: then a tile off the diagonal stands for its mirror image, too."""

    @staticmethod
    def forward(
        ctx: Any,
        rows: Tensor,
        columns: Tensor | None,
        row_labels: Tensor | None,
        column_labels: Tensor | None,
        both: bool,
        tile_size: int,
    ) -> tuple[Tensor, Tensor | None]:
        ctx.tile_size, ctx.both = tile_size, both
        of_rows = torch.full_like(rows[:, 0], float("-inf"))
        of_columns = of_rows if columns is None else torch.full_like(columns[:, 0], float("-inf"))
        for i, j, tile in tiles(rows, columns, row_labels, column_labels, tile_size):
            of_rows[i] = torch.logaddexp(of_rows[i], tile.logsumexp(1))
            if both and not (columns is None and i == j):
                of_columns[j] = torch.logaddexp(of_columns[j], tile.logsumexp(0))
        ctx.save_for_backward(rows, columns, row_labels, column_labels, of_rows, of_columns)
        return of_rows, of_columns if both and columns is not None else None

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, row_pulls: Tensor, column_pulls: Tensor | None) -> tuple[Tensor | None, ...]:
        rows, columns, row_labels, column_labels, row_sums, column_sums = ctx.saved_tensors
        mirrored = columns is None
        column_pulls = row_pulls if column_pulls is None else column_pulls
        # A row that saw nothing has no share of it: e^(s - inf) is 0.
        row_sums, column_sums = (
            sums.masked_fill(sums == float("-inf"), float("inf")) for sums in (row_sums, column_sums)
        )
        row_gradient = torch.zeros_like(rows)
        column_gradient = row_gradient if mirrored else torch.zeros_like(columns)
        for i, j, tile in tiles(rows, columns, row_labels, column_labels, ctx.tile_size):
            weights = (tile - row_sums[i, None]).exp_().mul_(row_pulls[i, None])
            if ctx.both and not (mirrored and i == j):
                weights += tile.sub_(column_sums[j]).exp_().mul_(column_pulls[j])
            with full_precision(rows):
                row_gradient[i] += weights @ (rows if mirrored else columns)[j]
                column_gradient[j] += weights.T @ rows[i]
        return row_gradient, None if mirrored else column_gradient, None, None, None, None


def tiles(
    rows: Tensor, columns: Tensor | None, row_labels: Tensor | None, column_labels: Tensor | None, size: int
) -> Iterator[tuple[slice, slice, Tensor]]:
    """The tiles of the matrix, with the slices of their rows and columns; of a symmetric one the upper half."""
    mirrored = columns is None
    columns = rows if columns is None else columns
    column_labels = row_labels if mirrored else column_labels
    for top in range(0, len(rows), size):
        i = slice(top, top + size)
        for left in range(top if mirrored else 0, len(columns), size):
            j = slice(left, left + size)
            with full_precision(rows):
                tile = rows[i] @ columns[j].T
            if row_labels is not None and column_labels is not None:
                tile.masked_fill_(row_labels[i, None] == column_labels[j], float("-inf"))
            yield i, j, tile


def full_precision(rows: Tensor) -> torch.autocast:
    """Leave autocast, on the device of the rows."""
    return torch.autocast(rows.device.type, enabled=False)
