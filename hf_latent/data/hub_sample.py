"""Some rows of a data set of the Hub or of the disk, to look at."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UserError
from .columns import LabelColumn, label_columns, read_label, split_of
from .hub_rows import SplitReader
from .loaded import EvaluationData, Label
from .opening import Opener, bases, choose_splits
from .rows import ModalityRows, RowReader
from .sample import Role, Sample, sample_of_split

TRAINED_ON = ", which the model was trained on"
AMONG_THEM = ", training rows among them"
MAYBE = ", training rows may be among them"


def hub_sample(reader: SplitReader, rows: int, role: Role) -> Sample:
    """Rows of the split to report, else of that to validate on, else of that to train on, as the title says.

    Data that lie on this machine are read evenly spaced. Of others the first rows are read as a stream, and the rest
    is not downloaded.

    Args:
        reader: Of the splits of the data.
        rows: How many, at most.
        role: `train` for rows of training.

    Raises:
        UserError: If the data cannot be read, or have too few rows.
    """
    source, opener = reader.source, reader.opener
    stored = opener.is_saved or not (source.streaming or source.is_on_hub)
    known = opener.known() if stored or not source.streaming else []
    chosen = choose_splits(source.written_splits, known)
    held = chosen.get("test") or chosen.get("validation")
    split = held if held and role == "test" else chosen["train"]
    cut = bool(source.validation_share) and not held
    note = TRAINED_ON
    if role == "test" and held:
        shared = share_rows(held, chosen["train"], opener.lengths() if bases(held) & bases(chosen["train"]) else {})
        note = {True: AMONG_THEM, False: "", None: MAYBE}[shared]
    name = Path(str(source.options.get("data_dir") or source.path)).name
    if stored:
        found = _rows(reader, reader.dataset("test", split))
        if cut:
            train, validation = found.cut(source.validation_share)
            found = validation if role == "test" else train
            note = ", cut off to validate on" if role == "test" else note
        kind = f"rows of the {split} split of {name}{note}"
    else:
        found, exact = _streamed(reader, split, rows)
        if role == "test" and (cut or (not exact and bases(split) & bases(chosen["train"]))):
            note = AMONG_THEM
        kind = f"first rows of the {split if exact else _whole(split)} split of {name}{note}"
    held_out = role == "test" and note not in (TRAINED_ON, AMONG_THEM, MAYBE)
    found = found.part([(row, caption) for row, caption in found.index if caption == 0])
    labels, values = _shown_labels(label_columns(source.labels, source.columns), found)
    data_split = split_of(found, source.row_columns, values)
    data = EvaluationData(data_split, columns=source.row_columns, labels=labels)
    right = "" if source.ids is None else f"the same {source.ids}"
    return sample_of_split(data_split, data, kind, rows, held_out, right)


def _streamed(reader: SplitReader, split: str, rows: int) -> tuple[ModalityRows, bool]:
    """The first rows of a split, and whether they are of the part of it that is written, not of the whole split."""
    source = reader.source
    stream, start = reader.dataset("test", _whole(split), streaming=True), _start(reader.opener, split)
    if start:
        stream = stream.skip(start)
    keep = [column.column for column in label_columns(source.labels, source.columns)]
    keep += [] if source.ids is None else [source.ids]
    columns = list(source.row_columns.values())
    undecoded = RowReader(stream.features, columns, shapes=reader.shapes, joined=source.joined).undecoded(stream, keep)
    return _rows(reader, _listed(undecoded, rows)), start is not None


def _shown_labels(
    columns: Sequence[LabelColumn], rows: ModalityRows
) -> tuple[dict[str, Label], dict[str, np.ndarray]]:
    """What columns tell of some rows to look at; a label that tells nothing of them is left out."""
    labels: dict[str, Label] = {}
    found: dict[str, np.ndarray] = {}
    for column in columns:
        try:
            label, arrays = read_label(column, {"test": rows}, ())
        except UserError:
            continue
        labels[column.name], found[column.name] = label, arrays["test"]
    return labels, found


def _rows(reader: SplitReader, opened: Any) -> ModalityRows:
    source = reader.source
    reading: dict[str, Any] = {"from_hub": source.is_on_hub, "shapes": reader.shapes, "joined": source.joined}
    return ModalityRows(opened, list(source.row_columns.values()), source.ids, **reading)


def _listed(stream: Any, rows: int) -> Any:
    """The first rows of a stream as a data set in memory."""
    import datasets

    try:
        read = list(itertools.islice(stream, rows))
    except UserError:
        raise
    except Exception as error:  # datasets raises what it likes
        raise UserError(f"its rows cannot be read: {error}") from error
    return datasets.Dataset.from_list(read, features=stream.features)


def share_rows(first: str, second: str, lengths: Mapping[str, int]) -> bool | None:
    """Whether two texts such as `train[:90%]` name rows of which some are the same; None where that is not known.

    Args:
        first, second: As `datasets` writes splits.
        lengths: The number of rows of each split, as far as it is known.
    """
    named = bases(first) | bases(second)
    if "all" in named or first == second:
        return True
    if not bases(first) & bases(second):
        return False
    if not named <= set(lengths):
        return None
    import datasets

    parts = [datasets.ReadInstruction.from_spec(split).to_absolute(dict(lengths)) for split in (first, second)]
    return any(
        one.splitname == other.splitname
        and max(one.from_ or 0, other.from_ or 0) < min(_end(one, lengths), _end(other, lengths))
        for one in parts[0]
        for other in parts[1]
    )


def _end(part: Any, lengths: Mapping[str, int]) -> int:
    return lengths[part.splitname] if part.to is None else int(part.to)


def _whole(split: str) -> str:
    """The first split that a text such as `train[:90%]+extra` names."""
    return split.partition("+")[0].partition("[")[0].strip()


def _start(opener: Opener, split: str) -> int | None:
    """Where a slice of a split begins; None where that is not known, or it is not one slice."""
    if _whole(split) == split.strip():
        return 0
    import datasets

    lengths: Mapping[str, int] = opener.lengths()
    if "+" in split or _whole(split) not in lengths:
        return None
    return int(datasets.ReadInstruction.from_spec(split).to_absolute(dict(lengths))[0].from_ or 0)
