"""Rows that lack a modality, from a data set to measurements: `data.on_missing`."""

import itertools
import json

import datasets
import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from hf_latent import CoMMModel, CoMMProcessor
from hf_latent.cli import main
from hf_latent.data.cells import lacking
from hf_latent.data.collator import LatentCollator
from hf_latent.data.hub_data import HubData
from hf_latent.data.loaded import Missing
from hf_latent.data.mixture import MixtureData
from hf_latent.data.sample import sample_of
from hf_latent.data.source import Reader
from hf_latent.errors import UserError
from hf_latent.hub.card_fields import told_missing
from hf_latent.hub.contents import published_metrics

WIDTH = 6
COLUMNS = {"left": "left", "right": "right"}
MODALITIES = {"left": {"encoder": "table", "input_dim": WIDTH}, "right": {"encoder": "features", "input_dim": WIDTH}}


def table(rows, seed=0):
    """Two noisy copies of the mean of a class; each fourth row lacks the one, each fifth the other."""
    draw = np.random.default_rng(seed)
    means = np.random.default_rng(7).normal(size=(3, WIDTH))
    numbers = np.arange(rows)
    noisy = lambda i: (means[i % 3] + 0.1 * draw.normal(size=WIDTH)).tolist()  # noqa: E731
    return {
        "left": [None if i % 4 == 3 else noisy(i) for i in numbers],
        "right": [None if i % 5 == 4 and i % 4 != 3 else noisy(i) for i in numbers],
        "kind": [f"class {i % 3}" for i in numbers],
    }


def stored(folder, **splits):
    number = datasets.List(datasets.Value("float32"))
    features = datasets.Features({"left": number, "right": number, "kind": datasets.Value("string")})
    made = {name: datasets.Dataset.from_dict(columns, features=features) for name, columns in splits.items()}
    datasets.DatasetDict(made).save_to_disk(folder)
    return str(folder)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "set"
    return stored(folder, train=table(60), validation=table(40, 1), test=table(48, 2))


def load(path, **options):
    return HubData(path, COLUMNS, **options).load_for(Reader(MODALITIES))


def test_a_missing_value_is_an_error_that_names_what_to_write(path):
    with pytest.raises(UserError, match=r"row 3, column 'left' is empty: .*on_bad_row: skip, or data.on_missing: use"):
        load(path)


def test_rows_are_dropped_and_counted(path, capsys):
    rows = load(path, on_missing="drop").train
    assert len(rows) == 36 and all(row["left"] and row["right"] for row in rows)
    told = "Dropped 24 of 60 rows, which lack a modality: left in 15 of 60 rows, right in 9 of 60 rows"
    assert told in capsys.readouterr().out


def test_a_column_that_two_encoders_read_in_two_ways_is_told(tmp_path):
    folder = stored(tmp_path, train=table(4))
    for other in ({"encoder": "table"}, {"encoder": "features", "input_dim": WIDTH + 1}):
        own = {"left": MODALITIES["left"], "right": other}
        with pytest.raises(UserError, match="data.columns.right='left': 'left' reads this column in another way"):
            HubData(folder, {"left": "left", "right": "left"}, on_missing="use").load_for(Reader(own))
    both = HubData(folder, {"left": "left", "right": "left"}, on_missing="drop").load_for(Reader(MODALITIES)).train
    assert both.reader.shapes == {"left": [(WIDTH,)]}


def test_a_row_with_nothing_is_dropped_too(tmp_path):
    whole = [1.0] * WIDTH
    columns = {"left": [whole, None, whole], "right": [whole, None, whole], "kind": ["a", "b", "c"]}
    assert len(load(stored(tmp_path, train=columns), on_missing="drop").train) == 2


