"""Linear probes of any label, from each modality alone and from all together."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch.nn.functional as F

from ..data.loaded import EvaluationData, Split
from ..errors import UserError, suggest
from ..metrics import linear_probe
from ..metrics.chance import (
    balanced_chance,
    macro_f1_chance,
    mean_precision_chance,
    squared_error_chance,
    top_k_chance,
    weighted_f1_chance,
)
from ..metrics.linear_probe import PROTOCOLS, check_probe_labels
from ..metrics.other_probes import few_shot_probe, multilabel_probe, regression_probe
from .benchmark import Benchmark, Encode, Values, fits, register_benchmark
from .labels import known_rows, reference_modality
from .measurement import Group, Measurement

FUSED, FULL = "fused", "full"
RAW = "cyclip"  # the protocol that reads the features as they are
PROBED = ("class", "multilabel", "number")
KINDS_DRAWN = {"class": "", "multilabel": "_weighted_f1"}  # the ends of the keys that are percent


@register_benchmark("probes")
@dataclass(frozen=True)
class Probes(Benchmark):
    """What a linear model reads of each label from the frozen representation of each modality alone, and of all.

    What all modalities tell alone is redundant, what one of them tells is unique to it, and what only the
    representation of all together tells is synergistic.

    Args:
        labels: Which; by default all but texts.
        of: From which representations: names of modalities, `fused` for all together, and `full` for the embedding of
            a modality with its independent one beside it. By default all that the model gives; `full` of labels that
            not all modalities are known to tell.
        protocol: How classes are fitted, a name in `hf_latent.metrics.PROTOCOLS`; `comm2025` says of multilabels and
            numbers, too, how. Embeddings that are compared by cosine have length 1 first, but for `cyclip`.
        validation: Choose the regularization by the validation rows in place of a part of the training rows, and fit
            both in the end. Where the validation rows are those that are measured, it is chosen as without this.
        balanced: Of classes, measure the mean of their recalls, too.
        shots: Classes are also read by probes that saw so many rows of each class, such as `[1, 16]`.
        draws: Means over so many draws of these rows.
    """

    reads_train: ClassVar[bool] = True
    groups: ClassVar[Mapping[str, Group]] = {
        "probes": Group(
            "Linear probes",
            "What a linear model, fitted on training rows, reads from the frozen representation of held-out rows.",
            order=30,
        )
    }
    figures: ClassVar[Mapping[str, str]] = {
        "probes.png": "What a linear probe reads of each label, and from what; dashed lines are chance."
    }

    labels: list[str] | None = None
    of: list[str] | None = None
    protocol: str = "standard"
    validation: bool = False
    balanced: bool = False
    shots: list[int] = field(default_factory=list)
    draws: int = 5

    @classmethod
    def by_default(cls, encode: Encode, data: EvaluationData) -> Mapping[str, Benchmark]:
        """Of every label that can be read."""
        if data.train is None or data.target is not None:
            return {}
        known = [name for name, label in data.labels.items() if label.kind in PROBED]
        read = [name for name in known if fits(cls(labels=[name]), data, f"probes of {name!r}")]
        for name, source in ((name, source) for name in read for source in data.columns):
            if reason := cls()._unread(name, source, data):
                print(f"Not measured: probes of {name!r} from {source!r}: {reason}")
        return {"probes": cls(labels=read)} if read else {}

    def check(self, data: EvaluationData) -> None:
        if data.train is None:
            raise UserError("probes are fitted on training rows, and a stream has none to keep: leave probes out")
        if self.protocol not in PROTOCOLS:
            raise UserError(f"protocol={self.protocol!r}: {suggest(self.protocol, PROTOCOLS)}")
        if self.validation and data.validation is None:
            raise UserError("validation: the data has no such rows: leave it out, or write data.splits.validation")
        if not self._labels(data):
            raise UserError("probes need a label: name a column in data.labels")
        for name in self._labels(data):
            if name not in data.labels:
                raise UserError(f"labels: no label {name!r} in data.labels; {suggest(name, data.labels)}")
            if data.labels[name].kind not in PROBED:
                raise UserError(f"labels: {name!r} is a {data.labels[name].kind}: probes read {', '.join(PROBED)}")
            sources = [source for source in self.of or (*data.columns, FUSED) if source in (*data.columns, FUSED)]
            wrong = {source: self._unread(name, source, data) for source in (reference_modality(data), *sources)}
            reasons = [reason for reason in wrong.values() if reason]
            if reasons and (self.of or len(reasons) == len(wrong)):
                raise UserError(reasons[0])
            if data.labels[name].kind == "class" and self.shots:
                source = next(source for source, reason in wrong.items() if not reason)
                most = int(np.bincount(data.train.labels[name][_rows(data.train, name, source, data)]).max())
                if max(self.shots) > most:
                    raise UserError(
                        f"shots={list(self.shots)}: no class of {name!r} has more than {most} training rows"
                    )
        if self.of == []:
            raise UserError(f"of is empty: write modalities, {FUSED} or {FULL}")
        seen: dict[str, str] = {}
        for name in self._labels(data):
            for source in (*data.columns, FUSED, FULL):
                if seen.setdefault(key := probe_key(name, source, data), name) != name:
                    raise UserError(
                        f"labels {seen[key]!r} and {name!r} are both measured as {key}: rename one of them"
                    )
        for name in self.of or ():
            known = [*data.columns, FUSED, FULL]
            if name not in known:
                raise UserError(f"of: {name!r}: {suggest(name, known)}")
        if any(shots < 1 for shots in self.shots) or self.draws < 1:
            raise UserError(f"shots={list(self.shots)}, draws={self.draws}: write whole numbers of 1 or more")

    def check_model(self, encode: Encode) -> None:
        super().check_model(encode)
        for name, needed in ((FUSED, "fused"), (FULL, "independent")):
            if name in (self.of or ()) and needed not in encode.gives:
                raise UserError(f"of: {name!r}: the model gives no {needed} embeddings")

    def describe(self, encode: Encode, data: EvaluationData) -> list[Measurement]:
        return [found for name, source in self._probes(encode, data) for found in self._of(name, source, data)]

    def _of(self, name: str, source: str, data: EvaluationData) -> Iterator[Measurement]:
        label, key = data.labels[name], probe_key(name, source, data)
        rows = _rows(data.test, name, source, data)
        truth = data.test.labels[name][rows]
        title = f"{(label.title or name).capitalize()}, from {_words(source, data)}"
        common: dict[str, Any] = {"group": "probes", "rows": len(rows), "information": _information(label.of, source)}
        if label.kind == "class":
            chance = top_k_chance(truth)
            yield Measurement(key, np.nan, title, unit="%", chance=chance, headline=True, **common)
            if self.balanced:
                words = f"{title}, mean recall of the classes"
                scored = {"chance": balanced_chance(truth), "metric": "balanced_accuracy", **common}
                yield Measurement(f"{key}_balanced", np.nan, words, unit="%", **scored)
            for shots in self.shots:
                few = f"{title}, {shots} training row{'s' * (shots > 1)} a class"
                yield Measurement(f"{key}_{shots}shot", np.nan, few, unit="%", chance=chance, **common)
        elif label.kind == "multilabel":
            for kind, chance in (("weighted", weighted_f1_chance(truth)), ("macro", macro_f1_chance(truth))):
                words, headline = f"{title}, {kind} F1", kind == "weighted"
                scored = {"chance": chance, "headline": headline, "metric": "f1", **common}
                yield Measurement(f"{key}_{kind}_f1", np.nan, words, unit="%", **scored)
            scored = {"chance": mean_precision_chance(truth), "metric": "mean_average_precision", **common}
            yield Measurement(f"{key}_map", np.nan, f"{title}, mean average precision", unit="%", **scored)
        else:
            yield Measurement(f"{key}_r2", np.nan, f"{title}, R²", chance=0.0, headline=True, metric="r2", **common)
            error = squared_error_chance(truth)
            yield Measurement(
                f"{key}_mse", np.nan, f"{title}, squared error", chance=error, better="lower", metric="mse", **common
            )

    def measure(self, encode: Encode, data: EvaluationData) -> Values:
        found: dict[str, float] = {}
        for name, source in self._probes(encode, data):
            train, test = (self._read(encode, data, split, name, source) for split in (data.train, data.test))
            key, kind = probe_key(name, source, data), data.labels[name].kind
            held = self._held(encode, data, name, source, train[1])
            if kind == "class":
                result = linear_probe(*train, *test, protocol=self.protocol, validation=held)
                found[key] = result.accuracy
                found |= {f"{key}_balanced": result.balanced_accuracy} if self.balanced else {}
                for shots in self.shots:
                    found[f"{key}_{shots}shot"] = few_shot_probe(*train, *test, shots, self.draws)
            else:
                probe = multilabel_probe if kind == "multilabel" else regression_probe
                scores = probe(*train, *test, protocol=self.protocol, validation=held)
                found |= {f"{key}_{score}": value for score, value in scores.items()}
        return found

    def draw(
        self, encode: Encode, data: EvaluationData, found: Sequence[Measurement], folder: Path, title: str
    ) -> None:
        from ..plots import MAX_RUNS, Bars, plot_comparison

        known = {measurement.key: measurement for measurement in found}
        bars: dict[str, dict[str, tuple[float, float]]] = {}
        for name, source in self._probes(encode, data):
            key = probe_key(name, source, data) + KINDS_DRAWN.get(data.labels[name].kind, "_")
            if key in known:
                chance = known[key].chance
                level = float("nan") if chance is None else chance
                bars.setdefault(_words(source, data), {})[data.labels[name].title or name] = known[key].value, level
        bars = dict(list(bars.items())[:MAX_RUNS])
        if bars:
            plot_comparison({"Read by linear probes": Bars("%", bars)}, list(bars), folder / "probes.png")

    def _labels(self, data: EvaluationData) -> list[str]:
        if self.labels is not None:
            return list(self.labels)
        return [name for name, label in data.labels.items() if label.kind in PROBED]

    def _probes(self, encode: Encode, data: EvaluationData) -> list[tuple[str, str]]:
        """Every label, and what it is read from."""
        wanted = self.of or (*data.columns, FUSED, FULL)
        joint = {FUSED: FUSED in encode.gives, FULL: "independent" in encode.gives}
        given = [*data.columns, *(source for source, there in joint.items() if there)]
        return [
            (name, source)
            for name in self._labels(data)
            for source in given
            if source in wanted
            and (source != FULL or set(data.labels[name].of) != set(data.columns))
            and not self._unread(name, source, data)
        ]

    def _unread(self, name: str, source: str, data: EvaluationData) -> str:
        """Why a label cannot be read from a representation, of which few rows may have the modality; "" where it
        can."""
        assert data.train is not None
        train, test = (split.labels[name][_rows(split, name, source, data)] for split in (data.train, data.test))
        having = f" that have {source!r}" if source in {**data.train.present, **data.test.present} else ""
        if len(train) < 2 or not len(test):
            return f"label {name!r} is known in {len(train)} training rows and {len(test)} test rows{having}"
        if data.labels[name].kind == "class":
            try:
                check_probe_labels(train, test, self.protocol)
            except ValueError as error:
                return f"label {name!r}{', of the rows' + having if having else ''}: {error}"
        return ""

    def _held(
        self, encode: Encode, data: EvaluationData, name: str, source: str, trained: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray] | None:
        """The features and labels of the validation rows to choose by, if there are any; of classes, those that
        training rows have."""
        if not self.validation or data.validation is data.test:
            return None
        features, labels = self._read(encode, data, data.validation, name, source)
        if data.labels[name].kind == "class":
            known = np.isin(labels, trained)
            features, labels = features[known], labels[known]
        return (features, labels) if len(labels) else None

    def _read(
        self, encode: Encode, data: EvaluationData, split: Split | None, name: str, source: str
    ) -> tuple[np.ndarray, np.ndarray]:
        """The features of the rows whose label is known, and their labels."""
        assert split is not None
        rows = _rows(split, name, source, data)
        if source == FUSED:
            return encode.features(split.rows)[rows], split.labels[name][rows]
        modality = _full_modality(name, data) if source == FULL else source
        embeddings = encode(split.rows)
        fields = [embeddings.embeds, embeddings.independent] if source == FULL else [embeddings.embeds]
        vectors = [(field or {})[modality].float() for field in fields]
        if encode.compared and self.protocol != RAW:  # else as they are, like what all together give
            vectors = [F.normalize(part, dim=-1) for part in vectors]
        return np.concatenate([part.numpy() for part in vectors], axis=1)[rows], split.labels[name][rows]


def probe_key(name: str, source: str, data: EvaluationData) -> str:
    """`probe_<label>` is read from the image of images with texts; other representations are named."""
    plain = source == "image" and set(data.columns) == {"image", "text"}
    return f"probe_{name}" if plain else f"probe_{name}_{source}"


def _full_modality(name: str, data: EvaluationData) -> str:
    """The modality whose independent embedding is read: the one that tells the label, or the image."""
    of = data.labels[name].of
    return of[0] if len(of) == 1 else reference_modality(data)


def _rows(split: Split, name: str, source: str, data: EvaluationData) -> np.ndarray:
    """The rows that are probed, where their label is known: each image once, however many captions it has; but each
    caption of each image, of which equal ones may have different labels."""
    modality = _full_modality(name, data) if source == FULL else source
    once = modality == reference_modality(data)
    return known_rows(split, name, split.distinct(modality) if once else split.having(modality))


def _words(source: str, data: EvaluationData) -> str:
    if source == FUSED:
        return "all modalities together"
    return "the embedding and its independent one, side by side" if source == FULL else f"the {source} embedding"


def _information(of: tuple[str, ...], source: str) -> Any:
    """What a probe tells of, where it is known which modalities tell the label; "" of a modality that does not."""
    if source != FUSED and source not in of:
        return ""
    return "unique" if len(of) == 1 else "redundant" if of else ""
