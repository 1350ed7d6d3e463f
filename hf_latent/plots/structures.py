"""Figures of a study: measures against each other, and side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .look import BARS, CLASSES, GREY, MARKERS, distinct_colors, save_png, style_panel, titled_panels

MAX_STRUCTURES = len(CLASSES) * len(MARKERS)

Cell = Mapping[str, float]  # "mean" and "std", and what else a figure says
Summary = Mapping[str, Mapping[str, Cell]]


@dataclass(frozen=True)
class Axis:
    """A measure that structures are drawn along.

    Attributes:
        key: Of the measure in a summary.
        title: What it is, in words.
        unit: `%`, on an axis of 0 to 100, or nothing.
        chance: A dashed line; None for none.
        full: Of a vertical axis, the key of the same measure of an embedding with its independent one, a hollow point.
    """

    key: str
    title: str
    unit: str = ""
    chance: float | None = None
    full: str | None = None


def plot_trade_offs(summary: Summary, axes: Sequence[tuple[Axis, Axis]], path: str | Path) -> Path:
    """What structures keep: measures against each other, a panel for each pair.

    Args:
        summary: structure -> measure -> `{"mean", "std", ...}`, as `study.run_study` gives it; a point has bars of one
            standard deviation. A structure that lacks one of two measures is not in their panel.
        axes: The horizontal and the vertical axis of each panel.
        path: where the PNG goes.

    Raises:
        ValueError: no structure, more than 70, no panel that a structure is in, or the path does not end in `.png`.
    """
    return save_png(trade_offs_figure(summary, axes), path)


def plot_rows(summary: Summary, title: str, path: str | Path, axis: str = "accuracy (%)") -> Path:
    """What structures reach: a panel for each measure, a row for each structure.

    Args:
        summary: structure -> measure -> `{"mean", "std", "chance"}`, in percent; 1 to 70 structures. A point has a bar
            of one standard deviation, a panel a dashed line at chance, the highest of its structures. Measures stand
            in the order in which they first come; a structure may lack one.
        title: Of the figure.
        path: where the PNG goes.
        axis: What is measured, and its unit.

    Raises:
        ValueError: no structure, more than 70, no measure, or the path does not end in `.png`.
    """
    return save_png(rows_figure(summary, title, axis), path)


def trade_offs_figure(summary: Summary, axes: Sequence[tuple[Axis, Axis]]) -> Figure:
    """The figure of `plot_trade_offs`."""
    _check_count(summary)
    rows = [{name: row for name, row in summary.items() if {x.key, y.key} <= set(row)} for x, y in axes]
    drawn = [(x, y, having) for (x, y), having in zip(axes, rows, strict=True) if having]
    if not drawn:
        raise ValueError("No structure has two measures that are drawn against each other.")
    looks: dict[str, dict[str, Any]] = {
        name: {"color": color, "marker": MARKERS[order % len(MARKERS)], "markersize": 8, "capsize": 2, "lw": 1}
        for order, (name, color) in enumerate(zip(summary, distinct_colors(len(summary)), strict=True))
    }
    title = "What the structure of the latent space keeps"
    figure, panels = titled_panels(title, 1, len(drawn), (5.4, 4.6))
    for panel, (x, y, having) in zip(panels, drawn, strict=True):
        _draw(panel, x, y, having, looks)
    for name, look in looks.items():  # no points, but entries of the legend: a structure may stand in one panel only
        if any(name in having for _, _, having in drawn):
            panels[0].errorbar([], [], ls="none", label=name, **look)
    if any(y.full in row for _, y, having in drawn for row in having.values()):
        for of, fill in (("filled: on z", GREY), ("hollow: on [z, independent]", "white")):
            panels[0].plot([], [], marker="o", mfc=fill, mec=GREY, ls="none", markersize=8, label=of)
    if any(axis.chance is not None for x, y, _ in drawn for axis in (x, y)):
        panels[0].plot([], [], "--", color="black", lw=1.3, label="chance")
    columns = 4 if len(panels) > 1 else 2
    figure.legend(loc="outside lower center", ncols=columns, frameon=False, fontsize=9)
    return figure


def _draw(panel: Axes, x: Axis, y: Axis, rows: Summary, looks: Mapping[str, dict[str, Any]]) -> None:
    for name, row in rows.items():
        full = row.get(y.full) if y.full else None
        if full is not None:
            line: dict[str, Any] = {"color": looks[name]["color"], "lw": 1, "ls": ":"}
            panel.plot([row[x.key]["mean"]] * 2, [row[y.key]["mean"], full["mean"]], **line)
            _point(panel, row[x.key], full, looks[name] | {"mfc": "white"})
        _point(panel, row[x.key], row[y.key], looks[name])
    if x.chance is not None:
        panel.axvline(x.chance, color="black", ls="--", lw=1.3)
    if y.chance is not None:
        panel.axhline(y.chance, color="black", ls="--", lw=1.3)
    style_panel(panel, "", _titled(x), _titled(y))
    panel.set(xlim=_limits(x, rows), ylim=_limits(y, rows))


def _titled(axis: Axis) -> str:
    return fill(axis.title + (f" ({axis.unit})" if axis.unit else ""), 52)


def _limits(axis: Axis, rows: Summary) -> tuple[float, float]:
    """All of the percent; of another unit what there is; else 0 to 1, or to 2 where a value is above, the most that a
    distance on the sphere is."""
    if axis.unit == "%":
        return 0, 103
    if axis.unit:
        ends = [row[axis.key]["mean"] + sign * row[axis.key]["std"] for row in rows.values() for sign in (-1, 1)]
        margin = 0.05 * (max(ends) - min(ends)) or 1.0
        return min(ends) - margin, max(ends) + margin
    within = all(row[axis.key]["mean"] + row[axis.key]["std"] <= 1 for row in rows.values())
    return -0.02, 1.03 if within else 2.05


def _point(panel: Axes, x: Cell, y: Cell, look: dict[str, Any]) -> None:
    panel.errorbar(x["mean"], y["mean"], xerr=x["std"], yerr=y["std"], ls="none", **look)


def rows_figure(summary: Summary, title: str, axis: str = "accuracy (%)") -> Figure:
    """The figure of `plot_rows`."""
    _check_count(summary)
    measures = list(dict.fromkeys(measure for row in summary.values() for measure in row))
    if not measures:
        raise ValueError("No structure has a measure.")
    size = (max(2.5, 6 / len(measures)), 0.3 * len(summary) + 1.3)  # wide enough for the title
    figure, panels = titled_panels(title, 1, len(measures), size)
    look: dict[str, Any] = {"color": BARS[0], "marker": "o", "markersize": 7, "capsize": 2, "lw": 1.2}
    for panel, measure in zip(panels, measures, strict=True):
        cells = {place: row[measure] for place, row in enumerate(summary.values()) if measure in row}
        for place, cell in cells.items():
            panel.errorbar(cell["mean"], place, xerr=cell["std"], **look)
        panel.axvline(max(cell["chance"] for cell in cells.values()), color="black", ls="--", lw=1.3)
        style_panel(panel, measure, axis, "")
        panel.set_yticks(range(len(summary)), list(summary))
        panel.set(xlim=(0, 103), ylim=(len(summary) - 0.5, -0.5))  # a point at 100 is whole
        panel.tick_params(axis="y", length=0, labelleft=panel is panels[0])
    panels[0].plot([], [], "--", color="black", lw=1.3, label="chance")
    figure.legend(loc="outside lower center", frameon=False, fontsize=9)
    return figure


def _check_count(summary: Mapping[str, Any]) -> None:
    """Refuse more structures than colors and markers tell apart."""
    if not 1 <= len(summary) <= MAX_STRUCTURES:
        raise ValueError(f"Give 1 to {MAX_STRUCTURES} structures; got {len(summary)}.")
