"""Arrows run one way, and what knows no data set names none."""

import ast
import re
from pathlib import Path

import pytest

import hf_latent
from hf_latent.data.loading import SOURCES

PACKAGE = Path(hf_latent.__file__).parent
ROOT = PACKAGE.parent
# What each folder may import of this package, beside itself and the small modules at the top.
ALLOWED = {
    "models": set(),
    "losses": set(),
    "plots": {"metrics"},
    "metrics": {"losses"},
    "regularizers": {"models", "losses"},
    "objectives": {"models", "losses", "regularizers"},
    "views": {"models"},
    "kinds": {"models", "plots"},
    "data": {"kinds", "models", "views"},
    "tasks": {"models"},
    "evaluation": {"data", "metrics", "models", "plots"},
    "training": {"data", "evaluation", "losses", "models", "views"},
}
TOP = {"discovery", "errors", "files", "memory", "options", "citations", "runs", "resources"}
NO_DATA_SETS = ("hub", "plots", "evaluation", "results.py", "study.py")
PUSHES_ONE = {"hub/dataset.py"}


def imported(path):
    """The folders and modules of this package that a file imports."""
    depth = len(path.relative_to(PACKAGE).parts)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level == depth:
            yield from [node.module.split(".")[0]] if node.module else [alias.name for alias in node.names]


@pytest.mark.parametrize("folder", ALLOWED)
def test_a_folder_imports_what_lies_below_it(folder):
    for path in sorted((PACKAGE / folder).rglob("*.py")):
        found = set(imported(path)) - TOP - {folder}
        assert found <= ALLOWED[folder], f"{path.name} imports {sorted(found - ALLOWED[folder])}"


def files(name):
    path = PACKAGE / name
    return [path] if path.is_file() else sorted(path.rglob("*.py"))


def test_cards_figures_and_measurements_name_no_data_set():
    names = {word for name in SOURCES for word in name.split("_")} - {"dataset", "mixture", "captions", "questions"}
    names -= {"entailment", "statements", "text", "assignment", "scenes"}
    names -= {"features", "mm", "rooms", "sprites", "touch", "ur", "vision"}  # words of many sentences
    published = {"dsprites", "funny", "imdb", "mimic", "mosi", "mpi3d", "mustard", "shapes3d"}
    assert names == published | {"trifeature"}
    paths = [path for name in NO_DATA_SETS for path in files(name)]
    paths = [path for path in paths if path.relative_to(PACKAGE).as_posix() not in PUSHES_ONE]
    paths += [path for path in (ROOT / "model_cards").iterdir() if not path.name.startswith("dataset_")]
    paths += [path for path in (ROOT / "spaces").rglob("*") if path.suffix in (".py", ".js", ".css")]
    for path in paths:
        found = re.findall("|".join(names), path.read_text(encoding="utf-8"), flags=re.IGNORECASE)
        assert not found, f"{path} names {found[0]}"
