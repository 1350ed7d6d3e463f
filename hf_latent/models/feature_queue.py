"""Features of earlier batches, as candidates for contrast."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn
from transformers import initialization as init

from .embeddings import Embeddings


class FeatureQueue(nn.Module):
    """The last `size` features of each modality, oldest out first; it begins empty, and what is empty is no candidate.

    Any number of rows may be pushed: `size` need not be a multiple of the batch.

    Args:
        size: Rows that it holds.
        dim: Of a feature.
        modalities: Their names.
    """

    ids: Tensor
    count: Tensor

    def __init__(self, size: int, dim: int, modalities: Iterable[str]) -> None:
        super().__init__()
        self.size, self.names = size, list(modalities)
        for name in self.names:
            self.register_buffer(f"{name}_features", torch.zeros(size, dim))
        self.register_buffer("ids", torch.full((size,), -1))
        self.register_buffer("count", torch.zeros((), dtype=torch.long))  # of all that was ever pushed
        self._known: tuple[Tensor, int, int] | None = None

    def initialize(self) -> None:
        """Empty it; what was loaded stays."""
        for name in self.names:
            init.zeros_(self.get_buffer(f"{name}_features"))
        init.constant_(self.ids, -1)
        init.zeros_(self.count)

    @torch.no_grad()
    def push(self, features: Mapping[str, Tensor], ids: Tensor | None) -> None:
        """Take in `(batch, dim)` features of each modality and their ids, `(batch,)`."""
        rows = len(next(iter(features.values())))
        own = slice(max(0, rows - self.size), rows)
        places = (self.count + torch.arange(rows, device=self.count.device)[own]) % self.size
        for name in self.names:
            buffer = self.get_buffer(f"{name}_features")
            buffer[places] = features[name][own].to(buffer)
        self.ids[places] = -1 if ids is None else ids[own].to(self.ids)
        pushed = self.pushed + rows
        self.count += rows
        if not self.count.is_inference():
            self._known = self.count, self.count._version, pushed

    @property
    def pushed(self) -> int:
        """`count` as a number. It is read from the device once: afterwards, `push` knows it."""
        count = self.count
        if count.is_inference():  # it has no version
            return int(count)
        if self._known is None or self._known[0] is not count or self._known[1] != count._version:
            self._known = count, count._version, int(count)  # it was loaded or moved
        return self._known[2]

    def embeddings(self) -> Embeddings:
        """What it holds, as the second view of earlier rows."""
        held = slice(0, min(self.pushed, self.size))
        return Embeddings(
            augmented={name: self.get_buffer(f"{name}_features")[held] for name in self.names}, ids=self.ids[held]
        )
