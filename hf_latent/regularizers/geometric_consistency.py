"""Geometric consistency: distances between rows are the same within, across and after augmentation."""

from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor

from ..citations import GOEL_2022, JIANG_2023
from ..losses.gram import similarity_difference, squared_products
from .base import PairwiseRegularizer, mean, of_rows, register_regularizer


@register_regularizer("geometric_consistency")
@dataclass(frozen=True)
class GeometricConsistency(PairwiseRegularizer):
    r"""Ask that modalities, and the views of each, have one geometry.

    For a pair of modalities V and T with embeddings z, and \(\tilde z\) of the second view,

    \[ L_{GC} = \frac1N \sum_{jk} \big[ (\langle z^V_j, z^T_k \rangle - \langle z^V_k, z^T_j \rangle)^2
       + (\langle z^V_j, z^V_k \rangle - \langle z^T_j, z^T_k \rangle)^2 \big] \]
    \[ \tilde L_{GC} = \frac1N \sum_{jk} \big[
       (\langle z^V_j, z^V_k \rangle - \langle \tilde z^V_j, \tilde z^V_k \rangle)^2
       + (\langle z^T_j, z^T_k \rangle - \langle \tilde z^T_j, \tilde z^T_k \rangle)^2 \big]
       + \frac1N \sum_j (\langle z^V_j, z^T_j \rangle - \langle \tilde z^V_j, \tilde z^T_j \rangle)^2 \]

    and the value is \(L_{GC} + \tilde L_{GC}\), averaged over the unordered pairs of modalities. (So the term that
    compares the two views of a modality stands in it 2/n times, for n modalities.) Similarities carry no temperature.
    \(L_{GC}\) is \(\frac1N \sum_{jk} \langle z^V_j + z^T_j, z^V_k - z^T_k \rangle^2\), and no `(batch, batch)` matrix
    is made.

    Source: Jiang et al., CVPR 2023 (geometric consistency), with its reduction 1/N: the value grows with the batch, so
    a weight that fits one batch size is large for a bigger one. \(L_{GC}\) is the regularizer of CyCLIP (Goel et al.,
    NeurIPS 2022), which weights it by 0.25.

    Args:
        augmented: Whether to add \(\tilde L_{GC}\), which needs the second view.

    Raises:
        ValueError: If `augmented` is not a bool.
    """

    augmented: bool = True

    def __post_init__(self) -> None:
        self.demand("augmented", isinstance(self.augmented, bool), "true or false")

    @property
    def formula(self) -> str:
        def squares(*differences: str) -> str:
            return r"\frac{1}{N} \sum_{jk} " + "[" + " + ".join(f"({d})^2" for d in differences) + "]"

        across = squares(
            r"\langle z^V_j, z^T_k \rangle - \langle z^V_k, z^T_j \rangle",
            r"\langle z^V_j, z^V_k \rangle - \langle z^T_j, z^T_k \rangle",
        )
        if not self.augmented:
            return across
        views = squares(
            r"\langle z^V_j, z^V_k \rangle - \langle \tilde z^V_j, \tilde z^V_k \rangle",
            r"\langle z^T_j, z^T_k \rangle - \langle \tilde z^T_j, \tilde z^T_k \rangle",
        )
        pairs = r"\frac{1}{N} \sum_j (\langle z^V_j, z^T_j \rangle - \langle \tilde z^V_j, \tilde z^T_j \rangle)^2"
        return "\n".join(
            [
                r"L_\mathrm{across} + L_\mathrm{views}",
                rf"L_\mathrm{{across}} = {across}",
                rf"L_\mathrm{{views}} = {views} + {pairs}",
            ]
        )

    @property
    def citations(self) -> tuple[str, ...]:
        return (JIANG_2023, GOEL_2022)

    @property
    def requires(self) -> frozenset[str]:
        return frozenset({"embeds", "augmented"} if self.augmented else {"embeds"})

    def value(self, z: Any, scale: Tensor | float) -> Tensor:
        total = super().value(z, scale)
        if self.augmented:
            total = total + 2 * mean(of_rows(z, (name,), partial(self._views, name)) for name in z.embeds)
        return total

    def of_pair(self, a: str, b: str, z: Any, scale: Tensor | float) -> Tensor:
        first, second = z.embeds, z.augmented
        # Both squares of L_GC at once; see losses/gram.py.
        total = squared_products(first[a] + first[b], first[a] - first[b])
        if self.augmented:
            moved = (first[a] * first[b]).sum(dim=1) - (second[a] * second[b]).sum(dim=1)
            total = total + moved.square().sum()
        return total / len(first[a])

    def _views(self, name: str, z: Any) -> Tensor:
        return similarity_difference(z.embeds[name], z.augmented[name]) / len(z.embeds[name])
