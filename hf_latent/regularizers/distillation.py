"""Distillation from the model that training began with."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..citations import YAMAGUCHI_2025
from ..losses.distillation import distillation_divergence
from .base import PairwiseRegularizer, is_number, mean, register_regularizer


@register_regularizer("distillation")
@dataclass(frozen=True)
class Distillation(PairwiseRegularizer):
    r"""Keep the similarities that the model had when training began, as a frozen copy of it gives them.

    \[ L = \frac{T^2}{2 N} \sum_j [\mathrm{KL}(q^{a \to b}_j \| p^{a \to b}_j)
                                 + \mathrm{KL}(q^{b \to a}_j \| p^{b \to a}_j)], \quad
       p^{A \to B}_{jk} = \mathrm{softmax}_k(s\, z^A_j \cdot z^B_k / T) \]

    with \(q = \alpha\, y + (1 - \alpha)\, p'\), where \(p'\) is \(p\) of the frozen copy and \(y\) is uniform over the
    rows that are right. Averaged over pairs of modalities. With `alpha: 0` a model that is its teacher still costs
    nothing. The `(batch, batch)` matrices of a pair are held at once. LatentCLIP alone has a teacher.

    Source: Yamaguchi et al., "Post-pre-training for Modality Alignment in Vision-Language Foundation Models", CVPR
    2025 (HyCD of CLIP-Refine). Their code has features that are not normalised, and no scale.

    Args:
        alpha: The share of what is right in the targets, 0 to 1.
        temperature: T, above 0; it divides the logits of both.
        scale: s, the inverse temperature of the cosines of both, which is not learned; 100 is that of CLIP.

    Raises:
        ValueError: If a value does not fit.
    """

    alpha: float = 0.5
    temperature: float = 1.0
    scale: float = 100.0

    def __post_init__(self) -> None:
        self.demand("alpha", is_number(self.alpha) and 0 <= self.alpha <= 1, "a number from 0 to 1")
        for field in ("temperature", "scale"):
            value = getattr(self, field)
            self.demand(field, is_number(value) and value > 0, "a number above 0")

    @property
    def formula(self) -> str:
        t = f"{self.temperature**2:g}"
        scale = self.scale / self.temperature
        return (
            rf"\frac{{{t}}}{{2 N}} \sum_j [\mathrm{{KL}}(q^{{a \to b}}_j \Vert p^{{a \to b}}_j) + "
            r"\mathrm{KL}(q^{b \to a}_j \Vert p^{b \to a}_j)]"
            "\n"
            rf"p^{{A \to B}}_{{jk}} = \mathrm{{softmax}}_k({scale:g} z^A_j \cdot z^B_k), \quad "
            rf"q = {self.alpha:g} y + {1 - self.alpha:g} p'"
        )

    @property
    def citations(self) -> tuple[str, ...]:
        return (YAMAGUCHI_2025,)

    @property
    def requires(self) -> frozenset[str]:
        return frozenset({"embeds", "teacher"})

    def of_pair(self, a: str, b: str, z: Any, scale: Tensor | float) -> Tensor:
        logits = self.scale * z.embeds[a] @ z.embeds[b].T
        taught = self.scale * z.teacher[a] @ z.teacher[b].T
        ids = torch.arange(len(logits), device=logits.device) if z.ids is None else z.ids
        right = ids[:, None] == ids
        both = ((logits, taught), (logits.T, taught.T))
        return mean(distillation_divergence(*own, right, self.alpha, self.temperature) for own in both)
