"""Data sets of the Hub and of the disk: columns become modalities, and a bad row is named or left out."""

import io

import datasets
import numpy as np
import pytest
from PIL import Image

from hf_latent import CoMMProcessor
from hf_latent.data.collator import LatentCollator
from hf_latent.data.loading import HubData, TrifeatureData
from hf_latent.errors import UserError


def png(color, size=(12, 10)):
    buffer = io.BytesIO()
    Image.new("RGB", size, color).save(buffer, "PNG")
    return {"bytes": buffer.getvalue(), "path": None}


@pytest.fixture
def folder(tmp_path):
    """Five rows; the image of row 2 is broken and that of row 4 is missing."""
    images = [png("red"), png("green", (9, 9)), {"bytes": b"not an image", "path": None}, png("blue"), None]
    table = {"photo": images, "force": [[[0.0, 1.0]] * (i + 1) for i in range(5)]}
    features = datasets.Features(
        {"photo": datasets.Image(), "force": datasets.List(datasets.List(datasets.Value("float32")))}
    )
    rows = datasets.Dataset.from_dict(table, features=features)
    datasets.DatasetDict(train=rows).save_to_disk(tmp_path / "set")
    return str(tmp_path / "set")


COLUMNS = {"image": "photo", "series": "force"}


def test_rows_become_a_batch(folder):
    data = HubData(folder, COLUMNS).load()
    assert len(data.train) == 5 and data.columns == COLUMNS and data.probes is None
    processor = CoMMProcessor({"image": {"kind": "image", "size": 8}, "series": {"kind": "series"}})
    batch = LatentCollator(processor, data.columns)([data.train[i] for i in (0, 1, 3)])
    assert batch["ids"].tolist() == [0, 1, 3]
    assert batch["modalities"]["image"]["pixel_values"].shape == (3, 3, 8, 8)  # sizes differ: resized to the model's
    assert batch["modalities"]["series"]["values"].shape == (3, 4, 2)
    assert batch["modalities"]["series"]["attention_mask"].sum(1).tolist() == [1, 2, 4]


@pytest.mark.parametrize(
    ("row", "words"), [(2, "row 2, column 'photo' is not an image"), (4, "row 4, column 'photo' is empty")]
)
def test_a_bad_row_is_named_with_the_remedy(folder, row, words):
    rows = HubData(folder, COLUMNS).load().train
    with pytest.raises(UserError, match=f"{words}.*on_bad_row: skip"):
        rows[row]


def test_bad_rows_are_skipped_and_counted_on_request(folder, capsys):
    rows = HubData(folder, COLUMNS, on_bad_row="skip").load().train
    assert len(rows) == 3
    assert [rows[i]["ids"] for i in range(3)] == [0, 1, 3]
    assert "Skipped 2 of 5 rows; the first: row 2" in capsys.readouterr().out


def test_what_cannot_be_opened_is_named(folder, tmp_path):
    with pytest.raises(UserError, match="did you mean 'photo'"):
        HubData(folder, {"image": "foto"}).load()
    with pytest.raises(UserError, match="no such split"):
        HubData(folder, COLUMNS, split="tran").load()
    with pytest.raises(UserError, match="cannot be opened"):
        HubData(str(tmp_path / "nothing"), COLUMNS).load()


def test_trifeature_by_recipe():
    data = TrifeatureData(image_size=16, renders=1, max_pairs=50, biased=True).load()
    assert len(data.train) == 50 and "16 px" in data.summary
    assert (data.train.labels["synergy"] == 1).all()
    assert data.probes.train_labels["synergy"].mean() < 0.5
    assert {task: len(names) for task, names in data.probes.class_names.items()}["synergy"] == 2
    with pytest.raises(UserError, match="image_size"):
        TrifeatureData(image_size=1).load()


def test_parquet_of_the_disk(tmp_path):
    rows = datasets.Dataset.from_dict({"a": np.eye(3).tolist()})
    rows.to_parquet(tmp_path / "train.parquet")
    loaded = HubData(str(tmp_path), {"table": "a"}).load()
    assert len(loaded.train) == 3 and loaded.train[1]["a"] == [0.0, 1.0, 0.0]
