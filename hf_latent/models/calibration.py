"""Statistics of training rows by which the embeddings of a finished model are calibrated."""

from collections.abc import Iterable, Mapping
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .registry import nearest

METHODS = ("mean", "standardise")
CONSTANT = 1e-6  # a coordinate of unit rows that deviates less is left as wide as it is


class Calibration(nn.Module):
    r"""Takes the offset of each modality out of its unit rows: \(x / |x| - \mu\), or \((x / |x| - \mu) / \sigma\).

    What it gives is not normalised: whoever compares it does so, as with every embedding.

    Attributes:
        <modality>_mean: `(dim,)`, of the unit rows of the modality.
        <modality>_std: `(dim,)`, their standard deviation, without Bessel's correction; of `standardise` alone.

    Args:
        modalities: Their names.
        dim: Of their embeddings.
        method: `mean` or `standardise`.

    Source: B. Li et al., "Closing the Modality Gap for Mixed Modality Search", 2025 (`mean`).
    """

    def __init__(self, modalities: Iterable[str], dim: int, method: str = "mean") -> None:
        super().__init__()
        check_method(method)
        self.modalities, self.method = tuple(modalities), method
        for name in self.modalities:
            self.register_buffer(f"{name}_mean", torch.zeros(dim))
            if method == "standardise":
                self.register_buffer(f"{name}_std", torch.ones(dim))

    @torch.no_grad()
    def fit(self, rows: Mapping[str, Tensor]) -> Self:
        """Take the statistics of some rows.

        Args:
            rows: `(rows, dim)` of each modality, of any length.

        Raises:
            ValueError: If a modality is missing, or has no rows, or they are not finite.
        """
        for name in self.modalities:
            if name not in rows or not len(rows[name]):
                raise ValueError(f"calibration needs rows of the modality {name!r}: there are none")
            unit = F.normalize(rows[name].double(), dim=-1)
            if not unit.isfinite().all():
                raise ValueError(f"the embeddings of the modality {name!r} are not finite")
            self.get_buffer(f"{name}_mean").copy_(unit.mean(dim=0))
            if self.method == "standardise":
                std = unit.std(dim=0, correction=0)
                self.get_buffer(f"{name}_std").copy_(torch.where(std < CONSTANT, 1.0, std))
        return self

    def forward(self, name: str, rows: Tensor) -> Tensor:
        """`(rows, dim)` embeddings of a modality, calibrated; in float32 or wider."""
        with torch.autocast(rows.device.type, enabled=False):
            wide = rows if rows.dtype == torch.float64 else rows.float()
            found = F.normalize(wide, dim=-1) - self.get_buffer(f"{name}_mean").to(wide)
            return found / self.get_buffer(f"{name}_std").to(wide) if self.method == "standardise" else found


def check_method(method: Any) -> None:
    """A ValueError where this is no method of calibration."""
    if method not in METHODS:
        raise ValueError(f"calibration method {method!r}: {nearest(str(method), list(METHODS))}")


def check_calibration(told: Any) -> None:
    """A ValueError where this is not what a config says of its calibration."""
    if not isinstance(told, Mapping):
        raise ValueError(f"calibration={told!r}: model.calibrate(rows) sets it, as hf-latent calibrate does")
    check_method(told.get("method"))
