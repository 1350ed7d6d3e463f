"""Centroid uniformity: the means of the modalities of each row spread over the sphere."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ..citations import GRASSUCCI_2026
from ..losses.uniformity import pair_uniformity
from .base import Regularizer, is_number, of_rows, register_regularizer

SHORTEST = 1e-4  # mean of unit vectors whose direction has a bounded gradient


@register_regularizer("centroid_uniformity")
@dataclass(frozen=True)
class CentroidUniformity(Regularizer):
    r"""Spread what the modalities of each row have in common, while another term brings them together.

    \[ L = \log \frac{2}{N (N - 1)} \sum_{j < k} e^{-t \lVert g_j - g_k \rVert^2}, \quad
       g_j = \frac{\sum_m z^m_j}{\lVert \sum_m z^m_j \rVert} \]

    over the rows that have all modalities; rows with equal ids are no pair. Together with `information_bottleneck`
    (the squared distance of pairs) it is the loss of ModGap. No `(batch, batch)` matrix is held.

    Source: Grassucci, Cicchetti, Frasca, Uncini and Comminiello, "Closing the Modality Gap Aligns Group-Wise
    Semantics", ICLR 2026, as its documentation prints it; the configuration that ships with its code runs another.

    Args:
        t: The sharpness of the kernel.

    Raises:
        ValueError: If `t` is not above 0.
    """

    supports_missing: ClassVar[bool] = True

    t: float = 2.0

    def __post_init__(self) -> None:
        self.demand("t", is_number(self.t) and self.t > 0, "a number above 0")

    @property
    def formula(self) -> str:
        return (
            r"\log \frac{1}{N (N - 1)} \sum_{j \neq k} e^{-t \Vert g_j - g_k \Vert^2}, \quad "
            r"g_j = \frac{\sum_m z^m_j}{\Vert \sum_m z^m_j \Vert}"
        )

    @property
    def citations(self) -> tuple[str, ...]:
        return (GRASSUCCI_2026,)

    def value(self, z: Any, scale: Tensor | float) -> Tensor:
        return of_rows(z, tuple(z.embeds), self._of_centroids)

    def _of_centroids(self, z: Any) -> Tensor:
        centroids = F.normalize(torch.stack(list(z.embeds.values())).mean(dim=0), dim=1, eps=SHORTEST)
        return pair_uniformity(centroids, centroids, self.t, z.ids)
