"""Random drops and noise of series and tables."""

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from .base import AMOUNT, PROBABILITY, VIEWS, Inputs, View, check, send, take


@VIEWS.register("series")
@dataclass(frozen=True)
class SeriesView(View):
    """Noise and dropped steps, each for a row as a whole or not at all, on floating `values` (B, T, F).

    CoMM's augmentation of MultiBench series (arXiv 2409.07402). Padding (`attention_mask` 0) is left as it is.

    Args:
        noise: standard deviation of the Gaussian noise, in the unit of the values.
        noise_probability: probability that a row is noisy.
        drop: a row loses a share U(0, drop) of its real steps, rounded down, which become zero.
        drop_probability: probability that a row loses any.
    """

    kinds = ("series", "features")

    noise: float = 0.1
    noise_probability: float = 0.5
    drop: float = 0.8
    drop_probability: float = 0.5

    def __post_init__(self) -> None:
        check(self, "noise", *AMOUNT)
        check(self, "noise_probability drop drop_probability", *PROBABILITY)

    def draw(self, rows: int, inputs: Inputs, generator: Generator) -> Inputs:
        length, features = take(inputs, "values", "series").shape[1:]
        share, dropped, noisy = torch.rand(3, rows, generator=generator)
        # one draw, step by step, so that a wider padding changes nothing before it; its last feature ranks the steps
        normal = _normal((length, rows, features + 1), generator).transpose(0, 1)
        scale = self.noise * (noisy < self.noise_probability)
        return {
            "noise": normal[..., :-1] * scale[:, None, None],
            "order": normal[..., -1],
            "drop": share * self.drop * (dropped < self.drop_probability),
        }

    def augment(self, inputs: Inputs, noise: Inputs) -> Inputs:
        values = take(inputs, "values", "series")
        real = torch.ones(values.shape[:2], dtype=torch.bool, device=values.device)
        if "attention_mask" in inputs:
            real = inputs["attention_mask"].bool()
        order = send(noise["order"], values).masked_fill(~real, math.inf)
        rank = order.argsort(dim=1, stable=True).argsort(dim=1)
        lost = rank < (send(noise["drop"], values) * real.sum(1)).floor()[:, None]
        changed = (values + send(noise["noise"], values).to(values.dtype)).masked_fill(lost[..., None], 0)
        return {**inputs, "values": torch.where(real[..., None], changed, values)}


@VIEWS.register("table")
@dataclass(frozen=True)
class TableView(View):
    """Gaussian noise of standard deviation `noise` on floating `values` (B, ...) of a row, with `noise_probability`.

    Args:
        noise: standard deviation of the noise, in the unit of the values.
        noise_probability: probability that a row is noisy.
    """

    kinds = ("table", "features")

    noise: float = 0.1
    noise_probability: float = 1.0

    def __post_init__(self) -> None:
        check(self, "noise", *AMOUNT)
        check(self, "noise_probability", *PROBABILITY)

    def draw(self, rows: int, inputs: Inputs, generator: Generator) -> Inputs:
        shape = take(inputs, "values", "table").shape[1:]
        noisy = torch.rand(rows, generator=generator) < self.noise_probability
        return {"noise": _normal((rows, *shape), generator) * self.noise * noisy.view(-1, *(1 for _ in shape))}

    def augment(self, inputs: Inputs, noise: Inputs) -> Inputs:
        values = take(inputs, "values", "table")
        return {**inputs, "values": values + send(noise["noise"], values).to(values.dtype)}


def _normal(shape: tuple[int, ...], generator: Generator) -> Tensor:
    """Standard normal numbers, of which the first do not depend on how many follow."""
    count = math.prod(shape)
    whole = 16 * math.ceil(count / 16)  # randn works in blocks of 16 and draws a ragged last one twice
    return torch.randn(whole, generator=generator)[:count].view(shape)
