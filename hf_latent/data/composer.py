"""Rows that are built from chosen parts, and what linear probes are asked of them: what a source may offer a page."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from .loaded import Label

Chosen = Mapping[str, tuple[Any, ...]]
"""The choice of each factor of each modality."""
ALL = "fused"
"""The view of all modalities together, beside those of each alone."""


@dataclass(frozen=True)
class Factor:
    """What can be chosen of one modality.

    Attributes:
        name: Such as "Color".
        choices: The names to choose from; none of a whole number.
        bounds: Of a whole number, the smallest and the largest.
    """

    name: str
    choices: tuple[str, ...] = ()
    bounds: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Question:
    """What linear probes are asked of a row.

    Attributes:
        title: What kind of information it is, such as "Unique to image 1".
        about: What it is about, in words.
        label: Its classes.
        balanced: Fit probes with each class weighted alike.
    """

    title: str
    about: str
    label: Label
    balanced: bool = False


@dataclass(frozen=True)
class Rule:
    """A class of a question that follows from a choice in one modality and a choice in another.

    Attributes:
        question: Its name.
        answer: The class that the rule is about.
        across, down: Modality and number of the factor of either side.
        fitting: Of each choice of `down`, the number of the choice of `across` that it goes with.
        title: What the answer is called, in a word or two.
        press: What to do to have a row obey the rule, in words.
    """

    question: str
    answer: str
    across: tuple[str, int]
    down: tuple[str, int]
    fitting: tuple[int, ...]
    title: str
    press: str


@dataclass(frozen=True)
class ComposedRows:
    """Rows of a split of the data, in the terms of a composer.

    Attributes:
        values: The raw values of each modality, `{name: N values}`.
        labels: The class of each row by question, `(N,)` int64.
        chosen: The choices of the factors with names of each row, `{modality: (N, factors) int64}`.
        items: Which value of its modality each is, `{modality: (N,) int64}`, equal where rows hold the same.
    """

    values: Mapping[str, Sequence[Any]]
    labels: Mapping[str, np.ndarray]
    chosen: Mapping[str, np.ndarray]
    items: Mapping[str, np.ndarray]


class Composer(ABC):
    """Builds rows from chosen parts.

    Attributes:
        intro: What is built and asked, in a few sentences of plain text.
        views: What each modality alone, and `ALL`, is called.
        factors: What can be chosen of each modality; factors with names to choose from come first.
        questions: Those that probes are asked, by name.
        compared: What two rows may have in common, and where to look: `{name: ((modality, factor), ...)}`; where there
            are several places, all agree.
        presets: Rows to begin with, by what they show.
        rule: What ties two modalities together, if anything does.
    """

    intro: str
    views: Mapping[str, str]
    factors: Mapping[str, tuple[Factor, ...]]
    questions: Mapping[str, Question]
    compared: Mapping[str, tuple[tuple[str, int], ...]]
    presets: Mapping[str, Chosen]
    rule: Rule | None = None

    @abstractmethod
    def draw(self, modality: str, chosen: tuple[Any, ...]) -> Any:
        """A value of a modality as the data of the model have it.

        Raises:
            UserError: If there is no such choice.
        """

    @abstractmethod
    def words(self, modality: str, chosen: tuple[Any, ...]) -> str:
        """What such a value shows."""

    @abstractmethod
    def truth(self, chosen: Chosen) -> dict[str, dict[str, str | None]]:
        """Question -> view -> the class that is right; None where there is none."""

    @abstractmethod
    def rows(self, role: Literal["train", "test"], most: int) -> ComposedRows:
        """Rows to fit probes on, or held-out ones; at most so many."""

    def names(self, modality: str, chosen: np.ndarray) -> tuple[str, ...]:
        """The choices of a row of [`ComposedRows.chosen`] in words."""
        return tuple(
            factor.choices[number] for factor, number in zip(self.factors[modality], chosen.tolist(), strict=False)
        )
