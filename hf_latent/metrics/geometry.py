"""The shape of a latent space: how far apart modalities lie, how spread each is, how alike their structures are.

Notation: a_i, b_i are the rows of two modalities, (N, D) each, row i of both from the same sample.

* Between modalities in one space: `modality_gap`, `alignment`. Both normalise rows to length one.
* Of one modality: `uniformity` (normalises), `effective_rank`.
* Between modalities, also of different widths: `cka`, and the neighbour metrics `mutual_knn`, `cycle_knn`, `lcs_knn`
  and `cknna`. They take rows as they are; neighbours are the k largest inner products <a_i, a_j>, j != i, so
  normalise first where cosine is meant.
* `geometry` reports them together, all on normalised rows.

Ties carry no evidence. Captions repeat, encoders collapse; ordered by row number, equal rows would share neighbours
in any two modalities. `mutual_knn` and `cknna` therefore share the last places among all rows that tie for them;
`cycle_knn` and `lcs_knn` order ties by row number in the first modality and against it in the second. A metric of a
modality with itself is then below its maximum where rows tie.
"""

from collections.abc import Callable, Mapping
from itertools import combinations
from math import log

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from .arrays import TIE, blocks, matrix, unit_rows

KERNELS = ("linear", "rbf")


def geometry(
    embeddings: Mapping[str, ArrayLike | Tensor], *, k: int = 10, t: float = 2.0, chunk_size: int = 1024
) -> dict[str, float]:
    """Every measure of two or more modalities that share a latent space. Rows are normalised first.

    Pair measures are means over the unordered pairs of modalities.

    Args:
        embeddings: modality -> (N, D) floats, row i of each from the same sample; N >= 4 and N > k.
        k: neighbours of `mutual_knn`.
        t: sharpness of `uniformity`.
        chunk_size: rows compared with all N at once; memory is chunk_size x N, never N x N.

    Returns:
        `gap_centroid`, `gap_paired`, `paired_cosine` (`modality_gap`); `alignment`; `uniformity_<modality>` and
        `effective_rank_<modality>` (centred) for each; `cka` and `cka_unbiased` (linear); `mutual_knn` (0..1).

    Raises:
        ValueError: fewer than two modalities, different shapes, too few rows, k >= N, NaN or infinite values.
    """
    if len(embeddings) < 2:
        raise ValueError(f"Give two or more modalities; got {list(embeddings) or 'none'}.")
    z = {name: unit_rows(matrix(x, f"{name} embeddings", min_rows=4)) for name, x in embeddings.items()}
    if len({x.shape for x in z.values()}) > 1:
        shapes = ", ".join(f"{name} {tuple(x.shape)}" for name, x in z.items())
        raise ValueError(f"The modalities must have the same rows in one space; got {shapes}.")

    def measure(a: Tensor, b: Tensor) -> dict[str, float]:
        gap = modality_gap(a, b)
        return {
            "gap_centroid": gap["centroid_distance"],
            "gap_paired": gap["paired_distance"],
            "paired_cosine": gap["paired_cosine"],
            "alignment": alignment(a, b),
            "cka": cka(a, b),
            "cka_unbiased": cka(a, b, unbiased=True),
            "mutual_knn": mutual_knn(a, b, k, chunk_size=chunk_size),
        }

    pairs = [measure(a, b) for a, b in combinations(z.values(), 2)]
    scores = {name: sum(pair[name] for pair in pairs) / len(pairs) for name in pairs[0]}
    scores |= {f"uniformity_{name}": uniformity(x, t, chunk_size=chunk_size) for name, x in z.items()}
    scores |= {f"effective_rank_{name}": effective_rank(x) for name, x in z.items()}
    return scores


def modality_gap(first: ArrayLike | Tensor, second: ArrayLike | Tensor) -> dict[str, float]:
    """How far two modalities lie from each other on the unit sphere.

    * `centroid_distance` = ||mean_i a_i - mean_i b_i||, 0..2 (Liang et al., "Mind the Gap", NeurIPS 2022)
    * `paired_distance` = mean_i ||a_i - b_i||, 0..2, about sqrt(2) for unrelated rows
    * `paired_cosine` = mean_i <a_i, b_i>, -1..1, about 0 for unrelated rows

    The last two are both readings of the gap of Jiang et al. (CVPR 2023, fig. 2), "distance" of paired features.

    Args:
        first, second: (N, D) floats, N >= 2; normalised here. A row of zeros stays zero.

    Raises:
        ValueError: different shapes, fewer than two rows, NaN or infinite values.
    """
    a, b = _unit_pair(first, second)
    return {
        "centroid_distance": (a.mean(0) - b.mean(0)).norm().item(),
        "paired_distance": (a - b).norm(dim=1).mean().item(),
        "paired_cosine": (a * b).sum(1).mean().item(),
    }


