"""Text assignment on captions of any data set: what is drawn, how often, and what is refused."""

import datasets
import numpy as np
import pytest
from PIL import Image

from hf_latent.data.source import Reader
from hf_latent.data.text_assignment import TextAssignmentData, draw_assignments
from hf_latent.errors import UserError
from hf_latent.recipe import parse_data

COLUMNS = {"image": "picture", "text": "caption"}
HEAD = Reader({"image": {"encoder": "cnn"}, "text": {"encoder": "auto"}}, labels="classes", images=2)


def rows(count, captions=1):
    """Pictures whose red value is their number, with captions that name it."""
    return {
        "picture": [Image.new("RGB", (8, 8), (number, 0, 0)) for number in range(count)],
        "caption": [[f"number {number}, said {n}" for n in range(captions)] for number in range(count)],
    }


def saved(folder, **splits):
    datasets.DatasetDict({name: datasets.Dataset.from_dict(own) for name, own in splits.items()}).save_to_disk(folder)
    return str(folder)


def number_of(picture):
    return int(np.asarray(picture)[0, 0, 0])


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    path = saved(tmp_path_factory.mktemp("pairs") / "own", train=rows(10, 3), validation=rows(6), test=rows(7))
    return TextAssignmentData(path, COLUMNS).load_for(HEAD)


def test_rows_hold_two_pictures_a_caption_and_which_it_is_of(loaded):
    evaluation = loaded.evaluation
    splits = {"train": loaded.train, "validation": evaluation.validation.rows, "test": evaluation.test.rows}
    for own in splits.values():
        for i in range(len(own)):
            row = own[i]
            meant = int(row["caption"].split()[1].rstrip(","))
            shown = [number_of(picture) for picture in row["picture"]]
            assert len(set(shown)) == 2 and row["ids"] == meant
            assert row["labels"] == (shown.index(meant) if meant in shown else 2)
    assert [np.bincount(own.labels).tolist() for own in splits.values()] == [[10, 10, 10], [2, 2, 2], [3, 2, 2]]
    assert len({row["caption"] for row in map(loaded.train.__getitem__, range(30))}) == 30  # each caption once
    assert loaded.target.names == ("first", "second", "neither") and evaluation.train is None
    assert evaluation.test.labels["class"].tolist() == splits["test"].labels.tolist()
    assert loaded.columns == COLUMNS and list(loaded.train.sentences("caption"))[:2] == [
        "number 0, said 0",
        "number 0, said 1",
    ]


def test_the_draw_is_the_same_again_and_another_of_another_seed_or_split(loaded, tmp_path):
    path = saved(tmp_path / "own", train=rows(10, 3), test=rows(10, 3))
    first, again, other = (TextAssignmentData(path, COLUMNS, seed=seed).load_for(HEAD) for seed in (42, 42, 7))
    assert np.array_equal(first.train.shown, loaded.train.shown)  # of equal rows, wherever they lie
    assert np.array_equal(first.train.labels, loaded.train.labels)
    assert np.array_equal(first.evaluation.test.rows.shown, again.evaluation.test.rows.shown)
    assert not np.array_equal(first.train.labels, other.train.labels)
    assert not np.array_equal(first.train.shown, first.evaluation.test.rows.shown)
    data = TextAssignmentData(path, COLUMNS).evaluation_for(HEAD, train=True)
    assert np.array_equal(data.test.rows.shown, first.evaluation.test.rows.shown) and data.target.kind == "classes"


def test_validation_rows_alone_are_both_and_columns_are_found(tmp_path):
    path = saved(tmp_path / "own", train=rows(4), validation=rows(5))
    loaded = TextAssignmentData(path, {"image": "jpg|picture", "text": "caption|txt"}).load_for(HEAD)
    assert loaded.columns == COLUMNS and len(loaded.train[0]["picture"]) == 2
    assert loaded.evaluation.test is loaded.evaluation.validation and len(loaded.evaluation.test) == 5


def test_no_picture_and_no_place_tells_the_class():
    """Of 3,000 captions, 10 a picture: each picture is shown as often beside each class, right or wrong."""
    ids = np.repeat(np.arange(300), 10)
    shown, labels = draw_assignments(ids, map(str, range(3000)), (0, 0))
    assert np.bincount(labels).tolist() == [1000, 1000, 1000]
    own = ids[shown] == ids[:, None]
    assert np.array_equal(own, np.stack([labels == 0, labels == 1], axis=1))
    assert (ids[shown[:, 0]] != ids[shown[:, 1]]).all()
    wrong = np.bincount(ids[shown][~own], minlength=300)  # 4,000 of them, 13.3 of a picture
    assert wrong.mean() == pytest.approx(40 / 3) and wrong.std() == pytest.approx((40 / 3) ** 0.5, rel=0.15)


