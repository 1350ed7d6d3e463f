"""Tasks for models with a head, made from the labels of the emoji that prepare.py has written.

    python examples/emoji/tasks.py emoji
    hf-latent train examples/emoji/albef.yaml
    hf-latent train examples/emoji/questions.yaml

Three tables beside the folder `emoji`, each with its splits:

- `emoji_questions`: `image`, `question`, `answer` and `kind`: its group, who drew it, and whether it is a face;
- `emoji_sentences`: `image`, `sentence` such as "one of food & drink, drawn by google", and `right`: whether both
  parts are right of the image, one, or none;
- `emoji_pairs`: `left`, `right`, `statement` such as "both are drawn by the same vendor", `truth` and `kind`.

Every answer of sentences and pairs comes as often as the others, and what is said wrongly has the share that it has
among the emoji: sentences alone tell next to nothing.
"""

import argparse
import json
import shutil
from pathlib import Path

import datasets
import numpy as np

SPLITS = ("train", "validation", "test")
QUESTIONS = {"group": "which group is it of?", "vendor": "who has drawn it?", "face": "is it a face?"}
RIGHT = ("none", "one", "both")


def read(folder: Path, split: str) -> list[dict[str, str]]:
    """The rows of a split, with the path of each picture."""
    lines = (folder / split / "metadata.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    return [{**row, "image": str(folder / split / row["file_name"])} for row in rows]


def other(rows: list[dict[str, str]], key: str, value: str, rng: np.random.Generator) -> str:
    """Another value of a label, drawn as often as emoji have it."""
    while (found := rows[rng.integers(len(rows))][key]) == value:
        pass
    return found


def questions(rows: list[dict[str, str]], rng: np.random.Generator) -> list[dict[str, str]]:
    return [
        {"image": row["image"], "question": text, "answer": row[key], "kind": key}
        for row in rows
        for key, text in QUESTIONS.items()
    ]


def sentences(rows: list[dict[str, str]], rng: np.random.Generator) -> list[dict[str, str]]:
    found = []
    for number, row in enumerate(rng.permutation(np.arange(2 * len(rows)) % len(rows))):
        own, right = rows[row], RIGHT[number % 3]
        wrong = ["group", "vendor"]
        if right != "none":
            drawn = wrong[rng.integers(2)]
            wrong = [drawn] if right == "one" else []
        said = {key: other(rows, key, own[key], rng) if key in wrong else own[key] for key in ("group", "vendor")}
        text = f"one of {said['group']}, drawn by {said['vendor']}"
        found.append({"image": own["image"], "sentence": text, "right": right})
    return found


def pairs(rows: list[dict[str, str]], rng: np.random.Generator) -> list[dict[str, str | bool]]:
    found: list[dict[str, str | bool]] = []
    for number in range(2 * len(rows)):
        key, truth = ("group", "vendor")[number % 2], bool(number // 2 % 2)
        left = rows[rng.integers(len(rows))]
        while True:
            right = rows[rng.integers(len(rows))]
            if (left[key] == right[key]) == truth and left["emoji"] != right["emoji"]:
                break
        statement = f"both are {'of the same group' if key == 'group' else 'drawn by the same vendor'}"
        found.append(
            {"left": left["image"], "right": right["image"], "statement": statement, "truth": truth, "kind": key}
        )
    return found


def write(folder: Path, seed: int = 0) -> list[Path]:
    """Write the tables beside the folder; returns where they are."""
    written = []
    for name, make in (("questions", questions), ("sentences", sentences), ("pairs", pairs)):
        target = folder.with_name(f"{folder.name}_{name}")
        splits = {}
        for place, split in enumerate(SPLITS):
            table = datasets.Dataset.from_list(make(read(folder, split), np.random.default_rng([seed, place])))
            for column in {"image", "left", "right"} & set(table.column_names) - (
                {"right"} if name == "sentences" else set()
            ):
                table = table.cast_column(column, datasets.Image())
            splits[split] = table
        shutil.rmtree(target, ignore_errors=True)
        datasets.DatasetDict(splits).save_to_disk(target)
        written.append(target)
    return written


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=Path("emoji"), help="that prepare.py has written")
    folder = parser.parse_args().folder
    if not (folder / "train" / "metadata.jsonl").is_file():
        parser.error(f"{folder} holds no emoji: write it with prepare.py")
    for path in write(folder):
        print(path)


if __name__ == "__main__":
    main()
