"""Two tables of numbers with a class, labels and a number of each row: a file of JSON lines for each split, made here.

    python prepare.py --output tables

`blood` tells the class clearly and `vitals` noisily, `tags` and `score` follow from both. Some rows lack `vitals`.
"""

import argparse
import json
from pathlib import Path

import numpy as np

CLASSES = ("healthy", "tired", "ill")
BLOOD, VITALS = ("iron", "glucose", "sodium"), ("pulse", "pressure", "warmth")
NOISE = {"blood": 0.4, "vitals": 0.8}
ROWS = {"train": 900, "test": 300}


def row(draw: np.random.Generator) -> dict:
    """One row; its cells stand around the center of its class."""
    kind = int(draw.integers(len(CLASSES)))
    center = np.eye(len(CLASSES))[kind]
    blood, vitals = (np.round(1.2 * center + noise * draw.normal(size=3), 4) for noise in NOISE.values())
    missing = draw.random() < 0.1
    score = float(blood[0] - vitals[1])
    tags = [name for name, there in (("iron-rich", blood[0] > 0.5), ("fast", vitals[0] > 0.5)) if there]
    cells = {**dict(zip(BLOOD, blood.tolist(), strict=True))}
    cells |= dict(zip(VITALS, [None] * 3 if missing else vitals.tolist(), strict=True))
    return {**cells, "kind": CLASSES[kind], "tags": tags, "score": round(score, 4)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("tables"))
    folder = parser.parse_args().output
    folder.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(0)
    for split, count in ROWS.items():
        lines = (json.dumps(row(draw)) for _ in range(count))
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
