"""The picture of the latent space of a run, colored by its labels."""

from pathlib import Path

import numpy as np
import torch.nn.functional as F

from ..data.loaded import EvaluationData
from .benchmark import Encode, some

MAP_ROWS = 1500
MOST_CLASSES = 70  # that colors and markers tell apart
MOST_PANELS = 6
FEWEST = 3


def draw_latent_map(encode: Encode, data: EvaluationData, path: Path) -> None:
    """Draw held-out rows in two dimensions: the modalities in one space, or their joint representation.

    Labels whose classes are not told apart by a picture are left out; without a label a space of several modalities is
    colored by modality, and a joint representation is not drawn. Of a downstream task its benchmark draws figures.
    """
    if data.target is not None:
        return
    from ..plots import plot_latent_map

    classes = {name: label for name, label in data.labels.items() if label.kind == "class"}
    labels = {name: label for name, label in classes.items() if len(label.names) <= MOST_CLASSES}
    names = {label.title or name: list(label.names) for name, label in labels.items()}
    known = np.zeros(len(data.test), dtype=bool)
    known[data.test.having(*(data.columns if encode.compared else ()))] = True
    for name in labels:
        known &= data.test.labels[name] >= 0
    held_out = np.flatnonzero(known)
    if encode.compared:
        found = encode(data.test.rows).embeds or {}
        embeds = {name: found[name] for name in data.columns if name in found}
        rows = held_out[some(len(held_out), MAP_ROWS // len(embeds))]
        vectors = np.concatenate([F.normalize(part, dim=-1).numpy()[rows] for part in embeds.values()])
        factors = {"modality": np.repeat(np.arange(len(embeds)), len(rows))}
        names = {"modality": list(embeds), **names}
        copies = len(embeds)
    else:
        rows = held_out[some(len(held_out), MAP_ROWS)]
        vectors, factors, copies = encode.features(data.test.rows)[rows], {}, 1
    for name, label in labels.items():
        factors[label.title or name] = np.tile(data.test.labels[name][rows], copies)
    factors = dict(list(factors.items())[:MOST_PANELS])
    if factors and len(vectors) >= FEWEST:
        plot_latent_map(vectors, factors, path, {name: names[name] for name in factors})
