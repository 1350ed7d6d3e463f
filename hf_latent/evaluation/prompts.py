"""The sentences that name the classes of zero-shot classification."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..data.loaded import Label
from ..errors import UserError

OWN = "own"
"""What stands for the files beside the data set, in place of a folder."""
NAMES, TEMPLATES, WNIDS = "classnames.txt", "zeroshot_classification_templates.txt", "wnids.txt"


@dataclass(frozen=True)
class Prompts:
    """Sentences of classes.

    Attributes:
        names: Of each class, one or several.
        templates: In which `{}` stands for a name.
        classes: Of the label of the rows, the place of each class among `names`.
    """

    names: tuple[tuple[str, ...], ...]
    templates: tuple[str, ...]
    classes: tuple[int, ...]

    @property
    def digest(self) -> str:
        """The first 8 digits of the sha256 of names and templates: numbers of other prompts are not comparable."""
        text = json.dumps([self.names, self.templates], ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()[:8]

    @property
    def sentences(self) -> list[str]:
        """All of them."""
        flat = [name for own in self.names for name in own]
        return [template.replace("{}", name) for template in self.templates for name in flat]


def read_prompts(
    label: Label,
    templates: Sequence[str],
    source: str | None = None,
    aliases: str | None = None,
    subset: Sequence[str] | None = None,
    beside: Callable[[str], str | None] | None = None,
) -> Prompts:
    """Names and templates.

    Args:
        label: Of the rows; its names are those of the classes where `source` has none.
        templates: Where `source` has none.
        source: A folder with `classnames.txt`, the name of a class in each line, in the order of the classes, and
            perhaps `zeroshot_classification_templates.txt`, a sentence in each line with `{c}` for the name; or `own`,
            for those files beside the data set.
        aliases: What stands between several names of one class, such as a comma.
        subset: The classes that are told apart, of those that `source` names, by the lines of its `wnids.txt`, or by
            their names; class i of the rows is the i-th of them in the order of `wnids.txt`, or of the names.
        beside: The text of a file beside the data set, by its name; None of one that is not there.

    Raises:
        UserError: If a file is missing, or there are other names than classes.
    """
    read = _reader(source, beside)
    listed, found = read(NAMES), read(TEMPLATES)
    if source is not None and listed is None and found is None:
        where = "beside the data set" if source == OWN else f"in {source}"
        raise UserError(f"prompts: there is neither {NAMES} nor {TEMPLATES} {where}")
    if found is not None:
        templates = [line.replace("{c}", "{}") for line in _lines(found)]
        if bad := [line for line in templates if "{}" not in line]:
            raise UserError(
                f"prompts: {TEMPLATES}: {bad[0]!r} has no place for the name of a class: write {{c}} there"
            )
    names = list(label.names) if listed is None else _lines(listed)
    if subset is not None:
        names = _chosen(names, subset, read(WNIDS))
    classes = _classes(label, names, listed is not None or subset is not None)
    told = [name.split(aliases) if aliases else [name] for name in names]
    cleaned = tuple(tuple(part.strip() for part in own if part.strip()) for own in told)
    if any(not own for own in cleaned):
        raise UserError(f"class {[bool(own) for own in cleaned].index(False)} has no name: write one")
    return Prompts(cleaned, tuple(templates), classes)


def _reader(source: str | None, beside: Callable[[str], str | None] | None) -> Callable[[str], str | None]:
    if source is None:
        return lambda name: None
    if source == OWN:
        return beside or (lambda name: None)
    folder = Path(source)
    if not folder.is_dir():
        raise UserError(f"prompts={source!r}: there is no such folder: write one that holds {NAMES}, or {OWN}")

    def read(name: str) -> str | None:
        try:
            return (folder / name).read_text(encoding="utf-8") if (folder / name).is_file() else None
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{folder / name} cannot be read: {error}") from None

    return read


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def _chosen(names: list[str], subset: Sequence[str], wnids: str | None) -> list[str]:
    """The names of a subset, in their order."""
    known = names if wnids is None else _lines(wnids)
    if len(known) != len(names):
        raise UserError(f"prompts: {WNIDS} has {len(known)} lines, and {NAMES} has {len(names)}: one of a class each")
    what = "name" if wnids is None else "line of wnids.txt"
    for name in subset:
        if name not in known:
            raise UserError(f"subset: {name!r} is no {what}: leave it out, or correct it")
    wanted = set(subset)
    return [name for name, key in zip(names, known, strict=True) if key in wanted]


def _classes(label: Label, names: Sequence[str], listed: bool) -> tuple[int, ...]:
    """The place among the names of each class of the label."""
    if not listed:
        return tuple(range(len(names)))
    numbers = [int(name) for name in label.names if name.isdecimal()]
    if len(numbers) == len(label.names):  # whole numbers, of which some may be in no row
        if max(numbers) >= len(names):
            raise UserError(f"prompts: there are {len(names)} names, and a row has the class {max(numbers)}")
        return tuple(numbers)
    if len(names) != len(label.names):
        raise UserError(f"prompts: there are {len(names)} names for the {len(label.names)} classes of the label")
    return tuple(range(len(names)))
