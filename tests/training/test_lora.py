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
from hf_latent.recipe import load_recipe
from hf_latent.training.lora import Lora, add_lora

RECIPE = """\
model: {{type: latent_clip, clip: {clip}, regularizers: {{geometric_consistency: {{weight: 0.1}}}}}}
lora: {{rank: 4}}
data: {{name: trifeature_captions, image_size: 16, renders: 1, test_renders: 1}}
views:
  image: {{kind: image}}
  text: {{kind: words}}
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
