"""Tables with categories and missing cells: what is found of the training rows, embedded, corrupted, and stored."""

import datasets
import numpy as np
import pytest
import torch

from hf_latent import CoMMConfig, CoMMModel, CoMMProcessor, experiment
from hf_latent.data.hub_data import HubData
from hf_latent.data.source import Reader
from hf_latent.errors import UserError
from hf_latent.fit_to_data import fit_encoders
from hf_latent.models.encoders import build_encoder
from hf_latent.models.tables import MISSING, UNKNOWN, find_cells
from hf_latent.recipe import load_recipe
from hf_latent.views import Views, build_view

NAMES = ["age", "city", "month", "old"]
ROWS = [[30, "Rome", 1.0, True], [50, "Oslo", 2.0, False], [None, "Rome", 2.0, None], [40, None, float("nan"), True]]


def cells(rows=ROWS, categories=("month",)):
    return find_cells(rows, NAMES, categories)


def processor():
    return CoMMProcessor({"table": {"kind": "table", "cells": cells()}})


def encoder(seed=0):
    torch.manual_seed(seed)
    return build_encoder({"encoder": "table", "cells": cells(), "hidden_dims": [6, 5], "token_dim": 8}).double()


def test_cells_are_those_of_the_training_rows():
    age, city, month, old = cells()
    spread = np.std([30, 50, 40])
    assert (
        age["name"] == "age" and age["mean"] == 40 and age["missing"] == 0.25 and age["std"] == pytest.approx(spread)
    )
    wanted = np.quantile((np.array([30, 50, 40]) - 40) / spread, np.linspace(0, 1, 21))
    assert age["quantiles"] == pytest.approx(wanted.tolist())
    assert city["values"] == ["Rome", "Oslo"] and city["shares"] == pytest.approx([2 / 3, 1 / 3])
    assert month["values"] == ["2", "1"] and old["values"] == ["True", "False"] and old["missing"] == 0.25
    assert "values" not in cells(categories=())[2]
    named = [dict(zip(NAMES, row, strict=True)) for row in ROWS]
    assert find_cells(named, categories=["month"]) == cells()
    assert find_cells([[7.0], [7.0]])[0] | {"quantiles": 0} == {
        **{"name": "0", "missing": 0.0, "mean": 7.0, "std": 1.0, "quantiles": 0}
    }


def test_rows_become_numbers_and_categories():
    rows = [
        [60, "Rome", 1, True],
        {"age": float("nan"), "city": "Bonn", "month": 2.0},
        np.array([30, None, "9", False]),
    ]
    found = processor().stack("table", rows)
    spread = np.std([30, 50, 40])
    assert found["values"].flatten().tolist() == pytest.approx([20 / spread, 0, -10 / spread])
    assert found["missing"].flatten().tolist() == [False, True, False]
    assert found["categories"].tolist() == [[2, 3, 2], [UNKNOWN, 2, MISSING], [MISSING, UNKNOWN, 3]]


def test_cells_are_fitted_to_the_training_rows_alone(tmp_path):
    """Rows that are validated on, and rows that cannot be read, tell the encoder nothing; a stream is refused."""
    columns = {"size": [float(i) for i in range(9)] + [float("inf")], "shop": [f"s{i}" for i in range(10)]}
    datasets.DatasetDict({"train": datasets.Dataset.from_dict(columns)}).save_to_disk(tmp_path / "set")
    spec = {"table": {"encoder": "table"}}
    options = {"path": str(tmp_path / "set"), "columns": {"table": ["size", "shop"]}}
    held = HubData(**options, on_bad_row="skip", validation_share=0.3).load_for(Reader(spec))
    config = CoMMConfig(modalities=spec)
    fit_encoders(config, held)
    rows = [held.train[i]["size + shop"] for i in range(len(held.train))]
    assert len(rows) == 6 and config.modalities["table"]["cells"] == find_cells(rows, ["size", "shop"])
    stream = HubData(**options, streaming=True, shuffle_buffer=0).load_for(Reader(spec))
    assert next(iter(stream.train))["size + shop"][1].startswith("s")
    with pytest.raises(UserError, match="model.modalities.table: its encoder is fitted to the training rows"):
        fit_encoders(CoMMConfig(modalities=spec), stream)


