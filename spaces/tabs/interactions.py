"""Redundant, unique, synergistic: a row that you build, and what each modality alone and all together tell a probe."""

from collections.abc import Mapping, Sequence
from functools import partial
from html import escape
from typing import Any, cast

import gradio as gr
import numpy as np
import plotly.graph_objects as go
from composed import Answer, ComposedProbes
from explorer import FUSED, Explorer
from page import LAST, bar_html, figure, image_html, named, picker, spoken, table_html
from thumbnails import player, thumbnail

from hf_latent.data.composer import ALL, Chosen, Composer, Factor

TITLE, ORDER = "R, U, S", 20
NEIGHBOURS = 4
MARGIN = {"l": 8, "r": 8, "t": 36, "b": 8}


def refusal(explorer: Explorer) -> str | None:
    """Why no row can be built for a model; None where one can."""
    if explorer.no_space:
        return explorer.no_space
    composer = explorer.source.composer() if explorer.source else None
    if composer is None or set(composer.factors) != set(explorer.modalities):
        return "Its data are not built from parts that can be chosen."
    return None if FUSED in explorer.unit else "It gives no embedding of all modalities together."


def composer_of(explorer: Explorer) -> Composer:
    """What builds rows for a model that is not refused."""
    return cast(Composer, cast(Any, explorer.source).composer())


def build(explorers: Sequence[Explorer]) -> None:
    """The tab; models of other parts than the first one's are left out."""
    first = composer_of(explorers[0])
    explorers = [explorer for explorer in explorers if composer_of(explorer).factors == first.factors]
    probes = {explorer.name: ComposedProbes(explorer, composer_of(explorer)) for explorer in explorers}
    modalities = list(first.factors)
    begin = next(iter(first.presets.values()))

    @spoken
    def show(name: str, *choices: Any) -> list[Any]:
        asked = probes[named(explorers, name).name]
        return page_of(asked, chosen_of(asked, choices))

    @spoken
    def obey(name: str, *choices: Any) -> list[Any]:
        asked = probes[named(explorers, name).name]
        chosen = fitting(asked.composer, chosen_of(asked, choices))
        return [*flat(chosen, modalities), *page_of(asked, chosen)]

    @spoken
    def preset(title: str, name: str) -> list[Any]:
        asked = probes[named(explorers, name).name]
        chosen = asked.composer.presets[title]
        return [*flat(chosen, modalities), *page_of(asked, chosen)]

    gr.Markdown("### Redundant, unique, synergistic")
    gr.HTML(f"<p>{escape(first.intro)}</p>")
    name = picker(explorers)
    with gr.Row():
        presses = [gr.Button(title, size="sm", min_width=140) for title in first.presets]
    shown = show(name.value, *flat(begin, modalities))
    drawn: list[Any] = []
    controls: list[Any] = []
    with gr.Row():
        for number, modality in enumerate(modalities, start=1):
            with gr.Column(min_width=140):
                drawn.append(gr.HTML(shown[number - 1]))
                for factor, value in zip(first.factors[modality], begin[modality], strict=True):
                    controls.append(control(factor, value, f"{factor.name} {number}"))
    press = gr.Button(first.rule.press if first.rule else "", visible=first.rule is not None)
    table, plot, near = shown[len(modalities) :]
    answers = gr.HTML(table)
    rule = gr.Plot(plot, show_label=False, visible=first.rule is not None)
    with gr.Accordion("Which held-out rows the model finds similar", open=False):
        similar = gr.HTML(near)

    inputs, outputs = [name, *controls], [*drawn, answers, rule, similar]
    asking = [each.input for each in inputs]
    gr.on(asking, show, inputs, outputs, api_name="interactions", **LAST)
    if first.rule is not None:
        press.click(obey, inputs, [*controls, *outputs], api_visibility="private")
    for title, button in zip(first.presets, presses, strict=True):
        button.click(partial(preset, title), name, [*controls, *outputs], api_visibility="private")


