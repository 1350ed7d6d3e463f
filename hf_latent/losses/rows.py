"""Which rows of a batch a loss is the mean over, and which of these a process scores itself."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class TermRows:
    """The rows that a process scores, where a term is the mean over some rows of a batch only.

    Attributes:
        index: `(own,)` int64, their places among the rows of the term; None for all of these.
        weight: Scalar, processes / rows of the term. The mean over the processes of `weight` times the sum over the
            own rows is the mean over all rows of the term, however these are spread over the processes; a mean of
            own means is not. 0 where the term has no row.
    """

    index: Tensor | None
    weight: Tensor

    @classmethod
    def of(cls, there: Tensor, rows: slice | None = None) -> "TermRows":
        """
        Args:
            there: `(batch,)` bool, the rows of the term.
            rows: Those of the batch that this process scores, as many on each process; all by default.
        """
        count = there.sum()
        processes = 1 if rows is None else len(there) // len(there[rows])
        weight = (count > 0) * processes / count.clamp(min=1).double()
        if rows is None:
            return cls(None, weight)
        return cls((there.cumsum(0) - 1)[rows][there[rows]], weight)


Rows = slice | TermRows | None
"""The rows that a process scores; None for all of the batch."""


def of_process(values: Tensor, rows: Rows) -> Tensor:
    """The values of the rows that a process scores, from those of all rows, `(rows, ...)`."""
    index = rows.index if isinstance(rows, TermRows) else rows
    return values if index is None else values[index]


def places(rows: Rows, total: int, device: torch.device) -> Tensor | None:
    """`(own,)` int64, the places of the rows that a process scores; None for all."""
    if rows is None or (isinstance(rows, TermRows) and rows.index is None):
        return None
    return of_process(torch.arange(total, device=device), rows)


def mean_of_rows(losses: Tensor, rows: Rows) -> Tensor:
    """The mean over rows of the losses `(own,)` of the rows that a process scores; the mean over the processes is that
    of all rows."""
    return losses.sum() * rows.weight.to(losses) if isinstance(rows, TermRows) else losses.mean()
