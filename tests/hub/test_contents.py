"""What published files hold: each is looked into, and nothing but what belongs there goes out."""

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from PIL import Image, PngImagePlugin
from safetensors.torch import load_file, save_file

from hf_latent import CoMMModel
from hf_latent.cli import main
from hf_latent.errors import UserError
from hf_latent.hub.shareable import stage_model, stage_run
from hf_latent.models import encoders
from tests.hub.runs import save_run
from tests.space.runs import captions_run
from tests.test_recipe import BASE

SECRET = "a token of somebody"


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    return save_run(folder / "comm", BASE), captions_run(folder / "clip")


@pytest.fixture
def run(saved, tmp_path):
    return Path(shutil.copytree(saved[0], tmp_path / "run"))


@pytest.fixture
def clip(saved, tmp_path):
    return Path(shutil.copytree(saved[1], tmp_path / "clip"))


@pytest.fixture
def secret(tmp_path):
    (tmp_path / "secret.txt").write_text(SECRET)
    return tmp_path / "secret.txt"


def staged(run, tmp_path):
    folder = tmp_path / "staged"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    stage_run(run, folder, "user/name")
    return folder


def refused(run, tmp_path, words):
    with pytest.raises(UserError, match=words):
        staged(run, tmp_path)
    assert not [p for p in (tmp_path / "staged").rglob("*") if p.is_file() and SECRET.encode() in p.read_bytes()]