def control(factor: Factor, value: Any, label: str) -> Any:
    """What a factor is chosen with."""
    if factor.choices:
        return gr.Dropdown(list(factor.choices), value=value, label=label)
    return gr.Slider(*factor.bounds, value, step=1, label=label)


def chosen_of(probes: ComposedProbes, choices: Sequence[Any]) -> dict[str, tuple[Any, ...]]:
    """The choices of each modality, of all controls in their order."""
    found, rest = {}, tuple(choices)
    for modality, factors in probes.composer.factors.items():
        found[modality], rest = probes.checked(modality, rest[: len(factors)]), rest[len(factors) :]
    return found


def flat(chosen: Chosen, modalities: Sequence[str]) -> list[Any]:
    """The other way round."""
    return [value for modality in modalities for value in chosen[modality]]


def fitting(composer: Composer, chosen: Chosen) -> dict[str, tuple[Any, ...]]:
    """The choices, changed so that the row obeys the rule."""
    rule = composer.rule
    if rule is None:
        return dict(chosen)
    (across, factor), (down, other) = rule.across, rule.down
    place = composer.factors[down][other].choices.index(chosen[down][other])
    own = list(chosen[across])
    own[factor] = composer.factors[across][factor].choices[rule.fitting[place]]
    return {**chosen, across: tuple(own)}


def page_of(probes: ComposedProbes, chosen: Chosen) -> list[Any]:
    """What was built, the table of answers, the rule, and the neighbours."""
    composer = probes.composer
    values = {name: composer.draw(name, choices) for name, choices in chosen.items()}
    row = probes.embed(values)
    return [
        *(picked_html(probes, name, value, composer.words(name, chosen[name])) for name, value in values.items()),
        answers_html(probes, probes.answers(row, chosen)),
        None if composer.rule is None else rule_figure(probes, chosen),
        neighbours_html(probes, row, chosen),
    ]


def value_html(probes: ComposedProbes, modality: str, value: Any, words: str) -> str:
    """A value of a modality: a picture of it, or the text."""
    options = probes.explorer.processor.modalities[modality]
    if modality not in probes.explorer.pictured:
        return f"<p>{escape(value)}</p>"
    return image_html(thumbnail(value, options["kind"]), words) + player(value, options)


def picked_html(probes: ComposedProbes, modality: str, value: Any, words: str) -> str:
    """One of what was built."""
    return f'<div class="picked">{value_html(probes, modality, value, words)}</div>'


def answers_html(probes: ComposedProbes, answers: Mapping[str, Mapping[str, Answer]]) -> str:
    """Questions as rows, views as columns; under each answer how often that probe is right."""
    composer = probes.composer

    def cell(name: str, view: str) -> str:
        answer, label = answers[name][view], composer.questions[name].label
        mark = {True: "✓", False: "✗", None: ""}[answer.right]
        text = f"{escape(label.title_of(answer.said))} {100 * answer.share:.0f} % {mark}"
        usual = f"right on {probes.accuracy[name][view]:.0f} % of held-out rows"
        return f"{bar_html(answer.share, text)}<small>{usual}</small>"

    rows = []
    for name, question in composer.questions.items():
        title = f"<b>{escape(question.title)}</b><small>{escape(question.about)}</small>"
        guess = f"<small>a guess: {probes.chance[name]:.0f} %</small>"
        rows.append([title + guess, *(cell(name, view) for view in probes.views)])
    table = table_html(["What a probe reads", *map(escape, composer.views.values())], rows, "answers")
    return table + (rule_html(probes) if composer.rule else "")


def rule_html(probes: ComposedProbes) -> str:
    """What the probe of all modalities says on average where the rule has its answer, and elsewhere."""
    rule, table = probes.composer.rule, probes.fits
    assert rule is not None and table is not None
    fits = np.array(rule.fitting)[:, None] == np.arange(table.shape[1])
    inside, outside = (100 * float(np.nanmean(table[cells])) for cells in (fits, ~fits))
    title = escape(probes.composer.questions[rule.question].label.title_of(rule.answer))
    return (
        f"<p>The probe of all modalities says “{title}” with {inside:.0f} % on average where the rule of the data has "
        f"it, and with {outside:.0f} % elsewhere, on held-out rows:</p>"
    )


