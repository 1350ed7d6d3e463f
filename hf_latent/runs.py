"""The folder of a run: what its files are called, and how they are read."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import constants

from .errors import UserError

OUTPUTS = "outputs"  # where runs go by default
RECIPE, METRICS, STATE, CONFIG = "recipe.yaml", "metrics.json", "trainer_state.json", "config.json"


def run_file(run: Path, name: str) -> Path:
    """The file `name` of a run; a UserError says that the folder is not one of a finished run."""
    if not (run / name).is_file():
        raise UserError(f"{run} holds no {name}: name the folder of a finished run")
    return run / name


def read_json(path: Path, remedy: str) -> dict[str, Any]:
    """The object in a JSON file; a UserError with the remedy if it holds something else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is not JSON ({error}): {remedy}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no JSON object: {remedy}")
    return content


def read_metrics(run: Path) -> dict[str, Any]:
    """The measurements of a run."""
    return read_json(run_file(run, METRICS), f"write it anew with hf-latent evaluate {run}")


def leads_out(run: Path, path: Path) -> bool:
    """Whether a file of a run is a link to one that is not of the run, or lies in a folder that is.

    The files of a model that was fetched from the Hub are links to the blobs of its cache; these are of the run.
    """
    real, home = path.resolve(), run.resolve()
    if real.is_relative_to(home):
        return False
    # <cache>/models--user--name/{blobs/<hash>, snapshots/<revision>/<file>}
    own = home.parent.parent / "blobs" if home.parent.name == "snapshots" else None
    cached = real.is_relative_to(Path(constants.HF_HUB_CACHE).resolve()) and real.parent.name == "blobs"
    return not cached and real.parent != own


def refuse_links(run: Path, patterns: Sequence[str], remedy: str) -> None:
    """A UserError where a file of a run, one of those that the patterns name, leads out of it; see [`leads_out`]."""
    for path in sorted({path for pattern in patterns for path in run.glob(pattern)}):
        if leads_out(run, path):
            raise UserError(f"{path} is a link to {path.resolve()}, which is not of the run: {remedy}")