def test_equal_numbers_have_no_deviation_and_far_ones_are_told():
    constant = find_cells([[0.1]] * 10)
    assert constant[0]["std"] == 1 and constant[0]["mean"] == 0.1
    tiny = {"kind": "table", "cells": find_cells([[1e-30], [2e-30]])}
    with pytest.raises(ValueError, match="row 0 of modality 'table': cell '0' holds 1e\\+30, too far from"):
        CoMMProcessor({"table": tiny}).stack("table", [[1e30]])
    with pytest.raises(ValueError, match="modality 'table': there is no row"):
        CoMMProcessor({"table": tiny}).stack("table", [])


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ([1, "Rome", 1], "a row has 3 cells, expected 4: age, city, month, old"),
        ({"ag": 1}, "there is no cell 'ag'; known: age, city, month, old"),
        (["young", "Rome", 1, True], "cell 'age' holds 'young', expected a number"),
        ([1, "Rome", 1, float("inf")], "a cell holds infinity"),
        ([10**400, "Rome", 1, True], "a cell holds a number beyond 3.4e"),
        ([1, ["Rome"], 1, True], "a cell holds a list"),
        (3.0, "expected a list of cells"),
    ],
)
def test_wrong_rows_are_told(row, words):
    with pytest.raises(ValueError, match=f"row 1 of modality 'table': {words}"):
        processor().stack("table", [ROWS[0], row])


def test_the_encoder_is_the_perceptron_of_one_hot_cells():
    ours = encoder().eval()
    inputs = processor().stack("table", ROWS)
    first = ours.layers[0]
    for row in range(len(ROWS)):
        value = inputs["values"][row].double() * ~inputs["missing"][row]
        hidden = first.weight @ value + first.bias + ours.missing.weight @ inputs["missing"][row].double()
        for place, table in enumerate(ours.categories):
            one_hot = torch.nn.functional.one_hot(inputs["categories"][row, place], table.num_embeddings).double()
            hidden = hidden + one_hot @ table.weight
        hidden = ours.layers[2](hidden.relu())
        tokens = hidden[:, None] * ours.tokenizer.weight + ours.tokenizer.bias
        torch.testing.assert_close(ours(**{k: v[row : row + 1] for k, v in inputs.items()}).tokens[0], tokens)
    noisy = {**inputs, "values": inputs["values"] + inputs["missing"].float()}
    torch.testing.assert_close(ours(**noisy).tokens, ours(**inputs).tokens)  # what is missing has no value


def test_a_table_of_categories_alone_is_built_and_trained(tmp_path):
    rows = [{"city": "Rome", "kind": "a"}, {"city": "Oslo", "kind": "b"}, {"city": None, "kind": "c"}]
    spec = {"encoder": "table", "cells": find_cells(rows), "hidden_dims": [6, 5]}
    config = CoMMConfig(modalities={"table": spec}, embed_dim=16, fusion_heads=2)
    model = CoMMModel(config).eval()
    inputs = CoMMProcessor({"table": {"kind": "table", "cells": spec["cells"]}}).stack("table", rows)
    found = model(modalities={"table": inputs}).fused
    assert found.shape == (3, 16) and found.isfinite().all() and not torch.allclose(found[0], found[1])
    found.sum().backward()
    for table in model.encoders["table"].categories:
        assert table.weight.grad.any()
    model.save_pretrained(tmp_path)
    again = CoMMModel.from_pretrained(tmp_path).eval()
    assert torch.equal(again(modalities={"table": inputs}).fused, found)


def test_a_table_of_numbers_alone_is_as_before():
    plain = build_encoder({"encoder": "table", "input_dim": 3})
    names = {"layers.0.weight", "layers.0.bias", "layers.2.weight", "layers.2.bias"}
    assert set(plain.state_dict()) == names | {"tokenizer.weight", "tokenizer.bias"} and not plain.processor_options
    for spec in ({}, {"input_dim": 3, "cells": cells()}):
        with pytest.raises(ValueError, match="needs input_dim, or cells"):
            build_encoder({"encoder": "table", **spec})
    with pytest.raises(ValueError, match="give what models.tables.find_cells makes"):
        build_encoder({"encoder": "table", "cells": [{"name": "age"}]})


