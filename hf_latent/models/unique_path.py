"""What each modality tells alone, by an encoder of its own (COrAL)."""

from collections.abc import Collection, Iterable, Mapping

import torch
from torch import Tensor, nn
from transformers import initialization as init

from .encoders import float_dtype
from .latent_converter import converted_views
from .objective_modules import ObjectiveModule


class AttentionPooling(ObjectiveModule):
    """The mean of the tokens of a row, weighted by the softmax of their products with one learned vector.

    Args:
        dim: Width of the tokens.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.zeros(dim))

    def initialize(self) -> None:
        init.normal_(self.query)

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """
        Args:
            tokens: `(batch, length, dim)`.
            mask: `(batch, length)` bool, True where a token is real; None where all are.

        Returns:
            `(batch, dim)`. Of a row without a real token it tells nothing.
        """
        scores = tokens @ self.query
        if mask is not None:
            scores = scores.masked_fill(~mask.bool(), torch.finfo(scores.dtype).min)
        return (scores.softmax(dim=1).unsqueeze(1) @ tokens).squeeze(1)


class UniquePaths(nn.Module):
    """One vector a modality, which the other modalities do not reach: the tokens of a second encoder go through a
    perceptron, each by itself, and are pooled.

    Args:
        encoders: As those of the model.
        converters: As those of the model.
        dim: Width of the converted tokens; the vectors are `dim // 2` wide.
        frozen: The modalities whose encoders are not trained.

    Source: Cissee, Younis and Ahmadi (COrAL), 2026, and its official code.
    """

    def __init__(
        self, encoders: nn.ModuleDict, converters: nn.ModuleDict, dim: int, frozen: Collection[str] = ()
    ) -> None:
        super().__init__()
        self.encoders, self.converters, self.frozen = encoders, converters, frozenset(frozen)
        self.perceptrons = nn.ModuleDict(
            {
                name: nn.Sequential(nn.Linear(dim, dim), nn.LayerNorm(dim), nn.GELU(), nn.Linear(dim, dim // 2))
                for name in encoders
            }
        )
        self.pooling = nn.ModuleDict({name: AttentionPooling(dim // 2) for name in encoders})

    def train(self, mode: bool = True) -> "UniquePaths":
        super().train(mode)
        for name in self.frozen:
            self.encoders[name].eval()
        return self

    def begin_as(self, encoders: nn.ModuleDict, converters: nn.ModuleDict) -> None:
        """Take the weights of these, but for what was loaded, and freeze what is frozen."""
        for own, other in ((self.encoders, encoders), (self.converters, converters)):
            for mine, theirs in zip(_tensors(own), _tensors(other), strict=True):
                init.copy_(mine, theirs)
        for name in self.frozen:
            self.encoders[name].requires_grad_(False)

    def forward(
        self,
        first: Mapping[str, Mapping[str, Tensor]],
        second: Mapping[str, Mapping[str, Tensor]] | None,
        names: Iterable[str],
    ) -> dict[str, Tensor]:
        """
        Args:
            first: The inputs of each modality.
            second: Those of the second view of the same rows.
            names: The modalities that are read.

        Returns:
            `(views * batch, dim // 2)` of each modality.
        """
        found = {}
        for name in names:
            views = (first[name], None if second is None else second[name])
            tokens, mask = converted_views(self.encoders[name], self.converters[name], *views)
            with torch.autocast(tokens.device.type, enabled=False):
                hidden = self.perceptrons[name](tokens.to(float_dtype(self.perceptrons[name])))
                found[name] = self.pooling[name](hidden, mask)
        return found


def _tensors(module: nn.Module) -> list[Tensor]:
    return [*module.parameters(), *module.buffers()]
