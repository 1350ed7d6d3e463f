"""The pictures that cards, reports and the Space share.

Each `plot_*` writes a PNG, whole or not at all, and returns its path; each `*_figure` builds the same picture as a
`matplotlib.figure.Figure`. No pyplot: nothing global is changed and no display is needed.
"""

from .charts import (
    MAX_RUNS,
    PERCENT,
    Bars,
    comparison_figure,
    information_gap_figure,
    interactions_figure,
    losses_figure,
    plot_comparison,
    plot_information_gap,
    plot_interactions,
    plot_losses,
)
from .curves import Curve, curves_figure, plot_curves
from .grounding import grounding_figure, plot_grounding
from .latent_map import explained_variance, latent_map_figure, plot_latent_map, principal_components, two_dimensions
from .look import BARS, DPI
from .mixing import Mixed, mixing_figure, plot_mixing
from .predictions import plot_predictions, predictions_figure
from .structures import Axis, plot_rows, plot_trade_offs, rows_figure, trade_offs_figure

__all__ = [
    "Axis",
    "BARS",
    "DPI",
    "MAX_RUNS",
    "PERCENT",
    "Bars",
    "Curve",
    "Mixed",
    "comparison_figure",
    "curves_figure",
    "explained_variance",
    "grounding_figure",
    "information_gap_figure",
    "interactions_figure",
    "latent_map_figure",
    "losses_figure",
    "plot_comparison",
    "plot_curves",
    "plot_grounding",
    "mixing_figure",
    "plot_information_gap",
    "plot_interactions",
    "plot_latent_map",
    "plot_losses",
    "plot_mixing",
    "plot_predictions",
    "plot_rows",
    "plot_trade_offs",
    "predictions_figure",
    "principal_components",
    "rows_figure",
    "trade_offs_figure",
    "two_dimensions",
]
