"""Figures of a training run: losses, interactions and a map of the latent space; and of the price of alignment.

Each `plot_*` writes a PNG, whole or not at all, and returns its path; each `*_figure` builds the same picture as a
`matplotlib.figure.Figure`. No pyplot: nothing global is changed and no display is needed.
"""

import os
from collections.abc import Mapping, Sequence
from importlib import import_module
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator
from numpy.typing import ArrayLike, NDArray

from .metrics.information import aligned_encoders, alignment_cost, information_gap
from .metrics.interactions import CHANCE, TASKS

DPI = 150
MAX_RUNS = 6
TSNE_MAX_ROWS = 2000
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
TASK_TITLES = dict(zip(TASKS, ("Redundancy", "Uniqueness 1", "Uniqueness 2", "Synergy"), strict=True))


def plot_losses(log_history: Sequence[Mapping[str, Any]], path: str | Path) -> Path:
    """Total loss and each of its terms against the optimizer step, one panel each with its own scale.

    Args:
        log_history: the Trainer's `state.log_history`; entries with `step` and any of `loss` and `loss_*` are drawn,
            the others (evaluation, the final summary) are skipped. One entry is enough.
        path: where the PNG goes.

    Raises:
        ValueError: no entry holds `loss` and `step`, or the path does not end in `.png`.
    """
    return _save(losses_figure(log_history), path)


def plot_interactions(runs: Mapping[str, Mapping[str, float]], path: str | Path) -> Path:
    """Redundancy, uniqueness 1, uniqueness 2 and synergy of each run as grouped bars, with dashed chance lines.

    Args:
        runs: name -> the result of `metrics.interactions` (percent); 1 to 6 runs. A missing or NaN value is "n/a".
        path: where the PNG goes.

    Raises:
        ValueError: no run, more than 6, a value outside 0..100, or the path does not end in `.png`.
    """
    return _save(interactions_figure(runs), path)


def plot_latent_map(
    features: ArrayLike,
    factors: Mapping[str, ArrayLike],
    path: str | Path,
    class_names: Mapping[str, Sequence[str]] | None = None,
) -> Path:
    """Features in two dimensions, one panel for each factor, colored by class. Deterministic.

    Up to 2000 rows t-SNE (van der Maaten and Hinton, 2008) initialised by PCA, which needs scikit-learn; else PCA.

    Args:
        features: (N, D) floats, N >= 3.
        factors: name -> (N,) integer class ids.
        path: where the PNG goes.
        class_names: factor -> the name of class 0, 1, ...; None, or a factor left out: the ids.

    Raises:
        ValueError: shapes that do not fit, NaN or infinite features, class ids that are not integers or have no name,
            more than 70 classes, or the path does not end in `.png`.
        ImportError: scikit-learn is needed and missing.
    """
    return _save(latent_map_figure(features, factors, class_names), path)


def plot_information_gap(families: Mapping[str, Sequence[ArrayLike]], path: str | Path) -> Path:
    """What perfect alignment costs at least, of each joint distribution, against its information gap, the lower bound.

    Theorem 3.1 of Jiang et al. (arXiv 2303.05952); a point is the best pair of perfectly aligned encoders.

    Args:
        families: name -> distributions p(x_T, x_V, y), as `metrics.information` takes them; 1 to 6 families.
        path: where the PNG goes.

    Raises:
        ValueError: no family, more than 6, an empty one, what is no distribution, or the path does not end in `.png`.
    """
    return _save(information_gap_figure(families), path)


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
    return _save(trade_offs_figure(summary), path)


def trade_offs_figure(summary: Mapping[str, Mapping[str, Mapping[str, float]]]) -> Figure:
    """The figure of `plot_trade_offs`."""
    if not 1 <= len(summary) <= len(CLASSES) * len(MARKERS):
        raise ValueError(f"Give 1 to {len(CLASSES) * len(MARKERS)} structures; got {len(summary)}.")
    figure, (shared, space) = _panels("What the structure of the latent space keeps", 1, 2, (5.4, 4.6))
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
    _style(shared, "information", "shared: zero-shot, top 1 (%)", "private: texture probe (%)")
    _style(space, "geometry", "modality gap (distance of the means)", "linear CKA")
    handles, labels = shared.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    return figure


