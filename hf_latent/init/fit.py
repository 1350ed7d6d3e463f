"""What only the rows tell of a guess: that they can be read, which labels tell something, and how many there are."""

import io
import re
from collections.abc import Mapping, Sized
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..data.files import folders_of
from ..data.source import Reader
from ..errors import UserError
from ..kinds import KINDS
from ..recipe import parse_recipe
from .guess import Choice, Guess
from .roles import there

DROP = {"on_missing": Choice("drop", "rows that lack a modality are left out, and use would train on what they have")}
SKIP = {"on_bad_row": Choice("skip", "rows that cannot be read are left out")}
_LABEL = re.compile(r"data\.labels\.(\w+)")


def fitted(guess: Guess) -> tuple[Guess, int | None]:
    """A guess that its rows can be loaded with, and how many rows training has; None where they are not read.

    Raises:
        UserError: If the rows cannot be read; it names the first.
    """
    if guess.found.place.is_on_hub:
        return guess, guess.found.splits.get(guess.found.train)
    guess = _with_files(guess)
    ways: list[dict[str, Choice]] = [{}, DROP, DROP | SKIP]
    first: UserError | None = None
    for way in ways:
        tried = replace(guess, reading={**way, **guess.reading})
        try:
            found, rows = _loaded(tried)
        except UserError as error:
            first = first or error
            continue
        if first is not None:
            key, choice = list(way.items())[-1]
            why = f"{_short(first)}: {choice.why}"
            found = replace(found, reading={**found.reading, key: Choice(found.reading[key].value, why)})
        return found, rows
    raise UserError(f"{guess.found.place.data}: {first}") from first


def _loaded(guess: Guess) -> tuple[Guess, int]:
    """A guess without the labels that tell nothing, and its training rows."""
    while True:
        recipe = parse_recipe(values_of(guess), "init")
        try:
            with redirect_stdout(io.StringIO()):  # training says it again
                data = recipe.data.load_for(Reader(recipe.config.modalities))
        except UserError as error:
            found = _LABEL.search(str(error))
            if found is None or found[1] not in guess.labels:
                raise
            reason = str(error).partition(found[0])[2].lstrip(":. ")
            left = {name: choice for name, choice in guess.labels.items() if name != found[1]}
            note = f"{guess.labels[found[1]].value} is no label: {reason.split(': write')[0].split(': leave')[0]}"
            guess = replace(guess, labels=left, notes=(*guess.notes, note))
            continue
        train: Any = data.train
        _ = train[0]  # which names a file that cannot be read
        return guess, len(train) if isinstance(train, Sized) else 0


def _with_files(guess: Guess) -> Guess:
    """A guess that leaves out rows whose files are not there.

    Raises:
        UserError: If none of them is.
    """
    columns = {column.name: column for column in guess.found.columns}
    place = guess.found.place
    folders = [Path(folder) for folder in folders_of(place.path, place.options)]
    for own in guess.modalities.values():
        if not KINDS[own.kind].OPENS_FILES or not isinstance(own.column, str):
            continue
        names = [
            part for value in there(columns[own.column]) for part in (value if isinstance(value, list) else [value])
        ]
        files = [name for name in names if isinstance(name, str) and "://" not in name]
        lost = [name for name in files if not any((base / name).exists() for base in (*folders, Path()))]
        if lost and len(lost) == len(files):
            begin = ", ".join(str(folder) for folder in folders if folder.is_dir())
            raise UserError(
                f"{place.data}: the column {own.column} names files, such as {lost[0]}, and none of them is there, "
                f"seen from {begin} or from the current folder: write names that begin there"
            )
        if lost:
            why = f"{len(lost):,} of the first {len(files):,} files of {own.column} are not there, such as {lost[0]}"
            guess = replace(guess, reading={**guess.reading, "on_bad_row": Choice("skip", why)})
    return guess


def values_of(guess: Guess) -> dict[str, Any]:
    """The sections of a recipe that a guess makes, but for training."""
    towers = {name: _plain(own.suggestion.encoder) for name, own in guess.modalities.items()}
    data: dict[str, Any] = {"name": "dataset", "path": guess.found.place.path}
    if guess.found.place.options:
        data["options"] = _plain(guess.found.place.options)
    data["columns"] = {name: own.column for name, own in guess.modalities.items()}
    if guess.ids is not None:
        data["ids"] = guess.ids.value
    if guess.labels:
        data["labels"] = {name: choice.value for name, choice in guess.labels.items()}
    texts = [name for name, own in guess.modalities.items() if own.kind == "text"]
    if texts:
        data["tokenizers"] = dict.fromkeys(texts, "words")
    if guess.found.split_column is not None:
        data["split_column"] = guess.found.split_column
    data["splits"] = {role: choice.value for role, choice in guess.splits.items()}
    if guess.validation_share is not None:
        data["validation_share"] = guess.validation_share.value
    data |= {key: choice.value for key, choice in guess.reading.items()}
    return {
        "model": {"type": guess.model.value, "modalities": towers, **WIDTHS[guess.model.value]},
        "data": data,
        "views": {name: _plain(own.suggestion.view) for name, own in guess.modalities.items()},
    }


WIDTHS: Mapping[str, Mapping[str, int]] = {
    "latent_clip": {"projection_dim": 64},
    "comm": {"embed_dim": 64, "fusion_heads": 4, "projection_hidden_dim": 64, "projection_dim": 32},
}


def _plain(value: Any) -> Any:
    """Mappings and lists as a recipe reads them, each one its own."""
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, list | tuple) else value


def _short(error: UserError) -> str:
    return str(error).partition(": repair")[0]
