"""Run folders that somebody has tampered with: one sentence and code 2, and nothing is read or written elsewhere."""

import json
import os
import shutil
from pathlib import Path

import datasets
import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

from hf_latent import LatentCLIP
from hf_latent.cli import main
from hf_latent.data.hub_data import ModalityRows
from hf_latent.errors import UserError, blamed_on
from hf_latent.experiment import _logged
from hf_latent.hub.shareable import stage_run
from hf_latent.models.encoders import build_encoder
from hf_latent.runs import read_json
from hf_latent.trust import check_folder, is_own
from tests.space.runs import captions_run

from explorer import Explorer  # isort: skip  (tests.space.runs makes the modules of the Space importable)

DEEP = '{"a": ' + "[" * 100_000 + "]" * 100_000 + "}"
HUGE = 10**400  # JSON, and no float


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    return captions_run(tmp_path_factory.mktemp("saved") / "clip")


@pytest.fixture
def own(saved, tmp_path):
    """A folder whose recipe is known here: of this user, or of somebody who has the same recipe."""
    folder = Path(shutil.copytree(saved, tmp_path / "run"))
    assert is_own(folder)
    return folder


@pytest.fixture
def strange(own):
    (own / "recipe.yaml").write_text((own / "recipe.yaml").read_text() + "evaluation: {batch_size: 254}\n")
    assert not is_own(own)
    return own


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A folder of this machine, beside the run; the current folder is that of both."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "words").write_text("[UNK]\nhf_secret\n")
    (folder / "config.json").write_text('{"model_type": "dac"}')
    (folder / "metrics.json").write_text('{"zero_shot_top1": 77.0}')
    monkeypatch.chdir(tmp_path)
    return folder


def change(path, **values):
    path.write_text(json.dumps({**(json.loads(path.read_text()) if path.exists() else {}), **values}))


def told(capsys, *command):
    """What a command says that refuses."""
    assert main([str(word) for word in command]) == 2
    said = capsys.readouterr().err
    assert said.startswith("hf-latent: ") and "Traceback" not in said and "\x1b" not in said
    return said


# A known recipe does not vouch for what lies beside it


def test_adapters_beside_a_known_recipe_are_not_loaded(own):
    change(own / "adapter_config.json", peft_type="LORA", target_modules=["q"], megatron_core="antigravity")
    with pytest.raises(UserError, match="holds adapters beside its model"):
        Explorer(str(own))


@pytest.mark.parametrize("name", ["figures", "recipe.yaml", "tokenizer.json", "metrics.json", "vocab.txt"])
def test_links_beside_a_known_recipe_are_not_followed(own, elsewhere, name):
    if name == "recipe.yaml":
        shutil.copyfile(own / name, elsewhere / "words")
    (own / name).unlink(missing_ok=True)
    (own / name).symlink_to(elsewhere if name == "figures" else elsewhere / "words")
    with pytest.raises(UserError, match=f"{name} is a link to .*elsewhere"):
        check_folder(own)


def test_weights_and_checkpoints_of_an_own_run_may_lie_on_another_disk(own, elsewhere, tmp_path):
    shutil.move(own / "model.safetensors", elsewhere / "weights")
    (own / "model.safetensors").symlink_to(elsewhere / "weights")
    (own / "checkpoint-10").symlink_to(elsewhere)
    (own / "wandb").symlink_to("/nowhere")
    (tmp_path / "disk").symlink_to(tmp_path)  # and the run may be opened through a link
    check_folder(tmp_path / "disk" / "run")
    assert not Explorer(str(tmp_path / "disk" / "run")).note


# What transformers would read, fetch or import by a setting


