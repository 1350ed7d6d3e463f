"""Names for classes that recipes and configs choose from, those of installed plug-ins among them."""

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from typing import Any, TypeVar

from .plugins import LIBRARY, failures, load_plugins

T = TypeVar("T")


class UnknownNameError(ValueError):
    """A name that nothing is registered under."""


class Registry(Mapping[str, T]):
    """Name -> class, read like a dictionary. Looking up a name that is not there loads the installed plug-ins.

    Args:
        what: What the classes are, in errors, such as "benchmark".
        place: Where the library has this registry, such as "models.encoders.ENCODERS", if it is part of the code of
            a model: a copy of that code, which `trust_remote_code` loads, reads what plug-ins gave to the library.
    """

    def __init__(self, what: str, place: str = "") -> None:
        self.what = what
        self._place = place
        self._found: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """A decorator that gives a class a name.

        Raises:
            ValueError: If another class has it.
        """

        def add(cls: T) -> T:
            if self._found.setdefault(name, cls) is not cls:
                there = self._found[name]
                where = f"{getattr(there, '__module__', '')}.{getattr(there, '__qualname__', there)}"
                raise ValueError(f"there is a {self.what} {name!r} already, {where}: choose another name")
            return cls

        return add

    def find(self, name: Any) -> T:
        """The class of that name.

        Raises:
            UnknownNameError: If there is none; it says what to write instead.
        """
        try:
            return self[name]
        except KeyError:
            raise UnknownNameError(f"no {self.what} {name!r}: {nearest(name, list(self))}{failures()}") from None

    def __getitem__(self, name: str) -> T:
        if name not in self._found:
            load_plugins()
            if self._place and not __name__.startswith(f"{LIBRARY}."):
                module, _, attribute = f"{LIBRARY}.{self._place}".rpartition(".")
                try:
                    return getattr(import_module(module), attribute)._found[name]
                except ImportError:
                    pass
        return self._found[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)


def nearest(word: Any, known: Sequence[str]) -> str:
    """A hint for a misspelled word: the nearest known one, and all of them."""
    close = difflib.get_close_matches(str(word), known, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}known: {', '.join(sorted(known)) or 'none'}"
