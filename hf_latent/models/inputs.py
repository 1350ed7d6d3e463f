"""Raw values of one modality as tensors; the processors and the collator are made of these."""

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .images import read_image

IMAGENET_MEAN = [0.485, 0.456, 0.406]
IMAGENET_STD = [0.229, 0.224, 0.225]


def stack_images(
    name: str, values: Sequence[Any], size: int, fit: Callable[[list[Image.Image]], Tensor], keep: bool = True
) -> dict[str, Tensor]:
    """Images as `pixel_values`, uint8 `(batch, 3, size, size)`.

    Where the rows are lists of images, as many in each, `pixel_values` is `(batch, images, 3, size, size)`.

    Args:
        name: Of the modality.
        values: What [`read_image`] takes.
        size: Side of the squares, in pixels.
        fit: Makes squares of images.
        keep: Take uint8 arrays that are such squares as they are.

    Raises:
        ValueError: If one cannot be read; it names the row.
    """
    count = images_per_row(name, values)
    rows = [[value] for value in values] if count is None else values
    flat = [value for row in rows for value in row]
    squares = [_square(value, size) if keep else None for value in flat]
    if all(square is not None for square in squares):
        pixels = torch.stack(cast(list[Tensor], squares))
    else:
        numbered = ((number, value) for number, row in enumerate(rows) for value in row)
        pixels = fit([read_row(name, number, value) for number, value in numbered])
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


def read_row(name: str, row: int, value: Any) -> Image.Image:
    """[`read_image`] of a value; a ValueError names its row."""
    try:
        return read_image(value)
    except ValueError as error:
        raise ValueError(f"row {row} of modality {name!r} is not an image that can be read: {error}") from None


def _square(value: Any, size: int) -> Tensor | None:
    """A uint8 array or tensor of the right size as `(3, size, size)`; None of everything else."""
    if isinstance(value, np.ndarray) and value.dtype == np.uint8 and value.shape == (size, size, 3):
        # A view is enough, stacking copies; but torch takes no array that is read-only.
        return torch.from_numpy(value if value.flags.writeable else value.copy()).permute(2, 0, 1)
    right = isinstance(value, Tensor) and value.dtype == torch.uint8 and value.shape == (3, size, size)
    return value if right else None


def normalised(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Images `(..., 3, height, width)`, uint8, as floats with `mean` and `std` of each channel taken out."""
    means, stds = (torch.tensor(list(values), dtype=torch.float32).view(3, 1, 1) for values in (mean, std))
    return images.to(torch.float32, copy=True).div_(255).sub_(means).div_(stds)


def tokenize(
    name: str,
    values: Sequence[Any],
    tokenizer: Any,
    max_length: int,
    word_ids: bool = False,
    padding: bool | str = "longest",
    truncation: bool | str = True,
) -> dict[str, Tensor]:
    """Sentences as `input_ids` and `attention_mask`, padded to the longest or to `max_length`, and cut there.

    With `word_ids`, also the word that each token belongs to, -1 where none.
    """
    for row, text in enumerate(values):
        if not isinstance(text, str) or not text.strip():
            raise ValueError(f"row {row} of modality {name!r}: expected a sentence, found {text!r}")
    options: Any = {"padding": padding, "truncation": truncation, "max_length": max_length, "return_tensors": "pt"}
    tokens = tokenizer(list(values), **options, return_attention_mask=True)  # views need it where the model does not
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
    if value is None:
        raise ValueError(f"row {row} of modality {name!r} is None, expected numbers")
    tensor = torch.as_tensor(np.asarray(value, dtype=np.float32))
    if not torch.isfinite(tensor).all():
        raise ValueError(f"row {row} of modality {name!r} holds NaN or infinity")
    return tensor
