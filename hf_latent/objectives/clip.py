"""The objective of the two-tower models."""

from typing import Any

from torch import Tensor
from transformers import PreTrainedConfig

from ..citations import JIANG_2023, RADFORD_2021
from ..losses.contrastive import one_way_info_nce, symmetric_info_nce
from ..models.embeddings import Embeddings
from .base import INFO_NCE_FORMULA, Objective, register_objective, select


@register_objective("latent_clip", "clip")
class CLIPObjective(Objective):
    r"""InfoNCE between images and texts and, on request, between the two views of each.

    \[ L = \tfrac12 (L_{V2T} + L_{T2V}) \quad\text{or, with `in_modal`,}\quad
       L_{Con} = \tfrac14 (L_{V2T} + L_{T2V} + L_{V2V} + L_{T2T}), \quad
       L_{V2V} = -\frac1N \sum_j \log \frac{e^{\langle z_j, z_j^a \rangle / \tau}}
                                           {\sum_k e^{\langle z_j, z_k^a \rangle / \tau}} \]

    Source: Radford et al. 2021; Jiang et al., CVPR 2023, section 3.1. The paper prints the denominator of L_V2V
    without the `a`, which would leave the positive out; this is the form of the code that it builds on (CyCLIP).

    Of rows that lack a modality each term reads those that have all of its modalities.

    The terms are `contrastive` (the mean of V2T and T2V) and `in_modal` (the mean of V2V and T2T).
    """

    supports_missing = True

    def __init__(self, config: PreTrainedConfig) -> None:
        super().__init__(config)
        if config.in_modal:
            self.requires = frozenset({"embeds", "augmented"})

    @property
    def formula(self) -> str:
        ways = [r"V \to T", r"T \to V"]
        if self.config.in_modal:
            ways += [r"V \to \tilde V", r"T \to \tilde T"]
        total = " + ".join(f"L_{{{way}}}" for way in ways)
        return rf"\frac{{1}}{{{len(ways)}}} ({total})" + "\n" + INFO_NCE_FORMULA

    @property
    def citations(self) -> tuple[str, ...]:
        return (RADFORD_2021, JIANG_2023) if self.config.in_modal else (RADFORD_2021,)

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
        part, own = select(z, ("image", "text"), rows)
        loss = symmetric_info_nce(part.embeds["image"], part.embeds["text"], scale, rows=own, ids=part.ids)
        terms = {"contrastive": loss.detach()}
        if self.config.in_modal:
            views = []
            for name in z.embeds:
                part, own = select(z, (name,), rows)
                views.append(one_way_info_nce(part.embeds[name], part.augmented[name], scale, rows=own, ids=part.ids))
            in_modal = (views[0] + views[1]) / 2
            terms["in_modal"] = in_modal.detach()
            loss = (loss + in_modal) / 2
        return loss, terms

    def features(self, embeddings: Embeddings) -> Tensor:
        """The image embeddings, `(batch, projection_dim)`."""
        return (embeddings.embeds or {})["image"]
