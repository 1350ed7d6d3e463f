"""The only collectives of the library. Every function is the identity in a single process."""

import gc
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from ..errors import UserError
from ..models.albef_layers import IGNORED
from ..models.embeddings import Embeddings

Result = TypeVar("Result")


def world_size() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    return dist.get_rank() if world_size() > 1 else 0


class _GatherRows(torch.autograd.Function):
    """Concatenates the rows of all processes; the gradient of a row is summed over the processes that used it."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        rows = rows.contiguous()
        parts = [torch.empty_like(rows) for _ in range(world_size())]
        dist.all_gather(parts, rows)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        gradient = gradient.contiguous()
        dist.all_reduce(gradient)
        return gradient.chunk(world_size())[rank()]


def gather_rows(rows: Tensor) -> Tensor:
    """`(batch, ...)` -> `(processes * batch, ...)`, in rank order, with gradient.

    The number of rows must be the same on all processes. Where each process takes the mean of a loss over its own
    rows and DistributedDataParallel averages the gradients, the result is the gradient of the whole batch.
    """
    return rows if world_size() == 1 else _GatherRows.apply(rows)


def gather_embeddings(embeddings: Embeddings) -> tuple[Embeddings, slice | None]:
    """The embeddings of the whole batch, and the slice of it that is this process's own.

    All tensors travel in one message.
    """
    if world_size() == 1:
        return embeddings, None
    tensors = embeddings.tensors()
    batch = len(tensors[0])
    flat = [tensor.flatten(1) for tensor in tensors]
    columns = iter(gather_rows(torch.cat(flat, dim=1)).split([rows.shape[1] for rows in flat], dim=1))
    whole = embeddings.map(lambda tensor: next(columns).unflatten(1, tensor.shape[1:]))
    if embeddings.ids is not None:
        whole.ids = _all_rows(embeddings.ids)
    if embeddings.labels is not None:
        whole.labels = _all_rows(embeddings.labels)
    if embeddings.present is not None:
        there = _all_rows(torch.stack(list(embeddings.present.values()), dim=1).byte())
        whole.present = dict(zip(embeddings.present, there.bool().unbind(dim=1), strict=True))
    return whole, slice(rank() * batch, (rank() + 1) * batch)


def _all_rows(rows: Tensor) -> Tensor:
    """The rows of all processes, in rank order, without gradient."""
    parts = [torch.empty_like(rows) for _ in range(world_size())]
    dist.all_gather(parts, rows.contiguous())
    return torch.cat(parts)


def gather_batch(inputs: Any, padding: int = 0) -> Any:
    """A nested batch of the rows of all processes, without gradient.

    Tensors `(batch, length, ...)` are padded to the longest of any process, `labels` with -100, others with 0.
    """
    if isinstance(inputs, Mapping):
        return {name: gather_batch(value, IGNORED if name == "labels" else 0) for name, value in inputs.items()}
    if not isinstance(inputs, Tensor) or world_size() == 1:
        return inputs
    if inputs.ndim > 1:
        length = torch.tensor(inputs.shape[1], device=inputs.device)
        dist.all_reduce(length, dist.ReduceOp.MAX)
        longest = inputs.new_full((len(inputs), int(length), *inputs.shape[2:]), padding)
        longest[:, : inputs.shape[1]] = inputs
        inputs = longest
    return gather_rows(inputs)


def mean_over_processes(values: Tensor) -> Tensor:
    """The mean of a tensor over the processes, without gradient."""
    if world_size() > 1:
        values = values.clone()
        dist.all_reduce(values)
        values /= world_size()
    return values


def average_gradients(parameters: Iterable[Tensor]) -> None:
    """The mean over the processes of gradients that each made alone, in one message a dtype."""
    if world_size() == 1:
        return
    by_dtype: dict[torch.dtype, list[Tensor]] = {}
    for parameter in parameters:
        if parameter.grad is not None:
            by_dtype.setdefault(parameter.grad.dtype, []).append(parameter.grad)
    for gradients in by_dtype.values():
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        dist.all_reduce(flat)
        flat /= world_size()
        for gradient, mean in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(mean.view_as(gradient))


def barrier() -> None:
    """Wait for all processes."""
    if world_size() > 1:
        dist.barrier()


def from_first_process(function: Callable[[], Result]) -> Result:
    """What `function` returns on the first process, on all processes; a UserError is raised on all of them, too."""
    if world_size() == 1:
        return function()
    found: list[Any] = [None, None]
    if rank() == 0:
        try:
            found[0] = function()
        except UserError as error:
            found[1] = str(error)
    dist.broadcast_object_list(found)
    if found[1] is not None:
        raise UserError(found[1])
    return found[0]


def lost_process(error: Exception) -> bool:
    """Whether an error says that another process is gone."""
    return world_size() > 1 and (isinstance(error, dist.DistError) or "gloo" in str(error))


@contextmanager
def lost_processes_named() -> Iterator[None]:
    """Inside, a process whose partner has died says so, instead of naming a socket."""
    try:
        yield
    except RuntimeError as error:
        if not lost_process(error):
            raise
        raise UserError(
            f"process {rank()} of {world_size()} lost another process of this run, whose own message tells why if it "
            "could leave one: start all of them again, from the last checkpoint (--resume)"
        ) from error


def shut_down() -> None:
    """Leave the process group together: a process that leaves early can bring down one that still has work."""
    if world_size() > 1:
        dist.barrier()
        dist.destroy_process_group()
        # A DistributedDataParallel that outlives this call holds the group, and aborts the interpreter at its exit.
        gc.collect()
