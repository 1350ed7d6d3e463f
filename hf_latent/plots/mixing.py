"""Figures of models between two."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from .look import BARS, MARKERS, save_png, style_panel, titled_panels


@dataclass(frozen=True)
class Mixed:
    """What the mixtures of two models reach.

    Attributes:
        title: What it is.
        values: In percent, one a weight.
        chance: A dashed line; None for none.
    """

    title: str
    values: Sequence[float]
    chance: float | None = None


def plot_mixing(measures: Sequence[Mixed], weights: Sequence[float], path: str | Path) -> Path:
    """Measures of the mixtures of two models against the weight of the second.

    Args:
        measures: One or more, of a value a weight.
        weights: From 0 to 1.
        path: Where the PNG goes.

    Raises:
        ValueError: no measure, another number of values than of weights, or the path does not end in `.png`.
    """
    return save_png(mixing_figure(measures, weights), path)


def mixing_figure(measures: Sequence[Mixed], weights: Sequence[float]) -> Figure:
    """The figure of `plot_mixing`."""
    if not measures or any(len(measure.values) != len(weights) for measure in measures):
        raise ValueError("Give one measure at least, and a value of each for every weight.")
    figure, (panel,) = titled_panels("Between two models", 1, 1, (8.0, 4.6))
    for number, measure in enumerate(measures):
        color, marker = BARS[number % len(BARS)], MARKERS[number % len(MARKERS)]
        panel.plot(weights, measure.values, color=color, marker=marker, lw=1.8, markersize=5, label=measure.title)
        if measure.chance is not None:
            panel.axhline(measure.chance, color=color, ls="--", lw=1.0, alpha=0.7)
    style_panel(panel, "Dashed: chance", "weight of the second model", "%")
    panel.set_ylim(0, 103)
    panel.set_xlim(-0.02, 1.02)
    panel.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=10, frameon=False)
    return figure
