"""Pairs of Trifeature images that are built from a shape, a texture, a color and an angle each."""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from .composer import ALL, Chosen, ComposedRows, Composer, Factor, Question, Rule
from .loaded import Label
from .trifeature import COLORS, SHAPES, SYNERGY, TEXTURES, Trifeature, draw_picture
from .trifeature_drawing import MAX_ANGLE

SIDES = ("image1", "image2")
SHAPE, TEXTURE, COLOR = range(3)  # of the factors


class PairComposer(Composer):
    """See [`Composer`].

    Args:
        trifeature: The pictures, whose mapping says which color fits a texture.
        image_size, texture_period: As of `load_trifeature`.
        labels: Of pairs, by question.
    """

    intro = (
        "Build two pictures. The table says what linear probes read from the features of each image alone and of "
        "both: what both images show is redundant, what one of them shows is unique, and whether the color of image 2 "
        "belongs to the texture of image 1 takes both, hence synergistic."
    )
    views = {"image1": "Image 1 alone", "image2": "Image 2 alone", ALL: "Both"}
    factors = dict.fromkeys(
        SIDES,
        (
            Factor("Shape", SHAPES),
            Factor("Texture", TEXTURES),
            Factor("Color", COLORS),
            Factor("Angle", bounds=(-MAX_ANGLE, MAX_ANGLE)),
        ),
    )
    compared = {
        "shape": (("image1", SHAPE), ("image2", SHAPE)),
        "texture 1": (("image1", TEXTURE),),
        "color 1": (("image1", COLOR),),
        "texture 2": (("image2", TEXTURE),),
        "color 2": (("image2", COLOR),),
    }

    def __init__(
        self, trifeature: Trifeature, image_size: int, texture_period: float, labels: Mapping[str, Label]
    ) -> None:
        self.trifeature, self.image_size, self.texture_period = trifeature, image_size, texture_period
        fits = Label(names=labels["synergy"].names, titles=("it does not", "it fits"))
        self.questions = {
            "redundancy": Question("Redundant", "the shape, which both images show", labels["redundancy"]),
            "uniqueness1": Question("Unique to image 1", "its texture", labels["uniqueness1"]),
            "uniqueness2": Question("Unique to image 2", "its texture", labels["uniqueness2"]),
            "synergy": Question(
                "Synergistic", "does the color of image 2 fit the texture of image 1?", fits, balanced=True
            ),
        }
        self.rule = Rule(
            "synergy",
            SYNERGY[1],
            ("image2", COLOR),
            ("image1", TEXTURE),
            tuple(trifeature.mapping.tolist()),
            "fits",
            "Give image 2 the color that fits the texture of image 1",
        )
        fitting = COLORS[trifeature.mapping[TEXTURES.index("stripes")]]
        other = COLORS[trifeature.mapping[TEXTURES.index("dots")]]
        first = ("square", "stripes", "green", 20)
        self.presets = {
            "A color that fits": {"image1": first, "image2": ("square", "dots", fitting, -15)},
            "A color that does not": {"image1": first, "image2": ("square", "dots", other, -15)},
            "Two shapes": {"image1": first, "image2": ("circle", "dots", fitting, -15)},
            "One picture twice": {"image1": first, "image2": first},
        }

    def draw(self, modality: str, chosen: tuple[Any, ...]) -> np.ndarray:
        shape, texture, color, angle = chosen
        return draw_picture(shape, texture, color, angle, self.image_size, self.texture_period)

    def words(self, modality: str, chosen: tuple[Any, ...]) -> str:
        shape, texture, color = chosen[:3]
        return f"{color} {shape}, {texture}"

    def truth(self, chosen: Chosen) -> dict[str, dict[str, str | None]]:
        """Of two shapes that differ, each image alone shows its own, and both none."""
        first, second = (chosen[side] for side in SIDES)
        fits = self.trifeature.mapping[TEXTURES.index(first[TEXTURE])] == COLORS.index(second[COLOR])
        both = first[SHAPE] if first[SHAPE] == second[SHAPE] else None
        whole = {"uniqueness1": first[TEXTURE], "uniqueness2": second[TEXTURE], "synergy": SYNERGY[int(fits)]}
        return {
            "redundancy": {"image1": first[SHAPE], "image2": second[SHAPE], ALL: both},
            **{question: dict.fromkeys(self.views, right) for question, right in whole.items()},
        }

    def rows(self, role: Literal["train", "test"], most: int) -> ComposedRows:
        pairs = self.trifeature.pairs(role, max_pairs=most)
        images = pairs.source
        factors = np.stack([images.shape, images.texture, images.color], axis=1)
        items = {side: pairs.index[:, number] for number, side in enumerate(SIDES)}
        return ComposedRows(
            {side: list(images.images[rows]) for side, rows in items.items()},
            pairs.labels,
            {side: factors[rows] for side, rows in items.items()},
            items,
        )
