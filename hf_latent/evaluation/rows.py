"""Which rows of a data set are drawn."""

import numpy as np

MAP_ROWS = 1500


def some(total: int, most: int = MAP_ROWS) -> np.ndarray:
    """At most `most` row numbers, spread evenly: a map of more is a blot."""
    return np.linspace(0, total - 1, min(most, total)).astype(int)
