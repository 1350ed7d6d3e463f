"""Which label a benchmark reads, and in which rows it is known."""

from collections.abc import Sequence

import numpy as np

from ..data.loaded import EvaluationData, LabelKind, Split
from ..errors import UserError, suggest

MOST_CLASSES = 50
"""Of a label whose classes are clustered or counted without being asked for: captions are labels of many."""


def chosen_label(data: EvaluationData, name: str | None, kinds: Sequence[LabelKind]) -> str:
    """The label that a recipe names, or the only one of these kinds.

    Raises:
        UserError: If there is no such label, or none or several to choose from.
    """
    fitting = [key for key, label in data.labels.items() if label.kind in kinds]
    if name is None and len(fitting) == 1:
        return fitting[0]
    if name is None:
        found = f"write one of {', '.join(fitting)}" if fitting else "name a column of classes in data.labels"
        raise UserError(f"label is missing: {found}")
    if name not in data.labels:
        raise UserError(f"label={name!r}: no such label in data.labels; {suggest(name, data.labels)}")
    if name not in fitting:
        raise UserError(f"label={name!r} is a {data.labels[name].kind}: a {' or '.join(kinds)} is needed here")
    return name


def class_labels(data: EvaluationData, most: int = MOST_CLASSES) -> list[str]:
    """The labels of classes, of few of them."""
    return [name for name, label in data.labels.items() if label.kind == "class" and len(label.names) <= most]


def known_rows(split: Split, name: str, rows: np.ndarray) -> np.ndarray:
    """Those of the given rows whose label is not missing."""
    values = split.labels[name][rows]
    if values.dtype.kind in "iu":
        return rows[values >= 0]
    if values.dtype.kind == "f":
        return rows[~np.isnan(values)]
    return rows if values.dtype.kind == "b" else rows[values != ""]


def reference_modality(data: EvaluationData) -> str:
    """The modality whose items stand for the rows: the image where there is one, else the first."""
    return "image" if "image" in data.columns else next(iter(data.columns))
