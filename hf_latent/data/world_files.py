"""The published files of dSprites, 3D Shapes and MPI3D, of which the chosen rows alone are kept in memory."""

import zipfile
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, ClassVar

import numpy as np
import numpy.typing as npt
from tqdm.auto import tqdm

from ..citations import BURGESS_2018, GONDAL_2019, MATTHEY_2017
from ..errors import UserError
from .description import Description
from .kept_pictures import Pictures
from .published import array_of, require_h5py
from .source import register_source
from .world_data import TRAIN_SHARE, WorldSource
from .worlds import ROBOT_ARM, ROOMS, SPRITES, Int64, World

SIDE = 64
BLOCK = 4096  # rows that are read together


@dataclass(frozen=True)
class WorldFileSource(WorldSource):
    """A world whose pictures lie in a file.

    Args:
        path: The file.
    """

    path: str = ""

    TITLE: ClassVar[str]
    CITATION: ClassVar[str]

    def pictures(self, classes: Int64, progress: bool) -> Pictures:
        if not self.path:
            raise UserError(f"data.path is missing: write where the file of {self.TITLE} lies")
        if not Path(self.path).is_file():
            raise UserError(f"data.path={self.path!r}: there is no such file")
        with self._blamed():
            return self.read(self.WORLD.numbers(classes), classes, progress)

    @abstractmethod
    def read(self, numbers: Int64, classes: Int64, progress: bool) -> Pictures:
        """The pictures of numbered rows, which have these classes."""

    @contextmanager
    def _blamed(self) -> Iterator[None]:
        try:
            yield
        except UserError as error:
            raise UserError(f"data.path={self.path!r}: {error}") from None
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
            said = (str(error).splitlines() or [type(error).__name__])[0]
            raise UserError(f"data.path={self.path!r} cannot be read as a file of {self.TITLE}: {said}") from None

    def refuse_other_release(self, found: Sequence[int]) -> None:
        """A UserError where a file holds another number of pictures, or others."""
        wanted = (len(self.WORLD), SIDE, SIDE)
        if tuple(found[:3]) != wanted:
            raise UserError(
                f"it holds pictures of the shape {tuple(found)}, and {self.TITLE} has {wanted[0]:,} of {SIDE} px: it "
                "is another release"
            )

    @classmethod
    def described(cls, options: Mapping[str, Any]) -> Description:
        rows = options["rows"]
        return Description(
            f"{cls.WORLD.title} of {cls.TITLE}, with the factors that they follow from",
            f"{rows - int(rows * TRAIN_SHARE):,.0f} pictures that training never showed",
            cls.TITLE,
            ("It is a model for studying what contrastive training keeps, not for other pictures.",),
            closed_vocabulary=True,
            citations=(cls.CITATION,),
        )

    def local_reads(self) -> Mapping[str, Any]:
        return {"data.path": self.path}


@register_source("dsprites")
@dataclass(frozen=True)
class DSpritesFile(WorldFileSource):
    """dSprites: `dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz`, 737,280 pictures."""

    WORLD: ClassVar[World] = SPRITES
    TITLE: ClassVar[str] = "dSprites"
    CITATION: ClassVar[str] = MATTHEY_2017

    def read(self, numbers: Int64, classes: Int64, progress: bool) -> Pictures:
        with zipfile.ZipFile(self.path) as archive:
            with archive.open("latents_classes.npy") as file:
                shape, dtype = _header(file)
                if shape != (len(self.WORLD), 1 + len(self.WORLD.factors)) or dtype.kind not in "iu":
                    raise UserError(f"its latents_classes are {shape}: it is another release")
                told = _rows(file, shape, dtype, numbers, False)
            if not np.array_equal(told[:, 1:], classes):
                raise UserError("its latents_classes are in another order: it is another release")
            with archive.open("imgs.npy") as file:
                shape, dtype = _header(file)
                self.refuse_other_release(shape)
                return _rows(file, shape, _bytes(dtype), numbers, progress) * np.uint8(255)


