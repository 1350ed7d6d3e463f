"""What is measured of pairs of images and of downstream heads, on predictions that are known by hand."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from hf_latent.data.loaded import Probes, TaskBenchmark
from hf_latent.evaluation.interactions import InteractionsEvaluation
from hf_latent.evaluation.tasks import TaskEvaluation


def features(labels, wrong=0):
    """One axis a label; the first `wrong` rows lie at another one."""
    shown = np.where(np.arange(len(labels)) < wrong, (labels + 1) % 2, labels)
    return np.eye(2, dtype=np.float32)[shown]


def test_interactions_are_read_from_the_features_of_the_test_rows():
    """Of ten pairs of each class, one is shown as the other: 90 and 100 % of the two classes."""
    train_labels, test_labels = np.arange(40) % 2, np.arange(20) % 2
    train, test = object(), object()
    planted = {id(train): features(train_labels), id(test): features(test_labels, wrong=1)}
    labels = {"redundancy": (train_labels, test_labels), "synergy": (train_labels, test_labels)}
    sides = [{task: both[side] for task, both in labels.items()} for side in range(2)]
    evaluation = InteractionsEvaluation(Probes(train, sides[0], test, sides[1], {}, {}), "standard")
    evaluation.embed(SimpleNamespace(features=lambda dataset: planted[id(dataset)]))
    found = evaluation.metrics()
    assert found["redundancy"] == found["synergy"] == found["synergy_unweighted"] == pytest.approx(95)
    # Of the 10 x 10 pairs of a positive and a negative, 90 are in order and 10 are ties.
    assert found["synergy_auroc"] == pytest.approx(0.95)


# The largest of each row: 0, 1, 1, 2, 0, 0.
SCORES = np.eye(3, dtype=np.float32)[[0, 1, 1, 2, 0, 0]]
LABELS = np.array([0, 1, 0, 2, 1, 0])
GROUPS = np.array(["one", "one", "two", "two", "two", "two"])


@pytest.mark.parametrize(("kind", "name"), [("answers", "answer"), ("classes", "class")])
def test_accuracy_of_a_head(kind, name):
    """Right in rows 0, 1, 3 and 5: both of the first kind, two of four of the second.

    Of label 0 two of three are right, of 1 one of two, of 2 the only one.
    """
    rows = object()
    evaluation = TaskEvaluation(TaskBenchmark(rows, kind, LABELS, ["a", "b", "c"], GROUPS))

    def answer(dataset, answers):
        assert dataset is rows and answers == ["a", "b", "c"]
        return torch.from_numpy(SCORES)

    predicted = SimpleNamespace(predictions={"logits": SCORES})
    evaluation.embed(SimpleNamespace(answer=answer, predict=lambda dataset: predicted))
    found = evaluation.metrics()
    assert found[f"{name}_accuracy"] == pytest.approx(100 * 4 / 6)
    assert found[f"{name}_accuracy_balanced"] == pytest.approx(100 * (2 / 3 + 1 / 2 + 1) / 3)
    assert found[f"{name}_accuracy_one"] == 100 and found[f"{name}_accuracy_two"] == 50
    assert found[f"{name}_chance"] == pytest.approx(50)
