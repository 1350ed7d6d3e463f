"""`hf-latent embed`: the embeddings of any rows as a parquet file."""

import json
import runpy
from pathlib import Path

import datasets
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from hf_latent import CoMMConfig, CoMMModel, CoMMProcessor
from hf_latent import embed as module
from hf_latent.cli import main
from hf_latent.models.tables import find_cells
from tests.models.small import save_small_clip, small_model

ROWS = 23


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A run folder of an image and a text tower."""
    return save_small_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def comm(tmp_path_factory):
    """One of a table and features, which are fused."""
    folder = tmp_path_factory.mktemp("comm")
    small_model(("table", "features"), dtype=torch.float32).save_pretrained(folder)
    CoMMProcessor({"table": {"kind": "table"}, "features": {"kind": "features"}}).save_pretrained(folder)
    return folder


def pictures(rows=ROWS):
    colors = ["red", "green", "blue"]
    images = [Image.new("RGB", (20, 16), colors[i % 3]) for i in range(rows)]
    return {
        "picture": images,
        "caption": [f"{colors[i % 3]} square" for i in range(rows)],
        "key": [f"k{i}" for i in range(rows)],
    }


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "set"
    datasets.Dataset.from_dict(pictures()).save_to_disk(str(path))
    return str(path)


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(module, "PART", 8)


def vectors(table, name):
    return np.array(table.column(name).to_pylist(), dtype=np.float32)


COLUMNS = ["image=picture", "text=caption"]


def test_rows_become_vectors_that_tell_their_model(clip, data, tmp_path, small_parts, capsys):
    output = tmp_path / "vectors.parquet"
    asked = ["embed", str(clip), data, *COLUMNS, "--output", str(output), "--ids", "key", "--keep", "caption"]
    assert main([*asked, "--batch-size", "5"]) == 0
    table = pq.read_table(output)
    assert table.column_names == ["id", "caption", "image_embedding", "text_embedding"]
    assert table.column("id").to_pylist() == [f"k{i}" for i in range(ROWS)]
    told = json.loads(table.schema.metadata[b"hf_latent"])
    assert told["model"] == clip.name and len(told["revision"]) == 64 and told["normalized"] is True
    assert told["columns"] == {"image": "picture", "text": "caption"} and told["rows"] == ROWS
    model, processor = module.load_finished(str(clip), clip)
    rows = pictures()
    with torch.no_grad():
        found = model(**processor.batch({"image": rows["picture"], "text": rows["caption"]}), return_loss=False)
    for name, expected in found.embeds.items():
        np.testing.assert_allclose(vectors(table, f"{name}_embedding"), F.normalize(expected, dim=-1), atol=1e-6)
    assert not output.with_name("vectors.parquet.parts").exists()
    as_arrays = datasets.Dataset.from_parquet(str(output), cache_dir=str(tmp_path / "cache")).with_format("numpy")
    assert as_arrays["image_embedding"][:].shape == (ROWS, model.config.projection_dim)
    assert main(asked) == 2 and "is there already: remove it" in capsys.readouterr().err


def test_one_modality_alone_and_as_the_model_makes_it(clip, data, tmp_path):
    output = tmp_path / "texts.parquet"
    assert main(["embed", str(clip), data, "text=caption", "--no-normalize", "--output", str(output)]) == 0
    table = pq.read_table(output)
    assert table.column_names == ["id", "text_embedding"] and table.column("id").to_pylist() == list(range(ROWS))
    assert abs(np.linalg.norm(vectors(table, "text_embedding"), axis=1) - 1).max() > 1e-3


def test_it_goes_on_where_it_was_stopped(clip, data, tmp_path, small_parts, monkeypatch):
    whole, output = tmp_path / "whole.parquet", tmp_path / "vectors.parquet"
    asked = ["embed", str(clip), data, *COLUMNS, "--batch-size", "3", "--output"]
    assert main([*asked, str(whole)]) == 0
    own, embedded = module._vectors, []

    def stopped(*args):
        if len(embedded) == 5:
            raise KeyboardInterrupt
        embedded.append(1)
        return own(*args)

    monkeypatch.setattr(module, "_vectors", stopped)
    assert main([*asked, str(output)]) == 130
    parts = output.with_name("vectors.parquet.parts")
    assert [path.name for path in sorted(parts.glob("*.parquet"))] == ["000000.parquet"]
    counted = []
    monkeypatch.setattr(module, "_vectors", lambda *args: counted.append(1) or own(*args))
    assert main([*asked, str(output)]) == 0
    assert len(counted) == 6  # batches of the two parts that were not there
    assert pq.read_table(output).drop(["id"]).equals(pq.read_table(whole).drop(["id"]))


def test_parts_of_something_else_are_not_mixed_in(clip, data, tmp_path, small_parts, monkeypatch, capsys):
    asked = ["embed", str(clip), data, "--output", str(tmp_path / "vectors.parquet")]
    with monkeypatch.context() as patch:
        patch.setattr(module, "_join", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        assert main([*asked, "image=picture"]) == 130
    assert main([*asked, "text=caption"]) == 2
    assert "was begun with columns={'image': 'picture'}, and here it is {'text': 'caption'}" in capsys.readouterr().err


def test_rows_may_lack_a_modality(comm, tmp_path):
    features = [None if i % 3 == 0 else [[0.1 * i] * 5] * 2 for i in range(9)]
    table = [None if i in (1, 7) else [float(i)] * 4 for i in range(9)]
    path = tmp_path / "rows.parquet"
    datasets.Dataset.from_dict({"table": table, "features": features}).to_parquet(str(path))
    output = tmp_path / "vectors.parquet"
    assert main(["embed", str(comm), str(path), "--output", str(output)]) == 0
    found = pq.read_table(output)
    assert [row is None for row in found.column("features_embedding").to_pylist()] == [i % 3 == 0 for i in range(9)]
    assert [row is None for row in found.column("table_embedding").to_pylist()] == [row is None for row in table]
    model, processor = module.load_finished(str(comm), comm)
    own = {"table": [table[0]]}
    with torch.no_grad():
        alone = model.get_fused_features(processor.batch(own)["modalities"])
    np.testing.assert_allclose(vectors(found, "fused_embedding")[0], alone[0], rtol=1e-5, atol=1e-6)


def test_a_table_of_several_columns_is_embedded_and_ids_are_whole(tmp_path, capsys):
    """The columns are those of the recipe, or of the command line; what the data has not is told."""
    cells = find_cells([[1, "a"], [3, "b"]], ["size", "shop"])
    towers = {"table": {"encoder": "table", "cells": cells}, "features": {"encoder": "features", "input_dim": 2}}
    run = tmp_path / "run"
    CoMMModel(CoMMConfig(modalities=towers, embed_dim=16, fusion_heads=4)).save_pretrained(run)
    CoMMProcessor({"table": {"kind": "table", "cells": cells}, "features": {"kind": "features"}}).save_pretrained(run)
    (run / "recipe.yaml").write_text("data: {columns: {table: [size, shop], features: null}}")
    path = tmp_path / "rows.csv"
    path.write_text("size,shop,key\n1,a,x\n,b,\n,,z\n")
    asked = ["embed", str(run), str(path), "--output"]
    assert main([*asked, str(tmp_path / "error.parquet")]) == 2
    assert (
        "row 2 has none of the columns size + shop: repair or remove it, or add --skip-bad-rows"
        in capsys.readouterr().err
    )
    assert main([*asked, str(tmp_path / "one.parquet"), "--skip-bad-rows"]) == 0
    assert f"Not embedded: features, of which {path} has no column" in capsys.readouterr().out
    assert main([*asked, str(tmp_path / "two.parquet"), "--skip-bad-rows", "table=size+shop"]) == 0
    one, two = (pq.read_table(tmp_path / f"{name}.parquet") for name in ("one", "two"))
    assert one.column_names == ["id", "table_embedding"] and one.num_rows == 2 and one.equals(two)
    assert main([*asked, str(tmp_path / "ids.parquet"), "--skip-bad-rows", "--ids", "key"]) == 2
    assert "--ids key: row 1 has none: give each row one, or leave --ids out" in capsys.readouterr().err


def test_processes_share_the_parts(clip, data, tmp_path, small_parts, monkeypatch):
    """As two processes, one after the other: the first joins what both have written."""
    own, output = module.PartialState, tmp_path / "vectors.parquet"
    shared = {"num_processes": 2, "device": torch.device("cpu"), "wait_for_everyone": lambda self: None}
    for number in (1, 0):
        process = type("Process", (), {**shared, "process_index": number, "is_main_process": number == 0})
        monkeypatch.setattr(module, "PartialState", lambda cpu, process=process: process())
        asked = module.Request(str(clip), data, output, {"text": "caption"})
        if number == 1:
            parts = output.with_name("vectors.parquet.parts")
            module.embed(asked, progress=False)
            assert [path.name for path in parts.glob("*.parquet")] == ["000001.parquet"]
        else:
            module.embed(asked, progress=False)
    assert own is not module.PartialState
    assert pq.read_table(output).column("id").to_pylist() == list(range(ROWS))


@pytest.mark.parametrize(
    "words, told",
    [
        (["image=nothing"], "image=nothing: no such column; "),
        (["sound=picture"], "sound=picture: no such modality; "),
        (["image"], "image names no column: write modality=column"),
        ([], "has the columns picture, caption, key: write what one holds, as image=COLUMN"),
        (["image=picture", "--ids", "keys"], "no column 'keys' in "),
        (["image=picture", "--keep", "nothing"], "no column 'nothing' in "),
        (["image=picture", "--ids", "caption"], "--ids caption: rows 0 and 3 both have 'red square': name a column"),
        (["image=picture", "--ids", "picture"], "--ids picture: row 0 holds a "),
        (["image=picture+caption"], "image=picture+caption: several columns are for tables of cells"),
        (["image=picture", "--split", "tests"], "cannot be opened"),
        (["image=picture", "--batch-size", "0"], "--batch-size 0: write 1 or more"),
        (["text=picture"], "text=picture: row 0 of modality 'text': expected a sentence"),
    ],
)
def test_mistakes_are_sentences(clip, data, tmp_path, capsys, words, told):
    assert main(["embed", str(clip), data, *words, "--output", str(tmp_path / "vectors.parquet")]) == 2
    assert told in capsys.readouterr().err
    assert not list(Path(tmp_path).glob("*"))


def test_an_output_of_another_kind_is_refused(clip, data, tmp_path, capsys):
    assert main(["embed", str(clip), data, "image=picture", "--output", str(tmp_path / "vectors.csv")]) == 2
    assert "write the name of a file that ends in .parquet" in capsys.readouterr().err


@pytest.mark.parametrize("index", ["faiss", "usearch"])
def test_the_example_searches_the_file(clip, data, tmp_path, index, monkeypatch, capsys):
    """Both indexes read the vectors, and name the nearest first."""
    pytest.importorskip(index)
    output = tmp_path / "vectors.parquet"
    assert main(["embed", str(clip), data, *COLUMNS, "--keep", "caption", "--output", str(output)]) == 0
    capsys.readouterr()
    words = [str(output), str(clip), "green square", "--modality", "text", "--index", index, "-k", "3"]
    monkeypatch.setattr("sys.argv", ["search.py", *words])
    runpy.run_path(str(Path(__file__).parents[1] / "examples" / "search.py"), run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 and all("'caption': 'green square'" in line for line in lines)
    assert all(line.startswith(("1.000", "0.999")) for line in lines)


def test_a_bad_first_row_says_what_to_add_to_the_command(clip, tmp_path, capsys):
    features = datasets.Features({"image": datasets.Image()})
    rows = datasets.Dataset.from_dict({"image": [{"bytes": b"no picture", "path": None}]}, features=features)
    rows.save_to_disk(str(tmp_path / "set"))
    asked = ["embed", str(clip), str(tmp_path / "set"), "image=image", "--output", str(tmp_path / "v.parquet")]
    assert main(asked) == 2
    told = capsys.readouterr().err
    assert "row 0, column 'image' is not an image" in told and "add --skip-bad-rows" in told and "data." not in told


def test_heads_are_trained_on_what_was_embedded(clip, data, tmp_path, capsys):
    """The recipe of heads between frozen towers reads the file as it is."""
    features = tmp_path / "features.parquet"
    assert main(["embed", str(clip), data, *COLUMNS, "--output", str(features), "--quiet"]) == 0
    width = len(pq.read_table(features).column("image_embedding")[0])
    wide = [f"model.modalities.{name}.input_dim={width}" for name in ("image", "text")]
    files = [f"data.options.data_files.{split}={features}" for split in ("train", "validation")]
    small = ["model.projection_dim=8", "training.max_steps=2", "training.global_batch_size=8", "training.eval_steps=2"]
    run = [f"training.output_dir={tmp_path / 'heads'}", "training.eval_strategy=steps", "training.save_strategy=no"]
    assert main(["train", "latent_clip_heads", *wide, *files, *small, *run, "--quiet"]) == 0
    metrics = json.loads((tmp_path / "heads" / "metrics.json").read_text(encoding="utf-8"))
    assert 0 <= metrics["image_to_text_r1"] <= 100 and "SigLIP" not in capsys.readouterr().err
    assert "Sigmoid Loss" in (tmp_path / "heads" / "README.md").read_text(encoding="utf-8")
