"""Where a model sees what a phrase names: the measurements and the figure."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .data.loaded import GroundingBenchmark
from .metrics.grounding import grounding
from .models.modeling_latent_albef import LatentALBEFForImageTextRetrieval
from .plots_grounding import plot_grounding
from .training import LatentTrainer

SHOWN = 8
BATCH = 128


class GroundingEvaluation:
    """Grad-CAM of matching for every phrase, over the tokens of the phrase, against boxes that training never saw."""

    def __init__(self, benchmark: GroundingBenchmark) -> None:
        self.benchmark = benchmark
        self.maps: np.ndarray | None = None

    @staticmethod
    def fits(model: Any) -> bool:
        """Whether the model has learned to tell pairs, so that there is something to explain."""
        return isinstance(model, LatentALBEFForImageTextRetrieval) and model.config.itm_weight > 0

    def embed(self, trainer: LatentTrainer) -> None:
        """Nothing to gather: a map needs one row only."""
        self.model: Any = trainer.accelerator.unwrap_model(trainer.model)
        self.processor: Any = trainer.processing_class

    def metrics(self) -> dict[str, float]:
        """As [`metrics.grounding`]; nothing where the image tokens are no grid, which is said."""
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
        rows = np.linspace(0, len(self.maps) - 1, min(SHOWN, len(self.maps))).astype(int)
        images = self.benchmark.images[self.benchmark.pictures[rows]]
        phrases = [self.benchmark.phrases[row] for row in rows]
        plot_grounding(images, self.maps[rows], phrases, self.benchmark.boxes[rows, 0], folder / "grounding.png")


def phrase_maps(model: LatentALBEFForImageTextRetrieval, processor: Any, benchmark: GroundingBenchmark) -> np.ndarray:
    """`(phrases, rows, columns)`: the map of each phrase in its picture, over its words; see `grounding_maps`."""
    words = processor.stack("text", benchmark.phrases)
    special = torch.tensor(processor.tokenizers["text"].all_special_ids)
    chosen = ~torch.isin(words["input_ids"], special)
    found: list[Tensor] = []
    for rows in torch.arange(len(benchmark.phrases)).split(BATCH):
        pictures = [benchmark.images[number] for number in benchmark.pictures[rows.numpy()]]
        inputs = {**processor(images=pictures), **{name: column[rows] for name, column in words.items()}}
        inputs = {name: column.to(model.device) for name, column in inputs.items()}
        found.append(model.grounding_maps(**inputs, tokens=chosen[rows].to(model.device)).cpu())
    return torch.cat(found).numpy()
