"""How often a model answers, or tells classes apart, rightly: over all, by kind of question, by class."""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from .arrays import integers
from .chance import answer_chance, row_scores

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
        labels: (N,) integers, what is right; -1 where it is in no list, so that no answer is right. Or (N, annotators)
            of several annotators, see `row_scores`.
        groups: (N,) names, what kind of question each row is; none by default.
        kind: "answers" or "classes", which the names begin with.

    Returns:
        Percent, for "classes": `class_accuracy`, of all rows; `class_accuracy_balanced`, the mean of that of each
        class that is right for some row, of one right answer a row; `class_chance`, where one class is given to all
        rows, the best; and `class_accuracy_<group>` of each group. For "answers", `answer_accuracy` and so on.

    Raises:
        ValueError: no row, what is not integers or a name for each row, or another kind.
    """
    if kind not in PREFIXES:
        raise ValueError(f"kind={kind!r}: write {' or '.join(PREFIXES)}.")
    right = np.atleast_1d(np.asarray(labels))
    rows = len(right)
    if not rows:
        raise ValueError("There must be a row, and labels; got 0 rows.")
    if right.ndim == 1:
        right = integers(labels, "labels", rows).numpy()
    correct = row_scores(integers(predicted, "predictions", rows).numpy(), right)
    name = PREFIXES[kind]
    found = {f"{name}_accuracy": correct.mean()}
    if right.ndim == 1 and (right >= 0).any():
        counts = np.bincount(right[right >= 0])
        hits = np.bincount(right[right >= 0], weights=correct[right >= 0])[counts > 0] / counts[counts > 0]
        found[f"{name}_accuracy_balanced"] = hits.mean()
    found[f"{name}_chance"] = answer_chance(right) / 100
    if groups is not None:
        names = np.asarray(groups)
        if names.shape != (rows,):
            raise ValueError(f"The groups must be ({rows},), one for each row; got {names.shape}.")
        found |= {f"{name}_accuracy_{group}": correct[names == group].mean() for group in np.unique(names)}
    return {key: 100 * float(value) for key, value in found.items()}
