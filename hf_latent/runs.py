"""The folder of a run: what its files are called, and how they are read."""

import json
from pathlib import Path
from typing import Any

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
