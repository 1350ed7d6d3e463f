"""Figures of numbers: losses of a run, interactions and accuracies of several, and the price of alignment."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, MaxNLocator
from numpy.typing import ArrayLike

from ..metrics.information import aligned_encoders, alignment_cost, information_gap
from .look import BARS, GREY, MARKERS, save_png, style_panel, titled_panels

MAX_RUNS = 6
PERCENT = 100.0


@dataclass(frozen=True)
class Bars:
    """The bars of a panel.

    Attributes:
        unit: What the axis says.
        runs: run -> measure -> (value, chance). Measures stand in the order in which they first come; one that a run
            has not takes no place. A value of NaN is "n/a", a chance of NaN is not drawn.
        top: The end of the axis, which begins at 0.
    """

    unit: str
    runs: Mapping[str, Mapping[str, tuple[float, float]]]
    top: float = PERCENT

    @property
    def measures(self) -> list[str]:
        return list(dict.fromkeys(measure for scores in self.runs.values() for measure in scores))

    @property
    def width(self) -> float:
        """Of all bars, which are one apart, in groups that are 0.9 more apart."""
        return sum(map(len, self.runs.values())) + 0.9 * len(self.measures)

    def places(self) -> tuple[dict[tuple[str, str], float], list[float]]:
        """Where the bar of each run and measure stands, and the middle of each measure."""
        places: dict[tuple[str, str], float] = {}
        centers, place = [], 0.0
        for measure in self.measures:
            having = [name for name, scores in self.runs.items() if measure in scores]
            places |= {(name, measure): place + index for index, name in enumerate(having)}
            centers.append(place + (len(having) - 1) / 2)
            place += len(having) + 0.9
        return places, centers


def plot_losses(log_history: Sequence[Mapping[str, Any]], path: str | Path) -> Path:
    """Total loss and each of its terms against the optimizer step, one panel each with its own scale.

    Args:
        log_history: the Trainer's `state.log_history`; entries with `step` and any of `loss` and `loss_*` are drawn,
            the others (evaluation, the final summary) are skipped. One entry is enough.
        path: where the PNG goes.

    Raises:
        ValueError: no entry holds `loss` and `step`, or the path does not end in `.png`.
    """
    return save_png(losses_figure(log_history), path)


def plot_interactions(runs: Mapping[str, Mapping[str, tuple[float, float]]], path: str | Path) -> Path:
    """Redundancy, uniqueness and synergy of each run as grouped bars, with dashed chance lines.

    Args:
        runs: run -> measure -> (macro accuracy in percent, chance); 1 to 6 runs. A NaN value is "n/a".
        path: where the PNG goes.

    Raises:
        ValueError: no run, more than 6, a value outside 0..100, or the path does not end in `.png`.
    """
    return save_png(interactions_figure(runs), path)


def plot_comparison(panels: Mapping[str, Bars], runs: Sequence[str], path: str | Path) -> Path:
    """What runs reach of each measure as bars side by side, a panel for each kind of measure.

    A run has the same color in all panels; one that no panel has is named in the legend as not measured.

    Args:
        panels: title -> its bars, in the order of drawing.
        runs: the names of all runs; 1 to 6.
        path: where the PNG goes.

    Raises:
        ValueError: no run, more than 6, no measure, a value outside of its axis, or the path does not end in `.png`.
    """
    return save_png(comparison_figure(panels, runs), path)


def plot_information_gap(families: Mapping[str, Sequence[ArrayLike]], path: str | Path) -> Path:
    """What perfect alignment costs at least, of each joint distribution, against its information gap, the lower bound.

    Theorem 3.1 of Jiang et al. (arXiv 2303.05952); a point is the best pair of perfectly aligned encoders.

    Args:
        families: name -> distributions p(x_T, x_V, y), as `metrics.information` takes them; 1 to 6 families.
        path: where the PNG goes.

    Raises:
        ValueError: no family, more than 6, an empty one, what is no distribution, or the path does not end in `.png`.
    """
    return save_png(information_gap_figure(families), path)


def losses_figure(log_history: Sequence[Mapping[str, Any]]) -> Figure:
    """The figure of `plot_losses`."""
    entries = [entry for entry in log_history if "step" in entry]
    if not any("loss" in entry for entry in entries):
        raise ValueError('The log history has no entry with "loss" and "step": nothing was logged in training yet.')
    terms = sorted({key for entry in entries for key in entry if key.startswith("loss_")})
    names = ["loss", *terms]
    columns = 2 if len(names) == 4 else min(3, len(names))
    rows = ceil(len(names) / columns)
    figure, panels = titled_panels(
        "Training loss and its terms" if terms else "Training loss", rows, columns, (4.2, 3.0)
    )
    for index, (panel, name) in enumerate(zip(panels, names, strict=False)):
        steps = [entry["step"] for entry in entries if name in entry]
        values = [float(entry[name]) for entry in entries if name in entry]
        marker = "o" if len(steps) <= 25 else None  # a line of one point is invisible
        panel.plot(steps, values, color=BARS[0] if index == 0 else BARS[5], lw=1.8, marker=marker, markersize=5)
        title = "total" if index == 0 else name.removeprefix("loss_").replace("_", " ")
        style_panel(
            panel, f"{title} (last {values[-1]:.4g})", "optimizer step", "loss" if index % columns == 0 else ""
        )
        panel.ticklabel_format(axis="y", useOffset=False)
        panel.xaxis.set_major_locator(FixedLocator(steps) if len(set(steps)) == 1 else MaxNLocator(5, integer=True))
    return figure


def interactions_figure(runs: Mapping[str, Mapping[str, tuple[float, float]]]) -> Figure:
    """The figure of `plot_interactions`."""
    title = "Multimodal interactions read by linear probes"
    return _bars_figure(title, {"": Bars("macro accuracy (%)", dict(runs))}, list(runs))


def comparison_figure(panels: Mapping[str, Bars], runs: Sequence[str]) -> Figure:
    """The figure of `plot_comparison`."""
    return _bars_figure("", dict(panels), runs)


def _bars_figure(title: str, bars: Mapping[str, Bars], runs: Sequence[str]) -> Figure:
    """A panel below the other for each kind of measure, all bars of one width."""
    if not 1 <= len(runs) <= MAX_RUNS or not bars or not all(part.measures for part in bars.values()):
        raise ValueError(f"Give 1 to {MAX_RUNS} runs to compare, one measure at least; got {len(runs)}.")
    colors = dict(zip(runs, BARS, strict=False))
    widest = max(part.width for part in bars.values())
    width = max(7.5, widest * 0.48 + 1.0)
    figure, panels = titled_panels(title, len(bars), 1, (width, 4.2 if len(bars) == 1 else 3.2))
    for panel, (heading, part) in zip(panels, bars.items(), strict=True):
        _draw_bars(panel, part, colors)
        style_panel(panel, heading, "", part.unit)
        panel.set_title(heading, fontsize=12, pad=16)  # above the number of a bar of 100 %
        panel.tick_params(axis="x", length=0, labelsize=10)
        middle = (part.width - 1.9) / 2  # of the first and the last bar
        panel.set(xlim=(middle - widest / 2, middle + widest / 2), ylim=(0, part.top))
    measured = {name for part in bars.values() for name, scores in part.runs.items() if scores}
    entries: list[Patch | Line2D] = [
        Patch(color=color, label=name if name in measured else f"{name}: nothing measured")
        for name, color in colors.items()
    ]
    cells = [cell for part in bars.values() for scores in part.runs.values() for cell in scores.values()]
    if not all(np.isnan(chance) for _, chance in cells):
        entries.append(Line2D([], [], ls="--", color="black", lw=1.3, label="chance"))
    _legend_below(figure, entries, width)
    return figure


def _draw_bars(panel: Axes, bars: Bars, colors: Mapping[str, str]) -> None:
    places, centers = bars.places()
    for name, scores in bars.runs.items():
        if not scores:
            continue
        own = [places[name, measure] for measure in scores]
        values, chances = (np.array(column, dtype=float) for column in zip(*scores.values(), strict=True))
        if (values < 0).any() or (values > bars.top).any():
            raise ValueError(f"The scores of run {name!r} must lie in 0 to {bars.top:g}; got {values.tolist()}.")
        known = ~np.isnan(values)
        panel.bar(np.array(own)[known], values[known], width=0.88, color=colors[name], label=name, zorder=2)
        told = ~np.isnan(chances)
        ends = np.array(own)[told] - 0.44, np.array(own)[told] + 0.44
        panel.hlines(chances[told], *ends, "black", "--", lw=1.3, zorder=3)
        for x, value, level in zip(own, values, chances, strict=True):
            _bar_label(panel, x, value, level, bars.top)
    panel.set_xticks(centers, [measure.replace(" ", "\n") for measure in bars.measures])


def information_gap_figure(families: Mapping[str, Sequence[ArrayLike]]) -> Figure:
    """The figure of `plot_information_gap`."""
    if not 1 <= len(families) <= len(BARS) or not all(map(len, families.values())):
        raise ValueError(f"Give 1 to {len(BARS)} families of distributions, one distribution at least in each.")
    figure, (panel,) = titled_panels("What perfect alignment costs at least", 1, 1, (6.4, 4.6))
    for index, (name, joints) in enumerate(families.items()):
        gaps = [information_gap(joint) for joint in joints]
        costs = [alignment_cost(joint, *aligned_encoders(joint)) for joint in joints]
        style: dict[str, Any] = {"color": BARS[index], "marker": MARKERS[index], "label": name}
        panel.plot(gaps, costs, ls="", markersize=6, clip_on=False, zorder=3, **style)
    panel.margins(0.04)
    end = max(panel.get_xlim()[1], 0.1)
    panel.set(xlim=(0, end), ylim=(0, max(panel.get_ylim()[1], end)))
    panel.plot([0, end], [0, end], "--", color="black", lw=1.3, label="bound: cost = gap")
    panel.fill_between([0, end], [0, end], color=GREY, alpha=0.12, lw=0, label="impossible")
    style_panel(panel, "", "information gap (nats)", "extra cross-entropy of aligned encoders (nats)")
    handles, labels = panel.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    return figure


def _legend_below(figure: Figure, handles: Sequence[Patch | Line2D], width: float) -> None:
    labels = [str(handle.get_label()) for handle in handles]
    entry = 0.7 + 0.09 * max(map(len, labels))  # inches, at this font size
    columns = max(1, min(len(labels), int(width / entry)))
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False, fontsize=10)


def _bar_label(panel: Axes, x: float, value: float, chance: float, top: float) -> None:
    exact = "100" if value > 99.95 else f"{value:.1f}" if top == PERCENT else f"{value:.2f}"
    text, color = ("n/a", GREY) if np.isnan(value) else (exact, "black")
    base = 0.0 if np.isnan(value) else value
    base = chance if chance - 0.07 * top < base < chance else base  # above the chance line, not across it
    style: dict[str, Any] = {"ha": "center", "va": "bottom", "fontsize": 9, "color": color}
    panel.annotate(text, (x, base), (0, 2), textcoords="offset points", annotation_clip=False, **style)
