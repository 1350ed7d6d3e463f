"""Where a model sees what a phrase names: the measurements and the figure."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..data.loaded import GroundingBenchmark
from ..metrics.grounding import grounding
from ..models.modeling_latent_albef import LatentALBEFForImageTextRetrieval
from ..plots import plot_grounding
from ..training import LatentTrainer
from .rows import some

SHOWN = 8
BATCH = 128


class GroundingEvaluation:
    """Grad-CAM of matching for every phrase, against boxes that training never saw."""

    def __init__(self, benchmark: GroundingBenchmark) -> None:
        self.benchmark = benchmark
        self.maps: np.ndarray | None = None

    def embed(self, trainer: LatentTrainer) -> None:
        """Nothing to gather: a map needs one row only."""
        self.model: Any = trainer.accelerator.unwrap_model(trainer.model)
        self.processor: Any = trainer.processing_class

    def metrics(self) -> dict[str, float]:
        """As [`metrics.grounding`]; nothing of a model that cannot tell pairs, and nothing where the image tokens are
        no grid, which is said."""
        if not isinstance(self.model, LatentALBEFForImageTextRetrieval) or not self.model.config.itm_weight:
            return {}
        try:
            self.maps = phrase_maps(self.model, self.processor, self.benchmark)
        except ValueError as error:
            print(f"Phrases are not grounded: {error}")
            return {}
        return grounding(self.maps, self.benchmark.boxes, self.benchmark.images.shape[1:3])

    def figures(self, folder: Path, name: str, metrics: dict[str, Any]) -> None:
        if self.maps is None:
            return
        # Evenly spread, not the best ones.
        rows = some(len(self.maps), SHOWN)
        images = self.benchmark.images[self.benchmark.pictures[rows]]
        phrases = [self.benchmark.phrases[row] for row in rows]
        plot_grounding(images, self.maps[rows], phrases, self.benchmark.boxes[rows, 0], folder / "grounding.png")


def phrase_maps(model: LatentALBEFForImageTextRetrieval, processor: Any, benchmark: GroundingBenchmark) -> np.ndarray:
    """`(phrases, rows, columns)`: the map of each phrase in its picture; see `grounding_maps`."""
    words = processor.stack("text", [benchmark.template.format(phrase) for phrase in benchmark.phrases])
    found: list[Tensor] = []
    for rows in torch.arange(len(benchmark.phrases)).split(BATCH):
        pictures = [benchmark.images[number] for number in benchmark.pictures[rows.numpy()]]
        inputs = {**processor(images=pictures), **{name: column[rows] for name, column in words.items()}}
        inputs = {name: column.to(model.device) for name, column in inputs.items()}
        found.append(model.grounding_maps(**inputs).cpu())
    return torch.cat(found).numpy()
