"""What the metrics take and how they go through it: checked arrays, unit rows, blocks of rows.

Everything is computed in float64 on the CPU: a metric is read to the last digit, and is cheap beside the embedding.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from torch import Tensor

TIE = 1e-12
"""Similarities of unit vectors this near are equal: the order of a sum moves them by less, a float32 input by more."""


def matrix(values: ArrayLike | Tensor, name: str, *, min_rows: int = 1) -> Tensor:
    """(N, D) floats, checked, as float64 on the CPU, not to be written to; `name` is what errors call them.

    Raises:
        ValueError: not (N, D) with D >= 1, fewer than `min_rows` rows, NaN or infinite values.
    """
    if isinstance(values, Tensor):
        x = values.detach().cpu().double()  # MPS, which has no float64, could not do it before the copy
    else:
        x = torch.tensor(np.asarray(values, dtype=np.float64))
    if x.ndim != 2 or not x.shape[1]:
        raise ValueError(f"The {name} must be (N, D), one vector a row; got {tuple(x.shape)}.")
    if len(x) < min_rows:
        raise ValueError(f"There are {len(x)} rows of {name}; this needs at least {min_rows}.")
    if len(bad := (~x.isfinite().all(1)).nonzero()):
        raise ValueError(f"The {name} are NaN or infinite in {len(bad)} row(s), first in row {int(bad[0])}.")
    return x


def integers(values: ArrayLike | Tensor, name: str, rows: int) -> Tensor:
    """(rows,) integers, checked, as int64 on the CPU.

    Raises:
        ValueError: not one integer for each row.
    """
    ids = np.asarray(values.detach().cpu() if isinstance(values, Tensor) else values)
    if ids.shape != (rows,):
        raise ValueError(f"The {name} must be ({rows},), one for each row; got {ids.shape}.")
    if ids.dtype.kind not in "iub":
        raise ValueError(f"The {name} must be integers; got {ids.dtype}.")
    return torch.tensor(ids.astype(np.int64))


def unit_rows(x: Tensor) -> Tensor:
    """(N, D) rows scaled to length one; a row of zeros stays zero."""
    return F.normalize(x, dim=1)


def blocks(rows: int, chunk_size: int) -> Iterator[slice]:
    """Slices of at most `chunk_size` rows that cover all of them, in order."""
    if chunk_size < 1:
        raise ValueError(f"chunk_size={chunk_size}: write 1 or more.")
    return (slice(start, min(start + chunk_size, rows)) for start in range(0, rows, chunk_size))


def cutoffs(k: Sequence[int]) -> list[int]:
    """The values of k of a top-k metric, each at least 1."""
    if bad := [value for value in k if value < 1]:
        raise ValueError(f"k={bad[0]}: each k must be 1 or more.")
    return list(k)
