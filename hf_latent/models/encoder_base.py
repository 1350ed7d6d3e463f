"""What every encoder is, and what it returns."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers.utils import ModelOutput

from .registry import Registry

ENCODERS: Registry[type["Encoder"]] = Registry("encoder", "models.encoder_base.ENCODERS")


@dataclass
class EncoderOutput(ModelOutput):
    """Tokens of one modality.

    Attributes:
        tokens: `(batch, length, hidden_size)`.
        attention_mask: `(batch, length)` bool, True where a token is real; None where all are.
        grid: `(height, width)` of the tokens of an image, row by row; None for other modalities.
        pooled: `(batch, hidden_size)`, where the encoder makes one vector of its own; see `pool`.
    """

    tokens: Tensor | None = None
    attention_mask: Tensor | None = None
    grid: tuple[int, int] | None = None
    pooled: Tensor | None = None

    def pool(self) -> Tensor:
        """One vector a row: the encoder's own, or the mean of the real tokens, `(batch, hidden_size)`."""
        if self.pooled is not None:
            return self.pooled
        tokens = cast(Tensor, self.tokens)
        if self.attention_mask is None:
            return tokens.mean(dim=1)
        weights = self.attention_mask.to(tokens.dtype).unsqueeze(-1)
        return (tokens * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)


class Encoder(nn.Module):
    """Base of the encoders: `forward(**inputs) -> EncoderOutput`.

    Attributes:
        kind: What it reads, a key of `processing_comm.KINDS`.
        hidden_size: Width of its tokens.
        max_length: The most tokens of a text that it reads; None where it has no limit.
        padding: What texts are padded to: `"longest"` of a batch or `"max_length"`.
    """

    kind: str
    hidden_size: int
    max_length: int | None = None
    padding: str = "longest"

    @property
    def dtype(self) -> torch.dtype:
        return float_dtype(self)

    @classmethod
    def kind_of(cls, spec: Mapping[str, Any]) -> str:
        """The kind of the encoder that a spec names, without building it."""
        return cls.kind

    @property
    def tower(self) -> "Encoder":
        """The encoder that a spec names, where this one stands around it."""
        return self

    @property
    def processor_options(self) -> dict[str, Any]:
        """What the processor has to know of the encoder, beside the kind; see `kinds.InputKind`."""
        return {}

    def drop_pooler(self) -> None:
        """Do without the weights that only `pooled` needs, where only the tokens are read."""

    def load_pretrained(self) -> None:
        """Take the weights that the spec names, if it names any."""


class FeatureTokenizer(nn.Module):
    """`(batch, n)` -> `(batch, n, dim)`: number i times its own direction, plus its own offset."""

    def __init__(self, num_features: int, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(num_features, dim))
        self.bias = nn.Parameter(torch.randn(num_features, dim))

    def forward(self, values: Tensor) -> Tensor:
        return values.unsqueeze(-1) * self.weight + self.bias


def float_dtype(module: nn.Module) -> torch.dtype:
    """That of the floating-point parameters; quantized weights are integers."""
    return next((part.dtype for part in module.parameters() if part.is_floating_point()), torch.get_default_dtype())


class ImageEncoder(Encoder):
    """Reads `pixel_values`, float `(batch, 3, height, width)`, normalised; `layers` end in a feature map."""

    kind = "image"
    layers: nn.Sequential

    def forward(self, pixel_values: Tensor) -> EncoderOutput:
        # Convolutions are faster on channels-last memory, on CPU as on GPU.
        pixel_values = pixel_values.to(self.dtype, memory_format=torch.channels_last)
        return tokens_of_map(self.layers(pixel_values))


def tokens_of_map(feature_map: Tensor) -> EncoderOutput:
    """`(batch, channels, height, width)` -> one token a position."""
    height, width = feature_map.shape[-2:]
    return EncoderOutput(tokens=feature_map.flatten(2).transpose(1, 2), grid=(height, width))
