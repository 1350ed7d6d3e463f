"""Random crops, colours and blur of clips."""

from dataclasses import dataclass

from torch import Generator, Tensor

from .base import VIEWS, Inputs, take
from .image import ImageView


@VIEWS.register("video")
@dataclass(frozen=True)
class VideoView(ImageView):
    """[`ImageView`] of clips, `pixel_values` (B, N, 3, H, W): all frames of a clip have the same augmentation.

    Crops are cut from the squares that the processor makes, and not from the decoded frames. Args are those of
    `ImageView`.
    """

    kinds = ("video",)
    crops_decoded = False

    def draw(self, rows: int, inputs: Inputs, generator: Generator) -> Inputs:
        pixels = take(inputs, "pixel_values", "video")
        if pixels.ndim != 5:
            raise ValueError(f"pixel_values must be (B, N, 3, H, W), got {tuple(pixels.shape)}")
        return {
            name: _each(numbers, pixels.shape[1])
            for name, numbers in super().draw(rows, {**inputs, "pixel_values": pixels[:, 0]}, generator).items()
        }


def _each(numbers: Tensor, frames: int) -> Tensor:
    return numbers.unsqueeze(1).expand(-1, frames, *numbers.shape[1:])
