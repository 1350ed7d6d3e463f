"""The first singular value of the vectors of a row, made large beside the others."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor
from transformers import PreTrainedConfig

from ..citations import LIU_2026
from ..losses.contrastive import one_way_info_nce
from ..losses.rows import mean_of_rows, of_process
from ..losses.singular import leading_direction
from ..models.embeddings import Embeddings
from .all_modalities import CosineObjective, CosineOptions
from .base import register_objective, select


@dataclass(frozen=True)
class PMRLOptions(CosineOptions):
    """
    Args:
        singular_temperature: Of the softmax over the singular values of a row, above 0; 0.05 in the paper.
        cosine_weight: The weight of the contrastive loss of `clip`, on cosines, which is added; 0 in the paper.

    Raises:
        ValueError: If an option does not fit.
    """

    singular_temperature: float = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        value = self.singular_temperature
        if not isinstance(value, int | float) or isinstance(value, bool) or not 1e-6 < value < 1e6:
            raise ValueError(f"singular_temperature={value!r}: write a number above 0, such as 0.05")


@register_objective("latent_clip", "pmrl")
class PMRLObjective(CosineObjective):
    r"""One singular value of each row made large, and its direction contrasted with those of the other rows.

    \[ L = -\frac1N \sum_j \Big( \log \frac{e^{\sigma_{j1} / \tau_1}}{\sum_m e^{\sigma_{jm} / \tau_1}}
       + \log \frac{e^{\langle u_j, u_j \rangle / \tau}}{\sum_k e^{\langle u_j, u_k \rangle / \tau}} \Big) \]

    where \(\sigma_{jm}\) are the singular values of the matrix of the vectors of row j, one column a modality, and
    \(u_j\) is the left singular vector of the first. Rows with the same id are positives of each other in the second
    term and share the target evenly. Of rows that lack a modality only those count that have all. No modality is an
    anchor.

    The sign of \(u_j\) is that by which the sum of the vectors of a row points along it; a decomposition leaves it
    open. Singular values do not see the sign of a vector: opposite ones are as good as equal ones in the first term. A
    modality may end up opposite to the others, and cosines then rank from the wrong end; `cosine_weight` prevents it.
    In the paper \(\tau\) is fixed: write `temperature: 0.1` and `learn_temperature: false`. Its third term, the loss
    of a matching head with weight 0.1, is left out: there is no fusion here.

    The terms are `singular` and `instance`, and with a `cosine_weight` those of `clip`.

    Source: Liu et al., "Principled Multimodal Representation Learning", TPAMI 2026. Its code contrasts the rows of one
    process; here they are those of all.
    """

    Options = PMRLOptions

    def __init__(self, config: PreTrainedConfig) -> None:
        super().__init__(config)
        if config.anchor is not None:
            raise ValueError("anchor: the objective pmrl treats all modalities alike: leave it out")

    @property
    def formula(self) -> str:
        low, count = f"{self.options.singular_temperature:g}", len(self.config.modalities or ())
        parts = [
            rf"\log \frac{{e^{{\sigma_{{j1}} / {low}}}}}{{\sum_m e^{{\sigma_{{jm}} / {low}}}}}",
            r"\log \frac{e^{\langle u_{j1}, u_{j1} \rangle / \tau}}{\sum_k e^{\langle u_{j1}, u_{k1} \rangle / \tau}}",
        ]
        columns = ", ".join(self.vector(name, "j") for name in self.config.modalities)
        matrix = rf"[{columns}] = \sum_{{m = 1}}^{{{count}}} \sigma_{{jm}} u_{{jm}} v_{{jm}}^T"
        return self.formula_with_cosines([rf"-\frac{{1}}{{N}} \sum_j ({' + '.join(parts)})", matrix])

    @property
    def citations(self) -> tuple[str, ...]:
        return (LIU_2026,)

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
        values, direction = leading_direction([part.embeds[name] for name in self.config.modalities])
        logits = of_process(values, own) / self.options.singular_temperature
        singular = mean_of_rows(logits.logsumexp(dim=1) - logits[:, 0], own)
        instance = one_way_info_nce(direction, direction, scale, rows=own, ids=part.ids)
        terms = {"singular": singular.detach(), "instance": instance.detach()}
        return self.with_cosines(singular + instance, terms, embeddings, scale, rows)
