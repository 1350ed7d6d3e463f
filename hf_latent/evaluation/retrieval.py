"""Retrieval between any two modalities."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from ..data.loaded import EvaluationData
from ..errors import UserError, suggest
from ..metrics import retrieval
from ..metrics.arrays import cutoffs
from ..metrics.chance import median_rank_chance, recall_chance
from ..metrics.ranking import ndcg_chance
from ..metrics.retrieval import scored_retrieval
from .benchmark import Benchmark, Encode, Values, register_benchmark
from .measurement import Group, Measurement

FUSED = "fused"


@register_benchmark("retrieval")
@dataclass(frozen=True)
class Retrieval(Benchmark):
    """Held-out rows look for each other by cosine, from any modality to any other.

    Items that repeat, such as equal captions, count once, and what belongs together by the ids of the rows is right.

    Args:
        k: Recall is measured at these; one of as many as there are candidates would always be 100 and is left out.
        between: Pairs of modalities, `[[image, text]]`; by default all. `fused` is all modalities together.
        ndcg: Cut-offs of the normalised discounted cumulative gain, such as `[10]`, which rates the places of all
            right candidates; by default it is not measured.
        rerank: Where the model can tell pairs, so many candidates of each query are ordered anew by that, too; 0 for
            none.
    """

    groups: ClassVar[Mapping[str, Group]] = {
        "retrieval": Group(
            "Retrieval",
            "Held-out rows look for each other by cosine; what repeats, such as equal captions, counts once.",
            order=10,
        )
    }

    k: list[int] = field(default_factory=lambda: [1, 5, 10])
    between: list[list[str]] | None = None
    ndcg: list[int] = field(default_factory=list)
    rerank: int = 16

    @classmethod
    def by_default(cls, encode: Encode, data: EvaluationData) -> Mapping[str, Benchmark]:
        there = encode.compared and len(data.columns) > 1 and data.target is None
        return {"retrieval": cls()} if there else {}

    def check(self, data: EvaluationData) -> None:
        known = [*data.columns, FUSED]
        for names in [[]] if self.between == [] else self.between or []:
            if len(names) != 2 or names[0] == names[1]:
                raise UserError(f"between: {list(names)}: write pairs of two modalities, such as [[image, text]]")
            for name in names:
                if name not in known:
                    raise UserError(f"between: no modality {name!r}: {suggest(name, known)}")
        if len(data.columns) < 2:
            raise UserError(f"retrieval is between two modalities: there is {', '.join(data.columns) or 'none'}")
        pairs = self.between if self.between is not None else [list(pair) for pair in combinations(data.columns, 2)]
        for names in pairs:
            if not len(data.test.having(*names)) and (self.between or not self._between(data)):
                raise UserError(f"no row to measure has {' and '.join(names)}: leave them out")
        if not self.k or min(self.k) < 1 or self.rerank < 0:
            raise UserError(f"k={list(self.k)}, rerank={self.rerank}: write cut-offs of 1 or more, and 0 or more")
        if any(k < 1 for k in self.ndcg):
            raise UserError(f"ndcg={list(self.ndcg)}: write cut-offs of 1 or more, such as [10]")

    def check_model(self, encode: Encode) -> None:
        super().check_model(encode)
        if FUSED not in encode.gives and any(FUSED in names for names in self.between or ()):
            raise UserError(f"between: the model gives no {FUSED} vector")

    def describe(self, encode: Encode, data: EvaluationData) -> list[Measurement]:
        found = []
        for names in self._between(data):
            sizes, pairs = self._sizes(data, names), data.test.pairs(*names)
            for prefix in ("", "reranked_") if self._reranks(encode, names) else ("",):
                for way, (query, candidate) in enumerate((names, names[::-1])):
                    right = np.bincount(pairs[:, way], minlength=sizes[way])
                    found += self._of_way(prefix, query, candidate, right, sizes[1 - way])
        return found

    def _of_way(
        self, prefix: str, query: str, candidate: str, right: np.ndarray, candidates: int
    ) -> list[Measurement]:
        """Recalls and the median rank of one way; `right` is how many candidates are right for each query."""
        way = f"{query.capitalize()} to {candidate}"
        found = []
        for k in cutoffs(self.k):
            short = f"{query[0]}2{candidate[0]}_r{k}" if {query, candidate} == {"image", "text"} else ""
            short = short if k == min(self.k) else ""
            if k < candidates:
                found.append(
                    Measurement(
                        f"{prefix}{query}_to_{candidate}_r{k}",
                        np.nan,
                        f"{way}, recall at {k} of {candidates:,}" + (", re-ranked by matching" if prefix else ""),
                        "retrieval",
                        "%",
                        recall_chance(right, candidates, k),
                        rows=len(right),
                        reading=f"share of {query}s with a right {candidate} among the nearest {k} of {candidates:,}",
                        headline=k == min(self.k),
                        short=f"itm_{short}" if prefix and short else short,
                        metric=f"recall_at_{k}",
                        information="redundant",
                    )
                )
        if not prefix:
            found += [self._gain(way, query, candidate, right, candidates, k) for k in sorted(set(self.ndcg))]
        median = Measurement(
            f"{prefix}{query}_to_{candidate}_median_rank",
            np.nan,
            f"{way}, median rank" + (", re-ranked by matching" if prefix else ""),
            "retrieval",
            "rank",
            chance=median_rank_chance(right, candidates),
            better="lower",
            rows=len(right),
            reading=f"of the nearest right {candidate}; 1 is best",
            metric="median_rank",
        )
        return [*found, median]

    @staticmethod
    def _gain(way: str, query: str, candidate: str, right: np.ndarray, candidates: int, k: int) -> Measurement:
        return Measurement(
            f"{query}_to_{candidate}_ndcg{k}",
            np.nan,
            f"{way}, nDCG at {k} of {candidates:,}",
            "retrieval",
            "%",
            ndcg_chance(right, candidates, k),
            rows=len(right),
            reading=f"how near to the first places all right {candidate}s of a {query} stand",
            metric=f"ndcg_at_{k}",
            information="redundant",
        )

    def measure(self, encode: Encode, data: EvaluationData) -> Values:
        found: dict[str, float] = {}
        for names in self._between(data):
            vectors = [_vectors(encode, data, *order) for order in (names, names[::-1])]
            pairs = data.test.pairs(*names)
            found |= retrieval(*vectors, pairs=pairs, names=names, k=self.k, ndcg=self.ndcg)
            if self._reranks(encode, names):
                scores = encode.rerank(data.test, data.columns, self.rerank)
                again = scored_retrieval(*scores, pairs=pairs, k=self.k)
                found |= {f"reranked_{key}": value for key, value in again.items()}
        return found

    def _between(self, data: EvaluationData) -> list[tuple[str, str]]:
        every = [pair for pair in combinations(data.columns, 2) if len(data.test.having(*pair))]
        pairs = every if self.between is None else self.between
        return [
            ("image", "text") if {first, second} == {"image", "text"} else (first, second) for first, second in pairs
        ]

    def _sizes(self, data: EvaluationData, names: tuple[str, str]) -> list[int]:
        return [len(data.test.distinct(*order)) for order in (names, names[::-1])]

    def _reranks(self, encode: Encode, names: tuple[str, str]) -> bool:
        return "rerank" in encode.abilities and names == ("image", "text") and self.rerank > 0


def _vectors(encode: Encode, data: EvaluationData, name: str, other: str) -> Tensor:
    """The vectors of the distinct items of a modality, of the rows that have the other one, too."""
    embeddings = encode(data.test.rows)
    vectors: Any = embeddings.fused if name == FUSED else (embeddings.embeds or {})[name]
    return vectors[data.test.distinct(name, other)]
