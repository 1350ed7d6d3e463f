"""Cells of a table in place of others."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Generator, Tensor

from ..models.tables import KNOWN, categories_of, numbers_of
from .base import PROBABILITY, VIEWS, Inputs, View, check, send, take


@VIEWS.register("cells")
@dataclass(frozen=True)
class CellsView(View):
    """Random cells of a table are replaced by draws from the training rows' distribution of their column, missing
    cells among them, as SCARF does (Bahri et al. 2022, arXiv 2106.15147).

    Differs from SCARF, which takes the cell of another row: the draw is from the quantiles of a column of numbers,
    between which it is linear, and from the shares of categories, which the processor keeps. So it does not depend on
    which rows stand in a batch. Each cell tosses its own coin, where SCARF replaces a fixed number.

    Args:
        corruption: probability that a cell is replaced.
        unknown: probability that a category that is replaced becomes the unknown one, which is so trained, too.
        columns: what the table holds, taken from its processor.
    """

    kinds = ("table",)

    corruption: float = 0.6
    unknown: float = 0.02
    columns: tuple[Mapping[str, Any], ...] = ()

    def __post_init__(self) -> None:
        check(self, "corruption unknown", *PROBABILITY)

    def for_modality(self, options: Mapping[str, Any]) -> "View":
        return replace(self, columns=tuple(options.get("cells", ())))

    def draw(self, rows: int, inputs: Inputs, generator: Generator) -> Inputs:
        """replaced, missing (rows, numbers) and replaced_category (rows, categories), bool; values (rows, numbers);
        categories (rows, categories)."""
        if not self.columns:
            raise ValueError("the cells view needs a table of cells: leave input_dim out, or write kind: table")
        numbers, categories = numbers_of(self.columns), categories_of(self.columns)
        coins, places, gone = torch.rand(3, rows, len(numbers), generator=generator)
        own, picks = torch.rand(2, rows, len(categories), generator=generator)
        return {
            "replaced": coins < self.corruption,
            "missing": gone < torch.tensor([cell["missing"] for cell in numbers]),
            "values": torch.stack([_of_quantiles(cell, places[:, n]) for n, cell in enumerate(numbers)], 1)
            if numbers
            else places,
            "replaced_category": own < self.corruption,
            "categories": torch.stack([self._category(cell, picks[:, n]) for n, cell in enumerate(categories)], 1)
            if categories
            else picks.long(),
        }

    def _category(self, cell: Mapping[str, Any], uniform: Tensor) -> Tensor:
        """Numbers from 0 to 1 as categories: missing, unknown, and those that are known, by their shares."""
        known = (1 - cell["missing"]) * (1 - self.unknown)
        shares = torch.tensor([cell["missing"], (1 - cell["missing"]) * self.unknown, *cell["shares"]]).double()
        shares[KNOWN:] *= known / shares[KNOWN:].sum()
        return torch.searchsorted(shares.cumsum(0)[:-1].contiguous(), uniform.double(), right=True)

    def augment(self, inputs: Inputs, noise: Inputs) -> Inputs:
        values = take(inputs, "values", "cells")
        noise = {name: send(part, values) for name, part in noise.items()}
        missing, replaced = noise["missing"], noise["replaced"]
        drawn = noise["values"].to(values.dtype).masked_fill(missing, 0)
        return {
            **inputs,
            "values": torch.where(replaced, drawn, values),
            "missing": torch.where(replaced, missing, inputs["missing"]),
            "categories": torch.where(noise["replaced_category"], noise["categories"], inputs["categories"]),
        }


def _of_quantiles(cell: Mapping[str, Any], uniform: Tensor) -> Tensor:
    """Numbers from 0 to 1 as those of a column, linear between its quantiles."""
    levels = torch.tensor(cell["quantiles"], dtype=torch.float32)
    place = uniform * (len(levels) - 1)
    low = place.floor().long().clamp(max=len(levels) - 2)
    return torch.lerp(levels[low], levels[low + 1], place - low)
