"""What is handed to a [`LatentTrainer`], looked at before anything is made of it."""

from collections.abc import Mapping, Sized
from typing import Any

import torch
from torch import nn

from ..errors import UserError
from ..models.embeddings import LatentPreTrainedModel
from .arguments import LatentTrainingArguments
from .lora import without_adapters

OWN_MODELS = "LatentCLIPModel, CoMMModel, LatentALBEFForPreTraining, or a model with a head"


def check_arguments(args: Any) -> None:
    """Raises:
    UserError: Unless they are arguments of this library.
    """
    if not isinstance(args, LatentTrainingArguments):
        raise UserError(
            f"args is {_named(args)}, which knows no global batch: write LatentTrainingArguments(...), which takes "
            "all that TrainingArguments does"
        )


def check_model(model: Any) -> None:
    """Raises:
    UserError: Unless it is a model of this library, or adapters on one.
    """
    base = without_adapters(model)
    if isinstance(base, LatentPreTrainedModel):
        return
    if any(kind.__name__ == LatentPreTrainedModel.__name__ for kind in type(base).__mro__):
        raise UserError(
            f"{type(base).__name__} was loaded as code of its folder: import hf_latent before from_pretrained, and "
            "leave trust_remote_code out"
        )
    if isinstance(model, str):
        raise UserError(f"model={model!r}: give the model itself, as AutoModel.from_pretrained({model!r}) loads it")
    tower = (
        ": as one of the towers, LatentCLIPModel.from_vision_text_pretrained(vision, text) takes its checkpoint"
        if isinstance(model, nn.Module)
        else ""
    )
    raise UserError(f"model is {_named(model)}, which has no objective; give {OWN_MODELS}{tower}")


def check_missing(
    model: LatentPreTrainedModel, key: str = "data.on_missing: use", remedy: str = "on_missing: drop"
) -> None:
    """
    Args:
        key: By what rows lack modalities.
        remedy: What lets no row lack any.

    Raises:
    UserError: If the model, its objective or a regularizer needs every modality of every row.
    """
    if not model.supports_missing:
        raise UserError(f"{key}: {type(model).__name__} needs every modality of every row: write {remedy}")
    objective = model.objective
    for name, own in getattr(objective, "regularizers", {}).items():
        if not own.regularizer.supports_missing:
            raise UserError(
                f"{key}: the regularizer {name} needs every modality of every row: leave it out, or write {remedy}"
            )
    if not objective.supports_missing:
        raise UserError(
            f"{key}: the objective {model.config.objective!r} needs every modality of every row: write {remedy}"
        )


def check_rows(name: str, rows: Any) -> None:
    """Raises:
    UserError: If these are the splits of a data set, its name, or no rows at all.
    """
    if isinstance(rows, Mapping):
        splits = ", ".join(map(repr, rows)) or "none"
        first = next(iter(rows), "train")
        raise UserError(f"{name} is a {type(rows).__name__} of the splits {splits}: choose one, such as [{first!r}]")
    if isinstance(rows, str):
        raise UserError(f"{name}={rows!r}: give the rows themselves, as datasets.load_dataset(..., split=...) does")
    if isinstance(rows, Sized) and len(rows) == 0:
        raise UserError(f"{name} has no rows: look at the split, and at what filters it")


def check_optimizers(given: Any, model: nn.Module | None) -> None:
    """Raises:
    UserError: Unless they are an optimizer of this model and its scheduler, either of them None.
    """
    if not isinstance(given, tuple | list) or len(given) != 2:
        raise UserError(f"optimizers is {_named(given)}: give two, (optimizer, scheduler), None for the usual one")
    optimizer, scheduler = given
    if not isinstance(optimizer, torch.optim.Optimizer | None):
        raise UserError(f"optimizers begins with {_named(optimizer)}: give (optimizer, scheduler), in that order")
    if optimizer is None:
        if scheduler is not None:
            raise UserError("optimizers holds a scheduler without its optimizer: give both, or lr_scheduler_type")
        return
    own = {id(parameter) for parameter in model.parameters()} if model is not None else set()
    if any(id(parameter) not in own for group in optimizer.param_groups for parameter in group["params"]):
        raise UserError(
            "optimizers: the optimizer holds parameters that are not of this model: make it of model.parameters()"
        )
    if scheduler is not None and getattr(scheduler, "optimizer", optimizer) is not optimizer:
        raise UserError("optimizers: the scheduler is of another optimizer: make it of the one beside it")


def check_ids(inputs: Any) -> None:
    """Raises:
    UserError: If the ids of a batch are no whole numbers, one a row.
    """
    ids = inputs.get("ids") if isinstance(inputs, Mapping) else None
    if ids is None:
        return
    if not isinstance(ids, torch.Tensor) or ids.ndim != 1 or ids.is_floating_point() or ids.is_complex():
        found = f"a tensor {tuple(ids.shape)} {ids.dtype}" if isinstance(ids, torch.Tensor) else repr(ids)[:80]
        raise UserError(
            f"the data_collator gives ids that are {found}: they are whole numbers, (batch,), equal for rows that are "
            "positives of each other"
        )


def _named(value: Any) -> str:
    return f"a {type(value).__name__}" if value is not None else "None"
