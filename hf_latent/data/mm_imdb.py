"""MM-IMDb: posters, plots and genres of films, as published or as features in MultiBench's HDF5 file."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from tqdm.auto import tqdm

from ..citations import AREVALO_2017, LIANG_2021
from ..errors import UserError
from .description import Description
from .loaded import Label
from .published import Column, Part, PublishedRows, PublishedSource, array_of, check_finite, check_shape, require_h5py
from .source import register_source
from .tokenizers import WORDS, load_tokenizer

GENRES = (
    *("Action", "Adventure", "Animation", "Biography", "Comedy", "Crime", "Documentary", "Drama", "Family", "Fantasy"),
    *("Film-Noir", "History", "Horror", "Music", "Musical", "Mystery", "Romance", "Sci-Fi", "Short", "Sport"),
    *("Thriller", "War", "Western"),
)
SPLITS = {"train": "train", "validation": "dev", "test": "test"}
BOUNDS = (15_552, 18_160)


@register_source("mm_imdb")
@dataclass(frozen=True)
class MMIMDbData(PublishedSource):
    """MM-IMDb: posters of films as `image`, plots as `text`, and which of 23 genres they are of. The published folder,
    with `split.json`, `dataset/ID.json` and `dataset/ID.jpeg`.

    A film may have several plots: the first is read, always, where the official code reads a random one each time, at
    test too. Posters are read when they are needed.

    Args:
        path: The folder.
        tokenizers: The tokenizer of `text`: a checkpoint's, or `words` for one made of the plots of training. By
            default that of the checkpoint that the text tower starts from, else `words`.
    """

    MODALITIES: ClassVar[tuple[str, ...]] = ("image", "text")
    PROBES: ClassVar[Mapping[str, Any]] = {"protocol": "comm2025", "validation": True}

    tokenizers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def described(cls, options: Mapping[str, Any]) -> Description:
        return Description(
            "posters and plots of films, MM-IMDb",
            "the test split of MM-IMDb",
            texts=("A detective hunts a murderer.", "Two strangers fall in love."),
            citations=(AREVALO_2017,),
        )

    def parts(self, modalities: Sequence[str], progress: bool) -> tuple[Mapping[str, Label], Mapping[str, Part]]:
        folder = Path(self.path)
        splits = _read_json(folder / "split.json")
        for split in SPLITS.values():
            if not isinstance(splits, dict) or not isinstance(splits.get(split), list):
                raise UserError(f"{folder / 'split.json'} has no list {split!r}")
        films = {role: [str(name) for name in splits[split]] for role, split in SPLITS.items()}
        for name in (name for names in films.values() for name in names):
            if not name or Path(name).name != name:
                raise UserError(f"{folder / 'split.json'}: {name!r} is no id of a film")
        found = {}
        with tqdm(total=sum(map(len, films.values())), desc="Reading plots", disable=not progress) as shown:
            for role, names in films.items():
                plots, genres = [], np.zeros((len(names), len(GENRES)), dtype=bool)
                for row, name in enumerate(names):
                    plot, own = _film(folder / "dataset" / f"{name}.json")
                    plots.append(plot)
                    genres[row] = [genre in own for genre in GENRES]
                    shown.update()
                columns: dict[str, Column] = {"image": Posters(folder / "dataset", names), "text": plots}
                found[role] = Part({key: columns[key] for key in modalities}, names, {"genres": genres})
        return {"genres": Label("multilabel", GENRES, tuple(modalities), "genres")}, found

    def loaded_tokenizers(self, modalities: Sequence[str], train: PublishedRows) -> dict[str, Any]:
        if "text" not in modalities:
            return {}
        return {
            name: load_tokenizer(value, train.sentences("text"))
            for name, value in ({"text": WORDS} | self.tokenizers).items()
        }


@dataclass(frozen=True)
class Posters:
    """Reads the poster of a row, the bytes of a JPEG file."""

    folder: Path
    names: Sequence[str]

    def __call__(self, i: int) -> bytes:
        file = self.folder / f"{self.names[i]}.jpeg"
        try:
            return file.read_bytes()
        except OSError as error:
            raise UserError(f"{file} cannot be read ({error.strerror})") from None


def _film(file: Path) -> tuple[str, set[str]]:
    """The first plot and the genres of a film."""
    film = _read_json(file)
    plots = film.get("plot") if isinstance(film, dict) else None
    plots = [plots] if isinstance(plots, str) else plots
    if not isinstance(plots, list) or not plots or not isinstance(plots[0], str) or not plots[0].strip():
        raise UserError(f"{file} has no plot: leave the film out of split.json")
    return plots[0], set(map(str, film.get("genres") or ()))


def _read_json(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{file} cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise UserError(f"{file} is no JSON ({error})") from None


@register_source("mm_imdb_features")
@dataclass(frozen=True)
class MMIMDbFeaturesData(PublishedSource):
    """MM-IMDb as features of posters (`poster`, 4,096 numbers of a VGG network) and of plots (`plot`, 300 numbers,
    means of word2vec). `multimodal_imdb.hdf5` of MultiBench, read by h5py. The file does not name the genres.

    Args:
        path: The file.
        bounds: The first row to validate on, and the first to test.
    """

    MODALITIES: ClassVar[tuple[str, ...]] = ("poster", "plot")
    PROBES: ClassVar[Mapping[str, Any]] = {"protocol": "comm2025", "validation": True}

    bounds: list[int] = field(default_factory=lambda: list(BOUNDS))

    @classmethod
    def described(cls, options: Mapping[str, Any]) -> Description:
        return Description(
            "features of posters and plots of films, MM-IMDb as MultiBench prepares it",
            "the test split of MM-IMDb",
            citations=(AREVALO_2017, LIANG_2021),
        )

    def parts(self, modalities: Sequence[str], progress: bool) -> tuple[Mapping[str, Label], Mapping[str, Part]]:
        h5py, keys = require_h5py(), {"poster": "vgg_features", "plot": "features"}
        try:
            with h5py.File(self.path, "r") as file:
                genres = np.asarray(array_of(file, "genres")) > 0
                values = {name: np.asarray(array_of(file, keys[name]), dtype=np.float32) for name in modalities}
        except UserError:
            raise
        except (OSError, TypeError, ValueError) as error:
            raise UserError(f"data.path={self.path!r} cannot be read as HDF5 ({error})") from None
        check_shape(self.path, "genres", genres, None, None)
        for name, own in values.items():
            check_shape(self.path, keys[name], own, len(genres), None)
            check_finite(self.path, keys[name], own)
        edges = [0, *self.bounds, len(genres)]
        if len(edges) != 4 or any(a >= b for a, b in zip(edges, edges[1:], strict=False)):
            raise UserError(f"data.bounds={self.bounds}: write two rows of {len(genres):,}, such as {list(BOUNDS)}")
        found = {}
        for role, first, end in zip(SPLITS, edges, edges[1:], strict=False):
            columns: dict[str, Column] = {name: own[first:end] for name, own in values.items()}
            found[role] = Part(columns, range(first, end), {"genres": genres[first:end]})
        names = tuple(f"genre {number}" for number in range(1, genres.shape[1] + 1))
        return {"genres": Label("multilabel", names, tuple(modalities), "genres")}, found
