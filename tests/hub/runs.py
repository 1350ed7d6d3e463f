"""A run as `hf-latent train` leaves it behind, without the training; with what others must not see."""

import json
import os
from pathlib import Path

import torch
from PIL import Image

from hf_latent.fit_to_data import build_processor
from hf_latent.hub.card import write_card
from hf_latent.recipe import load_recipe
from hf_latent.trust import remember
from tests.measured import measured

NUMBERS = {
    "redundancy": 96.5,
    "synergy_auroc": 0.5,
    "train_loss": 1.5,
    "train_runtime": 12.0,
    "train_samples_per_second": 400.0,
    "seed": 42,
    "hf_latent_version": "0.1.0",
    "torch_version": "2.13.0",
    "transformers_version": "5.23.0",
}
METRICS = measured(NUMBERS)
PRIVATE = ("training_args.bin", "trainer_state.json", "notes.txt", ".env", "checkpoint-2/model.safetensors")


def save_run(folder: Path, text: str, *overrides: str, seed: int = 0) -> Path:
    """A run of the recipe `text` with the weights of a beginner."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "recipe.yaml").write_text(text)
    recipe = load_recipe(folder / "recipe.yaml", [*overrides, f"training.output_dir={folder}"])
    (folder / "recipe.yaml").write_text(recipe.to_yaml())
    remember(folder)
    torch.manual_seed(seed)
    model = recipe.model_class(recipe.config)
    model.save_pretrained(folder)
    build_processor(model, recipe.views, {}).save_pretrained(folder)
    (folder / "metrics.json").write_text(json.dumps({**METRICS, "host": "ada-laptop"}))
    (folder / "figures").mkdir()
    Image.new("RGB", (4, 4)).save(folder / "figures" / "interactions.png")
    write_card(folder)
    for name in PRIVATE:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(f"private: {os.path.expanduser('~')}")
    return folder
