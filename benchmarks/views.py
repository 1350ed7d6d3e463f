"""Images per second of batched `ImageView` against the same augmentations by Pillow, one image at a time.

    python benchmarks/views.py --sizes 64 224 --threads 1

Both start from decoded images, 8/7 of the output's side (up to 64 pixels: of that side), and end in one normalised
float32 tensor (B, 3, S, S). They take turns within one run; the table gives medians. Pillow uses one thread.
"""

import argparse
import math
import random
import statistics
import time

import numpy as np
import torch
from PIL import Image, ImageEnhance, ImageFilter

from hf_latent.views import ImageView, Views


def pillow_view(image: Image.Image, view: ImageView, rng: random.Random) -> np.ndarray:
    """`view` of one image with Pillow: the per-sample pipeline that data loaders run, float32 (3, S, S)."""
    width, height = image.size
    for _ in range(10):
        area = rng.uniform(*view.crop_scale) * width * height
        ratio = math.exp(rng.uniform(*map(math.log, view.crop_ratio)))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            break
    else:
        w, h = width, height
    left, top = rng.randint(0, width - w), rng.randint(0, height - h)
    image = image.resize((view.size, view.size), Image.Resampling.BILINEAR, box=(left, top, left + w, top + h))
    if rng.random() < view.flip:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if rng.random() < view.jitter_probability:
        *strengths, turn = view.jitter
        enhancers = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
        for enhancer, strength in zip(enhancers, strengths, strict=True):
            image = enhancer(image).enhance(rng.uniform(max(0, 1 - strength), 1 + strength))
        hue, saturation, value = image.convert("HSV").split()
        shift = round(255 * rng.uniform(-turn, turn))
        hue = hue.point([(level + shift) % 256 for level in range(256)])
        image = Image.merge("HSV", (hue, saturation, value)).convert("RGB")
    if rng.random() < view.grayscale:
        image = image.convert("L").convert("RGB")
    if rng.random() < view.blur:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(*view.blur_sigma)))
    mean, std = np.array(view.mean, dtype=np.float32), np.array(view.std, dtype=np.float32)
    pixels = np.asarray(image, dtype=np.float32) / 255
    return ((pixels - mean) / std).transpose(2, 0, 1)


def measure(size: int, rows: int, repeats: int) -> tuple[float, float]:
    """Median images per second of ours and of Pillow."""
    side = size if size <= 64 else size * 8 // 7
    pixels = torch.randint(0, 256, (rows, 3, side, side), dtype=torch.uint8)
    images = [Image.fromarray(array) for array in pixels.permute(0, 2, 3, 1).numpy()]
    view, rng = ImageView(size=size), random.Random(0)
    views, batch = Views({"image": view}), {"image": {"pixel_values": pixels}}
    ours, pillow = [], []
    for turn in range(repeats + 1):
        start = time.perf_counter()
        views.augmented(batch, view=1, position=rows * turn)
        between = time.perf_counter()
        torch.from_numpy(np.stack([pillow_view(image, view, rng) for image in images]))
        ours.append(rows / (between - start))
        pillow.append(rows / (time.perf_counter() - between))
    return statistics.median(ours[1:]), statistics.median(pillow[1:])  # the first turn warms up


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 224], help="sides of the output, pixels")
    parser.add_argument("--rows", type=int, default=128, help="images a batch")
    parser.add_argument("--repeats", type=int, default=11, help="turns of each; the median is shown")
    parser.add_argument("--threads", type=int, default=1, help="torch threads")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    print("| output | Pillow, per image | batched | ratio |")
    print("|---|---|---|---|")
    for size in options.sizes:
        ours, pillow = measure(size, options.rows, options.repeats)
        print(f"| {size} px | {pillow:,.0f} img/s | {ours:,.0f} img/s | {ours / pillow:.1f}x |", flush=True)


if __name__ == "__main__":
    main()
