"""Structure: the way from one modality to the other, and what becomes of retrieval as the gap between them closes."""

from collections.abc import Sequence
from functools import partial
from html import escape
from typing import Any

import gradio as gr
import numpy as np
import plotly.graph_objects as go
import torch
import torch.nn.functional as F
from explorer import Explorer, unit
from page import FAINT, LAST, PALETTE, SYMBOLS, figure, hidden_axes, image_html, named, picker, short, spoken
from sentences import unread_html
from torch import Tensor

from hf_latent.errors import UserError
from hf_latent.metrics import modality_gap
from hf_latent.regularizers.brownian_bridge import bridge

TITLE, ORDER = "Structure", 60
STEPS = (1.0, 0.75, 0.5, 0.25, 0.0)  # the share of the first modality
NEAREST = 4
LONGEST = 300
SHARES = np.linspace(0, 1, 21)  # of the gap that is closed
HEIGHT, WAY = 340, "#d55e00"


def refusal(explorer: Explorer) -> str | None:
    """Why a model has no gap to look at; None where it has one."""
    if len(explorer.modalities) >= 2:
        return explorer.no_space
    return "There is no way between modalities where there is only one."


class Structure:
    """The space of a model's first two modalities.

    Attributes:
        names: What they are called.
        curve: Title -> its value at each of `SHARES`.
    """

    def __init__(self, explorer: Explorer) -> None:
        self.explorer, self.names = explorer, explorer.modalities[:2]
        self.reads_text = explorer.processor.modalities[self.names[1]]["kind"] == "text"
        self.rows = [explorer.unit[name] for name in self.names]
        self._mean = torch.cat(self.rows).mean(0)
        self._axes = torch.linalg.svd(torch.cat(self.rows) - self._mean, full_matrices=False).Vh[:2].T
        measured = [self.measure(share) for share in SHARES]
        self.curve = {title: [values[title] for values in measured] for title in measured[0]}

    def ends(self, start: int, end: int, text: str) -> tuple[Tensor, Tensor]:
        """Both ends of a walk, (dim,) each: the first modality of a row, and a text or the second of a row."""
        for row in (start, end):
            if not 0 <= row < len(self.explorer.sample):
                raise UserError(f"The sample has no row {row}: write 0 to {len(self.explorer.sample) - 1}.")
        if not self.reads_text or not text.strip():
            return self.rows[0][start], self.rows[1][end]
        if len(text) > LONGEST:
            raise UserError(f"This text has {len(text)} characters: write at most {LONGEST}.")
        name = self.names[1]
        return self.rows[0][start], unit(self.explorer.embed({name: [text.strip()]}))[name][0]

    def unread_html(self, text: str) -> str:
        """What of a text that the walk leads to the model cannot read."""
        return unread_html(self.explorer.processor.tokenizers[self.names[1]], text) if self.reads_text else ""

    def nearest(self, place: Tensor, count: int = NEAREST) -> list[tuple[str, int, float]]:
        """Modality, row and cosine of what lies nearest to a place; what reads the same comes once."""
        found: dict[str, tuple[str, int, float]] = {}
        cosines = torch.stack([rows @ place for rows in self.rows])
        for flat in cosines.flatten().argsort(descending=True, stable=True).tolist():
            modality, row = divmod(flat, cosines.shape[1])
            name = self.names[modality]
            shown = self.explorer.sample.values[name][row]
            key = shown if isinstance(shown, str) else f"{name} {row}"
            found.setdefault(key, (name, row, cosines[modality, row].item()))
            if len(found) == count:
                break
        return list(found.values())

    def moved(self, share: float) -> list[Tensor]:
        """Both modalities with a share of the gap closed: each mean goes half of it towards the other's."""
        way = share / 2 * (self.rows[1].mean(0) - self.rows[0].mean(0))
        return [F.normalize(rows + sign * way, dim=-1) for rows, sign in zip(self.rows, (1, -1), strict=True)]

    def measure(self, share: float) -> dict[str, float]:
        """The gap and the recalls when a share of the gap is closed."""
        moved = self.moved(share)
        recalls = self.explorer.recalls(dict(zip(self.names, moved, strict=True)))
        return {"gap": modality_gap(*moved)["centroid_distance"], **recalls}

    def flat(self, rows: Tensor) -> np.ndarray:
        """(N, 2) of (N, dim), on the two directions in which the sample varies most."""
        return ((rows - self._mean) @ self._axes).numpy()

    def clouds(self, rows: Sequence[Tensor], opacity: float) -> list[go.Scatter]:
        """The points of both modalities on the map."""
        traces = []
        for k, (name, places) in enumerate(zip(self.names, map(self.flat, rows), strict=True)):
            marker = {"color": PALETTE[k], "symbol": SYMBOLS[k], "size": 6, "opacity": opacity}
            text = [escape(f"{name}: {self.explorer.describe(row)}") for row in range(len(places))]
            look = {"mode": "markers", "marker": marker, "text": text, "hoverinfo": "text"}
            traces.append(go.Scatter(x=places[:, 0], y=places[:, 1], name=name, **look))
        return traces


