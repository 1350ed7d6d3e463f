"""How soon the Space is there, and how soon it answers.

    python benchmarks/space.py RUN [RUN ...]

Loads the runs as `hf-latent space` does, then opens the page several times in a headless Chromium, each time anew and
with an empty cache, until the maps of the first tab are drawn; and puts each question several times through HTTP.
Needs playwright and a Chromium.
"""

import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # gradio reads it as it is imported

from gradio_client import Client, handle_file
from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from hf_latent.resources import resource_path

sys.path.insert(0, str(resource_path("spaces", "app.py").parent))

import app
from tabs import ask, interactions, look

OPENINGS, QUESTIONS = 7, 20
DRAWN = "document.querySelectorAll('.js-plotly-plot').length && document.querySelectorAll('.points path').length > 300"
PAIR = ["star", "dots", "red", 10, "star", "solid", "blue", -30]
TEXTS = [f"a photo of a {color} {shape}" for color in ("red", "blue", "green") for shape in ("star", "circle")]


def took(action: Callable[[], Any], times: int) -> str:
    """The median and the most of the seconds that it took, the first time not counted."""
    seconds = []
    for _ in range(times + 1):
        start = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - start)
    return f"{statistics.median(seconds[1:]):.2f} s, at most {max(seconds[1:]):.2f} s"


def visit(browser: Browser, url: str) -> None:
    """Open the page until its maps are drawn."""
    page = browser.new_page()
    page.goto(url)
    page.wait_for_function(DRAWN)
    page.close()


def questions(explorers: list[Any], photo: Path) -> dict[str, tuple[Any, ...]]:
    """What is asked at each end point."""
    names = [explorer.name for explorer in explorers if explorer.no_space is None]
    asked: dict[str, tuple[Any, ...]] = {}
    if names:
        asked["latent_map"] = (*names[:2], "t-SNE", "modality", True)
        asked |= {"walk": (names[0], 4, 9, ""), "close_gap": (names[0], 35)}
    for explorer in explorers:
        if interactions.refusal(explorer) is None:
            asked["interactions"] = (explorer.name, *PAIR)
        if ask.refusal(explorer) is None:
            asked["ask"] = (explorer.name, handle_file(photo), "\n".join(TEXTS))
            asked["find"] = (explorer.name, TEXTS[0])
        if look.refusal(explorer) is None:
            asked["look"] = (explorer.name, handle_file(photo), "a red star")
        if explorer.head is not None:
            asked["question"] = (explorer.name, handle_file(photo), handle_file(photo), "what color is this?")
    return asked


def main(runs: list[str]) -> None:
    app.share_cores()
    start = time.perf_counter()
    explorers = app.load(runs)
    demo = app.build_demo(explorers)
    print(f"loaded and embedded, {len(runs)} models: {time.perf_counter() - start:.1f} s")
    app.launch(demo, prevent_thread_lock=True, quiet=True)
    with sync_playwright() as playwright:
        path = shutil.which("chromium") or playwright.chromium.executable_path
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        print(f"opened: {took(partial(visit, browser, demo.local_url), OPENINGS)}")
        browser.close()
    client = Client(demo.local_url, verbose=False)
    with tempfile.TemporaryDirectory() as folder:
        photo = Path(folder) / "photo.png"
        Image.new("RGB", (800, 600), "red").save(photo)
        for name, arguments in questions(explorers, photo).items():
            print(f"{name}: {took(partial(client.predict, *arguments, api_name=f'/{name}'), QUESTIONS)}")
    demo.close()


if __name__ == "__main__":
    main(sys.argv[1:])
