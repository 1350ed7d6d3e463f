"""The commands of the Space: what is published, for which model, and which mistakes are told in a sentence."""

import sys
from types import ModuleType, SimpleNamespace

import huggingface_hub
import pytest
from huggingface_hub import metadata_load
from huggingface_hub.errors import RepositoryNotFoundError

from hf_latent.cli import main
from hf_latent.errors import UserError
from hf_latent.hub import space
from hf_latent.resources import resource_path

WHOLE = ("config.json", "model.safetensors", "recipe.yaml")


@pytest.fixture
def hub(monkeypatch):
    """A Hub that has some models, and keeps what is published."""
    models, published = {"me/model": (WHOLE, False)}, []

    def model_info(self, name):
        if name not in models:
            raise RepositoryNotFoundError("404", response=SimpleNamespace(headers={}, status_code=404, request=None))
        files, private = models[name]
        return SimpleNamespace(siblings=[SimpleNamespace(rfilename=file) for file in files], private=private)

    def publish_folder(folder, repo_id, **options):
        files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        head = metadata_load(folder / "README.md")
        published.append(SimpleNamespace(repo_id=repo_id, files=files, head=head, options=options))
        return f"https://hub/spaces/{repo_id}"

    push = ModuleType("hf_latent.hub.push")
    push.publish_folder = publish_folder
    monkeypatch.setitem(sys.modules, "hf_latent.hub.push", push)
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", model_info)
    return SimpleNamespace(models=models, published=published)


@pytest.fixture
def run(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text("{}")
    return str(tmp_path / "run")


def test_a_space_is_published_with_all_that_it_runs_on(hub, capsys):
    assert main(["push-space", "me/model", "me/space", "--private"]) == 0
    assert capsys.readouterr().out == "Space: https://hub/spaces/me/space\n"
    (done,) = hub.published
    source = resource_path("spaces", "app.py").parent
    wanted = {str(path.relative_to(source)) for path in source.rglob("*") if path.is_file()}
    assert set(done.files) == {name for name in wanted if "__pycache__" not in name}
    assert {"app.py", "requirements.txt", "README.md", "tabs/ask.py", "hover.js"} <= set(done.files)
    assert done.options == {
        **{"repo_type": "space", "space_sdk": "gradio", "private": True},
        "message": "The Space of me/model",
    }


def test_its_readme_says_what_runs_and_names_the_model(hub):
    space.push_space("me/model", "me/space")
    head = hub.published[0].head
    assert head["models"] == ["me/model"] and head["title"] == "Inside model"
    assert (head["sdk"], head["app_file"], head["python_version"]) == ("gradio", "app.py", "3.12")
    assert len(head["short_description"]) <= 60  # the Hub refuses more
    assert "# Inside a latent space" in hub.published[0].files["README.md"].decode()
    assert hub.published[0].files["requirements.txt"].decode() == "hf_latent[space]\n"


def test_the_version_of_gradio_is_the_one_that_is_tested(hub):
    space.push_space("me/model", "me/space")
    pinned = (resource_path("spaces", "app.py").parents[1] / "constraints.txt").read_text()
    assert f"gradio=={hub.published[0].head['sdk_version']}\n" in pinned


def test_a_run_folder_takes_the_id_of_its_model(hub, run):
    space.push_space(run, "me/space", model="me/model")
    assert hub.published[0].head["models"] == ["me/model"]


def test_mistakes_are_told_and_nothing_is_published(hub, run, tmp_path, capsys):
    hub.models["me/empty"] = (("README.md",), False)
    mistakes = {
        (run, "me/space"): f"push it with hf-latent push {run} user/model, then write --model user/model",
        (str(tmp_path), "me/space", "--model", "me/model"): "holds no config.json",
        ("me/other", "me/space"): "the Hub has no model me/other that you may read",
        (run, "me/space", "--model", "me/other"): "the Hub has no model me/other",
        ("me/model", "me/space", "--model", "me/other"): "leave out --model me/other",
        ("me/empty", "me/space"): "me/empty holds no config.json",
    }
    for arguments, words in mistakes.items():
        assert main(["push-space", *arguments]) == 2
        told = capsys.readouterr().err
        assert told.startswith("hf-latent: ") and words in told and "Traceback" not in told
    assert not hub.published


def test_what_is_no_id_and_a_hub_that_does_not_answer(monkeypatch):
    with pytest.raises(UserError, match="neither a folder nor the id of a model: write user/model"):
        space.push_space("no such/folder/here", "me/space")
    with pytest.raises(UserError, match="the Hub cannot be asked for me/model"):  # the tests are offline
        space.push_space("me/model", "me/space")


def test_a_private_model_and_one_without_a_recipe_are_remarked_on(hub, capsys):
    hub.models["me/model"] = (("config.json",), True)
    space.push_space("me/model", "me/space")
    said = capsys.readouterr().out
    assert "is private: give the Space a secret HF_TOKEN" in said and "holds no recipe.yaml" in said


@pytest.fixture
def app(monkeypatch):
    """The app as `hf-latent space` finds it, of which nothing is loaded."""
    app = ModuleType("app")
    app.served = []
    app.serve = lambda runs, **options: app.served.append((runs, options))
    monkeypatch.setitem(sys.modules, "app", app)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return app


def test_runs_are_served_on_the_port_that_is_named(app):
    assert main(["space", "a", "b", "--port", "7999"]) == 0
    assert app.served == [(["a", "b"], {"server_port": 7999})]
    assert sys.path[0] == str(resource_path("spaces", "app.py").parent)


def test_without_its_libraries_or_its_port_it_says_so(app, monkeypatch, capsys):
    def serve(runs, **options):
        raise OSError("Cannot find empty port in range: 80-80.")

    app.serve = serve
    assert main(["space", "a", "--port", "80"]) == 2
    assert "the page cannot be served: Cannot find empty port" in capsys.readouterr().err
    monkeypatch.setattr(space, "NEEDED", ("gradio", "no_such_library"))
    assert main(["space", "a"]) == 2
    assert "the Space needs no_such_library: pip install 'hf_latent[space]'" in capsys.readouterr().err
