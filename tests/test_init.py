"""`hf-latent init`: the recipe of each layout trains, or the refusal says what to write instead."""

import json
import os
from pathlib import Path
from types import SimpleNamespace

import datasets
import numpy as np
import pytest
from PIL import Image

from hf_latent.cli import main
from hf_latent.data.collator import LatentCollator
from hf_latent.data.files import format_of
from hf_latent.data.rows import ModalityRows
from hf_latent.data.source import Reader
from hf_latent.errors import UserError
from hf_latent.fit_to_data import build_processor, fit_recipe
from hf_latent.init import Column
from hf_latent.init.roles import as_modality
from hf_latent.recipe import load_recipe
from tests.layouts import COLORS, LAYOUTS, ROWS, caption, color, encoded, picture, pictures, write_csv

pytest.importorskip("soundfile")

CLIP, COMM = "latent_clip", "comm"
# model, columns, labels, ids, splits and share of each layout
EXPECTED = {
    "pictures": (CLIP, {"image": "image", "text": "caption"}, ["color"], None, ["train", "test"], 0.2),
    "classes": (COMM, {"image": "image"}, ["label"], None, ["train"], 0.2),
    "paths": (CLIP, {"image": "image_path", "text": "caption"}, ["color"], "image_path", ["train"], 0.2),
    "records": (CLIP, {"image": "image", "text": "sentence"}, ["year"], None, ["train", "validation"], None),
    "saved": (CLIP, {"image": "img", "text": "txt"}, ["label"], "image_id", ["train", "dev", "test"], None),
    "shards": (CLIP, {"image": "jpg", "text": "txt"}, ["cls"], None, ["train"], 0.2),
    "captions": (CLIP, {"image": "image", "text": "captions"}, ["tags"], None, ["train"], 0.2),
    "shop": (CLIP, {"image": "image", "text": "text"}, ["Shop name", "in stock"], None, ["train"], 0.2),
    "tones": (CLIP, {"audio": "file_name", "text": "text"}, ["pitch"], "text", ["train"], 0.2),
    "people": (COMM, {"table": ["age", "income", "city"]}, ["label"], None, ["train"], 0.2),
    "three": (
        CLIP,
        {"image": "photo", "text": "note", "force": "force", "vector": "vector"},
        ["kind"],
        None,
        ["train"],
        0.2,
    ),
}


def read(name):
    return Path(name).read_text(encoding="utf-8")


@pytest.fixture(scope="module", autouse=True)
def place(tmp_path_factory):
    """The working directory, which holds nothing but what a test makes there."""
    before, folder = os.getcwd(), tmp_path_factory.mktemp("init")
    os.chdir(folder)
    yield folder
    os.chdir(before)


@pytest.fixture(scope="module")
def recipes(place):
    """Each layout, and the recipe that was written for it."""
    for name, make in LAYOUTS.items():
        make(place / name)
        assert main(["init", name, "--quiet"]) == (0 if name in EXPECTED else 2)
    return {name: load_recipe(f"{name}.yaml") for name in EXPECTED}


@pytest.mark.parametrize("name", EXPECTED)
def test_a_layout_is_guessed(recipes, name):
    values = recipes[name].values
    data = values["data"]
    found = data["columns"], list(data.get("labels", {}).values()), data.get("ids"), list(data["splits"].values())
    assert (values["model"]["type"], *found, data.get("validation_share")) == EXPECTED[name]


@pytest.mark.parametrize("name", EXPECTED)
def test_its_rows_become_a_batch(recipes, name):
    recipe = recipes[name]
    data = recipe.data.load_for(Reader(recipe.config.modalities))
    assert 2 <= recipe.training["global_batch_size"] <= len(data.train)
    assert data.evaluation is not None and set(data.evaluation.labels) == set(recipe.values["data"]["labels"])
    recipe = fit_recipe(recipe, data)
    processor = build_processor(recipe.model_class(recipe.config), recipe.views, data.tokenizers)
    batch = LatentCollator(processor, data.columns)([data.train[row] for row in range(3)])
    assert batch["ids"].shape == (3,)


@pytest.mark.parametrize("name", ["paths", "people"])
def test_it_trains(recipes, name):
    small = ["training.max_steps=1", "training.eval_strategy=no", "training.disable_tqdm=true", "--quiet"]
    assert main(["train", f"{name}.yaml", "evaluation.benchmarks={}", *small]) == 0
    assert (recipes[name].output_dir / "model.safetensors").is_file()


