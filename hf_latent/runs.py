"""The folder of a run: what its files are called, and how they are read."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import constants

from .errors import UserError

OUTPUTS = "outputs"  # where runs go by default
RECIPE, METRICS, STATE, CONFIG = "recipe.yaml", "metrics.json", "trainer_state.json", "config.json"
START = "start.json"  # what was measured before training
MAX_DEPTH = 100  # of nested JSON; what a run holds is ten deep
REPLACE = "put the file itself there, or remove it"


def run_file(run: Path, name: str) -> Path:
    """The file `name` of a run; a UserError says that the folder is not one of a finished run."""
    if not (run / name).is_file():
        raise UserError(f"{run} holds no {name}: name the folder of a finished run")
    return run / name


def read_json(path: Path, remedy: str) -> dict[str, Any]:
    """The object in a JSON file; a UserError with the remedy if it holds something else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not JSON ({error}): {remedy}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no JSON object: {remedy}")
    if _deeper(content, MAX_DEPTH):
        raise UserError(f"{path} is nested more than {MAX_DEPTH} deep: {remedy}")
    return content


def _deeper(value: Any, depth: int) -> bool:
    """Whether values are nested deeper than that."""
    level = [value]
    while level and depth >= 0:
        nested = [item for item in level if isinstance(item, Mapping | list)]
        level = [part for item in nested for part in (item.values() if isinstance(item, Mapping) else item)]
        depth -= 1
    return bool(level)


def read_metrics(run: Path) -> dict[str, Any]:
    """The measurements of a run; not those that a link leads to."""
    refuse_links(run, (METRICS,))
    return read_json(run_file(run, METRICS), f"write it anew with hf-latent evaluate {run}")


def leads_out(run: Path, path: Path) -> bool:
    """Whether a file of a run is a link to one that is not of the run, or lies in a folder that is.

    The files of a model that was fetched from the Hub are links to the blobs of its cache; these are of the run.
    """
    real, home = _real(path), _real(run)
    if real.is_relative_to(home):
        return False
    # <cache>/models--user--name/{blobs/<hash>, snapshots/<revision>/<file>}
    own = home.parent.parent / "blobs" if home.parent.name == "snapshots" else None
    cached = real.is_relative_to(Path(constants.HF_HUB_CACHE).resolve()) and real.parent.name == "blobs"
    return not cached and real.parent != own


def _real(path: Path) -> Path:
    """Where a path leads; of links that lead to each other, one of them."""
    return Path(os.path.realpath(path))


def refuse_links(run: Path, patterns: Sequence[str], remedy: str = REPLACE) -> None:
    """A UserError where a file of a run, one of those that the patterns name, leads out of it; see [`leads_out`]."""
    for path in sorted({path for pattern in patterns for path in run.glob(pattern)}):
        if leads_out(run, path):
            raise UserError(f"{path} is a link to {_real(path)}, which is not of the run: {remedy}")
