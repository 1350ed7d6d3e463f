"""Separation within modalities: rows of one modality that do not mean the same lie apart."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor

from ..citations import ESLAMI_2025
from ..errors import suggest
from ..losses.in_modal import in_modal_cross_entropy
from .base import PairwiseRegularizer, mean, of_rows, register_regularizer


@register_regularizer("in_modal_separation")
@dataclass(frozen=True)
class InModalSeparation(PairwiseRegularizer):
    r"""Push rows of one modality apart, the less so the more alike a frozen copy of the model finds their texts.

    \[ L = \frac{1}{2 N} \sum_j \sum_{m \in (a, b)} \Big( \log \sum_k e^{l^m_{jk}} - l^m_{jj} \Big), \]
    \[ l^m_{jk} = s (1 - \langle e_j, e_k \rangle) \langle z^m_j, z^m_k \rangle \; (k \neq j), \quad
       l^m_{jj} = s \langle z^a_j, z^b_j \rangle \]

    averaged over the pairs (a, b) of modalities, where s is the inverse temperature of the objective, which is learned
    from this term, too, and e are the embeddings of `similarity_of` by the model that training began with. Other rows
    with equal ids are left out of the sum. A term is of the rows that have a, b and `similarity_of`. No
    `(batch, batch)` matrix is held. LatentCLIP alone has a frozen copy.

    Source: Eslami and de Melo, "Mitigate the Gap: Improving Cross-Modal Alignment in CLIP", ICLR 2025 (AlignCLIP), as
    its official code, where e are the captions by a sentence encoder, all-mpnet-base-v2. The frozen copy is in its
    place here: that means something only where the tower of `similarity_of` is pre-trained. One that begins with
    random weights says of likeness what chance says. The paper's loss is the sum of both directions of the contrast
    and half the sum of both modalities of this (its beta is 0.5): the value is that half sum. This library's contrast
    is the mean of both directions, so a weight of 0.5 has the paper's ratio, and half its loss. The paper's towers
    also share their transformer and their projection.

    Args:
        similarity_of: The modality whose likeness counts, the texts by default. It may be one of the pair or not.

    Raises:
        ValueError: If `similarity_of` is no name, or (when it meets the modalities) one that is not there.
    """

    similarity_of: str = "text"

    def __post_init__(self) -> None:
        self.demand("similarity_of", isinstance(self.similarity_of, str), "the name of a modality, such as text")

    @property
    def formula(self) -> str:
        return (
            r"\frac{1}{2 N} \sum_j \sum_{m \in (a, b)} \log (1 + \sum_{k \neq j} e^{(l^m_{jk} - l^m_{jj}) / \tau})"
            "\n"
            r"l^m_{jk} = (1 - \langle \bar z^T_j, \bar z^T_k \rangle) \langle z^m_j, z^m_k \rangle \quad (k \neq j), "
            r"\quad l^m_{jj} = \langle z^a_j, z^b_j \rangle, \quad \bar z^T = z^T_\mathrm{frozen}"
        )

    @property
    def citations(self) -> tuple[str, ...]:
        return (ESLAMI_2025,)

    @property
    def requires(self) -> frozenset[str]:
        return frozenset({"embeds", "teacher"})

    def check_modalities(self, modalities: Iterable[str]) -> None:
        names = list(modalities)
        super().check_modalities(names)
        if self.similarity_of not in names:
            raise ValueError(
                f"{self.name}.similarity_of={self.similarity_of!r}: no modality {self.similarity_of!r}; "
                f"{suggest(self.similarity_of, names)}: write the modality whose likeness counts"
            )

    def value(self, z: Any, scale: Tensor | float) -> Tensor:
        terms = []
        for pair in self.pairs_of(z.embeds):
            read = dict.fromkeys((*pair, self.similarity_of))
            terms.append(of_rows(z, read, partial(self.of_pair, *pair, scale=scale)))
        return mean(terms)

    def of_pair(self, a: str, b: str, z: Any, scale: Tensor | float) -> Tensor:
        alike = z.teacher[self.similarity_of]
        pairs = ((z.embeds[a], z.embeds[b]), (z.embeds[b], z.embeds[a]))
        return mean(in_modal_cross_entropy(own, other, alike, scale, ids=z.ids) for own, other in pairs)