def build(explorers: Sequence[Explorer]) -> None:
    """The tab."""
    structures = {explorer.name: Structure(explorer) for explorer in explorers}
    explorers = sorted(explorers, key=lambda each: not structures[each.name].reads_text)  # a way that reads as words
    last = min(len(explorer.sample) for explorer in explorers) - 1

    @spoken
    def walk(name: str, start: float, end: float, text: str = "") -> list[Any]:
        structure = structures[named(explorers, name).name]
        ends = structure.ends(int(start), int(end), text)
        return [structure.unread_html(text) + steps_html(structure, ends), walk_figure(structure, ends)]

    @spoken
    def arrive(name: str, start: float, end: float) -> list[Any]:
        structure = structures[named(explorers, name).name]
        texts = structure.explorer.sample.values[structure.names[1]] if structure.reads_text else None
        text = texts[int(end)][:LONGEST] if texts and int(end) < len(texts) else ""
        return [gr.update(value=text, visible=texts is not None), *walk(name, start, end, text)]

    @spoken
    def close(name: str, percent: float) -> list[Any]:
        structure, share = structures[named(explorers, name).name], percent / 100
        return [gap_html(structure, share), gap_figure(structure, share), curve_figure(structure, share)]

    @spoken
    def preset(title: str, name: str) -> list[Any]:
        rows = examples(named(explorers, name)).get(title, (0, 0))
        return [*rows, *arrive(name, *rows)]

    name = picker(explorers)
    gr.Markdown(
        "### A walk from one modality to the other\nAlong the mean of the Brownian bridge, and at each step what lies "
        "nearest. Where both share a space, the way leads through things alike."
    )
    presets = examples(explorers[0])
    begin, arrived = next(iter(presets.values()))
    update, steps, path = arrive(name.value, begin, arrived)
    with gr.Row():
        presses = [gr.Button(title, size="sm", min_width=140) for title in presets]
    with gr.Row():
        start = gr.Slider(0, last, begin, step=1, label="From row", min_width=200)
        end = gr.Slider(0, last, arrived, step=1, label="To row", min_width=200)
    text = gr.Textbox(update["value"], label="To this text", max_length=LONGEST, visible=update["visible"])
    walked = [gr.HTML(steps), gr.Plot(path, show_label=False)]
    gr.Markdown(
        "### The gap between them\nMove all of the one towards all of the other, and see what becomes of retrieval."
    )
    percent = gr.Slider(0, 100, 0, step=5, label="How much of the gap is closed, %")
    shown = close(name.value, 0)
    numbers = gr.HTML(shown[0])
    with gr.Row():
        plots = [gr.Plot(plot, show_label=False, min_width=280) for plot in shown[1:]]

    gr.on([start.input, text.input], walk, [name, start, end, text], walked, api_name="walk", **LAST)
    gr.on([end.input, name.input], arrive, [name, start, end], [text, *walked], api_visibility="private", **LAST)
    gr.on([percent.input, name.input], close, [name, percent], [numbers, *plots], api_name="close_gap", **LAST)
    for title, press in zip(presets, presses, strict=True):
        press.click(partial(preset, title), name, [start, end, text, *walked], api_visibility="private")


