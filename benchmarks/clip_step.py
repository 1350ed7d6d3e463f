"""One LatentCLIP training step: against transformers' CLIPModel under the stock Trainer, and with every regularizer.

    python -W ignore benchmarks/clip_step.py --batch 32 --steps 5 --threads 2

Random weights and pixels, AdamW, float32. The variants take turns, so that a slow moment of the machine hits all.
"""

import argparse
import tempfile
import time
from statistics import median
from typing import Any

import torch
from transformers import CLIPConfig, CLIPModel, PrinterCallback, Trainer, TrainerCallback, TrainingArguments
from transformers.utils import logging

from hf_latent import LatentCLIP, LatentTrainer, LatentTrainingArguments

SIZES = {
    "vit-b/32": {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12},
    "tiny": {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2},
}
REGULARIZERS = {
    "feature_separation": {"weight": 1.0},
    "brownian_bridge": {"weight": 1.0},
    "geometric_consistency": {"weight": 0.1},
    "information_bottleneck": {"weight": 1.0},
    "alignment": {"weight": 0.01},
}


class StepTimes(TrainerCallback):
    """When each optimizer step began and ended."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
        self.start = time.perf_counter()

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        self.times.append(time.perf_counter() - self.start)


class Rows(torch.utils.data.Dataset):
    def __init__(self, rows: int, two_views: bool) -> None:
        draw = torch.Generator().manual_seed(0)
        self.batch = {
            "pixel_values": torch.randn(rows, 3, 224, 224, generator=draw),
            "input_ids": torch.randint(1, 49000, (rows, 32), generator=draw),
            "attention_mask": torch.ones(rows, 32, dtype=torch.long),
        }
        self.batch["input_ids"][:, -1] = 49407
        if two_views:
            self.batch |= {f"augmented_{key}": value for key, value in self.batch.items()}

    def __len__(self) -> int:
        return len(self.batch["pixel_values"])

    def __getitem__(self, i: int) -> dict[str, torch.Tensor]:
        return {key: value[i] for key, value in self.batch.items()}


class WithLoss(CLIPModel):
    """CLIPModel computes its loss on request only."""

    accepts_loss_kwargs = False

    def forward(self, **inputs: Any) -> Any:
        return super().forward(**inputs, return_loss=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=5, help="timed steps of each variant, after one that is not")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--size", choices=SIZES, default="vit-b/32")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    logging.set_verbosity_error()

    tower = SIZES[options.size]
    text = {**tower, "hidden_size": min(512, tower["hidden_size"]), "num_attention_heads": 8}
    text["intermediate_size"] = 4 * text["hidden_size"]
    config = CLIPConfig(
        text_config=text, vision_config={**tower, "patch_size": 32}, projection_dim=text["hidden_size"]
    )
    with tempfile.TemporaryDirectory() as folder:
        torch.manual_seed(0)
        peer = WithLoss(config)
        peer.save_pretrained(f"{folder}/clip")
        ours = {
            "LatentCLIP": LatentCLIP.from_clip_pretrained(f"{folder}/clip"),
            "two views, in-modal": LatentCLIP.from_clip_pretrained(f"{folder}/clip", in_modal=True),
            "the same + 5 regularizers": LatentCLIP.from_clip_pretrained(
                f"{folder}/clip", in_modal=True, regularizers=REGULARIZERS
            ),
        }
        common = {"max_steps": 1, "learning_rate": 1e-5, "report_to": "none", "save_strategy": "no"}
        common |= {"disable_tqdm": True, "use_cpu": not torch.cuda.is_available(), "remove_unused_columns": False}
        common |= {"per_device_train_batch_size": options.batch, "logging_strategy": "no"}
        trainers: dict[str, Trainer] = {
            "transformers.CLIPModel, Trainer": Trainer(
                peer, TrainingArguments(f"{folder}/peer", **common), train_dataset=Rows(options.batch, False)
            )
        }
        for name, model in ours.items():
            trainers[name] = LatentTrainer(
                model,
                LatentTrainingArguments(f"{folder}/ours", **common),
                train_dataset=Rows(options.batch, model.config.in_modal),
            )
        times: dict[str, list[float]] = {name: [] for name in trainers}
        for turn in range(options.steps + 1):
            for name, trainer in trainers.items():
                watch = StepTimes()
                trainer.add_callback(watch)
                trainer.remove_callback(PrinterCallback)
                trainer.train()
                trainer.remove_callback(watch)
                if turn:
                    times[name] += watch.times
    first = median(times["transformers.CLIPModel, Trainer"])
    views = median(times["two views, in-modal"])
    print(f"| {options.size} towers, batch {options.batch} | median s/step | best s/step | ratio |\n|---|---|---|---|")
    for name, found in times.items():
        base = views if "regularizers" in name else first
        print(f"| {name} | {median(found):.3f} | {min(found):.3f} | {median(found) / base:.3f} |")
    print("\nThe ratio is to CLIPModel; that of the regularizers is to the same two views without them.")


if __name__ == "__main__":
    main()
