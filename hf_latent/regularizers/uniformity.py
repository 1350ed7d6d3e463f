"""Uniformity: the rows of each modality spread over the sphere."""

from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import Any, ClassVar

from torch import Tensor

from ..citations import FAHIM_2024, WANG_2020
from ..losses.uniformity import pair_uniformity
from .base import Regularizer, is_number, mean, of_rows, register_regularizer


@register_regularizer("uniformity")
@dataclass(frozen=True)
class Uniformity(Regularizer):
    r"""Spread the rows of each modality, and on request those of different modalities, which narrows the gap.

    \[ L = \frac1n \sum_m U(z^m, z^m) + \frac{2}{n (n - 1)} \sum_{a < b} U(z^a, z^b), \quad
       U(x, y) = \log \frac{1}{N (N - 1)} \sum_{j \neq k} e^{-t \lVert x_j - y_k \rVert^2} \]

    over n modalities; the second sum with `cross`. Rows with equal ids are no pair. No `(batch, batch)` matrix is
    held.

    Source: Fahim, Murphy and Fyshe, "It's Not a Modality Gap: Characterizing and Addressing the Contrastive Gap",
    2024, after Wang and Isola, ICML 2020. There contrast, uniformity and alignment are added, or these and cross
    uniformity; the weights of the terms, and whether j = k counts, are our reading. The alignment term is the
    regularizer `information_bottleneck`.

    Args:
        t: The sharpness of the kernel.
        cross: Whether rows of different modalities repel each other, too; not those of one row.

    Raises:
        ValueError: If `t` is not above 0, or `cross` is not a bool.
    """

    supports_missing: ClassVar[bool] = True

    t: float = 2.0
    cross: bool = False

    def __post_init__(self) -> None:
        self.demand("t", is_number(self.t) and self.t > 0, "a number above 0")
        self.demand("cross", isinstance(self.cross, bool), "true or false")

    @property
    def formula(self) -> str:
        within = r"\frac{1}{n} \sum_m U(z^m, z^m)"
        total = within + r" + \frac{1}{n (n - 1)} \sum_{a \neq b} U(z^a, z^b)" if self.cross else within
        kernel = r"U(x, y) = \log \frac{1}{N (N - 1)} \sum_{j \neq k} e^{-t \Vert x_j - y_k \Vert^2}"
        return f"{total}\n{kernel}"

    @property
    def citations(self) -> tuple[str, ...]:
        return (FAHIM_2024, WANG_2020)

    def value(self, z: Any, scale: Tensor | float) -> Tensor:
        total = mean(of_rows(z, (m,), partial(self._between, m, m)) for m in z.embeds)
        if self.cross:
            pairs = combinations(z.embeds, 2)
            total = total + mean(of_rows(z, (a, b), partial(self._between, a, b)) for a, b in pairs)
        return total

    def _between(self, a: str, b: str, z: Any) -> Tensor:
        return pair_uniformity(z.embeds[a], z.embeds[b], self.t, z.ids)
