"""CoMM's training step at 224 px: ours against the structure of the official one, the model alone and end to end.

The official structure is restated on the weights of our model: each view is encoded by itself, each subset of the
modalities is fused whole and by itself, the head and the whole matrix of NT-Xent are computed for each term, all in
float32; images are augmented by Pillow, one at a time, in the workers of a data loader. Loss and gradient of both are
compared in float64 first.
"""

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from hf_latent import CoMMConfig, CoMMModel, Views, build_view

from ..views import pillow_view
from .common import Options, Row, half, seconds_a_step

NAMES = ("image1", "image2")
Images = dict[str, dict[str, Tensor]]


def build(options: Options) -> CoMMModel:
    torch.manual_seed(0)
    small = {"embed_dim": 32, "projection_hidden_dim": 16, "projection_dim": 8}
    spec = {"encoder": "cnn", "channels": [8, 16]} if options.toy else {"encoder": "alexnet"}
    return CoMMModel(CoMMConfig(modalities={name: dict(spec) for name in NAMES}, **(small if options.toy else {})))


def official_loss(model: Any, first: Images, second: Images) -> Tensor:
    """The mean over the n + 1 terms of both directions of NT-Xent, computed as the official code does."""
    subsets = [[0], [1], [0, 1]]
    views = []
    for view in (first, second):
        tokens = [model.converters[name](model.encoders[name](**view[name])) for name in NAMES]
        views.append([_project(model, _fused(model, [tokens[i] for i in subset])) for subset in subsets])
    (z1, z2), scale = views, model.scale
    terms = [(_nt_xent(a, z2[-1], scale) + _nt_xent(b, z1[-1], scale)) / 2 for a, b in zip(z1, z2, strict=True)]
    return torch.stack(terms).mean()


def _fused(model: Any, tokens: list[Tensor]) -> Tensor:
    hidden = torch.cat([model.fusion.class_token.expand(len(tokens[0]), -1, -1), *tokens], dim=1)
    for layer in model.fusion.layers:
        normed = layer.attention_norm(hidden)
        projected = (layer.query(normed), *layer.key_value(normed).chunk(2, dim=-1))
        heads = [part.unflatten(-1, (layer.num_heads, -1)).transpose(1, 2) for part in projected]
        hidden = hidden + layer.output(F.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2))
        expanded = layer.expand(layer.mlp_norm(hidden))
        hidden = hidden + layer.contract(expanded * torch.sigmoid(1.702 * expanded))
    return model.fusion.norm(hidden)[:, 0]


def _project(model: Any, rows: Tensor) -> Tensor:
    return F.normalize(model.head(rows), dim=-1)


def _nt_xent(first: Tensor, second: Tensor, scale: float) -> Tensor:
    both, batch = torch.cat([first, second]), len(first)
    logits = scale * both @ both.T
    logits = logits - 1e8 * torch.eye(2 * batch, device=both.device, dtype=both.dtype)
    return F.cross_entropy(logits, torch.arange(2 * batch, device=both.device).roll(batch))


class AugmentedByPillow(Dataset):
    """Two views of each of the two images of a row, as the workers of the official code make them."""

    def __init__(self, pictures: np.ndarray, size: int) -> None:
        self.pictures, self.view = pictures, build_view("image", size=size)

    def __len__(self) -> int:
        return 1_000_000

    def __getitem__(self, i: int) -> list[np.ndarray]:
        images = [Image.fromarray(self.pictures[(i + k) % len(self.pictures)]) for k in range(2)]
        draw = random.Random(i)
        return [pillow_view(image, self.view, draw) for image in images for _ in range(2)]


def run(options: Options) -> Iterator[Row]:
    size, batch = (32, 8) if options.toy else (224, 64)
    device, share = options.device, 0.05 if options.toy else 3.0
    yield "Against the official structure in float64", _difference(options, size)

    pictures = np.random.default_rng(0).integers(0, 256, (2 * batch, size, size, 3), dtype=np.uint8)
    views = Views({name: build_view("image", size=size) for name in NAMES}, seed=0)
    held = torch.from_numpy(pictures).permute(0, 3, 1, 2).to(device)
    pixels = {name: {"pixel_values": held[i * batch : (i + 1) * batch]} for i, name in enumerate(NAMES)}
    fixed = [views.augmented(pixels, view=k) for k in range(2)]
    position = iter(range(0, 10**9, batch))

    def drawn() -> list[Images]:
        start = next(position)
        return [views.augmented(pixels, view=k, position=start) for k in range(2)]

    loader = iter(
        DataLoader(AugmentedByPillow(pictures, size), batch, num_workers=options.workers, pin_memory=device == "cuda")
    )

    def loaded() -> list[Images]:
        parts = [part.to(device, non_blocking=True) for part in next(loader)]
        return [{name: {"pixel_values": parts[2 * i + k]} for i, name in enumerate(NAMES)} for k in range(2)]

    ways = {
        "official structure, float32": (official_loss, False, loaded),
        "ours, float32": (_our_loss, False, drawn),
        "ours, bf16 encoders": (_our_loss, True, drawn),
    }
    base: dict[str, float] = {}
    for inputs in ("model alone", "end to end"):
        for name, (loss_of, bf16, source) in ways.items():
            model = build(options).to(device).train()
            optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, weight_decay=1e-4, fused=device == "cuda")

            def step(
                model=model, optimizer=optimizer, loss_of=loss_of, bf16=bf16, source=source, inputs=inputs
            ) -> None:
                first, second = fixed if inputs == "model alone" else source()
                with half(device, bf16):
                    loss = loss_of(model, first, second)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()

            seconds = seconds_a_step(step, device, share)
            base.setdefault(inputs, seconds)
            row = {"step": name, "": inputs, "ms": 1000 * seconds, "pairs/s": batch / seconds}
            yield f"One step of {batch} pairs at {size} px", {**row, "speed-up": base[inputs] / seconds}


def _our_loss(model: CoMMModel, first: Images, second: Images) -> Tensor:
    return model(first, second, return_loss=True).loss


def _difference(options: Options, size: int) -> dict[str, float]:
    """On the device, four pairs of mosaics."""
    model = build(options).double().to(options.device).train()
    generator = torch.Generator().manual_seed(0)
    mosaics = [torch.randn(4, 3, 8, 8, generator=generator, dtype=torch.float64) for _ in range(4)]
    images = [F.interpolate(mosaic, size).to(options.device) for mosaic in mosaics]
    first, second = ({n: {"pixel_values": images[2 * k + i]} for i, n in enumerate(NAMES)} for k in range(2))
    found = []
    for loss_of in (official_loss, _our_loss):
        loss = loss_of(model, first, second)
        used = [weight for weight in model.parameters() if weight.requires_grad]
        gradient = torch.autograd.grad(loss, used, allow_unused=True)
        found.append((loss, torch.cat([part.flatten() for part in gradient if part is not None])))
    (theirs, expected), (ours, gradient) = found
    relative = ((gradient - expected).norm() / expected.norm()).item()
    return {"loss, relative difference": abs(1 - (ours / theirs).item()), "gradient, relative difference": relative}
