"""How often a model answers, or tells classes apart, rightly: over all, by kind of question, by class."""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from .arrays import integers

Kind = Literal["answers", "classes"]
PREFIXES: dict[str, str] = {"answers": "answer", "classes": "class"}


def task_accuracy(
    predicted: ArrayLike | Tensor,
    labels: ArrayLike | Tensor,
    groups: ArrayLike | None = None,
    *,
    kind: Kind = "classes",
) -> dict[str, float]:
    """Accuracy of the given answers or classes.

    Args:
        predicted: (N,) integers, the class, or the answer of the list, that is given for each row; N >= 1. One that is
            in no list, such as -1, is wrong.
        labels: (N,) integers of 0 or more, what is right.
        groups: (N,) names, what kind of question each row is; none by default.
        kind: "answers" or "classes", which the names begin with.

    Returns:
        Percent, for "classes": `class_accuracy`, of all rows; `class_accuracy_balanced`, the mean of that of each
        class that is right for some row; `class_chance`, where the commonest class is given to all rows; and
        `class_accuracy_<group>` of each group. For "answers", `answer_accuracy` and so on.

    Raises:
        ValueError: no row, what is not one integer or name a row, a label below 0, or another kind.
    """
    if kind not in PREFIXES:
        raise ValueError(f"kind={kind!r}: write {' or '.join(PREFIXES)}.")
    rows = len(np.atleast_1d(np.asarray(labels)))
    right, given = integers(labels, "labels", rows).numpy(), integers(predicted, "predictions", rows).numpy()
    if not rows or right.min() < 0:
        raise ValueError(f"There must be a row, and labels of 0 or more; got {rows} rows.")
    correct, counts = right == given, np.bincount(right)
    hits = np.bincount(right, weights=correct)[counts > 0] / counts[counts > 0]
    name = PREFIXES[kind]
    found = {
        f"{name}_accuracy": correct.mean(),
        f"{name}_accuracy_balanced": hits.mean(),
        f"{name}_chance": counts.max() / rows,
    }
    if groups is not None:
        names = np.asarray(groups)
        if names.shape != (rows,):
            raise ValueError(f"The groups must be ({rows},), one for each row; got {names.shape}.")
        found |= {f"{name}_accuracy_{group}": correct[names == group].mean() for group in np.unique(names)}
    return {key: 100 * float(value) for key, value in found.items()}
