"""The latent map: every row of the small data set as points, one a modality, and the numbers of the space."""

from collections.abc import Sequence
from html import escape
from itertools import cycle
from typing import Any

import gradio as gr
import numpy as np
import plotly.graph_objects as go
from colors import Coloring, color_scale, colorings
from explorer import Explorer
from page import FAINT, LAST, PALETTE, SYMBOLS, data_uri, figure, hidden_axes, named, picker, spoken, table_html
from PIL import Image

from hf_latent.evaluation import Measurement
from hf_latent.metrics import geometry
from hf_latent.plots import explained_variance, principal_components, two_dimensions
from hf_latent.results import columns, read

TITLE, ORDER = "Latent map", 10
PCA2, PCA3, TSNE = "PCA", "PCA in 3-D", "t-SNE"
MODALITY = "modality"
HEIGHT = 440
TILE, TILES_A_ROW = 64, 20


def refusal(explorer: Explorer) -> str | None:
    """Why a model has no map; None where it has one."""
    return explorer.no_space


class LatentMap:
    """Where the rows of a model's sample lie, and how the space is shaped.

    Attributes:
        places: Layout -> modality -> (N, 2) or (N, 3).
        explained: The shares of the variance that the first three principal components have, 0 to 1.
        numbers: What was measured on the rows, by title.
        colorings: What its points can be colored by.
    """

    def __init__(self, explorer: Explorer, number: int) -> None:
        self.explorer, self.sample, self.sprite = explorer, explorer.sample, f"sprite-{number}"
        unit = {name: rows.numpy() for name, rows in explorer.unit.items()}
        stacked = np.concatenate(list(unit.values()))
        points = {PCA2: principal_components(stacked, 2), PCA3: principal_components(stacked, 3)}
        points[TSNE], _ = two_dimensions(stacked)
        self.explained = explained_variance(stacked, points[PCA3])
        self.places = {
            layout: dict(zip(unit, np.split(rows, len(unit)), strict=True)) for layout, rows in points.items()
        }
        self.numbers, self.colorings = measured(explorer), colorings(self.sample)

    def reach(self, layout: str) -> float:
        """The largest coordinate of the map."""
        return max(float(np.abs(rows).max()) for rows in self.places[layout].values())

    def figure(self, layout: str, color_by: str, joined: bool, reach: float | None = None) -> go.Figure:
        """The map, colored by a label of the sample; by modality where the sample has no such label.

        Its axes go to `reach` on both sides, so that maps of one reach have one scale; to its own by default.
        """
        places = self.places[layout]
        scatter, size = (go.Scatter3d, 4) if layout == PCA3 else (go.Scatter, 7)
        traces = [scatter(**joints(list(places.values())))] if joined else []
        labelled = None if color_by == MODALITY else self.colorings.get(color_by)
        told = {} if labelled is None else labelled.told()
        below = [group.name for group in labelled.groups if group.is_below] if labelled else []
        groups = self._modalities() if labelled is None else self._labelled(labelled)
        for name, marker, shown in groups:  # `shown`: modality and row of each point
            coordinates = np.array([places[modality][row] for modality, row in shown]).T
            traces.append(
                scatter(
                    **dict(zip("xyz", coordinates, strict=False)),
                    mode="markers",
                    name=escape(name, quote=False),  # Plotly reads some HTML
                    showlegend=bool(name),
                    legendrank=2000 if name in below else 1000,
                    marker={"size": size, "line": {"width": 0.6, "color": "#808080"}, **marker},
                    customdata=[row for _, row in shown],
                    text=[f"{modality}: {self.explorer.describe(row)}{told.get(row, '')}" for modality, row in shown],
                    hoverinfo="none",  # hover.js shows the row
                )
            )
        if labelled is not None:  # what the shapes of the points mean
            traces += [scatter(**_key(*look, layout)) for look in zip(places, cycle(SYMBOLS), strict=False)]
        shared: dict[str, Any] = {"meta": {"sprite": self.sprite}, "uirevision": layout, "hovermode": "closest"}
        end = 1.08 * (reach or self.reach(layout))
        scale = {"range": [-end, end]}
        titles = [{"title": {"text": f"PC {k} ({share:.1%})"}} for k, share in enumerate(self.explained, start=1)]
        if layout == PCA3:
            axis = {"showticklabels": False, "gridcolor": FAINT, "zeroline": False, "showspikes": False, **scale}
            axes = {f"{name}axis": axis | title for name, title in zip("xyz", titles, strict=True)}
            return figure(traces, HEIGHT, scene=axes | {"aspectmode": "cube", "dragmode": "turntable"}, **shared)
        if layout == TSNE:
            return figure(traces, HEIGHT, **hidden_axes(), **shared)
        axis = {"gridcolor": FAINT, "zeroline": False, "automargin": True, "nticks": 6, **scale}
        axes = {"xaxis": axis | titles[0], "yaxis": axis | titles[1] | {"scaleanchor": "x"}}
        below = {"legend": {"orientation": "h", "y": -0.16, "yanchor": "top", "itemsizing": "constant"}}
        return figure(traces, HEIGHT, **axes, **below, **shared)

    def _modalities(self) -> list[tuple[str, dict[str, Any], list[tuple[str, int]]]]:
        rows, look = range(len(self.sample)), zip(cycle(PALETTE), cycle(SYMBOLS), strict=False)
        return [
            (name, {"color": color, "symbol": symbol}, [(name, row) for row in rows])
            for name, (color, symbol) in zip(self.explorer.unit, look, strict=False)
        ]

    def _labelled(self, labelled: Coloring) -> list[tuple[str, dict[str, Any], list[tuple[str, int]]]]:
        """Points by the label of their row; the shape of a point says of which modality it is."""
        symbol, found = dict(zip(self.explorer.unit, cycle(SYMBOLS), strict=False)), []

        def add(name: str, rows: np.ndarray, marker: dict[str, Any]) -> None:
            shown = [(modality, int(row)) for modality in self.explorer.unit for row in rows]
            if shown:
                found.append((name, {**marker, "symbol": [symbol[modality] for modality, _ in shown]}, shown))

        for group in [group for group in labelled.groups if group.is_below]:
            add(group.name, group.rows, {"color": group.color})
        if labelled.numbers is not None:
            rows = np.flatnonzero(~np.isnan(labelled.numbers))
            colors = np.tile(labelled.numbers[rows], len(self.explorer.unit))
            add("", rows, {"color": colors, **color_scale(labelled)})
        for group in labelled.groups:
            if not group.is_below:
                add(group.name, group.rows, {"color": group.color})
        return found

    def sprite_html(self) -> str:
        """The pictures of all rows in one, out of sight, for hover.js."""
        columns = list(self.explorer.thumbnails.values())
        if not columns:
            return ""
        tiles = [picture.resize((TILE, TILE)) for column in columns for picture in column]
        height = -(-len(tiles) // TILES_A_ROW)
        sheet = Image.new("RGB", (TILES_A_ROW * TILE, height * TILE))
        for place, picture in enumerate(tiles):
            sheet.paste(picture, (place % TILES_A_ROW * TILE, place // TILES_A_ROW * TILE))
        data = {"columns": TILES_A_ROW, "rows": height, "count": len(self.sample), "modalities": len(columns)}
        attributes = " ".join(f'data-{key}="{value}"' for key, value in data.items())
        return f'<img id="{self.sprite}" {attributes} src="{data_uri(sheet)}" alt="" hidden>'


def _key(name: str, symbol: str, layout: str) -> dict[str, Any]:
    """An entry of the legend, and no point."""
    nowhere = dict.fromkeys("xyz" if layout == PCA3 else "xy", [None])
    return {
        **nowhere,
        "mode": "markers",
        "legendrank": 3000,
        "name": name,
        "marker": {"symbol": symbol, "color": "#808080"},
    }


def measured(explorer: Explorer) -> dict[str, str]:
    """The shape of the space of a model's sample, and the right neighbours in it, by title."""
    unit = {name: explorer.unit[name] for name in explorer.modalities}
    if len(unit) < 2:
        return {}
    found = geometry(unit, k=min(10, len(explorer.sample) - 1))
    titles = {
        "gap_centroid": "Modality gap: distance between the means",
        "gap_paired": "Distance within a pair",
        "cka": "Linear CKA between the modalities",
        "mutual_knn": "Share of the 10 nearest neighbours that they agree on",
        **{f"uniformity_{name}": f"Uniformity of {name} (lower is more even)" for name in unit},
        **{f"effective_rank_{name}": f"Effective rank of {name}" for name in unit},
    }
    recalls = {title.capitalize(): f"{value:.0f} %" for title, value in explorer.recalls(unit).items()}
    return {title: f"{found[key]:.2f}" for key, title in titles.items()} | recalls


def joints(places: Sequence[np.ndarray]) -> dict[str, Any]:
    """A line through the points of each row, as one trace."""
    path = np.stack([*places, np.full_like(places[0], np.nan)], axis=1).reshape(-1, places[0].shape[1])
    look = {"mode": "lines", "line": {"color": FAINT, "width": 1}, "hoverinfo": "skip", "showlegend": False}
    return {**dict(zip("xyz", path.T, strict=False)), **look}


def numbers_html(maps: Sequence[LatentMap]) -> str:
    """Models as columns: what was measured on the rows of the map, and after training."""
    rows = [
        [escape(title), *(each.numbers.get(title, "") for each in maps)]
        for title in dict.fromkeys(title for each in maps for title in each.numbers)
    ]
    trained = {each.explorer.name: read(each.explorer.metrics) for each in maps}
    after = [
        [escape(measurement.title), *(_cell(found.get(key)) for found in trained.values())]
        for key, measurement in columns(trained).items()
    ]
    sections = {"Of the rows of the map": rows, "After training, on all held-out data": after}
    lines = []
    for title, part in sections.items():
        lines += [[f"<b>{title}</b>", *[""] * len(maps)], *part] if part else []
    if not lines:
        return "Nothing was measured of these models."
    return table_html(["", *(f"<b>{escape(each.explorer.name)}</b>" for each in maps)], lines, "numbers")


def _cell(measurement: Measurement | None) -> str:
    if measurement is None:
        return ""
    unit = " %" if measurement.unit == "%" else ""
    level = "" if measurement.chance is None else measurement.cell(measurement.chance)
    chance = f' <span class="quiet">(chance {level})</span>' if level else ""
    return f"{measurement.cell(measurement.value)}{unit}{chance}"


def build(explorers: Sequence[Explorer]) -> None:
    """The tab."""
    maps = {explorer.name: LatentMap(explorer, number) for number, explorer in enumerate(explorers)}
    choices = dict.fromkeys(name for each in maps.values() for name in each.colorings)
    sides = min(2, len(explorers))

    @spoken
    def show(*asked: Any) -> list[Any]:
        names, (layout, color_by, joined) = asked[:sides], asked[sides:]
        chosen = [maps[named(explorers, name).name] for name in names]
        titles = [about(each, layout) for each in chosen]
        reach = max(each.reach(layout) for each in chosen)
        plots = [each.figure(layout, color_by, joined, reach) for each in chosen]
        return [*titles, *plots, reading(layout, sides), numbers_html(chosen)]

    with gr.Row():
        layout = gr.Radio([PCA2, PCA3, TSNE], value=PCA2, label="Layout", scale=2, min_width=280)
        color_by = gr.Dropdown(
            [MODALITY, *choices], value=MODALITY, label="Color by", min_width=160, visible=bool(choices)
        )
        joined = gr.Checkbox(True, label="Join what belongs together", min_width=240)
    first = explorers[0]  # beside it stands, to begin with, one that can be compared
    second = next((k for k, other in enumerate(explorers) if k and other.modalities == first.modalities), sides - 1)
    *start, explained, table = show(*([first.name, explorers[second].name][:sides]), PCA2, MODALITY, True)
    how = gr.HTML(explained)
    pickers, titles, plots = [], [], []
    with gr.Row():
        for side in range(sides):
            with gr.Column(min_width=300):
                pickers.append(picker(explorers, ("Model", "Compared with")[side], (0, second)[side]))
                titles.append(gr.HTML(start[side]))
                plots.append(gr.Plot(start[sides + side], show_label=False))
    numbers = gr.HTML(table)
    sprites = "".join(each.sprite_html() for each in maps.values())
    hidden = gr.HTML(visible="hidden")  # filled when the page is there: a map is seen before a point is pointed at
    gr.on(None, lambda: sprites, None, hidden, show_progress="hidden", api_visibility="private")
    inputs: list[Any] = [*pickers, layout, color_by, joined]
    outputs = [*titles, *plots, how, numbers]
    gr.on([each.input for each in inputs], show, inputs, outputs, api_name="latent_map", **LAST)


def reading(layout: str, maps: int) -> str:
    """How to read maps of a layout."""
    points = "Each row of a small data set has a point for each of its modalities; point at one to see it."
    if layout == TSNE:
        return (
            f"<p>{points} t-SNE places neighbours close to each other, and nothing else: neither the distance of two "
            "groups nor their size tells anything, and no modality gap can be read from it: see the numbers below.</p>"
        )
    scale = "Both maps have one scale, in which embeddings have length 1" if maps > 1 else "Embeddings have length 1"
    return (
        f"<p>{points} {scale}. A map shows the directions in which the points of its model vary most, with their "
        "share of the variance at the axes; what varies along others is not seen, so that points that are far apart "
        "may coincide. The distances over all directions, the modality gap among them, are in the numbers below.</p>"
    )


def about(shown: LatentMap, layout: str) -> str:
    """What the rows of a map are, and how much of how they vary it shows."""
    sample, explorer = shown.sample, shown.explorer
    title = sample.title[:1].upper() + sample.title[1:]
    told = f"{escape(title)}; right is what has {escape(sample.right)}. {escape(explorer.note)}"
    if layout != TSNE:
        share = shown.explained[: 3 if layout == PCA3 else 2].sum()
        told += f" The map shows {share:.1%} of the variance of its points."
    return f"<small>{told}</small>"
