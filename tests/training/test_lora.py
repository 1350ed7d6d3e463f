"""LoRA from a recipe: a CLIP checkpoint is fine-tuned, adapters and the merged model reload equal, resume is exact."""

import json

import pytest
import torch
from peft import PeftModel
from transformers import AutoModel, CLIPConfig, CLIPModel

from hf_latent import LatentCLIP
from hf_latent.cli import main
from hf_latent.data.tokenizers import word_tokenizer
from hf_latent.data.trifeature import CAPTIONS
from hf_latent.errors import UserError
from hf_latent.recipe import load_recipe
from hf_latent.training.lora import Lora, add_lora, without_adapters
from tests.models.small import small_clip, small_pairs

RECIPE = """\
model: {{type: latent_clip, clip: {clip}, regularizers: {{geometric_consistency: {{weight: 0.1}}}}}}
lora: {{rank: 4}}
data: {{name: trifeature_captions, image_size: 16, renders: 1, test_renders: 1}}
views:
  image: {{kind: image}}
  text: {{kind: words}}
evaluation: {{start: true}}
training: {{max_steps: 4, global_batch_size: 32, save_strategy: steps, save_steps: 2, learning_rate: 1.0e-2,
  lr_scheduler_type: constant, logging_steps: 1, disable_tqdm: true, output_dir: {run}}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lora")
    tokenizer = word_tokenizer(CAPTIONS)
    tokenizer.save_pretrained(folder / "clip")
    tower = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    special = {"bos_token_id": tokenizer.cls_token_id, "eos_token_id": tokenizer.sep_token_id, "pad_token_id": 0}
    text = {**tower, **special, "vocab_size": len(tokenizer), "max_position_embeddings": 32}
    config = CLIPConfig(text_config=text, vision_config={**tower, "image_size": 16, "patch_size": 8}, projection_dim=8)
    torch.manual_seed(0)
    CLIPModel(config).save_pretrained(folder / "clip")
    for name in ("run", "cut"):
        (folder / f"{name}.yaml").write_text(RECIPE.format(clip=folder / "clip", run=folder / name))
    assert main(["train", str(folder / "run.yaml")]) == 0
    return folder


def pixels_and_words():
    draw = torch.Generator().manual_seed(0)
    return {
        "pixel_values": torch.randn(4, 3, 16, 16, generator=draw),
        "input_ids": torch.randint(4, 20, (4, 6), generator=draw),
    }


def logits(model):
    with torch.no_grad():
        return model.eval()(**pixels_and_words()).logits_per_image


def test_adapters_and_the_merged_model_reload_equal(folder):
    merged = AutoModel.from_pretrained(folder / "run")
    start = LatentCLIP.from_clip_pretrained(str(folder / "clip"))
    before = logits(start)
    adapted = PeftModel.from_pretrained(start, folder / "run" / "adapter")
    torch.testing.assert_close(logits(adapted), logits(merged), rtol=1e-4, atol=1e-5)
    assert (logits(merged) - before).abs().max() > 0.1
    weights = merged.state_dict()
    for name, old in LatentCLIP.from_clip_pretrained(str(folder / "clip")).state_dict().items():
        # The adapters change the attention and nothing else of the towers; what stands behind them is trained whole.
        trained = name.endswith(("q_proj.weight", "v_proj.weight")) or not name.startswith("encoders")
        assert torch.equal(weights[name], old) != trained, name


def test_what_a_model_with_adapters_is_measured_with_is_what_it_is_measured_with_without(folder):
    told = json.loads((folder / "run" / "metrics.json").read_text(encoding="utf-8"))["measurements"]
    assert {"zero_shot_top1", "text_to_image_r1"} <= told.keys() and all("start" in each for each in told.values())
    assert main(["evaluate", str(folder / "run")]) == 0  # of the merged model
    assert json.loads((folder / "run" / "metrics.json").read_text(encoding="utf-8"))["measurements"] == told


def test_adapters_of_a_run_do_not_name_its_folder(folder, tmp_path, capsys):
    own = [f"model={{pretrained: {folder / 'run'}, clip: null}}", f"training.output_dir={tmp_path / 'more'}"]
    assert main(["train", str(folder / "run.yaml"), *own, "training.max_steps=2"]) == 0
    adapter = json.loads((tmp_path / "more" / "adapter" / "adapter_config.json").read_text(encoding="utf-8"))
    assert not adapter["base_model_name_or_path"]
    assert main(["evaluate", str(tmp_path / "more")]) == 0, capsys.readouterr().err
    told = json.loads((tmp_path / "more" / "metrics.json").read_text(encoding="utf-8"))["measurements"]
    before = json.loads((folder / "run" / "metrics.json").read_text(encoding="utf-8"))
    assert {key: each["start"] for key, each in told.items()} == pytest.approx({key: before[key] for key in told})


@pytest.mark.slow
def test_resume_goes_on_from_the_adapters(folder):
    assert main(["train", str(folder / "cut.yaml"), "training.max_steps=2"]) == 0
    assert main(["train", str(folder / "cut.yaml"), "--resume"]) == 0
    runs = [json.loads((folder / name / "trainer_state.json").read_text())["log_history"] for name in ("run", "cut")]
    curves = [[(e["step"], e["loss"], e["grad_norm"]) for e in history if "loss" in e] for history in runs]
    assert len(curves[0]) == 4 and curves[0] == curves[1]
    assert torch.equal(*(logits(AutoModel.from_pretrained(folder / name)) for name in ("run", "cut")))


def test_what_is_frozen_stays_so_beside_adapters(folder):
    model = LatentCLIP.from_clip_pretrained(
        str(folder / "clip"), learn_temperature=False, modalities={"image": {"frozen": True}}
    )
    trained = {name for name, parameter in add_lora(model, Lora(rank=2)).named_parameters() if parameter.requires_grad}
    assert trained and not any(
        "logit_scale" in name or ".image." in name for name in trained if "projections" not in name
    )


def trained_towers(model):
    """The towers of which some weight is trained, and those of which every weight is."""
    told = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    copies = {name.split(".modules_to_save.")[0] for name in told if ".modules_to_save." in name}
    found = {"some": set(), "whole": set()}
    for tower in without_adapters(model).encoders:
        own = {name: trained for name, trained in told.items() if f"encoders.{tower}." in name}
        active = [
            trained for name, trained in own.items() if not any(name.startswith(f"{copy}.original") for copy in copies)
        ]
        found["some"] |= {tower} if any(active) else set()
        found["whole"] |= {tower} if all(active) else set()
    return found


def a_step(model, batch):
    model.train()
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    model(**batch, return_loss=True).loss.backward()
    optimizer.step()
    return model.eval()


@pytest.mark.parametrize(("saved", "norm"), [(None, "batch"), (["image"], "group"), (["image"], "batch")])
def test_a_tower_without_such_a_layer_is_frozen_or_trained_whole(tmp_path, saved, norm):
    batch, told = small_pairs(), []
    base = small_clip(norm=norm, in_modal=False)
    before = {name: value.clone() for name, value in base.state_dict().items()}
    adapted = add_lora(base, Lora(rank=2, modules_to_save=saved), told.append)
    assert trained_towers(adapted) == {"some": {"text", *(saved or [])}, "whole": set(saved or [])}
    a_step(adapted, batch)
    adapted.save_pretrained(tmp_path)
    with torch.no_grad():
        found = adapted(**batch).logits_per_image
        again = PeftModel.from_pretrained(small_clip(norm=norm, in_modal=False), tmp_path).eval()
        torch.testing.assert_close(again(**batch).logits_per_image, found)
        merged = adapted.merge_and_unload()
        torch.testing.assert_close(merged.eval()(**batch).logits_per_image, found)
    moved = {name for name, value in merged.state_dict().items() if not torch.equal(value, before[name])}
    image = {name for name in before if name.startswith("encoders.image.")}
    assert image & moved == (image if saved else set())
    assert any(name.startswith("encoders.text.") for name in moved)
    where = "No adapters in the encoders of image, of which no linear layer ends in q_proj"
    assert [text.startswith(where) and "modules_to_save: [image]" in text for text in told] == [True] * (not saved)


def test_what_is_trained_whole_has_no_adapters_and_is_named_right(folder):
    model = small_clip(more=["series"])
    adapted = add_lora(model, Lora(rank=2, modules_to_save=["text"], targets=["linear1", "value"]))
    names = [name for name, parameter in adapted.named_parameters() if "lora_A" in name and parameter.requires_grad]
    assert names and all("encoders.series" in name for name in names)
    for options, words in (
        ({"modules_to_save": ["txt"]}, "lora.modules_to_save: no modality 'txt'; did you mean 'text'"),
        ({"modules_to_save": ["text"]}, "no linear layer of an encoder ends in q_proj.*none: leave lora out"),
        ({"targets": ["up"]}, "no linear layer of an encoder ends in up; there are dense, key, query, value"),
    ):
        with pytest.raises(UserError, match=words):
            add_lora(small_clip(), Lora(**options))
    with pytest.raises(UserError, match="the encoder of image is frozen: leave frozen out"):
        add_lora(small_clip(frozen=True), Lora(modules_to_save=["image"]))


def test_the_checkpoint_brings_its_tokenizer_and_its_temperature(folder):
    recipe = load_recipe(folder / "run.yaml")
    assert recipe.data.tokenizers == {"text": str(folder / "clip")}
    assert recipe.config.projection_dim == 8 and recipe.config.modalities["text"]["pooling"] == "pooler"
    assert json.loads((folder / "run" / "metrics.json").read_text())["temperature"] == pytest.approx(0.07, abs=0.02)


def test_the_recipe_that_ships_is_valid(folder):
    recipe = load_recipe("latent_clip_finetune_lora", [f"model.clip={folder / 'clip'}"])
    assert recipe.lora.rank == 16 and recipe.data.tokenizers["text"] == str(folder / "clip")
    recipe.model_class(recipe.config)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("lora.targets=[q_prj]", "there are fc1, fc2, k_proj, out_proj, q_proj, v_proj"),
        ("lora.rnk=2", "did you mean 'rank'"),
        ("lora.rank=0", "write numbers above 0"),
        ("model.clip=/nothing", "model: "),
    ],
)
def test_mistakes_are_named(folder, tmp_path, capsys, override, words):
    assert main(["train", str(folder / "run.yaml"), override, f"training.output_dir={tmp_path / 'x'}"]) == 2
    told = capsys.readouterr().err
    assert words in told and "Traceback" not in told
