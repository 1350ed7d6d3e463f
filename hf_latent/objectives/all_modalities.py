"""What the objectives share that score all modalities of a row together."""

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor
from transformers import PreTrainedConfig

from ..losses.rows import Rows
from ..models.embeddings import Embeddings
from .base import select
from .clip import CLIPObjective


class AllModalitiesObjective(CLIPObjective):
    """An objective on one score of all modalities; a row that lacks one of them is left out."""

    def __init__(self, config: PreTrainedConfig) -> None:
        super().__init__(config)
        if config.in_modal:
            raise ValueError(f"in_modal: the objective {config.objective} compares the modalities alone: leave it out")

    @property
    def anchor(self) -> str:
        """The modality whose rows are contrasted with those of the others: `config.anchor`, or the first of texts, or
        the first."""
        texts = [name for name, kind in self.config.kinds.items() if kind == "text"]
        return self.config.anchor or next(iter([*texts, *self.config.modalities]))

    def others(self, anchor: str) -> list[str]:
        return [name for name in self.config.modalities if name != anchor]

    def vector(self, name: str, row: str) -> str:
        """The vector of a modality in formulas, by its number: a name need not be LaTeX."""
        return rf"z^{{{1 + list(self.config.modalities).index(name)}}}_{row}"


@dataclass(frozen=True)
class CosineOptions:
    """
    Args:
        cosine_weight: The weight of the contrastive loss of `clip`, on cosines, which is added; 0 in the paper.

    Raises:
        ValueError: If an option does not fit.
    """

    cosine_weight: float = 0.0

    def __post_init__(self) -> None:
        self.demand("cosine_weight", 1e9, "0 or more")

    def demand(self, key: str, below: float, wanted: str) -> None:
        """Refuse an option that is no number from 0 to less than `below`."""
        value = getattr(self, key)
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < below:
            raise ValueError(f"{key}={value!r}: write a number {wanted}, such as 0.1")


class CosineObjective(AllModalitiesObjective):
    """One that may add the contrastive loss of `clip`, for what a score of all modalities does not see."""

    Options = CosineOptions

    def with_cosines(
        self,
        loss: Tensor,
        terms: dict[str, Tensor],
        embeddings: Embeddings,
        scale: Tensor | float,
        rows: slice | None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss and its terms, with the contrastive loss where it has a weight."""
        if not self.options.cosine_weight:
            return loss, terms
        contrastive, more = CLIPObjective.__call__(self, embeddings, scale, rows=rows)
        return loss + self.options.cosine_weight * contrastive, {**terms, **more}

    def formula_with_cosines(self, lines: list[str]) -> str:
        """The lines of a formula, the first of which is the loss, with the contrastive loss where it has a weight."""
        weight = self.options.cosine_weight
        if not weight:
            return "\n".join(lines)
        contrastive, *rest = CLIPObjective.formula.fget(self).splitlines()  # type: ignore[attr-defined]
        return "\n".join([f"{lines[0]} + {weight:g} ({contrastive})", *lines[1:], *rest])


@dataclass(frozen=True)
class ShapeOptions(CosineOptions):
    """
    Args:
        label_smoothing: The share of the target that is spread over all rows of the batch, from 0 to less than 1; 0.1
            in the paper's code.
        cosine_weight: The weight of the contrastive loss of `clip`, on cosines, which is added; 0 in the paper.

    Raises:
        ValueError: If an option does not fit.
    """

    label_smoothing: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        self.demand("label_smoothing", 1.0, "from 0 to less than 1")


class ShapeObjective(CosineObjective):
    """InfoNCE of a shape that the vectors of a row make, which is small where they fit.

    Attributes:
        symbol: Of the shape, in formulas.
    """

    Options = ShapeOptions
    symbol: ClassVar[str]

    def contrast(self, embeds: dict[str, Tensor], scale: Tensor | float, rows: Rows, ids: Tensor | None) -> Tensor:
        """The loss on the shape alone, of rows that have all modalities."""
        raise NotImplementedError

    @property
    def definition(self) -> str:
        """The shape of anchor j and the others of row k, in LaTeX."""
        raise NotImplementedError

    @property
    def formula(self) -> str:
        smoothing = self.options.label_smoothing
        ways = [rf"\frac{{e^{{-S_{{jk}} / \tau}}}}{{\sum_l e^{{-S_{{{way}}} / \tau}}}}" for way in ("jl", "lk")]
        logs = " + ".join(rf"\log {way}" for way in ways).replace("S_", f"{self.symbol}_")
        target = rf"{1 - smoothing:g} \delta_{{jk}} + {smoothing:g} / N" if smoothing else r"\delta_{jk}"
        lines = [rf"-\frac{{1}}{{2 N}} \sum_{{j, k}} y_{{jk}} ({logs})", f"y_{{jk}} = {target}", self.definition]
        return self.formula_with_cosines(lines)

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
        part, own = select(self.checked(embeddings), self.config.modalities, rows)
        loss = self.contrast(part.embeds, scale, own, part.ids)
        terms = {self.config.objective: loss.detach()}
        return self.with_cosines(loss, terms, embeddings, scale, rows)
