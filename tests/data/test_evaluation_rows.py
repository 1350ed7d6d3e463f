"""Rows that a model is measured on alone: columns of which there is one, captions in lines, no training rows."""

import datasets
import numpy as np
import pytest

from hf_latent.data.hub_data import HubData
from hf_latent.data.source import Reader
from hf_latent.errors import UserError

READER = Reader()


def stored(folder, *splits):
    rows = {"txt": ["a cat\na big cat", "a dog", "a cow\n\nthe cow\n"], "cls": [2, 0, 2]}
    datasets.DatasetDict({name: datasets.Dataset.from_dict(rows) for name in splits}).save_to_disk(folder)
    return str(folder)


def test_the_first_column_that_there_is_and_captions_in_lines(tmp_path):
    data = HubData(stored(tmp_path / "set", "test"), {"text": "caption|txt"}, text_lines=True, splits={"train": None})
    found = data.evaluation_for(READER)
    assert found.columns == {"text": "txt"} and found.train is None
    assert [found.test.rows[i]["txt"] for i in range(5)] == ["a cat", "a big cat", "a dog", "a cow", "the cow"]
    assert found.test.ids.tolist() == [0, 0, 1, 2, 2]


def test_labels_and_training_rows_are_read_where_they_are_wanted(tmp_path):
    labels = {"label": {"column": "label|cls", "kind": "class"}}
    data = HubData(stored(tmp_path / "set", "train", "test"), {"text": "txt"}, labels=labels)
    found = data.evaluation_for(READER, train=True)
    assert found.labels["label"].names == ("0", "2")
    np.testing.assert_array_equal(found.test.labels["label"], [1, 0, 1])
    np.testing.assert_array_equal(found.train.labels["label"], [1, 0, 1])
    assert data.evaluation_for(READER).train is None


def test_texts_beside_the_rows_are_found(tmp_path):
    path = stored(tmp_path / "set", "test")
    (tmp_path / "set" / "classnames.txt").write_text("ox\nsow\ncat\n", encoding="utf-8", newline="\n")
    data = HubData(path, {"text": "txt"}).evaluation_for(READER)
    assert data.beside("classnames.txt") == "ox\nsow\ncat\n" and data.beside("other.txt") is None


def test_of_the_hub_the_file_of_the_revision_is_fetched(tmp_path, monkeypatch):
    asked = []

    def fetched(repo, name, repo_type, revision):
        asked.append((repo, name, repo_type, revision))
        path = tmp_path / name
        path.write_text("ox\n", encoding="utf-8", newline="\n")
        return str(path)

    monkeypatch.setattr("hf_latent.data.hub_data.hf_hub_download", fetched)
    data = HubData("user/set", {"text": "txt"}, options={"revision": "v1"})
    assert data.text_beside("classnames.txt") == "ox\n"
    assert asked == [("user/set", "classnames.txt", "dataset", "v1")]


@pytest.mark.parametrize(
    ("splits", "options", "train", "words"),
    [
        (("train",), {}, False, "data.splits.test is missing"),
        (("test",), {"splits": {"train": None}}, True, "a benchmark fits probes"),
        (("test",), {}, True, "no such split 'train'"),
        (("test",), {"columns": {"text": "caption|words"}}, False, r"data.columns.text='caption\|words'"),
    ],
)
def test_what_cannot_be_measured_is_told(tmp_path, splits, options, train, words):
    with pytest.raises(UserError, match=words):
        HubData(stored(tmp_path / "set", *splits), **{"columns": {"text": "txt"}, **options}).evaluation_for(
            READER, train
        )


def test_captions_in_lines_of_a_stream_are_refused(tmp_path):
    data = HubData(stored(tmp_path / "set", "train"), {"text": "txt"}, text_lines=True, streaming=True)
    with pytest.raises(UserError, match="data.text_lines: the captions of a stream are not known"):
        data.load_for(READER)
