"""Retrieval from a corpus that holds several modalities together."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from .arrays import blocks, cutoffs, matrix, unit_rows
from .ranking import ndcg


def mixed_retrieval(
    queries: ArrayLike | Tensor,
    corpus: Mapping[str, ArrayLike | Tensor],
    right: Mapping[str, ArrayLike],
    *,
    own: str,
    left_out: ArrayLike,
    k: Sequence[int] = (10,),
    chunk_size: int = 1024,
) -> dict[str, float]:
    """Queries of one modality look for the rows of the others in a corpus of all of them.

    Where modalities lie apart, what is of the query's own modality comes first, whatever it shows.

    Args:
        queries: (Q, D) floats; normalised here, as the corpus is.
        corpus: modality -> (N, D) floats.
        right: modality -> (Q, N) bool, what is right for each query; a modality that is left out holds nothing right.
        own: The modality of the queries.
        left_out: (Q, N) bool, what of the own modality is no candidate for a query, such as the query itself.
        k: Cut-offs; one above the number of candidates is left out.
        chunk_size: Queries that are compared with all candidates at once.

    Returns:
        In percent, means over the queries that have something right: `ndcg<k>`, with the gain of the best order of
        everything right; `r<k>`, whether something right is among the nearest k; and `own<k>`, the share of the own
        modality among the nearest k. Among equal scores the own modality comes first, and what is right last.

    Raises:
        ValueError: no query has anything right, or widths or shapes differ.
    """
    x = unit_rows(matrix(queries, "queries"))
    names = list(corpus)
    parts = [unit_rows(matrix(corpus[name], f"{name} embeddings")) for name in names]
    if len({part.shape[1] for part in [x, *parts]}) > 1:
        raise ValueError(f"The queries are {x.shape[1]} wide, and the corpus {[part.shape[1] for part in parts]}.")
    y = torch.cat(parts)
    matches = torch.cat(
        [_mask(right.get(name), len(x), len(part)) for name, part in zip(names, parts, strict=True)], 1
    )
    hidden = torch.cat(
        [_mask(left_out if n == own else None, len(x), len(part)) for n, part in zip(names, parts, strict=True)], 1
    )
    of_own = torch.cat([torch.full((len(part),), name == own) for name, part in zip(names, parts, strict=True)])
    asked = (matches & ~hidden).any(1)
    if not asked.any():
        raise ValueError("No query has anything right in the corpus.")
    x, matches, hidden = x[asked], matches[asked] & ~hidden[asked], hidden[asked]
    fewest = int((~hidden).sum(1).min())
    tops = [top for top in cutoffs(k) if top <= fewest]
    found: dict[str, list[np.ndarray]] = {f"{score}{top}": [] for top in tops for score in ("ndcg", "r", "own")}
    for rows in blocks(len(x), chunk_size):
        scores = (x[rows] @ y.T).masked_fill(hidden[rows], -2.0)
        for top in tops:
            found[f"ndcg{top}"].append(ndcg(scores, matches[rows], top))
            # Wrong ones of the own modality first, then others, among what ties.
            order = (scores + 1e-12 * (of_own.double() - 2 * matches[rows].double())).topk(top, dim=1).indices
            found[f"r{top}"].append(matches[rows].gather(1, order).any(1).double().numpy())
            found[f"own{top}"].append(of_own[order].double().mean(1).numpy())
    return {key: 100 * float(np.concatenate(values).mean()) for key, values in found.items()}


def _mask(values: ArrayLike | None, queries: int, candidates: int) -> Tensor:
    if values is None:
        return torch.zeros(queries, candidates, dtype=torch.bool)
    mask = torch.as_tensor(np.asarray(values, dtype=bool))
    if mask.shape != (queries, candidates):
        raise ValueError(
            f"The masks must be (queries, candidates), ({queries}, {candidates}); got {tuple(mask.shape)}."
        )
    return mask
