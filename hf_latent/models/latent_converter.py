"""From the tokens of an encoder to those of a space that encoders share."""

from typing import cast

import torch
from torch import Tensor, nn

from .encoders import EncoderOutput, float_dtype


def grid_positions(height: int, width: int, dim: int, like: Tensor) -> Tensor:
    """Fixed 2-D sine-cosine positions, `(height * width, dim)`: one half codes the row, the other the column."""
    if dim % 4:
        raise ValueError(f"embed_dim={dim}: positions of images need a multiple of 4")
    # Other devices may have no float64, as MPS has none.
    device = like.device if like.device.type in ("cpu", "cuda", "meta") else torch.device("cpu")
    frequency = 10_000.0 ** (-torch.arange(dim // 4, device=device, dtype=torch.float64) / (dim // 4))

    def waves(length: int) -> Tensor:
        angle = torch.arange(length, device=device, dtype=torch.float64)[:, None] * frequency
        return torch.cat([angle.sin(), angle.cos()], dim=1)

    columns = waves(width).expand(height, -1, -1)
    rows = waves(height)[:, None].expand(-1, width, -1)
    return torch.cat([rows, columns], dim=-1).flatten(0, 1).to(like.dtype).to(like.device, non_blocking=True)


class LatentConverter(nn.Module):
    """Brings the tokens of an encoder to the width of the shared space; tokens of an image get 2-D positions.

    Args:
        hidden_size: Width of the encoder's tokens.
        embed_dim: Width of the shared space.
        projected: Whether a linear layer maps the tokens; else they stay as they are, in float32 or wider.
        positions: Whether tokens of an image get positions.
    """

    def __init__(self, hidden_size: int, embed_dim: int, projected: bool = True, positions: bool = True) -> None:
        super().__init__()
        self.projection = nn.Linear(hidden_size, embed_dim) if projected else None
        self.positions = positions

    def forward(self, output: EncoderOutput) -> Tensor:
        tokens = cast(Tensor, output.tokens)
        if self.projection is None:
            tokens = tokens.to(torch.promote_types(tokens.dtype, torch.float32))
        else:
            tokens = self.projection(tokens.to(float_dtype(self.projection)))
        if self.positions and output.grid is not None:
            tokens = tokens + grid_positions(*output.grid, tokens.shape[-1], like=tokens)
        return tokens
