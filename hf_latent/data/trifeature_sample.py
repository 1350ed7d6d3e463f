"""Rows of Trifeature to look at, one render of each combination: drawn in a moment, whatever was trained on."""

from functools import cache
from typing import Any

import numpy as np

from ..errors import UserError
from .loaded import Label
from .sample import Sample, evenly
from .trifeature import (
    CAPTIONS,
    COLORS,
    RGB,
    SHAPES,
    SYNERGY,
    TEXTURES,
    Trifeature,
    TrifeatureImages,
    TrifeaturePairs,
    load_trifeature,
)

PREFIX = "a photo of "
COLOR_CODES = tuple("rgb({:.0f}, {:.0f}, {:.0f})".format(*(255 * part for part in RGB[color])) for color in COLORS)


@cache
def drawn(image_size: int, seed: int, texture_period: float) -> Trifeature:
    """The pictures that a recipe describes, one of each combination; drawn once for all that share them."""
    try:  # The first picture of a combination is the same however many there are.
        return load_trifeature(image_size, 1, seed, texture_period=texture_period)
    except ValueError as error:
        raise UserError(f"data: {error}") from None


def image_size_of(modalities: Any) -> int:
    """The side of the first images that a processor reads."""
    return next(spec["size"] for spec in modalities.values() if "size" in spec)


def image_words(images: TrifeatureImages, row: int) -> str:
    """What a picture shows: color, texture and shape."""
    return f"{COLORS[images.color[row]]} {SHAPES[images.shape[row]]}, {TEXTURES[images.texture[row]]}"


def captioned(trifeature: Trifeature, role: str, rows: int) -> Sample:
    """Images with their captions."""
    images, kind = (trifeature.test, "held-out") if role == "test" else (trifeature.train, "training")
    chosen = np.array(evenly(len(images), rows))
    captions = [CAPTIONS[number] for number in images.caption_ids[chosen]]
    labels = {
        "shape": Label(names=SHAPES),
        "color": Label(names=COLORS, colors=COLOR_CODES),
        "texture": Label(names=TEXTURES),
    }
    return Sample(
        f"{len(chosen)} {kind} Trifeature images with their captions, which never name the texture",
        {"image": list(images.images[chosen]), "text": captions},
        [image_words(images, row) for row in chosen],
        images.caption_ids[chosen],
        "the same caption",
        labels,
        {name: getattr(images, name)[chosen] for name in labels},
        held_out=role == "test",
        phrases=[[caption.removeprefix(PREFIX)] for caption in captions],
    )


def paired(trifeature: Trifeature, role: str, rows: int) -> Sample:
    """Every image once as the first and once as the second of a pair."""
    images, kind = (trifeature.test, "held-out") if role == "test" else (trifeature.train, "training")
    order = np.random.default_rng(0).permutation(len(images))
    first = order[np.argsort(images.shape[order], kind="stable")]
    second = np.concatenate([np.roll(first[images.shape[first] == shape], 1) for shape in range(len(SHAPES))])
    index = np.stack([first, second], axis=1)[evenly(len(order), rows)]
    first, second = index.T
    pairs = TrifeaturePairs(images, index, trifeature.mapping)
    labels = {"shape": Label(names=SHAPES)}
    known = {"shape": images.shape[first]}
    for number, own in ((1, first), (2, second)):
        labels[f"texture{number}"] = Label(names=TEXTURES, title=f"texture {number}")
        labels[f"color{number}"] = Label(names=COLORS, title=f"color {number}", colors=COLOR_CODES)
        known |= {f"texture{number}": images.texture[own], f"color{number}": images.color[own]}
    labels["synergy"] = Label(names=SYNERGY, title="does color 2 fit texture 1?")
    return Sample(
        f"{len(pairs)} pairs of {kind} Trifeature images that share their shape",
        {"image1": list(images.images[first]), "image2": list(images.images[second])},
        [f"{image_words(images, a)} | {image_words(images, b)}" for a, b in index],
        images.shape[first],
        "the same shape",
        labels,
        {**known, "synergy": pairs.labels["synergy"]},
        held_out=role == "test",
    )