def test_each_guess_is_said_with_its_reason(recipes, capsys):
    assert main(["init", "saved", "--force"]) == 0
    said = capsys.readouterr().out
    for line in (
        "saved: a folder that save_to_disk wrote",
        "model.type: latent_clip (",
        "data.columns.image: img (images)",
        "data.ids: image_id (rows with equal ids are of one picture, and positives of each other)",
        "data.labels.label: label (3 named classes)",
        "data.splits.validation: dev (6 rows)",
        "score is not used: numbers",
        "train it: hf-latent train saved.yaml",
    ):
        assert line in said
    text = read("saved.yaml")
    assert (
        "  ids: image_id # rows with equal ids are of one picture" in text
        and "clip: openai/clip-vit-base-patch32" in text
    )
    assert "# comm would fuse" in read("three.yaml")


def test_an_older_file_stays(recipes, capsys):
    before = read("paths.yaml")
    assert main(["init", "saved", "--output", "paths.yaml"]) == 2
    assert "paths.yaml is there already: write another --output, or --force" in capsys.readouterr().err
    assert read("paths.yaml") == before
    assert main(["init", "saved", "--output", "nowhere/paths.yaml"]) == 2


def refused(capsys, *arguments):
    """What is said of data that no recipe fits, of which nothing is left."""
    before = sorted(os.listdir())
    capsys.readouterr()
    assert main(["init", *arguments]) == 2
    assert sorted(os.listdir()) == before
    return capsys.readouterr().err


def test_what_no_recipe_fits_is_refused_with_a_way_out(recipes, place, capsys):
    (place / "empty").mkdir()
    assert "empty is an empty folder: name one with a table" in refused(capsys, "empty")
    (place / "notes").mkdir()
    (place / "notes" / "a.txt").write_text("a", encoding="utf-8")
    assert "notes holds no rows, but files such as a.txt: name a table (.csv" in refused(capsys, "notes")
    (place / "a.docx").write_bytes(b"a")
    assert "a.docx: rows are read from .csv, .tsv" in refused(capsys, "a.docx")
    assert "nonsense holds nothing that a model reads, a (one value in all rows)" in refused(capsys, "nonsense")
    write_csv("one.csv", [{"text": caption(row)} for row in range(ROWS)])
    assert "one.csv holds one modality, text (text: texts), and nothing to contrast" in refused(capsys, "one.csv")
    pictures(place / "flat")
    said = refused(capsys, "flat")
    assert "flat holds one modality, image (image: images)" in said and "add a column, such as text" in said
    (place / "flat" / "000.txt").write_text("a", encoding="utf-8")
    for row in range(ROWS):
        (place / "flat" / f"{row:03d}.txt").write_text(caption(row), encoding="utf-8")
    assert "tar --sort=name -cf flat.tar -C flat . and then hf-latent init flat.tar" in refused(capsys, "flat")
    mixed = [{"file": f"{row}.{'png' if row % 2 else 'wav'}", "text": caption(row)} for row in range(ROWS)]
    write_csv("mixed.csv", mixed)
    assert "mixed.csv holds one modality, text" in (said := refused(capsys, "mixed.csv"))
    assert "file: names of files of audio and of image in one column" in said
    write_csv("lost.csv", [{"image": f"no/{row}.png", "text": caption(row)} for row in range(ROWS)])
    assert "the column image names files, such as no/0.png, and none of them is there" in refused(capsys, "lost.csv")
    Path("empty.csv").write_text("image,text\n", encoding="utf-8")
    assert "empty.csv cannot be read: " in refused(capsys, "empty.csv")
    assert "there is no file or folder no_such.csv" in refused(capsys, "no_such.csv")
    assert "there is no file or folder a/b/c, and it is no id of the Hub" in refused(capsys, "a/b/c")
    said = refused(capsys, "tones/clips")
    assert "holds sound and no table: write" in said and "with the columns file_name (such as 0.wav) and text" in said
    assert "imagefolder is a format and no data" in refused(capsys, "imagefolder")


