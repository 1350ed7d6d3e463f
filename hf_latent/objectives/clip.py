"""The objective of the models whose modalities are compared in one space."""

from itertools import combinations
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedConfig

from ..citations import GIRDHAR_2023, JIANG_2023, RADFORD_2021
from ..losses.contrastive import one_way_info_nce, symmetric_info_nce
from ..models.embeddings import Embeddings
from .base import INFO_NCE_FORMULA, Objective, register_objective, select


@register_objective("latent_clip", "clip")
class CLIPObjective(Objective):
    r"""InfoNCE between the modalities and, on request, between the two views of each.

    \[ L = \frac{1}{|P|} \sum_{(A, B) \in P} \tfrac12 (L_{A \to B} + L_{B \to A})
       \quad\text{or, with `in_modal`,}\quad
       L_{Con} = \tfrac12 \Big( L + \frac1n \sum_A L_{A \to \tilde A} \Big), \quad
       L_{A \to \tilde A} = -\frac1N \sum_j \log \frac{e^{\langle z_j, z_j^a \rangle / \tau}}
                                           {\sum_k e^{\langle z_j, z_k^a \rangle / \tau}} \]

    where P are the unordered pairs of the n modalities; with `anchor` those that have this modality (n - 1 pairs). Of
    images and texts it is CLIP's \(\tfrac12 (L_{V2T} + L_{T2V})\), and
    \(\tfrac14 (L_{V2T} + L_{T2V} + L_{V2V} + L_{T2T})\) with `in_modal`.

    Source: Radford et al. 2021; Jiang et al., CVPR 2023, section 3.1; `anchor` is from Girdhar et al., ImageBind, CVPR
    2023, section 3.2, where each pair has a data set of its own and the losses are added; here they are averaged.
    Jiang et al. print the denominator of L_V2V without the `a`, which would leave the positive out; this is the form
    of the code that they build on (CyCLIP).

    Of rows that lack a modality each term reads those that have all of its modalities.

    The terms are `contrastive` (the mean over the pairs and both directions), where there are several pairs
    `contrastive_<a>_<b>` of each, and `in_modal` (the mean over the modalities).
    """

    supports_missing = True

    def __init__(self, config: PreTrainedConfig) -> None:
        super().__init__(config)
        names = list(config.modalities or ())
        anchor = config.anchor
        self.pairs = [pair for pair in combinations(names, 2) if anchor is None or anchor in pair]
        if config.in_modal:
            self.requires = frozenset({"embeds", "augmented"})

    @property
    def formula(self) -> str:
        count, anchor = len(self.config.modalities or ()), self.config.anchor
        if count <= 2:
            first, second = ("V", "T") if self._reads_image_text else ("A", "B")
            ways = [rf"{first} \to {second}", rf"{second} \to {first}"]
            if self.config.in_modal:
                ways += [rf"{first} \to \tilde {first}", rf"{second} \to \tilde {second}"]
            total = " + ".join(f"L_{{{way}}}" for way in ways)
            return rf"\frac{{1}}{{{len(ways)}}} ({total})" + "\n" + INFO_NCE_FORMULA
        if anchor is None:
            total = r"\frac{1}{n (n - 1)} \sum_{A \neq B} L_{A \to B}"
        else:  # by its number: a name need not be LaTeX
            number = 1 + list(self.config.modalities).index(anchor)
            both = rf"(L_{{{number} \to B}} + L_{{B \to {number}}})"
            total = rf"\frac{{1}}{{2 (n - 1)}} \sum_{{B \neq {number}}} {both}"
        if self.config.in_modal:
            total = rf"{total} + \frac{{1}}{{n}} \sum_A L_{{A \to \tilde A}}"
            total = rf"\frac{{1}}{{2}} [{total}]"
        return total + "\n" + INFO_NCE_FORMULA

    @property
    def citations(self) -> tuple[str, ...]:
        found = [RADFORD_2021]
        found += [JIANG_2023] if self.config.in_modal else []
        return (*found, GIRDHAR_2023) if len(self.pairs) > 1 and self.config.anchor is not None else tuple(found)

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
        losses = {}
        for a, b in self.pairs:
            part, own = select(z, (a, b), rows)
            found = symmetric_info_nce(part.embeds[a], part.embeds[b], scale, rows=own, ids=part.ids)
            losses[f"contrastive_{a}_{b}"] = found
        loss = mean(list(losses.values()))
        terms = {"contrastive": loss.detach()}
        if len(losses) > 1:
            terms |= {name: value.detach() for name, value in losses.items()}
        if self.config.in_modal:
            views = []
            for name in z.embeds:
                part, own = select(z, (name,), rows)
                views.append(one_way_info_nce(part.embeds[name], part.augmented[name], scale, rows=own, ids=part.ids))
            in_modal = mean(views)
            terms["in_modal"] = in_modal.detach()
            loss = (loss + in_modal) / 2
        return loss, terms

    def features(self, embeddings: Embeddings) -> Tensor:
        """The image embeddings, `(batch, projection_dim)`, where one modality is images; else those of all modalities
        side by side, `(batch, modalities * projection_dim)`."""
        embeds = embeddings.embeds or {}
        images = [name for name, kind in self.config.kinds.items() if kind == "image"]
        if len(images) == 1:
            return embeds[images[0]]
        return torch.cat([embeds[name] for name in self.config.modalities], dim=-1)

    @property
    def _reads_image_text(self) -> bool:
        return set(self.config.modalities or ()) <= {"image", "text"}


def mean(losses: list[Tensor]) -> Tensor:
    """Of two it is (a + b) / 2, of one the loss itself, bit for bit."""
    return losses[0] if len(losses) == 1 else sum(losses[1:], losses[0]) / len(losses)
