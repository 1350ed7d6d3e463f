"""Memory and time of a contrastive loss, forward and backward: the whole matrix of logits against tiles."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F

from ..loss_memory import LOSSES
from .common import Options, Row, peak_mib, seconds_a_step


def run(options: Options) -> Iterator[Row]:
    for rows in (256, 512) if options.toy else (16_384, 65_536, 131_072):
        for name, loss in LOSSES.items():
            generator = torch.Generator(options.device).manual_seed(0)
            # NT-Xent's matrix has two rows for every row of the batch: half a batch makes it as large as InfoNCE's.
            count = rows // 2 if "NT-Xent" in name else rows
            given = [torch.randn(count, 512, device=options.device, generator=generator) for _ in range(2)]
            leaves = [F.normalize(x, dim=1).requires_grad_() for x in given]
            leaves.append(torch.tensor(14.0, device=options.device, requires_grad=True))

            def step(loss=loss, leaves=leaves) -> None:
                torch.autograd.grad(loss(*leaves), leaves)

            row: dict[str, object] = {"rows of the matrix": rows, "loss": name, "MiB": None, "ms": None}
            try:
                row["MiB"] = peak_mib(step, options.device)
                row["ms"] = 1000 * seconds_a_step(step, options.device, 0.02 if options.toy else 0.5, warm_up=1)
            except torch.OutOfMemoryError:
                row["MiB"] = "does not fit"
            del leaves, given, step
            if options.device == "cuda":
                torch.cuda.empty_cache()
            yield "Forward and backward, 512 numbers a row, float32", row
