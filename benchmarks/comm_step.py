"""Seconds for one CoMM training step: ours, and the official code's on the same architecture and the same batch.

    python benchmarks/comm_step.py --peer PATH/TO/CoMM --batch 64 --image-size 224 --threads 2

PATH/TO/CoMM is a checkout of the official repository of Dufumier et al. It needs einops (`pip install einops`), which
hf_latent does not depend on; Lightning and torchvision are not needed: an AlexNet is restated here, and SyncBatchNorm,
which refuses CPUs, becomes BatchNorm1d. A step is forward, loss, backward and AdamW on two views of pairs of images;
the images are random mosaics. The variants take turns within one run, and the first turn is not counted. Then the
official weights are copied into our model, and loss and gradient are compared with the official ones in float64;
`--steps 0` does only that.
"""

import argparse
import importlib
import os
import platform
import re
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from copy import deepcopy
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hf_latent import CoMMConfig, CoMMModel
from hf_latent.models.encoders import AlexNetEncoder
from hf_latent.models.latent_converter import grid_positions

DIM, HIDDEN, PROJECTED, TEMPERATURE = 512, 512, 256, 0.1
Views = tuple[list[Tensor], list[Tensor]]  # two views of a batch, one image tensor a modality in each
Loss = Callable[[Any, Views], Tensor]

# Names of weights in the official code, and ours.
RENAMED = {
    r"encoder\.encoders\.(\d)\.features": r"encoders.image\1.layers",
    r"encoder\.input_adapters\.(\d)\.proj": r"converters.image\1.projection",
    r"encoder\.fusion_transformer": "fusion",
    r"cls_token": "class_token",
    r"resblocks": "layers",
    r"attn\.out_proj": "output",
    r"ln_1": "attention_norm",
    r"ln_2": "mlp_norm",
    r"mlp\.c_fc": "expand",
    r"mlp\.c_proj": "contract",
}


class AlexNet(nn.Module):
    """What the official encoder inherits from torchvision: the layers of AlexNet below its classifier."""

    def __init__(self, dropout: float = 0.5) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        shapes = ((3, 64, 11, 4, 2), (64, 192, 5, 1, 2), (192, 384, 3, 1, 1), (384, 256, 3, 1, 1), (256, 256, 3, 1, 1))
        for i, shape in enumerate(shapes):
            layers += [nn.Conv2d(*shape), nn.ReLU(inplace=True)]
            if i in (0, 1, 4):
                layers.append(nn.MaxPool2d(kernel_size=3, stride=2))
        self.features = nn.Sequential(*layers)


def official_model(checkout: Path, side: int) -> Any:
    """The official CoMM as its Trifeature configuration has it, for feature maps of `side` by `side`."""
    if not (checkout / "pl_modules" / "comm.py").is_file():
        raise SystemExit(f"--peer {checkout}: no pl_modules/comm.py there; name a checkout of the CoMM repository")
    stubs: dict[str, dict[str, Any]] = {
        "pytorch_lightning": {"LightningModule": nn.Module},
        "torchvision": {},
        "torchvision.models": {"AlexNet": AlexNet},
        # A single process gathers nothing, in the official function too; the rest serves their optimizer setup only.
        "utils": {
            "all_gather_batch_with_grad": lambda tensors: tensors,
            "set_weight_decay_per_param": None,
            "LinearWarmupCosineAnnealingLR": None,
        },
    }
    installed = {name: sys.modules.pop(name) for name in stubs if name in sys.modules}
    for name, attributes in stubs.items():
        sys.modules[name] = ModuleType(name)
        vars(sys.modules[name]).update(attributes)
    sys.path.insert(0, str(checkout))
    try:
        files = ("models.alexnet", "models.input_adapters", "models.mmfusion", "pl_modules.comm")
        alexnet, adapters, mmfusion, comm = (importlib.import_module(file) for file in files)
    except ModuleNotFoundError as error:
        raise SystemExit(f"--peer: the official code needs {error.name}: pip install {error.name}") from None
    finally:
        sys.path.remove(str(checkout))
        for name in stubs:
            del sys.modules[name]
        sys.modules.update(installed)

    encoders = [alexnet.AlexNetEncoder(latent_dim=256, global_pool="") for _ in range(2)]
    converters = [adapters.PatchedInputAdapter(256, 1, 1, dim_tokens=DIM, image_size=side) for _ in range(2)]
    fusion = mmfusion.MMFusion(encoders, converters, embed_dim=DIM, pool="cls", n_heads=8, n_layers=1)
    layers = comm.CoMM._build_mlp(DIM, HIDDEN, PROJECTED)
    head = (nn.BatchNorm1d(HIDDEN) if isinstance(layer, nn.SyncBatchNorm) else layer for layer in layers)
    return comm.CoMM(fusion, nn.Sequential(*head), optim_kwargs={}, loss_kwargs={"temperature": TEMPERATURE}).train()


