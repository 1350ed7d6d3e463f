"""Which splits of a data set are used: those that are written, those that are found, and a share that is cut off."""

import itertools

import datasets
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from hf_latent.data.hub_data import HubData
from hf_latent.data.hub_rows import SplitReader
from hf_latent.data.hub_sample import hub_sample, share_rows
from hf_latent.data.opening import bases, choose_splits
from hf_latent.errors import UserError
from hf_latent.fit_to_data import with_splits

COLUMNS = {"table": "a"}


def rows(start, count):
    numbers = range(start, start + count)
    return datasets.Dataset.from_dict({"a": [[float(i)] for i in numbers], "group": [i // 4 for i in numbers]})


def stored(folder, **splits):
    """Splits of these lengths; row i of the n-th one holds the number 100 n + i."""
    sets = {name: rows(100 * number, count) for number, (name, count) in enumerate(splits.items())}
    datasets.DatasetDict(sets).save_to_disk(folder)
    return str(folder)


def numbers(own):
    own = getattr(own, "rows", own)
    return [int(own[i]["a"][0]) for i in range(len(own))]


def used(path, columns=COLUMNS, **options):
    """The numbers of the rows of each split; of one that is both, it is said."""
    data = HubData(path, columns, **options).load()
    found = {"train": numbers(data.train)}
    if data.evaluation is not None:
        found["test"] = numbers(data.evaluation.test)
        if data.evaluation.validation is data.evaluation.test:
            found["test"] = "validation"
        if data.evaluation.validation is not None:
            found["validation"] = numbers(data.evaluation.validation)
    return found


TRAIN, SECOND, THIRD = list(range(6)), [100, 101, 102], [200, 201]
CASES = {
    "found": ({"train": 6, "validation": 3, "test": 2}, {}, {"train": TRAIN, "validation": SECOND, "test": THIRD}),
    "a test split alone": ({"train": 6, "test": 3}, {}, {"train": TRAIN, "test": SECOND}),
    "a validation split is both": ({"train": 6, "val": 3}, {}, {"train": TRAIN, "validation": SECOND,
        "test": "validation"}),
    "none": ({"train": 6, "other": 3}, {}, {"train": TRAIN}),
    "switched off": ({"train": 6, "dev": 3, "test": 2}, {"splits": {"test": None, "validation": None}},
        {"train": TRAIN}),
    "test switched off": ({"train": 6, "valid": 3, "test": 2}, {"splits": {"test": None}},
        {"train": TRAIN, "validation": SECOND, "test": "validation"}),
    "written for another": ({"train": 6, "validation": 3}, {"test_split": "validation"},
        {"train": TRAIN, "test": SECOND}),
    "trained on": ({"train": 6, "test": 3}, {"splits": {"train": "train+test"}}, {"train": TRAIN + SECOND}),
    "of another name": ({"train": 6, "test": 3, "extra": 2}, {"splits": {"test": "extra"}},
        {"train": TRAIN, "test": THIRD}),
    "slices": ({"train": 6}, {"splits": {"train": "train[:50%]", "validation": "train[3:5]", "test": "train[-1:]"}},
        {"train": [0, 1, 2], "validation": [3, 4], "test": [5]}),
    "a slice to train on": ({"train": 6, "test": 3}, {"split": "train[:4]"}, {"train": TRAIN[:4], "test": SECOND}),
    "all": ({"train": 6, "more": 3}, {"split": "all"}, {"train": TRAIN + SECOND}),
    "old names": ({"a": 6, "b": 3, "test": 2}, {"split": "a", "test_split": "b"}, {"train": TRAIN, "test": SECOND}),
}  # fmt: skip


@pytest.mark.parametrize(("splits", "options", "expected"), CASES.values(), ids=CASES)
def test_splits_are_written_or_found(tmp_path, splits, options, expected):
    assert used(stored(tmp_path / "set", **splits), **options) == expected


def test_the_summary_says_what_is_used(tmp_path):
    path = stored(tmp_path / "set", train=6, dev=3)
    assert HubData(path, COLUMNS).load().summary == (
        "set: 6 rows; validation: 3 rows, the split 'dev'; no test split: the validation rows are reported, too"
    )
    assert HubData(path, COLUMNS, splits={"validation": None}).load().summary == "set: 6 rows"
    own = HubData(path, COLUMNS, splits={"validation": None, "test": "dev"}, validation_share=0.5).load()
    assert own.summary == "set: 3 rows; test: 3 rows, the split 'dev'; validation: 3 rows, cut off the training rows"
    own = HubData(path, COLUMNS, splits={"validation": None}, labels={"group": "group"}).load()
    assert own.summary == "set: 6 rows; no split to measure on: the labels are not used"
    assert own.evaluation is None


def test_a_folder_of_pictures_is_measured_without_being_told(tmp_path):
    for split, colors in {"train": ["red", "lime"], "test": ["blue"]}.items():
        (tmp_path / split).mkdir()
        for color in colors:
            Image.new("RGB", (8, 8), color).save(tmp_path / split / f"{color}.png")
        lines = "".join(f"{color}.png,a {color} one,{color}\n" for color in colors)
        (tmp_path / split / "metadata.csv").write_text(f"file_name,text,color\n{lines}")
    columns = {"image": "image", "text": "text"}
    for path, options in (("imagefolder", {"data_dir": str(tmp_path)}), (str(tmp_path), {})):
        data = HubData(path, columns, options=options).load()
        assert len(data.train) == 2 and data.evaluation.test.rows[0]["text"] == "a blue one"
        assert data.evaluation.validation is None and "test: 1 rows, the split 'test'" in data.summary


def test_files_of_splits_are_found(tmp_path):
    for name, start in (("train", 0), ("validation", 100), ("extra", 200)):
        (tmp_path / f"{name}.csv").write_text("a\n" + "".join(f"{start + i}.5\n" for i in range(3)))
    files = {name: str(tmp_path / f"{name}.csv") for name in ("train", "validation", "extra")}

    def load(path="csv", options=None, **more):
        options = {"data_files": files} if options is None else options
        return HubData(path, COLUMNS, options=options, **more).load()

    def first(split):
        return None if split is None else split.rows[0]["a"]

    found = load().evaluation
    assert (first(found.validation), first(found.test)) == (100.5, 100.5) and len(found.train) == 3
    found = load(splits={"train": "train[:2]", "test": "extra"}).evaluation
    assert (first(found.validation), first(found.test), len(found.train)) == (100.5, 200.5, 2)
    assert load(options={"data_files": files["train"]}).evaluation is None
    with pytest.raises(UserError, match="data.splits.test='extr': no such split 'extr'; did you mean 'extra'"):
        load(splits={"test": "extr"})
    (tmp_path / "parquet").mkdir()
    for name in ("train", "test"):
        rows(0, 4).to_parquet(tmp_path / "parquet" / f"{name}-00000-of-00001.parquet")
    assert len(load(str(tmp_path / "parquet"), {}).evaluation.test) == 4


def test_a_saved_data_set_without_splits_is_train(tmp_path):
    """It is not looked into for others, and slices of it are splits."""
    rows(0, 6).save_to_disk(tmp_path / "set")
    assert used(str(tmp_path / "set")) == {"train": TRAIN}
    halves = {"train": "train[:3]", "test": "train[3:]"}
    assert used(str(tmp_path / "set"), splits=halves) == {"train": [0, 1, 2], "test": [3, 4, 5]}
    with pytest.raises(UserError, match="Unknown split .test."):
        HubData(str(tmp_path / "set"), COLUMNS, test_split="test").load()


def test_a_stream_looks_for_splits_only_where_reading_one_reads_no_other(tmp_path):
    path = stored(tmp_path / "set", train=6, test=3)
    data = HubData(path, COLUMNS, streaming=True).load()
    assert data.evaluation.train is None and numbers(data.evaluation.test) == SECOND
    assert data.summary == "set: a stream of rows; test: 3 rows, the split 'test'"
    halves = {"train": "train[:2]", "test": "train[2:]"}
    part = HubData(path, COLUMNS, streaming=True, shuffle_buffer=0, splits=halves).load()
    assert [int(row["a"][0]) for row in itertools.islice(iter(part.train), 3)] == [0, 1, 0]
    (tmp_path / "train.csv").write_text("a\n1.5\n2.5\n")
    files = {"data_files": {name: str(tmp_path / "train.csv") for name in ("train", "test")}}
    options = {"options": files, "streaming": True}
    assert HubData("csv", COLUMNS, **options).load().evaluation is None
    assert len(HubData("csv", COLUMNS, **options, splits={"test": "test"}).load().evaluation.test) == 2
    with pytest.raises(UserError, match="data.splits.train='train.*: a stream reads a whole split; write its name"):
        HubData("csv", COLUMNS, **options, splits=halves).load()


TRAINED, AMONG = ", which the model was trained on", ", training rows among them"
SHOWN = {
    "found": ({}, range(100, 108), "the test split of set"),
    "found beside another": ({"split": "other"}, range(100, 108), "the test split of set"),
    "none": ({"splits": {"train": "other", "test": None}}, range(200, 206), f"the other split of set{TRAINED}"),
    "an old name": ({"test_split": "test"}, range(100, 108), "the test split of set"),
    "a slice": ({"splits": {"train": "train[:60%]", "test": "train[60%:]"}}, range(6, 10), "the train[60%:] split"),
    "of the training rows": ({"splits": {"test": "train[60%:]"}}, range(6, 10), f"split of set{AMONG}"),
    "validation alone": ({"splits": {"validation": "test[:5]", "test": None}}, range(100, 105), "the test[:5] split"),
    "two": ({"splits": {"test": "test[:4]+train[:1]"}}, [100, 101, 102, 103, 0], f"split of set{AMONG}"),
}  # fmt: skip


@pytest.mark.parametrize(("options", "held", "words"), SHOWN.values(), ids=SHOWN)
def test_the_rows_to_show_are_those_that_are_measured_on(tmp_path, options, held, words):
    path = stored(tmp_path / "set", train=10, test=8, other=6)
    shown = HubData(path, COLUMNS, **options).sample()
    assert [int(value[0]) for value in shown.values["table"]] == [*held]
    assert words in shown.title and shown.held_out == (TRAINED not in shown.title and "among them" not in shown.title)


def test_rows_that_were_cut_off_are_those_of_training(tmp_path):
    path = stored(tmp_path / "set", train=40)
    for bad in ("error", "skip"):
        source = HubData(path, COLUMNS, validation_share=0.25, ids="group", on_bad_row=bad)
        data, shown, probed = source.load(), source.sample(), source.sample(role="train")
        assert [int(value[0]) for value in shown.values["table"]] == numbers(data.evaluation.validation)
        assert [int(value[0]) for value in probed.values["table"]] == numbers(data.train)
        assert shown.held_out and not probed.held_out


@pytest.mark.parametrize(
    ("first", "second", "shared"),
    [("a", "b", False), ("a", "a", True), ("a[:50%]", "a[50%:]", False), ("a[:51%]", "a[50%:]", True),
     ("all", "b", True), ("a[90%:]", "a", True), ("c[:2]", "c[2:]", None),
     ("b+a[:10]", "a[10:]", False), ("b+a[:11]", "a[10:]", True)],
)  # fmt: skip
def test_whether_two_splits_share_rows_is_known_by_their_lengths(first, second, shared):
    assert share_rows(first, second, {"a": 100, "b": 10}) is shared


def test_of_many_rows_some_are_shown_from_all_over(tmp_path):
    path = stored(tmp_path / "set", train=6, test=50)
    shown = HubData(path, COLUMNS).sample(5)
    assert [int(value[0]) for value in shown.values["table"]] == [100, 112, 124, 137, 149]
    assert shown.title == "5 of the 50 rows of the test split of set"


def test_a_stream_shows_its_first_rows_and_says_where_training_rows_are_among_them(tmp_path):
    """Of a slice it is not the whole split that is shown, where the number of rows is known."""
    rows(0, 40).to_parquet(str(tmp_path / "train.parquet"))
    written = {"path": "parquet", "options": {"data_files": {"train": str(tmp_path / "train.parquet")}}}
    for test, words in (
        (None, TRAINED),
        ("train", ", training rows among them"),
        ("train[50%:]", ", training rows among"),
    ):
        shown = HubData(**written, columns=COLUMNS, streaming=True, splits={"test": test}).sample(5)
        assert [int(value[0]) for value in shown.values["table"]] == [0, 1, 2, 3, 4]
        assert "the 5 first rows of the train split of parquet" in shown.title and words in shown.title
        assert not shown.held_out
    opener = HubData(**written, columns=COLUMNS).opener()
    opener.lengths = lambda: {"train": 40}
    source = HubData(
        **written, columns=COLUMNS, streaming=True, splits={"train": "train[:50%]", "test": "train[50%:]"}
    )
    shown = hub_sample(SplitReader(source, opener, {}), 5, "test")
    assert [int(value[0]) for value in shown.values["table"]] == [20, 21, 22, 23, 24] and shown.held_out
    assert shown.title == "the 5 first rows of the train[50%:] split of parquet"


MISTAKES = {
    "an unknown name": ({"splits": {"val": "test"}}, "unknown key data.splits.val: known: test, train, validation"),
    "twice train": ({"split": "train", "splits": {"train": "train"}}, "data.split is the old name of data.splits"),
    "twice test": ({"test_split": "test", "splits": {"test": None}}, "data.test_split is the old name of data.splits"),
    "no rows to train on": ({"splits": {"train": None}}, "data.splits.train=None: write the rows to train on"),
    "an unknown split": ({"splits": {"test": "tets[:5]"}}, "data.splits.test='tets.*no such split 'tets'; did you"),
    "an old unknown split": ({"test_split": "tets"}, "data.test_split='tets': no such split"),
    "no split at all": ({"splits": {"test": "test[:"}}, "cannot be opened: Unrecognized instruction"),
    "an empty split": ({"splits": {"test": "test[:0]"}}, "data.splits.test has no rows"),
    "a share below": ({"validation_share": -0.1}, "data.validation_share=-0.1: write a number above 0 and below 1"),
    "a share above": ({"validation_share": 1.0}, "data.validation_share=1.0: write a number above 0 and below 1"),
    "no share": ({"validation_share": float("nan")}, "data.validation_share=nan: write"),
    "a share of a stream": ({"validation_share": 0.1, "streaming": True}, "a stream cannot be cut; write data.splits"),
    "a share and a split": ({"validation_share": 0.1, "splits": {"validation": "test"}},
        "there is a validation split, 'test': leave the share out, or write data.splits.validation: null"),
    "a share of one id": ({"validation_share": 0.1, "ids": "group", "split": "train[:4]"},
        "data.validation_share=0.1: all of the 4 rows have one id"),
    "a label": ({"labels": {"own": "grup"}}, "data.labels.own='grup': did you mean 'group'"),
    "a label of a stream": ({"labels": {"own": "grup"}, "streaming": True}, "data.labels.own='grup': did you mean"),
}  # fmt: skip


@pytest.mark.parametrize(("options", "words"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_named(tmp_path, options, words):
    path = stored(tmp_path / "set", train=6, test=3)
    with pytest.raises(UserError, match=words):
        HubData(path, COLUMNS, **options).load()


def test_a_share_and_a_split_that_is_found_are_refused(tmp_path):
    path = stored(tmp_path / "set", train=6, dev=3)
    with pytest.raises(UserError, match="there is a validation split, 'dev': leave the share out"):
        HubData(path, COLUMNS, validation_share=0.5).load()
    assert len(used(path, validation_share=0.5, splits={"validation": None})["train"]) == 3


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
@pytest.mark.parametrize("ids", [None, "group"])
def test_a_share_is_cut_by_whole_ids(tmp_path, share, ids):
    """Forty rows, and four of each group; the same ones again, and in their order."""
    path = stored(tmp_path / "set", train=40)
    data = HubData(path, COLUMNS, ids=ids, validation_share=share).load()
    train, validation = data.evaluation.train, data.evaluation.validation
    assert train.rows is data.train and data.evaluation.test is validation
    assert sorted(numbers(train) + numbers(validation)) == list(range(40))
    step = 1 if ids is None else 4
    assert len(validation) == {0.1: 4, 0.5: 20, 0.99: 40 - step}[share]
    assert not set(train.ids) & set(validation.ids)
    for split in (train, validation):
        assert numbers(split) == sorted(numbers(split)) and split.ids.tolist() == [n // step for n in numbers(split)]
    assert numbers(HubData(path, COLUMNS, ids=ids, validation_share=share).load().train) == numbers(train)
    if share == 0.5:
        assert numbers(train) != list(range(20)) and numbers(train) != list(range(20, 40))  # it is drawn


def test_captions_of_a_row_and_words_stay_on_one_side(tmp_path):
    """A tokenizer of words is made of what is trained on."""
    words = [[f"word{number}", f"other{number}"] for number in range(10)]
    table = datasets.Dataset.from_dict({"a": [[0.0]] * 10, "words": words})
    datasets.DatasetDict(train=table).save_to_disk(tmp_path / "set")
    columns = {"table": "a", "text": "words"}
    data = HubData(str(tmp_path / "set"), columns, validation_share=0.3, tokenizers={"text": "words"}).load()
    train, validation = (list(own.sentences("words")) for own in (data.train, data.evaluation.validation.rows))
    assert len(train) == 14 and len(validation) == 6
    assert {text[4:] for text in train if text.startswith("word")} == {text[5:] for text in train if "other" in text}
    known = set(data.tokenizers["text"].get_vocab())
    assert set(train) <= known and not set(validation) & known


@pytest.mark.parametrize(("share", "count"), [(0.2, 20), (0.001, 1), (0.7, 70)])
def test_the_share_is_of_the_rows_and_not_of_the_ids(tmp_path, share, count):
    """One id has 60 of 100 rows; wherever it comes in the draw, others make up the share where it does not fit."""
    table = {"a": [[float(i)] for i in range(100)], "group": [max(0, i - 59) for i in range(100)]}
    datasets.Dataset.from_dict(table).save_to_disk(tmp_path / "set")
    rows = HubData(str(tmp_path / "set"), COLUMNS, ids="group").load().train
    drawn = set()
    for seed in range(30):
        first, second = rows.cut(share, seed)
        assert len(first) + len(second) == 100 and not set(first.ids) & set(second.ids)
        assert len(second) == count or (share == 0.7 and len(second) == 40 and 0 not in second.ids)
        drawn.add(tuple(second.ids))
    assert len(drawn) > 5


def test_bases_and_choices():
    assert bases("train[:90%]+ extra(pct1_dropremainder)") == {"train", "extra"}
    assert choose_splits({}, ["dev", "val", "train"]) == {"train": "train", "validation": "val"}
    assert choose_splits({"train": "val[:5]"}, ["dev", "val"]) == {"train": "val[:5]", "validation": "dev"}
    assert choose_splits({"test": None}, ["test"]) == {"train": "train"}


def test_evaluation_holds_arrays_of_the_rows(tmp_path):
    data = HubData(stored(tmp_path / "set", train=8, test=4), COLUMNS).load().evaluation
    for split in (data.train, data.test):
        assert split.ids.dtype == np.int64 and split.items["table"].dtype == np.int64 and split.labels == {}
    assert data.labels == {} and data.columns == COLUMNS and data.benchmarks is None


def test_the_kept_recipe_names_the_splits_that_were_found():
    """So that a card says what was measured on, and the run is measured on it again."""
    values = {"data": {"name": "dataset", "path": "user/rows"}}
    assert with_splits(values, {}) == values
    assert with_splits(values, {"train": "train", "test": "dev"})["data"]["splits"] == {
        "train": "train",
        "test": "dev",
    }
    written = {"data": {"splits": {"test": "dev[:10]", "validation": None}}}
    found = with_splits(written, {"train": "train", "test": "dev[:10]"})["data"]["splits"]
    assert found == {"train": "train", "test": "dev[:10]", "validation": None}
    assert with_splits({"data": {"test_split": "dev"}}, {"train": "train", "test": "dev"})["data"] == {
        "test_split": "dev"
    }


def _without_rows(folder, kind):
    if kind == "saved":
        return stored(folder / "saved", train=6, test=0), {}
    file = folder / f"rows.{kind}"
    if kind == "parquet":
        rows(0, 0).to_parquet(file)
    else:
        file.write_text("a,group\n" if kind == "csv" else "", encoding="utf-8", newline="")
    return kind, {"options": {"data_files": {"train": str(file)}}}


@pytest.mark.parametrize("kind", ["csv", "json", "parquet", "saved"])
def test_files_without_rows_are_told(kind, tmp_path):
    path, options = _without_rows(tmp_path, kind)
    with pytest.raises(UserError, match="one of its files or splits holds no row"):
        HubData(path, COLUMNS, **options).load()


def test_a_column_names_the_split_of_each_row(tmp_path):
    rows = [
        {"text": f"row {row}", "number": float(row), "fold": ("train", "dev", "test", "train")[row % 4]}
        for row in range(16)
    ]
    file = tmp_path / "rows.csv"
    pd.DataFrame(rows).to_csv(file, index=False)
    options = {"columns": {"text": "text"}, "options": {"data_files": str(file)}}

    def loaded(**more):
        return HubData("csv", **{**options, "split_column": "fold", **more}).load()

    found = loaded()
    assert found.splits == {"train": "train", "validation": "dev", "test": "test"}
    assert [row["text"] for row in found.train] == [f"row {row}" for row in range(16) if row % 4 in (0, 3)]
    assert [row["text"] for row in found.evaluation.test.rows] == ["row 2", "row 6", "row 10", "row 14"]
    part = loaded(splits={"train": "train[:50%]+dev", "validation": None})
    assert [row["text"] for row in part.train] == [
        "row 0",
        "row 3",
        "row 4",
        "row 7",
        "row 1",
        "row 5",
        "row 9",
        "row 13",
    ]
    stream = loaded(streaming=True, shuffle_buffer=0, splits={"train": "dev"}).train
    assert [row["text"] for row in itertools.islice(iter(stream), 4)] == ["row 1", "row 5", "row 9", "row 13"]
    for more, message in (
        ({"split_column": "folds"}, "no such column; did you mean 'fold'"),
        ({"splits": {"train": "tain"}}, "data.splits.train='tain': no such split 'tain'; did you mean 'train'"),
        ({"split_column": "number"}, r"row 0 holds 0\.0: write the name of its split"),
        ({"options": {"data_files": {"train": str(file), "extra": str(file)}}}, "the splits train, extra already"),
    ):
        with pytest.raises(UserError, match=message):
            loaded(**more)
    odd = {"text": list("abcd"), "fold": ["a[b", "x+y", "x+y", "Training set"]}  # no slices, but names
    datasets.Dataset.from_dict(odd).save_to_disk(tmp_path / "odd")
    for name, count in (("a[b", 1), ("x+y", 2), ("Training set", 1)):
        named = HubData(str(tmp_path / "odd"), columns={"text": "text"}, split_column="fold", splits={"train": name})
        assert len(named.load().train) == count
    classes = datasets.Dataset.from_dict({"text": list("abcd"), "fold": [0, 1, 1, 0]})
    classes = classes.cast_column("fold", datasets.ClassLabel(names=["test", "train"]))
    classes.save_to_disk(tmp_path / "classes")
    found = HubData(str(tmp_path / "classes"), columns={"text": "text"}, split_column="fold").load()
    assert [row["text"] for row in found.train] == ["b", "c"] and len(found.evaluation.test.rows) == 2
