"""Redundancy, uniqueness and synergy of a model's features."""

from pathlib import Path
from typing import Any

from ..data.loaded import Probes
from ..metrics import interactions
from ..plots import plot_interactions, plot_latent_map
from ..training import LatentTrainer
from .rows import some


class InteractionsEvaluation:
    """Redundancy, uniqueness and synergy, read by linear probes from what the objective calls its features."""

    def __init__(self, probes: Probes, protocol: str) -> None:
        self.probes, self.protocol = probes, protocol

    def embed(self, trainer: LatentTrainer) -> None:
        """Embed all rows; every process takes part."""
        self.train, self.test = trainer.features(self.probes.train), trainer.features(self.probes.test)

    def metrics(self) -> dict[str, float]:
        labels = self.probes.train_labels, self.probes.test_labels
        return interactions(self.train, labels[0], self.test, labels[1], protocol=self.protocol)

    def figures(self, folder: Path, name: str, metrics: dict[str, Any]) -> None:
        plot_interactions({name: metrics}, folder / "interactions.png")
        titles = {key: title for key, title in self.probes.titles.items() if key in self.probes.test_labels}
        rows = some(len(self.test))
        factors = {title: self.probes.test_labels[key][rows] for key, title in titles.items()}
        classes = {title: self.probes.class_names[key] for key, title in titles.items()}
        plot_latent_map(self.test[rows], factors, folder / "latent_map.png", classes)