def official_loss(model: Any, views: Views) -> Tensor:
    return model.loss(model(*views))["loss"]


def our_model() -> CoMMModel:
    """With one fusion layer of eight heads, as is our default."""
    modalities = {f"image{i}": {"encoder": "alexnet"} for i in range(2)}
    config = CoMMConfig(
        modalities=modalities,
        embed_dim=DIM,
        projection_hidden_dim=HIDDEN,
        projection_dim=PROJECTED,
        temperature=TEMPERATURE,
    )
    return CoMMModel(config).train()


def our_loss(model: CoMMModel, views: Views) -> Tensor:
    first, second = ({f"image{i}": {"pixel_values": image} for i, image in enumerate(view)} for view in views)
    return model(first, second).loss


def our_loss_bf16(model: CoMMModel, views: Views) -> Tensor:
    """Under autocast; the model itself keeps everything after the encoders in float32."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return our_loss(model, views)


def random_views(batch: int, size: int) -> Views:
    """Mosaics of 8 x 8 random colors, normalised: unlike white noise they differ after a few layers, as photos do."""
    first, second = ([F.interpolate(torch.randn(batch, 3, 8, 8), size) for _ in range(2)] for _ in range(2))
    return first, second


def time_steps(variants: dict[str, tuple[Any, Loss]], views: Views, steps: int) -> dict[str, list[float]]:
    """Seconds of each step of each variant, in turns; the turn that warms up is left out."""
    optimizers = [torch.optim.AdamW(model.parameters(), lr=3e-4, weight_decay=1e-4) for model, _ in variants.values()]
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(steps + 1):
        for optimizer, (name, (model, loss_of)) in zip(optimizers, variants.items(), strict=True):
            start = time.perf_counter()
            optimizer.zero_grad()
            loss_of(model, views).backward()
            optimizer.step()
            seconds[name].append(time.perf_counter() - start)
    return {name: taken[1:] for name, taken in seconds.items()}


def translated(official: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Official weights, or gradients, under our names and in our shapes."""
    ours = {}
    for name, tensor in official.items():
        if "classifier" in name or "pos_emb" in name:  # the one is never called, the other is fixed
            continue
        for pattern, replacement in RENAMED.items():
            name = re.sub(pattern, replacement, name)
        if "attn.in_proj_" in name:
            ours[name.replace("attn.in_proj_", "query.")] = tensor[:DIM]
            ours[name.replace("attn.in_proj_", "key_value.")] = tensor[DIM:]
        else:
            ours[name] = tensor.flatten(1) if "projection.weight" in name else tensor  # a 1 x 1 convolution
    return ours


def loss_and_gradient(model: Any, loss_of: Loss, views: Views, names: list[str]) -> tuple[float, Tensor]:
    """The gradient as one vector, in the order of `names`."""
    model.zero_grad()
    loss = loss_of(model, views)
    loss.backward()
    gradients = {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}
    gradients = gradients if isinstance(model, CoMMModel) else translated(gradients)
    return loss.item(), torch.cat([gradients[name].double().flatten() for name in names])


