"""Plug-ins: installed packages that register regularizers, encoders, views, data, benchmarks or tasks of their own.

A package names its modules as entry points, in its `pyproject.toml`:

    [project.entry-points."hf_latent.plugins"]
    my_plugin = "my_package"

They are imported when a name is looked up that is not known. Nothing else that a config or a stranger's recipe holds
makes a module be imported.
"""

import re
import sys
import traceback
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, entry_points, packages_distributions, version
from typing import Any

GROUP = "hf_latent.plugins"
LIBRARY = "hf_latent"
_PACKAGE = re.compile(r"[A-Za-z0-9][\w.-]{0,63}( [A-Za-z0-9][\w.+!-]{0,31})?", re.ASCII)

_loaded: dict[str, str] = {}  # name of a plug-in -> the module that it names
_failed: dict[str, str] = {}  # name of a plug-in -> why it cannot be used
_state = {"looked": False}


def load_plugins() -> None:
    """Import the plug-ins of all installed packages, once. What fails is printed with its traceback, and the others
    are imported."""
    if _state["looked"]:
        return
    _state["looked"] = True  # before: a plug-in that is being imported looks names up, too
    for point in sorted(entry_points(group=GROUP), key=lambda point: (point.name, point.value)):
        if point.name in _loaded:
            if _loaded[point.name] != point.value:
                _failed[point.name] = f"two packages have one of that name, {_loaded[point.name]} and {point.value}"
            continue
        _loaded[point.name] = point.value
        try:
            point.load()
        except (Exception, SystemExit) as error:  # a plug-in raises what it likes
            print(f"The plug-in {point.name!r} cannot be imported:", file=sys.stderr)
            traceback.print_exception(error, file=sys.stderr)
            _failed[point.name] = f"it cannot be imported, see above ({type(error).__name__}: {error})"


def failures() -> str:
    """What to add to the error of an unknown name, where a plug-in could not be loaded."""
    return "".join(f"; the plug-in {name!r} is not used: {reason}" for name, reason in _failed.items())


def origin(cls: Any) -> tuple[str, str] | None:
    """The package that a class is from and its version, None of this library's own and of scripts."""
    module = str(getattr(cls, "__module__", "")).partition(".")[0]
    if module in ("", "__main__", "transformers_modules", LIBRARY, __name__.partition(".")[0]):
        return None
    for name in packages_distributions().get(module, ()):
        return name, version(name)
    return module, ""


def missing(plugins: Mapping[str, str] | None) -> str:
    """What to add to an error, where a model was made with packages that are not installed here.

    Args:
        plugins: Of its config, `{package: version}`; what is no name of a package is not told.
    """
    named = []
    for name, made_with in (plugins or {}).items():
        if _PACKAGE.fullmatch(f"{name} {made_with}".strip()) and not _is_installed(name):
            named.append(f"{name} {made_with}".strip())
    return f"; the model was made with the plug-in {', '.join(named)}, which is not installed here" if named else ""


def _is_installed(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True
