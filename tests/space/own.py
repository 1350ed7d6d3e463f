"""Runs on data of one's own: an imagefolder with captions and labels; tables, texts and series; questions."""

import json
from dataclasses import dataclass

import datasets
import numpy as np
import torch
from PIL import Image, ImageDraw
from transformers import BertConfig

from hf_latent import CoMMConfig, CoMMModel, CoMMProcessor, LatentCLIPProcessor
from hf_latent.data.composer import ALL, ComposedRows, Composer, Factor, Question
from hf_latent.data.loaded import EvaluationData, Label, LoadedData, Split, Target
from hf_latent.data.source import Source
from hf_latent.data.tokenizers import word_tokenizer
from tests.models.small import ENCODERS, small_clip
from tests.space.runs import SIZE, finish

GROUPS = ("animal", "flag", "fruit <b>")
HUES = {"animal": (160, 90, 40), "flag": (40, 60, 180), "fruit <b>": (60, 160, 60)}


def draw(group, number):
    """A picture whose ground is of its group."""
    image = Image.new("RGB", (40, 28), HUES[group])
    ImageDraw.Draw(image).ellipse((4 + number % 9, 4, 20 + number % 9, 22), fill=(20 * (number % 10), 200, 90))
    return image


def picture_folder(folder, counts):
    """An imagefolder sorted by group, with a line of metadata a picture; every fifth has no weight."""
    for split, count in counts.items():
        (folder / split).mkdir(parents=True)
        lines = []
        for place, group in enumerate(sorted(GROUPS * count)):
            draw(group, place).save(folder / split / f"{place:03}.png")
            row = {"file_name": f"{place:03}.png", "caption": f"a {group.split()[0]} number {place % 7} of {split}"}
            row |= {"group": group, "weight": None if place % 5 == 4 else 1.5 * place, "author": f"anna {place}"}
            lines.append(json.dumps(row | {"tags": ["outdoor"] * (place % 2) + ["old", "small"][: place % 3]}))
        (folder / split / "metadata.jsonl").write_text("\n".join(lines))
    return folder


def pictures_run(folder, data_folder, **options):
    """LatentCLIP of an imagefolder with labels of every kind."""
    data = {
        "name": "dataset",
        "path": "imagefolder",
        "options": {"data_dir": str(data_folder)},
        "columns": {"image": "image", "text": "caption"},
        "labels": {
            "group": "group",
            "weight": {"column": "weight", "title": "weight in g"},
            "tags": "tags",
            "author": {"column": "author", "kind": "text"},
        },
        **options,
    }
    words = [
        f"a {group.split()[0]} number {number} of {split}"
        for group in GROUPS
        for number in range(7)
        for split in ("train", "test")
    ]
    tokenizer = word_tokenizer(words)
    model = small_clip(seed=0, dtype=torch.float32, vocab_size=len(tokenizer), projection_dim=16)
    model.save_pretrained(folder)
    LatentCLIPProcessor.for_size(SIZE, tokenizer).save_pretrained(folder)
    return finish(folder, {"data": data})


def rows_of_numbers(count, seed=0, missing=True):
    """Tables, notes and series of two kinds, with a number and a class that is sometimes missing."""
    rng = np.random.default_rng(seed)
    kinds = rng.integers(0, 2, count)
    time = np.linspace(0, 6, 20)
    series = [
        (np.stack([np.sin(time * (1 + kind)), np.cos(time), time / 6], 1) + rng.normal(0, 0.1, (20, 3))).tolist()
        for kind in kinds
    ]
    tables = [(np.array([kind, 1 - kind, -kind, 0.5]) + rng.normal(0, 0.2, 4)).tolist() for kind in kinds]
    speeds = 3.0 * kinds + rng.normal(0, 0.2, count)
    named = [None if missing and row % 6 == 0 else ("slow", "fast")[kind] for row, kind in enumerate(kinds)]
    columns = {
        "cells": tables,
        "note": [f"it was {('slow', 'fast')[kind]} at {row % 5}" for row, kind in enumerate(kinds)],
    }
    return datasets.Dataset.from_dict({**columns, "force": series, "speed": speeds.tolist(), "kind": named})


