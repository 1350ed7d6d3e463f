"""How a column of `datasets` is stored: what tells kinds of input apart before a model is chosen."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

MOST = 0.9  # of the values, at least so many are what the column is taken for


def dtype(feature: Any) -> str:
    """`string`, `int`, `float`, `bool`, `binary` ...: the type of a plain column without its width; "" of others."""
    import datasets

    found = str(feature.dtype) if isinstance(feature, datasets.Value) else ""
    return found.removeprefix("large_").removeprefix("u").rstrip("0123456789")


def inner(feature: Any) -> Any:
    """What a column of lists has lists of; None of another column."""
    return getattr(feature, "feature", feature[0] if isinstance(feature, list) and feature else None)


def is_file(feature: Any) -> bool:
    """Whether a column may hold files, as names, bytes, or records with `bytes` and `path`."""
    record = isinstance(feature, Mapping) and {"bytes", "path"} >= set(feature)
    return record or dtype(feature) in ("string", "binary")


def named(values: Iterable[Any], suffixes: Sequence[str]) -> str | None:
    """The first of the names of files that values are or hold, where nearly all end in one of `suffixes`."""
    found = [value.get("path") if isinstance(value, Mapping) else value for value in values]
    names = [name for name in found if isinstance(name, str) and name.strip()]
    fit = [name for name in names if name.lower().endswith(tuple(suffixes)) and "\n" not in name]
    return fit[0] if fit and len(fit) >= MOST * len(names) else None


def content(values: Iterable[Any]) -> bytes | None:
    """The bytes of the first file that values are or hold."""
    found = (value.get("bytes") if isinstance(value, Mapping) else value for value in values)
    return next((value for value in found if isinstance(value, bytes) and value), None)


def width(feature: Any, values: Iterable[Any]) -> int | None:
    """How many numbers each row of a column of lists of numbers has; None where rows differ, or none is known."""
    fixed = getattr(feature, "length", -1)
    lengths = {fixed} if fixed > 0 else {len(value) for value in values if value is not None}
    return lengths.pop() if len(lengths) == 1 else None