def test_rows_are_used_with_what_they_have(path):
    found = load(path, on_missing="use", labels={"kind": "kind"})
    assert "missing in train: left in 15 of 60 rows, right in 9 of 60 rows; missing in validation" in found.summary
    collator = LatentCollator(CoMMProcessor({"left": {"kind": "table"}, "right": {"kind": "features"}}), COLUMNS)
    collator = LatentCollator(collator.processor, COLUMNS, examples=found.examples)
    batch = collator([found.train[i] for i in (2, 3, 4, 5)])
    assert batch["present"]["left"].tolist() == [True, False, True, True]
    assert batch["present"]["right"].tolist() == [True, True, False, True]
    torch.testing.assert_close(batch["modalities"]["left"]["values"][1], torch.tensor(found.train[0]["left"]))
    test = found.evaluation.test
    assert test.present["left"].tolist() == [i % 4 != 3 for i in range(48)]
    assert len(test.having("left", "right")) == 29 == len(test.distinct("left", "right"))
    assert len(test.pairs("left", "right")) == 29
    assert all(value is not None for own in sample_of(found).values.values() for value in own)


def test_rows_that_lack_a_modality_are_not_shown(tmp_path):
    """Nor where there are training rows alone."""
    found = load(stored(tmp_path / "one", train=table(12)), on_missing="use")
    assert len(sample_of(found).values["left"]) == 7 and None not in sample_of(found).values["right"]
    lacking = {"left": [None] * 9, "right": [[1.0] * WIDTH] * 9, "kind": list("abcabcabc")}
    data = load(stored(tmp_path / "two", train=table(12), test=lacking), on_missing="use")
    with pytest.raises(UserError, match="of the held-out rows, 0 can be shown, and 9 lack a modality: 4 are needed"):
        sample_of(data)


def test_without_the_word_a_batch_says_nothing_of_it(path):
    found = load(path, on_missing="drop")
    assert found.examples is None and not found.evaluation.test.present
    collator = LatentCollator(CoMMProcessor({"left": {"kind": "table"}, "right": {"kind": "features"}}), COLUMNS)
    assert "present" not in collator([found.train[0]])


def test_what_has_nothing_is_a_bad_row(tmp_path, capsys):
    rows = table(12)
    rows["right"][3] = None
    path = stored(tmp_path / "set", train=rows)
    with pytest.raises(UserError, match="row 3 has none of the columns left, right"):
        load(path, on_missing="use")
    assert len(load(path, on_missing="use", on_bad_row="skip").train) == 11
    assert "Skipped 1 of 12 rows; the first: row 3 has none of the columns" in capsys.readouterr().out


@pytest.mark.parametrize(
    "on_missing, words",
    [
        ("use", "the split 'train': no row has a value in the column 'left': leave its modality out"),
        ("drop", "no row has all of its columns: write data.on_missing: use"),
    ],
)
def test_a_modality_that_no_row_has_is_said(tmp_path, on_missing, words):
    rows = {**table(12), "left": [None] * 12, "right": [[0.0] * WIDTH] * 12}
    with pytest.raises(UserError, match=words):
        load(stored(tmp_path / "set", train=rows), on_missing=on_missing)


def test_a_stream_uses_or_drops_as_it_comes(path):
    for on_missing in ("use", "drop"):
        found = load(path, on_missing=on_missing, streaming=True, shuffle_buffer=0)
        read = list(itertools.islice(found.train, 10))
        lacks = [row["left"] is None or row["right"] is None for row in read]
        assert any(lacks) == (on_missing == "use")
        assert (found.examples is None) == (on_missing == "drop")
    assert set(found.train.examples()) == {"left", "right"}


def test_a_source_of_a_mixture_may_lack_modalities(path):
    sources = [
        HubData(path, COLUMNS, on_missing="use", splits={"test": "test"}),
        HubData(path, COLUMNS, on_missing="drop", splits={"test": None, "validation": None}),
    ]
    found = MixtureData(sources).load_for(Reader(MODALITIES))
    assert len(found.train) == 60 + 36 and set(found.examples) == {"left", "right"}
    assert found.evaluation.test.present


