"""Pictures a second from JPEG files to the tensors of a batch, on one core, beside a plain loop over Pillow.

    python benchmarks/pictures.py

Each row reads the same 500 x 375 px JPEG files and ends in uint8 `(batch, 3, 224, 224)`.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from io import BytesIO

import numpy as np
import torch
from PIL import Image

from hf_latent import CoMMProcessor, Views, build_view
from hf_latent.data.collator import LatentCollator

SIZE = 224


def jpeg(seed: int) -> bytes:
    """A smooth random picture with some noise, about as large a file as a photo of its size."""
    draw = np.random.default_rng(seed)
    coarse = Image.fromarray(draw.integers(0, 256, (12, 16, 3), dtype=np.uint8)).resize((500, 375), Image.BICUBIC)
    noisy = np.asarray(coarse, dtype=np.int16) + draw.integers(-12, 13, (375, 500, 3))
    file = BytesIO()
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=90)
    return file.getvalue()


def plain_loop(files: list[bytes]) -> torch.Tensor:
    """What a training script without a library writes."""
    pictures = []
    for file in files:
        image = Image.open(BytesIO(file)).convert("RGB").resize((SIZE, SIZE), Image.BILINEAR)
        pictures.append(torch.from_numpy(np.array(image)).permute(2, 0, 1))
    return torch.stack(pictures)


def collated(fit: str, crops: bool) -> Callable[[list[bytes]], torch.Tensor]:
    """The collator of a recipe whose view has this fit, with random crops or without."""
    processor = CoMMProcessor({"image": {"kind": "image", "size": SIZE, "fit": fit}})
    collator = LatentCollator(processor)
    if crops:
        view = build_view("image", size=SIZE, fit=fit)
        collator.cut_crops(Views({"image": view}, seed=0), {"image": [0]}, global_rows=32)

    def batch(files: list[bytes]) -> torch.Tensor:
        rows = [{"image": file, "place": place} for place, file in enumerate(files)]
        return collator(rows)["modalities"]["image"]["pixel_values"]

    return batch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=256)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    files = [jpeg(seed) for seed in range(options.pictures)]
    batches = [files[start : start + options.batch] for start in range(0, len(files), options.batch)]
    ways = {
        "Pillow in a loop": plain_loop,
        "collator, fit: squash": collated("squash", crops=False),
        "collator, fit: crop": collated("crop", crops=False),
        "collator, fit: pad": collated("pad", crops=False),
        "collator, random crops": collated("squash", crops=True),
    }
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(options.repeats):
        for name, way in ways.items():
            began = time.perf_counter()
            for batch in batches:
                way(batch)
            speeds[name].append(len(files) / (time.perf_counter() - began))
    print("| way | pictures a second, median | lowest | highest |\n|---|---|---|---|")
    for name, found in speeds.items():
        print(f"| {name} | {statistics.median(found):.0f} | {min(found):.0f} | {max(found):.0f} |")


if __name__ == "__main__":
    main()
