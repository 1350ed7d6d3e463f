import numpy as np
import pytest
import torch

from hf_latent.metrics import PROTOCOLS, fit_probe, linear_probe, score_probe
from hf_latent.metrics.linear_probe import _choose_cost, _fit, comm2025_objective

BOTH = pytest.mark.parametrize("protocol", sorted(PROTOCOLS))


def clusters(rows: int, classes: int, dim: int, distance: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, rows)
    features = rng.normal(size=(rows, dim)) + distance * np.eye(classes, dim)[labels]
    return features.astype(np.float32), labels


def rare_positives(shift: float, seed: int = 0) -> tuple[np.ndarray, ...]:
    """3000 rows, 10 % positives, one feature of eight shifted a little: train and test halves."""
    rng = np.random.default_rng(seed)
    labels = (np.arange(3000) % 10 == 0).astype(int)
    features = rng.normal(size=(3000, 8))
    features[:, 0] += shift * labels
    return features[:1500], labels[:1500], features[1500:], labels[1500:]


@BOTH
def test_separable_classes_are_read_whatever_their_ids(protocol):
    x, y = clusters(600, 5, 16, 12.0)
    ids = np.array([40, 7, -3, 1000, 2])[y]
    result = linear_probe(x[:400], ids[:400], x[400:], ids[400:], protocol=protocol)
    assert result.accuracy == result.balanced_accuracy == 100.0
    assert result.auroc is None


@BOTH
def test_noise_is_read_at_chance(protocol):
    x, y = clusters(2000, 4, 8, 0.0)
    assert abs(linear_probe(x[:1000], y[:1000], x[1000:], y[1000:], protocol=protocol).accuracy - 25) < 5


@BOTH
def test_the_same_twice_also_without_grad(protocol):
    x, y = clusters(500, 3, 8, 1.5)
    first = linear_probe(x[:300], y[:300], x[300:], y[300:], protocol=protocol)
    torch.manual_seed(1)
    np.random.seed(1)
    with torch.inference_mode():
        assert linear_probe(x[:300], y[:300], x[300:], y[300:], protocol=protocol) == first
    assert 50 < first.accuracy < 100


def test_standard_does_not_care_for_the_scale_of_a_feature():
    x, y = clusters(600, 3, 8, 2.0)
    scaled = x * np.logspace(-3, 3, 8) + 50
    kept, moved = (linear_probe(f[:400], y[:400], f[400:], y[400:]) for f in (x, scaled))
    assert abs(moved.accuracy - kept.accuracy) <= 0.5
    constant = np.concatenate([x, np.full((600, 1), 0.1)], axis=1)
    assert linear_probe(constant[:400], y[:400], constant[400:], y[400:]) == kept


def test_balanced_accuracy_and_auroc_are_scikit_learns():
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import balanced_accuracy_score, roc_auc_score

    x_train, y_train, x_test, y_test = rare_positives(1.0)
    result = linear_probe(x_train, y_train, x_test, y_test, balanced=True)
    mean, std = x_train.mean(0), x_train.std(0)
    model = LogisticRegression(C=result.regularization, class_weight="balanced").fit((x_train - mean) / std, y_train)
    x_test = (x_test - mean) / std
    assert result.auroc == pytest.approx(roc_auc_score(y_test, model.decision_function(x_test)), abs=1e-3)
    assert result.balanced_accuracy == pytest.approx(
        100 * balanced_accuracy_score(y_test, model.predict(x_test)), abs=1
    )
    assert result.accuracy == pytest.approx(100 * model.score(x_test, y_test), abs=1)


@BOTH
def test_ten_percent_positives_need_the_balanced_loss(protocol):
    data = rare_positives(0.5)
    plain = linear_probe(*data, protocol=protocol)
    weighted = linear_probe(*data, protocol=protocol, balanced=True)
    assert plain.balanced_accuracy == 50.0 and plain.accuracy == 90.0
    assert weighted.balanced_accuracy > 54
    assert weighted.auroc > 0.56