def test_texts_images_and_lists_of_captions(tmp_path):
    image = Image.new("RGB", (4, 4), "red")
    features = datasets.Features({"image": datasets.Image(), "text": datasets.List(datasets.Value("string"))})
    rows = {"image": [image, None, image, image], "text": [["a", " ", None], ["b"], None, []]}
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(str(tmp_path / "set"))
    source = HubData(str(tmp_path / "set"), {"image": "image", "text": "text"}, on_missing="use")
    found = source.load_for(Reader({"image": {"encoder": "cnn"}, "text": {"encoder": "auto"}}))
    read = [(row["image"] is not None, row["text"]) for row in found.train]
    assert read == [(True, "a"), (True, None), (True, None), (False, "b"), (True, None), (True, None)]
    there = found.train.present
    assert there["image"].tolist() == [has for has, _ in read]
    assert there["text"].tolist() == [text is not None for _, text in read]
    assert list(found.train.sentences("text")) == ["a", " ", "", "b", "", ""]


def test_an_arrow_column_tells_what_it_lacks():
    struct = {"bytes": [None, b"x"], "path": [None, None]}
    rows = datasets.Dataset.from_dict(
        {
            "image": [{"bytes": a, "path": b} for a, b in zip(*struct.values(), strict=True)],
            "text": [" ", "a"],
            "numbers": [None, [1.0]],
        }
    ).with_format("arrow")
    for column in ("image", "text", "numbers"):
        assert lacking(rows[:].column(column)) == [True, False], column


RECIPE = {
    "model": {
        **{"type": "comm", "modalities": MODALITIES, "embed_dim": 16, "fusion_heads": 2},
        **{"projection_hidden_dim": 16, "projection_dim": 8, "objective": "cross_self"},
        "regularizers": {"information_bottleneck": {"weight": 0.1}},
    },
    "data": {"name": "dataset", "columns": COLUMNS, "labels": {"kind": "kind"}, "on_missing": "use"},
    "views": {"left": {"kind": "table"}, "right": {"kind": "table"}},
    "evaluation": {"benchmarks": {"probes": {}, "retrieval": {"k": [1]}}},
    "training": {
        **{"global_batch_size": 12, "max_steps": 30, "learning_rate": 0.003, "use_cpu": True, "disable_tqdm": True},
        **{"eval_strategy": "steps", "eval_steps": 15},
    },
}


def written(folder, path, **data):
    recipe = {**RECIPE, "data": {**RECIPE["data"], "path": path, **data}}
    recipe["training"] = {**RECIPE["training"], "output_dir": str(folder / "run")}
    (folder / "recipe.yaml").write_text(json.dumps(recipe))
    return str(folder / "recipe.yaml")


def test_a_run_is_trained_and_measured_with_rows_that_lack_modalities(tmp_path, path, capsys):
    assert main(["train", written(tmp_path, path)]) == 0
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    rows = {key: told["rows"] for key, told in metrics["measurements"].items()}
    assert rows["probe_kind_left"] == 36 and rows["probe_kind_right"] == 41 and rows["probe_kind_fused"] == 48
    assert rows["left_to_right_r1"] == 29
    assert metrics["probe_kind_fused"] > 90 and metrics["probe_kind_left"] > 90
    assert "missing in test: left in 12 of 48 rows, right in 7" in capsys.readouterr().out
    before = {key: metrics[key] for key in rows}
    counts = {"train_rows": 60, "train_rows_dropped": 0, "train_rows_without_left": 15, "train_rows_without_right": 9}
    assert {key: metrics.get(key) for key in counts} == counts
    (tmp_path / "run" / "README.md").unlink()
    assert main(["evaluate", str(tmp_path / "run")]) == 0
    again = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert {key: again[key] for key in (*rows, *counts)} == before | counts
    told = "Of the 60 training rows, 15 lack `left` and 9 lack `right`; they were used with what they have."
    assert told in (tmp_path / "run" / "README.md").read_text(encoding="utf-8")
    assert {key: published_metrics(again)[key] for key in counts} == counts  # what a card on the Hub is made of