def losses_figure(log_history: Sequence[Mapping[str, Any]]) -> Figure:
    """The figure of `plot_losses`."""
    entries = [entry for entry in log_history if "step" in entry]
    if not any("loss" in entry for entry in entries):
        raise ValueError('The log history has no entry with "loss" and "step": nothing was logged in training yet.')
    terms = sorted({key for entry in entries for key in entry if key.startswith("loss_")})
    names = ["loss", *terms]
    columns = 2 if len(names) == 4 else min(3, len(names))
    rows = ceil(len(names) / columns)
    figure, panels = _panels("Training loss and its terms" if terms else "Training loss", rows, columns, (4.2, 3.0))
    for index, (panel, name) in enumerate(zip(panels, names, strict=False)):
        steps = [entry["step"] for entry in entries if name in entry]
        values = [float(entry[name]) for entry in entries if name in entry]
        marker = "o" if len(steps) <= 25 else None  # a line of one point is invisible
        panel.plot(steps, values, color=BARS[0] if index == 0 else BARS[5], lw=1.8, marker=marker, markersize=5)
        title = "total" if index == 0 else name.removeprefix("loss_").replace("_", " ")
        _style(panel, f"{title} (last {values[-1]:.4g})", "optimizer step", "loss" if index % columns == 0 else "")
        panel.ticklabel_format(axis="y", useOffset=False)
        panel.xaxis.set_major_locator(FixedLocator(steps) if len(set(steps)) == 1 else MaxNLocator(5, integer=True))
    return figure


def interactions_figure(runs: Mapping[str, Mapping[str, float]]) -> Figure:
    """The figure of `plot_interactions`."""
    if not 1 <= len(runs) <= MAX_RUNS:
        raise ValueError(f"Give 1 to {MAX_RUNS} runs to compare; got {len(runs)}.")
    spread = len(runs) + 0.9  # bars are one apart, groups 0.9 more
    width = max(7.5, len(TASK_TITLES) * spread * 0.38 + 1.0)
    figure, (panel,) = _panels("Multimodal interactions read by linear probes", 1, 1, (width, 4.2))
    centers = np.arange(len(TASK_TITLES)) * spread
    half, chance = len(runs) / 2, [CHANCE[task] for task in TASK_TITLES]
    for index, (name, scores) in enumerate(runs.items()):
        positions = centers + index + 0.5 - half
        values = np.array([scores.get(task, np.nan) for task in TASK_TITLES], dtype=float)
        if ((values < 0) | (values > 100)).any():
            raise ValueError(f"The scores of run {name!r} must be percent, 0 to 100; got {dict(scores)}.")
        known = ~np.isnan(values)
        panel.bar(positions[known], values[known], width=0.88, color=BARS[index], label=name, zorder=2)
        for x, value, level in zip(positions, values, chance, strict=True):
            _bar_label(panel, x, value, level)
    panel.hlines(chance, centers - half, centers + half, "black", "--", label="chance", lw=1.3, zorder=3)
    panel.set_xticks(centers, list(TASK_TITLES.values()))
    panel.set(xlim=(centers[0] - half - 0.4, centers[-1] + half + 0.4), ylim=(0, 100))
    _style(panel, "", "", "macro accuracy (%)")
    panel.tick_params(axis="x", length=0, labelsize=11)
    handles, labels = panel.get_legend_handles_labels()
    entry = 0.7 + 0.09 * max(map(len, labels))  # inches, at this font size
    columns = max(1, min(4, len(labels), int(width / entry)))
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False, fontsize=10)
    return figure


def latent_map_figure(
    features: ArrayLike, factors: Mapping[str, ArrayLike], class_names: Mapping[str, Sequence[str]] | None = None
) -> Figure:
    """The figure of `plot_latent_map`."""
    x = np.asarray(features, dtype=np.float64)
    if x.ndim != 2 or len(x) < 3 or not np.isfinite(x).all():
        raise ValueError(f"The features must be (N, D), N >= 3, without NaN or infinite values; got {x.shape}.")
    if not factors:
        raise ValueError("Give one factor at least, to color the map by.")
    classes = {name: _class_ids(name, ids, len(x), (class_names or {}).get(name)) for name, ids in factors.items()}
    points, method = two_dimensions(x)
    columns = 2 if len(classes) == 4 else min(3, len(classes))
    title = f"Latent space of {len(x)} rows, {method}"
    figure, panels = _panels(title, ceil(len(classes) / columns), columns, (4.6, 5.2))
    size = float(np.clip(9000 / len(x), 6, 36))
    for panel, (name, ids) in zip(panels, classes.items(), strict=False):
        names = (class_names or {}).get(name)
        for order, label in enumerate(np.unique(ids)):
            color, marker = CLASSES[order % len(CLASSES)], MARKERS[order % len(MARKERS)]
            text = str(names[label]) if names else str(label)
            px, py = points[ids == label].T
            panel.scatter(px, py, s=size, c=color, marker=marker, lw=0, alpha=0.8, label=text)
        _style(panel, f"colored by {name.replace('_', ' ')}", "", "")
        panel.grid(False)
        panel.set(xticks=[], yticks=[])
        below: dict[str, Any] = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.02), "ncols": 3}
        legend = panel.legend(frameon=False, fontsize=10, handletextpad=0.1, **below)
        for handle in legend.legend_handles:
            handle.set(sizes=[40], alpha=1)  # type: ignore[union-attr]
    return figure


