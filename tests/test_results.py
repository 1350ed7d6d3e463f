"""The measurements in `metrics.json`, and runs side by side as tables."""

import json

import numpy as np
import pytest

from hf_latent.evaluation import Measurement
from hf_latent.results import BLOCK, columns, group_of, markdown, read, table, written

RECALL = Measurement(
    "text_to_image_r1",
    52.25,
    "Text to image, recall at 1",
    "retrieval",
    "%",
    0.5,
    rows=200,
    reading="share of texts",
    headline=True,
    short="t2i_r1",
    metric="recall_at_1",
    task="retrieval",
    information="redundant",
    outcomes=np.zeros(200),
)
RANK = Measurement("text_to_image_median_rank", 3.0, "Median rank", "retrieval", chance=100, better="lower")
GAP = Measurement("gap_centroid", 0.5, "Gap", "gap", better="none", headline=True)
MINE = Measurement("mine", 2.0, "Mine", "my_group", headline=True)
PLAIN = Measurement("grounding_chance", 12.0, "", "")
FOUND = [GAP, MINE, RECALL, RANK, PLAIN]


def test_what_is_written_is_read():
    metrics = written(FOUND) | {"train_loss": 1.5, "seed": 0}
    assert {key: metrics[key] for key in ("gap_centroid", "grounding_chance")} == {
        "gap_centroid": 0.5,
        "grounding_chance": 12,
    }
    assert set(metrics[BLOCK]) == {m.key for m in FOUND if m is not PLAIN}
    again = read(json.loads(json.dumps(metrics)))
    assert again == {m.key: m for m in (RECALL, RANK, GAP, MINE)}  # in the order of a card, unknown groups last
    assert again["text_to_image_r1"].outcomes is None


def test_a_block_keeps_what_is_not_empty():
    assert written([GAP])[BLOCK]["gap_centroid"] == {
        "title": "Gap",
        "group": "gap",
        "better": "none",
        "headline": True,
        "metric": "accuracy",
        "task": "feature-extraction",
    }
    zero = Measurement("r2", 0.5, "R2", "probes", chance=0.0, rows=0)
    assert read(written([zero]))["r2"].chance == 0 and read(written([zero]))["r2"].rows == 0


def test_a_folder_without_a_block_shows_its_numbers_by_key():
    old = {"text_to_image_r1": 52.0, "class_chance": 50.0, "train_loss": 1.0, "train_runtime": 3.0, "seed": 7}
    old |= {"train_samples_per_second": 9.0, "epoch": None, "name": "x", "done": True, "list": [1]}
    found = read(old)
    assert list(found) == ["text_to_image_r1"]
    measurement = found["text_to_image_r1"]
    assert (measurement.value, measurement.title, measurement.headline) == (52, "text_to_image_r1", True)
    assert measurement.better == "none" and group_of(measurement).title == "Measurements"
    assert "text_to_image_r1" in table({"old": found})


def test_numbers_that_nobody_describes_are_not_shown():
    assert list(read(written([GAP]) | {"more": 5.0})) == ["gap_centroid"]
    assert read({BLOCK: {}, "more": 5.0}) == {}
    assert list(read({BLOCK: ["no"], "more": 5.0})) == ["more"]  # that is no block


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None, "5", True, [5], {"a": 5}, 10**400])
def test_what_is_no_number_is_left_out(value):
    assert read({BLOCK: {"a": {"title": "A", "group": "probes"}}, "a": value}) == {}
    assert read({"a": value}) == {}
    found = read({BLOCK: {"a": {"title": "A", "chance": value, "rows": value}}, "a": 5})["a"]
    assert (found.chance, found.rows) == (None, None)


