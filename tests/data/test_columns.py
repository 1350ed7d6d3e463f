"""What columns tell of the rows: labels of each kind, which rows hold the same item, and mistakes that are named."""

import datasets
import numpy as np
import pytest
from PIL import Image

from hf_latent.data.columns import LabelColumn, read_labels
from hf_latent.data.hub_data import HubData
from hf_latent.data.loaded import Label
from hf_latent.errors import UserError

CAPTIONS = [["a dog", "x"], ["a dog"], ["y"], ["A  dog"]]
COLORS = ["red", "lime", "blue", "white"]
ANIMALS = datasets.ClassLabel(names=["dog", "cat", "owl"])
BROKEN = {"bytes": b"no image", "path": None}
WORDS = datasets.List(datasets.Value("string"))


def stored(folder, train, test=None, feature=None, **others):
    """Splits with a table of numbers and a column `told` of these values."""

    def rows(values):
        table = {"a": [[float(i)] for i in range(len(values))], "told": values}
        features = {"a": datasets.List(datasets.Value("float32")), "told": feature or datasets.Value("string")}
        return datasets.Dataset.from_dict(table, features=datasets.Features(features))

    splits = {"train": train, "test": test, **others}
    datasets.DatasetDict({name: rows(own) for name, own in splits.items() if own is not None}).save_to_disk(folder)
    return str(folder)


def measured(path, label="told", **options):
    return HubData(path, {"table": "a"}, labels={"own": label}, **options).load().evaluation


VALUES = {
    "a ClassLabel, in its order": (ANIMALS, {}, [0, 2, -1, None, 2, 0], [0, 2, -1, -1, 2, 0], Label(
        names=("dog", "cat", "owl"))),
    "some names of a ClassLabel": (ANIMALS, {"names": ["owl", "dog"]}, [0, 2, 1, 2, 0, None], [1, 0, -1, 0, 1, -1],
        Label(names=("owl", "dog"))),
    "other names of a ClassLabel": (ANIMALS, {"names": ["x", "y", "z"]}, [0, 2, 1, 2, 0, 1], [0, 2, 1, 2, 0, 1],
        Label(names=("x", "y", "z"))),
    "strings, sorted": ("string", {}, ["b", "a", None, " ", "b", "a"], [1, 0, -1, -1, 1, 0], Label(names=("a", "b"))),
    "the strings that are named": ("string", {"names": ["b", "a"]}, ["b", "a", "c", "b", "a", ""],
        [0, 1, -1, 0, 1, -1], Label(names=("b", "a"))),
    "strings that are text": ("string", {"kind": "text"}, ["b", "a", None, " c", "", "e"],
        ["b", "a", "", " c", "", "e"], Label("text")),
    "booleans": ("bool", {}, [True, False, None, True, False, True], [1, 0, -1, 1, 0, 1],
        Label(names=("false", "true"))),
    "named booleans": ("bool", {"names": ["no", "yes"]}, [True, False] * 3, [1, 0] * 3, Label(names=("no", "yes"))),
    "booleans as numbers": ("bool", {"kind": "number"}, [True, None] * 2 + [False] * 2, [1, np.nan] * 2 + [0, 0],
        Label("number")),
    "few whole numbers": ("int64", {}, [10, 9, 9, 10, None, 9], [1, 0, 0, 1, -1, 0], Label(names=("9", "10"))),
    "few whole numbers as numbers": ("uint8", {"kind": "number"}, [1, 0] * 3, [1, 0] * 3, Label("number")),
    "many whole numbers as classes": ("int64", {"kind": "class"}, [10, 9, 9, 12, None, 9], [1, 0, 0, 2, -1, 0],
        Label(names=("9", "10", "12"))),
    "named whole numbers": ("int32", {"names": list("abcd")}, [3, 1, 1, 2, None, 1], [3, 1, 1, 2, -1, 1],
        Label(names=tuple("abcd"))),
    "floats": ("float32", {}, [0.5, 2, None, float("nan"), 1, 0], [0.5, 2, np.nan, np.nan, 1, 0], Label("number")),
    "lists of strings": (WORDS, {}, [["b", "a"], [], None, ["b", None], ["c"], ["a"]],
        [[1, 1, 0], [0, 0, 0], [0, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0]], Label("multilabel", ("a", "b", "c"))),
    "lists with named values": (WORDS, {"names": ["c", "a"]}, [["b", "a"], [], None, ["b"], ["c"], ["a"]],
        [[0, 1], [0, 0], [0, 0], [0, 0], [1, 0], [0, 1]], Label("multilabel", ("c", "a"))),
    "lists of a ClassLabel": (datasets.List(ANIMALS), {}, [[2, 0], [-1], [0]] * 2,
        [[1, 0, 1], [0, 0, 0], [1, 0, 0]] * 2, Label("multilabel", ("dog", "cat", "owl"))),
    "lists of whole numbers": (datasets.List(datasets.Value("int8")), {}, [[7], [-1, 7], []] * 2,
        [[0, 1], [1, 1], [0, 0]] * 2, Label("multilabel", ("-1", "7"))),
}  # fmt: skip


