"""Every model, objective and regularizer once on the device, against the CPU in float64.

One training step of each: the gradient in float32, whole and in chunks and tiles; a finite loss in bf16. Then a run of
each model that is interrupted and goes on from its checkpoint, and the features of a data set.
"""

import itertools
import math
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from tests.training.runs import REGULARIZERS
from tests.training.runs import run as train

from .common import Options, Row

MODELS: dict[str, dict[str, Any]] = {
    "clip": {"clip": True, "in_modal": False},
    "clip in_modal": {"clip": True},
    "comm": {"objective": "comm"},
    "cross": {"objective": "cross"},
    "cross_self": {"objective": "cross_self"},
}
OTHERS: dict[str, dict[str, Any]] = {
    "clip of photos": {"clip": True, "photos": True},
    "albef": {"albef": True},
    "answers": {"head": "answers"},
    "classes": {"head": "classes"},
    "statements": {"head": "statements"},
}
# 12 rows: neither divides them.
PARTS = {"gradient_cache_chunk_size": 5, "loss_tile_size": 5}


def cases(toy: bool) -> dict[str, dict[str, Any]]:
    """Options of `tests.training.runs.run`."""
    found = {}
    for (name, model), regularizer in itertools.product(MODELS.items(), [None, *REGULARIZERS]):
        spec = {} if regularizer is None else {regularizer: {**REGULARIZERS[regularizer], "ramp": 0.0}}
        if regularizer == "brownian_bridge" and not model.get("clip"):
            spec[regularizer]["bridged"] = ["image1"]
        found[f"{name}, {regularizer or 'no regularizer'}"] = {**model, "regularizers": spec}
    wanted = ("clip, no regularizer", "comm, brownian_bridge")
    whole = {name: case for name, case in found.items() if name in wanted} if toy else found
    return {**whole, **({"answers": OTHERS["answers"]} if toy else OTHERS)}


def run(options: Options) -> Iterator[Row]:
    torch.backends.cudnn.allow_tf32 = False
    here = {"use_cpu": options.device == "cpu"}
    wrong = []
    with tempfile.TemporaryDirectory() as folder:
        for name, case in cases(options.toy).items():

            def gradient(case=case, **more: Any) -> tuple[torch.Tensor, float]:
                found = train(folder, {**case, "max_steps": 1, **more})
                return found["gradient"].double().cpu(), found["curve"][0]["loss"]

            exact, _ = gradient(double=True)
            differences = {
                "float32": _relative(gradient(**here)[0], exact),
                "in chunks and tiles": _relative(gradient(**here, **PARTS)[0], exact),
                "float32 on a CPU": _relative(gradient()[0], exact),
            }
            loss = gradient(**here, bf16=True)[1]
            right = max(differences.values()) <= max(1e-4, 10 * differences["float32 on a CPU"]) and math.isfinite(
                loss
            )
            wrong += [] if right else [name]
            yield (
                "Gradient of one step against float64 on a CPU, relative difference",
                {
                    "case": name,
                    **differences,
                    "loss in bf16": loss,
                    "right": right,
                },
            )
        resumed = (
            {"clip": {"clip": True}} if options.toy else {"clip": {"clip": True}, "comm": {}, "albef": {"albef": True}}
        )
        for name, case in resumed.items():
            row = _resume(Path(folder) / "resume" / name, case, here)
            wrong += [] if row["right"] else [name]
            yield "Five steps, and the same from the checkpoint at step 3", {"case": name, **row}
    if wrong:
        raise AssertionError(f"{len(wrong)} cases are wrong: {', '.join(wrong)}")


def _relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    return ((found - expected).norm() / expected.norm()).item()


def _resume(folder: Path, case: dict[str, Any], here: dict[str, Any]) -> dict[str, Any]:
    steps = {**case, "max_steps": 5, "save_strategy": "steps", "save_steps": 3}
    whole = train(folder, {**steps, **here})
    again = train(folder, {**steps, **here, "resume": str(folder / "checkpoint-3")})
    on_cpu = train(folder.with_name(f"{folder.name}_cpu"), {**steps, "save_strategy": "no"})
    pairs = zip(whole["curve"][-2:], again["curve"][-2:], strict=True)
    loss = max(abs(1 - theirs["loss"] / ours["loss"]) for ours, theirs in pairs)
    features = [torch.from_numpy(found["features"]).double() for found in (whole, on_cpu)]
    row = {"loss, relative difference": loss, "features against a CPU's": _relative(*features)}
    return {**row, "right": loss < 1e-3 and row["features against a CPU's"] < 2e-2}
