"""Task accuracy against counts by hand."""

import numpy as np
import pytest
import torch

from hf_latent.metrics import task_accuracy
from hf_latent.metrics.chance import row_scores

LABELS = np.array([0, 0, 0, 0, 1, 1, 3, 3])
GIVEN = np.array([0, 0, 0, 1, 1, 0, 2, -1])
GROUPS = ["a", "a", "b", "b", "b", "a", "a", "b"]


def test_accuracies_are_the_counts():
    assert task_accuracy(GIVEN, LABELS, GROUPS) == pytest.approx(
        {
            "class_accuracy": 50.0,
            "class_accuracy_balanced": 100 * (3 / 4 + 1 / 2 + 0) / 3,
            "class_chance": 50.0,
            "class_accuracy_a": 50.0,
            "class_accuracy_b": 50.0,
        }
    )
    perfect = task_accuracy(torch.tensor(LABELS), torch.tensor(LABELS), kind="answers")
    assert perfect == {"answer_accuracy": 100.0, "answer_accuracy_balanced": 100.0, "answer_chance": 50.0}


def test_what_is_in_no_list_is_a_mistake():
    found = task_accuracy([0, 1, -1, 1], [0, 1, -1, -1], kind="answers")
    assert found == {"answer_accuracy": 50.0, "answer_accuracy_balanced": 100.0, "answer_chance": 25.0}


def plain_soft_score(given, answers):
    """VQA v2: leave one annotator out, and count who of the others gave the same."""
    found = []
    for left_out in range(len(answers)):
        others = answers[:left_out] + answers[left_out + 1 :]
        found.append(min(1, others.count(given) / min(3, len(others))) if others else float(given == answers[0]))
    return sum(found) / len(found)


def test_the_soft_score_of_several_annotators():
    rng = np.random.default_rng(0)
    rows = [rng.integers(0, 4, size=n).tolist() for n in (10, 10, 10, 1, 2, 3, 4, 10)]
    rows[0] = [1] * 3 + [2] * 7
    labels = np.array([row + [-1] * (10 - len(row)) for row in rows])
    for answer in range(5):
        expected = [plain_soft_score(answer, row) for row in rows]
        np.testing.assert_allclose(row_scores(np.full(8, answer), labels), expected, atol=1e-12)
    assert row_scores([1], labels[:1])[0] == pytest.approx((3 * 2 / 3 + 7) / 10)  # 0.9, as the official evaluation
    best = max(np.mean([plain_soft_score(answer, row) for row in rows]) for answer in range(4))
    found = task_accuracy([2] * 8, labels, list("aabbabab"), kind="answers")
    assert found["answer_chance"] == pytest.approx(100 * best)
    assert "answer_accuracy_balanced" not in found
    second = [plain_soft_score(2, rows[n]) for n in (2, 3, 5, 7)]
    assert found["answer_accuracy_b"] == pytest.approx(100 * np.mean(second))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"kind": "class"}, "kind='class': write answers or classes"),
        ({"labels": [], "predicted": [], "groups": None}, "There must be a row"),
        ({"labels": LABELS[:0], "predicted": LABELS[:0], "groups": None}, "There must be a row"),
        ({"predicted": GIVEN[:-1]}, r"predictions must be \(8,\)"),
        ({"predicted": GIVEN / 2}, "predictions must be integers; got float64"),
        ({"groups": ["a"]}, r"groups must be \(8,\), one for each row; got \(1,\)"),
    ],
)
def test_bad_input_is_named(change, told):
    with pytest.raises(ValueError, match=told):
        task_accuracy(**{"predicted": GIVEN, "labels": LABELS, "groups": GROUPS} | change)


def test_as_an_evaluate_metric(tmp_path):
    pytest.importorskip("evaluate")
    from hf_latent.metrics.evaluate_metrics import TaskAccuracyMetric

    metric = TaskAccuracyMetric(kind="answers", cache_dir=str(tmp_path))
    for rows in (slice(0, 3), slice(3, None)):
        metric.add_batch(predictions=GIVEN[rows], references=LABELS[rows], groups=GROUPS[rows])
    assert metric.compute() == task_accuracy(GIVEN, LABELS, GROUPS, kind="answers")
