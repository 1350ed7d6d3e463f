"""Samples a second of pre-training steps in bf16, beside models of transformers that do the same work.

A step is forward, loss, backward and a fused AdamW on pixels and tokens that lie on the device.
"""

import tempfile
from collections.abc import Iterator
from typing import Any

import torch
from transformers import (
    BertConfig,
    CLIPConfig,
    CLIPModel,
    VisionTextDualEncoderConfig,
    VisionTextDualEncoderModel,
    ViTConfig,
)

from hf_latent import LatentCLIP, LatentCLIPConfig

from .. import albef_step
from ..clip_step import REGULARIZERS
from .common import Options, Row, half, seconds_a_step

TITLE = "Training steps in bf16"
WORDS = 32


def run(options: Options) -> Iterator[Row]:
    batch = 8 if options.toy else 256
    small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    shape = small if options.toy else {}
    size = 32 if options.toy else 224
    vit, bert = {"image_size": size, "patch_size": 16, **shape}, {"vocab_size": 30_522, **shape}
    tiny_resnet = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"}
    resnet = tiny_resnet if options.toy else {}
    pairs = {
        "pixel_values": torch.randn(batch, 3, size, size, device=options.device),
        "input_ids": torch.randint(1000, 30_000, (batch, WORDS), device=options.device),
        "attention_mask": torch.ones(batch, WORDS, dtype=torch.long, device=options.device),
    }
    second = {f"augmented_{name}": values for name, values in pairs.items()}

    def measured(
        name: str, model: Any, inputs: dict[str, torch.Tensor], base: float | None = None, **more: Any
    ) -> Row:
        rate = batch / _seconds(model, inputs, options, **more)
        row = {"model": name, "batch": batch, "samples/s": rate}
        return TITLE, row if base is None else {**row, "share of the model above": rate / base}

    towers = {"image": {"model_type": "vit", **vit}, "text": {"model_type": "bert", **bert}}
    dual = VisionTextDualEncoderConfig.from_vision_text_configs(ViTConfig(**vit), BertConfig(**bert))
    yield (peer := measured("VisionTextDualEncoderModel, ViT-B/16 + BERT", VisionTextDualEncoderModel(dual), pairs))
    yield measured("LatentCLIP, ViT-B/16 + BERT", latent_clip(towers), pairs, peer[1]["samples/s"])
    with tempfile.TemporaryDirectory() as folder:
        model = CLIPModel(CLIPConfig(text_config=_clip_text(small, options), vision_config=vit))
        model.save_pretrained(folder)
        yield (peer := measured("CLIPModel, ViT-B/16", model, pairs))
        ours = LatentCLIP.from_clip_pretrained(folder)
        yield measured("LatentCLIP from that CLIPModel", ours, pairs, peer[1]["samples/s"])

    towers["image"] = {"model_type": "resnet", **resnet}
    yield measured("LatentCLIP, ResNet-50 + BERT", latent_clip(towers), pairs)
    yield _albef(options)
    towers["image"] = {"model_type": "vit", **vit}
    plain = latent_clip(towers, in_modal=True)
    yield (two := measured("LatentCLIP, ViT-B/16 + BERT, two views", plain, pairs | second))
    regularized = latent_clip(towers, in_modal=True, regularizers=REGULARIZERS)
    yield measured("the same with 5 regularizers", regularized, pairs | second, two[1]["samples/s"])
    if options.device == "cuda":  # last, since compiling may take the rest of the time
        yield measured("LatentCLIP, ViT-B/16 + BERT, compiled", latent_clip(towers), pairs, compiled=True)


def latent_clip(towers: dict[str, dict[str, Any]], **options: Any) -> LatentCLIP:
    modalities = {name: {"encoder": "auto", "config": config} for name, config in towers.items()}
    return LatentCLIP(LatentCLIPConfig(modalities=modalities, learn_temperature=False, **options))


def _clip_text(small: dict[str, int], options: Options) -> dict[str, Any]:
    return {**(small if options.toy else {}), "vocab_size": 30_522, "eos_token_id": 2}


def _seconds(model: Any, inputs: dict[str, torch.Tensor], options: Options, compiled: bool = False) -> float:
    model = model.to(options.device).train()
    run = torch.compile(model) if compiled else model
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-5, fused=options.device == "cuda")

    def step() -> None:
        with half(options.device):
            loss = run(**inputs, return_loss=True).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return seconds_a_step(step, options.device, 0.05 if options.toy else 2.5)


def _albef(options: Options) -> Row:
    batch = 8 if options.toy else 128
    model, inputs = albef_step.build("quick" if options.toy else "base", batch)
    model = model.to(options.device).train()
    inputs = {name: values.to(options.device) for name, values in inputs.items()}
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-5, fused=options.device == "cuda")

    def step() -> None:
        albef_step.our_step(model, inputs, optimizer, half(options.device))

    seconds = seconds_a_step(step, options.device, 0.05 if options.toy else 2.5)
    return TITLE, {"model": "LatentALBEF, base, 256 px", "batch": batch, "samples/s": batch / seconds}
