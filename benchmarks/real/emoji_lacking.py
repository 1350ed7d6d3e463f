"""LatentCLIP on emoji where a share of the pictures and of the names is gone from the training rows, used or dropped.

    python benchmarks/real/emoji_lacking.py emoji outputs/emoji_lacking

The folder is that of examples/emoji/prepare.py, the recipe examples/emoji/recipe.yaml with 4 epochs. Held-out emoji
are whole.
"""

import argparse
import json
from pathlib import Path

import datasets
import numpy as np

from hf_latent import experiment
from hf_latent.recipe import load_recipe

RECIPE = Path(__file__).parents[2] / "examples" / "emoji" / "recipe.yaml"
KEYS = ("image_to_text_r1", "text_to_image_r1", "zero_shot_top1", "probe_group", "probe_vendor")


def make(source: Path, folder: Path, removed: float, seed: int) -> None:
    """The emoji with a share of each modality gone from the training rows; a row that would lose both keeps one."""
    rows = datasets.load_dataset("imagefolder", data_dir=str(source))
    gone = np.random.default_rng(seed).random((len(rows["train"]), 2)) < removed
    both, kept = gone.all(axis=1), np.random.default_rng(seed + 1).integers(2, size=len(gone))
    gone[both, kept[both]] = False
    images = rows["train"].cast_column("image", datasets.Image(decode=False))

    def lose(row: dict, number: int) -> dict:
        no_image, no_text = gone[number]
        return {"image": None if no_image else row["image"], "description": None if no_text else row["description"]}

    rows["train"] = images.map(lose, with_indices=True).cast_column("image", datasets.Image())
    rows.save_to_disk(str(folder))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("emoji", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--shares", type=float, nargs="+", default=[0.0, 0.2, 0.5], help="that are gone")
    options = parser.parse_args()
    found: dict[str, list[dict[str, float]]] = {}
    for share in options.shares:
        for seed in range(1, options.seeds + 1):
            folder = options.output / f"data_{share}_{seed}"
            if not folder.exists():
                make(options.emoji, folder, share, seed)
            for how in ("use", "drop") if share else ("error",):
                place = options.output / f"{share}_{how}_{seed}"
                if not (place / "metrics.json").exists():
                    changes = [
                        {
                            "data": {"path": str(folder), "options": {}, "on_missing": how},
                            "training": {"seed": seed, "output_dir": str(place), "num_train_epochs": 4},
                        }
                    ]
                    fixed = ["training.eval_strategy=no", "training.save_strategy=no", "training.disable_tqdm=true"]
                    experiment.train(load_recipe(RECIPE, fixed, changes))
                metrics = json.loads((place / "metrics.json").read_text(encoding="utf-8"))
                title = f"{share:.0%} of each gone, {how}" if share else "whole"
                found.setdefault(title, []).append({key: metrics[key] for key in KEYS})
    print("\n| | " + " | ".join(KEYS) + " |\n" + "|---" * (len(KEYS) + 1) + "|")
    for title, rows in found.items():
        cells = [[row[key] for row in rows] for key in KEYS]
        told = [
            f"{np.mean(own):.1f} ± {np.std(own, ddof=1):.1f}" if len(own) > 1 else f"{own[0]:.1f}" for own in cells
        ]
        print(f"| {title} | {' | '.join(told)} |")


if __name__ == "__main__":
    main()
