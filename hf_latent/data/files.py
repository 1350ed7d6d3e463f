"""Files that the rows of a data set name."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from huggingface_hub import constants

from ..errors import UserError
from ..kinds import Shape, kind_of
from ..kinds.base import Decoder


@dataclass(frozen=True)
class Files:
    """How the values of a column are read that may be files, their bytes, or names of them.

    Attributes:
        decoder: Of the kind of its encoder.
        folders: Where names that are relative begin, in this order; then the working folder.
        opens: Whether texts are names of files, or have a `path`; otherwise they are what they are.
        untyped: Of columns that `datasets` knows to hold images, nothing is read so, but by their type.
    """

    decoder: Decoder
    folders: Sequence[str] = ()
    opens: bool = True
    untyped: bool = False

    def read(self, value: Any, from_hub: bool) -> Any:
        """What a value holds, decoded.

        Args:
            value: A name of a file, `{"bytes": ..., "path": ...}`, or what the decoder takes.
            from_hub: Names may be of the cache of `datasets`, and of no other file of this machine.

        Raises:
            ValueError: If it is no such thing, or names what may not be read.
        """
        if not self.opens:
            return self.decoder(value)
        if isinstance(value, list | tuple) and value and isinstance(value[0], str | Mapping):
            return self.decoder([self._opened(part, from_hub) for part in value])
        return self.decoder(self._opened(value, from_hub))

    def _opened(self, value: Any, from_hub: bool) -> Any:
        """The bytes or the `Path` of a value that names a file; others as they are."""
        if not _names(value):
            return value
        name = value["path"] if isinstance(value, Mapping) else value
        if not isinstance(name, str) or not name:
            raise ValueError("it has neither bytes nor a path")
        if from_hub and not in_cache(name):
            raise ValueError(f"{name} is no file of the data set")
        if "://" in name:
            from datasets.utils.file_utils import xopen

            with xopen(name, "rb") as file:
                return file.read()
        return self._found(name)

    def _found(self, name: str) -> Path:
        for folder in self.folders:
            if (path := Path(folder) / name).exists():
                return path
        if not Path(name).exists():
            raise ValueError(f"there is no file {name}")
        return Path(name)


Format = Sequence[Shape] | Files
"""What an encoder reads of a column: arrays of these shapes, or what a decoder makes of its values."""


def format_of(spec: Mapping[str, Any], folders: Sequence[str]) -> Format:
    """What the encoder of a spec reads; nothing where values are read by the type of their column.

    Args:
        spec: Of the encoder.
        folders: As of [`Files`].
    """
    kind = kind_of(spec)
    if kind is not None and (decoder := kind.decoder(spec)) is not None:
        return Files(decoder, tuple(folders), kind.OPENS_FILES, kind.UNTYPED)
    return () if kind is None else kind.shapes(spec)


def formats_of(
    specs: Mapping[str, Mapping[str, Any]],
    columns: Mapping[str, str | list[str]],
    keys: Mapping[str, str],
    folders: Sequence[str],
) -> dict[str, Format]:
    """What is read of each key of a row, where its values are not read by the type of their column.

    Args:
        specs: Of the encoder of each modality.
        columns: The columns of each modality, as a recipe writes them.
        keys: The key of each modality in a row.
        folders: As of [`Files`].

    Raises:
        UserError: If two encoders read one column in two ways.
    """
    found: dict[str, Format] = {}
    first: dict[str, str] = {}
    for name, spec in specs.items():
        key, format = keys[name], format_of(spec, folders)
        other = first.setdefault(key, name)
        joint = format if other == name else _joint(found[key], format)
        if joint is None or columns[other] != columns[name]:
            raise UserError(
                f"data.columns.{name}={key!r}: {other!r} reads this column in another way: copy it under another name"
            )
        found[key] = joint
    return {key: format for key, format in found.items() if format}


def _joint(first: Format, second: Format) -> Format | None:
    """What two encoders read of one column; None where no value is read by both."""
    if isinstance(first, Files) and isinstance(second, Files):
        return first if _what(first.decoder) == _what(second.decoder) else None
    if isinstance(first, Files) or isinstance(second, Files):
        return None
    both = [shape for shape in first if shape in second]
    return both if both or not (first or second) else None


def _what(decoder: Decoder) -> tuple[Any, ...]:
    """What a decoder does; equal partials are not equal."""
    if isinstance(decoder, partial):
        return decoder.func, decoder.args, decoder.keywords
    return (decoder,)


def folders_of(path: str, options: Mapping[str, Any]) -> list[str]:
    """Where names of files in columns of local data begin: the folders of its own files.

    Args:
        path, options: As of `HubData`.
    """
    files = options.get("data_files") or []
    listed = files.values() if isinstance(files, Mapping) else [files] if isinstance(files, str) else files
    flat = [file for part in listed for file in ([part] if isinstance(part, str) else part)]
    named = [options.get("data_dir"), *(str(Path(file).parent) for file in flat), path]
    return list(dict.fromkeys(folder for folder in named if isinstance(folder, str)))


def _names(value: Any) -> bool:
    """Whether a value names a file."""
    return isinstance(value, str) or (
        isinstance(value, Mapping) and "path" in value and value.get("bytes") is None and value.get("array") is None
    )


def in_cache(path: Any) -> bool:
    """Whether a file was fetched from the Hub: it is remote, or in the caches of `datasets` and of the Hub."""
    import datasets

    if "\0" in str(path):
        return False
    if str(path).rpartition("::")[2].startswith("hf://"):
        return True
    caches = (datasets.config.HF_DATASETS_CACHE, datasets.config.DOWNLOADED_DATASETS_PATH, constants.HF_HUB_CACHE)
    return any(Path(str(path)).resolve().is_relative_to(Path(cache).resolve()) for cache in caches)
