"""Probes of several classes, numbers and few rows, against plain scikit-learn and closed forms."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, r2_score

from hf_latent.metrics.other_probes import ALPHAS, COSTS, few_shot_probe, multilabel_probe, regression_probe


def features(rows, seed=0, width=6):
    return np.random.default_rng(seed).normal(3, [1, 5, 0.1, 1, 1, 1][:width], size=(rows, width))


def standardised(train, *others):
    mean, std = train.mean(0), train.std(0)
    return [(part - mean) / std for part in (train, *others)]


def held_out(rows):
    """A fifth, drawn with the seed 0."""
    order = np.random.default_rng(0).permutation(rows)
    return order[rows // 5 :], order[: rows // 5]


def ridge(x, y, other, alpha):
    """The closed form, whose intercept is not shrunk."""
    mean = x.mean(0)
    weight = np.linalg.solve((x - mean).T @ (x - mean) + alpha * np.eye(x.shape[1]), (x - mean).T @ (y - y.mean()))
    return (other - mean) @ weight + y.mean()


@pytest.mark.parametrize("noise", [0.01, 3.0, 30.0])
def test_a_number_is_read_by_ridge_regression(noise):
    """Alpha is that of the best squared error on the rows that are held out."""
    train, test = features(60), features(40, seed=1)
    rng = np.random.default_rng(2)
    targets = [part @ [1, 0.2, 9, 0, 0, -1] + noise * rng.normal(size=len(part)) for part in (train, test)]
    x, other = standardised(train, test)
    fit, held = held_out(60)
    errors = [np.mean((ridge(x[fit], targets[0][fit], x[held], a) - targets[0][held]) ** 2) for a in ALPHAS]
    said = ridge(x, targets[0], other, ALPHAS[int(np.argmin(errors))])
    expected = {"r2": r2_score(targets[1], said), "mse": np.mean((said - targets[1]) ** 2)}
    assert regression_probe(train, targets[0], test, targets[1]) == pytest.approx(expected)


def test_alpha_follows_the_noise():
    """Without noise the smallest alpha is best, and with noise alone the largest: what is said is then the mean."""
    train, test = features(60), features(400, seed=1)
    weight = np.array([1, 0.2, 9, 0, 0, -1])
    assert regression_probe(train, train @ weight, test, test @ weight)["r2"] > 0.99999
    noise = np.random.default_rng(3).normal(size=460)
    assert abs(regression_probe(train, noise[:60], test, noise[60:])["r2"]) < 0.1


def test_a_number_that_is_always_the_same_has_no_r2():
    x = features(20)
    found = regression_probe(x, np.ones(20), x, np.ones(20))
    assert np.isnan(found["r2"]) and found["mse"] == pytest.approx(0, abs=1e-20)


def tags(x, seed=0):
    noise = np.random.default_rng(seed).normal(size=(len(x), 3))
    return (x[:, [0, 3, 4]] - 3 + noise) > [0, 1.5, -1]


def test_several_classes_are_read_one_by_one():
    """C is that of the best weighted F1 on the rows that are held out, one for all classes."""
    train, test = features(100), features(80, seed=1)
    y, truth = tags(train), tags(test, seed=5)
    x, other = standardised(train, test)

    def said(rows, labels, wanted, cost):
        fitted = [LogisticRegression(C=cost, max_iter=200).fit(rows, column) for column in labels.T]
        return np.stack([model.predict(wanted) for model in fitted], axis=1)

    fit, held = held_out(100)
    scores = [
        f1_score(y[held], said(x[fit], y[fit], x[held], cost), average="weighted", zero_division=0) for cost in COSTS
    ]
    assert len(set(scores)) > 2
    given = said(x, y, other, COSTS[int(np.argmax(scores))])
    expected = {f"{kind}_f1": 100 * f1_score(truth, given, average=kind) for kind in ("weighted", "macro")}
    found = multilabel_probe(train, y, test, truth)
    assert found.pop("map") > 0 and found == pytest.approx(expected)


def test_a_class_of_all_rows_or_of_none_is_always_or_never_said():
    x = features(40)
    y = np.stack([np.ones(40, bool), np.zeros(40, bool)], axis=1)
    truth = np.stack([np.arange(40) < 30, np.arange(40) < 10], axis=1)
    found = multilabel_probe(x, y, x, truth)
    first = 2 * 0.75 / 1.75
    last = [np.mean([place / (wrong + place) for place in range(1, 41 - wrong)]) for wrong in (10, 30)]  # of all ties
    assert found.pop("map") == pytest.approx(50 * sum(last))
    assert found == pytest.approx({"macro_f1": 50 * first, "weighted_f1": 100 * first * 30 / 40})


def test_a_feature_that_is_constant_but_for_rounding_tells_nothing():
    x, y = features(40), np.arange(40) % 2
    rounded = np.where(y == 1, 0.1 + 0.2, 0.3)
    assert len(set(rounded)) == 2
    wider = np.concatenate([x, rounded[:, None]], axis=1)
    plain = regression_probe(x, y, x, y)
    assert plain["r2"] < 0.5 and regression_probe(wider, y, wider, y) == pytest.approx(plain)


@pytest.mark.parametrize("shots", [1, 3])
def test_few_shots_are_a_mean_over_draws(shots):
    """The same rows of each class, drawn with the seeds 0, 1, 2; of a class of two rows both."""
    train, test = features(52, width=3), features(60, seed=1, width=3)
    labels = np.array([5, 7] * 25 + [9, 9])
    train[:, 0] += np.where(labels == 5, 2, 0) - np.where(labels == 9, 4, 0)
    truth = np.array([5, 7, 9] * 20)
    test[:, 0] += np.where(truth == 5, 2, 0) - np.where(truth == 9, 4, 0)
    shares = []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        rows = [row for label in (5, 7, 9) for row in rng.permutation(np.flatnonzero(labels == label))[:shots]]
        assert len(rows) == 2 * shots + min(shots, 2)
        few = train[rows]
        std = np.where(few.std(0) > 0, few.std(0), 1)
        model = LogisticRegression(C=1.0, max_iter=200).fit((few - few.mean(0)) / std, labels[rows])
        shares.append(np.mean(model.predict((test - few.mean(0)) / std) == truth))
    assert len(set(shares)) > 1
    assert few_shot_probe(train, labels, test, truth, shots, draws=3) == pytest.approx(100 * np.mean(shares))


def official(rows):
    """The 7 strengths of CoMM's official probes, and the rows to choose by behind those to fit on."""
    return [10.0**power for power in range(-6, 7, 2)], np.arange(rows), np.arange(rows, rows + 30)


