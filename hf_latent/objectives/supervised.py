"""The objective of models that are trained on labels."""

from typing import Any

import torch
from torch import Tensor

from ..models.embeddings import Embeddings
from .albef import DistilledObjective
from .base import register_objective


@register_objective("latent_albef", "answer")
@register_objective("latent_albef", "class")
class SupervisedObjective(DistilledObjective):
    r"""Cross-entropy against labels, with momentum distillation.

    \[ L = (1 - \alpha) L_{labels} + \alpha L_{teacher} \]

    Both are means over all labels of the whole global batch: one a row for classes, one a token for answers. The
    teacher is the momentum copy, and \(\alpha\) rises from 0 over `alpha_ramp`.

    Source: Li et al., NeurIPS 2021, sections 3.3 and 5. The official code sums over the tokens of an answer and takes
    the mean over questions: the same gradient but for a factor, the mean length of the answers in a batch. The answers
    of several annotators have equal shares in the loss of their question, as there.

    The term is `answer` or `class`.
    """

    requires = frozenset({"row_losses"})

    @property
    def formula(self) -> str:
        labels = r"L_{\mathrm{labels}} = -\frac{1}{N} \sum_j \log p(y_j \mid x_j)"
        if not self.config.alpha:
            return labels
        teacher = r"L_{\mathrm{teacher}} = -\frac{1}{N} \sum_j \sum_c \bar p(c \mid x_j) \log p(c \mid x_j)"
        return r"(1 - \alpha) L_{\mathrm{labels}} + \alpha L_{\mathrm{teacher}}" + f"\n{labels}\n{teacher}"

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
        name = self.config.objective
        hard, soft, count = self.checked(embeddings).row_losses[name].sum(dim=0)
        loss = torch.lerp(hard, soft, self.alpha_at(progress)) / count.clamp(min=1)
        return loss, {name: loss.detach()}

    def features(self, embeddings: Embeddings) -> Tensor:
        """The first token of the fused pair, `(batch, hidden_size)`."""
        return embeddings.fused  # type: ignore[return-value]