def alignment(first: ArrayLike | Tensor, second: ArrayLike | Tensor, alpha: float = 2.0) -> float:
    """mean_i ||a_i - b_i||^alpha on the unit sphere: 0 for pairs that coincide, 2 for unrelated ones at alpha = 2.

    Arguments and errors as for `modality_gap`. Source: Wang and Isola, "Understanding Contrastive Representation
    Learning through Alignment and Uniformity on the Hypersphere", ICML 2020.
    """
    a, b = _unit_pair(first, second)
    return (a - b).norm(dim=1).pow(alpha).mean().item()


def uniformity(features: ArrayLike | Tensor, t: float = 2.0, *, chunk_size: int = 1024) -> float:
    """log mean_{i != j} exp(-t ||a_i - a_j||^2) on the unit sphere: 0 when collapsed, about -2t when spread evenly.

    Args:
        features: (N, D) floats, N >= 2; normalised here.
        t: sharpness of the kernel, larger looks nearer.
        chunk_size: rows compared with all N at once; memory is chunk_size x N.

    Raises:
        ValueError: fewer than two rows, NaN or infinite values.

    Source: Wang and Isola (ICML 2020); Jiang et al. (CVPR 2023) count i = j too and divide by N.
    """
    z = unit_rows(matrix(features, "features", min_rows=2))
    n = len(z)
    sums = []
    for rows in blocks(n, chunk_size):
        exponents = -t * _squared_distances(z[rows], z)
        sums.append(_without_self(exponents, rows).logsumexp((0, 1)))
    return torch.stack(sums).logsumexp(0).item() - log(n * (n - 1))


def effective_rank(features: ArrayLike | Tensor, *, centered: bool = True) -> float:
    """exp(-sum_k p_k log p_k), p_k = s_k / sum s: how many directions the features use, 1 .. min(N, D).

    s_k are the singular values (not their squares) of the features as given. Of a constant it is 0.

    Args:
        features: (N, D) floats, N >= 2.
        centered: subtract the mean row first, so that the cone in which embeddings lie does not count as a direction
            and hide the rest. False is the definition of the source.

    Raises:
        ValueError: fewer than two rows, NaN or infinite values.

    Source: Roy and Vetterli, "The effective rank", EUSIPCO 2007.
    """
    x = matrix(features, "features", min_rows=2)
    s = torch.linalg.svdvals(_centered(x) if centered else x)
    if not s.any():
        return 0.0
    return torch.special.entr(s / s.sum()).sum().exp().item()


def cka(
    first: ArrayLike | Tensor,
    second: ArrayLike | Tensor,
    *,
    kernel: str = "linear",
    sigma: float = 1.0,
    unbiased: bool = False,
) -> float:
    """Centred kernel alignment HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)): 1 for equal structure, 0 for none.

    With K, L the (N, N) kernels of the two modalities and H = I - 1/N,

    * biased: HSIC = tr(K H L H). It grows towards 1 by itself as D approaches N.
    * unbiased: K, L without diagonal, [sum K*L + sum K sum L / ((N-1)(N-2)) - 2 sum(KL) / (N-2)] / (N(N-3)). Its
      expectation is 0 for independent modalities, whence it can be negative.

    The linear kernel takes D x D, as HSIC = ||A_c' B_c||_F^2; `rbf` takes N x N.

    Args:
        first, second: (N, D) and (N, D') floats as they are, N >= 2, unbiased N >= 4.
        kernel: `linear`, <x, y>, or `rbf`, exp(-||x - y||^2 / (2 sigma^2)).
        sigma: width of `rbf`, in the units of the features.
        unbiased: which estimate of HSIC.

    Returns:
        The alignment; 0 where a modality is constant. The official code adds 1e-6 to the denominator, which this
        leaves out: the value would depend on the scale of the features (and vanish as they shrink).

    Raises:
        ValueError: unknown kernel, sigma not positive, different row counts, too few rows, NaN or infinite values.

    Source: Kornblith et al., ICML 2019; unbiased HSIC: Song et al., JMLR 2012; as used by Almudevar et al., ICML 2025.
    """
    if kernel not in KERNELS:
        raise ValueError(f"Unknown kernel {kernel!r}; choose one of {', '.join(KERNELS)}.")
    if not sigma > 0:
        raise ValueError(f"sigma={sigma}: write a number above 0.")
    x, y = _pair(first, second, 4 if unbiased else 2)
    hsic: Callable[[Tensor, Tensor], Tensor]
    if kernel == "linear":
        x, y = _centered(x), _centered(y)
        hsic = _linear_hsic_unbiased if unbiased else _linear_hsic
    else:
        x, y = (_doubly_centered(torch.exp(_squared_distances(z, z) / (-2 * sigma**2))) for z in (x, y))
        hsic = _hsic_unbiased if unbiased else _hsic
    scale = hsic(x, x) * hsic(y, y)
    return (hsic(x, y) / scale.sqrt()).item() if scale > 0 else 0.0


