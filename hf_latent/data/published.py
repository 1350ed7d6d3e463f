"""What the sources share that read published benchmarks from their own files."""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from torch.utils.data import Dataset

from ..errors import UserError, suggest
from .loaded import EvaluationData, Label, LoadedData, Split, Target, TargetKind
from .rows import Row
from .source import Reader, Source
from .target import GIVEN, TARGET

Column = Sequence[Any] | np.ndarray | Callable[[int], Any]


class PublishedRows(Dataset):
    """Rows whose values are read by their place, each alone.

    Args:
        columns: Of each modality its values, or a function of the place that reads one.
        numbers: What each row is called in errors, such as its place in the file.
        labels: What a head is trained to say of each row, as [`Split.labels`] has it, where there is a head.
    """

    def __init__(
        self, columns: Mapping[str, Column], numbers: Sequence[int | str], labels: np.ndarray | None = None
    ) -> None:
        self.columns, self.numbers = dict(columns), numbers
        self.labels = None if labels is None else (labels.astype(float) if labels.dtype == bool else labels).tolist()
        self.ids = np.arange(len(numbers))

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, i: int) -> Row:
        if not 0 <= i < len(self):
            raise IndexError(f"row {i} of {len(self)}")
        row = Row({name: _read(own, i) for name, own in self.columns.items()}, ids=i)
        row.number = self.numbers[i]
        if self.labels is not None:
            row["labels"] = self.labels[i]
        return row

    def sentences(self, column: str) -> Iterator[str]:
        """The texts of one column, row by row, without the values beside them."""
        return (_read(self.columns[column], i) for i in range(len(self)))


def _read(column: Column, i: int) -> Any:
    return column(i) if callable(column) else column[i]


@dataclass(frozen=True)
class Part:
    """The rows of one split as a source reads them.

    Attributes:
        columns, numbers: As of [`PublishedRows`].
        labels: As of [`Split`].
    """

    columns: Mapping[str, Column]
    numbers: Sequence[int | str]
    labels: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class PublishedSource(Source):
    """Files of a benchmark, read as its own code reads them.

    A head is trained on its label, or on all of its numbers; an objective that contrasts classes reads its class.

    Attributes:
        MODALITIES: What its rows hold; a model reads all of them, or some.
        PROBES: The options of the linear probes by which the benchmark is measured.
    """

    MODALITIES: ClassVar[tuple[str, ...]]
    PROBES: ClassVar[Mapping[str, Any]] = {}

    path: str

    @abstractmethod
    def parts(self, modalities: Sequence[str], progress: bool) -> tuple[Mapping[str, Label], Mapping[str, Part]]:
        """The labels, and the rows of `train`, `validation` and `test`.

        Args:
            modalities: Those to read.
            progress: Show how far it is, where it takes long.
        """

    def load(self, progress: bool = False) -> LoadedData:
        return self.load_for(Reader(), progress)

    def load_for(self, reader: Reader, progress: bool = False) -> LoadedData:
        for name in reader.encoders:
            if name not in self.MODALITIES:
                known = suggest(name, self.MODALITIES)
                raise UserError(f"model.modalities.{name}: no modality of data.name={self.NAME}; {known}")
        names = [name for name in self.MODALITIES if name in (reader.encoders or self.MODALITIES)]
        labels, parts = self.parts(names, progress)
        name, label, said = self._target(reader, labels)
        rows, splits = {}, {}
        for role, part in parts.items():
            if not len(part.numbers):
                raise UserError(f"data.path={self.path!r}: there are no {role} rows")
            own = {**part.labels}
            if label is not None and name not in own:
                own[name] = np.stack([own[number] for number in label.names], axis=1)
            rows[role] = PublishedRows(part.columns, part.numbers, None if label is None else own[name])
            splits[role] = Split(rows[role], rows[role].ids, own)
        columns = {name: name for name in names}
        counts = ", ".join(f"{role}: {len(own):,} rows" for role, own in rows.items())
        return LoadedData(
            train=rows["train"],
            columns=columns,
            summary=f"{self.NAME}, {' + '.join(names)}; {counts}",
            tokenizers=self.loaded_tokenizers(names, rows["train"]),
            evaluation=EvaluationData(
                test=splits["test"],
                train=splits["train"],
                validation=splits["validation"],
                columns=columns,
                labels=labels if label is None else {**labels, name: label},
                benchmarks={"probes": dict(self.PROBES)} if said is None else {"tasks": {}},
                target=None if said is None else Target(said, name),
            ),
            target=label,
        )

    def _target(self, reader: Reader, labels: Mapping[str, Label]) -> tuple[str, Label | None, TargetKind | None]:
        """The name of the label that a model reads, the label, and what a head says of rows; None where there is none.

        Raises:
            UserError: If the model reads something else.
        """
        if reader.labels is None:
            return "", None, None
        (name, label), *others = labels.items()
        if others:
            name, label = TARGET, Label("number", tuple(labels), label.of, "the numbers")
        kind = GIVEN[label.kind]
        if reader.labels not in ("any", "contrast" if kind == "classes" else kind, kind):
            wanted = "classes" if reader.labels == "contrast" else reader.labels
            raise UserError(f"data.name={self.NAME}: its rows have {kind}, and this model reads {wanted}")
        return name, label, None if reader.labels == "contrast" else kind

    def loaded_tokenizers(self, modalities: Sequence[str], train: PublishedRows) -> dict[str, Any]:
        """The tokenizer of each text modality."""
        return {}

    def local_reads(self) -> Mapping[str, Any]:
        return {"data.path": self.path}


def check_finite(path: str, name: str, values: np.ndarray) -> None:
    """A UserError where an array (rows, ...) holds NaN or infinity; it names the row."""
    bad = np.flatnonzero(~np.isfinite(values.reshape(len(values), -1)).all(1))
    if len(bad):
        raise UserError(f"data.path={path!r}: {name!r} holds NaN or infinity, first in row {bad[0]}")


def check_shape(path: str, name: str, values: np.ndarray, *shape: int | None) -> None:
    """A UserError where an array has another shape; None stands for any length."""
    if values.ndim != len(shape) or any(w not in (None, s) for w, s in zip(shape, values.shape, strict=True)):
        wanted = ", ".join("any" if side is None else str(side) for side in shape)
        raise UserError(f"data.path={path!r}: {name!r} has the shape {values.shape}, expected ({wanted})")


def array_of(file: Any, key: str) -> Any:
    """An array of an HDF5 file that lies in the file itself: others could name files of this machine.

    Raises:
        UserError: If there is none.
    """
    h5py = require_h5py()
    if key not in file:
        raise UserError(f"{file.filename} has no {key!r}; there are {', '.join(file) or 'none'}")
    found = file[key] if isinstance(file.get(key, getlink=True), h5py.HardLink) else None
    if not isinstance(found, h5py.Dataset) or found.external or found.is_virtual:
        raise UserError(f"{file.filename}: {key!r} is no array of this file")
    return found


def require_h5py() -> Any:
    """The library that reads HDF5, which is an extra of this one."""
    try:
        import h5py
    except ImportError:
        raise UserError("files of HDF5 are read by h5py: pip install h5py") from None
    return h5py
