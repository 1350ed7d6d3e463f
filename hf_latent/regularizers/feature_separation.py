"""Deep feature separation: beside what modalities share, what each of them tells alone."""

import math
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..citations import JIANG_2023
from ..losses.contrastive import one_way_info_nce
from ..losses.logsumexp import logsumexp
from ..losses.uniformity import uniformity
from .base import Regularizer, is_number, mean, of_rows, register_regularizer


@register_regularizer("feature_separation")
@dataclass(frozen=True)
class FeatureSeparation(Regularizer):
    r"""Keep independent features u of each modality: orthogonal to its shared ones z, telling rows apart, spread out.

    \[ L = L_{ortho} + L_{con} + L_{uni}, \quad
       L_{ortho} = \frac2n \sum_m \frac1N \sum_j \langle z^m_j, u^m_j \rangle^2 \]
    \[ L_{con} = -\frac2n \sum_m \frac1N \sum_j \log
       \frac{e^{\langle u^m_j, \tilde u^m_j \rangle / \tau}}{\sum_k e^{\langle u^m_j, \tilde u^m_k \rangle / \tau}} \]
    \[ L_{uni} = \log \frac2n \sum_m \frac1N \sum_{jk} e^{-t \lVert u^m_j - u^m_k \rVert^2} \]

    over n modalities m, where \(\tilde u\) are the independent features of the second view and \(\tau\) is the
    temperature of the objective. z and u have the same dimension.

    Source: Jiang et al., CVPR 2023 (deep feature separation). With two modalities the values are the paper's, which
    sums over them; 2/n keeps their size with more. The paper prints no second view in the contrast, so that each row
    would be its own positive: we read one as in the paper's contrastive loss. Its three terms have unit weights. Rows
    with equal `ids` are left out of each other's contrast, neither negatives (their captions are the same) nor
    positives (two images with one caption are told apart by just these features).

    Args:
        t: The sharpness of the uniformity kernel.
        orthogonality: The weight of the first term.
        contrast: The weight of the second term; 0 leaves it out, and with it the need for a second view.
        uniformity: The weight of the third term.

    Raises:
        ValueError: If `t` is not above 0, a weight is negative, or all weights are 0.
    """

    supports_missing: ClassVar[bool] = True

    t: float = 2.0
    orthogonality: float = 1.0
    contrast: float = 1.0
    uniformity: float = 1.0

    def __post_init__(self) -> None:
        self.demand("t", is_number(self.t) and self.t > 0, "a number above 0")
        for weight in ("orthogonality", "contrast", "uniformity"):
            value = getattr(self, weight)
            self.demand(weight, is_number(value) and value >= 0, "a number, 0 or more")
        self.demand(
            "contrast", any((self.orthogonality, self.contrast, self.uniformity)), "a weight above 0 for a term"
        )

    @property
    def formula(self) -> str:
        terms = {
            "orthogonality": r"\frac{2}{n} \sum_m \frac{1}{N} \sum_j \langle z^m_j, u^m_j \rangle^2",
            "contrast": (
                r"-\frac{2}{n} \sum_m \frac{1}{N} \sum_j \log \frac{e^{\langle u^m_j, \tilde u^m_j \rangle / \tau}}"
                r"{\sum_k e^{\langle u^m_j, \tilde u^m_k \rangle / \tau}}"
            ),
            "uniformity": (r"\log \frac{2}{n} \sum_m \frac{1}{N} \sum_{jk} e^{-t \Vert u^m_j - u^m_k \Vert^2}"),
        }
        used = [name for name in terms if getattr(self, name)]
        weights = {name: "" if getattr(self, name) == 1 else f"{getattr(self, name):g} " for name in used}
        total = " + ".join(rf"{weights[name]}L_\mathrm{{{name}}}" for name in used)
        return "\n".join([total, *(rf"L_\mathrm{{{name}}} = {terms[name]}" for name in used)])

    @property
    def citations(self) -> tuple[str, ...]:
        return (JIANG_2023,)

    @property
    def requires(self) -> frozenset[str]:
        return frozenset({"embeds", "independent"} | ({"independent_augmented"} if self.contrast else set()))

    def value(self, z: Any, scale: Tensor | float) -> Tensor:
        terms = []
        if self.orthogonality:
            own = [of_rows(z, (m,), partial(_overlap, m)) for m in z.embeds]
            terms.append(self.orthogonality * 2 * mean(own))
        if self.contrast:
            own = [of_rows(z, (m,), partial(_contrast, m, scale)) for m in z.embeds]
            terms.append(self.contrast * 2 * mean(own))
        if self.uniformity:
            sets = [z.having(m).independent[m] for m in z.embeds]
            factor = math.log(2 / len(sets)) if any(map(len, sets)) else 0.0  # of no rows at all the term is 0
            terms.append(self.uniformity * (uniformity(sets, self.t) + factor))
        return torch.stack(terms).sum()


def _overlap(name: str, z: Any) -> Tensor:
    """The mean square of the products of both embeddings of a modality."""
    return (z.embeds[name] * z.independent[name]).sum(dim=1).square().mean()


def _contrast(name: str, scale: Tensor | float, z: Any) -> Tensor:
    first, second = z.independent[name], z.independent_augmented[name]
    if z.ids is None:
        return one_way_info_nce(first, second, scale)
    first = scale * first
    own = (first * second).sum(dim=1)
    others = logsumexp(first, second, row_labels=z.ids, column_labels=z.ids)
    return (torch.logaddexp(others, own) - own).mean()
