"""What docstrings say, for those who read no code: a first sentence, the text, and a description of each option."""

import inspect
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

# Where a sentence ends, and the next one begins: not behind "et al." and not before a number.
_END = re.compile(r"(?<![Aa]l\.)(?<=[.?!])[\"')\]]*\s+(?=[\"'(\[]*(?:[A-Z`]|[a-z]+_))")
_SECTION = re.compile(r"(Args|Attributes|Example|Examples|Raises|Returns|Yields):$")
_OPTIONS = ("Args", "Attributes")
_ENTRY = re.compile(r"    ([*\w]+(?:, [*\w]+)*): (.*)")
_AS_BASE = re.compile(r"As in \[`\w+`\][;,.]? ?")


@dataclass(frozen=True)
class Docstring:
    """A docstring, taken apart.

    Attributes:
        text: Its paragraphs, without those about arguments, errors and examples.
        entries: What it says of each argument or attribute.
    """

    text: tuple[str, ...] = ()
    entries: dict[str, str] = field(default_factory=dict)

    @property
    def sentence(self) -> str:
        """The first sentence."""
        return first_sentence(" ".join(self.text[0].split())) if self.text else ""


def docstring(thing: Any) -> Docstring:
    """The docstring of a class or function itself, not that of its base, nor the one that `dataclass` makes."""
    written = getattr(thing, "__doc__", None)
    if not isinstance(written, str) or written.startswith(f"{getattr(thing, '__name__', None)}("):
        return Docstring()
    paragraphs: list[list[str]] = [[]]
    entries: dict[str, str] = {}
    section, key, code = "", "", False
    for line in inspect.cleandoc(written).splitlines():
        if line.lstrip().startswith("```"):
            code = not code
        elif code:
            pass
        elif not line.strip():
            paragraphs.append([])
        elif found := _SECTION.match(line):
            section, key = found[1], ""
        elif not line.startswith(" ") or not section:
            section = ""
            paragraphs[-1].append(line)
        elif section in _OPTIONS:
            if found := _ENTRY.match(line):
                key = found[1]
                entries[key] = found[2]
            elif key:
                entries[key] += " " + line.strip()
    text = tuple("\n".join(lines) for lines in paragraphs if lines)
    single = {name.lstrip("*"): said for names, said in entries.items() for name in names.split(", ")}
    return Docstring(text, single)


def described(name: str, classes: Iterable[Any]) -> str:
    """What the first of some classes, such as a class and its bases, says of an option; "" where none does.

    "As in [`Base`]" at the beginning stands for what the next one says.
    """
    written = [entries[name] for cls in classes if name in (entries := docstring(cls).entries)]
    return plain(_with_bases(written))


def _with_bases(written: Sequence[str]) -> str:
    if not written:
        return ""
    if len(written) > 1 and (found := _AS_BASE.match(written[0])):
        more = written[0][found.end() :]
        return f"{_with_bases(written[1:])} {more[:1].upper()}{more[1:]}".strip()
    return written[0][:1].upper() + written[0][1:]


def first_sentence(text: str) -> str:
    """The first sentence of a text in one line."""
    found = _END.search(text)
    return text[: found.end()].rstrip() if found else text


def plain(text: str) -> str:
    """A text without the marks of links and of formulas within a line."""
    text = re.sub(r"\[(`[^`]+`)\](?:\([^)]*\))?", r"\1", text)
    return re.sub(r"\\\((.+?)\\\)", lambda found: found[1].strip(), text, flags=re.DOTALL)
