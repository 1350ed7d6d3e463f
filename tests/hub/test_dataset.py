"""Trifeature on the Hub: what `load_dataset` finds is what was drawn."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from huggingface_hub import DatasetCard

from hf_latent import load_trifeature
from hf_latent.cli import main
from hf_latent.data.trifeature import CAPTIONS, COLORS, TEXTURES
from hf_latent.hub import dataset
from tests.hub.faults import some, survives

COMMAND = ["data", "push", "user/tri", "--image-size", "16", "--renders", "1"]
COMMAND += ["--max-pairs", "300", "--texture-period", "35"]

LOAD = """
import json, sys
import numpy as np
from datasets import load_dataset

parts = {name: load_dataset("user/tri", *name) for name in ((), ("pairs",), ("pairs_biased",))}
images, pairs, biased = parts.values()
np.savez(
    sys.argv[1],
    images=np.stack([np.asarray(image) for image in images["test"]["image"]]),
    first=np.stack([np.asarray(image) for image in pairs["train"]["image1"][:50]]),
    second=np.stack([np.asarray(image) for image in pairs["train"]["image2"][:50]]),
    **{name: pairs["train"][name] for name in ("redundancy", "uniqueness1", "uniqueness2", "synergy")},
    biased=biased["test"]["synergy"],
)
texture = images["train"].features["texture"].names
print(json.dumps({"sizes": [len(p[s]) for p in parts.values() for s in p], "texture": texture,
                  "captions": sorted(set(images["train"]["caption"]))}))
"""


@pytest.fixture(scope="module")
def trifeature():
    return load_trifeature(16, renders=1, texture_period=35.0)


@pytest.fixture
def drawn_once(monkeypatch, trifeature):
    monkeypatch.setattr(dataset, "load_trifeature", lambda **options: trifeature)


def test_it_loads_as_it_was_drawn(hub, server, drawn_once, trifeature, tmp_path):
    assert main(COMMAND) == 0
    repository = hub.repository("user/tri", "dataset")
    assert repository.messages() == ["Push Trifeature with hf_latent"]
    assert main(COMMAND) == 0
    assert len(repository.messages()) == 1
    (tmp_path / "load.py").write_text(LOAD)
    environment = server.environment(tmp_path / "home", "hf_read")
    command = [sys.executable, "load.py", "found.npz"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    told, found = json.loads(done.stdout.splitlines()[-1]), np.load(tmp_path / "found.npz")
    assert told["sizes"] == [800, 200, 300, 300, 300, len(trifeature.pairs("test", True, 300))]
    assert tuple(told["texture"]) == TEXTURES and set(told["captions"]) <= set(CAPTIONS)
    pairs = trifeature.pairs("train", max_pairs=300)
    assert np.array_equal(found["images"], trifeature.test.images)
    assert np.array_equal(found["first"], np.stack([pairs[i]["image1"] for i in range(50)]))
    assert np.array_equal(found["second"], np.stack([pairs[i]["image2"] for i in range(50)]))
    assert all(np.array_equal(found[name], labels) for name, labels in pairs.labels.items())
    assert found["biased"].all() and 0 < found["synergy"].mean() < 1


def test_the_card_tells_what_is_in_it(hub, drawn_once, trifeature):
    assert main([*COMMAND, "--private"]) == 0
    repository = hub.repository("user/tri", "dataset")
    assert repository.private
    card = DatasetCard(repository.files()["README.md"].decode())
    assert [config["config_name"] for config in card.data.configs] == ["images", "pairs", "pairs_biased"]
    named = {file["path"] for config in card.data.configs for file in config["data_files"]}
    assert named == set(repository.files()) - {"README.md"}
    assert 'load_dataset("user/tri", "pairs")' in card.text and "| `images` | 800 | 200 |" in card.text
    assert f"| {TEXTURES[3]} | {COLORS[trifeature.mapping[3]]} |" in card.text
    command = next(line for line in card.text.splitlines() if line.startswith("hf-latent data push user/tri"))
    assert "--image-size 16 --renders 1 --test-renders 1 --seed 42 --texture-period 35.0 --max-pairs 300" in command


@pytest.mark.slow
def test_each_picture_is_stored_once(tmp_path):
    rows = load_trifeature(64, renders=1).pairs("train", max_pairs=3000).to_dataset()
    dataset._write(rows, tmp_path / "once.parquet")
    rows.to_parquet(tmp_path / "again.parquet")
    dataset._write(rows, tmp_path / "same.parquet")
    assert (tmp_path / "once.parquet").stat().st_size < 0.5 * (tmp_path / "again.parquet").stat().st_size
    assert (tmp_path / "once.parquet").read_bytes() == (tmp_path / "same.parquet").read_bytes()


@pytest.mark.parametrize("fault", some("cut", "cut for good", "answer lost", "errors 503", "conflict"))
def test_a_push_survives(hub, server, drawn_once, monkeypatch, tmp_path, fault):
    """The files are written once: what follows is about the line."""
    stage, ready = dataset.stage_trifeature, tmp_path / "ready"

    def stage_once(folder, *arguments):
        if not ready.exists():
            stage(folder, *arguments)
            shutil.copytree(folder, ready)
        shutil.copytree(ready, folder, dirs_exist_ok=True)

    monkeypatch.setattr(dataset, "stage_trifeature", stage_once)
    assert survives(server, fault, COMMAND, "user/tri", "dataset") > 6


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["user/tri", "--image-size", "2"], "image_size=2"),
        (["user/tri", "--max-pairs", "0"], "max_pairs=0"),
        (["a/b/c"], "names no repository"),
    ],
)
def test_mistakes_end_in_one_sentence_and_code_2(hub, drawn_once, monkeypatch, capsys, arguments, words):
    if "--image-size" in arguments:
        monkeypatch.setattr(dataset, "load_trifeature", load_trifeature)
    assert main(["data", "push", *arguments]) == 2
    assert words in capsys.readouterr().err and not hub.repositories


def test_options_are_checked_before_a_token_is_asked_for(hub, monkeypatch, capsys):
    monkeypatch.setenv("HF_TOKEN", "")
    for option, words in (
        ("--image-size=2", "image_size=2"),
        ("--max-pairs=0", "max_pairs=0"),
        ("--seed=-1", "seed=-1"),
    ):
        assert main(["data", "push", "user/tri", option]) == 2
        told = capsys.readouterr().err
        assert words in told and "token" not in told


def test_a_token_is_asked_for_before_the_work(hub, monkeypatch, capsys):
    monkeypatch.setenv("HF_TOKEN", "")
    monkeypatch.setattr(dataset, "load_trifeature", lambda **options: pytest.fail("minutes of work"))
    assert main(["data", "push", "user/tri"]) == 2
    assert "make a token" in capsys.readouterr().err
