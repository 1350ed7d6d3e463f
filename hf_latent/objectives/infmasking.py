"""InfMasking: CoMM, and fusions of randomly masked tokens that agree with the full fusion."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..citations import DUFUMIER_2025, WEN_2025
from ..losses.masked import masked_info_nce
from ..models.embeddings import Embeddings
from ..models.objective_modules import MaskToken
from .base import register_objective, select
from .comm import CoMMObjective


@dataclass(frozen=True)
class InfMaskingOptions:
    """
    Args:
        copies: Masked copies of each row and view. Each is one more fusion of all its tokens.
        mask_ratio: The share of the tokens of each modality that are masked, above 0 and at most 1.
        variance_weight: How much the variance over the copies counts at the end of training, 0 or more; it grows from
            0.
        masked_weight: Of the terms of the masked copies; those of CoMM have `loss_weights`. 0 or more.

    Raises:
        ValueError: If a value is out of its range.
    """

    copies: int = 6
    mask_ratio: float = 0.7
    variance_weight: float = 1.0
    masked_weight: float = 1.0

    def __post_init__(self) -> None:
        if not isinstance(self.copies, int) or isinstance(self.copies, bool) or self.copies < 1:
            raise ValueError(f"copies={self.copies!r}: write a whole number of at least 1, such as 6")
        for key in ("mask_ratio", "variance_weight", "masked_weight"):
            value = getattr(self, key)
            if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < float("inf"):
                raise ValueError(f"{key}={value!r}: write a number of 0 or more")
        if not 0 < self.mask_ratio <= 1:
            raise ValueError(f"mask_ratio={self.mask_ratio!r}: write a number above 0, at most 1, such as 0.7")


@register_objective("comm", "infmasking")
class InfMaskingObjective(CoMMObjective):
    r"""CoMM, and in each view a contrast of the full fusion with fusions of copies whose tokens are masked at random.

    \[ L = \frac{1}{n+3} \Big( M + \tilde M + L_{joint} + \sum_i L_i \Big) \]
    \[ M = \frac1N \sum_i \Big[ \log \Big( e^{(\mu_i + \frac12 v_i) / \tau} + \sum_{j \neq i} \Big( \sum_t
       e^{\langle z_i, z_{tj} \rangle / \tau} + e^{\langle z_i, z_j \rangle / \tau} \Big) \Big) - \mu_i / \tau \Big] \]

    where \(z_i\) fuses all modalities of row i, \(z_{ti}\) the same in copy t, \(\mu_i\) and \(v_i\) are the mean and,
    times \(r / \tau\), the variance over t of \(\langle z_i, z_{ti} \rangle\), and \(r\) is `variance_weight` times
    the share of training that is done. \(L_i\) and \(L_{joint}\) are those of `comm`, with its `loss_terms` and
    `loss_weights`.

    In each copy a modality of a row keeps \(\lfloor (1 - \rho) L \rfloor\) of its L tokens, \(\rho\) being
    `mask_ratio`; one learned token stands in place of the others. A modality of one token is masked whole.
    `LatentTrainer` draws masks by seed and row, as views are. In evaluation nothing is masked, and the loss is the
    mean of the terms of CoMM alone.

    Source: Wen et al., NeurIPS 2025. As in its official code r grows over training, which the paper is said not to
    tell. The code rounds \((1 - \rho) L\) down after errors of floating point (1 of 10 tokens at 0.8, where here 2 are
    kept) and lets padding be attended to in training; here it is not. Rows of one id are no negatives of each other in
    M.

    The terms are those of `comm`, `masked` and `masked_augmented`.
    """

    Options = InfMaskingOptions

    def modules(self) -> dict[str, nn.Module]:
        return {"mask_token": MaskToken(self.config.embed_dim, self.options.copies, self.options.mask_ratio)}

    @property
    def summary(self) -> str:
        return (
            "[InfMasking](https://arxiv.org/abs/2509.25270), which contrasts each modality alone, all of them fused, "
            "and fusions of randomly masked tokens, to keep redundant, unique and synergistic information"
        )

    @property
    def formula(self) -> str:
        # Those of CoMM, whose mean is over two more.
        total, *where = super().formula.splitlines()
        own, terms = total, len(self.terms)
        if terms > 1:
            own = total.removeprefix(rf"\frac{{1}}{{{terms}}} (").removesuffix(")")
        weight = "" if self.options.masked_weight == 1 else f"{self.options.masked_weight:g} "
        masked = (
            r"M = \frac{1}{N} \sum_j [ \log ( e^{(\mu_j + v_j / 2) / \tau} + \sum_{k \neq j} ( \sum_t "
            r"e^{\langle z_j, z_{tk} \rangle / \tau} + e^{\langle z_j, z_k \rangle / \tau} ) ) - \mu_j / \tau ]"
        )
        moments = (
            r"\mu_j = \frac{1}{T} \sum_t \langle z_j, z_{tj} \rangle, \quad v_j = "
            rf"\frac{{{self.options.variance_weight:g}}}{{T \tau}} \sum_t (\langle z_j, z_{{tj}} \rangle - \mu_j)^2"
        )
        whole = rf"\frac{{1}}{{{terms + 2}}} ({weight}M + {weight}\tilde M + {own})"
        return "\n".join([whole, masked, moments, *where])

    @property
    def notation(self) -> str:
        return "*z* with *t* is masked copy *t* of *T*, fused; *v* grows from 0 to this value over training."

    @property
    def citations(self) -> tuple[str, ...]:
        return (WEN_2025, DUFUMIER_2025)

    def __call__(
        self,
        embeddings: Embeddings,
        scale: Tensor | float,
        *,
        rows: slice | None = None,
        progress: float = 0.0,
        queue: Any = None,
        modules: Any = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        z = self.checked(embeddings)
        losses = self._losses(z, scale, rows)
        weights = dict(self.weights)
        part, own = select(z, (), rows)
        for name, full, masked in (
            ("masked", part.fused, part.fused_masked),
            ("masked_augmented", part.fused_augmented, part.fused_masked_augmented),
        ):
            if masked is None:
                continue  # nothing is masked in evaluation
            ramped = self.options.variance_weight * progress
            losses[name] = masked_info_nce(full, masked, scale, ramped, rows=own, ids=part.ids)
            weights[name] = self.options.masked_weight
        loss = torch.stack([weights[name] * value for name, value in losses.items()]).mean()
        return loss, {name: value.detach() for name, value in losses.items()}
