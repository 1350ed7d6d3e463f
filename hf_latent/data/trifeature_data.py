"""Trifeature as recipes name it: pairs of images, or images with captions."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from torch.utils.data import Dataset

from ..errors import UserError
from .loaded import CaptionBenchmark, LoadedData, Probes
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
    load_trifeature,
)

PAIR_TITLES = {
    "redundancy": "shape of both images",
    "uniqueness1": "texture of image 1",
    "uniqueness2": "texture of image 2",
}
PAIR_CLASSES = {
    "redundancy": list(SHAPES),
    "uniqueness1": list(TEXTURES),
    "uniqueness2": list(TEXTURES),
    "synergy": list(SYNERGY),
}


@dataclass(frozen=True)
class TrifeatureData:
    """Bimodal Trifeature: pairs of rendered images that share their shape. See `load_trifeature`.

    Args:
        image_size: In pixels.
        renders: Images of each training combination.
        seed: Of the data set itself; it stays the same when the seed of a training run changes.
        texture_period: In pixels of the 224 px canvas.
        biased: Train on the pairs that obey the texture -> color mapping, to learn synergy. Probes use unbiased pairs.
        max_pairs: At most this many pairs a split.
    """

    NAME: ClassVar[str] = "trifeature"

    image_size: int = 224
    renders: int = 3
    seed: int = 42
    texture_period: float = 10.0
    biased: bool = False
    max_pairs: int = 10_000

    def load(self, progress: bool = False) -> LoadedData:
        try:
            trifeature = load_trifeature(
                self.image_size, self.renders, self.seed, texture_period=self.texture_period, progress=progress
            )
            train = trifeature.pairs("train", biased=self.biased, max_pairs=self.max_pairs)
            probe_train, probe_test = (
                trifeature.pairs(split, max_pairs=self.max_pairs) for split in ("train", "test")
            )
        except ValueError as error:
            raise UserError(f"data: {error}") from None
        kind = "obeying a texture to color mapping" if self.biased else "sharing their shape"
        return LoadedData(
            train=train,
            columns={"image1": "image1", "image2": "image2"},
            probes=Probes(probe_train, probe_train.labels, probe_test, probe_test.labels, PAIR_CLASSES, PAIR_TITLES),
            summary=f"Bimodal Trifeature at {self.image_size} px: {len(train):,} pairs of images {kind}",
        )


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


@dataclass(frozen=True)
class TrifeatureCaptionsData:
    """Trifeature images with captions that name shape and color, never the texture: that is private to the image.

    Args:
        image_size: In pixels.
        renders: Images of each training combination.
        test_renders: Images of each held-out combination.
        seed: Of the data set itself; it stays the same when the seed of a training run changes.
        texture_period: In pixels of the 224 px canvas.
        tokenizers: The tokenizer of `text`: a checkpoint's, or `words` for one made of the captions. By default that
            of the checkpoint that the text tower starts from, else `words`.
    """

    NAME: ClassVar[str] = "trifeature_captions"

    image_size: int = 224
    renders: int = 3
    test_renders: int = 10
    seed: int = 42
    texture_period: float = 10.0
    tokenizers: dict[str, str] = field(default_factory=dict)

    def load(self, progress: bool = False) -> LoadedData:
        try:
            trifeature = load_trifeature(
                self.image_size, self.renders, self.seed, progress, self.texture_period, self.test_renders
            )
        except ValueError as error:
            raise UserError(f"data: {error}") from None
        train, test = CaptionedImages(trifeature.train), CaptionedImages(trifeature.test)
        classes = {"shape": list(SHAPES), "color": list(COLORS), "texture": list(TEXTURES)}
        factors = (*SHARED_FACTORS, PRIVATE_FACTOR)
        train_labels, test_labels = ({name: getattr(rows.source, name) for name in factors} for rows in (train, test))
        return LoadedData(
            train=train,
            columns={"image": "image", "text": "text"},
            summary=f"Trifeature at {self.image_size} px: {len(train):,} images, captions of shape and color",
            tokenizers={
                name: load_tokenizer(value, CAPTIONS) for name, value in ({"text": WORDS} | self.tokenizers).items()
            },
            captions=CaptionBenchmark(
                test=test,
                test_ids=test.ids,
                captions=test.ids,
                images=np.arange(len(test)),
                classes=list(CAPTIONS),
                test_classes=test.ids,
                train=train,
                train_labels=train_labels,
                test_labels=test_labels,
                class_names=classes,
                private=(PRIVATE_FACTOR,),
            ),
        )
