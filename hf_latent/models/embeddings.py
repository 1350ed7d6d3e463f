"""What every model returns, and the base class that every model shares."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.utils import ModelOutput


@dataclass
class Embeddings(ModelOutput):
    """The embeddings of one batch, keyed by modality name. All tensors are `(batch, dim)`.

    Attributes:
        loss: Scalar objective, where it was asked for. It stands first: a `ModelOutput` whose first field is a
            dict loses that field when it is unpacked.
        embeds: One embedding for each modality.
        augmented: The same for the second view of the batch.
        fused: The joint embedding of all modalities that were given.
        fused_augmented: The same for the second view.
        ids: `(batch,)` int64. Rows with the same id are positives of each other; without ids every row is its own.
    """

    loss: Tensor | None = None
    embeds: dict[str, Tensor] | None = None
    augmented: dict[str, Tensor] | None = None
    fused: Tensor | None = None
    fused_augmented: Tensor | None = None
    ids: Tensor | None = None

    def tensors(self) -> list[Tensor]:
        """All embeddings, in the order in which `map` visits them."""
        found: list[Tensor] = []

        def note(tensor: Tensor) -> Tensor:
            found.append(tensor)
            return tensor

        self.map(note)
        return found

    def map(self, function: Callable[[Tensor], Tensor]) -> "Embeddings":
        """A copy with `function` applied to every embedding; `loss` is dropped and `ids` is kept as it is."""

        def visit(value: Any) -> Any:
            if isinstance(value, Tensor):
                return function(value)
            return {name: function(tensor) for name, tensor in value.items()} if value is not None else None

        fields = ("embeds", "augmented", "fused", "fused_augmented")
        return Embeddings(**{field: visit(getattr(self, field)) for field in fields}, ids=self.ids)


class LatentPreTrainedModel(PreTrainedModel):
    """Base class of the models: they embed a batch, they score the embeddings, and an objective does the rest.

    A subclass gives `forward(**batch) -> Embeddings`, which never looks across the rows of a batch, and
    `score(Embeddings) -> Embeddings`, which applies the heads and the L2 normalisation to a whole batch.
    """

    base_model_prefix = ""
    # The loss is a mean over the batch: the Trainer must not rescale it under gradient accumulation.
    accepts_loss_kwargs = False
    # The children that work on whole gathered batches; all others keep the rows of a batch apart.
    scoring_modules: ClassVar[frozenset[str]] = frozenset()
    # Set by `import hf_latent`. Code that was loaded from the Hub without the package has no objective.
    build_objective: ClassVar[Callable[[Any], Any] | None] = None

    @property
    def objective(self) -> Any:
        """The training objective that the config names, built once."""
        if getattr(self, "_objective", None) is None:
            build = type(self).build_objective
            if build is None:
                raise ImportError("The loss needs the training code of this model: pip install hf_latent")
            self._objective = build(self.config)
        return self._objective

    @property
    def scale(self) -> Tensor | float:
        """The inverse temperature of the contrastive logits."""
        raise NotImplementedError

    def score(self, embeddings: Embeddings) -> Embeddings:
        """Heads and L2 normalisation; `embeddings` holds the whole batch."""
        raise NotImplementedError

    def loss_of(self, embeddings: Embeddings) -> Tensor:
        """The objective of one whole batch of raw embeddings, as a scalar."""
        loss, _ = self.objective(self.score(embeddings), self.scale)
        return loss

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        # Encoders trained from scratch want a fan-in initialisation; a fixed 0.02 starves small convolutions.
        if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d):
            init.kaiming_uniform_(module.weight, a=math.sqrt(5))
            if module.bias is not None:
                bound = 1 / math.sqrt(module.weight[0].numel())
                init.uniform_(module.bias, -bound, bound)
        else:
            super()._init_weights(module)


def concatenate_views(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Stack the inputs of two views along the batch, so that one call encodes both."""
    return {name: torch.cat([first[name], second[name]]) for name in first}
