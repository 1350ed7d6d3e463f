"""Contrastive losses: rows against columns.

Embeddings are L2-normalised `(batch, dim)` tensors, scored in float32 or wider. Every loss is a mean over rows, and
`rows` picks the rows that this process scores against all columns: the mean over processes of such partial losses is
the loss of the whole batch, in value and in gradient. It is a slice, or [`TermRows`] where only some rows of the batch
are in the loss, which are then all that is given.

A row's loss is the log-sum-exp of its logits less the logit of its positive. The first is computed in tiles (see
[`logsumexp`]), the second is one inner product, with the mean of the positives where there are several: no logits
of the whole batch are ever held.
"""

import torch
from torch import Tensor

from .logsumexp import logsumexp, mutual_logsumexp, self_logsumexp
from .rows import Rows, TermRows, mean_of_rows, of_process, places


def wide(embeds: Tensor) -> Tensor:
    return embeds if embeds.dtype in (torch.float32, torch.float64) else embeds.float()


def one_way_info_nce(
    anchors: Tensor,
    columns: Tensor,
    scale: Tensor | float,
    *,
    rows: Rows = None,
    ids: Tensor | None = None,
) -> Tensor:
    """InfoNCE of anchors against columns, row i of the one being the positive of row i of the other.

    Args:
        anchors: `(batch, dim)`.
        columns: `(batch, dim)`.
        scale: The inverse temperature.
        rows: The anchors to score, all by default.
        ids: `(batch,)`; rows with the same id are positives of each other and share the target evenly.

    Returns:
        Scalar mean over the anchors.

    Source: van den Oord et al. 2018, equation 4.
    """
    anchors, columns = scale * wide(anchors), wide(columns)
    sums = logsumexp(of_process(anchors, rows), columns)
    return mean_of_rows(sums - of_process(positives_of(anchors, columns, ids), rows), rows)


def symmetric_info_nce(
    first: Tensor,
    second: Tensor,
    scale: Tensor | float,
    *,
    rows: Rows = None,
    ids: Tensor | None = None,
) -> Tensor:
    """InfoNCE in both directions between two modalities, as CLIP trains (Radford et al. 2021).

    Arguments as in [`one_way_info_nce`]; symmetric in the first two.

    Returns:
        Scalar mean over rows and directions.
    """
    if places(rows, len(first), first.device) is not None:
        forward = one_way_info_nce(first, second, scale, rows=rows, ids=ids)
        return (forward + one_way_info_nce(second, first, scale, rows=rows, ids=ids)) / 2
    first, second = scale * wide(first), wide(second)
    sums = torch.stack(mutual_logsumexp(first, second))
    # The mean logit of the positives is the same from either side.
    if rows is None:
        return sums.mean() - positives_of(first, second, ids).mean()
    return mean_of_rows(sums.mean(dim=0) - positives_of(first, second, ids), rows)


def nt_xent(
    first: Tensor,
    second: Tensor,
    scale: Tensor | float,
    *,
    rows: Rows = None,
    ids: Tensor | None = None,
) -> Tensor:
    """NT-Xent: each of 2 x batch embeddings against the 2 x batch - 1 others (Chen et al. 2020, equation 1).

    It is symmetric in its two arguments. Arguments as in [`one_way_info_nce`]; with `ids`, every other embedding
    of the same id is a positive.

    Returns:
        Scalar mean over rows and views.
    """
    first, second = (scale**0.5 * wide(embeds) for embeds in (first, second))
    both = torch.cat([first, second])
    own = places(rows, len(first), both.device)
    if own is None:
        sums = self_logsumexp(both)
    else:
        own = torch.cat([own, own + len(first)])
        sums = logsumexp(both[own], both, row_labels=own, column_labels=torch.arange(len(both), device=both.device))
    if ids is None:
        positive = (first * second).sum(dim=1)
        if isinstance(rows, TermRows):
            return mean_of_rows(sums.unflatten(0, (2, -1)).mean(dim=0) - of_process(positive, rows), rows)
        return sums.mean() - of_process(positive, rows).mean()
    positive = positives_of(both, both, torch.cat([ids, ids]), but_itself=True)
    losses = sums - (positive if own is None else positive[own])
    if isinstance(rows, TermRows):
        losses = losses.unflatten(0, (2, -1)).mean(dim=0)
    return mean_of_rows(losses, rows)


def positives_of(anchors: Tensor, columns: Tensor, ids: Tensor | None, but_itself: bool = False) -> Tensor:
    """`(batch,)`: the logit of the positive of every anchor, or the mean of the logits where it has several."""
    if ids is None:
        return (anchors * columns).sum(dim=1)
    group = groups_of(ids)
    sums = torch.zeros_like(columns).index_add(0, group, columns)[group]
    counts = sizes_of(group)
    if but_itself:
        sums, counts = sums - columns, counts - 1
    return (anchors * sums).sum(dim=1) / counts


def groups_of(ids: Tensor) -> Tensor:
    """`(batch,)`: equal numbers from 0 to batch - 1 where the ids are equal. `unique` would wait for the device."""
    ordered, order = ids.sort()
    new = torch.cat([torch.zeros_like(ordered[:1]), (ordered[1:] != ordered[:-1]).to(ordered.dtype)])
    return torch.empty_like(order).scatter_(0, order, new.cumsum(0))


def sizes_of(group: Tensor) -> Tensor:
    """`(batch,)`: how many rows are in the group of each. `bincount` would wait for the device."""
    return torch.zeros_like(group).index_add(0, group, torch.ones_like(group))[group]
