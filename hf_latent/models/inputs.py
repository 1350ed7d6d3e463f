"""Raw values of one modality as tensors; the processors and the collator are made of these."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

IMAGENET_MEAN = [0.485, 0.456, 0.406]
IMAGENET_STD = [0.229, 0.224, 0.225]


def stack_images(name: str, values: Sequence[Any], size: int) -> dict[str, Tensor]:
    """PIL images or uint8 arrays as `pixel_values`: arrays of one size stay uint8, others become `size` x `size`."""
    images = [_pixels(name, row, value) for row, value in enumerate(values)]
    decoded = any(hasattr(value, "convert") for value in values)
    if not decoded and len({image.shape for image in images}) == 1:
        return {"pixel_values": torch.stack(images)}
    # Decoded pictures come in any size: all are resized, so that a row never depends on its neighbours.
    return {"pixel_values": torch.cat([resized(image.unsqueeze(0).float() / 255, size) for image in images])}


def _pixels(name: str, row: int, value: Any) -> Tensor:
    """One image as uint8 `(3, height, width)`."""
    pixels = np.array(value.convert("RGB")) if hasattr(value, "convert") else value
    if isinstance(pixels, np.ndarray) and pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3:
        # A view is enough, stacking copies; but torch takes no array that is read-only.
        pixels = torch.from_numpy(pixels if pixels.flags.writeable else pixels.copy()).permute(2, 0, 1)
    if not isinstance(pixels, Tensor) or pixels.ndim != 3 or len(pixels) != 3 or pixels.dtype != torch.uint8:
        found = f"{type(value).__name__} {tuple(getattr(value, 'shape', ()))} {getattr(value, 'dtype', '')}"
        raise ValueError(f"row {row} of modality {name!r}: expected an RGB image, found {found.strip()}")
    return pixels


def normalised(images: Tensor, size: int, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Images, uint8 or float in 0 to 1, at `size` x `size`, with `mean` and `std` of each channel taken out."""
    images = images.float() / 255 if images.dtype == torch.uint8 else images
    means, stds = (torch.tensor(list(values), dtype=torch.float32).view(1, 3, 1, 1) for values in (mean, std))
    return (resized(images, size) - means) / stds


def resized(images: Tensor, size: int) -> Tensor:
    """Float images `(batch, 3, height, width)` at `size` x `size`: bilinear, with antialias; a no-op if they fit."""
    if images.shape[-2:] == (size, size):
        return images
    return F.interpolate(images, size=(size, size), mode="bilinear", antialias=True, align_corners=False)


def tokenize(
    name: str,
    values: Sequence[Any],
    tokenizer: Any,
    max_length: int,
    word_ids: bool = False,
    padding: str = "longest",
) -> dict[str, Tensor]:
    """Sentences as `input_ids` and `attention_mask`, padded to the longest or to `max_length`, and cut there.

    With `word_ids`, also the word that each token belongs to, -1 where none.
    """
    for row, text in enumerate(values):
        if not isinstance(text, str) or not text.strip():
            raise ValueError(f"row {row} of modality {name!r}: expected a sentence, found {text!r}")
    tokens = tokenizer(list(values), padding=padding, truncation=True, max_length=max_length, return_tensors="pt")
    inputs = dict(tokens)
    if word_ids:
        if not tokenizer.is_fast:
            raise ValueError(f"the tokenizer of modality {name!r} does not tell words apart: write kind: text or none")
        words = [[-1 if w is None else w for w in tokens.word_ids(row)] for row in range(len(values))]
        inputs["word_ids"] = torch.tensor(words)
    return inputs


def stack_numbers(name: str, values: Sequence[Any]) -> dict[str, Tensor]:
    """Float arrays of one shape as `values`."""
    rows = [_numbers(name, row, value) for row, value in enumerate(values)]
    shapes = {tuple(row.shape) for row in rows}
    if len(shapes) > 1:
        raise ValueError(f"modality {name!r}: rows of different shapes, {sorted(shapes)}")
    return {"values": torch.stack(rows)}


def stack_series(name: str, values: Sequence[Any]) -> dict[str, Tensor]:
    """Float arrays `(length, input_dim)` as `values`, zero-padded to the longest, and `attention_mask`."""
    rows = [_numbers(name, row, value) for row, value in enumerate(values)]
    for number, row in enumerate(rows):
        if row.ndim != 2 or len(row) == 0 or row.shape[1] != rows[0].shape[-1]:
            found = tuple(row.shape)
            raise ValueError(f"row {number} of modality {name!r}: expected (length, input_dim), found {found}")
    length = max(len(row) for row in rows)
    mask = torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in rows])
    return {"values": torch.nn.utils.rnn.pad_sequence(rows, batch_first=True), "attention_mask": mask}


def _numbers(name: str, row: int, value: Any) -> Tensor:
    tensor = torch.as_tensor(np.asarray(value, dtype=np.float32))
    if not torch.isfinite(tensor).all():
        raise ValueError(f"row {row} of modality {name!r} holds NaN or infinity")
    return tensor
