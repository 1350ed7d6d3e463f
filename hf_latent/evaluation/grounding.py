"""Where a model sees what a phrase names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from ..data.loaded import EvaluationData, Regions
from ..errors import UserError
from ..metrics.grounding import grounding
from .benchmark import Benchmark, Encode, Values, register_benchmark, some
from .measurement import Group, Measurement

SHOWN = 8


@register_benchmark("grounding")
@dataclass(frozen=True)
class Grounding(Benchmark):
    """Grad-CAM of matching for every phrase, against boxes that training never saw."""

    groups: ClassVar[Mapping[str, Group]] = {
        "grounding": Group(
            "Grounding",
            "Where matching looks (Grad-CAM on its cross-attention) when it is given a phrase and a held-out picture, "
            "against the box of what the phrase names. No box was seen in training.",
            order=12,
        )
    }
    figures: ClassVar[Mapping[str, str]] = {
        "grounding.png": "Held-out pictures, lit where matching looks when it reads the phrase, most at the cross; "
        "the frame is the true box. The pictures were not chosen."
    }
    needs: ClassVar[frozenset[str]] = frozenset({"maps"})

    @classmethod
    def by_default(cls, encode: Encode, data: EvaluationData) -> Mapping[str, Benchmark]:
        return {} if data.regions is None else {"grounding": cls()}

    def check(self, data: EvaluationData) -> None:
        if data.regions is None:
            raise UserError(
                "grounding needs phrases with boxes, which this data has not: write data.regions, or leave it out"
            )

    def describe(self, encode: Encode, data: EvaluationData) -> list[Measurement]:
        regions = _regions(data)
        maps = encode.maps(regions)
        if maps is None:
            return []
        chance = grounding(maps, regions.boxes, regions.images.shape[1:3])

        def measurement(short: str, title: str, level: str, metric: str) -> Measurement:
            reading = "share of phrases" if short != "energy" else "mean over phrases"
            return Measurement(
                f"grounding_{short}",
                np.nan,
                title,
                "grounding",
                "%",
                chance[level],
                rows=len(regions.phrases),
                reading=reading,
                headline=short == "pointing",
                short=short,
                metric=metric,
            )

        return [
            measurement(
                "pointing", "The largest value of the map lies in the box", "grounding_chance", "pointing_accuracy"
            ),
            measurement("box", "The right box, chosen among those of all objects", "grounding_box_chance", "accuracy"),
            measurement("energy", "Share of the map in the box", "grounding_chance", "energy_in_box"),
        ]

    def measure(self, encode: Encode, data: EvaluationData) -> Values:
        regions = _regions(data)
        maps = encode.maps(regions)
        return {} if maps is None else grounding(maps, regions.boxes, regions.images.shape[1:3])

    def draw(
        self, encode: Encode, data: EvaluationData, found: Sequence[Measurement], folder: Path, title: str
    ) -> None:
        from ..plots import plot_grounding

        regions = _regions(data)
        maps = encode.maps(regions)
        if maps is None:
            return
        # Evenly spread, not the best ones.
        rows = some(len(maps), SHOWN)
        phrases = [regions.phrases[row] for row in rows]
        images = regions.images[regions.pictures[rows]]
        plot_grounding(images, maps[rows], phrases, regions.boxes[rows, 0], folder / "grounding.png")


def _regions(data: EvaluationData) -> Regions:
    assert data.regions is not None
    return data.regions
