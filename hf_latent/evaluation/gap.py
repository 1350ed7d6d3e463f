"""The gap between modalities in detail, and the hubs that it makes."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import ClassVar

import numpy as np

from ..data.loaded import EvaluationData
from ..errors import UserError
from ..metrics.gap import gap_split, hubness, rank_me, relative_gap
from .benchmark import Benchmark, Encode, Values, register_benchmark, some
from .labels import reference_modality
from .measurement import Group, Measurement

FEWEST = 4


@register_benchmark("gap")
@dataclass(frozen=True)
class Gap(Benchmark):
    """What of the distance between two modalities a shift would take away, how large it is beside the spread of each,
    and whether few rows are near to everything. It is measured where a recipe asks for it.

    Args:
        k: Nearest rows that count for hubs.
        most: Rows that are compared, spread evenly.
    """

    groups: ClassVar[Mapping[str, Group]] = {
        "gap_details": Group(
            "The gap in detail",
            "Parts of the distance of paired rows on the unit sphere (Schrodi et al. 2025), hubs among nearest rows "
            "(Radovanovic et al. 2010), and RankMe, of rows that are not centred (Garrido et al. 2023).",
            order=84,
            structure=True,
        )
    }

    k: int = 10
    most: int = 5000

    def check(self, data: EvaluationData) -> None:
        if len(data.columns) < 2:
            raise UserError(f"gap is of two modalities or more: there is {', '.join(data.columns) or 'none'}")
        if self.k < 1 or self.most < FEWEST:
            raise UserError(f"k={self.k}, most={self.most}: write 1 or more, and {FEWEST} or more")
        for pair in combinations(data.columns, 2):
            if (count := len(self._rows(data, *pair))) < FEWEST:
                raise UserError(f"there are {count} rows that have {' and '.join(pair)}: {FEWEST} or more are needed")

    def describe(self, encode: Encode, data: EvaluationData) -> list[Measurement]:
        found = []
        for a, b in combinations(data.columns, 2):
            rows = len(self._rows(data, a, b))
            for key, title, reading in (
                (
                    f"gap_relative_{a}_{b}",
                    f"Relative gap of {a} and {b}",
                    "0 where pairs coincide, 0.5 as far as unrelated",
                ),
                (
                    f"gap_of_means_{a}_{b}",
                    f"Squared distance of the mean {a} and the mean {b}",
                    "a shift takes it away",
                ),
                (
                    f"gap_around_means_{a}_{b}",
                    f"Squared distance of {a} and {b} around their means",
                    "a shift leaves it",
                ),
                (f"hubness_{a}_to_{b}", f"Hubness of {b} for {a}", "0 for none, large where few are near to all"),
                (f"hubness_{b}_to_{a}", f"Hubness of {a} for {b}", "0 for none, large where few are near to all"),
            ):
                found.append(_measurement(key, title, reading, rows))
        for name in data.columns:
            rows = len(self._rows(data, name))
            found.append(
                _measurement(f"rank_me_{name}", f"RankMe of the {name} embeddings", "directions in use", rows)
            )
        return found

    def measure(self, encode: Encode, data: EvaluationData) -> Values:
        embeds = encode(data.test.rows).embeds or {}
        found: dict[str, float] = {}
        for a, b in combinations(data.columns, 2):
            rows = self._rows(data, a, b)
            x, y, k = embeds[a][rows], embeds[b][rows], min(self.k, len(rows))
            found[f"gap_relative_{a}_{b}"] = relative_gap(x, y)
            found |= {f"{key}_{a}_{b}": value for key, value in gap_split(x, y).items()}
            found[f"hubness_{a}_to_{b}"], found[f"hubness_{b}_to_{a}"] = hubness(x, y, k), hubness(y, x, k)
        for name in data.columns:
            found[f"rank_me_{name}"] = rank_me(embeds[name][self._rows(data, name)])
        return found

    def _rows(self, data: EvaluationData, *modalities: str) -> np.ndarray:
        """A row for each item of the modality whose items stand for the rows."""
        reference = reference_modality(data)
        order = sorted(modalities, key=lambda name: name != reference)
        rows = data.test.distinct(*order)
        return rows[some(len(rows), self.most)]


def _measurement(key: str, title: str, reading: str, rows: int) -> Measurement:
    return Measurement(key, np.nan, title, "gap_details", better="none", rows=rows, reading=reading)
