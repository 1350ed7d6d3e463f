"""Arrays of numbers: series, tables and features."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from .inputs import stack_numbers, stack_series
from .kinds import InputKind
from .tables import check_cells, stack_cells


class SeriesKind(InputKind):
    """Float arrays `(length, input_dim)` as `values`, zero-padded to the longest, and `attention_mask`."""

    kind = "series"

    def stack(self, values: Sequence[Any], **text: Any) -> dict[str, Tensor]:
        return stack_series(self.name, values)


class FeaturesKind(InputKind):
    """Float arrays of one shape as `values`."""

    kind = "features"

    def stack(self, values: Sequence[Any], **text: Any) -> dict[str, Tensor]:
        return stack_numbers(self.name, values)


class TableKind(FeaturesKind):
    """Rows of numbers as `values`; with cells, as `tables.stack_cells` says.

    Options: `cells`, what `tables.find_cells` makes of the training rows: then a row is a list of cells, or
    `{name: cell}`, with numbers and texts, and None or NaN where one is missing.
    """

    kind = "table"

    def __init__(self, name: str, options: dict[str, Any], tokenizer: Any = None) -> None:
        super().__init__(name, options, tokenizer)
        if "cells" in options:
            check_cells(options["cells"])

    def stack(self, values: Sequence[Any], **text: Any) -> dict[str, Tensor]:
        if "cells" not in self.options:
            return super().stack(values)
        return stack_cells(self.name, values, self.options["cells"])
