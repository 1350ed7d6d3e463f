"""A map of the latent space, colored by factors."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from .look import CLASSES, GREY, MARKERS, distinct_colors, named_colors, save_png, style_panel, titled_panels

TSNE_MAX_ROWS = 2000


def plot_latent_map(
    features: ArrayLike,
    factors: Mapping[str, ArrayLike],
    path: str | Path,
    class_names: Mapping[str, Sequence[str]] | None = None,
) -> Path:
    """Features in two dimensions, one panel for each factor, colored by class. Deterministic.

    Classes whose names are names of colors have these; others, as many different ones.

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
    return save_png(latent_map_figure(features, factors, class_names), path)


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
    if method == "PCA":
        title += f" ({explained_variance(x, points).sum():.0%} of the variance)"
    figure, panels = titled_panels(title, ceil(len(classes) / columns), columns, (4.6, 5.2))
    size = float(np.clip(9000 / len(x), 6, 36))
    for panel, (name, ids) in zip(panels, classes.items(), strict=False):
        names = (class_names or {}).get(name)
        labels = np.unique(ids)
        texts = [str(names[label] if names else label) for label in labels]
        of_names = named_colors(texts)
        colors = of_names or distinct_colors(len(labels))
        edge: dict[str, Any] = {"lw": 0.4 if of_names else 0, "edgecolors": GREY}  # white is seen on white
        for order, (label, text) in enumerate(zip(labels, texts, strict=True)):
            px, py = points[ids == label].T
            look: dict[str, Any] = {"c": colors[order], "marker": MARKERS[order % len(MARKERS)], **edge}
            panel.scatter(px, py, s=size, alpha=0.8, label=text, **look)
        style_panel(panel, f"colored by {name.replace('_', ' ')}", "", "")
        panel.grid(False)
        panel.set(xticks=[], yticks=[])
        panel.set_aspect("equal", adjustable="datalim")  # a distance is the same along both axes
        below: dict[str, Any] = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.02), "ncols": 3}
        legend = panel.legend(frameon=False, fontsize=10, handletextpad=0.1, **below)
        for handle in legend.legend_handles:
            handle.set(sizes=[40], alpha=1)  # type: ignore[union-attr]
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


def explained_variance(features: ArrayLike, scores: NDArray[np.floating]) -> NDArray[np.float64]:
    """(count,) the share of the variance of (N, D) features that each of their principal components has, 0 to 1."""
    total = np.asarray(features, dtype=np.float64).var(0).sum()
    return scores.var(0) / total if total > 0 else np.zeros(scores.shape[1])


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
