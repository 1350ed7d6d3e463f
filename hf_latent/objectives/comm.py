"""The CoMM objective, and the two baselines that its paper measures against."""

from collections.abc import Sequence
from itertools import combinations
from typing import Any, cast

import torch
from torch import Tensor
from transformers import PreTrainedConfig

from ..losses.contrastive import nt_xent, symmetric_info_nce
from ..models.embeddings import Embeddings
from .base import Objective, register_objective


def _mean(losses: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(losses)).mean()


@register_objective("comm", "comm")
class CoMMObjective(Objective):
    r"""Contrast every modality alone, and all together, with the fused other view.

    \[ L = \frac{1}{n+1} \Big( L_{joint} + \sum_i L_i \Big), \quad
       L_i = \tfrac12 [\ell(z^1_i, z^2) + \ell(z^2_i, z^1)], \quad L_{joint} = \ell(z^1, z^2) \]

    where \(z^v\) fuses all modalities of view v, \(z^v_i\) only modality i, and \(\ell\) is NT-Xent.

    Source: Dufumier, Castillo-Navarro et al., ICLR 2025, equations 6 to 8. As in its official code the terms are
    averaged, where the paper sums them, and \(z_i\) comes from the augmented modality. NT-Xent is symmetric, so the
    joint term is computed once.

    The terms are named after the modalities and `joint`.
    """

    requires = frozenset({"embeds", "augmented", "fused", "fused_augmented"})

    def __init__(self, config: PreTrainedConfig) -> None:
        super().__init__(config)
        names = {"joint": [], "single": list(config.modalities), "both": list(config.modalities)}[config.loss_terms]
        self.terms = names + (["joint"] if config.loss_terms != "single" else [])
        weights = config.loss_weights
        if weights is not None and len(weights) != len(self.terms):
            raise ValueError(f"loss_weights={weights}: give {len(self.terms)} numbers, for {', '.join(self.terms)}")
        self.weights = dict(zip(self.terms, weights or [1.0] * len(self.terms), strict=True))

    def __call__(
        self,
        embeddings: Embeddings,
        scale: Tensor | float,
        *,
        rows: slice | None = None,
        progress: float = 0.0,
        queue: Any = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        z = self.checked(embeddings)
        losses = {}
        for term in self.terms:
            if term == "joint":
                losses[term] = nt_xent(z.fused, z.fused_augmented, scale, rows=rows, ids=z.ids)
            else:
                there = nt_xent(z.embeds[term], z.fused_augmented, scale, rows=rows, ids=z.ids)
                back = nt_xent(z.augmented[term], z.fused, scale, rows=rows, ids=z.ids)
                losses[term] = (there + back) / 2
        loss = _mean([self.weights[term] * value for term, value in losses.items()])
        return loss, {term: value.detach() for term, value in losses.items()}

    def features(self, embeddings: Embeddings) -> Tensor:
        """The fused representation, `(batch, embed_dim)`."""
        return cast(Tensor, embeddings.fused)


@register_objective("comm", "cross")
class CrossObjective(Objective):
    """InfoNCE between the modalities, averaged over their pairs: "Cross" in the paper, as CLIP trains."""

    def __call__(
        self,
        embeddings: Embeddings,
        scale: Tensor | float,
        *,
        rows: slice | None = None,
        progress: float = 0.0,
        queue: Any = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        z = self.checked(embeddings)
        pairs = combinations(z.embeds.values(), 2)
        cross = _mean([symmetric_info_nce(a, b, scale, rows=rows, ids=z.ids) for a, b in pairs])
        return cross, {"cross": cross.detach()}

    def features(self, embeddings: Embeddings) -> Tensor:
        """The representations of the single modalities side by side, `(batch, modalities * embed_dim)`."""
        return torch.cat(list((embeddings.embeds or {}).values()), dim=-1)


@register_objective("comm", "cross_self")
class CrossSelfObjective(CrossObjective):
    """Cross plus NT-Xent between the two views of each modality, averaged: "Cross+Self" in the paper."""

    requires = frozenset({"embeds", "augmented"})

    def __call__(
        self,
        embeddings: Embeddings,
        scale: Tensor | float,
        *,
        rows: slice | None = None,
        progress: float = 0.0,
        queue: Any = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        cross, terms = super().__call__(embeddings, scale, rows=rows)
        z = self.checked(embeddings)
        own = _mean([nt_xent(z.embeds[name], z.augmented[name], scale, rows=rows, ids=z.ids) for name in z.embeds])
        return cross + own, {**terms, "self": own.detach()}
