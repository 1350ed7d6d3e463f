"""Targets of one's own rows for a head of any modalities: what a column says, and what is refused."""

import json
import runpy
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch

from hf_latent import CoMMForSequenceClassification, CoMMProcessor
from hf_latent.cli import main
from hf_latent.data.hub_data import HubData
from hf_latent.data.source import Reader
from hf_latent.data.trifeature_data import TrifeatureData
from hf_latent.errors import UserError
from tests.models.small import small_model

ROOT = Path(__file__).resolve().parents[1]
ENCODERS = {"table": {"encoder": "table", "input_dim": 2}}


def saved(tmp_path, **columns):
    import datasets

    rows = {"x": [[float(i), 1.0] for i in range(12)], **columns}
    whole = datasets.Dataset.from_dict(rows)
    parts = {"train": whole.select(range(8)), "test": whole.select(range(8, 12))}
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "set")
    return str(tmp_path / "set")


def load(tmp_path, values, labels="any", target="y", problem=None, **options):
    path = saved(tmp_path, y=values)
    source = HubData(path=path, columns={"table": "x"}, target=target, **options)
    return source.load_for(Reader(ENCODERS, labels, problem=problem))


def test_strings_and_few_whole_numbers_are_classes(tmp_path):
    found = load(tmp_path, ["a", "b", "c"] * 4)
    assert found.evaluation.target.kind == "classes" and found.target.names == ("a", "b", "c")
    assert [found.train[i]["labels"] for i in range(4)] == [0, 1, 2, 0]


def test_lists_of_classes_are_labels(tmp_path):
    found = load(tmp_path, [["a"], ["b", "a"], [], ["b"]] * 3)
    assert found.evaluation.target.kind == "labels" and found.target.names == ("a", "b")
    assert [found.train[i]["labels"] for i in range(4)] == [[1, 0], [1, 1], [0, 0], [0, 1]]
    assert found.evaluation.test.labels["target"].dtype == bool


def test_floats_are_numbers_and_rows_without_one_are_left_out(tmp_path, capsys):
    values = [i / 4 for i in range(12)]
    values[2] = None
    with pytest.raises(UserError, match="row 2, column 'y' is empty"):
        load(tmp_path, values)
    found = load(tmp_path, values, on_bad_row="skip")
    assert found.evaluation.target.kind == "numbers" and len(found.train) == 7
    assert found.train[2]["labels"] == 0.75 and "Left out 1 of 8 train rows" in capsys.readouterr().out


def test_lists_of_floats_are_several_numbers(tmp_path):
    found = load(tmp_path, [[i / 2, -1.0 * i] for i in range(12)])
    assert found.target.kind == "number" and found.target.names == ("y_0", "y_1")
    assert found.train[3]["labels"] == [1.5, -3.0] and found.evaluation.test.labels["target"].shape == (4, 2)
    named = load(
        tmp_path / "named", [[i / 2, -1.0 * i] for i in range(12)], target={"column": "y", "names": ["u", "v"]}
    )
    assert named.target.names == ("u", "v")


def test_classes_to_contrast_may_be_missing(tmp_path):
    found = load(tmp_path, ["a", None, "b", "a"] * 3, labels="contrast")
    assert found.evaluation.target is None and len(found.train) == 8
    assert [found.train[i]["labels"] for i in range(4)] == [0, -1, 1, 0]
    assert found.evaluation.labels["target"].names == ("a", "b")


def test_a_class_of_one_training_row_is_told(tmp_path, capsys):
    load(tmp_path, ["a", "b", "a", "b", "a", "b", "a", "c", "a", "b", "a", "b"])
    said = capsys.readouterr().out
    assert "1 of 3 classes have one training row, such as 'c': write data.splits" in said


PROBLEMS = [
    ("numbers", "regression", ["a", "b"] * 6, "holds strings: write a column of floats.*leave out model.problem_type"),
    ("labels", "multi_label_classification", ["a", "b"] * 6, "holds strings: write a column of lists of classes"),
    ("classes", "single_label_classification", [0.5, 1.5] * 6, "holds floats: classes are .*model.problem_type"),
    ("contrast", None, [0.5, 1.5] * 6, "holds floats: classes are strings"),
    ("any", None, [[1.0, 2.0]] * 11 + [[1.0]], "holds 1 numbers in row 3 of the test rows, and 2 in others"),
    ("any", None, [[float(i), 2.0] for i in range(12)], "the same in all train rows in one of its places"),
]


@pytest.mark.parametrize(("labels", "problem", "values", "sentence"), PROBLEMS)
def test_a_column_of_another_kind_is_named(tmp_path, labels, problem, values, sentence):
    with pytest.raises(UserError, match=sentence):
        load(tmp_path, values, labels, problem=problem)


def test_supcon_without_classes_is_named(tmp_path):
    with pytest.raises(UserError, match="contrasts the classes of rows, so write the column"):
        load(tmp_path, ["a", "b"] * 6, labels="contrast", target=None)


def test_rows_of_numbers_are_stacked():
    from hf_latent import CoMMProcessor
    from hf_latent.data.collator import LatentCollator

    collate = LatentCollator(CoMMProcessor({"table": {"kind": "table"}}))
    row = {"table": np.zeros(2, dtype="float32")}
    assert collate([{**row, "labels": 0.5}, {**row, "labels": float("nan")}])["labels"].isnan().tolist() == [
        False,
        True,
    ]
    assert collate([{**row, "labels": [1.0, 0.0]}, {**row, "labels": [0, 1]}])["labels"].tolist() == [[1, 0], [0, 1]]
    assert collate([{**row, "labels": 1}, {**row, "labels": 0}])["labels"].dtype.is_floating_point is False
    with pytest.raises(UserError, match="row 1, column 'labels': expected numbers of the shape .2,."):
        collate([{**row, "labels": [1.0, 0.0]}, {**row, "labels": [0.5]}])


