"""Redundant, unique and synergistic information in bits, of labels and pairs of modalities."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from itertools import combinations
from typing import Any, ClassVar, get_args

import numpy as np
import torch.nn.functional as F

from ..data.loaded import EvaluationData, Split
from ..errors import UserError, suggest
from ..metrics.batch_decomposition import MOST_CLASSES, MOST_ROWS, decompose_by_networks
from ..metrics.decomposition import bootstrap, bounds, counted, decompose, probe_log_losses, told_by
from ..metrics.linear_probe import check_probe_labels
from .benchmark import Benchmark, Encode, Values, register_benchmark
from .labels import class_labels, known_rows
from .measurement import Group, Information, Measurement

AT_LEAST = "bits; what it tells is at least that"
CLUSTERS, PROBES, BATCH = "clusters", "probes", "batch"
ESTIMATORS = (CLUSTERS, PROBES, BATCH)
PARTS = ("redundancy", "unique1", "unique2", "synergy")
BOUND = ("redundancy", "synergy")
LOW, HIGH = "low", "high"
STEPS = 200  # of the search for the least informative distribution, of each drawing
CLAIMED = "bits; above 0 all parts by networks are inflated"
Vectors = tuple[np.ndarray, np.ndarray, np.ndarray]
KINDS: Mapping[str, Information] = {
    "redundancy": "redundant",
    "unique1": "unique",
    "unique2": "unique",
    "synergy": "synergistic",
}
assert set(KINDS.values()) < set(get_args(Information))


@register_benchmark("decomposition")
@dataclass(frozen=True)
class Decomposition(Benchmark):
    """What two modalities tell of a label together, each alone, and only jointly: a partial information decomposition
    of their clusters, in bits, with the ends of an interval by bootstrap; and what linear probes of each and of both
    tell, which bounds every decomposition. It is measured where a recipe asks for it.

    Clusters are of the training rows, in the embeddings of each modality; rows are counted on those to measure on. Few
    rows for many clusters overstate all parts: the interval says nothing of that.

    The estimator `batch` trains networks on the training rows, for minutes where there are many, and needs no clusters
    (see [`decompose_by_networks`]). Its bits are those of its classifiers' own posteriors, not of the labels: where
    they are too sure of themselves, all parts are inflated, as `excess` tells. It has no interval.

    Args:
        labels: Labels of classes; by default all of up to 50.
        clusters: Of each modality.
        draws: Of the bootstrap.
        estimators: Of `clusters`, `probes` and `batch`; by default the first two.
        seed: Of the networks of `batch`.
    """

    reads_train: ClassVar[bool] = True
    groups: ClassVar[Mapping[str, Group]] = {
        "decomposition": Group(
            "Redundant, unique and synergistic information",
            "In bits: of clusters of both modalities (Bertschinger et al. 2014; Liang et al. 2023), as far as linear "
            "probes tell, or by networks (Liang et al. 2023). The ends of 95 % intervals by bootstrap over rows, of "
            "the first alone, are in `metrics.json`.",
            order=25,
        )
    }

    labels: list[str] | None = None
    clusters: int = 10
    draws: int = 100
    estimators: list[str] | None = None
    seed: int = 0

    @property
    def _chosen(self) -> tuple[str, ...]:
        return (CLUSTERS, PROBES) if self.estimators is None else tuple(self.estimators)

    def check(self, data: EvaluationData) -> None:
        fitting = [name for name, label in data.labels.items() if label.kind == "class"]
        for name in self.labels or ():
            if name not in fitting:
                raise UserError(f"labels: {name!r} is no label of classes: {suggest(name, fitting)}")
        if self.clusters < 2 or self.draws < 2:
            raise UserError(f"clusters={self.clusters}, draws={self.draws}: write 2 or more")
        if not self._chosen:
            raise UserError(f"estimators=[]: write one or more of {', '.join(ESTIMATORS)}")
        for name in self._chosen:
            if name not in ESTIMATORS:
                raise UserError(f"estimators: {name!r}: {suggest(name, ESTIMATORS)}")
        if self.seed < 0:
            raise UserError(f"seed={self.seed}: write 0 or more")
        if len(data.columns) < 2:
            raise UserError("a decomposition is of two modalities: there is one")
        if data.train is None:
            raise UserError("clusters, probes and networks are fitted on training rows, and there are none")
        if self.labels == [] or not (self.labels or class_labels(data)):
            raise UserError("a label of few classes is needed: name a column of them in data.labels")
        for name, a, b in self._all(data):
            train, test = (self._rows(split, name, a, b) for split in (data.train, data.test))
            self._check_rows(name, (a, b), len(train), len(test))
            try:
                check_probe_labels(data.train.labels[name][train], data.test.labels[name][test])
            except ValueError as error:
                raise UserError(f"label {name!r}: {error}") from None
            count = len(np.unique(data.train.labels[name][train]))
            if BATCH in self._chosen and count > MOST_CLASSES:
                raise UserError(
                    f"label {name!r} has {count} classes in training rows: the estimator {BATCH} tells of "
                    f"{MOST_CLASSES} at most, so leave out one of them"
                )

    def _check_rows(self, name: str, pair: tuple[str, str], train: int, test: int) -> None:
        known = (
            f"label {name!r} is known in {train} training rows and {test} test rows that have {pair[0]} and {pair[1]}"
        )
        if CLUSTERS in self._chosen and (train < self.clusters or not test):
            raise UserError(f"{known}: {self.clusters} clusters need more, so write fewer, or leave it out")
        least = 2 if BATCH in self._chosen else 1
        if min(train, test) < least:
            raise UserError(f"{known}: more are needed, so leave it out")

    def describe(self, encode: Encode, data: EvaluationData) -> list[Measurement]:
        found = []
        for name, a, b in self._all(data):
            told, key = data.labels[name].title or name, f"bits_{name}_{a}_{b}"
            words = {
                "redundancy": f"told by {a} and by {b}",
                "unique1": f"told by {a} alone",
                "unique2": f"told by {b} alone",
                "synergy": f"told only by {a} and {b} together",
            }
            common: dict[str, Any] = {
                **{"group": "decomposition", "unit": "bits", "better": "none", "metric": "mutual_information"},
                "rows": len(self._rows(data.test, name, a, b)),
            }
            label = told.capitalize()
            if CLUSTERS in self._chosen:
                found += _of_parts(f"{key}_", label, words, common, reading="bits, of clusters")
            if PROBES in self._chosen:
                found += _of_probes(f"{key}_probe_", label, (a, b), words, common)
            if BATCH in self._chosen:
                common = {**common, "rows": min(common["rows"], MOST_ROWS)}
                by = {part: f"{said}, by networks" for part, said in words.items()}
                first = CLUSTERS not in self._chosen
                found += _of_parts(
                    f"{key}_{BATCH}_", label, by, common, reading="bits, of the networks' posteriors", headline=first
                )
                title = f"{label}, what networks of {a} and {b} claim to tell beyond what they do"
                found.append(Measurement(f"{key}_{BATCH}_excess", np.nan, title, reading=CLAIMED, **common))
        return found

    def measure(self, encode: Encode, data: EvaluationData) -> Values:
        assert data.train is not None
        found: dict[str, float] = {}
        for name, a, b in self._all(data):
            key = f"bits_{name}_{a}_{b}"
            train, test = (self._vectors(encode, split, name, a, b) for split in (data.train, data.test))
            if CLUSTERS in self._chosen:
                found |= self._by_clusters(key, train, test)
            if PROBES in self._chosen:
                found |= _by_probes(key, (a, b), train, test)
            if BATCH in self._chosen:
                estimate = decompose_by_networks(train, test, seed=self.seed, progress=encode.progress)
                found |= {f"{key}_{BATCH}_{part}": getattr(estimate.parts, part) for part in PARTS}
                found[f"{key}_{BATCH}_excess"] = estimate.excess
        return found

    def _by_clusters(self, key: str, train: Vectors, test: Vectors) -> dict[str, float]:
        """The decomposition of the clusters of both, with the ends of its interval."""
        first, second = (self._clusters(train[number], test[number]) for number in (0, 1))
        labels = test[2]

        def parts(rows: np.ndarray) -> np.ndarray:
            result = decompose(counted(*(column[rows] for column in (first, second, labels))), rounds=STEPS)
            return np.array([getattr(result, part) for part in PARTS])

        values = parts(np.arange(len(labels)))
        ends = bootstrap(parts, len(labels), self.draws)
        found = {}
        for number, part in enumerate(PARTS):
            found[f"{key}_{part}"] = float(values[number])
            found |= {f"{key}_{part}_{end}": float(e[number]) for end, e in zip((LOW, HIGH), ends, strict=True)}
        return found

    def _all(self, data: EvaluationData) -> Iterator[tuple[str, str, str]]:
        names = self.labels or class_labels(data)
        for name in names:
            for a, b in combinations(data.columns, 2):
                yield name, a, b

    def _rows(self, split: Split, name: str, a: str, b: str) -> np.ndarray:
        return known_rows(split, name, split.having(a, b))

    def _vectors(self, encode: Encode, split: Split, name: str, a: str, b: str) -> Vectors:
        """The embeddings of both modalities, of unit length where cosines were trained, and the labels."""
        rows, embeds = self._rows(split, name, a, b), encode(split.rows).embeds or {}
        vectors = [embeds[modality][rows].float() for modality in (a, b)]
        if encode.compared:
            vectors = [F.normalize(part, dim=-1) for part in vectors]
        return vectors[0].numpy(), vectors[1].numpy(), split.labels[name][rows]

    def _clusters(self, train: np.ndarray, test: np.ndarray) -> np.ndarray:
        """The cluster of each test row."""
        with import_module("threadpoolctl").threadpool_limits(1):
            means = import_module("sklearn.cluster").KMeans(self.clusters, n_init=4, random_state=0).fit(train)
            return np.asarray(means.predict(test))


def _of_parts(
    key: str, label: str, words: Mapping[str, str], common: Mapping[str, Any], reading: str, headline: bool = True
) -> list[Measurement]:
    """The four parts; tables show redundancy and synergy."""
    return [
        Measurement(
            key + part,
            np.nan,
            f"{label}, {said}",
            reading=reading,
            headline=headline and part in BOUND,
            information=KINDS[part],
            **common,
        )
        for part, said in words.items()
    ]


def _of_probes(
    key: str, label: str, names: tuple[str, str], words: Mapping[str, str], common: Mapping[str, Any]
) -> list[Measurement]:
    """What probes tell, and the ends of what that leaves."""
    a, b = names
    told = {a: f"from {a}", b: f"from {b}", "both": f"from {a} and {b}"}
    found = [
        Measurement(key + part, np.nan, f"{label}, {said}, by a linear probe", reading=AT_LEAST, **common)
        for part, said in told.items()
    ]
    for part in BOUND:
        for end, said in ((LOW, "least"), (HIGH, "most")):
            title = f"{label}, {words[part]}, the {said} that fits the probes"
            found.append(Measurement(f"{key}{part}_{end}", np.nan, title, reading="bits", **common))
    return found


def _by_probes(key: str, names: tuple[str, str], train: Vectors, test: Vectors) -> dict[str, float]:
    """What probes of each modality and of both tell, and what that leaves for redundancy and synergy."""
    bits = {}
    for part, columns in ((names[0], [0]), (names[1], [1]), ("both", [0, 1])):
        inputs = [np.concatenate([side[column] for column in columns], axis=1) for side in (train, test)]
        bits[part] = told_by(probe_log_losses(inputs[0], train[2], inputs[1], test[2]), test[2])
    limits = bounds(bits[names[0]], bits[names[1]], bits["both"])
    found = {f"{key}_probe_{part}": value for part, value in bits.items()}
    for part in BOUND:
        low, high = getattr(limits, part)
        found |= {f"{key}_probe_{part}_{LOW}": low, f"{key}_probe_{part}_{HIGH}": high}
    return found
