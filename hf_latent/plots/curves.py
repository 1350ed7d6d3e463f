"""Figures of what was measured step by step."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .look import BARS, save_png, style_panel, titled_panels


@dataclass(frozen=True)
class Curve:
    """One measure over the steps of training.

    Attributes:
        title: What it is.
        points: (optimizer step, value).
        unit: `%`, on an axis of 0 to 100, or nothing.
        chance: A dashed line; None for none.
    """

    title: str
    points: Sequence[tuple[int, float]]
    unit: str = ""
    chance: float | None = None


def plot_curves(curves: Sequence[Curve], path: str | Path) -> Path:
    """Measures of held-out rows against the optimizer step, a panel each.

    Args:
        curves: One or more, each of one point or more.
        path: where the PNG goes.

    Raises:
        ValueError: no curve, one without points, or the path does not end in `.png`.
    """
    return save_png(curves_figure(curves), path)


def curves_figure(curves: Sequence[Curve]) -> Figure:
    """The figure of `plot_curves`."""
    if not curves or not all(curve.points for curve in curves):
        raise ValueError("Give one curve at least, and a point of each.")
    columns = 2 if len(curves) == 4 else min(3, len(curves))
    figure, panels = titled_panels("Held-out rows during training", ceil(len(curves) / columns), columns, (4.2, 3.0))
    for panel, curve in zip(panels, curves, strict=False):
        steps, values = zip(*curve.points, strict=True)
        panel.plot(steps, values, color=BARS[0], lw=1.8, marker="o" if len(steps) <= 25 else None, markersize=5)
        if curve.chance is not None:
            panel.axhline(curve.chance, color="black", ls="--", lw=1.3)
        style_panel(panel, f"{curve.title} (last {values[-1]:.4g})", "optimizer step", curve.unit)
        if curve.unit == "%":
            panel.set_ylim(0, 103)
        panel.ticklabel_format(axis="y", useOffset=False)
        panel.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    return figure
