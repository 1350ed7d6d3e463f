"""What a path is to `datasets`: which of its files hold the rows, and which splits their names tell."""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..data.opening import FORMATS, NAMES, separator
from ..errors import UserError
from ..kinds import KINDS

METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")  # which `imagefolder` reads
CLIPS = (".avi", ".mkv", ".mov", ".mp4", ".webm")
LISTED = 8  # files of a split that a recipe lists by name
COLUMN = "file_name"


@dataclass(frozen=True)
class Place:
    """Where rows are read.

    Attributes:
        path, options: As `data.path` and `data.options` of a recipe.
        what: What it is, in words.
        is_on_hub: Whether it is a data set of the Hub.
        data: As the user named it.
    """

    path: str
    what: str
    options: dict[str, Any] = field(default_factory=dict)
    is_on_hub: bool = False
    data: str = ""


def place_of(data: str) -> Place:
    """Where the rows of a file or a folder are.

    Raises:
        UserError: If it holds no rows that can be read, and it says what to name instead.
    """
    path = Path(data)
    if any((path / name).exists() for name in ("state.json", "dataset_dict.json")):
        return Place(data, "a folder that save_to_disk wrote")
    if set(data) & set("*?[]"):
        raise UserError(f"{data}: datasets takes * ? [ and ] in a name for a pattern: rename it")
    if path.is_file():
        return _of_files([path], path.suffix.lower(), data)
    files = list(_files(path))
    if not files:
        raise UserError(
            f"{data} is an empty folder: name one with a table, pictures with a metadata.csv, or .tar files"
        )
    pictures, sounds = (_ending(files, KINDS[kind].SUFFIXES) for kind in ("image", "audio"))
    metadata = [file for file in files if file.name in METADATA]
    if metadata and pictures and not sounds:
        return Place("imagefolder", f"a folder of pictures with {metadata[0].name}", {"data_dir": data})
    tables = metadata or _ending(files, FORMATS)
    if tables:
        return _of_files(_tables(tables, data), tables[0].suffix.lower(), data)
    if tars := _ending(files, (".tar",)):
        return _of_files(tars, ".tar", data)
    if pictures and (beside := _beside(pictures)):
        raise UserError(
            f"{data} holds pictures with a file of text each, such as {beside}, which no format of datasets reads. "
            f"Pack them: tar --sort=name -cf {path.resolve().name}.tar -C {data} . and then hf-latent init "
            f"{path.resolve().name}.tar; or write a metadata.csv with the columns file_name and text"
        )
    if pictures:
        return Place("imagefolder", "a folder of pictures, whose folders are classes", {"data_dir": data})
    if sounds:
        raise UserError(
            f"{data} holds sound and no table: write {path / METADATA[0]} with the columns {COLUMN} (such as "
            f"{sounds[0].relative_to(path).as_posix()}) and text, and name the folder again"
        )
    if clips := _ending(files, CLIPS):
        raise UserError(
            f"{data} holds files of clips, such as {clips[0].name}, which are not read: write their frames as "
            "pictures, and a table (json or parquet) with a list of their names for each clip and its text"
        )
    raise UserError(
        f"{data} holds no rows, but files such as {files[0].name}: name a table ({', '.join(FORMATS)}), .tar files of "
        f"webdataset, a folder that save_to_disk wrote, or a folder of pictures with a {METADATA[0]}"
    )


def _files(folder: Path) -> Iterator[Path]:
    """All files of a folder but hidden ones, by name."""
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__")))
        yield from (Path(parent) / name for name in sorted(names) if not name.startswith((".", "__")))


def _ending(files: Sequence[Path], suffixes: Sequence[str] | dict[str, str]) -> list[Path]:
    return [file for file in files if file.suffix.lower() in suffixes]


def _beside(pictures: Sequence[Path]) -> str | None:
    """The name of a file of text that has the name of a picture, where at least half of the pictures have one."""
    found = [file for picture in pictures if (file := picture.with_suffix(".txt")).is_file()]
    return found[0].name if 2 * len(found) >= len(pictures) else None


