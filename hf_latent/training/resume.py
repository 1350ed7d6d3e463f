"""Whether training can go on from a checkpoint: all of it is there, whole, and of this model and optimizer.

The Trainer of transformers loads what fits and goes on without the rest, with a warning at most.
"""

import json
import math
import random
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler
from transformers import TrainerState
from transformers.trainer import OPTIMIZER_NAME, SCALER_NAME, SCHEDULER_NAME, TRAINER_STATE_NAME
from transformers.trainer_pt_utils import safe_globals

from ..errors import UserError
from .arguments import LatentTrainingArguments
from .checkpoints import CHECKPOINT, checkpoints, step_of

WEIGHTS, ADAPTERS, OLD_WEIGHTS = "model.safetensors", "adapter_model.safetensors", "pytorch_model.bin"
INDEX = f"{WEIGHTS}.index.json"
RNG = re.compile(r"rng_state(?:_([0-9]+))?\.pth")
# How an optimizer computes, not what; versions of torch differ in these options.
IMPLEMENTATION = {
    "capturable",
    "decoupled_weight_decay",
    "differentiable",
    "foreach",
    "fused",
    "maximize",
}
# Optimizers whose state has the shape of the parameter, or of its rows or columns.
KNOWN_OPTIMIZERS = ("torch.optim", "transformers.optimization")


def refused(checkpoint: Path, reason: str) -> UserError:
    """What is wrong with a checkpoint, and how to go on from the one before."""
    return UserError(f"{checkpoint} cannot be resumed from: {reason}; {_remedy(checkpoint)}")


def _remedy(checkpoint: Path) -> str:
    if not CHECKPOINT.fullmatch(checkpoint.name):
        return "name another checkpoint"
    before = [
        path.name
        for path in checkpoints(checkpoint.parent)
        if step_of(path) < step_of(checkpoint) and (path / TRAINER_STATE_NAME).is_file()
    ]
    if before:
        return f"remove {checkpoint}, and --resume goes on from {before[-1]}"
    return f"no earlier checkpoint is there: remove {checkpoint}, and --resume begins the run anew"


def read_state(checkpoint: Path, args: LatentTrainingArguments, max_steps: int) -> TrainerState:
    """The state of the Trainer in a checkpoint.

    Raises:
        UserError: If it is not whole, or of another step, number of rows, or place than the checkpoint is.
    """
    try:
        return _read_state(checkpoint, args, max_steps)
    except ValueError as error:
        raise refused(checkpoint, str(error)) from None


def check_checkpoint(
    checkpoint: Path,
    state: TrainerState,
    args: LatentTrainingArguments,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    scheduler: Any,
    scaler: Any,
) -> None:
    """Read all of a checkpoint, whose state is known, and change nothing.

    Raises:
        UserError: If a file is missing, broken, or of another model or optimizer.
    """
    try:
        _check_rng(checkpoint, state, args)
        _check_scaler(checkpoint, scaler)
        skipped = scaler is not None  # the scaler of float16 leaves out steps that overflow
        _check_scheduler(_load(checkpoint, SCHEDULER_NAME), scheduler, state.global_step, skipped)
        _check_optimizer(_load(checkpoint, OPTIMIZER_NAME), optimizer, state.global_step, skipped)
        check_weights(checkpoint, model)
    except ValueError as error:
        raise refused(checkpoint, str(error)) from None


