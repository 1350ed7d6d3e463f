"""Time and memory of a training step with each objective, and with each regularizer, beside those without.

    python benchmarks/method_costs.py --turns 5

A step is forward, loss, backward and AdamW. Towers: LatentCLIP of an image, a text and a table, all three pairs; a
second view is encoded where a method reads it, and the teacher where one does. Fused: CoMM of two images in two views.
What is registered is measured, with its defaults. Each step runs in a process of its own, so that its peak of memory
is known, and the methods take turns; memory is what comes on top of the model and the batch. Look at the ratios within
a turn, of which the median is shown.
"""

import argparse
import json
import os
import platform
import resource
import sys
import time
from collections.abc import Mapping
from statistics import median
from typing import Any

import torch
from torch import Tensor

from hf_latent import CoMMConfig, CoMMModel, LatentCLIPConfig, LatentCLIPModel
from hf_latent.models.embeddings import ON_REQUEST
from hf_latent.objectives import OBJECTIVES
from hf_latent.regularizers import REGULARIZERS, build_regularizer

CNN = {"encoder": "cnn", "channels": [16, 32, 64], "norm": "group"}
BERT = {
    "model_type": "bert",
    **{"vocab_size": 1000, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4},
    **{"intermediate_size": 128, "max_position_embeddings": 32},
}
TOWERS = {
    "image": CNN,
    "text": {"encoder": "auto", "pooling": "mean", "config": BERT},
    "table": {"encoder": "table", "input_dim": 16},
}
BASE = {"latent_clip": "clip", "comm": "comm"}
MODELS: dict[str, Any] = {"latent_clip": LatentCLIPModel, "comm": CoMMModel}
OF_LABELS = ("supcon", "labels")  # of other data


def build(family: str, objective: str, regularizer: str | None) -> Any:
    """A model to train, the same for all methods but for what a method adds."""
    torch.manual_seed(0)
    own = {"objective": objective, "regularizers": {} if regularizer is None else {regularizer: {}}}
    model: Any
    if family == "comm":
        images = {name: dict(CNN) for name in ("image", "other")}
        model = CoMMModel(CoMMConfig(modalities=images, embed_dim=128, **own))
    else:
        model = LatentCLIPModel(LatentCLIPConfig(modalities=TOWERS, projection_dim=128, **own))
    model.train().prepare_training()
    return model


def batch_for(model: Any, rows: int, size: int) -> dict[str, Any]:
    """Random rows, with the second view of the modalities whose second view the model's objective reads."""

    def inputs(name: str) -> dict[str, Tensor]:
        kind = model.config.kinds[name]
        if kind == "image":
            return {"pixel_values": torch.randn(rows, 3, size, size)}
        if kind == "text":
            tokens = torch.randint(5, 1000, (rows, 12))
            return {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}
        return {"values": torch.randn(rows, 16)}

    second = sorted(model.second_views(model.encoders))
    batch: dict[str, Any] = {"modalities": {name: inputs(name) for name in model.encoders}, "ids": torch.arange(rows)}
    return batch | ({"augmented_modalities": {name: inputs(name) for name in second}} if second else {})


def measure(family: str, objective: str, regularizer: str | None, options: argparse.Namespace) -> Mapping[str, float]:
    """Seconds of a step, and MiB that it takes on top of the model and the batch."""
    torch.set_num_threads(options.threads)
    model = build(family, objective, regularizer)
    batch = batch_for(model, options.batch, options.image_size)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    # Linux gives the peak in KiB.
    before, seconds = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, []
    for _ in range(options.steps + 1):
        start = time.perf_counter()
        loss = model(**batch, return_loss=True).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        seconds.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"seconds": median(seconds[1:]), "memory": (peak - before) / 1024}


def in_a_process(*method: Any) -> dict[str, float]:
    """What `measure` gives, from a child process."""
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reads)
        try:
            os.write(writes, json.dumps(measure(*method)).encode())
        except Exception as error:
            print(f"{method[:3]}: {error}", file=sys.stderr)
        finally:
            os._exit(0)
    os.close(writes)
    with os.fdopen(reads) as file:
        told = file.read()
    os.waitpid(child, 0)
    if not told:
        raise SystemExit(f"{method[:3]} cannot be measured")
    return json.loads(told)


def methods(family: str) -> list[tuple[str, str | None]]:
    """The contrast that others are compared with, the other objectives, and each regularizer on the contrast."""
    base = BASE[family]
    found: list[tuple[str, str | None]] = [(base, None)]
    found += [(name, None) for name in sorted(OBJECTIVES[family]) if name != base and name not in OF_LABELS]
    own = sorted(
        name for name in REGULARIZERS if not build_regularizer(name).requires & ON_REQUEST - MODELS[family].on_request
    )
    return found + [(base, name) for name in own]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--image-size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=5, help="of a turn, and one that is not counted")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    if sys.platform != "linux":
        raise SystemExit("memory is measured on Linux alone")
    print(f"{platform.processor() or platform.machine()}, torch {torch.__version__}, batch {options.batch}")
    for family in BASE:
        turns: list[list[dict[str, float]]] = []
        own = methods(family)
        for _ in range(options.turns):
            turns.append([in_a_process(family, *method, options) for method in own])
        print(
            f"\n| {family} | ms a step | times {own[0][0]} | MiB | more than {own[0][0]} |\n|---|---:|---:|---:|---:|"
        )
        for place, (objective, regularizer) in enumerate(own):
            seconds = [turn[place]["seconds"] for turn in turns]
            ratio = median(turn[place]["seconds"] / turn[0]["seconds"] for turn in turns)
            memory = median(turn[place]["memory"] for turn in turns)
            more = memory - median(turn[0]["memory"] for turn in turns)
            name = f"`{objective}`" if regularizer is None else f"`{objective}` + `{regularizer}`"
            print(f"| {name} | {1000 * median(seconds):.0f} | {ratio:.2f} | {memory:.0f} | {more:+.0f} |")


if __name__ == "__main__":
    main()
