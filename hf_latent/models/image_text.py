"""What LatentCLIP and LatentALBEF share: an image encoder and a text encoder, projected into one space."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .embeddings import (
    VECTORS,
    Embeddings,
    LatentPreTrainedModel,
    LogitScale,
    full_precision,
    text_inputs,
    wide,
)
from .encoders import Encoder


@dataclass
class ImageTextOutput(Embeddings):
    """[`Embeddings`] with the logits of every image against every text.

    Attributes:
        logits_per_image: `(images, texts)`, cosine similarities over the temperature.
        logits_per_text: Its transpose.
    """

    logits_per_image: Tensor | None = None
    logits_per_text: Tensor | None = None


class ImageTextPreTrainedModel(LatentPreTrainedModel):
    """An image encoder and a text encoder, a projection of each, and whatever heads the regularizers read."""

    main_input_name = "pixel_values"
    input_modalities = ["image", "text"]

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        if not config.modalities:
            name = type(self).__name__
            raise ValueError(f"{name} needs modalities: {{'image': {{'encoder': ...}}, 'text': {{'encoder': ...}}}}")
        self.build()
        self.post_init()

    def build(self) -> None:
        """Make the parts; a subclass adds its own."""
        config = self.config
        self.encoders = self.build_encoders()
        for name, encoder in self.encoders.items():
            if encoder.kind != name:
                raise ValueError(f"modality {name!r}: this encoder reads {encoder.kind}")
        widths = {name: cast(Encoder, encoder).hidden_size for name, encoder in self.encoders.items()}
        self.projections = nn.ModuleDict({name: self.build_projection(width) for name, width in widths.items()})
        # One more linear head, beside the projection, for each kind of structure that needs it.
        self.extra_projections = nn.ModuleDict(
            {
                head: nn.ModuleDict({name: nn.Linear(width, config.projection_dim) for name, width in widths.items()})
                for head in config.extra_heads
            }
        )
        self.logit_scale = LogitScale(config.temperature)

    def build_projection(self, width: int) -> nn.Module:
        """From an encoder's width to `projection_dim`."""
        return nn.Linear(width, self.config.projection_dim)

    @torch.no_grad()
    def initialize_weights(self) -> None:
        super().initialize_weights()
        self.logit_scale.requires_grad_(self.config.learn_temperature)

    @property
    def scale(self) -> Tensor:
        return self.logit_scale()

    def get_image_features(self, pixel_values: Tensor) -> Tensor:
        """`(images, projection_dim)`, before the L2 normalisation."""
        return self.projections["image"](self.encoders["image"](pixel_values=pixel_values).pool())

    def get_text_features(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None
    ) -> Tensor:
        """`(texts, projection_dim)`, before the L2 normalisation."""
        output = self.encoders["text"](**text_inputs(input_ids, attention_mask, token_type_ids))
        return self.projections["text"](output.pool())

    def score(self, embeddings: Embeddings) -> Embeddings:
        """L2 normalisation, in float32 or wider; log variances and losses of rows stay as they are."""
        with full_precision(embeddings.device):
            return embeddings.map(lambda rows: F.normalize(wide(rows), dim=-1), fields=VECTORS)

    def add_logits(self, output: ImageTextOutput) -> None:
        """Every image against every text."""
        scored = cast(dict[str, Tensor], self.score(output).embeds)
        output.logits_per_image = self.scale * scored["image"] @ scored["text"].T
        output.logits_per_text = output.logits_per_image.T

    def pack(
        self,
        modalities: Mapping[str, Any],
        augmented: Mapping[str, Any] | None = None,
        ids: Tensor | None = None,
        labels: Tensor | None = None,
    ) -> dict[str, Any]:
        flat = {key: value for inputs in modalities.values() for key, value in inputs.items()}
        second = {f"augmented_{k}": v for inputs in (augmented or {}).values() for k, v in inputs.items()}
        return {**flat, **second, "ids": ids}

    @classmethod
    def from_vision_text_pretrained(cls, vision: str, text: str, **options: Any) -> Self:
        """Two pretrained encoders; what they have not is new. A LatentALBEF splits the layers of a BERT.

        Args:
            vision: A checkpoint that `AutoModel` loads as an image model: ResNet, ConvNeXt, ViT, DeiT ...
            text: The same for text: BERT, DistilBERT ... LatentALBEF takes a BERT, whose last `fusion_layers` (6 by
                default) become the fusion.
            **options: Of the config; `modalities` may give more for each encoder, such as
                `{"image": {"frozen": True}}`.

        Raises:
            ValueError: If a checkpoint is of a model that does not fit.
        """
        extra = options.pop("modalities", {})
        towers = {"image": vision, "text": text}
        specs = {n: {"encoder": "auto", "pretrained": path, **extra.get(n, {})} for n, path in towers.items()}
        model = cls(cast(Any, cls.config_class).from_checkpoints(modalities=specs, **options))
        model.load_pretrained()
        return model


def is_paired(output: Embeddings) -> bool:
    """Whether there are as many images as texts."""
    rows = list((output.embeds or {}).values())
    # No set of sizes, nor `len`, which make constants of them under `torch.export`.
    return len(rows) == 2 and rows[0].shape[0] == rows[1].shape[0]
