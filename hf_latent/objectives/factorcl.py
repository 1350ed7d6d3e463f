"""FactorCL with critics that are linear, in one phase: bounds of what modalities share and what each has alone."""

from itertools import combinations
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedConfig

from ..citations import LIANG_2023
from ..losses.contrastive import wide
from ..losses.mutual_information import club_bound, info_nce_bound
from ..models.embeddings import Embeddings
from .base import NoOptions, register_objective, select
from .comm import CrossObjective

# What is estimated of a pair of modalities: whether it is raised or lowered, and whether given both views.
BOUNDS = {
    "lower": (True, False),
    "lower_given": (True, True),
    "upper": (False, False),
    "upper_given": (False, True),
}


@register_objective("comm", "factorcl_linear")
class FactorCLObjective(CrossObjective):
    r"""Raise lower bounds of the information that modalities share and that each has alone, and lower upper bounds of
    what belongs to the other factor.

    \[ L = -(S + U_1 + U_2), \quad S = I(z_1; z_2) - \hat I(z_1; z_2 \mid \tilde z_1, \tilde z_2), \quad
       U_1 + U_2 = I(z_1; \tilde z_1) + I(z_2; \tilde z_2) - \hat I(z_1; z_2)
       + I(z_1; z_2 \mid \tilde z_1, \tilde z_2) \]

    where \(I\) is the bound of InfoNCE, \(\hat I\) that of CLUB, and a condition puts the two views of each modality
    side by side. Each term has linear heads of its own on the scored embeddings, normalised again, and the critic is
    their inner product over the temperature. Those of CLUB have a matrix between the heads, which InfoNCE trains on
    what the heads give: its gradient does not reach the heads, nor does that of CLUB reach the matrix.

    Source: Liang et al. (FactorCL), NeurIPS 2023, each term taken once as in its official code. What differs: there
    heads are perceptrons, critics are perceptrons of every pair of rows, without normalisation and temperature, the
    critics of CLUB are trained in a phase of their own by optimizers of their own, and what is probed are all heads
    side by side. As there, the heads of CLUB help to lower it, and may do so without the encoders. One critic for all
    terms on the embeddings themselves would not do: the logits of the positives in \(I\) and \(\hat I\) would cancel,
    and nothing would align the modalities.

    Of more than two modalities the terms of pairs are averaged over the pairs, and \(I(z_i; \tilde z_i)\) counts as
    twice its mean over the modalities.

    The terms are estimates in nats, means over pairs or modalities: `lower` \(I(z_1; z_2)\), `lower_given` the same
    given the views, `upper` and `upper_given` those of CLUB, `own` \(I(z_i; \tilde z_i)\), and `critics`, the bounds
    that train the matrices.
    """

    requires = frozenset({"embeds", "augmented"})
    Options = NoOptions

    def __init__(self, config: PreTrainedConfig) -> None:
        super().__init__(config)
        if len(config.modalities) < 2:
            raise ValueError("objective=factorcl_linear: it is of what modalities share: give two at least")

    def modules(self) -> dict[str, nn.Module]:
        dim, names = self.config.projection_dim, list(self.config.modalities)

        def heads() -> nn.Module:
            return nn.ModuleDict({name: nn.Linear(dim, dim) for name in names})

        found: dict[str, nn.Module] = {bound: heads() for bound in (*BOUNDS, "own")}
        for bound, (raised, given) in BOUNDS.items():
            if not raised:
                found[f"critic_{bound}"] = nn.Linear(dim * (1 + given), dim * (1 + given), bias=False)
        return found

    @property
    def summary(self) -> str:
        return (
            "bounds of the information that the modalities share and that each has alone, a variant of "
            "[FactorCL](https://arxiv.org/abs/2306.05268) with linear critics"
        )

    @property
    def formula(self) -> str:
        views = r"\tilde z_A, \tilde z_B"
        return "\n".join(
            [
                rf"-I(z_A; z_B) + \hat I(z_A; z_B | {views}) - I(z_A; \tilde z_A) - I(z_B; \tilde z_B) "
                rf"+ \hat I(z_A; z_B) - I(z_A; z_B | {views})",
                r"I(x; y) = \log N + \frac{1}{N} \sum_j \log \frac{e^{T_{jj}}}{\sum_k e^{T_{jk}}}, \quad "
                r"\hat I(x; y) = \frac{1}{N} \sum_j T_{jj} - \frac{1}{N^2} \sum_{j, k} T_{jk}",
            ]
        )

    @property
    def notation(self) -> str:
        return (
            "*T* is the inner product of what the heads of a term give, over the temperature; with both views of a "
            "modality behind |, they stand side by side."
        )

    @property
    def citations(self) -> tuple[str, ...]:
        return (LIANG_2023,)

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
        found: dict[str, list[Tensor]] = {}
        for a, b in combinations(z.embeds, 2):
            part, own = select(z, (a, b), rows)
            told: dict[str, Any] = {"rows": own, "ids": part.ids}
            for bound, (raised, given) in BOUNDS.items():
                x, y = (_through(modules[bound][name], part, name, given) for name in (a, b))
                if raised:
                    value = info_nce_bound(x, y, scale, **told)
                else:
                    critic = modules[f"critic_{bound}"].weight
                    value = club_bound(x, F.linear(y, critic.detach().to(y)), scale, **told)
                    fitted = info_nce_bound(x.detach(), F.linear(y.detach(), critic.to(y)), scale, **told)
                    found.setdefault("critics", []).append(fitted)
                found.setdefault(bound, []).append(value)
        for name in z.embeds:
            part, own = select(z, (name,), rows)
            first, second = (_unit(modules["own"][name], view[name]) for view in (part.embeds, part.augmented))
            value = info_nce_bound(first, second, scale, rows=own, ids=part.ids)
            found.setdefault("own", []).append(value)
        terms = {name: torch.stack(values).mean() for name, values in found.items()}
        information = terms["lower"] + terms["lower_given"] + 2 * terms["own"]
        loss = terms["upper"] + terms["upper_given"] - information - 2 * terms["critics"]
        return loss, {name: value.detach() for name, value in terms.items()}


def _unit(head: nn.Module, rows: Tensor) -> Tensor:
    return F.normalize(wide(head(rows)), dim=-1)


def _through(head: nn.Module, z: Any, name: str, given: bool) -> Tensor:
    """`(rows, dim)` of the first view, or `(rows, 2 * dim)` of both, of length 1."""
    first = _unit(head, z.embeds[name])
    return torch.cat([first, _unit(head, z.augmented[name])], dim=-1) / 2**0.5 if given else first