def test_corrupted_cells_are_of_the_distribution_of_their_column():
    draw = np.random.default_rng(0)
    rows = [[float(draw.gamma(2)), str(draw.choice(["a", "b"], p=[0.8, 0.2])), 1.0, None] for _ in range(400)]
    rows = [[None if n % 4 == 0 else row[0], row[1], row[2], "x"] for n, row in enumerate(rows)]
    own = CoMMProcessor({"table": {"kind": "table", "cells": cells(rows)}})
    view = build_view("cells", corruption=1.0, unknown=0.0).for_modality(own.modalities["table"])
    inputs = own.stack("table", [rows[1]] * 8000)
    found = Views({"table": view}).augmented({"table": inputs}, view=0)["table"]
    assert found["missing"].float().mean() == pytest.approx(0.25, abs=0.02)
    truth = own.stack("table", [row for row in rows if row[0] is not None])["values"][:, 0]
    there = found["values"][:, 0][~found["missing"][:, 0]]
    levels = torch.linspace(0.05, 0.95, 10)
    assert (torch.quantile(there, levels) - torch.quantile(truth, levels)).abs().max() < 0.1
    share = (found["categories"][:, 0] == 2).float().mean()
    assert share == pytest.approx(cells(rows)[1]["shares"][0], abs=0.02)
    half = build_view("cells", corruption=1.0, unknown=0.5).for_modality(own.modalities["table"])
    found = Views({"table": half}).augmented({"table": inputs}, view=0)["table"]["categories"][:, 0]
    for category, expected in ((UNKNOWN, 0.5), (2, float(share) / 2), (3, (1 - float(share)) / 2)):
        assert (found == category).float().mean() == pytest.approx(expected, abs=0.02)
    unknown = build_view("cells", corruption=1.0, unknown=1.0).for_modality(own.modalities["table"])
    assert Views({"t": unknown}).augmented({"t": inputs}, view=0)["t"]["categories"].eq(UNKNOWN).all()


def test_a_corrupted_row_does_not_depend_on_the_others():
    own = processor()
    views = Views({"table": build_view("cells").for_modality(own.modalities["table"])}, seed=2)
    inputs = own.stack("table", ROWS * 5)
    whole = views.augmented({"table": inputs}, view=1)["table"]
    part = {name: value[7:9] for name, value in inputs.items()}
    some = views.augmented({"table": part}, view=1, rows=slice(7, 9), global_rows=20)["table"]
    assert all(torch.equal(some[name], whole[name][7:9]) for name in whole)
    changed = (whole["categories"] != inputs["categories"]).float().mean()
    assert 0.1 < changed < 0.6 and not torch.equal(whole["values"], inputs["values"])
    with pytest.raises(ValueError, match="needs a table of cells"):
        Views({"t": build_view("cells")}).augmented({"t": {"values": torch.ones(2, 3)}}, view=0)


