"""The rows of one process in chunks, for the gradient cache: what a model is asked in each of the passes."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..models.embeddings import Embeddings, HardNegatives


class TwoPasses:
    """Embeds chunks of rows, twice each.

    Args:
        model: It is asked `first_pass` and `second_pass`.
        batch: What the model reads of some rows, a slice or their numbers; of some modalities alone, the first view.
        rows: How many there are, or which of those that `batch` knows.
        size: Of a chunk.

    Attributes:
        late: The losses of rows that only the second pass has told, once it is over: one entry a chunk.
    """

    def __init__(self, model: Any, batch: Callable[..., Mapping[str, Any]], rows: int | slice, size: int) -> None:
        self.model, self.batch = model, batch
        rows = slice(0, rows) if isinstance(rows, int) else rows
        self.chunks = [slice(start, min(start + size, rows.stop)) for start in range(rows.start, rows.stop, size)]
        self._known: dict[int, Any] = {}
        self._picked: dict[str, Tensor] = {}
        self.late: list[Embeddings] = []

    def first(self, chunk: slice) -> Embeddings:
        found, self._known[chunk.start] = self.model.first_pass(**self.batch(chunk))
        return found

    @property
    def needs_second(self) -> bool:
        """Whether the second pass tells something that the first has not."""
        return any(known is not None for known in self._known.values())

    def choose_hard_negatives(self, embeddings: Embeddings) -> None:
        """Between the passes: all rows, but for those that only fill up the last chunk, which get none."""
        picked, rows = self.model.choose_hard_negatives(embeddings), self.chunks[-1].stop
        self._picked = {name: F.pad(of, (0, max(rows - len(of), 0)), value=-1) for name, of in picked.items()}

    def second(self, chunk: slice) -> Embeddings:
        known = self._known.pop(chunk.start)
        hard_negatives = {name: self._hard_negatives(name, rows, chunk) for name, rows in self._picked.items()}
        found = self.model.second_pass(known, hard_negatives, **self.batch(chunk))
        if known is not None and found.row_losses is not None:
            self.late.append(Embeddings(row_losses={name: rows.detach() for name, rows in found.row_losses.items()}))
        return found

    def _hard_negatives(self, name: str, rows: Tensor, chunk: slice) -> HardNegatives:
        """Each once; those of the chunk itself are there."""
        wanted = rows[chunk]
        inside = (wanted >= chunk.start) & (wanted < chunk.stop)
        others = wanted[~inside & (wanted >= 0)].unique()
        places = torch.where(inside, wanted - chunk.start, len(wanted) + torch.searchsorted(others, wanted))
        inputs = dict(self.batch(others, only={name})) if len(others) else {}
        return HardNegatives(torch.where(wanted < 0, -1, places), inputs)
