"""Labels: what linear probes read of a held-out row from each modality alone, and from all together."""

from collections.abc import Sequence
from html import escape

import gradio as gr
from explorer import Explorer
from page import LAST, bar_html, image_html, named, picker, short, spoken, table_html
from readings import KINDS, LabelReading, Reading, Readings, readings_of

from hf_latent.errors import UserError

TITLE, ORDER = "Labels", 25


def refusal(explorer: Explorer) -> str | None:
    """Why no label is read from a model; None where some are."""
    if explorer.no_space:
        return explorer.no_space
    sample = explorer.sample
    if len(explorer.modalities) < 2:
        return "There is nothing to compare where there is only one modality."
    if not any(label.kind in KINDS for label in sample.labels.values()):
        return "Its rows have no labels: name columns of them in data.labels of its recipe."
    if not sample.held_out:
        return "Its data have no held-out rows to read labels of."
    try:
        readings = readings_of(explorer)
    except UserError as error:
        return f"Its training rows cannot be read: {error}."
    why = "; ".join(f"{name}: {reason}" for name, reason in readings.left_out.items())
    return None if readings.labels else f"Its labels cannot be read ({why})."


def build(explorers: Sequence[Explorer]) -> None:
    """The tab."""
    last = min(len(explorer.sample) for explorer in explorers) - 1

    @spoken
    def show(name: str, row: float) -> list[str]:
        explorer = named(explorers, name)
        if not 0 <= row < len(explorer.sample):
            raise UserError(f"The sample has no row {row:.0f}: write 0 to {len(explorer.sample) - 1}.")
        return [row_html(explorer, int(row)), answers_html(readings_of(explorer), int(row)), told_html(explorer)]

    gr.Markdown("### What each modality tells of a label")
    gr.HTML(
        "<p>Linear probes are fitted on the embeddings of training rows. The table says what they read from those of "
        "a held-out row. What each modality tells alone is redundant, what one of them tells is unique to it, and "
        "what only all together tell is synergistic.</p>"
    )
    name = picker(explorers)
    row = gr.Slider(0, last, last // 3, step=1, label="Row")
    seen, table, told = (gr.HTML(part) for part in show(name.value, last // 3))
    gr.on([row.input, name.input], show, [name, row], [seen, table, told], api_name="labels", **LAST)


def row_html(explorer: Explorer, row: int) -> str:
    """What a row holds in each modality."""
    parts = []
    for name, values in explorer.sample.values.items():
        pictured = name in explorer.pictured
        shown = image_html(explorer.thumbnails[name][row], explorer.sample.words[row]) if pictured else ""
        shown += explorer.player(name, row)
        text = "" if pictured else f"“{escape(short(str(values[row]), 300))}”"
        parts.append(f"<figure>{shown}<div>{text}</div><small>{escape(name)}</small></figure>")
    return f'<div class="seen">{"".join(parts)}</div>'


def answers_html(readings: Readings, row: int) -> str:
    """Labels as rows, views as columns; under each answer how good that probe is."""
    lines = []
    for name, found in readings.labels.items():
        truth = f"this row: {escape(short(found.truth[row], 80))}" if found.truth[row] else "not known of this row"
        guess = f"the best constant answer: {score_of(found, found.chance)}"
        title = f"<b>{escape(short(found.label.title or name))}</b><small>{truth}</small><small>{guess}</small>"
        lines.append([title, *(cell(found, found.views[view], row) for view in readings.views)])
    views = [
        escape(view[:1].upper() + view[1:]) + (" alone" if view != readings.views[-1] else "")
        for view in readings.views
    ]
    return table_html(["Label", *views], lines, "answers")


def cell(found: LabelReading, reading: Reading, row: int) -> str:
    """What one probe says of a row, and its score."""
    mark = {True: " ✓", False: " ✗", None: ""}[reading.right[row]]
    said, score = escape(short(reading.said[row], 80)), score_of(found, reading.score)
    shown = f"<div>{said}{mark}</div>"
    if reading.shares is not None:
        share = float(reading.shares[row])
        shown = bar_html(share, f"{said} {100 * share:.0f} %{mark}")
    return f"{shown}<small>{score} on {found.rows} held-out rows</small>"


def score_of(found: LabelReading, score: float) -> str:
    """A score in words."""
    if found.label.kind == "number":
        return f"R² {score:.2f}"
    return f"right {score:.0f} %" if found.label.kind == "class" else f"weighted F1 {score:.0f} %"


def told_html(explorer: Explorer) -> str:
    """On which rows probes were fitted, and which labels are left out."""
    readings = readings_of(explorer)
    told = (
        f"The probes were fitted on {readings.fitted} training rows; the best constant answer is of the held-out ones."
    )
    for name, why in readings.left_out.items():
        told += f" Not here: {short(name)} ({short(why, 160)})."
    return f"<p class='quiet'>{escape(told)}</p>"