@pytest.mark.parametrize(
    ("target", "keys"),
    [
        ("kind", {"class_accuracy", "class_accuracy_vitals_alone"}),
        ("tags", {"label_weighted_f1", "label_weighted_f1_blood_alone"}),
        ("score", {"number_r2", "number_mse", "number_r2_vitals_alone"}),
    ],
)
def test_the_example_of_tables_runs_as_it_stands(tmp_path, monkeypatch, target, keys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["prepare.py"])
    runpy.run_path(str(ROOT / "examples" / "tables" / "prepare.py"), run_name="__main__")
    short = ["training.max_steps=2", "training.disable_tqdm=true", f"data.target={target}"]
    assert main(["train", str(ROOT / "examples" / "tables" / "recipe.yaml"), *short]) == 0
    metrics = json.loads((tmp_path / "outputs" / "recipe" / "metrics.json").read_text(encoding="utf-8"))
    assert keys <= set(metrics)
    lacking = {key: own["rows"] for key, own in metrics["measurements"].items() if key.endswith("vitals_alone")}
    assert all(rows < 300 for rows in lacking.values())  # some rows lack it
    card = (tmp_path / "outputs" / "recipe" / "README.md").read_text(encoding="utf-8")
    assert "from vitals alone" in card and "linear layer" in card


def test_a_label_of_trifeature_is_a_target():
    images = {name: {"encoder": "cnn"} for name in ("image1", "image2")}
    source = TrifeatureData(image_size=16, renders=1, target="redundancy", max_pairs=100)
    found = source.load_for(Reader(images, "any"))
    assert found.evaluation.target.label == "redundancy" and len(found.target.names) == 10
    rows = [found.train[i]["labels"] for i in range(5)]
    assert rows == found.train.rows.labels["redundancy"][:5].tolist()
    assert source.load_for(Reader(images, "contrast")).evaluation.target is None
    for options, reader, sentence in (
        ({}, Reader(images, "any"), "data.target is missing: write what this model reads of each pair: redundancy"),
        ({"target": "redundancy"}, Reader(images), "this model reads no labels"),
        ({"target": "shape"}, Reader(images, "any"), "data.target='shape'"),
        ({"target": "synergy"}, Reader(images, "numbers", problem="regression"), "model.problem_type=regression"),
    ):
        with pytest.raises(UserError, match=sentence):
            TrifeatureData(image_size=16, renders=1, **options).load_for(reader)


NAMED = """
model: {{type: comm_classification, modalities: {{image: &own {{encoder: features, input_dim: 5}}, text: *own}}}}
data: {{name: dataset, path: {path}, columns: {{image: a, text: b}}, target: kind}}
views: {{image: {{kind: none}}, text: {{kind: none}}}}
training: {{max_steps: 1, global_batch_size: 8, output_dir: {run}, disable_tqdm: true, save_strategy: "no"}}
"""


def test_features_that_are_called_image_and_text_are_not_drawn(tmp_path):
    features = np.random.default_rng(0).normal(size=(16, 2, 5)).tolist()
    rows = datasets.Dataset.from_dict({"a": features, "b": features, "kind": ["x", "y"] * 8})
    datasets.DatasetDict(train=rows, test=rows).save_to_disk(tmp_path / "rows")
    recipe = tmp_path / "recipe.yaml"
    written = NAMED.format(path=tmp_path / "rows", run=tmp_path / "run")
    recipe.write_text(written, encoding="utf-8", newline="\n")
    assert main(["train", str(recipe)]) == 0
    assert "class_accuracy" in json.loads((tmp_path / "run" / "metrics.json").read_text(encoding="utf-8"))


HEAD = """
model: {{type: comm_classification, pretrained: {begun}, frozen: true}}
data: {{name: dataset, path: {path}, columns: {{table: a, features: b}}, target: kind, splits: {{train: train}}}}
views: {{table: {{kind: none}}, features: {{kind: none}}}}
training: {{max_steps: 1, global_batch_size: 8, output_dir: {run}, disable_tqdm: true, save_strategy: "no"}}
"""


def test_a_head_on_a_pre_trained_model_standardizes_what_it_reads_by_the_training_rows(tmp_path):
    begun, run, names = tmp_path / "begun", tmp_path / "run", ("table", "features")
    model = small_model(names, dtype=torch.float32)
    model.save_pretrained(begun)
    CoMMProcessor({name: {"kind": name} for name in names}).save_pretrained(begun)
    draw = np.random.default_rng(0).normal
    tables, features = draw(size=(16, 4)).astype("float32"), draw(size=(16, 2, 5)).astype("float32")
    columns = {"a": tables.tolist(), "b": features.tolist(), "kind": ["x", "y"] * 8}
    datasets.Dataset.from_dict(columns).save_to_disk(tmp_path / "rows")
    recipe = tmp_path / "recipe.yaml"
    written = HEAD.format(begun=begun, path=tmp_path / "rows", run=run)
    recipe.write_text(written, encoding="utf-8", newline="\n")
    assert main(["train", str(recipe)]) == 0
    trained = CoMMForSequenceClassification.from_pretrained(run)
    inputs = {"table": {"values": torch.from_numpy(tables)}, "features": {"values": torch.from_numpy(features)}}
    with torch.no_grad():
        fused = model.eval()(inputs, return_loss=False).fused
    torch.testing.assert_close(trained.standardization.mean, fused.mean(0), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(trained.standardization.std, fused.std(0, correction=0), rtol=1e-4, atol=1e-5)
