"""Contrast of tuples by the multilinear inner product of their vectors."""

from collections.abc import Sequence
from functools import reduce
from operator import mul

import torch
from torch import Tensor

from .contrastive import groups_of, sizes_of, wide
from .cross_entropy import cross_entropies
from .logsumexp import logsumexp
from .rows import Rows, mean_of_rows, of_process


def multilinear_info_nce(
    anchors: Tensor,
    others: Sequence[Tensor],
    scale: Tensor | float,
    *,
    every: bool = False,
    rows: Rows = None,
    ids: Tensor | None = None,
) -> Tensor:
    r"""InfoNCE of anchors against tuples of the other modalities, of the score \(\sum_k a_k \prod_m z^m_k\).

    Args:
        anchors: `(batch, dim)`, L2-normalised.
        others: The same of each of the other modalities; the tuple of row i is a positive of anchor i.
        scale: The inverse temperature.
        every: Contrast with all batch^(modalities - 1) tuples. Otherwise with batch - 1: tuple k is of row k + p of
            the p-th of the others (of row k of a single one), counted round the batch; anchor i has its positive in
            place of tuple i.
        rows: The anchors to score, all by default.
        ids: `(batch,)`; a tuple all of whose rows have the id of the anchor is a positive of it, and the positives
            share the target evenly.

    Returns:
        Scalar, in float32 or wider. It can be differentiated once.

    Source: Saporta et al., "Contrasting with Symile", NeurIPS 2024.
    """
    anchors, others = scale * wide(anchors), tuple(map(wide, others))
    index = torch.arange(len(anchors), device=anchors.device)
    group = index if ids is None else groups_of(ids)
    losses = _of_all_tuples if every else _of_rolled_tuples
    return mean_of_rows(losses(anchors, others, of_process(index, rows), group), rows)


def _of_rolled_tuples(anchors: Tensor, others: tuple[Tensor, ...], own: Tensor, group: Tensor) -> Tensor:
    index = torch.arange(len(anchors), device=anchors.device)
    shifts = range(1, 1 + len(others)) if len(others) > 1 else [0]
    columns = _product([other.roll(-shift, 0) for shift, other in zip(shifts, others, strict=True)])
    positive = (anchors * _product(others)).sum(dim=1)
    sums = logsumexp(anchors[own], columns, row_labels=own, column_labels=index)
    sums = torch.logaddexp(sums, positive[own])
    # A rolled tuple may be of one id throughout: then it is a positive of the anchors of that id.
    rolled = torch.stack([group.roll(-shift) for shift in shifts])
    valid = (rolled == rolled[0]).all(dim=0).to(columns)
    totals, counts = (
        torch.zeros_like(part).index_add(0, rolled[0], part)[group] for part in (columns * valid[:, None], valid)
    )
    itself = valid * (rolled[0] == group)  # where its positive stands instead
    more = (anchors * (totals - columns * itself[:, None])).sum(dim=1)
    return sums - ((positive + more) / (1 + counts - itself))[own]


def _of_all_tuples(anchors: Tensor, others: tuple[Tensor, ...], own: Tensor, group: Tensor) -> Tensor:
    total = len(group)
    counts = sizes_of(group).to(anchors)

    def members(j: slice) -> list[Tensor]:
        """The row of each of the others in some of the tuples."""
        tuples = torch.arange(j.start, j.stop, device=group.device)
        return [tuples // total**p % total for p in range(len(others))]

    def tile(i: slice, j: slice, anchors: Tensor, *others: Tensor) -> Tensor:
        return anchors[i] @ _product([other[place] for other, place in zip(others, members(j), strict=True)]).T

    def targets(i: slice, j: slice) -> Tensor:
        right = torch.stack([group[own[i], None] == group[place] for place in members(j)]).all(dim=0)
        return right / counts[own[i], None] ** len(others)

    shape = (len(own), total ** len(others))
    return cross_entropies(tile, targets, shape, (anchors[own], *others))[0]


def _product(tensors: Sequence[Tensor]) -> Tensor:
    return reduce(mul, tensors)
