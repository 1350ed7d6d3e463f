"""What pairs of Trifeature images tell linear probes: by one image, by the other, and by both."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from explorer import Explorer
from sample import trifeature_of

from hf_latent.data.trifeature import COLORS, TEXTURES, TrifeaturePairs
from hf_latent.data.trifeature_data import PAIR_LABELS, TrifeatureData
from hf_latent.metrics import TASKS, Probe, fit_probe, score_probe
from hf_latent.models.embeddings import Embeddings

MODALITIES = ("image1", "image2")
VIEWS = {"image1": "Image 1 alone", "image2": "Image 2 alone", "fused": "Both"}
SYNERGY = "synergy"
PAIRS = 2000
REFERENCE = 600


@dataclass(frozen=True)
class Answer:
    """What one probe says of a pair: a class, its probability, and whether it is right, where one class is."""

    said: str
    share: float
    right: bool | None


class PairProbes:
    """Linear probes of every task on every view, fitted on pairs of training pictures.

    Attributes:
        mapping: (10,) the color of image 2 that fits each texture of image 1.
        accuracy: Task -> view -> macro accuracy on pairs of held-out pictures, in percent.
        fits: (10, 10) texture of image 1 by color of image 2: the probability of a fit that the probe of both images
            gives, its mean over held-out pairs; NaN where there is no pair.
        reference: Held-out pairs to find neighbours among.
    """

    def __init__(self, explorer: Explorer) -> None:
        self.explorer = explorer
        trifeature = trifeature_of(cast(TrifeatureData, explorer.source))
        self.mapping = trifeature.mapping
        train, test = (trifeature.pairs(split, max_pairs=PAIRS) for split in ("train", "test"))
        read, held_out = (features(explorer.embed(pixels_of(pairs))) for pairs in (train, test))
        self.probes: dict[str, dict[str, Probe]] = {}
        self.accuracy: dict[str, dict[str, float]] = {}
        for task in TASKS:
            labels, unseen = train.labels[task], test.labels[task]
            probes = {view: fit_probe(read[view], labels, balanced=task == SYNERGY) for view in VIEWS}
            scores = {view: score_probe(probe, held_out[view], unseen) for view, probe in probes.items()}
            self.probes[task] = probes
            self.accuracy[task] = {view: score.balanced_accuracy for view, score in scores.items()}
        first, second = test.index.T
        cells = test.source.texture[first], test.source.color[second]
        self.fits = means(cells, self.probes[SYNERGY]["fused"].probabilities(held_out["fused"])[:, 1])
        self.reference = TrifeaturePairs(test.source, test.index[:REFERENCE], test.mapping)
        # All features share one large part, which would make every cosine nearly 1.
        self._mean = {view: rows[:REFERENCE].mean(0) for view, rows in held_out.items()}
        self._directions = {view: self._direction(view, rows[:REFERENCE]) for view, rows in held_out.items()}

    def embed(self, images: tuple[np.ndarray, np.ndarray]) -> dict[str, np.ndarray]:
        """View -> (1, D) of two pictures, uint8."""
        return features(self.explorer.embed({name: [image] for name, image in zip(MODALITIES, images, strict=True)}))

    def answers(
        self, pair: Mapping[str, np.ndarray], truth: Mapping[str, Mapping[str, str | None]]
    ) -> dict[str, dict[str, Answer]]:
        """Task -> view -> what its probe says; `truth` has the right class of each, None where there is no one."""
        found: dict[str, dict[str, Answer]] = {}
        for task, probes in self.probes.items():
            found[task] = {}
            for view, probe in probes.items():
                shares = probe.probabilities(pair[view])[0]
                said, wanted = PAIR_LABELS[task].names[probe.classes[shares.argmax()]], truth[task][view]
                found[task][view] = Answer(said, float(shares.max()), None if wanted is None else said == wanted)
        return found

    def neighbours(self, pair: Mapping[str, np.ndarray], count: int) -> dict[str, list[tuple[int, float]]]:
        """View -> the most similar reference pairs, best first, and their cosines; by one image, an image counts once.

        Of the pairs that show one image, it is the one that is most similar by both.
        """
        cosine = {view: rows @ self._direction(view, pair[view])[0] for view, rows in self._directions.items()}
        found = {}
        for view, score in cosine.items():
            order = np.lexsort((-cosine["fused"], -score))
            shown = order if view == "fused" else self.reference.index[order, MODALITIES.index(view)]
            best = order[np.sort(np.unique(shown, return_index=True)[1])[:count]]
            found[view] = [(int(row), float(score[row])) for row in best]
        return found

    def _direction(self, view: str, rows: np.ndarray) -> np.ndarray:
        centred = rows - self._mean[view]
        return centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)


def features(embeddings: Embeddings) -> dict[str, np.ndarray]:
    """View -> (N, D): what the model makes of each image alone, and of both."""
    found: dict[str, Any] = {**(embeddings.embeds or {}), "fused": embeddings.fused}
    return {view: found[view].float().numpy() for view in VIEWS}


def pixels_of(pairs: TrifeaturePairs) -> dict[str, list[np.ndarray]]:
    """The pictures of pairs, as a model takes them."""
    return {name: list(pairs.source.images[pairs.index[:, k]]) for k, name in enumerate(MODALITIES)}


def means(cells: tuple[np.ndarray, np.ndarray], values: np.ndarray) -> np.ndarray:
    """(10, 10) the mean value in each cell, NaN in empty ones."""
    total, count = np.zeros((2, len(TEXTURES), len(COLORS)))
    np.add.at(total, cells, values)
    np.add.at(count, cells, 1)
    return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
