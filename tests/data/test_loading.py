"""Data sets of the Hub and of the disk: columns become modalities, and a bad row is named or left out."""

import io
import itertools
import tarfile

import datasets
import numpy as np
import pytest
from PIL import Image
from torch.utils.data import DataLoader

from hf_latent import CoMMProcessor
from hf_latent.data.collator import LatentCollator
from hf_latent.data.hub_data import HubData
from hf_latent.data.trifeature import CAPTIONS
from hf_latent.data.trifeature_data import TrifeatureCaptionsData, TrifeatureData
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
    assert len(data.train) == 5 and data.columns == COLUMNS and data.evaluation is None
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
    with pytest.raises(UserError, match="data.split='tran': no such split 'tran'; did you mean 'train'"):
        HubData(folder, COLUMNS, split="tran").load()
    with pytest.raises(UserError, match="cannot be opened"):
        HubData(str(tmp_path / "nothing"), COLUMNS).load()


def test_trifeature_by_recipe():
    data = TrifeatureData(image_size=16, renders=1, max_pairs=50, biased=True).load()
    assert len(data.train) == 50 and "16 px" in data.summary
    assert (data.train.labels["synergy"] == 1).all()
    assert data.evaluation.train.labels["synergy"].mean() < 0.5
    assert len(data.evaluation.labels["synergy"].names) == 2
    with pytest.raises(UserError, match="image_size"):
        TrifeatureData(image_size=1).load()


def test_parquet_of_the_disk(tmp_path):
    rows = datasets.Dataset.from_dict({"a": np.eye(3).tolist()})
    rows.to_parquet(tmp_path / "train.parquet")
    loaded = HubData(str(tmp_path), {"table": "a"}).load()
    assert len(loaded.train) == 3 and loaded.train[1]["a"] == [0.0, 1.0, 0.0]


def captioned(tmp_path):
    photos = [png(color) for color in ("red", "green", "blue", "white", "black")]
    captions = [["red", "a red square"], ["green"], ["blue", " "], [], ["red"]]
    rows = datasets.Dataset.from_dict(
        {"photo": photos, "captions": captions, "group": ["a", "b", "a", "c", "c"]},
        features=datasets.Features(
            {
                "photo": datasets.Image(),
                "captions": datasets.List(datasets.Value("string")),
                "group": datasets.Value("string"),
            }
        ),
    )
    datasets.DatasetDict(train=rows, test=rows.select([0, 1, 4, 0])).save_to_disk(tmp_path / "captions")
    return str(tmp_path / "captions")


IMAGE_TEXT = {"image": "photo", "text": "captions"}


def test_every_caption_of_an_image_is_a_row(tmp_path, capsys):
    path = captioned(tmp_path)
    rows = HubData(path, IMAGE_TEXT, on_bad_row="skip").load().train
    assert [(rows[i]["captions"], rows[i]["ids"]) for i in range(len(rows))] == [
        ("red", 0), ("a red square", 0), ("green", 1), ("blue", 2), ("red", 4)
    ]  # fmt: skip
    assert "Skipped 2 of 7 rows; the first: row 2, column 'captions' is empty" in capsys.readouterr().out
    with pytest.raises(UserError, match="the split 'train': row 2, column 'captions' is empty"):
        HubData(path, IMAGE_TEXT).load()


def test_ids_come_from_a_column_on_request(tmp_path):
    path = captioned(tmp_path)
    rows = HubData(path, IMAGE_TEXT, ids="group", on_bad_row="skip").load().train
    assert rows.ids.tolist() == [rows[i]["ids"] for i in range(len(rows))] == [0, 0, 1, 0, 2]
    with pytest.raises(UserError, match="data.ids='grup': did you mean 'group'"):
        HubData(path, IMAGE_TEXT, ids="grup").load()


IDS = {
    "string": (["a", None, "a", "", None, " "], [0, 1, 0, 3, 4, 5]),
    "float64": ([1.0, float("nan"), 1.0, None, float("nan"), 2.0], [0, 1, 0, 3, 4, 5]),
    "int64": ([7, None, 7, 8, None, 8], [0, 1, 0, 3, 4, 3]),
    "words": ([["a"], [], ["a"], None, ["b"], ["b"]], [0, 1, 0, 3, 4, 4]),
}


