"""The commands of the Space: what is published, for which model, and which mistakes are told in a sentence."""

import re
import socket
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from huggingface_hub import metadata_load
from packaging.requirements import Requirement

import hf_latent
from hf_latent.cli import main
from hf_latent.errors import UserError
from hf_latent.hub import space
from hf_latent.hub.push import publish_folder
from hf_latent.resources import resource_path
from tests.hub.faults import some, survives
from tests.space.runs import QUESTIONS, QuestionAnswering, albef_run, captions_run

SOURCE = resource_path("spaces", "app.py").parent
LIBRARY = Path(hf_latent.__file__).parent


def publish_model(folder, name="user/model", files=("config.json", "model.safetensors", "recipe.yaml"), **options):
    folder.mkdir(parents=True)
    for file in files:
        (folder / file).write_text("{}")
    publish_folder(folder, name, message="a model", **options)
    return str(folder)


@pytest.fixture
def run(hub, tmp_path):
    """A folder whose model is on the Hub as user/model."""
    return publish_model(tmp_path / "run")


def head_of(repository, tmp_path):
    (tmp_path / "README.md").write_bytes(repository.files()["README.md"])
    return metadata_load(tmp_path / "README.md")


def test_a_space_is_published_with_all_that_it_runs_on(hub, server, run, capsys):
    assert main(["push-space", "user/model", "user/app", "--private"]) == 0
    assert capsys.readouterr().out == f"Space: {server.url}/spaces/user/app\n"
    repository = hub.repository("user/app", "space")
    shipped = {path.relative_to(SOURCE).as_posix() for path in SOURCE.rglob("*") if path.is_file()}
    library = {f"hf_latent/{path.relative_to(LIBRARY).as_posix()}" for path in LIBRARY.rglob("*.py")}
    wanted = {name for name in shipped | library if "__pycache__" not in name and "/_share/" not in name}
    assert set(repository.files()) == wanted | {"requirements.txt", "hf_latent/py.typed"}
    assert {"app.py", "README.md", "tabs/ask.py", "hover.js", "hf_latent/models/encoders.py"} <= wanted
    assert repository.private and repository.sdk == "gradio" and repository.messages() == ["The Space of user/model"]
    assert main(["push-space", "user/model", "user/app", "--private"]) == 0
    assert len(repository.messages()) == 1


def test_its_readme_says_what_runs_and_names_the_model(hub, run, tmp_path):
    space.push_space("user/model", "user/app")
    repository = hub.repository("user/app", "space")
    head = head_of(repository, tmp_path)
    assert head["models"] == ["user/model"] and head["title"] == "Inside model"
    assert (head["sdk"], head["app_file"], head["python_version"]) == ("gradio", "app.py", "3.12")
    assert len(head["short_description"]) <= 60  # the Hub refuses more
    assert b"# Inside a latent space" in repository.files()["README.md"]
    pinned = (SOURCE.parent / "constraints.txt").read_text()
    assert f"gradio=={head['sdk_version']}\n" in pinned  # the version that is tested


@pytest.mark.slow
def test_a_space_runs_on_the_library_that_it_carries(tmp_path):
    """Nothing is installed by the bare name of this library, which anybody may register on an index."""
    space.write_space(tmp_path / "space", ["user/model"])
    required = (tmp_path / "space" / "requirements.txt").read_text(encoding="utf-8").splitlines()
    names = [Requirement(line).name for line in required]
    assert {"torch", "transformers", "datasets", "plotly"} <= set(names)
    assert not {"hf_latent", "hf-latent", "gradio", "pytest", "ruff"} & set(names) and not any(
        ";" in r for r in required
    )
    script = "import app, hf_latent, sys; print(hf_latent.__file__); sys.exit(app.main(['user/none']))"
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path / "space", capture_output=True, text=True)
    assert done.stdout.strip() == str(tmp_path / "space" / "hf_latent" / "__init__.py")
    assert done.returncode == 2 and "This cannot be shown: user/none" in done.stderr


def test_nobody_is_told_to_install_by_a_bare_name():
    named = re.compile(r"pip3? install[^\n]*?['\" ](?!-e)hf[-_]latent\b")
    top = SOURCE.parent
    parts = ("hf_latent", "spaces", "model_cards", "examples", "training_args", "benchmarks")
    files = [path for part in parts for path in (top / part).rglob("*.*")]
    texts = [path for path in [*files, *top.glob("*.md")] if path.suffix in (".py", ".md", ".jinja", ".txt", ".yaml")]
    assert len(texts) > 100
    assert not [path for path in texts if named.search(path.read_text(encoding="utf-8"))]
    assert named.search('pip install "hf_latent[space]"') and named.search("pip install hf_latent")


def test_a_run_folder_takes_the_id_of_its_model(hub, run, tmp_path):
    space.push_space(run, "user/app", model="user/model")
    assert head_of(hub.repository("user/app", "space"), tmp_path)["models"] == ["user/model"]


@pytest.mark.parametrize("fault", some("cut", "answer lost", "error 500", "errors 503", "unauthorized", "conflict"))
def test_a_space_survives(hub, server, run, fault):
    arguments = ["push-space", "user/model", "user/app"]
    assert survives(server, fault, arguments, "user/app", "space") > 4


