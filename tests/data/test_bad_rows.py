"""Rows that an encoder cannot read: named by their number in the data set before training, or left out."""

import itertools

import datasets
import numpy as np
import pytest
from PIL import Image
from torch.utils.data import DataLoader

from hf_latent import CoMMProcessor
from hf_latent.cli import main
from hf_latent.data.collator import LatentCollator
from hf_latent.data.hub_data import HubData
from hf_latent.data.source import Reader
from hf_latent.errors import UserError

ENCODERS = {
    "series": {"encoder": "sequence", "input_dim": 2},
    "table": {"encoder": "table", "input_dim": 3},
    "features": {"encoder": "features", "input_dim": 2},
}
GOOD = {"series": [[0.0, 1.0]] * 2, "table": [1.0, 2.0, 3.0], "features": [[0.0, 1.0]] * 3}
BAD = {
    "an empty series": ("series", [], "has the shape (0,), expected (length, 2)"),
    "a ragged series": ("series", [[0.0, 1.0], [0.0]], "is no array of numbers, expected (length, 2)"),
    "a series of another width": ("series", [[0.0, 1.0, 2.0]], "has the shape (1, 3), expected (length, 2)"),
    "steps of no width": ("series", [[], []], "has the shape (2, 0), expected (length, 2)"),
    "a missing step": ("series", [[0.0, 1.0], None], "is no array of numbers, expected (length, 2)"),
    "a missing number": ("series", [[0.0, None]], "holds NaN or infinity"),
    "a number that float32 does not hold": ("series", [[0.0, 1e39]], "holds NaN or infinity"),
    "a short table row": ("table", [1.0, 2.0], "has the shape (2,), expected (3,)"),
    "an empty table row": ("table", [], "has the shape (0,), expected (3,)"),
    "no table row": ("table", None, "is empty"),
    "features of another width": ("features", [[1.0]] * 3, "has the shape (3, 1), expected"),
    "features of another length": ("features", [[0.0, 1.0]] * 2, "has the shape (2, 2), expected (3, 2)"),
}
bad_rows = pytest.mark.parametrize(("kind", "value", "told"), BAD.values(), ids=BAD)


def stored(folder, kind, values):
    """A split `train` of these values, and one `validation` of good ones."""
    number = datasets.Value("float64")
    feature = datasets.List(number if kind == "table" else datasets.List(number))
    features = datasets.Features({"column": feature})
    splits = {"train": values, "validation": [GOOD[kind]] * 4}
    datasets.DatasetDict(
        {name: datasets.Dataset.from_dict({"column": rows}, features=features) for name, rows in splits.items()}
    ).save_to_disk(folder)
    return str(folder)


def load(path, kind, **options):
    return HubData(path, {kind: "column"}, **options).load_for(Reader({kind: ENCODERS[kind]}))


@bad_rows
def test_a_bad_row_is_named_before_training(tmp_path, kind, value, told):
    path = stored(tmp_path / "set", kind, [GOOD[kind]] * 5 + [value] + [GOOD[kind]])
    with pytest.raises(UserError) as caught:
        load(path, kind)
    assert str(caught.value).startswith(f"the split 'train': row 5, column 'column' {told}")


@bad_rows
def test_bad_rows_are_left_out_on_request(tmp_path, capsys, kind, value, told):
    """Also where the bad row is the first one."""
    path = stored(tmp_path / "set", kind, [value] + [GOOD[kind]] * 2 + [value] + [GOOD[kind]] * 3)
    rows = load(path, kind, on_bad_row="skip").train
    assert [rows[i]["ids"] for i in range(len(rows))] == [1, 2, 4, 5, 6]
    assert "Skipped 2 of 7 rows; the first: row 0, column 'column'" in capsys.readouterr().out
    LatentCollator(CoMMProcessor({kind: {"kind": kind}}), {kind: "column"})([rows[i] for i in range(len(rows))])


STREAMED = [case for name, case in BAD.items() if name != "features of another length"]


@pytest.mark.parametrize(("kind", "value", "told"), STREAMED)
@pytest.mark.parametrize("buffer", [0, 4])
def test_a_stream_names_the_row_of_the_data_set(tmp_path, kind, value, told, buffer):
    path = stored(tmp_path / "set", kind, [GOOD[kind]] * 5 + [value] + [GOOD[kind]])
    stream = load(path, kind, streaming=True, shuffle_buffer=buffer).train
    with pytest.raises(UserError) as caught:
        list(itertools.islice(iter(stream), 10))
    assert str(caught.value).startswith(f"row 5, column 'column' {told}")
    stream = load(path, kind, streaming=True, shuffle_buffer=buffer, on_bad_row="skip").train
    assert [len(row["column"]) for row in itertools.islice(iter(stream), 12)] == [len(GOOD[kind])] * 12


def test_a_stream_shared_by_processes_names_the_row_of_the_data_set(tmp_path):
    path = stored(tmp_path / "set", "table", [GOOD["table"]] * 9 + [[1.0]] + [GOOD["table"]] * 2)
    stream = load(path, "table", streaming=True, shuffle_buffer=3).train
    told = []
    for process in range(2):
        try:
            list(itertools.islice(iter(stream.share_of(process, 2)), 6))
        except UserError as error:
            told.append(str(error))
    assert len(told) == 1 and told[0].startswith("row 9, column 'column' has the shape (1,)")


