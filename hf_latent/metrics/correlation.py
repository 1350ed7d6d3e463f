"""Rank correlations of measurements over runs."""

import math

import numpy as np
from numpy.typing import ArrayLike


def rank_correlation(x: ArrayLike, y: ArrayLike) -> float:
    """Spearman's rho of two lists of numbers; NaN where one of them does not vary.

    Raises:
        ValueError: fewer than three numbers, lists of other lengths, or a number that is not finite.
    """
    ranks = [_ranks(values) for values in (x, y)]
    if len(ranks[0]) != len(ranks[1]) or len(ranks[0]) < 3:
        raise ValueError(f"Give three numbers or more, as many of both; got {len(ranks[0])} and {len(ranks[1])}.")
    a, b = (own - own.mean() for own in ranks)
    norm = math.sqrt(float(a @ a) * float(b @ b))
    return float(a @ b) / norm if norm else math.nan


def partial_rank_correlation(x: ArrayLike, y: ArrayLike, given: ArrayLike) -> float:
    r"""The rank correlation of x and y with a third variable held constant:
    \((\rho_{xy} - \rho_{xz} \rho_{yz}) / \sqrt{(1 - \rho_{xz}^2)(1 - \rho_{yz}^2)}\).

    NaN where one of them does not vary, or follows from the third. Errors as `rank_correlation`.
    """
    xy, xz, yz = rank_correlation(x, y), rank_correlation(x, given), rank_correlation(y, given)
    left = (1 - xz**2) * (1 - yz**2)
    return (xy - xz * yz) / math.sqrt(left) if left > 1e-12 else math.nan


def _ranks(values: ArrayLike) -> np.ndarray:
    """Ranks from 0; equal numbers share the mean of theirs."""
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.ndim != 1 or not np.isfinite(numbers).all():
        raise ValueError("Give a list of finite numbers.")
    _, place, counts = np.unique(numbers, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts + 1) / 2)[place]
