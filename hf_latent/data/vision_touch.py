"""Vision&Touch: a robot's arm that puts a peg into a hole, as MultiBench publishes it, an HDF5 file a trajectory."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from tqdm.auto import tqdm

from ..citations import LEE_2019, LIANG_2021
from ..errors import UserError, blamed_on
from .description import Description
from .loaded import Label
from .published import Part, PublishedSource, array_of, require_h5py
from .source import register_source

SEED, TEST_SHARE = 42, 0.2  # as officially
FORCES, PROPRIOCEPTION = 32, 8  # readings of force before a step; numbers of the arm
TARGETS = ("x", "y", "z", "yaw")
KEYS = {"image": "image", "force": "ee_forces_continuous", "proprio": "proprio"}


@register_source("vision_touch")
@dataclass(frozen=True)
class VisionTouchData(PublishedSource):
    """Vision&Touch: pictures of a robot's arm, the forces on it and where it is, before each step; where it is after
    the step, or whether it then touches something. The folder `triangle_real_data` of MultiBench, read by h5py.

    A file of n steps has n - 1 rows: what is known at a step, with the label of the next one. (The official code reads
    a random step in place of the last row, also at test.) `force` is the last 32 readings, through tanh; `proprio` the
    first 8 numbers. Files are shuffled by seed 42 and the last fifth is to test, as officially; the official code
    validates on the test files, and here the last of the others are cut off for that. Images are read when they are
    needed.

    Args:
        path: The folder of .h5 files.
        task: `end_effector`, four numbers, or `contact`, two classes.
        validation_share: Of the files that are not of the test split.
    """

    MODALITIES: ClassVar[tuple[str, ...]] = ("image", "force", "proprio")
    PROBES: ClassVar[Mapping[str, Any]] = {"protocol": "comm2025", "balanced": True, "validation": True}

    task: Literal["end_effector", "contact"] = "end_effector"
    validation_share: float = 0.1

    @classmethod
    def described(cls, options: Mapping[str, Any]) -> Description:
        return Description(
            "pictures, forces and positions of one robot's arm, Vision&Touch",
            "trajectories of the same arm, which training never saw",
            citations=(LEE_2019, LIANG_2021),
        )

    def parts(self, modalities: Sequence[str], progress: bool) -> tuple[Mapping[str, Label], Mapping[str, Part]]:
        require_h5py()
        if not 0 < self.validation_share < 1:
            raise UserError(f"data.validation_share={self.validation_share}: write a number above 0 and below 1")
        splits = split_files(self.path, self.validation_share)
        shown = tqdm(total=sum(map(len, splits.values())), desc="Reading labels", disable=not progress)
        found = {}
        with shown:
            for role, files in splits.items():
                steps, labels = [], []
                for file in files:
                    with _opened(file) as opened:
                        labels.append(self._labels(file, opened))
                    steps += [(file, step) for step in range(len(labels[-1]))]
                    shown.update()
                whole = np.concatenate(labels) if labels else np.empty((0, len(TARGETS)))
                columns = {name: Steps(name, steps) for name in modalities}
                numbers = [f"{file.name}, step {step}" for file, step in steps]
                found[role] = Part(columns, numbers, self._named(whole))
        if self.task == "contact":
            return {"contact": Label(names=("free", "contact"), of=tuple(modalities))}, found
        titles = {name: f"{name} of the end effector after the step" for name in TARGETS}
        return {name: Label("number", of=tuple(modalities), title=titles[name]) for name in TARGETS}, found

    def _labels(self, file: Path, opened: Any) -> np.ndarray:
        """Of each row of a file: four numbers, or the class."""
        lengths = {key: array_of(opened, key).shape[:1] for key in (*KEYS.values(), "contact")}
        if len(set(lengths.values())) > 1:
            raise UserError(f"{file}: arrays of different lengths: {lengths}")
        with blamed_on(str(file)):
            if self.task == "contact":
                contact = np.asarray(opened["contact"][1:])
                return (contact.reshape(len(contact), -1).sum(1) > 0).astype(np.int64)
            return np.asarray(opened["proprio"][1:, : len(TARGETS)], dtype=np.float64)

    def _named(self, labels: np.ndarray) -> dict[str, np.ndarray]:
        if self.task == "contact":
            return {"contact": labels}
        return {name: labels[:, place] for place, name in enumerate(TARGETS)}


def split_files(folder: str, validation_share: float) -> dict[str, list[Path]]:
    """The files of each split: in the order of their names, shuffled by seed 42, the last fifth to test."""
    files = sorted(Path(folder).glob("*.h5"), key=lambda file: file.name)
    if len(files) < 3:
        raise UserError(f"data.path={folder!r}: {len(files)} .h5 files, expected three or more: name their folder")
    order = [files[place] for place in np.random.default_rng(SEED).permutation(len(files))]
    first = min(int(len(files) * (1 - TEST_SHARE)), len(files) - 1)
    held = min(max(1, round(first * validation_share)), first - 1)
    return {"train": order[: first - held], "validation": order[first - held : first], "test": order[first:]}


def _opened(file: Path) -> Any:
    try:
        return require_h5py().File(file, "r")
    except OSError as error:
        raise UserError(f"{file} cannot be read as HDF5 ({error})") from None


@dataclass(frozen=True)
class Steps:
    """Reads a modality of a row. The file is opened for each, since processes may share no open one."""

    modality: str
    places: Sequence[tuple[Path, int]]

    def __call__(self, i: int) -> np.ndarray:
        (file, step), key = self.places[i], KEYS[self.modality]
        with _opened(file) as opened:
            try:
                return _value(self.modality, np.asarray(array_of(opened, key)[step]))
            except (IndexError, OSError, ValueError) as error:
                raise UserError(f"{file}, step {step}: {key!r} cannot be read ({error})") from None


def _value(name: str, stored: np.ndarray) -> np.ndarray:
    if name == "image":
        return stored.transpose(1, 2, 0) if stored.shape[0] == 3 else stored
    if name == "force":
        return np.tanh(stored[-FORCES:].astype(np.float32))
    return stored[:PROPRIOCEPTION].astype(np.float32)
