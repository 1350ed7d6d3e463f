"""Folders that appear whole or not at all, and the checkpoints among them."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from ..errors import UserError
from ..files import remove, replace, sync

STAGING = ".staging"
CHECKPOINT = re.compile(r"checkpoint-([0-9]+)")


def sync_tree(folder: Path) -> None:
    """Force the files below `folder` to the disk, so that a rename after it never names an empty file."""
    for path in [*folder.rglob("*"), folder]:
        sync(path)


def publish(source: Path, target: Path) -> None:
    """Rename the finished folder `source` to `target`, replacing an older one."""
    sync_tree(source)
    if target.exists() or target.is_symlink():
        outgoing = source.with_name(source.name + ".old")
        remove(outgoing)
        replace(target, outgoing)
        replace(source, target)
        remove(outgoing)
    else:
        replace(source, target)


def checkpoints(run: Path) -> list[Path]:
    """What carries the name of a checkpoint in a run folder, in the order of the steps."""
    named = [path for path in run.iterdir() if CHECKPOINT.fullmatch(path.name)] if run.is_dir() else []
    return sorted(named, key=lambda path: (step_of(path), path.name))


def step_of(checkpoint: Path) -> int:
    """The step in the name of a checkpoint."""
    return int(checkpoint.name.removeprefix("checkpoint-"))


def last_checkpoint(run: Path) -> Path | None:
    """The checkpoint of the latest step, if there is any. Whether it is whole is not looked at."""
    return next(reversed(checkpoints(run)), None)


def rotate(run: Path, limit: int | None, newest: Path, best: str | None) -> None:
    """Remove the oldest checkpoints beyond `limit`; `newest`, which was just written, and the best one stay.

    The step decides what is old, never a time of writing, which a clock can set back. Steps after that of `newest` are
    of an earlier training from here on, and go first.
    """
    if not limit or limit < 0:
        return
    found = [path for path in checkpoints(run) if path.is_dir()]
    found.sort(key=lambda path: (step_of(path) <= step_of(newest), step_of(path)))
    kept = {newest.name} | ({Path(best).name} if best else set())
    for path in [path for path in found if path.name not in kept][: max(len(found) - max(limit, len(kept)), 0)]:
        remove(path)


@torch.no_grad()
def check_finite(model: nn.Module, step: int) -> None:
    """A UserError where a weight or a buffer of the model is not finite."""
    tensors = {name: tensor for name, tensor in model.state_dict().items() if tensor.is_floating_point()}
    bad = [name for name, tensor in tensors.items() if not tensor.isfinite().all()]
    if not bad:
        return
    raise UserError(
        f"after step {step} the weights are not finite: {len(bad)} of {len(tensors)} tensors hold NaN or infinity, as "
        f"{bad[0]}; they are not saved, and earlier checkpoints are whole: train anew with a smaller "
        "training.learning_rate or training.max_grad_norm"
    )


@contextmanager
def staged_files(folder: Path) -> Iterator[Path]:
    """A temporary folder whose files move into `folder` one by one when the block ends well, and vanish otherwise."""
    staging = folder / STAGING / "files"
    if (folder / STAGING).is_symlink():
        remove(folder / STAGING)  # or what it leads to would be removed
    remove(staging)
    staging.mkdir(parents=True)
    try:
        yield staging
        sync_tree(staging)
        for path in sorted(staging.rglob("*")):
            target = folder / path.relative_to(staging)
            if path.is_dir():
                target.mkdir(exist_ok=True)
            else:
                replace(path, target)
    finally:
        remove(folder / STAGING)
