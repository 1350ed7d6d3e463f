"""COrAL: what modalities share and what each has alone, by encoders of their own, made orthogonal."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig

from ..citations import CISSEE_2026
from ..losses.contrastive import nt_xent
from ..losses.rows import mean_of_rows, of_process
from ..models.embeddings import Embeddings
from ..models.objective_modules import TokenMask
from .base import Objective, register_objective, select
from .comm import NT_XENT_FORMULA


@dataclass(frozen=True)
class CoralOptions:
    """
    Args:
        weight: Of the orthogonality, 0 or more.
        mask_ratio: The probability, 0 to 1, with which a token of the shared path is masked in training: in the first
            view those of the first modality, in the second view those of the second. 0 masks none.

    Raises:
        ValueError: If a value is out of its range.
    """

    weight: float = 1.0
    mask_ratio: float = 0.75

    def __post_init__(self) -> None:
        for key, highest, words in (
            ("weight", float("inf"), "of 0 or more, such as 1"),
            ("mask_ratio", 1.0, "from 0 to 1, such as 0.75"),
        ):
            value = getattr(self, key)
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or not 0 <= value <= highest or value == float("inf"):
                raise ValueError(f"{key}={value!r}: write a number {words}")


@register_objective("comm", "coral")
class CoralObjective(Objective):
    r"""Contrast the two views of both modalities fused, and of each modality alone by a second encoder, and keep the
    three embeddings orthogonal.

    \[ L = \ell(z, \tilde z) + \sum_m \ell(u_m, \tilde u_m)
       + w \, [O(z, u_1, u_2) + O(\tilde z, \tilde u_1, \tilde u_2)], \quad
       O(s, t, v) = \frac1N \sum_j [\cos^2(s_j, t_j) + \cos^2(s_j, v_j) + \cos^2(t_j, v_j)] \]

    where \(z\) fuses both modalities, \(u_m\) is what modality m tells alone, \(\ell\) is NT-Xent and w is `weight`.
    Terms are summed. Two modalities only.

    The shared path are CoMM's encoders, converters, fusion and head. The unique path of a modality has an encoder and
    a converter of its own, which begin as those of the shared path; a perceptron on each token (`embed_dim`,
    LayerNorm, GELU, `embed_dim // 2`); attention pooling; and a head of its own. What is probed is
    \([z, u_1, u_2]\) before the heads, `2 * embed_dim` wide, twice what CoMM has.

    In training each token of the shared path is zero with probability `mask_ratio`, in the first view those of the
    first modality, in the second view those of the second; zeros are attended to. `LatentTrainer` draws the masks by
    seed and row, as views are. In evaluation nothing is masked. Regularizers read, in training, embeddings of single
    modalities of which the tokens are masked in one view; those that need the head `independent` are refused, whose
    place the unique paths take.

    Rows that lack a modality: \(\ell(z, \tilde z)\) is of all rows that have any, a term of \(u_m\) of those that
    have m, and \(\cos^2(u_1, u_2)\) of those that have both.

    Source: Cissee, Younis and Ahmadi, 2026, whose official code has a weight of 1 for Trifeature at the time of the
    paper, and of 10 since July 2026. There probes of Trifeature are fitted anew on training and test rows.

    The terms are `joint`, `unique_<modality>`, and `orthogonality`, the sum over both views without its weight.

    Raises:
        ValueError: If there are other than two modalities, or a regularizer needs the head `independent`.
    """

    requires = frozenset({"fused", "fused_augmented", "independent", "independent_augmented"})
    supports_missing = True
    Options = CoralOptions

    def __init__(self, config: PreTrainedConfig) -> None:
        super().__init__(config)
        if len(config.modalities) != 2:
            raise ValueError(
                "objective coral: it masks one modality in each of two views, and there are "
                f"{len(config.modalities)}: give two modalities, or write objective: comm"
            )
        if "independent" in (config.extra_heads or ()):
            raise ValueError(
                "objective coral has encoders of its own for what a modality tells alone: leave out the regularizers "
                "that need the head independent, feature_separation and orthogonality among them"
            )

    def modules(self) -> dict[str, nn.Module]:
        return {"token_mask": TokenMask(self.options.mask_ratio)}

    @property
    def summary(self) -> str:
        return (
            "[COrAL](https://arxiv.org/abs/2602.14983), which contrasts both modalities fused, of which one is masked "
            "in part in each view, and each modality alone by a second encoder, and keeps these embeddings orthogonal"
        )

    @property
    def formula(self) -> str:
        total = r"\ell(z, \tilde z) + \ell(u_1, \tilde u_1) + \ell(u_2, \tilde u_2)"
        if not self.options.weight:
            return "\n".join([total, NT_XENT_FORMULA])
        factor = "" if self.options.weight == 1 else f"{self.options.weight:g} "
        total += rf" + {factor}[O(z, u_1, u_2) + O(\tilde z, \tilde u_1, \tilde u_2)]"
        pairs = " + ".join(rf"\langle {a}_j, {b}_j \rangle^2" for a, b in combinations("stv", 2))
        return "\n".join([total, rf"O(s, t, v) = \frac{{1}}{{N}} \sum_j [{pairs}]", NT_XENT_FORMULA])

    @property
    def notation(self) -> str:
        return "*u* with a number is what that modality tells alone, by a second encoder and a head of its own."

    @property
    def citations(self) -> tuple[str, ...]:
        return (CISSEE_2026,)

    def second_views(self, modalities: Iterable[str]) -> set[str]:
        return set(modalities)

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
        names = list(z.independent)
        part, own = select(z, (), rows)
        terms = {"joint": nt_xent(part.fused, part.fused_augmented, scale, rows=own, ids=part.ids)}
        squares = []
        for name in names:
            part, own = select(z, (name,), rows)
            first, second = part.independent[name], part.independent_augmented[name]
            terms[f"unique_{name}"] = nt_xent(first, second, scale, rows=own, ids=part.ids)
            squares += [
                mean_of_rows(of_process(_squared_cosine(*pair), own), own)
                for pair in ((first, part.fused), (second, part.fused_augmented))
            ]
        for a, b in combinations(names, 2):
            part, own = select(z, (a, b), rows)
            squares += [
                mean_of_rows(of_process(_squared_cosine(view[a], view[b]), own), own)
                for view in (part.independent, part.independent_augmented)
            ]
        contrast = torch.stack(list(terms.values())).sum()
        terms["orthogonality"] = torch.stack(squares).sum()
        loss = contrast + self.options.weight * terms["orthogonality"]
        return loss, {name: value.detach() for name, value in terms.items()}

    def features(self, embeddings: Embeddings) -> Tensor:
        """The fused representation and those of the unique paths side by side, `(batch, 2 * embed_dim)`; zeros for the
        modalities that a row lacks."""
        z: Any = embeddings
        unique = dict(z.independent)
        if z.present is not None:
            unique = {name: rows * z.present[name][:, None] for name, rows in unique.items()}
        return torch.cat([z.fused, *unique.values()], dim=-1)


def _squared_cosine(first: Tensor, second: Tensor) -> Tensor:
    """`(batch,)`, of rows that have length 1."""
    return (first * second).sum(dim=1).square()
