"""What is drawn for the rows of training beside their views: the modalities that they lack, and seeds of masks.

Of modality dropout rows lack modalities at random, so that a model learns to do with those that are there.
"""

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import Generator, Tensor

_DROPOUT, _MASKS = 1, 2  # streams apart from the views, whose key has four numbers


def kept_modalities(
    modalities: Iterable[str],
    probability: float,
    *,
    seed: int,
    position: int = 0,
    rows: slice | Tensor | None = None,
    global_rows: int,
    present: Mapping[str, Tensor] | None = None,
    device: torch.device | str = "cpu",
) -> dict[str, Tensor]:
    """Which modalities each row keeps.

    Each that a row has is left out with `probability`, independently; where that would leave none, the one with the
    largest number drawn stays. A row depends on the seed and its place in training alone.

    Args:
        modalities: Their names.
        probability: 0 or more and below 1.
        seed: Of the views.
        position: Rows consumed by training before this global batch.
        rows: Where the rows at hand lie in the global batch, a slice or their numbers; all of it by default.
        global_rows: Size of the global batch.
        present: `(rows,)` bool of each modality, those that a row has; by default all.
        device: Of the result.

    Returns:
        `(rows,)` bool of each modality.
    """
    names = list(modalities)
    drawn = torch.rand(global_rows, len(names), generator=_generator(seed, position, _DROPOUT))
    drawn = drawn[slice(None) if rows is None else rows].to(device)
    there = torch.ones_like(drawn, dtype=torch.bool)
    if present is not None:
        there = torch.stack([present[name].to(device) for name in names], dim=1)
    drawn = drawn.masked_fill(~there, -1.0)  # what a row lacks is not kept in place of the others
    kept = drawn >= probability
    largest = drawn == drawn.max(dim=1, keepdim=True).values
    kept = torch.where(kept.any(dim=1, keepdim=True), kept, largest) & there
    return dict(zip(names, kept.unbind(dim=1), strict=True))


def row_seeds(
    *,
    seed: int,
    position: int = 0,
    rows: slice | Tensor | None = None,
    global_rows: int,
    device: torch.device | str = "cpu",
) -> Tensor:
    """`(rows,)` int64, a random number a row, which depends on the seed and its place in training alone; the arguments
    are those of [`kept_modalities`]."""
    drawn = torch.randint(2**62, (global_rows,), generator=_generator(seed, position, _MASKS))
    return drawn[slice(None) if rows is None else rows].to(device)


def _generator(seed: int, position: int, stream: int) -> Generator:
    key = np.random.SeedSequence((seed, 0, 0, position, stream)).generate_state(1)
    return Generator().manual_seed(int(key[0]))
