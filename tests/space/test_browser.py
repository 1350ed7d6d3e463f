"""The page as a person uses it, in a headless Chromium: every tab, at a desk and on a phone, in light and dark.

No error may reach the console, and no request leave the machine. Skipped where playwright or a Chromium is missing.
"""

import time

import pytest
from PIL import Image

sync_api = pytest.importorskip("playwright.sync_api")
expect = sync_api.expect
expect.set_options(timeout=30_000)  # the page may be slow, on a machine that runs other tests beside
TABS = ("Latent map", "R, U, S", "Labels", "Ask", "Structure")
PLOT = ".js-plotly-plot .main-svg"


def go_to(page, tab):
    page.get_by_role("tab", name=tab, exact=True).click()


def choose(page, label, option):
    page.get_by_label(label, exact=True).locator("visible=true").click()
    page.get_by_role("option", name=option, exact=True).click()


def bring(page, file):
    page.get_by_label("Remove Image").click()
    expect(page.get_by_text("Bring an image")).to_be_visible()
    page.locator("input[type=file]").set_input_files(file)


def test_the_page_opens_soon(visit):
    start = time.perf_counter()
    page = visit()
    assert time.perf_counter() - start < 30  # measured in benchmarks/space.py; here the machine may be busy
    expect(page.locator("h1")).to_have_text("Inside a latent space")
    assert page.locator(PLOT).count() >= 2


@pytest.mark.slow
def test_the_latent_map(visit):
    page = visit()
    plots = page.locator(".js-plotly-plot")
    expect(plots.nth(1).locator(".points path")).to_have_count(600)  # two images and both together, 200 rows
    page.wait_for_selector(".js-plotly-plot[data-cards]")
    plots.nth(0).locator(".points path").nth(30).hover(force=True)
    card = page.locator("#hover-card")
    expect(card).to_contain_text("image: ")
    expect(card).to_contain_text("a photo of")
    expect(card.locator(".tile-image")).to_have_count(1)
    plots.nth(1).locator(".points path").nth(30).hover(force=True)
    expect(card.locator(".tile-image")).to_have_count(2)  # a pair
    page.mouse.move(5, 5)
    expect(card).to_have_count(0)

    choose(page, "Color by", "color")
    expect(plots.nth(0).locator(".legendtext").first).to_have_text("red")
    choose(page, "Compared with", "captions_model")
    expect(plots.nth(1).locator(".points path")).to_have_count(400)
    page.get_by_label("Join what belongs together").uncheck()
    expect(plots.nth(0).locator(".js-line")).to_have_count(0)
    page.get_by_label("PCA in 3-D").check()
    page.wait_for_selector(".js-plotly-plot canvas")
    expect(page.locator("table.numbers")).to_contain_text("Modality gap")


@pytest.mark.slow
def test_redundant_unique_synergistic(visit):
    page = visit()
    go_to(page, "R, U, S")
    answers = page.locator("table.answers")
    expect(answers).to_contain_text("Synergistic")
    picture = page.locator(".picked img")
    expect(picture.nth(0)).to_have_attribute("alt", "green square, stripes")
    choose(page, "Shape 1", "circle")
    expect(picture.nth(0)).to_have_attribute("alt", "green circle, stripes")
    before = picture.nth(1).get_attribute("src")
    angle = page.get_by_role("slider", name="Angle 2")
    angle.focus()
    for _ in range(5):
        angle.press("ArrowRight")
    expect(picture.nth(1)).not_to_have_attribute("src", before)
    page.get_by_role("button", name="A color that does not").click()
    expect(picture.nth(0)).to_have_attribute("alt", "green square, stripes")
    unfit = page.get_by_label("Color 2", exact=True).input_value()
    page.get_by_role("button", name="Give image 2 the color").click()
    expect(page.get_by_label("Color 2", exact=True)).not_to_have_value(unfit)
    expect(page.locator(".js-plotly-plot .hm image, .js-plotly-plot .heatmaplayer image")).not_to_have_count(0)
    page.get_by_role("button", name="Which held-out rows").click()
    expect(page.locator(".views .pair").first).to_be_visible()


@pytest.mark.slow
def test_ask(visit, tmp_path):
    page = visit()
    go_to(page, "Ask")
    answer = page.locator("table.terms")
    expect(answer).to_contain_text("brownian bridge")
    before = answer.inner_html()
    page.locator(".gallery-item").nth(2).click()
    expect(answer).not_to_have_text(before)

    Image.new("RGB", (90, 60), "red").save(tmp_path / "mine.png")
    (tmp_path / "wrong.png").write_text("no image")
    page.get_by_label("Texts, one a line").fill("a photo of a red star\nso is this")
    bring(page, tmp_path / "mine.png")
    expect(answer.locator("tr")).to_have_count(3)
    expect(answer).to_contain_text("so is this")
    page.get_by_label("Texts, one a line").fill("")
    page.get_by_role("button", name="Which text fits?").click()
    expect(page.get_by_test_id("toast-body")).to_contain_text("There are 0 texts")
    page.get_by_test_id("toast-close").click()
    bring(page, tmp_path / "wrong.png")
    expect(page.get_by_test_id("toast-body")).to_contain_text("This file cannot be read as an image")

    found = page.locator(".gallery figure")
    expect(found).to_have_count(8)
    first = found.first.inner_text()
    page.get_by_label("A text", exact=True).fill("a photo of a white circle")
    expect(found.first).not_to_have_text(first)


@pytest.mark.slow
def test_structure(visit):
    page = visit()
    go_to(page, "Structure")
    steps, text = page.locator(".steps"), page.get_by_label("To this text")
    expect(steps.locator(".near")).to_have_count(20)
    before, caption = steps.inner_text(), text.input_value()
    page.get_by_role("button", name="Strangers").click()
    expect(text).not_to_have_value(caption)
    expect(steps).not_to_have_text(before)
    before = steps.inner_text()
    text.fill("a photo of a white circle")
    expect(steps).not_to_have_text(before)
    expect(steps).to_contain_text("25 % image, 75 % text")

    gap = page.locator(".tile b").first
    untouched = gap.inner_text()
    slider = page.get_by_role("slider", name="How much of the gap")
    slider.focus()
    for _ in range(20):
        slider.press("ArrowRight")
    expect(gap).not_to_have_text(untouched)
    choose(page, "Model", "pairs_model")
    expect(text).to_be_hidden()
    expect(steps).to_contain_text("100 % image1, 0 % image2")


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_everything_fits_and_is_readable(visit, scheme):
    page = visit(viewport={"width": 390, "height": 844}, color_scheme=scheme, has_touch=True, is_mobile=True)
    for tab in TABS:
        go_to(page, tab)
        page.wait_for_timeout(600)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, tab
    words, ground = page.evaluate(
        """() => {
          const text = document.querySelector('.js-plotly-plot .main-svg text.legendtext');
          return [getComputedStyle(text).fill, getComputedStyle(document.body).backgroundColor];
        }"""
    )

    def lightness(color):
        return sum(float(part) for part in color[color.index("(") + 1 : -1].split(",")[:3]) / 3

    assert (lightness(ground) < 60) == (scheme == "dark")
    assert abs(lightness(words) - lightness(ground)) > 120
