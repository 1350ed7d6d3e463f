"""What recipes can name: families of names, each with what it is for and its options, as data and as text."""

import dataclasses
import inspect
import re
import shutil
import sys
import textwrap
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from .data.loading import SOURCES
from .docstrings import described, docstring, first_sentence, plain
from .errors import UserError, printable, suggest
from .evaluation import BENCHMARKS
from .models.encoders import ENCODERS
from .models.plugins import failures, load_plugins, origin
from .models.registry import Registry
from .objectives import OBJECTIVES
from .objectives.regularized import Weighted
from .pretrained import HeadOptions, model_options
from .recipe import models
from .recipe_file import read_values
from .regularizers import REGULARIZERS
from .resources import Kind, available_resources, resource_path
from .tasks import TASKS, task_of
from .views import VIEWS

WIDEST, NARROWEST = 119, 40  # of the text, in characters


@dataclass(frozen=True)
class Option:
    """An option of a name, as a recipe writes it.

    Attributes:
        name: The key.
        type: What its value is.
        text: What it means.
        required: Whether it must be written.
        default: Its value where it is not written, if that is known beforehand.
    """

    name: str
    type: str
    text: str
    required: bool = False
    default: Any = None

    @property
    def head(self) -> str:
        """Its name, type and default in a line."""
        if self.required:
            return f"{self.name}: {self.type}, required"
        known = self.default is not None or "None" in self.type
        return f"{self.name}: {self.type}" + (f" = {_yaml(self.default)}" if known else "")