def rule_figure(probes: ComposedProbes, chosen: Chosen) -> go.Figure:
    """How sure the probe of all modalities is of the rule's answer, the rule of the data, and where the row is."""
    composer, rule = probes.composer, probes.composer.rule
    assert rule is not None
    (across, factor), (down, other) = rule.across, rule.down
    columns, rows = composer.factors[across][factor], composer.factors[down][other]
    titles = [f"{each.name.lower()} of {side}" for each, side in ((columns, across), (rows, down))]
    heat = go.Heatmap(
        z=probes.fits,
        x=list(columns.choices),
        y=list(rows.choices),
        colorscale="Viridis",
        zmin=0,
        zmax=1,
        colorbar={"title": {"text": rule.title}, "thickness": 12, "tickformat": ".0%"},
        hovertemplate=f"{titles[1]}: %{{y}}<br>{titles[0]}: %{{x}}<br>the probe: %{{z:.0%}}<extra></extra>",
    )
    box = {"symbol": "square-open", "size": 20, "color": "#ff5a36", "line": {"width": 2.5}}
    here = {"symbol": "x", "size": 11, "color": "white", "line": {"width": 1.5, "color": "black"}}
    marks = {"mode": "markers", "hoverinfo": "skip"}
    right = [columns.choices[number] for number in rule.fitting]
    own = {"x": [chosen[across][factor]], "y": [chosen[down][other]]}
    traces = [
        heat,
        go.Scatter(x=right, y=list(rows.choices), name="the rule of the data", marker=box, **marks),
        go.Scatter(**own, name="what you built", marker=here, **marks),
    ]
    axes = {
        "xaxis": {"title": {"text": titles[0]}, "automargin": True},
        "yaxis": {"title": {"text": titles[1]}, "automargin": True, "autorange": "reversed"},
    }
    return figure(traces, 440, **axes, legend={"orientation": "h", "y": 1.02, "yanchor": "bottom"}, margin=MARGIN)


def neighbours_html(probes: ComposedProbes, row: Mapping[str, np.ndarray], chosen: Chosen) -> str:
    """The nearest rows in each view side by side, with what agrees; a value that a view does not see is faint."""
    composer, columns = probes.composer, []
    for view, near in probes.neighbours(row, NEIGHBOURS).items():
        cards: list[str] = []
        agreeing = {
            name: 0
            for name, places in composer.compared.items()
            if any(view in (ALL, modality) for modality, _ in places)
        }
        for number, cosine in near:
            same = probes.agreement(chosen, number, view)
            for name in same:
                agreeing[name] += 1
            parts = []
            for modality, names in probes.chosen_of(number).items():
                faint = "" if view in (ALL, modality) else ' class="faint"'
                value = probes.reference.values[modality][number]
                parts.append(
                    f"<span{faint}>{value_html(probes, modality, value, composer.words(modality, names))}</span>"
                )
            words = f"<b>{cosine:.2f}</b><small>{'same ' + ', '.join(same) if same else 'nothing agrees'}</small>"
            cards.append(f'<div class="pair"><div class="two">{"".join(parts)}</div><div>{words}</div></div>')
        counts = f"Of {len(near)}, same " + ", ".join(f"{factor} in {count}" for factor, count in agreeing.items())
        title = escape(composer.views[view])
        columns.append(f'<div class="view"><h4>{title}</h4><p>{counts}.</p>{"".join(cards)}</div>')
    return (
        f"<p>The nearest of {probes.size} held-out rows, by the cosine of the features less their mean.</p>"
        f'<div class="views">{"".join(columns)}</div>'
    )
