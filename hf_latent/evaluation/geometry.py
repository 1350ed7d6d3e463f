"""What the space looks like: gap, spread and agreement of the modalities, heads and temperature."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any, ClassVar

import numpy as np
import torch.nn.functional as F

from ..data.loaded import EvaluationData
from ..errors import UserError
from ..metrics import effective_rank, geometry, uniformity
from ..metrics.chance import neighbours_chance
from .benchmark import Benchmark, Encode, Values, register_benchmark, some
from .labels import reference_modality
from .measurement import Group, Measurement

FEWEST = 4  # items that have a geometry
NEIGHBOURS = 10

# key: (group, title, reading); {a} and {b} are two modalities, {m} is one.
PAIR: dict[str, tuple[str, str, str]] = {
    "gap_centroid": (
        "gap",
        "Modality gap: distance between the mean {a} and the mean {b}",
        "0 where the two clouds have one center, 2 at most",
    ),
    "gap_paired": ("gap", "Mean distance of {a} and {b} of a row", "0 where they coincide, 1.41 unrelated"),
    "paired_cosine": ("gap", "Mean cosine of {a} and {b} of a row", "1 where they coincide, 0 unrelated"),
    "alignment": ("gap", "Alignment: mean squared distance of pairs", "0 where they coincide, 2 unrelated"),
    "cka": ("agreement", "Linear CKA of {a} and {b}", "1 for one structure, 0 for none in common"),
    "cka_unbiased": ("agreement", "The same, without its bias", "0 for unrelated modalities"),
    "mutual_knn": (
        "agreement",
        "Share of the {k} nearest neighbours that {a} and {b} agree on",
        "1 for all",
    ),
}
EACH: dict[str, tuple[str, str, str]] = {
    "uniformity": ("spread", "Uniformity of the {m} embeddings", "-4 spread evenly, 0 collapsed to a point"),
    "effective_rank": ("spread", "Effective rank of the {m} embeddings", "how many directions they use"),
}
HEADLINES = ("gap_centroid", "cka")


@register_benchmark("geometry")
@dataclass(frozen=True)
class Geometry(Benchmark):
    """How the modalities lie in the space: of each pair, their mean, and each modality alone.

    Args:
        most: Rows that are compared, spread evenly; nearest neighbours cost the square of it.
    """

    groups: ClassVar[Mapping[str, Group]] = {
        "gap": Group(
            "The gap between the modalities",
            "How far the embeddings of the modalities lie from each other on the unit sphere (Liang et al. 2022; Wang "
            "and Isola 2020).",
            order=80,
            structure=True,
        ),
        "spread": Group(
            "The spread of each modality",
            "How much of the space the embeddings use (Wang and Isola 2020; Roy and Vetterli 2007).",
            order=81,
            structure=True,
        ),
        "agreement": Group(
            "The agreement of the modalities",
            "Whether what lies near each other in one modality does so in the other (Kornblith et al. 2019; Huh et "
            "al. 2024).",
            order=82,
            structure=True,
        ),
        "parameters": Group("Heads and temperature", "What became of them in training.", order=83, structure=True),
    }

    most: int = 5000

    @classmethod
    def by_default(cls, encode: Encode, data: EvaluationData) -> Mapping[str, Benchmark]:
        there = encode.compared and len(data.columns) > 1 and data.target is None
        return {"geometry": cls()} if there else {}

    def check(self, data: EvaluationData) -> None:
        if len(data.columns) < 2:
            raise UserError(f"geometry is of two modalities or more: there is {', '.join(data.columns) or 'none'}")
        if self.most < FEWEST:
            raise UserError(f"most={self.most}: write {FEWEST} or more")
        for pair in combinations(data.columns, 2):
            if len(rows := self._rows(data, *pair)) < FEWEST:
                both = f" that have {' and '.join(pair)}" if data.test.present else ""
                raise UserError(f"there are {len(rows)} rows to measure{both}: {FEWEST} or more have a geometry")

    def describe(self, encode: Encode, data: EvaluationData) -> list[Measurement]:
        names = tuple(data.columns)
        pairs = list(combinations(names, 2))
        counts = {pair: len(self._rows(data, *pair)) for pair in pairs}
        fewest = min(counts.values())
        mean = ("", *pairs[0], fewest) if len(pairs) == 1 else ("", "A", "B", fewest)
        each = [(f"_{a}_{b}", a, b, counts[a, b]) for a, b in pairs] if len(pairs) > 1 else []
        found = []
        for suffix, a, b, rows in (mean, *each):
            neighbours = self._neighbours(rows)
            for key, (group, title, reading) in PAIR.items():
                words = reading
                if key == "mutual_knn":
                    words += f", {neighbours_chance(rows, neighbours):.3f} for unrelated ones"
                headline = key in HEADLINES and not suffix
                told = title.format(a=a, b=b, k=neighbours)
                if each and not suffix:
                    told += ", mean over all pairs"
                elif suffix and "{a}" not in title:
                    told += f", {a} and {b}"
                found.append(_measurement(key + suffix, told, group, words, rows, headline, metric=key))
        for key, (group, title, reading) in EACH.items():
            found += [
                _measurement(f"{key}_{m}", title.format(m=m), group, reading, len(self._rows(data, m))) for m in names
            ]
        if "independent" in encode.gives:
            title = "Mean absolute cosine of an embedding and its independent one"
            rows = len(self._rows(data, reference_modality(data)))
            found.append(_measurement("separation", title, "parameters", "0 where they are orthogonal", rows))
        if encode.temperature is not None:
            reading = "lower is a sharper contrast"
            found.append(_measurement("temperature", "Temperature after training", "parameters", reading))
        return found

    def measure(self, encode: Encode, data: EvaluationData) -> Values:
        embeddings = encode(data.test.rows)
        embeds = embeddings.embeds or {}

        def of(*names: str) -> dict[str, float]:
            rows = self._rows(data, *names)
            return geometry({name: embeds[name][rows] for name in names}, k=self._neighbours(len(rows)))

        pairs = list(combinations(data.columns, 2))
        if data.test.present:
            own = {pair: of(*pair) for pair in pairs}
            found = {key: float(np.mean([values[key] for values in own.values()])) for key in PAIR}
            for m in data.columns:
                vectors = F.normalize(embeds[m][self._rows(data, m)].float(), dim=-1)
                found |= {f"uniformity_{m}": uniformity(vectors), f"effective_rank_{m}": effective_rank(vectors)}
        else:
            found = of(*data.columns)
            own = {pair: of(*pair) for pair in pairs} if len(pairs) > 1 else {}
        for (a, b), values in own.items() if len(pairs) > 1 else ():
            found |= {f"{key}_{a}_{b}": values[key] for key in PAIR}
        if "independent" in encode.gives and embeddings.independent is not None:
            modality = reference_modality(data)
            rows = self._rows(data, modality)
            cosine = F.cosine_similarity(embeds[modality][rows], embeddings.independent[modality][rows], dim=-1)
            found["separation"] = cosine.abs().mean().item()
        if encode.temperature is not None:
            found["temperature"] = encode.temperature
        return found

    def _rows(self, data: EvaluationData, *modalities: str) -> np.ndarray:
        """A row for each image, however many captions it has; of other data, for each item of the first modality. Of
        the rows that have these modalities."""
        reference = reference_modality(data)
        if reference in modalities or not data.test.present:
            rows = data.test.distinct(reference, *modalities)
        else:
            rows = data.test.having(*modalities)
        return rows[some(len(rows), self.most)]

    def _neighbours(self, rows: int) -> int:
        return min(NEIGHBOURS, rows - 1)


def _measurement(
    key: str, title: str, group: str, reading: str, rows: int | None = None, headline: bool = False, metric: str = ""
) -> Measurement:
    """One that is neither better higher nor lower, and has no chance level."""
    common: dict[str, Any] = {"better": "none", "rows": rows, "reading": reading, "headline": headline}
    return Measurement(key, np.nan, title, group, metric=metric or key, **common)
