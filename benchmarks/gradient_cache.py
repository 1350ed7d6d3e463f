"""What chunks cost: the time of a row in a training step, whole and with the gradient cache.

    python -W ignore benchmarks/gradient_cache.py --fits 16 --times 16 --threads 2

A plain step at the batch that fits, and a cached step at so many times that batch in chunks of it, in turns; towers of
CLIP ViT-B/32's width at a smaller depth, random weights and pixels, float32. In theory a cached row costs 4/3: two
forward passes and one backward pass, which costs two, instead of one and one.
"""

import argparse
import copy
import time
from statistics import median

import torch
from torch import nn

from hf_latent import LatentCLIP, LatentCLIPConfig, build_objective
from hf_latent.models.embeddings import Embeddings
from hf_latent.training.gradient_cache import cached_backward


def build(depth: int) -> LatentCLIP:
    tower = {"num_hidden_layers": depth, "num_attention_heads": 8}
    vision = {"model_type": "clip_vision_model", "hidden_size": 768, "intermediate_size": 3072, "patch_size": 32}
    text = {"model_type": "clip_text_model", "hidden_size": 512, "intermediate_size": 2048, "vocab_size": 1000}
    special = {"eos_token_id": 999, "bos_token_id": 998, "pad_token_id": 0}
    spec = {"image": {**vision, **tower}, "text": {**text, **tower, **special}}
    modalities = {name: {"encoder": "auto", "config": config} for name, config in spec.items()}
    return LatentCLIP(LatentCLIPConfig(modalities=modalities))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fits", type=int, default=16, help="the batch of a plain step, and the chunk")
    parser.add_argument("--times", type=int, default=16, help="how many times that batch the cached step takes")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--depth", type=int, default=4, help="layers of each tower")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    model = build(options.depth)
    objective = build_objective(copy.deepcopy(model.config))

    def rows(count: int) -> dict[str, torch.Tensor]:
        words = torch.randint(1, 998, (count, 32))
        words[:, -1] = 999
        return {"pixel_values": torch.randn(count, 3, 224, 224), "input_ids": words}

    def score(embeddings: Embeddings) -> torch.Tensor:
        return objective(model.score(embeddings), model.scale)[0]

    def plain(batch: dict[str, torch.Tensor]) -> None:
        score(model(**batch, return_loss=False)).backward()

    def cached(batch: dict[str, torch.Tensor]) -> None:
        count = len(batch["input_ids"])
        chunks = [slice(start, start + options.fits) for start in range(0, count, options.fits)]
        embed = [
            lambda part=part: model(**{name: value[part] for name, value in batch.items()}, return_loss=False)
            for part in chunks
        ]
        cached_backward(embed, score, lambda loss: loss.backward(), torch.device("cpu"))

    large = options.fits * options.times
    variants = {
        f"plain, batch {options.fits}": (plain, rows(options.fits)),
        f"cached, batch {large} in chunks of {options.fits}": (cached, rows(large)),
    }
    times: dict[str, list[float]] = {name: [] for name in variants}
    for turn in range(options.steps + 1):
        for name, (step, batch) in variants.items():
            nn.Module.zero_grad(model)
            start = time.perf_counter()
            step(batch)
            if turn:
                times[name].append((time.perf_counter() - start) / len(batch["input_ids"]))
    base = median(next(iter(times.values())))
    print("| step | median ms a row | ratio |\n|---|---|---|")
    for name, found in times.items():
        print(f"| {name} | {1000 * median(found):.1f} | {median(found) / base:.2f} |")


if __name__ == "__main__":
    main()
