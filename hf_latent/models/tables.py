"""Tables whose cells are numbers and categories, and may be missing."""

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

MISSING, UNKNOWN, KNOWN = 0, 1, 2  # the numbers of categories; those that are known follow
MOST_VALUES = 1000  # categories of a column; the rarer ones count as unknown
LARGEST = float(np.finfo(np.float32).max)  # of a number, as models read it
QUANTILES = 21  # of the numbers of a column: the lowest, each twentieth, and the highest


def check_cell(value: Any) -> Any:
    """A cell as it is, None of one that is missing (None, NaN, text without a letter).

    Raises:
        ValueError: If it is neither a number that float32 holds nor a text.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if isinstance(value, float) and not math.isfinite(value):
        if math.isnan(value):
            return None
        raise ValueError("a cell holds infinity")
    if isinstance(value, int | float) and abs(value) > LARGEST:
        raise ValueError(f"a cell holds a number beyond {LARGEST:.1e}")
    if not isinstance(value, bool | int | float | str):
        raise ValueError(f"a cell holds a {type(value).__name__}, expected a number, a text or nothing")
    return value


def check_row(value: Any) -> list[Any] | dict[str, Any]:
    """A row of a table, its missing cells None: a list or an array of cells, or `{name: cell}`."""
    if isinstance(value, Mapping):
        return {str(name): check_cell(cell) for name, cell in value.items()}
    if isinstance(value, Tensor | np.ndarray):
        value = value.tolist()
    if not isinstance(value, list | tuple):
        raise ValueError(f"expected a list of cells or {{name: cell}}, found {type(value).__name__}")
    return [check_cell(cell) for cell in value]


def find_cells(
    rows: Sequence[Any], names: Sequence[str] | None = None, categories: Collection[str] = ()
) -> list[dict[str, Any]]:
    """What the columns of a table are, from its training rows.

    A column with a text or a truth value is one of categories, another one of numbers.

    Args:
        rows: Lists of cells, or dictionaries of them.
        names: Of the columns of lists; by default their numbers.
        categories: Columns of numbers that are categories.

    Returns:
        A dictionary a column, with its `name` and the share of rows in which it is `missing`: of numbers `mean`, `std`
        and `quantiles` of what is there, the last in units of the standard deviation from the mean; of categories the
        `values`, the most frequent first, and their `shares` of what is there.

    Raises:
        ValueError: If rows differ in their cells, or a column is empty.
    """
    checked = [check_row(row) for row in rows]
    if not checked:
        raise ValueError("there is no row")
    first = checked[0]
    names = list(first) if isinstance(first, dict) else list(names or map(str, range(len(first))))
    columns = list(zip(*(_ordered(row, names) for row in checked), strict=True))
    for name in categories:
        if name not in names:
            raise ValueError(f"categories: no column {name!r}; there are: {', '.join(names)}")
    return [_cell(name, column, name in categories) for name, column in zip(names, columns, strict=True)]


def _ordered(row: list[Any] | dict[str, Any], names: Sequence[str]) -> list[Any]:
    if isinstance(row, dict):
        if unknown := sorted(set(row) - set(names)):
            raise ValueError(f"there is no cell {unknown[0]!r}; known: {', '.join(names)}")
        return [row.get(name) for name in names]
    if len(row) != len(names):
        raise ValueError(f"a row has {len(row)} cells, expected {len(names)}: {', '.join(names)}")
    return row


def _cell(name: str, column: Sequence[Any], is_category: bool) -> dict[str, Any]:
    there = [value for value in column if value is not None]
    if not there:
        raise ValueError(f"column {name!r} has no value: leave it out")
    cell: dict[str, Any] = {"name": name, "missing": 1 - len(there) / len(column)}
    if is_category or any(isinstance(value, bool | str) for value in there):
        counts = Counter(map(word, there)).most_common(MOST_VALUES)
        return {
            **cell,
            "values": [value for value, _ in counts],
            "shares": [count / len(there) for _, count in counts],
        }
    numbers = np.array(there, dtype=np.float64)
    mean, std = float(numbers.mean()), float(numbers.std()) or 1.0
    if numbers.min() == numbers.max():  # which rounding hides: ten times 0.1 has a deviation of 1e-17
        mean, std = float(numbers[0]), 1.0
    quantiles = np.quantile((numbers - mean) / std, np.linspace(0, 1, QUANTILES))
    return {**cell, "mean": mean, "std": std, "quantiles": quantiles.tolist()}


def word(value: Any) -> str:
    """What a category is called: a whole number has no point, whatever its column is stored as."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def numbers_of(cells: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [cell for cell in cells if "values" not in cell]


def categories_of(cells: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [cell for cell in cells if "values" in cell]


def check_cells(cells: Any) -> None:
    """A ValueError where stored cells are not what `find_cells` gives."""
    for cell in cells if isinstance(cells, list) and cells else [None]:
        if not isinstance(cell, Mapping) or not (
            {"name", "values"} <= set(cell) or {"name", "mean", "std"} <= set(cell)
        ):
            raise ValueError(f"cells: {cell!r}: give what models.tables.find_cells makes of the training rows")


def stack_cells(name: str, values: Sequence[Any], cells: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
    """Rows as `values` (batch, numbers), standardised, 0 where `missing` (batch, numbers) is True, and `categories`
    (batch, categories), whole numbers: `MISSING`, `UNKNOWN`, or `KNOWN` and the place among the values.

    Raises:
        ValueError: If a row has other cells, or a text in place of a number; it names the row.
    """
    names = [str(cell["name"]) for cell in cells]
    places = [
        {value: KNOWN + n for n, value in enumerate(cell["values"])} if "values" in cell else {} for cell in cells
    ]
    numbers, missing, categories = [], [], []
    for row, value in enumerate(values):
        try:
            found = list(zip(cells, places, _ordered(check_row(value), names), strict=True))
            numbers.append([_standardised(cell, own) for cell, _, own in found if "values" not in cell])
        except ValueError as error:
            raise ValueError(f"row {row} of modality {name!r}: {error}") from None
        missing.append([own is None for cell, _, own in found if "values" not in cell])
        categories.append(
            [
                MISSING if own is None else known.get(word(own), UNKNOWN)
                for cell, known, own in found
                if "values" in cell
            ]
        )
    return {
        "values": torch.tensor(numbers, dtype=torch.float32),
        "missing": torch.tensor(missing, dtype=torch.bool),
        "categories": torch.tensor(categories, dtype=torch.long),
    }


def _standardised(cell: Mapping[str, Any], value: Any) -> float:
    if isinstance(value, str):
        raise ValueError(f"cell {cell['name']!r} holds {value!r}, expected a number")
    number = 0.0 if value is None else (float(value) - cell["mean"]) / cell["std"]
    if not abs(number) <= LARGEST:
        raise ValueError(f"cell {cell['name']!r} holds {value!r}, too far from the training rows to be a number")
    return number
