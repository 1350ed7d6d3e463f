"""Modules that describe what they add are found by their place in the tree: no list learns their names."""

import pkgutil
from collections.abc import Iterable
from importlib import import_module


def import_modules(package: str, path: Iterable[str]) -> None:
    """Import the modules of a package, so that what they register is known.

    Args:
        package: Its name, the `__name__` of its `__init__`.
        path: Its folders, the `__path__` of its `__init__`.
    """
    for module in sorted(pkgutil.iter_modules(path), key=lambda module: module.name):
        if not module.ispkg:
            import_module(f"{package}.{module.name}")