@pytest.mark.parametrize(
    ("file", "settings"),
    [
        ("tokenizer_config.json", {"vocab": "elsewhere/words"}),
        ("tokenizer_config.json", {"vocab": "bare.txt"}),
        ("processor_config.json", {"audio_tokenizer": {"audio_tokenizer_name_or_path": "user/name"}}),
        ("config.json", {"transformers_weights": "other.safetensors"}),
        ("config.json", {"configuration_files": ["config.4.0.0.json"]}),
        ("config.json", {"quantization_config": {"quant_method": "gptq", "bits": 4}}),
        ("config.json", {"attn_implementation": "kernels-community/flash-attn2"}),
        ("config.json", {"nested": [{"attn_implementation": "flash_attention_2"}]}),
    ],
)
def test_settings_that_lead_elsewhere_are_refused(strange, elsewhere, file, settings):
    (elsewhere.parent / "bare.txt").write_text("[UNK]\n")
    (strange / "tokenizer.json").unlink()
    change(strange / file, **settings)
    with pytest.raises(UserError, match=f"{file}: .*: remove it"):
        Explorer(str(strange))


def test_words_that_a_folder_or_a_file_happens_to_have_are_no_harm(strange, elsewhere, monkeypatch):
    (elsewhere.parent / "latent_clip").mkdir()
    change(strange / "config.json", attn_implementation="eager")
    change(strange / "tokenizer_config.json", vocab_file="tokenizer.json")
    monkeypatch.chdir(strange)
    check_folder(Path("."))
    monkeypatch.chdir(elsewhere.parent)
    check_folder(strange)


@pytest.mark.parametrize("name", ["pytorch_model.bin.index.json", "other.safetensors.index.json"])
def test_every_index_names_shards(strange, elsewhere, name):
    weights = load_file(strange / "model.safetensors")
    save_file(weights, elsewhere / "weights.safetensors", {"format": "pt"})
    places = dict.fromkeys(weights, "../elsewhere/weights.safetensors")
    (strange / name).write_text(json.dumps({"metadata": {}, "weight_map": places}))
    with pytest.raises(UserError, match="names other files than the shards of a model"):
        check_folder(strange)
    (strange / name).write_text(json.dumps({"metadata": [1], "weight_map": {}}))
    with pytest.raises(UserError, match=r"metadata=\[1\]"):
        check_folder(strange)


@pytest.mark.parametrize("backbone", ["user/name", "elsewhere", "resnet50"])
def test_a_tower_asks_the_hub_for_no_backbone(backbone):
    config = {"model_type": "detr", "backbone": backbone, "use_timm_backbone": False}
    for nested in (config, {"model_type": "vision-encoder-decoder", "encoder": config}):
        with pytest.raises(ValueError, match=f"backbone='{backbone}' names another model"):
            build_encoder({"encoder": "auto", "config": nested})


def test_a_tower_asks_nobody_for_code(monkeypatch):
    monkeypatch.setattr("builtins.input", lambda *words: pytest.fail("somebody was asked"))
    parts = {name: {"model_type": "bert", "num_hidden_layers": 1} for name in ("encoder", "decoder")}
    config = {"model_type": "encoder-decoder", "auto_map": {"AutoModel": "user/name--evil.Evil"}, **parts}
    with pytest.raises(ValueError, match="custom code"):
        build_encoder({"encoder": "auto", "config": config})


# What is no file


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no named pipes in folders")
@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json", "processor_config.json", "README.md"])
def test_a_pipe_in_place_of_a_file_is_not_waited_for(strange, capsys, name):
    (strange / name).unlink(missing_ok=True)
    os.mkfifo(strange / name)
    assert "neither a file nor a folder" in told(capsys, "evaluate", strange)
    os.mkfifo(strange / "README.md.partial")
    assert main(["card", str(strange)]) == (2 if name == "config.json" else 0)


def test_links_that_lead_to_each_other_are_told(strange, capsys):
    (strange / "metrics.json").unlink()
    (strange / "metrics.json").symlink_to("other.json")
    (strange / "other.json").symlink_to("metrics.json")
    assert "neither a file nor a folder" in told(capsys, "evaluate", strange)
    assert "holds no metrics.json" in told(capsys, "compare", strange)


