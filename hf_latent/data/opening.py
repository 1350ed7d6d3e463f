"""The splits of a data set of `datasets`: which there are, which are used, and how one is opened."""

import inspect
import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from ..errors import UserError, suggest
from .cells import is_missing

NAMES = {"train": ("train",), "validation": ("validation", "val", "dev", "valid"), "test": ("test",)}
"""What each split is called in data sets, the first one that exists is taken."""
# What the readers of datasets say of files without rows; that of JSON raises StopIteration, of saved ones IndexError.
NO_ROWS = ("corresponds to no data", "BatchSize must be greater than 0", "No columns to parse from file")

FORMATS = {".csv": "csv", ".tsv": "csv", ".json": "json", ".jsonl": "json", ".parquet": "parquet"}
"""What `datasets` calls the format of a file of rows, by how its name ends."""
SEPARATORS = "\t;|"


def separator(file: Path) -> dict[str, str]:
    """The option of `datasets` that says what stands between the cells of a CSV file, where it is no comma."""
    if FORMATS.get(file.suffix) != "csv":
        return {}
    with file.open(encoding="utf-8", errors="replace", newline="") as opened:
        head = opened.readline(1 << 16)
    found = "," if file.suffix == ".csv" and "," in head else next((sign for sign in SEPARATORS if sign in head), ",")
    return {} if found == "," else {"sep": found}


def choose_splits(written: Mapping[str, str | None], known: Collection[str]) -> dict[str, str]:
    """The splits to use, of `train`, `validation` and `test`; those that a data set does not have are left out.

    Args:
        written: As the user wrote them; None switches one off.
        known: The splits of the data set, among which those that are not written are looked for. One that is written
            for something else is not taken again.
    """
    used = set().union(*(bases(split) for split in written.values() if split is not None))
    chosen = {"train": written.get("train") or "train"}
    for role in ("validation", "test"):
        if role in written:
            split = written[role]
        else:
            split = next((name for name in NAMES[role] if name in known and name not in used), None)
        if split is not None:
            chosen[role] = split
    return chosen


def bases(split: str) -> set[str]:
    """The names of the splits in a text such as `train[:90%]+extra`."""
    return {part.partition("[")[0].partition("(")[0].strip() for part in split.split("+")}


