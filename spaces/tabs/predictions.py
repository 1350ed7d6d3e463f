"""Predictions: what a model with a head says of a held-out row, from all modalities and from each alone."""

from collections.abc import Sequence
from html import escape
from typing import cast

import gradio as gr
from explorer import Explorer
from page import LAST, bar_html, named, picker, short, spoken, table_html
from row_heads import RowHead

from hf_latent.errors import UserError

from .labels import row_html

TITLE, ORDER = RowHead.tab, 51
SHOWN = 12


def refusal(explorer: Explorer) -> str | None:
    """Why a model says nothing of rows; None where it does."""
    if not isinstance(explorer.head, RowHead):
        return "It has no head that says something of rows of its modalities."
    return explorer.note if explorer.rows is None else None


def build(explorers: Sequence[Explorer]) -> None:
    """The tab."""
    last = min(len(explorer.sample) for explorer in explorers) - 1

    @spoken
    def show(name: str, row: float) -> list[str]:
        explorer = named(explorers, name)
        if not 0 <= row < len(explorer.sample):
            raise UserError(f"The sample has no row {row:.0f}: write 0 to {len(explorer.sample) - 1}.")
        return [row_html(explorer, int(row)), said_html(explorer, int(row))]

    gr.Markdown("### What the model says of a row")
    gr.HTML(
        "<p>Of a held-out row, from all its modalities together and from each of them alone: a row may lack the "
        "others.</p>"
    )
    name = picker(explorers)
    row = gr.Slider(0, last, last // 3, step=1, label="Row")
    seen, table = (gr.HTML(part) for part in show(name.value, last // 3))
    gr.on([row.input, name.input], show, [name, row], [seen, table], api_name="predictions", **LAST)


def said_html(explorer: Explorer, row: int) -> str:
    """Classes, labels or numbers as rows, what is read as columns; the right ones are ticked."""
    head = cast(RowHead, explorer.head)
    whole, right = head.says(row), head.right(row)
    alone = explorer.modalities if len(explorer.modalities) > 1 else []
    views = {"All together": whole, **{f"{name} alone": head.says(row, name) for name in alone}}
    order = list(range(len(whole)))
    if head.said != "numbers":
        order = sorted(order, key=lambda place: -whole[place])[:SHOWN]
    lines = []
    for place in order:
        name = escape(short(head.names[place]))
        if head.said == "numbers":
            truth = f"<small>this row: {right[place]:.4g}</small>" if right else ""
            lines.append([name + truth, *(f"{said[place]:.4g}" for said in views.values())])
        else:
            bars = (bar_html(said[place], f"{100 * said[place]:.1f} %") for said in views.values())
            lines.append([name + (" ✓" if right and right[place] else ""), *bars])
    what = {"classes": "Class", "labels": "Label"}.get(head.said, "Number")
    told = "" if right else "What is right is not known of this row. "
    more = f"The likeliest {SHOWN} of {len(whole)}. " if len(whole) > len(order) else ""
    note = f"<p class='quiet'>{escape(more + told)}</p>" if more or told else ""
    return table_html([what, *map(escape, views)], lines, "answers") + note