def change(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


LINKED = ("figures/x.png", "vocab.txt", "tokenizer.json", "README.md", "recipe.yaml", "metrics.json", "config.json")
LINKED += ("tokenizer_text/tokenizer.json", "adapter/adapter_model.safetensors", "model.safetensors", "merges.txt")


@pytest.mark.parametrize("name", LINKED)
def test_a_link_out_of_the_run_is_refused(run, tmp_path, secret, name):
    (run / name).parent.mkdir(exist_ok=True)
    (run / name).unlink(missing_ok=True)
    (run / name).symlink_to(secret)
    refused(
        run, tmp_path, rf"{os.path.basename(name)} is a link to .*secret.txt, which is not of the run: put the file"
    )


@pytest.mark.parametrize("name", ["figures", "adapter", "tokenizer_text"])
def test_a_folder_that_is_a_link_out_of_the_run_is_refused(run, tmp_path, name):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    Image.new("RGB", (2, 2)).save(elsewhere / "private.png")
    (elsewhere / "tokenizer.json").write_text("{}")
    shutil.rmtree(run / name, ignore_errors=True)
    (run / name).symlink_to(elsewhere)
    refused(run, tmp_path, f"{name} is a link to .*elsewhere, which is not of the run")


def test_links_within_a_run_and_into_a_cache_of_the_hub_are_followed(run, tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    blobs = cache / "models--user--name" / "blobs"
    blobs.mkdir(parents=True)
    (run / "model.safetensors").rename(blobs / "0123")
    (run / "model.safetensors").symlink_to(blobs / "0123")
    (run / "figures" / "again.png").symlink_to(run / "figures" / "interactions.png")
    (tmp_path / "link").symlink_to(run)
    folder = staged(tmp_path / "link", tmp_path)
    assert load_file(folder / "model.safetensors").keys() == load_file(blobs / "0123").keys()
    assert (folder / "figures" / "again.png").is_file() and not (folder / "model.safetensors").is_symlink()
    # A snapshot of a cache elsewhere, as `snapshot_download(cache_dir=...)` lays it.
    other = tmp_path / "other" / "models--user--name"
    (other / "blobs").mkdir(parents=True)
    (blobs / "0123").rename(other / "blobs" / "0123")
    shutil.move(run, other / "snapshots" / "rev")
    (other / "snapshots" / "rev" / "model.safetensors").unlink()
    (other / "snapshots" / "rev" / "model.safetensors").symlink_to("../../blobs/0123")
    (other / "snapshots" / "rev" / "figures" / "again.png").unlink()
    assert (staged(other / "snapshots" / "rev", tmp_path) / "model.safetensors").is_file()


def test_a_link_to_the_token_in_the_home_of_the_hub_is_refused(run, tmp_path):
    token = tmp_path / "home" / "token"
    token.parent.mkdir()
    token.write_text(SECRET)
    (run / "vocab.txt").symlink_to(token)
    refused(run, tmp_path, "vocab.txt is a link to .*token")


@pytest.mark.parametrize(
    "reference",
    [
        "evil/repo--modeling_evil.Evil",
        "evil.Evil",
        "/etc/passwd.Evil",
        "../secret.Evil",
        "modeling_comm.Evil",
        "modeling_comm.torch",
        "modeling_comm",
        "encoders.CNNEncoder",
        ["modeling_comm.CoMMModel", None],
        None,
        7,
    ],
)
def test_an_auto_map_that_names_other_code_is_refused(run, tmp_path, secret, reference):
    (run / "evil.py").write_text("class Evil: ...\n")
    change(run / "config.json", lambda config: config["auto_map"].update(AutoModel=reference))
    refused(run, tmp_path, "config.json: auto_map names .* as AutoModel, which is no class of hf_latent")


@pytest.mark.parametrize("file", ["processor_config.json", "tokenizer_config.json"])
def test_nor_may_that_of_a_processor_or_of_a_part_of_it(clip, tmp_path, file):
    evil = {"AutoTokenizer": ["evil.Evil", None], "AutoProcessor": "processing_latent_clip.LatentCLIPProcessor"}
    change(clip / file, lambda settings: settings.update(auto_map=evil))
    refused(clip, tmp_path, f"{file}: auto_map names .* as AutoTokenizer")
    good = {"AutoProcessor": "processing_latent_clip.LatentCLIPProcessor"}
    change(clip / file, lambda settings: settings.update(auto_map=good, image_processor={"auto_map": {"X": "evil.E"}}))
    refused(clip, tmp_path, "auto_map names 'evil.E' as X")


def test_code_is_that_of_the_library(run, tmp_path, capsys):
    own = Path(encoders.__file__)
    (run / "encoders.py").write_text("import os\nos.system('echo evil')\n")
    (run / "modeling_comm.py").unlink()
    folder = staged(run, tmp_path)
    assert (folder / "encoders.py").read_bytes() == own.read_bytes() and (folder / "modeling_comm.py").is_file()
    assert (
        f"Published as the installed hf_latent has it, not as it lies in {run}: encoders.py" in capsys.readouterr().out
    )


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
@pytest.mark.parametrize("file", ["config.json", "processor_config.json"])
def test_a_number_that_is_not_finite_is_no_json(run, tmp_path, file, number):
    text = (run / file).read_text().replace('"auto_map": {', f'"scale": [1.0, {number}], "auto_map": {{', 1)
    (run / file).write_text(text)
    refused(run, tmp_path, rf"{file}.scale.1 is -?(nan|inf), which is not JSON")


def test_measurements_are_numbers_and_versions(run, tmp_path):
    kept = {"redundancy": 96.5, "synergy": None, "seed": 42, "torch_version": "2.13.0+cpu"}
    left = {"host": "ada-laptop", "torch_versions": [SECRET], "note": SECRET, "flag": True, f"about {SECRET}": 1.0}
    left |= {"hf_latent_version": SECRET, "nested": {"redundancy": 1.0}}
    (run / "metrics.json").write_text(json.dumps({**kept, **left, "synergy": float("nan")}))
    text = (staged(run, tmp_path) / "metrics.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail) == kept


def test_descriptions_of_measurements_are_words(run, tmp_path):
    """What is no sentence is left out, and so is what no reader reads."""
    told = {"title": "Redundancy: the shape of both images", "group": "interactions", "unit": "%", "chance": 10.0}
    left = {"reading": "see /home/ada/secret", "short": "a/b", "note": "word", "rows": "many", "task": "https://a.b"}
    block = {"redundancy": told | left, "synergy": {"title": "x"}, SECRET: told, "cka": "words"}
    (run / "metrics.json").write_text(json.dumps({"redundancy": 96.5, "cka": 0.5, "measurements": block}))
    published = json.loads((staged(run, tmp_path) / "metrics.json").read_text())["measurements"]
    (key,) = published
    assert key == "redundancy" and told.items() <= published[key].items()
    assert published[key].keys() - told.keys() <= {"better", "metric"}


def test_free_text_under_keys_that_nobody_reads_is_left_out_and_told(run, tmp_path, capsys):
    def tell(config):
        config |= {"note": SECRET, "id2label": {"0": "an apple"}, "nested": {"deep": [SECRET, "word"]}, SECRET: 1}
        config["modalities"]["image1"]["comment"] = SECRET

    change(run / "config.json", tell)
    config = json.loads((staged(run, tmp_path) / "config.json").read_text())
    assert SECRET not in json.dumps(config) and config["id2label"] == {"0": "an apple"}
    assert config["nested"] == {"deep": ["word"]} and "comment" not in config["modalities"]["image1"]
    said = capsys.readouterr().out
    assert "config.json: note, config.json: nested.deep" in said and "config.json: modalities.image1.comment" in said
    CoMMModel.from_pretrained(tmp_path / "staged")


@pytest.mark.parametrize(
    ("change_it", "where"),
    [
        (lambda config: config.update(projection_dim=SECRET), "projection_dim"),
        (lambda config: config.update(temperature="0.1"), "temperature"),
        (lambda config: config["modalities"]["image1"].update(kernel_size=SECRET), "modalities.image1.kernel_size"),
    ],
)
def test_text_where_a_number_belongs_is_refused(run, tmp_path, change_it, where):
    change(run / "config.json", change_it)
    refused(run, tmp_path, f"config.json: {where}=.*: expected a number")


def test_text_where_a_number_of_a_tower_or_an_image_processor_belongs_is_refused(clip, tmp_path):
    def tower(config):
        config["modalities"]["text"]["config"]["hidden_size"] = SECRET

    before = (clip / "config.json").read_text()
    change(clip / "config.json", tower)
    refused(clip, tmp_path, "config.json: modalities.text.config.hidden_size=.*: expected a number")
    (clip / "config.json").write_text(before)
    change(clip / "processor_config.json", lambda s: s["image_processor"].update(rescale_factor=SECRET))
    refused(clip, tmp_path, "processor_config.json: image_processor.rescale_factor")


def test_a_tokenizer_keeps_its_tokens_and_loses_a_template(clip, tmp_path, capsys):
    change(clip / "tokenizer_config.json", lambda s: s.update(unk_token="[a blank]", chat_template=SECRET, strip=True))
    settings = json.loads((staged(clip, tmp_path) / "tokenizer_config.json").read_text())
    assert settings["unk_token"] == "[a blank]" and settings["strip"] is True and "chat_template" not in settings
    assert "tokenizer_config.json: chat_template" in capsys.readouterr().out
    change(clip / "tokenizer.json", lambda s: s.update(note=SECRET))
    refused(clip, tmp_path, "tokenizer.json holds 'note', which is not of a tokenizer")


def test_a_picture_is_its_pixels(run, tmp_path):
    notes = PngImagePlugin.PngInfo()
    notes.add_text("Comment", SECRET)
    image = Image.effect_noise((20, 10), 50).convert("RGB")
    image.save(run / "figures" / "interactions.png", pnginfo=notes)
    with open(run / "figures" / "interactions.png", "ab") as file:
        file.write(SECRET.encode())
    shown = (staged(run, tmp_path) / "figures" / "interactions.png").read_bytes()
    assert SECRET.encode() not in shown
    assert Image.open(tmp_path / "staged" / "figures" / "interactions.png").tobytes() == image.tobytes()


@pytest.mark.parametrize("content", [SECRET.encode(), b"", b"\x89PNG\r\n\x1a\n" + SECRET.encode(), b"GIF89a"])
def test_a_picture_that_is_none_is_refused(run, tmp_path, content):
    (run / "figures" / "interactions.png").write_bytes(content)
    refused(run, tmp_path, "interactions.png is no PNG file that can be read")


def test_weights_hold_nothing_else(run, tmp_path):
    tensors = load_file(run / "model.safetensors")
    save_file(tensors, run / "model.safetensors", {"format": "pt", "note": SECRET})
    refused(run, tmp_path, "model.safetensors holds 'note' beside the weights")
    (run / "model.safetensors").write_bytes(SECRET.encode())
    refused(run, tmp_path, "model.safetensors holds no weights")


@pytest.mark.parametrize("shard", ["../secret.txt", "/etc/passwd", "model.safetensors", SECRET])
def test_an_index_names_shards(run, tmp_path, secret, shard):
    (run / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": shard}}))
    refused(run, tmp_path, "index.json names other files than the shards of a model")


def test_an_index_holds_no_text(run, tmp_path):
    index = {"weight_map": {"a": "model-00001-of-00001.safetensors"}, "metadata": {"total_size": 1, "note": SECRET}}
    (run / "model.safetensors.index.json").write_text(json.dumps(index))
    refused(run, tmp_path, "index.json holds 'note'")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"auto_mapping": {"parent_library": "evil"}}, "imports 'evil', which is not of hf_latent"),
        ({"auto_mapping": {"parent_library": "os.path"}}, "imports 'os.path'"),
        ({"megatron_core": "evil", "megatron_config": {"a": 1}}, "imports 'evil', which is not of hf_latent"),
        ({"base_model_name_or_path": "user/model/../other"}, "names no model of the Hub"),
    ],
)
def test_adapters_import_this_library_alone(run, tmp_path, settings, words):
    (run / "adapter").mkdir()
    save_file({"a": torch.zeros(1)}, run / "adapter" / "adapter_model.safetensors", {"format": "pt"})
    (run / "adapter" / "adapter_config.json").write_text(json.dumps(settings))
    refused(run, tmp_path, words)


def test_a_model_of_another_library_is_not_published(run, tmp_path):
    change(run / "config.json", lambda config: config.update(model_type="bert"))
    (tmp_path / "staged").mkdir()
    with pytest.raises(UserError, match="config.json is of no model of hf_latent: model_type='bert'"):
        stage_model(run, tmp_path / "staged")


def test_what_is_refused_is_not_sent(hub, run, secret, capsys):
    (run / "figures" / "x.png").symlink_to(secret)
    assert main(["push", str(run), "user/name"]) == 2
    assert "is a link to" in capsys.readouterr().err and not hub.repositories
