"""Linear probes of labels that are not one class a row: several classes, a number, or a class from few rows."""

import warnings
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[Any]
COSTS = (1e-3, 1e-2, 1e-1, 1.0, 10.0)  # inverse regularization of logistic regression
ALPHAS = tuple(10.0**power for power in range(-3, 6))  # of ridge regression
HELD_OUT = 0.2  # of the train rows, while the regularization is chosen


def multilabel_probe(
    train_features: ArrayLike, train_labels: ArrayLike, test_features: ArrayLike, test_labels: ArrayLike
) -> dict[str, float]:
    """A logistic regression for each class, on standardised features.

    C is that of `COSTS` with the best weighted F1 on a fifth of the train rows, drawn with a fixed seed; then all are
    fitted.

    Args:
        train_features, test_features: (N, D) and (M, D) floats.
        train_labels, test_labels: (N, C) and (M, C) bool.

    Returns:
        `weighted_f1` and `macro_f1` on the test rows, in percent. A class that no row has and that none is given
        counts 0.
    """
    return _f1(np.asarray(test_labels, dtype=bool), predicted_classes(train_features, train_labels, test_features))


def predicted_classes(train_features: ArrayLike, train_labels: ArrayLike, test_features: ArrayLike) -> Array:
    """`(M, C)` bool, what the probe of [`multilabel_probe`] says of the test rows."""
    x, other = _standardised(train_features, test_features)
    y = np.asarray(train_labels, dtype=bool)
    fit, held = _halves(len(x))
    scores = {cost: _f1(y[held], _fit_each(x[fit], y[fit], x[held], cost))["weighted_f1"] for cost in COSTS}
    return _fit_each(x, y, other, max(scores, key=scores.__getitem__))


def regression_probe(
    train_features: ArrayLike, train_targets: ArrayLike, test_features: ArrayLike, test_targets: ArrayLike
) -> dict[str, float]:
    """Ridge regression on standardised features, its alpha chosen of `ALPHAS` on a fifth of the train rows.

    Args:
        train_features, test_features: (N, D) and (M, D) floats.
        train_targets, test_targets: (N,) and (M,) floats.

    Returns:
        `r2` on the test rows, 1 at most, 0 where always the mean of the test rows is said; and `mse`.
    """
    truth = np.asarray(test_targets, dtype=np.float64)
    said = predicted_numbers(train_features, train_targets, test_features)
    mse, variance = float(np.mean((said - truth) ** 2)), float(np.var(truth))
    return {"r2": 1 - mse / variance if variance else float("nan"), "mse": mse}


def predicted_numbers(train_features: ArrayLike, train_targets: ArrayLike, test_features: ArrayLike) -> Array:
    """`(M,)` floats, what the probe of [`regression_probe`] says of the test rows."""
    x, other = _standardised(train_features, test_features)
    y = np.asarray(train_targets, dtype=np.float64)
    ridge = import_module("sklearn.linear_model").Ridge
    fit, held = _halves(len(x))
    errors = {alpha: np.mean((_ridge(ridge, x[fit], y[fit], x[held], alpha) - y[held]) ** 2) for alpha in ALPHAS}
    return _ridge(ridge, x, y, other, min(errors, key=errors.__getitem__))


def few_shot_probe(
    train_features: ArrayLike,
    train_labels: ArrayLike,
    test_features: ArrayLike,
    test_labels: ArrayLike,
    shots: int,
    draws: int = 5,
) -> float:
    """Percent of test rows that a logistic regression gets right that saw `shots` rows of each class, a mean over
    `draws` draws with seeds 0, 1, ...; C is 1 and features are standardised by the rows that were drawn.

    Args:
        train_features, test_features: (N, D) and (M, D) floats.
        train_labels, test_labels: (N,) and (M,) integers; each class has `shots` rows in train, or all that there are
            are taken.
    """
    x, y = np.asarray(train_features, dtype=np.float64), np.asarray(train_labels)
    other, truth = np.asarray(test_features, dtype=np.float64), np.asarray(test_labels)
    found = []
    for seed in range(draws):
        rng = np.random.default_rng(seed)
        rows = np.concatenate([rng.permutation(np.flatnonzero(y == label))[:shots] for label in np.unique(y)])
        few, all_test = _standardised(x[rows], other)
        found.append((_logistic(few, y[rows], 1.0).predict(all_test) == truth).mean())
    return 100 * float(np.mean(found))


def _standardised(train: ArrayLike, test: ArrayLike) -> tuple[Array, Array]:
    """Both, shifted and scaled by mean and deviation of the train rows."""
    x, other = np.asarray(train, dtype=np.float64), np.asarray(test, dtype=np.float64)
    mean, std = x.mean(0), x.std(0)
    std[std < 1e-6 * (1 + np.abs(mean))] = 1.0  # constant up to rounding
    return (x - mean) / std, (other - mean) / std


def _halves(rows: int) -> tuple[Array, Array]:
    """The rows to fit on, and those held out."""
    order = np.random.default_rng(0).permutation(rows)
    held = max(1, int(HELD_OUT * rows))
    return order[held:], order[:held]


def _fit_each(x: Array, y: Array, other: Array, cost: float) -> Array:
    """(M, C) bool, what is said of the rows of `other`; a class that all rows have or none is always or never said."""
    said = np.zeros((len(other), y.shape[1]), dtype=bool)
    for number in range(y.shape[1]):
        present = np.unique(y[:, number])
        said[:, number] = present[0] if len(present) == 1 else _logistic(x, y[:, number], cost).predict(other)
    return said


def _logistic(x: Array, y: Array, cost: float) -> Any:
    model = import_module("sklearn.linear_model").LogisticRegression(C=cost, max_iter=200)
    with warnings.catch_warnings(), import_module("threadpoolctl").threadpool_limits(1):
        warnings.simplefilter("ignore", import_module("sklearn.exceptions").ConvergenceWarning)
        return model.fit(x, y)


def _ridge(cls: Any, x: Array, y: Array, other: Array, alpha: float) -> Array:
    with import_module("threadpoolctl").threadpool_limits(1):
        return cls(alpha=alpha).fit(x, y).predict(other)


def _f1(truth: Array, said: Array) -> dict[str, float]:
    score = import_module("sklearn.metrics").f1_score
    return {
        f"{average}_f1": 100 * float(score(truth, said, average=average, zero_division=0))
        for average in ("weighted", "macro")
    }