@pytest.mark.parametrize("weighted", [False, True])
def test_comm2025_objective_against_a_plain_reference(weighted):
    rng = np.random.default_rng(0)
    x, y, cost = rng.normal(size=(12, 5)), rng.integers(0, 3, 12), 0.3
    w, b = rng.normal(size=(3, 5)), rng.normal(size=3)
    class_weights = np.array([0.5, 2.0, 1.2]) if weighted else np.ones(3)

    loss, gradient, total = 0.0, np.zeros_like(w), 0.0
    for row, label in zip(x, y, strict=True):
        scores = [float(w[k] @ row + b[k]) for k in range(3)]
        norm = sum(np.exp(s) for s in scores)
        loss -= class_weights[label] * np.log(np.exp(scores[label]) / norm)
        for k in range(3):
            gradient[k] += class_weights[label] * (np.exp(scores[k]) / norm - (k == label)) * row
        total += class_weights[label]
    length = np.sqrt(sum(v * v for v in w.flat))
    expected = loss / total + (1 / cost) * 0.5 * length
    expected_gradient = gradient / total + (1 / cost) * 0.5 * w / length

    weight = torch.tensor(w, requires_grad=True)
    weights = torch.tensor(class_weights) if weighted else None
    got = comm2025_objective(weight, torch.tensor(b), torch.tensor(x), torch.tensor(y), cost, weights)
    got.backward()
    assert got.item() == pytest.approx(expected, abs=1e-12)
    np.testing.assert_allclose(weight.grad, expected_gradient, atol=1e-12)


def test_comm2025_norm_is_not_squared():
    rng = np.random.default_rng(0)
    x, y, bias = torch.tensor(rng.normal(size=(6, 4))), torch.tensor([0, 1, 0, 1, 0, 1]), torch.zeros(2).double()
    weight = torch.tensor(rng.normal(size=(2, 4)))

    def penalty(scale: float) -> float:
        return (
            comm2025_objective(scale * weight, bias, x, y, 1.0) - comm2025_objective(scale * weight, bias, x, y, 1e300)
        ).item()

    assert penalty(3.0) == pytest.approx(3 * penalty(1.0))


def test_comm2025_fit_reaches_the_optimum():
    x, y = clusters(400, 3, 6, 1.5)
    weight, bias = (torch.tensor(a).double().requires_grad_() for a in _fit(x, y, 10.0, PROTOCOLS["comm2025"], False))
    comm2025_objective(weight, bias, torch.tensor(x).double(), torch.tensor(y), 10.0).backward()
    assert weight.norm() > 0.5
    assert max(weight.grad.abs().max(), bias.grad.abs().max()) < 1e-3


@pytest.mark.parametrize("peak", [3e-6, 0.04, 1.0, 33.0, 4e5])
def test_comm2025_search_finds_the_best_cost(peak):
    tried = []

    def score(cost: float) -> float:
        tried.append(cost)
        return -abs(np.log10(cost / peak))

    chosen = _choose_cost(score, PROTOCOLS["comm2025"])
    assert abs(np.log10(chosen / peak)) <= 1 / 7  # the grid has seven values a decade
    assert min(tried) >= 1e-6 and max(tried) <= 1e6 and len(set(tried)) < 22


def test_among_equal_costs_the_strongest_regularization_is_chosen():
    assert _choose_cost(lambda cost: 0.5, PROTOCOLS["comm2025"]) == 1e-6
    assert _choose_cost(lambda cost: 0.5, PROTOCOLS["standard"]) == 1e-4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(train_features=np.full((8, 2), np.nan)), "train features are NaN or infinite in 8 row"),
        (dict(test_features=np.array([[0.0, np.inf], [0, 0]])), "test features are NaN or infinite in 1 row.*row 0"),
        (dict(train_labels=np.array([0, 1])), "8 train features and 2 train labels"),
        (dict(test_labels=np.array([0, 1, 1])), "2 test features and 3 test labels"),
        (dict(train_labels=np.ones(8, int)), r"one single class \(1\)"),
        (dict(test_labels=np.array([0, 5])), r"test labels \[5\] are not among the train labels"),
        (dict(train_labels=np.array([0, 1] * 4) / 2), "must be integers"),
        (dict(train_labels=np.array([0] * 7 + [1])), r"too small.*1 row\(s\) in the rarest"),
        (dict(test_features=np.zeros((2, 3))), "Train features have 2 columns, test features 3"),
        (dict(test_features=np.zeros(2)), r"must be \(N, D\)"),
        (dict(protocol="fast"), "Unknown probe protocol 'fast'; choose one of comm2025, cyclip, standard"),
    ],
)
def test_errors_in_plain_words(change, message):
    arguments = dict(
        train_features=np.arange(16.0).reshape(8, 2),
        train_labels=np.array([0, 1] * 4),
        test_features=np.zeros((2, 2)),
        test_labels=np.array([0, 1]),
    )
    with pytest.raises(ValueError, match=message):
        linear_probe(**(arguments | change))


