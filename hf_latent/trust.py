"""Whose a run is, and what its recipe may make this machine read.

A recipe that is named on the command line is the user's. One that lies in a run folder is the user's where `train`
wrote it on this machine: the hash of its content is remembered then. Every other recipe is data, as are those of the
Hub: it may name a data set of the Hub by its id, a split and columns, and nothing else is read for it.
"""

import hashlib
import os
import re
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from huggingface_hub import constants

from .data.source import Source
from .errors import UserError
from .hub.card import ADAPTER, CARD
from .hub.contents import SAVE_AGAIN, check_index
from .hub.shareable import PATH, SETTINGS
from .recipe_file import PLUGINS, import_plugins, in_file, read_values
from .runs import RECIPE, REPLACE, leads_out, read_json, refuse_links

UNREAD = ("_name_or_path", "clip", "name_or_path", "pretrained")
"""Keys of settings that say where training began; loading a model does not read them."""
ELSEWHERE = ("audio_tokenizer", "configuration_files", "quantization_config", "transformers_weights")
"""Keys by which transformers reads other files than the usual ones, or fetches or imports something."""
KERNELS = ("attn_implementation", "_attn_implementation", "experts_implementation")
"""Keys that may name code on the Hub; in the recipe of a user they may."""
BUILT_IN = ("eager", "flex_attention", "sdpa")
READ = (RECIPE, CARD, "*.json", "*.txt", "*.jinja", "*.model", "adapter", "figures", "tokenizer_*", "tokenizer_*/*")
"""What is read of a run, or written to, beside its weights."""
T = TypeVar("T", bound=Source)


def remember(run: Path) -> None:
    """Remember the recipe in a run folder as one that was written by a training on this machine."""
    mark = _mark(run)
    try:
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.touch()
    except OSError as error:
        said = f"{mark.parent} cannot be written ({error.strerror}): evaluating {run} may need --trust-recipe"
        print(said, file=sys.stderr)


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
        source = replace(source, tokenizers={})  # type: ignore[call-arg]  # of some sources
    reads: Mapping[str, Any] = source.local_reads()
    if reads and not is_own(run):
        named = ", ".join(f"{key}={value!r}" for key, value in reads.items())
        if not trust:
            raise UserError(
                f"{run / RECIPE} was not written by a training on this machine, and would make it read {named}: "
                "--trust-recipe allows that"
            )
        print(f"{run / RECIPE} is trusted: reading {named}", file=sys.stderr)  # whatever else is not printed
    return source


def use_plugins(run: Path, trust: bool = False) -> None:
    """Import the plug-ins that the recipe in a run folder lists, where it is the user's; of another one say that they
    are not.

    Args:
        run: The folder; nothing happens where it holds no recipe.
        trust: Import what a recipe of somebody else lists, and print it.

    Raises:
        UserError: If a plug-in cannot be imported.
    """
    path = run / RECIPE
    if not path.is_file():
        return
    refuse_links(run, (RECIPE,))
    values = read_values(path)
    names = values.get(PLUGINS)
    if not names:
        return
    if not trust and not is_own(run):
        print(f"{path} was not written by a training on this machine: its plug-ins {names} are not imported")
        return
    if not is_own(run):
        print(f"{path} is trusted: importing {names}")
    with in_file(path):
        import_plugins(values)


def check_folder(run: Path) -> None:
    """Refuse a run folder that would make loading or measuring its model read or write files outside of it.

    A known recipe does not vouch for the files beside it: others have the recipes that ship with this library, too. Of
    a run with such a recipe, weights and checkpoints may be links to another disk.

    Raises:
        UserError: If a file is a link that leads out, or no file; the index of shards or the settings of a model or a
            tokenizer name other files or models; or there are adapters that would be loaded with the model.
    """
    own = is_own(run)
    for path in sorted({path for pattern in READ for path in run.glob(pattern)} if own else _files(run)):
        if leads_out(run, path):
            raise UserError(f"{path} is a link to {os.path.realpath(path)}, which is not of the run: {REPLACE}")
        if not path.is_file() and not path.is_dir():
            raise UserError(f"{path} is neither a file nor a folder: remove it")
    for path in run.glob("*.index.json"):
        check_index(path.name, read_json(path, SAVE_AGAIN))
    for path in sorted({path for pattern in SETTINGS for path in run.glob(pattern)}):
        if path == run / ADAPTER:  # PEFT imports modules that it names
            raise UserError(f"{run} holds adapters beside its model, which would be loaded with it: merge them")
        settings = read_json(path, SAVE_AGAIN)
        for key, place in _texts(settings):
            if _is_place(place) and leads_out(run, Path(place.removeprefix("file://")).expanduser()):
                raise UserError(f"{path}: {key}={place!r} is a file of this machine, not of {run}: remove it")
        for key, value in _asking(settings, ELSEWHERE if own else (*ELSEWHERE, *KERNELS)):
            raise UserError(f"{path}: {key}={value!r} would load something else than this model: remove it")


def _files(run: Path) -> Iterator[Path]:
    """All files and folders of a run; links are not followed."""
    for folder, folders, files in os.walk(run):
        yield from (Path(folder) / name for name in (*folders, *files))


def _parts(settings: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(settings, Mapping | list):
        yield from settings.items() if isinstance(settings, Mapping) else enumerate(settings)


def _texts(settings: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """The texts in nested settings that loading may read."""
    for name, value in _parts(settings):
        if name not in UNREAD:
            yield from _texts(value, str(name))
    if isinstance(settings, str) and len(settings) < 4096:
        yield key, settings


def _is_place(text: str) -> bool:
    """Whether a text names something of this machine: a path, or a file of the current folder."""
    place = os.path.expanduser(text.removeprefix("file://"))
    found = os.path.exists if PATH.match(text) or re.search(r"\w[\\/]\w", text) else os.path.isfile
    return "\0" not in text and found(place)


def _asking(settings: Any, keys: Collection[str]) -> Iterator[tuple[str, Any]]:
    """What nested settings hold under some keys, but for what transformers has itself."""
    for name, value in _parts(settings):
        if name in keys and value and value not in BUILT_IN:
            yield name, value
        yield from _asking(value, keys)