def test_where_all_rows_are_bad_it_is_said(tmp_path):
    path = stored(tmp_path / "set", "table", [[1.0], None])
    with pytest.raises(UserError, match="the split 'train': none of its 2 rows can be read; the first: row 0, column"):
        load(path, "table", on_bad_row="skip")
    with pytest.raises(UserError, match="the stream holds no row that can be read"):
        next(iter(load(path, "table", on_bad_row="skip", streaming=True).train))


@pytest.mark.parametrize("bad", [None, " ", "None of the captions"])
def test_a_test_split_is_read_before_training(tmp_path, bad):
    """The test split is checked as the training split is; what only looks like a missing value is a caption."""
    image = Image.new("RGB", (8, 8))
    features = datasets.Features({"image": datasets.Image(), "text": datasets.Value("string")})
    table = {"image": [image] * 4, "text": ["a", "b", bad, "d"]}
    test = datasets.Dataset.from_dict(table, features=features)
    train = datasets.Dataset.from_dict({**table, "text": list("abcd")}, features=features)
    datasets.DatasetDict(train=train, test=test).save_to_disk(tmp_path / "set")
    source = HubData(str(tmp_path / "set"), {"image": "image", "text": "text"}, test_split="test")
    if bad and bad.strip():
        assert source.load().evaluation.test.distinct("text").tolist() == [0, 1, 2, 3]
        return
    with pytest.raises(UserError, match="the split 'test': row 2, column 'text' is empty"):
        source.load()


def test_a_column_that_is_not_read_may_be_broken(tmp_path):
    features = datasets.Features({"text": datasets.Value("string"), "other": datasets.Image()})
    broken = {"bytes": b"not an image", "path": None}
    rows = datasets.Dataset.from_dict({"text": ["a", "b"], "other": [broken] * 2}, features=features)
    rows.save_to_disk(tmp_path / "set")
    for streaming in (False, True):
        data = HubData(str(tmp_path / "set"), {"text": "text"}, streaming=streaming, shuffle_buffer=0).load()
        assert next(iter(data.train))["text"] == "a"


def test_a_broken_image_of_a_list_is_named(tmp_path):
    features = datasets.Features({"images": datasets.List(datasets.Image())})
    broken = {"bytes": b"not an image", "path": None}
    rows = datasets.Dataset.from_dict({"images": [[broken], [broken]]}, features=features)
    rows.save_to_disk(tmp_path / "set")
    loaded = HubData(str(tmp_path / "set"), {"image": "images"}, on_bad_row="error")
    with pytest.raises(UserError, match="row 0, column 'images' is not an image .*on_bad_row: skip"):
        loaded.load().train[0]


@pytest.mark.parametrize("raw", [True, False])
def test_what_only_a_batch_shows_is_named_by_the_row_of_the_data_set(tmp_path, raw):
    """Without encoders nobody knows which shape is right; in a shuffled batch row 3 comes first."""
    rows = (
        HubData(stored(tmp_path / "set", "features", [GOOD["features"]] * 3 + [[[0.0, 1.0]]]), {"features": "column"})
        .load()
        .train
    )
    collate = LatentCollator(CoMMProcessor({"features": {"kind": "features"}}), {"features": "column"}, raw=raw)
    told = r"row 1, column 'column' is \(3, 2\), row 3 is \(1, 2\)"
    with pytest.raises(UserError, match=told):
        collate([rows[3], rows[1], rows[0]])
    with pytest.raises(UserError, match=told):
        next(iter(DataLoader(rows, sampler=[3, 1], batch_size=2, collate_fn=collate)))
    with pytest.raises(ValueError, match="row 1 of modality 'features' is"):  # rows of a list know no number
        collate([{"column": np.zeros((1, 2))}, {"column": np.zeros((2, 2))}])


RECIPE = """
model:
  type: comm
  modalities:
    series: {encoder: sequence, input_dim: 2, hidden_size: 8, num_layers: 1, num_heads: 2, feedforward_dim: 8}
    text:
      encoder: auto
      config: {model_type: bert, hidden_size: 8, num_hidden_layers: 1, num_attention_heads: 2, intermediate_size: 8,
               max_position_embeddings: 8}
  embed_dim: 8
  fusion_heads: 2
data:
  name: dataset
  columns: {series: column, text: caption}
  tokenizers: {text: words}
views: {series: {kind: none}, text: {kind: none}}
training: {max_steps: 2, global_batch_size: 4, disable_tqdm: true}
"""


def test_a_recipe_is_checked_before_training_and_long_captions_are_cut(tmp_path, capsys):
    """The text encoder has 8 positions; the first rows, which are tried before training, are short."""
    series = [GOOD["series"]] * 7 + [[[0.0]]]
    captions = ["short"] * 3 + ["a caption of more words than the encoder has positions"] * 5
    datasets.Dataset.from_dict({"column": series, "caption": captions}).save_to_disk(tmp_path / "set")
    (tmp_path / "own.yaml").write_text(RECIPE, encoding="utf-8")
    run = tmp_path / "run"
    command = ["train", str(tmp_path / "own.yaml"), f"data.path={tmp_path / 'set'}", f"training.output_dir={run}"]
    assert main(command) == 2
    told = capsys.readouterr().err
    assert "row 7, column 'column' has the shape (1, 1), expected (length, 2)" in told and not run.exists()
    assert main([*command, "data.on_bad_row=skip"]) == 0
    told = capsys.readouterr().out
    assert "Skipped 1 of 8 rows" in told and "4 of 7 captions are longer than 8 tokens" in told
    assert "Unknown words in column 'caption' of the training rows: 0.0 %" in told