def test_mistakes_are_told_and_nothing_is_published(hub, run, tmp_path, capsys):
    publish_model(tmp_path / "empty", "user/empty", files=["README.md"])
    (tmp_path / "bare").mkdir()
    mistakes = {
        (run, "user/app"): f"push it with hf-latent push {run} user/model, then write --model user/model",
        (str(tmp_path / "bare"), "user/app", "--model", "user/model"): "holds no config.json",
        ("user/other", "user/app"): "the Hub has no model user/other that you may read",
        (run, "user/app", "--model", "user/other"): "the Hub has no model user/other",
        ("user/model", "user/app", "--model", "user/other"): "leave out --model user/other",
        ("user/empty", "user/app"): "user/empty holds no config.json",
        ("no such/folder", "user/app"): "is neither a folder nor the id of a model: write user/model",
        ("missing", "user/app"): "there is no folder missing; the id of a model on the Hub is written user/model",
        ("outputs/missing", "user/app"): "there is no folder outputs/missing",
        (str(tmp_path / "missing"), "user/app"): "missing; the id of a model on the Hub is written user/model",
        ("user/model", "not a name"): "'not a name' names no repository",
    }
    before = set(hub.repositories)
    for arguments, words in mistakes.items():
        assert main(["push-space", *arguments]) == 2
        told = capsys.readouterr().err
        assert told.startswith("hf-latent: ") and words in told and "Traceback" not in told
    assert set(hub.repositories) == before


def test_a_pushed_model_is_shown_as_its_run_is(hub, tmp_path):
    folder = captions_run(tmp_path / "run")
    from explorer import Explorer  # as the Space finds it

    assert main(["push", str(folder), "user/clip"]) == 0
    shown, own = Explorer("user/clip"), Explorer(str(folder))
    assert shown.name == "user/clip" and shown.sample.title == own.sample.title and not shown.note
    assert all(torch.equal(rows, own.unit[name]) for name, rows in shown.unit.items())
    assert shown.source == own.source and shown.views.modalities == own.views.modalities
    assert shown.metrics["zero_shot_top1"] == own.metrics["zero_shot_top1"]


def test_a_pushed_model_answers_as_its_run_does(hub, tmp_path):
    folder = albef_run(tmp_path / "run", QuestionAnswering, QUESTIONS)
    from explorer import Explorer

    assert main(["push", str(folder), "user/answers"]) == 0
    assert main(["push-space", str(folder), "user/app", "--model", "user/answers"]) == 0
    assert {"heads.py", "tabs/look.py", "tabs/questions.py"} <= set(hub.repository("user/app", "space").files())
    shown, own = Explorer("user/answers").head, Explorer(str(folder)).head
    assert shown.examples[0][1] == own.examples[0][1] and not shown.note
    assert shown.shares(*own.examples[0]) == own.shares(*own.examples[0])


def test_a_hub_that_is_out_of_reach_is_told():
    with pytest.raises(UserError, match="the Hub cannot be asked for user/model"):  # the tests are offline
        space.push_space("user/model", "user/app")


def test_a_private_model_and_one_without_a_recipe_are_remarked_on(hub, tmp_path, capsys):
    publish_model(tmp_path / "secret", "user/secret", files=["config.json"], private=True)
    space.push_space("user/secret", "user/app")
    said = capsys.readouterr().out
    assert "is private: give the Space a secret HF_TOKEN" in said and "holds no recipe.yaml" in said


@pytest.fixture
def app(monkeypatch):
    """The app as `hf-latent space` finds it, of which nothing is loaded."""
    app = ModuleType("app")
    app.served = []
    app.serve = lambda *given, **options: app.served.append((*given, options))
    monkeypatch.setitem(sys.modules, "app", app)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return app


def test_runs_are_served_on_the_port_that_is_named(app):
    assert main(["space", "a", "b", "--port", "7999"]) == 0
    assert app.served == [(["a", "b"], False, {"server_port": 7999})]
    assert main(["space", "a", "--trust-recipe"]) == 0 and app.served[1] == (["a"], True, {"server_port": None})
    assert sys.path[0] == str(SOURCE)


@pytest.mark.parametrize("port", ["99999", "0", "-1", "65536"])
def test_what_is_no_port_is_refused_before_a_model_is_loaded(app, capsys, monkeypatch, port):
    assert main(["space", "a", "--port", port]) == 2
    assert capsys.readouterr().err == (f"hf-latent: --port is {port}: write a port from 1 to 65535, such as 7860\n")
    monkeypatch.setenv("GRADIO_SERVER_PORT", f"{port}")
    assert main(["space", "a"]) == 2
    assert f"GRADIO_SERVER_PORT is {port}: write a port" in capsys.readouterr().err
    assert app.served == []


def test_a_port_that_is_taken_is_refused_before_a_model_is_loaded(app, capsys, monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert main(["space", "a", "--port", port]) == 2
        assert f"the page cannot be served on port {port} (Address already in use)" in capsys.readouterr().err
        assert app.served == []
        monkeypatch.setenv("GRADIO_SERVER_PORT", port)  # the first free one from there
        assert main(["space", "a"]) == 0
    monkeypatch.setenv("GRADIO_SERVER_PORT", "my port")
    assert main(["space", "a"]) == 2
    assert "GRADIO_SERVER_PORT is my port: write a port" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:  # argparse's own sentence
        main(["space", "a", "--port", "my port"])
    assert ended.value.code == 2


def test_without_its_libraries_or_its_port_it_says_so(app, monkeypatch, capsys):
    def serve(*given, **options):
        raise OSError("Cannot find empty port in range: 80-80.")

    app.serve = serve
    assert main(["space", "a", "--port", "80"]) == 2
    told = "the page cannot be served on port 80 (Cannot find empty port in range: 80-80): name a free one with --port"
    assert told in capsys.readouterr().err
    monkeypatch.setattr(space, "NEEDED", ("gradio", "no_such_library"))
    assert main(["space", "a"]) == 2
    assert (
        "the Space needs no_such_library: pip install '.[space]' in a checkout of this library"
        in capsys.readouterr().err
    )