def information_gap_figure(families: Mapping[str, Sequence[ArrayLike]]) -> Figure:
    """The figure of `plot_information_gap`."""
    if not 1 <= len(families) <= len(BARS) or not all(map(len, families.values())):
        raise ValueError(f"Give 1 to {len(BARS)} families of distributions, one distribution at least in each.")
    figure, (panel,) = _panels("What perfect alignment costs at least", 1, 1, (6.4, 4.6))
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
    _style(panel, "", "information gap (nats)", "extra cross-entropy of aligned encoders (nats)")
    handles, labels = panel.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    return figure


def principal_components(features: ArrayLike, count: int) -> NDArray[np.float64]:
    """(N, count) the rows of (N, D) features on the directions in which they vary most; 0 beyond the last of these."""
    x = np.asarray(features, dtype=np.float64)
    x = x - x.mean(0)
    wide = x.shape[1] > x.shape[0]
    values, vectors = np.linalg.eigh(x @ x.T if wide else x.T @ x)  # many times faster than an SVD
    values, vectors = values[::-1][:count], vectors[:, ::-1][:, :count]
    scores = vectors * np.sqrt(np.maximum(values, 0)) if wide else x @ vectors
    scores = scores * np.sign(scores[np.abs(scores).argmax(0), np.arange(scores.shape[1])])  # an axis' sign is free
    return np.pad(scores, ((0, 0), (0, count - scores.shape[1])))


def two_dimensions(features: ArrayLike) -> tuple[NDArray[np.float64], str]:
    """(N, 2) a map of (N, D) features, and how it was made: "t-SNE", or "PCA" of many rows and of equal ones."""
    scores = principal_components(features, 50)
    start = scores[:, :2]
    if len(scores) > TSNE_MAX_ROWS or start[:, 0].std() < 1e-12:
        return start, "PCA"
    try:
        manifold = import_module("sklearn.manifold")
    except ImportError as error:
        raise ImportError("A t-SNE map needs scikit-learn: pip install scikit-learn") from error
    start = (start / start[:, 0].std() * 1e-4).astype(np.float32)
    tsne = manifold.TSNE(init=start, perplexity=min(30.0, (len(scores) - 1) / 3), random_state=0)
    with import_module("threadpoolctl").threadpool_limits(1):  # comes with scikit-learn; 4 times faster than 2 threads
        return tsne.fit_transform(scores.astype(np.float32)), "t-SNE"


def _class_ids(name: str, ids: ArrayLike, rows: int, names: Sequence[str] | None) -> NDArray[Any]:
    array = np.asarray(ids)
    if array.shape != (rows,) or array.dtype.kind not in "iub":
        raise ValueError(f"Factor {name!r} must be {rows} integer class ids; got {array.dtype} {array.shape}.")
    array = array.astype(np.int64)
    if names is not None and not 0 <= array.min() <= array.max() < len(names):
        raise ValueError(f"Factor {name!r} holds ids {array.min()}..{array.max()} but {len(names)} class names.")
    if (count := len(np.unique(array))) > len(CLASSES) * len(MARKERS):
        raise ValueError(f"Factor {name!r} has {count} classes; a map tells at most 70 apart.")
    return array


def _bar_label(panel: Axes, x: float, value: float, chance: float) -> None:
    text, color = ("n/a", GREY) if np.isnan(value) else ("100" if value > 99.95 else f"{value:.1f}", "black")
    base = 0.0 if np.isnan(value) else value
    base = chance if chance - 7 < base < chance else base  # above the chance line, not across it
    style: dict[str, Any] = {"ha": "center", "va": "bottom", "fontsize": 9, "color": color}
    panel.annotate(text, (x, base), (0, 2), textcoords="offset points", annotation_clip=False, **style)


def _panels(title: str, rows: int, columns: int, size: tuple[float, float]) -> tuple[Figure, list[Axes]]:
    """A titled figure of equal panels, hidden until styled; `size` is one panel's, in inches."""
    figure = Figure(figsize=(size[0] * columns, size[1] * rows + 0.5), dpi=DPI)
    figure.set_layout_engine("constrained", w_pad=0.1, h_pad=0.1)
    figure.suptitle(title, fontsize=14, fontweight="bold")
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for panel in panels:
        panel.set_visible(False)
    return figure, panels


def _style(panel: Axes, title: str, xlabel: str, ylabel: str) -> None:
    """The look that all panels share; a panel is shown once it is styled."""
    panel.set_visible(True)
    panel.set_title(title, fontsize=12)
    panel.set_xlabel(xlabel, fontsize=11)
    panel.set_ylabel(ylabel, fontsize=11)
    panel.tick_params(labelsize=10)
    panel.spines[["top", "right"]].set_visible(False)
    panel.set_axisbelow(True)
    panel.grid(axis="y", alpha=0.3)


def _save(figure: Figure, path: str | Path) -> Path:
    path = Path(path)
    if path.suffix != ".png":
        raise ValueError(f"Figures are written as PNG; give a path that ends in .png, not {path}.")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        figure.savefig(partial, format="png", dpi=DPI)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return path
