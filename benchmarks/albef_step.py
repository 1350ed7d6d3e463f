"""Seconds for one ALBEF pre-training step: ours, and the official one's structure on the same weights and batch.

    python -W ignore benchmarks/albef_step.py --size small --batch 8 --steps 9 --threads 2
    python -W ignore benchmarks/albef_step.py --size quick --batch 128 --steps 25 --threads 1
    python -W ignore benchmarks/albef_step.py --size base --batch 64 --device cuda --bf16

A step is forward, three losses, backward, AdamW, momentum and queue. The restatement does what the official code of
Li et al. does, in words of our own: positives and negatives are fused apart, negatives are drawn row by row, words are
guessed at every place by model and momentum copy, attention is spelled out (`eager`), and AdamW goes from
weight to weight. A second restatement has the attention and the AdamW that `Trainer` takes by default. The variants
take turns, so that a slow moment of the machine hits all, and the first turn is not counted. Before that, losses and
gradients of both are compared in float64 with the same negatives. `base` is the paper's model, for a GPU.
"""

import argparse
import time
from collections.abc import Callable
from copy import deepcopy
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from hf_latent import LatentALBEFConfig, LatentALBEFForPreTraining

Pick = Callable[[Tensor], Tensor]


def transformer(width: int, layers: int = 12, **options: Any) -> dict[str, Any]:
    shape = {"hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": max(4, width // 64)}
    still = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    return {**shape, "intermediate_size": width * (4 if layers == 12 else 2), **still, **options}


def tower(config: dict[str, Any]) -> dict[str, Any]:
    return {"encoder": "auto", "config": config}


# Image tower, text tower, side of the pictures, words of a sentence, and what else the config takes.
SIZES: dict[str, tuple[dict[str, Any], dict[str, Any], int, int, dict[str, Any]]] = {
    "quick": (
        {"encoder": "cnn", "channels": [16, 32, 64, 128]},
        {**tower(transformer(64, 4, model_type="bert", vocab_size=30)), "pooling": "mean"},
        *(64, 7),
        {"fusion_layers": 2, "projection_dim": 64, "queue_size": 512},
    ),
    "small": (
        tower(transformer(384, model_type="vit", image_size=128)),
        tower(transformer(384, model_type="bert")),
        *(128, 25),
        {"queue_size": 4096},
    ),
    "base": (
        tower(transformer(768, model_type="vit", image_size=256)),
        tower(transformer(768, model_type="bert")),
        *(256, 25),
        {"queue_size": 65_536},
    ),
}


def build(size: str, batch: int) -> tuple[LatentALBEFForPreTraining, dict[str, Tensor]]:
    """A model with a full queue and a momentum copy of its own, and a batch with 15 % of the words masked."""
    image, text, side, words, options = SIZES[size]
    torch.manual_seed(0)
    model = LatentALBEFForPreTraining(LatentALBEFConfig(modalities={"image": image, "text": text}, **options))
    with torch.no_grad():
        for weight in model.momentum.parameters():
            weight.add_(0.01 * torch.randn_like(weight))
    width = model.config.projection_dim
    full = {name: F.normalize(torch.randn(options["queue_size"], width), dim=1) for name in ("image", "text")}
    model.feature_queue.push(full, None)  # type: ignore[union-attr]
    ids = torch.randint(5, 30, (batch, words))
    chosen = torch.rand(batch, words) < 0.15
    chosen[:, 1] = True
    return model, {
        "pixel_values": torch.randn(batch, 3, side, side),
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "masked_input_ids": ids.masked_fill(chosen, 4),
        "labels": ids.masked_fill(~chosen, -100),
    }


def row_by_row(weights: Tensor) -> Tensor:
    """Negatives as the official code draws them."""
    return torch.tensor([int(torch.multinomial(row, 1).item()) for row in weights], device=weights.device)


def restated_loss(model: Any, batch: dict[str, Tensor], of_image: Pick, of_text: Pick) -> tuple[Tensor, Any]:
    """The official step's losses; returns the momentum features, too, for the queue."""
    words = {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}
    masked = {**words, "input_ids": batch["masked_input_ids"]}
    mask, rows, alpha, scale = words["attention_mask"].bool(), len(batch["labels"]), model.config.alpha, model.scale

    def encode(core: Any) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        image, text = core.encoders["image"](pixel_values=batch["pixel_values"]), core.encoders["text"](**words)
        pooled = {"image": image.pool(), "text": text.pool()}
        unit = {name: F.normalize(core.projections[name](rows), dim=-1) for name, rows in pooled.items()}
        return core.fusion.image_tokens(image), text.tokens, unit

    image, text, z = encode(model)
    with torch.no_grad():
        image_m, _, taught = encode(model.momentum)
        held = {name: torch.cat([taught[name], model.queue.augmented[name].to(taught[name])]) for name in taught}
        right = torch.zeros_like(taught["image"] @ held["text"].T).fill_diagonal_(1)
        pairs = (("image", "text"), ("text", "image"))
        target = {a: alpha * (scale * taught[a] @ held[b].T).softmax(1) + (1 - alpha) * right for a, b in pairs}
    similar = {a: scale * z[a] @ held[b].T for a, b in pairs}
    itc = sum(-(similar[a].log_softmax(1) * target[a]).sum(1).mean() for a in similar) / 2

    fused = model.fusion(text, image, mask)[:, 0]
    with torch.no_grad():
        weights = {a: similar[a][:, :rows].softmax(1).fill_diagonal_(0) for a in similar}
    wrong_text, wrong_image = of_image(weights["image"]), of_text(weights["text"])
    texts = torch.cat([text, torch.stack([text[int(i)] for i in wrong_text])])
    images = torch.cat([torch.stack([image[int(i)] for i in wrong_image]), image])
    masks = torch.cat([mask, torch.stack([mask[int(i)] for i in wrong_text])])
    wrong = model.fusion(texts, images, masks)[:, 0]
    answers = torch.cat([torch.ones(rows), torch.zeros(2 * rows)]).long().to(image.device)
    itm = F.cross_entropy(model.itm_head(torch.cat([fused, wrong])), answers)

    def guess(core: Any, tokens: Tensor) -> Tensor:
        hidden = core.fusion(core.encoders["text"](**masked).tokens, tokens, mask)
        return core.mlm_head(hidden, core.bert.get_input_embeddings().weight)

    with torch.no_grad():
        soft = guess(model.momentum, image_m).softmax(-1)
    found = guess(model, image)
    hard = F.cross_entropy(found.flatten(0, 1), batch["labels"].flatten())
    distilled = -(found.log_softmax(-1) * soft).sum(-1)[batch["labels"] != -100].mean()
    return itc + itm + (1 - alpha) * hard + alpha * distilled, taught


def restated_step(model: Any, batch: dict[str, Tensor], optimizer: Any, half: Any) -> None:
    with torch.no_grad():
        for own, copy in model._followed():
            copy.copy_(copy * model.config.momentum + own * (1 - model.config.momentum))
    with half:
        loss, taught = restated_loss(model, batch, row_by_row, row_by_row)
    model.feature_queue.push(taught, None)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def our_step(model: Any, batch: dict[str, Tensor], optimizer: Any, half: Any) -> None:
    with half:
        z = model.score(model(**batch, return_loss=False))
        loss, _ = model.objective(z, model.scale, progress=1.0, queue=model.queue)
    model.on_batch_scored(z)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    model.on_optimizer_step()


def compare(size: str) -> float:
    """The largest relative difference of the two losses and gradients, float64, with the nearest negatives."""
    model, batch = build(size, 4)
    model = model.double().eval()
    batch = {name: rows.double() if rows.is_floating_point() else rows for name, rows in batch.items()}
    ours = model(**batch, return_loss=True)
    picked = model._negatives(ours)
    theirs, _ = restated_loss(model, batch, lambda _: picked["text"], lambda _: picked["image"])
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    one, other = (torch.cat([g.flatten() for g in torch.autograd.grad(loss, trained)]) for loss in (ours.loss, theirs))
    return max(abs(1 - (theirs / ours.loss).item()), ((one - other).norm() / other.norm()).item())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=5, help="timed steps of each variant, after one that is not")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--bf16", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.size != "base":  # whose float64 is slow
        difference = compare(options.size)
        assert difference < 1e-9, difference
        print(f"Losses and gradients of both differ by {difference:.1e} in float64.\n")

    model, batch = build(options.size, options.batch)
    batch = {name: rows.to(options.device) for name, rows in batch.items()}
    variants: dict[str, tuple[Any, Any, Any]] = {}
    for name, step, attention, fused in (
        ("official step, restated", restated_step, "eager", False),
        ("the same with sdpa and fused AdamW", restated_step, "sdpa", True),
        ("LatentALBEF", our_step, "sdpa", True),
    ):
        own = deepcopy(model).to(options.device).train()
        for part in (own, own.momentum):
            for tower_model in [encoder.model for encoder in part.encoders.values() if hasattr(encoder, "model")]:
                tower_model.set_attn_implementation(attention)
            part.fusion.config._attn_implementation = attention
        trained = [weight for weight in own.parameters() if weight.requires_grad]
        variants[name] = (own, step, torch.optim.AdamW(trained, lr=1e-5, fused=fused))
    times: dict[str, list[float]] = {name: [] for name in variants}
    for turn in range(options.steps + 1):
        for name, (own, step, optimizer) in variants.items():
            half = torch.autocast(options.device, dtype=torch.bfloat16, enabled=options.bf16)
            start = time.perf_counter()
            step(own, batch, optimizer, half)
            if options.device == "cuda":
                torch.cuda.synchronize()
            if turn:
                times[name].append(time.perf_counter() - start)
    base = median(times["official step, restated"])
    print(f"| {options.size}, batch {options.batch} | median s/step | best | samples/s | times as fast |")
    print("|---|---|---|---|---|")
    for name, found in times.items():
        middle = median(found)
        print(f"| {name} | {middle:.3f} | {min(found):.3f} | {options.batch / middle:.1f} | {base / middle:.2f} |")


if __name__ == "__main__":
    main()
