"""Starts processes as a user would, and waits for them."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]


def start(processes, module, *arguments, cwd=ROOT):
    """`torchrun -m module arguments`, on this machine's CPU."""
    if os.name == "nt":
        pytest.skip("the builds of PyTorch for Windows have no libuv, which the server of torchrun needs")
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", str(processes), "--master_port", "0"]
    command += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0", "-m", module, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=cwd, env=environment, stdout=pipe, stderr=pipe, text=True)


def wait_for(folder, pattern, seconds=300):
    """Until a file of that name is there."""
    give_up = time.monotonic() + seconds
    while not list(folder.glob(pattern)):
        assert time.monotonic() < give_up, f"no {pattern} after {seconds} s"
        time.sleep(0.01)


def step_of(checkpoint):
    return int(checkpoint.name.split("-")[1])


def torchrun(folder, processes, cases):
    """The results of `tests.training.runs`."""
    process = start(processes, "tests.training.runs", folder, json.dumps(cases))
    _, errors = process.communicate()
    assert process.returncode == 0, errors[-4000:]
    return torch.load(folder / "results.pt", weights_only=False)
