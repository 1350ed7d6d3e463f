"""LatentCLIP on spoken digits: the word from the sound of speakers never heard, and the speaker, private to the sound.

    python benchmarks/real/spoken_digits.py make recordings digits
    python benchmarks/real/spoken_digits.py choose digits outputs/digits_chosen
    python benchmarks/real/spoken_digits.py run digits outputs/digits

The recordings are those of the repository Jakobovski/free-spoken-digit-dataset (CC BY-SA 4.0): 3,000 files at 8 kHz,
ten digits said 50 times by each of six speakers. Recordings 10 to 49 of four speakers are trained on, their others are
for validation and for the probe of the speaker, and two speakers are held out. What is subtracted from spectrograms is
chosen by `choose`, which leaves out one of the four speakers at a time and never reads the two.
"""

import argparse
import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from omegaconf import OmegaConf

from hf_latent import experiment
from hf_latent.metrics import linear_probe
from hf_latent.models.audio import MEANS
from hf_latent.recipe import load_recipe

RECIPE = Path(__file__).with_name("spoken_digits.yaml")
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
HELD_OUT = ("theo", "yweweler")
STRUCTURES: dict[str, dict[str, Any]] = {
    "LatentCLIP": {},
    "LatentCLIP, two views": {"in_modal": True},
    "with feature separation": {"in_modal": True, "regularizers": {"feature_separation": {"weight": 1.0}}},
}


def make(recordings: Path, folder: Path) -> None:
    """List the recordings of each split."""
    rows: dict[str, list[tuple[str, str, str]]] = {"train": [], "validation": [], "test": []}
    for path in sorted(recordings.glob("*.wav")):
        digit, speaker, take = path.stem.split("_")
        split = "test" if speaker in HELD_OUT else "validation" if int(take) < 10 else "train"
        rows[split].append((str(path.resolve()), WORDS[int(digit)], speaker))
    folder.mkdir(parents=True)
    for split, own in rows.items():
        with (folder / f"{split}.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("file", "word", "speaker"), *own])


@torch.no_grad()
def embedded(run: Path, folder: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """What a run makes of the sounds of a split, with its independent features if it has any, and their speakers."""
    from transformers import AutoModel, AutoProcessor

    model: Any = AutoModel.from_pretrained(run).eval()
    processor: Any = AutoProcessor.from_pretrained(run)
    with (folder / f"{split}.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    parts = []
    for start in range(0, len(rows), 100):
        files = [Path(row["file"]) for row in rows[start : start + 100]]
        found = model(**processor({"audio": files}), return_loss=False)
        fields = [found.embeds, found.independent] if found.independent is not None else [found.embeds]
        parts.append(torch.cat([F.normalize(field["audio"], dim=-1) for field in fields], dim=-1))
    return torch.cat(parts).numpy(), np.array([row["speaker"] for row in rows])


def speaker(run: Path, folder: Path) -> float:
    """Accuracy of a linear probe of the speaker, on other recordings of the speakers of training."""
    train, labels = embedded(run, folder, "train")
    held, right = embedded(run, folder, "validation")
    names = np.unique(labels)
    return linear_probe(train, np.searchsorted(names, labels), held, np.searchsorted(names, right)).accuracy


def trained(files: dict[str, str], place: Path, seed: int, model: dict[str, Any]) -> dict[str, float]:
    """The metrics of a run; a finished one is not trained again."""
    if not (place / "metrics.json").exists():
        changes = {
            "model": model,
            "data": {"options": {"data_files": files}},
            "training": {"seed": seed, "output_dir": str(place)},
        }
        experiment.train(load_recipe(RECIPE, changes=[OmegaConf.create(changes)]))
    return json.loads((place / "metrics.json").read_text(encoding="utf-8"))


def choose(folder: Path, output: Path) -> None:
    """Word of a sound for each of the speakers of training, by a model of the others, for each way to normalise."""
    with (folder / "train.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    speakers = sorted({row["speaker"] for row in rows})
    print("\n| normalize | " + " | ".join(speakers) + " | mean |\n" + "|---" * (len(speakers) + 2) + "|")
    for normalize in MEANS:
        found = []
        for speaker in speakers:
            place = output / f"without_{speaker}"
            place.mkdir(parents=True, exist_ok=True)
            files = {split: str((place / f"{split}.csv").resolve()) for split in ("train", "test")}
            for split, path in files.items():
                own = [row for row in rows if (row["speaker"] == speaker) == (split == "test")]
                with open(path, "w", newline="", encoding="utf-8") as file:
                    csv.writer(file).writerows([("file", "word", "speaker"), *(row.values() for row in own)])
            files["validation"] = files["test"]
            model = {"in_modal": True, "modalities": {"audio": {"normalize": normalize}}}
            metrics = trained(files, output / f"{normalize}_{speaker}", 1, model)
            found.append(metrics["audio_to_text_r1"])
        cells = [f"{value:.1f}" for value in [*found, np.mean(found)]]
        print(f"| {normalize} | {' | '.join(cells)} |", flush=True)


def run(folder: Path, output: Path, seeds: int) -> None:
    """All structures, all seeds; finished runs are not trained again."""
    keys = {"audio_to_text_r1": "word of a sound", "text_to_audio_r1": "sound of a word"}
    found: dict[str, list[dict[str, float]]] = {}
    files = {split: str(folder / f"{split}.csv") for split in ("train", "validation", "test")}
    for name, model in STRUCTURES.items():
        for seed in range(1, seeds + 1):
            place = output / f"{name.replace(' ', '_').replace(',', '')}_{seed}"
            metrics = trained(files, place, seed, model)
            own = {title: metrics[key] for key, title in keys.items()}
            found.setdefault(name, []).append({**own, "speaker": speaker(place, folder)})
    print("\n| | " + " | ".join([*keys.values(), "speaker, by a probe"]) + " |")
    print("|---" * (len(keys) + 2) + "|")
    for name, rows in found.items():
        cells = [[row[key] for row in rows] for key in rows[0]]
        told = [f"{np.mean(own):.1f}" + (f" ± {np.std(own, ddof=1):.1f}" if len(own) > 1 else "") for own in cells]
        print(f"| {name} | {' | '.join(told)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["make", "choose", "run"])
    parser.add_argument("source", type=Path, help="the recordings; then the folder that make has written")
    parser.add_argument("output", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    if options.command == "make":
        make(options.source, options.output)
    elif options.command == "choose":
        choose(options.source, options.output)
    else:
        run(options.source, options.output, options.seeds)


if __name__ == "__main__":
    main()
