"""Brownian bridge: the second view lies on the way from one modality to the other."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from ..citations import JIANG_2023
from ..errors import suggest
from .base import PairwiseRegularizer, is_number, register_regularizer


@register_regularizer("brownian_bridge")
@dataclass(frozen=True)
class BrownianBridge(PairwiseRegularizer):
    r"""Pull the second view of an image to the bridge between the image and its text.

    \[ L = \frac1N \sum_j \lVert \tilde z^V_j - \mu_j \rVert^2, \quad
       \mu_j = \frac{t z^V_j + (1 - t) z^T_j}{\lVert t z^V_j + (1 - t) z^T_j \rVert} \]

    where \(\tilde z\) is the second view. It is the negative logarithm of the bridge's density
    \(N(\mu, t (1 - t) I)\), with the variance and constants left out; nothing is sampled. Gradients flow to all three
    embeddings. It is averaged over the bridged modalities and, for each, over the other modalities.

    Source: Jiang et al., CVPR 2023 (Brownian bridge). The paper goes on to print the loss as a fraction of inner
    products, which is not equal to it and would, minimised, repel the second view. For unit vectors the loss is

    \[ 2 - \frac2N \sum_j \frac{t \langle z^V_j, \tilde z^V_j \rangle + (1 - t) \langle z^T_j, \tilde z^V_j \rangle}
       {\sqrt{t^2 + (1 - t)^2 + 2 t (1 - t) \langle z^V_j, z^T_j \rangle}}. \]

    The paper also allows a `t` that is drawn anew each time; its experiments fix it, as here.

    Args:
        t: The place on the bridge, from 0 (the other modality) to 1 (the bridged modality itself). At 0.5 the
            middle of opposite embeddings is undefined.
        bridged: The modalities whose second view is pulled, `[image]` by default.

    Raises:
        ValueError: If `t` is not in [0, 1], or `bridged` is no list of names or (when it meets the modalities) names
            one that is not there.
    """

    t: float = 0.25
    bridged: tuple[str, ...] = ("image",)

    def __post_init__(self) -> None:
        self.demand("t", is_number(self.t) and 0 <= self.t <= 1, "a number from 0 to 1")
        names = isinstance(self.bridged, list | tuple) and all(isinstance(name, str) for name in self.bridged)
        self.demand("bridged", names and len(self.bridged) > 0, "a list of modalities, such as [image]")
        self.demand("bridged", len(set(self.bridged)) == len(self.bridged), "each modality once")
        object.__setattr__(self, "bridged", tuple(self.bridged))  # a list from YAML would not hash

    @property
    def formula(self) -> str:
        # V is the bridged modality, T the other.
        middle = r"t z^V_j + (1 - t) z^T_j"
        return (
            r"\frac{1}{N} \sum_j \Vert \tilde z^V_j - \mu_j \Vert^2, \quad "
            rf"\mu_j = \frac{{{middle}}}{{\Vert {middle} \Vert}}"
        )

    @property
    def citations(self) -> tuple[str, ...]:
        return (JIANG_2023,)

    @property
    def requires(self) -> frozenset[str]:
        return frozenset({"embeds", "augmented"})

    def second_views(self, modalities: Iterable[str]) -> set[str]:
        return set(self.bridged)

    def check_modalities(self, modalities: Iterable[str]) -> None:
        names = list(modalities)
        super().check_modalities(names)
        for name in self.bridged:
            if name not in names:
                raise ValueError(
                    f"{self.name}.bridged={list(self.bridged)}: no modality {name!r}; {suggest(name, names)}: write "
                    f"modalities of this model, such as bridged: [{names[0]}]"
                )

    def pairs_of(self, modalities: Iterable[str]) -> list[tuple[str, str]]:
        """Each bridged modality with each other."""
        names = list(modalities)
        return [(own, other) for own in self.bridged for other in names if other != own]

    def of_pair(self, a: str, b: str, z: Any, scale: Tensor | float) -> Tensor:
        return (z.augmented[a] - bridge(z.embeds[a], z.embeds[b], self.t)).square().sum(dim=1).mean()


def bridge(own: Tensor, other: Tensor, t: float) -> Tensor:
    r"""\(\mu\), the place `t` on the way from `other` (0) to `own` (1); all `(..., dim)`, of unit length."""
    return F.normalize(t * own + (1 - t) * other, dim=-1)
