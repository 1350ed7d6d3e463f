"""Contrastive losses: rows against columns.

Embeddings are L2-normalised `(batch, dim)` tensors, scored in float32 or wider. Every loss is a mean over rows, and
`rows` picks the rows that this process scores against all columns: the mean over processes of such partial losses is
the loss of the whole batch, in value and in gradient.

Large batches are scored in tiles of rows, whose logits are made again in the backward pass: memory does not grow with
the square of the batch. `tile_size` is the number of rows in a tile; by default as many as `TILE` logits hold.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

TILE = 2**24
"""Logits that are held at once by default, 64 MiB in float32."""


def wide(embeds: Tensor) -> Tensor:
    return embeds if embeds.dtype in (torch.float32, torch.float64) else embeds.float()


def _logits(anchors: Tensor, columns: Tensor, scale: Tensor | float) -> Tensor:
    with torch.autocast(anchors.device.type, enabled=False):
        return scale * anchors @ columns.T


def _selected(total: int, rows: slice | None, device: torch.device) -> Tensor:
    index = torch.arange(total, device=device)
    return index if rows is None else index[rows]


def info_nce(logits: Tensor, positives: Tensor) -> Tensor:
    """Cross entropy of rows of logits against their positive columns (van den Oord et al. 2018, equation 4).

    Args:
        logits: `(rows, columns)`, scaled; minus infinity excludes a column.
        positives: `(rows,)` int64, the positive column of each row, or `(rows, columns)` bool, where several positives
            share the target evenly.

    Returns:
        Scalar mean over the rows.
    """
    if positives.dtype == torch.bool:
        log_probability = logits.log_softmax(dim=1).masked_fill(~positives, 0.0)
        return -(log_probability.sum(dim=1) / positives.sum(dim=1)).mean()
    return F.cross_entropy(logits, positives)


def tiled_mean(loss: Callable[[Tensor], Tensor], rows: Tensor, columns: int, tile_size: int | None = None) -> Tensor:
    """The mean over rows of a loss, tile by tile.

    Args:
        loss: Gives the mean over the rows whose numbers it is given.
        rows: `(rows,)` int64.
        columns: How many logits it makes of a row.
        tile_size: Rows in a tile.
    """
    size = tile_size or max(1, TILE // columns)
    if len(rows) <= size:
        return loss(rows)
    parts = [checkpoint(loss, part, use_reentrant=False) * (len(part) / len(rows)) for part in rows.split(size)]
    return torch.stack(parts).sum()


def one_way_info_nce(
    anchors: Tensor,
    columns: Tensor,
    scale: Tensor | float,
    *,
    rows: slice | None = None,
    ids: Tensor | None = None,
    tile_size: int | None = None,
) -> Tensor:
    """InfoNCE of anchors against columns, row i of the one being the positive of row i of the other.

    Args:
        anchors: `(batch, dim)`.
        columns: `(batch, dim)`.
        scale: The inverse temperature.
        rows: The anchors to score, all by default.
        ids: `(batch,)`; rows with the same id are positives of each other.
        tile_size: Anchors that are scored at once.

    Returns:
        Scalar mean over the anchors.
    """
    anchors, columns = wide(anchors), wide(columns)

    def loss(own: Tensor) -> Tensor:
        positives = own if ids is None else ids[own, None] == ids
        return info_nce(_logits(anchors[own], columns, scale), positives)

    return tiled_mean(loss, _selected(len(anchors), rows, anchors.device), len(columns), tile_size)


def symmetric_info_nce(
    first: Tensor,
    second: Tensor,
    scale: Tensor | float,
    *,
    rows: slice | None = None,
    ids: Tensor | None = None,
    tile_size: int | None = None,
) -> Tensor:
    """InfoNCE in both directions between two modalities, as CLIP trains (Radford et al. 2021).

    Arguments as in [`one_way_info_nce`]; symmetric in the first two.

    Returns:
        Scalar mean over rows and directions.
    """
    forward = one_way_info_nce(first, second, scale, rows=rows, ids=ids, tile_size=tile_size)
    backward = one_way_info_nce(second, first, scale, rows=rows, ids=ids, tile_size=tile_size)
    return (forward + backward) / 2


def nt_xent(
    first: Tensor,
    second: Tensor,
    scale: Tensor | float,
    *,
    rows: slice | None = None,
    ids: Tensor | None = None,
    tile_size: int | None = None,
) -> Tensor:
    """NT-Xent: each of 2 x batch embeddings against the 2 x batch - 1 others (Chen et al. 2020, equation 1).

    It is symmetric in its two arguments. Arguments as in [`one_way_info_nce`]; with `ids`, every other embedding
    of the same id is a positive.

    Returns:
        Scalar mean over rows and views.
    """
    columns = wide(torch.cat([first, second]))
    batch = len(first)
    everything = torch.arange(2 * batch, device=columns.device)
    twice = None if ids is None else torch.cat([ids, ids])

    def loss(own: Tensor) -> Tensor:
        itself = own[:, None] == everything
        logits = _logits(columns[own], columns, scale).masked_fill(itself, float("-inf"))
        if twice is None:
            return info_nce(logits, (own + batch) % (2 * batch))
        return info_nce(logits, (twice[own, None] == twice) & ~itself)

    own = _selected(batch, rows, columns.device)
    return tiled_mean(loss, torch.cat([own, own + batch]), 2 * batch, tile_size)
