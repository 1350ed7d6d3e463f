"""What of a run goes to the Hub, and that nothing else does."""

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from huggingface_hub import ModelCard
from safetensors.torch import save_file

from hf_latent import CoMMConfig, CoMMModel
from hf_latent.cli import main
from hf_latent.errors import UserError
from hf_latent.hub.shareable import stage_run, without_paths
from tests.hub.runs import PRIVATE, save_run
from tests.test_recipe import BASE

CODE = {"configuration_base.py", "configuration_comm.py", "embeddings.py", "encoders.py", "fusion.py", "inputs.py"}
CODE |= {
    "audio.py",
    "audio_towers.py",
    "encoder_audio.py",
    "encoder_auto.py",
    "encoder_base.py",
    "encoder_resnet.py",
    "encoder_series.py",
    "encoder_video.py",
    "images.py",
    "kind_audio.py",
    "kind_image.py",
    "kind_numbers.py",
    "kind_text.py",
    "kind_video.py",
    "kinds.py",
    "tables.py",
    "unique_path.py",
    "image_positions.py",
    "library.py",
    "objective_modules.py",
    "peft_folder.py",
    "text_towers.py",
    "latent_converter.py",
    "modeling_comm.py",
    "processing_comm.py",
    "plugins.py",
    "registry.py",
}
REST = {"README.md", "config.json", "processor_config.json", "recipe.yaml", "metrics.json", "model.safetensors"}


@pytest.fixture
def run(tmp_path):
    return save_run(tmp_path / "ada" / "tiny", BASE)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "staged" / "name").mkdir(parents=True)
    return tmp_path / "staged" / "name"


def staged(run, folder):
    stage_run(run, folder, "user/name")
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_the_allow_list(run, folder):
    (run / "train.py").write_text("import secrets")
    (run / "pytorch_model.bin").write_bytes(b"pickle")
    (run / "figures" / "notes.txt").write_text("private")
    assert staged(run, folder) == REST | CODE | {"figures/interactions.png"}
    assert all((run / name).is_file() for name in PRIVATE)
    assert (folder / "model.safetensors").read_bytes() == (run / "model.safetensors").read_bytes()


def test_the_recipe_is_the_part_that_others_may_see(run, folder):
    assert str(run) in (run / "recipe.yaml").read_text()
    staged(run, folder)
    recipe = yaml.safe_load((folder / "recipe.yaml").read_text())
    assert recipe["training"] == {"num_train_epochs": 1, "global_batch_size": 8}
    assert recipe["data"] == {"name": "trifeature", "image_size": 16} and recipe["model"]["type"] == "comm"


def test_measurements_are_numbers_and_versions(run, folder):
    staged(run, folder)
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["redundancy"] == 96.5 and metrics["torch_version"] == "2.13.0" and "host" not in metrics


def test_the_card_has_the_name_of_the_repository(run, folder):
    staged(run, folder)
    assert ModelCard.load(run / "README.md").data.to_dict()["model-index"][0]["name"] == "tiny"
    assert ModelCard.load(folder / "README.md").data.to_dict()["model-index"][0]["name"] == "name"


def test_a_card_that_somebody_edited_stays(run, folder):
    text = (run / "README.md").read_text().replace("# tiny", "# My model\n\nIt is *mine*.")
    (run / "README.md").write_text(text)
    staged(run, folder)
    assert (folder / "README.md").read_text() == text


def test_a_run_without_a_card_gets_one(run, folder):
    (run / "README.md").unlink()
    (run / "metrics.json").unlink()
    assert "README.md" in staged(run, folder)
    assert "not evaluated" in (folder / "README.md").read_text() and not (run / "README.md").exists()


def test_places_of_this_machine_are_left_out(run, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = json.loads((run / "config.json").read_text())
    config["modalities"]["image1"] |= {"pretrained": str(tmp_path), "note": ["~/x", "kept", "ada"]}
    config |= {"_name_or_path": "ada", "clip": "openai/clip-vit-base-patch32", "resumed": r"C:\Users\ada\run"}
    (run / "config.json").write_text(json.dumps(config))
    staged(run, folder)
    shown = json.loads((folder / "config.json").read_text())
    assert "pretrained" not in shown["modalities"]["image1"] and "_name_or_path" not in shown
    assert shown["modalities"]["image1"]["note"] == ["kept", "ada"]
    assert shown["clip"] == "openai/clip-vit-base-patch32" and "resumed" not in shown
    assert json.loads((run / "config.json").read_text()) == config


def test_only_places_are_left_out():
    kept = {
        "pad": "</s>",
        "model": "user/name",
        "ratio": 0.5,
        "text": "a / b",
        "none": None,
        "slash": "/",
        "url": "a:b",
    }
    assert without_paths(kept) == kept
    assert without_paths({"a": "/b", "c": "./d", "e": "../f", "g": "file:h", "i": "~/j", "k": {"l": ["/m"]}}) == {
        "k": {"l": []}
    }


@pytest.mark.parametrize("secret", [os.path.expanduser("~/data"), "{run}/checkpoint-2", "hf_write"])
def test_a_card_that_tells_too_much_is_refused(hub, run, folder, secret, capsys):
    with open(run / "README.md", "a") as card:
        card.write(f"\nSee {secret.format(run=run)}.")
    with pytest.raises(UserError, match=r"README.md tells (your|the) .*: take it out and push again"):
        stage_run(run, folder, "user/name")
    assert main(["push", str(run), "user/name"]) == 2
    assert "hf_write" not in capsys.readouterr().err and not hub.repositories


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ("model.safetensors", "holds no model.safetensors: name the folder of a finished run"),
        ("config.json", "holds no config.json"),
    ],
)
def test_a_run_that_is_not_whole_is_refused(run, folder, missing, words):
    (run / missing).unlink()
    with pytest.raises(UserError, match=words):
        stage_run(run, folder, "user/name")


