"""Whether a picture is like those of the sample: a model says something of any picture, also of what it never saw."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from hf_latent.models.images import read_image

SIDE = 8  # pixels of the side of what is compared
FEWEST = 20  # pictures that tell how far apart pictures are


class Usual:
    """How far the pictures of a sample are from each other.

    Pictures are compared by their pixels, not by their embeddings: a model may map a picture that is unlike its
    training data to a place among them. The distance of two is the root mean square of the
    differences of their values, 0 to 255, at 8 x 8 pixels. A flat picture is near to any other of its mean; it is told
    by its contrast, the standard deviation of these values.

    Args:
        pictures: Of the sample, as its data set has them.

    Attributes:
        most: The largest distance of one of them from its nearest other one; infinite of a single one.
        contrast: The smallest and the largest contrast among them.
    """

    def __init__(self, pictures: Sequence[Any]) -> None:
        self._known = np.unique([_small(picture) for picture in pictures], axis=0)  # a picture may come again
        contrasts = self._known.std(1)
        self.contrast = float(contrasts.min()), float(contrasts.max())
        self._squares = (self._known**2).sum(1)
        distances = np.stack([self._distances(values) for values in self._known])
        np.fill_diagonal(distances, np.inf)
        self.most = float(distances.min(1).max())

    def __len__(self) -> int:
        return len(self._known)

    def distance(self, picture: Any) -> float:
        """The distance of a picture from the nearest of the sample."""
        return float(self._distances(_small(picture)).min())

    def unlike_html(self, picture: Any, what: str = "This picture") -> str:
        """That a picture is unlike those of the sample; empty where it is like them, or too few are known."""
        if len(self) < FEWEST:
            return ""
        found, contrast, (low, high) = self.distance(picture), float(_small(picture).std()), self.contrast
        if found > self.most:
            why = (
                f"its values differ from those of the nearest by {found:.0f} of 255 (root mean square), where each of "
                f"the {len(self)} of the sample has another within {self.most:.0f}"
            )
        elif not low <= contrast <= high:
            why = (
                f"the standard deviation of its values is {contrast:.1f} of 255, where the {len(self)} of the sample "
                f"have {low:.1f} to {high:.1f}"
            )
        else:
            return ""
        return (
            f"<p class='quiet'>{what} is unlike the pictures of the sample: at {SIDE} x {SIDE} pixels {why}. Nothing "
            "that was measured of this model tells how it does on such pictures.</p>"
        )

    def _distances(self, values: np.ndarray) -> np.ndarray:
        squares = self._squares + (values**2).sum() - 2 * self._known @ values
        return np.sqrt(np.maximum(squares, 0) / len(values))


def _small(picture: Any) -> np.ndarray:
    """(SIDE * SIDE * 3,) a picture, squashed to a small square."""
    image = read_image(picture).resize((SIDE, SIDE), Image.Resampling.BOX)
    return np.asarray(image, dtype=np.float64).ravel()
