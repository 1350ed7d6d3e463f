"""Chance levels: what the best constant answer reaches on the rows that were measured.

None is written down anywhere: a data set of two classes, one of which has 80 % of the rows, has an accuracy by chance
of 80 %.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

MEETING = 3  # annotators whose answer is right for sure
ROUNDING = 1e-9  # percent, of products of many factors


def top_k_chance(labels: ArrayLike, k: int = 1) -> float:
    """Percent of rows whose class is among the `k` commonest; labels (N,) integers of 0 or more, N >= 1."""
    shares = _shares(labels)
    return 100 * float(np.sort(shares)[::-1][:k].sum())


def row_scores(predicted: ArrayLike | Tensor, labels: ArrayLike | Tensor) -> np.ndarray:
    """How right each given answer is, from 0 to 1.

    Of one right answer a row, 1 where it is given. Of the answers of several annotators, the soft score of VQA v2: the
    mean over annotators of `min(1, m / 3)`, where m of the others gave this answer. With n < 4 annotators it takes
    n - 1 of them in place of 3, and one alone has to be met.

    Args:
        predicted: (N,) integers, the answer that is given for each row; one of no list, such as -1, is wrong.
        labels: (N,) integers, or (N, annotators), -1 where an annotator gave no answer of the list, or there is none.

    Returns:
        (N,) float64.

    Source: Antol et al., "VQA: Visual Question Answering", ICCV 2015, section 3; Goyal et al., CVPR 2017, leave one
    annotator out.
    """
    right, given = np.asarray(labels), np.asarray(predicted)
    if right.ndim == 1:
        return ((right == given) & (right >= 0)).astype(np.float64)
    met = ((right == given[:, None]) & (right >= 0)).sum(1)
    return _soft(met, (right >= 0).sum(1))


def answer_chance(labels: ArrayLike) -> float:
    """Percent of `row_scores` of the one answer that is best for all rows; labels (N,) or (N, annotators)."""
    right = np.asarray(labels)
    listed = right.reshape(len(right), -1)
    rows, places = np.nonzero(listed >= 0)
    pairs, met = np.unique(np.stack([rows, listed[rows, places]]), axis=1, return_counts=True)
    scores = np.ones(len(met)) if right.ndim == 1 else _soft(met, (listed >= 0).sum(1)[pairs[0]])
    return 100 * float(np.bincount(pairs[1], weights=scores).max(initial=0.0)) / len(right)


def _soft(met: NDArray[np.int64], asked: NDArray[np.int64]) -> np.ndarray:
    """The soft score of an answer that `met` of the `asked` annotators gave."""
    others = np.clip(asked - 1, 1, MEETING)
    # For those who gave it themselves, one other less gave it.
    total = met * np.minimum(1, (met - 1) / others) + (asked - met) * np.minimum(1, met / others)
    scores = total / np.maximum(asked, 1)
    return np.where(met == 0, 0.0, np.where(asked == 1, 1.0, scores))


def balanced_chance(labels: ArrayLike) -> float:
    """Percent of balanced accuracy: 100 / the number of classes that there are among labels (N,)."""
    return 100 / len(np.unique(np.asarray(labels)))


def recall_chance(right: ArrayLike, candidates: int, k: int) -> float:
    """Percent of queries with a right candidate among `k` drawn at random: the mean of `1 - C(N-m, k) / C(N, k)`.

    Args:
        right: (Q,) integers, how many of the N candidates are right for each query.
        candidates: N.
        k: At most N.
    """
    counts, queries = np.unique(np.asarray(right), return_counts=True)
    missed = [_none_of(int(m), candidates, k) for m in counts]
    return 100 * float(1 - np.average(missed, weights=queries))


def median_rank_chance(right: ArrayLike, candidates: int) -> int:
    """The smallest rank r for which `recall_chance(right, candidates, r)` is at least one half."""
    low, high = 1, candidates
    while low < high:
        middle = (low + high) // 2
        reached = recall_chance(right, candidates, middle) >= 50 - ROUNDING
        low, high = (low, middle) if reached else (middle + 1, high)
    return low


def macro_f1_chance(truth: ArrayLike) -> float:
    """Percent: the mean over classes of `2 p / (1 + p)`, that of saying yes to all; truth (N, C) bool."""
    return 100 * float(np.mean(_f1_of_all(truth)))


def weighted_f1_chance(truth: ArrayLike) -> float:
    """Percent: the same, each class weighted by its rows. 0 where no row has any."""
    shares = np.asarray(truth, dtype=bool).mean(0)
    return 100 * float(np.average(_f1_of_all(truth), weights=shares)) if shares.any() else 0.0


def micro_f1_chance(truth: ArrayLike) -> float:
    """Percent: the largest over j of `2 sum(top-j p) / (j + sum p)`, that of saying yes to the j commonest classes."""
    shares = np.sort(np.asarray(truth, dtype=bool).mean(0))[::-1]
    said = np.arange(1, len(shares) + 1)
    return 100 * float(np.max(2 * shares.cumsum() / (said + shares.sum())))


def mean_precision_chance(truth: ArrayLike) -> float:
    """Percent: the mean share of rows, over the classes that a row has; truth (N, C) bool. NaN where there is none."""
    shares = np.asarray(truth, dtype=bool).mean(0)
    return 100 * float(shares[shares > 0].mean()) if shares.any() else float("nan")


def squared_error_chance(truth: ArrayLike) -> float:
    """The mean squared error of the mean; truth (N,) floats."""
    return float(np.var(np.asarray(truth, dtype=np.float64)))


def absolute_error_chance(truth: ArrayLike) -> float:
    """The mean absolute error of the median; truth (N,) floats."""
    values = np.asarray(truth, dtype=np.float64)
    return float(np.abs(values - np.median(values)).mean())


def neighbours_chance(rows: int, k: int) -> float:
    """The share of k nearest neighbours that two unrelated spaces agree on: k / (N - 1)."""
    return k / (rows - 1)


def _shares(labels: ArrayLike) -> NDArray[np.float64]:
    counts = np.bincount(np.asarray(labels, dtype=np.int64))
    return counts / counts.sum()


def _f1_of_all(truth: ArrayLike) -> NDArray[np.float64]:
    shares = np.asarray(truth, dtype=bool).mean(0)
    return 2 * shares / (1 + shares)


def _none_of(right: int, candidates: int, k: int) -> float:
    """`C(N-m, k) / C(N, k)`."""
    drawn = np.arange(k)
    return float(np.prod(np.maximum(candidates - right - drawn, 0) / (candidates - drawn)))