def test_a_missing_scikit_learn_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "sklearn.model_selection", None)
    x, y = clusters(40, 2, 4, 3.0)
    with pytest.raises(ImportError, match="pip install scikit-learn"):
        linear_probe(x, y, x, y)


def test_cyclip_protocol_reads_separable_classes_and_is_deterministic() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), 100)
    features = 3 * np.eye(4)[labels] @ rng.normal(size=(4, 8)) + rng.normal(size=(400, 8))
    chance = rng.permutation(labels)
    first, again = (linear_probe(features, labels, features, labels, protocol="cyclip") for _ in range(2))
    assert first == again and first.accuracy > 95 and first.regularization == 0.01
    assert linear_probe(features, chance, features, chance, protocol="cyclip").accuracy < 45
    # features as they are: another scale is another probe
    assert linear_probe(features / 1000, labels, features / 1000, labels, protocol="cyclip") != first


@BOTH
def test_a_fitted_probe_says_what_was_scored(protocol):
    x, y = clusters(600, 4, 8, 3.0)
    ids = np.array([40, 7, -3, 1000])[y]
    probe = fit_probe(x[:400], ids[:400], protocol=protocol)
    result = linear_probe(x[:400], ids[:400], x[400:], ids[400:], protocol=protocol)
    assert score_probe(probe, x[400:], ids[400:]) == result
    shares = probe.probabilities(x[400:])
    assert shares.shape == (200, 4) and np.allclose(shares.sum(1), 1)
    said = probe.classes[shares.argmax(1)]
    assert 100 * (said == ids[400:]).mean() == pytest.approx(result.accuracy)
    assert np.array_equal(probe.logits(x[400:]).argmax(1), shares.argmax(1))


def test_a_fitted_probe_scores_other_rows_as_it_saw_its_own():
    """Features are shifted and scaled as those that it was fitted on, not as those that it reads."""
    x, y = clusters(600, 3, 8, 4.0)
    probe = fit_probe(x * 100 + 7, y)
    assert score_probe(probe, x[y == 1] * 100 + 7, y[y == 1]).accuracy > 90
    with pytest.raises(ValueError, match=r"test labels \[9\] are not among the train labels"):
        score_probe(probe, x[:1], [9])


def test_validation_rows_choose_the_cost_and_are_fitted_in_the_end():
    """Strong regularization says the commoner class of all rows: best where labels are turned, and else the worst."""
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    y, held = (np.arange(60) % 6 == 0).astype(int), np.arange(40) % 2
    x, x_held = (rng.normal(size=(len(own), 4)) + 8 * np.eye(4)[0] * own[:, None] for own in (y, held))
    told, turned = (fit_probe(x, y, validation=(x_held, own)) for own in (held, 1 - held))
    assert turned.regularization == 1e-4 and told.regularization > 1e-2  # fitted on the validation rows it is 1e-3
    both, labels = np.concatenate([x, x_held]), np.concatenate([y, held])
    mean, std = both.mean(0), both.std(0)
    fitted = LogisticRegression(C=told.regularization, max_iter=100).fit((both - mean) / std, labels)
    assert told.weight[1] == pytest.approx(fitted.coef_[0], rel=1e-2, abs=1e-3)
    assert linear_probe(x, y, x, y, validation=(x_held, held)) == score_probe(told, x, y)
    with pytest.raises(ValueError, match=r"validation labels \[2\] are not among the train labels"):
        linear_probe(x, y, x, y, validation=(x_held, np.full(40, 2)))
