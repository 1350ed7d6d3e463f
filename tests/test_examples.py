"""The examples run as they stand, on small towers and pictures."""

import json
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoModel, AutoProcessor, BertConfig, ViTConfig, ViTImageProcessorPil

from hf_latent.data.tokenizers import word_tokenizer

ROOT = Path(__file__).resolve().parents[1]
SMALL = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}


@pytest.mark.slow
def test_finetune_clip(tmp_path):
    colors = ["red", "green", "blue", "white"]
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    lines = ["file_name,text"]
    for i in range(24):
        noise = np.random.default_rng(i).integers(0, 256, (20 + i, 24, 3), dtype=np.uint8)
        Image.fromarray(noise).save(pictures / f"{i}.png")
        lines.append(f"{i}.png,a {colors[i % 4]} picture")
    (pictures / "metadata.csv").write_text("\n".join(lines) + "\n")
    tokenizer = word_tokenizer([*lines, "a picture"])
    AutoModel.from_config(ViTConfig(**SMALL, image_size=16, patch_size=8)).save_pretrained(tmp_path / "vit")
    AutoModel.from_config(BertConfig(**SMALL, vocab_size=len(tokenizer))).save_pretrained(tmp_path / "bert")
    tokenizer.save_pretrained(tmp_path / "bert")
    pixels = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "size": {"height": 16, "width": 16}}
    ViTImageProcessorPil(**pixels).save_pretrained(tmp_path / "vit")
    command = [sys.executable, str(ROOT / "examples" / "finetune_clip.py"), "pictures", "--image", "vit"]
    command += ["--text", "bert", "--batch", "8", "--epochs", "1", "--output", "out"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    (state,) = (tmp_path / "out").glob("checkpoint-*/trainer_state.json")
    assert "eval_loss" in state.read_text() and json.loads(state.read_text())["best_metric"] > 0
    model = AutoModel.from_pretrained(tmp_path / "out").eval()
    processor = AutoProcessor.from_pretrained(tmp_path / "out")
    batch = processor(images=[Image.new("RGB", (30, 20))], text=["a red picture"])
    with torch.no_grad():
        assert model(**batch).logits_per_image.shape == (1, 1)
    assert list(processor.image_processor.image_mean) == [0.5] * 3
    assert set(model.config.regularizers) == {"brownian_bridge", "geometric_consistency"}


@pytest.mark.parametrize(
    "path",
    sorted((ROOT / "examples").glob("*.py")) + sorted((ROOT / "examples" / "emoji").glob("*.py")),
    ids=lambda path: path.name,
)
def test_a_worker_of_a_data_loader_can_import_the_example(path):
    """As `multiprocessing` does where it starts workers anew: on Windows and macOS."""
    assert callable(runpy.run_path(str(path), run_name="__mp_main__")["main"])
