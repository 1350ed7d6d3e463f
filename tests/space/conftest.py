"""Models and a served page that the tests of the Space share: it takes seconds to load and embed."""

import shutil
import socket
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from tests.space.runs import captions_run, head_runs, pairs_run

collect_ignore_glob = []
try:
    import gradio  # noqa: F401
    import plotly  # noqa: F401
except ImportError:  # the extra `space` is not installed
    collect_ignore_glob.append("test_*.py")

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session", autouse=True)
def fewer_pairs():
    """Probes of the Space fit in a moment."""
    import composed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(composed, "ROWS", 600)
        yield


@pytest.fixture(scope="session", autouse=True)
def uploads(tmp_path_factory):
    """One folder of uploads for all pages of this process: gradio knows no other way."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("uploads")))
        yield


@pytest.fixture
def photo(tmp_path):
    Image.new("RGB", (120, 80), "red").save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


@pytest.fixture(scope="session")
def pairs_folder(tmp_path_factory):
    return pairs_run(tmp_path_factory.mktemp("runs") / "pairs_model")


@pytest.fixture(scope="session")
def captions_folder(tmp_path_factory):
    return captions_run(tmp_path_factory.mktemp("runs") / "captions_model")


@pytest.fixture(scope="session")
def pairs(pairs_folder):
    from explorer import Explorer

    return Explorer(str(pairs_folder))


@pytest.fixture(scope="session")
def captions(captions_folder):
    from explorer import Explorer

    return Explorer(str(captions_folder))


@pytest.fixture(scope="session")
def app():
    import app

    return app


@pytest.fixture(scope="session")
def heads_folders(tmp_path_factory):
    return head_runs(tmp_path_factory.mktemp("heads"))


@pytest.fixture(scope="session")
def heads(heads_folders):
    """Name -> a pre-trained LatentALBEF, and one of each task."""
    from explorer import Explorer

    return {folder.name: Explorer(str(folder)) for folder in heads_folders}


@pytest.fixture(scope="session")
def served(app, captions_folder, pairs_folder):
    """The page of both models, its address, its models, and which hosts this process asked for."""
    with serving(app, app.load([str(captions_folder), str(pairs_folder)])) as page:
        yield page


@pytest.fixture(scope="session")
def served_heads(app, heads):
    """The same of the models with heads."""
    with serving(app, list(heads.values())) as page:
        yield page


@contextmanager
def serving(app, explorers):
    asked = set()
    with pytest.MonkeyPatch.context() as patch:
        find = socket.getaddrinfo

        def look_up(host, *rest, **options):
            asked.add(host.decode() if isinstance(host, bytes) else host)
            return find(host, *rest, **options)

        patch.setattr(socket, "getaddrinfo", look_up)
        demo = app.build_demo(explorers)
        app.launch(demo, prevent_thread_lock=True, quiet=True)
        yield SimpleNamespace(demo=demo, url=demo.local_url, explorers=explorers, asked=asked)
        demo.close()


@pytest.fixture(scope="session")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        installed = [path for path in (*map(shutil.which, CHROMIUM), playwright.chromium.executable_path) if path]
        found = next((path for path in installed if Path(path).exists()), None)
        if found is None:
            pytest.skip("there is no Chromium")
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(browser, request):
    """Opens the page, `served` or the one that a test module names in `SERVED`; at the end nothing may have gone wrong
    in it."""
    url = request.getfixturevalue(getattr(request.module, "SERVED", "served")).url
    pages, wrong = [], []

    def opened(**options):
        page = browser.new_page(**{"viewport": {"width": 1280, "height": 900}, **options})
        page.set_default_timeout(60_000)  # the machine may be busy
        page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda asked: wrong.append(asked.url) if leaves(asked.url) else None)
        page.goto(url)
        page.wait_for_selector(".js-plotly-plot .main-svg")
        pages.append(page)
        return page

    def leaves(asked):
        return not asked.startswith((url, "data:", "blob:"))

    yield opened
    for page in pages:
        page.close()
    assert not wrong
