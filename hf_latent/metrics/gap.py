"""More measures of the gap between two modalities, and of what it does to nearest neighbours.

Rows are normalised to length one first, unless it says otherwise; row i of both modalities is of one sample.
"""

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from .arrays import TIE, blocks, matrix, unit_rows

LEAST = 1e-3  # of the distance of pairs, where they coincide
RANK_ME_EPSILON = 1e-7


def relative_gap(first: ArrayLike | Tensor, second: ArrayLike | Tensor) -> float:
    r"""The distance of pairs beside that of unrelated rows of one modality: the relative modality gap.

    \[ \frac{m}{m + (u_a + u_b) / 2} \]

    where m is the mean of \((1 - \cos) / 2\) over the pairs, at least 0.001, and \(u\) that over different rows of a
    modality. 0 where pairs coincide, 1/2 where they are as far apart as unrelated rows of one modality.

    Args:
        first, second: (N, D) floats, N of 2 or more.

    Source: Schrodi, Hoffmann, Argus, Fischer and Brox, "Two Effects, One Trigger", ICLR 2025.
    """
    a, b = _pair(first, second)
    pairs = max((1 - float((a * b).sum(1).mean())) / 2, LEAST)
    within = (_unrelated(a) + _unrelated(b)) / 2
    return pairs / (pairs + within)


def _unrelated(x: Tensor) -> float:
    """The mean of (1 - cosine) / 2 over different rows."""
    cosines = (x.sum(0).square().sum() - x.square().sum()) / (len(x) * (len(x) - 1))
    return (1 - float(cosines)) / 2


def gap_split(first: ArrayLike | Tensor, second: ArrayLike | Tensor) -> dict[str, float]:
    r"""The mean squared distance of pairs, which is that of the means and that around the means, exactly.

    Returns:
        `gap_of_means`, \(\lVert \bar a - \bar b \rVert^2\), which a shift would take away, and `gap_around_means`,
        \(\frac1N \sum_i \lVert (a_i - \bar a) - (b_i - \bar b) \rVert^2\), which it would not.
    """
    a, b = _pair(first, second)
    difference = a - b
    mean = difference.mean(0)
    return {
        "gap_of_means": float(mean.square().sum()),
        "gap_around_means": float((difference - mean).square().sum(1).mean()),
    }


def hubness(queries: ArrayLike | Tensor, candidates: ArrayLike | Tensor, k: int = 10, chunk_size: int = 1024) -> float:
    r"""The skewness over candidates of how many queries have each among their nearest k, by cosine.

    \[ \frac{\mathrm{E} (N_k - \mu)^3}{\sigma^3} \]

    0 where all are as common, large where few candidates, the hubs, are near to everything. Those that tie for the
    last places share them. 0 where all counts are equal.

    Args:
        queries: (N, D) floats.
        candidates: (M, D) floats.
        k: At most M.
        chunk_size: Queries that are compared with all candidates at once.

    Source: Radovanovic, Nanopoulos and Ivanovic, "Hubs in Space", JMLR 2010.
    """
    x, y = unit_rows(matrix(queries, "queries")), unit_rows(matrix(candidates, "candidates"))
    if not 1 <= k <= len(y):
        raise ValueError(f"k={k}: write a number from 1 to {len(y)}, of the candidates")
    counts = torch.zeros(len(y), dtype=torch.float64)
    for rows in blocks(len(x), chunk_size):
        scores = x[rows] @ y.T
        last = scores.topk(k, dim=1).values[:, -1:]
        nearer, tied = scores > last + TIE, (scores - last).abs() <= TIE
        share = (k - nearer.sum(1, keepdim=True)) / tied.sum(1, keepdim=True)
        counts += (nearer + tied * share).sum(0)
    deviation = float(counts.std(correction=0))
    if deviation <= TIE * len(x):
        return 0.0
    return float(((counts - counts.mean()) / deviation).pow(3).mean())


def rank_me(features: ArrayLike | Tensor) -> float:
    r"""How many directions rows use: \(e^{-\sum_k p_k \log p_k}\), \(p_k = \sigma_k / \sum \sigma + 10^{-7}\).

    \(\sigma\) are the singular values of the rows as they are, neither centred nor normalised: where
    [`effective_rank`] is of centred rows by default.

    Args:
        features: (N, D) floats, N of 2 or more.

    Source: Garrido, Balestriero, Najman and LeCun, "RankMe", ICML 2023, equation 1.
    """
    sigma = torch.linalg.svdvals(matrix(features, "features", min_rows=2))
    shares = sigma / sigma.sum().clamp(min=torch.finfo(sigma.dtype).tiny) + RANK_ME_EPSILON
    return float(np.exp(-float((shares * shares.log()).sum())))


def _pair(first: ArrayLike | Tensor, second: ArrayLike | Tensor) -> tuple[Tensor, Tensor]:
    a, b = matrix(first, "first modality", min_rows=2), matrix(second, "second modality", min_rows=2)
    if a.shape != b.shape:
        raise ValueError(
            f"The modalities must have the same rows in one space; got {tuple(a.shape)}, {tuple(b.shape)}."
        )
    return unit_rows(a), unit_rows(b)
