r"""Partial information decomposition of sources of any width, by networks (BATCH).

Of two sources and a label, classifiers say \(p(y|x_1)\), \(p(y|x_2)\) and \(p(y|x_1 x_2)\). Among the distributions q
that agree with the first two, networks look for the one that tells least of the label, by minimising
\(I_q(X_2; Y | X_1)\). Then, with \(I_q = I_1 + I_q(X_2; Y | X_1)\),

\[ R = I_1 + I_2 - I_q, \quad U_1 = I_q - I_2, \quad U_2 = I_q - I_1, \quad S = I_{12} - I_q. \]

Every information is that of the classifiers' own posteriors, not of the labels: a classifier that is too sure of
itself tells more than there is to tell, and all four parts grow with that.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from math import log

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from torch import Tensor, nn
from tqdm.auto import tqdm

from .decomposition import Array, Decomposition, told_by

BATCH = 256
CLASSIFIER_EPOCHS, ALIGNMENT_EPOCHS, LEAST_STEPS = 40, 10, 400
HELD_OUT, CHECKED = 5, 10  # one of so many training rows, looked at every so many steps
LEARNING_RATE = 1e-3
HIDDEN, HIDDEN_LAYERS, WIDTH = 32, 4, 10
ROUNDS, TOLERANCE, STALLED = 500, 0.01, 1e-3
MOST_ROWS, MOST_CLASSES = 20_000, 50
TINY = 1e-12

Rows = tuple[ArrayLike, ArrayLike, ArrayLike]
"""Of both sources `(rows, dim)` floats each, and of the label `(rows,)` integers."""


@dataclass(frozen=True)
class BatchEstimate:
    """Bits by the classifiers' own posteriors on the test rows.

    Attributes:
        parts: The decomposition. U1 and R may be below 0 where posteriors do not fit together.
        first, second, both: What each source and both tell.
        excess: What the classifier of both claims to tell beyond what it does: `both` less [`told_by`] of its
            cross-entropy on the test labels. Near 0 the posteriors can be trusted.
    """

    parts: Decomposition
    first: float
    second: float
    both: float
    excess: float


def decompose_by_networks(train: Rows, test: Rows, *, seed: int = 0, progress: bool = False) -> BatchEstimate:
    r"""The decomposition of two sources and a label, estimated within batches of rows (BATCH).

    Everything is fitted on the training rows and measured on the test rows, in batches of at most `BATCH`, of which
    the mean is taken. Features are centred and scaled as a whole. A classifier is a perceptron with `HIDDEN_LAYERS`
    layers of `HIDDEN` units, trained by Adam on four fifths of the training rows, and kept as it was when it told most
    of the others. With g and h the outputs of such networks of each source for each label,
    `WIDTH` numbers standardised over these, \(q(x_1, x_2 | y)\) is proportional to
    \(e^{\langle g_y(x_1), h_y(x_2) \rangle / \sqrt{10}}\),
    with rows and columns scaled to \(p(y|x_1)\) and \(p(y|x_2)\) in at most `ROUNDS` rounds.

    The trap: information is that of the classifiers' own posteriors, not of the labels. One that is too sure of the
    test rows inflates all four parts; see `excess`.

    Source: Liang et al., "Quantifying & Modeling Multimodal Interactions: An Information Decomposition Framework",
    NeurIPS 2023, with the sizes of its official code. What differs: features are scaled; networks take `LEAST_STEPS`
    steps at least, which small sets need, and classifiers stop by held-out rows; test rows are shuffled and cut into
    equal batches, where the code takes them in order and drops the last ones; scaling also ends where it changes
    nothing any more.

    Args:
        train, test: Both sources and the label; every test label is among those of train. Of more than `MOST_ROWS`
            rows so many are drawn.
        seed: Of the networks, of the order of rows, and of those that are drawn. Equal seeds give equal bits on one
            machine.
        progress: Show a progress bar.

    Raises:
        ValueError: If there are too few rows or too many labels.
    """
    labels = [np.asarray(part[2]) for part in (train, test)]
    classes = np.unique(labels[0])
    if not 2 <= len(classes) <= MOST_CLASSES:
        raise ValueError(f"there are {len(classes)} labels: networks tell of 2 to {MOST_CLASSES}")
    if min(map(len, labels)) < 2:
        raise ValueError("two training rows and two test rows or more are needed")
    if len(unknown := np.setdiff1d(labels[1], classes)):
        raise ValueError(f"the test label {unknown[0]} is that of no training row")
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        torch.random.fork_rng(devices=[]),
        import_module("threadpoolctl").threadpool_limits(1),
    ):
        torch.manual_seed(seed)
        rng = torch.Generator().manual_seed(seed)
        kept = [torch.randperm(len(part), generator=rng)[:MOST_ROWS].numpy() for part in labels]
        sources: tuple[list[Tensor], list[Tensor]] = ([], [])
        for number in range(2):
            rows = [np.asarray(part[number])[own] for part, own in zip((train, test), kept, strict=True)]
            for side, values in zip(sources, _scaled(*rows), strict=True):
                side.append(torch.tensor(values, dtype=torch.float32))
        codes = [torch.tensor(np.searchsorted(classes, part[own])) for part, own in zip(labels, kept, strict=True)]
        known, new = (_Side(side, code) for side, code in zip(sources, codes, strict=True))
        return _estimate(known, new, len(classes), rng, progress)


@dataclass(frozen=True)
class _Side:
    """The rows to fit on, or to measure on."""

    sources: list[Tensor]
    labels: Tensor

    def inputs(self) -> list[Tensor]:
        """Of the three classifiers."""
        return [*self.sources, torch.cat(self.sources, dim=1)]


def _estimate(known: _Side, new: _Side, labels: int, rng: torch.Generator, progress: bool) -> BatchEstimate:
    rows = len(known.labels)
    steps = 3 * _steps(rows, CLASSIFIER_EPOCHS) + _steps(rows, ALIGNMENT_EPOCHS)
    with tqdm(total=steps, desc="Bits by networks", unit="step", disable=not progress) as bar:
        classifiers = [_classifier(own, known.labels, labels, rng, bar) for own in known.inputs()]
        with torch.no_grad():
            first, second = (
                network(own).softmax(dim=1) for network, own in zip(classifiers, known.sources, strict=False)
            )
            told = [network(own).log_softmax(dim=1) for network, own in zip(classifiers, new.inputs(), strict=True)]
        coupling = Coupling(known.sources[0].shape[1], known.sources[1].shape[1], labels)
        optimizer = torch.optim.Adam(coupling.parameters(), lr=LEARNING_RATE)
        for own in _batches(rows, _steps(rows, ALIGNMENT_EPOCHS), rng):
            optimizer.zero_grad()
            joint = coupling(known.sources[0][own], known.sources[1][own], first[own], second[own])
            conditional_information(joint, first[own]).backward()
            optimizer.step()
            bar.update()
    shares = known.labels.bincount(minlength=labels).double() / rows
    order, found = torch.randperm(len(new.labels), generator=rng), []
    with torch.no_grad():
        for own in order.tensor_split(-(-len(order) // BATCH)):
            posteriors = [part[own].exp() for part in told[:2]]
            joint = coupling(new.sources[0][own], new.sources[1][own], *posteriors).double()
            each = [information(part[own].double(), shares) for part in told]
            found.append(torch.stack([*each, conditional_information(joint, posteriors[0].double())]))
    i1, i2, both, more = (torch.stack(found).mean(dim=0) / log(2)).tolist()
    losses = -told[2].double().gather(1, new.labels[:, None]).squeeze(1)
    parts = Decomposition(i2 - more, i1 + more - i2, more, both - i1 - more)
    return BatchEstimate(parts, i1, i2, both, both - float(told_by(losses.numpy(), new.labels.numpy())))


def _classifier(rows: Tensor, truth: Tensor, labels: int, rng: torch.Generator, bar: tqdm) -> nn.Module:
    """As it was when it told most of the rows that it is not fitted to."""
    network = _perceptron(rows.shape[1], labels)
    optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
    held, fitted = torch.randperm(len(rows), generator=rng).split_with_sizes(
        [len(rows) // HELD_OUT, len(rows) - len(rows) // HELD_OUT]
    )
    best, kept = float("inf"), network.state_dict()
    for step, own in enumerate(_batches(len(fitted), _steps(len(rows), CLASSIFIER_EPOCHS), rng), start=1):
        optimizer.zero_grad()
        F.cross_entropy(network(rows[fitted[own]]), truth[fitted[own]]).backward()
        optimizer.step()
        bar.update()
        if step % CHECKED == 0 and len(held):
            with torch.no_grad():
                loss = float(F.cross_entropy(network(rows[held]), truth[held]))
            if loss < best:
                best, kept = loss, {name: value.clone() for name, value in network.state_dict().items()}
    network.load_state_dict(kept)
    return network


class Coupling(nn.Module):
    r"""The weights of \(q(x_1, x_2 | y)\) between the rows of a batch.

    Args:
        first, second: Widths of both sources.
        labels: How many there are.
    """

    def __init__(self, first: int, second: int, labels: int) -> None:
        super().__init__()
        self.first, self.second = (_perceptron(width, labels * WIDTH) for width in (first, second))

    def forward(self, x1: Tensor, x2: Tensor, p1: Tensor, p2: Tensor) -> Tensor:
        """`(labels, rows, rows)` of the posteriors `(rows, labels)` of each source."""
        g, h = (
            _standard(network(own).unflatten(1, (-1, WIDTH))) for network, own in ((self.first, x1), (self.second, x2))
        )
        kernel = torch.einsum("alw,blw->lab", g, h).div(WIDTH**0.5).exp()
        return project(kernel, p1.T, p2.T)


def project(
    kernel: Tensor, first: Tensor, second: Tensor, *, rounds: int = ROUNDS, tolerance: float = TOLERANCE
) -> Tensor:
    """A positive matrix for each label whose rows and columns are scaled to sums (Sinkhorn), with gradients.

    Columns and rows are scaled by turns. It ends where all sums of the others are right up to the tolerance, and where
    they do not change any more, as when both ask for different totals. Only the factors of rows and columns are kept
    of a round.

    Args:
        kernel: `(labels, rows, columns)`, above 0.
        first: `(labels, rows)` sums of rows, 0 or more.
        second: `(labels, columns)` sums of columns.
        rounds: At most.
        tolerance: Of a sum.
    """
    of_rows, of_columns = torch.ones_like(first), torch.ones_like(second)
    seen = (kernel.mT @ of_rows[..., None]).squeeze(-1)
    wrong = torch.full_like(second, torch.inf)
    for _ in range(rounds):
        of_columns = second / (seen + TINY)
        reached = (kernel @ of_columns[..., None]).squeeze(-1)
        if (of_rows * reached - first).abs().max() <= tolerance:
            break
        of_rows = first / (reached + TINY)
        seen = (kernel.mT @ of_rows[..., None]).squeeze(-1)
        before, wrong = wrong, (of_columns * seen - second).detach()
        if wrong.abs().max() <= tolerance or (wrong - before).abs().max() <= STALLED * tolerance:
            break
    return of_rows[..., None] * kernel * of_columns[..., None, :]


def conditional_information(joint: Tensor, given: Tensor) -> Tensor:
    r"""\(I_q(X_2; Y | X_1)\) in nats, the mean over rows of the first source.

    \[ \frac1N \sum_{x_1} \sum_{x_2, y} p(y|x_1)\, q(x_2|x_1, y) \log \frac{q(x_2|x_1, y)}{\sum_{y'} p(y'|x_1)\,
       q(x_2|x_1, y')} \]

    Args:
        joint: `(labels, rows, columns)`, proportional to q of the columns for each label and row.
        given: `(rows, labels)`, \(p(y|x_1)\).
    """
    q = joint / (joint.sum(dim=2, keepdim=True) + TINY)
    p = given.T[..., None]
    ratio = (q + TINY).log() - ((p * q).sum(dim=0) + TINY).log()
    return (p * q * ratio).sum(dim=(0, 2)).mean()


def information(log_posteriors: Tensor, shares: Tensor) -> Tensor:
    r"""The mean over rows of \(\sum_y p(y|x) \log (p(y|x) / p(y))\), nats.

    Args:
        log_posteriors: `(rows, labels)`.
        shares: `(labels,)`, above 0.
    """
    return (log_posteriors.exp() * (log_posteriors - shares.log())).sum(dim=1).mean()


def _scaled(train: ArrayLike, test: ArrayLike) -> tuple[Array, Array]:
    """Both less the mean of the train rows, over one deviation of all dimensions: small ones stay small."""
    x, other = np.asarray(train, dtype=np.float64), np.asarray(test, dtype=np.float64)
    mean = x.mean(axis=0)
    deviation = float(np.sqrt(x.var(axis=0).mean())) or 1.0
    return (x - mean) / deviation, (other - mean) / deviation


def _perceptron(width: int, outputs: int) -> nn.Sequential:
    widths = [width] + [HIDDEN] * HIDDEN_LAYERS
    layers: list[nn.Module] = []
    for before, after in zip(widths, widths[1:], strict=False):
        layers += [nn.Linear(before, after, dtype=torch.float32), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(HIDDEN, outputs, dtype=torch.float32))


def _standard(vectors: Tensor) -> Tensor:
    """Each less its mean, over its deviation."""
    centred = vectors - vectors.mean(dim=-1, keepdim=True)
    return centred / (centred.var(dim=-1, keepdim=True) + 1e-8).sqrt()


def _steps(rows: int, epochs: int) -> int:
    return max(epochs * max(1, rows // BATCH), LEAST_STEPS)


def _batches(rows: int, steps: int, rng: torch.Generator) -> Iterator[Tensor]:
    """So many batches in random order, epoch by epoch; what does not fill one is left out of its epoch."""
    done = 0
    while done < steps:
        order = torch.randperm(rows, generator=rng)
        for number in range(min(max(1, rows // BATCH), steps - done)):
            yield order[number * BATCH : (number + 1) * BATCH]
            done += 1