@pytest.mark.parametrize("buffer", [None, 0, 3])
@pytest.mark.parametrize(("kind", "values", "same"), [(kind, *case) for kind, case in IDS.items()])
def test_a_missing_id_is_its_own(tmp_path, kind, values, same, buffer):
    """Rows are positives of each other where `same` is equal; on two processes, too."""
    feature = datasets.List(datasets.Value("string")) if kind == "words" else datasets.Value(kind)
    features = datasets.Features({"id": feature, "a": datasets.Value("float32")})
    datasets.Dataset.from_dict({"id": values, "a": [float(i) for i in range(6)]}, features=features).save_to_disk(
        tmp_path / "set"
    )
    options = {} if buffer is None else {"streaming": True, "shuffle_buffer": buffer}
    train = HubData(str(tmp_path / "set"), {"table": "a"}, ids="id", **options).load().train
    parts = [train] if buffer is None else [train.share_of(process, 2) for process in range(2)]
    rows = [row for part in parts for row in itertools.islice(iter(part), 6 // len(parts))]
    rows.sort(key=lambda row: row["a"])
    assert len(rows) == 6
    for first, second in itertools.combinations(range(6), 2):
        assert (rows[first]["ids"] == rows[second]["ids"]) == (same[first] == same[second]), (first, second)


def test_words_of_several_columns_make_one_tokenizer(tmp_path):
    table = {"question": ["what is it?", "who is it?"], "answers": [["a dog", "dog"], ["me"]], "number": [1, 2]}
    datasets.Dataset.from_dict(table).save_to_disk(tmp_path / "set")

    def load(columns, **options):
        return (
            HubData(str(tmp_path / "set"), {"text": "question"}, tokenizers={"text": columns}, **options)
            .load()
            .tokenizers["text"]
        )

    own = {"what", "is", "it", "?", "who"}
    known = [set(load(columns).get_vocab()) - {"[PAD]", "[UNK]", "[CLS]", "[SEP]"} for columns in
             ("words", ["question", "answers"], ["answers"])]  # fmt: skip
    assert known == [own, own | {"a", "dog", "me"}, {"a", "dog", "me"}]
    with pytest.raises(UserError, match="data.tokenizers.text: 'answer' is no column of text; did you mean 'answers'"):
        load(["question", "answer"])
    with pytest.raises(UserError, match="data.tokenizers.text: 'number' is no column of text; known: answers, quest"):
        load(["number"])
    with pytest.raises(UserError, match="the words of a stream are not known"):
        load(["answers"], streaming=True)


def test_tokenizers_and_what_to_measure_with(tmp_path):
    data = HubData(
        captioned(tmp_path), IMAGE_TEXT, test_split="test", on_bad_row="skip", tokenizers={"text": "words"}
    ).load()
    tokenizer = data.tokenizers["text"]
    assert {"red", "a", "square", "green", "blue"} <= set(tokenizer.get_vocab())
    assert tokenizer.decode(tokenizer("A red dog")["input_ids"]) == "[CLS] a red [UNK] [SEP]"
    test = data.evaluation.test
    assert test.ids.tolist() == [0, 0, 1, 2, 3, 3] and data.evaluation.columns == IMAGE_TEXT
    assert test.distinct("image").tolist() == [0, 2, 3, 4] and test.distinct("text").tolist() == [0, 1, 2]
    with pytest.raises(UserError, match="data.tokenizers: '/nothing' cannot be loaded"):
        HubData(captioned(tmp_path / "b"), IMAGE_TEXT, on_bad_row="skip", tokenizers={"text": "/nothing"}).load()
    with pytest.raises(UserError, match="data.tokenizers.txt: no such modality; did you mean 'text'"):
        HubData(captioned(tmp_path / "c"), IMAGE_TEXT, on_bad_row="skip", tokenizers={"txt": "words"}).load()


def test_a_nan_in_a_table_is_a_bad_row(tmp_path):
    rows = datasets.Dataset.from_dict({"a": [[1.0, 2.0], [float("nan"), 0.0], [3.0, 4.0]]})
    rows.to_parquet(tmp_path / "train.parquet")
    with pytest.raises(UserError, match="row 1, column 'a' holds NaN"):
        HubData(str(tmp_path), {"table": "a"}).load().train[1]
    assert len(HubData(str(tmp_path), {"table": "a"}, on_bad_row="skip").load().train) == 2


def test_csv_and_image_folders(tmp_path):
    (tmp_path / "images").mkdir()
    for name in ("one", "two"):
        Image.new("RGB", (8, 8), "red").save(tmp_path / "images" / f"{name}.png")
    (tmp_path / "images" / "metadata.csv").write_text("file_name,text\none.png,a red one\ntwo.png,a red two\n")
    data = HubData(
        "imagefolder", {"image": "image", "text": "text"}, options={"data_dir": str(tmp_path / "images")}
    ).load()
    assert data.train[1]["text"] == "a red two" and data.train[1]["image"].size == (8, 8)
    (tmp_path / "rows.csv").write_text("a,b\n1.5,x\n2.5,y\n")
    options = {"data_files": str(tmp_path / "rows.csv")}
    assert HubData("csv", {"table": "a"}, options=options).load().train[1]["a"] == 2.5
    with pytest.raises(UserError, match="write data.streaming: true"):
        HubData("csv", {"table": "a"}, options={**options, "streaming": True}).load()


def test_a_stream_gives_every_row_once_a_pass(tmp_path):
    path = captioned(tmp_path)
    stream = HubData(path, IMAGE_TEXT, streaming=True, on_bad_row="skip").load().train
    rows = list(itertools.islice(iter(stream), 10))
    expected = ["a red square", "blue", "green", "red", "red"]
    passes = [[row["captions"] for row in rows[start : start + 5]] for start in (0, 5)]
    assert sorted(passes[0]) == sorted(passes[1]) == expected
    assert passes[0] != passes[1]  # shuffled anew
    siblings = {row["captions"]: row["ids"] for row in rows[:5] if row["captions"] != "red"}
    assert len({row["ids"] for row in rows[:5]}) == 4 and len(set(siblings.values())) == 3
    assert siblings["a red square"] in {row["ids"] for row in rows[:5] if row["captions"] == "red"}
    again = [row["captions"] for row in itertools.islice(iter(stream), 10)]
    assert again == passes[0] + passes[1]
    ordered = HubData(path, IMAGE_TEXT, ids="group", streaming=True, shuffle_buffer=0, on_bad_row="skip").load().train
    rows = list(itertools.islice(iter(ordered), 5))
    assert [row["captions"] for row in rows] == ["red", "a red square", "green", "blue", "red"]
    assert rows[0]["ids"] == rows[1]["ids"] == rows[3]["ids"] != rows[2]["ids"]
    with pytest.raises(UserError, match="row 2, column 'captions' is empty"):
        list(itertools.islice(iter(HubData(path, IMAGE_TEXT, streaming=True, shuffle_buffer=0).load().train), 5))
    with pytest.raises(UserError, match="the words of a stream are not known"):
        HubData(path, IMAGE_TEXT, streaming=True, tokenizers={"text": "words"}).load()


def numbered(folder, files, rows=7):
    for file in range(files):
        numbers = range(file * rows, (file + 1) * rows)
        (folder / f"{file}.csv").write_text("a,b\n" + "".join(f"{i}.5,row {i}\n" for i in numbers))
    return {"data_files": [str(folder / f"{file}.csv") for file in range(files)]}


@pytest.mark.parametrize("buffer", [0, 5])
@pytest.mark.filterwarnings("ignore:This DataLoader will create 3 worker processes")
@pytest.mark.parametrize(
    ("files", "workers", "shares"),
    [(4, 0, [14, 14]), (4, 2, [14, 14]), (3, 0, [11, 10]), (3, 3, [12, 9]), (1, 1, [3, 2, 2])],
)
def test_processes_and_workers_share_a_stream(tmp_path, files, workers, shares, buffer):
    """Each row once a pass, under a number that no other row of the pass has; files are shared where they can be."""
    data = HubData("csv", {"table": "a"}, options=numbered(tmp_path, files), streaming=True, shuffle_buffer=buffer)
    stream = data.load().train
    parts = [stream.share_of(process, len(shares)) for process in range(len(shares))]
    loaders = [DataLoader(part, batch_size=None, num_workers=workers) for part in parts]
    rows = [row for loader, count in zip(loaders, shares, strict=True) for row in itertools.islice(loader, count)]
    assert sorted(row["a"] for row in rows) == [i + 0.5 for i in range(7 * files)]
    assert len({row["ids"] for row in rows}) == len(rows)
    assert parts[0].max_workers == (files // len(shares) if files % len(shares) == 0 else files)


def test_trifeature_captions_leave_the_texture_to_the_image():
    data = TrifeatureCaptionsData(image_size=16, renders=1, test_renders=2).load()
    test = data.evaluation.test
    assert len(data.train) == 800 and len(test) == len(test.rows) == 400
    row = test.rows[3]
    assert row["text"] == CAPTIONS[row["ids"]] and row["image"].shape == (16, 16, 3)
    assert not any(texture in row["text"] for texture in data.evaluation.labels["texture"].names)
    factors = ("shape", "color", "texture")
    seen, held_out = (
        set(zip(*(getattr(rows.source, factor).tolist() for factor in factors), strict=True))
        for rows in (data.train, test.rows)
    )
    assert not seen & held_out
    assert len(data.tokenizers["text"]) < 64
    assert (np.sort(test.ids[test.distinct("text")]) == np.unique(test.ids)).all()


@pytest.mark.parametrize("streaming", [False, True])
def test_web_datasets(tmp_path, streaming):
    with tarfile.open(tmp_path / "shard-0.tar", "w") as shard:
        for name, color in (("a", "red"), ("b", "blue")):
            for suffix, content in (("png", png(color)["bytes"]), ("txt", f"a {color} one".encode())):
                entry = tarfile.TarInfo(f"{name}.{suffix}")
                entry.size = len(content)
                shard.addfile(entry, io.BytesIO(content))
    options = {"data_files": str(tmp_path / "shard-0.tar")}
    columns = {"image": "png", "text": "txt"}
    rows = HubData("webdataset", columns, options=options, streaming=streaming, shuffle_buffer=0).load().train
    rows = list(itertools.islice(iter(rows), 2)) if streaming else [rows[i] for i in range(len(rows))]
    assert [(row["txt"], row["png"].getpixel((0, 0))) for row in rows] == [
        ("a red one", (255, 0, 0)), ("a blue one", (0, 0, 255))
    ]  # fmt: skip


@pytest.mark.parametrize("source", [TrifeatureCaptionsData, TrifeatureData])
def test_trifeature_validates_on_whole_combinations(one_drawing, source):
    whole, cut = (source(image_size=8, renders=1, validation_share=share).load() for share in (0.0, 0.1))
    assert whole.evaluation.validation is None
    again = source(image_size=8, renders=1, validation_share=0.1).load().evaluation.validation

    def shown(rows):
        images = rows.source
        return set(zip(images.shape.tolist(), images.texture.tolist(), images.color.tolist(), strict=True))

    parts = [shown(rows) for rows in (cut.train, cut.evaluation.validation.rows, cut.evaluation.test.rows)]
    assert [len(part) for part in parts] == [720, 80, 200] and len(set.union(*parts)) == 1000
    assert shown(again.rows) == parts[1] and shown(whole.train) == parts[0] | parts[1]
    name = next(iter(cut.evaluation.labels))
    assert len(cut.evaluation.validation.labels[name]) == len(cut.evaluation.validation.rows)
    for share in (-0.5, 1.0, 0.0001):
        with pytest.raises(UserError, match="data.validation_share=.*which is a combination"):
            source(image_size=8, renders=1, validation_share=share).load()
