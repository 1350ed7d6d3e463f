"""The code in a card does what it says: with and without the package, for every model, and for adapters."""

import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard
from PIL import Image
from transformers import AutoModel, CLIPConfig, CLIPModel

from hf_latent import CoMMConfig, CoMMModel, CoMMProcessor, LatentCLIP, LatentCLIPProcessor
from hf_latent.data.tokenizers import word_tokenizer
from hf_latent.hub.card import render, render_card, write_card
from hf_latent.training.lora import Lora, add_lora
from tests.hub.cards import clip_card
from tests.models.small import small_clip

CAPTIONS = ["a photo of a red star", "a photo of a blue circle", "a photo of a cat", "a photo of a dog", "a sentence"]


def blocks(text):
    return re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)


def picture(seed):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (20, 20, 3), dtype=np.uint8))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with runs of each kind, and the pictures that the code of their cards opens."""
    folder = tmp_path_factory.mktemp("code")
    for seed, name in enumerate(("image", "image1", "view")):
        picture(seed).save(folder / f"{name}.png")
    tokenizer = word_tokenizer(CAPTIONS)
    LatentCLIPProcessor.for_size(16, tokenizer).save_pretrained(folder / "clip")
    small_clip(vocab_size=len(tokenizer), dtype=torch.float32).save_pretrained(folder / "clip")

    torch.manual_seed(0)
    text = {"model_type": "bert", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    text |= {"vocab_size": len(tokenizer), "intermediate_size": 16, "max_position_embeddings": 32}
    modalities = {
        "view": {"encoder": "cnn", "channels": [8]},
        "words": {"encoder": "auto", "config": text},
        "force": {"encoder": "sequence", "input_dim": 3, "hidden_size": 8, "num_heads": 2},
        "body": {"encoder": "table", "input_dim": 4},
    }
    kinds = {"view": {"kind": "image", "size": 16}, "words": {"kind": "text"}}
    kinds |= {"force": {"kind": "series"}, "body": {"kind": "table"}}
    for objective in ("comm", "cross", "coral"):
        own = dict(list(modalities.items())[: 2 if objective == "coral" else None])
        config = CoMMConfig(modalities=own, embed_dim=16, fusion_heads=2, objective=objective)
        CoMMModel(config).save_pretrained(folder / objective)
        CoMMProcessor({name: kinds[name] for name in own}, {"words": tokenizer}).save_pretrained(folder / objective)

    special = {"bos_token_id": tokenizer.cls_token_id, "eos_token_id": tokenizer.sep_token_id, "pad_token_id": 0}
    tower = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    words = {**tower, **special, "vocab_size": len(tokenizer), "max_position_embeddings": 32}
    image = {**tower, "image_size": 16, "patch_size": 8}
    CLIPModel(CLIPConfig(text_config=words, vision_config=image, projection_dim=8)).save_pretrained(folder / "base")
    start = LatentCLIP.from_clip_pretrained(str(folder / "base"), extra_heads=["independent"])
    adapted = add_lora(start, Lora(rank=2))
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.3)
    adapted.save_pretrained(folder / "lora" / "adapter")
    adapted.merge_and_unload().save_pretrained(folder / "lora")
    LatentCLIPProcessor.for_size(16, tokenizer).save_pretrained(folder / "lora")
    return folder


@pytest.fixture
def run_code(folder, monkeypatch):
    monkeypatch.chdir(folder)

    def run(text, number):
        names = {}
        exec(blocks(text)[number], names)
        return names

    return run


def card_of(folder, name):
    """Cards load by the id of a repository; a path is in its place here."""
    text = write_card(folder / name).read_text()
    assert "user/name" in text and str(folder) not in text
    return text.replace("user/name", str(folder / name))


@pytest.mark.parametrize("name", ["clip", "comm", "cross", "coral"])
def test_the_code_of_a_card_runs_and_gives_the_shapes_that_it_names(folder, run_code, name):
    text = card_of(folder, name)
    names = run_code(text, 0)
    if name == "clip":
        assert names["probabilities"].shape == (1, 2) and names["image_embeds"].shape == (1, 8)
    else:
        width = int(re.search(r"# \(1, (\d+)\)", text)[1])
        assert names["features"].shape == (1, width) == (1, {"comm": 16, "coral": 32, "cross": 64}[name])
    assert "trust_remote_code" not in blocks(text)[1]
    with_package = run_code(text, 1)
    for ours, theirs in zip(with_package["model"].parameters(), names["model"].parameters(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.slow
def test_the_code_runs_where_hf_latent_is_not_installed(folder):
    scripts = [
        blocks(card_of(folder, name))[number] for name, number in (("clip", 0), ("coral", 0), ("comm", 0), ("lora", 2))
    ]
    shapes = "print(probabilities.shape, features.shape, type(adapted).__name__)"
    script = "\n".join(["import sys", 'sys.modules["hf_latent"] = None', *scripts, shapes])
    done = subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "torch.Size([1, 2]) torch.Size([1, 16]) PeftModel" in done.stdout


def logits(model, folder):
    processor = LatentCLIPProcessor.from_pretrained(folder / "lora")
    with torch.no_grad():
        return model.eval()(**processor(images=[picture(0)], text=CAPTIONS)).logits_per_image


def test_a_run_with_adapters_loads_merged_and_apart(folder, run_code):
    text = card_of(folder, "lora")
    merged = logits(AutoModel.from_pretrained(folder / "lora"), folder)
    assert (
        "by low-rank adapters" in text and "hu2022lora" in text and "- lora" in text and "peft" not in blocks(text)[0]
    )
    torch.testing.assert_close(logits(run_code(text, 0)["model"], folder), merged)
    torch.testing.assert_close(logits(run_code(text, 2)["adapted"], folder), merged, rtol=1e-4, atol=1e-5)
    assert "base_model" not in text.split("---")[1]  # it is a folder of this machine


def test_a_repository_of_adapters_alone_loads(folder, run_code):
    """As it is pushed: the adapters in place of the weights, beside the config, the processor and the code."""
    repository = folder / "pushed"
    shutil.copytree(
        folder / "lora", repository, ignore=shutil.ignore_patterns("adapter", "*.safetensors", "README.md")
    )
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        shutil.copy(folder / "lora" / "adapter" / name, repository)
    config = json.loads((repository / "config.json").read_text())
    text = render_card(repository, repository="user/name")
    assert "# name\n" in text and "by low-rank adapters" in text
    assert "library_name: peft" in text and "Write the id" not in text
    merged = logits(AutoModel.from_pretrained(folder / "lora"), folder)
    text = text.replace("user/name", str(repository))
    for number in (0, 1):
        torch.testing.assert_close(logits(run_code(text, number)["model"], folder), merged, rtol=1e-4, atol=1e-5)
    named = render("pushed", {**config, "clip": "openai/clip-vit-base-patch32"}, {}, {}, set(), adapters="")
    data = ModelCard(named).data
    assert (data.base_model, data.base_model_relation) == ("openai/clip-vit-base-patch32", "adapter")


def test_the_code_of_two_towers_imports_what_their_examples_need():
    towers = {
        "sound": {"encoder": "audio_cnn"},
        "clip": {"encoder": "cnn", "frames": 2},
        "numbers": {"encoder": "table", "input_dim": 3},
    }
    (code, *_) = re.findall(r"```python\n(.*?)```", clip_card(modalities=towers), re.DOTALL)
    for line in ("from pathlib import Path", "from PIL import Image", "import numpy as np"):
        assert code.count(f"{line}\n") == 1
