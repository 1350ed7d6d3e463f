"""What a benchmark finds, with all that a card, a table or a figure says of it."""

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

Better = Literal["higher", "lower", "none"]
Information = Literal["redundant", "unique", "synergistic", ""]


@dataclass(frozen=True)
class Group:
    """Measurements that belong together in a card.

    Attributes:
        title: Their heading.
        text: What all of them are.
        order: Where they stand, from 0, what the model can do, to 100, what its space looks like.
        structure: They describe the space, and no task.
    """

    title: str
    text: str = ""
    order: int = 50
    structure: bool = False


@dataclass(frozen=True)
class Measurement:
    """One number, and how to read it.

    Attributes:
        key: Its name in `metrics.json`.
        value: In `unit`.
        title: What it tells, in words.
        group: The name of its [`Group`]; "" of a plain number, which nothing shows.
        unit: `%`, `rank`, or nothing.
        chance: What the best constant answer reaches on the same rows; None where there is no such thing.
        better: Whether a `higher` or a `lower` value is better, or neither.
        rows: How many rows were measured.
        start: What the model reached on them before training, where that was measured.
        reading: How to read it, where there is no chance level.
        headline: Whether tables show it.
        short: What heads its column, and stands below its bar; figures show what has one, too.
        metric: The type of the metric in a model card's index; `baseline` of what is no result of the model, which the
            index leaves out.
        task: The task that it belongs to there.
        information: Which part of the information of several modalities it tells: what they share (`redundant`), what
            one of them has alone (`unique`), or what only all together tell (`synergistic`), where that is known.
        data: The benchmark file whose data were measured on; "" of the run's own data.
        outcomes: `(rows,)`, whether each row is right, or its error, where the value is their mean.
    """

    key: str
    value: float
    title: str
    group: str
    unit: str = ""
    chance: float | None = None
    better: Better = "higher"
    rows: int | None = None
    start: float | None = None
    reading: str = ""
    headline: bool = False
    short: str = ""
    metric: str = "accuracy"
    task: str = "feature-extraction"
    information: Information = ""
    data: str = ""
    outcomes: np.ndarray | None = field(default=None, compare=False, repr=False)

    def cell(self, value: float | None) -> str:
        """A value as tables print it."""
        if value is None:
            return "n/a"
        return f"{value:.1f}" if self.unit == "%" else f"{value:g}" if self.unit == "rank" else f"{value:.3f}"

    def described(self) -> dict[str, Any]:
        """What `metrics.json` keeps beside the value; what is empty is left out."""
        kept = (
            "title",
            "group",
            "unit",
            "chance",
            "better",
            "rows",
            "start",
            "reading",
            "headline",
            "short",
            "metric",
        )
        found = {name: getattr(self, name) for name in (*kept, "task", "information", "data")}
        return {name: value for name, value in found.items() if value not in (None, "") and value is not False}
