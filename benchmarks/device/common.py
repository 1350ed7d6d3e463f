"""What the parts share."""

import os
import platform
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
import transformers

Row = tuple[str, dict[str, Any]]
"""The title of a table, and one row of it."""


@dataclass(frozen=True)
class Options:
    """How a part runs.

    Args:
        device: As of torch.
        toy: Sizes that take seconds on a CPU.
        seconds: After which the part is stopped.
    """

    device: str
    toy: bool
    seconds: float

    @property
    def workers(self) -> int:
        return 0 if self.toy else min(16, os.cpu_count() or 1)


def machine(device: str) -> str:
    """The name of the machine, with the versions that matter."""
    chip = torch.cuda.get_device_name() if device == "cuda" else platform.processor() or platform.machine()
    versions = f"torch {torch.__version__}, transformers {transformers.__version__}"
    return f"{chip}, {os.cpu_count()} CPU cores, Python {platform.python_version()}, {versions}"


def half(device: str, wanted: bool = True) -> AbstractContextManager[Any]:
    """bf16 autocast."""
    return torch.autocast(device, dtype=torch.bfloat16) if wanted else nullcontext()


def synchronize(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def seconds_a_step(step: Callable[[], Any], device: str, seconds: float, warm_up: int = 3) -> float:
    """The mean time of a step, over as many as fit into `seconds`, one at least; those that warm up do not count."""
    for _ in range(warm_up):
        step()
    synchronize(device)
    start, count = time.perf_counter(), 0
    while count == 0 or time.perf_counter() - start < seconds:
        step()
        count += 1
        if count % 8 == 0:
            synchronize(device)  # or a queue of steps would outlast the time
    synchronize(device)
    return (time.perf_counter() - start) / count


def peak_mib(step: Callable[[], Any], device: str) -> float | None:
    """The memory of a step above what was there before, in MiB; None where it cannot be told."""
    if device != "cuda":
        step()
        return None
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    step()
    torch.cuda.synchronize()
    return (torch.cuda.max_memory_allocated() - before) / 2**20
