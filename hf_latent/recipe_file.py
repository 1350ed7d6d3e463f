"""The file of a recipe: YAML with changes on top, as plain values that hold nothing of this machine's environment."""

import re
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from .errors import UserError

PLUGINS = "plugins"
SECTIONS = (PLUGINS, "model", "lora", "data", "views", "training", "evaluation")
# Of `${name:arguments}`; names and arguments may hold interpolations of their own.
_RESOLVER = re.compile(r"\$\{.*:", re.DOTALL)
_MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_REMEDY = "write the value itself, or ${section.key} for that of another key"


def read_values(path: Path, changes: Sequence[Any] = ()) -> dict[str, Any]:
    """What a recipe file says, with changes on top; nothing of it is checked yet, and no checkpoint is read.

    Raises:
        UserError: If the file is no recipe, or needs what [`resolved`] refuses.
    """
    try:
        written = OmegaConf.load(path)
        if not OmegaConf.is_dict(written):
            raise UserError(f"{path} holds no keys and values: a recipe has the sections {', '.join(SECTIONS)}")
        merged = OmegaConf.merge(written, *changes)
    except UserError:
        raise
    except (YAMLError, OmegaConfBaseException, OSError, TypeError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read: {first_lines(error)}") from None
    with in_file(path):
        return resolved(merged)


def import_plugins(values: Mapping[str, Any]) -> None:
    """Import the modules that a recipe of the user lists under `plugins`, from the current folder, too.

    Raises:
        UserError: If the section is no list of modules, or one cannot be imported; the error that it raised is its
            cause.
    """
    names = values.get(PLUGINS) or []
    if not isinstance(names, list) or not all(isinstance(name, str) and _MODULE.fullmatch(name) for name in names):
        raise UserError(f"{PLUGINS}={names!r}: write a list of modules, such as [my_package.regularizers]")
    here = str(Path.cwd())
    if names and here not in sys.path:
        sys.path.append(here)
    for name in names:
        try:
            import_module(name)
        except ModuleNotFoundError as error:
            if not error.name or not f"{name}.".startswith(f"{error.name}."):
                raise _failed(name, error) from error
            raise UserError(f"{PLUGINS}: there is no module {name!r}: install its package, or correct it") from None
        except (Exception, SystemExit) as error:
            raise _failed(name, error) from error


def _failed(name: str, error: BaseException) -> UserError:
    traceback.print_exception(error, file=sys.stderr)  # a mistake of whoever writes the plug-in
    return UserError(f"{PLUGINS}: {name!r} cannot be imported, see above ({type(error).__name__}: {error})")


def resolved(config: Any) -> dict[str, Any]:
    """The values of an OmegaConf config, in which `${section.key}` stands for the value of another key.

    Raises:
        UserError: If a value needs a resolver, such as `${oc.env:NAME}`: recipes are stored and published, and must
            not take in the environment of this machine.
    """
    try:
        for key, text in _texts(OmegaConf.to_container(config)):
            if _RESOLVER.search(text):
                raise UserError(f"{key}={text!r}: environment variables and other resolvers are not read: {_REMEDY}")
        values = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        raise UserError(f"{error.full_key or 'the recipe'}: {str(error).splitlines()[0]}") from None
    for key, text in _texts(values):
        if "${" in text:  # it was escaped, and would be resolved when the recipe of the run is read again
            raise UserError(f"{key}={text!r}: a text cannot hold ${{: {_REMEDY}")
    return cast(dict[str, Any], values)


def first_lines(error: Exception) -> str:
    """What is wrong, without the many keys above it that OmegaConf lists."""
    return "\n".join(str(error).splitlines()[:4])


@contextmanager
def in_file(path: Path) -> Iterator[None]:
    """Name the file in front of what is wrong with it."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def _texts(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Every text in nested values, with its dotted key."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, Mapping | list):
        for name, item in value.items() if isinstance(value, Mapping) else enumerate(value):
            yield from _texts(item, f"{key}.{name}" if key else str(name))
