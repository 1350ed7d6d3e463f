"""Pictures of the Space and of a model card for README, taken in a headless Chromium.

    python benchmarks/screenshots.py map FILE RUN RUN [RUN ...]     # maps of the first two, colored by color
    python benchmarks/screenshots.py card FILE RUN                  # the top of a card beside its table of results

Needs playwright and a Chromium.
"""

import argparse
import io
import os
import shutil
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # gradio reads it as it is imported

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from hf_latent.hub.card_page import card_page
from hf_latent.resources import resource_path

POINT = 75  # of the first map, whose card is shown


def map_of(browser: Browser, runs: list[Path]) -> Image.Image:
    """The first tab of the Space, with the card of one point."""
    sys.path.insert(0, str(resource_path("spaces", "app.py").parent))
    import app

    app.share_cores()
    demo = app.build_demo(app.load([str(run) for run in runs]))
    app.launch(demo, prevent_thread_lock=True, quiet=True)
    page = browser.new_page(viewport={"width": 1000, "height": 1092}, color_scheme="light")
    page.goto(demo.local_url)
    page.get_by_label("t-SNE").check()
    page.get_by_label("Color by", exact=True).click()
    page.get_by_role("option", name="color", exact=True).click()
    page.wait_for_function("document.querySelectorAll('.legendtext').length > 12")
    page.wait_for_selector(".js-plotly-plot[data-cards]")
    page.wait_for_timeout(1500)  # the maps move to their places
    page.locator(".js-plotly-plot").first.locator(".points path").nth(POINT).hover(force=True)
    page.wait_for_selector("#hover-card")
    return Image.open(io.BytesIO(page.screenshot()))


def card_of(browser: Browser, run: Path) -> Image.Image:
    """The top of the card on the left, its results on the right."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "card.html"
        file.write_text(
            card_page((run / "README.md").read_text(encoding="utf-8"), run), encoding="utf-8", newline="\n"
        )
        page = browser.new_page(viewport={"width": 880, "height": 600}, color_scheme="light")
        page.goto(file.as_uri())
        parts = []
        for head in ("h1", "h2:has-text('Results')"):
            page.locator(head).first.evaluate("head => window.scrollTo(0, head.getBoundingClientRect().top - 12)")
            parts.append(Image.open(io.BytesIO(page.screenshot())))
    both = Image.new("RGB", (sum(part.width for part in parts), parts[0].height), "white")
    both.paste(parts[0], (0, 0))
    both.paste(parts[1], (parts[0].width, 0))
    return both


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=["map", "card"])
    parser.add_argument("file", type=Path)
    parser.add_argument("runs", type=Path, nargs="+")
    options = parser.parse_args()
    with sync_playwright() as playwright:
        path = shutil.which("chromium") or playwright.chromium.executable_path
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        picture = map_of(browser, options.runs) if options.kind == "map" else card_of(browser, options.runs[0])
        picture.convert("RGB").save(options.file, optimize=True)
        browser.close()


if __name__ == "__main__":
    main()
