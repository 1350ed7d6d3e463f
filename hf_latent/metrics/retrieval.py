"""Retrieval across two modalities: how often the right text is among the k nearest of an image, and the reverse.

Rows with the same id are right for each other, so several captions of an image and captions that repeat all count.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from .arrays import TIE, blocks, cutoffs, integers, matrix, unit_rows


def retrieval(
    image_embeds: ArrayLike | Tensor,
    text_embeds: ArrayLike | Tensor,
    image_ids: ArrayLike | Tensor | None = None,
    text_ids: ArrayLike | Tensor | None = None,
    *,
    k: Sequence[int] = (1, 5, 10),
    names: tuple[str, str] = ("image", "text"),
    chunk_size: int = 1024,
) -> dict[str, float]:
    """Recall at k and median rank by cosine, both ways; `ranks` says how ties and several right answers count.

    Args:
        image_embeds: (N, D) floats; normalised here.
        text_embeds: (M, D) floats; normalised here.
        image_ids: (N,) integers; None is the row number.
        text_ids: (M,) integers: the id of the image that each text describes, so with `image_ids` None the row of its
            image. None, for both only: text i describes image i, M = N.
        k: cut-offs. One above the number of candidates would always be 100 and is left out.
        names: what the two modalities are called in the result and in errors.
        chunk_size: queries compared with all candidates at once; memory is chunk_size x max(N, M).

    Returns:
        `image_to_text_r1`, ..., `text_to_image_r10`: percent of queries with a right candidate among the nearest k,
        by chance 100 k / N where each query has one; `image_to_text_median_rank` and its reverse: median over queries
        of the rank of the nearest right candidate, 1 is best, by chance about N / 2.

    Raises:
        ValueError: different widths or row counts, a query without a right candidate, ids that are not integers,
            NaN or infinite values, k below 1.

    Protocol: Karpathy and Fei-Fei (CVPR 2015); CyCLIP and Jiang et al. (CVPR 2023) with 5 captions an image.
    """
    first, second = names
    if first == second:
        raise ValueError(f"The two modalities are both called {first!r}; give them different names.")
    images, texts = matrix(image_embeds, f"{first} embeddings"), matrix(text_embeds, f"{second} embeddings")
    if text_ids is None and (image_ids is not None or len(images) != len(texts)):
        raise ValueError(
            f"There are {len(images)} {first} and {len(texts)} {second} embeddings and no {second} ids; "
            f"give for each {second} the id of its {first}."
        )
    image_ids = np.arange(len(images)) if image_ids is None else image_ids
    text_ids = image_ids if text_ids is None else text_ids
    towers = {first: (images, image_ids), second: (texts, text_ids)}

    scores: dict[str, float] = {}
    for query, candidate in ((first, second), (second, first)):
        rank = ranks(*towers[query], *towers[candidate], names=(query, candidate), chunk_size=chunk_size)
        scores |= _recalls(f"{query}_to_{candidate}", rank, len(towers[candidate][0]), k)
    return scores


def scored_retrieval(
    image_to_text: Tensor,
    text_to_image: Tensor,
    image_ids: ArrayLike | Tensor,
    text_ids: ArrayLike | Tensor,
    *,
    k: Sequence[int] = (1, 5, 10),
) -> dict[str, float]:
    """As `retrieval`, from scores of any kind: the higher, the nearer.

    Args:
        image_to_text: (N, M) scores of every text for each image.
        text_to_image: (M, N) scores of every image for each text.
        image_ids, text_ids: (N,) and (M,) integers; equal ids are right for each other.
        k: cut-offs. One above the number of candidates is left out.

    Raises:
        ValueError: scores of another shape, a query without a right candidate, NaN.
    """
    found: dict[str, float] = {}
    ways = {
        "image_to_text": (image_to_text, image_ids, text_ids),
        "text_to_image": (text_to_image, text_ids, image_ids),
    }
    for way, (scores, queries, candidates) in ways.items():
        query, candidate = way.split("_to_")
        x_ids = integers(queries, f"{query} ids", len(scores))
        y_ids = integers(candidates, f"{candidate} ids", scores.shape[1])
        if torch.isnan(scores).any():
            raise ValueError(f"The {way} scores hold NaN.")
        _check_all_have_a_match(x_ids, y_ids, query, candidate)
        found |= _recalls(way, _rank(scores, x_ids[:, None] == y_ids), len(y_ids), k)
    return found


def _recalls(way: str, rank: NDArray[np.int64], candidates: int, k: Sequence[int]) -> dict[str, float]:
    recalls = {f"{way}_r{top}": 100 * float((rank <= top).mean()) for top in cutoffs(k) if top <= candidates}
    return {**recalls, f"{way}_median_rank": float(np.median(rank))}


def ranks(
    queries: ArrayLike | Tensor,
    query_ids: ArrayLike | Tensor,
    candidates: ArrayLike | Tensor,
    candidate_ids: ArrayLike | Tensor,
    *,
    names: tuple[str, str] = ("query", "candidate"),
    chunk_size: int = 1024,
) -> NDArray[np.int64]:
    """(N,) rank of the nearest right candidate of each query: 1 + the wrong ones that are at least as near, by cosine.

    A candidate is right when its id is the query's. Counting ties against the query makes the result independent of
    the order of candidates and gives constant embeddings nothing; counting wrong ones only lets no right candidate
    push another down.

    Args:
        queries, candidates: (N, D) and (M, D) floats; normalised here.
        query_ids, candidate_ids: (N,) and (M,) integers.
        names: what both are called in errors.
        chunk_size: queries compared with all candidates at once; memory is chunk_size x M.

    Raises:
        ValueError: as for `retrieval`.
    """
    query, candidate = names
    x, y = matrix(queries, f"{query} embeddings"), matrix(candidates, f"{candidate} embeddings")
    if x.shape[1] != y.shape[1]:
        raise ValueError(f"The {query} embeddings are {x.shape[1]} wide, the {candidate} embeddings {y.shape[1]}.")
    x_ids, y_ids = integers(query_ids, f"{query} ids", len(x)), integers(candidate_ids, f"{candidate} ids", len(y))
    _check_all_have_a_match(x_ids, y_ids, query, candidate)
    x, y = unit_rows(x), unit_rows(y)

    def ranked(rows: slice) -> NDArray[Any]:
        return _rank(x[rows] @ y.T, x_ids[rows, None] == y_ids)

    return np.concatenate([ranked(rows) for rows in blocks(len(x), chunk_size)])


def _check_all_have_a_match(x_ids: Tensor, y_ids: Tensor, query: str, candidate: str) -> None:
    if len(lost := (~torch.isin(x_ids, y_ids)).nonzero()):
        row = int(lost[0])
        raise ValueError(
            f"{len(lost)} {query} row(s) have no {candidate} with their id, first row {row} (id {int(x_ids[row])}); "
            "leave them out or give their match."
        )


def _rank(scores: Tensor, right: Tensor) -> NDArray[Any]:
    best = scores.masked_fill(~right, -torch.inf).amax(1, keepdim=True)
    return (1 + ((scores >= best - TIE) & ~right).sum(1)).numpy()