@register_source("shapes3d")
@dataclass(frozen=True)
class Shapes3DFile(WorldFileSource):
    """3D Shapes: `3dshapes.h5`, 480,000 pictures (extra `hdf5`)."""

    WORLD: ClassVar[World] = ROOMS
    TITLE: ClassVar[str] = "3D Shapes"
    CITATION: ClassVar[str] = BURGESS_2018

    def read(self, numbers: Int64, classes: Int64, progress: bool) -> Pictures:
        h5py = require_h5py()
        with h5py.File(self.path, "r") as file:
            images, labels = array_of(file, "images"), array_of(file, "labels")
            self.refuse_other_release(images.shape)
            if labels.shape != (len(self.WORLD), len(self.WORLD.factors)):
                raise UserError(f"its labels are {labels.shape}: it is another release")
            values = np.asarray(labels[()])
            ranks = [np.unique(column, return_inverse=True)[1][numbers] for column in values.T]
            if not np.array_equal(np.stack(ranks, axis=1), classes):
                raise UserError("its labels are in another order: it is another release")
            found = np.empty((len(numbers), SIDE, SIDE, 3), dtype=np.uint8)
            for place, number in tqdm(
                sorted(enumerate(numbers.tolist()), key=lambda each: each[1]),
                "Reading 3D Shapes",
                disable=not progress,
                unit="picture",
            ):
                found[place] = images[number]
        return found


@register_source("mpi3d")
@dataclass(frozen=True)
class MPI3DFile(WorldFileSource):
    """MPI3D, `mpi3d_real.npz`, `mpi3d_realistic.npz` or `mpi3d_toy.npz` of 1,036,800 pictures."""

    WORLD: ClassVar[World] = ROBOT_ARM
    TITLE: ClassVar[str] = "MPI3D"
    CITATION: ClassVar[str] = GONDAL_2019

    def read(self, numbers: Int64, classes: Int64, progress: bool) -> Pictures:
        with zipfile.ZipFile(self.path) as archive, archive.open("images.npy") as file:
            shape, dtype = _header(file)
            self.refuse_other_release(shape)
            if shape[3:] != (3,):
                raise UserError(f"it holds pictures of the shape {shape}: write a file of (pictures, 64, 64, 3)")
            return _rows(file, shape, _bytes(dtype), numbers, progress)


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """The shape and the type of an array in the format of NumPy, whose rows then follow."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(file)
    if fortran or dtype.hasobject:
        raise UserError("its arrays are not stored row by row as numbers")
    return shape, dtype


def _bytes(dtype: np.dtype[Any]) -> np.dtype[Any]:
    if dtype != np.uint8:
        raise UserError(f"its pictures are {dtype}, not bytes: it is another release")
    return dtype


def _rows(
    file: IO[bytes], shape: tuple[int, ...], dtype: np.dtype[Any], numbers: Int64, progress: bool
) -> npt.NDArray[Any]:
    """Some rows of an array, which is read once from its start and never held whole."""
    found = np.empty((len(numbers), *shape[1:]), dtype=dtype)
    order, size = np.argsort(numbers), int(np.prod(shape[1:])) * dtype.itemsize
    ordered = numbers[order]
    with tqdm(total=shape[0], desc="Reading", unit="row", disable=not progress) as bar:
        for start in range(0, shape[0], BLOCK):
            count = min(BLOCK, shape[0] - start)
            first, last = np.searchsorted(ordered, (start, start + count))
            content = file.read(count * size)
            if len(content) < count * size:
                raise UserError("it ends too soon: fetch it again")
            block = np.frombuffer(content, dtype=dtype).reshape(count, *shape[1:])
            found[order[first:last]] = block[ordered[first:last] - start]
            bar.update(count)
            if last == len(ordered):
                break
    return found
