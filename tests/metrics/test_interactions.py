import math

import numpy as np
import pytest

from hf_latent.metrics import CHANCE, interactions, linear_probe

ROWS, TRAIN = 2400, 1600


@pytest.fixture(scope="module")
def pairs():
    """Features that hold the shape and the first texture well, the synergy weakly, the second texture not at all."""
    rng = np.random.default_rng(0)
    labels = {task: rng.integers(0, 10, ROWS) for task in ("redundancy", "uniqueness1", "uniqueness2")}
    labels["synergy"] = (np.arange(ROWS) % 10 == 0).astype(int)
    features = rng.normal(size=(ROWS, 24))
    features[:, :10] += 9 * np.eye(10)[labels["redundancy"]]
    features[:, 10:20] += 9 * np.eye(10)[labels["uniqueness1"]]
    features[:, 20] += 0.8 * labels["synergy"]
    return features, labels


def split(labels):
    return {task: y[:TRAIN] for task, y in labels.items()}, {task: y[TRAIN:] for task, y in labels.items()}


def test_each_score_reads_its_own_task(pairs):
    features, labels = pairs
    train, test = split(labels)
    scores = interactions(features[:TRAIN], train, features[TRAIN:], test)
    assert list(scores) == list(CHANCE)
    assert scores["redundancy"] > 99 and scores["uniqueness1"] > 99
    assert abs(scores["uniqueness2"] - CHANCE["uniqueness2"]) < 4
    assert scores["synergy_unweighted"] == CHANCE["synergy_unweighted"] == 50.0
    assert 56 < scores["synergy"] < 80
    assert 0.6 < scores["synergy_auroc"] < 0.85
    weighted = linear_probe(features[:TRAIN], train["synergy"], features[TRAIN:], test["synergy"], balanced=True)
    assert (scores["synergy"], scores["synergy_auroc"]) == (weighted.balanced_accuracy, weighted.auroc)


def test_only_the_given_tasks_are_reported(pairs):
    features, labels = pairs
    train, test = split({"uniqueness1": labels["uniqueness1"]})
    scores = interactions(features[:TRAIN], train, features[TRAIN:], test, protocol="comm2025")
    assert list(scores) == ["uniqueness1"] and scores["uniqueness1"] > 99
    assert interactions(features[:TRAIN], {}, features[TRAIN:], {}) == {}


def test_errors_name_the_task(pairs):
    features, labels = pairs
    train, test = split(labels)
    x_train, x_test = features[:TRAIN], features[TRAIN:]
    with pytest.raises(ValueError, match="Unknown interaction task.*shape; the tasks are redundancy"):
        interactions(x_train, train | {"shape": train["redundancy"]}, x_test, test)
    with pytest.raises(ValueError, match="give both the same tasks"):
        interactions(x_train, train, x_test, {"redundancy": test["redundancy"]})
    with pytest.raises(ValueError, match="^redundancy: There are 1600 train features and 5"):
        interactions(x_train, {"redundancy": train["redundancy"][:5]}, x_test, {"redundancy": test["redundancy"]})
    with pytest.raises(ValueError, match="^synergy: the labels must hold two classes"):
        interactions(x_train, {"synergy": train["redundancy"]}, x_test, {"synergy": test["redundancy"]})


def test_evaluate_metrics_are_the_plain_functions(pairs, tmp_path):
    pytest.importorskip("evaluate")
    from hf_latent.metrics.evaluate_metrics import InteractionsMetric, LinearProbeMetric

    features, labels = pairs
    features = features.astype(np.float32)
    train, test = split({task: labels[task] for task in ("redundancy", "synergy")})
    x_train, x_test = features[:TRAIN], features[TRAIN:]
    metric = InteractionsMetric(x_train, train, cache_dir=str(tmp_path))
    for rows in (slice(0, 300), slice(300, None)):
        metric.add_batch(predictions=x_test[rows], **{task: y[rows] for task, y in test.items()})
    assert metric.compute() == interactions(x_train, train, x_test, test)

    probe = LinearProbeMetric(x_train, train["synergy"], balanced=True, cache_dir=str(tmp_path))
    got = probe.compute(predictions=x_test, references=test["synergy"])
    plain = linear_probe(x_train, train["synergy"], x_test, test["synergy"], balanced=True)
    assert math.isclose(got["auroc"], plain.auroc) and got["regularization"] == plain.regularization
