"""Combinations of Trifeature to validate on, which training never shows."""

from dataclasses import replace

import numpy as np

from ..errors import UserError
from .trifeature import COLORS, TEXTURES, Trifeature, TrifeatureImages, generator

_VALIDATION = 9  # the random stream, after those of `trifeature`, its scenes and its tasks


def cut_combinations(trifeature: Trifeature, share: float) -> tuple[Trifeature, Trifeature | None]:
    """Cut a share of the training combinations of shape, texture and color off, with all of their pictures.

    Args:
        trifeature: Both splits.
        share: Of the combinations, 0 or more and below 1; 0 cuts nothing.

    Returns:
        What is left, and the same with the pictures that were cut off as `train`; None where none were.

    Raises:
        UserError: If the share is out of its range, or less than a combination.
    """
    if not share:
        return trifeature, None
    images = trifeature.train
    numbers = (images.shape * len(TEXTURES) + images.texture) * len(COLORS) + images.color
    combinations = np.unique(numbers)
    count = int(len(combinations) * share)
    if not 0 < share < 1 or not count:
        least = f"{1 / len(combinations):.4f}"
        raise UserError(
            f"data.validation_share={share}: write {least} or more, which is a combination, and less than 1"
        )
    chosen = generator(trifeature.seed, _VALIDATION).permutation(combinations)[:count]
    held = np.isin(numbers, chosen)
    return replace(trifeature, train=_some(images, ~held)), replace(trifeature, train=_some(images, held))


def _some(images: TrifeatureImages, rows: np.ndarray) -> TrifeatureImages:
    return TrifeatureImages(images.images[rows], images.shape[rows], images.texture[rows], images.color[rows])