# Cards and tables


def test_a_card_is_not_written_through_a_link(strange, elsewhere):
    (strange / "README.md.partial").symlink_to(elsewhere / "written")
    assert main(["card", str(strange)]) == 0
    assert not (elsewhere / "written").exists() and not (strange / "README.md").is_symlink()


@pytest.mark.parametrize("name", ["metrics.json", "config.json", "README.md", "recipe.yaml"])
def test_a_card_and_a_table_tell_nothing_of_other_files(strange, elsewhere, capsys, name):
    place = elsewhere / (name if (elsewhere / name).exists() else "words")
    (strange / name).unlink(missing_ok=True)
    (strange / name).symlink_to(place)
    assert f"{name} is a link to" in told(capsys, "card", strange)
    if name == "metrics.json":
        assert "77.0" not in told(capsys, "compare", strange)


@pytest.mark.parametrize("value", [HUGE, "words", [1], {"a": 1}, None, True])
@pytest.mark.parametrize("key", ["zero_shot_top1", "redundancy", "answer_accuracy"])
def test_measurements_that_are_no_numbers_are_not_shown(strange, tmp_path, capsys, key, value):
    (strange / "metrics.json").write_text(json.dumps({"cka": 0.5, "gap_centroid": 0.1, "seed": HUGE, key: value}))
    assert main(["card", str(strange)]) == 0
    assert main(["compare", str(strange), "--output", str(tmp_path / "a.png")]) in (0, 2)
    assert "Traceback" not in "".join(capsys.readouterr())


def test_a_log_keeps_its_numbers():
    entry = {"loss": 1.5, "loss_contrastive": float("nan"), "step": 3, "epoch": 0.1}
    strange = [
        5,
        None,
        {"loss": 1.0},
        {"loss": "x", "step": 2},
        {"loss": HUGE, "step": [1]},
        {"\x1b[2J": 1, "step": 4},
    ]
    kept = _logged([entry, *strange])
    assert str(kept) == str([entry, {"step": 2}, {"step": 4}]) and _logged(None) == []
    with pytest.raises(UserError, match="trainer_state.json logs 500 losses by name"):
        _logged([{"step": 1, **{f"loss_{k}": 1.0 for k in range(500)}}])


# Sentences


@pytest.mark.parametrize("command", ["evaluate", "card", "push", "compare"])
@pytest.mark.parametrize("file", ["config.json", "metrics.json", "processor_config.json"])
def test_json_that_is_too_deep_is_told(strange, tmp_path, capsys, command, file):
    read = {"card": ("config.json", "metrics.json"), "compare": ("metrics.json",), "evaluate": ("config.json",)}
    if file not in read.get(command, (file,)):
        return
    for text in (DEEP, '{"a": ' + "[" * 300 + "]" * 300 + "}"):
        (strange / file).write_text(text)
        if command == "push":
            (tmp_path / "staged").mkdir(exist_ok=True)
            with pytest.raises(UserError, match=file):
                stage_run(strange, tmp_path / "staged", "user/name")
        else:
            assert file in told(capsys, command, strange)


def test_json_as_deep_as_a_model_is_read(tmp_path):
    (tmp_path / "a.json").write_text('{"a": ' + "[" * 90 + "]" * 90 + "}")
    assert read_json(tmp_path / "a.json", "")


@pytest.mark.parametrize(
    "text", [b"\xff\xfe", b"a: " + b"[" * 5000 + b"]" * 5000, b"a: " + b"[" * 900 + b"]" * 900, b"a: &a [*a]"]
)
def test_a_recipe_that_is_none_is_told(strange, capsys, text):
    (strange / "recipe.yaml").write_bytes(text)
    for command in ("card", "evaluate"):
        said = told(capsys, command, strange)
        assert "recipe.yaml" in said and len(said) < 2000
    with pytest.raises(UserError, match=r"recipe.yaml"):
        Explorer(str(strange))


