"""What the heads of LatentALBEF share: they are trained on labels, and read what the fusion makes of a pair."""

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers import initialization as init
from transformers.utils import can_return_tuple

from .albef_momentum import MomentumDistilled
from .configuration_latent_albef import LatentALBEFConfig
from .embeddings import Embeddings, image_inputs, text_inputs
from .encoders import AutoEncoder
from .modeling_latent_albef import LatentALBEFModel, LatentALBEFOutput


@dataclass
class LatentALBEFHeadOutput(LatentALBEFOutput):
    """[`LatentALBEFOutput`] with what a head says.

    Attributes:
        logits: `(batch, num_labels)` of a head that tells classes, in float32 or wider.
    """

    logits: Tensor | None = None


class LatentALBEFWithHead(LatentALBEFModel):
    """A [`LatentALBEFModel`] whose parts after the fusion are those of a head: what its momentum copy has, too."""

    auto_map: ClassVar[dict[str, str]] = {"AutoModel": "modeling_latent_albef.LatentALBEFModel"}
    # Beside those of the other models, the heads of regularizers, which shape the space of contrast.
    _keys_to_ignore_on_load_unexpected = [
        *LatentALBEFModel._keys_to_ignore_on_load_unexpected,
        r"^extra_projections\.",
    ]

    def initialized_from(self) -> Iterable[tuple[Tensor, Tensor]]:
        """The parameters of the head that begin as parameters of the model, each with that one; none here."""
        return []

    def initialize_parts(self) -> None:
        super().initialize_parts()
        for part, own in self.initialized_from():
            init.copy_(part, own)

    @torch.no_grad()
    def load_pretrained(self) -> None:
        super().load_pretrained()
        for part, own in self.initialized_from():
            part.copy_(own)

    def fuse(self, pixel_values: Tensor, text: Mapping[str, Tensor]) -> Tensor:
        """`(batch, length, hidden_size)`, the tokens of text i after they have seen image i.

        Args:
            pixel_values: `(batch, 3, height, width)`.
            text: `input_ids` and, where they are given, `attention_mask` and `token_type_ids`, `(batch, length)`.

        Raises:
            ValueError: If the images are not one a text.
        """
        self.check_images(pixel_values, text)
        tokens = self.fusion.image_tokens(self.encoders["image"](**image_inputs(pixel_values)))
        words = self.encoders["text"](**text)
        return self.fusion(words.tokens, tokens, words.attention_mask)

    def check_images(self, pixel_values: Tensor, text: Mapping[str, Tensor]) -> None:
        texts = len(text["input_ids"])
        if pixel_values.ndim != 4 or len(pixel_values) != texts:
            raise ValueError(
                f"pixel_values {tuple(pixel_values.shape)} with {texts} texts: this model reads one image a text, "
                f"({texts}, 3, height, width)"
            )


class SupervisedLatentALBEF(MomentumDistilled, LatentALBEFWithHead):
    """Base of the heads. A head names its `task`: its objective, and the key of its row losses.

    It starts from a pre-trained model, by `from_pretrained` of that model's folder: what the head has more is
    initialised. The space of contrast is neither read nor trained: its projections and its temperature stay as they
    are, and the regularizers of a pre-trained model, which shape that space, are left behind.

    With `alpha` the answers of a momentum copy soften the targets, as in pre-training; with `alpha` 0 there is
    no copy.
    """

    task: ClassVar[str]
    # Of pre-training.
    unread_options = frozenset(
        {"extra_heads", "itm_weight", "learn_temperature", "max_temperature", "min_temperature", "mlm_weight"}
        | {"objective", "queue_size", "regularizers", "temperature"}
    )

    def __init__(self, config: LatentALBEFConfig) -> None:
        if config.regularizers and config.objective == self.task:
            raise ValueError(
                f"regularizers {', '.join(config.regularizers)}: {type(self).__name__} has no space of contrast that "
                "they could shape; leave them out, or pre-train with them"
            )
        config = copy.deepcopy(config)  # it may be that of another model
        config.regularizers, config.extra_heads = {}, []
        super().__init__(config)

    @property
    def has_teacher(self) -> bool:
        return self.config.alpha > 0

    @property
    def trains_on(self) -> str:
        return self.task

    @torch.no_grad()
    def initialize_weights(self) -> None:
        """As the base classes; what no head reads is not trained."""
        super().initialize_weights()
        unread: list[nn.Module] = [self.projections, self.logit_scale]
        poolers = [getattr(e.model, "pooler", None) for e in self.encoders.values() if isinstance(e, AutoEncoder)]
        for module in [*unread, *(pooler for pooler in poolers if isinstance(pooler, nn.Module))]:
            module.requires_grad_(False)

    def pack(
        self,
        modalities: Mapping[str, Any],
        augmented: Mapping[str, Any] | None = None,
        ids: Tensor | None = None,
        labels: Tensor | None = None,
    ) -> dict[str, Any]:
        packed = super().pack(modalities, ids=ids)
        return packed if labels is None else {**packed, "labels": labels}

    @can_return_tuple
    def forward(
        self,
        pixel_values: Tensor | None = None,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        labels: Tensor | None = None,
        ids: Tensor | None = None,
        return_loss: bool | None = None,
        **kwargs: Any,
    ) -> LatentALBEFHeadOutput:
        """Fuse a batch of pairs, say what the head says of them, and compare that with labels.

        Args:
            pixel_values: `(batch, 3, height, width)`; `(batch, 2, 3, height, width)` of a head that reads two images.
            input_ids, attention_mask, token_type_ids: `(batch, length)`.
            labels: `(batch,)` classes, or `(batch, length)` tokens of answers with -100 behind their ends; the answers
                of several annotators stand one behind the other.
            ids: `(batch,)`, handed on.
            return_loss: Compute the objective. By default where there are labels.

        Returns:
            `last_hidden_state`, `fused` in evaluation mode, `logits` of classes, and with labels `row_losses`,
            `(batch, 3)`: the sums of a row's cross-entropies against the labels and against the momentum copy's
            answers, and how many they are.

        Raises:
            ValueError: If images or texts are missing or do not fit, or a loss is asked for without labels.
        """
        if pixel_values is None or input_ids is None:
            raise ValueError("give pixel_values and input_ids: this model reads pairs")
        if return_loss and labels is None:
            raise ValueError("the loss needs labels: give each row one, in a column labels")
        text = text_inputs(input_ids, attention_mask, token_type_ids)
        hidden = self.fuse(pixel_values, text)
        output = LatentALBEFHeadOutput(last_hidden_state=hidden, ids=ids)
        if not self.training:
            output.fused = hidden[:, 0]
        self.add_head_logits(output)
        if labels is None or (return_loss is False and not self.training):
            return output
        taught = None
        if self.momentum is not None:
            with torch.no_grad():
                taught = self.momentum.fuse(pixel_values, text)
        output.row_losses = {self.task: self.label_losses(output, taught, text.get("attention_mask"), labels)}
        if return_loss is not False:
            output.loss = self.loss_of(output)
        return output

    def first_pass(self, **batch: Any) -> tuple[Embeddings, Any]:
        """As in the base class; in evaluation mode, too, with the losses of the rows."""
        return self(**batch, return_loss=not self.training), None

    def label_losses(
        self, output: LatentALBEFHeadOutput, taught: Tensor | None, attention_mask: Tensor | None, labels: Tensor
    ) -> Tensor:
        """`(batch, 3)`, see `forward`.

        Args:
            taught: What the momentum copy makes of the pairs, `(batch, length, hidden_size)`; None without one.
            attention_mask: Of the text.
        """
        raise NotImplementedError
