"""CoMM, its baselines and LatentCLIP on utterances of CMU-MOSI: what each modality, each pair and all tell.

    python benchmarks/real/mosi.py make bc-LSTM/data mosi
    python benchmarks/real/mosi.py run mosi outputs/mosi
    python benchmarks/real/mosi.py lacking bc-LSTM/data outputs/mosi
    python benchmarks/real/mosi.py labels mosi outputs/mosi

The features are those of the repository declare-lab/multimodal-deep-learning, folder `bc-LSTM/data`, one vector an
utterance: text 100 (the last layer of a convolutional network), audio 73 (openSMILE, selected), video 100 (a 3D
convolutional network), 1,447 utterances to train and 752 of other speakers to test (Poria et al., ACL 2017; Zadeh et
al. 2016). The networks for text and video were trained on the sentiment of the training utterances, those that are
held out here to validate among them: a probe reads it from their features with 99 %, and nothing can be tuned on them.
So the settings are not tuned, and what is trained here without labels reads features that were trained with labels.
"""

import argparse
import csv
import json
import tempfile
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
import torch.nn.functional as F

from hf_latent import experiment
from hf_latent.metrics import linear_probe
from hf_latent.metrics.linear_probe import fit_probe
from hf_latent.recipe import load_recipe

NAMES = ("text", "audio", "video")
RECIPE = Path(__file__).with_name("mosi.yaml")
VALIDATION = 0.2  # of the training videos
METHODS: dict[str, dict[str, Any]] = {
    "CoMM": {},
    "cross": {"objective": "cross"},
    "cross + self": {"objective": "cross_self"},
}


def make(source: Path, folder: Path, removed: float = 0.0, seed: int = 0) -> None:
    """Write the data set: the utterances with standardised features, validation split off by whole videos.

    Args:
        source: The folder `bc-LSTM/data`.
        folder: Where `save_to_disk` writes to.
        removed: The share of the training rows that lose each modality; a row that would lose all keeps one.
        seed: Of the draw of what is removed.
    """
    names = [row[0] for row in _read(source / "transcripts.csv")]
    splits: dict[str, dict[str, Any]] = {}
    for split in ("train", "test"):
        numbers = [int(row[0]) for row in _read(source / f"text_{split}.csv")]
        tables = {name: np.array(_read(source / name / f"{name}_{split}0.csv"), dtype=np.float64) for name in NAMES}
        splits[split] = {name: table[:, :-1] for name, table in tables.items()}
        splits[split]["sentiment"] = np.where(tables["text"][:, -1] == 1, "positive", "negative")
        splits[split]["id"] = np.array([names[number] for number in numbers])
        splits[split]["video_id"] = np.array([names[number].rsplit("_", 1)[0] for number in numbers])
    videos = np.unique(splits["train"]["video_id"])
    held = np.random.default_rng(0).permutation(videos)[: round(VALIDATION * len(videos))]
    chosen = np.isin(splits["train"]["video_id"], held)
    train = {key: values[~chosen] for key, values in splits["train"].items()}
    splits = {"train": train, "validation": {k: v[chosen] for k, v in splits["train"].items()}, "test": splits["test"]}
    for name in NAMES:
        mean, deviation = train[name].mean(0), train[name].std(0)
        for split in splits.values():
            split[name] = ((split[name] - mean) / np.where(deviation > 0, deviation, 1)).clip(-5, 5)
    rows = {split: {key: list(values) for key, values in own.items()} for split, own in splits.items()}
    lost = np.random.default_rng(seed).random((len(rows["train"]["id"]), len(NAMES))) < removed
    lost[np.arange(len(lost)), np.random.default_rng(seed + 1).integers(len(NAMES), size=len(lost))] &= ~lost.all(1)
    for place, name in enumerate(NAMES):
        own = rows["train"][name]
        rows["train"][name] = [None if gone else value for gone, value in zip(lost[:, place], own, strict=True)]
    vector, word = datasets.List(datasets.Value("float32")), datasets.Value("string")
    features = datasets.Features(
        {**dict.fromkeys(NAMES, vector), **dict.fromkeys(("sentiment", "id", "video_id"), word)}
    )
    made = {split: datasets.Dataset.from_dict(own, features=features) for split, own in rows.items()}
    datasets.DatasetDict(made).save_to_disk(str(folder))


