"""The volume of the parallelotope of the vectors of a row, contrasted."""

from torch import Tensor

from ..citations import CICCHETTI_2025_GRAM
from ..losses.cross_entropy import score_cross_entropy
from ..losses.rows import Rows
from ..losses.volume import spanned, volumes
from .all_modalities import ShapeObjective
from .base import register_objective


@register_objective("latent_clip", "gram")
class GRAMObjective(ShapeObjective):
    r"""InfoNCE of the volume that the vectors of all modalities of a row span: it is 0 where they point alike.

    \[ L = -\frac{1}{2N} \sum_{jk} y_{jk} \Big( \log \frac{e^{-V_{jk} / \tau}}{\sum_l e^{-V_{jl} / \tau}}
       + \log \frac{e^{-V_{jk} / \tau}}{\sum_l e^{-V_{lk} / \tau}} \Big), \quad V_{jk} = \sqrt{\det Z_{jk}^T Z_{jk}} \]

    where \(Z_{jk}\) holds the vector of the anchor modality in row j and those of the others in row k, which stay
    together, and y is 1 where j = k, less `label_smoothing`. The anchor is `anchor`, by default the first modality of
    texts, else the first. Rows with the same id are positives of each other and share the target evenly. Of rows that
    lack a modality only those count that have all.

    A volume is 0 as soon as any two vectors coincide, whatever the others do, and also where two are opposite: write
    `cosine_weight` to add the contrast of cosines, which sees both. The paper adds the loss of a matching head, which
    is left out.

    The terms are `gram` and, with `cosine_weight`, those of `clip`.

    Source: Cicchetti et al., "Gramian Multimodal Representation Learning and Alignment", ICLR 2025. The root is taken
    of the square of the volume plus the rounding of 1, which leaves the gradient of equal vectors finite.
    """

    symbol = "V"

    @property
    def definition(self) -> str:
        columns = [self.vector(self.anchor, "j"), *(self.vector(name, "k") for name in self.others(self.anchor))]
        return rf"V_{{jk}} = \sqrt{{\det Z_{{jk}}^T Z_{{jk}}}}, \quad Z_{{jk}} = [{', '.join(columns)}]"

    @property
    def citations(self) -> tuple[str, ...]:
        return (CICCHETTI_2025_GRAM, *(super().citations if self.options.cosine_weight else ()))

    def contrast(self, embeds: dict[str, Tensor], scale: Tensor | float, rows: Rows, ids: Tensor | None) -> Tensor:
        return score_cross_entropy(
            lambda *vectors: -volumes(*vectors),
            embeds[self.anchor],
            spanned([embeds[name] for name in self.others(self.anchor)]),
            scale,
            rows=rows,
            ids=ids,
            label_smoothing=self.options.label_smoothing,
        )
