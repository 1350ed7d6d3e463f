"""How right a head is, by what it says: classes, several labels of a row, or numbers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from ..metrics.chance import (
    absolute_error_chance,
    answer_chance,
    macro_f1_chance,
    row_scores,
    squared_error_chance,
    weighted_f1_chance,
)
from ..metrics.tasks import label_scores, number_scores
from .measurement import Better

Array = np.ndarray


@dataclass(frozen=True)
class Score:
    """One way to score what a head says.

    Attributes:
        key: Of its measurement.
        title: In words.
        value: Of what the head gives, `(rows, outputs)`, and what is right, as `Split.labels` has it.
        chance: What the best constant answer reaches on rows whose right answers these are.
        short, unit, metric, better: As of a `Measurement`.
    """

    key: str
    title: str
    value: Callable[[Array, Array], float]
    chance: Callable[[Array], float]
    short: str = ""
    unit: str = "%"
    metric: str = "accuracy"
    better: Better = "higher"


def _f1(average: str) -> Callable[[Array, Array], float]:
    return lambda given, truth: label_scores(given > 0, truth)[f"{average}_f1"]


def _number(score: str) -> Callable[[Array, Array], float]:
    return lambda given, truth: number_scores(given, truth)[score]


def _each(chance: Callable[[Array], float]) -> Callable[[Array], float]:
    """The mean over the numbers of a row."""
    return lambda truth: float(np.mean([chance(column) for column in truth.reshape(len(truth), -1).T]))


# The headline of a kind stands first; it is what is measured of each modality alone.
SCORES: Mapping[str, tuple[Score, ...]] = {
    "classes": (
        Score(
            "class_accuracy",
            "Right class",
            lambda given, truth: 100 * float(row_scores(given.argmax(axis=1), truth).mean()),
            answer_chance,
            "class",
        ),
    ),
    "labels": (
        Score("label_weighted_f1", "Labels, weighted F1", _f1("weighted"), weighted_f1_chance, "labels", metric="f1"),
        Score("label_macro_f1", "Labels, macro F1", _f1("macro"), macro_f1_chance, metric="f1"),
    ),
    "numbers": (
        Score("number_r2", "Numbers, R²", _number("r2"), lambda truth: 0.0, "numbers", "", "r2"),
        Score(
            "number_mse",
            "Numbers, squared error",
            _number("mse"),
            _each(squared_error_chance),
            unit="",
            metric="mse",
            better="lower",
        ),
        Score(
            "number_mae",
            "Numbers, absolute error",
            _number("mae"),
            _each(absolute_error_chance),
            unit="",
            metric="mae",
            better="lower",
        ),
    ),
}
