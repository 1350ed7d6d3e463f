"""Fine-tuning without forgetting: LatentCLIP of the emoji of one vendor, fine-tuned on those of another.

    python benchmarks/real/emoji_vendors.py emoji outputs/emoji_vendors

The folder is that of examples/emoji/prepare.py, the model that of examples/emoji/recipe.yaml. For each seed a model is
trained on Google's pictures and fine-tuned on Twitter's: as it is, with low-rank adapters in the text tower and the
image tower frozen, or with a regularizer that holds it. `hf-latent interpolate` measures the mixtures of the weights
of both on held-out emoji of either vendor.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import yaml

from hf_latent import experiment
from hf_latent.interpolation import interpolate
from hf_latent.recipe import load_recipe

RECIPE = Path(__file__).parents[2] / "examples" / "emoji" / "recipe.yaml"
SOURCE, TARGET = "google", "twitter"
WEIGHTS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
STRUCTURES: dict[str, dict[str, Any]] = {
    "plain": {},
    "low-rank adapters": {"lora": {"rank": 8, "alpha": 16}},
    "distillation": {"model": {"regularizers": {"distillation": {"weight": 1.0}}}},
    "random references": {"model": {"regularizers": {"random_references": {"weight": 1.0}}}},
}
MEASURES = {
    "zero_shot_top1": "zero-shot",
    "image_to_text_r1": "image to text R@1",
    "text_to_image_r1": "text to image",
}
EVALUATION = {"benchmarks": {"zero_shot": {"label": "group", "templates": ["one of {}"]}, "retrieval": {}}}


def divide(source: Path, folder: Path) -> None:
    """The emoji of each vendor as a data set of its own, with a recipe, and a benchmark file that measures on it."""
    rows = datasets.load_dataset("imagefolder", data_dir=str(source))
    recipe = yaml.safe_load(RECIPE.read_text(encoding="utf-8"))
    for vendor in (SOURCE, TARGET):
        place = folder / vendor
        rows.filter(lambda own, vendor=vendor: own == vendor, input_columns="vendor").save_to_disk(str(place))
        data = {"name": "dataset", "path": str(place), **{key: recipe["data"][key] for key in ("columns", "ids")}}
        data["labels"] = {"group": recipe["data"]["labels"]["group"]}
        write(folder / f"{vendor}.yaml", {"data": data, "evaluation": EVALUATION})
        trained = {**data, "tokenizers": recipe["data"]["tokenizers"]}
        write(folder / f"{vendor}_recipe.yaml", {**recipe, "data": trained, "evaluation": EVALUATION})


def write(path: Path, values: dict[str, Any]) -> None:
    path.write_text(yaml.safe_dump(values), encoding="utf-8", newline="\n")


def train(recipe: Path, place: Path, seed: int, change: dict[str, Any], *overrides: str) -> None:
    """A run, if it is not there yet."""
    if (place / "metrics.json").exists():
        return
    own = {"training": {"seed": seed, "output_dir": str(place)}}
    fixed = ["training.eval_strategy=no", "training.save_strategy=no", "training.disable_tqdm=true", *overrides]
    experiment.train(load_recipe(recipe, fixed, [own, change]))


def between(first: Path, second: Path, data: Path, output: Path) -> dict[str, dict[str, float]]:
    """What each weight reaches, by its keys."""
    if not (output / "interpolation.json").exists():
        names = [str(data / f"{vendor}.yaml") for vendor in (SOURCE, TARGET)]
        interpolate(str(first), str(second), output, names, WEIGHTS, progress=False)
    told = json.loads((output / "interpolation.json").read_text(encoding="utf-8"))["weights"]
    return {weight: {key: row[key]["value"] for key in row} for weight, row in told.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("emoji", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, nargs=2, default=[8, 4], help="of training and of fine-tuning")
    options = parser.parse_args()
    data = options.output / "data"
    if not (data / f"{TARGET}.yaml").exists():
        divide(options.emoji, data)
    found: dict[str, list[dict[str, dict[str, float]]]] = {}
    for seed in range(1, options.seeds + 1):
        start = options.output / f"start_{seed}"
        train(data / f"{SOURCE}_recipe.yaml", start, seed, {}, f"training.num_train_epochs={options.epochs[0]}")
        for name, change in STRUCTURES.items():
            place = options.output / f"{name.replace(' ', '_')}_{seed}"
            changed = {**change, "model": {**change.get("model", {}), "pretrained": str(start)}}
            # Adapters of fresh values need larger steps than trained weights.
            rate = 1e-3 if "lora" in change else 3e-4
            also = f"evaluation.also=[{data / SOURCE}.yaml]"
            more = [f"training.num_train_epochs={options.epochs[1]}", f"training.learning_rate={rate}"]
            train(data / f"{TARGET}_recipe.yaml", place, seed, changed, *more, "evaluation.start=true", also)
            found.setdefault(name, []).append(between(start, place, data, place / "between"))
    for key, title in MEASURES.items():
        print(f"\n| {title} | of | " + " | ".join(f"{weight:g}" for weight in WEIGHTS) + " |")
        print("|---|---" + "|---:" * len(WEIGHTS) + "|")
        for name, rows in found.items():
            for vendor in (SOURCE, TARGET):
                cells = [[row[f"{weight:g}"][f"{vendor}_{key}"] for row in rows] for weight in WEIGHTS]
                told = [f"{np.mean(own):.1f} ± {np.std(own, ddof=1):.1f}" for own in cells]
                print(f"| {name} | {vendor} | {' | '.join(told)} |")


if __name__ == "__main__":
    main()