def test_where_two_columns_fit_both_are_listed_and_one_can_be_written(recipes, place, capsys):
    rows = [
        {"left": "flat/000.png", "right": f"{row:03d}.png", "text": caption(row), "color": color(row)}
        for row in range(ROWS)
    ]
    pictures(place / "pair")
    pictures(place / "pair" / "flat", [0])
    write_csv(place / "pair" / "rows.csv", rows)
    said = refused(capsys, "pair")
    assert "2 columns fit image: left, right" in said and "image=left or image=right" in said
    assert main(["init", "pair", "photo=right", "text=text", "--quiet"]) == 0
    data = load_recipe("pair.yaml").values["data"]
    assert data["columns"] == {"photo": "right", "text": "text"} and data["labels"] == {"color": "color"}
    assert "photo=righ: no such column; did you mean 'right'?" in refused(capsys, "pair", "photo=righ", "--force")
    assert "image=text: the column holds texts, no image" in refused(capsys, "pair", "image=text", "--force")
    assert "x=img+txt: several columns are cells of numbers and texts" in refused(
        capsys, "saved", "x=img+txt", "--force"
    )
    assert main(["init", "people", "who=age+income", "where=city", "--force", "--quiet"]) == 0
    assert load_recipe("people.yaml").values["data"]["columns"] == {"who": ["age", "income"], "where": "city"}


def test_columns_of_captions_are_rows_each(recipes, place, capsys):
    """Those of COCO and Flickr8k as CSV or parquet; a caption that is missing is no row."""
    rows = [{"image": picture(row), "caption_0": caption(row), "caption_1": f"another {row}"} for row in range(ROWS)]
    rows[3]["caption_1"], rows[5] = None, {"image": picture(5), "caption_0": None, "caption_1": " "}
    datasets.Dataset.from_list(rows).save_to_disk("two")
    assert main(["init", "two"]) == 0
    assert "(texts, of which each becomes a row, as a caption)" in capsys.readouterr().out
    recipe = load_recipe("two.yaml")
    data = recipe.values["data"]
    assert data["columns"] == {"image": "image", "text": ["caption_0", "caption_1"]} and data["on_missing"] == "drop"
    found = recipe.data.load_for(Reader(recipe.config.modalities))
    column = found.columns["text"]
    held = [row[column] for part in (found.train, found.evaluation.validation.rows) for row in part]
    wanted = [(caption(row), f"another {row}") for row in range(ROWS) if row != 5]
    assert sorted(held) == sorted(text for pair in wanted for text in pair if text != "another 3")
    ids = [row["ids"] for row in found.train]
    assert 1 < len(set(ids)) < len(ids)  # captions of one row are positives of each other
    assert (
        main(
            ["train", "two.yaml", "data.streaming=true", "data.validation_share=0", "training.max_steps=1", "--quiet"]
        )
        == 2
    )
    assert "data.columns: the captions of a stream are not known" in capsys.readouterr().err


def test_a_column_that_names_splits(recipes, place, capsys):
    """As in Karpathy's JSON of COCO and many a CSV file."""
    names = ("train", "train", "Val", "test-dev")
    rows = [{"image": picture(row), "text": caption(row), "split": names[row % 4]} for row in range(ROWS)]
    datasets.Dataset.from_list(rows).save_to_disk("karpathy")
    assert main(["init", "karpathy"]) == 0
    assert "data.split_column: split (names the split of each row: train, Val, test-dev)" in capsys.readouterr().out
    recipe = load_recipe("karpathy.yaml")
    data = recipe.values["data"]
    assert "labels" not in data and "validation_share" not in data
    assert data["splits"] == {"train": "train", "validation": "Val", "test": "test-dev"}
    found = recipe.data.load_for(Reader(recipe.config.modalities))
    assert [row["text"] for row in found.evaluation.validation.rows] == [caption(row) for row in range(2, ROWS, 4)]
    assert len(found.train) == sum(row % 4 < 2 for row in range(ROWS))

    both = datasets.Dataset.from_list(rows)
    datasets.DatasetDict({"train": both, "test": both}).save_to_disk("twice")
    assert main(["init", "twice"]) == 0
    assert "split is not used: it names splits, and the data has splits of its own" in capsys.readouterr().out


