"""Series, tables and features: arrays of numbers."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from ..models.tables import check_row, find_cells
from .base import Decoder, Kind, Shape, Suggestion, register_kind
from .stored import dtype, inner, width

BOX = 4  # numbers, which are a place in a picture rather than an embedding


class _Numbers(Kind):
    IMPORTS = ("import numpy as np",)
    SEVERAL = True

    def example(self, name: str, spec: Mapping[str, Any]) -> str:
        return f'np.zeros({_width(spec)}, dtype="float32")'

    def thumbnail(self, value: Any) -> Image.Image:
        from ..plots.thumbnails import of_numbers

        numbers = np.nan_to_num(np.asarray(value, dtype=np.float64))
        if numbers.ndim > 1:  # features of several tokens
            numbers = numbers.mean(tuple(range(numbers.ndim - 1)))
        return of_numbers(numbers.reshape(-1))


@register_kind("series")
class SeriesKind(_Numbers):
    """Columns of arrays `(length, input_dim)`."""

    def shapes(self, spec: Mapping[str, Any]) -> Sequence[Shape]:
        return [(None, spec.get("input_dim"))]

    def suggest(self, feature: Any, values: Sequence[Any]) -> Suggestion | None:
        step = _step(feature)
        if dtype(inner(step)) != "float":
            return None
        numbers = width(step, [one for value in values for one in value or ()])
        if numbers is None:
            return None
        layers = {"hidden_size": 32, "num_layers": 2, "num_heads": 4, "feedforward_dim": 64}
        why = f"series of steps with {numbers} numbers each"
        return Suggestion(why, {"encoder": "sequence", "input_dim": numbers, **layers}, {"kind": "series"})

    def example(self, name: str, spec: Mapping[str, Any]) -> str:
        return f'np.zeros((50, {_width(spec)}), dtype="float32")'

    def thumbnail(self, value: Any) -> Image.Image:
        from ..plots.thumbnails import of_series

        numbers = np.nan_to_num(np.asarray(value, dtype=np.float64))
        return of_series(numbers.reshape(len(numbers), -1))


@register_kind("table")
class TableKind(_Numbers):
    """Columns of arrays `(input_dim,)`. Where the encoder has no `input_dim`, a list of columns of numbers, texts and
    classes, or a column of records or of lists of cells; cells may be missing."""

    def joins(self, spec: Mapping[str, Any]) -> bool:
        return spec.get("input_dim") is None

    def decoder(self, spec: Mapping[str, Any]) -> Decoder | None:
        return check_row if self.joins(spec) else None

    def shapes(self, spec: Mapping[str, Any]) -> Sequence[Shape]:
        return [(spec.get("input_dim"),)]

    def suggest(self, feature: Any, values: Sequence[Any]) -> Suggestion | None:
        import datasets

        if not isinstance(feature, Mapping) or not feature:
            return None
        for cell in feature.values():
            if not isinstance(cell, datasets.ClassLabel) and dtype(cell) not in ("float", "int", "bool", "string"):
                return None
        return Suggestion("cells of numbers and categories", {"encoder": "table"}, {"kind": "cells"})

    def fitted(self, spec: Mapping[str, Any], rows: Iterable[Any], columns: Sequence[str] | None) -> dict[str, Any]:
        """With the cells of the training rows, where neither they nor `input_dim` are written."""
        if spec.get("input_dim") is not None or spec.get("cells") is not None:
            return dict(spec)
        return {**spec, "cells": find_cells(list(rows), columns, spec.get("categories") or ())}

    def example(self, name: str, spec: Mapping[str, Any]) -> str:
        cells = spec.get("cells")
        return str([None if "values" in cell else 0.0 for cell in cells]) if cells else super().example(name, spec)

    def thumbnail(self, value: Any) -> Image.Image:
        cells = list(value.values()) if isinstance(value, Mapping) else np.asarray(value, dtype=object).tolist()
        return super().thumbnail([cell if isinstance(cell, int | float) else 0.0 for cell in cells])


@register_kind("features")
class FeaturesKind(_Numbers):
    """Columns of arrays `(input_dim,)` or `(length, input_dim)`."""

    def shapes(self, spec: Mapping[str, Any]) -> Sequence[Shape]:
        return [(spec.get("input_dim"),), (None, spec.get("input_dim"))]

    def suggest(self, feature: Any, values: Sequence[Any]) -> Suggestion | None:
        numbers = width(feature, values) if dtype(inner(feature)) == "float" else None
        if numbers is None or numbers <= BOX:
            return None
        why = f"lists of {numbers} numbers each, read as embeddings"
        about = "as they are; a projection is trained on them"
        return Suggestion(why, {"encoder": "features", "input_dim": numbers}, {"kind": "table"}, about)


def _width(spec: Mapping[str, Any]) -> int:
    width = spec.get("input_dim")
    return width if isinstance(width, int) and width > 0 else 1


def _step(feature: Any) -> Any:
    """What a column of two-dimensional arrays holds of each step; None of another column."""
    import datasets

    if isinstance(feature, datasets.Array2D):
        return datasets.List(datasets.Value(feature.dtype), length=feature.shape[1] or -1)
    return inner(feature)
