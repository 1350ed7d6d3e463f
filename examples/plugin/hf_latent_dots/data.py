"""Pictures of one to four dots of one color, with captions or with questions."""

from dataclasses import dataclass

import numpy as np
from torch.utils.data import Dataset

from hf_latent.data.description import Description
from hf_latent.data.loaded import EvaluationData, Label, LoadedData, Split, Target
from hf_latent.data.source import RenderedSource, register_source
from hf_latent.data.tokenizers import word_tokenizer

COLORS = {"red": (200, 30, 30), "green": (20, 140, 40), "blue": (30, 60, 200)}
COUNTS = ("one", "two", "three", "four")


class Dots(Dataset):
    """Rows of `image`, `text` and `ids`; of questions, with `labels`, too."""

    def __init__(self, rows: int, size: int, asked: bool, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.count, self.color = rng.integers(4, size=rows), rng.integers(3, size=rows)
        self.places, self.size, self.asked = rng.permuted(np.tile(np.arange(9), (rows, 1)), axis=1), size, asked

    def __len__(self) -> int:
        return len(self.count)

    def __getitem__(self, row: int) -> dict:
        image, cell = np.full((self.size, self.size, 3), 255, np.uint8), self.size // 3
        for place in self.places[row, : self.count[row] + 1]:
            top, left = place // 3 * cell, place % 3 * cell
            image[top + 1 : top + cell - 1, left + 1 : left + cell - 1] = list(COLORS.values())[self.color[row]]
        named = f"{COUNTS[self.count[row]]} {list(COLORS)[self.color[row]]}"
        found = {"image": image, "text": "how many dots" if self.asked else named, "ids": row if self.asked else
                 int(4 * self.color[row] + self.count[row])}  # fmt: skip
        return {**found, "labels": int(self.count[row])} if self.asked else found


@register_source("dots")
@dataclass(frozen=True)
class DotsData(RenderedSource):
    """Pictures of dots with captions such as "two red", or with the question how many there are.

    Args:
        image_size: In pixels.
        rows: Of training; a quarter as many are held out.
        asked: Questions instead of captions: how many dots there are is what a head is trained to say.
        seed: Of all draws.
    """

    image_size: int = 24
    rows: int = 256
    asked: bool = False
    seed: int = 0

    @classmethod
    def described(cls, options) -> Description:
        return Description(
            "rendered pictures of one to four dots", f"{options['rows'] // 4:g} pictures of the same kind"
        )

    def load(self, progress: bool = False) -> LoadedData:
        labels = {"count": Label(names=COUNTS), "color": Label(names=tuple(COLORS))}
        train, test = (
            Dots(rows, self.image_size, self.asked, self.seed + part)
            for part, rows in enumerate((self.rows, self.rows // 4))
        )
        splits = [
            Split(
                rows, np.array([rows[i]["ids"] for i in range(len(rows))]), {"count": rows.count, "color": rows.color}
            )
            for rows in (train, test)
        ]
        columns = {"image": "image", "text": "text"}
        target = Target("classes", "count", groups="color") if self.asked else None
        words = [f"{count} {color} how many dots" for count in COUNTS for color in COLORS]
        return LoadedData(
            train, columns, f"{len(train)} pictures of dots", {"text": word_tokenizer(words)},
            EvaluationData(splits[1], splits[0], columns=columns, labels=labels, target=target),
            labels["count"] if self.asked else None,
        )  # fmt: skip
