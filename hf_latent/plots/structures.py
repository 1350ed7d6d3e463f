"""Figures of a study: what structures keep, and what they are worth to a model that is fine-tuned afterwards."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .look import BARS, CLASSES, GREY, MARKERS, distinct_colors, save_png, style_panel, titled_panels

MAX_STRUCTURES = len(CLASSES) * len(MARKERS)
CHANCE = {"zero_shot_top1": 1.0, "probe_texture": 10.0}  # of 100 captions, and of 10 textures

Cell = Mapping[str, float]  # "mean" and "std"


def plot_trade_offs(summary: Mapping[str, Mapping[str, Mapping[str, float]]], path: str | Path) -> Path:
    """What structures keep: shared information, by zero-shot classification, against private, by a probe.

    Args:
        summary: structure -> metric -> `{"mean", "std", ...}`, as `study.run_study` gives it. Of each structure are
            drawn `zero_shot_top1` against `probe_texture`, and `gap_centroid` against `cka`, with bars of one standard
            deviation. What a probe reads of the embedding and the independent one side by side, `probe_texture_full`,
            is a hollow point above or below. Axes have the range of what they measure, dashed lines are chance.
        path: where the PNG goes.

    Raises:
        ValueError: no structure, more than 70, nothing measured, or the path does not end in `.png`.
    """
    return save_png(trade_offs_figure(summary), path)


def plot_fine_tuned(summary: Mapping[str, Mapping[str, Mapping[str, float]]], path: str | Path) -> Path:
    """What structures reach once they are fine-tuned: a panel for each measure, a row for each structure.

    Args:
        summary: structure -> measure -> `{"mean", "std", "chance"}`, in percent; 1 to 70 structures. A point has a bar
            of one standard deviation, a panel a dashed line at chance, the highest of its structures. Measures stand
            in the order in which they first come; a structure may lack one.
        path: where the PNG goes.

    Raises:
        ValueError: no structure, more than 70, no measure, or the path does not end in `.png`.
    """
    return save_png(fine_tuned_figure(summary), path)


def trade_offs_figure(summary: Mapping[str, Mapping[str, Mapping[str, float]]]) -> Figure:
    """The figure of `plot_trade_offs`."""
    _check_count(summary)
    shared = {name: row for name, row in summary.items() if {"zero_shot_top1", "probe_texture"} <= set(row)}
    spaces = {name: row for name, row in summary.items() if {"gap_centroid", "cka"} <= set(row)}
    if not shared and not spaces:
        raise ValueError("No structure has zero_shot_top1 and probe_texture, nor gap_centroid and cka.")
    looks: dict[str, dict[str, Any]] = {
        name: {"color": color, "marker": MARKERS[order % len(MARKERS)], "markersize": 8, "capsize": 2, "lw": 1}
        for order, (name, color) in enumerate(zip(summary, distinct_colors(len(summary)), strict=True))
    }
    title = "What the structure of the latent space keeps"
    figure, panels = titled_panels(title, 1, bool(shared) + bool(spaces), (5.4, 4.6))
    left = iter(panels)
    if shared:
        _draw_shared(next(left), shared, looks)
    if spaces:
        panel = next(left)
        for name, row in spaces.items():
            _point(panel, row["gap_centroid"], row["cka"], looks[name])
        style_panel(panel, "geometry", "modality gap (distance of the means)", "linear CKA")
        panel.set(xlim=(-0.02, _end(row["gap_centroid"] for row in spaces.values())), ylim=(0, 1.03))
    drawn = {name: look for name, look in looks.items() if name in shared or name in spaces}
    for name, look in drawn.items():  # no points, but entries of the legend: a structure may stand in one panel only
        panels[0].errorbar([], [], ls="none", label=name, **look)
    if any("probe_texture_full" in row for row in shared.values()):
        for of, fill in (("filled: texture on z", GREY), ("hollow: texture on [z, independent]", "white")):
            panels[0].plot([], [], marker="o", mfc=fill, mec=GREY, ls="none", markersize=8, label=of)
    if shared:
        panels[0].plot([], [], "--", color="black", lw=1.3, label="chance")
    columns = 4 if len(panels) > 1 else 2
    figure.legend(loc="outside lower center", ncols=columns, frameon=False, fontsize=9)
    return figure


def _draw_shared(panel: Axes, summary: Mapping[str, Mapping[str, Cell]], looks: Mapping[str, dict[str, Any]]) -> None:
    """Zero-shot accuracy against the texture probe, on all of the percent."""
    for name, row in summary.items():
        x, y, full = row["zero_shot_top1"], row["probe_texture"], row.get("probe_texture_full")
        if full is not None:
            line: dict[str, Any] = {"color": looks[name]["color"], "lw": 1, "ls": ":"}
            panel.plot([x["mean"]] * 2, [y["mean"], full["mean"]], **line)
            _point(panel, x, full, looks[name] | {"mfc": "white"})
        _point(panel, x, y, looks[name])
    panel.axvline(CHANCE["zero_shot_top1"], color="black", ls="--", lw=1.3)
    panel.axhline(CHANCE["probe_texture"], color="black", ls="--", lw=1.3)
    style_panel(panel, "information", "shared: zero-shot, top 1 (%)", "private: texture probe (%)")
    panel.set(xlim=(0, 103), ylim=(0, 103))


def _point(panel: Axes, x: Cell, y: Cell, look: dict[str, Any]) -> None:
    panel.errorbar(x["mean"], y["mean"], xerr=x["std"], yerr=y["std"], ls="none", **look)


def _end(gaps: Iterable[Cell]) -> float:
    """The end of an axis of gaps: 1, or 2, the most that there is."""
    return 1.0 if all(gap["mean"] + gap["std"] <= 1 for gap in gaps) else 2.05


def fine_tuned_figure(summary: Mapping[str, Mapping[str, Mapping[str, float]]]) -> Figure:
    """The figure of `plot_fine_tuned`."""
    _check_count(summary)
    measures = list(dict.fromkeys(measure for row in summary.values() for measure in row))
    if not measures:
        raise ValueError("No structure has a measure.")
    size = (max(2.5, 6 / len(measures)), 0.3 * len(summary) + 1.3)  # wide enough for the title
    figure, panels = titled_panels("After fine-tuning: accuracy on held-out data", 1, len(measures), size)
    look: dict[str, Any] = {"color": BARS[0], "marker": "o", "markersize": 7, "capsize": 2, "lw": 1.2}
    for panel, measure in zip(panels, measures, strict=True):
        cells = {place: row[measure] for place, row in enumerate(summary.values()) if measure in row}
        for place, cell in cells.items():
            panel.errorbar(cell["mean"], place, xerr=cell["std"], **look)
        panel.axvline(max(cell["chance"] for cell in cells.values()), color="black", ls="--", lw=1.3)
        style_panel(panel, measure.replace("_", "/"), "accuracy (%)", "")
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
