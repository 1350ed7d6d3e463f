"""One commit, whole or not at all, whatever breaks on the way; and words that a person can act on."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from huggingface_hub import HfApi, get_token

import hf_latent
from hf_latent.cli import main
from hf_latent.errors import UserError
from hf_latent.hub import push
from hf_latent.hub.push import publish_folder
from hf_latent.hub.shareable import stage_run
from tests.hub.faults import FAULTS, some, survives, told_after
from tests.hub.local_hub import File
from tests.hub.runs import save_run
from tests.hub.server import Fault
from tests.test_recipe import BASE

WEIGHTS = bytes(range(256)) * 40


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "folder" / "figures").mkdir(parents=True)
    (tmp_path / "folder" / "README.md").write_text("---\nlicense: mit\n---\n# A model\n")
    (tmp_path / "folder" / "model.safetensors").write_bytes(WEIGHTS)
    (tmp_path / "folder" / "figures" / "losses.png").write_bytes(b"\0picture")
    return tmp_path / "folder"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return save_run(tmp_path_factory.mktemp("outputs") / "tiny", BASE)


@pytest.fixture
def staged_once(monkeypatch, tmp_path):
    """The files of a run are put together once: what follows is about the line."""
    ready: dict[Path, Path] = {}

    def stage(run, folder, repository):
        if run not in ready:
            ready[run] = tmp_path / f"ready{len(ready)}"
            stage_run(run, folder, repository)
            shutil.copytree(folder, ready[run])
        shutil.copytree(ready[run], folder, dirs_exist_ok=True)

    monkeypatch.setattr(push, "stage_run", stage)


def test_a_folder_becomes_one_commit_and_the_same_again_none(hub, server, folder):
    assert publish_folder(folder, "user/name", message="first") == f"{server.url}/user/name"
    repository = hub.repository("user/name")
    assert repository.files() == {
        "README.md": (folder / "README.md").read_bytes(),
        "figures/losses.png": b"\0picture",
        "model.safetensors": WEIGHTS,
    }
    assert repository.messages() == ["first"] and not repository.private
    assert repository.branches["main"].files["model.safetensors"].lfs
    publish_folder(folder, "user/name", message="second")
    assert repository.messages() == ["first"]
    (folder / "README.md").write_text("# Another\n")
    publish_folder(folder, "name", message="third")  # of the user whose token it is
    assert repository.messages() == ["first", "third"]
    assert repository.files()["README.md"] == b"# Another\n" and len(repository.files()) == 3


def test_files_that_come_inside_the_commit(hub, folder):
    hub.lfs = False
    publish_folder(folder, "user/name", message="first")
    publish_folder(folder, "user/name", message="second")
    assert hub.repository("user/name").messages() == ["first"]
    assert hub.repository("user/name").files()["model.safetensors"] == WEIGHTS


def test_what_is_gone_is_removed_where_it_can_only_be_ours(hub, folder):
    publish_folder(folder, "user/name", message="first")
    repository = hub.repository("user/name")
    by_hand = {"notes.md": File(b"mine"), "figures/me.jpg": File(b"mine"), "handler.py": File(b"mine")}
    repository.commit("main", {**repository.branches["main"].files, **by_hand}, "by hand")
    (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")
    (folder / "figures" / "losses.png").unlink()
    publish_folder(folder, "user/name", message="second")
    assert set(repository.files()) == {"README.md", "model-00001-of-00001.safetensors", *by_hand}
    assert repository.messages() == ["first", "by hand", "second"]


def test_private_means_private(hub, folder):
    publish_folder(folder, "user/secret", private=True, message="first")
    assert hub.repository("user/secret").private
    publish_folder(folder, "user/open", message="first")
    (folder / "README.md").write_text("# For me alone\n")
    with pytest.raises(UserError, match="open is public: make it private"):
        publish_folder(folder, "user/open", private=True, message="second")
    assert hub.repository("user/open").messages() == ["first"]


def test_a_revision_begins_where_main_stands(hub, server, folder):
    publish_folder(folder, "user/name", message="first")
    (folder / "model.safetensors").write_bytes(WEIGHTS[::-1])
    publish_folder(folder, "user/name", revision="wide/2", message="second")
    repository = hub.repository("user/name")
    assert repository.messages() == ["first"] and repository.messages("wide/2") == ["first", "second"]
    assert repository.files()["model.safetensors"] == WEIGHTS
    assert repository.files("wide/2")["model.safetensors"] == WEIGHTS[::-1]
    puts = [number for number, line in enumerate(server.requests) if line.startswith("PUT")]
    assert puts[-1] < next(i for i, line in enumerate(server.requests) if "/branch/" in line)
    publish_folder(folder, "user/name", revision="wide/2", message="third")
    assert repository.messages("wide/2") == ["first", "second"]
    HfApi().create_tag("user/name", tag="v1", revision="wide/2")
    (folder / "README.md").write_text("# New\n")
    with pytest.raises(UserError, match="no branch 'v1': a tag or a commit cannot be written to"):
        publish_folder(folder, "user/name", revision="v1", message="fourth")


def test_a_space_and_a_data_set(hub, server, folder):
    url = publish_folder(folder, "user/app", repo_type="space", space_sdk="gradio", message="first")
    assert url == f"{server.url}/spaces/user/app" and hub.repository("user/app", "space").sdk == "gradio"
    assert (
        publish_folder(folder, "user/rows", repo_type="dataset", message="first") == f"{server.url}/datasets/user/rows"
    )
    assert hub.repository("user/app", "space").files() == hub.repository("user/rows", "dataset").files()


@pytest.mark.parametrize("fault", some(*FAULTS))
def test_a_new_repository_survives(hub, server, run, staged_once, fault):
    assert survives(server, fault, ["push", str(run), "user/name"], "user/name") > 6


@pytest.mark.parametrize("fault", some("cut", "cut for good", "answer lost", "errors 503", "conflict"))
def test_an_older_push_survives(hub, server, run, tmp_path, staged_once, fault):
    assert main(["push", str(save_run(tmp_path / "older", BASE, seed=1)), "user/name"]) == 0
    assert survives(server, fault, ["push", str(run), "user/name"], "user/name") > 6


@pytest.mark.slow
def test_a_branch_survives(hub, server, run, tmp_path, staged_once):
    """It is what main was, or complete."""
    old = save_run(tmp_path / "older", BASE, seed=1)
    for at in range(20):
        name = f"user/name{at}"
        assert main(["push", str(old), name]) == 0
        server.fault = Fault("cut", at=at, lasting=True)
        code = main(["push", str(run), name, "--revision", "new"])
        struck = server.reached.is_set()
        server.fault = None
        repository = hub.repository(name)
        main_files = repository.files()
        assert code == (2 if struck else 0)
        assert "new" not in repository.branches or repository.files("new") == main_files or not struck
        assert main(["push", str(run), name, "--revision", "new"]) == 0
        assert repository.files() == main_files and len(repository.messages("new")) == 2
        assert repository.files("new")["model.safetensors"] == (run / "model.safetensors").read_bytes()
        if not struck:
            return
    raise AssertionError("the fault strikes for ever")


def test_what_has_arrived_is_not_sent_again(hub, server, folder):
    last = "POST /api/models/user/name/commit/main"
    told = told_after(server, Fault("cut", last, True), lambda: publish_folder(folder, "user/name", message="first"))
    assert "run the same command again to go on" in told
    server.fault = None
    publish_folder(folder, "user/name", message="first")
    assert not [line for line in server.requests if line.startswith("PUT")] and server.requests[-1] == last


def test_somebody_else_pushes_at_the_same_time(hub, server, folder, monkeypatch):
    """What was unchanged when we looked may have changed since: the commit must not build on it."""
    publish_folder(folder, "user/name", message="first")
    repository, answer = hub.repository("user/name"), hub.answer
    (folder / "README.md").write_text("# New\n")
    intrusions = iter(range(100))

    def intruded(request):
        if "/commit/" in request.path and next(intrusions) < limit:
            theirs = {"model.safetensors": File(b"\0theirs", lfs=True), "extra.txt": File(b"theirs")}
            files = {**repository.branches["main"].files, **theirs}
            repository.commit("main", files, f"theirs {len(repository.messages())}")
        return answer(request)

    monkeypatch.setattr(hub, "answer", intruded)
    limit = 1
    publish_folder(folder, "user/name", message="second")
    assert repository.messages() == ["first", "theirs 1", "second"]
    assert repository.files()["model.safetensors"] == WEIGHTS and repository.files()["README.md"] == b"# New\n"
    assert repository.files()["extra.txt"] == b"theirs"
    limit = 100
    (folder / "README.md").write_text("# Newer\n")
    with pytest.raises(UserError, match="somebody else writes to user/name at this moment"):
        publish_folder(folder, "user/name", message="third")
    assert "third" not in repository.messages()


@pytest.mark.slow
def test_a_killed_pusher(hub, server, run, tmp_path):
    old = save_run(tmp_path / "older", BASE, seed=1)
    assert main(["push", str(old), "user/name"]) == 0
    before = hub.repository("user/name").files()
    server.fault = Fault("hang", at="POST /api/models/user/name/commit/main")
    environment = server.environment(
        tmp_path / "home", "hf_write", PYTHONPATH=str(Path(hf_latent.__file__).parents[1])
    )
    command = [sys.executable, "-m", "hf_latent", "push", str(run), "user/name"]
    pusher = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert server.reached.wait(300)
    pusher.kill()
    pusher.wait()
    assert hub.repository("user/name").files() == before
    server.fault = None
    assert main(["push", str(run), "user/name"]) == 0
    after = hub.repository("user/name").files()
    assert after["model.safetensors"] == (run / "model.safetensors").read_bytes() != before["model.safetensors"]
    assert set(after) == set(before) and len(hub.repository("user/name").messages()) == 2


@pytest.mark.parametrize(
    ("name", "token", "fault", "words"),
    [
        ("user/name", None, None, "make a token with the role write at http://127.0.0.1"),
        ("user/name", "hf_wrong", None, "does not know this token: run hf auth login anew"),
        ("user/name", "hf_read", None, "you may not write to user/name"),
        ("other/name", "hf_write", None, "you may not write to other/name"),
        ("a/b/c", "hf_write", None, "'a/b/c' names no repository: write user/name"),
        ("user/..", "hf_write", None, "names no repository"),
        ("user/name", "hf_write", Fault("cut", 2, True), "broke (Server disconnected"),
        ("user/name", "hf_write", Fault(503, 0, True), "broke (injected 503); user/name is as it was or complete"),
        ("user/name", "hf_write", Fault(402, 0, True), "refuses user/name: injected 402"),
        ("user/name", "hf_write", Fault(413, 6, True), "refuses user/name: injected 413"),
    ],
)
def test_mistakes_end_in_one_sentence_and_code_2(hub, server, run, monkeypatch, capsys, name, token, fault, words):
    monkeypatch.setenv("HF_TOKEN", token or "")
    assert get_token() == token
    server.fault = fault
    assert main(["push", str(run), name]) == 2
    told = capsys.readouterr().err.strip().splitlines()[-1]
    assert told.startswith("hf-latent: ") and words in told and "Traceback" not in told
    assert token is None or token not in told


def test_a_folder_without_a_model_is_told_before_the_login_is_asked_for(hub, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HF_TOKEN", "")
    assert get_token() is None
    assert main(["push", str(tmp_path / "nothing"), "user/name"]) == 2
    assert "nothing holds no model.safetensors: name the folder of a finished run" in capsys.readouterr().err


def test_a_card_that_the_hub_refuses(hub, folder):
    (folder / "README.md").write_text("---\n{\n---\n")
    with pytest.raises(UserError, match="the Hub refuses the files: Invalid metadata in README.md"):
        publish_folder(folder, "user/name", message="first")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConnectionError("no route to the storage"), "broke (no route to the storage); user/name is as it was"),
        (RuntimeError("upload failed"), "broke (upload failed)"),
        (PermissionError("expired"), "does not know this token"),
    ],
)
def test_errors_of_the_storage(hub, folder, monkeypatch, error, words):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(HfApi, "create_commit", fail)
    with pytest.raises(UserError, match=re.escape(words)):
        publish_folder(folder, "user/name", message="first")


def test_a_file_that_cannot_be_read_is_not_blamed_on_the_hub(hub, folder, monkeypatch):
    def fail(*args, **kwargs):
        raise FileNotFoundError(2, "gone", "model.safetensors")

    monkeypatch.setattr(HfApi, "create_commit", fail)
    with pytest.raises(FileNotFoundError):
        publish_folder(folder, "user/name", message="first")


def test_offline(hub, folder, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="HF_HUB_OFFLINE is set"):
        publish_folder(folder, "user/name", message="first")


def test_an_empty_folder(hub, tmp_path):
    with pytest.raises(UserError, match="holds no files"):
        publish_folder(tmp_path, "user/name", message="first")
