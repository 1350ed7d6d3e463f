"""Retrieval across two modalities: how often the right text is among the k nearest of an image, and the reverse.

Rows with the same id are right for each other, so several captions of an image and captions that repeat all count.
Where a text is right for images that are not right for each other's texts, `pairs` says so instead.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from .arrays import TIE, blocks, cutoffs, integers, matrix, unit_rows
from .ranking import ndcg as ndcg_of

Right = Callable[[slice], Tensor]
"""`(rows, candidates)` bool, the right candidates of some queries."""


def retrieval(
    image_embeds: ArrayLike | Tensor,
    text_embeds: ArrayLike | Tensor,
    image_ids: ArrayLike | Tensor | None = None,
    text_ids: ArrayLike | Tensor | None = None,
    *,
    pairs: ArrayLike | Tensor | None = None,
    k: Sequence[int] = (1, 5, 10),
    ndcg: Sequence[int] = (),
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
        pairs: (P, 2) integers in place of ids: the row of an image and the row of a text that is right for it.
        k: cut-offs. One of all candidates, or of more, would always be 100 and is left out.
        ndcg: cut-offs of the normalised discounted cumulative gain, in percent, see [`ndcg`].
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
    _check_widths(images, texts, first, second)
    sizes = len(images), len(texts)
    if pairs is None and text_ids is None and (image_ids is not None or len(images) != len(texts)):
        raise ValueError(
            f"There are {len(images)} {first} and {len(texts)} {second} embeddings and no {second} ids; "
            f"give for each {second} the id of its {first}."
        )
    if pairs is None and image_ids is None:
        image_ids = np.arange(len(images))
        text_ids = image_ids if text_ids is None else text_ids
    right = _both_ways(image_ids, text_ids, pairs, sizes, names)
    towers = unit_rows(images), unit_rows(texts)

    scores: dict[str, float] = {}
    for (query, candidate), (x, y), matches in zip((names, names[::-1]), (towers, towers[::-1]), right, strict=True):
        scores |= _recalls(f"{query}_to_{candidate}", _cosine_ranks(x, y, matches, chunk_size), len(y), k)
        for top in cutoffs(ndcg) if ndcg else ():
            gains = [ndcg_of(x[rows] @ y.T, matches(rows), top) for rows in blocks(len(x), chunk_size)]
            scores[f"{query}_to_{candidate}_ndcg{top}"] = 100 * float(np.concatenate(gains).mean())
    return scores


def scored_retrieval(
    image_to_text: Tensor,
    text_to_image: Tensor,
    image_ids: ArrayLike | Tensor | None = None,
    text_ids: ArrayLike | Tensor | None = None,
    *,
    pairs: ArrayLike | Tensor | None = None,
    k: Sequence[int] = (1, 5, 10),
) -> dict[str, float]:
    """As `retrieval`, from scores of any kind: the higher, the nearer.

    Args:
        image_to_text: (N, M) scores of every text for each image.
        text_to_image: (M, N) scores of every image for each text.
        image_ids, text_ids: (N,) and (M,) integers; equal ids are right for each other.
        pairs: As of `retrieval`, in place of ids.
        k: cut-offs. One of all candidates, or of more, is left out.

    Raises:
        ValueError: scores of another shape, a query without a right candidate, NaN.
    """
    names = ("image", "text")
    if text_to_image.shape != image_to_text.T.shape:
        shapes = tuple(image_to_text.shape), tuple(text_to_image.shape)
        raise ValueError(f"The scores must be (images, texts) and (texts, images); got {shapes[0]} and {shapes[1]}.")
    right = _both_ways(image_ids, text_ids, pairs, tuple(image_to_text.shape), names)
    found: dict[str, float] = {}
    for scores, (query, candidate), matches in zip(
        (image_to_text, text_to_image), (names, names[::-1]), right, strict=True
    ):
        if torch.isnan(scores).any():
            raise ValueError(f"The {query}_to_{candidate} scores hold NaN.")
        rank = _rank(scores, matches(slice(0, len(scores))))
        found |= _recalls(f"{query}_to_{candidate}", rank, scores.shape[1], k)
    return found


def _recalls(way: str, rank: NDArray[np.int64], candidates: int, k: Sequence[int]) -> dict[str, float]:
    recalls = {f"{way}_r{top}": 100 * float((rank <= top).mean()) for top in cutoffs(k) if top < candidates}
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
    _check_widths(x, y, query, candidate)
    right = _by_ids(*_ids(query_ids, candidate_ids, (len(x), len(y)), names), names)
    return _cosine_ranks(unit_rows(x), unit_rows(y), right, chunk_size)


def _cosine_ranks(x: Tensor, y: Tensor, right: Right, chunk_size: int) -> NDArray[Any]:
    return np.concatenate([_rank(x[rows] @ y.T, right(rows)) for rows in blocks(len(x), chunk_size)])


def _both_ways(
    image_ids: ArrayLike | Tensor | None,
    text_ids: ArrayLike | Tensor | None,
    pairs: ArrayLike | Tensor | None,
    sizes: tuple[int, ...],
    names: tuple[str, str],
) -> tuple[Right, Right]:
    """What is right for the rows of the first modality among those of the second, and the reverse."""
    if pairs is None:
        if image_ids is None or text_ids is None:
            raise ValueError("Give the ids of both modalities, or pairs.")
        ids = _ids(image_ids, text_ids, sizes, names)
        return _by_ids(*ids, names), _by_ids(*ids[::-1], names[::-1])
    if image_ids is not None or text_ids is not None:
        raise ValueError("Both ids and pairs are given; give one of them.")
    rows = torch.as_tensor(np.asarray(pairs.detach().cpu() if isinstance(pairs, Tensor) else pairs))
    if rows.ndim != 2 or rows.shape[1] != 2 or rows.is_floating_point():
        raise ValueError(f"The pairs must be (P, 2) integers; got {tuple(rows.shape)} {rows.dtype}.")
    for column, (size, name) in enumerate(zip(sizes, names, strict=True)):
        if ((rows[:, column] < 0) | (rows[:, column] >= size)).any():
            raise ValueError(f"The pairs name {name} rows outside 0..{size - 1}.")
    return _by_pairs(rows, sizes, names), _by_pairs(rows.flip(1), sizes[::-1], names[::-1])


def _ids(
    x_ids: ArrayLike | Tensor, y_ids: ArrayLike | Tensor, sizes: tuple[int, ...], names: tuple[str, str]
) -> tuple[Tensor, Tensor]:
    return integers(x_ids, f"{names[0]} ids", sizes[0]), integers(y_ids, f"{names[1]} ids", sizes[1])


def _by_ids(x_ids: Tensor, y_ids: Tensor, names: tuple[str, str]) -> Right:
    query, candidate = names
    if len(lost := (~torch.isin(x_ids, y_ids)).nonzero()):
        row = int(lost[0])
        raise ValueError(
            f"{len(lost)} {query} row(s) have no {candidate} with their id, first row {row} (id {int(x_ids[row])}); "
            "leave them out or give their match."
        )
    return lambda rows: x_ids[rows, None] == y_ids


def _by_pairs(pairs: Tensor, sizes: tuple[int, ...], names: tuple[str, str]) -> Right:
    """Of `(query, candidate)` rows."""
    pairs = pairs[pairs[:, 0].argsort()]
    counts = torch.bincount(pairs[:, 0], minlength=sizes[0])
    if len(lost := (counts == 0).nonzero()):
        raise ValueError(
            f"{len(lost)} {names[0]} row(s) are in no pair, first row {int(lost[0])}; leave them out or give their "
            f"{names[1]}."
        )
    ends = torch.cat([counts.new_zeros(1), counts.cumsum(0)])

    def right(rows: slice) -> Tensor:
        some = pairs[ends[rows.start] : ends[rows.stop]]
        found = torch.zeros(rows.stop - rows.start, sizes[1], dtype=torch.bool)
        found[some[:, 0] - rows.start, some[:, 1]] = True
        return found

    return right


def _check_widths(x: Tensor, y: Tensor, first: str, second: str) -> None:
    if x.shape[1] != y.shape[1]:
        raise ValueError(f"The {first} embeddings are {x.shape[1]} wide, the {second} embeddings {y.shape[1]}.")


def _rank(scores: Tensor, right: Tensor) -> NDArray[Any]:
    best = scores.masked_fill(~right, -torch.inf).amax(1, keepdim=True)
    return (1 + ((scores >= best - TIE) & ~right).sum(1)).numpy()
