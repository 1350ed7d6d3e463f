"""Baselines of CoMM's literature on its encoders: contrasts of single modalities, without fusion."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedConfig

from ..citations import CHEN_2020, DUFUMIER_2025, MU_2022, TIAN_2020
from ..losses.contrastive import nt_xent
from ..models.embeddings import Embeddings
from ..models.encoders import kind_of_spec
from ..models.registry import nearest
from .base import NoOptions, register_objective, select
from .comm import NT_XENT_FORMULA, CrossObjective


def mean_of(losses: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(losses)).mean()


def between_views(z: Embeddings, name: str, scale: Tensor | float, rows: slice | None) -> Tensor:
    """NT-Xent between the two views of one modality, over the rows that have it."""
    part, own = select(z, (name,), rows)
    return nt_xent(part.embeds[name], part.augmented[name], scale, rows=own, ids=part.ids)


@dataclass(frozen=True)
class ViewOptions:
    """
    Args:
        views_of: The modalities whose two views are contrasted, by their names. By default those of images, or, where
            there is none, all.

    Raises:
        ValueError: If it is no list of names, or a modality does not exist.
    """

    views_of: list[str] | None = None

    def __post_init__(self) -> None:
        own = self.views_of
        names = isinstance(own, list | tuple) and all(isinstance(name, str) for name in own)
        if own is not None and (not names or not own or len(set(own)) < len(own)):
            raise ValueError(f"views_of={own!r}: write a list of different modalities, such as [image]")


class ViewObjective(CrossObjective):
    """One that contrasts the two views of some modalities."""

    requires = frozenset({"embeds", "augmented"})
    Options = ViewOptions

    def __init__(self, config: PreTrainedConfig) -> None:
        super().__init__(config)
        names = list(config.modalities)
        images = [name for name, spec in config.modalities.items() if kind_of_spec(spec) == "image"]
        self.views_of = list(self.options.views_of or images or names)
        for name in self.views_of:
            if name not in names:
                raise ValueError(f"objective_options.views_of: {name!r} is no modality: {nearest(name, names)}")

    def _views(self, z: Embeddings, scale: Tensor | float, rows: slice | None) -> Tensor:
        return mean_of([between_views(z, name, scale, rows) for name in self.views_of])

    @property
    def _views_formula(self) -> str:
        if len(self.views_of) == 1:
            return rf"\ell(z_{self._number(self.views_of[0])}, \tilde z_{self._number(self.views_of[0])})"
        which = ", ".join(str(self._number(name)) for name in self.views_of)
        return rf"\frac{{1}}{{{len(self.views_of)}}} \sum_{{i \in (" + which + r")} \ell(z_i, \tilde z_i)"

    def _number(self, name: str) -> int:
        # A name need not be LaTeX.
        return list(self.config.modalities).index(name) + 1


@register_objective("comm", "simclr")
class SimCLRObjective(ViewObjective):
    r"""NT-Xent between the two views of each modality alone: no modality sees another.

    \[ L = \frac{1}{|V|} \sum_{i \in V} \ell(z_i, \tilde z_i) \]

    where V are the modalities of `views_of`, images by default as in the paper, and \(\ell\) is NT-Xent. What is
    outside of V is not trained.

    Source: Chen et al., ICML 2020, equation 1, at a temperature of 0.1. There a ResNet-50 has a head of its own; here
    encoders, fusion and head are those of CoMM.

    The terms are `self` (the mean) and, where V has several modalities, `self_<modality>`.
    """

    @property
    def summary(self) -> str:
        return "the contrast of the two views of single modalities, as SimCLR, which no modality shares with another"

    @property
    def formula(self) -> str:
        return "\n".join([self._views_formula, NT_XENT_FORMULA])

    @property
    def citations(self) -> tuple[str, ...]:
        return (CHEN_2020,)

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
        views = {name: between_views(z, name, scale, rows) for name in self.views_of}
        loss = mean_of(list(views.values()))
        each = {f"self_{name}": value.detach() for name, value in views.items()} if len(views) > 1 else {}
        return loss, {"self": loss.detach(), **each}


@dataclass(frozen=True)
class SLIPOptions(ViewOptions):
    """
    Args:
        views_of: The modalities whose two views are contrasted, by their names. By default those of images, or, where
            there is none, all.
        view_temperature: Of the contrast between views, above 0; the model's `temperature` is that between modalities.

    Raises:
        ValueError: If `views_of` is no list of names, a modality does not exist, or the temperature is not above 0.
    """

    view_temperature: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        own = self.view_temperature
        if not isinstance(own, int | float) or isinstance(own, bool) or not 0 < own < float("inf"):
            raise ValueError(f"view_temperature={own!r}: write a number above 0, such as 0.1")


@register_objective("comm", "slip")
class SLIPObjective(ViewObjective):
    r"""CLIP's InfoNCE between the modalities, and NT-Xent between the two views of the images.

    \[ L = \frac{1}{|P|} \sum_{(A, B) \in P} \tfrac12 (L_{A \to B} + L_{B \to A})
       + \frac{1}{|V|} \sum_{i \in V} \ell'(z_i, \tilde z_i) \]

    where P are the pairs of modalities, V those of `views_of`, and \(\ell'\) is NT-Xent at `view_temperature`.

    Source: Mu et al., ECCV 2022, section 3, where the temperature of the first term is learned, from 0.07; here it is
    fixed: write `temperature: 0.07`. The paper encodes three views of an image: one that is hardly augmented for the
    first term, two for the second. Here the first term reads the first of the two views, as in `cross_self`.

    The terms are `cross` and `self`.
    """

    Options = SLIPOptions

    @property
    def summary(self) -> str:
        return "InfoNCE between the modalities and a contrast of the two views of single modalities, as SLIP"

    @property
    def formula(self) -> str:
        total, *where = super().formula.splitlines()
        nt_xent = NT_XENT_FORMULA.replace(r"\tau", f"{self.options.view_temperature:g}")
        return "\n".join([f"{total} + {self._views_formula}", *where, nt_xent])

    @property
    def notation(self) -> str:
        return "The number in the second contrast is its own temperature."

    @property
    def citations(self) -> tuple[str, ...]:
        return (MU_2022,)

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
        cross, terms = super().__call__(z, scale, rows=rows)
        views = self._views(z, 1 / self.options.view_temperature, rows)
        return cross + views, {**terms, "self": views.detach()}


@register_objective("comm", "cmc")
class CMCObjective(CrossObjective):
    r"""NT-Xent between the modalities: the other rows of both are negatives, averaged over the pairs of modalities.

    \[ L = \frac{1}{|P|} \sum_{(A, B) \in P} \ell(z^A, z^B) \]

    over the pairs P. Unlike InfoNCE in `cross`, a row's modality is contrasted with the same modality of other rows,
    too.

    Source: Tian et al., ECCV 2020 (contrastive multiview coding), in the form that the official code of CoMM measures
    against, with NT-Xent at a temperature of 0.1; the paper itself contrasts with a memory bank.

    The term is `cross`.
    """

    Options = NoOptions

    @property
    def summary(self) -> str:
        return "NT-Xent between the modalities (CMC), which keeps what they share and tends to lose the rest"

    @property
    def formula(self) -> str:
        which = r"\frac{1}{|P|} \sum_{(A, B) \in P} " if len(self.config.modalities) > 2 else ""
        return "\n".join([rf"{which}\ell(z^A, z^B)", NT_XENT_FORMULA])

    @property
    def citations(self) -> tuple[str, ...]:
        return (TIAN_2020, DUFUMIER_2025)

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
        pairs = []
        for a, b in combinations(z.embeds, 2):
            part, own = select(z, (a, b), rows)
            pairs.append(nt_xent(part.embeds[a], part.embeds[b], scale, rows=own, ids=part.ids))
        loss = mean_of(pairs)
        return loss, {"cross": loss.detach()}
