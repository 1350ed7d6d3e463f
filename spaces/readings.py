"""What linear probes read of the labels of rows: from each modality alone, and from all together."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import torch
from explorer import FUSED, Explorer, unit
from torch import Tensor

from hf_latent.data.loaded import Label
from hf_latent.data.sample import Sample, told_label
from hf_latent.errors import UserError
from hf_latent.metrics import fit_probe
from hf_latent.metrics.chance import top_k_chance, weighted_f1_chance
from hf_latent.metrics.other_probes import class_scores, predicted_numbers

FITTED = 500  # training rows, at most
FEWEST = 8  # rows of either side whose label is known
MOST = 12  # labels
MOST_CLASSES = 20  # of a multilabel, the commonest: each has a probe of its own
KINDS = ("class", "multilabel", "number")
TOGETHER = "all together"


@dataclass(frozen=True)
class Reading:
    """What one probe says of each row.

    Attributes:
        said: In words.
        right: Whether that is so; None where the label is missing, or is a number.
        shares: How probable it is, 0 to 1; None of numbers and multilabels.
        score: On the held-out rows whose label is known: percent right, weighted F1 in percent, or R².
    """

    said: list[str]
    right: list[bool | None]
    shares: np.ndarray | None
    score: float


@dataclass(frozen=True)
class LabelReading:
    """What probes of one label say.

    Attributes:
        label: Which.
        truth: Of each row in words; empty where it is missing.
        views: Of each view.
        chance: The score of the best constant answer.
        measure: What the score is.
        rows: How many held-out rows it is of.
    """

    label: Label
    truth: list[str]
    views: Mapping[str, Reading]
    chance: float
    measure: str
    rows: int


class Readings:
    """Linear probes of every label on every view, fitted on training rows.

    Attributes:
        views: Those of each modality alone and of all together.
        fitted: How many training rows they were fitted on.
        labels: What they say.
        left_out: Label -> why nothing reads it.
    """

    def __init__(self, explorer: Explorer) -> None:
        sample = explorer.sample
        assert explorer.source is not None
        train = explorer.source.sample(FITTED, explorer.reader, "train")
        read, held = features(unit(explorer.embed(train.values))), features(explorer.unit)
        self.views, self.fitted = list(held), len(train)
        self.labels: dict[str, LabelReading] = {}
        self.left_out: dict[str, str] = {}
        for name in [name for name, label in sample.labels.items() if label.kind in KINDS][:MOST]:
            try:
                self.labels[name] = reading_of(name, train, sample, read, held)
            except (UserError, ValueError) as error:
                self.left_out[name] = str(error)


@cache
def readings_of(explorer: Explorer) -> Readings:
    """The readings of a model, made once."""
    return Readings(explorer)


def features(found: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """View -> `(N, D)`: each modality alone, and all together, side by side where the model does not fuse them."""
    alone = {name: rows for name, rows in found.items() if name != FUSED}
    together = found[FUSED] if FUSED in found else torch.cat(list(alone.values()), dim=1)
    return {name: rows.float().numpy() for name, rows in {**alone, TOGETHER: together}.items()}


def reading_of(
    name: str, train: Sample, test: Sample, read: Mapping[str, np.ndarray], held: Mapping[str, np.ndarray]
) -> LabelReading:
    """What probes of a label say of the rows of `test`.

    Raises:
        UserError: If too few rows have the label.
        ValueError: If a probe cannot be fitted.
    """
    if name not in train.labels:
        raise UserError("no training row has it, or all have the same")
    label, own = joined(train.labels[name], test.labels[name], train.known[name])
    truth = test.known[name]
    if label.kind == "multilabel":
        truth = np.pad(truth, ((0, 0), (0, len(label.names) - truth.shape[1])))
        kept = np.sort(np.argsort(-truth.sum(0), kind="stable")[:MOST_CLASSES])
        names, titles = (tuple(each[place] for place in kept if each) for each in (label.names, label.titles))
        label, own, truth = replace(label, names=names, titles=titles), own[:, kept], truth[:, kept]
    fit, scored = (np.flatnonzero(is_known(label, values)) for values in (own, truth))
    if label.kind == "class":  # what no training row has cannot be learned
        scored = scored[np.isin(truth[scored], own[fit])]
    if min(len(fit), len(scored)) < FEWEST:
        raise UserError(
            f"it is known of {len(fit)} training rows and of {len(scored)} held-out ones that have it, too"
        )
    views = {view: _read(label, read[view][fit], own[fit], held[view], truth, scored) for view in held}
    chance, measure = 0.0, "R²"
    if label.kind == "class":
        chance, measure = top_k_chance(truth[scored]), "right"
    elif label.kind == "multilabel":
        chance, measure = weighted_f1_chance(truth[scored]), "weighted F1"
    words = [told_label(label, value) for value in truth]
    return LabelReading(label, words, views, chance, measure, len(scored))


def joined(own: Label, other: Label, values: np.ndarray) -> tuple[Label, np.ndarray]:
    """A label with the classes of both sides, those of `other` first, and the values of `own` as numbers of these.

    Raises:
        UserError: If it is of another kind there.
    """
    if own.kind != other.kind:
        raise UserError(f"it is a {own.kind} in the training rows and a {other.kind} in the held-out ones")
    if own.names == other.names:
        return other, values
    more = tuple(name for name in own.names if name not in other.names)
    titles = tuple(map(own.title_of, more)) if other.titles else ()
    label = replace(other, names=(*other.names, *more), titles=(*other.titles, *titles))
    places = [label.names.index(name) for name in own.names]
    if own.kind == "class":
        return label, np.where(values >= 0, np.array(places)[values], -1)
    found = np.zeros((len(values), len(label.names)), dtype=bool)
    found[:, places] = values
    return label, found


def is_known(label: Label, values: np.ndarray) -> np.ndarray:
    """`(rows,)` bool, where a label is not missing."""
    if label.kind == "class":
        return values >= 0
    return np.isfinite(values) if label.kind == "number" else np.ones(len(values), dtype=bool)


def _read(
    label: Label, train: np.ndarray, own: np.ndarray, held: np.ndarray, truth: np.ndarray, scored: np.ndarray
) -> Reading:
    if label.kind == "number":
        said = predicted_numbers(train, own, held)
        variance = float(np.var(truth[scored]))
        error = float(np.mean((said[scored] - truth[scored]) ** 2))
        score = 1 - error / variance if variance else float("nan")
        return Reading([told_label(label, value) for value in said], [None] * len(said), None, score)
    if label.kind == "multilabel":
        said = class_scores(train, own, held) > 0
        words = [told_label(label, row) or "none" for row in said]
        right: list[bool | None] = [bool((a == b).all()) for a, b in zip(said, truth, strict=True)]
        return Reading(words, right, None, weighted_f1(truth[scored], said[scored]))
    probe = fit_probe(train, own)
    shares = probe.probabilities(held)
    said = probe.classes[shares.argmax(1)]
    right = [None if value < 0 else bool(value == answer) for value, answer in zip(truth, said, strict=True)]
    accuracy = 100 * float(np.mean(said[scored] == truth[scored]))
    return Reading([told_label(label, value) for value in said], right, shares.max(1), accuracy)


def weighted_f1(truth: np.ndarray, said: np.ndarray) -> float:
    """The F1 of each class, in percent, weighted by its rows; 0 where no row has any."""
    both, rows = (truth & said).sum(0), truth.sum(0)
    scores = 2 * both / np.maximum(rows + said.sum(0), 1)
    return 100 * float(np.average(scores, weights=rows)) if rows.any() else 0.0
