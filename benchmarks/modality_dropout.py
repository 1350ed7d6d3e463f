"""What single modalities tell a fine-tuned CoMM, with and without modality dropout: three minutes of a CPU core.

Three tables of eight numbers each tell one of four classes, each with another noise. CoMM is pre-trained on them
without labels, and then fine-tuned whole by `CoMMForSequenceClassification`, with `modality_dropout` 0 and 0.3.

    python benchmarks/modality_dropout.py
"""

import argparse
import tempfile

import numpy as np
import torch
from transformers import logging, set_seed

from hf_latent import (
    CoMMConfig,
    CoMMForSequenceClassification,
    CoMMModel,
    CoMMProcessor,
    LatentTrainer,
    LatentTrainingArguments,
    Views,
    build_view,
)

NOISE = {"quiet": 0.3, "noisy": 0.8, "noisier": 1.2}
CLASSES, WIDTH = 4, 8
MODALITIES = {name: {"encoder": "table", "input_dim": WIDTH} for name in NOISE}


def rows(count: int, seed: int) -> list[dict]:
    """Rows whose tables are the center of their class plus noise."""
    centers = np.random.default_rng(0).normal(size=(len(NOISE), CLASSES, WIDTH)) / 2**0.5
    draw = np.random.default_rng(seed)
    classes = draw.integers(CLASSES, size=count)
    tables = {
        name: (centers[place, classes] + noise * draw.normal(size=(count, WIDTH))).astype("float32")
        for place, (name, noise) in enumerate(NOISE.items())
    }
    return [{**{name: table[i] for name, table in tables.items()}, "labels": int(classes[i])} for i in range(count)]


def trainer(model, folder: str, train: list[dict], epochs: int, seed: int) -> LatentTrainer:
    return LatentTrainer(
        model=model,
        args=LatentTrainingArguments(
            output_dir=folder,
            global_batch_size=64,
            num_train_epochs=epochs,
            learning_rate=1e-3,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            use_cpu=True,
            seed=seed,
        ),
        views=Views({name: build_view("table") for name in NOISE}, seed=seed),
        train_dataset=train,
        processing_class=CoMMProcessor({name: {"kind": "table"} for name in NOISE}),
    )


def accuracies(tuned: LatentTrainer, test: list[dict]) -> dict[str, float]:
    """Percent, from all modalities and from each alone."""
    truth = torch.tensor([row["labels"] for row in test])
    found = {name: tuned.logits(test, only).argmax(1) for name, only in {"all": None, **{n: n for n in NOISE}}.items()}
    return {name: 100 * (said == truth).float().mean().item() for name, said in found.items()}


def measured(seed: int, train: list[dict], test: list[dict], epochs: int) -> dict[float, dict[str, float]]:
    """The accuracies by modality dropout."""
    with tempfile.TemporaryDirectory() as folder:
        set_seed(seed)
        options = {"modalities": MODALITIES, "embed_dim": 32, "fusion_heads": 4}
        first = CoMMModel(CoMMConfig(**options, projection_hidden_dim=32, projection_dim=16))
        trainer(first, folder, train, epochs, seed).train()
        first.save_pretrained(folder)
        found = {}
        for dropout in (0.0, 0.3):
            set_seed(seed)
            head = {"num_labels": CLASSES, "modality_dropout": dropout}
            model = CoMMForSequenceClassification.from_pretrained(folder, **head)
            tuned = trainer(model, folder, train, epochs, seed)
            tuned.train()
            found[dropout] = accuracies(tuned, test)
    return found


def main() -> None:
    logging.set_verbosity_error()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--epochs", type=int, default=20)
    args = parser.parse_args()
    train, test = rows(args.rows, 1), rows(2000, 2)
    runs = [measured(seed, train, test, args.epochs) for seed in range(args.seeds)]
    print(f"| modality_dropout | all | {' | '.join(NOISE)} |\n|---|---|{'---|' * len(NOISE)}")
    for dropout in (0.0, 0.3):
        cells = []
        for name in ("all", *NOISE):
            values = np.array([run[dropout][name] for run in runs])
            cells.append(f"{values.mean():.1f} ± {values.std():.1f}")
        print(f"| {dropout:g} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
