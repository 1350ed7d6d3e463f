"""What the columns of data are taken for, each with its reason."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..data.opening import NAMES
from ..errors import UserError, suggest
from ..kinds import KINDS
from ..kinds.base import Suggestion
from .look import Column, Found
from .roles import LABELS, Role, as_modality, counted, is_named, role_of, said, stem, there

SHARE, SHARE_OF_FEW, FEW_ROWS = 0.1, 0.2, 200  # of the training rows, to validate on
FEWEST = 10  # rows, of which some can be spared


@dataclass(frozen=True)
class Choice:
    """A value of a recipe, and why it is so."""

    value: Any
    why: str


TOWERS = Choice("latent_clip", "one tower a modality; every pair of modalities is contrasted")


@dataclass(frozen=True)
class Modality:
    """A modality.

    Attributes:
        kind: A key of `KINDS`.
        column: Its column, or those of a table.
        why: What the column holds.
        suggestion: Encoder and view.
    """

    kind: str
    column: str | list[str]
    why: str
    suggestion: Suggestion


@dataclass(frozen=True)
class Guess:
    """What a recipe says of data.

    Attributes:
        found: What there is.
        model: `latent_clip` or `comm`.
        modalities: By their names.
        ids: The column whose equal values are positives of each other, if there is one.
        labels: By their names.
        splits: `train`, `validation` and `test`.
        validation_share: Of the training rows, to validate on, where no split is for that.
        reading: `on_missing` and `on_bad_row`, where they are needed.
        notes: Sentences on what was not taken.
    """

    found: Found
    model: Choice
    modalities: Mapping[str, Modality]
    ids: Choice | None = None
    labels: Mapping[str, Choice] = field(default_factory=dict)
    splits: Mapping[str, Choice] = field(default_factory=dict)
    validation_share: Choice | None = None
    reading: Mapping[str, Choice] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def guess(found: Found, written: Mapping[str, str | list[str]] | None = None) -> Guess:
    """What columns are taken for: by their types and values, and only then by their names.

    Args:
        found: What there is.
        written: The columns of the modalities, where the user says them; then there are no others.

    Raises:
        UserError: If no model fits, or two columns fit in one place; it says what to write.
    """
    roles = [role_of(column) for column in found.columns if column.name != found.split_column]
    notes: list[str] = []
    if written:
        modalities = {name: _written(name, column, found) for name, column in written.items()}
    else:
        modalities = _modalities(roles, found, notes)
    used = {part for own in modalities.values() for part in _parts(own.column)}
    free = [role for role in roles if role.column.name not in used]
    labels = {_name(role.column.name): Choice(role.column.name, role.why) for role in free if role.use == "label"}
    model = _of_one(modalities, labels, roles, found) if len(modalities) == 1 else TOWERS
    splits, share = _splits(found)
    ids = _ids(roles, modalities, notes, found)
    taken = {*used, *(choice.value for choice in labels.values()), *([] if ids is None else [ids.value])}
    notes += [
        f"{role.column.name} is not used: {role.why}" for role in roles if role.column.name not in taken and role.why
    ]
    return Guess(found, model, modalities, ids, labels, splits, share, notes=tuple(notes))


def _modalities(roles: Sequence[Role], found: Found, notes: list[str]) -> dict[str, Modality]:
    kinds: dict[str, list[Role]] = {}
    for role in roles:
        if role.use == "modality":
            kinds.setdefault(role.kind, []).append(role)
    if len(kinds) == 1 and len(only := next(iter(kinds.values()))) == 2 and not _numbered(only):
        return {_name(role.column.name): _modality(role) for role in only}
    modalities: dict[str, Modality] = {}
    for kind, own in kinds.items():
        if KINDS[kind].SEVERAL:
            modalities |= {_name(role.column.name): _modality(role) for role in own}
        elif len(own) > 1 and KINDS[kind].LISTED and _numbered(own):
            modalities[kind] = _listed(own)
        else:
            modalities[kind] = _modality(_one(kind, own, found, notes))
    if len(modalities) < 2 and (table := _table(roles, bool(modalities))) is not None:
        modalities["table"] = table
    if not modalities:
        raise UserError(_nothing(roles, found))
    return modalities


def _one(kind: str, roles: Sequence[Role], found: Found, notes: list[str]) -> Role:
    """The column of a kind.

    Raises:
        UserError: If several fit as well.
    """
    if len(roles) == 1:
        return roles[0]
    named = [role for role in roles if is_named(role.column.name, KINDS[kind].NAMES)]
    best = named or list(roles)
    if len(best) > 1 and not _numbered(best):
        listed = " or ".join(f"{kind}={role.column.name}" for role in best)
        raise UserError(
            f"{found.place.data}: {len(best)} columns fit {kind}: {_names(best)}. Write the columns of all modalities "
            f"behind the data, such as {listed}; or several, each with a name of its own"
        )
    others = [role.column.name for role in roles if role is not best[0]]
    notes.append(f"{best[0].column.name} was taken for {kind}, and not {', '.join(others)}, which would fit, too")
    return best[0]


def _numbered(roles: Sequence[Role]) -> bool:
    """Whether columns are one but for a number, such as caption_0, caption_1."""
    names = [role.column.name for role in roles]
    return len({stem(name) for name in names}) == 1 and all(re.search(r"\d$", name) for name in names)


def _table(roles: Sequence[Role], beside: bool) -> Modality | None:
    """Columns of numbers, or records, as one modality; beside none, all columns that are not called a label."""
    records = [role for role in roles if role.use == "cells"]
    if len(records) == 1 and records[0].suggestion is not None:
        return _modality(records[0])
    cells = [role for role in roles if role.use == "number"]
    if not beside:
        cells = [role for role in roles if role.use in ("number", "label") and not _is_label(role)]
    if len(cells) < 2:
        return None
    return _joined([role.column for role in cells])


def _is_label(role: Role) -> bool:
    import datasets

    return role.column.name.lower() in LABELS or isinstance(role.column.feature, datasets.ClassLabel)


def _modality(role: Role) -> Modality:
    if role.suggestion is None:
        raise ValueError(f"{role.column.name} is no modality")
    return Modality(role.kind, role.column.name, role.why, role.suggestion)


def _listed(roles: Sequence[Role]) -> Modality:
    """Columns such as caption_0 and caption_1, of which each value becomes a row."""
    one = _modality(roles[0])
    why = f"{one.why}, of which each becomes a row, as a caption"
    return Modality(one.kind, [role.column.name for role in roles], why, one.suggestion)


def _joined(columns: Sequence[Column]) -> Modality | None:
    """Several columns as the cells of a table; None where they hold something else."""
    own = KINDS["table"].suggest({column.name: column.feature for column in columns}, ())
    return None if own is None else Modality("table", [column.name for column in columns], own.why, own)


def _written(name: str, column: str | list[str], found: Found) -> Modality:
    """A modality whose column the user says."""
    known = {own.name: own for own in found.columns}
    for part in _parts(column):
        if part not in known:
            raise UserError(f"{name}={part}: no such column; {suggest(part, known)}")
    if not name.isidentifier():
        raise UserError(f"{name}={column}: write a name of letters, digits and _")
    if not isinstance(column, str):
        table = _joined([known[part] for part in column])
        if table is None:
            raise UserError(f"{name}={'+'.join(column)}: several columns are cells of numbers and texts: write others")
        return table
    role = as_modality(known[column], name if name in KINDS else None)
    if role is None:
        what = f"no {name}" if name in KINDS else "what no kind of input reads"
        raise UserError(f"{name}={column}: the column holds {said(known[column].feature)}, {what}: name another")
    return _modality(role)


def _of_one(
    modalities: Mapping[str, Modality], labels: Mapping[str, Choice], roles: Sequence[Role], found: Found
) -> Choice:
    """CoMM learns of the views of one modality alone, and labels tell what it learned."""
    name, own = next(iter(modalities.items()))
    if not labels:
        used = _parts(own.column)
        rest = "; ".join(
            f"{role.column.name}: {role.why}" for role in roles if role.why and role.column.name not in used
        )
        other = f" (not used are {rest})" if rest else ""
        raise UserError(
            f"{found.place.data} holds one modality, {name} ({_said(own.column)}: {own.why}), and nothing to contrast "
            f"it with, nor a label{other}: add a column, such as text with a caption of each row, or label with a "
            "class"
        )
    return Choice(
        "comm", "one modality: its augmented views are contrasted; a second one, such as captions, adds more"
    )


def _nothing(roles: Sequence[Role], found: Found) -> str:
    listed = "; ".join(f"{role.column.name} ({role.why})" for role in roles) or "no columns"
    return (
        f"{found.place.data} holds nothing that a model reads, {listed}: at least two columns are needed, such as "
        "images (or names of their files) and texts; say which with image=COLUMN text=COLUMN"
    )


def _splits(found: Found) -> tuple[dict[str, Choice], Choice | None]:
    known = [name for name in found.splits if name != found.train]
    chosen = {"train": Choice(found.train, _rows(found.splits.get(found.train)))}
    for role in ("validation", "test"):
        split = next((name for wanted in NAMES[role] for name in known if name.lower() == wanted), None)
        if split is None and role == "test":
            split = next((name for name in known if name.lower().startswith("test")), None)
        if split is not None:
            chosen[role] = Choice(split, _rows(found.splits[split]))
    rows = found.splits.get(found.train)
    if "validation" in chosen or (rows is not None and rows < FEWEST):
        return chosen, None
    share = SHARE_OF_FEW if rows is not None and rows < FEW_ROWS else SHARE
    return chosen, Choice(share, "no split to validate on: this share of the training rows, by whole ids")


def _rows(rows: int | None) -> str:
    return "rows not known" if rows is None else f"{rows:,} rows"


def _ids(roles: Sequence[Role], modalities: Mapping[str, Modality], notes: list[str], found: Found) -> Choice | None:
    """The column whose equal values are positives of each other: an id that repeats, a file, or a text."""
    repeats = [role for role in roles if role.use == "id" and 1 < counted(role.column) < len(there(role.column))]
    named = [role for role in roles if role.column.name.lower() == "image_id" and role.use == "id"]
    if named and (named[0] in repeats or not named[0].column.values):
        return Choice(named[0].column.name, "rows with equal ids are of one picture, and positives of each other")
    if len(repeats) == 1:
        return Choice(repeats[0].column.name, "ids that repeat: rows with equal ones are positives of each other")
    if repeats:
        notes.append(f"several columns have ids that repeat, and none was taken: {_names(repeats)}; write data.ids")
        return None
    by_name = {column.name: column for column in found.columns}
    for kind, what in (("", "files"), ("text", "texts")):
        for own in modalities.values():
            fits = own.kind == kind or (not kind and KINDS[own.kind].OPENS_FILES)
            if fits and isinstance(own.column, str) and _repeats(by_name[own.column]):
                return Choice(own.column, f"rows with equal {what} are positives of each other")
    return None


def _repeats(column: Column) -> bool:
    values = there(column)
    return all(isinstance(value, str) for value in values) and 1 < counted(column) < len(values)


def _names(roles: Sequence[Role]) -> str:
    return ", ".join(role.column.name for role in roles)


def _parts(column: str | list[str]) -> list[str]:
    return [column] if isinstance(column, str) else column


def _said(column: str | list[str]) -> str:
    return column if isinstance(column, str) else " + ".join(column)


def _name(column: str) -> str:
    """A name of a modality or of a label, made of that of a column."""
    name = re.sub(r"\W+", "_", column).strip("_") or "column"
    return name if name.isidentifier() else f"column_{name}"
