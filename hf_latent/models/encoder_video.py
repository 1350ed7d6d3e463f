"""Encoders of images that read clips frame by frame."""

from typing import Any, cast

import torch
from torch import Tensor, nn

from .encoder_base import Encoder, EncoderOutput


class FramesEncoder(Encoder):
    """An encoder of images on each frame of a clip, `pixel_values` `(batch, frames, 3, height, width)`.

    The tokens of all frames, one frame behind the other, are those of the clip, each with a learned embedding of the
    place of its frame, 0 at first. Its one vector is the mean over the frames.

    Args:
        image: The encoder of images, alike for all frames.
        frames: How many frames a clip has.
    """

    kind = "video"

    def __init__(self, image: Encoder, frames: int) -> None:
        super().__init__()
        if not isinstance(frames, int) or isinstance(frames, bool) or frames < 1:
            raise ValueError(f"frames={frames!r}: write a whole number of at least 1")
        if image.kind != "image":
            raise ValueError(
                f"frames={frames}: this encoder reads {image.kind}: leave frames out, or name one of images"
            )
        self.image, self.frames, self.hidden_size = image, frames, image.hidden_size
        self.position_embeddings = nn.Parameter(torch.zeros(frames, image.hidden_size))

    @property
    def tower(self) -> Encoder:
        return self.image

    @property
    def processor_options(self) -> dict[str, Any]:
        return {"frames": self.frames}

    def drop_pooler(self) -> None:
        self.image.drop_pooler()

    def load_pretrained(self) -> None:
        self.image.load_pretrained()

    def forward(self, pixel_values: Tensor) -> EncoderOutput:
        if pixel_values.ndim != 5 or pixel_values.shape[1] != self.frames:
            expected = f"(batch, {self.frames}, 3, height, width)"
            raise ValueError(f"pixel_values must be {expected}, got {tuple(pixel_values.shape)}")
        found = self.image(pixel_values=pixel_values.flatten(0, 1))
        shape = (len(pixel_values), self.frames)
        tokens = cast(Tensor, found.tokens).unflatten(0, shape) + self.position_embeddings[:, None]
        pooled = None if found.pooled is None else found.pooled.unflatten(0, shape).mean(dim=1)
        return EncoderOutput(tokens=tokens.flatten(1, 2), pooled=pooled)
