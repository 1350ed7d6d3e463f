"""Series, tables and features: arrays of numbers."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from .base import Kind, Shape, register_kind


class _Numbers(Kind):
    IMPORTS = ("import numpy as np",)

    def example(self, name: str, spec: Mapping[str, Any]) -> str:
        return f'np.zeros({_width(spec)}, dtype="float32")'

    def thumbnail(self, value: Any) -> Image.Image:
        from .drawing import of_numbers

        numbers = np.nan_to_num(np.asarray(value, dtype=np.float64))
        if numbers.ndim > 1:  # features of several tokens
            numbers = numbers.mean(tuple(range(numbers.ndim - 1)))
        return of_numbers(numbers.reshape(-1))


@register_kind("series")
class SeriesKind(_Numbers):
    """Columns of arrays `(length, input_dim)`."""

    def shapes(self, spec: Mapping[str, Any]) -> Sequence[Shape]:
        return [(None, spec.get("input_dim"))]

    def example(self, name: str, spec: Mapping[str, Any]) -> str:
        return f'np.zeros((50, {_width(spec)}), dtype="float32")'

    def thumbnail(self, value: Any) -> Image.Image:
        from .drawing import of_series

        numbers = np.nan_to_num(np.asarray(value, dtype=np.float64))
        return of_series(numbers.reshape(len(numbers), -1))


@register_kind("table")
class TableKind(_Numbers):
    """Columns of arrays `(input_dim,)`."""

    def shapes(self, spec: Mapping[str, Any]) -> Sequence[Shape]:
        return [(spec.get("input_dim"),)]


@register_kind("features")
class FeaturesKind(_Numbers):
    """Columns of arrays `(input_dim,)` or `(length, input_dim)`."""

    def shapes(self, spec: Mapping[str, Any]) -> Sequence[Shape]:
        return [(spec.get("input_dim"),), (None, spec.get("input_dim"))]


def _width(spec: Mapping[str, Any]) -> int:
    width = spec.get("input_dim")
    return width if isinstance(width, int) and width > 0 else 1