def mutual_knn(first: ArrayLike | Tensor, second: ArrayLike | Tensor, k: int = 10, *, chunk_size: int = 1024) -> float:
    """mean_i |N_A(i) and N_B(i)| / k: the share of neighbours that two modalities agree on, 0..1; chance is k / (N-1).

    Args:
        first, second: (N, D) and (N, D') floats as they are, N > k.
        k: neighbours of each row, itself not among them.
        chunk_size: rows compared with all N at once; memory is chunk_size x N.

    Returns:
        The share, expected over random orders of tied rows: chance for a constant.

    Raises:
        ValueError: k below 1 or not below N, different row counts, NaN or infinite values.

    Source: Huh et al., "The Platonic Representation Hypothesis", ICML 2024.
    """
    x, y = _neighbor_pair(first, second, k)
    shared = [
        (_memberships(x, rows, k) * _memberships(y, rows, k)).sum().item() for rows in blocks(len(x), chunk_size)
    ]
    return sum(shared) / (k * len(x))


def cycle_knn(first: ArrayLike | Tensor, second: ArrayLike | Tensor, k: int = 10, *, chunk_size: int = 1024) -> float:
    """Share of rows i that come back: i is among the neighbours in A of a neighbour j of i in B, 0..1.

    Not symmetric, and mostly below 1 for a modality with itself. Arguments, errors and source as for `mutual_knn`;
    memory is chunk_size x N and N x k x k.
    """
    x, y = _neighbor_pair(first, second, k)
    near_x, near_y = _neighbors(x, k, chunk_size), _neighbors(y, k, chunk_size, last_first=True)
    rows = torch.arange(len(x))[:, None, None]
    return (near_x[near_y] == rows).any(2).any(1).double().mean().item()


def lcs_knn(first: ArrayLike | Tensor, second: ArrayLike | Tensor, k: int = 10, *, chunk_size: int = 1024) -> float:
    """Mean length of the longest common subsequence of the neighbour lists, nearest first, 0..k.

    Arguments, errors and source as for `mutual_knn`; memory is chunk_size x N and N x k x k.
    """
    x, y = _neighbor_pair(first, second, k)
    near_x, near_y = _neighbors(x, k, chunk_size), _neighbors(y, k, chunk_size, last_first=True)
    length = torch.zeros(k + 1, k + 1, len(x), dtype=torch.long)  # of the first p of one and the first q of the other
    for p in range(k):
        for q in range(k):
            longest = torch.maximum(length[p, q + 1], length[p + 1, q])
            length[p + 1, q + 1] = torch.where(near_x[:, p] == near_y[:, q], length[p, q] + 1, longest)
    return length[k, k].double().mean().item()


def cknna(first: ArrayLike | Tensor, second: ArrayLike | Tensor, k: int = 10) -> float:
    """Unbiased CKA of linear kernels in which only shared neighbours are left; close to `cka` as k approaches N - 1.

    With M = 1 where j is among the k neighbours of i in both modalities, HSIC(M*K, M*L) / (sqrt(HSIC(M_K*K, M_K*K)
    HSIC(M_L*L, M_L*L)) + 1e-6), the unbiased HSIC of `cka`. As M is not symmetric, `sum K*L` there is the official
    code's sum_ij K_ij L_ji, and the 1e-6 is the official one too. Takes N x N.

    Args:
        first, second: (N, D) and (N, D') floats as they are, N >= 4 and N > k.
        k: neighbours of each row, itself not among them; at least 2.

    Returns:
        The alignment; 0 where a modality is constant.

    Raises:
        ValueError: k below 2 or not below N, different row counts, fewer than four rows, NaN or infinite values.

    Source: Huh et al., "The Platonic Representation Hypothesis", ICML 2024, and its official code.
    """
    x, y = _neighbor_pair(first, second, k, min_k=2, min_rows=4)
    everything = slice(0, len(x))
    (kernel_x, near_x), (kernel_y, near_y) = ((z @ z.T, _memberships(z, everything, k)) for z in (x, y))
    shared = near_x * near_y
    own_x, own_y = near_x**2 * kernel_x, near_y**2 * kernel_y
    scale = _hsic_unbiased(own_x, own_x) * _hsic_unbiased(own_y, own_y)
    return (_hsic_unbiased(shared * kernel_x, shared * kernel_y) / (scale.sqrt() + 1e-6)).item() if scale > 0 else 0.0


def _linear_hsic(x: Tensor, y: Tensor) -> Tensor:
    return (x.T @ y).square().sum()