def test_a_model_that_was_made_in_python_needs_neither_recipe_nor_card(run, folder):
    for name in ("recipe.yaml", "metrics.json", "README.md"):
        (run / name).unlink()
    assert "README.md" in staged(run, folder) and not (folder / "recipe.yaml").exists()
    assert "What it was trained on is not recorded." in (folder / "README.md").read_text()


def test_the_card_tells_how_to_load_it_by_its_whole_name(hub, run):
    assert main(["push", str(run), "tiny-model"]) == 0
    card = hub.repository("user/tiny-model").files()["README.md"].decode()
    assert 'model_id = "user/tiny-model"' in card and "# tiny-model" in card


def test_the_license_of_a_card_is_kept(run, folder):
    assert main(["card", str(run), "--license", "mit"]) == 0
    staged(run, folder)
    assert ModelCard.load(folder / "README.md").data.license == "mit"
    assert ModelCard.load(folder / "README.md").data.model_name == "name"


def test_adapters_of_a_checkpoint_that_nobody_else_has(run, folder, tmp_path):
    config = json.loads((run / "config.json").read_text())
    (run / "adapter").mkdir()
    for where in (run / "adapter", run):
        (where / "adapter_config.json").write_text('{"base_model_name_or_path": null}')
        save_file({"weight": torch.zeros(1)}, where / "adapter_model.safetensors")
    config["modalities"]["image1"]["pretrained"] = "user/base"
    (run / "config.json").write_text(json.dumps(config))
    assert {"adapter_config.json", "adapter/adapter_model.safetensors"} <= staged(run, folder)
    for where in (folder / "adapter", folder):
        assert json.loads((where / "adapter_config.json").read_text())["base_model_name_or_path"] == "user/base"
    assert "null" in (run / "adapter_config.json").read_text()

    config["modalities"]["image1"]["pretrained"] = str(tmp_path)
    (run / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="which is on this machine alone: push that model"):
        stage_run(run, folder, "user/name")
    (run / "adapter_config.json").unlink()
    (run / "adapter_model.safetensors").unlink()
    shutil.rmtree(folder)
    folder.mkdir()
    assert not [name for name in staged(run, folder) if "adapter" in name]


def test_a_folder_that_is_none(hub, tmp_path, capsys):
    assert main(["push", str(tmp_path / "nothing"), "user/name"]) == 2
    assert "name the folder of a finished run" in capsys.readouterr().err and not hub.repositories


def test_shards(run, folder):
    model = CoMMModel(CoMMConfig.from_pretrained(run))  # not its weights: Windows keeps a file that is mapped
    (run / "model.safetensors").unlink()
    model.save_pretrained(run, max_shard_size="20KB")
    shards = {path.name for path in run.glob("model-*.safetensors")}
    assert len(shards) > 1
    assert shards | {"model.safetensors.index.json"} <= staged(run, folder)
    (run / min(shards)).unlink()
    with pytest.raises(UserError, match="model-00001-of"):
        stage_run(run, folder, "user/name")


def test_staging_never_writes_into_the_run(run, folder):
    """Files of the stage may be links to those of the run."""
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    staged(run, folder)
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps({**config, "clip": "/home/ada/clip"}))
    before[run / "config.json"] = (run / "config.json").read_bytes()
    staged(run, folder)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_weights_are_not_shared_with_what_is_written_next(run, folder):
    """A link must not let the next training reach into what is being uploaded."""
    staged(run, folder)
    before = (folder / "model.safetensors").read_bytes()
    torchless = CoMMModel(CoMMConfig.from_pretrained(run))
    torchless.save_pretrained(run)
    assert (run / "model.safetensors").read_bytes() != before
    assert Path(folder / "model.safetensors").read_bytes() == before
