"""Finds the files that ship with hf_latent but are not Python: recipes, card templates, the Space.

In a source checkout they lie at its top level, where readers look for them (`training_args/`, `model_cards/`,
`spaces/`); a wheel carries the same folders inside the package, under `hf_latent/_share/`. Callers name what they want
and need not know which of the two they run from.
"""

from difflib import SequenceMatcher
from pathlib import Path
from typing import Literal, get_args

Kind = Literal["training_args", "training_args/benchmarks", "model_cards", "spaces"]

KINDS = get_args(Kind)

_PACKAGE = Path(__file__).resolve().parent


def resource_path(kind: Kind, name: str) -> Path:
    """The path of the shipped file (or, for a Space, folder) `name` of the given kind.

    Args:
        kind: the folder it lies in: `"training_args"`, `"training_args/benchmarks"`, `"model_cards"` or `"spaces"`.
        name: its name inside that folder, suffix included, as in `"comm_trifeature_quick.yaml"`.

    Raises:
        FileNotFoundError: nothing has that name; the message lists what there is, the nearest name first.
        ValueError: `kind` is none of these.
    """
    if name.strip():
        for folder in _folders(kind):
            path = (folder / name).resolve()
            # `..` and absolute paths would leave the folder: such a name is not that of a shipped file
            if path != folder and path.is_relative_to(folder) and path.exists():
                return path
    available = available_resources(kind)
    if not available:
        raise FileNotFoundError(f"{kind} holds no {name!r}: this installation of hf_latent ships nothing in {kind}.")
    nearest_first = sorted(available, key=lambda known: -SequenceMatcher(None, name, known).ratio())
    raise FileNotFoundError(f"{kind} holds no {name!r}; it holds (nearest name first): {', '.join(nearest_first)}.")


def available_resources(kind: Kind) -> list[str]:
    """The names that `resource_path` knows for this kind, sorted, but for folders that are kinds of their own."""
    entries = [entry for folder in _folders(kind) for entry in folder.iterdir() if f"{kind}/{entry.name}" not in KINDS]
    return sorted({entry.name for entry in entries if not entry.name.startswith((".", "__"))})


def _folders(kind: Kind) -> list[Path]:
    """The existing folders of this kind: that of the installed package first, then that of the source checkout."""
    if kind not in KINDS:
        raise ValueError(f"unknown kind of resource {kind!r}; the kinds are: {', '.join(KINDS)}.")
    roots = [_PACKAGE / "_share"]
    # Beside an installed package lie other people's packages, one of which may well have a folder of that name.
    if (_PACKAGE.parent / "pyproject.toml").is_file():
        roots.append(_PACKAGE.parent)
    return [(root / kind).resolve() for root in roots if (root / kind).is_dir()]
