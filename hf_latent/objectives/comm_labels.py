"""The objectives of CoMM that read labels: a head's losses, and a contrast by classes."""

from typing import Any, cast

import torch
from torch import Tensor

from ..citations import DUFUMIER_2025, KHOSLA_2020
from ..losses.contrastive import nt_xent
from ..models.embeddings import Embeddings
from .base import Objective, register_objective, select

LABEL_FORMULAS = {
    "multi_label_classification": r"-\frac{1}{N C} \sum_{j, c} [y_{jc} \log p(c \mid x_j) + (1 - y_{jc}) "
    r"\log (1 - p(c \mid x_j))]",
    "regression": r"\frac{1}{N C} \sum_{j, c} (y_{jc} - \hat y_c(x_j))^2",
}


@register_objective("comm", "labels")
class LabelObjective(Objective):
    r"""What a head says, against labels: cross-entropy, binary cross-entropy or squared error, by `problem_type`.

    \[ L = \frac{\sum_j \ell_j}{\sum_j n_j} \]

    where \(\ell_j\) is the sum of the losses of the labels of row j and \(n_j\) how many these are: the mean over all
    labels of the whole global batch, as in transformers. A row without a label, or without any modality, has none.

    Source: Dufumier, Castillo-Navarro et al., ICLR 2025, section 4, for labels of a row and for numbers; classes are
    trained by `supcon` there.

    The term is `labels`.
    """

    requires = frozenset({"row_losses"})
    supports_missing = True

    @property
    def formula(self) -> str:
        return LABEL_FORMULAS.get(self.config.problem_type or "", r"-\frac{1}{N} \sum_j \log p(y_j \mid x_j)")

    @property
    def citations(self) -> tuple[str, ...]:
        return (DUFUMIER_2025,)

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
        losses, count = self.checked(embeddings).row_losses["labels"].sum(dim=0)
        loss = losses / count.clamp(min=1)
        return loss, {"labels": loss.detach()}

    def features(self, embeddings: Embeddings) -> Tensor:
        """The fused representation, `(batch, embed_dim)`."""
        return cast(Tensor, embeddings.fused)


@register_objective("comm", "supcon")
class SupConObjective(Objective):
    r"""Supervised contrast: the fused views of rows of one class attract each other (SupCon).

    \[ L = -\frac{1}{2N} \sum_j \frac{1}{|P(j)|} \sum_{p \in P(j)}
       \log \frac{e^{\langle x_j, x_p \rangle / \tau}}{\sum_{k \neq j} e^{\langle x_j, x_k \rangle / \tau}} \]

    over the 2N fused vectors of both views, L2-normalised, without a projection head; \(P(j)\) are the others of the
    class of j, the other view of the same row among them. A row without a label (negative) is a class of its own,
    together with the rows of the same id, if there are ids: its two views attract each other, and it is a negative of
    all others. Rows without any modality are left out.

    Source: Khosla et al., NeurIPS 2020, equation 2; Dufumier, Castillo-Navarro et al., ICLR 2025, whose official code
    fine-tunes CoMM with it, at a temperature of 0.07, on the fused vectors themselves.

    The term is `supcon`.
    """

    requires = frozenset({"fused", "fused_augmented", "labels"})
    supports_missing = True

    @property
    def formula(self) -> str:
        return (
            r"-\frac{1}{2N} \sum_j \frac{1}{|P(j)|} \sum_{p \in P(j)} \log \frac{e^{\langle x_j, x_p \rangle / \tau}}"
            r"{\sum_{k \neq j} e^{\langle x_j, x_k \rangle / \tau}}, \quad x = (z_1, ..., z_N, \tilde z_1, ..., "
            r"\tilde z_N)"
        )

    @property
    def citations(self) -> tuple[str, ...]:
        return (DUFUMIER_2025, KHOSLA_2020)

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
        z, own = select(self.checked(embeddings), (), rows)
        loss = nt_xent(z.fused, z.fused_augmented, scale, rows=own, ids=_classes(z))
        return loss, {"supcon": loss.detach()}

    def second_views(self, modalities: Any) -> set[str]:
        return set(modalities)

    def features(self, embeddings: Embeddings) -> Tensor:
        """The fused representation, `(batch, embed_dim)`."""
        return cast(Tensor, embeddings.fused)

    def checked(self, embeddings: Embeddings) -> Any:
        """As the base class.

        Raises:
            ValueError: If there are no labels, or they are no classes.
        """
        labels = embeddings.labels
        if labels is None:
            raise ValueError("supcon needs labels: give each row its class, in a column labels, or write data.target")
        if labels.ndim != 1 or labels.is_floating_point() or labels.dtype == torch.bool:
            raise ValueError(
                f"supcon reads one class a row, whole numbers (batch,), and the labels are {tuple(labels.shape)} "
                f"{labels.dtype}: write a column of classes"
            )
        return super().checked(embeddings)


def _classes(z: Embeddings) -> Tensor:
    """`(rows,)`, equal where rows are of one class."""
    labels = cast(Tensor, z.labels)
    own = torch.arange(len(labels), device=labels.device) if z.ids is None else z.ids
    # Ids may be any whole numbers: even for classes, odd for rows that are a class of their own.
    return torch.where(labels < 0, 2 * own + 1, 2 * labels)
