"""How often a model with a head is right: of questions, statements, classes, labels or numbers."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
from PIL import Image, ImageOps

from ..data.loaded import EvaluationData, Label, Target
from ..data.target import key_of
from ..errors import UserError
from ..metrics.chance import answer_chance, balanced_chance, row_scores
from ..metrics.tasks import PREFIXES, task_accuracy
from .benchmark import Benchmark, Encode, Values, register_benchmark
from .measurement import Group, Measurement
from .task_scores import SCORES, Score

TASK, OTHER = "visual-question-answering", "other"
DRAWN = 160  # pixels, of a picture of any size


@register_benchmark("tasks")
@dataclass(frozen=True)
class Tasks(Benchmark):
    """How often the model picks the right answer of a list, or the right class: of all rows, and of each kind; or how
    good the labels (F1) or numbers (R2, squared and absolute error) are that it says.

    Of a model that can do with some of its modalities, the first of these is also measured from each alone, on the
    rows that have it: `class_accuracy_<modality>_alone`. Of others that read a text, beside it stands a guess by the
    text alone, where the training rows are known: the commonest answer of the training rows with the same text, or of
    all where there is none. What is above it was read from the images.
    """

    groups: ClassVar[Mapping[str, Group]] = {
        "answers": Group(
            "Questions",
            "What the model answers to questions on held-out images: the likeliest of a closed list of answers.",
            order=14,
        ),
        "classes": Group(
            "Classes",
            "Which class the model tells of held-out rows, such as whether a sentence is right of its images.",
            order=15,
        ),
        "labels": Group("Labels", "Which labels the model says that held-out rows have.", order=15),
        "numbers": Group("Numbers", "What numbers the model says of held-out rows.", order=15),
    }
    figures: ClassVar[Mapping[str, str]] = {
        "predictions.png": "Held-out pictures with what was asked or said of them, and what the model says: with a "
        "tick where it is right, else with a cross and the right answer. Of each kind as many; they were not chosen."
    }
    needs: ClassVar[frozenset[str]] = frozenset({"answer"})
    reads: ClassVar[str] = "answer"

    @classmethod
    def by_default(cls, encode: Encode, data: EvaluationData) -> Mapping[str, Benchmark]:
        return {} if data.target is None else {"tasks": cls()}

    def check(self, data: EvaluationData) -> None:
        if data.target is None:
            raise UserError("tasks need rows with answers or classes, which this data has not: leave it out")

    def describe(self, encode: Encode, data: EvaluationData) -> list[Measurement]:
        task, _ = _task(data)
        return [
            *(_others(encode, data) if task.kind in ("labels", "numbers") else self._accuracies(data, encode)),
            *(measurement for measurement, _ in _alone(encode, data)),
        ]

    def sentences(self, data: EvaluationData) -> list[str]:
        task, label = _task(data)
        return list(label.names) if task.kind == "answers" else []

    def _accuracies(self, data: EvaluationData, encode: Encode) -> list[Measurement]:
        task, label = _task(data)
        truth, groups = data.test.labels[task.label], _groups(data)
        name, soft = PREFIXES[task.kind], label.kind == "answers"
        hub_task = _hub_task(encode, data)

        def accuracy(key: str, title: str, chance: float, rows: int, **options: Any) -> Measurement:
            return Measurement(key, np.nan, title, task.kind, "%", chance, rows=rows, task=hub_task, **options)

        title = f"Right {name}, soft score of VQA v2" if soft else f"Right {name}"
        key = f"{name}_accuracy"
        found = [accuracy(key, title, answer_chance(truth), len(truth), headline=True, short=name)]
        if not soft and (truth >= 0).any():
            chance = balanced_chance(truth[truth >= 0])
            title = f"Right {name}, mean over the {task.kind}"
            found.append(accuracy(f"{key}_balanced", title, chance, len(truth), metric="balanced_accuracy"))
        if _can_guess(encode, data):
            title = f"Right {name} of a guess by the text alone"
            level = answer_chance(truth)
            found.append(
                accuracy(
                    f"{key}_text_only", title, level, len(truth), better="none", metric="baseline", short="text only"
                )
            )
        if groups is not None:
            titles = data.labels[task.groups or ""]
            for number, ending in _endings(titles, data).items():
                own = truth[groups == number]
                if len(own):
                    group = titles.names[number]
                    words = f"Right {name}: {titles.title_of(group)}"
                    found.append(accuracy(f"{key}_{ending}", words, answer_chance(own), len(own), short=group))
        return found

    def measure(self, encode: Encode, data: EvaluationData) -> Values:
        task, _ = _task(data)
        truth = data.test.labels[task.label]
        alone = {
            measurement.key: SCORES[task.kind][0].value(_given(encode, data, name)[rows], truth[rows])
            for measurement, name in _alone(encode, data)
            if len(rows := data.test.having(name))
        }
        if task.kind in ("labels", "numbers"):
            given = _given(encode, data)
            return {score.key: score.value(given, truth) for score in SCORES[task.kind]} | alone
        groups, names = _groups(data), None
        if groups is not None:
            endings = _endings(data.labels[task.groups or ""], data)
            names = np.array([endings.get(int(number), "") for number in groups])
        found = task_accuracy(_said(encode, data), truth, names, kind=cast(Any, task.kind))
        if _can_guess(encode, data):
            found[f"{PREFIXES[task.kind]}_accuracy_text_only"] = 100 * float(
                row_scores(_guessed(encode, data), truth).mean()
            )
        return {key: value for key, value in found.items() if not key.endswith("_")} | alone  # rows of no group

    def outcomes(self, encode: Encode, data: EvaluationData) -> Mapping[str, np.ndarray]:
        task, _ = _task(data)
        if task.kind == "labels":
            return {}
        if task.kind == "numbers":
            given, truth = _given(encode, data), data.test.labels[task.label]
            return {"number_mse": ((given - truth.reshape(given.shape)) ** 2).mean(axis=1)}
        return {f"{PREFIXES[task.kind]}_accuracy": row_scores(_said(encode, data), data.test.labels[task.label])}

    def draw(
        self, encode: Encode, data: EvaluationData, found: Sequence[Measurement], folder: Path, title: str
    ) -> None:
        from ..plots import plot_predictions
        from ..plots.predictions import MOST

        task, label = _task(data)
        image, text = (_only(kind, encode, data) for kind in ("image", "text"))
        if image is None or text is None:
            return
        image, text = data.columns[image], data.columns[text]
        groups = _groups(data)
        rows = _shown(np.zeros(len(data.test)) if groups is None else groups, MOST)
        shown: Any = [data.test.rows[int(row)] for row in rows]
        if not all(_is_drawable(row[image], row[text]) for row in shown):
            return  # such as of a row that lacks one
        truth = _commonest(data.test.labels[task.label])
        right, said = (
            [label.names[i] if i >= 0 else "not in the list" for i in which[rows]]
            for which in (truth, _said(encode, data))
        )
        pictures = [_drawn(row[image]) for row in shown]
        plot_predictions(pictures, [row[text] for row in shown], right, said, folder / "predictions.png")


def _only(kind: str, encode: Encode, data: EvaluationData) -> str | None:
    """The only modality of a kind that the data has; None where there is none, or several."""
    names = [name for name in data.columns if encode.kinds.get(name) == kind]
    return names[0] if len(names) == 1 else None


def _others(encode: Encode, data: EvaluationData) -> list[Measurement]:
    """Of labels and of numbers."""
    task, _ = _task(data)
    truth = data.test.labels[task.label]
    return [_measurement(score, score.key, score.title, truth, encode, data) for score in SCORES[task.kind]]


def _alone(encode: Encode, data: EvaluationData) -> Iterator[tuple[Measurement, str]]:
    """What is measured of each modality alone, with its name."""
    task, _ = _task(data)
    read = [name for name in encode.modalities if name in data.columns]
    if "alone" not in encode.abilities or task.kind not in SCORES or len(read) < 2:
        return
    score = SCORES[task.kind][0]
    for name in read:
        rows = data.test.having(name)
        if len(rows):
            truth, title = data.test.labels[task.label][rows], f"{score.title}, from {name} alone"
            found = _measurement(score, f"{score.key}_{name}_alone", title, truth, encode, data)
            yield replace(found, short=f"{name} alone", headline=False), name


def _measurement(
    score: Score, key: str, title: str, truth: np.ndarray, encode: Encode, data: EvaluationData
) -> Measurement:
    chance, rows = score.chance(truth), len(truth)
    words: dict[str, Any] = {"unit": score.unit, "short": score.short, "metric": score.metric, "better": score.better}
    kind, headline, task = _task(data)[0].kind, bool(score.short), _hub_task(encode, data)
    return Measurement(key, np.nan, title, kind, chance=chance, rows=rows, headline=headline, task=task, **words)


def _hub_task(encode: Encode, data: EvaluationData) -> str:
    """The task of the Hub that is nearest."""
    return TASK if {"image", "text"} <= {encode.kinds.get(name) for name in data.columns} else OTHER


def _given(encode: Encode, data: EvaluationData, only: str | None = None) -> np.ndarray:
    """`(rows, outputs)`, what a head gives for the test rows, from all modalities or from one alone."""
    return encode.answer(data.test.rows, None, only).double().numpy()


def _task(data: EvaluationData) -> tuple[Target, Label]:
    assert data.target is not None
    return data.target, data.labels[data.target.label]


def _groups(data: EvaluationData) -> np.ndarray | None:
    """`(rows,)` int64, the kind of question of each row; -1 of none."""
    name = data.target.groups if data.target else None
    return None if name is None else data.test.labels[name]


def _endings(groups: Label, data: EvaluationData) -> dict[int, str]:
    """What the keys of the groups end with: their names, in letters, digits and _; with their number where these are
    those of another group, or of another key."""
    others = ("balanced", "text_only", *(f"{name}_alone" for name in data.columns))
    found: dict[int, str] = {}
    for number, name in enumerate(groups.names):
        word = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_") or "group"
        taken = word in found.values() or word in others
        found[number] = f"{word}_{number}" if taken else word
    return found


def _commonest(truth: np.ndarray) -> np.ndarray:
    """`(rows,)`, of the answers of several annotators that which most of them gave."""
    if truth.ndim == 1:
        return truth
    counts = [np.bincount(row[row >= 0], minlength=1) for row in truth]
    return np.array([row.argmax() if row.any() else -1 for row in counts])


def _said(encode: Encode, data: EvaluationData) -> np.ndarray:
    task, label = _task(data)
    return encode.answer(data.test.rows, list(label.names) if task.kind == "answers" else None).argmax(dim=1).numpy()


def _can_guess(encode: Encode, data: EvaluationData) -> bool:
    """Whether the texts of the training rows can be read without the images beside them."""
    if "alone" in encode.abilities or _only("text", encode, data) is None:
        return False
    return data.train is not None and hasattr(data.train.rows, "sentences")


def _guessed(encode: Encode, data: EvaluationData) -> np.ndarray:
    """`(rows,)` int64, the answer of each test row that its text alone suggests."""
    label, column = _task(data)[0].label, data.columns[_only("text", encode, data) or ""]
    train: Any = data.train
    answers = _commonest(train.labels[label])
    known: dict[str, Counter[int]] = {}
    for text, answer in zip(train.rows.sentences(column), answers.tolist(), strict=True):
        known.setdefault(key_of(text), Counter())[answer] += 1
    whole = Counter(answers.tolist()).most_common(1)[0][0]
    texts = cast(Any, data.test.rows).sentences(column)
    return np.array([known[key].most_common(1)[0][0] if (key := key_of(text)) in known else whole for text in texts])


def _is_drawable(pictures: Any, text: Any) -> bool:
    """Whether these are a picture, or several, and a text."""
    listed = pictures if isinstance(pictures, list) else [pictures]
    arrays = [np.ndim(one) == 3 and one.dtype == np.uint8 for one in listed if isinstance(one, np.ndarray)]
    others = [isinstance(one, Image.Image) for one in listed if not isinstance(one, np.ndarray)]
    return isinstance(text, str) and bool(listed) and all(arrays + others)


def _drawn(pictures: Any) -> Any:
    """Arrays of a picture, or of several, of one size."""
    if isinstance(pictures, list):
        return [_drawn(picture) for picture in pictures]
    if isinstance(pictures, np.ndarray):
        return pictures
    return np.asarray(ImageOps.pad(pictures.convert("RGB"), (DRAWN, DRAWN), color="white"))


def _shown(groups: np.ndarray, most: int) -> np.ndarray:
    """Row numbers: of each kind of question as many, and not the same pictures for all kinds."""
    parts = [np.flatnonzero(groups == name) for name in np.unique(groups)]
    each = -(-most // len(parts))
    chosen = []
    for order, rows in enumerate(parts):
        places = (np.arange(each) + (order + 0.5) / len(parts)) / each
        chosen.append(np.unique(rows[(places * len(rows)).astype(int)]))
    return np.concatenate(chosen)[:most]
