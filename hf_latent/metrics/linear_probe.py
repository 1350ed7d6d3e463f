"""Linear probe: how well a linear classifier reads a label from frozen features.

The first two protocols (`PROTOCOLS`) share one course: choose the inverse regularization C by macro accuracy on a
stratified hold-out of the train set, refit on all of it, score on the test set. scikit-learn is imported on first use.

* `standard`: standardised features and scikit-learn's L2-penalised logistic regression; seconds.
* `comm2025`: the probe of CoMM (Dufumier et al., "What to align in multimodal contrastive learning?", ICLR 2025) as
  its official code runs it, two-stage search of C included. Slower. As the norm is not squared, W = 0 is the optimum
  up to some C; near that C the hold-out and the refit can disagree, and a score be exactly chance.
* `cyclip`: the probe of CyCLIP's code, on which Jiang et al. (CVPR 2023) build: one linear layer on features as they
  are, AdamW at 0.005 with weight decay 0.01 (none on the bias), cosine to 0 over 32 epochs of batches of 128. Nothing
  is chosen on a hold-out.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from math import log10
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike, NDArray

Array = NDArray[Any]
LinearMap = tuple[Array, Array]  # weight (K, D) and bias (K,) of a fitted classifier


@dataclass(frozen=True)
class Protocol:
    """How the probe is fitted and its C chosen.

    Args:
        standardize: shift and scale features by the train set's mean and standard deviation.
        squared_norm: penalty 1/2 ||W||^2 and C x summed cross-entropy (scikit-learn); else `comm2025_objective`.
        costs: values of C tried in the first sweep.
        train_fraction: share of the train set fitted on while C is chosen; the rest is the hold-out.
        refine: search further within two decades of the best C, 29 log-spaced values, by bisection.
        max_iter: L-BFGS iterations of each fit.
        epochs: of AdamW; where given, all of the train set is fitted once, and the rest above does not count.
    """

    standardize: bool
    squared_norm: bool
    costs: tuple[float, ...]
    train_fraction: float
    refine: bool = False
    max_iter: int = 100
    epochs: int | None = None


ADAMW_DECAY = 0.01
_COMM_COSTS = (1e-6, 1e-4, 1e-2, 1.0, 1e2, 1e4, 1e6)
PROTOCOLS: dict[str, Protocol] = {
    "standard": Protocol(standardize=True, squared_norm=True, costs=(1e-4, 1e-3, 1e-2, 1e-1, 1.0), train_fraction=0.8),
    "comm2025": Protocol(standardize=False, squared_norm=False, costs=_COMM_COSTS, train_fraction=0.6, refine=True),
    "cyclip": Protocol(standardize=False, squared_norm=True, costs=(), train_fraction=1.0, epochs=32),
}


@dataclass(frozen=True)
class ProbeResult:
    """Scores on the test set.

    Attributes:
        accuracy: share of rows predicted right, in percent.
        balanced_accuracy: macro accuracy, the mean of the recalls of the classes present in test, in percent.
        auroc: area under the ROC curve, 0..1, the larger label positive; None unless train and test hold two classes.
        regularization: the C chosen (larger is weaker regularization); of `cyclip` the weight decay.
    """

    accuracy: float
    balanced_accuracy: float
    auroc: float | None
    regularization: float


@dataclass(frozen=True, eq=False)
class Probe:
    """A fitted linear classifier; made by `fit_probe`.

    Attributes:
        classes: (K,) the labels, sorted.
        weight, bias: (K, D) and (K,).
        mean, std: (D,) what features are shifted and scaled by first.
        regularization: as in `ProbeResult`.
    """

    classes: Array
    weight: Array
    bias: Array
    mean: Array
    std: Array
    regularization: float

    def logits(self, features: ArrayLike) -> Array:
        """(M, K) of (M, D) features."""
        x = (np.asarray(features, dtype=np.float32) - self.mean) / self.std
        return _logits((self.weight, self.bias), x)

    def probabilities(self, features: ArrayLike) -> Array:
        """(M, K) float32 of (M, D) features; rows sum to 1."""
        return _softmax(self.logits(features))


def linear_probe(
    train_features: ArrayLike,
    train_labels: ArrayLike,
    test_features: ArrayLike,
    test_labels: ArrayLike,
    *,
    protocol: str = "standard",
    balanced: bool = False,
    validation: tuple[ArrayLike, ArrayLike] | None = None,
) -> ProbeResult:
    """Fit a linear classifier on train features and score it on test features. Deterministic.

    Args:
        train_features: (N, D) floats. Computed in float32.
        train_labels: (N,) integers, at least two classes; they need not be 0..K-1.
        test_features: (M, D) floats.
        test_labels: (M,) integers, all of them known to train.
        protocol: a name in `PROTOCOLS`.
        balanced: weight each class by its inverse frequency in the loss.
        validation: (V, D) features and (V,) labels by which C is chosen in place of a part of the train set; then both
            are fitted.

    Raises:
        ValueError: unknown protocol, NaN or infinite features, shapes that do not fit, one single class in train,
            too few rows to hold some out, or validation or test labels unseen in train.
        ImportError: scikit-learn is missing.

    Source: Dufumier et al. (ICLR 2025) and the official `evaluation/linear_probe.py`.
    """
    x_train, y_train = _checked(train_features, train_labels, "train")
    x_test, y_test = _checked(test_features, test_labels, "test")
    if x_train.shape[1] != x_test.shape[1]:
        raise ValueError(f"Train features have {x_train.shape[1]} columns, test features {x_test.shape[1]}.")
    probe = fit_probe(x_train, y_train, protocol=protocol, balanced=balanced, validation=validation)
    return score_probe(probe, x_test, y_test)


def check_probe_labels(train_labels: ArrayLike, test_labels: ArrayLike, protocol: str = "standard") -> None:
    """A ValueError where `linear_probe` could not be fitted on labels (N,) or scored on labels (M,), whatever the
    features: one single class, a class of too few rows, or one that train has not."""
    classes, train = np.unique(np.asarray(train_labels), return_inverse=True)
    if len(classes) < 2:
        raise ValueError(f"The train labels hold {len(classes)} class(es); a probe needs two or more.")
    if unseen := np.setdiff1d(test_labels, classes).tolist():
        raise ValueError(f"The test labels {unseen} are not among the train labels.")
    if not len(np.asarray(test_labels)):
        raise ValueError("No test row has a label.")
    if PROTOCOLS[protocol].epochs is None:
        _stratified_split(train, PROTOCOLS[protocol].train_fraction)


def fit_probe(
    train_features: ArrayLike,
    train_labels: ArrayLike,
    *,
    protocol: str = "standard",
    balanced: bool = False,
    validation: tuple[ArrayLike, ArrayLike] | None = None,
) -> Probe:
    """The classifier that `linear_probe` scores; arguments and errors are its own."""
    if (preset := PROTOCOLS.get(protocol)) is None:
        raise ValueError(f"Unknown probe protocol {protocol!r}; choose one of {', '.join(sorted(PROTOCOLS))}.")
    x, y = _checked(train_features, train_labels, "train")
    if len(np.unique(y)) < 2:
        raise ValueError(f"The train labels hold one single class ({y[0]}); a probe needs two or more.")
    train_rows = len(x)
    if validation is not None:
        x_held, y_held = _checked(*validation, "validation")
        if unseen := np.setdiff1d(y_held, y).tolist():
            raise ValueError(f"The validation labels {unseen} are not among the train labels.")
        x, y = np.concatenate([x, x_held]), np.concatenate([y, y_held])
    classes, y = np.unique(y, return_inverse=True)
    mean, std = np.zeros(x.shape[1], np.float32), np.ones(x.shape[1], np.float32)
    if preset.standardize:
        mean, std = x.mean(0), x.std(0)
        std[std < 1e-6 * (1 + np.abs(mean))] = 1.0  # constant up to rounding: do not blow up the noise
        x = (x - mean) / std
    if preset.epochs is not None:
        return Probe(classes, *_fit_adamw(x, y, preset.epochs, balanced), mean, std, ADAMW_DECAY)
    if validation is None:
        fit_part, holdout = _stratified_split(y, preset.train_fraction)
    else:
        fit_part, holdout = np.arange(train_rows), np.arange(train_rows, len(x))

    @cache
    def score(cost: float) -> float:
        classifier = _fit(x[fit_part], y[fit_part], cost, preset, balanced)
        accuracy = _macro_accuracy(_predicted(_logits(classifier, x[holdout])), y[holdout])
        return round(accuracy, 6)  # so that ties are ties, not the noise of a sum

    cost = _choose_cost(score, preset)
    everything = np.concatenate([fit_part, holdout])  # in the official order
    return Probe(classes, *_fit(x[everything], y[everything], cost, preset, balanced), mean, std, cost)


def score_probe(probe: Probe, test_features: ArrayLike, test_labels: ArrayLike) -> ProbeResult:
    """The scores of a fitted classifier on (M, D) features and (M,) labels.

    Raises:
        ValueError: labels that the classifier does not know.
    """
    if unseen := np.setdiff1d(test_labels, probe.classes).tolist():
        raise ValueError(f"The test labels {unseen} are not among the train labels.")
    logits, labels = probe.logits(test_features), np.searchsorted(probe.classes, test_labels)
    predicted = _predicted(logits)
    auroc = None
    if len(probe.classes) == len(np.unique(labels)) == 2:
        auroc = float(_sklearn("metrics").roc_auc_score(labels, logits[:, 1] - logits[:, 0]))
    accuracy = float((predicted == labels).mean())
    return ProbeResult(100.0 * accuracy, 100.0 * _macro_accuracy(predicted, labels), auroc, probe.regularization)


def comm2025_objective(
    weight: torch.Tensor,
    bias: torch.Tensor,
    features: torch.Tensor,
    labels: torch.Tensor,
    cost: float,
    class_weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """Penalised loss of the official CoMM probe: mean cross-entropy + (1/C) 1/2 ||W||, the norm *not* squared.

    `weight` (K, D) with its Frobenius norm; `bias` (K,), not penalised; `features` (N, D); `labels` (N,) in 0..K-1;
    `cost` C; `class_weights` (K,) make the cross-entropy a weighted mean, None (the paper) is all one.
    Source: `evaluation/logistic_regression.py` of the official code.
    """
    loss = F.cross_entropy(F.linear(features, weight, bias), labels, weight=class_weights)
    return loss + 0.5 / cost * weight.norm()


def _fit(features: Array, labels: Array, cost: float, protocol: Protocol, balanced: bool) -> LinearMap:
    solver = _fit_standard if protocol.squared_norm else _fit_comm2025
    # One thread: two were 3 to 4 times slower on a busy machine of two cores, and L-BFGS stopped early feels the order
    # of sums, so the number of cores would show. threadpoolctl comes with scikit-learn.
    with import_module("threadpoolctl").threadpool_limits(1):
        return solver(features, labels, cost, protocol.max_iter, balanced)


def _fit_standard(features: Array, labels: Array, cost: float, max_iter: int, balanced: bool) -> LinearMap:
    class_weight = "balanced" if balanced else None
    model = _sklearn("linear_model").LogisticRegression(C=cost, max_iter=max_iter, class_weight=class_weight)
    with warnings.catch_warnings():  # stopping at max_iter is meant
        warnings.simplefilter("ignore", _sklearn("exceptions").ConvergenceWarning)
        model.fit(features, labels)
    weight, bias = model.coef_, model.intercept_
    if len(weight) == 1:  # two classes: scikit-learn keeps the row of the positive one
        weight, bias = np.concatenate([0 * weight, weight]), np.concatenate([0 * bias, bias])
    return weight, bias


def _fit_comm2025(features: Array, labels: Array, cost: float, max_iter: int, balanced: bool) -> LinearMap:
    with torch.inference_mode(False), torch.enable_grad():  # callers probe under `no_grad` and `inference_mode`
        x, y = torch.tensor(features), torch.tensor(labels)
        counts = y.bincount()
        class_weights = len(y) / (len(counts) * counts).to(x) if balanced else None
        weight = x.new_zeros(len(counts), x.shape[1]).requires_grad_()
        bias = x.new_zeros(len(counts)).requires_grad_()
        optimizer = torch.optim.LBFGS([weight, bias], max_iter=max_iter, line_search_fn="strong_wolfe")

        def closure() -> float:
            optimizer.zero_grad()
            loss = comm2025_objective(weight, bias, x, y, cost, class_weights)
            loss.backward()
            return loss.item()

        optimizer.step(closure)
    return weight.detach().numpy(), bias.detach().numpy()


def _fit_adamw(features: Array, labels: Array, epochs: int, balanced: bool) -> LinearMap:
    """`cyclip`. The initial weights and the order of the rows come from a generator of their own."""
    rng = torch.Generator().manual_seed(0)
    with torch.inference_mode(False), torch.enable_grad(), import_module("threadpoolctl").threadpool_limits(1):
        x, y = torch.tensor(features), torch.tensor(labels)
        counts = y.bincount()
        class_weights = len(y) / (len(counts) * counts).to(x) if balanced else None
        bound = x.shape[1] ** -0.5  # as nn.Linear begins
        weight, bias = (
            (torch.rand(shape, generator=rng) * 2 - 1).mul_(bound).requires_grad_()
            for shape in ((len(counts), x.shape[1]), (len(counts),))
        )
        groups = [{"params": [weight], "weight_decay": ADAMW_DECAY}, {"params": [bias], "weight_decay": 0.0}]
        optimizer = torch.optim.AdamW(groups, lr=0.005)
        steps = epochs * -(-len(x) // 128)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for _ in range(epochs):
            for rows in torch.randperm(len(x), generator=rng).split(128):
                optimizer.zero_grad()
                F.cross_entropy(F.linear(x[rows], weight, bias), y[rows], weight=class_weights).backward()
                optimizer.step()
                schedule.step()
    return weight.detach().numpy(), bias.detach().numpy()


def _choose_cost(score: Callable[[float], float], protocol: Protocol) -> float:
    """Best C; among equals the first one tried. `refine` looks at the quartiles, keeps the half around the best."""
    tried = {cost: score(cost) for cost in protocol.costs}
    best = max(tried, key=tried.__getitem__)
    if not protocol.refine:
        return best
    around = torch.logspace(log10(best) - 2, log10(best) + 2, 29).tolist()
    grid = [cost for cost in around if protocol.costs[0] <= cost <= protocol.costs[-1]]
    while len(grid) > 1:
        left, middle, right = len(grid) // 4, len(grid) // 2, len(grid) - -(-len(grid) // 4)
        tried |= {grid[i]: score(grid[i]) for i in (left, middle, right)}
        best = max(grid[left], grid[right], grid[middle], key=tried.__getitem__)  # among equals in this order
        keep = {grid[middle]: slice(left, right), grid[right]: slice(middle, None), grid[left]: slice(middle)}
        grid = grid[keep[best]]
    return max(tried, key=tried.__getitem__)


def _logits(classifier: LinearMap, features: Array) -> Array:
    weight, bias = classifier
    return features @ weight.T + bias


def _softmax(logits: Array) -> Array:
    return torch.tensor(logits).softmax(-1).numpy()


def _predicted(logits: Array) -> Array:
    """Class ids (N,), read off float32 probabilities as officially (weights of 1e-8 then tell nothing)."""
    return _softmax(logits).argmax(-1)


def _macro_accuracy(predicted: Array, labels: Array) -> float:
    return float(np.mean([(predicted[labels == label] == label).mean() for label in np.unique(labels)]))


def _stratified_split(labels: Array, train_fraction: float) -> tuple[Array, Array]:
    counts = np.bincount(labels)
    n_fit = int(train_fraction * len(labels))
    if counts.min() < 2 or min(n_fit, len(labels) - n_fit) < len(counts):
        raise ValueError(
            f"The train set is too small to hold rows out while C is chosen: {len(labels)} rows, {len(counts)} "
            f"classes, {counts.min()} row(s) in the rarest; each part needs a row of each class. Give more train rows."
        )
    splits = _sklearn("model_selection").StratifiedShuffleSplit(
        1, train_size=train_fraction, random_state=48
    )  # as officially
    return next(splits.split(np.zeros((len(labels), 1)), labels))


def _checked(features: ArrayLike, labels: ArrayLike, split: str) -> tuple[Array, Array]:
    x, y = np.asarray(features, dtype=np.float32), np.asarray(labels)
    if x.ndim != 2 or y.ndim != 1:
        raise ValueError(f"The {split} features must be (N, D) and labels (N,); got {x.shape} and {y.shape}.")
    if len(x) != len(y) or not len(x):
        raise ValueError(f"There are {len(x)} {split} features and {len(y)} {split} labels; give one label a row.")
    if y.dtype.kind not in "iub":
        raise ValueError(f"The {split} labels must be integers (class ids); got {y.dtype}.")
    if len(bad := np.flatnonzero(~np.isfinite(x).all(1))):
        raise ValueError(f"The {split} features are NaN or infinite in {len(bad)} row(s), first in row {bad[0]}.")
    return x, y.astype(np.int64)


def _sklearn(module: str) -> Any:
    try:
        return import_module(f"sklearn.{module}")
    except ImportError as error:
        raise ImportError("Linear probes need scikit-learn: pip install scikit-learn") from error