def _read(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        return list(csv.reader(file))


def subsets(names: Sequence[str]) -> list[tuple[str, ...]]:
    """Each modality, each pair ..., all."""
    return [part for size in range(1, len(names) + 1) for part in combinations(names, size)]


def arrays(folder: Path, split: str) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The features of the rows of a split that have all modalities, and their labels."""
    rows = datasets.load_from_disk(str(folder))[split]
    rows = rows.filter(lambda row: all(row[name] is not None for name in NAMES))
    return {name: np.array(rows[name][:], dtype=np.float32) for name in NAMES}, np.array(rows["sentiment"][:])


@torch.no_grad()
def features(run: Path, values: dict[str, np.ndarray], part: Sequence[str]) -> np.ndarray:
    """What a run makes of some modalities: fused by CoMM, side by side of the others."""
    from transformers import AutoModel

    model: Any = AutoModel.from_pretrained(run).eval()
    inputs = {name: {"values": torch.from_numpy(values[name])} for name in part}
    if getattr(model.config, "objective", "") in ("comm", "supcon"):
        return model.get_fused_features(inputs).numpy()
    embeds = model(modalities=inputs, return_loss=False).embeds
    scale = F.normalize if model.config.model_type == "latent_clip" else lambda rows, dim: rows
    return torch.cat([scale(embeds[name], dim=-1) for name in part], dim=-1).numpy()


def probe(train: np.ndarray, labels: np.ndarray, test: np.ndarray, right: np.ndarray) -> float:
    """Accuracy of a linear probe in percent."""
    classes = np.unique(labels)
    return linear_probe(train, np.searchsorted(classes, labels), test, np.searchsorted(classes, right)).accuracy


def train(folder: Path, output: Path, names: Sequence[str], seed: int, model: dict[str, Any], **data: Any) -> Path:
    """Train the recipe on some of the modalities."""
    changes = {
        "model": model,
        "data": {"path": str(folder), **data},
        "training": {"seed": seed, "output_dir": str(output)},
    }
    recipe = load_recipe(_recipe_of(names, output, fused="type" not in model), changes=[changes])
    experiment.train(recipe)
    return output


def _recipe_of(names: Sequence[str], output: Path, fused: bool) -> Path:
    """The recipe with these modalities alone, and without what only CoMM has unless they are fused."""
    from omegaconf import OmegaConf

    recipe: Any = OmegaConf.to_container(OmegaConf.load(RECIPE))
    for section in (recipe["model"]["modalities"], recipe["data"]["columns"], recipe["views"]):
        for name in set(section) - set(names):
            del section[name]
    recipe["data"]["labels"]["sentiment"]["of"] = list(names)
    for key in () if fused else ("embed_dim", "fusion_heads", "projection_hidden_dim"):
        del recipe["model"][key]
    output.parent.mkdir(parents=True, exist_ok=True)
    path = output.with_suffix(".yaml")
    OmegaConf.save(OmegaConf.create(recipe), path)
    return path


def measured(run: Path, folder: Path, whole: Path, names: Sequence[str], split: str) -> dict[str, float]:
    """Accuracy by subset of modalities; probes are fit on the whole training rows in every case."""
    (train_values, labels), (values, right) = arrays(whole, "train"), arrays(folder, split)
    return {
        " + ".join(part): probe(features(run, train_values, part), labels, features(run, values, part), right)
        for part in subsets(names)
    }


def told(found: dict[str, list[dict[str, float]]]) -> str:
    """A table of means and deviations over seeds."""
    parts = list(dict.fromkeys(part for rows in found.values() for row in rows for part in row))
    lines = ["| | " + " | ".join(parts) + " |", "|---" * (len(parts) + 1) + "|"]
    for method, rows in found.items():
        cells = []
        for part in parts:
            values = [row[part] for row in rows if part in row]
            spread = f" ± {np.std(values, ddof=1):.1f}" if len(values) > 1 else ""
            cells.append(f"{np.mean(values):.1f}{spread}" if values else "")
        lines.append(f"| {method} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def raw(folder: Path, split: str) -> dict[str, float]:
    """Logistic regression on the features themselves."""
    (train_values, labels), (values, right) = arrays(folder, "train"), arrays(folder, split)
    side = lambda own, part: np.concatenate([own[name] for name in part], axis=1)  # noqa: E731
    return {" + ".join(p): probe(side(train_values, p), labels, side(values, p), right) for p in subsets(NAMES)}


def run(folder: Path, output: Path, seeds: int, split: str, only: str | None) -> None:
    """All methods, all seeds; finished runs are not trained again."""
    found: dict[str, list[dict[str, float]]] = {"logistic regression on the features": [raw(folder, split)]}
    clip = {"type": "latent_clip", "projection_dim": 64, "projection": "mlp"}
    plans: list[tuple[str, Sequence[str], dict[str, Any]]] = [
        *((method, NAMES, model) for method, model in METHODS.items()),
        ("LatentCLIP, three towers", NAMES, clip),
        *((f"CoMM of {a} and {b}", (a, b), {}) for a, b in combinations(NAMES, 2)),
    ]
    for method, names, model in plans:
        if only is not None and only not in method:
            continue
        for seed in range(1, seeds + 1):
            place = output / f"{method.replace(' ', '_').replace(',', '')}_{seed}"
            if not (place / "metrics.json").exists():
                train(folder, place, names, seed, model)
            found.setdefault(method, []).append(measured(place, folder, folder, names, split))
    (output / f"{split}.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8", newline="\n")
    print(f"\nAccuracy of a linear probe on the {split} split, %\n\n{told(found)}")


def lacking(source: Path, output: Path, seeds: int, split: str) -> None:
    """CoMM where a share of each modality is gone from the training rows, used or dropped; probes read whole rows."""
    found: dict[str, list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        whole = Path(scratch) / "whole"
        make(source, whole)
        for share in (0.2, 0.5):
            for seed in range(1, seeds + 1):
                folder = Path(scratch) / f"{share}_{seed}"
                make(source, folder, share, seed)
                for how in ("use", "drop"):
                    place = output / f"lacking_{share}_{how}_{seed}"
                    if not (place / "metrics.json").exists():
                        train(folder, place, NAMES, seed, {}, on_missing=how)
                    own = measured(place, whole, whole, NAMES, split)
                    found.setdefault(f"{share:.0%} of each modality gone, {how}", []).append(own)
    (output / f"lacking_{split}.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8", newline="\n")
    print(f"\nAccuracy of a linear probe on the {split} split, %\n\n{told(found)}")


HEADS: dict[str, dict[str, Any]] = {
    "frozen, linear layer": {"frozen": True},
    "fine-tuned": {},
    "fine-tuned, modality dropout 0.3": {"modality_dropout": 0.3},
    "from scratch": {"pretrained": None},
    "fine-tuned by SupCon, then a probe": {"type": "comm", "objective": "supcon", "temperature": 0.07},
}


def labels(folder: Path, output: Path, seeds: int, split: str) -> None:
    """CoMM trained on the sentiment, from the runs of `run`: all modalities, with an interval over rows, and each."""
    found: dict[str, list[dict[str, np.ndarray]]] = {}
    for seed in range(1, seeds + 1):
        begun = output / f"CoMM_{seed}"
        found.setdefault("a probe of CoMM", []).append(_right(begun, folder, split))
        for method, model in HEADS.items():
            place = output / f"labels_{method.replace(' ', '_').replace(',', '')}_{seed}"
            if not (place / "metrics.json").exists():
                own = {"type": "comm_classification", "pretrained": str(begun), **model}
                own = {key: value for key, value in own.items() if value is not None}
                _train_on_labels(folder, place, seed, own)
            found.setdefault(method, []).append(_right(place, folder, split))
    draws = np.random.default_rng(0).integers(0, 10**9, 2000)
    head = " | ".join([*NAMES, "all", "95 % over rows"])
    print(f"\nAccuracy on the {split} split, %\n\n| | {head} |\n|---|---|---|---|---|---|")
    for method, runs in found.items():
        cells = []
        for part in (*((name,) for name in NAMES), NAMES):
            values = [100 * own[" + ".join(part)].mean() for own in runs]
            cells.append(f"{np.mean(values):.1f} ± {np.std(values, ddof=1):.1f}")
        rows = np.mean([own[" + ".join(NAMES)] for own in runs], axis=0)
        means = [100 * rows[np.random.default_rng(d).integers(len(rows), size=len(rows))].mean() for d in draws]
        low, high = np.percentile(means, [2.5, 97.5])
        print(f"| {method} | {' | '.join(cells)} | {low:.1f} to {high:.1f} |")


def _train_on_labels(folder: Path, output: Path, seed: int, model: dict[str, Any]) -> None:
    """The recipe with a target in place of the contrast."""
    from omegaconf import OmegaConf

    recipe: Any = OmegaConf.to_container(OmegaConf.load(RECIPE))
    del recipe["evaluation"]
    for key in ("projection_hidden_dim", "projection_dim") if model["type"] != "comm" else ():
        del recipe["model"][key]
    recipe["model"] |= model
    del recipe["data"]["labels"]
    recipe["data"] |= {"path": str(folder), "target": "sentiment"}
    recipe["training"] |= {"seed": seed, "output_dir": str(output)}
    path = output.with_suffix(".yaml")
    OmegaConf.save(OmegaConf.create(recipe), path)
    experiment.train(load_recipe(path))


@torch.no_grad()
def _right(run: Path, folder: Path, split: str) -> dict[str, np.ndarray]:
    """Whether each row is told right, from each modality alone and from all: by a head, or by a probe."""
    from transformers import AutoConfig, AutoModelForSequenceClassification

    (train_values, known), (values, truth) = arrays(folder, "train"), arrays(folder, split)
    classes = np.unique(known)
    found = {}
    for part in (*((name,) for name in NAMES), NAMES):
        if AutoConfig.from_pretrained(run).objective == "labels":
            model: Any = AutoModelForSequenceClassification.from_pretrained(run).eval()
            logits = model({name: {"values": torch.from_numpy(values[name])} for name in part}).logits.numpy()
            said = np.array([model.config.id2label[number] for number in logits.argmax(1)])
        else:
            fitted = fit_probe(features(run, train_values, part), np.searchsorted(classes, known))
            said = classes[fitted.classes[fitted.logits(features(run, values, part)).argmax(1)]]
        found[" + ".join(part)] = said == truth
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["make", "run", "lacking", "labels"])
    parser.add_argument("source", type=Path, help="bc-LSTM/data; of run and labels the folder that make has written")
    parser.add_argument("output", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--split", default="test", choices=["validation", "test"], help="validation to tune on")
    parser.add_argument("--only", help="the methods whose name holds this")
    options = parser.parse_args()
    if options.command == "make":
        make(options.source, options.output)
    elif options.command == "run":
        run(options.source, options.output, options.seeds, options.split, options.only)
    elif options.command == "labels":
        labels(options.source, options.output, options.seeds, options.split)
    else:
        lacking(options.source, options.output, options.seeds, options.split)


if __name__ == "__main__":
    main()
