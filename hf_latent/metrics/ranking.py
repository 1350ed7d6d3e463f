"""How good an order is: normalised discounted cumulative gain of queries, and average precision of one class.

Among equal scores wrong candidates come first, as in `ranks`: constant scores gain nothing.
"""

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from .arrays import TIE

ELEVEN = np.linspace(0, 1, 11)
"""The levels of recall of PASCAL VOC 2007."""


def ndcg(scores: Tensor, right: Tensor, k: int) -> NDArray[np.float64]:
    r"""Normalised discounted cumulative gain at k: what the nearest k gain, of what the best order of all would.

    \[ nDCG_q = \sum_{i \le k} \frac{r_i}{\log_2 (i + 1)} \Big/ \sum_{i \le \min(k, m)} \frac{1}{\log_2 (i + 1)} \]

    where \(r_i\) says whether the candidate at place i is right, and m is how many are.

    Args:
        scores: (Q, N) floats; the higher, the nearer.
        right: (Q, N) bool.
        k: Places that count, 1 or more.

    Returns:
        (Q,) from 0 to 1; 0 of a query without a right candidate.

    Source: Jarvelin and Kekalainen, "Cumulated gain-based evaluation of IR techniques", TOIS 2002, of gains 0 and 1.
    """
    order = _order(scores.double(), right)[:, :k]
    found = right.gather(1, order).double().numpy()
    discount = 1 / np.log2(np.arange(found.shape[1]) + 2)
    best = np.concatenate([[0.0], discount.cumsum()])[right.sum(1).clamp(max=len(discount)).numpy()]
    return np.divide(found @ discount, best, out=np.zeros(len(found)), where=best > 0)


def ndcg_chance(right: ArrayLike, candidates: int, k: int) -> float:
    """Percent of `ndcg` of a random order, the mean over queries.

    Args:
        right: (Q,) integers of 1 or more, how many of the N candidates are right for each query.
        candidates: N.
        k: As of `ndcg`.
    """
    counts = np.asarray(right)
    discount = 1 / np.log2(np.arange(min(k, candidates)) + 2)
    best = discount.cumsum()[np.minimum(counts, len(discount)) - 1]
    return 100 * float(np.mean(counts / candidates * discount.sum() / best))


def average_precision(scores: ArrayLike, truth: ArrayLike, *, eleven_points: bool = False) -> float:
    """The mean of the precision at each row that is of a class, by falling scores; or, as PASCAL VOC 2007 has it, the
    mean over eleven levels of recall of the best precision at that recall or above.

    Args:
        scores: (N,) floats.
        truth: (N,) bool.
        eleven_points: The second of the two.

    Returns:
        0 to 1; NaN where no row is of the class.

    Source: Everingham et al., "The PASCAL Visual Object Classes Challenge", IJCV 2010, section 4.2.
    """
    right = torch.as_tensor(np.asarray(truth, dtype=bool))[None]
    if not right.any():
        return float("nan")
    order = _order(torch.as_tensor(np.asarray(scores, dtype=np.float64))[None], right)[0]
    places = 1 + np.flatnonzero(right[0, order].numpy())
    precision = np.arange(1, len(places) + 1) / places
    if not eleven_points:
        return float(precision.mean())
    recall = np.arange(1, len(places) + 1) / len(places)
    return float(np.mean([precision[recall >= level - TIE].max() for level in ELEVEN]))


def _order(scores: Tensor, right: Tensor) -> Tensor:
    """(Q, N) places of candidates by falling scores."""
    wrong_first = right.long().argsort(dim=1, stable=True)
    tied = (scores - TIE * right).gather(1, wrong_first)
    return wrong_first.gather(1, tied.argsort(dim=1, descending=True, stable=True))
