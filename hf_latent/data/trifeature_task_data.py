"""Downstream tasks on Trifeature as recipes name them: questions, entailment, statements, text assignment."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from ..citations import HERMANN_2020
from ..errors import UserError
from ..memory import check_memory
from .description import Description
from .loaded import EvaluationData, Label, LoadedData, Split, Target
from .sample import ROWS, Role, Sample, evenly
from .source import Reader, RenderedSource, Source, register_source
from .tokenizers import TRIFEATURE, load_tokenizer
from .trifeature import TrifeatureImages, generator, load_trifeature
from .trifeature_data import COMBINATIONS_HELD_OUT, SYNTHETIC, TAUGHT, TITLE
from .trifeature_sample import drawn, image_size_of
from .trifeature_sentences import ANSWERS
from .trifeature_tasks import (
    ASSIGNMENT,
    ENTAILMENT,
    TRUTH,
    Example,
    TaskRows,
    draw_assignments,
    draw_hypotheses,
    draw_questions,
    draw_statements,
)


@dataclass(frozen=True)
class TrifeatureTaskData(RenderedSource):
    """Trifeature images with sentences, and what is right of them. Test images are of held-out combinations.

    Args:
        image_size: In pixels.
        renders: Images of each training combination.
        test_renders: Images of each held-out combination.
        seed: Of the data set itself; it stays the same when the seed of a training run changes.
        texture_period: In pixels of the 224 px canvas.
        per_picture: Sentences of each image; where a sentence is about two, the other one is drawn.
        tokenizers: The tokenizer of `text`: a checkpoint's, `words` for one made of the training sentences, or
            `trifeature` for the words of all built-in sentences. By default that of the checkpoint that the text tower
            starts from, else `trifeature`.
    """

    CLASSES: ClassVar[tuple[str, ...]]
    WHAT: ClassVar[str]
    KINDS: ClassVar[Mapping[str, str]]  # of sentences, each in words
    LABEL: ClassVar[str] = "class"
    TRAINED: ClassVar[tuple[str, str, str]]  # what, about what besides, and what it says, for a card
    SENTENCE: ClassVar[str] = "a red star"
    SAYS: ClassVar[str | None] = None  # what a model of its classes does
    TWO_IMAGES: ClassVar[bool] = False
    STREAM: ClassVar[int]  # random, after those of `trifeature` and of its scenes
    ANSWERED: ClassVar[bool] = False
    READS: ClassVar[str] = ""  # what the sentence is called, where the task has another word

    image_size: int = 224
    renders: int = 3
    test_renders: int = 5
    seed: int = 42
    texture_period: float = 10.0
    per_picture: int = 4
    tokenizers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def described(cls, options: Mapping[str, Any]) -> Description:
        """What a card tells of the data, from the numbers of a data section."""
        pictures, sentences = 200 * options["test_renders"], options["per_picture"]
        subject, about, saying = cls.TRAINED
        two = ", two at a time" if cls.TWO_IMAGES else ""
        return Description(
            f"{subject}, {sentences:g} on each of {800 * options['renders']:,.0f}{about}: {saying}",
            f"{pictures * sentences:,.0f} sentences on {pictures:,.0f} images {COMBINATIONS_HELD_OUT}{two}, "
            f"{options['image_size']:g} px",
            TITLE,
            (
                SYNTHETIC.format(TAUGHT),
                "It was trained on sentences of a few fixed forms; how it reads others was not measured.",
            ),
            question="what color does it have?",
            answers=("red", "blue", "star", "circle", "dots", "yes", "no"),
            sentence=cls.SENTENCE,
            says=cls.SAYS,
            citations=(HERMANN_2020,),
        )

    @staticmethod
    def draw(images: TrifeatureImages, per_picture: int, rng: np.random.Generator) -> list[Example]:
        """Sentences on the images of a split, and what is right of them."""
        raise NotImplementedError

    def load(self, progress: bool = False) -> LoadedData:
        if self.per_picture < 1:
            raise UserError(f"data.per_picture={self.per_picture}: write 1 or more")
        for name in self.tokenizers:
            if name != "text":
                raise UserError(f"data.tokenizers.{name}: no such modality; write text")
        pictures = max(800 * self.renders, 200 * self.test_renders)
        check_memory(500 * pictures * self.per_picture, f"data.per_picture={self.per_picture}")  # 500 bytes a sentence
        try:
            trifeature = load_trifeature(
                self.image_size, self.renders, self.seed, progress, self.texture_period, self.test_renders
            )
        except ValueError as error:
            raise UserError(f"data: {error}") from None
        train, test = self._rows(trifeature.train, 0), self._rows(trifeature.test, 1)
        return LoadedData(
            train=train,
            columns={"image": "image", "text": "text"},
            summary=f"Trifeature at {self.image_size} px: {len(train):,} {self.WHAT}",
            tokenizers={"text": self._tokenizer(train)},
            evaluation=EvaluationData(
                test=Split(test, np.arange(len(test)), {self.LABEL: test.labels, "kind": self._kinds(test)}),
                columns={"image": "image", "text": "text"},
                labels=self._labels(),
                target=self._target(),
            ),
            target=self._labels()[self.LABEL],
        )

    def sample(self, rows: int = ROWS, reader: Reader | None = None, role: Role = "test") -> Sample:
        """Images of one render of each combination, with a sentence each, kind by kind."""
        trifeature = drawn(self.image_size, self.seed, self.texture_period)
        images, kind = (trifeature.test, "held-out") if role == "test" else (trifeature.train, "training")
        examples = sorted(self.draw(images, 1, np.random.default_rng(0)), key=lambda row: row.group)
        examples = [examples[place] for place in evenly(len(examples), rows)]
        asked = TaskRows(images, examples, self.CLASSES if self.ANSWERED else None)
        read = [asked[row] for row in range(len(asked))]
        return Sample(
            f"{len(read)} {kind} {self.WHAT} of Trifeature",
            {name: [row[name] for row in read] for name in ("image", "text")},
            [row["text"] for row in read],
            np.arange(len(read)),
            "the same row",
            self._labels(),
            {self.LABEL: asked.labels, "kind": self._kinds(asked)},
            role == "test",
            self._target(),
        )

    @classmethod
    def stands_in_for(cls, modalities: Mapping[str, Mapping[str, Any]], reader: Reader) -> Source | None:
        wanted = "answers" if cls.ANSWERED else "classes"
        fits = set(modalities) == {"image", "text"} and reader.labels == wanted
        fits &= reader.images == (2 if cls.TWO_IMAGES else 1) and reader.classes in (None, len(cls.CLASSES))
        return cls(image_size=image_size_of(modalities)) if fits else None

    def _labels(self) -> dict[str, Label]:
        return {
            self.LABEL: Label(names=tuple(self.CLASSES)),
            "kind": Label(names=tuple(self.KINDS), titles=tuple(self.KINDS.values())),
        }

    def _target(self) -> Target:
        return Target("answers" if self.ANSWERED else "classes", self.LABEL, groups="kind", sentence=self.READS)

    def _kinds(self, rows: TaskRows) -> np.ndarray:
        """`(rows,)` int64, the kind of each row."""
        kinds = list(self.KINDS)
        return np.array([kinds.index(str(group)) for group in rows.groups])

    def _tokenizer(self, train: TaskRows) -> Any:
        """A UserError where it does not know a word that is said: all such words would be one to the model."""
        name = ({"text": TRIFEATURE} | self.tokenizers)["text"]
        sentences = sorted({example.text for example in train.examples} | set(self.CLASSES if self.ANSWERED else ()))
        tokenizer = load_tokenizer(name, sentences)
        for sentence, ids in zip(sentences, tokenizer(sentences)["input_ids"], strict=True):
            if tokenizer.unk_token_id is not None and tokenizer.unk_token_id in ids:
                raise UserError(
                    f"data.tokenizers.text={name!r} does not know all words of {sentence!r}: begin with a model "
                    f"that was trained with tokenizers: {{text: {TRIFEATURE}}}"
                )
        return tokenizer

    def _rows(self, images: TrifeatureImages, split: int) -> TaskRows:
        examples = self.draw(images, self.per_picture, generator(self.seed, self.STREAM, split))
        return TaskRows(images, examples, self.CLASSES if self.ANSWERED else None)


@register_source("trifeature_questions")
@dataclass(frozen=True)
class TrifeatureQuestionsData(TrifeatureTaskData):
    """Questions on Trifeature images: "what color is the star?" A row's `labels` is the answer in words, one of 32.

    Four kinds take turns, `color`, `shape`, `texture` and `yes_no`; see `draw_questions`. The options are those of
    `TrifeatureTaskData`.
    """

    CLASSES = ANSWERS
    WHAT = "questions on images"
    KINDS = {
        "color": "what color?",
        "shape": "what shape?",
        "texture": "what texture?",
        "yes_no": "yes or no?",
    }
    LABEL = "answer"
    TRAINED = (
        "questions about rendered Trifeature images",
        "",
        "what color, shape or texture something has, and whether it has one, to be answered by yes or no",
    )
    draw = staticmethod(draw_questions)
    STREAM = 5
    ANSWERED = True


@register_source("trifeature_entailment")
@dataclass(frozen=True)
class TrifeatureEntailmentData(TrifeatureTaskData):
    """Trifeature images and hypotheses that they entail, contradict, or leave open: "a heavy red star".

    Three kinds, `plain`, `open` and `either`; see `draw_hypotheses`. The options are those of `TrifeatureTaskData`.
    """

    CLASSES = ENTAILMENT
    WHAT = "hypotheses on images"
    KINDS = {
        "plain": "what the picture shows",
        "open": "with a word that no picture tells",
        "either": "what it shows, or a word that no picture tells",
    }
    TRAINED = (
        "hypotheses about rendered Trifeature images",
        "",
        'one such as "a heavy red star" is entailed by its image, contradicted, or left open',
    )
    SENTENCE = "a heavy red star"
    READS = "hypothesis"
    SAYS = "tells whether an image entails a sentence, contradicts it, or leaves it open"
    draw = staticmethod(draw_hypotheses)
    STREAM = 6


@register_source("trifeature_statements")
@dataclass(frozen=True)
class TrifeatureStatementsData(TrifeatureTaskData):
    """Statements about two Trifeature images, true or false: "both have the same color". `image` is a list of two.

    Four kinds, `both`, `one`, `same` and `side`; see `draw_statements`. The options are those of `TrifeatureTaskData`.
    """

    CLASSES = TRUTH
    WHAT = "statements about two images"
    KINDS = {
        "both": "of both pictures",
        "one": "of exactly one",
        "same": "what both have in common",
        "side": "of the left or the right one",
    }
    TRAINED = (
        "statements about two rendered Trifeature images",
        " with another",
        "both are red, exactly one is, they have the same color, the left one shows a star. Half of them are true",
    )
    SENTENCE = "both are red"
    SAYS = "tells whether a statement about two images is true"
    TWO_IMAGES = True
    draw = staticmethod(draw_statements)
    STREAM = 7


@register_source("trifeature_text_assignment")
@dataclass(frozen=True)
class TrifeatureTextAssignmentData(TrifeatureTaskData):
    """A caption and two Trifeature images: is it of the first, the second, or neither? `image` is a list of two.

    Two kinds, `near` and `far`; see `draw_assignments`. The options are those of `TrifeatureTaskData`.
    """

    CLASSES = ASSIGNMENT
    WHAT = "captions of one of two images, or of neither"
    KINDS = {"near": "which of two that are much alike", "far": "which of two that are not"}
    TRAINED = (
        "captions with two rendered Trifeature images",
        " with another",
        "is a caption of the first, of the second, or of neither?",
    )
    SENTENCE = "a photo of a red star"
    READS = "caption"
    SAYS = "tells which of two images a caption belongs to, if to any"
    TWO_IMAGES = True
    draw = staticmethod(draw_assignments)
    STREAM = 8
