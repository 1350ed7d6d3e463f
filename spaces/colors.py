"""What the points of a map can be colored by: the labels of the rows."""

from collections import Counter
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from page import PALETTE, short

from hf_latent.data.loaded import Label
from hf_latent.data.sample import Sample

GRAY = "#8A8A8A"  # of rows whose label is missing
OTHERS = "#B8B8B8"  # of classes that are not among the commonest
CLASS_COLORS = (*(color for color in PALETTE if color != GRAY), "#8CB900", "#E0455E", "#17BECF")
MOST_CHOICES = 60  # of which one is chosen, for classes of multilabels
MISSING = "not known"


@dataclass(frozen=True)
class Group:
    """Rows of one color.

    Attributes:
        name: In the legend.
        color: As CSS has it.
        rows: Which.
    """

    name: str
    color: str
    rows: np.ndarray

    @property
    def is_below(self) -> bool:
        """Whether it is drawn below the others, and named after them: it is no class of its own."""
        return self.color in (GRAY, OTHERS)


@dataclass(frozen=True)
class Coloring:
    """How rows are colored.

    Attributes:
        groups: The rows of each color; of numbers, those whose number is missing alone.
        numbers: `(rows,)` floats that are drawn on a scale, NaN where missing; None of classes.
        title: What they are.
    """

    groups: tuple[Group, ...]
    numbers: np.ndarray | None = None
    title: str = ""

    def told(self) -> dict[int, str]:
        """Of each row what it is, to be said behind its words."""
        found = {int(row): f" · {self.title}: {group.name}" for group in self.groups for row in group.rows}
        if self.numbers is not None:
            known = np.flatnonzero(~np.isnan(self.numbers)).tolist()
            found |= {row: f" · {self.title}: {self.numbers[row]:.4g}" for row in known}
        return found


def colorings(sample: Sample) -> dict[str, Coloring]:
    """What to choose from, by what it is called: classes, numbers, and each class of a multilabel. Texts are not."""
    found: dict[str, Coloring] = {}
    for name, label in sample.labels.items():
        title, values = short(label.title or name), sample.known[name]
        if label.kind == "class":
            found[title] = Coloring(tuple(of_classes(label, values)), title=title)
        elif label.kind == "number":
            finite = np.isfinite(values)
            missing = (Group(MISSING, GRAY, np.flatnonzero(~finite)),) if not finite.all() else ()
            if finite.any():
                found[title] = Coloring(missing, np.where(finite, values, np.nan), title)
        elif label.kind == "multilabel":
            for number in np.argsort(-values.sum(0), kind="stable")[:MOST_CHOICES].tolist():
                if values[:, number].any():
                    found[f"{title}: {short(label.title_of(label.names[number]))}"] = of_one(
                        label, values, number, title
                    )
    return found


def of_classes(label: Label, values: np.ndarray) -> list[Group]:
    """Of each class its rows; of more classes than there are colors, the commonest have one."""
    counts = Counter(values[values >= 0].tolist())
    kept = set(counts) if label.colors else {number for number, _ in counts.most_common(len(CLASS_COLORS))}
    if len(kept) < len(counts):
        kept = {number for number, _ in counts.most_common(len(CLASS_COLORS) - 1)}
    found = []
    for place, number in enumerate(sorted(kept)):
        color = label.colors[number] if label.colors else CLASS_COLORS[place]
        found.append(Group(short(label.title_of(label.names[number])), color, np.flatnonzero(values == number)))
    others = [number for number in counts if number not in kept]
    if others:
        found.append(Group(f"{len(others)} other classes", OTHERS, np.flatnonzero(np.isin(values, others))))
    if (values < 0).any():
        found.append(Group(MISSING, GRAY, np.flatnonzero(values < 0)))
    return found


def of_one(label: Label, values: np.ndarray, number: int, title: str) -> Coloring:
    """The rows that have one class of a multilabel, and the others."""
    name = short(label.title_of(label.names[number]))
    has = values[:, number]
    groups = [Group(name, CLASS_COLORS[0], np.flatnonzero(has)), Group(f"not {name}", OTHERS, np.flatnonzero(~has))]
    return Coloring(tuple(group for group in groups if len(group.rows)), title=title)


def color_scale(coloring: Coloring) -> dict[str, Any]:
    """The options of Plotly's markers for numbers."""
    numbers: Any = coloring.numbers
    low, high = float(np.nanmin(numbers)), float(np.nanmax(numbers))
    bar = {"title": {"text": escape(coloring.title, quote=False), "side": "right"}, "thickness": 12, "outlinewidth": 0}
    return {"colorscale": "Viridis", "cmin": low, "cmax": high if high > low else low + 1, "colorbar": bar}
