"""Memory and time of a contrastive loss, forward and backward: the whole matrix of logits against tiles.

    python benchmarks/loss_memory.py --batch 16384 --dim 512 --turns 3 --open-clip PATH/TO/open_clip/loss.py
    python benchmarks/loss_memory.py --device cuda --largest

Each measurement is a process of its own, so that its peak is known, and the variants take turns. Memory is what comes
on top of the embeddings. NT-Xent gets half the batch, so that its matrix is as large. `--open-clip` names that
project's file, which is run as it stands. `--largest` doubles the batch of each variant for as long as it fits.
"""

import argparse
import importlib.util
import json
import subprocess
import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from hf_latent.losses import nt_xent, symmetric_info_nce


def naive_info_nce(first: Tensor, second: Tensor, scale: Tensor) -> Tensor:
    logits, own = scale * first @ second.T, torch.arange(len(first), device=first.device)
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2


def naive_nt_xent(first: Tensor, second: Tensor, scale: Tensor) -> Tensor:
    both, batch = torch.cat([first, second]), len(first)
    logits = scale * both @ both.T
    logits = logits.masked_fill(torch.eye(2 * batch, dtype=torch.bool, device=first.device), float("-inf"))
    return F.cross_entropy(logits, torch.arange(2 * batch, device=first.device).roll(batch))


def from_open_clip(path: str) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    spec: Any = importlib.util.spec_from_file_location("open_clip_loss", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.ClipLoss()


LOSSES: dict[str, Callable[..., Tensor]] = {
    "InfoNCE, naive": naive_info_nce,
    "InfoNCE, ours": symmetric_info_nce,
    "NT-Xent, naive": naive_nt_xent,
    "NT-Xent, ours": nt_xent,
}


def peak_memory() -> int:
    """The most bytes that this process has held so far."""
    if sys.platform == "win32":
        import psutil

        return psutil.Process().memory_info().peak_wset
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def measure(name: str, options: argparse.Namespace) -> dict[str, float]:
    """MiB above the embeddings and seconds of one forward and backward pass."""
    torch.set_num_threads(options.threads)
    loss = from_open_clip(options.open_clip) if name == "InfoNCE, open_clip" else LOSSES[name]
    on_gpu = options.device == "cuda"
    torch.manual_seed(0)

    def embeddings(batch: int) -> list[Tensor]:
        return [F.normalize(torch.randn(batch, options.dim, device=options.device), dim=1) for _ in range(2)]

    def step(first: Tensor, second: Tensor) -> None:
        scale = torch.tensor(14.0, device=options.device, requires_grad=True)
        torch.autograd.grad(loss(first.requires_grad_(), second.requires_grad_(), scale), [first, second, scale])
        if on_gpu:
            torch.cuda.synchronize()

    step(*embeddings(64))  # libraries are loaded, their pools are there
    # NT-Xent's matrix has two rows for every row of the batch: half a batch makes it as large as InfoNCE's.
    given = embeddings(options.batch // 2 if "NT-Xent" in name else options.batch)
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    else:
        before = peak_memory()
    start = time.perf_counter()
    step(*given)
    seconds = time.perf_counter() - start
    peak = torch.cuda.max_memory_allocated() if on_gpu else peak_memory()
    return {"MiB": (peak - before) / 2**20, "s": seconds}


def in_a_process(name: str, options: argparse.Namespace, batch: int) -> dict[str, float] | None:
    """As `measure`; None where it does not fit."""
    command = [sys.executable, __file__, "--only", name, "--batch", str(batch), "--dim", str(options.dim)]
    command += ["--device", options.device, "--threads", str(options.threads)]
    command += ["--open-clip", options.open_clip] if options.open_clip else []
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8")
    return json.loads(done.stdout) if done.returncode == 0 else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=16384)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--open-clip", metavar="FILE", help="loss.py of an open_clip checkout")
    parser.add_argument("--largest", action="store_true", help="double the batch for as long as it fits")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        print(json.dumps(measure(options.only, options)))
        return
    names = list(LOSSES)
    if options.open_clip:
        names.insert(1, "InfoNCE, open_clip")
    if options.largest:
        print("| loss | largest batch | MiB | s |\n|---|---|---|---|")
        for name in names:
            batch, found = options.batch, None
            while (more := in_a_process(name, options, batch)) is not None:
                batch, found = 2 * batch, more
            if found:
                print(f"| {name} | {batch // 2:,} | {found['MiB']:.0f} | {found['s']:.3f} |")
        return
    results: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for _ in range(options.turns):
        for name in names:
            found = in_a_process(name, options, options.batch)
            if found is not None:
                results[name].append(found)
    print("| loss | peak MiB | ratio | median s | ratio |\n|---|---|---|---|---|")
    for name, found in results.items():
        naive = results[f"{name.split(',')[0]}, naive"]
        if not found or not naive:
            print(f"| {name} | does not fit | | | |")
            continue
        memory, seconds = (median(one[key] for one in found) for key in ("MiB", "s"))
        shares = [value / median(one[key] for one in naive) for key, value in (("MiB", memory), ("s", seconds))]
        print(f"| {name} | {memory:.0f} | {shares[0]:.3f} | {seconds:.2f} | {shares[1]:.2f} |")


if __name__ == "__main__":
    main()
