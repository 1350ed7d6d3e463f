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


def label_scores(given: ArrayLike | Tensor, labels: ArrayLike | Tensor) -> dict[str, float]:
    """F1 of several labels of a row.

    Args:
        given: (N, C) bool, the labels that are said of each row.
        labels: (N, C) bool, those that it has.

    Returns:
        Percent: `macro_f1`, the mean over labels; `weighted_f1`, each weighted by its rows. A label that is neither
        said nor there has 0.

    Raises:
        ValueError: no row, or other shapes.
    """
    said, right = (np.asarray(values, dtype=bool) for values in (given, labels))
    if right.ndim != 2 or said.shape != right.shape or not len(right):
        raise ValueError(f"labels and what is said of them must be (N, C) alike; got {right.shape} and {said.shape}.")
    counts = said.sum(0) + right.sum(0)
    scores = 2 * (said & right).sum(0) / np.maximum(counts, 1)
    weights = right.sum(0)
    weighted = np.average(scores, weights=weights) if weights.any() else 0.0
    return {"macro_f1": 100 * float(scores.mean()), "weighted_f1": 100 * float(weighted)}


def number_scores(given: ArrayLike | Tensor, numbers: ArrayLike | Tensor) -> dict[str, float]:
    """How near predicted numbers are.

    Args:
        given: (N,) or (N, K) floats, what is said of each row.
        numbers: The same of what is right.

    Returns:
        `r2`, `mse` and `mae`, each the mean over the K numbers of a row. R2 of a number that is the same in all rows
        is 0.

    Raises:
        ValueError: no row, or other shapes.
    """
    said, right = (np.asarray(values, dtype=np.float64) for values in (given, numbers))
    if not right.size:
        raise ValueError("There must be a row with a number; got 0 rows.")
    said, right = (values.reshape(len(values), -1) for values in (said, right))
    if said.shape != right.shape:
        raise ValueError(f"numbers and what is said of them must be (N, K) alike; got {right.shape} and {said.shape}.")
    errors, spread = (said - right) ** 2, right.var(axis=0)
    r2 = np.where(spread > 0, 1 - errors.mean(axis=0) / np.where(spread > 0, spread, 1), 0.0)
    return {"r2": float(r2.mean()), "mse": float(errors.mean()), "mae": float(np.abs(said - right).mean())}
