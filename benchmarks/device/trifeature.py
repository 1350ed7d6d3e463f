"""The whole Trifeature recipe of CoMM, for as many epochs as there is time, and what it has learned then.

The images lie on the device; a batch names them by number, and everything else is the `LatentTrainer` of the recipe.
"""

import tempfile
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from transformers import TrainerCallback, set_seed

from hf_latent import CoMMModel, LatentTrainer, LatentTrainingArguments, Views
from hf_latent.metrics import interactions
from hf_latent.recipe import load_recipe

from .common import Options, Row

PUBLISHED = {"redundancy": 99.9, "uniqueness": 87.8, "synergy_unweighted": 71.9}
RECIPES = {"comm_trifeature": ("redundancy", "uniqueness"), "comm_trifeature_synergy": ("synergy_unweighted",)}
TOY = ["data.image_size=32", "data.renders=1", "data.max_pairs=400", "model.embed_dim=32", "training.bf16=false"]
TOY += [f"model.modalities.image{i}={{encoder: cnn, channels: [8, 16]}}" for i in (1, 2)]
PROBING = 0.2  # of the time: drawing the images, features and probes


class Numbered(torch.utils.data.Dataset):
    """The pairs of `TrifeaturePairs`, as the numbers of their images."""

    def __init__(self, pairs: Any) -> None:
        self.index = torch.from_numpy(pairs.index)

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, i: int) -> torch.Tensor:
        return self.index[i]


class OnDevice(LatentTrainer):
    """Looks the images of a batch up where they lie."""

    pictures: torch.Tensor

    def _prepare_inputs(self, inputs: dict[str, Any]) -> dict[str, Any]:
        numbers = inputs.pop("numbers").to(self.args.device, non_blocking=True)
        modalities = {f"image{i + 1}": {"pixel_values": self.pictures[numbers[:, i]]} for i in range(2)}
        return super()._prepare_inputs({"modalities": modalities, **inputs})


class Until(TrainerCallback):
    """Ends training when the time is over."""

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        control.should_training_stop = time.monotonic() > self.deadline
        return control


def run(options: Options) -> Iterator[Row]:
    begin = time.monotonic()
    for number, (name, tasks) in enumerate(RECIPES.items()):
        # The first recipe, which two of the published numbers are of, gets two thirds of the time.
        end = begin + options.seconds * (2 / 3, 1)[number]
        recipe = load_recipe(name, TOY if options.toy else [])
        data = recipe.data.load()
        set_seed(recipe.seed)
        training = {**recipe.training, "save_strategy": "no", "disable_tqdm": True, "logging_steps": 200}
        training |= {"use_cpu": options.device == "cpu", "bf16": not options.toy, "dataloader_num_workers": 0}
        with tempfile.TemporaryDirectory() as folder:
            training["output_dir"] = folder
            if options.toy:
                training["max_steps"] = 4
            trainer = OnDevice(
                model=CoMMModel(recipe.config),
                args=LatentTrainingArguments(**training),
                views=Views(recipe.views, seed=recipe.seed),
                train_dataset=Numbered(data.train),
                data_collator=lambda rows: {"numbers": torch.stack(rows)},
                callbacks=[Until(end - PROBING * options.seconds * (2 / 3, 1 / 3)[number])],
            )
            trainer.pictures = _on_device(data.train.source, options.device)
            trainer.train()
            steps, seconds = trainer.state.global_step, _seconds(trainer)
            row: dict[str, Any] = {"recipe": name, "epochs": trainer.state.epoch, "ms a step": 1000 * seconds / steps}
            yield "The recipe at its full size", row | {"pairs/s": steps * trainer.args.rows_contrasted / seconds}
            features = []
            splits = [split.rows for split in (data.evaluation.train, data.evaluation.test)]
            for pairs in splits:
                trainer.pictures = _on_device(pairs.source, options.device)
                features.append(trainer.features(Numbered(pairs)))
        found = interactions(features[0], splits[0].labels, features[1], splits[1].labels)
        found["uniqueness"] = float(np.mean([found["uniqueness1"], found["uniqueness2"]]))
        for task in found:
            published = PUBLISHED[task] if task in tasks else None
            yield "Linear probes", {"recipe": name, "task": task, "found": found[task], "published": published}


def _on_device(source: Any, device: str) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(source.images.transpose(0, 3, 1, 2))).to(device)


def _seconds(trainer: LatentTrainer) -> float:
    return next(entry["train_runtime"] for entry in reversed(trainer.state.log_history) if "train_runtime" in entry)
