r"""Partial information decomposition: what two sources tell of a target together, alone, and only jointly.

In every such decomposition, with \(I_1, I_2, I_{12}\) what each source and both tell of the target,

\[ I_1 = R + U_1, \quad I_2 = R + U_2, \quad I_{12} = R + U_1 + U_2 + S, \]

R redundant, U unique and S synergistic information. Everything is in bits.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .other_probes import standardised

Array = NDArray[np.float64]
ROUNDS, SCALINGS = 4000, 20
TINY = 1e-300
COSTS = (1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)


@dataclass(frozen=True)
class Decomposition:
    """Bits of redundant, unique and synergistic information."""

    redundancy: float
    unique1: float
    unique2: float
    synergy: float


def decompose(joint: ArrayLike, *, rounds: int = ROUNDS, tolerance: float = 1e-9) -> Decomposition:
    r"""The decomposition of a distribution of two discrete sources and a target (BROJA).

    \[ R = I_1 + I_2 - I_Q, \quad U_1 = I_Q - I_2, \quad U_2 = I_Q - I_1, \quad S = I_{12} - I_Q \]

    where Q tells least of the target, \(I_Q = I_Q(X_1 X_2; Y)\), among the distributions that agree with the given one
    about each source and the target. It is found by turns: \(r = \sum_y Q_y\), and each \(Q_y\) is the projection of r
    on the two margins, by scaling rows and columns.

    Args:
        joint: `(x1, x2, y)`, counts or probabilities, 0 or more.
        rounds: Turns, at most.
        tolerance: Of the bits that a turn changes.

    Raises:
        ValueError: If it is no such array.

    Source: Bertschinger, Rauh, Olbrich, Jost and Ay, Entropy 2014, definition 3; Liang et al., "Quantifying & Modeling
    Multimodal Interactions", NeurIPS 2023, the estimator CVX.
    """
    p = np.asarray(joint, dtype=np.float64)
    if p.ndim != 3 or not p.size or (p < 0).any() or not np.isfinite(p).all() or not p.sum():
        raise ValueError(
            f"The joint distribution must be (x1, x2, y), finite and 0 or more, not all 0; got {p.shape}."
        )
    p = p / p.sum()
    p = p[p.sum((1, 2)) > 0][:, p.sum((0, 2)) > 0][:, :, p.sum((0, 1)) > 0]
    first, second, target = p.sum(1), p.sum(0), p.sum((0, 1))
    each = _bits(first), _bits(second)
    both = _bits(p.reshape(-1, p.shape[2]))
    # Begins where the sources are independent given the target, which has every value that may occur.
    q = first[:, None] * second[None] / target
    least = _bits(q.reshape(-1, q.shape[2]))
    for _ in range(rounds):
        q = _project(q.sum(2), first, second)
        found = _bits(q.reshape(-1, q.shape[2]))
        done, least = abs(least - found) < tolerance, found
        if done:
            break
    least = min(max(least, *each), both)
    return Decomposition(each[0] + each[1] - least, least - each[1], least - each[0], both - least)


def _project(r: Array, first: Array, second: Array) -> Array:
    """(x1, x2, y), what is nearest to r for each value of the target and has the two margins."""
    q = np.repeat(r[:, :, None], first.shape[1], axis=2)
    for _ in range(SCALINGS):
        q *= (first / np.maximum(q.sum(1), TINY))[:, None]
        q *= (second / np.maximum(q.sum(0), TINY))[None]
    return q


def _bits(joint: Array) -> float:
    """The mutual information of rows and columns, `(x, y)` probabilities."""
    outer = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    there = joint > 0
    return float((joint[there] * np.log2(joint[there] / np.maximum(outer[there], TINY))).sum())


@dataclass(frozen=True)
class Bounds:
    """The least and the most bits that fit."""

    redundancy: tuple[float, float]
    unique1: tuple[float, float]
    unique2: tuple[float, float]
    synergy: tuple[float, float]


def bounds(first: float, second: float, both: float) -> Bounds:
    r"""What any decomposition can be, of what each source and both tell of the target.

    With \(c = I_1 + I_2 - I_{12}\): \(\max(0, c) \le R \le \min(I_1, I_2)\), \(S = R - c\), \(U_i = I_i - R\).

    Args:
        first, second, both: Bits, such as [`told_by`] finds; below 0 they are 0, and `both` is at least either.
    """
    first, second = max(first, 0.0), max(second, 0.0)
    both = max(both, first, second)
    c = first + second - both
    low, high = max(0.0, c), min(first, second)
    return Bounds((low, high), (first - high, first - low), (second - high, second - low), (low - c, high - c))


def told_by(log_losses: ArrayLike, labels: ArrayLike) -> float:
    r"""Bits that a classifier shows its input to tell of a label: \(H(Y) - \mathrm{E}[-\log_2 p(y | x)]\).

    It is at most what the input tells, up to the error of the estimate.

    Args:
        log_losses: `(N,)` nats, \(-\log p(y_i | x_i)\) on rows that the classifier was not fitted on.
        labels: `(N,)` integers of 0 or more.
    """
    shares = np.bincount(np.asarray(labels)) / len(np.asarray(labels))
    entropy = -float((shares[shares > 0] * np.log2(shares[shares > 0])).sum())
    return entropy - float(np.mean(np.asarray(log_losses))) / np.log(2)


def probe_log_losses(
    train_features: ArrayLike, train_labels: ArrayLike, test_features: ArrayLike, test_labels: ArrayLike
) -> Array:
    """The cross-entropy of a logistic regression on each test row, for [`told_by`].

    Features are standardised; its C is that of `COSTS` with the least cross-entropy on a fifth of the train rows,
    drawn with a fixed seed; then all are fitted.

    Args:
        train_features, test_features: (N, D) and (M, D) floats.
        train_labels, test_labels: (N,) and (M,) integers; every test label is among those of train.

    Returns:
        (M,) nats.
    """
    x, other = standardised(train_features, test_features)
    y, truth = np.asarray(train_labels), np.asarray(test_labels)
    classes = np.unique(y)
    order = np.random.default_rng(0).permutation(len(x))
    held, fit = order[: max(1, len(x) // 5)], order[max(1, len(x) // 5) :]
    held = held[np.isin(y[held], y[fit])]

    def losses(rows: NDArray[np.int64], inputs: Array, labels: Array, cost: float) -> Array:
        with warnings.catch_warnings(), import_module("threadpoolctl").threadpool_limits(1):
            warnings.simplefilter("ignore", import_module("sklearn.exceptions").ConvergenceWarning)
            model = (
                import_module("sklearn.linear_model").LogisticRegression(C=cost, max_iter=500).fit(x[rows], y[rows])
            )
        known = model.predict_log_proba(inputs)
        return np.asarray(-known[np.arange(len(inputs)), np.searchsorted(model.classes_, labels)])

    if len(np.unique(y[fit])) < len(classes) or not len(held):
        best = 1.0
    else:
        best = min(COSTS, key=lambda cost: float(losses(fit, x[held], y[held], cost).mean()))
    return losses(np.arange(len(x)), other, truth, best)


def counted(first: ArrayLike, second: ArrayLike, target: ArrayLike) -> Array:
    """`(x1, x2, y)` counts of three columns of integers of 0 or more, `(N,)` each."""
    columns = [np.asarray(column) for column in (first, second, target)]
    found = np.zeros([int(column.max()) + 1 for column in columns])
    np.add.at(found, tuple(columns), 1)
    return found


def bootstrap(
    estimate: Callable[[NDArray[np.int64]], Array], rows: int, draws: int = 200, seed: int = 0, share: float = 0.95
) -> tuple[Array, Array]:
    """The ends of the percentile intervals of numbers that are estimated from rows.

    Args:
        estimate: Gives `(numbers,)` for the numbers of rows that were drawn, with repetition.
        rows: How many there are.
        draws: Drawings.
        seed: Of the drawings.
        share: That lies between the ends.
    """
    rng = np.random.default_rng(seed)
    found = np.stack([estimate(rng.integers(rows, size=rows)) for _ in range(draws)])
    low, high = np.quantile(found, [(1 - share) / 2, (1 + share) / 2], axis=0)
    return low, high
