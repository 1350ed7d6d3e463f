"""The views of a whole batch, and the registry that builds a view by its name."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from ..errors import suggest
from .base import VIEWS, Inputs, View, check
from .image import CROPS, ImageView
from .text import WordsView


def build_view(kind: str, **options: Any) -> View:
    """The view named `kind`, a key of `VIEWS`; lists in `options`, as YAML gives them, become tuples.

    Raises:
        ValueError: unknown kind or option, a missing option, or a value out of its range; says what to write instead.
    """
    cls = VIEWS.find(kind)
    known = {field.name: field for field in fields(cls)}
    for name in options:
        if name not in known:
            raise ValueError(f"unknown option {name!r} of the {kind} view: {suggest(name, known)}")
    missing = [name for name, field in known.items() if field.default is MISSING and name not in options]
    if missing:
        raise ValueError(f"the {kind} view needs {', '.join(missing)}")
    lists = {name: tuple(v) for name, v in options.items() if isinstance(v, Sequence) and not isinstance(v, str)}
    return cls(**options | lists)


class Views:
    """The views of a whole batch `{modality: inputs}`, one `View` a modality, reproducible from `seed`."""

    def __init__(self, modalities: dict[str, View], seed: int = 0) -> None:
        self.modalities = dict(modalities)
        self.seed = seed
        check(self, "seed", lambda v: isinstance(v, int) and v >= 0, "a whole number, 0 or more")

    @property
    def of_words(self) -> list[str]:
        """The modalities whose view needs to know which tokens make a word."""
        return [name for name, view in self.modalities.items() if isinstance(view, WordsView)]

    def plain(self, modalities: dict[str, Inputs], only: Collection[str] | None = None) -> dict[str, Inputs]:
        """The deterministic views of a batch, of the modalities `only`."""
        self._check_names(modalities)
        wanted = modalities if only is None else only
        return {name: self.modalities[name].plain(inputs) for name, inputs in modalities.items() if name in wanted}

    def augmented(
        self,
        modalities: dict[str, Inputs],
        *,
        view: int,
        position: int = 0,
        rows: slice | Tensor | None = None,
        global_rows: int | None = None,
        only: Collection[str] | None = None,
    ) -> dict[str, Inputs]:
        """The random views of a batch, or of a slice of the global batch.

        Args:
            modalities: the rows at hand; a ValueError says which modality is unknown, missing or of another length.
            view: which of a row's views: 0, 1 or any later one.
            position: rows consumed by training before this global batch.
            rows: where the rows at hand lie in the global batch, a slice or their numbers; all of it by default.
            global_rows: size of the global batch; the rows at hand by default.
            only: the modalities that are wanted; all by default.
        """
        self._check_names(modalities)
        sizes = {name: len(next(iter(inputs.values()))) for name, inputs in modalities.items()}
        if len(set(sizes.values())) != 1:
            raise ValueError(f"a batch needs modalities with the same number of rows, got {sizes}")
        here = next(iter(sizes.values()))
        total = here if global_rows is None else global_rows
        rows = slice(None) if rows is None else rows
        asked = len(rows) if isinstance(rows, Tensor) else len(range(total)[rows])
        if asked != here:
            raise ValueError(f"the batch has {here} rows, but {rows} of global_rows={total} are {asked}")

        result = {}
        for place, (name, augmentation) in enumerate(self.modalities.items()):
            if only is not None and name not in only:
                continue
            inputs = modalities[name]
            noise = augmentation.draw(total, inputs, self._generator(view, place, position))
            noise = {part: numbers[rows] for part, numbers in noise.items()}
            if isinstance(augmentation, ImageView) and f"{CROPS}{view}" in inputs:
                inputs, noise = augmentation.take_crops(inputs, noise, view)
            result[name] = augmentation.augment(inputs, noise)
        return result

    def crops(self, name: str, view: int, aspects: Tensor, places: Tensor, global_rows: int) -> Tensor:
        """The crops of a view of images in any order, for whoever cuts them while they are loaded.

        Args:
            name: Of a modality with an `ImageView`.
            view: As of [`augmented`].
            aspects: (n,) or (n, N) width / height of the images.
            places: (n,) how many rows training consumed before each.
            global_rows: Size of the global batch.

        Returns:
            (n, 4) or (n, N, 4): top, left, height, width as shares of the image.
        """
        image: Any = self.modalities[name]
        found = torch.empty(*aspects.shape, 4)
        starts = places // global_rows * global_rows
        for start in starts.unique().tolist():
            rows = (starts == start).nonzero().squeeze(1)
            generator = self._generator(view, list(self.modalities).index(name), start)
            found[rows] = image.draw_crops(global_rows, aspects[rows], places[rows] - start, generator)
        return found

    def _generator(self, view: int, place: int, position: int) -> Generator:
        key = np.random.SeedSequence((self.seed, view, place, position)).generate_state(1)
        return Generator().manual_seed(int(key[0]))

    def _check_names(self, modalities: Mapping[str, Inputs]) -> None:
        for name in modalities:
            if name not in self.modalities:
                raise ValueError(f"unknown modality {name!r}: {suggest(name, self.modalities)}")
        missing = [name for name in self.modalities if name not in modalities]
        if missing:
            raise ValueError(f"the batch lacks the modality {', '.join(missing)}; it has {', '.join(modalities)}")
