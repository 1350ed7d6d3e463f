"""A small encoder of sound that is trained from scratch."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .audio import MEANS
from .encoder_base import ENCODERS, Encoder, EncoderOutput


@ENCODERS.register("audio_cnn")
class AudioCNNEncoder(Encoder):
    """A convolutional network on log-mel spectrograms, `input_features` `(batch, frames, bins)`.

    Each stage halves frames and bins and normalises over the channels at each place; the mean over the bins gives one
    token for each 2^stages frames. Frames of padding (`attention_mask` 0) are zero before each convolution, as what
    lies outside of a sound is, so an embedding does not depend on the padding.

    Args:
        channels: Output channels of the stages.
        sampling_rate: Samples a second that sound is resampled to.
        max_seconds: Of longer sound the first so many seconds are read.
        bins: Mel bands, at least 2^stages.
        window: Length of a frame, in samples; 25 ms by default.
        hop: From one frame to the next, in samples; 10 ms by default.
        normalize: What is subtracted from a spectrogram: `none`; `level`, its mean, so that a gain changes nothing;
            or `bands`, the mean of each band over time. See `audio.normalized`.
    """

    kind = "audio"

    def __init__(
        self,
        channels: Sequence[int] = (32, 64, 128, 256),
        sampling_rate: int = 16000,
        max_seconds: float = 10.0,
        bins: int = 64,
        window: int = 400,
        hop: int = 160,
        normalize: str = "none",
    ) -> None:
        super().__init__()
        if not channels or min(channels) < 1:
            raise ValueError(f"channels={list(channels)}: give at least one stage")
        if bins < 2 ** len(channels):
            raise ValueError(f"bins={bins}: {len(channels)} stages halve them: give at least {2 ** len(channels)}")
        if normalize not in MEANS:
            raise ValueError(f"normalize={normalize!r}: write one of {', '.join(MEANS)}")
        widths = [1, *channels]
        self.convolutions = nn.ModuleList(
            nn.Conv2d(before, after, 3, stride=2, padding=1) for before, after in zip(widths, channels, strict=False)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(width) for width in channels)
        self.hidden_size = channels[-1]
        self._sound: dict[str, Any] = {"sampling_rate": sampling_rate, "max_seconds": max_seconds}
        self._sound |= {"bins": bins, "window": window, "hop": hop, "normalize": normalize}

    @property
    def processor_options(self) -> dict[str, Any]:
        return dict(self._sound)

    def forward(self, input_features: Tensor, attention_mask: Tensor | None = None) -> EncoderOutput:
        hidden = input_features.to(self.dtype).unsqueeze(1)
        if self._sound["normalize"] == "none":
            hidden = (hidden + 10) / 5  # silence is 0, full scale about 2
        mask = None if attention_mask is None else attention_mask.bool()
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            if mask is not None:
                hidden = torch.where(mask[:, None, :, None], hidden, hidden.new_zeros(()))
                mask = mask[:, ::2]
            hidden = convolution(hidden)
            hidden = norm(hidden.permute(0, 2, 3, 1)).permute(0, 3, 1, 2).relu()
        return EncoderOutput(tokens=hidden.mean(dim=3).transpose(1, 2), attention_mask=mask)
