"""Sizes that no memory of this machine holds are refused before anything is allocated."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from .errors import UserError


def memory_of(device: torch.device | None = None) -> int:
    """The bytes of memory of a device, or of the machine."""
    if device is not None and device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    import psutil

    return psutil.virtual_memory().total


def check_memory(needed: float, what: str, device: torch.device | None = None) -> None:
    """A UserError where so many bytes are more than there is memory; `what` names the options that ask for them."""
    there = memory_of(device)
    if needed > there:
        where = "this machine" if device is None or device.type == "cpu" else f"{device}"
        raise UserError(
            f"{what} would need {needed / 1e9:,.0f} GB of memory, and {where} has {there / 1e9:,.1f} GB: write less"
        )


def bytes_of(batch: Any) -> int:
    """The bytes of the tensors in nested dictionaries."""
    if isinstance(batch, Mapping):
        return sum(map(bytes_of, batch.values()))
    return batch.nbytes if isinstance(batch, torch.Tensor) else 0


def check_model_memory(build: Callable[[], nn.Module], optim: str, device: torch.device) -> None:
    """A UserError where a model cannot be trained in the memory of the device: weights, gradients, and what the
    optimizer keeps of each weight. Activations are not counted."""
    try:
        with torch.device("meta"):
            model: Any = build()
    except Exception:
        return  # what is wrong is said when it is built to be trained
    tensors = dict(model.named_parameters()) | dict(model.named_buffers())
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    kept = 2 if "adam" in optim and not optim.endswith("bit") else 0
    biggest = max(tensors, key=lambda name: tensors[name].nbytes)
    check_memory(
        sum(tensor.nbytes for tensor in tensors.values())
        + (1 + kept) * sum(parameter.nbytes for parameter in trained),
        f"training the model, whose largest weight is {biggest} {list(tensors[biggest].shape)},",
        device,
    )