def test_several_tables_are_not_chosen_from(recipes, place, capsys):
    (place / "many").mkdir()
    for name in ("first", "second"):
        write_csv(place / "many" / f"{name}.csv", [{"text": "a"}])
    assert "many holds 2 tables, and which of them has the rows is not clear: write hf-latent init" in refused(
        capsys, "many"
    )


def test_rows_that_cannot_be_used_are_left_out_and_named(recipes, place):
    rows = [
        {"image": f"shown/{row:03d}.png", "text": caption(row) if row != 5 else "", "kind": row} for row in range(ROWS)
    ]
    pictures(place / "gaps" / "shown")
    os.remove(place / "gaps" / "shown" / "007.png")
    write_csv(place / "gaps" / "rows.csv", rows)
    assert main(["init", "gaps", "--quiet"]) == 0
    assert load_recipe("gaps.yaml").values["data"]["on_bad_row"] == "skip"
    text = read("gaps.yaml")
    assert "1 of the first 24 files of image are not there, such as shown/007.png" in text
    picture(7).save(place / "gaps" / "shown" / "007.png")
    assert main(["init", "gaps", "--quiet", "--force"]) == 0
    data = load_recipe("gaps.yaml").values["data"]
    assert data["on_missing"] == "drop" and "on_bad_row" not in data
    assert "the split 'train': row 5, column 'text' is empty: rows that lack" in read("gaps.yaml")


def test_a_label_that_tells_nothing_is_left_out(recipes, place):
    rows = [
        {"image": picture(row), "text": caption(row), "rare": "odd" if row == 20 else color(row % 2)}
        for row in range(ROWS)
    ]
    whole = datasets.Dataset.from_list(rows)
    parts = {"train": whole.select(range(16)), "test": whole.select(range(16, ROWS))}
    datasets.DatasetDict(parts).save_to_disk("rare")
    assert main(["init", "rare", "--quiet"]) == 0
    assert "labels" not in load_recipe("rare.yaml").values["data"]
    assert "rare is no label: the class 'odd' is in 1 test rows and in no training row" in read("rare.yaml")


def test_names_of_somebody_elses_columns_stay_names(recipes):
    evil = "note\nplugins: [os]\nx"
    rows = [{"image": picture(row), evil: caption(row), "a # b": color(row), "on": row % 2} for row in range(ROWS)]
    rows = [row | {"z\nplugins: [no_such_module]\n#": 0} for row in rows]
    datasets.Dataset.from_list(rows).save_to_disk("evil")
    assert main(["init", "evil", "--quiet"]) == 0
    values = load_recipe("evil.yaml").values
    assert "plugins" not in values and values["data"]["columns"]["text"] == evil
    assert values["data"]["labels"] == {"a_b": "a # b", "on": "on"}


STRING, FLOAT = datasets.Value("string"), datasets.Value("float32")
KINDS_OF = [
    (datasets.List(datasets.Image()), [], "video"),
    (datasets.List(STRING), [["a/0.png", "a/1.png"], ["b/0.JPG"]], "video"),
    (datasets.List(STRING), [["a cat", "it is a cat"], ["a dog"]], "text"),
    (datasets.Audio(), [], "audio"),
    ({"array": datasets.List(FLOAT), "sampling_rate": datasets.Value("int64")}, [], "audio"),
    ({"bytes": datasets.Value("binary"), "path": STRING}, [{"bytes": b"RIFF", "path": None}], "audio"),
    (datasets.Value("binary"), [encoded(0)], "image"),
    (datasets.Value("binary"), [b"no picture"], None),
    (STRING, ["a.jpg", "b.webp"], "image"),
    (STRING, ["a.flac", "b.WAV"], "audio"),
    (STRING, ["a.jpg", "b.jpg", "words"], "text"),
    (datasets.List(FLOAT, length=32), [], "features"),
    (datasets.List(FLOAT), [[0.0] * 8, [0.0] * 8], "features"),
    (datasets.List(FLOAT), [[0.0] * 8, [0.0] * 9], None),
    (datasets.List(FLOAT), [[0.0, 0.0, 5.0, 5.0]], None),  # a box
    (datasets.Array2D((7, 3), "float32"), [], "series"),
    (datasets.List(datasets.List(FLOAT)), [np.zeros((5, 3)).tolist(), np.zeros((9, 3)).tolist()], "series"),
    ({"age": FLOAT, "city": STRING}, [], "table"),
]