def _read_state(checkpoint: Path, args: LatentTrainingArguments, max_steps: int) -> TrainerState:
    if not checkpoint.is_dir():
        raise ValueError("it is not a folder")
    if not (checkpoint / TRAINER_STATE_NAME).is_file():
        raise ValueError(f"{TRAINER_STATE_NAME} is missing")
    try:
        values = json.loads((checkpoint / TRAINER_STATE_NAME).read_text(encoding="utf-8"))
        state = TrainerState(**values)
    except (OSError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{TRAINER_STATE_NAME} cannot be read ({_line(error)})") from None
    for key in ("global_step", "max_steps", "train_batch_size", "num_train_epochs"):
        _must(key, getattr(state, key), "a whole number above 0", lambda value: _is_whole(value) and value > 0)
    for key in ("epoch", "total_flos", "num_input_tokens_seen"):
        _must(key, getattr(state, key), "a number, 0 or more", lambda value: _is_finite(value) and value >= 0)
    best = state.best_global_step
    _must("best_global_step", best, "a whole number", lambda value: value is None or _is_whole(value) and value >= 0)
    _must("best_metric", state.best_metric, "a number", lambda value: value is None or _is_number(value))
    path = state.best_model_checkpoint
    _must("best_model_checkpoint", path, "a folder", lambda value: isinstance(value, str | None))
    _must("stateful_callbacks", state.stateful_callbacks, "an object", lambda value: isinstance(value, dict))
    _must("log_history", state.log_history, "a list of logs", lambda value: all(map(_is_log, value)))
    step = state.global_step
    if CHECKPOINT.fullmatch(checkpoint.name) and checkpoint.name != f"checkpoint-{step}":
        raise ValueError(f"its state is of step {step}, whose folder is called checkpoint-{step}")
    if step > max_steps:
        raise ValueError(f"it is of step {step}, beyond the last one of this training, {max_steps}: train for longer")
    if any(entry["step"] > step for entry in state.log_history) or best and best > step:
        raise ValueError(f"{TRAINER_STATE_NAME} tells of steps after its own, {step}")
    if args.load_best_model_at_end and best and not (checkpoint.parent / f"checkpoint-{best}").is_dir():
        raise ValueError(f"checkpoint-{best}, the best one so far, is missing beside it")
    return state


def _must(key: str, value: Any, wanted: str, holds: Callable[[Any], bool]) -> None:
    if not holds(value):
        raise ValueError(f"{TRAINER_STATE_NAME} has {key}={str(value)[:50]!r}, not {wanted}")


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return (_is_whole(value) or isinstance(value, float)) and not math.isnan(value)


def _is_finite(value: Any) -> bool:
    return _is_number(value) and math.isfinite(value)


def _is_log(entry: Any) -> bool:
    return (
        isinstance(entry, dict) and _is_whole(entry.get("step")) and ("loss" not in entry or _is_finite(entry["loss"]))
    )


def _load(checkpoint: Path, name: str) -> Any:
    """What `torch.save` wrote; code in it is refused."""
    if not (checkpoint / name).is_file():
        raise ValueError(f"{name} is missing")
    try:
        with safe_globals():
            return torch.load(checkpoint / name, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a broken archive makes of itself
        raise ValueError(f"{name} cannot be read ({_line(error)})") from None


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def _check_rng(checkpoint: Path, state: TrainerState, args: LatentTrainingArguments) -> None:
    """The random states of all processes; those of another number of processes are left, with a warning."""
    ranks = sorted(match[1] or "" for path in checkpoint.iterdir() if (match := RNG.fullmatch(path.name)))
    wrote = len(ranks)
    if ranks != [""] and (wrote < 2 or not all(ranks) or sorted(map(int, filter(None, ranks))) != list(range(wrote))):
        wanted = "rng_state.pth" if args.world_size == 1 else "an rng_state_<rank>.pth for each process"
        raise ValueError(f"{wanted} is missing")
    rows = cast(int, state.train_batch_size) * wrote
    if rows != args.rows_contrasted and not args.save_on_each_node:  # where each node keeps the files of its own
        raise ValueError(
            f"its {wrote} rng_state files are of {wrote} processes with {state.train_batch_size} rows each, which are "
            f"not the {args.rows_contrasted} of the global batch: a file is missing, or global_batch_size was another"
        )
    for rank in ranks:
        name = f"rng_state_{rank}.pth" if rank else "rng_state.pth"
        states = _load(checkpoint, name)
        try:
            random.Random().setstate(states["python"])
            np.random.RandomState().set_state(states["numpy"])
            torch.Generator().set_state(states["cpu"])
        except (KeyError, IndexError, TypeError, ValueError, RuntimeError) as error:
            raise ValueError(f"{name} holds no random state ({_line(error)})") from None
    if wrote != args.world_size:
        warnings.warn(
            f"{checkpoint} was written by {wrote} processes and is resumed by {args.world_size}: rows and views go on "
            "as they would have, dropout draws from the seed of the run again",
            stacklevel=2,
        )


def _check_scaler(checkpoint: Path, scaler: Any) -> None:
    found = (checkpoint / SCALER_NAME).is_file()
    if scaler is None:
        if found:
            raise ValueError(f"it holds {SCALER_NAME}, of training with fp16, which is off now")
        return
    wanted, saved = scaler.state_dict(), _load(checkpoint, SCALER_NAME)
    if not isinstance(saved, dict) or saved.keys() != wanted.keys() or not all(map(_is_number, saved.values())):
        raise ValueError(f"{SCALER_NAME} holds no state of a gradient scaler")


def _check_scheduler(saved: Any, scheduler: Any, step: int, skipped: bool) -> None:
    wanted = scheduler.state_dict()
    if not isinstance(saved, dict) or not _is_whole(saved.get("last_epoch")):
        raise ValueError(f"{SCHEDULER_NAME} holds no state of a scheduler")
    if wanted.keys() - saved.keys():
        key = sorted(wanted.keys() - saved.keys())[0]
        raise ValueError(f"{SCHEDULER_NAME} is of another scheduler than {type(scheduler).__name__}: it has no {key}")
    if saved.get("base_lrs") != wanted.get("base_lrs"):
        told = [str(side.get("base_lrs"))[:50] for side in (saved, wanted)]
        raise ValueError(f"{SCHEDULER_NAME} has base_lrs={told[0]}, this run {told[1]}: a resume cannot change it")
    if isinstance(scheduler, LRScheduler) and not hasattr(scheduler, "patience"):
        _check_step(SCHEDULER_NAME, saved["last_epoch"], step, skipped)


def _check_step(name: str, found: float, step: int, skipped: bool) -> None:
    if found > step or (found < step and not skipped):
        raise ValueError(f"{name} is of step {found:g}, {TRAINER_STATE_NAME} of step {step}")


def _check_optimizer(saved: Any, optimizer: torch.optim.Optimizer, step: int, skipped: bool) -> None:
    groups, states = (saved.get(key) if isinstance(saved, dict) else None for key in ("param_groups", "state"))
    if not isinstance(groups, list) or not isinstance(states, dict) or not all(isinstance(g, dict) for g in groups):
        raise ValueError(f"{OPTIMIZER_NAME} holds no state of an optimizer")
    kind = type(optimizer)
    ours = optimizer.state_dict()["param_groups"]
    if [g.get("params") for g in groups] != [g["params"] for g in ours]:
        sizes = [[len(g.get("params", ())) for g in side] for side in (groups, ours)]
        raise ValueError(f"{OPTIMIZER_NAME} has groups of {sizes[0]} parameters, this model of {sizes[1]}")
    _check_names(groups, ours)
    exact = kind.__module__.startswith(KNOWN_OPTIMIZERS)
    left = IMPLEMENTATION | {"lr", "initial_lr", "params", "param_names"}
    for theirs, own in zip(groups, ours, strict=True):
        strange = sorted((theirs.keys() ^ own.keys()) - IMPLEMENTATION - {"initial_lr", "param_names"})
        if strange:
            raise ValueError(f"{OPTIMIZER_NAME} is of another optimizer than {kind.__name__}, as {strange[0]} shows")
        for key in sorted(own.keys() - left) if exact else ():
            if theirs[key] != own[key]:
                told = f"{OPTIMIZER_NAME} has {key}={theirs[key]}, this run {own[key]}"
                raise ValueError(f"{told}: a resume cannot change it")
        if exact and not _is_rate(theirs["lr"]):
            raise ValueError(f"{OPTIMIZER_NAME} has lr={theirs['lr']}, which is no learning rate")
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    if states.keys() - set(range(len(parameters))) or not all(isinstance(s, dict) for s in states.values()):
        raise ValueError(f"{OPTIMIZER_NAME} holds states of parameters that this model does not have")
    if not states and any("betas" in group or group.get("momentum") for group in ours):
        raise ValueError(f"{OPTIMIZER_NAME} holds the state of no parameter")
    for number, state in states.items():
        _check_parameter_state(number, state, parameters[number], exact)
    steps = [state["step"] for state in states.values() if "step" in state]
    if steps and exact:
        _check_step(OPTIMIZER_NAME, max(map(float, steps)), step, skipped)


def _check_names(groups: Sequence[Mapping[str, Any]], ours: Sequence[Mapping[str, Any]]) -> None:
    """The states of parameters are found by their place: groups of equal sizes may be of other parameters."""
    for theirs, own in zip(groups, ours, strict=True):
        named = theirs.get("param_names", own.get("param_names"))
        if named != own.get("param_names"):
            other = sorted(set(map(str, named)) ^ set(own["param_names"]))
            raise ValueError(
                f"{OPTIMIZER_NAME} has other parameters in a group, such as {(other or own['param_names'])[0]}: a "
                "resume cannot change training.learning_rates"
            )


def _is_rate(value: Any) -> bool:
    return value is None or _is_finite(value.item() if isinstance(value, Tensor) else value)


def _check_parameter_state(number: int, state: Mapping[str, Any], parameter: Tensor, exact: bool) -> None:
    shape = parameter.shape
    fitting = (shape, shape[:-1], shape[:-2] + shape[-1:])
    for key, value in state.items():
        if not isinstance(value, Tensor):
            if key == "step" and not _is_number(value):
                raise ValueError(f"{OPTIMIZER_NAME} has step={str(value)[:50]} for parameter {number}")
            continue
        if exact and value.ndim and value.shape not in fitting:
            raise ValueError(
                f"{OPTIMIZER_NAME} has {key} of shape {list(value.shape)} for parameter {number}, which has shape "
                f"{list(shape)}"
            )
        if value.is_floating_point() and not value.isfinite().all():
            raise ValueError(f"{OPTIMIZER_NAME} is not finite: {key} of parameter {number}")


def check_weights(checkpoint: Path, model: nn.Module) -> None:
    """A ValueError unless a checkpoint holds exactly the weights of a model, or of its adapters, all finite."""
    wanted = _wanted(model)
    found = set()
    for name, tensor in _weights(checkpoint, adapters=hasattr(model, "peft_config")):
        found.add(name)
        own = wanted.get(name)
        if own is None:
            raise ValueError(f"its weights are of another model: this one has no {name}")
        if tensor.shape != own.shape or tensor.dtype != own.dtype:
            told = [f"{str(t.dtype).removeprefix('torch.')}{list(t.shape)}" for t in (tensor, own)]
            raise ValueError(f"its weight {name} is {told[0]}, that of the model {told[1]}")
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise ValueError(f"its weight {name} is not finite")
    stored = {_memory(wanted[name]) for name in found}  # weights that are shared are written once
    missing = [name for name, tensor in wanted.items() if name not in found and _memory(tensor) not in stored]
    if missing:
        raise ValueError(f"its weights are not those of this model: {len(missing)} are missing, as {missing[0]}")


def _wanted(model: nn.Module) -> dict[str, Tensor]:
    if not hasattr(model, "peft_config"):
        return model.state_dict()
    from peft import get_peft_model_state_dict

    return get_peft_model_state_dict(model)


def _memory(tensor: Tensor) -> tuple[Any, ...]:
    """What is the same for tensors that share their memory, and for no others."""
    return (tensor.device, tensor.data_ptr(), tensor.shape) if tensor.numel() else (id(tensor),)


def _weights(checkpoint: Path, adapters: bool) -> Iterator[tuple[str, Tensor]]:
    """One weight after the other, from the files that the Trainer will load."""
    names = [name for name in (WEIGHTS, OLD_WEIGHTS, INDEX, ADAPTERS) if (checkpoint / name).is_file()]
    first = names[0] if names else None
    if first != (ADAPTERS if adapters else first) or first in (None, OLD_WEIGHTS, ADAPTERS if not adapters else None):
        instead = f"; there is {', '.join(names)}" if names else ""
        raise ValueError(f"{ADAPTERS if adapters else WEIGHTS} is missing{instead}")
    files = {first: None} if first != INDEX else _shards(checkpoint)
    for file, listed in files.items():
        try:
            with safe_open(checkpoint / str(file), "pt") as weights:
                if listed is not None and set(weights.keys()) != listed:
                    raise ValueError(f"{file} does not hold the weights that {INDEX} lists")
                for name in weights.keys():  # noqa: SIM118  (it is no dictionary)
                    yield name, weights.get_tensor(name)
        except (OSError, SafetensorError) as error:
            raise ValueError(f"{file} cannot be read ({_line(error)})") from None


def _shards(checkpoint: Path) -> dict[str, set[str]]:
    """The names of the weights in each file of a sharded checkpoint."""
    try:
        listed = json.loads((checkpoint / INDEX).read_text(encoding="utf-8"))["weight_map"].items()
        files: dict[str, set[str]] = {}
        for name, file in listed:
            if Path(file).name != file:
                raise ValueError(f"{file} is not in the folder")
            files.setdefault(file, set()).add(name)
    except (OSError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{INDEX} cannot be read ({_line(error)})") from None
    return files
