"""A Hub of this machine for a test, and the real client of this process pointed at it."""

from types import SimpleNamespace

import pytest
from huggingface_hub import constants, hf_api
from huggingface_hub.utils import _http, close_session
from transformers.utils import hub as transformers_hub

from hf_latent.hub import push
from tests.hub.server import NOWHERE_ELSE, Server, serving


def log_in(server: Server, monkeypatch: pytest.MonkeyPatch, cache: str) -> None:
    """Point the client of this process at a server, as `user`; nobody waits before another try."""
    settings = {
        "ENDPOINT": server.url,
        "HUGGINGFACE_CO_URL_TEMPLATE": server.url + "/{repo_id}/resolve/{revision}/{filename}",
        "HF_HUB_OFFLINE": False,
        "HF_HUB_DISABLE_XET": True,
        "HF_HUB_DISABLE_TELEMETRY": True,
        "HF_HUB_CACHE": cache,
    }
    for name, value in settings.items():
        monkeypatch.setattr(constants, name, value)
    # Both keep a client, with the address that was known when it was made.
    monkeypatch.setattr(hf_api.api, "endpoint", server.url)
    monkeypatch.setattr(transformers_hub, "_hf_api", None)
    for name, value in {"HF_TOKEN": "hf_write", **NOWHERE_ELSE}.items():
        monkeypatch.setenv(name, value)
    for module in (_http, push):
        monkeypatch.setattr(module, "time", SimpleNamespace(sleep=lambda seconds: None))
    close_session()


@pytest.fixture
def server():
    with serving() as running:
        yield running


@pytest.fixture
def hub(server, monkeypatch, tmp_path_factory):
    """The repositories of a Hub that this process is logged in to, as `user`."""
    log_in(server, monkeypatch, str(tmp_path_factory.mktemp("cache")))
    yield server.hub
    close_session()