def numbers_run(folder, data_folder, modalities, **splits):
    """CoMM of some of `table`, `text` and `series`, on rows that are stored beside it."""
    counts = {"train": 60, "test": 40, **splits}
    stored = {name: rows_of_numbers(count, number) for number, (name, count) in enumerate(counts.items()) if count}
    datasets.DatasetDict(stored).save_to_disk(data_folder)
    columns = {name: {"table": "cells", "text": "note", "series": "force"}[name] for name in modalities}
    data = {"name": "dataset", "path": str(data_folder), "columns": columns}
    data["labels"] = {"speed": {"column": "speed", "title": "speed in m/s"}, "kind": "kind"}
    tokenizer = word_tokenizer([f"it was {word} at {number}" for word in ("slow", "fast") for number in range(5)])
    bert = BertConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2
    )
    encoders = {**ENCODERS, "text": {"encoder": "auto", "pooling": "mean", "config": bert.to_dict()}}
    torch.manual_seed(0)
    model = CoMMModel(
        CoMMConfig(modalities={name: encoders[name] for name in modalities}, embed_dim=16, fusion_heads=4)
    )
    model.save_pretrained(folder)
    kinds = {name: {"kind": name} for name in modalities}
    CoMMProcessor(kinds, {"text": tokenizer} if "text" in modalities else {}).save_pretrained(folder)
    return finish(folder, {"data": data})


class OwnComposer(Composer):
    """Tables and notes that are built of one word each, without a rule."""

    intro = "Build a table & a note."
    views = {"table": "The table", "text": "The note", ALL: "Both"}
    factors = {"table": (Factor("Kind", ("slow", "fast")),), "text": (Factor("Word", ("slow", "fast")),)}
    questions = {
        "kind": Question("Unique to the table", "its kind", Label(names=("slow", "fast"))),
        "same": Question("Synergistic", "are both alike?", Label(names=("no", "yes")), balanced=True),
    }
    compared = {"kind": (("table", 0),), "word": (("text", 0),)}
    presets = {"Alike": {"table": ("slow",), "text": ("slow",)}, "Not": {"table": ("slow",), "text": ("fast",)}}

    def draw(self, modality, chosen):
        kind = ("slow", "fast").index(chosen[0])
        return [float(kind), 1.0 - kind, -float(kind), 0.5] if modality == "table" else f"it was {chosen[0]} at 1"

    def words(self, modality, chosen):
        return chosen[0]

    def truth(self, chosen):
        same = chosen["table"] == chosen["text"]
        return {
            "kind": dict.fromkeys(self.views, chosen["table"][0]),
            "same": dict.fromkeys(self.views, ["no", "yes"][same]),
        }

    def rows(self, role, most):
        numbers = np.random.default_rng(role == "test").integers(0, 2, (60, 2))
        rows = [
            [self.names(name, row[place : place + 1]) for row in numbers] for place, name in enumerate(self.factors)
        ]
        values = {
            name: [self.draw(name, chosen) for chosen in own] for name, own in zip(self.factors, rows, strict=True)
        }
        chosen = {name: numbers[:, place : place + 1] for place, name in enumerate(self.factors)}
        labels = {"kind": numbers[:, 0], "same": (numbers[:, 0] == numbers[:, 1]).astype(int)}
        return ComposedRows(values, labels, chosen, {name: np.arange(60) for name in self.factors})


@dataclass(frozen=True)
class OwnQuestions(Source):
    """A table of pictures, questions and answers, as somebody's own source gives it: `load`, and nothing else."""

    pictures: int = 1

    def load(self, progress=False):
        def rows(count):
            images = [draw(GROUPS[row % 3], row) for row in range(count)]
            images = images if self.pictures == 1 else [[image, image] for image in images]
            return [{"image": image, "text": f"what is it, {row}?"} for row, image in enumerate(images)]

        answers = ("an animal", "a flag", "a fruit")
        labels = {"answer": Label(names=answers)}
        numbers = np.arange(30) % 3
        test = Split(rows(30), np.arange(30), {"answer": numbers})
        columns = {"image": "image", "text": "text"}
        target = Target("answers" if self.pictures == 1 else "classes", "answer")
        data = EvaluationData(test, columns=columns, labels=labels, target=target)
        return LoadedData(rows(60), columns, "own questions", evaluation=data)
