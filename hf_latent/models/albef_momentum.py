"""Momentum distillation: a slowly moving copy of a model, whose answers soften the targets of the model."""

from collections.abc import Iterable
from copy import deepcopy
from typing import Any, ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn
from transformers import initialization as init

from .configuration_latent_albef import LatentALBEFConfig
from .modeling_latent_albef import LatentALBEFModel


class MomentumDistilled(LatentALBEFModel):
    """A [`LatentALBEFModel`] with a momentum copy, `momentum`, an instance of `teacher_class`. It stands first among
    the bases of a model that has tasks of its own.

    `forward` changes no state: the copy steps in `on_optimizer_step`, which `LatentTrainer` calls; another training
    loop must. Checkpoints of `LatentTrainer` hold the copy, and what `save_pretrained` writes otherwise does not:
    loaded again, the copy begins as the model.

    Source: Li et al., NeurIPS 2021, section 3.3.
    """

    momentum: Any
    teacher_class: ClassVar[type[LatentALBEFModel]]
    _keys_to_ignore_on_load_missing = [r"^momentum\."]

    def __init__(self, config: LatentALBEFConfig) -> None:
        if config.objective != self.trains_on:
            # Whatever it was that the weights come from was trained on; the config may be another model's still.
            config = deepcopy(config)
            config.objective = self.trains_on
        super().__init__(config)

    @property
    def trains_on(self) -> str:
        """The name of its objective."""
        return "albef"

    @property
    def has_teacher(self) -> bool:
        """Whether anything reads the copy; otherwise there is none, and `momentum` is None."""
        return True

    def build(self) -> None:
        super().build()
        self.momentum = self.teacher_class(self.config) if self.has_teacher else None

    @torch.no_grad()
    def initialize_weights(self) -> None:
        """As the model. The copy begins as the model where it was not loaded; nothing in it is trained."""
        super().initialize_weights()
        for own, copy in self._followed():
            init.copy_(copy, own)
        if self.momentum is not None:
            self.momentum.requires_grad_(False)

    def _followed(self) -> Iterable[tuple[Tensor, Tensor]]:
        """The tensors of the model, each with its momentum copy; none without a copy."""
        if self.momentum is None:
            return []
        own = {**dict(self.named_parameters()), **dict(self.named_buffers())}
        copies = {**dict(self.momentum.named_parameters()), **dict(self.momentum.named_buffers())}
        return [(own[name], copy) for name, copy in copies.items()]

    def train(self, mode: bool = True) -> Self:
        """The copy has no dropout."""
        super().train(mode)
        if self.momentum is not None:
            self.momentum.eval()
        return self

    @torch.no_grad()
    def load_pretrained(self) -> None:
        super().load_pretrained()
        for own, copy in self._followed():
            copy.copy_(own)

    @torch.no_grad()
    def on_optimizer_step(self) -> None:
        """Keep the temperature in its range, and let the momentum copy follow."""
        super().on_optimizer_step()
        if self.momentum is None:
            return
        moved = [(copy, own) for own, copy in self._followed() if isinstance(copy, nn.Parameter)]
        get_ema_multi_avg_fn(self.config.momentum)(*map(list, zip(*moved, strict=True)), 0)
        for own, copy in self._followed():
            if not isinstance(copy, nn.Parameter):
                copy.copy_(own)  # what a BatchNorm has counted

    def resize_token_embeddings(self, new_num_tokens: int | None = None, *args: Any, **options: Any) -> Any:
        """The word embeddings; another number of them is refused.

        Raises:
            ValueError: If it is another number: heads and the momentum copy know as many words.
        """
        table: Any = self.get_input_embeddings()
        if new_num_tokens not in (None, table.weight.shape[0]):
            raise ValueError(
                f"resize_token_embeddings({new_num_tokens}): what {type(self).__name__} trains knows "
                f"{table.weight.shape[0]} words; resize a LatentALBEFModel, save it, and load this class from there"
            )
        return table


def distilled_cross_entropy(logits: Tensor, labels: Tensor, taught: Tensor | None) -> Tensor:
    """`(rows, classes)` logits, `(rows,)` labels and logits of the momentum copy -> `(rows, 3)`: the cross-entropies
    against the labels and against the copy's answers, and ones. Without a copy both are the same."""
    log_guess = F.log_softmax(logits, dim=-1)
    hard = soft = -log_guess.gather(1, labels[:, None]).squeeze(1)
    if taught is not None:
        soft = -(taught.softmax(dim=-1) * log_guess).sum(dim=1)
    return torch.stack([hard, soft, torch.ones_like(hard)], dim=1)
