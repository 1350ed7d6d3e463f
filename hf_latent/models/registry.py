"""Names for classes that recipes and configs choose from."""

from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

T = TypeVar("T")


class Registry(Mapping[str, T]):
    """Name -> class, read like a dictionary.

    Args:
        what: What the classes are, in errors, such as "benchmark".
    """

    def __init__(self, what: str) -> None:
        self.what = what
        self._found: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """A decorator that gives a class a name.

        Raises:
            ValueError: If another class has it.
        """

        def add(cls: T) -> T:
            if self._found.setdefault(name, cls) is not cls:
                raise ValueError(
                    f"there is a {self.what} {name!r} already: {self._found[name]!r}; choose another name"
                )
            return cls

        return add

    def __getitem__(self, name: str) -> T:
        return self._found[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)
