"""Information bottleneck: what one modality says beyond the other is left out."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..citations import ALMUDEVAR_2025, LI_2026
from .base import PairwiseRegularizer, of_rows, register_regularizer


def gaussian_kl(mean_p: Tensor, log_variance_p: Tensor, mean_q: Tensor, log_variance_q: Tensor) -> Tensor:
    r"""\(KL(p \Vert q)\) of diagonal Gaussians, summed over dimensions and averaged over rows.

    \[ \frac{1}{2N} \sum_{jd} \Big[ \frac{(\mu^p - \mu^q)^2}{e^{\lambda^q}} + e^{\lambda^p - \lambda^q} - 1
       - (\lambda^p - \lambda^q) \Big] \]

    Args:
        mean_p: `(batch, dim)`, as are the others.
        log_variance_p: The logarithm \(\lambda\) of each variance.
        mean_q: The means of q.
        log_variance_q: The same of q.

    Returns:
        Scalar; 0 or more.
    """
    ratio = log_variance_p - log_variance_q
    moved = (mean_p - mean_q).square() * (-log_variance_q).exp()
    return (moved + ratio.expm1() - ratio).sum(dim=1).mean() / 2


@register_regularizer("information_bottleneck")
@dataclass(frozen=True)
class InformationBottleneck(PairwiseRegularizer):
    r"""Pull paired embeddings together, so that each modality forgets what the other does not know.

    For a pair of modalities a and b:

    - `squared`: \(\frac1N \sum_j \lVert z^a_j - z^b_j \rVert^2\), equation 20 of the paper.
    - `cosine`: \(1 - \frac1N \sum_j \langle z^a_j, z^b_j \rangle\), as its official code has it. On the unit sphere
      that is **half** of `squared`, so a weight of the code is twice the weight of the paper's equation.
    - `kl`: \(\frac12 [KL(p^a \Vert p^b) + KL(p^b \Vert p^a)]\) of diagonal Gaussians around z whose log variances are
      the hyperbolic tangent of the model's. With equal variances of 1 it is `cosine`.

    It is averaged over the unordered pairs. Only rows that belong together count, and gradients flow to both sides.

    Source: Almudevar et al., ICML 2025, equations 18 and 20. There equation 17 says that the term bounds
    \(I(Z^a; X^a)\), which is false; it does bound the conditional \(I(Z^a; X^a | X^b)\), what a keeps that b does not
    tell. The official variational code takes one direction of `kl`, around means that are not normalised. Use the
    term beside a contrastive loss: without one, a constant is best.

    Beside cross entropy at inverse temperature \(1/\tau\), a weight \(\beta\) of `cosine` acts as if the positive
    alone had \(1/\tau + \beta\). A temperature that is learned falls as \(\beta\) grows, and the information stays:
    fix it when weights are compared (`temperature_sensitive` asks for a warning).

    Args:
        mode: "squared", "cosine" or "kl".
        pairs: "pairwise", or "one_vs_all": \(\frac1n \sum_m \lVert z^m - \frac{1}{n-1} \sum_{i \neq m} z^i \rVert^2\)
            for n modalities (OVA-IB, arXiv 2605.29900). That is n / (2 (n - 1)) times the pairwise value: the same for
            two modalities, and nearer to half the more there are. `cosine` is scaled alike. It is derived for
            variances that are equal, so not for `kl`.
        relative: Whether to multiply by the inverse temperature (its gradient is not followed), so that the strength
            beside the contrastive loss does not depend on the temperature.

    Raises:
        ValueError: If a word is unknown, `relative` is not a bool, or "kl" meets "one_vs_all".
    """

    temperature_sensitive: ClassVar[bool] = True

    mode: str = "squared"
    pairs: str = "pairwise"
    relative: bool = False

    def __post_init__(self) -> None:
        self.demand_one_of("mode", ("squared", "cosine", "kl"))
        self.demand_one_of("pairs", ("pairwise", "one_vs_all"))
        self.demand("relative", isinstance(self.relative, bool), "true or false")
        if self.mode == "kl":
            self.demand("pairs", self.pairs == "pairwise", "pairwise, or another mode than kl")

    @property
    def formula(self) -> str:
        where = ""
        if self.mode == "kl":
            value = r"\frac{1}{2N} \sum_j [\mathrm{KL}(p^a_j \Vert p^b_j) + \mathrm{KL}(p^b_j \Vert p^a_j)]"
            where = "\n" r"p^m_j = \mathcal{N}(z^m_j, \mathrm{diag}(e^{\tanh \lambda^m_j}))"
        elif self.pairs == "one_vs_all":
            half = r"\frac{1}{2} \cdot " if self.mode == "cosine" else ""
            value = half + r"\frac{1}{nN} \sum_m \sum_j \Vert z^m_j - \frac{1}{n - 1} \sum_{i \neq m} z^i_j \Vert^2"
        elif self.mode == "cosine":
            value = r"1 - \frac{1}{N} \sum_j \langle z^a_j, z^b_j \rangle"
        else:
            value = r"\frac{1}{N} \sum_j \Vert z^a_j - z^b_j \Vert^2"
        return (rf"\frac{{1}}{{\tau}} \left( {value} \right)" if self.relative else value) + where

    @property
    def citations(self) -> tuple[str, ...]:
        return (ALMUDEVAR_2025, LI_2026) if self.pairs == "one_vs_all" else (ALMUDEVAR_2025,)

    @property
    def requires(self) -> frozenset[str]:
        return frozenset({"embeds", "log_variance"} if self.mode == "kl" else {"embeds"})

    def value(self, z: Any, scale: Tensor | float) -> Tensor:
        if self.pairs == "one_vs_all":
            value = of_rows(z, tuple(z.embeds), self._around_centroid)
        elif self.mode == "kl" or z.present is not None:
            value = super().value(z, scale)
        else:  # every row has all modalities: all pairs at once
            value = self._around_centroid(z)
        if self.relative:
            value = value * (scale.detach() if isinstance(scale, Tensor) else scale)
        return value

    def of_pair(self, a: str, b: str, z: Any, scale: Tensor | float) -> Tensor:
        if self.mode != "kl":
            squares = (z.embeds[a] - z.embeds[b]).square().sum(dim=1).mean()
            return squares / 2 if self.mode == "cosine" else squares
        p, q = ((z.embeds[name], z.log_variance[name].tanh()) for name in (a, b))
        return (gaussian_kl(*p, *q) + gaussian_kl(*q, *p)) / 2

    def _around_centroid(self, z: Any) -> Tensor:
        # The mean over pairs of squared distances is 2 / (n - 1) times the sum of squares around the centroid.
        embeds = torch.stack(list(z.embeds.values()))
        n = len(embeds)
        squares = (embeds - embeds.mean(dim=0)).square().sum(dim=(0, 2)).mean()
        factor = 2 / (n - 1) if self.pairs == "pairwise" else n / (n - 1) ** 2
        return squares * (factor / 2 if self.mode == "cosine" else factor)
