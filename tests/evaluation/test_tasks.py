"""How often a downstream head is right, on answers that are known by hand."""

import numpy as np
import pytest

from hf_latent.data.loaded import Label, Target
from hf_latent.data.loading import SOURCES
from hf_latent.errors import UserError
from hf_latent.evaluation import Tasks
from tests.evaluation.planted import Planted, chances, data_of, embeddings, split, values

# The largest of each row: 0, 1, 1, 2, 0, 0.
SCORES = np.eye(3)[[0, 1, 1, 2, 0, 0]]
TRUTH = np.array([0, 1, 0, 2, 1, 0])
GROUPS = np.array([1, 0, 0, 0, 0, 1])
LABELS = {"right": Label(names=("a", "b", "c")), "sort": Label(names=("two", "one"), titles=("of two", "of one"))}


def run(kind="answers", groups="sort"):
    test = split(6, {"right": TRUTH, "sort": GROUPS})
    data = data_of(test, labels=LABELS, target=Target(kind, "right", groups))
    encode = Planted((test, embeddings(image=np.eye(6))), answers=SCORES)
    Tasks().check(data)
    return Tasks().run(encode, data), encode, test


@pytest.mark.parametrize(("kind", "name"), [("answers", "answer"), ("classes", "class")])
def test_accuracy_of_a_head(kind, name):
    """Right in rows 0, 1, 3 and 5: both of the first kind, two of four of the second.

    Of label 0 two of three are right, of 1 one of two, of 2 the only one.
    """
    measured, encode, test = run(kind)
    found, levels = values(measured), chances(measured)
    assert found[f"{name}_accuracy"] == pytest.approx(100 * 4 / 6)
    assert found[f"{name}_accuracy_balanced"] == pytest.approx(100 * (2 / 3 + 1 / 2 + 1) / 3)
    assert found[f"{name}_accuracy_one"] == 100 and found[f"{name}_accuracy_two"] == 50
    assert levels[f"{name}_accuracy"] == pytest.approx(50)
    assert levels[f"{name}_accuracy_balanced"] == pytest.approx(100 / 3)
    assert levels[f"{name}_accuracy_one"] == 100 and levels[f"{name}_accuracy_two"] == pytest.approx(50)
    assert {rows is test.rows for rows, _ in encode.asked} == {True}
    assert {tuple(answers or ()) for _, answers in encode.asked} == {("a", "b", "c") if kind == "answers" else ()}


def test_measurements_say_what_they_are():
    measured = {m.key: m for m in run()[0]}
    assert (
        measured["answer_accuracy_one"].title == "Right answer: of one" and measured["answer_accuracy_one"].rows == 2
    )
    assert measured["answer_accuracy"].headline and measured["answer_accuracy"].group == "answers"
    assert not measured["answer_chance"].group  # a plain number, which stands beside the accuracy
    np.testing.assert_array_equal(measured["answer_accuracy"].outcomes, [1, 1, 0, 1, 0, 1])
    assert measured["answer_accuracy"].value == pytest.approx(100 * measured["answer_accuracy"].outcomes.mean())


def test_rows_without_kinds():
    found = values(run(groups=None)[0])
    assert set(found) == {"answer_accuracy", "answer_accuracy_balanced", "answer_chance"}


def test_the_answers_are_what_the_text_tower_reads():
    data = data_of(split(6), labels=LABELS, target=Target("answers", "right"))
    assert Tasks().sentences(data) == ["a", "b", "c"]
    assert Tasks().sentences(data_of(split(6), labels=LABELS, target=Target("classes", "right"))) == []


def test_rows_without_a_task_are_refused():
    with pytest.raises(UserError, match="tasks need rows with answers or classes, which this data has not"):
        Tasks().check(data_of(split(6), labels=LABELS))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["questions", "entailment", "statements", "text_assignment"])
def test_the_commonest_answer_reaches_chance_in_the_tasks_that_ship(name):
    """And all that is measured of them has a title; the chance of a kind is that of its own commonest answer."""
    data = SOURCES[f"trifeature_{name}"](image_size=8, renders=1, test_renders=1).load().evaluation
    label, truth = data.labels[data.target.label], data.test.labels[data.target.label]
    guess = np.eye(len(label.names))[np.full(len(truth), np.bincount(truth).argmax())]
    measured = Tasks().run(Planted((data.test, embeddings(image=guess)), answers=guess), data)
    found = {m.key: m for m in measured}
    prefix = "answer" if data.target.kind == "answers" else "class"
    assert {m.key for m in measured if not m.group} == {f"{prefix}_chance"}
    assert found[f"{prefix}_accuracy"].value == pytest.approx(found[f"{prefix}_accuracy"].chance)
    assert found[f"{prefix}_chance"].value == pytest.approx(found[f"{prefix}_accuracy"].chance)
    balanced = found[f"{prefix}_accuracy_balanced"]
    assert balanced.value == pytest.approx(balanced.chance) == pytest.approx(100 / len(np.unique(truth)))
    kinds = data.test.labels[data.target.groups]
    for number, kind in enumerate(data.labels[data.target.groups].names):
        own = truth[kinds == number]
        measurement = found[f"{prefix}_accuracy_{kind}"]
        assert measurement.rows == len(own) and measurement.chance == pytest.approx(
            100 * np.bincount(own).max() / len(own)
        )