def compare(official: Any, side: int, views: Views, bf16: bool) -> None:
    """Print how far positions, losses and gradients lie apart when both models have the same weights."""
    ours = our_model()
    ours.load_state_dict(translated(official.state_dict()))
    official = deepcopy(official)
    positions = grid_positions(side, side, DIM, like=torch.zeros((), dtype=torch.float64))
    for adapter in official.encoder.input_adapters:
        theirs = adapter.pos_emb.double().flatten(2).squeeze(0).T
        adapter.pos_emb.data = positions.T.reshape(1, DIM, side, side)
    apart = (positions - theirs).abs().max()
    print(f"\nPositions of {side} x {side} tokens differ by {apart:.1e} (theirs are float32); below both use ours.\n")

    names = [name for name, _ in ours.named_parameters()]
    doubles: Views = ([image.double() for image in views[0]], [image.double() for image in views[1]])
    loss, gradient = loss_and_gradient(deepcopy(official).double(), official_loss, doubles, names)
    print(f"Against the official code in float64, {len(views[0][0])} pairs, loss {loss:.6f}:\n")
    print("| variant | loss, relative difference | gradient, relative difference | gradient, cosine |")
    print("|---|---|---|---|")
    rows: list[tuple[str, Any, Loss, Views]] = [
        ("ours, float64", deepcopy(ours).double(), our_loss, doubles),
        ("official, float32", official.float(), official_loss, views),
        ("ours, float32", ours, our_loss, views),
        ("ours, bf16 encoders", ours, our_loss_bf16, views),
    ]
    for name, model, loss_of, batch in rows if bf16 else rows[:-1]:
        value, vector = loss_and_gradient(model, loss_of, batch, names)
        relative = (vector - gradient).norm() / gradient.norm()
        cosine = F.cosine_similarity(vector, gradient, dim=0)
        print(f"| {name} | {abs(value - loss) / loss:.1e} | {relative:.1e} | {cosine:.4f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", type=Path, required=True, help="checkout of the official CoMM repository")
    parser.add_argument("--batch", type=int, default=64, help="pairs a step (default 64)")
    parser.add_argument("--image-size", type=int, default=224, help="side of the images in pixels (default 224)")
    parser.add_argument("--steps", type=int, default=5, help="steps of each variant that count (default 5)")
    parser.add_argument("--threads", type=int, default=2, help="torch threads (default 2)")
    parser.add_argument("--no-bf16", action="store_true", help="leave out the variant with bf16 encoders")
    parser.add_argument("--check-batch", type=int, default=4, help="pairs of the comparison, 2 or more (default 4)")
    arguments = parser.parse_args()
    if arguments.check_batch < 2:
        parser.error("--check-batch: BatchNorm needs 2 or more")
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)

    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    bf16 = not arguments.no_bf16 and any(present for key, present in capabilities.items() if "bf16" in key)
    side = AlexNetEncoder()(torch.zeros(1, 3, arguments.image_size, arguments.image_size)).grid[0]
    official = official_model(arguments.peer, side)
    weights = deepcopy(official)

    cores = f"{os.cpu_count()} cores, {torch.get_num_threads()} threads"
    print(f"{platform.machine()}, {cores}, Python {platform.python_version()}, PyTorch {torch.__version__}")
    if arguments.steps:
        variants: dict[str, tuple[Any, Loss]] = {
            "official, float32": (official, official_loss),
            "ours, float32": (our_model(), our_loss),
        }
        if bf16:
            variants["ours, bf16 encoders"] = (our_model(), our_loss_bf16)
        seconds = time_steps(variants, random_views(arguments.batch, arguments.image_size), arguments.steps)
        print(f"{arguments.batch} pairs of {arguments.image_size} px images, {arguments.steps} steps of each\n")
        print("| variant | median s/step | best s/step | pairs/s | speed-up |")
        print("|---|---|---|---|---|")
        base = statistics.median(seconds["official, float32"])
        for name, taken in seconds.items():
            median = statistics.median(taken)
            rate = f"{arguments.batch / median:.1f} | {base / median:.2f}x"
            print(f"| {name} | {median:.3f} | {min(taken):.3f} | {rate} |", flush=True)
    compare(weights, side, random_views(arguments.check_batch, arguments.image_size), bf16)


if __name__ == "__main__":
    main()
