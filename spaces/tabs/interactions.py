"""Redundant, unique, synergistic: two pictures that you build, and what each alone and both together tell a probe."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, cast

import gradio as gr
import numpy as np
import plotly.graph_objects as go
from explorer import Explorer, thumbnail
from page import LAST, bar_html, figure, image_html, named, picker, spoken, table_html
from pairs import MODALITIES, SYNERGY, VIEWS, Answer, PairProbes
from sample import words_of

from hf_latent.data.trifeature import COLORS, SHAPES, TEXTURES, TrifeatureImages, draw_picture
from hf_latent.data.trifeature import SYNERGY as SYNERGY_CLASSES
from hf_latent.data.trifeature_data import TrifeatureData
from hf_latent.data.trifeature_drawing import MAX_ANGLE
from hf_latent.metrics import CHANCE

TITLE = "R, U, S"
TASKS = {
    "redundancy": "<b>Redundant</b><small>the shape, which both images show</small>",
    "uniqueness1": "<b>Unique</b> to image 1<small>its texture</small>",
    "uniqueness2": "<b>Unique</b> to image 2<small>its texture</small>",
    SYNERGY: "<b>Synergistic</b><small>does the color of image 2 fit the texture of image 1?</small>",
}
FITS = {"mapped": "it fits", "unmapped": "it does not"}
KNOWN: dict[str, Sequence[str]] = {"Shape": SHAPES, "Texture": TEXTURES, "Color": COLORS}
FACTORS = ("shape", "texture 1", "color 1", "texture 2", "color 2")
NEIGHBOURS = 4
MARGIN = {"l": 8, "r": 8, "t": 36, "b": 8}
Picture = tuple[str, str, str, int]  # shape, texture, color, angle


def refusal(explorer: Explorer) -> str | None:
    """Why a model cannot be asked about pairs of pictures; None where it can."""
    if tuple(explorer.modalities) == MODALITIES and isinstance(explorer.source, TrifeatureData):
        return None
    return (
        "These pages ask a model of pairs of Trifeature images, such as comm_trifeature_quick trains; this one is of "
        f"{', '.join(explorer.modalities)}."
    )


def build(explorers: Sequence[Explorer]) -> None:
    """The tab."""
    probes = {explorer.name: PairProbes(explorer) for explorer in explorers}
    presets = examples(next(iter(probes.values())))
    first, second = next(iter(presets.values()))

    @spoken
    def show(name: str, *pictures: Any) -> list[Any]:
        return page_of(probes[named(explorers, name).name], pictures[:4], pictures[4:])

    @spoken
    def fit(name: str, *pictures: Any) -> list[Any]:
        asked = probes[named(explorers, name).name]
        color = COLORS[asked.mapping[TEXTURES.index(pictures[1])]]
        return [color, *page_of(asked, pictures[:4], (*pictures[4:6], color, pictures[7]))]

    @spoken
    def preset(title: str, name: str) -> list[Any]:
        asked = probes[named(explorers, name).name]
        one, two = examples(asked)[title]
        return [*one, *two, *page_of(asked, one, two)]

    gr.Markdown(
        "### Redundant, unique, synergistic\nBuild two pictures. The table says what linear probes read from the "
        "features of each image alone and of both: what both images show is **redundant**, what one of them shows is "
        "**unique**, and whether the color of image 2 belongs to the texture of image 1 takes both, hence "
        "**synergistic**."
    )
    name = picker(explorers)
    with gr.Row():
        presses = [gr.Button(title, size="sm", min_width=140) for title in presets]
    shown = show(name.value, *first, *second)
    drawn: list[Any] = []
    controls: list[Any] = []
    with gr.Row():
        for number, picture in ((1, first), (2, second)):
            with gr.Column(min_width=140):
                drawn.append(gr.HTML(shown[number - 1]))
                for (title, known), value in zip(KNOWN.items(), picture[:3], strict=True):
                    controls.append(gr.Dropdown(list(known), value=value, label=f"{title} {number}"))
                controls.append(gr.Slider(-MAX_ANGLE, MAX_ANGLE, picture[3], step=1, label=f"Angle {number}"))
    press = gr.Button("Give image 2 the color that fits the texture of image 1")
    table = gr.HTML(shown[2])
    plot = gr.Plot(shown[3], show_label=False)
    with gr.Accordion("Which held-out pairs the model finds similar", open=False):
        near = gr.HTML(shown[4])

    inputs, outputs = [name, *controls], [*drawn, table, plot, near]
    asking = [control.input for control in inputs]
    gr.on(asking, show, inputs, outputs, api_name="interactions", **LAST)
    press.click(fit, inputs, [controls[6], *outputs], api_visibility="private")
    for title, button in zip(presets, presses, strict=True):
        button.click(partial(preset, title), name, [*controls, *outputs], api_visibility="private")


def page_of(probes: PairProbes, first: Picture, second: Picture) -> list[Any]:
    """Both pictures, the table of answers, the rule, and the neighbours."""
    images = [draw(probes.explorer, picture) for picture in (first, second)]
    pair = probes.embed((images[0], images[1]))
    answers = probes.answers(pair, truth(probes, first, second))
    return [
        *(picked_html(image, picture) for image, picture in zip(images, (first, second), strict=True)),
        answers_html(probes, answers),
        rule_figure(probes, first, second),
        neighbours_html(probes, pair, first, second),
    ]


def draw(explorer: Explorer, picture: Picture) -> np.ndarray:
    """A picture as the data of the model draws it."""
    source = cast(TrifeatureData, explorer.source)
    return draw_picture(*picture, image_size=source.image_size, texture_period=source.texture_period)


def truth(probes: PairProbes, first: Picture, second: Picture) -> dict[str, dict[str, str | None]]:
    """Task -> view -> the right answer. Of two shapes that differ, each image alone shows its own, and both none."""
    fits = probes.mapping[TEXTURES.index(first[1])] == COLORS.index(second[2])
    shared = {"image1": first[0], "image2": second[0], "fused": first[0] if first[0] == second[0] else None}
    whole = {"uniqueness1": first[1], "uniqueness2": second[1], SYNERGY: SYNERGY_CLASSES[int(fits)]}
    return {"redundancy": shared, **{task: dict.fromkeys(VIEWS, right) for task, right in whole.items()}}


def examples(probes: PairProbes) -> dict[str, tuple[Picture, Picture]]:
    """Pairs to begin with, by what they show."""
    fitting = COLORS[probes.mapping[TEXTURES.index("stripes")]]
    other = COLORS[probes.mapping[TEXTURES.index("dots")]]
    first = ("square", "stripes", "green", 20)
    return {
        "A color that fits": (first, ("square", "dots", fitting, -15)),
        "A color that does not": (first, ("square", "dots", other, -15)),
        "Two shapes": (first, ("circle", "dots", fitting, -15)),
        "One picture twice": (first, first),
    }


def picked_html(image: np.ndarray, picture: Picture) -> str:
    """A picture of the pair."""
    shape, texture, color, _ = picture
    return f'<div class="picked">{image_html(thumbnail(image), f"{color} {shape}, {texture}")}</div>'


def answers_html(probes: PairProbes, answers: Mapping[str, Mapping[str, Answer]]) -> str:
    """Tasks as rows, views as columns; under each answer how often that probe is right."""

    def cell(task: str, view: str) -> str:
        answer = answers[task][view]
        mark = {True: "✓", False: "✗", None: ""}[answer.right]
        text = f"{FITS.get(answer.said, answer.said)} {100 * answer.share:.0f} % {mark}"
        usual = f"right on {probes.accuracy[task][view]:.0f} % of held-out pairs"
        return f"{bar_html(answer.share, text)}<small>{usual}</small>"

    rows = [
        [f"{title}<small>a guess: {CHANCE[task]:.0f} %</small>", *(cell(task, view) for view in VIEWS)]
        for task, title in TASKS.items()
    ]
    fits = probes.mapping[:, None] == np.arange(len(COLORS))
    inside, outside = (100 * float(np.nanmean(probes.fits[cells])) for cells in (fits, ~fits))
    sentence = (
        f"Asked whether the color fits, the probe of both says {inside:.0f} % on average where the rule of the data "
        f"has it, and {outside:.0f} % elsewhere, on held-out pairs:"
    )
    return table_html(["What a probe reads", *VIEWS.values()], rows, "answers") + f"<p>{sentence}</p>"


def rule_figure(probes: PairProbes, first: Picture, second: Picture) -> go.Figure:
    """How sure the probe of both is that a color fits a texture, the rule of the data, and where the pair is."""
    heat = go.Heatmap(
        z=probes.fits,
        x=list(COLORS),
        y=list(TEXTURES),
        colorscale="Viridis",
        zmin=0,
        zmax=1,
        colorbar={"title": {"text": "fits"}, "thickness": 12, "tickformat": ".0%"},
        hovertemplate="texture 1: %{y}<br>color 2: %{x}<br>the probe: %{z:.0%}<extra></extra>",
    )
    rule = [COLORS[color] for color in probes.mapping]
    box = {"symbol": "square-open", "size": 20, "color": "#ff5a36", "line": {"width": 2.5}}
    here = {"symbol": "x", "size": 11, "color": "white", "line": {"width": 1.5, "color": "black"}}
    marks = {"mode": "markers", "hoverinfo": "skip"}
    traces = [
        heat,
        go.Scatter(x=rule, y=list(TEXTURES), name="the rule of the data", marker=box, **marks),
        go.Scatter(x=[second[2]], y=[first[1]], name="your pair", marker=here, **marks),
    ]
    axes = {
        "xaxis": {"title": {"text": "color of image 2"}, "automargin": True},
        "yaxis": {"title": {"text": "texture of image 1"}, "automargin": True, "autorange": "reversed"},
    }
    return figure(traces, 440, **axes, legend={"orientation": "h", "y": 1.02, "yanchor": "bottom"}, margin=MARGIN)


def neighbours_html(probes: PairProbes, pair: Mapping[str, np.ndarray], first: Picture, second: Picture) -> str:
    """The nearest pairs in each view side by side, with what agrees; an image that a view does not see is faint."""
    images, columns = probes.reference.source, []
    for view, near in probes.neighbours(pair, NEIGHBOURS).items():
        cards, seen = [], [name for name in FACTORS if view == "fused" or name[-1] in ("e", view[-1])]
        agreeing = dict.fromkeys(seen, 0)
        for row, cosine in near:
            rows = probes.reference.index[row]
            same = agreement((first, second), [labels_of(images, image) for image in rows])
            for factor in set(same) & set(seen):
                agreeing[factor] += 1
            two = "".join(image_html(thumbnail(images.images[k]), words_of(images, k)) for k in rows)
            words = f"<b>{cosine:.2f}</b><small>{'same ' + ', '.join(same) if same else 'nothing agrees'}</small>"
            cards.append(f'<div class="pair"><div class="two">{two}</div><div>{words}</div></div>')
        counts = f"Of {len(near)}, same " + ", ".join(f"{factor} in {count}" for factor, count in agreeing.items())
        columns.append(f'<div class="view-{view}"><h4>{VIEWS[view]}</h4><p>{counts}.</p>{"".join(cards)}</div>')
    return (
        f"<p>The nearest of {len(probes.reference)} pairs of held-out images, by the cosine of the features less "
        f'their mean.</p><div class="views">{"".join(columns)}</div>'
    )


def labels_of(images: TrifeatureImages, row: int) -> tuple[str, str, str]:
    """Shape, texture and color of a picture, in words."""
    return SHAPES[images.shape[row]], TEXTURES[images.texture[row]], COLORS[images.color[row]]


def agreement(query: Sequence[Any], found: Sequence[Any]) -> list[str]:
    """Those of `FACTORS` in which two pairs of pictures agree."""
    values = [(a[0], a[1], a[2], b[1], b[2]) for a, b in (query, found)]
    return [name for name, wanted, has in zip(FACTORS, *values, strict=True) if wanted == has]
