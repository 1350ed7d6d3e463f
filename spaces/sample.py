"""The small data set that the pages show: rows that the model was not trained on, where the data has such."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, cast

import numpy as np
import yaml

from hf_latent.data.cells import is_missing
from hf_latent.data.hub_data import HubData
from hf_latent.data.loading import SOURCES, Source
from hf_latent.data.mixture import MixtureData
from hf_latent.data.trifeature import (
    COLORS,
    SHAPES,
    SYNERGY,
    TEXTURES,
    Trifeature,
    TrifeatureImages,
    TrifeaturePairs,
    load_trifeature,
)
from hf_latent.data.trifeature_data import TrifeatureCaptionsData, TrifeatureData
from hf_latent.data.trifeature_scenes import TrifeatureScenes, TrifeatureScenesData
from hf_latent.data.trifeature_task_data import TrifeatureTaskData
from hf_latent.errors import UserError, blamed_on, suggest
from hf_latent.options import checked
from hf_latent.runs import RECIPE

ROWS = 200
WORDS_SHOWN = 80  # characters of a value that is text


@dataclass(frozen=True)
class Sample:
    """Rows to look at.

    Attributes:
        title: What they are, in one sentence.
        values: The raw values of each modality, `{name: N values}`.
        words: What each row shows, N.
        ids: (N,) int64; rows with the same id are right for each other.
        right: What such rows have in common.
        factors: What rows can be colored by, `{title: (N,) class numbers}`.
        classes: The names of the classes of each factor.
    """

    title: str
    values: dict[str, list[Any]]
    words: list[str]
    ids: np.ndarray
    right: str
    factors: dict[str, np.ndarray] = field(default_factory=dict)
    classes: dict[str, list[str]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.words)


def read_recipe(folder: Path) -> dict[str, Any]:
    """The recipe of a run as plain values; empty where the folder has none."""
    if not (folder / RECIPE).is_file():
        return {}
    try:
        recipe = yaml.safe_load((folder / RECIPE).read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"{folder / RECIPE} cannot be read: {error}") from None
    if not isinstance(recipe, dict) or not all(isinstance(section, dict) for section in recipe.values()):
        raise UserError(f"{folder / RECIPE} is no recipe: it has no sections")
    return recipe


def source_of(recipe: Mapping[str, Any], modalities: Mapping[str, Mapping[str, Any]]) -> Source:
    """The data that a recipe names; Trifeature at the size of the model's images where it names none.

    Raises:
        UserError: If the data section cannot be read, or nothing is known that has these modalities.
    """
    options = dict(recipe.get("data", {}))
    if options:
        name = str(options.pop("name", None))
        if name not in SOURCES:
            raise UserError(f"data.name={name!r}: {suggest(name, SOURCES)}")
        return SOURCES[name](**checked("data", options, SOURCES[name]))
    for known, source in ({"image1", "image2"}, TrifeatureData), ({"image", "text"}, TrifeatureCaptionsData):
        if set(modalities) == known:
            return source(image_size=next(spec["size"] for spec in modalities.values() if "size" in spec))
    raise UserError(f"there is no {RECIPE} that names data with the modalities {', '.join(modalities)}")


def load_sample(source: Source) -> Sample:
    """Rows of a source of data.

    Raises:
        UserError: If the data cannot be read.
    """
    if isinstance(source, HubData | MixtureData):
        return _stored(source if isinstance(source, HubData) else source.shown)
    if isinstance(source, TrifeatureScenesData):
        return _scenes(cast(TrifeatureScenes, replace(source, scenes=1, test_scenes=ROWS).load().evaluation.test.rows))
    images = trifeature_of(source).test
    return _captioned(images) if isinstance(source, TrifeatureCaptionsData) else _paired(trifeature_of(source))


def trifeature_of(source: TrifeatureData | TrifeatureCaptionsData | TrifeatureTaskData) -> Trifeature:
    """The pictures that a recipe describes, one of each combination; drawn once for all models that share them."""
    return _drawn(source.image_size, source.seed, source.texture_period)


@cache
def _drawn(image_size: int, seed: int, texture_period: float) -> Trifeature:
    try:  # The first picture of a combination is the same however many there are.
        return load_trifeature(image_size, 1, seed, texture_period=texture_period)
    except ValueError as error:
        raise UserError(f"data: {error}") from None


def words_of(images: TrifeatureImages, row: int) -> str:
    """What a picture shows: color, texture and shape."""
    return f"{COLORS[images.color[row]]} {SHAPES[images.shape[row]]}, {TEXTURES[images.texture[row]]}"


def _captioned(images: TrifeatureImages) -> Sample:
    return Sample(
        f"{len(images)} held-out Trifeature images with their captions, which never name the texture",
        {"image": list(images.images), "text": images.captions},
        [words_of(images, row) for row in range(len(images))],
        images.caption_ids,
        "the same caption",
        {"shape": images.shape, "color": images.color, "texture": images.texture},
        {"shape": list(SHAPES), "color": list(COLORS), "texture": list(TEXTURES)},
    )


def _scenes(scenes: TrifeatureScenes) -> Sample:
    captions = [scenes.caption(row) for row in range(len(scenes))]
    first = scenes.objects[:, 0]
    return Sample(
        f"{len(scenes)} held-out scenes of two to four Trifeature objects with captions that name two of them",
        {"image": list(scenes.images), "text": captions},
        captions,
        scenes.ids,
        "the same two objects",
        {"shape of the first": first // len(COLORS), "color of the first": first % len(COLORS)},
        {"shape of the first": list(SHAPES), "color of the first": list(COLORS)},
    )


def _paired(trifeature: Trifeature) -> Sample:
    """Every held-out image once as the first and once as the second of a pair."""
    images, order = trifeature.test, np.random.default_rng(0).permutation(len(trifeature.test))
    first = order[np.argsort(images.shape[order], kind="stable")]
    second = np.concatenate([np.roll(first[images.shape[first] == shape], 1) for shape in range(len(SHAPES))])
    pairs = TrifeaturePairs(images, np.stack([first, second], axis=1), trifeature.mapping)
    values = {"image1": list(images.images[first]), "image2": list(images.images[second])}
    factors: dict[str, np.ndarray] = {"shape": images.shape[first]}
    for number, rows in ((1, first), (2, second)):
        factors |= {f"texture {number}": images.texture[rows], f"color {number}": images.color[rows]}
    classes = {name: list({"s": SHAPES, "t": TEXTURES, "c": COLORS}[name[0]]) for name in factors}
    return Sample(
        f"{len(pairs)} pairs of held-out Trifeature images that share their shape",
        values,
        [f"{words_of(images, a)} | {words_of(images, b)}" for a, b in pairs.index],
        images.shape[first],
        "the same shape",
        {**factors, "does color 2 fit texture 1?": pairs.labels["synergy"]},
        {**classes, "does color 2 fit texture 1?": list(SYNERGY)},
    )


def _stored(source: HubData) -> Sample:
    """The first rows of a data set of the Hub or of the disk, read as a stream: the rest is not downloaded."""
    shown = source.first_rows
    split, stream = shown.splits["train"], cast(Any, shown.load().train)
    rows: list[dict[str, Any]] = []
    ids: list[str] = []
    with blamed_on(source.path):
        first = list(itertools.islice(stream.dataset, ROWS))
    for number, row in enumerate(first):
        try:
            rows.append(stream.reader.read(number, row, 0))
        except UserError:
            continue  # a page can do without a row that cannot be read
        text = rows[-1].get(source.columns.get("text", ""))
        # As in the measurements of retrieval, equal captions are one.
        value = text and " ".join(text.casefold().split()) if source.ids is None else row[source.ids]
        ids.append(f"row {number}" if is_missing(value) else f"id {value}")
    if len(rows) < 4:
        raise UserError(f"the {split} split of {source.path} holds {len(rows)} rows that can be read: 4 are needed")
    values = {name: [row[column] for row in rows] for name, column in source.columns.items()}
    texts = {name: column for name, column in values.items() if isinstance(column[0], str)}
    return Sample(
        f"The first {len(rows)} rows of the {split} split of {Path(source.path).name}",
        values,
        [" | ".join(t[k][:WORDS_SHOWN] for t in texts.values()) or f"row {k}" for k in range(len(rows))],
        np.unique(ids, return_inverse=True)[1],
        f"the same {source.ids or source.columns.get('text', 'row')}",
    )
