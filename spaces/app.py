"""The Space: what training did to the latent space of one model or several.

Start it with `python app.py RUN [RUN ...]`, each a run folder or the id of a model on the Hub. Without one it shows
the models that README.md beside it names.
"""

import os
import sys
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
import torch
from calls import SESSIONS, bound
from explorer import Explorer
from huggingface_hub import metadata_load
from inputs import REFUSED, guard
from links import links_html
from page import head, theme
from tabs import TABS
from threadpoolctl import threadpool_limits  # comes with scikit-learn
from transformers.utils import logging
from upload import MAX_FILE

from hf_latent.errors import UserError, printable

README = Path(__file__).with_name("README.md")


def load(runs: Sequence[str], trust_recipe: bool = False) -> list[Explorer]:
    """The models of some runs, each once.

    Args:
        runs, trust_recipe: As of [`Explorer`].

    Raises:
        UserError: If a run cannot be shown.
    """
    runs = list(dict.fromkeys(runs))
    explorers = [Explorer(run, trust_recipe) for run in runs]
    names = [explorer.name for explorer in explorers]
    for explorer, name, run in zip(explorers, names, runs, strict=True):
        if names.count(name) > 1:  # two folders of one name
            explorer.name = run
    return explorers


def build_demo(explorers: Sequence[Explorer]) -> gr.Blocks:
    """The page of some models."""
    # What visitors upload is deleted within the hour.
    with gr.Blocks(title="Inside a latent space", analytics_enabled=False, delete_cache=(900, 3600)) as demo:
        gr.HTML(f"<h1>Inside a latent space</h1>{''.join(map(_about, explorers))}")
        reasons = {tab: {explorer.name: tab.refusal(explorer) for explorer in explorers} for tab in TABS}
        # A tab that shows no model is left out.
        used = {tab: refused for tab, refused in reasons.items() if None in refused.values()}
        for tab, refused in used.items():
            with gr.Tab(tab.TITLE):
                tab.build([explorer for explorer in explorers if refused[explorer.name] is None])
                for name, reason in refused.items():
                    if reason is not None:
                        gr.HTML(f"<p class='quiet'>Not here: <b>{escape(name)}</b>. {escape(reason)}</p>")
        if not used:
            for tab, refused in reasons.items():
                told = "".join(f"<li><b>{escape(name)}</b>: {escape(reason)}</li>" for name, reason in refused.items())
                gr.HTML(f"<p>{escape(tab.TITLE)}</p><ul>{told}</ul>")
    bound(demo)
    guard(demo)
    return demo


def _about(explorer: Explorer) -> str:
    """What a model is, which rows it is shown on, and where to read on."""
    kind = type(explorer.model).__name__.removesuffix("Model")
    shown = "" if explorer.rows is None else f"Shown on: {escape(explorer.rows.title)}. "
    return (
        f"<p class='about'><b>{escape(explorer.name)}</b> ({kind} of {escape(', '.join(explorer.modalities))}). "
        f"{shown}{escape(explorer.note)} {links_html(explorer)}</p>"
    )


def share_cores() -> None:
    """Give a question half of the cores: visitors ask at the same time, and threads that wait for others are slow."""
    threads = max(1, (os.cpu_count() or 2) // 2)
    torch.set_num_threads(threads)
    threadpool_limits(threads)


def launch(demo: gr.Blocks, **options: Any) -> None:
    """Serve a page until it is stopped; options are those of `gr.Blocks.launch`."""
    demo.launch(
        theme=theme(),
        head=head(),
        max_file_size=MAX_FILE,
        ssr_mode=False,
        footer_links=["api"],
        state_session_capacity=SESSIONS,
        app_kwargs={"exception_handlers": REFUSED},
        **options,
    )


def serve(runs: Sequence[str], trust_recipe: bool = False, **options: Any) -> None:
    """Load some runs and serve their page until it is stopped.

    Raises:
        UserError: If a run cannot be shown.
    """
    share_cores()
    launch(build_demo(load(runs, trust_recipe)), **options)


def main(runs: Sequence[str]) -> int:
    """Serve the page of some runs, or of the models that README.md names; returns the exit code."""
    logging.disable_progress_bar()  # of the weights: a second each
    try:
        runs = runs or (metadata_load(README) or {}).get("models", [])
        if not runs:
            raise UserError(
                "no run is named: write python app.py RUN, or models: [user/name] at the head of README.md"
            )
        serve(runs)
    except UserError as error:
        print(f"This cannot be shown: {printable(error)}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
