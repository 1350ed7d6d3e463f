"""How often a downstream head is right, on answers that are known by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch

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


class Captioned(list):
    """Rows of a picture and a question."""

    def __init__(self, questions):
        picture = np.zeros((8, 8, 3), np.uint8)
        super().__init__({"a": picture, "b": question} for question in questions)

    def sentences(self, column):
        return (row[column] for row in self)


@pytest.mark.parametrize(
    ("kinds", "reads"),
    [
        ({"photo": "image", "question": "text"}, True),
        ({"photo": "image", "question": "text", "force": "series"}, True),
        ({"image": "features", "text": "features"}, False),
    ],
)
def test_pictures_and_texts_are_known_by_their_kinds(tmp_path, kinds, reads):
    """Whatever the modalities are called; and what is called a text may be features."""
    first, second, *_ = kinds
    test = replace(split(6, {"right": TRUTH}), rows=Captioned(["u", "v", "u", "w", "v", "u"]))
    train = replace(split(3, {"right": [0, 1, 2]}), rows=Captioned(["u", "v", "w"]))
    data = data_of(test, labels=LABELS, target=Target("classes", "right"), train=train)
    data = replace(data, columns={first: "a", second: "b"})
    encode = Planted((test, embeddings(**{first: np.eye(6)})), answers=SCORES, kinds=kinds)
    found = {m.key: m for m in Tasks().run(encode, data)}
    assert found["class_accuracy"].task == ("visual-question-answering" if reads else "other")
    assert ("class_accuracy_text_only" in found) == reads
    Tasks().draw(encode, data, [*found.values()], tmp_path, "run")
    assert (tmp_path / "predictions.png").exists() == reads
    if reads:  # of u, v, u, w, v, u: 0, 1, 0, 2, 1, 0
        assert found["class_accuracy_text_only"].value == pytest.approx(100)


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


class ReadsAlone(Planted):
    """A head that can do with one modality, and says something else then.

    Args:
        alone: Modality -> what it says from it.
    """

    def __init__(self, test, answers, alone):
        super().__init__((test, embeddings(a=np.eye(6), b=np.eye(6))), answers=answers)
        self.abilities |= {"alone"}
        self.alone = alone

    def answer(self, rows, answers, only=None):
        return super().answer(rows, answers) if only is None else torch.tensor(self.alone[only])


def measured_alone(kind, label, truth, answers, alone):
    there = np.array([1, 1, 1, 1, 0, 0], dtype=bool)
    test = replace(split(6, {"right": truth}), present={"b": there})
    data = data_of(test, "a", "b", train=test, labels={"right": label}, target=Target(kind, "right"))
    encode = ReadsAlone(test, answers, alone)
    Tasks().check(data)
    return {m.key: m for m in Tasks().run(encode, data)}


def test_classes_from_each_modality_alone():
    """From a, rows 0, 3 and 5 are right; of the four rows that have b, all but one."""
    alone = {"a": np.eye(3)[[0, 2, 2, 2, 0, 0]], "b": np.eye(3)[[0, 1, 1, 2, 2, 2]]}
    found = measured_alone("classes", LABELS["right"], TRUTH, SCORES, alone)
    assert found["class_accuracy"].value == pytest.approx(100 * 4 / 6)
    assert (found["class_accuracy_a_alone"].value, found["class_accuracy_a_alone"].rows) == (50.0, 6)
    assert (found["class_accuracy_b_alone"].value, found["class_accuracy_b_alone"].rows) == (75.0, 4)
    assert found["class_accuracy_b_alone"].chance == 50 and found["class_accuracy_b_alone"].task == "other"
    assert "class_accuracy_text_only" not in found


def test_labels_of_a_row():
    truth = np.array([[1, 0], [1, 1], [0, 1], [1, 0], [0, 0], [1, 0]], dtype=bool)
    given = np.array([[1.0, -2], [0.5, -1], [3, 4], [-1, -1], [-5, -5], [2, 1]])
    found = measured_alone("labels", Label("multilabel", ("x", "y")), truth, given, {"a": given, "b": -given})
    first, second = 2 * 3 / (4 + 4), 2 * 1 / (2 + 2)  # of x three right of four said and four there
    assert found["label_macro_f1"].value == pytest.approx(50 * (first + second))
    assert found["label_weighted_f1"].value == pytest.approx(100 * (4 * first + 2 * second) / 6)
    p = np.array([4 / 6, 2 / 6])
    assert found["label_macro_f1"].chance == pytest.approx(100 * np.mean(2 * p / (1 + p)))
    assert found["label_weighted_f1_a_alone"].value == found["label_weighted_f1"].value
    assert found["label_weighted_f1_b_alone"].rows == 4 and found["label_weighted_f1"].headline
    assert not found["label_weighted_f1_a_alone"].headline and found["label_macro_f1"].group == "labels"


def test_numbers_of_a_row():
    truth = np.array([[0.0, 1], [1, 1], [2, 5], [3, 1], [4, 1], [5, 3]])
    given = truth + np.array([[1.0, -1]] * 6)
    found = measured_alone("numbers", Label("number", ("x", "y")), truth, given, {"a": truth, "b": given})
    assert found["number_mse"].value == found["number_mae"].value == pytest.approx(1)
    assert found["number_r2"].value == pytest.approx(np.mean(1 - 1 / truth.var(axis=0)))
    assert (
        found["number_mse"].chance == pytest.approx(truth.var(axis=0).mean()) and found["number_mse"].better == "lower"
    )
    assert found["number_mae"].chance == pytest.approx((1.5 + 1.0) / 2)
    assert found["number_r2_a_alone"].value == 1 and found["number_r2_a_alone"].unit == ""
    np.testing.assert_allclose(found["number_mse"].outcomes, np.ones(6))


def test_one_number_of_a_row():
    truth = np.arange(6.0)
    found = measured_alone(
        "numbers", Label("number"), truth, truth[:, None], {"a": truth[:, None], "b": truth[:, None]}
    )
    assert found["number_r2"].value == 1 and found["number_mse"].value == 0
