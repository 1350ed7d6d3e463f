"""From the tokens of an encoder to those of a space that encoders share."""

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from .embeddings import concatenate_views, full_precision
from .encoders import EncoderOutput, couples_rows, float_dtype


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


def converted_views(
    encoder: Any, converter: Any, first: Mapping[str, Tensor], second: Mapping[str, Tensor] | None = None
) -> tuple[Tensor, Tensor | None]:
    """The converted tokens of one modality in one view or two; the encoder may run in bf16, the converter does not.

    Args:
        encoder: Of the modality.
        converter: Its [`LatentConverter`].
        first: The inputs of the encoder.
        second: Those of the second view of the same rows.

    Returns:
        `(views * batch, length, dim)`, the first view before the second, and `(views * batch, length)` bool, True
        where a token is real; None where all are.
    """
    if second is None:
        outputs = [encoder(**first)]
    elif couples_rows(encoder):
        # A BatchNorm of an encoder takes its statistics from one view at a time.
        outputs = [encoder(**first), encoder(**second)]
    else:
        outputs = [encoder(**concatenate_views(first, second))]
    with full_precision(outputs[0].tokens.device):
        tokens = torch.cat([converter(output) for output in outputs])
    mask = [output.attention_mask for output in outputs if output.attention_mask is not None]
    return tokens, torch.cat(mask) if mask else None