@pytest.mark.parametrize(
    "field", ["title", "group", "unit", "reading", "short", "metric", "task", "better", "information"]
)
@pytest.mark.parametrize("value", [5, None, ["x"], {"x": 1}, "x" * 301, True])
def test_what_is_no_short_text_is_left_out(field, value):
    """Other people's files are read, too."""
    plain = read({BLOCK: {"a": {}}, "a": 5})["a"]
    assert read({BLOCK: {"a": {field: value}}, "a": 5})["a"] == plain
    assert plain == Measurement("a", 5.0, "a", "other")


def test_texts_are_one_line_that_commands_no_terminal():
    found = read({BLOCK: {"a": {"title": "A\n## B\x1b[31m \u202e", "short": "x\ty", "group": "\x07g"}}, "a": 5})["a"]
    assert (found.title, found.short, found.group) == ("A ## B\\x1b[31m \\u202e", "x y", "\\x07g")
    assert group_of(found).title == "\\x07g"
    empty = read({BLOCK: {"a": {"title": " ", "group": "\n"}}, "a": 5})["a"]
    assert (empty.title, empty.group) == ("a", "other")


@pytest.mark.parametrize("key", ["a\nb", "\x1b[31m", "k" * 301, " a", "", 5])
def test_keys_are_one_line_that_commands_no_terminal(key):
    assert read({BLOCK: {key: {"title": "A"}}, key: 5}) == read({key: 5}) == {}


def test_directions_and_parts_are_known_words():
    for field, known in (("better", ("lower", "none")), ("information", ("unique", "synergistic"))):
        for word in known:
            assert getattr(read({BLOCK: {"a": {field: word}}, "a": 5})["a"], field) == word
    found = read({BLOCK: {"a": {"better": "sideways", "information": "all", "headline": "yes", "key": "b"}}, "a": 5})
    assert found["a"] == Measurement("a", 5.0, "a", "other")


def test_a_block_that_describes_nothing_is_read():
    assert read({BLOCK: {"a": "title", "b": None, "c": 5}, "a": 1, "b": 2, "c": 3}) == {}
    assert read({BLOCK: {"a": {"outcomes": [1], "value": 9, "colour": "red"}}, "a": 1})["a"].value == 1


def test_a_table_has_a_row_for_each_run_and_a_column_for_each_headline():
    other = Measurement("probe_shape", 90.0, "Shape", "probes", "%", headline=True)
    rows = {"first": read(written(FOUND)), "the second\n": {other.key: other}}
    assert list(columns(rows)) == ["text_to_image_r1", "probe_shape", "gap_centroid", "mine"]
    assert table(rows).splitlines() == [
        "run         t2i_r1  probe_shape  gap_centroid  mine",
        "first         52.2          n/a         0.500  2.000",
        "the second     n/a         90.0           n/a   n/a",
    ]
    assert table({}) == "run"


def test_a_column_is_described_by_the_first_run_that_has_it():
    later = Measurement("gap_centroid", 9.0, "Another", "gap", "%", headline=True)
    assert columns({"a": {}, "b": {GAP.key: GAP}, "c": {later.key: later}}) == {GAP.key: GAP}


def test_markdown_has_means_spreads_and_chance():
    known = {m.key: m for m in (RECALL, RANK, GAP)}
    summary = {
        "plain": {"text_to_image_r1": {"mean": 50.0, "std": 2.04, "runs": 3}},
        "one": {"gap_centroid": {"mean": 0.25, "std": 0.0, "runs": 1}},
    }
    assert markdown(summary, known).splitlines() == [
        "| structure | t2i_r1 | gap_centroid |",
        "|---|---:|---:|",
        "| plain | 50.0 ± 2.0 |  |",
        "| one |  | 0.250 |",
        "| chance | 0.5 |  |",
    ]
    assert "chance" not in markdown({"one": summary["one"]}, known)  # nothing in it has a level
    odd = Measurement("a|b", 1.0, "Odd", "probes", headline=True)
    row = {"mean": 1.0, "std": 0.0, "runs": 1}
    assert markdown({"one": {"a|b": row}}, {"a|b": odd}).startswith("| structure | a\\|b |\n|---|---:|\n")
