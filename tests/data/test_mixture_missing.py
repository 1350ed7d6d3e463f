"""A mixture whose sources do not all have the same modalities: `on_missing: use`."""

import itertools
import json

import datasets
import numpy as np
import pytest
import torch

from hf_latent import CoMMConfig, CoMMModel, CoMMProcessor
from hf_latent.cli import main
from hf_latent.data.collator import LatentCollator
from hf_latent.data.loaded import Missing
from hf_latent.data.source import Reader
from hf_latent.embed import Request, embed
from hf_latent.errors import UserError
from hf_latent.evaluation.model_encode import ModelEncode
from hf_latent.fit_to_data import fit_encoders
from hf_latent.recipe import parse_data
from hf_latent.runs import read_metrics

WIDTH = 4
COLUMNS = {
    "paired": {"left": "a", "right": "b", "text": "words"},
    "lefts": {"left": "a"},
    "named": {"right": "x|b", "text": "title"},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three sets of 12, 30 and 6 rows; two rows of the first lack their right."""
    folder = tmp_path_factory.mktemp("sources")
    draw = np.random.default_rng(0)
    means = np.eye(3, WIDTH)

    def numbers(count):
        return [(means[i % 3] + 0.1 * draw.normal(size=WIDTH)).astype("float32").tolist() for i in range(count)]

    def paired(count):
        rights = [None if i in (4, 5) else value for i, value in enumerate(numbers(count))]
        words = [f"class {i % 3}" for i in range(count)]
        return {"a": numbers(count), "b": rights, "words": words, "kind": [f"k{i % 3}" for i in range(count)]}

    tables = {
        "paired": {"train": paired(12), "test": paired(12)},
        "lefts": {"train": {"a": numbers(30), "kind": [f"k{i % 3}" for i in range(30)]}},
        "named": {"train": {"b": numbers(6), "title": ["of the others"] * 6}},
    }
    tables["lefts"]["test"] = {"a": numbers(12), "kind": [f"k{i % 3}" for i in range(12)]}
    kinds = {"a": datasets.List(datasets.Value("float32")), "b": datasets.List(datasets.Value("float32"))}
    for name, splits in tables.items():
        made = {}
        for split, columns in splits.items():
            features = {key: kinds.get(key, datasets.Value("string")) for key in columns}
            made[split] = datasets.Dataset.from_dict(columns, features=datasets.Features(features))
        datasets.DatasetDict(made).save_to_disk(folder / name)
    return folder


def section(folder, names=COLUMNS, sources=None, **options):
    written = [
        {"path": str(folder / name), "columns": COLUMNS[name], **(sources or {}).get(name, {})} for name in names
    ]
    return {"name": "mixture", "sources": written, "on_missing": "use", **options}


def mixture(folder, **options):
    return parse_data(section(folder, **options))


def test_rows_of_a_source_lack_what_it_has_no_column_of(folder):
    data = mixture(folder, tokenizers={"text": "words"}).load()
    rows = data.train
    assert list(data.columns) == ["left", "right", "text"] and len(rows) == 48
    read = [rows[i] for i in range(48)]
    assert all(list(row)[:3] == list(data.columns) for row in read)
    there = {name: np.array([row[name] is not None for row in read]) for name in data.columns}
    assert there["left"].tolist() == [True] * 42 + [False] * 6
    assert there["right"].tolist() == [i not in (4, 5) and not 12 <= i < 42 for i in range(48)]
    assert all((rows.present[name] == there[name]).all() for name in data.columns)
    assert list(rows.sentences("text")) == [row["text"] or "" for row in read]
    assert {"class", "others"} <= set(data.tokenizers["text"].get_vocab())
    assert data.missing == Missing(48, {"left": 6, "right": 32, "text": 30})
    assert "lefts: 30 rows (without right, text)" in data.summary
    assert set(data.examples) == set(data.columns) and None not in data.examples.values()
    assert len(np.unique(rows.ids)) == 48


def test_examples_come_from_any_source_and_others_may_drop(folder):
    """Those of a modality that no source with `use` has, too."""
    sources = {"paired": {"on_missing": "drop"}, "lefts": {"on_missing": "use"}}
    found = mixture(folder, names=("lefts", "paired"), sources=sources, on_missing="error").load()
    assert len(found.train) == 40 and found.missing == Missing(40, {"left": 0, "right": 30, "text": 30}, 2)
    assert found.examples["text"] == "class 0" and len(found.examples["right"]) == WIDTH
    dropped = mixture(folder, names=("paired", "paired"), on_missing="drop").load()
    assert dropped.missing == Missing(20, None, 4) and dropped.examples is None
    with pytest.raises(UserError, match="data.sources.0.columns.right is missing: .*write data.on_missing: use"):
        mixture(folder, names=("lefts", "paired"), sources={"lefts": {"on_missing": "drop"}}, on_missing="error")


def test_rows_that_are_repeated_are_told_row_by_row(folder):
    rows = mixture(folder, shares=[1, 1, 1]).load().train
    assert len(rows) == 90 == len(rows.ids) == len(list(rows.sentences("text")))
    assert rows.present["text"].tolist() == [rows[i]["text"] is not None for i in range(90)]


def test_a_stream_gives_rows_with_what_their_source_has(folder):
    found = mixture(folder, streaming=True, shares=[1, 1, 1]).load()
    read = list(itertools.islice(found.train, 60))
    assert all(set(row) == {"left", "right", "text", "ids", "place"} for row in read)
    assert {(row["left"] is None, row["text"] is None) for row in read} == {(0, 0), (0, 1), (1, 0)}
    assert found.missing is None and set(found.examples) == {"left", "right", "text"}


def processor_and_model():
    spec = {"encoder": "table", "input_dim": WIDTH}
    torch.manual_seed(0)
    model = CoMMModel(CoMMConfig(modalities={"left": spec, "right": dict(spec)}, embed_dim=8, fusion_heads=2)).eval()
    return CoMMProcessor({"left": {"kind": "table"}, "right": {"kind": "table"}}), model


def test_a_batch_of_one_source_has_gradients_of_every_tower(folder):
    """Every row of it lacks the same modality: no tower is left out of the graph, which DDP would refuse."""
    processor, model = processor_and_model()
    data = mixture(folder, names=("lefts", "named"), sources={"named": {"columns": {"right": "b"}}}).load()
    collator = LatentCollator(processor, data.columns, raw=False, examples=data.examples)
    batch = collator([data.train[i] for i in range(6)])
    assert batch["present"]["left"].all() and not batch["present"]["right"].any()
    second = {f"augmented_{name}": value for name, value in batch.items() if name == "modalities"}
    loss = model(**batch, **second, return_loss=True).loss
    loss.backward()
    assert loss.isfinite() and all(own.grad is not None for own in model.parameters() if own.requires_grad)
    assert any(own.grad.abs().sum() > 0 for own in model.encoders["left"].parameters())
    assert not any(own.grad.abs().sum() > 0 for own in model.encoders["right"].parameters())


def test_a_finished_model_is_measured_on_the_source_with_a_test_split(folder):
    processor, model = processor_and_model()
    names = {"paired": {"columns": {"left": "a", "right": "b"}, "splits": {"test": "test"}}}
    data = mixture(folder, names=("lefts", "paired"), sources=names).load().evaluation
    found = ModelEncode(model, processor, data, progress=False)(data.test.rows)
    assert found.present["right"].tolist() == [i not in (4, 5) for i in range(12)]
    alone = ModelEncode(model, processor, data, batch_size=5, progress=False)(data.test.rows)
    torch.testing.assert_close(found.fused, alone.fused)
    lefts = mixture(folder, names=("lefts", "paired"), sources={"lefts": {"splits": {"test": "test"}}}).load()
    data = lefts.evaluation
    assert data.columns == {"left": "left"} and data.test.rows[0]["right"] is None and not data.test.present
    one = ModelEncode(model, processor, data, progress=False)(data.test.rows)
    assert set(one.embeds) == {"left"}


def test_tables_of_several_columns_have_their_names(tmp_path):
    one = {"size": [1, 2, 1], "colour": ["red", None, "blue"], "words": ["a", "b", "c"]}
    for name, columns in (("one", one), ("two", {"b": [3, 3], "c": ["x", "y"]})):
        datasets.Dataset.from_dict(columns).save_to_disk(tmp_path / name)
    written = [
        {"path": str(tmp_path / "one"), "columns": {"table": ["size", "colour"], "text": "words"}},
        {"path": str(tmp_path / "two"), "columns": {"table": ["b", "c"]}},
    ]
    data = parse_data({"name": "mixture", "sources": written, "on_missing": "use"})
    config = CoMMConfig(modalities={"table": {"encoder": "table", "categories": ["size"]}})
    fit_encoders(config, data.load_for(Reader(config.modalities)))
    size, colour = config.modalities["table"]["cells"]
    assert size["name"] == "size" and set(size["values"]) == {"1", "2", "3"}
    assert colour["name"] == "colour" and set(colour["values"]) == {"red", "blue", "x", "y"}


def test_a_recipe_trains_measures_and_embeds(folder, tmp_path):
    spec = {"encoder": "table", "input_dim": WIDTH}
    text = {"model_type": "bert", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    recipe = {
        "model": {
            **{"type": "latent_clip", "projection_dim": 8, "in_modal": True},
            "modalities": {
                **{"left": spec, "right": spec},
                "text": {"encoder": "auto", "pooling": "mean", "config": {**text, "intermediate_size": 32}},
            },
        },
        "data": section(
            folder,
            sources={"lefts": {"splits": {"test": "test"}, "labels": {"kind": "kind"}}},
            tokenizers={"text": "words"},
            shares=[1, 1, 1],
        ),
        "views": {"left": {"kind": "table"}, "right": {"kind": "table"}, "text": {"kind": "words"}},
        "training": {
            **{
                "max_steps": 4,
                "logging_steps": 1,
                "global_batch_size": 6,
                "save_strategy": "no",
                "disable_tqdm": True,
                "use_cpu": True,
            },
            "output_dir": str(tmp_path / "run"),
        },
    }
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe), encoding="utf-8", newline="\n")
    assert main(["train", str(tmp_path / "recipe.yaml")]) == 0
    metrics = read_metrics(tmp_path / "run")
    assert metrics["train_rows_without_text"] == 30 and metrics["train_loss"] > 0
    assert set(metrics["measurements"]) == {"probe_kind_left"}
    card = (tmp_path / "run" / "README.md").read_text(encoding="utf-8")
    assert "Of the 90 training rows, 30 lack `left`, 36 lack `right` and 30 lack `text`; they" in card
    out = embed(Request(str(tmp_path / "run"), str(folder / "paired"), tmp_path / "rows.parquet", split="test"))
    rows = datasets.Dataset.from_parquet(str(out), cache_dir=str(tmp_path / "cache"))
    assert {"left_embedding", "right_embedding", "text_embedding"} <= set(rows.column_names)
    assert [value is None for value in rows["right_embedding"]] == [i in (4, 5) for i in range(12)]