def test_training_rows_that_lack_a_modality_are_counted_as_loaded(path):
    cut = load(path, on_missing="use", validation_share=0.5, splits={"validation": None})
    present = cut.train.present
    assert cut.missing == Missing(30, {name: int((~present[name]).sum()) for name in COLUMNS})
    assert load(path, on_missing="drop").missing == Missing(36, None, 24)
    streamed = load(path, on_missing="use", streaming=True, shuffle_buffer=0)
    assert streamed.missing is None


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        (Missing(9, {"a": 1, "b": 0, "c": 2_000, "d": 3}), "rows, 1 lacks `a`, 2,000 lack `c` and 3 lack `d`; they"),
        (Missing(9, {"a": 0, "b": 0}), "Each of the 9 training rows has all modalities."),
        (Missing(9, None, 1), "1 row lacks a modality and was left out of the training rows."),
        (Missing(9, None, 24), "24 rows lack a modality and were left out of the training rows."),
        (Missing(9, None, 0), "No training row was left out for lack of a modality."),
    ],
)
def test_a_card_tells_how_many_rows_lack_what(missing, words):
    numbers = missing.numbers()
    assert words in told_missing(missing) and Missing.read(numbers, missing.without or ("a",)) == missing
    for broken in (float("nan"), -1, "many", None, 1e300):
        assert Missing.read({**numbers, "train_rows": broken}, missing.without or ()) is None
    assert Missing.read({}, ("a",)) is None


def test_what_needs_every_modality_refuses(tmp_path, path, capsys):
    recipe = written(tmp_path, path)
    assert main(["train", recipe, "evaluation.benchmarks={interactions: {redundancy: kind}}"]) == 2
    assert "interactions are of all modalities, and some rows lack one" in capsys.readouterr().err
    assert main(["train", recipe, "data.on_missing=maybe"]) == 2
    assert "data.on_missing='maybe'" in capsys.readouterr().err


def test_a_batch_of_a_loader_has_what_the_rows_have(path):
    found = load(path, on_missing="use")
    processor = CoMMProcessor({"left": {"kind": "table"}, "right": {"kind": "features"}})
    loader = DataLoader(
        found.train, 20, collate_fn=LatentCollator(processor, COLUMNS, raw=False, examples=found.examples)
    )
    model = CoMMModel.from_pretrained  # the batch is what `forward` reads
    assert model and all(set(batch) == {"modalities", "present", "ids"} for batch in loader)


def test_cells_and_sound_may_be_missing_as_a_whole(tmp_path):
    """Of a table some cells may be missing anyway; it is missing where none is there."""
    pytest.importorskip("soundfile")
    sound = {"array": [0.1, 0.2] * 400, "sampling_rate": 8000}
    rows = {"a": [1.0, None, None, float("nan")], "b": ["x", "y", " ", None], "sound": [sound, None, sound, sound]}
    datasets.Dataset.from_dict(rows).save_to_disk(str(tmp_path / "set"))
    columns = {"table": ["a", "b"], "audio": "sound"}
    encoders = {"table": {"encoder": "table"}, "audio": {"encoder": "audio_cnn"}}
    found = HubData(str(tmp_path / "set"), columns, on_missing="use").load_for(Reader(encoders))
    read = [found.train[i] for i in range(4)]
    assert [row["a + b"] for row in read[:2]] == [[1.0, "x"], [None, "y"]]
    assert [row["a + b"] for row in read[2:]] == [None, None] and read[1]["sound"] is None
    assert {name: there.tolist() for name, there in found.train.present.items()} == {
        "a + b": [True, True, False, False],
        "sound": [True, False, True, True],
    }


def test_none_without_examples_is_told_by_row():
    """Of rows from Python, which nobody has looked at."""
    processor = CoMMProcessor({"left": {"kind": "table"}, "right": {"kind": "features"}})
    whole = {"left": [1.0], "right": [2.0]}
    with pytest.raises(UserError, match=r"row 1, column 'right' is None: leave the row out, or give .*examples="):
        LatentCollator(processor)([whole, {"left": [1.0], "right": None}])
    with pytest.raises(UserError, match="row 1, column 'right' is not there, but in other rows"):
        LatentCollator(processor, examples=whole)([whole, {"left": [1.0]}])
    with pytest.raises(UserError, match="examples has no value of right: give one of each"):
        LatentCollator(processor, examples={"left": [1.0], "right": None})
    with pytest.raises(ValueError, match="row 0 of modality 'left' is None, expected numbers"):
        processor({"left": [None]})