def _tables(tables: Sequence[Path], data: str) -> list[Path]:
    """The tables of a folder that hold the rows: the only one, those that are called as splits, or as parts of one."""
    if len(tables) == 1:
        return list(tables)
    split = [file for file in tables if _split(file, data) is not None]
    chosen = split or list(tables)
    series = {(file.suffix, re.sub(r"\d+", "", file.stem)) for file in chosen}
    if len({file.suffix.lower() for file in chosen}) == 1 and (split or len(series) == 1):
        return chosen
    listed = ", ".join(f"hf-latent init {file}" for file in tables[:3])
    raise UserError(f"{data} holds {len(tables)} tables, and which of them has the rows is not clear: write {listed}")


def _split(file: Path, data: str) -> str | None:
    """What the name of a file, or of its folders, tells of its split."""
    base = Path(data)
    inside = file.relative_to(base) if file != base else Path(file.name)
    for part in reversed(inside.parts):
        words = re.split(r"[^a-z]+", part.lower())
        for role, names in NAMES.items():
            if set(names) & set(words):
                return role
    return None


def _of_files(files: Sequence[Path], suffix: str, data: str) -> Place:
    if suffix != ".tar" and suffix not in FORMATS:
        raise UserError(f"{data}: rows are read from {', '.join(FORMATS)} or .tar files, or from a folder: name one")
    if suffix not in (file.suffix for file in files):
        raise UserError(f"{data}: write the ending of the file in small letters, {suffix}")
    splits: dict[str, list[Path]] = {}
    for file in files:
        splits.setdefault(_split(file, data) or "train" if len(files) > 1 else "train", []).append(file)
    if len(splits) > 1 and suffix != ".tar":
        _refuse_equal_names(splits, data)
    named = {role: _pattern(splits[role]) for role in NAMES if role in splits}
    options = {"data_files": named if len(named) > 1 or "train" not in named else named["train"]}
    options |= {} if suffix == ".tar" else separator(files[0])
    what = "files of webdataset" if suffix == ".tar" else f"{FORMATS[suffix]} file"
    count = "" if suffix == ".tar" else "a " if len(files) == 1 else f"{len(files)} "
    plural = "s" if suffix != ".tar" and len(files) > 1 else ""
    return Place("webdataset" if suffix == ".tar" else FORMATS[suffix], f"{count}{what}{plural}", options)


def _refuse_equal_names(splits: dict[str, list[Path]], data: str) -> None:
    """Names of files in a table begin at its folder, and of several tables at those of all: they must not be equal."""
    folders = {file.parent for files in splits.values() for file in files}
    seen: dict[str, Path] = {}
    suffixes = [suffix for kind in KINDS.values() for suffix in kind.SUFFIXES]
    for folder in sorted(folders):
        for file in _ending(list(_files(folder)), suffixes) if len(folders) > 1 else ():
            name = file.relative_to(folder).as_posix()
            if (other := seen.setdefault(name, folder)) != folder:
                raise UserError(
                    f"{data}: {other} and {folder} both hold {name}, and tables name files from all of their folders: "
                    f"write one table in {data} for each split, with names such as {folder.name}/{name}"
                )


def _pattern(files: Sequence[Path]) -> str | list[str]:
    """Files as a recipe writes them: by name, or, where there are many, by a pattern that fits no other."""
    if len(files) == 1:
        return str(files[0])
    if len(files) > LISTED and len({file.parent for file in files}) == 1:
        start = os.path.commonprefix([file.name for file in files])
        start = re.sub(r"\d+$", "", start)
        fit = [
            file
            for file in files[0].parent.iterdir()
            if file.name.startswith(start) and file.suffix == files[0].suffix
        ]
        if len(fit) == len(files) and not set(str(files[0].parent) + start) & set("*?[]"):
            return str(files[0].parent / f"{start}*{files[0].suffix}")
    return [str(file) for file in files]