@pytest.mark.parametrize(
    "values",
    [
        {"architectures": 5},
        {"model_type": ["latent_clip"]},
        {"modalities": {"image": {"encoder": ["cnn"]}, "text": {"encoder": "auto", "config": [1]}}},
        {"temperature": HUGE, "learn_temperature": False},
    ],
)
def test_settings_of_other_types_are_told(strange, tmp_path, values):
    change(strange / "config.json", **values)
    (tmp_path / "staged").mkdir()
    assert main(["card", str(strange)]) in (0, 2)
    try:
        stage_run(strange, tmp_path / "staged", "user/name")
    except UserError:
        return
    assert "architectures" in values


def test_a_card_that_is_no_text_is_told(strange, tmp_path):
    (strange / "README.md").write_bytes(b"\xff")
    (tmp_path / "staged").mkdir()
    with pytest.raises(UserError, match=r"README.md cannot be read"):
        stage_run(strange, tmp_path / "staged", "user/name")


def test_names_do_not_command_the_terminal(strange, tmp_path, capsys):
    folder = strange / "tokenizer_\x1b[2J"
    folder.mkdir()
    (folder / "tokenizer_config.json").write_text("{")
    assert r"\x1b[2J" in told(capsys, "evaluate", strange)
    shutil.rmtree(folder)
    change(strange / "config.json", **{"\x1b[2J": "free text"})
    (tmp_path / "staged").mkdir()
    stage_run(strange, tmp_path / "staged", "user/name")
    metrics = json.loads((strange / "metrics.json").read_text())
    for described in metrics.get("measurements", {}).values():
        described |= {"title": "a\x1b[2J", "short": "\x1b[2J", "group": "\x1b[2J"}
    (strange / "metrics.json").write_text(json.dumps(metrics))
    main(["compare", str(strange.rename(tmp_path / "a\x1b[2J\nb"))])
    said = "".join(capsys.readouterr())
    assert "no reader of the file knows: config.json" in said and "\x1b" not in said.split("Picture:")[0]


def test_an_error_without_words_is_named():
    with pytest.raises(UserError, match="^data: MemoryError$"), blamed_on("data"):
        raise MemoryError
    with pytest.raises(UserError, match="^data: too large$"), blamed_on("data"):
        raise RuntimeError("too large\nException raised from unpack at a.cpp:1\nframe #0: ...")


def test_a_processor_of_another_model_is_told(strange, capsys):
    change(strange / "processor_config.json", processor_class="CLIPProcessor")
    assert "no processor that can be loaded" in told(capsys, "evaluate", strange)
    with pytest.raises(UserError, match="no model that can be loaded"):
        Explorer(str(strange))


def test_data_of_other_modalities_is_told(strange):
    (strange / "recipe.yaml").write_text("data: {name: trifeature, image_size: 16, texture_period: 35.0}\n")
    explorer = Explorer(str(strange))
    assert explorer.rows is None and "cannot be read here (it has no image, text)" in explorer.note


def test_a_row_that_is_a_bomb_or_has_an_odd_name_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    Image.new("L", (9, 9)).save(tmp_path / "large.png")
    rows = [{"bytes": (tmp_path / "large.png").read_bytes(), "path": None}, {"bytes": None, "path": "a\0b"}]
    features = datasets.Features({"image": datasets.Image(decode=False)})
    rows = datasets.Dataset.from_dict({"image": rows}, features=features).cast_column("image", datasets.Image())
    for number in range(2):
        with pytest.raises(UserError, match=f"row {number}, column 'image'"):
            ModalityRows(rows, ["image"], from_hub=True)[number]


def test_a_model_loads_as_before(own):
    assert LatentCLIP.from_pretrained(own).config.model_type == "latent_clip"
