"""The look that all figures share."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import XKCD_COLORS, to_hex
from matplotlib.figure import Figure

from ..files import replace

DPI = 150
GREY = "#666666"
# Okabe and Ito's palette (2008) for bars and lines, Tol's "muted" one (2021) for the many classes of a map: both are
# told apart with the common color-vision deficiencies. Markers are a second cue; 10 x 7 pairs differ.
BARS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
CLASSES = (
    "#332288",
    "#DDCC77",
    "#117733",
    "#CC6677",
    "#88CCEE",
    "#882255",
    "#44AA99",
    "#000000",
    "#AA4499",
    "#999933",
)
MARKERS = ("o", "s", "^", "D", "v", "P", "X")


def distinct_colors(count: int) -> list[str]:
    """As many different colors: those of `CLASSES`, or of a color map where these are too few."""
    if count <= len(CLASSES):
        return list(CLASSES[:count])
    return [to_hex(color) for color in colormaps["turbo"](np.linspace(0.02, 0.98, count))]


def named_colors(names: Sequence[str]) -> list[str] | None:
    """The colors that all of these names are names of, "red" or "ocean blue"; None where one of them is none."""
    found = [XKCD_COLORS.get(f"xkcd:{name.lower()}") for name in names]
    colors = [to_hex(color) for color in found if color is not None]
    return colors if len(colors) == len(found) else None


def titled_panels(title: str, rows: int, columns: int, size: tuple[float, float]) -> tuple[Figure, list[Axes]]:
    """A titled figure of equal panels, hidden until styled; `size` is one panel's, in inches."""
    figure = Figure(figsize=(size[0] * columns, size[1] * rows + 0.5), dpi=DPI)
    figure.set_layout_engine("constrained", w_pad=0.1, h_pad=0.1)
    figure.suptitle(title, fontsize=14, fontweight="bold")
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for panel in panels:
        panel.set_visible(False)
    return figure, panels


def style_panel(panel: Axes, title: str, xlabel: str, ylabel: str) -> None:
    """The look that all panels share; a panel is shown once it is styled."""
    panel.set_visible(True)
    panel.set_title(title, fontsize=12)
    panel.set_xlabel(xlabel, fontsize=11)
    panel.set_ylabel(ylabel, fontsize=11)
    panel.tick_params(labelsize=10)
    panel.spines[["top", "right"]].set_visible(False)
    panel.set_axisbelow(True)
    panel.grid(axis="y", alpha=0.3)


def save_png(figure: Figure, path: str | Path) -> Path:
    path = Path(path)
    if path.suffix != ".png":
        raise ValueError(f"Figures are written as PNG; give a path that ends in .png, not {path}.")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        figure.savefig(partial, format="png", dpi=DPI)
        replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return path