def _linear_hsic_unbiased(x: Tensor, y: Tensor) -> Tensor:
    """`_hsic_unbiased` of x x' and y y' without them. Rows of a centred kernel sum to 0, without diagonal to -p."""
    n, p, q = len(x), x.square().sum(1), y.square().sum(1)
    terms = torch.stack(
        [_linear_hsic(x, y), p.sum() * q.sum() / ((n - 1) * (n - 2)), -(p @ q), -2 * (p @ q) / (n - 2)]
    )
    return _sum_or_zero(terms) / (n * (n - 3))


def _hsic(kernel_x: Tensor, kernel_y: Tensor) -> Tensor:
    return (kernel_x * kernel_y).sum()  # of doubly centred kernels


def _hsic_unbiased(kernel_x: Tensor, kernel_y: Tensor) -> Tensor:
    n = len(kernel_x)
    x, y = (kernel.clone().fill_diagonal_(0) for kernel in (kernel_x, kernel_y))
    product = (x.sum(0) * y.sum(1)).sum()  # of all entries of x @ y
    terms = torch.stack([(x * y.T).sum(), x.sum() * y.sum() / ((n - 1) * (n - 2)), -2 * product / (n - 2)])
    return _sum_or_zero(terms) / (n * (n - 3))


def _sum_or_zero(terms: Tensor) -> Tensor:
    """Their sum, or 0 where they cancel but for rounding: else CKA would be the quotient of two roundings."""
    total = terms.sum()
    return total if total.abs() > TIE * terms.abs().sum() else torch.zeros_like(total)


def _centered(x: Tensor) -> Tensor:
    """Columns less their means; a column that is constant but for rounding becomes 0."""
    centered = x - x.mean(0)
    return centered * (centered.abs().amax(0) > TIE * x.abs().max())


def _doubly_centered(kernel: Tensor) -> Tensor:
    return _centered(_centered(kernel).T)


def _squared_distances(x: Tensor, y: Tensor) -> Tensor:
    return (x.square().sum(1)[:, None] + y.square().sum(1) - 2 * x @ y.T).clamp_min(0)


def _without_self(similarities: Tensor, rows: slice) -> Tensor:
    """(B, N) similarities of the B rows `rows` to all N, those to themselves -inf. In place."""
    similarities.diagonal(rows.start).fill_(-torch.inf)
    return similarities


def _similarities(x: Tensor, rows: slice) -> Tensor:
    """Inner products of some rows with all, over the largest squared norm, so that `TIE` is in their units."""
    scale = x.square().sum(1).max().clamp_min(torch.finfo(x.dtype).tiny)
    return _without_self(x[rows] @ x.T / scale, rows)


def _memberships(x: Tensor, rows: slice, k: int) -> Tensor:
    """(B, N): 1 for the neighbours of each row, an equal share of the places left for rows that tie for them."""
    s = _similarities(x, rows)
    last = s.topk(k).values[:, -1:]
    inside, tied = s > last + TIE, (s - last).abs() <= TIE
    return inside + tied * ((k - inside.sum(1, keepdim=True)).to(s) / tied.sum(1, keepdim=True))


def _neighbors(x: Tensor, k: int, chunk_size: int, *, last_first: bool = False) -> Tensor:
    """(N, k) rows nearest first, ties by row number or, with `last_first`, against it."""
    x = x.flip(0) if last_first else x
    near = [
        (_similarities(x, rows) / TIE).round().sort(dim=1, descending=True, stable=True).indices[:, :k]
        for rows in blocks(len(x), chunk_size)
    ]
    return len(x) - 1 - torch.cat(near).flip(0) if last_first else torch.cat(near)


def _pair(first: ArrayLike | Tensor, second: ArrayLike | Tensor, min_rows: int = 2) -> tuple[Tensor, Tensor]:
    x, y = matrix(first, "first features", min_rows=min_rows), matrix(second, "second features", min_rows=min_rows)
    if len(x) != len(y):
        raise ValueError(f"There are {len(x)} first and {len(y)} second features; row i of both must be one sample.")
    return x, y


def _unit_pair(first: ArrayLike | Tensor, second: ArrayLike | Tensor) -> tuple[Tensor, Tensor]:
    x, y = _pair(first, second)
    if x.shape != y.shape:
        raise ValueError(
            f"The features are {x.shape[1]} and {y.shape[1]} wide and so in two spaces; `cka` and `mutual_knn` "
            "compare spaces of different widths."
        )
    return unit_rows(x), unit_rows(y)


def _neighbor_pair(
    first: ArrayLike | Tensor, second: ArrayLike | Tensor, k: int, *, min_k: int = 1, min_rows: int = 2
) -> tuple[Tensor, Tensor]:
    x, y = _pair(first, second, min_rows)
    if not min_k <= k < len(x):
        raise ValueError(f"k={k}: write {min_k} to {len(x) - 1}; a row has {len(x) - 1} others to be near to.")
    return x, y