class Opener:
    """Opens the splits of a data set of the Hub or of the disk.

    Args:
        path, options: As of [`HubData`].
        is_on_hub: Whether the path is the id of a data set of the Hub.
        split_column: The column that names the split of each row, of data whose rows lie in one split.
    """

    def __init__(
        self, path: str, options: Mapping[str, Any], is_on_hub: bool, split_column: str | None = None
    ) -> None:
        self.path, self.options, self.is_on_hub, self.split_column = path, dict(options), is_on_hub, split_column
        self.is_saved = any((Path(path) / name).exists() for name in ("state.json", "dataset_dict.json"))

    def known(self) -> list[str]:
        """The names of the splits, as far as they are known before the data is read; none of a data set without, nor
        of one of the Hub where a column names them.

        Raises:
            UserError: If there is no such data set.
        """
        if self.split_column is not None:
            return [] if self.is_on_hub else list(self._by_column)
        return self._stored()

    def _stored(self) -> list[str]:
        """The splits that are stored apart."""
        with self._blamed():
            if self.is_saved:
                return list(self._saved()) if (Path(self.path) / "dataset_dict.json").exists() else []
            builder = self._builder()
            return list(builder.config.data_files or builder.info.splits or ())

    def features(self) -> Any:
        """The columns, as far as they are known before the data is read; None of a data set that does not say.

        Raises:
            UserError: If there is no such data set.
        """
        with self._blamed():
            return None if self.is_saved else self._builder().info.features

    def lengths(self) -> dict[str, int]:
        """The number of rows of each split, as far as it is known before the data is read."""
        if self.split_column is not None:
            return {} if self.is_on_hub else {name: len(rows) for name, rows in self._by_column.items()}
        with self._blamed():
            if self.is_saved:
                return {name: len(rows) for name, rows in self._saved().items()}
            return {name: info.num_examples for name, info in (self._builder().info.splits or {}).items()}

    def open(self, split: str, streaming: bool = False) -> Any:
        """A `datasets.Dataset`, or an `IterableDataset` where it is streamed.

        Args:
            split: As `datasets` writes it, such as `train[:90%]`.
            streaming: Read the rows as they come.

        Raises:
            UserError: If it cannot be opened.
        """
        if self.split_column is None:
            return self._open(split, streaming)
        if streaming:
            opened = self._open(self._only_split(), streaming=True)
            self._check_split_column(opened.column_names)
            names = _class_names(opened, self.split_column)
            return opened.filter(partial(_is_in, split=split, names=names), input_columns=[self.split_column])
        check_split("data.splits", split, self._by_column)
        with self._blamed():
            return _of_saved(self._by_column, split)

    @cached_property
    def _by_column(self) -> dict[str, Any]:
        """The rows of each value of the column of splits.

        Raises:
            UserError: If there is no such column, or a row is in no split.
        """
        rows = self._open(self._only_split())
        self._check_split_column(rows.column_names)
        numbers: dict[str, list[int]] = {}
        column = str(self.split_column)
        names = _class_names(rows, column)
        for number, value in enumerate(rows.select_columns(column)[column]):
            if is_missing(value) or not isinstance(value, str | int):
                raise UserError(
                    f"data.split_column={column!r}: row {number} holds {value!r}: write the name of its split"
                )
            numbers.setdefault(_split_named(value, names), []).append(number)
        return {name: rows.select(own) for name, own in numbers.items()}

    def _only_split(self) -> str:
        """The stored split, whose rows a column divides.

        Raises:
            UserError: If there are several.
        """
        stored = self._stored()
        if len(stored) > 1:
            raise UserError(
                f"data.split_column={self.split_column!r}: the data has the splits {', '.join(stored)} already: leave "
                "it out"
            )
        return stored[0] if stored else "train"

    def _check_split_column(self, columns: Collection[str]) -> None:
        if self.split_column not in columns:
            raise UserError(
                f"data.split_column={self.split_column!r}: no such column; {suggest(str(self.split_column), columns)}"
            )

    def _open(self, split: str, streaming: bool = False) -> Any:
        """A split that is stored."""
        import datasets

        with self._blamed():
            if self.is_saved:
                opened = _of_saved(self._saved(), split)
                opened = opened.to_iterable_dataset() if streaming else opened
            else:
                if self.is_on_hub:
                    self._builder()  # refuses files of others
                opened = datasets.load_dataset(self._place, split=split, streaming=streaming, **self.options)
            if opened.features is None:  # a stream may not say what it holds before it is read
                opened = opened._resolve_features()
        return opened

    @property
    def _place(self) -> str:
        return f"hf://datasets/{self.path}" if self.is_on_hub else self.path

    def _saved(self) -> dict[str, Any]:
        """The splits of a folder that `save_to_disk` wrote; one without splits is `train`, and what it was before."""
        import datasets

        saved = datasets.load_from_disk(self.path)
        if isinstance(saved, datasets.DatasetDict):
            return dict(saved)
        return {"train": saved} | ({} if saved.split is None else {str(saved.split): saved})

    def _builder(self) -> Any:
        """A data set of the Hub lists its files itself, and may list some of this machine, or of other hosts: these
        are refused."""
        import datasets

        known = inspect.signature(datasets.load_dataset_builder).parameters
        only_loading = set(inspect.signature(datasets.load_dataset).parameters) - set(known)
        options = {key: value for key, value in self.options.items() if key not in only_loading}
        builder = datasets.load_dataset_builder(self._place, **options)
        if self.is_on_hub and "data_files" not in self.options:
            files: Mapping[str, Any] = builder.config.data_files or {}
            for file in itertools.chain.from_iterable(files.values()):
                if not str(file).startswith(f"hf://datasets/{self.path}@"):
                    raise UserError(
                        f"data.path={self.path!r}: this data set lists {file}, which is not one of its files"
                    )
        return builder

    @contextmanager
    def _blamed(self) -> Iterator[None]:
        try:
            yield
        except UserError:
            raise
        except Exception as error:  # the builders of datasets raise what they like
            raise UserError(f"data.path={self.path!r} cannot be opened: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    cause = f" ({error.__cause__})" if error.__cause__ is not None else ""  # what datasets found while it read
    text = f"{error}{cause}" or type(error).__name__
    if isinstance(error, StopIteration | IndexError) or any(words in text for words in NO_ROWS):
        return f"one of its files or splits holds no row: {text}"
    return text


def check_split(where: str, split: str, known: Collection[str]) -> None:
    """A UserError where a split names one that does not exist; nothing is said where none are known."""
    for name in sorted(bases(split) - {"all", *known}) if known and split not in known else ():
        raise UserError(f"{where}={split!r}: no such split {name!r}; {suggest(name, known)}")


def _is_in(value: Any, split: str, names: Sequence[str]) -> bool:
    """Whether a row with this value of the column of splits is in a split."""
    return _split_named(value, names) == split


def _split_named(value: Any, names: Sequence[str]) -> str:
    """The split that a value names: a text, a whole number, or the number of a class."""
    return names[value] if names and isinstance(value, int) and 0 <= value < len(names) else str(value).strip()


def _class_names(rows: Any, column: str | None) -> Sequence[str]:
    """The names of the classes of a column that has some."""
    return list(getattr(rows.features[column], "names", ()))


def _of_saved(saved: Mapping[str, Any], split: str) -> Any:
    """A split of saved ones, or slices of them, as `datasets.load_dataset` reads it."""
    import datasets

    if split in saved:
        return saved[split]
    if split == "all":
        return datasets.concatenate_datasets(list({id(rows): rows for rows in saved.values()}.values()))
    lengths = {name: len(rows) for name, rows in saved.items()}
    parts = [
        saved[part.splitname].select(range(part.from_, part.to))
        for part in datasets.ReadInstruction.from_spec(split).to_absolute(lengths)
    ]
    return datasets.concatenate_datasets(parts) if len(parts) > 1 else parts[0]
