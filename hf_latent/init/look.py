"""What there is: the columns of data, some of their values, and the splits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

from ..data.cells import is_plain
from ..data.opening import NAMES, Opener
from ..errors import UserError
from ..kinds.stored import dtype, inner
from .place import Place, place_of

SPLITS = ("split", "subset", "partition")  # columns that may name the split of each row
ROWS = 10_000  # whose plain values are looked at
FEW = 50  # rows of columns with large values


@dataclass(frozen=True)
class Column:
    """A column.

    Attributes:
        name: Of the column.
        feature: As `datasets` has it.
        values: Of the first training rows, as they are stored; none of images, nor of a data set that is not read.
    """

    name: str
    feature: Any
    values: Sequence[Any] = ()


@dataclass(frozen=True)
class Found:
    """What there is.

    Attributes:
        place: Where.
        columns: In their order.
        splits: The rows of each split, None where that is not known.
        train: The split to train on.
        note: What was read to know that, where it is not the rows.
        split_column: The column that names the split of each row, where there is one.
    """

    place: Place
    columns: tuple[Column, ...]
    splits: Mapping[str, int | None] = field(default_factory=dict)
    train: str = "train"
    note: str = ""
    split_column: str | None = None


def look(data: str, config: str | None = None) -> Found:
    """Look at a file, a folder or a data set of the Hub. Of the Hub no rows are downloaded, but the first few where
    its features do not tell what a column holds.

    Args:
        data: A path, or an id.
        config: The configuration of a data set of the Hub.

    Raises:
        UserError: If there is none, or it cannot be read; it says what to name instead.
    """
    if Path(data).exists():
        if config is not None:
            raise UserError(
                f"--name {config}: a data set of the Hub has configurations, and {data} is on this machine"
            )
        data = str(Path(data))
        place = replace(place_of(data), data=data)
        try:
            return _local(place)
        except UserError as error:
            unread = f"data.path={place.path!r} cannot be opened"
            if unread not in str(error):
                raise
            raise UserError(
                f"{str(error).replace(unread, f'{data} cannot be read')}: it needs rows with the same columns, as "
                "UTF-8 where it is text"
            ) from error
    from datasets.packaged_modules import _PACKAGED_DATASETS_MODULES

    if data in _PACKAGED_DATASETS_MODULES:
        raise UserError(f"{data} is a format and no data: name the file or the folder itself")
    try:
        validate_repo_id(data)
    except HFValidationError:
        raise UserError(f"there is no file or folder {data}, and it is no id of the Hub, such as owner/name") from None
    options = {} if config is None else {"name": config}
    return _on_hub(Place(data, "a data set of the Hub", options, is_on_hub=True, data=data))


def _local(place: Place) -> Found:
    opener = Opener(place.path, place.options, is_on_hub=False)
    known = [str(name) for name in opener.known()] or ["train"]
    split_column = _split_column(opener.open(known[0])) if len(known) == 1 else None
    if split_column is not None:
        opener = Opener(place.path, place.options, is_on_hub=False, split_column=split_column)
        known = opener.known()
    train = _train(known, place.data)
    with_rows = {name: opener.open(name) for name in known}
    rows = with_rows[train]
    if len(rows) < 2:
        raise UserError(f"{place.data} has {len(rows)} rows in the split {train!r}: to contrast needs two or more")
    columns = [Column(name, feature, _values(rows, name, feature)) for name, feature in rows.features.items()]
    lengths = {name: len(own) for name, own in with_rows.items()}
    return Found(place, tuple(columns), lengths, train, split_column=split_column)


def _split_column(rows: Any) -> str | None:
    """The column that names the split of each row: one that is called so, all of whose values are names of splits."""
    known = tuple(name for names in NAMES.values() for name in names)
    for name, feature in rows.features.items():
        if name.lower() not in SPLITS or not (dtype(feature) == "string" or getattr(feature, "names", None)):
            continue
        values = set(rows.unique(name))
        named = {
            str(value) if isinstance(value, str) else feature.int2str(value) for value in values if value is not None
        }
        if None not in values and all(value.lower().startswith(known) for value in named):
            return str(name)
    return None


def _values(rows: Any, name: str, feature: Any) -> Sequence[Any]:
    if not is_plain(feature):
        return ()
    small = dtype(feature) not in ("", "binary") or dtype(inner(feature)) == "string"
    return list(rows.select_columns(name)[: ROWS if small else FEW][name])


def _on_hub(place: Place) -> Found:
    opener = Opener(place.path, place.options, is_on_hub=True)
    try:
        features, lengths = opener.features(), opener.lengths()
        known = [str(name) for name in opener.known()]
    except UserError as error:
        raise UserError(f"there is no file or folder {place.path} here, and of the Hub: {error}") from error
    train = _train(known or ["train"], place.path)
    splits = {name: lengths.get(name) for name in known or ["train"]}
    if features is not None and not any(_is_open(feature) for feature in features.values()):
        columns = tuple(Column(name, feature) for name, feature in features.items())
        return Found(place, columns, splits, train, "columns by the features of the data set; no row was downloaded")
    stream = opener.open(train, streaming=True)
    plain = [name for name, feature in stream.features.items() if is_plain(feature)]
    first: Mapping[str, Any] = next(iter(stream.select_columns(plain)), {}) if plain else {}
    columns = tuple(
        Column(name, feature, [first[name]] if name in first else []) for name, feature in stream.features.items()
    )
    return Found(place, columns, splits, train, "columns by the first rows, which were read for it; no others were")


def _is_open(feature: Any) -> bool:
    """Whether only a value tells how many numbers a column holds."""
    part = inner(feature)
    return (dtype(part) == "float" or dtype(inner(part)) == "float") and getattr(feature, "length", -1) < 0


def _train(known: Sequence[str], data: str) -> str:
    """The split to train on: `train`, or the only one that is for nothing else."""
    held = {name for role in ("validation", "test") for name in NAMES[role]}
    others = [name for name in known if name.lower() not in held and not name.lower().startswith("test")]
    named = [name for name in known if name.lower() == "train"]
    if named or len(known) == 1 or len(others) == 1:
        return [*named, *others, *known][0]
    raise UserError(f"{data} has the splits {', '.join(known)}, and none called train: rename the one to train on")
