"""The CoMM objective, and the two baselines that its paper measures against."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, ClassVar, cast

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


@dataclass(frozen=True)
class CrossOptions:
    """
    Args:
        clean: Read the rows as they are where modalities are contrasted, as the paper does. Otherwise these are the
            augmented views of CoMM.

    Raises:
        ValueError: If it is neither true nor false.
    """

    clean: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.clean, bool):
            raise ValueError(f"clean={self.clean!r}: write true or false")


@register_objective("comm", "cross")
class CrossObjective(Objective):
    r"""InfoNCE between the modalities, averaged over their pairs: "Cross" in the paper, as CLIP trains.

    \[ L = \frac{1}{|P|} \sum_{(A, B) \in P} \tfrac12 (L_{A \to B} + L_{B \to A}) \]

    over the pairs P. With `clean` the first view is not augmented, and there is no second one.

    Source: Radford et al., ICML 2021, as Dufumier, Castillo-Navarro et al., ICLR 2025, measure against. What differs:
    there the inputs are clean and the temperature is learned, from 0.07 and not below 0.01; here it is fixed: write
    `objective_options: {clean: true}` and `temperature: 0.07`.

    The term is `cross`.
    """

    supports_missing = True
    Options: ClassVar[type] = CrossOptions

    @property
    def reads_clean(self) -> bool:
        return getattr(self.options, "clean", False)

    @property
    def notation(self) -> str:
        return "Training reads the rows as they are, without augmentation." if self.reads_clean else ""

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
    r"""A contrast between the modalities, and NT-Xent between the two views of each: "Cross+Self" in the paper.

    \[ L = \frac{1}{|P|} \sum_{(A, B) \in P} \tfrac12 (L_{A \to B} + L_{B \to A})
       + \frac1n \sum_i \ell(z_i, \tilde z_i) \]

    over the pairs P of the n modalities, where \(\ell\) is NT-Xent. With `clean`, as in the official code,

    \[ L = \frac{1}{|P|} \sum_{(A, B) \in P} \ell(z_A, z_B) + \frac1n \sum_i \ell(\tilde z_i, \hat z_i) \]

    where \(z\) are the rows as they are and \(\tilde z\), \(\hat z\) two augmented views: three encodings of each
    modality.

    Source: a baseline of Dufumier, Castillo-Navarro et al., ICLR 2025. What differs without `clean`: the modalities
    are contrasted in the first of two augmented views, by InfoNCE.

    The terms are `cross` and `self`.
    """

    requires = frozenset({"embeds", "augmented"})

    def __init__(self, config: PreTrainedConfig) -> None:
        super().__init__(config)
        if self.reads_clean:
            self.requires = self.requires | {"third_augmented"}

    @property
    def summary(self) -> str:
        return (
            'InfoNCE between the modalities and between the views of each, the baseline "Cross+Self" of '
            "[CoMM](https://arxiv.org/abs/2409.07402)"
        )

    @property
    def formula(self) -> str:
        total, *where = super().formula.splitlines()
        if self.reads_clean:
            return "\n".join([r"\ell(z^A, z^B) + \frac{1}{n} \sum_i \ell(\tilde z_i, \hat z_i)", NT_XENT_FORMULA])
        return "\n".join([rf"{total} + \frac{{1}}{{n}} \sum_i \ell(z_i, \tilde z_i)", *where, NT_XENT_FORMULA])

    @property
    def notation(self) -> str:
        if not self.reads_clean:
            return ""
        return (
            "*z* is of the rows as they are; a tilde and a hat mark two augmented views, *n* is how many modalities."
        )

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
        if self.reads_clean:
            pairs = []
            for a, b in combinations(z.embeds, 2):
                part, own = select(z, (a, b), rows)
                pairs.append(nt_xent(part.embeds[a], part.embeds[b], scale, rows=own, ids=part.ids))
            cross = _mean(pairs)
        else:
            cross, _ = super().__call__(z, scale, rows=rows)
        views = []
        for name in z.embeds:
            part, own = select(z, (name,), rows)
            one, other = (part.augmented, part.third_augmented) if self.reads_clean else (part.embeds, part.augmented)
            views.append(nt_xent(one[name], other[name], scale, rows=own, ids=part.ids))
        of_itself = _mean(views)
        return cross + of_itself, {"cross": cross.detach(), "self": of_itself.detach()}
