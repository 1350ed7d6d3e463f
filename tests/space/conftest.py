"""Models and a served page that the tests of the Space share: it takes seconds to load and embed."""

import socket
from types import SimpleNamespace

import pytest

from tests.space.runs import captions_run, pairs_run

collect_ignore_glob = []
try:
    import gradio  # noqa: F401
    import plotly  # noqa: F401
except ImportError:  # the extra `space` is not installed
    collect_ignore_glob.append("test_*.py")


@pytest.fixture(scope="session", autouse=True)
def fewer_pairs():
    """Probes of the Space fit in a moment."""
    import pairs

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pairs, "PAIRS", 600)
        yield


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
def served(app, captions_folder, pairs_folder, tmp_path_factory):
    """The page of both models, its address, its models, and which hosts this process asked for."""
    asked = set()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("uploads")))
        find = socket.getaddrinfo

        def look_up(host, *rest, **options):
            asked.add(host.decode() if isinstance(host, bytes) else host)
            return find(host, *rest, **options)

        patch.setattr(socket, "getaddrinfo", look_up)
        explorers = app.load([str(captions_folder), str(pairs_folder)])
        demo = app.build_demo(explorers)
        app.launch(demo, prevent_thread_lock=True, quiet=True)
        yield SimpleNamespace(demo=demo, url=demo.local_url, explorers=explorers, asked=asked)
        demo.close()
