"""Trifeature as recipes name it: pairs of images, or images with captions."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from ..citations import DUFUMIER_2025, HERMANN_2020
from ..errors import UserError, suggest
from .composer import Composer
from .description import Description
from .loaded import EvaluationData, Label, LoadedData, Split, Target
from .sample import ROWS, Role, Sample
from .source import Reader, RenderedSource, Source, register_source
from .tokenizers import WORDS, load_tokenizer
from .trifeature import (
    CAPTIONS,
    COLORS,
    PRIVATE_FACTOR,
    SHAPES,
    SHARED_FACTORS,
    SYNERGY,
    TEXTURES,
    TrifeatureImages,
    TrifeaturePairs,
    load_trifeature,
)
from .trifeature_composer import PairComposer
from .trifeature_sample import captioned, drawn, image_size_of, paired
from .trifeature_validation import cut_combinations

IMAGES = ("image1", "image2")
TITLE = "trifeature, held-out combinations"
COMBINATIONS_HELD_OUT = "of the 200 combinations of shape, texture and color (of 1,000) that training never showed"
SYNTHETIC = (
    "The images are synthetic: ten shapes, textures and colors on a grey ground. The model is for studying what {} "
    "not for natural images."
)
CONTRASTED, TAUGHT = "contrastive training keeps,", "training on such pictures teaches,"
TEXTS = ("a photo of a red star", "a photo of a blue circle")
PAIR_LABELS = {
    "redundancy": Label(names=SHAPES, of=IMAGES, title="shape of both images"),
    "uniqueness1": Label(names=TEXTURES, of=IMAGES[:1], title="texture of image 1"),
    "uniqueness2": Label(names=TEXTURES, of=IMAGES[1:], title="texture of image 2"),
    "synergy": Label(names=SYNERGY, title="does the second color fit the first texture?"),
}
# What the labels of pairs are called in a sample of them.
SHOWN = {"redundancy": "shape", "uniqueness1": "texture1", "uniqueness2": "texture2", "synergy": "synergy"}
IMAGE_LABELS = {
    "shape": Label(names=SHAPES, of=("image", "text")),
    "color": Label(names=COLORS, of=("image", "text")),
    PRIVATE_FACTOR: Label(names=TEXTURES, of=("image",)),
    "caption": Label(names=CAPTIONS, of=("image", "text"), title="right caption"),
}


@register_source("trifeature")
@dataclass(frozen=True)
class TrifeatureData(RenderedSource):
    """Bimodal Trifeature: pairs of rendered images that share their shape. See `load_trifeature`.

    Args:
        image_size: In pixels.
        renders: Images of each training combination.
        seed: Of the data set itself; it stays the same when the seed of a training run changes.
        texture_period: In pixels of the 224 px canvas.
        biased: Train on the pairs that obey the texture -> color mapping, to learn synergy. Probes use unbiased pairs.
        max_pairs: At most this many pairs a split.
        validation_share: Validate on this share of the training combinations, which is then not trained on.
        target: What a head is trained to say, or the classes that the objective `supcon` contrasts: `redundancy` (the
            shape of both), `uniqueness1`, `uniqueness2` (the texture of one) or `synergy`. Models that read it need
            it, and no other may have it.
    """

    image_size: int = 224
    renders: int = 3
    seed: int = 42
    texture_period: float = 10.0
    biased: bool = False
    max_pairs: int = 10_000
    validation_share: float = 0.0
    target: str | None = None

    @classmethod
    def described(cls, options: Mapping[str, Any]) -> Description:
        """What a card tells of the data, from the numbers of a data section."""
        note = (
            "The pairs that it was trained on obey no rule that ties the second color to the first texture: there was "
            "no synergy to learn."
        )
        if options["biased"]:
            note = (
                "It was trained on pairs that obey the rule that ties the second color to the first texture. The "
                "probes were trained and tested on pairs that need not."
            )
        biased = ", biased so that the color of the second follows from the texture of the first"
        return Description(
            "pairs of rendered Trifeature images that share their shape" + (biased if options["biased"] else ""),
            f"pairs of images {COMBINATIONS_HELD_OUT}, {options['image_size']:g} px",
            TITLE,
            (SYNTHETIC.format(CONTRASTED),),
            notes={
                "interactions": f"{note} A representation that holds no synergy may lie below chance: a color that is "
                "frequent among the training images of a shape is rare among the held-out ones, and what a probe "
                "learns of such frequencies is reversed on held-out pairs."
            },
            citations=(HERMANN_2020, DUFUMIER_2025),
        )

    def load(self, progress: bool = False) -> LoadedData:
        return self.load_for(Reader(), progress)

    def load_for(self, reader: Reader, progress: bool = False) -> LoadedData:
        self._check_target(reader)
        try:
            trifeature = load_trifeature(
                self.image_size, self.renders, self.seed, texture_period=self.texture_period, progress=progress
            )
            trifeature, held = cut_combinations(trifeature, self.validation_share)
            train = trifeature.pairs("train", biased=self.biased, max_pairs=self.max_pairs)
            probe_train, probe_test = (
                trifeature.pairs(split, max_pairs=self.max_pairs) for split in ("train", "test")
            )
        except ValueError as error:
            raise UserError(f"data: {error}") from None
        kind = "obeying a texture to color mapping" if self.biased else "sharing their shape"
        own = self.target if reader.labels is not None else None
        asked = Target("classes", own) if own is not None and reader.labels != "contrast" else None
        return LoadedData(
            train=train if own is None else LabelledRows(train, train.labels[own]),
            columns={name: name for name in IMAGES},
            evaluation=EvaluationData(
                train=_pairs(probe_train, own),
                test=_pairs(probe_test, own),
                validation=None if held is None else _pairs(held.pairs("train", max_pairs=self.max_pairs), own),
                columns={name: name for name in IMAGES},
                labels=PAIR_LABELS,
                benchmarks={"interactions": {}} if asked is None else {"tasks": {}},
                target=asked,
            ),
            target=None if own is None else PAIR_LABELS[own],
            summary=f"Bimodal Trifeature at {self.image_size} px: {len(train):,} pairs of images {kind}",
        )

    def sample(self, rows: int = ROWS, reader: Reader | None = None, role: Role = "test") -> Sample:
        found = paired(drawn(self.image_size, self.seed, self.texture_period), role, rows)
        asked = self.target is not None and reader is not None and reader.labels not in (None, "contrast")
        return replace(found, target=Target("classes", SHOWN[self.target or ""])) if asked else found

    def _check_target(self, reader: Reader) -> None:
        """
        Raises:
            UserError: If a model that reads a target has none, another model has one, or there is no such label.
        """
        known = ", ".join(PAIR_LABELS)
        if self.target is not None and self.target not in PAIR_LABELS:
            raise UserError(f"data.target={self.target!r}: {suggest(self.target, PAIR_LABELS)}")
        if self.target is None and reader.labels is not None:
            raise UserError(f"data.target is missing: write what this model reads of each pair: {known}")
        if self.target is not None and reader.labels is None and reader.encoders:
            raise UserError(f"data.target={self.target}: this model reads no labels: leave it out")
        if reader.labels not in (None, "any", "classes", "contrast"):
            raise UserError(
                f"model.problem_type={reader.problem}: {self.target} is a class of each pair: leave it out"
            )

    def composer(self) -> Composer:
        trifeature = drawn(self.image_size, self.seed, self.texture_period)
        return PairComposer(trifeature, self.image_size, self.texture_period, PAIR_LABELS)

    @classmethod
    def stands_in_for(cls, modalities: Mapping[str, Mapping[str, Any]], reader: Reader) -> Source | None:
        fits = set(modalities) == set(IMAGES) and reader.labels is None
        return cls(image_size=image_size_of(modalities)) if fits else None


def _pairs(pairs: TrifeaturePairs, target: str | None = None) -> Split:
    rows = pairs if target is None else LabelledRows(pairs, pairs.labels[target])
    return Split(rows, np.arange(len(pairs)), pairs.labels)


class LabelledRows(Dataset):
    """Rows with a class each, in `labels`."""

    def __init__(self, rows: Any, classes: np.ndarray) -> None:
        self.rows, self.classes = rows, classes

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: int) -> dict[str, Any]:
        return {**self.rows[i], "labels": int(self.classes[i])}


class CaptionedImages(Dataset):
    """Trifeature images as rows of `image`, `text` and `ids`, the number of the caption."""

    def __init__(self, source: TrifeatureImages) -> None:
        self.source = source
        self.ids = source.caption_ids

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, i: int) -> dict[str, Any]:
        number = int(self.ids[i])
        return {"image": self.source.images[i], "text": CAPTIONS[number], "ids": number}


@register_source("trifeature_captions")
@dataclass(frozen=True)
class TrifeatureCaptionsData(RenderedSource):
    """Trifeature images with captions that name shape and color, never the texture: that is private to the image.

    Args:
        image_size: In pixels.
        renders: Images of each training combination.
        test_renders: Images of each held-out combination.
        seed: Of the data set itself; it stays the same when the seed of a training run changes.
        texture_period: In pixels of the 224 px canvas.
        tokenizers: The tokenizer of `text`: a checkpoint's, or `words` for one made of the captions. By default that
            of the checkpoint that the text tower starts from, else `words`.
        validation_share: Validate on this share of the training combinations, which is then not trained on.
    """

    image_size: int = 224
    renders: int = 3
    test_renders: int = 10
    seed: int = 42
    texture_period: float = 10.0
    tokenizers: dict[str, str] = field(default_factory=dict)
    validation_share: float = 0.0

    @classmethod
    def described(cls, options: Mapping[str, Any]) -> Description:
        """What a card tells of the data, from the numbers of a data section."""
        return Description(
            "rendered Trifeature images with captions that name shape and color, never the texture: that is for the "
            "image alone to tell",
            f"{200 * options['test_renders']:,.0f} images {COMBINATIONS_HELD_OUT}, {options['image_size']:g} px",
            TITLE,
            (SYNTHETIC.format(CONTRASTED),),
            closed_vocabulary=True,
            texts=TEXTS,
            citations=(HERMANN_2020,),
        )

    def load(self, progress: bool = False) -> LoadedData:
        try:
            trifeature = load_trifeature(
                self.image_size, self.renders, self.seed, progress, self.texture_period, self.test_renders
            )
        except ValueError as error:
            raise UserError(f"data: {error}") from None
        trifeature, held = cut_combinations(trifeature, self.validation_share)
        train, test = CaptionedImages(trifeature.train), CaptionedImages(trifeature.test)
        return LoadedData(
            train=train,
            columns={"image": "image", "text": "text"},
            summary=f"Trifeature at {self.image_size} px: {len(train):,} images, captions of shape and color",
            tokenizers={
                name: load_tokenizer(value, CAPTIONS) for name, value in ({"text": WORDS} | self.tokenizers).items()
            },
            evaluation=EvaluationData(
                train=_labelled(train),
                test=_labelled(test),
                validation=None if held is None else _labelled(CaptionedImages(held.train)),
                columns={"image": "image", "text": "text"},
                labels=IMAGE_LABELS,
                benchmarks={
                    "zero_shot": {"label": "caption"},
                    "retrieval": {},
                    "probes": {"labels": [*SHARED_FACTORS, PRIVATE_FACTOR], "of": ["image", "full"]},
                    "geometry": {},
                },
            ),
        )

    def sample(self, rows: int = ROWS, reader: Reader | None = None, role: Role = "test") -> Sample:
        return captioned(drawn(self.image_size, self.seed, self.texture_period), role, rows)

    @classmethod
    def stands_in_for(cls, modalities: Mapping[str, Mapping[str, Any]], reader: Reader) -> Source | None:
        fits = set(modalities) == {"image", "text"} and reader.labels is None
        return cls(image_size=image_size_of(modalities)) if fits else None


def _labelled(rows: CaptionedImages) -> Split:
    """Images with their factors; captions that are equal are one."""
    labels = {name: getattr(rows.source, name) for name in (*SHARED_FACTORS, PRIVATE_FACTOR)}
    return Split(rows, rows.ids, {**labels, "caption": rows.ids}, {"text": rows.ids})
