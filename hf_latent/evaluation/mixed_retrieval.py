"""Retrieval from a corpus of several modalities together."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from ..data.loaded import EvaluationData
from ..errors import UserError
from ..metrics.arrays import cutoffs
from ..metrics.chance import recall_chance
from ..metrics.mixed_retrieval import mixed_retrieval
from ..metrics.ranking import ndcg_chance
from .benchmark import Benchmark, Encode, Values, register_benchmark, some
from .measurement import Group, Measurement


@register_benchmark("mixed_retrieval")
@dataclass(frozen=True)
class MixedRetrieval(Benchmark):
    """Items of each modality look for those of the others that belong to them in a corpus of all modalities, as a
    search over pictures and texts together does. Where modalities lie apart, the nearest are of the query's own. It
    is measured where a recipe asks for it.

    A query itself, and what has its id of its own modality, are no candidates.

    Args:
        k: Cut-offs.
        most: Items of each modality, spread evenly.
    """

    groups: ClassVar[Mapping[str, Group]] = {
        "mixed_retrieval": Group(
            "Retrieval from all modalities together",
            "Held-out items look for what belongs to them in a corpus that holds all modalities.",
            order=12,
        )
    }

    k: list[int] = field(default_factory=lambda: [10])
    most: int = 2000

    def check(self, data: EvaluationData) -> None:
        if len(data.columns) < 2:
            raise UserError(
                f"mixed_retrieval is of two modalities or more: there is {', '.join(data.columns) or 'none'}"
            )
        if not self.k or min(self.k) < 1 or self.most < 2:
            raise UserError(f"k={list(self.k)}, most={self.most}: write cut-offs of 1 or more, and 2 or more")
        if not any(self._tops(data, name) for name in data.columns):
            raise UserError(f"k={list(self.k)}: there are fewer candidates; write lower cut-offs")

    def describe(self, encode: Encode, data: EvaluationData) -> list[Measurement]:
        found = []
        for name in data.columns:
            right, left_out = self._right(data, name)
            candidates = self._candidates(data, left_out)
            counts = sum(matches.sum(1) for matches in right.values())
            asked, total = counts > 0, int(candidates.min())
            if not asked.any():
                continue
            own = 100 * float(np.mean((left_out.shape[1] - left_out.sum(1)) / candidates))
            for k in self._tops(data, name):
                common: dict[str, Any] = {"unit": "%", "rows": int(asked.sum())}
                chance = ndcg_chance(counts[asked], total, k)
                title = f"{name.capitalize()} among all modalities"
                head = k == max(self._tops(data, name))
                found += [
                    Measurement(
                        f"mixed_{name}_ndcg{k}",
                        np.nan,
                        f"{title}, nDCG at {k} of {total:,}",
                        "mixed_retrieval",
                        chance=chance,
                        headline=head,
                        metric=f"ndcg_at_{k}",
                        **common,
                    ),
                    Measurement(
                        f"mixed_{name}_r{k}",
                        np.nan,
                        f"{title}, recall at {k}",
                        "mixed_retrieval",
                        metric=f"recall_at_{k}",
                        chance=recall_chance(counts[asked], total, k),
                        **common,
                    ),
                    Measurement(
                        f"mixed_{name}_own{k}",
                        np.nan,
                        f"{title}, share of its own modality among the nearest {k}",
                        "mixed_retrieval",
                        chance=own,
                        better="none",
                        reading="as much as by chance where the modality does not matter",
                        metric="share",
                        **common,
                    ),
                ]
        return found

    def measure(self, encode: Encode, data: EvaluationData) -> Values:
        embeds = encode(data.test.rows).embeds or {}
        items = {name: self._items(data, name) for name in data.columns}
        corpus = {name: embeds[name][rows] for name, rows in items.items()}
        found: dict[str, float] = {}
        for name in data.columns:
            right, left_out = self._right(data, name)
            if not any(matches.any() for matches in right.values()):
                continue
            scores = mixed_retrieval(corpus[name], corpus, right, own=name, left_out=left_out, k=self.k)
            found |= {f"mixed_{name}_{key}": value for key, value in scores.items()}
        return found

    def _items(self, data: EvaluationData, name: str) -> np.ndarray:
        rows = data.test.distinct(name)
        return rows[some(len(rows), self.most)]

    def _right(self, data: EvaluationData, name: str) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """What of each other modality is right for the items of one, and which of its own are no candidates."""
        return (
            {other: self._share_an_id(data, name, other) for other in data.columns if other != name},
            self._share_an_id(data, name, name),
        )

    def _share_an_id(self, data: EvaluationData, first: str, second: str) -> np.ndarray:
        """(items of the first, items of the second) bool, where a row of the one has the id of a row of the other."""
        places = {name: self._places(data, name) for name in (first, second)}
        found = np.zeros([len(self._items(data, name)) for name in (first, second)], dtype=bool)
        for number, own in places[first].items():
            found[np.ix_(own, places[second].get(number, []))] = True
        return found

    def _places(self, data: EvaluationData, name: str) -> dict[int, list[int]]:
        """Id -> the items whose rows have it, by their places among those that are measured."""
        kept, items = self._items(data, name), data.test.items.get(name, np.arange(len(data.test)))
        place_of = {int(item): place for place, item in enumerate(items[kept])}
        found: dict[int, set[int]] = {}
        for row in data.test.having(name):
            if (place := place_of.get(int(items[row]))) is not None:
                found.setdefault(int(data.test.ids[row]), set()).add(place)
        return {number: sorted(own) for number, own in found.items()}

    def _candidates(self, data: EvaluationData, left_out: np.ndarray) -> np.ndarray:
        """(queries,) how many candidates there are."""
        total = sum(len(self._items(data, name)) for name in data.columns)
        return np.asarray(total - left_out.sum(1))

    def _tops(self, data: EvaluationData, name: str) -> list[int]:
        fewest = int(self._candidates(data, self._right(data, name)[1]).min())
        return [k for k in cutoffs(self.k) if k <= fewest]
