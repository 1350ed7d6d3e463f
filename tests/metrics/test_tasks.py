"""Task accuracy against counts by hand."""

import numpy as np
import pytest
import torch

from hf_latent.metrics import task_accuracy

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


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"kind": "class"}, "kind='class': write answers or classes"),
        ({"labels": LABELS - 1}, "labels of 0 or more"),
        ({"labels": [], "predicted": [], "groups": None}, "must be integers"),
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
