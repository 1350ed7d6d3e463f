"""The objective of the pre-training of LatentALBEF."""

from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedConfig

from ..citations import LI_2021
from ..losses.distillation import distilled_info_nce
from ..models.embeddings import Embeddings
from .base import Objective, register_objective


class DistilledObjective(Objective):
    """An objective whose targets are in part the answers of a momentum model."""

    @property
    def citations(self) -> tuple[str, ...]:
        return (LI_2021,)

    def alpha_at(self, progress: float) -> float:
        """The momentum model's share of the targets when the share `progress` of training is done."""
        ramp = self.config.alpha_ramp
        return self.config.alpha * (min(1.0, progress / ramp) if ramp else 1.0)


@register_objective("latent_albef", "albef")
class ALBEFObjective(DistilledObjective):
    r"""Image-text contrast, image-text matching and masked language modelling, with momentum distillation.

    \[ L = \tfrac12 (L_{V2T} + L_{T2V}) + w_{itm} L_{itm} + w_{mlm} [(1 - \alpha) L_{words} + \alpha L_{teacher}] \]

    Contrast is of the embeddings of one modality against the momentum features of the other, of the batch and of the
    queue; its targets are the momentum model's similarities, with share \(\alpha\), and the columns with the row's id.
    Matching and the words come as sums of each row (`row_losses`) and are means over all pairs and all masked words of
    the whole batch. \(\alpha\) rises from 0 over `alpha_ramp`.

    Source: Li et al., NeurIPS 2021, equations 1 to 7. As in its official code, the contrast among one modality's own
    features is left out. What differs from that code: candidates are the momentum features of all processes, not of
    this one; a place of the queue is no candidate while it is empty, where it holds random vectors there; positives
    are shared by id in pre-training, too; and the momentum copy has no dropout.

    The terms are `itc`, `itm` and `mlm`.
    """

    def __init__(self, config: PreTrainedConfig) -> None:
        super().__init__(config)
        tasks = {"itm": config.itm_weight, "mlm": config.mlm_weight}
        self.tasks = {name: weight for name, weight in tasks.items() if weight}
        self.requires = frozenset({"embeds", "augmented"} | ({"row_losses"} if self.tasks else set()))

    @property
    def formula(self) -> str:
        parts = [r"\frac{1}{2} (L_{V \to T} + L_{T \to V})"]
        parts += [("" if w == 1 else f"{w:g} ") + rf"L_{{\mathrm{{{name}}}}}" for name, w in self.tasks.items()]
        contrast = (
            r"L_{A \to B} = -\frac{1}{N} \sum_{j, k} y_{jk} \log \frac{e^{\langle z^A_j, \bar z^B_k \rangle / \tau}}"
            r"{\sum_l e^{\langle z^A_j, \bar z^B_l \rangle / \tau}}"
        )
        return " + ".join(parts) + "\n" + contrast

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
        alpha = self.alpha_at(progress)
        loss = self._contrast(z, scale, rows or slice(None), queue, alpha)
        of_rows, terms = self.of_rows(z.row_losses, progress)
        return loss + of_rows, {"itc": loss.detach(), **terms}

    def of_rows(
        self, row_losses: dict[str, Tensor], progress: float = 0.0
    ) -> tuple[Tensor | float, dict[str, Tensor]]:
        loss: Tensor | float = 0.0
        terms = {}
        for name, weight in self.tasks.items():
            *sums, count = row_losses[name].sum(dim=0)
            mean = torch.stack(sums) / count.clamp(min=1)
            value = mean[0] if name == "itm" else torch.lerp(mean[0], mean[1], self.alpha_at(progress))
            terms[name] = value.detach()
            loss = loss + weight * value
        return loss, terms

    def _contrast(self, z: Any, scale: Tensor | float, rows: slice, queue: Any, alpha: float) -> Tensor:
        """Both directions; the right columns of a row are those with its id, in the queue, too."""
        number = torch.arange(len(z.embeds["image"]), device=z.embeds["image"].device)
        ids = number if z.ids is None else z.ids
        right = ids[rows, None] == ids
        if queue is not None:
            # Without ids, nothing that was queued is right for a row.
            again = (ids[rows, None] == queue.ids) & (z.ids is not None)
            right = torch.cat([right, again], dim=1)
        directions = []
        for anchor, other in (("image", "text"), ("text", "image")):
            held = [z.augmented[other]] + ([] if queue is None else [queue.augmented[other].to(z.augmented[other])])
            parts = z.embeds[anchor][rows], z.augmented[anchor][rows], torch.cat(held)
            directions.append(distilled_info_nce(*parts, scale, right, alpha))
        return torch.stack(directions).mean()

    def features(self, embeddings: Embeddings) -> Tensor:
        """The image embeddings, `(batch, projection_dim)`."""
        return (embeddings.embeds or {})["image"]
