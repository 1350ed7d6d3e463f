"""Figures of a study: what structures keep, and what they are worth to a model that is fine-tuned afterwards."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from .look import BARS, CLASSES, MARKERS, save_png, style_panel, titled_panels

MAX_STRUCTURES = len(CLASSES) * len(MARKERS)


def plot_trade_offs(summary: Mapping[str, Mapping[str, Mapping[str, float]]], path: str | Path) -> Path:
    """What structures keep: shared information, by zero-shot classification, against private, by a probe.

    Args:
        summary: structure -> metric -> `{"mean", "std", ...}`, as `study.run_study` gives it. Of each structure are
            drawn `zero_shot_top1` against `probe_texture_full`, or `probe_texture` where it has no independent
            embedding, with bars of one standard deviation; and `gap_centroid` against `cka`.
        path: where the PNG goes.

    Raises:
        ValueError: no structure, more than 70, or the path does not end in `.png`.
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
    figure, (shared, space) = titled_panels("What the structure of the latent space keeps", 1, 2, (5.4, 4.6))
    for order, (name, row) in enumerate(summary.items()):
        private = row.get("probe_texture_full", row.get("probe_texture"))
        look: dict[str, Any] = {
            "color": CLASSES[order % len(CLASSES)],
            "marker": MARKERS[order % len(MARKERS)],
            "markersize": 8,
            "capsize": 2,
            "lw": 1,
            "ls": "none",
            "label": name,
        }
        for panel, x, y in (
            (shared, row.get("zero_shot_top1"), private),
            (space, row.get("gap_centroid"), row.get("cka")),
        ):
            if x is not None and y is not None:
                panel.errorbar(x["mean"], y["mean"], xerr=x["std"], yerr=y["std"], **look)
    style_panel(shared, "information", "shared: zero-shot, top 1 (%)", "private: texture probe (%)")
    style_panel(space, "geometry", "modality gap (distance of the means)", "linear CKA")
    handles, labels = shared.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    return figure


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
