"""Residual networks for small images."""

import torch.nn.functional as F
from torch import Tensor, nn

from .encoder_base import ENCODERS, ImageEncoder

WIDTHS = (16, 32, 64)


def _normalisation(kind: str, channels: int) -> nn.Module:
    return nn.GroupNorm(8, channels) if kind == "group" else nn.BatchNorm2d(channels)


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut without parameters: every second pixel, and zeros in new channels."""

    def __init__(self, before: int, after: int, stride: int, norm: str) -> None:
        super().__init__()
        self.stride, self.more = stride, after - before
        self.layers = nn.Sequential(
            *(nn.Conv2d(before, after, 3, stride, 1, bias=False), _normalisation(norm, after), nn.ReLU()),
            *(nn.Conv2d(after, after, 3, 1, 1, bias=False), _normalisation(norm, after)),
        )

    def forward(self, pixels: Tensor) -> Tensor:
        shortcut = pixels[:, :, :: self.stride, :: self.stride]
        if self.more:
            shortcut = F.pad(shortcut, (0, 0, 0, 0, self.more // 2, self.more - self.more // 2))
        return F.relu(self.layers(pixels) + shortcut)


@ENCODERS.register("small_resnet")
class SmallResNetEncoder(ImageEncoder):
    """A residual network for images of 32 to 64 px (He et al. 2016, section 4.2), trained from scratch: three stages
    of 16, 32 and 64 channels. A picture of 32 px gives 8 x 8 tokens of 64 numbers, all 0 or more.

    Args:
        depth: 20, 32, 44, 56, 110 or any other number 6 n + 2, of n blocks a stage.
        norm: `"batch"` (default) couples the rows of a batch during training, `"group"` keeps them independent.
    """

    hidden_size = WIDTHS[-1]

    def __init__(self, depth: int = 20, norm: str = "batch") -> None:
        super().__init__()
        if norm not in ("group", "batch"):
            raise ValueError(f"norm={norm!r}: write 'group' or 'batch'")
        if not isinstance(depth, int) or isinstance(depth, bool) or depth < 8 or (depth - 2) % 6:
            raise ValueError(f"depth={depth!r}: write 8, 14, 20 or another number 6 n + 2")
        blocks: list[nn.Module] = []
        before = WIDTHS[0]
        for width in WIDTHS:
            for number in range((depth - 2) // 6):
                stride = 2 if number == 0 and width != WIDTHS[0] else 1
                blocks.append(ResidualBlock(before, width, stride, norm))
                before = width
        stem = (nn.Conv2d(3, WIDTHS[0], 3, padding=1, bias=False), _normalisation(norm, WIDTHS[0]), nn.ReLU())
        self.layers = nn.Sequential(*stem, *blocks)