@pytest.mark.parametrize("noise", [0.01, 30.0])
def test_validation_rows_choose_the_alpha_of_comm(noise):
    """Features as they are; in the end the validation rows are fitted, too."""
    parts = [features(count, seed=seed) for seed, count in enumerate((60, 30, 40))]
    rng = np.random.default_rng(2)
    targets = [part @ [1, 0.2, 9, 0, 0, -1] + noise * rng.normal(size=len(part)) for part in parts]
    alphas, fit, held = official(60)
    x, y = np.concatenate(parts[:2]), np.concatenate(targets[:2])
    errors = [np.mean((ridge(x[fit], y[fit], x[held], alpha) - y[held]) ** 2) for alpha in alphas]
    said = ridge(x, y, parts[2], alphas[int(np.argmin(errors))])
    sides = (parts[0], targets[0], parts[2], targets[2])
    found = regression_probe(*sides, protocol="comm2025", validation=(parts[1], targets[1]))
    assert found == pytest.approx({"r2": r2_score(targets[2], said), "mse": np.mean((said - targets[2]) ** 2)})
    assert found != pytest.approx(regression_probe(*sides, protocol="comm2025"))


def test_validation_rows_choose_the_cost_of_comm_by_macro_f1():
    parts = [features(count, seed=seed) for seed, count in enumerate((100, 30, 80), start=9)]
    labels = [tags(part, seed=seed) for seed, part in enumerate(parts, start=9)]
    costs, fit, held = official(100)
    x, y = np.concatenate(parts[:2]), np.concatenate(labels[:2])

    def said(rows, wanted, cost):
        fitted = [LogisticRegression(C=cost, max_iter=200).fit(x[rows], y[rows, c]) for c in range(3)]
        return np.stack([model.predict(wanted) for model in fitted], axis=1)

    scores, others = (
        [f1_score(y[held], said(fit, x[held], cost), average=kind, zero_division=0) for cost in costs]
        for kind in ("macro", "weighted")
    )
    assert np.argmax(scores) != np.argmax(others)
    given = said(np.arange(130), parts[2], costs[int(np.argmax(scores))])
    expected = {f"{kind}_f1": 100 * f1_score(labels[2], given, average=kind) for kind in ("weighted", "macro")}
    sides = (parts[0], labels[0], parts[2], labels[2])
    found = multilabel_probe(*sides, protocol="comm2025", validation=(parts[1], labels[1]))
    assert found != pytest.approx(multilabel_probe(*sides))
    assert found.pop("map") > 0 and found == pytest.approx(expected)