@dataclass(frozen=True)
class Entry:
    """A name that recipes can write.

    Attributes:
        name: As it is written.
        line: What it is for, in a sentence.
        text: All that is said of it, in paragraphs.
        options: What can be written beside it.
        facts: What else is known, by a word for it; a recipe says whether it is of a `run` or a `study`.
        plugin: The package that it is from and its version, "" of what this library brings.
    """

    name: str
    line: str
    text: tuple[str, ...] = ()
    options: tuple[Option, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    plugin: str = ""


def list_of(family: str, name: str | None = None) -> list[Entry]:
    """The names of a family, sorted; those of plug-ins are among them.

    Args:
        family: One of `FAMILIES`.
        name: List this name alone. Objectives of several models may share one.

    Raises:
        UserError: If there is no such family or name; it says which is nearest.
    """
    if family not in FAMILIES:
        raise UserError(f"there is no family {family!r} of names: {suggest(family, FAMILIES)}")
    load_plugins()
    found = sorted(FAMILIES[family].find(), key=lambda entry: (entry.facts.get("model", ""), entry.name))
    if name is None:
        return found
    chosen = [entry for entry in found if entry.name == name]
    if not chosen:
        raise UserError(f"{family} has no {name!r}: {suggest(name, {entry.name for entry in found})}{failures()}")
    return chosen


def as_data(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """Entries as JSON holds them."""
    return [dataclasses.asdict(entry) for entry in entries]


def overview(width: int | None = None) -> str:
    """All families, with the names of each and what they are for."""
    width = width or _width()
    return "\n\n".join("\n".join([_heading(family, width), *_lines(family, width)]) for family in FAMILIES)


def details(family: str, name: str | None = None, width: int | None = None) -> str:
    """The names of a family with their options; of a single one, all that is said of it."""
    width = width or _width()
    entries = list_of(family, name)
    parts = [_heading(family, width)]
    for entry in entries:
        lines = _filled(_title(entry, family), width, 0, 2)
        for paragraph in entry.text if name else [entry.line]:
            lines += [*_paragraph(paragraph, width), *([""] if name else [])]
        if name:
            lines += [line for key, fact in entry.facts.items() for line in _filled(f"{key}: {fact}", width, 2, 4)]
            lines.append("")
        for option in entry.options:
            lines += [*_filled(option.head, width, 4, 8), *_filled(option.text, width, 8)]
        parts.append("\n".join(lines).rstrip())
    return "\n\n".join(parts)


def _heading(family: str, width: int) -> str:
    return "\n".join(_filled(f"{family}: {FAMILIES[family].where}", width, 0, 2))


def _title(entry: Entry, family: str) -> str:
    marks = [FAMILIES[family].mark.format(**entry.facts)] if FAMILIES[family].mark else []
    marks += [f"plug-in: {entry.plugin}"] if entry.plugin else []
    return printable(entry.name + "".join(f" ({mark})" for mark in marks if mark))


def _lines(family: str, width: int) -> list[str]:
    """A sentence an entry, its name in front."""
    entries = list_of(family)
    titles = [f"  {_title(entry, family)}  " for entry in entries]
    column = min(max(map(len, titles), default=0), width // 3)
    lines = []
    for title, entry in zip(titles, entries, strict=True):
        if len(title) > column:
            lines += _filled(title, width, 2, 4)
            title = ""
        lines += _filled(entry.line, width, title.ljust(column), column)
    return lines


def _paragraph(text: str, width: int) -> list[str]:
    """A paragraph; a displayed formula keeps its lines, and an item of a list begins one."""
    if text.startswith("\\["):
        return [f"  {line}" for line in text.splitlines()]
    items = re.split(r"\n(?=- )", text)
    return [line for item in items for line in _filled(item, width, 2, 4 if item.startswith("- ") else 2)]


def _filled(text: str, width: int, first: int | str = 0, others: int | None = None) -> list[str]:
    """A text in lines. `first` and `others` are how far they are indented; `first` may be what stands in front."""
    begin = first if isinstance(first, str) else " " * first
    return textwrap.wrap(
        " ".join(printable(text).split()),
        width,
        initial_indent=begin,
        subsequent_indent=" " * (len(begin) if others is None else others),
        break_long_words=False,
        break_on_hyphens=False,
    )


def _width() -> int:
    return max(NARROWEST, min(shutil.get_terminal_size().columns, WIDEST))


# The families


def _recipes() -> Iterable[Entry]:
    for path, text in _files("training_args"):
        kind = "study" if "structures" in read_values(path) else "run"
        yield Entry(path.stem, first_sentence(text), (text,), facts={"kind": kind, "file": str(path)})


def _benchmark_files() -> Iterable[Entry]:
    for path, text in _files("training_args/benchmarks"):
        yield Entry(path.stem, first_sentence(text), (text,), facts={"file": str(path)})


def _files(kind: Kind) -> Iterable[tuple[Path, str]]:
    """The YAML files of a kind of resource, with the comment that each begins with."""
    for file in available_resources(kind):
        path = resource_path(kind, file)
        if path.suffix == ".yaml":
            yield path, " ".join(_first_comment(path).split())


def _first_comment(path: Path) -> str:
    lines = path.read_text(encoding="utf-8").splitlines()
    return "\n".join(line[1:] for line in lines[: next((n for n, s in enumerate(lines) if s[:1] != "#"), len(lines))])


def _models() -> Iterable[Entry]:
    for name, (config, model) in models().items():
        task = task_of(model)
        said = docstring(model)
        line = plain(said.sentence) if task is None else f"{task.does[:1].upper()}{task.does[1:]}."
        places = (*config.__mro__, HeadOptions, *model.__mro__)
        options = [
            Option(key, _type(kind), described(key, places), default=_default(config, key))
            for key, kind in model_options(config, model).items()
        ]
        yield _entry(name, model, options, line=line)


def _default(config: type, key: str) -> Any:
    """The value that a config has of its class, if it is one."""
    value = getattr(config, key, None)
    return None if isinstance(value, property) else _json(value)


def _objectives() -> Iterable[Entry]:
    for model, registry in OBJECTIVES.items():
        for name, cls in registry.items():
            yield _safely(name, cls, lambda cls: _fields(cls.Options), {"model": model})


def _tasks() -> Iterable[Entry]:
    for name, task in TASKS.items():
        facts = {"model.type": task.type_name, "labels": task.labels, "transformers": task.auto_class}
        line = f"{task.does[:1].upper()}{task.does[1:]}."
        yield _entry(name, task.model, (), facts, line)


def _encoders() -> Iterable[Entry]:
    for name, cls in ENCODERS.items():
        yield _safely(name, cls, _arguments, {"reads": getattr(cls, "kind", "image or text")})


def _regularizers() -> Iterable[Entry]:
    shared = [option for option in _fields(Weighted) if not option.required]
    for name, cls in REGULARIZERS.items():
        yield _safely(name, cls, lambda cls: [*_fields(cls), *shared])


def _views() -> Iterable[Entry]:
    for name, cls in VIEWS.items():
        yield _safely(name, cls, _fields, {"of": ", ".join(getattr(cls, "kinds", ()))})


def _of_dataclasses(registry: Registry[Any]) -> Callable[[], Iterable[Entry]]:
    return lambda: (_safely(name, cls, _fields) for name, cls in registry.items())


@dataclass(frozen=True)
class Family:
    """A family of names.

    Attributes:
        where: Where a recipe or a command writes them.
        find: Finds them.
        mark: What stands behind a name, of its facts.
    """

    where: str
    find: Callable[[], Iterable[Entry]]
    mark: str = ""


FAMILIES: dict[str, Family] = {
    "recipes": Family("what hf-latent train runs, and hf-latent study the studies", _recipes, "{kind}"),
    "benchmark_files": Family("what hf-latent evaluate --on measures, and evaluation.also names", _benchmark_files),
    "models": Family("model.type in a recipe; options are keys of the section model", _models),
    "encoders": Family("model.modalities.<name>.encoder in a recipe", _encoders, "{reads}"),
    "views": Family("views.<modality>.kind in a recipe, how its inputs are augmented", _views, "{of}"),
    "regularizers": Family("keys of model.regularizers in a recipe, each with its options", _regularizers),
    "objectives": Family("model.objective in a recipe, what a model is trained on", _objectives, "of {model}"),
    "data": Family("data.name in a recipe", _of_dataclasses(SOURCES)),
    "benchmarks": Family("keys of evaluation.benchmarks in a recipe, what is measured", _of_dataclasses(BENCHMARKS)),
    "tasks": Family("what models with a head are trained for on labels; a recipe names the model", _tasks),
}


# Entries and options


def _entry(
    name: str, cls: Any, options: Iterable[Option], facts: Mapping[str, str] | None = None, line: str = ""
) -> Entry:
    said = docstring(cls)
    package = origin(cls)
    place = f"{getattr(cls, '__module__', '')}.{getattr(cls, '__qualname__', type(cls).__name__)}"
    return Entry(
        name,
        line or plain(said.sentence) or "No description.",
        tuple(map(plain, said.text)) or (line or "No description.",),
        tuple(options),
        {**(facts or {}), "class": place},
        " ".join(package).strip() if package else "",
    )


def _safely(
    name: str, cls: Any, options: Callable[[Any], Iterable[Option]], facts: Mapping[str, str] | None = None
) -> Entry:
    """An entry; one of a plug-in whose options cannot be found is listed without them, and named."""
    try:
        return _entry(name, cls, options(cls), facts)
    except Exception as error:
        if origin(cls) is None:
            raise
        print(f"The options of {name!r} of {cls.__module__} cannot be read: {printable(error)}", file=sys.stderr)
        return _entry(name, cls, (), facts)


def _fields(cls: Any) -> list[Option]:
    """The fields of a dataclass."""
    hints = typing.get_type_hints(cls)
    found = []
    for spec in dataclasses.fields(cls):
        if not spec.init:
            continue
        made = spec.default_factory is not dataclasses.MISSING
        default = cast(Any, spec.default_factory)() if made else spec.default
        required = default is dataclasses.MISSING
        text = described(spec.name, cls.__mro__)
        found.append(Option(spec.name, _type(hints[spec.name]), text, required, None if required else _json(default)))
    return found


def _arguments(cls: Any) -> list[Option]:
    """The arguments of a constructor."""
    found = []
    for parameter in inspect.signature(cls).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        required = parameter.default is parameter.empty
        kind = "Any" if parameter.annotation is parameter.empty else _type(parameter.annotation)
        text = described(parameter.name, getattr(cls, "__mro__", (cls,)))
        found.append(Option(parameter.name, kind, text, required, None if required else _json(parameter.default)))
    return found


def _type(hint: Any) -> str:
    """A type as a recipe's author reads it: without modules, a sequence is a list and a mapping a dict."""
    said = hint if isinstance(hint, str) else str(hint) if typing.get_args(hint) else getattr(hint, "__name__", hint)
    said = re.sub(r"\b(?:\w+\.)+(\w+)", r"\1", str(said))
    return re.sub(r"\bSequence\b", "list", re.sub(r"\bMapping\b", "dict", said))


def _json(value: Any) -> Any:
    """A default as JSON and YAML hold it."""
    if isinstance(value, tuple | list | set | frozenset):
        return [_json(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _json(item) for key, item in value.items()}
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _yaml(value: Any) -> str:
    """A value as a recipe writes it."""
    if isinstance(value, list):
        return f"[{', '.join(map(_yaml, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {_yaml(item)}' for key, item in value.items())}}}"
    if isinstance(value, bool | None):
        return {True: "true", False: "false", None: "null"}[value]
    return min(repr(value), f"{value:.4g}", key=len) if isinstance(value, float) and value % 1 else str(value)
