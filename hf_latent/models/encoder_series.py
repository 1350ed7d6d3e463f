"""Encoders of series of numbers beside the Transformer: a recurrent and a convolutional network."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .encoder_base import ENCODERS, Encoder, EncoderOutput, FeatureTokenizer


@ENCODERS.register("gru")
class GRUEncoder(Encoder):
    """A gated recurrent network over a multivariate series, one token a step, as CoMM uses on MIMIC.

    Reads `values`, float `(batch, length, input_dim)`, and `attention_mask`, `(batch, length)`, 1 at real steps, which
    come first: a step knows those before it, and so nothing of the padding.

    Args:
        input_dim: Numbers of a step.
        hidden_size: Width of the tokens.
        num_layers: Layers, each reading the steps of the one below.
    """

    kind = "series"

    def __init__(self, input_dim: int, hidden_size: int = 512, num_layers: int = 1) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.layers = nn.GRU(input_dim, hidden_size, num_layers, batch_first=True)

    def forward(self, values: Tensor, attention_mask: Tensor | None = None) -> EncoderOutput:
        tokens, _ = self.layers(values.to(self.dtype))
        return EncoderOutput(tokens=tokens, attention_mask=None if attention_mask is None else attention_mask.bool())


@ENCODERS.register("series_cnn")
class ConvSeriesEncoder(Encoder):
    """Convolutions over a multivariate series, each of which makes one step of two: the force encoder of Vision&Touch
    (Lee et al. 2019), on which 32 steps become one token.

    Reads `values`, float `(batch, length, input_dim)`, and `attention_mask`, `(batch, length)`, 1 at real steps, which
    come first. Steps of padding are zero before each convolution, so an embedding does not depend on them. A token is
    of 2^layers steps, where the published network, padded in front of each convolution, sees of 32 steps the first.

    Args:
        input_dim: Numbers of a step.
        channels: Output channels of the layers; the last are the width of the tokens.
        token_dim: Each number of the last token becomes a token of this width, by a learned direction and offset.
            None: the tokens are as they are.
    """

    kind = "series"

    def __init__(
        self, input_dim: int, channels: Sequence[int] = (16, 32, 64, 128, 128), token_dim: int | None = None
    ) -> None:
        super().__init__()
        if not channels or min(channels) < 1:
            raise ValueError(f"channels={list(channels)}: give at least one layer")
        widths = [input_dim, *channels]
        self.layers = nn.ModuleList(
            nn.Conv1d(before, after, 2, stride=2) for before, after in zip(widths, channels, strict=False)
        )
        self.tokenizer = None if token_dim is None else FeatureTokenizer(channels[-1], token_dim)
        self.hidden_size = token_dim or channels[-1]

    def forward(self, values: Tensor, attention_mask: Tensor | None = None) -> EncoderOutput:
        hidden = values.to(self.dtype)
        mask = torch.ones(hidden.shape[:2], dtype=torch.bool, device=hidden.device)
        if attention_mask is not None:
            mask = attention_mask.bool()
        for layer in self.layers:
            hidden = torch.where(mask[..., None], hidden, hidden.new_zeros(()))
            hidden = nn.functional.pad(hidden, (0, 0, 0, hidden.shape[1] % 2)).transpose(1, 2)
            hidden = nn.functional.leaky_relu(layer(hidden).transpose(1, 2), 0.1)
            mask = mask[:, ::2]
        if self.tokenizer is None:
            return EncoderOutput(tokens=hidden, attention_mask=None if attention_mask is None else mask)
        last = mask.sum(1).clamp(min=1) - 1
        return EncoderOutput(tokens=self.tokenizer(hidden[torch.arange(len(hidden), device=hidden.device), last]))
