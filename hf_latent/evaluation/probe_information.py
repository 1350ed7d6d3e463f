"""How much of each label is left to know once a modality's embedding is seen."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch.nn.functional as F
from tqdm.auto import tqdm

from ..data.loaded import EvaluationData, Split
from ..errors import UserError, suggest
from ..metrics.linear_probe import check_probe_labels
from ..metrics.probe_information import probe_information
from .benchmark import Benchmark, Encode, Values, register_benchmark
from .labels import class_labels, known_rows
from .measurement import Group, Measurement

ESSENCE, NUISANCE = "essence", "nuisance"
WORDS = {
    ESSENCE: "what all modalities tell (the essence)",
    NUISANCE: "what {} alone tells (the nuisance)",
}


@register_benchmark("probe_information")
@dataclass(frozen=True)
class ProbeInformationBenchmark(Benchmark):
    """The information of a linear probe about each label, from the embedding of each modality, in nats: the entropy
    of equally frequent classes less the cross-entropy of the probe on held-out rows. It is measured where a recipe, or
    the data, asks for it.

    Labels whose modalities are known (`data.labels.<name>.of`) are summed: what all modalities tell is the essence,
    what one of them alone tells its nuisance. A probe reads a space that has collapsed as any other, so the variance
    of each is measured beside.

    Args:
        labels: Labels of classes; by default all of up to 50.
        of: Modalities; by default all.

    Source: Almudevar et al., ICML 2025, section 4, where the information over the entropy is the uncertainty reduction
    ratio.
    """

    reads_train: ClassVar[bool] = True
    groups: ClassVar[Mapping[str, Group]] = {
        "probe_information": Group(
            "Information of linear probes",
            "In nats, on held-out rows: what a logistic regression on standardised embeddings has learned of a label, "
            "at most the logarithm of the number of its classes (Almudevar et al. 2025). Where the variance of a "
            "modality is near 0 its space has collapsed, and these numbers tell nothing.",
            order=28,
        )
    }

    labels: list[str] | None = None
    of: list[str] | None = None

    def check(self, data: EvaluationData) -> None:
        fitting = [name for name, label in data.labels.items() if label.kind == "class"]
        for name in self.labels or ():
            if name not in fitting:
                raise UserError(f"labels: {name!r} is no label of classes: {suggest(name, fitting)}")
        for name in self.of or ():
            if name not in data.columns:
                raise UserError(f"of: {name!r}: {suggest(name, data.columns)}")
        if data.train is None:
            raise UserError("probes are fitted on training rows, and there are none")
        if self.labels == [] or self.of == [] or not (self.labels or class_labels(data)):
            raise UserError("a label of classes and a modality are needed: name a column of classes in data.labels")
        for name, source in self._all(data):
            train, test = (split.labels[name][_rows(split, name, source)] for split in (data.train, data.test))
            try:
                check_probe_labels(train, test)
            except ValueError as error:
                raise UserError(f"label {name!r}: {error}") from None

    def describe(self, encode: Encode, data: EvaluationData) -> list[Measurement]:
        found = []
        common: dict[str, Any] = {"group": "probe_information", "rows": len(data.test)}
        for name, source in self._all(data):
            label = data.labels[name]
            title, key = f"{(label.title or name).capitalize()}, from {source}", f"{name}_{source}"
            most = f"nats; at most {np.log(len(label.names)):.2f}"
            own: dict[str, Any] = {"metric": "mutual_information", "better": "none"}
            found.append(Measurement(f"information_{key}", np.nan, title, unit="nats", reading=most, **own, **common))
            found.append(
                Measurement(
                    f"urr_{key}",
                    np.nan,
                    f"{title}, share of the uncertainty",
                    reading="0 where nothing is told, 1 where all is",
                    short=f"urr {key}",
                    better="none",
                    metric="uncertainty_reduction_ratio",
                    **common,
                )
            )
            chance = 100 * float(np.bincount(data.test.labels[name][_rows(data.test, name, source)]).max())
            found.append(
                Measurement(
                    f"information_accuracy_{key}",
                    np.nan,
                    f"{title}, accuracy of the same probe",
                    unit="%",
                    chance=chance / len(_rows(data.test, name, source)),
                    **common,
                )
            )
        for part, source in self._parts(data):
            own = {"unit": "nats", "headline": True, "better": "none", "metric": "mutual_information"}
            title = WORDS[part].format(source).capitalize()
            reading = "nats, summed over the labels"
            found.append(
                Measurement(
                    f"{part}_information_{source}", np.nan, f"{title}, from {source}", reading=reading, **own, **common
                )
            )
        if self._shared(data):
            title = "Logarithm of the number of combinations of the labels that all modalities tell"
            found.append(
                Measurement("essence_entropy", np.nan, title, reading="nats", unit="nats", better="none", **common)
            )
        for source in self._sources(data):
            title, reading = f"Variance of the {source} embeddings", "0 where all are one point, at most 1"
            found.append(
                Measurement(
                    f"variance_{source}", np.nan, title, reading=reading, better="none", metric="variance", **common
                )
            )
        return found

    def measure(self, encode: Encode, data: EvaluationData) -> Values:
        assert data.train is not None
        found: dict[str, float] = {}
        told: dict[tuple[str, str], float] = {}
        wanted = list(self._all(data))
        for name, source in tqdm(wanted, "Probes", unit="probe", disable=len(wanted) < 8, leave=False):
            train, test = (self._read(encode, split, name, source) for split in (data.train, data.test))
            result = probe_information(*train, *test, classes=len(data.labels[name].names))
            key = f"{name}_{source}"
            told[name, source] = found[f"information_{key}"] = result.information
            found[f"urr_{key}"] = result.ratio
            found[f"information_accuracy_{key}"] = 100 * result.accuracy
        for part, source in self._parts(data):
            found[f"{part}_information_{source}"] = sum(told[name, source] for name in self._of(part, source, data))
        if shared := self._shared(data):
            found["essence_entropy"] = float(sum(np.log(len(data.labels[name].names)) for name in shared))
        for source in self._sources(data):
            rows = encode(data.test.rows).embeds or {}
            vectors = F.normalize(rows[source][data.test.having(source)].double(), dim=-1)
            found[f"variance_{source}"] = float(1 - vectors.mean(dim=0).square().sum())
        return found

    def _sources(self, data: EvaluationData) -> list[str]:
        return [name for name in data.columns if name in (self.of or data.columns)]

    def _labels(self, data: EvaluationData) -> list[str]:
        return list(self.labels or class_labels(data))

    def _all(self, data: EvaluationData) -> Iterator[tuple[str, str]]:
        for name in self._labels(data):
            for source in self._sources(data):
                yield name, source

    def _of(self, part: str, source: str, data: EvaluationData) -> list[str]:
        """The labels that are summed."""
        wanted = set(data.columns) if part == ESSENCE else {source}
        return [name for name in self._labels(data) if set(data.labels[name].of) == wanted]

    def _shared(self, data: EvaluationData) -> list[str]:
        """The labels that all modalities tell."""
        return self._of(ESSENCE, "", data) if len(data.columns) > 1 else []

    def _parts(self, data: EvaluationData) -> Iterator[tuple[str, str]]:
        for source in self._sources(data):
            for part in (ESSENCE, NUISANCE) if len(data.columns) > 1 else ():
                if self._of(part, source, data):
                    yield part, source

    def _read(self, encode: Encode, split: Split, name: str, source: str) -> tuple[np.ndarray, np.ndarray]:
        rows = _rows(split, name, source)
        embeds = (encode(split.rows).embeds or {})[source].float()
        return F.normalize(embeds, dim=-1).numpy()[rows], split.labels[name][rows]


def _rows(split: Split, name: str, source: str) -> np.ndarray:
    return known_rows(split, name, split.having(source))
