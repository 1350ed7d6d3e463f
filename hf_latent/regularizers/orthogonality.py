"""Orthogonality: what is unique to a modality is orthogonal to what is shared, and to what is unique to others."""

from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import Any, ClassVar

from torch import Tensor

from ..citations import CISSEE_2026
from .base import Regularizer, mean, of_rows, register_regularizer

SHARED = ("embeds", "fused")


@register_regularizer("orthogonality")
@dataclass(frozen=True)
class Orthogonality(Regularizer):
    r"""Keep the independent features u of each modality orthogonal to those of the others and to what is shared.

    \[ L = \frac{1}{|T|} \sum_{(x, y) \in T} \frac1N \sum_j \langle x_j, y_j \rangle^2 \]

    where T are the pairs \((u^a, u^b)\) of different modalities and the pairs \((u^m, f)\), with f the shared
    embedding: that of the modality itself, or the fused one. It is blind to the sign, and 0 for vectors of zeros: a
    contrast has to keep u from telling nothing, such as `feature_separation` with `orthogonality: 0`.

    Source: Cissee, Younis and Ahmadi, "Orthogonalized Multimodal Contrastive Learning with Asymmetric Masking for
    Structured Representations" (COrAL), 2026, which sums the terms; here they are averaged. The whole method is the
    objective `coral`.

    Args:
        shared: `"embeds"`, the embedding of the modality, or `"fused"`, that of all, of a model that fuses.
        augmented: Whether the second view is read as well, and both are averaged.

    Raises:
        ValueError: If a value is not one of these.
    """

    supports_missing: ClassVar[bool] = True

    shared: str = "embeds"
    augmented: bool = False

    def __post_init__(self) -> None:
        self.demand_one_of("shared", SHARED)
        self.demand("augmented", isinstance(self.augmented, bool), "true or false")

    @property
    def formula(self) -> str:
        with_what = "f" if self.shared == "fused" else "z^m"
        which = rf"T = \lbrace (u^a, u^b) \rbrace_{{a \neq b}} \cup \lbrace (u^m, {with_what}) \rbrace_m"
        return r"\frac{1}{|T|} \sum_{(x, y) \in T} \frac{1}{N} \sum_j \langle x_j, y_j \rangle^2" + "\n" + which

    @property
    def citations(self) -> tuple[str, ...]:
        return (CISSEE_2026,)

    @property
    def requires(self) -> frozenset[str]:
        second = {"independent_augmented", "augmented" if self.shared == "embeds" else "fused_augmented"}
        return frozenset({"embeds", self.shared, "independent"} | (second if self.augmented else set()))

    def value(self, z: Any, scale: Tensor | float) -> Tensor:
        terms = [
            of_rows(z, pair, partial(_overlap, pair, suffix, self.shared))
            for suffix in (("", "_augmented") if self.augmented else ("",))
            for pair in (*combinations(z.embeds, 2), *((name,) for name in z.embeds))
        ]
        return mean(terms)


def _overlap(names: tuple[str, ...], suffix: str, shared: str, z: Any) -> Tensor:
    """The mean square of the products of the independent features of two modalities, or of one and what is shared."""
    own = getattr(z, f"independent{suffix}")
    if len(names) == 2:
        other = own[names[1]]
    elif shared == "fused":
        other = getattr(z, f"fused{suffix}")
    else:
        other = (z.augmented if suffix else z.embeds)[names[0]]
    return (own[names[0]] * other).sum(dim=1).square().mean()
