"""What one value of a data set holds: whether it is missing, and whether an encoder of numbers can read it."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..kinds import Shape

ANSWER = "answer"
"""Of a column of records, the field that holds the answer of one annotator."""


def is_missing(value: Any) -> bool:
    """None, NaN, and words or a list with nothing in them."""
    if isinstance(value, str):
        return not value.strip()
    return not value if isinstance(value, list) else value is None or value != value


def lacking(column: Any, decoded: bool = False) -> list[bool]:
    """Of an Arrow column, which values are null, texts of spaces, or records of nulls, as of an image of no file; of
    what a decoder reads also NaN and empty lists."""
    import pyarrow.compute as pc
    import pyarrow.types as types

    kind, absent = column.type, pc.is_null(column)
    if types.is_struct(kind):
        for place, name in enumerate(field.name for field in kind):
            own = pc.is_null(pc.struct_field(column, name))
            absent = pc.and_(absent, own) if place else own
    if types.is_string(kind) or types.is_large_string(kind):
        absent = pc.or_(absent, pc.equal(pc.fill_null(pc.utf8_trim_whitespace(column), ""), ""))
    if decoded and types.is_floating(kind):
        absent = pc.or_(absent, pc.fill_null(pc.is_nan(column), True))
    if decoded and (types.is_list(kind) or types.is_large_list(kind)):
        absent = pc.or_(absent, pc.equal(pc.fill_null(pc.list_value_length(column), 0), 0))
    return absent.to_pylist()


def stable_hash(value: Any) -> int:
    """The same number for the same value in every process."""
    return int.from_bytes(hashlib.blake2b(str(value).encode(), digest_size=7).digest(), "big")


def holds_sentences(feature: Any) -> bool:
    """Whether a column of `datasets` has lists of strings."""
    return is_string(getattr(feature, "feature", feature[0] if isinstance(feature, list) else None))


def holds_answers(feature: Any) -> bool:
    """Whether a column of `datasets` has lists of records with the answer of an annotator each, as VQA v2."""
    record = getattr(feature, "feature", feature[0] if isinstance(feature, list) and feature else None)
    return isinstance(record, Mapping) and is_string(record.get(ANSWER))


def holds_images(feature: Any) -> bool:
    """Whether a column of `datasets` has lists of images."""
    import datasets

    return isinstance(getattr(feature, "feature", feature[0] if isinstance(feature, list) else None), datasets.Image)


def is_string(feature: Any) -> bool:
    """Whether a column of `datasets` has strings."""
    import datasets

    return isinstance(feature, datasets.Value) and feature.dtype in ("string", "large_string")


def is_plain(feature: Any) -> bool:
    """Whether a column of `datasets` holds values that are not decoded, as images are."""
    from datasets.features.features import require_decoding

    return not require_decoding(feature)


def misfit(value: Any, shapes: Sequence[Shape] = ()) -> str | None:
    """What is wrong with an array of numbers, if anything is. Without `shapes`, only NaN and infinity are."""
    try:
        with np.errstate(over="ignore"):
            array = np.asarray(value, dtype=np.float32)  # as models read it
    except (TypeError, ValueError):
        # Ragged, or no numbers; a list of images is not either.
        return f"is no array of numbers, expected {_or(shapes)}" if shapes else None
    if shapes and not any(_fits(array.shape, shape) for shape in shapes):
        return f"has the shape {array.shape}, expected {_or(shapes)}"
    return None if np.isfinite(array).all() else "holds NaN or infinity"


def _fits(found: tuple[int, ...], shape: Shape) -> bool:
    return len(found) == len(shape) and all(
        length > 0 and expected in (None, length) for length, expected in zip(found, shape, strict=True)
    )


def _or(shapes: Sequence[Shape]) -> str:
    return " or ".join(str(shape).replace("None", "length") for shape in shapes)