@pytest.mark.parametrize(("feature", "options", "values", "expected", "label"), VALUES.values(), ids=VALUES)
def test_a_column_is_a_label(tmp_path, feature, options, values, expected, label):
    """The training rows and, in the other order, the test rows."""
    feature = datasets.Value(feature) if isinstance(feature, str) else feature
    data = measured(stored(tmp_path / "set", values, values[::-1], feature), {"column": "told", **options})
    assert data.labels == {"own": label}
    for split, wanted in ((data.train, expected), (data.test, expected[::-1])):
        np.testing.assert_array_equal(split.labels["own"], wanted)
        kinds = {"class": np.int64, "number": np.float64, "multilabel": bool, "text": np.str_}
        assert np.issubdtype(split.labels["own"].dtype, kinds[label.kind])


@pytest.mark.parametrize(
    ("different", "rows", "kind"), [(3, 6, "class"), (3, 5, "number"), (1000, 2000, "class"), (1001, 2002, "number")]
)
def test_whole_numbers_are_classes_where_they_are_few(tmp_path, different, rows, kind):
    """Of the rows that have one: a tenth more have none."""
    values = [1000 + number % different for number in range(rows)] + [None] * (rows // 10 + 1)
    path = stored(tmp_path / "set", values, feature=datasets.Value("int64"))
    labels, found = read_labels([LabelColumn("own", "told")], {"train": HubData(path, {"table": "a"}).load().train})
    assert labels["own"].kind == kind and len(labels["own"].names) == (different if kind == "class" else 0)
    assert len(found["train"]["own"]) == len(values)


def test_names_are_of_all_splits_and_words_of_a_label_are_kept(tmp_path):
    """A class that training rows alone have is a class; a short way to write a label is its column."""
    path = stored(tmp_path / "set", ["d", "b", "a", "a"], ["b", "a"], validation=["a", "b", "b"])
    data = measured(path, {"column": "told", "of": ["table"], "title": "what it is"})
    assert data.labels["own"] == Label("class", ("a", "b", "d"), ("table",), "what it is")
    assert data.validation.labels["own"].tolist() == [0, 1, 1] and data.train.labels["own"].tolist() == [2, 1, 0, 0]
    assert measured(path).labels["own"] == Label("class", ("a", "b", "d"))
    summary = HubData(path, {"table": "a"}, labels={"own": "told"}).load().summary
    assert summary.endswith("labels: own (3 classes)")


def test_a_label_that_no_training_row_has_is_of_the_other_rows(tmp_path):
    path = stored(tmp_path / "set", [None] * 3, ["a", "b", "a"])
    data = measured(path)
    assert data.train.labels["own"].tolist() == [-1] * 3 and data.test.labels["own"].tolist() == [0, 1, 0]


def test_a_stream_has_labels_of_the_rows_to_measure_on(tmp_path):
    data = measured(stored(tmp_path / "set", ["a"] * 3, ["a", "b", "b"]), streaming=True)
    assert data.train is None and data.test.labels["own"].tolist() == [0, 1, 1]


SAME = "holds the same in all"
MISTAKES = {
    "no such column": ("string", "tolt", list("aab"), "data.labels.own='tolt': did you mean 'told'"),
    "one value": ("string", "told", list("aaa"), f"data.labels.own: the column 'told' {SAME} rows"),
    "one value and missing ones": ("string", "told", ["a", None, "a"], f"{SAME} rows"),
    "one number": ("float32", "told", [1, 1, 1], f"{SAME} rows"),
    "one text": ("string", {"kind": "text"}, list("aaa"), f"{SAME} rows"),
    "one set": (WORDS, "told", [["a", "b"], ["b", "a"], ["a", "b"]], f"{SAME} rows"),
    "no value": ("string", "told", [None, "", " "], "holds no value in any row: leave the label out"),
    "no set": (WORDS, "told", [None, [], None], "holds no value in any row"),
    "no numbers": ("float32", "told", [None, float("nan"), None], "holds no value in any row"),
    "floats as classes": ("float32", {"kind": "class"}, [1, 0, 1],
        "data.labels.own.kind='class': the column 'told' holds floats: write kind: number, or change the column"),
    "strings as numbers": ("string", {"kind": "number"}, ["1", "2", "2"], "holds strings: write kind: class or text"),
    "lists as a class": (WORDS, {"kind": "class"}, [["a"], ["b"], []], "holds lists: write kind: multilabel"),
    "lists of floats": (datasets.List(datasets.Value("float32")), "told", [[1.0]] * 3, "holds .*which is no label"),
    "pictures": (datasets.Image(), "told", [Image.new("RGB", (2, 2))] * 3, "which is no label"),
    "a kind": ("string", {"kind": "clas"}, list("aab"), "data.labels.own.kind='clas': did you mean 'class'"),
    "a key": ("string", {"columns": "told"}, list("aab"), "unknown key data.labels.own.columns: did you"),
    "no column": ("string", {"column": None}, list("aab"), "data.labels.own.column=None: expected str"),
    "a number": ("string", 3, list("aab"), "data.labels.own=3: write a column, or {column: ..., kind: ...}"),
    "a modality": ("string", {"of": ["tabel"]}, list("aab"),
        "data.labels.own.of: no such modality 'tabel'; did you mean 'table'"),
    "a modality alone": ("string", {"of": "table"}, list("aab"), "data.labels.own.of='table': expected a list of str"),
    "a name twice": ("string", {"names": ["a", "a"]}, list("aab"), "data.labels.own.names: 'a' is there twice"),
    "a name of no row": ("string", {"names": ["a", "bb"]}, list("aab"), "no row has 'bb' in the column 'told'; did"),
    "a name of no class": (ANIMALS, {"names": ["owl", "dgo"]}, [0, 2, 2], "'dgo' is no class .*did you mean 'dog'"),
    "names of booleans": ("bool", {"names": ["yes"]}, [True, False, True], "1 names, write one for false and one for"),
    "too few names": ("int64", {"names": ["x", "y"]}, [0, 1, 2], "'told' holds 2, and 2 names are of 0 to 1"),
    "names of numbers": ("float32", {"names": ["x", "y"]}, [0, 1, 2], "names: a number has no classes"),
}  # fmt: skip


@pytest.mark.parametrize(("feature", "label", "values", "words"), MISTAKES.values(), ids=MISTAKES)
@pytest.mark.parametrize("tested", [True, False])
def test_a_mistake_is_named_before_training(tmp_path, feature, label, values, words, tested):
    """Whether or not there is something to measure on."""
    feature = datasets.Value(feature) if isinstance(feature, str) else feature
    path = stored(tmp_path / "set", values * 2, values if tested else None, feature)
    written = {"column": "told", **label} if isinstance(label, dict) and "columns" not in label else label
    with pytest.raises(UserError, match=words):
        measured(path, written)


def test_a_column_that_is_unique_in_each_row_is_no_class(tmp_path):
    path = stored(tmp_path / "set", list("abc"), list("de"))
    with pytest.raises(UserError, match="another class in each of 5 rows.*write another column, or kind: text"):
        measured(path)
    assert measured(path, {"column": "told", "kind": "text"}).test.labels["own"].tolist() == ["d", "e"]
    path = stored(tmp_path / "numbers", [3, 4, 5], [6, 7], datasets.Value("int64"))
    with pytest.raises(UserError, match="another class in each of 5 rows.*or kind: number"):
        measured(path, {"column": "told", "kind": "class"})
    assert measured(path).labels["own"].kind == "number"


def test_rows_with_one_class_and_classes_that_no_training_row_has_are_named(tmp_path):
    path = stored(tmp_path / "sorted", list("aabbcc"), list("cc"))
    with pytest.raises(UserError, match=f"own: the column 'told' {SAME} test rows.*write data.splits that mix"):
        measured(path)
    path = stored(tmp_path / "new", list("aabb"), list("abbcdcb"))
    with pytest.raises(UserError) as caught:
        measured(path)
    assert str(caught.value).startswith(
        "data.labels.own: the class 'c' is in 2 test rows and in no training row (and "
    )
    assert "(and 1 more classes): write data.splits that put rows of it into training" in str(caught.value)
    data = measured(path, {"column": "told", "names": ["a", "b"]})
    assert data.test.labels["own"].tolist() == [0, 1, 1, -1, -1, -1, 1]
    path = stored(tmp_path / "lists", [["a"], ["b"]], [["a", "c"], ["b"]], WORDS)
    with pytest.raises(UserError, match="the class 'c' is in 1 test rows and in no training row: write"):
        measured(path)
    path = stored(tmp_path / "validated", list("aabb"), list("ab"), validation=list("bcb"))
    with pytest.raises(UserError, match="the class 'c' is in 1 validation rows"):
        measured(path)


def test_a_column_is_the_same_in_all_splits(tmp_path):
    """Numbers of classes mean what the names of their split say; a split without a value has no say."""
    path = stored(tmp_path / "set", [0, 1, 1], [1, 0, 0], ANIMALS)
    splits = datasets.load_from_disk(path)
    others = {
        "names": splits["test"].cast_column("told", datasets.ClassLabel(names=["cat", "dog", "owl"])),
        "kind": splits["test"].cast_column("told", datasets.Value("float32")),
    }
    for name, test in others.items():
        datasets.DatasetDict(train=splits["train"], test=test).save_to_disk(tmp_path / name)
        with pytest.raises(UserError, match="the column 'told' is ClassLabel.* in the train split and .* in the test"):
            measured(str(tmp_path / name))
    none = datasets.Dataset.from_dict({"a": [[0.0]], "told": [None]})
    datasets.DatasetDict(train=none, test=splits["test"]).save_to_disk(tmp_path / "none")
    data = measured(str(tmp_path / "none"))
    assert data.train.labels["own"].tolist() == [-1] and data.test.labels["own"].tolist() == [1, 0, 0]
    datasets.DatasetDict(train=none, test=none).save_to_disk(tmp_path / "nothing")
    with pytest.raises(UserError, match="holds no value in any row"):
        measured(str(tmp_path / "nothing"))


@pytest.mark.parametrize("name", ["the label", "1st", "a-b", ""])
def test_the_name_of_a_label_is_part_of_names_of_measurements(tmp_path, name):
    path = stored(tmp_path / "set", list("aab"), list("ab"))
    with pytest.raises(UserError, match=f"data.labels.{name}: .*write letters, digits and _ alone"):
        HubData(path, {"table": "a"}, labels={name: "told"}).load()


def test_labels_stay_with_their_rows(tmp_path):
    """Rows that are skipped, captions of one image, and rows that are cut off; a label does not open pictures."""
    photos = [Image.new("RGB", (4, 4), (number, 0, 0)) for number in range(40)]
    features = datasets.Features({"photo": datasets.Image(), "words": WORDS, "parity": datasets.Value("string")})
    table = {
        "photo": [BROKEN if number % 5 == 0 else photo for number, photo in enumerate(photos)],
        "words": [[f"{number} {n}" for n in range(1 + number % 3)] for number in range(40)],
        "parity": [None if number == 7 else "even" if number % 2 == 0 else "odd" for number in range(40)],
    }
    rows = datasets.Dataset.from_dict(table, features=features)
    datasets.DatasetDict(train=rows, test=rows.select(range(20))).save_to_disk(tmp_path / "set")
    columns = {"image": "photo", "text": "words"}
    source = HubData(str(tmp_path / "set"), columns, on_bad_row="skip", validation_share=0.3, labels={"own": "parity"})
    data = source.load()
    found = data.evaluation
    assert found.train.rows is data.train and len(found.train) + len(found.validation) == sum(
        1 + number % 3 for number in range(40) if number % 5
    )
    for split in (found.train, found.validation, found.test):
        assert len(split) == len(split.rows) == len(split.labels["own"]) == len(split.ids)
        for i, (own, image) in enumerate(zip(split.labels["own"], split.items["image"], strict=True)):
            number = int(split.rows[i]["words"].split()[0])
            assert own == (-1 if number == 7 else number % 2) and image == split.ids[i] == number


def test_a_class_that_a_cut_takes_out_of_training_is_not_measured(tmp_path, capsys):
    """Each of the rare classes is in one row: where that is cut off, its class is missing."""
    values = ["a", "b"] * 20 + [f"rare {number}" for number in range(10)]
    data = measured(stored(tmp_path / "set", values, list("ab")), validation_share=0.5)
    told = capsys.readouterr().out
    validation = data.validation.labels["own"]
    names = data.labels["own"].names
    rows = [int(data.validation.rows[i]["a"][0]) for i in range(len(validation))]
    rare = [own for own, row in zip(validation, rows, strict=True) if row >= 40]
    assert rare and set(rare) == {-1} and len(names) == 12
    assert [names[own] for own, row in zip(validation, rows, strict=True) if row < 40] == [
        values[row] for row in rows if row < 40
    ]
    assert f"data.labels.own: {len(rare)} of 25 validation rows, cut off by validation_share" in told


def image_text(folder, ids, listed):
    """The four images, with lists of captions, or as a row of the data set for each caption."""
    rows = [(number, text) for number, texts in enumerate(CAPTIONS) for text in texts]
    table = {"photo": [number for number, _ in rows], "words": [text for _, text in rows]}
    if listed:
        table = {"photo": list(range(len(CAPTIONS))), "words": CAPTIONS}
    table["photo"] = [Image.new("RGB", (8, 8), COLORS[number]) for number in table["photo"]]
    table["same"] = ids or [None] * len(table["photo"])
    dataset = datasets.Dataset.from_dict(table)
    datasets.DatasetDict(train=dataset, test=dataset).save_to_disk(folder)
    columns = {"image": "photo", "text": "words"}
    return HubData(str(folder), columns, ids="same" if ids else None).load().evaluation.test


def pairs(split):
    return {tuple(pair) for pair in split.pairs("image", "text").tolist()}


def test_equal_captions_are_one_item_without_ids(tmp_path):
    split = image_text(tmp_path, None, listed=True)
    assert split.distinct("text").tolist() == [0, 1, 3] and split.distinct("image").tolist() == [0, 2, 3, 4]
    assert pairs(split) == {(0, 0), (1, 0), (3, 0), (0, 1), (2, 2)}
    assert split.items["text"].tolist() == [0, 1, 0, 2, 0]  # "A  dog" is "a dog"


def test_equal_captions_are_one_item_with_ids(tmp_path):
    """Images 0 and 2 are of one id: the captions of each are right for both, and for nothing else."""
    split = image_text(tmp_path, ["g", None, "g", None], listed=True)
    assert pairs(split) == {(0, 0), (1, 0), (3, 0), (2, 0), (0, 1), (2, 1), (0, 2), (2, 2)}


def test_a_data_set_with_a_row_a_caption_has_an_image_a_row(tmp_path):
    """The copy of image 0 under "x" has "x" alone; with ids it has the captions of both rows."""
    split = image_text(tmp_path / "rows", None, listed=False)
    assert pairs(split) == {(0, 0), (1, 1), (2, 0), (3, 2), (4, 0)}
    split = image_text(tmp_path / "ids", ["0", "0", "1", "2", "3"], listed=False)
    assert pairs(split) == {(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (3, 2), (4, 0)}


def test_any_modalities_have_items(tmp_path):
    """Two columns of texts and one of numbers: equal texts are one item of their modality alone."""
    table = {"a": [[0.0], [1.0], [2.0]], "question": ["q", "Q ", "r"], "answer": [["x", "y"], ["x"], ["z"]]}
    dataset = datasets.Dataset.from_dict(table)
    datasets.DatasetDict(train=dataset, test=dataset).save_to_disk(tmp_path / "set")
    columns = {"table": "a", "question": "question", "answer": "answer"}
    split = HubData(str(tmp_path / "set"), columns).load().evaluation.test
    assert {name: items.tolist() for name, items in split.items.items()} == {
        "table": [0, 0, 1, 2], "question": [0, 0, 0, 1], "answer": [0, 1, 0, 2]
    }  # fmt: skip
    assert split.pairs("table", "question").tolist() == [[0, 0], [1, 0], [2, 1]]
