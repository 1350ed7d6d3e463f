"""Calibrate the embeddings of a finished run by its training rows."""

import json
from collections.abc import Sized
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
from torch.utils.data import Subset

from . import experiment
from .data.loaded import LoadedData
from .errors import UserError, blamed_on
from .hub.card_fields import repository_id
from .hub.trainer import LatentTrainer
from .models.calibration import METHODS
from .recipe_file import read_values
from .results import read, renewed
from .runs import METRICS, RECIPE
from .training.checkpoints import staged_files

NONE = "none"
CHOICES = (*METHODS, NONE)
ROWS = 10_000  # that are embedded


def calibrate(
    run: Path, method: str = "mean", trust_recipe: bool = False, progress: bool = True, most: int = ROWS
) -> dict[str, Any]:
    """Calibrate the model of a run by its training rows, and measure the run again.

    Weights, config, metrics, figures and card in the folder are those of the calibrated model then; nothing that was
    trained changes, and `none` takes the calibration out again. See [`LatentCLIPModel.calibrate`].

    Args:
        run: The folder of a finished run of a LatentCLIP.
        method: `mean`, `standardise` or `none`.
        trust_recipe: Read what a recipe that was not written here names, and print it.
        progress: Show progress bars.
        most: Training rows that the statistics are of, evenly spaced.

    Returns:
        The content of `metrics.json`.

    Raises:
        UserError: If the run is of another model, its training rows are a stream, or as of `experiment.evaluate`;
            the folder is as before then.
    """
    if method not in CHOICES:
        raise UserError(f"--method {method}: write one of {', '.join(CHOICES)}")
    return experiment.evaluate(run, trust_recipe, progress, partial(_change, run, method, most))


def _change(
    run: Path, method: str, most: int, trainer: LatentTrainer, data: LoadedData, metrics: dict[str, Any]
) -> dict[str, Any]:
    """Calibrate the model of a trainer, and keep it in the folder without the measurements of the model before."""
    model: Any = trainer.accelerator.unwrap_model(trainer.model)
    if not hasattr(model, "calibrate"):
        raise UserError(f"{run} holds a {type(model).__name__}: only the embeddings of a LatentCLIP are calibrated")
    if method != NONE and not isinstance(data.train, Sized):
        raise UserError(
            f"{run} was trained on a stream, which has no rows to take evenly spaced: it is not calibrated"
        )
    if not model.drop_calibration() and method == NONE:
        raise UserError(f"{run} is not calibrated: there is nothing to take out")
    if method != NONE:
        _fit(model, method, most, trainer, data, _name_of_data(run))
    measured = read(metrics).values()
    if others := sorted({one.data for one in measured} - {""}):
        print(f"What was measured on {', '.join(others)} is of the model before and is left out: measure it again")
    metrics = renewed(metrics, [], {one.data for one in measured} | {""})
    with staged_files(run) as staging:
        trainer.save_model(str(staging), _internal_call=True)
        (staging / "training_args.bin").unlink(missing_ok=True)
        (staging / METRICS).write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8", newline="\n")
    return metrics


def _fit(model: Any, method: str, most: int, trainer: LatentTrainer, data: LoadedData, name: str) -> None:
    count = len(cast(Sized, data.train))
    chosen = np.linspace(0, count - 1, min(most, count)).astype(int).tolist()
    found = trainer.embed(Subset(cast(Any, data.train), chosen))
    present = found.present or {}
    rows = {m: own[present[m]] if m in present else own for m, own in (found.embeds or {}).items()}
    with blamed_on("the training rows"):
        model.calibrate(rows, method, name)
    print(f"Calibrated by {method}, of {len(chosen):,} training rows")


def _name_of_data(run: Path) -> str:
    """What a config may tell of the data: its id on the Hub, or the name of its source."""
    section = read_values(run / RECIPE)["data"]
    return repository_id(section.get("path")) or str(section["name"])
