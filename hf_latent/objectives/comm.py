"""The CoMM objective, and the two baselines that its paper measures against."""

from collections.abc import Sequence
from itertools import combinations
from typing import Any, cast

import torch
from torch import Tensor
from transformers import PreTrainedConfig

from ..citations import DUFUMIER_2025, RADFORD_2021
from ..losses.contrastive import nt_xent, symmetric_info_nce
from ..models.embeddings import Embeddings
from .base import INFO_NCE_FORMULA, Objective, register_objective, select

NT_XENT_FORMULA = (
    r"\ell(a, b) = -\frac{1}{2N} \sum_j \log \frac{e^{\langle x_j, x_{p(j)} \rangle / \tau}}"
    r"{\sum_{k \neq j} e^{\langle x_j, x_k \rangle / \tau}}, \quad x = (a_1, ..., a_N, b_1, ..., b_N)"
)


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
    supports_missing = True

    def __init__(self, config: PreTrainedConfig) -> None:
        super().__init__(config)
        names = {"joint": [], "single": list(config.modalities), "both": list(config.modalities)}[config.loss_terms]
        self.terms = names + (["joint"] if config.loss_terms != "single" else [])
        weights = config.loss_weights
        if weights is not None and len(weights) != len(self.terms):
            raise ValueError(f"loss_weights={weights}: give {len(self.terms)} numbers, for {', '.join(self.terms)}")
        self.weights = dict(zip(self.terms, weights or [1.0] * len(self.terms), strict=True))

    @property
    def formula(self) -> str:
        # The modalities by their numbers: a name need not be LaTeX.
        symbols = [r"L_\mathrm{joint}" if term == "joint" else f"L_{i}" for i, term in enumerate(self.terms, start=1)]
        factors = ["" if weight == 1 else f"{weight:g} " for weight in self.weights.values()]
        total = " + ".join(f"{factor}{symbol}" for factor, symbol in zip(factors, symbols, strict=True))
        lines = [rf"\frac{{1}}{{{len(self.terms)}}} ({total})" if len(self.terms) > 1 else total]
        if self.config.loss_terms != "joint":
            lines.append(r"L_i = \frac{1}{2} [\ell(z_i, \tilde z) + \ell(\tilde z_i, z)]")
        if self.config.loss_terms != "single":
            lines.append(r"L_\mathrm{joint} = \ell(z, \tilde z)")
        return "\n".join([*lines, NT_XENT_FORMULA])

    @property
    def citations(self) -> tuple[str, ...]:
        return (DUFUMIER_2025,)

    def __call__(
        self,
        embeddings: Embeddings,
        scale: Tensor | float,
        *,
        rows: slice | None = None,
        progress: float = 0.0,
        queue: Any = None,
        modules: Any = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        losses = self._losses(self.checked(embeddings), scale, rows)
        loss = _mean([self.weights[term] * value for term, value in losses.items()])
        return loss, {term: value.detach() for term, value in losses.items()}

    def _losses(self, z: Any, scale: Tensor | float, rows: slice | None) -> dict[str, Tensor]:
        losses = {}
        for term in self.terms:
            part, own = select(z, () if term == "joint" else (term,), rows)
            if term == "joint":
                losses[term] = nt_xent(part.fused, part.fused_augmented, scale, rows=own, ids=part.ids)
            else:
                there = nt_xent(part.embeds[term], part.fused_augmented, scale, rows=own, ids=part.ids)
                back = nt_xent(part.augmented[term], part.fused, scale, rows=own, ids=part.ids)
                losses[term] = (there + back) / 2
        return losses

    def features(self, embeddings: Embeddings) -> Tensor:
        """The fused representation, `(batch, embed_dim)`."""
        return cast(Tensor, embeddings.fused)


@register_objective("comm", "cross")
class CrossObjective(Objective):
    """InfoNCE between the modalities, averaged over their pairs: "Cross" in the paper, as CLIP trains."""

    supports_missing = True

    @property
    def summary(self) -> str:
        return (
            'InfoNCE between the modalities only, the baseline "Cross" of [CoMM](https://arxiv.org/abs/2409.07402), '
            "which keeps what the modalities share and tends to lose the rest"
        )

    @property
    def formula(self) -> str:
        return r"\frac{1}{2} (L_{A \to B} + L_{B \to A})" "\n" + INFO_NCE_FORMULA

    @property
    def citations(self) -> tuple[str, ...]:
        return (DUFUMIER_2025, RADFORD_2021)

    def __call__(
        self,
        embeddings: Embeddings,
        scale: Tensor | float,
        *,
        rows: slice | None = None,
        progress: float = 0.0,
        queue: Any = None,
        modules: Any = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        z = self.checked(embeddings)
        pairs = []
        for a, b in combinations(z.embeds, 2):
            part, own = select(z, (a, b), rows)
            pairs.append(symmetric_info_nce(part.embeds[a], part.embeds[b], scale, rows=own, ids=part.ids))
        cross = _mean(pairs)
        return cross, {"cross": cross.detach()}

    def features(self, embeddings: Embeddings) -> Tensor:
        """The representations of the single modalities side by side, `(batch, modalities * embed_dim)`; zeros for
        those that a row lacks."""
        embeds = embeddings.embeds or {}
        if embeddings.present is not None:
            embeds = {name: rows * embeddings.present[name][:, None] for name, rows in embeds.items()}
        return torch.cat(list(embeds.values()), dim=-1)


@register_objective("comm", "cross_self")
class CrossSelfObjective(CrossObjective):
    """Cross plus NT-Xent between the two views of each modality, averaged: "Cross+Self" in the paper."""

    requires = frozenset({"embeds", "augmented"})

    @property
    def summary(self) -> str:
        return (
            'InfoNCE between the modalities and between the views of each, the baseline "Cross+Self" of '
            "[CoMM](https://arxiv.org/abs/2409.07402)"
        )

    @property
    def formula(self) -> str:
        total, *where = super().formula.splitlines()
        return "\n".join([rf"{total} + \frac{{1}}{{n}} \sum_i \ell(z_i, \tilde z_i)", *where, NT_XENT_FORMULA])

    def __call__(
        self,
        embeddings: Embeddings,
        scale: Tensor | float,
        *,
        rows: slice | None = None,
        progress: float = 0.0,
        queue: Any = None,
        modules: Any = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        cross, terms = super().__call__(embeddings, scale, rows=rows)
        z = self.checked(embeddings)
        views = []
        for name in z.embeds:
            part, own = select(z, (name,), rows)
            views.append(nt_xent(part.embeds[name], part.augmented[name], scale, rows=own, ids=part.ids))
        of_itself = _mean(views)
        return cross + of_itself, {**terms, "self": of_itself.detach()}
