"""Questions, hypotheses, statements and captions drawn for Trifeature pictures, and what is right of each.

Labels are balanced, over all and within each kind, and what is said wrongly is drawn uniformly from the other classes:
neither the sentence nor the picture alone tells the label.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
from torch.utils.data import Dataset

from .trifeature import Int64, TrifeatureImages
from .trifeature_sentences import (
    ANSWERS,
    CLASS_NAMES,
    EITHER,
    FACTORS,
    OPEN,
    QUESTIONS,
    STATEMENTS,
    answer,
    claim,
    either,
    question,
    says,
)

T = TypeVar("T")

ENTAILMENT = ("entailment", "neutral", "contradiction")
TRUTH = ("false", "true")
ASSIGNMENT = ("first", "second", "neither")

# How often each kind of hypothesis has each label, of nine: every label three times, and an even chance of both labels
# that a plain and an open one can have.
_HYPOTHESES = (
    ("plain", "entailment"),
    ("plain", "contradiction"),
    ("open", "neutral"),
    ("open", "contradiction"),
    *(("either", label) for label in ("entailment", "entailment", "neutral", "neutral", "contradiction")),
)
# What a hypothesis or a statement may name.
_CLAIMS = (
    ("shape",),
    ("texture",),
    ("color",),
    ("shape", "color"),
    ("shape", "texture"),
    ("texture", "color"),
    FACTORS,
)
_SUBJECTS = _CLAIMS[:4]


class Example(NamedTuple):
    """One row: the numbers of its pictures, what is said of them, the number of the right class, and its kind."""

    pictures: tuple[int, ...]
    text: str
    label: int
    group: str


class TaskRows(Dataset):
    """Examples as rows of `image`, one picture or a list of them, `text`, `labels` and `ids`, the row's own number.

    `labels` is the number of the class, or the answer itself where `answers` names them.
    """

    def __init__(
        self, source: TrifeatureImages, examples: Sequence[Example], answers: Sequence[str] | None = None
    ) -> None:
        self.source, self.examples, self.answers = source, list(examples), answers

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, i: int) -> dict[str, Any]:
        row = range(len(self))[i]
        example = self.examples[row]
        images = [self.source.images[picture] for picture in example.pictures]
        return {
            "image": images[0] if len(images) == 1 else images,
            "text": example.text,
            "labels": example.label if self.answers is None else self.answers[example.label],
            "ids": row,
        }

    @property
    def labels(self) -> Int64:
        """(N,) the number of the right class of each row."""
        return np.array([example.label for example in self.examples], dtype=np.int64)

    @property
    def groups(self) -> np.ndarray:
        """(N,) the kind of each row."""
        return np.array([example.group for example in self.examples])


class _Pictures:
    """What the pictures of a split show, and draws among them."""

    def __init__(self, images: TrifeatureImages, rng: np.random.Generator) -> None:
        self.classes = {factor: getattr(images, factor) for factor in FACTORS}
        self.count, self.rng = len(images), rng

    def names(self, picture: int, factors: Sequence[str] = FACTORS) -> dict[str, str]:
        return {factor: CLASS_NAMES[factor][self.classes[factor][picture]] for factor in factors}

    def one_of(self, choices: Sequence[T]) -> T:
        return choices[int(self.rng.integers(len(choices)))]

    def coin(self) -> bool:
        return bool(self.rng.integers(2))

    def spread(self, choices: Sequence[T], count: int) -> list[T]:
        """Each choice equally often, up to one, in random order."""
        return [choices[k] for k in self.rng.permutation(np.arange(count) % len(choices))]

    def falsified(self, values: dict[str, str], factors: Sequence[str]) -> dict[str, str]:
        """The same with the classes of one or more of the factors replaced."""
        wrong = self.rng.permutation(len(factors))[: self.rng.integers(1, len(factors) + 1)]
        changed = {}
        for factor in (factors[k] for k in wrong):
            changed[factor] = self.one_of([name for name in CLASS_NAMES[factor] if name != values[factor]])
        return values | changed

    def agreement(self, picture: int, factors: Sequence[str]) -> Int64:
        """(N,) in how many of the factors each picture is as this one."""
        return np.sum([self.classes[factor] == self.classes[factor][picture] for factor in factors], axis=0)

    def another(self, picture: int, allowed: np.ndarray) -> int:
        """One of the allowed pictures; this one only where there is no other."""
        rows = np.flatnonzero(allowed)
        others = rows[rows != picture]
        return int(self.one_of(others)) if len(others) else picture


def draw_questions(images: TrifeatureImages, per_picture: int, rng: np.random.Generator) -> list[Example]:
    """Questions on one picture; the label is the row of `ANSWERS`.

    The kinds take turns. Half of "yes_no" are to be answered by yes.
    """
    pictures, kinds = _Pictures(images, rng), list(QUESTIONS)
    asked = [
        (picture, kinds[(picture + turn) % len(kinds)])
        for picture in range(len(images))
        for turn in range(per_picture)
    ]
    truth = iter(pictures.spread((True, False), sum(kind == "yes_no" for _, kind in asked)))
    examples = []
    for picture, kind in asked:
        names = pictures.names(picture)
        template, factors = pictures.one_of(QUESTIONS[kind])
        if kind != "yes_no":
            reply = answer(kind, names[kind])
        elif next(truth):
            reply = "yes"
        else:
            names, reply = pictures.falsified(names, factors), "no"
        examples.append(Example((picture,), question(template, **names), ANSWERS.index(reply), kind))
    return examples


def draw_hypotheses(images: TrifeatureImages, per_picture: int, rng: np.random.Generator) -> list[Example]:
    """Hypotheses on one picture; the label is the row of `ENTAILMENT`.

    - "plain" says what the picture shows, "a red star", or something else;
    - "open" adds what no picture tells, "a heavy red star": neutral, or a contradiction where the rest is wrong;
    - "either" is "a star that is red or heavy": entailed by a red star, neutral to another star, and wrong otherwise.
    """
    pictures = _Pictures(images, rng)
    cells = pictures.spread(_HYPOTHESES, per_picture * len(images))
    examples = []
    for row, (kind, label) in enumerate(cells):
        picture, word = row // per_picture, pictures.one_of(OPEN)
        names = pictures.names(picture)
        if kind == "either":
            factor = pictures.one_of(list(EITHER))
            if label == "neutral" or (label == "contradiction" and pictures.coin()):
                names = pictures.falsified(names, (factor,))
            if label == "contradiction":
                names = pictures.falsified(names, ("shape",))
            text = either(factor, **names, open_word=word)
        else:
            factors = pictures.one_of(_CLAIMS)
            if label == "contradiction":
                names = pictures.falsified(names, factors)
            text = claim({factor: names[factor] for factor in factors}, *([word] if kind == "open" else []))
        examples.append(Example((picture,), text, ENTAILMENT.index(label), kind))
    return examples


def draw_statements(images: TrifeatureImages, per_picture: int, rng: np.random.Generator) -> list[Example]:
    """Statements about two pictures, half of them true; the label is the row of `TRUTH`.

    - "both" are red; where that is false, one of them is;
    - exactly "one" is red; else both or neither are;
    - both have the "same" color;
    - the left or the right "side" shows a red star, whatever the other shows; where something that has two parts is
      false, one of these is right.
    """
    pictures = _Pictures(images, rng)
    cells = [(kind, truth) for kind in STATEMENTS for truth in (False, True)]
    examples = []
    for row, (kind, truth) in enumerate(pictures.spread(cells, per_picture * len(images))):
        first = row // per_picture
        factors = (pictures.one_of(FACTORS),) if kind == "same" else pictures.one_of(_SUBJECTS)
        shared = pictures.agreement(first, factors)
        fits = shared == len(factors)
        misses = ~fits & (shared >= len(factors) - 1)
        if kind in ("both", "same") and len(factors) == 1:  # or equal pictures would be a sign of truth
            misses &= pictures.agreement(first, FACTORS) > 0
        names = pictures.names(first, factors)
        like, unlike = pictures.another(first, fits), pictures.another(first, misses)
        template = pictures.one_of(STATEMENTS[kind])
        if kind == "side":
            named = first if truth else unlike
            beside = like if pictures.coin() else pictures.another(named, misses)
            shown = (named, beside) if "left" in template else (beside, named)
        elif kind == "one" and not truth:
            shown = (first, like) if pictures.coin() else (unlike, pictures.another(unlike, misses))
        else:
            shown = (first, like if truth and kind != "one" else unlike)
            shown = shown[::-1] if pictures.coin() else shown
        text = template.format(does=says(names), do=says(names, both=True), factor=factors[0])
        examples.append(Example(shown, text, int(truth), kind))
    return examples


def draw_assignments(images: TrifeatureImages, per_picture: int, rng: np.random.Generator) -> list[Example]:
    """A caption and two pictures; the label is the row of `ASSIGNMENT`, which of them it belongs to.

    Any other picture has the shape or the color of the caption, "near", or neither of them, "far".
    """
    pictures, captions = _Pictures(images, rng), images.captions
    cells = [(label, kind) for label in range(len(ASSIGNMENT)) for kind in ("near", "far")]
    examples = []
    for row, (label, kind) in enumerate(pictures.spread(cells, per_picture * len(images))):
        named = row // per_picture
        others = pictures.agreement(named, ("shape", "color")) == (1 if kind == "near" else 0)
        beside = pictures.another(named, others)
        shown = [(named, beside), (beside, named), (beside, pictures.another(beside, others))][label]
        examples.append(Example(shown, captions[named], label, kind))
    return examples
