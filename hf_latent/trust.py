"""Whose a run is, and what its recipe may make this machine read.

A recipe that is named on the command line is the user's. One that lies in a run folder is the user's where `train`
wrote it on this machine: the hash of its content is remembered then. Every other recipe is data, as are those of the
Hub: it may name a data set of the Hub by its id, a split and columns, and nothing else is read for it.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from huggingface_hub import constants

from .errors import UserError
from .hub.card import ADAPTER
from .hub.contents import check_index
from .hub.shareable import INDEX, PATH, SETTINGS
from .runs import RECIPE, leads_out, read_json

UNREAD = ("_name_or_path", "clip", "name_or_path", "pretrained")
"""Keys of settings that say where training began; loading a model does not read them."""
T = TypeVar("T")


def remember(run: Path) -> None:
    """Remember the recipe in a run folder as one that was written by a training on this machine."""
    mark = _mark(run)
    try:
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.touch()
    except OSError as error:
        print(f"{mark.parent} cannot be written ({error.strerror}): evaluating {run} may need --trust-recipe")


def is_own(run: Path) -> bool:
    """Whether the recipe in a run folder was written by a training on this machine."""
    return (run / RECIPE).is_file() and _mark(run).is_file()


def _mark(run: Path) -> Path:
    """The file in the user's cache that stands for the content of a recipe."""
    content = hashlib.sha256((run / RECIPE).read_bytes()).hexdigest()
    return Path(constants.HF_HOME) / "hf_latent" / "recipes" / content


def permitted(source: T, run: Path, trust: bool = False) -> T:
    """The data that the recipe of a run names, if this machine may read it, without the tokenizers of training.

    Args:
        source: What the data section describes.
        run: The folder that the recipe lies in.
        trust: Read what a recipe of somebody else names, and print it.

    Raises:
        UserError: If the recipe is not the user's, names more than a data set of the Hub, and is not to be trusted.
    """
    if getattr(source, "tokenizers", None):
        source = replace(source, tokenizers={})  # type: ignore[type-var]  # a source is a dataclass
    reads: Mapping[str, Any] = source.local_reads() if hasattr(source, "local_reads") else {}
    if reads and not is_own(run):
        named = ", ".join(f"{key}={value!r}" for key, value in reads.items())
        if not trust:
            raise UserError(
                f"{run / RECIPE} was not written by a training on this machine, and would make it read {named}: "
                "--trust-recipe allows that"
            )
        print(f"{run / RECIPE} is trusted: reading {named}")
    return source


def check_folder(run: Path) -> None:
    """Refuse a run folder of somebody else that would make loading its model read files outside of it.

    Raises:
        UserError: If a file is a link that leads out, the index of shards or the settings of a tokenizer name other
            files, or there are adapters that would be loaded with the model.
    """
    if is_own(run):
        return
    for path in _files(run):
        if leads_out(run, path):
            raise UserError(
                f"{path} is a link to {path.resolve()}, and {run} was not trained on this machine: put the file "
                "itself there, or remove it"
            )
    if (run / INDEX).is_file():
        check_index(INDEX, read_json(run / INDEX, "save the model again"))
    for path in sorted({path for pattern in SETTINGS for path in run.glob(pattern)}):
        if path == run / ADAPTER:  # PEFT imports modules that it names
            raise UserError(f"{run} holds adapters beside its model, and was not trained on this machine: merge them")
        for key, place in _places(read_json(path, "save the model again")):
            raise UserError(f"{path}: {key}={place!r} is a file of this machine, not of {run}: remove it")


def _files(run: Path) -> Iterator[Path]:
    """All files and folders of a run; links are not followed."""
    for folder, folders, files in os.walk(run):
        yield from (Path(folder) / name for name in (*folders, *files))


def _places(settings: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """The texts in nested settings that name a file or a folder of this machine."""
    if isinstance(settings, Mapping | list):
        for name, value in settings.items() if isinstance(settings, Mapping) else enumerate(settings):
            if name not in UNREAD:
                yield from _places(value, str(name))
    elif isinstance(settings, str) and len(settings) < 4096:
        place = settings.removeprefix("file://")
        if PATH.match(settings) and os.path.exists(os.path.expanduser(place)):
            yield key, settings