def test_pictures_that_have_the_caption_too_are_not_beside_it():
    captions = ["a cat", "A  cat", "a dog", "a bird", "a cat", "a fish"]
    for seed in range(20):
        shown, labels = draw_assignments(np.arange(6), captions, (seed,))
        for row in (0, 1, 4):
            others = set(shown[row].tolist()) - {row}
            assert others <= {2, 3, 5} and len(others) == (2 if labels[row] == 2 else 1)


def test_few_ids_are_found_where_draws_do_not_meet_them(monkeypatch):
    monkeypatch.setattr("hf_latent.data.text_assignment.TRIES", 0)
    ids = np.array([0] * 50 + [1, 2])
    shown, labels = draw_assignments(ids, map(str, range(52)), (3,))
    for row in range(52):
        others = [place for place in shown[row] if place != row]
        assert ids[shown[row, 0]] != ids[shown[row, 1]]
        assert all(ids[place] != ids[row] for place in others) and len(others) == (2 if labels[row] == 2 else 1)


@pytest.mark.parametrize(
    ("own", "options", "said"),
    [
        (
            rows(1),
            {},
            "the train rows: text assignment needs rows of three ids or more, and these are 1: read more rows",
        ),
        (rows(2), {}, "these are 2: read more rows"),
        ({**rows(5), "kind": ["a"] * 5}, {"ids": "kind"}, "these are 5 rows of 1: leave data.ids out"),
        ({**rows(4), "caption": ["a cat"] * 4}, {}, "the caption of row 0 is that of all other ids but one or none"),
        ({**rows(4), "caption": ["a", "b", " ", "c"]}, {}, "row 2, column 'caption' is empty"),
        ({**rows(4), "caption": [1, 2, 3, 4]}, {}, "data.columns.text='caption' is no column of text"),
        (rows(4), {"columns": {"image": "picture"}}, "data.columns.text: text assignment needs one column"),
        (
            rows(4),
            {"columns": {**COLUMNS, "image": ["picture", "picture"]}},
            "data.columns.image: text assignment needs",
        ),
        (rows(4), {"target": "caption"}, "unknown key data.target"),
        (rows(4), {"streaming": True}, "unknown key data.streaming"),
        (rows(4), {"on_missing": "use"}, "data.on_missing='use'"),
        (rows(4), {"seed": -1}, "data.seed=-1"),
    ],
)
def test_what_cannot_be_assigned_is_said(own, options, said, tmp_path):
    section = {"name": "text_assignment", "path": saved(tmp_path / "own", train=own), "columns": COLUMNS}
    with pytest.raises(UserError) as raised:
        parse_data({**section, **options}).load_for(HEAD)
    assert said in str(raised.value)


def test_a_model_of_one_image_is_refused(tmp_path):
    data = TextAssignmentData(saved(tmp_path / "own", train=rows(4)), COLUMNS)
    with pytest.raises(UserError, match="write model.type: latent_albef_visual_reasoning"):
        data.load_for(Reader(HEAD.encoders, labels="classes"))


def test_a_broken_picture_is_named_and_left_out_on_request(tmp_path):
    own = rows(6)
    stored = [{"bytes": None, "path": str(tmp_path / f"{number}.png")} for number in range(6)]
    for number, picture in enumerate(own["picture"]):
        picture.save(tmp_path / f"{number}.png")
    (tmp_path / "4.png").write_bytes(b"no picture")
    listed = datasets.Dataset.from_dict({"picture": stored, "caption": own["caption"]})
    listed.cast_column("picture", datasets.Image()).save_to_disk(tmp_path / "own")
    train = TextAssignmentData(str(tmp_path / "own"), COLUMNS).load_for(HEAD).train
    with pytest.raises(UserError, match="row 4, column 'picture' is not an image"):
        [train[i] for i in range(6)]
    skipped = TextAssignmentData(str(tmp_path / "own"), COLUMNS, on_bad_row="skip").load_for(HEAD).train
    assert sorted(skipped[i]["ids"] for i in range(len(skipped))) == [0, 1, 2, 3, 5]


def test_a_sample_is_of_pairs(tmp_path):
    data = TextAssignmentData(saved(tmp_path / "own", train=rows(9), test=rows(8)), COLUMNS)
    sample = data.sample(6, HEAD)
    assert len(sample) == 6 and sample.target.kind == "classes" and sample.held_out
    for pair, text, label in zip(sample.values["image"], sample.values["text"], sample.known["class"], strict=True):
        shown, meant = [number_of(picture) for picture in pair], int(text.split()[1].rstrip(","))
        assert label == (shown.index(meant) if meant in shown else 2)


def test_what_it_reads_of_the_machine_is_told(tmp_path):
    assert TextAssignmentData("user/pairs", COLUMNS).local_reads() == {}
    path = str(tmp_path)
    assert TextAssignmentData(path, COLUMNS).local_reads() == {"data.path": path}
