"""How well maps show what a phrase names, against boxes that training never saw."""

import numpy as np
from numpy.typing import ArrayLike


def grounding(maps: ArrayLike, boxes: ArrayLike, size: tuple[int, int]) -> dict[str, float]:
    """Measure maps on a grid over pictures with the boxes of what is in them.

    Args:
        maps: `(phrases, rows, columns)`, 0 or more.
        boxes: `(phrases, candidates, 4)`, left, top, right, bottom in pixels, right and bottom exclusive: first the
            box that is right, then those of the other objects; rows of zeros where there are no more.
        size: `(height, width)` of the pictures.

    Returns:
        In percent: `grounding_pointing`, how often the middle of the cell with the largest value lies in the right box
        (Zhang et al. 2018); `grounding_chance`, how often the middle of any cell would; `grounding_box`, how often the
        right box is the one of the picture with the largest sum of the map over the root of its area, as ALBEF's code
        ranks detected boxes; `grounding_box_chance`, what a guess among them reaches; `grounding_energy`, the share of
        the map that lies in the right box. A map of zeros points at nothing and counts as wrong.

    Raises:
        ValueError: If the shapes do not fit, or there is no phrase.
    """
    values, frames = np.asarray(maps, dtype=np.float64), np.asarray(boxes, dtype=np.float64)
    if values.ndim != 3 or frames.ndim != 3 or frames.shape[2] != 4 or len(values) != len(frames) or not len(values):
        raise ValueError(
            f"maps {values.shape}, boxes {frames.shape}: give (phrases, rows, columns) and (phrases, n, 4)"
        )
    spans = [(np.arange(count + 1) / count * side) for count, side in zip(values.shape[1:], size, strict=True)]
    left, top, right, bottom = np.moveaxis(frames, 2, 0)[..., None]
    vertical, horizontal = _covered(top, bottom, spans[0]), _covered(left, right, spans[1])
    inside = np.einsum("pbr,prc,pbc->pb", vertical, values, horizontal)
    total = values.sum(axis=(1, 2))
    seen = total > 0
    middles = [(span[:-1] + span[1:]) / 2 for span in spans]
    in_rows = (top[:, 0] <= middles[0]) & (middles[0] < bottom[:, 0])
    in_columns = (left[:, 0] <= middles[1]) & (middles[1] < right[:, 0])
    hit = (in_rows[:, :, None] & in_columns[:, None, :]).reshape(len(values), -1)
    pointed = hit[np.arange(len(values)), values.reshape(len(values), -1).argmax(axis=1)]
    area = ((right - left) * (bottom - top))[..., 0]
    score = np.where(area > 0, inside / np.sqrt(np.maximum(area, 1)), -1.0)
    shares = {
        "grounding_pointing": pointed & seen,
        "grounding_chance": hit.mean(axis=1),
        "grounding_box": (score.argmax(axis=1) == 0) & seen,
        "grounding_box_chance": 1 / (area > 0).sum(axis=1),
        "grounding_energy": np.divide(inside[:, 0], total, out=np.zeros(len(total)), where=seen),
    }
    return {name: 100 * float(np.mean(share)) for name, share in shares.items()}


def _covered(low: np.ndarray, high: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """`(phrases, boxes, cells)`: the share of each cell, along one axis, that lies between low and high."""
    overlap = np.minimum(high, edges[1:]) - np.maximum(low, edges[:-1])
    return np.clip(overlap, 0, None) / (edges[1:] - edges[:-1])
