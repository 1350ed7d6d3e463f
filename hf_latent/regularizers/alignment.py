"""Alignment: paired embeddings in one place."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ..citations import JIANG_2023
from .base import PairwiseRegularizer, is_number, register_regularizer


@register_regularizer("alignment")
@dataclass(frozen=True)
class Alignment(PairwiseRegularizer):
    r"""Close the gap between modalities, for experiments on what the gap is worth.

    \[ L = \frac1N \sum_j \frac{1}{\max(\langle z^a_j, z^b_j \rangle^2, \epsilon)}, \]

    averaged over the unordered pairs (a, b) of modalities; at least 1, and 1 where pairs coincide.

    Source: Jiang et al., CVPR 2023 (its experiment on the modality gap). The paper prints \(1 / \langle Z_T, Z_V
    \rangle^2\): the mean over rows is our reading, and the bound is ours, because the fraction is infinite for
    orthogonal pairs. The square is blind to the sign, so pairs that point apart are driven further apart: use it
    beside a contrastive loss.

    Args:
        epsilon: The smallest denominator. A pair below it, with a cosine under sqrt(epsilon) (0.1), has no gradient;
            one just above has 2 epsilon^(-3/2) (2000): a larger value is gentler and blinder.

    Raises:
        ValueError: If `epsilon` is not in (0, 1].
    """

    epsilon: float = 0.01

    def __post_init__(self) -> None:
        self.demand("epsilon", is_number(self.epsilon) and 0 < self.epsilon <= 1, "a number above 0, at most 1")

    @property
    def formula(self) -> str:
        return r"\frac{1}{N} \sum_j \frac{1}{\max(\langle z^a_j, z^b_j \rangle^2, \epsilon)}"

    @property
    def citations(self) -> tuple[str, ...]:
        return (JIANG_2023,)

    def of_pair(self, a: str, b: str, z: Any, scale: Tensor | float) -> Tensor:
        squares = (z.embeds[a] * z.embeds[b]).sum(dim=1).square()
        return squares.clamp(min=self.epsilon).reciprocal().mean()
