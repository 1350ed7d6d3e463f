"""Files and folders on the disk, where the system is as Windows is about them."""

import json
import os
import stat
from pathlib import Path, PureWindowsPath

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from hf_latent import files
from hf_latent.errors import UserError
from hf_latent.files import remove, replace
from hf_latent.hub.shareable import _refuse_private, stage_files, stage_model, without_paths
from hf_latent.models.embeddings import TRAINING_STATE
from hf_latent.training.checkpoints import publish, staged_files
from tests.windows import needs_linux, refuse_as_windows


@pytest.fixture
def windows(monkeypatch):
    refuse_as_windows(monkeypatch)


def write(path, text, mode=0o644):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)


def read(path):
    return path.read_text(encoding="utf-8")


@needs_linux
def test_staged_files_where_folders_and_read_only_handles_cannot_be_flushed(tmp_path, windows):
    for content in ("old", "new"):
        with staged_files(tmp_path) as staging:
            write(staging / "figures" / "a.png", content)
    assert read(tmp_path / "figures" / "a.png") == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["figures"]


@needs_linux
def test_a_folder_takes_the_place_of_another(tmp_path, windows):
    for content in ("old", "new"):
        write(tmp_path / "made" / "a.txt", content)
        publish(tmp_path / "made", tmp_path / "checkpoint-1")
    assert read(tmp_path / "checkpoint-1" / "a.txt") == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-1"]


@needs_linux
def test_copies_of_write_protected_files_are_replaced_and_removed(tmp_path, windows):
    for content in ("old", "new"):
        with staged_files(tmp_path) as staging:
            write(staging / "modeling.py", content, 0o444)
    assert read(tmp_path / "modeling.py") == "new"
    write(tmp_path / "folder" / "below" / "modeling.py", "", 0o444)
    remove(tmp_path / "folder")
    remove(tmp_path / "folder")  # is gone
    assert not (tmp_path / "folder").exists()


@needs_linux
def test_a_file_that_is_read_for_a_moment_is_waited_for(tmp_path, windows, monkeypatch):
    write(tmp_path / "new", "new")
    write(tmp_path / "old", "old")
    scanner = open(tmp_path / "old", encoding="utf-8")  # noqa: SIM115  (closed while `replace` waits)
    waited = []
    monkeypatch.setattr(files.time, "sleep", lambda seconds: (waited.append(seconds), scanner.close()))
    replace(tmp_path / "new", tmp_path / "old")
    assert read(tmp_path / "old") == "new" and waited == [files.PAUSES[0]]


@needs_linux
def test_a_file_that_stays_open_is_named(tmp_path, windows, monkeypatch):
    write(tmp_path / "metrics.json", "old")
    waited = []
    monkeypatch.setattr(files.time, "sleep", waited.append)
    words = rf"{tmp_path / 'metrics.json'} cannot be written .*: if it is open in another program, close it"
    with (
        open(tmp_path / "metrics.json", encoding="utf-8"),
        pytest.raises(UserError, match=words),
        staged_files(tmp_path) as staging,
    ):
        write(staging / "metrics.json", "new")
    assert waited == list(files.PAUSES)
    assert read(tmp_path / "metrics.json") == "old" and [path.name for path in tmp_path.iterdir()] == ["metrics.json"]


def test_elsewhere_what_is_refused_is_refused_at_once(tmp_path, monkeypatch):
    def refuse(source, target):
        raise PermissionError

    monkeypatch.setattr(os, "replace", refuse)
    monkeypatch.setattr(files.time, "sleep", None)
    with pytest.raises(PermissionError):
        replace(tmp_path / "a", tmp_path / "b")


# What is published


@needs_linux
def test_weights_lose_what_only_training_needs_though_they_are_mapped(tmp_path, windows):
    run, folder = tmp_path / "run", tmp_path / "staged"
    run.mkdir()
    weights = {"head.weight": torch.arange(4.0), f"{TRAINING_STATE[0]}x": torch.ones(3)}
    save_file(weights, run / "model.safetensors", {"format": "pt"})
    write(run / "config.json", json.dumps({"model_type": "comm"}))
    stage_model(run, folder)
    assert {path.name for path in folder.iterdir()} == {"model.safetensors", "config.json"}
    with safe_open(folder / "model.safetensors", "pt") as staged:
        assert list(staged.keys()) == ["head.weight"] and staged.metadata() == {"format": "pt"}
        assert torch.equal(staged.get_tensor("head.weight"), weights["head.weight"])


@needs_linux
def test_files_are_copied_where_there_are_no_hard_links(tmp_path, windows):
    write(tmp_path / "run" / "vocab.txt", "words")
    stage_files(tmp_path / "run", tmp_path / "staged", ("vocab.*",))
    assert read(tmp_path / "staged" / "vocab.txt") == "words"
    assert (tmp_path / "staged" / "vocab.txt").stat().st_mode & stat.S_IWRITE


def test_places_with_backslashes_are_left_out(monkeypatch):
    monkeypatch.setattr(os.path, "exists", lambda path: path == r"outputs\run")
    places = [r"C:\data", "C:/data", r"\\server\data", r"~\data", r".\data", r"..\data", r"outputs\run"]
    assert without_paths({"kept": r"\d+\w", "places": places}) == {"kept": r"\d+\w", "places": []}


@pytest.mark.parametrize(
    "text",
    [
        r"See C:\Users\Jürgen\data.",
        "See C:/Users/Jürgen/data.",
        json.dumps({"path": r"C:\Users\Jürgen\data"}),
        json.dumps({"path": "C:/Users/Jürgen/data"}, ensure_ascii=False),
        r'path: "C:\\Users\\J\xFCrgen\\data"',
    ],
)
def test_a_home_folder_is_found_however_it_is_spelled(tmp_path, monkeypatch, text):
    monkeypatch.setattr(Path, "home", lambda: PureWindowsPath(r"C:\Users\Jürgen"))
    write(tmp_path / "staged" / "README.md", text.replace("rgen", "rgensen"))
    _refuse_private(tmp_path / "staged", tmp_path / "run")
    write(tmp_path / "staged" / "README.md", text)
    with pytest.raises(UserError, match="README.md tells your home folder"):
        _refuse_private(tmp_path / "staged", tmp_path / "run")