@pytest.mark.parametrize(("feature", "values", "kind"), KINDS_OF)
def test_a_kind_knows_its_columns(feature, values, kind):
    found = as_modality(Column("x", feature, values))
    assert (None if found is None else found.kind) == kind


FEATURES = datasets.Features(
    {
        "jpg": datasets.Image(),
        "caption": datasets.Value("string"),
        "fine_label": datasets.ClassLabel(names=list(COLORS)),
        "image_id": datasets.Value("int64"),
    }
)


def on_hub(monkeypatch, features, splits):
    def builder(path, name=None):
        assert path == "hf://datasets/some/data"
        infos = {key: datasets.splits.SplitInfo(key, num_examples=rows) for key, rows in splits.items()}
        return SimpleNamespace(
            config=SimpleNamespace(data_files=None), info=SimpleNamespace(features=features, splits=infos)
        )

    monkeypatch.setattr(datasets, "load_dataset_builder", builder)


def test_of_the_hub_no_row_is_downloaded(place, monkeypatch, capsys):
    on_hub(monkeypatch, FEATURES, {"train": 5000, "validation": 500})
    monkeypatch.setattr(datasets, "load_dataset", lambda **_: pytest.fail("it was loaded"))
    assert main(["init", "some/data", "--output", "hub.yaml"]) == 0
    assert "no row was downloaded" in capsys.readouterr().out
    values = load_recipe("hub.yaml").values
    assert values["data"] == {
        "name": "dataset",
        "path": "some/data",
        "columns": {"image": "jpg", "text": "caption"},
        "ids": "image_id",
        "labels": {"fine_label": "fine_label"},
        "tokenizers": {"text": "words"},
        "splits": {"train": "train", "validation": "validation"},
    }
    assert values["training"]["global_batch_size"] == 128


def test_of_the_hub_the_first_rows_are_read_where_the_features_do_not_tell(place, monkeypatch, capsys):
    read = []

    def rows():
        for row in range(ROWS):
            read.append(row)
            yield {"vector": [0.5] * 12, "text": caption(row)}

    def load(path, split, streaming):
        assert streaming and split == "train"
        return datasets.IterableDataset.from_generator(rows)

    on_hub(monkeypatch, None, {"train": ROWS})
    monkeypatch.setattr(datasets, "load_dataset", load)
    assert main(["init", "some/data", "--output", "first.yaml"]) == 0
    assert "by the first rows, which were read for it" in capsys.readouterr().out
    assert load_recipe("first.yaml").values["model"]["modalities"]["vector"] == {
        "encoder": "features",
        "input_dim": 12,
    }
    assert max(read) < 8


def test_a_table_of_names_of_images_is_read(place):
    """The pictures of a column of names, of their bytes, and of records are those of the files."""
    from hf_latent.data.hub_data import HubData

    pictures(place / "three_ways", range(3))
    names = [f"{row:03d}.png" for row in range(3)]
    content = [(place / "three_ways" / name).read_bytes() for name in names]
    lines = [json.dumps({"name": name}) for name in names]
    (place / "three_ways" / "rows.jsonl").write_text("\n".join(lines), encoding="utf-8", newline="\n")
    datasets.Dataset.from_dict(
        {"whole": content, "record": [{"bytes": part, "path": "x.png"} for part in content]}
    ).save_to_disk("bytes")
    options = {"data_files": "three_ways/rows.jsonl"}
    for path, column, own in (("json", "name", options), ("bytes", "whole", {}), ("bytes", "record", {})):
        rows = HubData(path, {"image": column}, options=own).load_for(Reader({"image": {"encoder": "cnn"}})).train
        for row, name in enumerate(names):
            assert rows[row][column].tobytes() == Image.open(place / "three_ways" / name).tobytes()


def test_rows_of_the_hub_open_no_file_of_this_machine(place):
    file = place / "private.png"
    picture(0).save(file)
    rows = datasets.Dataset.from_dict({"image": [str(file)]})
    shapes = {"image": format_of({"encoder": "cnn"}, [])}
    assert ModalityRows(rows, ["image"], shapes=shapes)[0]["image"].size == picture(0).size
    with pytest.raises(UserError, match=r"private\.png is no file of the data set"):
        ModalityRows(rows, ["image"], from_hub=True, shapes=shapes)[0]
