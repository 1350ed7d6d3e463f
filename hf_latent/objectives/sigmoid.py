"""The sigmoid loss between modalities that are compared in one space."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedConfig

from ..citations import ZHAI_2023
from ..losses.sigmoid import sigmoid_loss
from ..models.embeddings import Embeddings
from ..models.objective_modules import Scalar
from .base import register_objective, select
from .clip import CLIPObjective, mean


@dataclass(frozen=True)
class SigmoidOptions:
    """
    Args:
        bias: Where the learned bias begins: the logarithm of how rare a positive is among a batch, about, so that
            training does not begin with a step that only lowers it. -10 in the paper.
        learn_bias: Whether the bias is trained.

    Raises:
        ValueError: If the bias is no number.
    """

    bias: float = -10.0
    learn_bias: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.bias, int | float) or isinstance(self.bias, bool) or not abs(self.bias) < 1e4:
            raise ValueError(f"bias={self.bias!r}: write a number, such as -10.0")
        if not isinstance(self.learn_bias, bool):
            raise ValueError(f"learn_bias={self.learn_bias!r}: write true or false")


@register_objective("latent_clip", "sigmoid")
class SigmoidObjective(CLIPObjective):
    r"""A binary decision about each pair of two modalities, as SigLIP trains, averaged over the pairs of modalities.

    \[ L = \frac{1}{|P|} \sum_{(A, B) \in P} \frac1N \sum_{jk}
       \log (1 + e^{-y_{jk} (\langle z^A_j, z^B_k \rangle / \tau + b)}) \]

    where \(y_{jk}\) is 1 where j and k are positives of each other, and -1 elsewhere, and the bias b is learned. All
    rows of all processes are negatives. It begins with a temperature of 0.1 in the paper: write `temperature: 0.1`.
    Of several modalities, and with `anchor`, as `clip`; it has no `in_modal`.

    Source: Zhai et al., "Sigmoid Loss for Language Image Pre-Training", ICCV 2023, section 3.2.

    The terms are `sigmoid` (the mean over the pairs), where there are several pairs `sigmoid_<a>_<b>` of each, and
    `bias`.
    """

    Options = SigmoidOptions

    def __init__(self, config: PreTrainedConfig) -> None:
        super().__init__(config)
        if config.in_modal:
            raise ValueError("in_modal: the objective sigmoid contrasts pairs of modalities alone: leave it out")

    def modules(self) -> dict[str, nn.Module]:
        return {"bias": Scalar(self.options.bias, self.options.learn_bias)}

    @property
    def formula(self) -> str:
        which = r"\frac{1}{|P|} \sum_{(A, B) \in P} " if len(self.pairs) > 1 else ""
        logit = r"y_{jk} (\langle z^A_j, z^B_k \rangle / \tau + b)"
        return rf"{which}\frac{{1}}{{N}} \sum_{{j, k}} \log (1 + e^{{-{logit}}})"

    @property
    def citations(self) -> tuple[str, ...]:
        return (ZHAI_2023,)

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
        z, bias = self.checked(embeddings), modules["bias"]()
        losses = {}
        for a, b in self.pairs:
            part, own = select(z, (a, b), rows)
            losses[f"sigmoid_{a}_{b}"] = sigmoid_loss(
                part.embeds[a], part.embeds[b], scale, bias, rows=own, ids=part.ids
            )
        loss = mean(list(losses.values()))
        terms = {"sigmoid": loss.detach(), "bias": bias.detach()}
        if len(losses) > 1:
            terms |= {name: value.detach() for name, value in losses.items()}
        return loss, terms
