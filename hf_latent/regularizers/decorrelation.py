"""Decorrelation: some dimensions are common to the modalities, the others are of each alone."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..citations import WANG_2024
from .base import PairwiseRegularizer, is_number, mean, of_rows, register_regularizer

EPSILON = 1e-5  # of the variance of a dimension


@register_regularizer("decorrelation")
@dataclass(frozen=True)
class Decorrelation(PairwiseRegularizer):
    r"""Correlate the first dimensions of two modalities one by one, and decorrelate all others (DeCUR).

    With \(C(x, y)_{kl}\) the correlation over the batch of dimension k of x and dimension l of y, and

    \[ T(C, c) = \sum_k (C_{kk} - c)^2 + \lambda \sum_{k \neq l} C_{kl}^2, \]

    the value of a pair of modalities is

    \[ \tfrac13 \big[ T(C(z^a, \tilde z^a), 1) + T(C(z^b, \tilde z^b), 1)
       + \tfrac12 ( T(C_{common}(z^a, z^b), 1) + T(C_{unique}(z^a, z^b), 0) ) \big] \]

    averaged over the pairs. The first two compare the two views of a modality, and are left out, with the factor 1/3,
    without `in_modal`. The statistics are those of the whole batch.

    Source: Wang, Albrecht, Ait Ali Braham, Liu, Xiong and Zhu, "Decoupling Common and Unique Representations for
    Multimodal Self-supervised Learning", ECCV 2024, and its official code. There it is the only loss, on the outputs
    of wide projectors; here it reads the L2-normalised embeddings and stands beside a contrast.

    Args:
        common: The share of the dimensions that are common, the first ones; above 0, at most 1. 7168 of 8192 in the
            paper.
        off_diagonal: \(\lambda\).
        in_modal: Whether the two views of each modality are compared, which needs the second view.

    Raises:
        ValueError: If a value does not fit.
    """

    common: float = 0.875
    off_diagonal: float = 0.0051
    in_modal: bool = True

    def __post_init__(self) -> None:
        self.demand("common", is_number(self.common) and 0 < self.common <= 1, "a number above 0, at most 1")
        self.demand("off_diagonal", is_number(self.off_diagonal) and self.off_diagonal >= 0, "a number, 0 or more")
        self.demand("in_modal", isinstance(self.in_modal, bool), "true or false")

    @property
    def formula(self) -> str:
        across = r"\frac{1}{2} [T(C_\mathrm{common}(z^a, z^b), 1) + T(C_\mathrm{unique}(z^a, z^b), 0)]"
        if self.in_modal:
            across = rf"\frac{{1}}{{3}} \lbrace T(C(z^a, \tilde z^a), 1) + T(C(z^b, \tilde z^b), 1) + {across} \rbrace"
        return across + "\n" + r"T(C, c) = \sum_k (C_{kk} - c)^2 + \lambda \sum_{k \neq l} C_{kl}^2"

    @property
    def citations(self) -> tuple[str, ...]:
        return (WANG_2024,)

    @property
    def requires(self) -> frozenset[str]:
        return frozenset({"embeds", "augmented"} if self.in_modal else {"embeds"})

    def value(self, z: Any, scale: Tensor | float) -> Tensor:
        across = super().value(z, scale)
        if not self.in_modal:
            return across
        return (across + 2 * mean(of_rows(z, (name,), partial(self._views, name)) for name in z.embeds)) / 3

    def of_pair(self, a: str, b: str, z: Any, scale: Tensor | float) -> Tensor:
        x, y = standardised(z.embeds[a]), standardised(z.embeds[b])
        shared = max(1, round(self.common * x.shape[1]))
        common = self._distance(x[:, :shared], y[:, :shared], 1.0)
        return (common + self._distance(x[:, shared:], y[:, shared:], 0.0)) / 2

    def _views(self, name: str, z: Any) -> Tensor:
        return self._distance(standardised(z.embeds[name]), standardised(z.augmented[name]), 1.0)

    def _distance(self, x: Tensor, y: Tensor, target: float) -> Tensor:
        """T of the correlations of standardised columns."""
        correlation = x.T @ y / len(x)
        own = correlation.diagonal()
        others = correlation.square().sum() - own.square().sum()
        return (own - target).square().sum() + self.off_diagonal * others


def standardised(rows: Tensor) -> Tensor:
    """Each column less its mean, over its deviation."""
    centred = rows - rows.mean(dim=0)
    return centred * torch.rsqrt(centred.square().mean(dim=0) + EPSILON)