def examples(explorer: Explorer) -> dict[str, tuple[int, int]]:
    """Walks to begin with: where they start and end."""
    sample, row = explorer.sample, len(explorer.sample) // 3
    found = {"What belongs together": (row, row)}
    for name, numbers in sample.classes().items():
        alike = np.flatnonzero((numbers == numbers[row]) & (numbers >= 0) & (sample.ids != sample.ids[row]))
        if len(alike):
            found[f"The same {short(sample.labels[name].title or name)}"] = (row, int(alike[0]))
            break
    apart = np.flatnonzero(sample.ids != sample.ids[row])
    return found | {"Strangers": (row, int(apart[len(apart) // 2]))} if len(apart) else found


def steps_html(structure: Structure, ends: tuple[Tensor, Tensor]) -> str:
    """The steps side by side: the share of each modality, and what is nearest."""
    first, second = structure.names
    columns = []
    for t in STEPS:
        title = f"{100 * t:.0f} % {first}, {100 - 100 * t:.0f} % {second}"
        near = [_near_html(structure, *found) for found in structure.nearest(bridge(*ends, t))]
        columns.append(f"<div><b>{escape(title)}</b>{''.join(near)}</div>")
    return f'<div class="steps">{"".join(columns)}</div>'


def _near_html(structure: Structure, name: str, row: int, cosine: float) -> str:
    explorer = structure.explorer
    value, words = explorer.sample.values[name][row], explorer.sample.words[row]
    found = f"<small>{escape(name)}, {cosine:.2f}</small>"
    if isinstance(value, str):
        return f'<div class="near"><div>“{escape(short(value, 120))}”{found}</div></div>'
    shown = image_html(explorer.thumbnails[name][row], words) if name in explorer.pictured else ""
    shown += explorer.player(name, row)
    return f'<div class="near">{shown}<div>{escape(short(words, 80))}{found}</div></div>'


def walk_figure(structure: Structure, ends: tuple[Tensor, Tensor]) -> go.Figure:
    """The way on the map of the sample."""
    way = structure.flat(torch.stack([bridge(*ends, t) for t in np.linspace(1, 0, 41)]))
    steps = structure.flat(torch.stack([bridge(*ends, t) for t in STEPS]))
    line = {"mode": "lines", "line": {"color": WAY, "width": 3}, "showlegend": False, "hoverinfo": "skip"}
    dots = {"mode": "markers", "marker": {"color": WAY, "size": 10}, "name": "the steps", "hoverinfo": "skip"}
    traces = [
        *structure.clouds(structure.rows, 0.4),
        go.Scatter(x=way[:, 0], y=way[:, 1], **line),
        go.Scatter(x=steps[:, 0], y=steps[:, 1], **dots),
    ]
    return figure(traces, HEIGHT + 40, hovermode="closest", **hidden_axes())


def gap_html(structure: Structure, share: float) -> str:
    """The numbers at this share, and before."""
    before, tiles = structure.measure(0), []
    for title, value in structure.measure(share).items():
        untouched = f"<small>untouched: {_number(title, before[title])}</small>"
        tiles.append(f'<div class="tile"><b>{_number(title, value)}</b>{escape(title)}{untouched}</div>')
    return f'<div class="tiles">{"".join(tiles)}</div>'


def _number(title: str, value: float) -> str:
    return f"{value:.2f}" if title == "gap" else f"{value:.0f} %"


def gap_figure(structure: Structure, share: float) -> go.Figure:
    """The map with the modalities moved, on the axes and the scale of the untouched one."""
    places = structure.flat(torch.cat(structure.rows))
    low, high = places.min() * 1.15, places.max() * 1.15
    axes = hidden_axes(range=[low, high])
    return figure(structure.clouds(structure.moved(share), 0.8), HEIGHT, hovermode="closest", **axes)


def curve_figure(structure: Structure, share: float) -> go.Figure:
    """Gap and recalls against the share of the gap that is closed."""
    traces = []
    for k, (title, values) in enumerate(structure.curve.items()):
        line = {"color": PALETTE[k + 2], "dash": "dot" if title == "gap" else "solid"}
        axis = {"yaxis": "y2"} if title == "gap" else {}
        traces.append(go.Scatter(x=100 * SHARES, y=values, name=title, line=line, mode="lines", **axis))
    right: dict[str, Any] = {"overlaying": "y", "side": "right", "rangemode": "tozero", "showgrid": False}
    axes = {
        "xaxis": {"title": {"text": "gap closed, %"}, "gridcolor": FAINT},
        "yaxis": {"title": {"text": "right one nearest, %"}, "gridcolor": FAINT, "range": [0, 101]},
        "yaxis2": {"title": {"text": "gap"}, **right},
    }
    plot = figure(traces, HEIGHT, legend={"orientation": "h", "y": 1.02, "yanchor": "bottom"}, **axes)
    plot.update_xaxes(automargin=True).update_yaxes(automargin=True)
    return plot.add_vline(100 * share, line={"color": WAY, "width": 2})