def test_columns_are_joined_and_missing_cells_are_no_bad_rows(tmp_path):
    columns = {name: [row[place] for row in ROWS] for place, name in enumerate(NAMES)}
    data = datasets.Dataset.from_dict(columns)
    kinds = datasets.Features({**data.features, "month": datasets.ClassLabel(names=["zero", "May", "June"])})
    named = data.map(lambda row: {"month": None if row["month"] != row["month"] else row["month"]}).cast(kinds)
    named.save_to_disk(tmp_path / "data")
    reader = Reader({"table": {"encoder": "table"}})
    source = HubData(path=str(tmp_path / "data"), columns={"table": NAMES})
    rows = source.load_for(reader).train
    assert [row["age + city + month + old"] for row in (rows[i] for i in range(4))][1:3] == [
        *([50, "Oslo", "June", False], [None, "Rome", "June", None]),
    ]
    texts = {"place": ["/etc/hostname", "http://127.0.0.1:9/x", None], "path": ["a", "b", "c"], "bytes": [None] * 3}
    records = [dict(zip(texts, row, strict=True)) for row in zip(*texts.values(), strict=True)]
    datasets.Dataset.from_dict({**texts, "record": records}).save_to_disk(tmp_path / "texts")  # none is a file's name
    for columns, wanted in ((list(texts), [list(record.values()) for record in records]), ("record", records)):
        read = HubData(path=str(tmp_path / "texts"), columns={"table": columns}).load_for(reader).train
        assert [
            next(value for key, value in row.items() if key != "ids") for row in (read[i] for i in range(3))
        ] == wanted
    datasets.Dataset.from_dict({"a": [1.0, None], "b": ["x", " "]}).save_to_disk(tmp_path / "empty")
    empty = HubData(path=str(tmp_path / "empty"), columns={"table": ["a", "b"]})
    with pytest.raises(UserError, match="row 1, column 'a . b' is empty"):
        empty.load_for(reader)
    plain = Reader({"table": {"encoder": "table", "input_dim": 2}})
    with pytest.raises(UserError, match="several columns are for images alone, and for tables without input_dim"):
        source.load_for(plain)


def test_a_recipe_finds_the_cells_of_its_data(tmp_path):
    draw = np.random.default_rng(0)
    kind = draw.integers(0, 2, 48)
    columns = {
        "size": [None if n % 7 == 0 else float(k + draw.normal(0, 0.2)) for n, k in enumerate(kind)],
        "shop": [None if n % 7 == 3 else ("Köln a/b", "x `y`")[k] for n, k in enumerate(kind)],
        "clip": [[np.full((9, 9, 3), 40 + 100 * k + n % 5, np.uint8).tolist() for n in range(3)] for k in kind],
        "kind": [("a", "b")[k] for k in kind],
    }
    stored = datasets.Dataset.from_dict(columns)
    datasets.DatasetDict(train=stored.select(range(32)), test=stored.select(range(32, 48))).save_to_disk(
        tmp_path / "data"
    )
    (tmp_path / "recipe.yaml").write_text(
        f"""
model:
  type: comm
  modalities:
    table: {{encoder: table, hidden_dims: [8], token_dim: 8}}
    clip: {{encoder: cnn, channels: [8, 8], frames: 2}}
  embed_dim: 16
  fusion_heads: 4
  projection_hidden_dim: 12
  projection_dim: 8
data:
  name: dataset
  path: {tmp_path / "data"}
  columns: {{table: [size, shop], clip: clip}}
  labels: {{kind: kind}}
views: {{table: {{kind: cells}}, clip: {{kind: video, size: 8, blur: 0.0}}}}
training: {{max_steps: 2, global_batch_size: 16, output_dir: {tmp_path / "run"}}}
"""
    )
    metrics = experiment.train(load_recipe(tmp_path / "recipe.yaml", []))
    assert metrics["probe_kind_table"] >= 0
    model, own = CoMMModel.from_pretrained(tmp_path / "run"), CoMMProcessor.from_pretrained(tmp_path / "run")
    size, shop = model.config.modalities["table"]["cells"]
    assert sorted(shop["values"]) == ["Köln a/b", "x `y`"] and size["name"] == "size"
    assert own.modalities["table"]["cells"] == [size, shop]
    assert own.modalities["clip"]["frames"] == 2 and own.modalities["clip"]["size"] == 8
    card = (tmp_path / "run" / "README.md").read_text()
    assert '"table": [[0.0, None]],' in card and 'Image.open(path) for path in sorted(Path("clip")' in card
    again = experiment.evaluate(tmp_path / "run")
    assert again["probe_kind_table"] == metrics["probe_kind_table"]

    from hf_latent.hub.shareable import stage_model

    (tmp_path / "staged").mkdir()
    stage_model(tmp_path / "run", tmp_path / "staged")
    published = CoMMProcessor.from_pretrained(tmp_path / "staged")
    assert published.modalities == own.modalities
    assert CoMMConfig.from_pretrained(tmp_path / "staged").modalities == model.config.modalities
