"""Linear probes of labels that are not one class a row: several classes, a number, or a class from few rows."""

import warnings
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .linear_probe import PROTOCOLS
from .ranking import average_precision

Array = NDArray[Any]
COSTS = (1e-3, 1e-2, 1e-1, 1.0, 10.0)  # inverse regularization of logistic regression
ALPHAS = tuple(10.0**power for power in range(-3, 6))  # of ridge regression
COMM = "comm2025"
Held = tuple[ArrayLike, ArrayLike] | None
HELD_OUT = 0.2  # of the train rows, while the regularization is chosen


def multilabel_probe(
    train_features: ArrayLike,
    train_labels: ArrayLike,
    test_features: ArrayLike,
    test_labels: ArrayLike,
    *,
    protocol: str = "standard",
    validation: Held = None,
) -> dict[str, float]:
    """A logistic regression for each class.

    `standard`: on standardised features, with that C of `COSTS` for all classes that has the best weighted F1 on a
    fifth of the train rows, drawn with a fixed seed; then all are fitted. `comm2025`, as the official code of CoMM on
    MM-IMDb: on features as they are, C of 1e-6, 1e-4 .. 1e6, by the best macro F1.

    Args:
        train_features, test_features: (N, D) and (M, D) floats.
        train_labels, test_labels: (N, C) and (M, C) bool.
        protocol: `comm2025`, or another name in `PROTOCOLS`, which is as `standard`.
        validation: (V, D) features and (V, C) labels by which C is chosen in place of a fifth of the train rows; then
            both are fitted.

    Returns:
        `weighted_f1` and `macro_f1` on the test rows, in percent, where a class that no row has and that none is given
        counts 0; and `map`, the mean of [`average_precision`] over the classes that a test row has, in percent.
    """
    scores = class_scores(train_features, train_labels, test_features, protocol=protocol, validation=validation)
    truth = np.asarray(test_labels, dtype=bool)
    each = [average_precision(scores[:, number], truth[:, number]) for number in np.flatnonzero(truth.any(0))]
    return _f1(truth, scores > 0) | {"map": 100 * float(np.mean(each)) if each else float("nan")}


def class_scores(
    train_features: ArrayLike,
    train_labels: ArrayLike,
    test_features: ArrayLike,
    *,
    protocol: str = "standard",
    validation: Held = None,
) -> Array:
    """`(M, C)` floats, what the probe of [`multilabel_probe`] says of the test rows: yes to a class above 0."""
    x, y, other, fit, held = _prepared(train_features, train_labels, test_features, protocol, validation)
    costs, score = (PROTOCOLS[COMM].costs, "macro_f1") if protocol == COMM else (COSTS, "weighted_f1")
    y = y.astype(bool)
    scores = {cost: _f1(y[held], _fit_each(x[fit], y[fit], x[held], cost) > 0)[score] for cost in costs}
    return _fit_each(x, y, other, max(scores, key=scores.__getitem__))


def regression_probe(
    train_features: ArrayLike,
    train_targets: ArrayLike,
    test_features: ArrayLike,
    test_targets: ArrayLike,
    *,
    protocol: str = "standard",
    validation: Held = None,
) -> dict[str, float]:
    """Ridge regression.

    `standard`: on standardised features, its alpha chosen of `ALPHAS` by the error on a fifth of the train rows; then
    all are fitted. `comm2025`, as the official code of CoMM on Vision&Touch: on features as they are, alpha of 1e-6,
    1e-4 .. 1e6; officially one alpha for all four numbers, here one for each.

    Args:
        train_features, test_features: (N, D) and (M, D) floats.
        train_targets, test_targets: (N,) and (M,) floats.
        protocol: `comm2025`, or another name in `PROTOCOLS`, which is as `standard`.
        validation: (V, D) features and (V,) targets by which alpha is chosen in place of a fifth of the train rows;
            then both are fitted.

    Returns:
        `r2` on the test rows, 1 at most, 0 where always the mean of the test rows is said; and `mse`.
    """
    truth = np.asarray(test_targets, dtype=np.float64)
    said = predicted_numbers(train_features, train_targets, test_features, protocol=protocol, validation=validation)
    mse, variance = float(np.mean((said - truth) ** 2)), float(np.var(truth))
    return {"r2": 1 - mse / variance if variance else float("nan"), "mse": mse}


def predicted_numbers(
    train_features: ArrayLike,
    train_targets: ArrayLike,
    test_features: ArrayLike,
    *,
    protocol: str = "standard",
    validation: Held = None,
) -> Array:
    """`(M,)` floats, what the probe of [`regression_probe`] says of the test rows."""
    x, y, other, fit, held = _prepared(train_features, train_targets, test_features, protocol, validation)
    ridge = import_module("sklearn.linear_model").Ridge
    alphas = PROTOCOLS[COMM].costs if protocol == COMM else ALPHAS
    errors = {alpha: np.mean((_ridge(ridge, x[fit], y[fit], x[held], alpha) - y[held]) ** 2) for alpha in alphas}
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
        few, all_test = standardised(x[rows], other)
        found.append((_logistic(few, y[rows], 1.0).predict(all_test) == truth).mean())
    return 100 * float(np.mean(found))


def _prepared(
    train_features: ArrayLike, train_labels: ArrayLike, test_features: ArrayLike, protocol: str, validation: Held
) -> tuple[Array, Array, Array, Array, Array]:
    """The features and labels to fit in the end, the features to tell, and the rows to fit on and to choose by."""
    x, y = np.asarray(train_features, dtype=np.float64), np.asarray(train_labels, dtype=np.float64)
    if validation is None:
        fit, held = _halves(len(x))
    else:
        fit, held = np.arange(len(x)), np.arange(len(x), len(x) + len(np.asarray(validation[0])))
        x, y = np.concatenate([x, validation[0]]), np.concatenate([y, validation[1]])
    other = np.asarray(test_features, dtype=np.float64)
    if protocol != COMM:
        x, other = standardised(x, other)
    return x, y, other, fit, held


def standardised(train: ArrayLike, test: ArrayLike) -> tuple[Array, Array]:
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
    """(M, C) floats, the logits of the rows of `other`; a class that all rows have or none is always or never said."""
    logits = np.zeros((len(other), y.shape[1]))
    for number in range(y.shape[1]):
        present = np.unique(y[:, number])
        if len(present) == 1:
            logits[:, number] = 1.0 if present[0] else -1.0
        else:
            logits[:, number] = _logistic(x, y[:, number], cost).decision_function(other)
    return logits


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
