"""The area of the triangle between the vectors of three modalities, contrasted."""

from dataclasses import dataclass

from torch import Tensor
from transformers import PreTrainedConfig

from ..citations import CICCHETTI_2025_TRIANGLE
from ..losses.cross_entropy import score_cross_entropy
from ..losses.rows import Rows
from ..losses.volume import areas
from .all_modalities import ShapeObjective, ShapeOptions
from .base import register_objective


@dataclass(frozen=True)
class TriangleOptions(ShapeOptions):
    """
    Args:
        root: Contrast the area itself, as the paper prints it; by default twice its square, as the paper's code does.

    Raises:
        ValueError: If an option does not fit.
    """

    root: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.root, bool):
            raise ValueError(f"root={self.root!r}: write true or false")


@register_objective("latent_clip", "triangle")
class TriangleObjective(ShapeObjective):
    r"""InfoNCE of the area of the triangle between the vectors of the three modalities of a row.

    \[ L = -\frac{1}{2N} \sum_{jk} y_{jk} \Big( \log \frac{e^{-A_{jk} / \tau}}{\sum_l e^{-A_{jl} / \tau}}
       + \log \frac{e^{-A_{jk} / \tau}}{\sum_l e^{-A_{lk} / \tau}} \Big), \quad
       A_{jk} = \tfrac12 (|u|^2 |w|^2 - \langle u, w \rangle^2) \]

    where u and w lead from the vector of the anchor modality in row j to those of the two others in row k, and y is 1
    where j = k, less `label_smoothing`. With `root` the area itself, \(\tfrac12 \sqrt{\cdot}\). The anchor is
    `anchor`, by default the first modality of texts, else the first. Rows with the same id are positives of each other
    and share the target evenly. Of rows that lack a modality only those count that have all. It needs three
    modalities.

    An area is 0 as soon as two of the vectors coincide, wherever the third is: write `cosine_weight` to add the
    contrast of cosines. It does tell opposite vectors from equal ones. The paper adds the loss of a matching head,
    which is left out.

    The terms are `triangle` and, with `cosine_weight`, those of `clip`.

    Source: Cicchetti et al., "A TRIANGLE Enables Multimodal Alignment Beyond Cosine Similarity", NeurIPS 2025.
    """

    Options = TriangleOptions
    symbol = "A"

    def __init__(self, config: PreTrainedConfig) -> None:
        super().__init__(config)
        if config.modalities and len(config.modalities) != 3:
            raise ValueError(
                f"triangle needs three modalities, not {', '.join(config.modalities)}: write objective: gram"
            )

    @property
    def definition(self) -> str:
        a, (b, c) = self.vector(self.anchor, "j"), (self.vector(name, "k") for name in self.others(self.anchor))
        below = r"\Vert u \Vert^2 \Vert w \Vert^2 - \langle u, w \rangle^2"
        area = rf"\frac{{1}}{{2}} \sqrt{{{below}}}" if self.options.root else rf"\frac{{1}}{{2}} ({below})"
        return rf"A_{{jk}} = {area}, \quad u = {b} - {a}, \quad w = {c} - {a}"

    @property
    def citations(self) -> tuple[str, ...]:
        return (CICCHETTI_2025_TRIANGLE, *(super().citations if self.options.cosine_weight else ()))

    def contrast(self, embeds: dict[str, Tensor], scale: Tensor | float, rows: Rows, ids: Tensor | None) -> Tensor:
        root = self.options.root
        second, third = (embeds[name] for name in self.others(self.anchor))
        return score_cross_entropy(
            lambda *vectors: -areas(*vectors, root=root),
            embeds[self.anchor],
            (second, third, (second * third).sum(dim=1)),
            scale,
            rows=rows,
            ids=ids,
            label_smoothing=self.options.label_smoothing,
        )
