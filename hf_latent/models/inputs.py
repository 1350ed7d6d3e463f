"""Raw values of one modality as tensors; the processors and the collator are made of these."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .images import read_image

IMAGENET_MEAN = [0.485, 0.456, 0.406]
IMAGENET_STD = [0.229, 0.224, 0.225]
MAX_LENGTH = 77  # of a caption in tokens, where nobody knows another limit (as CLIP)


def stack_images(name: str, values: Sequence[Any], size: int) -> dict[str, Tensor]:
    """PIL images or uint8 arrays as `pixel_values`: arrays of one size stay uint8, others become `size` x `size`.

    Where the rows are lists of images, as many in each, `pixel_values` is `(batch, images, 3, height, width)`.
    """
    count = images_per_row(name, values)
    rows = [[value] for value in values] if count is None else values
    images = [_pixels(name, number, value) for number, row in enumerate(rows) for value in row]
    decoded = any(hasattr(value, "convert") for row in rows for value in row)
    if not decoded and len({image.shape for image in images}) == 1:
        pixels = torch.stack(images)
    else:
        # Decoded pictures come in any size: all are resized, so that a row never depends on its neighbours.
        pixels = torch.cat([resized(image.unsqueeze(0).float() / 255, size) for image in images])
    return {"pixel_values": pixels if count is None else pixels.unflatten(0, (len(rows), count))}


def images_per_row(name: str, values: Sequence[Any]) -> int | None:
    """How many images each row is a list of; None where a row is an image, and not a list."""
    counts = [len(value) if isinstance(value, list | tuple) else None for value in values]
    for row, count in enumerate(counts):
        if count == 0:
            raise ValueError(f"row {row} of modality {name!r}: a list without an image")
        if count != counts[0]:
            first, here = ("an image" if n is None else f"a list of {n}" for n in (counts[0], count))
            raise ValueError(f"row {row} of modality {name!r} is {here}, row 0 is {first}: give as many to each row")
    return counts[0] if counts else None


def _pixels(name: str, row: int, value: Any) -> Tensor:
    """One image as uint8 `(3, height, width)`."""
    if isinstance(value, Tensor) and value.dtype == torch.uint8 and value.ndim == 3 and len(value) == 3:
        return value
    pixels = value
    if not (isinstance(value, np.ndarray) and value.dtype == np.uint8 and value.ndim == 3 and value.shape[2] == 3):
        try:
            pixels = np.asarray(read_image(value))
        except ValueError as error:
            raise ValueError(f"row {row} of modality {name!r} is not an image that can be read: {error}") from None
    # A view is enough, stacking copies; but torch takes no array that is read-only.
    return torch.from_numpy(pixels if pixels.flags.writeable else pixels.copy()).permute(2, 0, 1)


def normalised(images: Tensor, size: int, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Images `(..., 3, height, width)`, uint8 or float in 0 to 1, at `size` x `size`, with `mean` and `std` of each
    channel taken out."""
    leading = images.shape[:-3]
    images = images.flatten(0, -4)
    images = images.float() / 255 if images.dtype == torch.uint8 else images
    means, stds = (torch.tensor(list(values), dtype=torch.float32).view(1, 3, 1, 1) for values in (mean, std))
    return ((resized(images, size) - means) / stds).unflatten(0, leading)


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
    for number, row in enumerate(rows):
        if row.shape != rows[0].shape:
            shapes = f"row {number} of modality {name!r} is {tuple(row.shape)}, row 0 is {tuple(rows[0].shape)}"
            raise ValueError(f"rows of different shapes: {shapes}")
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
