"""Random references: all modalities of a row are drawn to one point that was drawn at random."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..citations import YAMAGUCHI_2025
from .base import Regularizer, is_number, register_regularizer

# The finaliser of SplitMix64, as signed numbers.
_MIX = (-0x40A7B892E31B1A47, -0x6B2FB644ECCEEE15)
_GOLDEN = -0x61C8864680B583EB


@register_regularizer("random_references")
@dataclass(frozen=True)
class RandomReferences(Regularizer):
    r"""Draw the embeddings of all modalities of a row, before they are normalised, to one normally distributed point.

    \[ L = \frac{1}{N d} \sum_j \sum_m \lVert x^m_j - r_j \rVert^2, \quad r_j \sim N(0, I) \]

    where x is z before it is divided by its length, of the rows that have modality m. A reference is drawn by the seed
    and the id of its row, so rows with equal ids share one, and a row keeps its own in all epochs; without ids it is
    drawn by the place in the batch. It depends on no process and no chunk. LatentCLIP alone gives x.

    Source: Yamaguchi et al., "Post-pre-training for Modality Alignment in Vision-Language Foundation Models", CVPR
    2025 (RaFA of CLIP-Refine), as their code, which draws anew for each batch; the paper's value is d / 2 times as
    much.

    Args:
        seed: Of the references, a whole number.

    Raises:
        ValueError: If the seed is none.
    """

    supports_missing: ClassVar[bool] = True

    seed: int = 0

    def __post_init__(self) -> None:
        self.demand("seed", is_number(self.seed) and isinstance(self.seed, int), "a whole number")
        self.demand("seed", abs(self.seed) < 2**31, "a whole number below 2147483648")

    @property
    def formula(self) -> str:
        return (
            r"\frac{1}{N d} \sum_j \sum_m \Vert x^m_j - r_j \Vert^2, \quad r_j \sim N(0, I), \quad "
            r"z^m_j = x^m_j / \Vert x^m_j \Vert"
        )

    @property
    def citations(self) -> tuple[str, ...]:
        return (YAMAGUCHI_2025,)

    @property
    def requires(self) -> frozenset[str]:
        return frozenset({"embeds", "raw"})

    def value(self, z: Any, scale: Tensor | float) -> Tensor:
        first = next(iter(z.raw.values()))
        rows = torch.arange(len(first), device=first.device) if z.ids is None else z.ids
        references = normal(self.seed, rows, first.shape[1]).to(first)
        distances = []
        for name, raw in z.raw.items():
            there = z.rows_with(name)
            squares = (raw - references).square() if there is None else (raw - references)[there].square()
            distances.append(squares.mean() if len(squares) else squares.sum())
        return torch.stack(distances).sum()


def normal(seed: int, rows: Tensor, dim: int) -> Tensor:
    """Normal numbers that depend on the seed and the number of a row alone.

    Args:
        seed: A whole number.
        rows: `(rows,)` int64.
        dim: How many for each row.

    Returns:
        `(rows, dim)` float64; float32 on MPS.
    """
    places = torch.arange(2 * dim, device=rows.device)
    start = torch.full_like(rows, seed + 1) * _GOLDEN  # whole numbers of tensors wrap
    key = _mixed(_mixed(rows + start)[:, None] + (places + 1) * _GOLDEN)
    wide = torch.float32 if rows.device.type == "mps" else torch.float64  # MPS has no float64
    uniform = (_shifted(key, 40).to(wide) + 0.5) / 2**24
    radius, turn = uniform.chunk(2, dim=1)
    return (-2 * radius.log()).sqrt() * (2 * math.pi * turn).cos()


def _mixed(numbers: Tensor) -> Tensor:
    for shift, factor in zip((30, 27), _MIX, strict=True):
        numbers = (numbers ^ _shifted(numbers, shift)) * factor
    return numbers ^ _shifted(numbers, 31)


def _shifted(numbers: Tensor, bits: int) -> Tensor:
    """Shifted to the right, filled with zeros."""
    return (numbers >> bits) & ((1 << (64 - bits)) - 1)
