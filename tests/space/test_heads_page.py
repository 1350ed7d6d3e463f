"""The page of models with heads, as a person and as a program use it."""

import json

import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from tests.space.test_browser import choose, expect, go_to

SERVED = "served_heads"


@pytest.fixture(scope="module")
def client(served_heads):
    return Client(served_heads.url, verbose=False)


def test_the_endpoints_are_these(client):
    named = set(client.view_api(return_format="dict")["named_endpoints"])
    assert named == {"/latent_map", "/labels", "/ask", "/find", "/look", "/question", "/walk", "/close_gap"}


def test_answers_over_http(client, photo):
    image = handle_file(photo)
    page = client.predict("pretrained", image, "a red star", api_name="/look")
    assert page.count("<img") == 4 and "Do picture and phrase belong together?" in page
    page = client.predict("questions", image, None, "what color is this?", api_name="/question")
    assert page.count("<th scope='row'>") == 8
    page = client.predict("entailment", image, None, "a heavy star", api_name="/question")
    assert "neutral" in page and page.count("<th scope='row'>") == 3
    page = client.predict("statements", image, image, "both are red", api_name="/question")
    assert "true" in page and "false" in page


def test_what_is_missing_is_told_in_a_sentence(client, photo):
    image = handle_file(photo)
    assert "Bring an image" in client.predict("pretrained", None, "a red star", api_name="/look")
    assert "Write what to look for" in client.predict("pretrained", image, "  ", api_name="/look")
    assert "Bring two images" in client.predict("statements", image, None, "both are red", api_name="/question")
    assert "Write a question" in client.predict("questions", image, None, "", api_name="/question")


def test_mistakes_are_told_in_sentences_and_the_app_stays_up(client, photo, tmp_path):
    (tmp_path / "text.png").write_text("no image")
    image, broken = handle_file(photo), handle_file(tmp_path / "text.png")
    mistakes = [
        ("/look", ("pretrained", broken, "a red star"), "cannot be read as an image"),
        ("/look", ("pretrained", image, "x" * 301), "301"),
        ("/look", ("no_such_model", image, "a red star"), "no_such_model"),
        ("/look", ("questions", image, "a red star"), "questions"),
        ("/question", ("statements", image, broken, "both are red"), "cannot be read as an image"),
        ("/question", ("questions", image, None, "x" * 301), "301"),
        ("/question", ("pretrained", image, None, "what is this?"), "pretrained"),
    ]
    for name, arguments, words in mistakes:
        with pytest.raises((AppError, ValueError), match=words) as told:
            client.predict(*arguments, api_name=name)
        assert "Traceback" not in str(told.value)
    assert "Answer" in client.predict("questions", image, None, "what color is this?", api_name="/question")


def test_nothing_but_this_machine_was_asked(client, served_heads):
    assert served_heads.asked and served_heads.asked <= {"127.0.0.1", "localhost", "::1", "0.0.0.0"}


def test_every_tab_says_which_models_it_leaves_out(served_heads):
    page = json.dumps(served_heads.demo.get_config_file(), default=str)
    assert "see the tab Questions" in page and "To look takes a LatentALBEF" in page


@pytest.mark.slow
def test_look(visit, photo):
    page = visit()
    go_to(page, "Look")
    large, words = page.locator(".lit img:visible"), page.locator(".gallery:visible figure b")
    expect(words).to_have_text(["a", "blue", "triangle"])
    before = large.get_attribute("src")
    page.get_by_role("gridcell", name="five orange squares").click()
    expect(words).to_have_text(["five", "orange", "squares"])
    expect(large).not_to_have_attribute("src", before)
    page.get_by_label("What to look for").fill("a red zebra")
    expect(words).to_have_text(["a", "red", "zebra"])
    expect(page.get_by_text("It never saw zebra")).to_be_visible()
    before = large.get_attribute("src")
    bring_here(page, photo)
    expect(large).not_to_have_attribute("src", before)
    expect(large).to_have_attribute("alt", "Where it finds “a red zebra”")


@pytest.mark.slow
def test_questions(visit, photo):
    page = visit()
    go_to(page, "Questions")
    said, rows = page.locator(".said"), page.locator("table.likeliest tr")
    expect(rows).to_have_count(9)
    expect(page.get_by_label("Right picture")).to_be_hidden()
    page.get_by_role("gridcell", name="what texture does it have?").click()
    expect(said).to_contain_text("what texture does it have?")
    page.get_by_label("A question").fill("what shape is this?")
    expect(said).to_contain_text("what shape is this?")
    bring_here(page, photo)
    expect(said).to_contain_text("what shape is this?")

    choose(page, "Model", "statements")
    expect(page.get_by_label("A statement")).to_be_visible()
    expect(page.get_by_test_id("image").locator("visible=true")).to_have_count(2)
    expect(rows).to_have_count(3)
    expect(said).to_contain_text("both show a triangle")
    expect_after(
        lambda: page.get_by_label("Remove Image").locator("visible=true").nth(1).click(),
        page.get_by_text("Bring two images"),
    )
    page.get_by_role("gridcell", name="both have the same color").click()
    expect(said).to_contain_text("both have the same color")
    choose(page, "Model", "entailment")
    expect(page.get_by_label("A hypothesis")).to_be_visible()
    expect(rows).to_have_count(4)


@pytest.mark.slow
def test_a_broken_file_is_refused_and_the_page_goes_on(visit, tmp_path):
    (tmp_path / "wrong.png").write_text("no image")
    page = visit()
    go_to(page, "Questions")
    bring_here(page, tmp_path / "wrong.png")
    expect(page.get_by_test_id("toast-body")).to_contain_text("This file cannot be read as an image")
    page.get_by_test_id("toast-close").click()
    page.get_by_role("gridcell", name="what color does it have?").click()
    expect(page.locator(".said")).to_contain_text("what color does it have?")


def expect_after(act, locator, tries=4):
    """Act until something is seen: on a slow page, a model that was just chosen may show its rows once more."""
    for _ in range(tries - 1):
        act()
        try:
            return expect(locator).to_be_visible(timeout=8000)
        except AssertionError:
            continue
    act()
    return expect(locator).to_be_visible()


def bring_here(page, file):
    """As `bring`, into the first image of the tab that is shown."""
    page.get_by_label("Remove Image").locator("visible=true").first.click()
    expect(page.get_by_text("Bring an image").locator("visible=true")).to_be_visible()
    page.locator(".tabitem:visible input[type=file]").first.set_input_files(file)


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_everything_fits(visit, scheme):
    page = visit(viewport={"width": 390, "height": 844}, color_scheme=scheme, has_touch=True, is_mobile=True)
    for tab, shown in (("Look", ".lit img:visible"), ("Questions", ".likeliest:visible")):
        go_to(page, tab)
        expect(page.locator(shown)).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, tab
    choose(page, "Model", "statements")
    expect(page.locator("table.likeliest tr")).to_have_count(3)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.slow
def test_an_example_is_the_picture_itself(visit, heads):
    from tabs import look

    page = visit()
    go_to(page, "Look")
    page.get_by_role("gridcell", name="five orange squares").click()
    expect(page.locator(".lit img:visible")).to_have_attribute("alt", "Where it finds “five orange squares”")
    image, phrase = next(row for row in look.examples(heads["pretrained"]) if row[1] == "five orange squares")
    _, match = look.maps_of(heads["pretrained"], image, phrase)
    expect(page.locator("[title=Matching]:visible")).to_have_text(f"{100 * match:.1f} %")
