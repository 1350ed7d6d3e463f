"""Arrays of numbers: series, tables and features."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from .inputs import stack_numbers, stack_series
from .kinds import InputKind


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
    """Rows of numbers as `values`."""

    kind = "table"
