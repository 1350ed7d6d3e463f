"""The multilinear inner product of the vectors of a row, contrasted."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ..citations import SAPORTA_2024
from ..losses.multilinear import multilinear_info_nce
from ..models.embeddings import Embeddings
from .all_modalities import AllModalitiesObjective
from .base import register_objective, select
from .clip import mean

NEGATIVES = ("rolls", "all")


@dataclass(frozen=True)
class SymileOptions:
    """
    Args:
        negatives: `"rolls"`, batch - 1 tuples for each row, in which the rows of the p-th of the other modalities are
            rolled on by p; or `"all"`, each of the batch^(modalities - 1) tuples, at a cost that grows alike.

    Raises:
        ValueError: If it is neither.
    """

    negatives: str = "rolls"

    def __post_init__(self) -> None:
        if self.negatives not in NEGATIVES:
            raise ValueError(f"negatives={self.negatives!r}: write {' or '.join(NEGATIVES)}")


@register_objective("latent_clip", "symile")
class SymileObjective(AllModalitiesObjective):
    r"""InfoNCE of the multilinear inner product of all modalities: it sees what only all of them together tell.

    \[ L = \frac{1}{n} \sum_A -\frac{1}{N} \sum_j \log \frac{e^{s_j / \tau}}{e^{s_j / \tau}
       + \sum_t e^{\langle z^A_j, z_t \rangle / \tau}}, \quad s_j = \sum_d \prod_m (z^m_j)_d \]

    where each modality A is the anchor once (with `anchor`, this one alone) and \(z_t\) is the elementwise product of
    the vectors of the others in a tuple t of rows. The paper's code shuffles the rows of each of the others; here
    those of the gathered batch, which is shuffled already, are rolled on, by 1, 2 and so on: the negatives depend
    neither on the number of processes nor on a generator. `negatives: all` takes every tuple of rows (`n_squared` in
    the code). Of two modalities either is the contrastive loss of `clip`.

    A tuple all of whose rows have the id of the anchor's row is a positive of it, and its positives share the target
    evenly. Of rows that lack a modality only those count that have all; the paper gives the encoder an indicator
    instead.

    Products of unit vectors are small, about \(d^{1 - n/2}\) for n modalities of d dimensions: begin with a low
    temperature, such as `temperature: 0.01` with `min_temperature: 0.0001`.

    The terms are `symile` (the mean over the anchors) and `symile_<a>` of each.

    Source: Saporta et al., "Contrasting with Symile", NeurIPS 2024.
    """

    Options = SymileOptions

    @property
    def anchors(self) -> list[str]:
        return [self.config.anchor] if self.config.anchor else list(self.config.modalities)

    @property
    def formula(self) -> str:
        count = len(self.config.modalities or ())
        if self.options.negatives == "all":
            rows = [f"k_{p}" for p in range(1, count)]
            which = rf"({', '.join(rows)}) \neq (j, \ldots, j)" if count > 2 else r"k_1 \neq j"
        else:
            rows = [f"k + {p}" for p in range(1, count)] if count > 2 else ["k"]
            which = r"k \neq j"
        factors = r" \odot ".join(rf"z^{{B_{p}}}_{{{row}}}" for p, row in enumerate(rows, 1))
        if self.config.anchor:
            total = f"L_{{{1 + list(self.config.modalities).index(self.config.anchor)}}}"
        else:
            total = rf"\frac{{1}}{{{count}}} \sum_A L_A"
        negatives = rf"\sum_{{{which}}} e^{{\langle z^A_j, {factors} \rangle / \tau}}"
        loss = rf"L_A = -\frac{{1}}{{N}} \sum_j \log \frac{{e^{{s_j / \tau}}}}{{e^{{s_j / \tau}} + {negatives}}}"
        return "\n".join([total, loss, r"s_j = \sum_d \prod_m z^m_{j d}"])

    @property
    def citations(self) -> tuple[str, ...]:
        return (SAPORTA_2024,)

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
        losses = {
            f"symile_{anchor}": multilinear_info_nce(
                part.embeds[anchor],
                [part.embeds[name] for name in self.others(anchor)],
                scale,
                every=self.options.negatives == "all",
                rows=own,
                ids=part.ids,
            )
            for anchor in self.anchors
        }
        loss = mean(list(losses.values()))
        terms = {"symile": loss.detach()}
        if len(losses) > 1:
            terms |= {name: value.detach() for name, value in losses.items()}
        return loss, terms
